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
pub const WHAT_IS_WATCHED: &str = "See what is watched";
/// What is watched where nothing fires, of a server that measures nothing.
pub const RULES_WITHOUT_SOURCE: &str = "This server measures nothing itself (METRIC_SOURCE=none). ";
/// The way back to the list.
pub const ALL_SERIES: &str = "← All series";
/// Links to what belongs to a view.
pub const FROM_HERE: &str = "From here";
/// What is wrong, and where it is listed.
pub const ALERTS: &str = "Alerts";
/// A page that cannot hear of alerts does not say that all is well.
pub const DEAF: &str = "Not receiving alerts right now";
/// What critical alerts did that nobody saw, and how they did it.
pub const CRITICAL_FIRED: &str = "Critical alerts fired";
/// See [`CRITICAL_FIRED`].
pub const NOBODY_LOOKED: &str = "while nobody looked here";
/// Rules that make alerts, and record.
pub const RULES_TITLE: &str = "Rules";
/// Nothing that somebody was looking for.
pub const NO_MATCH: &str = "Nothing matches";
/// Says "I have it".
pub const ACKNOWLEDGE: &str = "Acknowledge";
/// Nobody is told of what a silence matches.
pub const SILENCE: &str = "Silence";
/// An alert that fires.
pub const ACTIVE: &str = "Active";
/// Those that fire, of all alerts.
pub const ACTIVE_ALERTS: &str = "Active alerts";
/// Nothing fires.
pub const NO_ACTIVE_ALERTS: &str = "No active alerts";
/// What fired and no longer does.
pub const OVER: &str = "Over";
/// What happened in an incident.
pub const COURSE: &str = "Course";
/// Several of [`SILENCE`].
pub const SILENCES: &str = "Silences";
/// An acknowledgement without an end of its own.
pub const UNTIL_IT_ENDS: &str = "until it ends";
/// What was sent to whom.
pub const DELIVERIES: &str = "Delivery log";
/// What is there because somebody made it on the page.
pub const MADE_HERE: &str = "made here";
/// A rule that is not there yet.
pub const NEW_RULE: &str = "New rule";
/// A receiver that is not there yet.
pub const NEW_RECEIVER: &str = "New receiver";
/// Takes one of several away.
pub const REMOVE: &str = "Remove";
/// Has a browser told nothing more.
pub const FORGET: &str = "Forget";
/// One more silence.
pub const NEW_SILENCE: &str = "New silence";
/// Has a receiver told that this is a test.
pub const SEND_TEST: &str = "Send a test";
/// Likewise, before the receiver's name.
pub const SEND_TEST_TO: &str = "Send a test to";
/// While that is under way.
pub const SENDING: &str = "Sending…";
/// What silences and maintenance windows are of.
pub const MATCHERS: &str =
    "Labels that match, a line each, such as instance=\"a\" or job=~\"node.*\"";
/// Silences with a calendar.
pub const MAINTENANCE: &str = "Maintenance";
/// One more of those.
pub const NEW_WINDOW: &str = "New maintenance window";
/// A list as it is.
pub const NOT_GROUPED: &str = "Not grouped";
/// Whoever sends a mail, and the beginning of a time.
pub const FROM: &str = "From";
/// What was typed as a beginning and is none.
pub const NO_BEGINNING: &str = "The beginning is no time";
/// Likewise as an end.
pub const NO_END: &str = "The end is no time";
/// Dark or light.
pub const THEME: &str = "Theme";
/// A figure that stands for something.
pub const VALUE: &str = "Value";
/// Takes a notice away.
pub const CLOSE_NOTICE: &str = "Close this notice";
/// Behind a number that may be higher.
pub const OR_MORE: &str = " or more";
/// Leaves a form as it was.
pub const CANCEL: &str = "Cancel";
/// Sends what was filled in.
pub const SAVE: &str = "Save";
/// Changes what is there.
pub const EDIT: &str = "Edit";
/// Takes away what is there.
pub const DELETE: &str = "Delete";
/// Leaves what lies over the page.
pub const CLOSE: &str = "Close";
/// How bad it is.
pub const SEVERITY: &str = "Severity";
/// Why it is done, in the words of who does it.
pub const COMMENT: &str = "Comment";
/// What tells series apart.
pub const LABELS: &str = "Labels";
/// Who does it.
pub const YOUR_NAME: &str = "Your name";
/// What is asked.
pub const EXPRESSION: &str = "Expression";
/// What something is called.
pub const NAME: &str = "Name";
/// Older ones of a list.
pub const OLDER: &str = "Show older";
/// The chart of an alert, or of a rule.
pub const FIRED: &str = "Fired";
/// A link that leads to more about something.
pub const EXPLORE_IT: &str = "Open in Explore";

/// A server that cannot reach the others; a time follows.
pub const ALONE_SINCE: &str = "Alone since ";
/// What that means.
pub const WHAT_ALONE_MEANS: &str = ": this server cannot reach the others. It shows its own \
     figures, and what is said or changed elsewhere is not seen here until it can; it tries by itself.";

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

/// How many are not shown.
pub fn and_more(count: usize) -> String {
    format!("and {count} more")
}

/// How many alerts there are at once.
pub fn alerts_fire(count: usize) -> String {
    format!("{count} alerts fire")
}

/// The server does not let this page in (any more), and why.
pub fn refused(why: &str) -> String {
    let colon = if why.is_empty() { "" } else { ": " };
    [NOT_ALLOWED, colon, why].concat()
}

/// A series that has not had a sample for much longer than it is used to; `age` is a duration.
pub fn stopped(age: &str) -> String {
    ["Stopped ", age, " ago"].concat()
}
