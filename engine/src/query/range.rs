//! `GET /api/range`: what series were over a range of time, step by step.
//!
//! Steps begin at multiples of their length; the range is widened to whole steps. A step without
//! samples is left out, and so is a series without steps. Of each step: the aggregate, and the
//! least and greatest sample (for rates: growth per second from sample to sample), so that a
//! spike is seen at any zoom.
//!
//! Groups put all samples of all their series together, step by step; rates of series are added,
//! and so are their bounds. One series, or one group, is worked on at a time: [`RangeStream`].

use pulseboard_shared::protocol::series::{OtherSeries, RangeAnswer, RangePoint, RangeSeries};

use super::{
    error::QueryError,
    fold::{Acc, Grid, RateFold},
    reader::Reader,
    request::{Aggregation, RangeRequest, head},
    target::{Group, find, group, target_bytes},
    top::{Few, Top},
};
use crate::{cost::Cost, engine::Engine, tenant::Tenant};

/// A rate's first step looks back this far for the sample before it, or a step if that is longer.
const RATE_LOOK_BACK_MS: i64 = 5 * 60_000;

/// A rate looks back no further, however long its steps.
const RATE_LOOK_BACK_MAX_MS: i64 = 2 * 3_600_000;

/// The whole answer at once; see [`RangeStream`] for one series after the other.
///
/// # Errors
/// See [`QueryError`].
pub fn range(
    engine: &Engine,
    tenant: &Tenant,
    request: &RangeRequest,
    cost: &Cost,
) -> Result<RangeAnswer, QueryError> {
    let mut stream = RangeStream::open(engine, tenant, request, cost)?;
    let mut series = Vec::new();
    for one in &mut stream {
        series.push(one?);
    }
    let mut answer = std::mem::take(&mut stream.head);
    answer.series = series;
    answer.others = stream.others.take();
    Ok(answer)
}

/// An answer on its way: an iterator over its series, sorted by key. Memory: the series' names, and
/// the steps and a few hours' samples of one series.
#[derive(Debug)]
pub struct RangeStream<'a> {
    /// The answer without its series.
    head: RangeAnswer,
    aggregation: Aggregation,
    cost: &'a Cost,
    groups: std::vec::IntoIter<Group>,
    /// Where the best are looked for; they are known when all have been read.
    top: Option<Top>,
    best: std::vec::IntoIter<RangeSeries>,
    others: Option<OtherSeries>,
    reader: Reader<'a>,
    grid: Grid,
    is_over: bool,
}

impl<'a> RangeStream<'a> {
    /// Checks the question and finds its series; nothing of them is read yet. What can be refused
    /// beforehand is refused here.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn open(
        engine: &'a Engine,
        tenant: &Tenant,
        request: &RangeRequest,
        cost: &'a Cost,
    ) -> Result<Self, QueryError> {
        let (mut head, points) = head(request)?;
        let (targets, unread) = find(engine, tenant, request, cost)?;
        cost.check()?;
        let mut groups = group(targets, request.by.as_deref());
        let mut others = (unread > 0).then(|| OtherSeries {
            count: unread,
            ..OtherSeries::default()
        });
        let grid = (head.start_ms, head.step_ms, points);
        let mut top = None;
        match request.few {
            Some(Few::First(max)) if groups.len() > max => {
                let others = others.get_or_insert_default();
                others.count += (groups.len() - max) as u64;
                groups.truncate(max);
            }
            Some(Few::Best(max, rank)) => {
                let has_extremes = request.aggregation.has_extremes();
                top = Some(Top::new(max, rank, has_extremes, grid));
            }
            _ => {}
        }
        let mut reader = Reader::open(engine, tenant, cost)?;
        let from_ms = match request.aggregation {
            Aggregation::Rate => {
                let back_ms = head.step_ms.clamp(RATE_LOOK_BACK_MS, RATE_LOOK_BACK_MAX_MS);
                head.start_ms.saturating_sub(back_ms).max(0)
            }
            _ => head.start_ms,
        };
        reader.read_steps_of(head.step_ms, from_ms, head.end_ms);
        head.stretches = reader.stretches(head.start_ms, head.end_ms);
        Ok(Self {
            grid: Grid::new(head.start_ms, head.step_ms, points),
            head,
            aggregation: request.aggregation,
            cost,
            groups: groups.into_iter(),
            top,
            best: Vec::new().into_iter(),
            others,
            reader,
            is_over: false,
        })
    }

    /// The answer without its series: what goes before them.
    #[must_use]
    pub fn head(&self) -> &RangeAnswer {
        &self.head
    }

    /// Series or groups that are still to come, at most.
    #[must_use]
    pub fn rest(&self) -> usize {
        self.groups.len() + self.best.len()
    }

    /// The series that are not told one by one; known when the last of the others has come.
    #[must_use]
    pub fn others(&self) -> Option<&OtherSeries> {
        self.others.as_ref()
    }

    /// Reads all series and keeps the best.
    fn find_best(&mut self, mut top: Top) -> Result<(), QueryError> {
        while let Some(group) = self.groups.next() {
            if let Some(series) = self.answer(group)? {
                top.put(series);
            }
        }
        let (best, others) = top.finish();
        self.best = best.into_iter();
        self.others = others;
        Ok(())
    }

    /// `None` when nothing is there in any step.
    fn answer(&mut self, group: Group) -> Result<Option<RangeSeries>, QueryError> {
        self.grid.clear();
        for target in &group.members {
            self.cost.check()?;
            if self.aggregation == Aggregation::Rate {
                let interval_ms = target.found.as_ref().map_or(0, |found| found.interval_ms);
                let mut fold = RateFold::new(&mut self.grid, interval_ms);
                self.reader.read(target, &mut fold)?;
                fold.flush();
            } else {
                self.reader.read(target, &mut self.grid)?;
            }
        }
        let point = |(at_ms, step): (i64, &Acc)| -> RangePoint {
            let of = |value| match (step.count, self.aggregation) {
                (0, aggregation) if aggregation != Aggregation::Count => Some(f64::NAN),
                _ => Some(value),
            };
            let (min, max) = match step.count {
                0 => (f64::NAN, f64::NAN),
                _ => (step.min, step.max),
            };
            (at_ms, of(self.aggregation.of(step)), Some(min), Some(max))
        };
        let points: Vec<RangePoint> = self.grid.steps().map(point).collect();
        let counts = self.grid.steps().map(|(_, step)| step.count);
        let counts: Vec<u64> = match self.aggregation {
            Aggregation::Avg => counts.collect(),
            _ => Vec::new(),
        };
        let not_finite: Vec<(i64, u64)> = self.grid.not_finite().collect();
        let is_there = !(points.is_empty() && not_finite.is_empty());
        let newest = match &*group.members {
            [alone] => alone.found.as_ref().and_then(|found| found.last),
            _ => None,
        };
        for member in &group.members {
            self.cost.let_go(target_bytes(&member.text));
        }
        Ok(is_there.then(|| RangeSeries {
            key: group.key,
            name: group.name,
            labels: group.labels,
            unit: group.unit.to_string(),
            points,
            counts,
            not_finite,
            newest: newest
                .map(|(at_ms, value)| (at_ms, Some(value)))
                .into_iter()
                .collect(),
        }))
    }
}

/// What was not read is held no more.
impl Drop for RangeStream<'_> {
    fn drop(&mut self) {
        for member in self.groups.by_ref().flat_map(|group| group.members) {
            self.cost.let_go(target_bytes(&member.text));
        }
    }
}

impl Iterator for RangeStream<'_> {
    type Item = Result<RangeSeries, QueryError>;

    /// The next series; nothing comes behind an error.
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(top) = self.top.take()
            && let Err(error) = self.find_best(top)
        {
            self.is_over = true;
            return Some(Err(error));
        }
        if let Some(series) = self.best.next() {
            return Some(Ok(series));
        }
        while !self.is_over {
            let group = self.groups.next()?;
            match self.answer(group) {
                Ok(None) => {}
                Ok(Some(series)) => return Some(Ok(series)),
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
