//! `GET /api/range`: what series were over a range of time, step by step.
//!
//! Steps begin at multiples of their length; the range is widened to whole steps. A step without
//! samples is left away, and so is a series without steps. Of each step: the aggregate, and the
//! least and greatest sample (for rates: growth per second from sample to sample), so that a
//! spike is seen at any zoom.
//!
//! Groups put all samples of all their series together, step by step; rates of series are added,
//! and so are their bounds. One series, or one group, is worked on at a time: [`RangeStream`].

use std::{
    collections::BTreeMap,
    ops::Range,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use pulseboard_history::{Bucket, SeriesId, Snapshot, Tier};
use pulseboard_series::{
    KeyRef,
    key::{write_key, write_labels},
};
use pulseboard_shared::{
    Labels,
    protocol::series::{OtherSeries, RangeAnswer, RangePoint, RangeSeries},
};

use super::{
    Limits, POINTS_DEFAULT,
    error::{BY_MAX, QueryError, TOP_MAX},
    fold::{Acc, Grid, RateFold},
    list::labels_of,
    plan::{Past, Piece, agreeable_step, stretches},
    top::{Few, TOP_POINTS_MAX, Top},
};
use crate::{
    cost::Cost,
    engine::Engine,
    find::{Found, page_bytes},
    selector::{NameFilter, Selector},
    tenant::Tenant,
    window::Sample,
};

/// Raw samples are read in pieces, the first of them this long, so that few are in memory at once;
/// then as long as makes pieces of about [`PIECE_SAMPLES`].
const RAW_PIECE_MIN_MS: i64 = 15 * 60_000;
const RAW_PIECE_MS: i64 = 4 * 3_600_000;
const PIECE_SAMPLES: usize = 262_144;

/// A rate's first step looks back this far for the sample before it, or a step if that is longer.
const RATE_LOOK_BACK_MS: i64 = 5 * 60_000;

/// A rate looks back no further, however long its steps.
const RATE_LOOK_BACK_MAX_MS: i64 = 2 * 3_600_000;

/// Times beyond this (the year 287 396) are no times.
pub(super) const TIME_MAX_MS: i64 = 1 << 53;

/// A view of the history is looked at anew after this time. Longer: samples that are sealed and go
/// from memory meanwhile (a round of maintenance lasts 5 s) would be missing.
const SNAPSHOT_LASTS: Duration = Duration::from_secs(2);

/// The label that stands for the metric's name.
const NAME_LABEL: &str = "__name__";

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
    fn has_extremes(self) -> bool {
        !matches!(self, Self::Sum | Self::Count)
    }

    fn of(self, step: &Acc) -> f64 {
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
    let mut answer = stream.head;
    answer.series = series;
    answer.others = stream.others;
    Ok(answer)
}

/// One of the series of a group: in memory, in the history, or both.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) text: String,
    pub(super) found: Option<Found>,
    /// Its numbers in the history that memory does not know it by. Several only if a definition
    /// was lost once.
    pub(super) past: Vec<SeriesId>,
    pub(super) key: Box<[u8]>,
    pub(super) unit: Arc<str>,
}

/// One line of the answer.
#[derive(Debug)]
struct Group {
    key: String,
    name: String,
    labels: Labels,
    unit: Arc<str>,
    members: Vec<Target>,
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

/// Reads one series after the other.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) engine: &'a Engine,
    snapshot: Option<Snapshot>,
    /// When it was taken.
    snapshot_at: Instant,
    past: Option<Past>,
    pieces: Vec<Piece>,
    samples: Vec<Sample>,
    buckets: Vec<Bucket>,
    pub(super) cost: &'a Cost,
    /// How long the next piece of raw samples is.
    piece_ms: i64,
}

/// Where what is read goes.
pub(super) trait Fold {
    /// # Errors
    /// There is no memory for them.
    fn samples(&mut self, samples: &[Sample]) -> Result<(), QueryError>;
    /// # Errors
    /// As [`Fold::samples`].
    fn buckets(&mut self, tier: Tier, buckets: &[Bucket]) -> Result<(), QueryError>;
}

impl Fold for Grid {
    fn samples(&mut self, samples: &[Sample]) -> Result<(), QueryError> {
        self.add_samples(samples);
        Ok(())
    }

    fn buckets(&mut self, tier: Tier, buckets: &[Bucket]) -> Result<(), QueryError> {
        self.add_buckets(tier, buckets);
        Ok(())
    }
}

impl Fold for RateFold<'_> {
    fn samples(&mut self, samples: &[Sample]) -> Result<(), QueryError> {
        self.add_samples(samples);
        Ok(())
    }

    fn buckets(&mut self, tier: Tier, buckets: &[Bucket]) -> Result<(), QueryError> {
        self.add_buckets(tier, buckets);
        Ok(())
    }
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
        if let Some(past) = &reader.past {
            reader.pieces = past.plan(head.step_ms, from_ms, head.end_ms);
        } else {
            reader.read_raw_of(from_ms, head.end_ms);
        }
        head.stretches = stretches(&reader.pieces, head.start_ms, head.end_ms);
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

impl<'a> Reader<'a> {
    /// One with a view of the history, and nothing to read yet. What is sealed after this is in
    /// memory still.
    pub(super) fn open(
        engine: &'a Engine,
        tenant: &Tenant,
        cost: &'a Cost,
    ) -> Result<Self, QueryError> {
        let snapshot = engine.snapshot()?;
        let past = snapshot
            .as_ref()
            .map(|snapshot| Past::of(snapshot, &tenant.name));
        Ok(Self {
            engine,
            snapshot,
            snapshot_at: Instant::now(),
            past,
            pieces: Vec::new(),
            samples: Vec::new(),
            buckets: Vec::new(),
            cost,
            piece_ms: RAW_PIECE_MIN_MS,
        })
    }

    /// Has it read samples alone, of `from_ms..to_ms`.
    pub(super) fn read_raw_of(&mut self, from_ms: i64, to_ms: i64) {
        self.pieces = vec![Piece {
            from_ms,
            to_ms,
            tier: None,
        }];
    }

    /// Has it read samples of `from_ms..to_ms` where all are there, and the finest rollups elsewhere.
    pub(super) fn read_finest_of(&mut self, from_ms: i64, to_ms: i64) {
        match &self.past {
            Some(past) => self.pieces = past.finest(from_ms, to_ms),
            None => self.read_raw_of(from_ms, to_ms),
        }
    }

    pub(super) fn read(&mut self, target: &Target, fold: &mut impl Fold) -> Result<(), QueryError> {
        self.look_again()?;
        self.piece_ms = RAW_PIECE_MIN_MS;
        let there = self.raw_of(target);
        // What came late and is not sealed yet is in no tier, and what is sealed not at once: from
        // there on it is read raw.
        let of_memory = target.found.iter().map(|found| found.unsealed_ms);
        let ids = target.found.iter().map(|found| found.id);
        let of_history = ids.chain(target.past.iter().copied()).filter_map(|id| {
            let stale = self.snapshot.as_ref()?.stale(id)?;
            Some(stale.start)
        });
        let unsealed_ms = of_memory.chain(of_history).min().unwrap_or(i64::MAX);
        for index in 0..self.pieces.len() {
            let Piece {
                from_ms,
                to_ms,
                tier,
            } = self.pieces[index];
            let mut raw_from_ms = from_ms;
            if let Some(tier) = tier {
                let bucket_ms = tier.bucket_ms();
                let late_ms = unsealed_ms.div_euclid(bucket_ms) * bucket_ms;
                let is_raw_there = self.past.as_ref().is_some_and(|past| past.has_raw(late_ms));
                raw_from_ms = match late_ms < to_ms && is_raw_there {
                    true => late_ms.max(from_ms),
                    false => to_ms,
                };
                self.read_buckets(target, tier, (from_ms, raw_from_ms), fold)?;
            }
            // However long the range is, nothing is looked for where nothing can be.
            raw_from_ms = raw_from_ms.max(there.start);
            let to_ms = to_ms.min(there.end);
            while raw_from_ms < to_ms {
                let raw_to_ms = to_ms.min(raw_from_ms.saturating_add(self.piece_ms));
                self.read_samples(target, (raw_from_ms, raw_to_ms), fold)?;
                raw_from_ms = raw_to_ms;
                self.cost.check()?;
            }
        }
        Ok(())
    }

    /// What is sealed goes from memory a round of maintenance later: a view of the history that
    /// is older than that would show neither.
    fn look_again(&mut self) -> Result<(), QueryError> {
        if self.snapshot.is_some() && self.snapshot_at.elapsed() >= SNAPSHOT_LASTS {
            // The old one first, so that its pages are free.
            self.snapshot = None;
            self.snapshot = self.engine.snapshot()?;
            self.snapshot_at = Instant::now();
        }
        Ok(())
    }

    /// Where raw samples of a series can be, in memory or history.
    fn raw_of(&self, target: &Target) -> Range<i64> {
        let sealed = self.past.as_ref().and_then(|past| past.raw.clone());
        let found = target.found.as_ref();
        let held = found.and_then(|found| self.engine.held(found));
        match (sealed, held) {
            (Some(sealed), Some(held)) => sealed.start.min(held.start)..sealed.end.max(held.end),
            (one, other) => one.or(other).unwrap_or_default(),
        }
    }

    fn read_buckets(
        &mut self,
        target: &Target,
        tier: Tier,
        (from_ms, to_ms): (i64, i64),
        fold: &mut impl Fold,
    ) -> Result<(), QueryError> {
        let Some(snapshot) = self.snapshot.as_mut().filter(|_| from_ms < to_ms) else {
            return Ok(());
        };
        self.buckets.clear();
        let in_memory = target.found.as_ref().map(|found| found.id);
        for id in in_memory.iter().chain(&target.past) {
            snapshot.read_rollup(tier, *id, from_ms, to_ms, &mut self.buckets)?;
        }
        if !self.buckets.is_sorted_by_key(|bucket| bucket.start_ms) {
            self.buckets.sort_by_key(|bucket| bucket.start_ms);
        }
        spend(self.cost, self.buckets.len())?;
        fold.buckets(tier, &self.buckets)
    }

    fn read_samples(
        &mut self,
        target: &Target,
        (from_ms, to_ms): (i64, i64),
        fold: &mut impl Fold,
    ) -> Result<(), QueryError> {
        self.samples.clear();
        for id in &target.past {
            if let Some(snapshot) = &mut self.snapshot {
                snapshot.read_raw(*id, from_ms, to_ms, &mut self.samples)?;
            }
        }
        if let Some(found) = &target.found {
            let past = self.snapshot.as_mut();
            self.engine
                .read(found, past, from_ms, to_ms, &mut self.samples)?;
        }
        if !self.samples.is_sorted_by_key(|sample| sample.0) {
            self.samples.sort_by_key(|sample| sample.0);
        }
        spend(self.cost, self.samples.len())?;
        if self.samples.len() > PIECE_SAMPLES {
            self.piece_ms = (self.piece_ms / 4).max(1_000);
        } else if self.samples.len() < PIECE_SAMPLES / 8 {
            self.piece_ms = (self.piece_ms * 4).min(RAW_PIECE_MS);
        }
        fold.samples(&self.samples)
    }
}

fn spend(cost: &Cost, count: usize) -> Result<(), QueryError> {
    match cost.take_samples(count) {
        true => Ok(()),
        false => Err(QueryError::Samples {
            samples_max: cost.samples_max(),
        }),
    }
}

/// Start, end and step of the answer, and how many steps it has.
fn head(request: &RangeRequest) -> Result<(RangeAnswer, usize), QueryError> {
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

/// The series that are asked for, of memory and history, sorted by key; and how many more there
/// are where the first ones suffice.
/// What a series takes in memory until it has been read: its key is there five times over.
fn target_bytes(text: &str) -> usize {
    5 * text.len() + size_of::<(String, Found)>() + size_of::<(Target, Group)>()
}

fn find(
    engine: &Engine,
    tenant: &Tenant,
    request: &RangeRequest,
    cost: &Cost,
) -> Result<(Vec<Target>, u64), QueryError> {
    let is_grouped = request.by.is_some();
    // Of those that become a band one at a time is in memory, as with groups.
    let is_together = is_grouped || matches!(request.few, Some(Few::Best(..)));
    let series_max = match is_together {
        true => request.limits.grouped_series_max,
        false => request.limits.series_max,
    };
    let first = match request.few {
        Some(Few::First(max)) if !is_grouped => Some(max.min(series_max)),
        _ => None,
    };
    let refuse = |series: u64| QueryError::Series {
        series,
        series_max,
        is_grouped: is_together,
    };
    let selector = &request.selector;
    let all = (|_: &str| NameFilter::All, |_: KeyRef<'_>| true);
    let page = engine.page(
        tenant,
        selector,
        all,
        (None, first.unwrap_or_else(|| series_max.saturating_add(1))),
        request.end_ms,
        cost,
    )?;
    let (found, matched) = (page.found, page.matched);
    if found.len() > series_max || (first.is_none() && page.is_cut) {
        return Err(refuse(matched));
    }
    let mut unread = matched.saturating_sub(found.len() as u64);
    // Of the first ones by key all must be known; past a bound the question is refused anyway.
    let past_max = first.map_or(series_max, |_| usize::MAX);
    let mut targets: BTreeMap<String, Target> = BTreeMap::new();
    for (text, found) in found {
        cost.hold(target_bytes(&text) - page_bytes(&text, &found).min(target_bytes(&text)))?;
        let target = Target {
            key: found.key.clone(),
            unit: Arc::clone(&found.unit),
            text: text.clone(),
            found: Some(found),
            past: Vec::new(),
        };
        targets.insert(text, target);
    }
    for definition in engine.find_past(tenant, selector, request.start_ms, past_max, cost)? {
        let mut text = String::new();
        write_key(KeyRef::new(&definition.key), &mut text);
        cost.hold(target_bytes(&text))?;
        let target = targets.entry(text).or_insert_with_key(|text| Target {
            text: text.clone(),
            found: None,
            past: Vec::new(),
            key: definition.key,
            unit: engine.unit(&definition.unit),
        });
        target.past.push(definition.id);
        match first {
            Some(max) if targets.len() > max => {
                // Behind all that are asked for; its past is not needed any more.
                if let Some((text, _)) = targets.pop_last() {
                    cost.let_go(target_bytes(&text));
                }
                unread += 1;
            }
            None if targets.len() > series_max => return Err(refuse(targets.len() as u64)),
            _ => {}
        }
    }
    Ok((targets.into_values().collect(), unread))
}

/// Each by itself, or put together by labels; sorted by key.
fn group(targets: Vec<Target>, by: Option<&[String]>) -> Vec<Group> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let Some(by) = by else {
        let alone = targets.into_iter().map(|target| {
            let key = KeyRef::new(&target.key);
            Group {
                key: target.text.clone(),
                name: key.name().to_owned(),
                labels: labels_of(key.labels()),
                unit: Arc::clone(&target.unit),
                members: vec![target],
            }
        });
        return alone.collect();
    };
    for target in targets {
        let key = KeyRef::new(&target.key);
        let is_named = by.iter().any(|label| label == NAME_LABEL);
        let name = if is_named { key.name() } else { "" };
        let shared = || {
            let labels = key.labels();
            labels.filter(|(label, _)| by.iter().any(|wanted| wanted == label))
        };
        let mut text = name.to_owned();
        write_labels(shared(), &mut text);
        if text.is_empty() {
            text.push_str("{}");
        }
        let group = groups.entry(text).or_insert_with_key(|text| Group {
            key: text.clone(),
            name: name.to_owned(),
            labels: labels_of(shared()),
            unit: Arc::clone(&target.unit),
            members: Vec::new(),
        });
        if group.unit != target.unit {
            group.unit = Arc::from("");
        }
        group.members.push(target);
    }
    groups.into_values().collect()
}
