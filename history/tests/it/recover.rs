//! Restarts: what comes back, from where, and what is said about damage.

use std::fs;

use proptest::prelude::*;
use pulseboard_history::{HistoryError, SampleRecord, SealBatch, SeriesId, Tier};

use crate::support::{HOUR, START, bits, buckets, definition, maintain, open, raw, seal};

fn append(history: &pulseboard_history::History, rows: &[(u32, i64, f64)]) {
    let mut record = SampleRecord::new();
    for &(id, at_ms, value) in rows {
        record.push(SeriesId(id), at_ms, value);
    }
    history
        .append_samples(&record)
        .unwrap()
        .wait_blocking()
        .unwrap();
}

#[test]
fn definitions_come_first_then_the_log_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (history, ..) = open(dir.path());
    history
        .append_definition(&definition(1))
        .unwrap()
        .wait_blocking()
        .unwrap();
    append(&history, &[(1, START, 1.0), (1, START + 1, -0.0)]);
    let next = history.rotate_wal().unwrap();
    let samples = [(START, 1.0), (START + 1, -0.0)];
    let batch = SealBatch {
        series: vec![(SeriesId(1), &samples)],
        safe_segment: Some(next - 1),
    };
    assert!(history.seal(&batch).unwrap().released_bytes > 0);
    history
        .append_definition(&definition(2))
        .unwrap()
        .wait_blocking()
        .unwrap();
    append(&history, &[(2, START + 2, f64::NAN), (1, START - 9, 3.0)]);
    drop(history);

    let (history, sink, report) = open(dir.path());
    assert_eq!(sink.definitions, [definition(1), definition(2)]);
    let expected = [
        (SeriesId(2), START + 2, f64::NAN.to_bits()),
        (SeriesId(1), START - 9, 3.0_f64.to_bits()),
    ];
    assert_eq!(sink.samples, expected);
    assert_eq!(
        (report.series, report.log_definitions, report.log_samples),
        (1, 1, 2)
    );
    assert_eq!(report.complaints(), [""; 0]);
    assert_eq!(bits(&raw(&history, 1, 0, i64::MAX)), bits(&samples));
}

#[test]
fn a_release_saves_definitions_that_only_the_log_had() {
    let dir = tempfile::tempdir().unwrap();
    let (history, ..) = open(dir.path());
    history
        .append_definition(&definition(1))
        .unwrap()
        .wait_blocking()
        .unwrap();
    let next = history.rotate_wal().unwrap();
    assert_eq!(history.release_wal(next - 1).unwrap().len(), 1);
    drop(history);
    let (_, sink, report) = open(dir.path());
    assert_eq!(
        (sink.definitions, report.log_definitions),
        (vec![definition(1)], 0)
    );
}

#[test]
fn a_damaged_blocks_file_is_set_aside_and_the_log_still_used() {
    for damage in [&b"not a database at all"[..], &[0; 5000][..], &[]] {
        let dir = tempfile::tempdir().unwrap();
        let (history, ..) = open(dir.path());
        append(&history, &[(1, START, 1.0)]);
        drop(history);
        let path = dir.path().join("blocks.redb");
        fs::write(&path, damage).unwrap();
        let (history, sink, report) = open(dir.path());
        assert_eq!(sink.samples.len(), 1);
        if !damage.is_empty() {
            assert!(report.blocks_set_aside.is_some());
            assert!(report.complaints()[0].contains("blocks.redb.damaged-1"));
            assert_eq!(
                fs::read(dir.path().join("blocks.redb.damaged-1")).unwrap(),
                damage
            );
        }
        seal(&history, &[(1, vec![(START, 1.0)])]);
        drop(history);
        let (history, _, report) = open(dir.path());
        assert_eq!(report.complaints(), [""; 0]);
        assert_eq!(raw(&history, 1, 0, i64::MAX), [(START, 1.0)]);
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let mut sink = crate::support::Sink::default();
    let outcome = pulseboard_history::History::open(&file, Default::default(), &mut sink);
    let error = outcome.err().unwrap();
    assert!(matches!(error, HistoryError::Io { .. }), "{error}");
    assert!(error.to_string().contains("file"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sample_records_come_back_bit_for_bit(
        rows in prop::collection::vec((any::<u32>(), any::<i64>(), any::<u64>()), 0..50),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (history, ..) = open(dir.path());
        let rows: Vec<_> =
            rows.iter().map(|&(id, at, value)| (id, at, f64::from_bits(value))).collect();
        append(&history, &rows);
        drop(history);
        let (_, sink, report) = open(dir.path());
        let expected: Vec<_> =
            rows.iter().map(|&(id, at, value)| (SeriesId(id), at, value.to_bits())).collect();
        prop_assert_eq!(sink.samples, expected);
        prop_assert_eq!(report.log_unreadable, 0);
    }
}

#[test]
fn what_can_be_read_of_a_damaged_blocks_file_is_saved() {
    let noisy = |seed: u64| -> Vec<(i64, f64)> {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..900)
            .map(|second| (START + second * 1000, random.f64()))
            .collect()
    };
    let dir = tempfile::tempdir().unwrap();
    let (history, ..) = open(dir.path());
    drop(history.append_definition(&definition(3)).unwrap());
    seal(
        &history,
        &(0..40)
            .map(|id| (id, noisy(u64::from(id))))
            .collect::<Vec<_>>(),
    );
    maintain(&history, START + 3 * HOUR);
    let before = buckets(&history, Tier::TenSeconds, 3);
    drop(history);
    let whole = fs::read(dir.path().join("blocks.redb")).unwrap();
    let mut saved = 0;
    for part in 1..12 {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = whole.clone();
        // Amid a page, where values are: its head may be that of a table's root, below which there
        // is nothing to be found any more.
        let at = bytes.len() / 12 * part / 4_096 * 4_096 + 2_048;
        bytes[at] ^= 0x55;
        fs::write(dir.path().join("blocks.redb"), &bytes).unwrap();
        fs::write(
            dir.path().join("blocks.redb.open"),
            "damaged: a test says so",
        )
        .unwrap();
        let (history, sink, report) = open(dir.path());
        if report.blocks_set_aside.is_none() {
            continue;
        }
        saved += 1;
        assert!(report.blocks_salvaged >= 120, "part {part}: {report:?}");
        assert_eq!(sink.definitions, [definition(3)]);
        let equal = (0..40).filter(|&id| raw(&history, id, 0, i64::MAX) == noisy(u64::from(id)));
        let equal = equal.count();
        assert!(equal >= 39, "part {part}: {equal} of 40 series");
        if history.take_damage().is_empty() {
            assert_eq!(buckets(&history, Tier::TenSeconds, 3), before);
        }
        assert_eq!(history.stats().levels[0].values, 40);
        let through = history.snapshot().unwrap().rolled_through(Tier::TenSeconds);
        assert_eq!(through, START + 2 * HOUR);
        drop(history);
        let (_, _, report) = open(dir.path());
        assert_eq!(report.complaints(), [""; 0]);
    }
    assert!(saved > 0, "no flip was seen by the check");
}

/// Whatever bytes of the blocks' file are wrong: opening, reading and writing answer, and nothing
/// panics. With a fixed seed: of some thousand damaged structures one makes the store panic while
/// it unwinds, which ends the process; that is what the count of unclean ends is for.
#[test]
fn flipped_bytes_of_the_blocks_file_are_survived() {
    let dir = tempfile::tempdir().unwrap();
    let (history, ..) = open(dir.path());
    for round in 0..3_i64 {
        let samples: Vec<_> = (0..500)
            .map(|tick| (START + round * 500_000 + tick * 1000, tick as f64))
            .collect();
        seal(
            &history,
            &(0..20).map(|id| (id, samples.clone())).collect::<Vec<_>>(),
        );
    }
    drop(history);
    let whole = fs::read(dir.path().join("blocks.redb")).unwrap();
    let mut random = fastrand::Rng::with_seed(11);
    let (mut set_aside, mut damaged) = (0, 0);
    for round in 0..40 {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = whole.clone();
        for _ in 0..random.usize(1..8) {
            // The first pages hold the headers and most of the structure.
            let end = if round % 2 == 0 { 20_000 } else { bytes.len() };
            bytes[random.usize(..end)] ^= random.u8(1..);
        }
        fs::write(dir.path().join("blocks.redb"), &bytes).unwrap();
        let mut sink = crate::support::Sink::default();
        let opened = pulseboard_history::History::open(dir.path(), Default::default(), &mut sink);
        let Ok((history, report)) = opened else {
            continue;
        };
        set_aside += u32::from(report.blocks_set_aside.is_some());
        for id in 0..20 {
            drop(history.read_raw(SeriesId(id), 0, i64::MAX, &mut Vec::new()));
        }
        let samples = [(START + 77, 1.0)];
        let batch = SealBatch {
            series: vec![(SeriesId(1), &samples)],
            safe_segment: None,
        };
        drop(history.seal(&batch));
        let hour = std::time::Duration::from_secs(3600);
        drop(history.maintain(START + 40_000_000, START + 30_000_000, hour));
        damaged += history.stats().damaged;
    }
    assert!(
        set_aside > 0 && damaged > 0,
        "{set_aside} set aside, {damaged} damaged values"
    );
}
