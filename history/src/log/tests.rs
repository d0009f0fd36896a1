//! The log against truncation, flipped bytes and a disk that fails.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::{
    collections::VecDeque,
    fs, io,
    path::Path,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use proptest::prelude::*;

use super::{
    Durability, Health, Log, LogError, LogOptions, ReplayReport,
    storage::{Disk, SegmentFile, Storage},
};

type Records = Vec<(u8, Vec<u8>)>;

fn options() -> LogOptions {
    LogOptions {
        retry_after: Duration::from_millis(1),
        ..LogOptions::default()
    }
}

fn read(dir: &Path) -> (Records, ReplayReport) {
    let mut records = Records::new();
    let (log, report) = Log::open(dir, options(), |kind, payload, _| {
        records.push((kind, payload.to_vec()))
    })
    .unwrap();
    drop(log);
    (records, report)
}

/// Writes each group as one batch: the next is appended when the one before is durable.
fn write(dir: &Path, options: LogOptions, groups: &[Records]) {
    let (log, _) = Log::open(dir, options, |_, _, _| {}).unwrap();
    for group in groups {
        let tickets: Vec<_> = group
            .iter()
            .map(|(kind, payload)| log.append(*kind, payload).unwrap())
            .collect();
        tickets
            .iter()
            .for_each(|ticket| ticket.wait_blocking().unwrap());
    }
}

/// Waits for a condition, with a deadline.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen in 20 s");
        thread::yield_now();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// What the next calls to the disk do; `Ok` once it is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Pass,
    /// Half of the bytes are written, then the disk is full.
    Full,
    Sync,
    Create,
    /// Blocks until the gate opens.
    Gate,
}

#[derive(Debug, Default)]
struct Script {
    faults: Mutex<VecDeque<Fault>>,
    gate: Mutex<bool>,
    opened: Condvar,
}

impl Script {
    fn next(&self, of: &[Fault]) -> Fault {
        let mut faults = self.faults.lock();
        match faults.front() {
            Some(fault) if of.contains(fault) => faults.pop_front().unwrap(),
            _ => Fault::Pass,
        }
    }

    fn plan(&self, faults: &[Fault]) {
        self.faults.lock().extend(faults);
    }

    fn open_gate(&self) {
        *self.gate.lock() = true;
        self.opened.notify_all();
    }
}

#[derive(Debug, Clone, Default)]
struct Faulty(Arc<Script>);

#[derive(Debug)]
struct FaultyFile(Box<dyn SegmentFile>, Arc<Script>);

impl Storage for Faulty {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        if self.0.next(&[Fault::Create]) == Fault::Create {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(Box::new(FaultyFile(
            Disk.create(path)?,
            Arc::clone(&self.0),
        )))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        Disk.sync_dir(dir)
    }
}

impl SegmentFile for FaultyFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.1.next(&[Fault::Full, Fault::Gate]) {
            Fault::Full => {
                self.0.write_all(&bytes[..bytes.len() / 2])?;
                Err(io::ErrorKind::StorageFull.into())
            }
            Fault::Gate => {
                let mut open = self.1.gate.lock();
                while !*open {
                    self.1.opened.wait(&mut open);
                }
                drop(open);
                self.0.write_all(bytes)
            }
            _ => self.0.write_all(bytes),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.1.next(&[Fault::Sync]) {
            Fault::Sync => Err(io::Error::other("the disk is on fire")),
            _ => self.0.sync(),
        }
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.0.truncate(bytes)
    }
}

fn faulty(dir: &Path, options: LogOptions) -> (Log, Arc<Script>) {
    let storage = Faulty::default();
    let script = Arc::clone(&storage.0);
    let (log, _) = Log::open_on(Box::new(storage), dir, options, |_, _, _| {}).unwrap();
    (log, script)
}

#[test]
fn what_was_acknowledged_is_read_back_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let first: Records = (0..100_u8)
        .map(|n| (n % 3, vec![n; usize::from(n)]))
        .collect();
    write(dir.path(), options(), std::slice::from_ref(&first));
    write(dir.path(), options(), &[vec![(7, b"second run".to_vec())]]);
    let (records, report) = read(dir.path());
    assert_eq!(records[..100], first);
    assert_eq!(records[100..], [(7, b"second run".to_vec())]);
    assert_eq!(
        (report.segments, report.records, report.torn),
        (2, 101, None)
    );
    assert_eq!(report.skipped, []);
}

#[test]
fn waiting_works_from_futures() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(dir.path(), options(), |_, _, _| {}).unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    block_on(log.append(1, b"x").unwrap().wait()).unwrap();
                }
            });
        }
    });
    let stats = log.stats();
    assert_eq!((stats.records, stats.durable, stats.failed), (400, 400, 0));
    assert!(stats.syncs <= 400);
}

#[test]
fn segments_end_by_size_and_by_rotation_and_go_from_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let small = LogOptions {
        segment_bytes: 200,
        ..options()
    };
    let (log, _) = Log::open(dir.path(), small, |_, _, _| {}).unwrap();
    assert_eq!(
        log.rotate().unwrap(),
        1,
        "nothing was begun, so nothing has ended"
    );
    for _ in 0..6 {
        let ticket = log.append(1, &[0; 100]).unwrap();
        ticket.wait_blocking().unwrap();
        assert!(
            log.segments()
                .iter()
                .any(|info| info.number >= ticket.segment_floor())
        );
    }
    let next = log.rotate().unwrap();
    assert_eq!(next, 4, "two records a segment");
    let before = log.append(1, b"kept").unwrap();
    before.wait_blocking().unwrap();
    assert_eq!(before.segment_floor(), next);
    for info in log.segments() {
        let file = dir.path().join(format!("{:08}.log", info.number));
        assert_eq!(fs::metadata(file).unwrap().len(), info.bytes);
    }
    assert_eq!(
        log.remove_before(u32::MAX).unwrap().len(),
        3,
        "never the open one"
    );
    drop(log);
    assert_eq!(read(dir.path()).0, [(1, b"kept".to_vec())]);
}

#[test]
fn a_failed_sync_fails_its_tickets_for_ever_and_the_log_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let (log, script) = faulty(dir.path(), options());
    log.append(1, b"good").unwrap().wait_blocking().unwrap();

    script.plan(&[Fault::Sync, Fault::Create, Fault::Create]);
    let lost = log.append(1, b"lost").unwrap();
    let Err(LogError::Degraded { reason }) = lost.wait_blocking() else {
        panic!("a ticket whose sync failed must fail")
    };
    assert!(
        reason.contains("on fire") && reason.contains("00000001.log"),
        "{reason}"
    );
    until("recovery", || log.health() == Health::Ready);
    assert!(log.stats().failures >= 1);

    log.append(1, b"later").unwrap().wait_blocking().unwrap();
    assert!(
        matches!(lost.outcome(), Some(Err(_))),
        "never turns into a success"
    );
    drop(log);
    let (records, report) = read(dir.path());
    assert_eq!(records, [(1, b"good".to_vec()), (1, b"later".to_vec())]);
    assert_eq!(report.skipped, []);
}

#[test]
fn a_full_disk_refuses_appends_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let slow = LogOptions {
        retry_after: Duration::from_secs(3600),
        ..options()
    };
    let (log, script) = faulty(dir.path(), slow);
    script.plan(&[Fault::Full]);
    // The header's write takes the fault: nothing of the segment stays.
    let lost = log.append(1, &[7; 1000]).unwrap();
    assert!(lost.wait_blocking().is_err());
    assert!(matches!(
        log.append(1, b"refused"),
        Err(LogError::Degraded { .. })
    ));
    assert!(matches!(log.health(), Health::Degraded { .. }));
    assert_eq!(log.segments(), []);
    let stats = log.stats();
    assert_eq!((stats.refused, stats.failed, stats.durable), (1, 1, 0));
    log.close();
    assert!(matches!(log.append(1, b"closed"), Err(LogError::Closed)));
    assert!(matches!(log.rotate(), Err(LogError::Closed)));
}

#[test]
fn half_a_write_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (log, script) = faulty(dir.path(), options());
    log.append(1, b"good").unwrap().wait_blocking().unwrap();
    script.plan(&[Fault::Full]);
    let lost = log.append(1, &[7; 1000]).unwrap();
    assert!(lost.wait_blocking().is_err());
    until("recovery", || log.health() == Health::Ready);
    log.append(2, b"later").unwrap().wait_blocking().unwrap();
    drop(log);
    let (records, report) = read(dir.path());
    assert_eq!(records, [(1, b"good".to_vec()), (2, b"later".to_vec())]);
    assert_eq!((report.torn, report.skipped_bytes), (None, 0));
}

#[test]
fn a_disk_slower_than_the_senders_refuses_and_counts() {
    let dir = tempfile::tempdir().unwrap();
    let tight = LogOptions {
        pending_bytes: 1000,
        ..options()
    };
    let (log, script) = faulty(dir.path(), tight);
    script.plan(&[Fault::Gate]);
    let first = log.append(1, b"on its way").unwrap();
    until("the writer took it", || log.stats().pending_bytes == 0);
    let waiting = log.append(1, &[0; 900]).unwrap();
    assert!(matches!(
        log.append(1, &[0; 900]),
        Err(LogError::Busy {
            limit_bytes: 1000,
            ..
        })
    ));
    assert_eq!((log.stats().busy, first.outcome().is_none()), (1, true));
    script.open_gate();
    first.wait_blocking().unwrap();
    waiting.wait_blocking().unwrap();
    assert!(matches!(
        log.append(1, &vec![0; 20 << 20]),
        Err(LogError::TooLarge { .. })
    ));
}

#[test]
fn another_version_is_refused_by_name_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), options(), &[vec![(1, b"x".to_vec())]]);
    let file = dir.path().join("00000001.log");
    let mut bytes = fs::read(&file).unwrap();
    bytes[8] = 2;
    let crc = crc32fast::hash(&bytes[..24]);
    bytes[24..28].copy_from_slice(&crc.to_le_bytes());
    fs::write(&file, &bytes).unwrap();
    let error = Log::open(dir.path(), options(), |_, _, _| {})
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("00000001.log") && error.contains("version 2"),
        "{error}"
    );
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

#[test]
fn damage_in_the_middle_loses_itself_alone() {
    let dir = tempfile::tempdir().unwrap();
    let groups: Vec<Records> = (0..40_u8).map(|n| vec![(1, vec![n; 10_000])]).collect();
    write(dir.path(), options(), &groups);
    write(
        dir.path(),
        options(),
        &[vec![(2, b"next segment".to_vec())]],
    );
    let file = dir.path().join("00000001.log");
    let mut bytes = fs::read(&file).unwrap();
    // A payload: the next record is found by the length.
    bytes[28 + 500] ^= 1;
    // A length: the next sync record is found, within 64 KiB and a record.
    let second_damage = 28 + 20 * 10_009;
    bytes[second_damage..second_damage + 60].fill(0xff);
    fs::write(&file, &bytes).unwrap();
    let (records, report) = read(dir.path());
    assert_eq!(report.skipped.len(), 2);
    assert!(report.skipped_bytes < 100_000, "{}", report.skipped_bytes);
    assert!(records.len() > 30 && records.last() == Some(&(2, b"next segment".to_vec())));
    assert!(
        records
            .iter()
            .all(|record| record.0 == 2 || groups.iter().any(|g| g[0] == *record))
    );
}

/// Any byte of the frame, in the segment that the last run wrote and without a sync record behind
/// it: what comes after is still there, and it is damage and no torn tail.
#[test]
fn a_damaged_length_hides_no_more_than_its_record() {
    for byte in 0..9 {
        let dir = tempfile::tempdir().unwrap();
        let groups: Vec<Records> = (0..20_u8).map(|n| vec![(1, vec![n; 100])]).collect();
        write(dir.path(), options(), &groups);
        let file = dir.path().join("00000001.log");
        let mut bytes = fs::read(&file).unwrap();
        let record = bytes
            .windows(100)
            .position(|payload| payload.iter().all(|byte| *byte == 10))
            .unwrap();
        bytes[record - 9 + byte] ^= 0x55;
        fs::write(&file, &bytes).unwrap();
        let (records, report) = read(dir.path());
        let expected: Records = groups
            .iter()
            .flatten()
            .filter(|record| record.1[0] != 10)
            .cloned()
            .collect();
        assert_eq!(records, expected, "byte {byte}");
        assert_eq!(
            (report.skipped.len(), report.torn),
            (1, None),
            "byte {byte}"
        );
    }
}

#[test]
fn a_payload_that_looks_like_records_is_never_read_as_such() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), options(), &[vec![(1, b"inner".to_vec())]]);
    let inside = fs::read(dir.path().join("00000001.log")).unwrap();
    // The whole of another segment, and its records, as a payload; then its frame is damaged.
    write(
        dir.path(),
        options(),
        &[vec![(1, inside.repeat(50)), (1, b"after".to_vec())]],
    );
    let file = dir.path().join("00000002.log");
    let mut bytes = fs::read(&file).unwrap();
    bytes[28] ^= 0x1c;
    fs::write(&file, &bytes).unwrap();
    let (records, _) = read(dir.path());
    assert!(
        records[1..].iter().all(|record| record.1 == b"after"),
        "{}",
        records.len()
    );
}

#[test]
fn durability_write_acknowledges_without_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let unsynced = LogOptions {
        durability: Durability::Write,
        ..options()
    };
    let (log, _) = Log::open(dir.path(), unsynced, |_, _, _| {}).unwrap();
    log.append(1, b"x").unwrap().wait_blocking().unwrap();
    assert_eq!((log.stats().syncs, log.stats().durable), (0, 1));
    drop(log);
    assert_eq!(read(dir.path()).0.len(), 1);
}

fn groups() -> impl Strategy<Value = Vec<Records>> {
    let payload = prop::collection::vec(any::<u8>(), 0..60);
    let record = (0..5_u8, payload);
    prop::collection::vec(prop::collection::vec(record, 1..4), 1..6)
}

fn is_subsequence(part: &[(u8, Vec<u8>)], whole: &[(u8, Vec<u8>)]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|record| rest.any(|other| other == record))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_log_cut_anywhere_gives_a_prefix(groups in groups(), cut in any::<prop::sample::Index>()) {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), options(), &groups);
        let whole: Records = groups.concat();
        let file = dir.path().join("00000001.log");
        let bytes = fs::read(&file).unwrap();
        let cut = cut.index(bytes.len() + 1);
        fs::write(&file, &bytes[..cut]).unwrap();
        let (records, report) = read(dir.path());
        prop_assert_eq!(&records[..], &whole[..records.len()]);
        prop_assert_eq!(report.skipped_bytes, 0);
        // What was reported once is mended: the next start says nothing.
        let (again, report) = read(dir.path());
        prop_assert_eq!(records, again);
        prop_assert_eq!(report.torn, None);
    }

    #[test]
    fn a_flipped_byte_never_invents_a_record(
        groups in groups(),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
        second_run in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), options(), &groups);
        let mut whole: Records = groups.concat();
        if second_run {
            write(dir.path(), options(), &[vec![(9, b"later".to_vec())]]);
            whole.push((9, b"later".to_vec()));
        }
        let file = dir.path().join("00000001.log");
        let mut bytes = fs::read(&file).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        fs::write(&file, &bytes).unwrap();
        let (records, report) = read(dir.path());
        prop_assert!(is_subsequence(&records, &whole));
        prop_assert!(records.len() < whole.len());
        prop_assert!(report.torn.is_some() || report.skipped_bytes > 0);
        if second_run {
            prop_assert_eq!(records.last(), whole.last());
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("00000001.log"), &bytes).unwrap();
        let (records, _) = read(dir.path());
        prop_assert_eq!(records, []);
    }
}
