//! Retention by size against a naive model: whole blocks, of whoever has most.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use proptest::prelude::*;

use crate::{
    Definition, History, HistoryOptions, RecoverSink, Retention, SealBatch, SeriesId,
    state::LEVELS,
    tables::{FLOOR_OF, TALLY_OF},
};

const HOUR: i64 = 3_600_000;
const START: i64 = 2_000 * 240 * HOUR;

struct Ignore;

impl RecoverSink for Ignore {
    fn tombstone(&mut self, _: crate::Tombstone) {}

    fn definition(&mut self, _: Definition) {}
    fn sample(&mut self, _: SeriesId, _: i64, _: f64) {}
}

fn open(dir: &Path, bytes_max: Option<u64>) -> History {
    let year = Duration::from_secs(365 * 86_400);
    let options = HistoryOptions {
        retention: Retention {
            raw: year,
            tiers: [year; 4],
            bytes_max,
        },
        ..HistoryOptions::default()
    };
    History::open(dir, options, &mut Ignore).unwrap().0
}

fn maintain(history: &History, now_ms: i64) {
    let step = || history.maintain(now_ms, now_ms - HOUR, Duration::from_secs(5));
    while step().unwrap().more {}
}

/// Bytes by tenant, level and block.
type Blocks = BTreeMap<Arc<str>, BTreeMap<(usize, u32), u64>>;

fn blocks(history: &History) -> Blocks {
    let state = history.state.lock();
    let parts = state.parts.of.iter();
    let each = |(tenant, part): (&Arc<str>, &crate::parts::Part)| {
        let blocks = part
            .blocks()
            .map(|(level, block, bytes)| ((level, block), bytes));
        (Arc::clone(tenant), blocks.collect())
    };
    parts.map(each).collect()
}

fn bytes(blocks: &BTreeMap<(usize, u32), u64>) -> u64 {
    blocks.values().sum()
}

/// While there is too much: the oldest of the finest that can go, of whoever has most, as long as
/// that is more than its part.
fn take(all: &mut Blocks, max: u64, can_go: impl Fn(usize, u32) -> bool) {
    while all.values().map(bytes).sum::<u64>() > max {
        // What those with little leave is the others'.
        let totals: Vec<u64> = all.values().map(bytes).collect();
        let fits = |part: u64| totals.iter().map(|&has| has.min(part)).sum::<u64>() <= max;
        let (mut part, mut too_much) = (0, max + 1);
        while part + 1 < too_much {
            let middle = part.midpoint(too_much);
            if fits(middle) {
                part = middle;
            } else {
                too_much = middle;
            }
        }
        let over = all.iter().filter(|(_, blocks)| bytes(blocks) > part);
        let mut over: Vec<_> = over.collect();
        over.sort_by_key(|(tenant, blocks)| (std::cmp::Reverse(bytes(blocks)), Arc::clone(tenant)));
        let going = over.iter().find_map(|(tenant, blocks)| {
            // Of each level the oldest alone may go.
            let oldest =
                (0..LEVELS).filter_map(|level| blocks.keys().copied().find(|&(of, _)| of == level));
            let mut can = oldest.filter(|&(level, block)| can_go(level, block));
            can.next().map(|key| (Arc::clone(tenant), key))
        });
        let Some((tenant, key)) = going else {
            return;
        };
        let blocks = all.get_mut(&tenant).unwrap();
        blocks.remove(&key);
        if blocks.is_empty() {
            all.remove(&tenant);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_over_is_taken_from_whoever_has_most(
        // Of each series: whose it is, since which hour, how many hours, how many samples an hour.
        series in prop::collection::vec((0_u32..4, 0_i64..20, 1_i64..20, 1_i64..90), 1..9),
        percent in 1_u64..110,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let history = open(dir.path(), None);
        let mut sealed = Vec::new();
        for (id, &(tenant, since, hours, rate)) in (0_u32..).zip(&series) {
            let definition = Definition {
                id: SeriesId(id),
                tenant: format!("t{tenant}").into(),
                key: Box::default(),
                unit: "".into(),
                kind: 0,
                created_ms: START,
            };
            drop(history.append_definition(&definition).unwrap());
            let samples = (0..hours * rate).map(|number| {
                let at_ms = START + since * HOUR + number * HOUR / rate;
                (at_ms, (number * 7_919 % 1_000) as f64 / 7.0)
            });
            sealed.push((SeriesId(id), samples.collect::<Vec<_>>()));
        }
        let batch = sealed.iter().map(|(id, samples)| (*id, samples.as_slice()));
        history.seal(&SealBatch { series: batch.collect(), safe_segment: None }).unwrap();
        let now_ms = START + 30 * HOUR;
        maintain(&history, now_ms);
        let mut expected = blocks(&history);
        let all = history.stats().blocks_bytes;
        prop_assert_eq!(expected.values().map(bytes).sum::<u64>(), all);
        drop(history);

        let max = all * percent / 100;
        let history = open(dir.path(), Some(max));
        let state = history.state.lock().clone();
        take(&mut expected, max, |level, block| super::can_go(&state, level, block));
        maintain(&history, now_ms);
        prop_assert_eq!(&blocks(&history), &expected);
        let floors = history.state.lock().parts.floors.clone();
        drop(history);

        // It is on the disk, and where it is not, it is counted.
        let history = open(dir.path(), Some(max));
        prop_assert_eq!(&blocks(&history), &expected);
        let again = history.state.lock().parts.floors.clone();
        for tenant in expected.keys() {
            prop_assert_eq!(again.get(tenant), floors.get(tenant));
        }
        let forget = history.store.write("forget", |txn| {
            txn.delete_table(TALLY_OF)?;
            Ok(txn.delete_table(FLOOR_OF)?)
        });
        prop_assert!(forget.unwrap());
        drop(history);
        let history = open(dir.path(), Some(max));
        prop_assert_eq!(&blocks(&history), &expected);
    }
}

#[test]
fn a_block_of_many_is_looked_through_in_steps() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path(), None);
    // Every third is of the one with much; more than one step removes.
    let count = 3 * (super::STEP_VALUES as u32 + 10);
    let tenants: [&str; 3] = ["much", "b", "c"];
    for id in 0..count {
        let tenant = tenants[id as usize % 3];
        drop(
            history
                .append_definition(&Definition {
                    id: SeriesId(id),
                    tenant: tenant.into(),
                    key: Box::default(),
                    unit: "".into(),
                    kind: 0,
                    created_ms: START,
                })
                .unwrap(),
        );
    }
    let few = [(START, 1.0)];
    let many: Vec<(i64, f64)> = (0..9)
        .map(|at| (START + at * 60_000, at as f64 / 7.0))
        .collect();
    let samples = |id: u32| {
        if id.is_multiple_of(3) {
            &many[..]
        } else {
            &few[..]
        }
    };
    let series = (0..count).map(|id| (SeriesId(id), samples(id)));
    history
        .seal(&SealBatch {
            series: series.collect(),
            safe_segment: None,
        })
        .unwrap();
    let now_ms = START + 2 * HOUR;
    maintain(&history, now_ms);
    let before = blocks(&history);
    drop(history);
    let others: u64 = ["b", "c"].map(|tenant| bytes(&before[tenant])).iter().sum();
    let tenth = before["much"][&(1, (START / HOUR) as u32)];
    let history = open(dir.path(), Some(others + tenth));
    maintain(&history, now_ms);
    let after = blocks(&history);
    assert_eq!((&after["b"], &after["c"]), (&before["b"], &before["c"]));
    assert_eq!(
        after["much"].keys().collect::<Vec<_>>(),
        [&(1, (START / HOUR) as u32)]
    );
}
