//! Sealing and reading back: overlaps, hours, disorder, damage.

use std::fs;

use proptest::prelude::*;
use pulseboard_history::SeriesId;

use crate::support::{HOUR, Model, START, bits, maintain, open, raw, seal};

#[test]
fn a_batch_is_split_by_hour_and_read_across() {
    let dir = tempfile::tempdir().unwrap();
    let (history, ..) = open(dir.path());
    let samples: Vec<_> = (0..7200)
        .map(|second| (START + HOUR / 2 + second * 1000, second as f64 / 10.0))
        .collect();
    let report = seal(&history, &[(3, samples.clone()), (4, vec![])]);
    assert_eq!(
        (report.samples, report.chunks, report.too_old),
        (7200, 3, 0)
    );
    assert_eq!(raw(&history, 3, i64::MIN, i64::MAX), samples);
    let (from, to) = (START + HOUR, START + HOUR + 10_000);
    assert_eq!(raw(&history, 3, from, to), samples[1800..1810]);
    assert_eq!(raw(&history, 3, to, from), []);
    assert_eq!(raw(&history, 4, i64::MIN, i64::MAX), []);
    let stats = history.stats();
    assert_eq!(
        (stats.levels[0].samples, stats.levels[0].oldest_ms),
        (7200, Some(START))
    );
}

#[test]
fn a_snapshot_does_not_change() {
    let dir = tempfile::tempdir().unwrap();
    let (history, ..) = open(dir.path());
    seal(&history, &[(1, vec![(START, 1.0)])]);
    let mut snapshot = history.snapshot().unwrap();
    seal(&history, &[(1, vec![(START, 2.0), (START + 1, 3.0)])]);
    let mut samples = Vec::new();
    snapshot
        .read_raw(SeriesId(1), i64::MIN, i64::MAX, &mut samples)
        .unwrap();
    assert_eq!(samples, [(START, 1.0)]);
    assert_eq!(
        raw(&history, 1, 0, i64::MAX),
        [(START, 2.0), (START + 1, 3.0)]
    );
}

#[test]
fn times_before_1970_and_one_series_twice_in_a_batch_lose_nothing_in_silence() {
    let dir = tempfile::tempdir().unwrap();
    let (history, ..) = open(dir.path());
    let report = seal(
        &history,
        &[
            (1, vec![(-5, 1.0), (START, 1.0)]),
            (1, vec![(START + 1, 2.0)]),
            (0, vec![(START, 9.0)]),
        ],
    );
    assert_eq!((report.samples, report.too_old), (3, 1));
    assert_eq!(
        raw(&history, 1, i64::MIN, i64::MAX),
        [(START, 1.0), (START + 1, 2.0)]
    );
}

#[test]
fn a_damaged_chunk_is_skipped_noted_once_and_the_rest_read() {
    let dir = tempfile::tempdir().unwrap();
    let (history, ..) = open(dir.path());
    let noisy = |seed: u64| -> Vec<(i64, f64)> {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..3600)
            .map(|second| (START + second * 1000, random.f64()))
            .collect()
    };
    seal(&history, &[(1, noisy(1)), (2, noisy(2))]);
    drop(history);
    // The chunks are the only long values of the file: some of these bytes are in one of them.
    let path = dir.path().join("blocks.redb");
    let clean = fs::read(&path).unwrap();
    let mut hits = 0;
    for part in 1..40 {
        let mut bytes = clean.clone();
        let at = bytes.len() / 40 * part;
        bytes[at] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        let (history, _, report) = open(dir.path());
        if report.blocks_set_aside.is_some() {
            fs::remove_file(dir.path().join("blocks.redb.damaged-1")).unwrap();
            continue;
        }
        let read = [1, 2].map(|id| {
            let mut samples = Vec::new();
            drop(history.read_raw(SeriesId(id), 0, i64::MAX, &mut samples));
            drop(history.read_raw(SeriesId(id), 0, i64::MAX, &mut Vec::new()));
            samples.len()
        });
        let damage = history.take_damage();
        if read.contains(&0) && read.contains(&3600) && damage.len() == 1 {
            hits += 1;
            assert_eq!((damage[0].tier, damage[0].block_ms), (None, START));
            assert!(
                damage[0].reason.contains("checksum"),
                "{}",
                damage[0].reason
            );
            assert_eq!(
                (history.stats().damaged, history.take_damage().len()),
                (1, 0)
            );
        }
    }
    assert!(hits > 0, "no flip hit a chunk");
}

fn batches() -> impl Strategy<Value = Vec<Vec<(i64, f64)>>> {
    let value = prop_oneof![
        (-1000..1000_i64).prop_map(|value| value as f64 / 10.0),
        any::<u64>().prop_map(f64::from_bits),
    ];
    let sample = (0..3 * HOUR / 5000, value).prop_map(|(step, value)| (START + step * 5000, value));
    prop::collection::vec(prop::collection::vec(sample, 0..200), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Any disorder and overlap, then merging: always the last value sealed for each time.
    #[test]
    fn reads_equal_a_map(batches in batches(), from in 0..3 * HOUR, length in 0..3 * HOUR) {
        let dir = tempfile::tempdir().unwrap();
        let (history, ..) = open(dir.path());
        let mut model = Model::new();
        for batch in &batches {
            model.extend(batch.iter().copied());
            seal(&history, &[(5, batch.clone()), (6, vec![(START + 1, 1.0)])]);
        }
        let (from, to) = (START + from, START + from + length);
        let all: Vec<_> = model.iter().map(|(&at, &value)| (at, value)).collect();
        let part: Vec<_> = model.range(from..to).map(|(&at, &value)| (at, value)).collect();
        prop_assert_eq!(bits(&raw(&history, 5, i64::MIN, i64::MAX)), bits(&all));
        prop_assert_eq!(bits(&raw(&history, 5, from, to)), bits(&part));
        maintain(&history, START + 4 * HOUR);
        prop_assert_eq!(bits(&raw(&history, 5, i64::MIN, i64::MAX)), bits(&all));
        prop_assert_eq!(bits(&raw(&history, 5, from, to)), bits(&part));
        let stats = history.stats().levels[0];
        prop_assert_eq!(stats.samples, all.len() as u64 + 1);
        prop_assert!(stats.values <= 4, "one chunk an hour and series");
    }
}
