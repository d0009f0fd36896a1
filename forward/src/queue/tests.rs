//! What waits is found again in its order, and no more of it than is allowed.

use std::time::Duration;

use pulseboard_series::KeyRef;

use super::*;

fn batch(rows: impl IntoIterator<Item = (usize, i64)>) -> Batch {
    let mut batch = Batch::new();
    for (series, at_ms) in rows {
        let row = batch
            .begin(&["m"])
            .and_then(|()| batch.label("series", &series.to_string()))
            .and_then(|()| batch.finish(1, Some(at_ms), at_ms as f64));
        row.expect("a row");
    }
    batch
}

/// Takes what is to be sent, reading as needed; times by series.
fn drain(queue: &Queue, samples_max: usize, now_ms: i64) -> BTreeMap<String, Vec<i64>> {
    let mut all: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    loop {
        match queue.next(samples_max, Duration::ZERO, now_ms) {
            Next::Send(parcel) => {
                let spots = parcel.spots();
                assert!(spots.len() <= samples_max);
                let mut sent = 0;
                for sample in parcel.samples(&spots) {
                    let series = KeyRef::new(&sample.key).label("series").expect("a label");
                    all.entry(series.to_owned()).or_default().push(sample.at_ms);
                    sent += 1;
                }
                let results = Results {
                    sent,
                    ..Results::default()
                };
                queue.done(&parcel, results);
            }
            Next::Load(wanted) => queue.load(wanted),
            Next::Until(_) | Next::Nothing => return all,
        }
    }
}

fn open(folder: &Path, limits: Limits) -> Queue {
    Queue::open(Some(folder), limits, None).expect("opens")
}

/// More than memory keeps, in pieces and across a restart: everything, in order, once.
#[test]
fn what_was_not_sent_is_sent_after_a_restart_in_order() {
    const SERIES: usize = 300;
    const TIMES: i64 = 700;
    let folder = tempfile::tempdir().expect("a folder");
    let queue = open(folder.path(), Limits::default());
    let mut before = BTreeMap::new();
    for at_ms in 0..TIMES {
        queue.take(
            "default",
            &batch((0..SERIES).map(|one| (one, at_ms))),
            |_| false,
            at_ms,
        );
        if at_ms == 100 {
            before = drain(&queue, 500, at_ms);
        }
    }
    assert_eq!(
        queue.waiting(),
        (TIMES - 101).cast_unsigned() * SERIES as u64
    );
    queue.close();
    drop(queue);
    let queue = open(folder.path(), Limits::default());
    assert_eq!(
        queue.waiting(),
        (TIMES - 101).cast_unsigned() * SERIES as u64
    );
    // What comes now is behind what waits.
    queue.take(
        "default",
        &batch((0..SERIES).map(|one| (one, TIMES))),
        |_| false,
        TIMES,
    );
    let after = drain(&queue, 2_000, TIMES);
    for series in 0..SERIES {
        let name = series.to_string();
        let told = [&before[&name][..], &after[&name]].concat();
        assert!(told.iter().copied().eq(0..=TIMES), "{name}: {told:?}");
    }
    assert_eq!(queue.waiting(), 0);
    assert_eq!(queue.counts.given_up.load(Ordering::Relaxed), 0);
}

#[test]
fn what_is_sent_needs_no_disk_and_what_is_too_much_is_given_up_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = Limits {
        bytes: 1 << 20,
        ..Limits::default()
    };
    let queue = open(folder.path(), limits);
    let mut came = 0_u64;
    let mut at_ms = 0;
    let mut fill = |queue: &Queue, bytes: u64| {
        let mut written = 0;
        while written < bytes {
            // No two values alike, so that nothing is packed away.
            let rows: Vec<_> = (0..500)
                .map(|one| (one * 7919, at_ms + fastrand::i64(..1 << 40)))
                .collect();
            let ticket = queue
                .take("default", &batch(rows), |_| false, at_ms)
                .expect("a ticket");
            ticket.wait_blocking().expect("written");
            at_ms += 1;
            came += 500;
            written += 500 * 12;
        }
        (at_ms, came)
    };
    let (now_ms, came) = fill(&queue, 4 << 20);
    queue.keep_house(now_ms);
    assert!(
        queue.bytes() <= limits.bytes + (1 << 18),
        "{}",
        queue.bytes()
    );
    let given_up = queue.counts.given_up.load(Ordering::Relaxed);
    assert!(given_up > 0);
    assert_eq!(queue.waiting() + given_up, came);
    let sent: usize = drain(&queue, 2_000, now_ms).values().map(Vec::len).sum();
    assert_eq!(sent as u64 + given_up, came);
    queue.keep_house(now_ms);
    assert!(
        queue.bytes() <= 1 << 19,
        "only the last file is left: {}",
        queue.bytes()
    );
}

#[test]
fn what_is_too_old_is_given_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = Limits {
        age: Duration::from_secs(60),
        ..Limits::default()
    };
    let queue = open(folder.path(), limits);
    queue.take("default", &batch([(1, 0), (2, 0)]), |_| false, 0);
    queue.take("default", &batch([(1, 50_000)]), |_| false, 50_000);
    let sent = drain(&queue, 10, 100_000);
    assert_eq!(
        sent.values().flatten().copied().collect::<Vec<_>>(),
        [50_000]
    );
    assert_eq!(queue.counts.given_up.load(Ordering::Relaxed), 2);
}

#[test]
fn rows_that_were_refused_are_not_sent_and_moments_are_those_of_arrival() {
    let queue = Queue::open(None, Limits::default(), None).expect("opens");
    let mut rows = batch([(1, 5), (2, 6)]);
    rows.begin(&["m"]).expect("a name");
    rows.label("series", "3").expect("a label");
    rows.finish(1, None, 1.0).expect("a row");
    queue.take("default", &rows, |row| row == 1, 9);
    let sent = drain(&queue, 10, 9);
    let told: Vec<(&str, &[i64])> = sent.iter().map(|(a, b)| (&**a, &**b)).collect();
    assert_eq!(told, [("1", &[5][..]), ("3", &[9][..])]);
}

/// Without a disk it is bounded too.
#[test]
fn without_a_disk_the_oldest_is_given_up() {
    let queue = Queue::open(None, Limits::default(), None).expect("opens");
    let mut came = 0;
    for at_ms in 0..300 {
        queue.take(
            "default",
            &batch((0..1_000).map(|_| (7, at_ms))),
            |_| false,
            at_ms,
        );
        came += 1_000;
    }
    assert!(queue.waiting() <= UNLOGGED_SAMPLES_MAX as u64);
    let given_up = queue.counts.given_up.load(Ordering::Relaxed);
    assert_eq!(queue.waiting() + given_up, came);
    let sent = drain(&queue, 5_000, 300);
    assert_eq!(sent["7"].len() as u64, came - given_up);
}

/// A file that is gone or damaged costs what was in it, and nothing else waits for it.
#[test]
fn what_cannot_be_read_is_passed_over_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let queue = open(folder.path(), Limits::default());
    queue.take(
        "default",
        &batch((0..100).map(|one| (one, 1))),
        |_| false,
        1,
    );
    queue.close();
    drop(queue);
    let samples = folder.path().join("samples");
    let file = std::fs::read_dir(&samples).expect("a folder").next();
    let file = file.expect("a file").expect("a file").path();
    let queue = open(folder.path(), Limits::default());
    assert_eq!(queue.waiting(), 100);
    std::fs::write(&file, b"damaged").expect("written");
    queue.take(
        "default",
        &batch((0..100).map(|one| (one, 2))),
        |_| false,
        2,
    );
    let sent = drain(&queue, 1_000, 2);
    assert_eq!(sent.values().map(Vec::len).sum::<usize>(), 100);
    assert_eq!(queue.counts.given_up.load(Ordering::Relaxed), 100);
    assert_eq!(queue.waiting(), 0);
}

fn holding(folder: Option<&Path>, hold: Duration) -> Queue {
    Queue::open(folder, Limits::default(), Some(hold)).expect("opens")
}

/// Everything that the receiver took of late comes again, in order and behind nothing that is
/// newer; what is released does not.
#[test]
fn what_is_held_is_sent_again_and_what_is_released_is_not() {
    const SERIES: usize = 200;
    let folder = tempfile::tempdir().expect("a folder");
    for place in [Some(folder.path()), None] {
        let queue = holding(place, Duration::ZERO);
        let take = |at_ms: i64| {
            let rows = batch((0..SERIES).map(|one| (one, at_ms)));
            queue.take("default", &rows, |_| false, at_ms);
        };
        (0..10).for_each(take);
        assert_eq!(drain(&queue, 500, 10).len(), SERIES);
        queue.is_well(Instant::now(), 1);
        queue.is_well(Instant::now(), 1);
        assert_eq!(queue.held(), 0, "held for no time");
        (10..300).for_each(take);
        assert_eq!(drain(&queue, 500, 300).len(), SERIES);
        assert_eq!(queue.held(), 290 * SERIES as u64);
        (300..310).for_each(take);
        queue.send_again(2);
        let again = drain(&queue, 500, 310);
        assert_eq!(again.len(), SERIES);
        let all: Vec<i64> = (10..310).collect();
        assert!(again.values().all(|times| *times == all));
        let counts = &queue.counts;
        assert_eq!(counts.resent.load(Ordering::Relaxed), 290 * SERIES as u64);
        assert_eq!(counts.given_up.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn what_is_held_is_known_after_a_restart_with_the_run_that_took_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let hour = Duration::from_secs(3_600);
    let queue = holding(Some(folder.path()), hour);
    for at_ms in 0..5 {
        queue.take(
            "default",
            &batch([(1, at_ms), (2, at_ms)]),
            |_| false,
            at_ms,
        );
    }
    drain(&queue, 100, 5);
    queue.is_well(Instant::now(), 7);
    queue.close();
    drop(queue);
    let queue = holding(Some(folder.path()), hour);
    assert_eq!((queue.waiting(), queue.held(), queue.run()), (0, 10, 7));
    queue.send_again(8);
    queue.close();
    drop(queue);
    let queue = holding(Some(folder.path()), hour);
    assert_eq!((queue.waiting(), queue.held(), queue.run()), (10, 0, 8));
    assert_eq!(drain(&queue, 100, 5)["1"], [0, 1, 2, 3, 4]);
}

/// What is on its way when the receiver is found to be another one is sent once more with the rest.
#[test]
fn what_is_on_its_way_goes_back_with_what_is_held() {
    let queue = holding(None, Duration::from_secs(60));
    queue.take("default", &batch([(1, 1)]), |_| false, 1);
    drain(&queue, 100, 1);
    queue.take("default", &batch([(1, 2)]), |_| false, 2);
    let Next::Send(parcel) = queue.next(100, Duration::ZERO, 2) else {
        panic!("nothing is sent");
    };
    assert!(!queue.takes_back(&parcel));
    queue.send_again(1);
    assert!(queue.takes_back(&parcel));
    assert_eq!(drain(&queue, 100, 2)["1"], [1, 2]);
}
