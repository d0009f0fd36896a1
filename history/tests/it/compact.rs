//! Space that is given back: the blocks' file becomes smaller, and nothing else changes.

use std::{cell::Cell, path::Path};

use pulseboard_history::{HistoryOptions, SeriesId, Tier, Tombstone};

use crate::support::{HOUR, START, buckets, definition, maintain, open_with, raw, seal};

const SERIES: u32 = 40;

fn options() -> HistoryOptions {
    HistoryOptions {
        spare_bytes: 1 << 20,
        // What is read is read from the file, whatever was read before.
        cache_bytes: 0,
        ..HistoryOptions::default()
    }
}

/// Eight hours that no codec packs well.
fn noise(seed: u32) -> Vec<(i64, f64)> {
    let mut random = fastrand::Rng::with_seed(u64::from(seed));
    (0..8 * 1_800)
        .map(|at| (START + at * 2_000, random.f64()))
        .collect()
}

fn file_bytes(dir: &Path) -> u64 {
    dir.join("blocks.redb").metadata().unwrap().len()
}

/// All but the first series are deleted.
fn graves() -> Vec<Tombstone> {
    let of = |id: u32| Tombstone {
        series: SeriesId(id),
        from_ms: i64::MIN,
        to_ms: i64::MAX,
        is_whole: true,
    };
    (2..=SERIES).map(of).collect()
}

#[test]
fn what_is_deleted_makes_the_file_smaller() {
    let dir = tempfile::tempdir().unwrap();
    let (history, ..) = open_with(dir.path(), options());
    for id in 1..=SERIES {
        drop(history.append_definition(&definition(id)).unwrap());
        seal(&history, &[(id, noise(id))]);
    }
    let now_ms = START + 9 * HOUR;
    maintain(&history, now_ms);
    assert_eq!(history.compact(&|| true).unwrap(), None, "nothing is spare");
    history.entomb(&graves()).unwrap();
    maintain(&history, now_ms);
    let before = file_bytes(dir.path());
    let minutes = buckets(&history, Tier::Minute, 1);
    let mut reader = history.snapshot().unwrap();

    let given_back = history.compact(&|| true).unwrap().expect("there is much");
    let after = file_bytes(dir.path());
    assert_eq!(before - after, given_back);
    assert!(after < before / 4, "{before} bytes, then {after}");
    assert!(!dir.path().join("blocks.new").exists());

    // Whoever read the old file goes on, and so does everything else in the new one.
    let mut seen = Vec::new();
    reader
        .read_raw(SeriesId(1), i64::MIN, i64::MAX, &mut seen)
        .unwrap();
    assert_eq!(seen, noise(1));
    drop(reader);
    assert_eq!(raw(&history, 1, i64::MIN, i64::MAX), noise(1));
    assert_eq!(raw(&history, 2, i64::MIN, i64::MAX), []);
    assert_eq!(buckets(&history, Tier::Minute, 1), minutes);
    // A number that was deleted as such is never given again.
    let new = SERIES + 1;
    drop(history.append_definition(&definition(new)).unwrap());
    seal(&history, &[(new, noise(new))]);
    assert_eq!(
        history.compact(&|| true).unwrap(),
        None,
        "not one after another"
    );
    drop(history);
    let (history, _, report) = open_with(dir.path(), options());
    assert_eq!(report.complaints(), Vec::<String>::new());
    for id in [1, new] {
        assert!(raw(&history, id, i64::MIN, i64::MAX) == noise(id), "{id}");
    }
    assert_eq!(buckets(&history, Tier::Minute, 1), minutes);
}

#[test]
fn what_is_given_up_or_ends_in_the_middle_leaves_the_file_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (history, ..) = open_with(dir.path(), options());
    for id in 1..=SERIES {
        drop(history.append_definition(&definition(id)).unwrap());
        seal(&history, &[(id, noise(id))]);
    }
    history.entomb(&graves()).unwrap();
    maintain(&history, START + 9 * HOUR);
    let before = file_bytes(dir.path());
    let asked = Cell::new(0);
    let goes_on = || asked.replace(asked.get() + 1) < 2;
    assert_eq!(history.compact(&goes_on).unwrap(), None);
    assert!(asked.get() > 2, "it had begun");
    assert_eq!(file_bytes(dir.path()), before);
    assert!(!dir.path().join("blocks.new").exists());
    assert_eq!(raw(&history, 1, i64::MIN, i64::MAX), noise(1));
    drop(history);
    // As a process leaves it that is killed meanwhile.
    std::fs::create_dir(dir.path().join("blocks.new")).unwrap();
    std::fs::write(dir.path().join("blocks.new/blocks.redb"), "half").unwrap();
    let (history, ..) = open_with(dir.path(), options());
    assert!(!dir.path().join("blocks.new").exists());
    assert!(history.compact(&|| true).unwrap().is_some());
    assert_eq!(raw(&history, 1, i64::MIN, i64::MAX), noise(1));
}
