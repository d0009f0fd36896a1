//! The page's vocabulary: what a thing is called, everywhere, in one table.
//!
//! A word stands here if it is said in more than one place, or if another place could come to say
//! it otherwise. Figures, units and times are in [`crate::format`]: a figure and its unit have a
//! space between them, thousands are parted by a thin place and not by commas.

/// What a rule compares with, where it does not fire.
pub const LIMIT: &str = "Limit";
/// The same where it does.
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
/// The same of a whole view.
pub const LOADING_ALL: &str = "Loading…";
/// The operator's threshold: what is set by `set_threshold`, as opposed to a rule's.
pub const LOG_THRESHOLD: &str = "Log threshold, % of CPU";
/// The same beside its line in the chart.
pub const LOG_THRESHOLD_LINE: &str = "Operator's log above";
/// What is watched where nothing fires.
pub const RULES: &str = "Rules watch CPU above 90 %, memory above 85 % and latency above 80 ms";
/// The same of a server that measures nothing.
pub const RULES_WITHOUT_SOURCE: &str =
    "This server measures nothing itself (METRIC_SOURCE=none); only tracked errors are watched";
/// The address names something that is not there.
pub const NO_SUCH_SERIES: &str = "No series has this name";
/// A stream or channel that broke off; what it brought stays.
pub const LOST: &str = "The connection is lost; trying again";
/// Sum by count: of a card's window, of a table's span.
pub const MEAN: &str = "Mean";
/// A channel that is on its way.
pub const CONNECTING: &str = "Connecting…";
/// What tries at once.
pub const RETRY: &str = "Retry now";
/// A stretch that was asked for in vain.
pub const NOT_LOADED: &str = "not loaded";

/// The server does not let this page in (any more), and why.
pub fn refused(why: &str) -> String {
    let colon = if why.is_empty() { "" } else { ": " };
    ["Not allowed", colon, why].concat()
}
