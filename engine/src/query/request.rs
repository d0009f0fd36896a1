//! What `GET /api/range` is asked: which series, when, how; and what of that can be refused before
//! anything is read.

use std::str::FromStr;

use pulseboard_shared::protocol::series::RangeAnswer;

use super::{
    Limits, POINTS_DEFAULT,
    error::{BY_MAX, QueryError, TOP_MAX},
    fold::Acc,
    plan::agreeable_step,
    top::{Few, TOP_POINTS_MAX},
};
use crate::selector::Selector;

/// Times beyond this (the year 287 396) are no times.
pub(super) const TIME_MAX_MS: i64 = 1 << 53;

/// What becomes of the samples of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// Their mean.
    #[default]
    Avg,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// Their sum.
    Sum,
    /// The newest.
    Last,
    /// How many there are.
    Count,
    /// Growth per second of a counter, which may begin again at zero: the growth between samples
    /// over the time between them. From buckets too, however often a counter begins again; their
    /// samples count as spread evenly over them.
    Rate,
}

impl Aggregation {
    /// The word on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Last => "last",
            Self::Count => "count",
            Self::Rate => "rate",
        }
    }

    /// Whether a step's minimum and maximum are figures of the same kind as its value.
    pub(super) fn has_extremes(self) -> bool {
        !matches!(self, Self::Sum | Self::Count)
    }

    /// Its figure of a step.
    pub(super) fn of(self, step: &Acc) -> f64 {
        match self {
            Self::Avg => step.sum / step.count as f64,
            Self::Min => step.min,
            Self::Max => step.max,
            Self::Sum | Self::Rate => step.sum,
            Self::Last => step.last,
            Self::Count => step.count as f64,
        }
    }
}

impl FromStr for Aggregation {
    type Err = QueryError;

    fn from_str(name: &str) -> Result<Self, QueryError> {
        let all = [
            Self::Avg,
            Self::Min,
            Self::Max,
            Self::Sum,
            Self::Last,
            Self::Count,
            Self::Rate,
        ];
        let found = all.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| QueryError::Aggregation {
            name: name.chars().take(40).collect(),
        })
    }
}

/// How long a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many milliseconds.
    Length(i64),
    /// So long that there are about so many, and no more (but for one at the edges); a length
    /// that people count in is chosen.
    Points(usize),
}

impl Default for Step {
    fn default() -> Self {
        Self::Points(POINTS_DEFAULT)
    }
}

/// Which series, when, and how.
#[derive(Clone, Debug)]
pub struct RangeRequest {
    /// Which.
    pub selector: Selector,
    /// First moment, Unix milliseconds.
    pub start_ms: i64,
    /// Last moment, not included.
    pub end_ms: i64,
    /// How long a step is.
    pub step: Step,
    /// What becomes of its samples.
    pub aggregation: Aggregation,
    /// Labels to group by (`__name__` is the metric's name); none at all: one group of all
    /// series. `None`: each series by itself.
    pub by: Option<Vec<String>>,
    /// Which of the series (or groups) are told one by one; `None`: all.
    pub few: Option<Few>,
    /// Bounds.
    pub limits: Limits,
}

/// Start, end and step of the answer, and how many steps it has.
pub(super) fn head(request: &RangeRequest) -> Result<(RangeAnswer, usize), QueryError> {
    let (start_ms, end_ms) = (request.start_ms, request.end_ms);
    if start_ms >= end_ms || end_ms <= 0 || start_ms >= TIME_MAX_MS {
        return Err(QueryError::Range { start_ms, end_ms });
    }
    let by = request.by.as_ref().map_or(0, Vec::len);
    if by > BY_MAX {
        return Err(QueryError::By { labels: by });
    }
    let (start_ms, end_ms) = (start_ms.max(0), end_ms.min(TIME_MAX_MS));
    let points_max = match request.few {
        Some(Few::Best(max, _)) if !(1..=TOP_MAX).contains(&max) => {
            return Err(QueryError::Top { series: max });
        }
        Some(Few::Best(max, _)) => request.limits.points_max.min(TOP_POINTS_MAX / max),
        _ => request.limits.points_max,
    };
    let length_ms = end_ms - start_ms;
    let shortest = |points: usize| {
        let points = i64::try_from(points.max(1)).unwrap_or(i64::MAX);
        agreeable_step((length_ms + points - 1) / points)
    };
    let refuse = |points: u64| QueryError::Points {
        points,
        points_max,
        step_ms_min: shortest(points_max.saturating_sub(1)),
    };
    let step_ms = match request.step {
        Step::Length(step_ms) if step_ms < 1 => return Err(QueryError::Step { step_ms }),
        Step::Length(step_ms) => step_ms.min(TIME_MAX_MS),
        Step::Points(points) if points == 0 || points > points_max => {
            return Err(refuse(points as u64));
        }
        Step::Points(points) => shortest(points),
    };
    let start_ms = start_ms.div_euclid(step_ms) * step_ms;
    let count = (end_ms - start_ms + step_ms - 1) / step_ms;
    let end_ms = start_ms + count * step_ms;
    let points = usize::try_from(count).unwrap_or(usize::MAX);
    // Of a number that is allowed, one more at the edge is so, too.
    let is_counted = matches!(request.step, Step::Points(_));
    if points > points_max + usize::from(is_counted) {
        return Err(refuse(points as u64));
    }
    let head = RangeAnswer {
        start_ms,
        end_ms,
        step_ms,
        aggregation: request.aggregation.name().to_owned(),
        ..RangeAnswer::default()
    };
    Ok((head, points))
}
