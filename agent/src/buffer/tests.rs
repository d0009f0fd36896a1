//! What is kept, in which order it comes back, and what is given up.

use super::*;

fn batch(value: f64) -> Batch {
    let mut batch = Batch::new();
    batch.begin(&["a"]).expect("a name");
    batch.finish(1, None, value).expect("a row");
    batch
}

fn append(buffer: &mut Buffer, at_ms: i64) -> u64 {
    let appended = buffer.measured(&batch(at_ms as f64), at_ms);
    let ticket = appended.written.expect("taken");
    ticket.wait_blocking().expect("written");
    appended.moment.number
}

fn numbers(moments: &[Moment]) -> Vec<u64> {
    moments.iter().map(|moment| moment.number).collect()
}

#[test]
fn what_is_not_sent_is_there_after_a_restart_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut buffer = Buffer::open(folder.path(), Limits::default()).expect("opens");
    for second in 1..=5 {
        assert_eq!(append(&mut buffer, second * 1_000), second.unsigned_abs());
    }
    assert_eq!(numbers(&buffer.oldest(5)), [1, 2, 3, 4]);
    buffer.sent([2, 5].into_iter());
    assert_eq!(buffer.close(), 3);
    drop(buffer);
    let mut buffer = Buffer::open(folder.path(), Limits::default()).expect("opens");
    assert_eq!((buffer.waiting(), buffer.next()), (3, 6));
    let oldest = buffer.oldest(u64::MAX);
    assert_eq!(numbers(&oldest), [1, 3, 4]);
    assert_eq!(oldest[1].at_ms, 3_000);
    assert_eq!(oldest[1].values, [3_000_f64.to_bits()]);
    assert_eq!(append(&mut buffer, 6_000), 6);
    buffer.sent([1, 3, 4].into_iter());
    assert_eq!(numbers(&buffer.oldest(u64::MAX)), [6]);
    // What is sent goes with the next moment, but for the file that is written.
    append(&mut buffer, 7_000);
    assert_eq!(buffer.log.segments().len(), 1);
}

/// What is scraped has times of its own, and names that stand once in a file.
#[test]
fn what_is_scraped_is_kept_with_its_times() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut buffer = Buffer::open(folder.path(), Limits::default()).expect("opens");
    for scrape in 0..3_i64 {
        let mut batch = Batch::new();
        for (name, at_ms) in [("b", scrape * 10 + 1), ("c", scrape * 10 + 1), ("d", 7)] {
            batch.begin(&[name]).expect("a name");
            batch.finish(1, Some(at_ms), scrape as f64).expect("a row");
        }
        append(&mut buffer, scrape * 1_000);
        for appended in buffer.scraped(&batch) {
            let ticket = appended.written.expect("taken");
            ticket.wait_blocking().expect("written");
        }
    }
    let moments = buffer.oldest(u64::MAX);
    let times: Vec<(i64, usize)> = moments
        .iter()
        .map(|moment| (moment.at_ms, moment.values.len()))
        .collect();
    let expected = [
        (0, 1),
        (1, 2),
        (7, 1),
        (1_000, 1),
        (7, 1),
        (11, 2),
        (2_000, 1),
        (7, 1),
        (21, 2),
    ];
    assert_eq!(times, expected);
    assert!(std::sync::Arc::ptr_eq(&moments[1].table, &moments[5].table));
}

#[test]
fn what_is_too_old_is_given_up_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = Limits {
        age: Duration::from_secs(10),
        ..Limits::default()
    };
    let mut buffer = Buffer::open(folder.path(), limits).expect("opens");
    append(&mut buffer, 1_000);
    buffer.close();
    drop(buffer);
    let mut buffer = Buffer::open(folder.path(), limits).expect("opens");
    append(&mut buffer, 5_000);
    assert_eq!((buffer.waiting(), buffer.given_up()), (2, 0));
    append(&mut buffer, 60_000);
    assert_eq!((buffer.waiting(), buffer.given_up()), (2, 1));
}
