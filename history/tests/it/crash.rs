//! A process that is killed while it appends: every acknowledged sample is there afterwards.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use pulseboard_history::{SampleRecord, SealBatch, SeriesId};

use crate::support::{START, definition, maintain, open, raw};

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
