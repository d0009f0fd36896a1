//! `GET /api/series`, `GET /api/range` and `GET /api/windows`: what is there, what it
//! was, and how it does right now.
//!
//! A selector names series: `name`, `name{label="value",…}`, `{label=~"pattern"}`; matchers are
//! `=`, `!=`, `=~` and `!~`, patterns are anchored at both ends, as in PromQL.

use serde::{Deserialize, Serialize};

use crate::Labels;

/// Whether a series still comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeriesState {
    /// Its newest sample is younger than three of its own intervals.
    #[default]
    Live,
    /// It is not, or its sender said that it has ended.
    Stopped,
}

/// One series as the list shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeriesInfo {
    /// `name{label="value",…}`: what a selector of just this series is.
    pub key: String,
    /// The metric's name.
    pub name: String,
    /// What tells it from others of its name.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Unit of its values; empty where nobody said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// `gauge`, `counter`, `distribution` or `unknown`.
    pub kind: String,
    /// Whether it still comes in.
    pub state: SeriesState,
    /// Whether this server measures it itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
    /// Milliseconds between its samples, as measured; absent before the second one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// Newest value that is not ahead of the server's clock; `null` where there is none, or where
    /// the series has ended.
    #[serde(default, with = "crate::figure::option")]
    pub last: Option<f64>,
    /// When that was, Unix milliseconds. Where all samples are ahead of the clock, the time of the
    /// latest; 0 where there is none at all.
    pub last_ms: i64,
    /// By how many milliseconds its latest sample is ahead of the server's clock; absent where
    /// none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead_ms: Option<u64>,
    /// For counters: growth per second over the last minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// On request: means of equal stretches of the window, oldest first; `null` where there was
    /// no sample.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spark: Vec<Option<f64>>,
}

/// `GET /api/series`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeriesList {
    /// Whose series.
    pub tenant: String,
    /// All series of the tenant.
    pub total: u64,
    /// Those that were asked for.
    pub matched: u64,
    /// The first of them, sorted by key.
    pub series: Vec<SeriesInfo>,
    /// Where to go on (`?after=`), when there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// `[time_ms, value, min, max]`: one step of a range; a step without samples is left out. What is
/// infinite is `"+Inf"` or `"-Inf"`, and `"NaN"` is a step that has no other value
/// ([`crate::figure`]).
pub type RangePoint = (i64, Option<f64>, Option<f64>, Option<f64>);

/// One series, or one group of them, over a range.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RangeSeries {
    /// `name{label="value",…}`, or the labels that the group has in common.
    pub key: String,
    /// The metric's name; empty for a group of several.
    pub name: String,
    /// Its labels.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Unit of its values; empty where nobody said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// Steps, oldest first.
    #[serde(with = "crate::figure::points")]
    pub points: Vec<RangePoint>,
    /// How many samples the mean of each step is of, as many as `points`; empty where a step's
    /// figure is no mean.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<u64>,
    /// `[time_ms, count]` of the steps that hold samples which are NaN or infinite. NaN is in no
    /// figure; what is kept as buckets knows of infinities only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_finite: Vec<(i64, u64)>,
    /// The newest sample as it came, in the history of what is watched: a step is a mean, and of
    /// its beginning. Empty for a group, and for what is not in memory.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        with = "crate::figure::samples"
    )]
    pub newest: Vec<(i64, Option<f64>)>,
}

/// Where a stretch of a range came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// From this moment, Unix milliseconds.
    pub from_ms: i64,
    /// To this moment, not included.
    pub to_ms: i64,
    /// `raw`, `10s`, `1m`, `5m` or `1h`.
    pub resolution: String,
}

/// `GET /api/range`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RangeAnswer {
    /// First moment, Unix milliseconds.
    pub start_ms: i64,
    /// Last moment, not included.
    pub end_ms: i64,
    /// Length of a step.
    pub step_ms: i64,
    /// `avg`, `min`, `max`, `sum`, `last`, `count` or `rate`.
    pub aggregation: String,
    /// Which resolution each stretch came from, oldest first.
    pub stretches: Vec<Stretch>,
    /// The series, sorted by key; where the best were asked for (`topk`), best first.
    pub series: Vec<RangeSeries>,
    /// The rest, where only so many were asked for (`topk`, `limit`) and there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<OtherSeries>,
}

/// `[time_ms, min, mean, max]`: one step of a band. `null` where that is no finite number; a step
/// without samples is left out.
pub type BandPoint = (i64, Option<f64>, Option<f64>, Option<f64>);

/// The series of a range that are not told one by one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OtherSeries {
    /// How many there are.
    pub count: u64,
    /// Between what they lie, oldest first: their least and greatest sample, and the mean of
    /// their values. Empty where they were not read (`limit`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<BandPoint>,
}

/// How one series did over one of its last minutes; all absent when there was nothing. NaN counts
/// for nothing; infinite samples count, and what is infinite then is `"+Inf"` or `"-Inf"`, the mean
/// of both `"NaN"` ([`crate::figure`]).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveWindow {
    /// Length in seconds: 60, 300 or 3 600.
    pub seconds: u32,
    /// Samples.
    pub count: u64,
    /// Mean.
    #[serde(default, with = "crate::figure::option")]
    pub avg: Option<f64>,
    /// Smallest.
    #[serde(default, with = "crate::figure::option")]
    pub min: Option<f64>,
    /// Greatest.
    #[serde(default, with = "crate::figure::option")]
    pub max: Option<f64>,
    /// Half of the samples are at most this, within 1 %.
    #[serde(default, with = "crate::figure::option")]
    pub p50: Option<f64>,
    /// 90 %.
    #[serde(default, with = "crate::figure::option")]
    pub p90: Option<f64>,
    /// 95 %.
    #[serde(default, with = "crate::figure::option")]
    pub p95: Option<f64>,
    /// 99 %.
    #[serde(default, with = "crate::figure::option")]
    pub p99: Option<f64>,
}

/// One series of `GET /api/windows`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeriesWindows {
    /// `name{label="value",…}`.
    pub key: String,
    /// The last minute, five minutes and hour.
    pub windows: Vec<LiveWindow>,
}

/// `GET /api/windows` where only so many series are asked for (`topk`, `limit`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WindowsAnswer {
    /// The series: with `topk` best first, with `limit` sorted by key.
    pub series: Vec<SeriesWindows>,
    /// The rest, where there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<OtherWindows>,
}

/// The series of windows that are not told one by one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OtherWindows {
    /// How many there are.
    pub count: u64,
    /// All their samples together. Empty where they were not read (`limit`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<LiveWindow>,
}
