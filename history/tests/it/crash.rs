//! A process that is killed while it appends: every acknowledged sample is there afterwards.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use pulseboard_history::{
    History, HistoryOptions, Retention, SampleRecord, SealBatch, SeriesId, Tier, Tombstone,
};

use crate::support::{
    HOUR, Model, START, buckets, definition, maintain, model_buckets, open, open_with, raw,
    same_buckets, seal,
};

const CLEANED: &str = "PULSEBOARD_HISTORY_CLEAN_TEST";
const FOLDER: &str = "PULSEBOARD_HISTORY_CRASH_TEST";
const WRITERS: usize = 4;

/// Not a test by itself: what the test below starts as a process of its own, and kills.
#[test]
fn child() {
    let Some(dir) = env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let (history, sink, _) = open(&dir);
    let first = START + i64::try_from(sink.samples.len()).unwrap() * 1000;
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (history, dir) = (&history, &dir);
            scope.spawn(move || {
                let options = &mut fs::OpenOptions::new();
                let path = dir.join(format!("acknowledged-{writer}"));
                let mut acknowledged = options.create(true).append(true).open(path).unwrap();
                let id = u32::try_from(writer).unwrap();
                history
                    .append_definition(&definition(id))
                    .unwrap()
                    .wait_blocking()
                    .unwrap();
                let mut samples = Vec::new();
                let end = Instant::now() + Duration::from_secs(60);
                for number in (0..).take_while(|_| Instant::now() < end) {
                    let at_ms = first + number;
                    let mut record = SampleRecord::new();
                    record.push(SeriesId(id), at_ms, at_ms as f64);
                    history
                        .append_samples(&record)
                        .unwrap()
                        .wait_blocking()
                        .unwrap();
                    acknowledged.write_all(&at_ms.to_le_bytes()).unwrap();
                    samples.push((at_ms, at_ms as f64));
                    if writer == 0 && number % 20 == 19 {
                        let series = vec![(SeriesId(id), samples.as_slice())];
                        history
                            .seal(&SealBatch {
                                series,
                                safe_segment: None,
                            })
                            .unwrap();
                        samples.clear();
                        maintain(history, at_ms);
                    }
                }
            });
        }
    });
}

/// Killed when it goes out of sight, also by a failed assertion.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn acknowledged(dir: &Path, writer: usize) -> Vec<i64> {
    let bytes = fs::read(dir.join(format!("acknowledged-{writer}"))).unwrap_or_default();
    bytes
        .chunks_exact(8)
        .map(|raw| i64::from_le_bytes(raw.try_into().unwrap()))
        .collect()
}

#[test]
fn no_acknowledged_sample_is_lost_by_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = 0;
    for round in 0..8 {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "crash::child"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut child = Running(child);
        let wanted = before + 5 + fastrand::usize(..60);
        let deadline = Instant::now() + Duration::from_secs(60);
        while acknowledged(dir.path(), 0).len() < wanted {
            assert!(
                Instant::now() < deadline,
                "round {round}: the writer is stuck"
            );
            assert!(
                child.0.try_wait().unwrap().is_none(),
                "round {round}: the writer ended"
            );
            std::thread::yield_now();
        }
        drop(child);

        let (history, sink, report) = open(dir.path());
        assert_eq!(
            (report.log.skipped_bytes, &report.blocks_set_aside),
            (0, &None)
        );
        for writer in 0..WRITERS {
            let id = u32::try_from(writer).unwrap();
            assert!(
                sink.definitions
                    .iter()
                    .any(|definition| definition.id == SeriesId(id))
            );
            let mut found: Vec<_> = sink.samples.iter().filter(|row| row.0.0 == id).collect();
            found.sort();
            for at_ms in acknowledged(dir.path(), writer) {
                let row = (SeriesId(id), at_ms, (at_ms as f64).to_bits());
                assert!(
                    found.binary_search(&&row).is_ok(),
                    "round {round}: {row:?} is lost"
                );
            }
        }
        // Seals are whole or not there: what is in the blocks' file was in the log as well.
        for sample in raw(&history, 0, 0, i64::MAX) {
            assert!(
                sink.samples
                    .contains(&(SeriesId(0), sample.0, sample.1.to_bits()))
            );
        }
        before = acknowledged(dir.path(), 0).len();
    }
}

/// Everything is kept for as long as the test's times are apart.
fn open_patient(dir: &Path) -> History {
    let options = HistoryOptions {
        retention: Retention {
            raw: Duration::from_secs(100 * 86_400),
            tiers: [Duration::from_secs(100 * 86_400); 4],
            bytes_max: None,
        },
        ..HistoryOptions::default()
    };
    open_with(dir, options).0
}

/// Not a test by itself: takes what is deleted out of the blocks in the smallest steps, until it is
/// killed.
#[test]
fn cleaning_child() {
    let Some(dir) = env::var_os(CLEANED).map(PathBuf::from) else {
        return;
    };
    let history = open_patient(&dir);
    fs::write(dir.join("cleaning"), "").unwrap();
    while !history.clean_tombstones(Duration::ZERO).unwrap() {}
}

/// What is deleted of each series: from within an hour to within another, all of a block of some
/// tiers, a stretch of minutes, everything.
fn deleted_of(id: u32) -> (i64, i64) {
    let at = START + i64::from(id % 7) * HOUR;
    match id % 4 {
        0 => (at + 17 * 60_000 + 3, at + 20 * HOUR + 29_999),
        1 => (START + 24 * HOUR, START + 48 * HOUR - 1),
        2 => (at + 1_000, at + 240_000),
        _ => (0, i64::MAX),
    }
}

/// What is there is what was not deleted: all samples; each bucket that is shown is right, and none
/// is missing that a deletion did not touch, or none at all once all is cleaned.
fn assert_deleted(history: &History, models: &BTreeMap<u32, Model>, is_clean: bool, when: &str) {
    for (&id, model) in models {
        let expected: Vec<(i64, f64)> = model.iter().map(|(at, value)| (*at, *value)).collect();
        let found = raw(history, id, i64::MIN, i64::MAX);
        assert!(found == expected, "{when}: samples of {id}");
        let (from_ms, to_ms) = deleted_of(id);
        for tier in Tier::ALL {
            let expected = model_buckets(model, tier, i64::MAX);
            let found = buckets(history, tier, id);
            let is_shown = |start_ms: i64| found.iter().any(|bucket| bucket.start_ms == start_ms);
            let is_touched =
                |start_ms: i64| start_ms <= to_ms && from_ms < start_ms + tier.bucket_ms();
            let mut left = expected.clone();
            left.retain(|bucket| is_shown(bucket.start_ms));
            assert!(same_buckets(&found, &left), "{when}: {tier:?} of {id}");
            for bucket in &expected {
                assert!(
                    is_shown(bucket.start_ms) || !is_clean && is_touched(bucket.start_ms),
                    "{when}: {tier:?} of {id} has no bucket at {}",
                    bucket.start_ms
                );
            }
        }
    }
}

/// Killed again and again while what is deleted is taken out of the blocks, and copied in between:
/// nothing that was not deleted is lost, and nothing that was is shown.
#[test]
fn a_kill_while_tombstones_are_cleaned_loses_and_brings_back_nothing() {
    const SERIES: u32 = 24;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("history");
    let history = open_patient(&folder);
    let mut models: BTreeMap<u32, Model> = BTreeMap::new();
    for id in 0..SERIES {
        let definition = history.append_definition(&definition(id)).unwrap();
        definition.wait_blocking().unwrap();
        let samples: Vec<(i64, f64)> = (0..50 * 12)
            .map(|step| (START + step * 300_000 + 7_000, (step % 100) as f64))
            .collect();
        models.insert(id, samples.iter().copied().collect());
        seal(&history, &[(id, samples)]);
    }
    maintain(&history, START + 250 * HOUR);
    assert_deleted(&history, &models, true, "before");
    let rows: Vec<Tombstone> = (0..SERIES)
        .map(|id| {
            let (from_ms, to_ms) = deleted_of(id);
            Tombstone {
                series: SeriesId(id),
                from_ms,
                to_ms,
                is_whole: id % 4 == 3,
            }
        })
        .collect();
    history.entomb(&rows).unwrap();
    for (&id, model) in &mut models {
        let (from_ms, to_ms) = deleted_of(id);
        model.retain(|at_ms, _| !(from_ms..=to_ms).contains(at_ms));
    }
    assert_deleted(&history, &models, false, "deleted");
    // The log has nothing of it any more: all of it is in the blocks' file.
    history.rotate_wal().unwrap();
    history
        .release_wal(history.current_wal_segment() - 1)
        .unwrap();
    drop(history);

    let (mut is_clean, mut interrupted) = (false, 0);
    for round in 0..100 {
        let started = folder.join("cleaning");
        fs::remove_file(&started).ok();
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "crash::cleaning_child"])
            .env(CLEANED, &folder)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut child = Running(child);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !started.exists() {
            assert!(
                Instant::now() < deadline,
                "round {round}: it does not start"
            );
            std::thread::yield_now();
        }
        let until = Instant::now() + Duration::from_millis(fastrand::u64(1..60));
        while Instant::now() < until && child.0.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        drop(child);
        let history = open_patient(&folder);
        is_clean = history.tombstones() == 0;
        interrupted += u32::from(!is_clean);
        assert_deleted(&history, &models, is_clean, &format!("round {round}"));
        if round < 3 {
            let copy = dir.path().join(format!("copy-{round}"));
            assert!(history.copy_to(&copy, &|| true).unwrap());
            let copy = open_patient(&copy);
            assert_deleted(
                &copy,
                &models,
                is_clean,
                &format!("the copy of round {round}"),
            );
        }
        if is_clean {
            break;
        }
    }
    assert!(interrupted > 0, "it was never killed on its way");
    let history = open_patient(&folder);
    while !is_clean {
        is_clean = history.clean_tombstones(Duration::from_secs(1)).unwrap();
    }
    assert_deleted(&history, &models, true, "at the end");
    maintain(&history, START + 251 * HOUR);
    assert_deleted(&history, &models, true, "maintained");
    assert_eq!(raw(&history, 3, i64::MIN, i64::MAX), []);
}
