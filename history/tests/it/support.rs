//! What all tests here speak: a sink that remembers, a naive history, and time in whole hours.

use std::{collections::BTreeMap, path::Path, time::Duration};

use pulseboard_history::{
    Bucket, Definition, History, HistoryOptions, Progress, RecoverSink, RecoveryReport, SealBatch,
    SealReport, SeriesId, Tier, Tombstone,
};

pub(crate) const HOUR: i64 = 3_600_000;
/// A multiple of all blocks: 2 000 blocks of 10 days.
pub(crate) const START: i64 = 2_000 * 240 * HOUR;

#[derive(Debug, Default)]
pub(crate) struct Sink {
    pub(crate) definitions: Vec<Definition>,
    pub(crate) samples: Vec<(SeriesId, i64, u64)>,
}

impl RecoverSink for Sink {
    fn definition(&mut self, definition: Definition) {
        self.definitions.push(definition);
    }

    fn sample(&mut self, id: SeriesId, at_ms: i64, value: f64) {
        self.samples.push((id, at_ms, value.to_bits()));
    }

    fn tombstone(&mut self, tombstone: Tombstone) {
        let is_hit = |id: SeriesId, at_ms: i64| {
            id == tombstone.series && (tombstone.from_ms..=tombstone.to_ms).contains(&at_ms)
        };
        self.samples.retain(|&(id, at_ms, _)| !is_hit(id, at_ms));
        if tombstone.is_whole {
            self.definitions
                .retain(|definition| definition.id != tombstone.series);
        }
    }
}

pub(crate) fn open(dir: &Path) -> (History, Sink, RecoveryReport) {
    open_with(dir, HistoryOptions::default())
}

pub(crate) fn open_with(dir: &Path, options: HistoryOptions) -> (History, Sink, RecoveryReport) {
    let mut sink = Sink::default();
    let (history, report) = History::open(dir, options, &mut sink).unwrap();
    (history, sink, report)
}

pub(crate) fn definition(id: u32) -> Definition {
    Definition {
        id: SeriesId(id),
        tenant: "acme".into(),
        key: format!("cpu{{core=\"{id}\"}}").into_bytes().into(),
        unit: "%".into(),
        kind: 1,
        created_ms: START,
    }
}

pub(crate) fn seal(history: &History, parts: &[(u32, Vec<(i64, f64)>)]) -> SealReport {
    let series = parts
        .iter()
        .map(|(id, samples)| (SeriesId(*id), samples.as_slice()))
        .collect();
    history
        .seal(&SealBatch {
            series,
            safe_segment: None,
        })
        .unwrap()
}

pub(crate) fn raw(history: &History, id: u32, from_ms: i64, to_ms: i64) -> Vec<(i64, f64)> {
    let mut samples = Vec::new();
    history
        .read_raw(SeriesId(id), from_ms, to_ms, &mut samples)
        .unwrap();
    samples
}

pub(crate) fn buckets(history: &History, tier: Tier, id: u32) -> Vec<Bucket> {
    let mut buckets = Vec::new();
    history
        .read_rollup(tier, SeriesId(id), i64::MIN, i64::MAX, &mut buckets)
        .unwrap();
    buckets
}

/// Maintains in the smallest steps until there is no more to do.
pub(crate) fn maintain(history: &History, now_ms: i64) -> Progress {
    let mut total = Progress::default();
    loop {
        let step = history
            .maintain(now_ms, now_ms - HOUR / 4, Duration::ZERO)
            .unwrap();
        total.rolled += step.rolled;
        total.merged += step.merged;
        total.removed += step.removed;
        total.removed_bytes += step.removed_bytes;
        total.expired.extend(step.expired);
        if !step.more {
            return total;
        }
    }
}

/// What a history should hold of one series: the last value at each time.
pub(crate) type Model = BTreeMap<i64, f64>;

pub(crate) fn model_buckets(model: &Model, tier: Tier, end_ms: i64) -> Vec<Bucket> {
    let mut buckets: Vec<Bucket> = Vec::new();
    for (&at_ms, &value) in model
        .iter()
        .filter(|(at, value)| !value.is_nan() && **at < end_ms)
    {
        let start_ms = at_ms.div_euclid(tier.bucket_ms()) * tier.bucket_ms();
        if buckets
            .last()
            .is_none_or(|bucket| bucket.start_ms != start_ms)
        {
            let (min, max) = (f64::INFINITY, f64::NEG_INFINITY);
            let (first, last) = (value, value);
            buckets.push(Bucket {
                start_ms,
                count: 0,
                sum: 0.0,
                min,
                max,
                first,
                last,
                resets: 0.0,
            });
        }
        let bucket = buckets.last_mut().unwrap();
        bucket.count += 1;
        bucket.sum += value;
        bucket.min = bucket.min.min(value);
        bucket.max = bucket.max.max(value);
        if value < bucket.last {
            bucket.resets += bucket.last;
        }
        bucket.last = value;
    }
    buckets
}

/// Equal but for the rounding of sums.
pub(crate) fn same_buckets(left: &[Bucket], right: &[Bucket]) -> bool {
    let magnitude = |bucket: &Bucket| bucket.count as f64 * bucket.max.abs().max(bucket.min.abs());
    left.len() == right.len()
        && left.iter().zip(right).all(|(a, b)| {
            let near =
                |one: f64, other: f64| one == other || (one - other).abs() <= 1e-12 * magnitude(b);
            let others = |bucket: &Bucket| Bucket {
                sum: 0.0,
                resets: 0.0,
                ..*bucket
            };
            near(a.sum, b.sum) && near(a.resets, b.resets) && others(a) == others(b)
        })
}

pub(crate) fn bits(samples: &[(i64, f64)]) -> Vec<(i64, u64)> {
    samples
        .iter()
        .map(|&(at_ms, value)| (at_ms, value.to_bits()))
        .collect()
}
