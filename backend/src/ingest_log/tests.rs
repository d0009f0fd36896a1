//! The log as a whole, of a server whose Redis is not there.

use bytes::Bytes;
use pulseboard_bus::Partition;
use pulseboard_engine::EngineOptions;
use pulseboard_history::HistoryOptions;
use pulseboard_series::Batch;
use tempfile::TempDir;

use super::{
    entry::{Writer, raw_frame},
    *,
};
use crate::base::telemetry::Telemetry;

struct Stage {
    log: Arc<IngestLog>,
    cluster: Arc<Cluster>,
    engine: Arc<Engine>,
}

fn history_in(folder: &TempDir) -> Arc<Engine> {
    let place = folder.path().join(HISTORY);
    let options = (EngineOptions::default(), HistoryOptions::default());
    let opened = Engine::open(&place, options.0, options.1, 0).expect("it opens");
    Arc::new(opened.0)
}

fn open(folder: &TempDir) -> Stage {
    let settings = Settings {
        redis_url: Some("redis://127.0.0.1:1".parse().expect("an address")),
        data_dir: DataDir::Path(folder.path().to_path_buf()),
        ..Settings::default()
    };
    let cluster = Cluster::new(&settings).expect("random numbers");
    let cluster = cluster.expect("there may be others");
    let (engine, clock) = (history_in(folder), Clock::manual(1_000_000));
    let telemetry = Arc::new(Telemetry::default());
    let ingest = Ingest::new(32 << 20, &engine, clock.clone(), &telemetry);
    let again = CancellationToken::new();
    let log = IngestLog::open(&settings, &cluster, &engine, &ingest, (clock, &again));
    Stage {
        log: log.expect("it opens"),
        cluster,
        engine,
    }
}

/// An entry of another server with one sample.
fn entry_of(tenant: &str, name: &str) -> Bytes {
    let mut batch = Batch::new();
    batch.begin(&[name]).expect("a name");
    batch.finish(1, None, 1.0).expect("a row");
    let mut frames = Vec::new();
    let mut writer = Writer::default();
    writer.write(
        (tenant, 999_000),
        &batch,
        &[],
        || 1,
        |_, frame| frames.push(frame),
    );
    let mut packer = Packer::new().expect("a packer");
    let entry = packer.pack(999_000, "b.1", frames.iter().map(Vec::as_slice));
    entry.into()
}

/// A thread that serves may not wait, and taking in waits for room: that is the fault here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_cannot_be_taken_in_without_a_fault_is_passed_over_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let stage = open(&folder);
    let begin = stage.log.begin.lock().take().expect("not begun yet");
    let mut taking = begin.incoming.begin(begin.unpacker);
    let part = Partition::of("t").number();
    taking.entry(part, &entry_of("t", "one"));
    assert_eq!(stage.log.figures().unreadable.get(), 1);
    let taken = tokio::task::spawn_blocking(move || {
        taking.entry(part, &entry_of("t", "two"));
        taking
    });
    drop(taken.await.expect("no fault"));
    assert_eq!(stage.engine.series(), 1, "the next one is taken in");
    assert_eq!(stage.log.figures().unreadable.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_ends_by_a_fault_makes_the_server_unready_and_nobody_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    let stage = open(&folder);
    let before = stage.cluster.readiness().expect_err("nobody was heard yet");
    assert!(!before.contains("fault"), "{before}");
    let thread = stage.log.thread("ingest-take", || panic!("a fault"));
    let ended = thread.expect("a thread").join();
    assert!(ended.is_ok(), "it was seen");
    let after = stage.cluster.readiness().expect_err("it is not ready");
    assert!(after.contains("start this server anew"), "{after}");
    // Whoever sends is answered by this server's own log.
    let mut batch = Batch::new();
    batch.begin(&["up"]).expect("a name");
    batch.finish(1, None, 1.0).expect("a row");
    let tenant = stage.engine.tenant("t").expect("a tenant");
    let appended = stage.engine.append(&tenant, &batch, 1_000_000);
    assert!(!appended.onward.is_empty());
    for ticket in &appended.onward {
        assert!(matches!(ticket.outcome(), Some(Ok(()))));
    }
}

/// A copy brought segments up to 5, and nothing is left of them: the log begins with 1 again.
#[tokio::test]
async fn own_frames_behind_a_copy_are_known_whatever_their_segments_are_called() {
    let folder = tempfile::tempdir().expect("a folder");
    let places = Places {
        sent: 40,
        own_from: 6,
        ..Places::default()
    };
    places.write(folder.path()).expect("written");
    let stage = open(&folder);
    let current = stage.engine.history().expect("one").current_wal_segment();
    assert!(current < 6);
    let kept = Places::read(folder.path()).expect("places");
    assert_eq!((kept.own_from, kept.sent), (current, 40));
    // It notes a frame, and is killed before anything else is kept.
    let note = raw_frame(("t", 1_000, 41), b"own");
    let history = stage.engine.history().expect("one").clone();
    let noted = history.append_note(&note).expect("there is room");
    assert!(noted.wait().await.is_ok());
    drop((stage, history));
    let again = open(&folder);
    assert_eq!(again.log.backlog(), 1, "it is sent by the next run");
}

#[test]
fn numbers_are_not_given_twice_where_the_log_cannot_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = history_in(&folder);
    let history = engine.history().expect("one");
    let note = |number| {
        let note = raw_frame(("t", 1_000, number), b"own");
        let noted = history.append_note(&note).expect("there is room");
        assert!(noted.wait_blocking().is_ok());
    };
    (1..=9).for_each(note);
    let next = history.rotate_wal().expect("rotated");
    (10..=19).for_each(note);
    let places = Places::default();
    assert_eq!(newest_number(history, &places), 19);
    history.rotate_wal().expect("rotated");
    let wal = folder.path().join(HISTORY).join("wal");
    let file = wal.join(format!("{next:08}.log"));
    fs::remove_file(&file).expect("removed");
    fs::create_dir(&file).expect("nobody reads a folder");
    assert!(newest_number(history, &places) >= 19);
}
