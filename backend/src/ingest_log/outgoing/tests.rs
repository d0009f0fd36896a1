//! A bus that is one server's, and a log on a real disk: what is missed is sent from there.

use std::{fs, path::PathBuf};

use bytes::Bytes;
use pulseboard_bus::{FeedSink, Local, Subscription};
use pulseboard_engine::{Engine, EngineOptions};
use pulseboard_feed::Epoch;
use pulseboard_history::HistoryOptions;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::ingest_log::entry::{Unpacker, raw_frame};

const TENANT: &str = "a tenant";

/// Numbers of the frames that the others were told.
#[derive(Default)]
struct Heard(Mutex<Vec<u64>>);

impl FeedSink for Heard {
    fn append(&self, _: Epoch, _: u64, frame: Bytes) {
        let entry = entry::read_entry(&frame).expect("an entry");
        let mut unpacker = Unpacker::new().expect("an unpacker");
        let is_whole = unpacker.each(&entry, |frame| {
            let (head, _) = entry::read_frame(frame).expect("a frame");
            self.0.lock().push(head.number);
        });
        assert!(is_whole);
    }

    fn reset(&self, _: Epoch, _: u64, _: Vec<Bytes>) {}
}

struct Stage {
    outgoing: Arc<Outgoing>,
    heard: Arc<Heard>,
    figures: Arc<Figures>,
    packer: Packer,
    unread: BTreeSet<u32>,
    part: usize,
    history: Option<Arc<History>>,
    folder: TempDir,
    _subscription: Subscription,
    _runtime: Runtime,
}

impl Stage {
    fn new(has_history: bool, own_from: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let history = has_history.then(|| {
            let place = folder.path().join("history");
            let options = (EngineOptions::default(), HistoryOptions::default());
            let engine = Engine::open(&place, options.0, options.1, 0);
            let engine = engine.expect("it opens").0;
            Arc::clone(engine.history().expect("it has one"))
        });
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build();
        let runtime = runtime.expect("a runtime");
        let bus = Arc::new(Local::new(Epoch(1)));
        let heard = Arc::<Heard>::default();
        let part = Partition::of(TENANT);
        let subscription = bus.subscribe(part.feed(Kind::Ingest), Arc::clone(&heard) as Arc<_>);
        let figures = Arc::<Figures>::default();
        let outgoing = Outgoing::new(
            (bus, "a.1".into()),
            (history.clone(), own_from),
            (Book::new(0, 0, 1), Clock::manual(1_000)),
            Arc::clone(&figures),
            runtime.handle().clone(),
        );
        Self {
            outgoing: Arc::new(outgoing),
            heard,
            figures,
            packer: Packer::new().expect("a packer"),
            unread: BTreeSet::new(),
            part: part.number(),
            history,
            folder,
            _subscription: subscription,
            _runtime: runtime,
        }
    }

    /// A frame of so many bytes that do not pack, noted where there is a log.
    fn push(&self, bytes: usize) -> Ticket {
        let number = self.outgoing.state.lock().book.begin();
        let odd: Vec<u8> = (0..bytes).map(|_| fastrand::u8(..)).collect();
        let frame = raw_frame((TENANT, 1_000, number), &odd);
        let note = self.history.as_ref();
        let note = note.map(|history| history.append_note(&frame).expect("there is room"));
        let (promise, ticket) = Ticket::promised();
        let item = Item {
            number,
            began: Some(0),
            frame,
            rests: match note {
                Some(_) => Rests::InLog,
                None => Rests::InMemory,
            },
            promise: Some(promise),
        };
        self.outgoing.push(self.part, item, note);
        ticket
    }

    /// As [`Self::push`] while the others cannot be reached.
    fn miss(&self, bytes: usize) {
        self.outgoing.state.lock().is_over = true;
        let ticket = self.push(bytes);
        assert!(matches!(ticket.outcome(), Some(Ok(()))), "nobody waits");
        self.outgoing.state.lock().is_over = false;
    }

    fn send_missed(&mut self) -> Round {
        let state = self.outgoing.state.lock();
        let missed = state.book.to_be_sent().clone();
        let noted = state.noted.clone();
        drop(state);
        let outgoing = Arc::clone(&self.outgoing);
        outgoing.send_missed(&mut self.packer, &missed, noted, &mut self.unread)
    }

    /// What the others were told since the last call.
    fn heard(&self) -> Vec<u64> {
        let mut heard = std::mem::take(&mut *self.heard.0.lock());
        heard.sort_unstable();
        heard
    }

    /// Begins a new segment of the log; the file of the one before.
    fn rotate(&self) -> PathBuf {
        let history = self.history.as_ref().expect("it has one");
        let before = history.rotate_wal().expect("rotated") - 1;
        let wal = self.folder.path().join("history").join("wal");
        wal.join(format!("{before:08}.log"))
    }
}

#[test]
fn what_is_missed_is_sent_from_the_log_as_soon_as_it_is_written_there() {
    let mut stage = Stage::new(true, 0);
    for number in 1..=20 {
        // At once, while the log still makes the file where the note will be.
        stage.miss(100);
        assert_eq!(stage.send_missed(), Round::Whole);
        assert_eq!(stage.heard(), [number]);
        stage.rotate();
    }
    assert_eq!(stage.outgoing.backlog(), 0);
    assert_eq!(stage.figures.resent.get(), 20);
}

#[test]
fn what_is_missed_while_other_frames_are_sent_again_is_sent_afterwards() {
    let mut stage = Stage::new(true, 0);
    stage.miss(100);
    let early = stage.outgoing.state.lock().book.begin();
    stage.miss(100);
    let state = stage.outgoing.state.lock();
    let (missed, noted) = (state.book.to_be_sent().clone(), state.noted.clone());
    drop(state);
    // It was slow, and is missed while the others are sent.
    stage.outgoing.state.lock().book.missed(&[early]);
    let outgoing = Arc::clone(&stage.outgoing);
    let round = outgoing.send_missed(&mut stage.packer, &missed, noted, &mut stage.unread);
    assert_eq!((round, stage.heard()), (Round::Whole, vec![1, 3]));
    assert_eq!(stage.outgoing.backlog(), 1, "it is still to be sent");
    assert!(!stage.outgoing.is_all_sent());
}

#[test]
fn a_segment_that_cannot_be_read_is_said_and_what_is_there_is_not_sent() {
    let mut stage = Stage::new(true, 0);
    stage.miss(100);
    stage.miss(100);
    let file = stage.rotate();
    stage.miss(100);
    let aside = file.with_extension("aside");
    fs::rename(&file, &aside).expect("moved");
    fs::create_dir(&file).expect("nobody reads a folder");
    for _ in 0..2 {
        assert_eq!(stage.send_missed(), Round::Unread);
        assert_eq!(stage.figures.unreadable_segments.get(), 1, "said once");
        assert_eq!(stage.outgoing.backlog(), 2);
    }
    assert_eq!(stage.heard(), [3], "what can be read goes, once");
    fs::remove_dir(&file).expect("removed");
    fs::rename(&aside, &file).expect("moved back");
    assert_eq!(stage.send_missed(), Round::Whole);
    assert_eq!(stage.heard(), [1, 2]);
    assert_eq!(stage.outgoing.backlog(), 0);
}

#[test]
fn damage_in_a_segment_is_said_and_the_rest_of_it_is_sent() {
    let mut stage = Stage::new(true, 0);
    for _ in 0..3 {
        stage.miss(1_000);
    }
    let file = stage.rotate();
    let mut bytes = fs::read(&file).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).expect("written");
    assert_eq!(stage.send_missed(), Round::Whole);
    assert_eq!(stage.heard(), [1, 3]);
    assert_eq!(stage.figures.unreadable_segments.get(), 1);
    assert_eq!(stage.outgoing.backlog(), 0, "nobody will ever read it");
}

#[test]
fn what_is_too_large_for_the_others_is_lost_and_holds_up_nothing() {
    let mut stage = Stage::new(true, 0);
    stage.miss(100);
    stage.miss(300 << 10);
    stage.miss(100);
    assert_eq!(stage.send_missed(), Round::Whole);
    assert_eq!(stage.heard(), [1, 3]);
    assert_eq!(stage.outgoing.backlog(), 0);
    assert!(stage.figures.lost_bytes.get() > 300 << 10);
    // The same at the first try: whoever sent it is answered.
    let ticket = stage.push(300 << 10);
    let (part, items) = next(&mut stage.outgoing.state.lock()).expect("it waits");
    let outgoing = Arc::clone(&stage.outgoing);
    outgoing.send_items(&mut stage.packer, part, items);
    assert!(ticket.wait_blocking().is_ok());
    assert!(stage.outgoing.is_all_sent());
    assert!(stage.figures.lost_bytes.get() > 600 << 10);
}

#[test]
fn notes_of_another_server_are_none_of_this_ones() {
    let mut stage = Stage::new(true, 2);
    let of_another = raw_frame((TENANT, 1_000, 2), b"theirs");
    let history = stage.history.clone().expect("it has one");
    let noted = history.append_note(&of_another).expect("there is room");
    assert!(noted.wait_blocking().is_ok());
    stage.rotate();
    stage.miss(100);
    stage.miss(100);
    assert_eq!(stage.send_missed(), Round::Whole);
    assert_eq!(stage.heard(), [1, 2]);
}

#[test]
fn what_the_log_did_not_take_is_sent_from_memory_and_a_deletion_is_not_done_later() {
    let mut stage = Stage::new(true, 0);
    let number = stage.outgoing.state.lock().book.begin();
    let (promise, _ticket) = Ticket::promised();
    let item = Item {
        number,
        began: None,
        frame: raw_frame((TENANT, 1_000, number), b"kept"),
        rests: Rests::InMemory,
        promise: Some(promise),
    };
    stage.outgoing.state.lock().is_over = true;
    stage.outgoing.push(stage.part, item, None);
    let deletion = Deletion {
        from_ms: 0,
        to_ms: 1,
        selectors: vec!["{a=\"b\"}".to_owned()],
    };
    let deleted = stage.outgoing.delete(TENANT, 1_000, &deletion);
    stage.outgoing.state.lock().is_over = false;
    assert_eq!((deleted, stage.outgoing.backlog()), (Some(2), 1));
    assert_eq!(stage.send_missed(), Round::Whole);
    assert_eq!(stage.heard(), [1]);
    assert!(stage.outgoing.is_all_sent());
    let large = Deletion {
        selectors: vec!["{a=\"b\"}".to_owned(); 100_000],
        ..deletion
    };
    assert_eq!(stage.outgoing.delete(TENANT, 1_000, &large), None);
    assert!(stage.outgoing.is_all_sent());
}

#[test]
fn what_is_in_a_threads_hands_is_on_its_way() {
    let mut stage = Stage::new(false, 0);
    let ticket = stage.push(100);
    let (part, items) = next(&mut stage.outgoing.state.lock()).expect("it waits");
    assert!(!stage.outgoing.is_flushed());
    // A server that ends now must not take the place of its history for granted.
    assert!(!stage.outgoing.is_all_sent());
    let outgoing = Arc::clone(&stage.outgoing);
    outgoing.send_items(&mut stage.packer, part, items);
    assert!(ticket.wait_blocking().is_ok());
    assert_eq!(stage.heard(), [1]);
    assert!(stage.outgoing.is_flushed() && stage.outgoing.is_all_sent());
}

/// Both threads wait, the one that sends again for longer: it is not what a sender wakes.
#[test]
fn nobody_waits_for_a_thread_that_was_not_woken() {
    let packer = || Packer::new().expect("a packer");
    let pause = || std::thread::sleep(LOOK / 10);
    let mut slow = 0;
    for _ in 0..10 {
        let stage = Stage::new(false, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| stage.outgoing.send_again(packer()));
            pause();
            scope.spawn(|| stage.outgoing.send(packer()));
            pause();
            let began = Instant::now();
            assert!(stage.push(10).wait_blocking().is_ok());
            slow += usize::from(began.elapsed() > LOOK / 2);
            stage.outgoing.close();
        });
    }
    assert!(slow < 5, "{slow} of 10 waited");
}
