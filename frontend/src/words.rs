//! The page's vocabulary: what a thing is called, everywhere, in one table.
//!
//! A word stands here if it is said in more than one place, or if another place could come to say
//! it otherwise; `cargo xtask tidy` finds texts that are said twice, and words that have another
//! name here. Names of views are in `stores/view.rs`, and in `index.html` for the first paint.
//!
//! | a thing | is called | not |
//! |---|---|---|
//! | values of one name and its labels over time | series | metric, time series |
//! | one of its values, with its time | sample | point, measurement |
//! | a value as one reads it | figure | |
//! | what tells series of one name apart | label | tag, dimension |
//! | what applications count | tracked item | event |
//! | what a rule compares with | limit | |
//! | what the operator sets for the log | threshold | |
//! | sum by count | mean | average |
//! | what the server does not take | refused | rejected |
//! | what should have come and did not | lost | dropped, skipped |
//!
//! Figures, units and times are in [`crate::format`]: a figure and its unit have a space between
//! them, thousands are separated by a space and not by commas.

/// The chat: its button and its heading.
pub const CHAT: &str = "Chat";
/// What is typed into the chat.
pub const MESSAGE: &str = "Message";
/// Whoever has a token shows it.
pub const LOG_IN: &str = "Log in";
/// Why a token does not let anybody in.
pub const UNKNOWN_TOKEN: &str = "This token is not known here";
/// The server is there and keeps the page out.
pub const NOT_ALLOWED: &str = "Not allowed";
/// Nothing came back.
pub const NO_ANSWER: &str = "The server does not answer";
/// Loads the page anew.
pub const RELOAD: &str = "Reload";
/// A notice of a connection that is lost, while its reason is not known.
pub const CONNECTION_LOST: &str = "Connection lost";
/// The charts of the server's own figures.
pub const CHARTS: &str = "Charts";
/// The cards of the server's own figures.
pub const NEWEST_FIGURES: &str = "Newest figures";
/// Series that did not come from the server itself.
pub const PUSHED_SERIES: &str = "Pushed series";
/// A heading over several of them, or over one.
pub const SERIES: &str = "Series";
/// The operator's log.
pub const LOG: &str = "Log";
/// The share of the processors' time that is used.
pub const CPU: &str = "CPU";
/// The share of the memory that is used.
pub const MEMORY: &str = "Memory";
/// Requests since the start or the last reset.
pub const REQUESTS: &str = "Requests";
/// Requests of one second.
pub const REQUESTS_PER_SECOND: &str = "Requests/sec";
/// Errors since the start or the last reset.
pub const ERRORS: &str = "Errors";
/// Control sockets that are open.
pub const CONNECTIONS: &str = "Connections";
/// The operator's threshold, beside figures that say what it is of.
pub const THRESHOLD: &str = "Threshold";
/// The least of a window or a span.
pub const MIN: &str = "Min";
/// The greatest of a window or a span.
pub const MAX: &str = "Max";
/// The choice of how much time the charts show.
pub const TIME_SHOWN: &str = "Time shown";
/// One minute on a button.
pub const ONE_MINUTE: &str = "1 min";
/// Five minutes on a button.
pub const FIVE_MINUTES: &str = "5 min";
/// A quarter of an hour on a button.
pub const QUARTER_HOUR: &str = "15 min";
/// A chart whose crosshair is nowhere.
pub const NO_FIGURE_CHOSEN: &str = "no figure chosen";
/// What a rule compares with, where it does not fire.
pub const LIMIT: &str = "Limit";
/// What a rule compares with, where it fires.
pub const ABOVE: &str = "Above";
/// Why there is no latency: nobody waited.
pub const NO_REQUESTS: &str = "no requests";
/// Whose requests are counted.
pub const OWN_REQUESTS: &str = "Requests that this server answered, those of its open pages among \
     them (made up with METRIC_SOURCE=simulator)";
/// A stretch of a chart for which the server has nothing.
pub const NO_DATA: &str = "no data";
/// What samples are that cannot be drawn.
pub const NOT_FINITE: &str = "NaN or ±Inf";
/// What is not known of stretches that are kept as steps.
pub const NAN_NOT_KEPT: &str = "NaN is known only where every sample is kept";
/// A stretch that has been asked for.
pub const LOADING: &str = "loading";
/// A whole view that has been asked for.
pub const LOADING_ALL: &str = "Loading…";
/// The operator's threshold: what is set by `set_threshold`, as opposed to a rule's.
pub const LOG_THRESHOLD: &str = "Log threshold, % of CPU";
/// The operator's threshold, beside its line in the chart.
pub const LOG_THRESHOLD_LINE: &str = "Operator's log above";
/// What is watched where nothing fires.
pub const RULES: &str = "Rules watch CPU above 90 %, memory above 85 % and latency above 80 ms";
/// What is watched where nothing fires, of a server that measures nothing.
pub const RULES_WITHOUT_SOURCE: &str =
    "This server measures nothing itself (METRIC_SOURCE=none); only tracked errors are watched";
/// The way back to the list.
pub const ALL_SERIES: &str = "← All series";
/// Links to what belongs to a view.
pub const FROM_HERE: &str = "From here";
/// The name of all this.
pub const PRODUCT: &str = "Pulseboard";
/// The zone that is nobody's own.
pub const UTC: &str = "UTC";
/// Processes that run or wait.
pub const LOAD: &str = "Load";
/// What sensors measure.
pub const HEAT: &str = "Heat";
/// Holds what is shown.
pub const PAUSE: &str = "Pause";
/// What is shown goes on with the clock again.
pub const BACK_TO_LIVE: &str = "Back to live";
/// Any time that has no button.
pub const OTHER_TIME: &str = "Other time";
/// Keys, choices, where to read more.
pub const HELP: &str = "Help and settings";
/// What the palette finds.
pub const COMMANDS: &str = "Commands";
/// Puts something on the clipboard.
pub const COPY: &str = "Copy";
/// It is there.
pub const COPIED: &str = "Copied";
/// The address names something that is not there.
pub const NO_SUCH_SERIES: &str = "No series has this name";
/// A stream or channel that broke off; what it brought stays.
pub const LOST: &str = "The connection is lost; trying again";
/// Sum by count: of a card's window, of a table's span.
pub const MEAN: &str = "Mean";
/// What could not be reached, and is tried until it can.
pub const TRYING_AGAIN: &str = "trying again";
/// A channel that is on its way.
pub const CONNECTING: &str = "Connecting…";
/// The file of what is loaded when it is opened did not come, and what to do about it.
pub const LATE_FAILED: &str = "A part of this page could not be loaded";
pub const LATE_FAILED_FIX: &str =
    "The server may be restarting, or the network is away. What is shown already goes on.";
/// What tries at once.
pub const RETRY: &str = "Retry now";
/// A stretch that was asked for in vain.
pub const NOT_LOADED: &str = "not loaded";

/// The server does not let this page in (any more), and why.
pub fn refused(why: &str) -> String {
    let colon = if why.is_empty() { "" } else { ": " };
    [NOT_ALLOWED, colon, why].concat()
}

/// A series that has not had a sample for much longer than it is used to; `age` is a duration.
pub fn stopped(age: &str) -> String {
    ["Stopped ", age, " ago"].concat()
}
