//! Why a query has no answer, and the bounds that these reasons name.

use pulseboard_history::HistoryError;

use crate::cost::Spent;

/// Labels to group by.
pub const BY_MAX: usize = 16;

/// Series that can be asked for as the best of all.
pub const TOP_MAX: usize = 100;

/// Words of one search, and their bytes together.
pub(super) const WORDS_MAX: usize = 16;
pub(super) const SEARCH_BYTES_MAX: usize = 1_024;

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
        "there is no memory for this question beside the other answers at this time; ask again later, \
         or for fewer series or steps"
    )]
    Memory,
    /// It takes more memory than who asks may have, whatever others hold.
    #[error(
        "this question takes more memory than the {max} bytes that {whose} may have at once; ask for \
         fewer series, a shorter range or longer steps"
    )]
    TooLarge {
        /// Bytes that it may have at most.
        max: usize,
        /// Whose bound that is, in words: `one connection`.
        whose: &'static str,
    },
    /// Too much to search for.
    #[error(
        "a search has at most {} words and {} bytes",
        WORDS_MAX,
        SEARCH_BYTES_MAX
    )]
    Search,
    /// There is no such aggregation.
    #[error("{name:?} is not an aggregation; accepted are avg, min, max, sum, last, count, rate")]
    Aggregation {
        /// As asked.
        name: String,
    },
    /// Too many series are asked for as the best, or none.
    #[error(
        "the best {series} series were asked for; 1 to {} are answered",
        TOP_MAX
    )]
    Top {
        /// As asked.
        series: usize,
    },
    /// There is no such rank.
    #[error("{name:?} is not a rank; accepted are max, mean, last, min")]
    Rank {
        /// As asked.
        name: String,
    },
    /// The history cannot be read.
    #[error("the history cannot be read")]
    History(#[from] HistoryError),
}

impl From<Spent> for QueryError {
    fn from(spent: Spent) -> Self {
        match spent {
            Spent::Time => Self::Deadline,
            Spent::Cancelled => Self::Cancelled,
            Spent::Memory => Self::Memory,
            Spent::TooLarge { max, whose } => Self::TooLarge { max, whose },
        }
    }
}
