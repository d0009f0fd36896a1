//! Reads series one after the other, a piece at a time, from memory and the history: what ranges
//! and samples are made of.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use pulseboard_history::{Bucket, Snapshot, Tier};
use pulseboard_shared::protocol::series::Stretch;

use super::{
    error::QueryError,
    fold::{Grid, RateFold},
    plan::{Past, Piece, stretches},
    target::Target,
};
use crate::{cost::Cost, engine::Engine, tenant::Tenant, window::Sample};

/// Raw samples are read in pieces, the first of them this long, so that few are in memory at once;
/// then as long as makes pieces of about [`PIECE_SAMPLES`].
const RAW_PIECE_MIN_MS: i64 = 15 * 60_000;
const RAW_PIECE_MS: i64 = 4 * 3_600_000;
const PIECE_SAMPLES: usize = 262_144;

/// A view of the history is looked at anew after this time. Longer: samples that are sealed and go
/// from memory meanwhile (a round of maintenance lasts 5 s) would be missing.
const SNAPSHOT_LASTS: Duration = Duration::from_secs(2);

/// Which samples count among those that a question may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// All that are read.
    Read,
    /// Those that whoever asks takes of them, and counts by itself ([`Cost::take_samples`]).
    Taken,
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
    pub(super) counting: Counting,
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
            counting: Counting::Read,
            piece_ms: RAW_PIECE_MIN_MS,
        })
    }

    /// Has it read what answers steps of `step_ms` best, of `from_ms..to_ms`.
    pub(super) fn read_steps_of(&mut self, step_ms: i64, from_ms: i64, to_ms: i64) {
        match &self.past {
            Some(past) => self.pieces = past.plan(step_ms, from_ms, to_ms),
            None => self.read_raw_of(from_ms, to_ms),
        }
    }

    /// Which resolution each stretch of `start_ms..end_ms` is read from.
    pub(super) fn stretches(&self, start_ms: i64, end_ms: i64) -> Vec<Stretch> {
        stretches(&self.pieces, start_ms, end_ms)
    }

    /// Has it read samples alone, of `from_ms..to_ms`.
    pub(super) fn read_raw_of(&mut self, from_ms: i64, to_ms: i64) {
        self.pieces = vec![Piece {
            from_ms,
            to_ms,
            tier: None,
        }];
    }

    /// Has it read samples of `from_ms..to_ms` where all are there, and the finest rollups
    /// elsewhere.
    pub(super) fn read_finest_of(&mut self, from_ms: i64, to_ms: i64) {
        match &self.past {
            Some(past) => self.pieces = past.finest(from_ms, to_ms),
            None => self.read_raw_of(from_ms, to_ms),
        }
    }

    /// Reads one series; what is there goes to `fold`, oldest first.
    ///
    /// # Errors
    /// The cost, the history, or those of `fold`.
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
                // Whoever takes the samples may have taken its time.
                self.look_again()?;
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
        self.spend(self.buckets.len())?;
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
        self.spend(self.samples.len())?;
        if self.samples.len() > PIECE_SAMPLES {
            self.piece_ms = (self.piece_ms / 4).max(1_000);
        } else if self.samples.len() < PIECE_SAMPLES / 8 {
            self.piece_ms = (self.piece_ms * 4).min(RAW_PIECE_MS);
        }
        fold.samples(&self.samples)
    }

    fn spend(&self, count: usize) -> Result<(), QueryError> {
        take(count, self.counting, self.cost)
    }
}

/// Takes samples that were read of those that may be, where they count.
pub(super) fn take(count: usize, counting: Counting, cost: &Cost) -> Result<(), QueryError> {
    match counting == Counting::Taken || cost.take_samples(count) {
        true => Ok(()),
        false => Err(QueryError::Samples {
            samples_max: cost.samples_max(),
        }),
    }
}
