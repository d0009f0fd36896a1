//! How many series there are, and the smallest of their hashes: what several servers compare to
//! find out how many series more than one of them has, without telling each other all.

use std::collections::BinaryHeap;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::{engine::Engine, table::SHARDS};

/// Series that are looked at while a shard is held.
const SLICE: usize = 1_024;

/// Which series there are, in a few bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// How many.
    pub series: u64,
    /// The smallest hashes of all of them, in order; the same series has the same everywhere.
    pub smallest: Vec<u64>,
}

impl Engine {
    /// Counts the series that others sent and that still come in; `most` of their hashes are kept.
    /// Costs some 0.1 µs a series.
    #[must_use]
    pub fn census(&self, most: usize, now_ms: i64) -> Census {
        let mut kept = BinaryHeap::with_capacity(most + 1);
        let mut series = 0;
        for number in 0..SHARDS {
            let mut from = 0;
            loop {
                let mut shard = self.table.shard(number).lock();
                let (slots, is_end) = shard.slice(from, SLICE);
                for slot in slots {
                    let Some(entry) = shard.get_mut(slot) else {
                        continue;
                    };
                    // What a server says itself, each says.
                    if entry.is_reserved || entry.is_stopped(now_ms) {
                        continue;
                    }
                    series += 1;
                    // The same on every server, whichever version it is.
                    let tenant = xxh3_64(entry.tenant.name.as_bytes());
                    let hash = xxh3_64_with_seed(&entry.key, tenant);
                    if kept.len() < most || kept.peek().is_some_and(|largest| hash < *largest) {
                        kept.push(hash);
                        if kept.len() > most {
                            kept.pop();
                        }
                    }
                }
                drop(shard);
                if is_end {
                    break;
                }
                from += SLICE;
            }
        }
        Census {
            series,
            smallest: kept.into_sorted_vec(),
        }
    }
}

/// How many series several of those have who told these censuses, each with `most` hashes at most.
/// Exact while none of them has more series than that, else a guess from a part.
#[must_use]
pub fn at_several(all: &[Census], most: usize) -> u64 {
    // Of hashes up to here everybody has told all.
    let is_whole = |census: &&Census| census.smallest.len() < most;
    let last = |census: &Census| census.smallest.last().copied().unwrap_or(u64::MAX);
    let ends = all.iter().filter(|census| !is_whole(census)).map(last);
    let end = ends.min().unwrap_or(u64::MAX);
    let told = all.iter().flat_map(|census| &census.smallest);
    let mut told: Vec<u64> = told.copied().filter(|hash| *hash <= end).collect();
    told.sort_unstable();
    let (mut once, mut several) = (0_u64, 0_u64);
    for run in told.chunk_by(|one, other| one == other) {
        once += run.len() as u64;
        several += u64::from(run.len() > 1);
    }
    if end == u64::MAX || once == 0 {
        return several;
    }
    let series: u64 = all.iter().map(|census| census.series).sum();
    (several as f64 / once as f64 * series as f64).round() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pulseboard_series::Batch;

    use super::*;
    use crate::engine::EngineOptions;

    const NOON: i64 = 1_763_726_400_000;

    fn engine_of(numbers: std::ops::Range<u64>) -> Arc<Engine> {
        let engine = Arc::new(Engine::new(EngineOptions::default(), None));
        let tenant = engine.tenant("default").expect("a tenant");
        let mut batch = Batch::new();
        for number in numbers {
            let row = batch
                .begin(&["m"])
                .and_then(|()| batch.label("number", &number.to_string()))
                .and_then(|()| batch.finish(1, Some(NOON), 1.0));
            assert_eq!(row, Ok(()));
        }
        engine.append(&tenant, &batch, NOON);
        engine
    }

    #[test]
    fn series_that_two_have_are_found_exactly_where_they_are_few() {
        let all = [0..300, 200..400, 350..360].map(|of| engine_of(of).census(1_024, NOON));
        assert_eq!(all.each_ref().map(|one| one.series), [300, 200, 10]);
        assert_eq!(at_several(&all, 1_024), 110);
        assert_eq!(at_several(&all[..1], 1_024), 0);
        assert_eq!(at_several(&[], 1_024), 0);
    }

    #[test]
    fn many_are_guessed_from_a_part() {
        let all = [0..20_000, 10_000..30_000].map(|of| engine_of(of).census(1_024, NOON));
        assert_eq!(all[0].smallest.len(), 1_024);
        let guessed = at_several(&all, 1_024);
        assert!((8_000..12_000).contains(&guessed), "{guessed}");
        let apart = [0..20_000, 20_000..40_000].map(|of| engine_of(of).census(1_024, NOON));
        assert_eq!(at_several(&apart, 1_024), 0);
    }
}
