//! What this server has published: what is not sent yet, and what was sent and might be lost with
//! the server that took it.
//!
//! Everything has a number that grows in its lane, and the number of what was before it. A lane is
//! sent in order, and what Redis has not taken is sent again, as is what a new primary may lack
//! ([`Outbox::rewind`]); the scripts take each number once. Pure but for the time that it is given.
//!
//! Memory is for what waits: what was taken is kept as long as nothing new needs the room, the
//! oldest of all partitions going first ([`Outbox::forget_taken`]); and the less room is left, the
//! less may wait in one partition.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    batch::Batch,
    key::FeedKey,
    sink::{Placed, Refused},
};

/// What is not sent, or not safe for sure, is kept for so long.
pub(crate) const KEPT: Duration = Duration::from_secs(60);
/// Bytes of it in all partitions.
pub(crate) const HELD_MAX: usize = 64 << 20;
/// Of one partition so many times what nothing waits in may wait: what one has leaves room for
/// those of others.
const SHARE: usize = 3;
/// What one costs beside its bytes.
const ITEM_BYTES: usize = 160;
/// Of one lane in one go, so that others have their turn.
const LANE_TURN: usize = 64;

/// What is sent in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    Feed(FeedKey),
    /// Counts of a tenant.
    Counts(Arc<str>),
}

/// Something to be sent.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    Frame { once: Option<u64>, frame: Bytes },
    Counts(Arc<Batch>),
}

impl Job {
    pub(crate) fn bytes(&self) -> usize {
        ITEM_BYTES
            + match self {
                Self::Frame { frame, .. } => frame.len(),
                Self::Counts(batch) => batch.bytes(),
            }
    }
}

#[derive(Debug)]
struct Item {
    number: u64,
    at: Instant,
    job: Job,
    told: Option<oneshot::Sender<Placed>>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Those that are taken, then those that are not.
    items: VecDeque<Item>,
    taken: usize,
    /// The number of the newest that was taken and let go; 0 for none.
    gone: u64,
    /// After [`Self::taken`], those that are on their way.
    under_way: usize,
    is_ready: bool,
}

/// One on its way.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) lane: Lane,
    pub(crate) number: u64,
    /// The one before it, which has to be there; 0 where nobody knows.
    pub(crate) before: u64,
    pub(crate) job: Job,
}

/// What became of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done(Placed),
    /// It, and what follows it, is to be sent again.
    Again,
}

/// What all outboxes of a server have together.
#[derive(Debug)]
pub(crate) struct Total {
    bytes: AtomicUsize,
    /// Of these, what is not taken.
    waiting: AtomicUsize,
    /// Numbers grow over all lanes, so that one that is forgotten goes on where it was.
    next: AtomicU64,
}

impl Default for Total {
    fn default() -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            next: AtomicU64::new(1),
        }
    }
}

impl Total {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// What may be let go.
    pub(crate) fn taken(&self) -> usize {
        self.bytes().saturating_sub(self.waiting())
    }

    /// Numbers that were given before this process' time are not known; they are of other
    /// publishers.
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// What is published in one partition.
#[derive(Debug)]
pub(crate) struct Outbox {
    lanes: HashMap<Lane, Queue>,
    ready: VecDeque<Lane>,
    /// Bytes of what is not taken.
    waiting: usize,
    total: Arc<Total>,
    /// Whose word it is that something was taken.
    lineage: Option<Arc<str>>,
}

impl Outbox {
    pub(crate) fn new(total: &Arc<Total>) -> Self {
        Self {
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            waiting: 0,
            total: Arc::clone(total),
            lineage: None,
        }
    }

    /// Puts something behind what waits. What was taken is to have made room for it before.
    ///
    /// # Errors
    /// Too much waits here, or in all.
    pub(crate) fn push(
        &mut self,
        lane: Lane,
        job: Job,
        told: Option<oneshot::Sender<Placed>>,
        now: Instant,
    ) -> Result<(), Refused> {
        let bytes = job.bytes();
        let free = HELD_MAX.saturating_sub(self.total.waiting());
        if self.total.bytes() + bytes > HELD_MAX || self.waiting + bytes > free * SHARE {
            return Err(Refused::Full(HELD_MAX));
        }
        self.total.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.wait(bytes);
        let queue = self.lanes.entry(lane.clone()).or_default();
        queue.items.push_back(Item {
            number: self.total.number(),
            at: now,
            job,
            told,
        });
        Self::make_ready(&mut self.ready, lane, queue);
        Ok(())
    }

    fn wait(&mut self, bytes: usize) {
        self.waiting += bytes;
        self.total.waiting.fetch_add(bytes, Ordering::Relaxed);
    }

    fn wait_no_more(&mut self, bytes: usize) {
        self.waiting -= bytes;
        self.total.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn make_ready(ready: &mut VecDeque<Lane>, lane: Lane, queue: &mut Queue) {
        let waits = queue.items.len() > queue.taken;
        if waits && queue.under_way == 0 && !queue.is_ready {
            queue.is_ready = true;
            ready.push_back(lane);
        }
    }

    /// What is to be sent next, lanes in turn; [`Self::settle`] says what became of it.
    pub(crate) fn take(&mut self, items: usize, bytes: usize, into: &mut Vec<Sent>) {
        let (mut left, mut bytes_left) = (items, bytes);
        while left > 0
            && bytes_left > 0
            && let Some(lane) = self.ready.pop_front()
        {
            let Some(queue) = self.lanes.get_mut(&lane) else {
                continue;
            };
            queue.is_ready = false;
            let mut before = match queue.taken.checked_sub(1) {
                Some(last) => queue.items.get(last).map_or(0, |item| item.number),
                None => queue.gone,
            };
            for item in queue.items.iter().skip(queue.taken) {
                if left == 0 || bytes_left == 0 || queue.under_way == LANE_TURN {
                    break;
                }
                left -= 1;
                bytes_left = bytes_left.saturating_sub(item.job.bytes());
                queue.under_way += 1;
                into.push(Sent {
                    lane: lane.clone(),
                    number: item.number,
                    before,
                    job: item.job.clone(),
                });
                before = item.number;
            }
        }
    }

    /// What became of what was taken, in the order of [`Self::take`].
    pub(crate) fn settle(&mut self, results: impl IntoIterator<Item = (Lane, u64, Outcome)>) {
        let mut lanes: Vec<Lane> = Vec::new();
        let mut taken = 0;
        for (lane, number, outcome) in results {
            let Some(queue) = self.lanes.get_mut(&lane) else {
                continue;
            };
            if lanes.last() != Some(&lane) {
                lanes.push(lane);
            }
            let Some(item) = queue.items.get_mut(queue.taken) else {
                continue;
            };
            // What follows one that is to be sent again is sent again, too: it may have been
            // refused for that reason alone, and if not, it is known.
            if let Outcome::Done(placed) = outcome
                && item.number == number
            {
                queue.taken += 1;
                taken += item.job.bytes();
                if let Some(told) = item.told.take() {
                    // Who asked may be gone.
                    let _gone = told.send(placed);
                }
            }
        }
        self.wait_no_more(taken);
        for lane in lanes {
            if let Some(queue) = self.lanes.get_mut(&lane) {
                queue.under_way = 0;
                Self::make_ready(&mut self.ready, lane, queue);
            }
        }
    }

    /// Who answers from now on has this lineage; what another has taken is sent again. How many.
    pub(crate) fn answered_by(&mut self, lineage: &Arc<str>) -> u64 {
        if self.lineage.as_ref() == Some(lineage) {
            return 0;
        }
        self.lineage = Some(Arc::clone(lineage));
        self.rewind()
    }

    /// Has everything that is kept sent again; how much of it was taken before.
    fn rewind(&mut self) -> u64 {
        let (mut again, mut bytes) = (0, 0);
        for (lane, queue) in &mut self.lanes {
            again += queue.taken as u64;
            let taken = queue.items.iter().take(queue.taken);
            bytes += taken.map(|item| item.job.bytes()).sum::<usize>();
            queue.taken = 0;
            // Who answers now need not have had it.
            queue.gone = 0;
            Self::make_ready(&mut self.ready, lane.clone(), queue);
        }
        self.wait(bytes);
        again
    }

    /// Nothing that is under way will be answered.
    pub(crate) fn cut(&mut self) {
        for (lane, queue) in &mut self.lanes {
            queue.under_way = 0;
            Self::make_ready(&mut self.ready, lane.clone(), queue);
        }
    }

    /// Frames that are not taken, in the order of each lane.
    pub(crate) fn unsent(&self) -> impl Iterator<Item = (&FeedKey, &Bytes)> {
        self.lanes.iter().flat_map(|(lane, queue)| {
            queue
                .items
                .iter()
                .skip(queue.taken)
                .filter_map(move |item| match (lane, &item.job) {
                    (Lane::Feed(key), Job::Frame { frame, .. }) => Some((key, frame)),
                    _ => None,
                })
        })
    }

    /// Whether everything was taken.
    pub(crate) fn is_flushed(&self) -> bool {
        let mut queues = self.lanes.values();
        queues.all(|queue| queue.taken == queue.items.len())
    }

    /// Lets go what is too old; how many of these were never taken.
    pub(crate) fn expire(&mut self, now: Instant) -> u64 {
        let mut lost = 0;
        let (mut freed, mut waited) = (0, 0);
        self.lanes.retain(|_, queue| {
            while queue.under_way == 0
                && let Some(oldest) = queue.items.front()
                && now.duration_since(oldest.at) > KEPT
            {
                let bytes = oldest.job.bytes();
                freed += bytes;
                queue.items.pop_front();
                match queue.taken.checked_sub(1) {
                    Some(taken) => queue.taken = taken,
                    None => {
                        lost += 1;
                        waited += bytes;
                    }
                }
            }
            !queue.items.is_empty() || queue.is_ready
        });
        self.total.bytes.fetch_sub(freed, Ordering::Relaxed);
        self.wait_no_more(waited);
        lost
    }

    /// Lets go what was taken and is so old: it is there, as far as anybody knows. How many.
    pub(crate) fn forget_taken(&mut self, now: Instant, age: Duration) -> u64 {
        let (mut count, mut freed) = (0, 0);
        for queue in self.lanes.values_mut() {
            while queue.taken > 0
                && let Some(oldest) = queue.items.front()
                && now.duration_since(oldest.at) >= age
            {
                // What the next one has to follow.
                queue.gone = oldest.number;
                freed += oldest.job.bytes();
                queue.items.pop_front();
                queue.taken -= 1;
                count += 1;
            }
        }
        self.total.bytes.fetch_sub(freed, Ordering::Relaxed);
        count
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let queues = self.lanes.values();
        let held: usize = queues
            .flat_map(|queue| queue.items.iter().map(|item| item.job.bytes()))
            .sum();
        self.total.bytes.fetch_sub(held, Ordering::Relaxed);
        self.total
            .waiting
            .fetch_sub(self.waiting, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use pulseboard_feed::Epoch;

    use super::*;
    use crate::key::Kind;

    const PLACED: Outcome = Outcome::Done(Placed::At {
        epoch: Epoch(1),
        offset: 1,
    });

    fn lane(id: &str) -> Lane {
        Lane::Feed(FeedKey::new(Kind::Room, "t", id))
    }

    fn frame(text: &'static str) -> Job {
        Job::Frame {
            once: None,
            frame: Bytes::from_static(text.as_bytes()),
        }
    }

    fn outbox_of(count: usize) -> Outbox {
        let mut outbox = Outbox::new(&Arc::default());
        for _ in 0..count {
            let pushed = outbox.push(lane("a"), frame("x"), None, Instant::now());
            assert_eq!(pushed, Ok(()));
        }
        outbox
    }

    fn take(outbox: &mut Outbox) -> Vec<Sent> {
        let mut sent = Vec::new();
        outbox.take(256, 1 << 20, &mut sent);
        sent
    }

    fn numbers(sent: &[Sent]) -> Vec<(u64, u64)> {
        sent.iter().map(|one| (one.number, one.before)).collect()
    }

    fn settle(outbox: &mut Outbox, sent: Vec<Sent>, outcomes: &[Outcome]) {
        let results = sent.into_iter().zip(outcomes);
        outbox.settle(results.map(|(one, outcome)| (one.lane, one.number, *outcome)));
    }

    #[test]
    fn each_says_what_it_follows_and_a_lane_is_sent_by_one_at_a_time() {
        let mut outbox = outbox_of(3);
        let sent = take(&mut outbox);
        assert_eq!(numbers(&sent), [(1, 0), (2, 1), (3, 2)]);
        assert!(
            outbox
                .push(lane("a"), frame("x"), None, Instant::now())
                .is_ok()
        );
        assert_eq!(numbers(&take(&mut outbox)), []);
        settle(&mut outbox, sent, &[PLACED; 3]);
        assert_eq!(numbers(&take(&mut outbox)), [(4, 3)]);
    }

    #[test]
    fn what_follows_one_that_failed_is_sent_again_with_it() {
        let mut outbox = outbox_of(3);
        let sent = take(&mut outbox);
        settle(&mut outbox, sent, &[PLACED, Outcome::Again, PLACED]);
        assert_eq!(numbers(&take(&mut outbox)), [(2, 1), (3, 2)]);
        assert!(!outbox.is_flushed());
    }

    #[test]
    fn another_lineage_gets_everything_that_is_kept() {
        let mut outbox = outbox_of(2);
        assert_eq!(outbox.answered_by(&"one".into()), 0);
        let sent = take(&mut outbox);
        settle(&mut outbox, sent, &[PLACED; 2]);
        assert!(outbox.is_flushed());
        assert_eq!(outbox.answered_by(&"one".into()), 0);
        assert_eq!(outbox.answered_by(&"other".into()), 2);
        assert_eq!(numbers(&take(&mut outbox)), [(1, 0), (2, 1)]);
    }

    #[test]
    fn what_is_old_goes_and_is_told_of_where_nobody_had_it() {
        let mut outbox = outbox_of(3);
        let sent = take(&mut outbox);
        settle(&mut outbox, sent, &[PLACED, Outcome::Again, Outcome::Again]);
        let later = Instant::now() + KEPT + Duration::from_secs(1);
        assert_eq!(outbox.expire(later), 2);
        assert_eq!(outbox.total.bytes(), 0);
        assert!(outbox.push(lane("a"), frame("x"), None, later).is_ok());
        assert_eq!(numbers(&take(&mut outbox)), [(4, 0)], "numbers go on");
    }

    fn large() -> Job {
        Job::Frame {
            once: None,
            frame: Bytes::from(vec![0; 1 << 20]),
        }
    }

    #[test]
    fn what_waits_in_one_leaves_room_for_others() {
        let total = Arc::default();
        let mut outboxes: Vec<Outbox> = (0..4).map(|_| Outbox::new(&total)).collect();
        let waits: Vec<usize> = outboxes
            .iter_mut()
            .map(|outbox| {
                let push = |outbox: &mut Outbox| {
                    let pushed = outbox.push(lane("a"), large(), None, Instant::now());
                    pushed.is_ok()
                };
                (0..100).take_while(|_| push(outbox)).count()
            })
            .collect();
        // Three quarters of what the ones before it have left.
        assert_eq!(waits, [48, 12, 3, 0]);
        assert!(total.bytes() <= HELD_MAX);
        drop(outboxes);
        assert_eq!((total.bytes(), total.waiting()), (0, 0));
    }

    #[test]
    fn what_is_taken_goes_the_oldest_first_and_is_followed_all_the_same() {
        let mut outbox = Outbox::new(&Arc::default());
        let began = Instant::now();
        let later = began + Duration::from_secs(9);
        for at in [began, began, later, later] {
            assert_eq!(outbox.push(lane("a"), frame("x"), None, at), Ok(()));
        }
        let sent = take(&mut outbox);
        settle(&mut outbox, sent, &[PLACED, PLACED, PLACED, Outcome::Again]);
        let one = frame("x").bytes();
        assert_eq!(outbox.total.taken(), 3 * one);
        assert_eq!(outbox.forget_taken(later, Duration::from_secs(5)), 2);
        assert_eq!(outbox.forget_taken(later, Duration::ZERO), 1);
        assert_eq!((outbox.total.taken(), outbox.total.bytes()), (0, one));
        assert_eq!(
            numbers(&take(&mut outbox)),
            [(4, 3)],
            "it follows what is gone"
        );
        outbox.cut();
        // Another server has never had that.
        assert_eq!(outbox.answered_by(&"other".into()), 0);
        assert_eq!(numbers(&take(&mut outbox)), [(4, 0)]);
    }

    #[test]
    fn lanes_take_turns() {
        let mut outbox = outbox_of(200);
        assert!(
            outbox
                .push(lane("b"), frame("x"), None, Instant::now())
                .is_ok()
        );
        let sent = take(&mut outbox);
        assert_eq!(sent.len(), LANE_TURN + 1);
        assert_eq!(sent.last().map(|one| &one.lane), Some(&lane("b")));
    }
}
