//! Questions: which series there are, what they were over a range of time, how they do now.
//!
//! | module | what it answers |
//! |---|---|
//! | [`list`](mod@list) | `GET /api/series`: [`list_series`] |
//! | [`range`](mod@range) | `GET /api/range`: [`range()`], [`RangeStream`] |
//! | `ordered` | all series of a selector in the order of keys, in one walk |
//! | `request` | what a range is asked by, and what is refused before anything is read |
//! | `target` | which series a range reads, and how they are put together |
//! | `reading` | how series are read for an expression |
//! | `reader` | reads one series after the other, piece by piece, for ranges and samples |
//! | `raw` | samples as they came: [`raw()`], [`raw_in_pieces()`]; for expressions with rollups where they are gone: [`finest()`] |
//! | `held` | reads what memory alone has all of, which costs least |
//! | `kept` | selectors of those who ask again and again: [`KeptSelector`] |
//! | [`windows`](mod@windows) | `GET /api/windows`: [`windows()`] |
//! | `error` | why a query has no answer, and the bounds that these reasons name |
//! | `cache` | what queries leave behind for the next ones |
//! | `plan` | which resolution each stretch of a range is read from |
//! | `fold` | samples and buckets become steps |
//! | `past` | series that memory no longer has |
//! | `sketch` | sketches of closed minutes, kept within a bound |
//! | [`top`] | the few series that matter, and a band of the rest |
//! | `text` | searching in keys |
//!
//! Everything here blocks for the disk where the history is asked, holds no lock of the engine
//! while it reads or computes, and is bounded by [`Limits`] and by the [`Cost`](crate::Cost) of its
//! asker.
//!
//! Numbers: infinities are values, NaN is one where nothing is made of it (the newest sample, a
//! step that has nothing else); statistics of windows pass NaN over, rates and spark lines are of
//! finite numbers.
//! The stale marker is no value; it ends its series, so nothing grows across it.

pub(crate) mod cache;
mod error;
mod fold;
mod held;
mod kept;
pub mod list;
mod ordered;
mod past;
mod plan;
pub mod range;
mod raw;
mod reader;
mod reading;
mod request;
mod sketch;
mod target;
mod text;
pub mod top;
pub mod windows;

pub use self::{
    error::{BY_MAX, QueryError, TOP_MAX},
    kept::{KeptRoom, KeptSelector},
    list::{ListRequest, ListStream, list_newest, list_series},
    range::{RangeStream, range},
    raw::{Selected, finest, keys, raw, raw_in_pieces, raw_since, rolled},
    reader::Counting,
    reading::{Order, Reading, Wanted},
    request::{Aggregation, RangeRequest, Step},
    top::{Few, Rank},
    windows::{few_windows, windows},
};

pub(crate) use self::raw::find_past as past_of;

/// Steps of one series in one answer. More than any screen has columns; fewer and a year by the
/// hour (8 760) would not fit.
pub const POINTS_MAX: usize = 11_000;

/// Steps where the question names neither a length nor a number.
pub const POINTS_DEFAULT: usize = 1_000;

/// Series of one answer, each by itself.
pub const SERIES_MAX: usize = 1_000;

/// Series that are put together into groups in one answer.
pub const GROUPED_SERIES_MAX: usize = 10_000;

/// Series on one page of a list.
pub const LIST_MAX: usize = 1_000;

/// Points of a spark line.
pub const SPARK_POINTS_MAX: usize = 120;

/// Bounds of one question's answer; [`Limits::default`] has the constants above. What working on
/// it may cost is [`Cost`](crate::Cost)'s.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// See [`POINTS_MAX`].
    pub points_max: usize,
    /// See [`SERIES_MAX`].
    pub series_max: usize,
    /// See [`GROUPED_SERIES_MAX`].
    pub grouped_series_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            points_max: POINTS_MAX,
            series_max: SERIES_MAX,
            grouped_series_max: GROUPED_SERIES_MAX,
        }
    }
}

/// The value, where it is a finite number.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}
