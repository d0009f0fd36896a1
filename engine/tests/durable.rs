//! What was acknowledged: it is there after a restart, and shown, whatever came in which order.

use std::{fs, path::Path, sync::Arc};

use pulseboard_engine::{
    Appended, Cost, Engine, EngineOptions, Found, Persistence, Selector, SeriesTap, Tenant,
};
use pulseboard_history::{HistoryOptions, log::Health};
use pulseboard_series::Batch;

const MINUTE: i64 = 60_000;
/// Some day, at noon.
const NOON: i64 = 1_763_726_400_000;

fn open(folder: &Path, now_ms: i64) -> Engine {
    let mut history = HistoryOptions::default();
    history.log.retry_after = std::time::Duration::from_millis(5);
    let options = EngineOptions::default();
    Engine::open(folder, options, history, now_ms)
        .expect("opens")
        .0
}

fn append(engine: &Engine, name: &str, at_ms: i64, value: f64, now_ms: i64) -> Appended {
    let tenant = engine.tenant("red").expect("a tenant");
    let mut batch = Batch::new();
    let built = batch
        .begin(&[name])
        .and_then(|()| batch.finish(1, Some(at_ms), value));
    assert_eq!(built, Ok(()));
    engine.append(&tenant, &batch, now_ms)
}

/// Whether the samples are on the disk.
fn is_safe(appended: Appended) -> bool {
    match appended.persistence {
        Persistence::Pending(ticket) => ticket.wait_blocking().is_ok(),
        Persistence::InMemory | Persistence::NotDurable(_) => false,
    }
}

fn find(engine: &Engine, name: &str) -> Option<Found> {
    let tenant = engine.known_tenant("red")?;
    let selector = Selector::parse(name).expect("a selector");
    let found = engine.find(
        &tenant,
        &selector,
        |_| true,
        (None, 1),
        NOON + 3_000,
        &Cost::unbounded(),
    );
    found.expect("found").0.into_iter().next()
}

fn samples(engine: &Engine, name: &str) -> Vec<(i64, f64)> {
    let Some(found) = find(engine, name) else {
        return Vec::new();
    };
    let mut past = engine.snapshot().expect("a snapshot");
    let mut read = Vec::new();
    engine
        .read(&found, past.as_mut(), 0, i64::MAX, &mut read)
        .expect("the history reads");
    read
}

/// A value that replaces one that is sealed already is in the log alone; after a restart it
/// still is the newer one.
#[test]
fn the_last_write_wins_over_what_is_sealed_across_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), NOON);
    assert!(is_safe(append(&engine, "a", NOON, 1.0, NOON)));
    assert!(is_safe(append(&engine, "a", NOON + 1_000, 1.5, NOON)));
    engine.maintain(NOON, true).expect("the disk is there");
    assert!(is_safe(append(&engine, "a", NOON, 2.0, NOON + 2_000)));
    drop(engine);
    let expected = [(NOON, 2.0), (NOON + 1_000, 1.5)];
    let engine = open(folder.path(), NOON + 3_000);
    assert_eq!(samples(&engine, "a"), expected);
    let found = find(&engine, "a").expect("it is there");
    assert_eq!(found.last, Some((NOON + 1_000, 1.5)));
    engine.maintain(NOON, true).expect("the disk is there");
    drop(engine);
    assert_eq!(samples(&open(folder.path(), NOON + 4_000), "a"), expected);
}

/// Sealing waits for up to five minutes longer than the window reaches back: until then what came
/// late must be shown from memory.
#[test]
fn what_came_late_is_shown_until_it_is_sealed() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), NOON);
    for second in 0..300 {
        append(&engine, "a", NOON + second * 1_000, 1.0, NOON + 300_000);
    }
    engine.maintain(NOON, true).expect("the disk is there");
    append(&engine, "a", NOON, 2.0, NOON + 300_000);
    append(&engine, "a", NOON + 500, 3.0, NOON + 300_000);
    for minutes in 5..30 {
        let now_ms = NOON + minutes * MINUTE;
        engine.maintain(now_ms, false).expect("the disk is there");
        let there = samples(&engine, "a");
        assert_eq!(
            there[..3],
            [(NOON, 2.0), (NOON + 500, 3.0), (NOON + 1_000, 1.0)],
            "after {minutes} minutes"
        );
        assert_eq!(there.len(), 301);
    }
}

/// The log fails under the first sample of a series, which is said; when the sample is sent again
/// and acknowledged, it is there after a kill, its series' name included.
#[test]
fn a_series_is_known_after_its_first_record_was_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), NOON);
    assert!(is_safe(append(&engine, "before", NOON, 1.0, NOON)));
    let history = Arc::clone(engine.history().expect("a history"));
    history.rotate_wal().expect("rotates");
    let (wal, away) = (folder.path().join("wal"), folder.path().join("away"));
    fs::rename(&wal, &away).expect("renamed");
    assert!(!is_safe(append(&engine, "a", NOON, 1.0, NOON)));
    fs::rename(&away, &wal).expect("renamed");
    while history.health() != Health::Ready {
        std::thread::yield_now();
    }
    assert!(is_safe(append(&engine, "a", NOON, 1.0, NOON)));
    // No maintenance was kept: the log alone has it.
    drop((engine, history));
    let engine = open(folder.path(), NOON);
    assert_eq!(samples(&engine, "a"), [(NOON, 1.0)]);
    assert_eq!(samples(&engine, "before"), [(NOON, 1.0)]);
}

/// A body of the largest size makes more than one record of the log may have.
#[test]
fn a_body_of_any_size_gets_to_the_disk() {
    const SAMPLES: i64 = 1_700_000;
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), NOON);
    let tenant = engine.tenant("red").expect("a tenant");
    let mut batch = Batch::new();
    for number in 0..SAMPLES {
        let name = ["a", "b"][usize::from(number % 2 == 1)];
        let at_ms = NOON - 850_000 + number / 2;
        let built = batch
            .begin(&[name])
            .and_then(|()| batch.finish(1, Some(at_ms), 0.5));
        assert_eq!(built, Ok(()));
    }
    let appended = engine.append(&tenant, &batch, NOON);
    assert_eq!(appended.accepted, SAMPLES.unsigned_abs());
    assert!(is_safe(appended));
    drop(engine);
    let (_, report) = Engine::open(
        folder.path(),
        EngineOptions::default(),
        HistoryOptions::default(),
        NOON,
    )
    .expect("opens");
    assert_eq!(report.log_samples, SAMPLES.unsigned_abs());
}

/// A selector whose series come and go is watched for longer than a thousand of them last.
#[test]
fn a_watch_has_room_again_when_series_have_gone() {
    let options = EngineOptions {
        ttl_ms: MINUTE,
        ..EngineOptions::default()
    };
    let engine = Engine::new(options, None);
    let tenant: Arc<Tenant> = engine.tenant("red").expect("a tenant");
    let selector = Selector::parse("{__name__=~\".*\"}").expect("a selector");
    let tap = Arc::new(SeriesTap::new(selector, Box::new(|| {})));
    assert_eq!(engine.tap(&tenant, &tap, &Cost::unbounded()), Ok(0));
    for round in 0..3 {
        let now_ms = NOON + round * 60 * MINUTE;
        for number in 0..900 {
            let name = format!("pod_{round}_{number}");
            append(&engine, &name, now_ms, 1.0, now_ms);
        }
        let seated = engine.attach_newcomers(&tenant, &tap, &Cost::unbounded());
        assert_eq!(seated, Ok(()));
        let gain = tap.take();
        assert_eq!((gain.samples.len(), gain.unseated), (900, 0), "{round}");
        let kept = engine.maintain(now_ms + 30 * MINUTE, false);
        assert_eq!(kept.expect("no disk").vanished, 900);
        assert!(tap.take().samples.is_empty());
    }
    for number in 0..1_001 {
        append(&engine, &format!("more_{number}"), NOON, 1.0, NOON);
    }
    let seated = engine.attach_newcomers(&tenant, &tap, &Cost::unbounded());
    assert_eq!(seated, Ok(()));
    let gain = tap.take();
    assert_eq!((gain.samples.len(), gain.unseated), (1_000, 1));
}

/// While late samples keep coming their stretches are not rolled up again for each of them, but no
/// longer than a minute; every sample is read meanwhile.
#[test]
fn rollups_of_what_comes_late_wait_for_a_quiet_moment_but_not_for_long() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), NOON);
    let budget = std::time::Duration::from_secs(60);
    append(&engine, "a", NOON, 1.0, NOON);
    engine.maintain(NOON, true).expect("the disk is there");
    engine
        .maintain_history(NOON, budget)
        .expect("the disk is there");
    let history = Arc::clone(engine.history().expect("a history"));
    let mut expected = vec![(NOON, 1.0)];
    let mut rounds_done = Vec::new();
    // A late sample each five seconds, each in an hour of its own.
    for round in 0..20 {
        let now_ms = NOON + round * 5_000;
        let late_ms = NOON - (round + 4) * 60 * MINUTE;
        append(&engine, "a", late_ms, 2.0, now_ms);
        expected.insert(0, (late_ms, 2.0));
        engine.maintain(now_ms, true).expect("the disk is there");
        let more = engine.maintain_history(now_ms, budget);
        assert!(!more.expect("the disk is there"));
        assert_eq!(samples(&engine, "a"), expected, "round {round}");
        if history.late_blocks() == 0 {
            rounds_done.push(round);
        }
    }
    assert_eq!(rounds_done, [12], "once, after a minute");
    let quiet_ms = NOON + 19 * 5_000 + 10_000;
    engine
        .maintain_history(quiet_ms, budget)
        .expect("the disk is there");
    assert_eq!(history.late_blocks(), 0);
    assert_eq!(samples(&engine, "a"), expected);
    // What waits is rolled up after a restart, too.
    append(&engine, "a", NOON - 30 * 60 * MINUTE, 3.0, quiet_ms);
    engine.maintain(quiet_ms, true).expect("the disk is there");
    engine
        .maintain_history(quiet_ms, budget)
        .expect("the disk is there");
    assert_eq!(history.late_blocks(), 1);
    drop((engine, history));
    let engine = open(folder.path(), quiet_ms);
    engine
        .maintain_history(quiet_ms, budget)
        .expect("the disk is there");
    let history = engine.history().expect("a history");
    assert_eq!(history.late_blocks(), 0);
    expected.insert(0, (NOON - 30 * 60 * MINUTE, 3.0));
    assert_eq!(samples(&engine, "a"), expected);
}
