//! What is to be said of an answer besides: warnings and infos, in Prometheus' words.

use std::{collections::BTreeSet, fmt, sync::Arc};

use pulseboard_shared::timestamp::Timestamp;

use crate::{error::Span, print};

/// How many of each kind an answer tells, as Prometheus does; of the others only the number.
const TOLD_MAX: usize = 10;

/// How many are kept. More: names of many metrics, each of which could be one.
const KEPT_MAX: usize = 1_000;

/// One thing to be said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// A quantile, by its bits, that is not between 0 and 1.
    NoQuantile(u64),
    /// A series of buckets whose bound, the second, is no number; the first is the metric.
    NoBound(Arc<str>, Arc<str>),
    /// A metric whose rate is asked for, and whose name is not that of a counter.
    NoCounter(Arc<str>),
    /// Buckets of a histogram that count less than those below them.
    FallingBuckets,
    /// Up to a moment, Unix milliseconds, there are rollups of so many milliseconds in place of
    /// samples.
    Rolled(i64, i64),
}

impl Note {
    /// Whether the answer is likely not what was meant.
    #[must_use]
    pub const fn is_warning(&self) -> bool {
        matches!(self, Self::NoQuantile(_) | Self::NoBound(..))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_warning() { "warning" } else { "info" };
        write!(f, "PromQL {kind}: ")?;
        match self {
            Self::NoQuantile(bits) => write!(
                f,
                "quantile value should be between 0 and 1, got {}",
                print::number(f64::from_bits(*bits))
            ),
            Self::NoBound(metric, bound) => {
                write!(
                    f,
                    "bucket label \"le\" is missing or has a malformed value of {}",
                    print::quoted(bound)
                )?;
                match metric.is_empty() {
                    true => Ok(()),
                    false => write!(f, " for metric name {}", print::quoted(metric)),
                }
            }
            Self::NoCounter(metric) => write!(
                f,
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}",
                print::quoted(metric)
            ),
            Self::FallingBuckets => f.write_str(
                "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)",
            ),
            Self::Rolled(until_ms, length_ms) => write!(
                f,
                "samples before {} are kept as rollups of {}: what is between is estimated",
                Timestamp::from_millis(*until_ms),
                print::duration(*length_ms)
            ),
        }
    }
}

/// All that is to be said of an answer, each once, with the place in the expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes(BTreeSet<(Note, usize)>);

impl Notes {
    pub(crate) fn add(&mut self, note: Note, span: Span) {
        if self.0.len() < KEPT_MAX {
            self.0.insert((note, span.start));
        }
    }

    /// Whether there is nothing to be said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Warnings and infos of the expression that `query` is the text of, each with line and column.
    #[must_use]
    pub fn texts(&self, query: &str) -> (Vec<String>, Vec<String>) {
        let told = |warnings: bool| {
            let of_kind = || {
                self.0
                    .iter()
                    .filter(|(note, _)| note.is_warning() == warnings)
            };
            let mut told: Vec<String> = of_kind()
                .take(TOLD_MAX)
                .map(|(note, start)| {
                    let (line, column) = Span::at(*start).line_and_column(query);
                    format!("{note} ({line}:{column})")
                })
                .collect();
            let others = of_kind().count() - told.len();
            if others > 0 {
                let kind = if warnings { "warning" } else { "info" };
                told.push(format!("{others} more {kind} annotations omitted"));
            }
            told
        };
        (told(true), told(false))
    }
}
