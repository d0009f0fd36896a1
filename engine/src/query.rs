//! Questions: which series there are, what they were over a range of time, how they do now.
//!
//! | module | what it answers |
//! |---|---|
//! | [`list`](mod@list) | `GET /api/series`: [`list_series`] |
//! | [`range`](mod@range) | `GET /api/range`: [`range()`], [`RangeStream`] |
//! | [`windows`](mod@windows) | `GET /api/windows`: [`windows()`] |
//! | `plan` | which resolution each stretch of a range is read from |
//! | `fold` | samples and buckets become steps |
//! | `past` | series that memory no longer has |
//! | `sketch` | sketches of closed minutes, kept within a bound |
//! | [`top`] | the few series that matter, and a band of the rest |
//! | `text` | keys as text, and searching in them |
//!
//! Everything here blocks for the disk where the history is asked, holds no lock of the engine
//! while it reads or computes, and is bounded by [`Limits`] and by the [`Cost`](crate::Cost) of its
//! asker.
//!
//! Numbers: infinities are values, NaN is one where nothing is made of it (the newest sample, a
//! step that has nothing else); statistics of windows pass NaN over, rates and spark lines are of
//! finite numbers.
//! The stale marker is no value; it ends its series, so nothing grows across it.

mod fold;
pub mod list;
mod past;
mod plan;
pub mod range;
mod sketch;
pub(crate) mod text;
pub mod top;
pub mod windows;

use parking_lot::Mutex;
use pulseboard_history::HistoryError;

use crate::cost::Spent;

pub use self::{
    list::{ListRequest, ListStream, list_newest, list_series},
    range::{Aggregation, RangeRequest, RangeStream, Step, range},
    top::{Few, Rank, TOP_MAX},
    windows::{few_windows, windows},
};

/// Steps of one series in one answer. More than any screen has columns; fewer and a year by the
/// hour (8 760) would not fit.
pub const POINTS_MAX: usize = 11_000;

/// Steps where the question names neither a length nor a number.
pub const POINTS_DEFAULT: usize = 1_000;

/// Series of one answer, each by itself.
pub const SERIES_MAX: usize = 1_000;

/// Series that are put together into groups in one answer.
pub const GROUPED_SERIES_MAX: usize = 10_000;

/// Labels to group by.
pub const BY_MAX: usize = 16;

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

/// Why a question is not answered. All but [`QueryError::History`] are the asker's to change, and
/// say what would be answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The range is empty or lies outside of what a clock shows.
    #[error("start {start_ms} is not before end {end_ms} (both in milliseconds since 1970)")]
    Range {
        /// As asked.
        start_ms: i64,
        /// As asked.
        end_ms: i64,
    },
    /// A step is no length of time.
    #[error("a step of {step_ms} ms was asked for; at least 1 ms is accepted")]
    Step {
        /// As asked.
        step_ms: i64,
    },
    /// There would be too many steps, or none.
    #[error(
        "{points} points a series were asked for; 1 to {points_max} are answered: for this range a \
         step of {step_ms_min} ms or longer"
    )]
    Points {
        /// Steps that the question makes.
        points: u64,
        /// Steps allowed.
        points_max: usize,
        /// The shortest step allowed for the range.
        step_ms_min: i64,
    },
    /// The selector names too many series.
    #[error(
        "the selector names {series} series; at most {series_max} are answered{}",
        if *is_grouped { "" } else { ", or more when they are grouped (`by`)" }
    )]
    Series {
        /// Series that it names.
        series: u64,
        /// Series allowed.
        series_max: usize,
        /// Whether they are to be grouped.
        is_grouped: bool,
    },
    /// Too many labels to group by.
    #[error("{labels} labels to group by; at most {BY_MAX} are accepted")]
    By {
        /// As asked.
        labels: usize,
    },
    /// Too much would have to be read.
    #[error(
        "more than {samples_max} samples would have to be read; ask for fewer series, a shorter \
         range or longer steps"
    )]
    Samples {
        /// Samples and buckets allowed.
        samples_max: u64,
    },
    /// It took too long.
    #[error(
        "the answer took longer than is allowed; ask for fewer series, a shorter range or longer steps"
    )]
    Deadline,
    /// Nobody waits for the answer any more.
    #[error("nobody waits for the answer any more")]
    Cancelled,
    /// There is no memory for the answer.
    #[error(
        "answers that are not read take all the memory that there is for them; ask again later, or \
         for fewer series"
    )]
    Memory,
    /// Too much to search for.
    #[error(
        "a search has at most {} words and {} bytes",
        text::WORDS_MAX,
        text::SEARCH_BYTES_MAX
    )]
    Search,
    /// There is no such aggregation.
    #[error("{name:?} is no aggregation; avg, min, max, sum, last, count and rate are")]
    Aggregation {
        /// As asked.
        name: String,
    },
    /// Too many series are asked for as the best, or none.
    #[error(
        "the best {series} series were asked for; 1 to {} are answered",
        top::TOP_MAX
    )]
    Top {
        /// As asked.
        series: usize,
    },
    /// There is no such rank.
    #[error("{name:?} is no rank; max, mean, last and min are")]
    Rank {
        /// As asked.
        name: String,
    },
    /// The history cannot be read.
    #[error("the history cannot be read")]
    History(#[from] HistoryError),
}

/// What questions leave behind for the next ones; one for each engine.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// Numbers of all series that were ever defined. Held while definitions are read.
    past: Mutex<past::Past>,
    /// Sketches of closed minutes. Leaf lock, held to take or put one series' sketches.
    minutes: Mutex<sketch::Minutes>,
}

impl From<Spent> for QueryError {
    fn from(spent: Spent) -> Self {
        match spent {
            Spent::Time => Self::Deadline,
            Spent::Cancelled => Self::Cancelled,
            Spent::Memory => Self::Memory,
        }
    }
}

/// The value, where it is a finite number.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}
