//! Who watches a feed, and the threads that write to them.
//!
//! Each fan-out thread owns a share of every feed's members. A publication marks the feed's
//! members dirty and wakes the threads; a thread walks its share in slices and lets each member
//! write what its cursor finds, straight to the socket. So publishing costs a flag and a
//! wake-up, thousands of tasks are not woken, and joining waits for a slice at most.
//!
//! What is the same for all members is done once a pass ([`FanoutPass`]): the frame is looked up
//! and its encoding found once, and the counters are added to once a slice.

use std::{
    collections::VecDeque,
    fmt,
    hint::black_box,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering, fence},
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use crate::{counters::Counters, ledger::Ledgers, pass::FanoutPass};

/// Members visited under one hold of a share's lock.
const SLICE: usize = 64;

/// Members are told of a restart one after the other, with so much time for each, within a second
/// in all; those of one slice at once.
const RESTART_EACH: Duration = Duration::from_micros(50);
const RESTART_SPREAD_MAX: Duration = Duration::from_secs(1);

/// While they are, those whose turn has come are looked for this often.
const RESTART_STEP: Duration = Duration::from_millis(40);

/// Something that has cursors and a socket.
pub trait Subscriber: Send + Sync {
    /// Writes all that its cursors find and the socket takes, without waiting.
    fn deliver(&self, pass: &mut FanoutPass);

    /// Ends this member: it panicked, and what it would write next is not known.
    fn end_panicked(&self);

    /// Reads something of what [`Self::deliver`] will need, and nothing else. Called for a slice of
    /// members in a row, so that the processor fetches them from memory side by side; one at a
    /// time, between system calls, each would wait for its own.
    fn fetch(&self) -> usize;
}

/// The members of one feed, in one share a fan-out thread.
pub struct Members {
    shares: Vec<Share>,
    /// Chooses the share of the next member.
    joined: AtomicUsize,
}

#[derive(Default)]
struct Share {
    /// Set by a publication, cleared by the thread before it walks. Both by an exchange that
    /// acquires and releases: where the publisher finds it set, and so leaves the pass to the
    /// thread, the thread's exchange reads what the publisher wrote and with it all that was
    /// appended before. A plain store of `false` would read nothing, and a processor that lets
    /// loads overtake stores could pass with the old end of the log and never again.
    dirty: AtomicBool,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Option<Arc<dyn Subscriber>>>,
    free: Vec<usize>,
}

/// A member's place; leaving is dropping it.
pub struct MemberGuard {
    members: Weak<Members>,
    share: usize,
    slot: usize,
}

impl Members {
    /// No members yet, for `shards` fan-out threads.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self {
            shares: (0..shards.max(1)).map(|_| Share::default()).collect(),
            joined: AtomicUsize::new(0),
        }
    }

    /// Adds a member; it stays until the guard is dropped.
    pub fn join(self: &Arc<Self>, member: Arc<dyn Subscriber>) -> MemberGuard {
        let share = self.joined.fetch_add(1, Ordering::Relaxed) % self.shares.len();
        let mut members = self.shares[share].slots.lock();
        let slot = members.free.pop().unwrap_or_else(|| {
            members.slots.push(None);
            members.slots.len() - 1
        });
        members.slots[slot] = Some(member);
        MemberGuard {
            members: Arc::downgrade(self),
            share,
            slot,
        }
    }

    /// Members now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shares
            .iter()
            .map(|share| {
                let members = share.slots.lock();
                members.slots.len() - members.free.len()
            })
            .sum()
    }

    /// Whether nobody watches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets every member of one share write; used by that share's thread.
    fn pass(&self, share: usize, counters: &Counters) {
        let share = &self.shares[share];
        share.dirty.swap(false, Ordering::AcqRel);
        // A member that is found blocked is passed over, and its own task looks at the log once
        // it has cleared that flag. Each side writes one of the two and then reads the other, with
        // a fence in between (the other one is `Viewer::unblock`), so they cannot both read the
        // older value: either the task sees what was appended, or we see that it is not blocked.
        fence(Ordering::SeqCst);
        let mut pass = FanoutPass::shared();
        let mut slice: Vec<Arc<dyn Subscriber>> = Vec::with_capacity(SLICE);
        let mut from = 0;
        loop {
            {
                let members = share.slots.lock();
                let to = (from + SLICE).min(members.slots.len());
                let slots = || members.slots.get(from..to).into_iter().flatten().flatten();
                black_box(slots().fold(0, |any, member| any ^ member.fetch()));
                slice.extend(slots().cloned());
                from = to;
                if to == members.slots.len() && slice.is_empty() {
                    return;
                }
            }
            for member in slice.drain(..) {
                // A panic ends the member that panicked; the others get their frame.
                if catch_unwind(AssertUnwindSafe(|| member.deliver(&mut pass))).is_err() {
                    counters.panics.fetch_add(1, Ordering::Relaxed);
                    tracing::error!("a viewer's frame could not be written; it is ended");
                    pass.forget();
                    member.end_panicked();
                }
            }
            pass.settle(counters);
        }
    }
}

impl Drop for MemberGuard {
    fn drop(&mut self) {
        if let Some(members) = self.members.upgrade() {
            let mut members = members.shares[self.share].slots.lock();
            // Taken out under the lock, dropped after it: a member may own much.
            let member = members.slots[self.slot].take();
            members.free.push(self.slot);
            drop(members);
            drop(member);
        }
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members")
            .field("members", &self.len())
            .finish()
    }
}

impl fmt::Debug for MemberGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberGuard")
            .field("share", &self.share)
            .field("slot", &self.slot)
            .finish()
    }
}

/// The fan-out threads. They end when the last handle is dropped.
#[derive(Clone)]
pub struct Fanout(Arc<Threads>);

struct Threads {
    queues: Vec<Arc<Queue>>,
    ledgers: Arc<Ledgers>,
}

/// The members a thread has yet to pass. Bounded by the number of feeds: a feed's members that is
/// already dirty is not queued again (policy: coalesce).
#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    filled: Condvar,
}

#[derive(Default)]
struct QueueState {
    members: VecDeque<Arc<Members>>,
    /// Those that are passed again and again for a while; one entry a feed.
    again: Vec<Again>,
    closed: bool,
}

/// Members that are told of a restart.
struct Again {
    members: Arc<Members>,
    next: Instant,
    until: Instant,
}

impl QueueState {
    /// Members whose next pass is due, and when the soonest of the others' is.
    fn due_again(&mut self) -> (Option<Arc<Members>>, Option<Instant>) {
        if self.again.is_empty() {
            return (None, None);
        }
        let now = Instant::now();
        let due = self.again.iter().position(|again| again.next <= now);
        let due = due.map(|at| {
            let again = &mut self.again[at];
            let members = Arc::clone(&again.members);
            if again.next >= again.until {
                self.again.swap_remove(at);
            } else {
                again.next = (now + RESTART_STEP).min(again.until);
            }
            members
        });
        (due, self.again.iter().map(|again| again.next).min())
    }
}

impl Queue {
    /// The members to pass next; waits for some. `None` when it is over.
    fn next(&self) -> Option<Arc<Members>> {
        let mut state = self.state.lock();
        loop {
            let (due, soonest) = state.due_again();
            if let Some(members) = due.or_else(|| state.members.pop_front()) {
                return Some(members);
            }
            if state.closed {
                return None;
            }
            match soonest {
                None => self.filled.wait(&mut state),
                Some(at) => {
                    self.filled.wait_until(&mut state, at);
                }
            }
        }
    }
}

impl Fanout {
    /// Starts `shards` threads (at least one), which count what they deliver.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub fn start(shards: usize, counters: &Arc<Counters>) -> std::io::Result<Self> {
        let mut queues = Vec::new();
        for shard in 0..shards.max(1) {
            let queue = Arc::new(Queue::default());
            queues.push(Arc::clone(&queue));
            let counters = Arc::clone(counters);
            std::thread::Builder::new()
                .name(format!("fan-out-{shard}"))
                .spawn(move || run_thread(shard, &queue, &counters))?;
        }
        let ledgers = Ledgers::new(counters);
        Ok(Self(Arc::new(Threads { queues, ledgers })))
    }

    /// Number of threads.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.0.queues.len()
    }

    /// What the logs of the feeds hold that it delivers.
    #[must_use]
    pub fn ledgers(&self) -> &Arc<Ledgers> {
        &self.0.ledgers
    }

    /// Has every member of `members` look for new frames, soon and elsewhere.
    pub fn wake(&self, members: &Arc<Members>) {
        for (share, queue) in members.shares.iter().zip(&self.0.queues) {
            if !share.dirty.swap(true, Ordering::AcqRel) {
                queue.state.lock().members.push_back(Arc::clone(members));
                queue.filled.notify_one();
            }
        }
    }
}

impl Fanout {
    /// Over which time the members are told of a restart.
    pub(super) fn spread(&self, members: &Members) -> Duration {
        let count = members.len();
        if count <= SLICE {
            return Duration::ZERO;
        }
        let all = RESTART_EACH.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        all.min(RESTART_SPREAD_MAX)
    }

    /// Has every member of `members` look for new frames, now and again until `spread` is over.
    pub(super) fn wake_over(&self, members: &Arc<Members>, spread: Duration) {
        self.wake(members);
        if spread.is_zero() {
            return;
        }
        let now = Instant::now();
        let until = now + spread;
        for queue in &self.0.queues {
            let mut state = queue.state.lock();
            let mut all = state.again.iter_mut();
            match all.find(|again| Arc::ptr_eq(&again.members, members)) {
                Some(known) => known.until = known.until.max(until),
                None => state.again.push(Again {
                    members: Arc::clone(members),
                    next: (now + RESTART_STEP).min(until),
                    until,
                }),
            }
            queue.filled.notify_one();
        }
    }
}

impl fmt::Debug for Fanout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fanout")
            .field("shards", &self.shards())
            .finish()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        for queue in &self.queues {
            queue.state.lock().closed = true;
            queue.filled.notify_one();
        }
    }
}

fn run_thread(shard: usize, queue: &Queue, counters: &Counters) {
    while let Some(members) = queue.next() {
        members.pass(shard, counters);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    struct Member {
        delivered: AtomicUsize,
        ended: AtomicUsize,
        panics: bool,
    }

    impl Member {
        fn new(panics: bool) -> Arc<Self> {
            Arc::new(Self {
                delivered: AtomicUsize::new(0),
                ended: AtomicUsize::new(0),
                panics,
            })
        }
    }

    impl Subscriber for Member {
        fn deliver(&self, _walk: &mut FanoutPass) {
            self.delivered.fetch_add(1, Ordering::SeqCst);
            assert!(!self.panics, "as the test wants it");
        }

        fn end_panicked(&self) {
            self.ended.fetch_add(1, Ordering::SeqCst);
        }

        fn fetch(&self) -> usize {
            0
        }
    }

    /// Finds its turn after a restart by itself.
    struct Told {
        cursor: Mutex<crate::Subscription<Nothing>>,
        told: Mutex<Option<Instant>>,
    }

    struct Nothing;

    impl crate::Payload for Nothing {
        type View = ();

        fn encode(&self, _at: crate::At, (): &()) -> bytes::Bytes {
            bytes::Bytes::new()
        }

        fn merge(_: &[Arc<crate::Frame<Self>>], _: u64, _: u64, (): &()) -> bytes::Bytes {
            bytes::Bytes::new()
        }
    }

    impl Subscriber for Told {
        fn deliver(&self, pass: &mut FanoutPass) {
            if crate::Member::next(&mut *self.cursor.lock(), pass).is_some() {
                let before = self.told.lock().replace(Instant::now());
                assert!(before.is_none(), "once");
            }
        }

        fn end_panicked(&self) {}

        fn fetch(&self) -> usize {
            0
        }
    }

    #[test]
    fn many_are_told_of_a_restart_one_after_the_other_and_all_within_its_time() {
        let counters = Arc::new(Counters::default());
        let fanout = Fanout::start(2, &counters).expect("threads");
        let bounds = crate::Bounds {
            frames: 8,
            bytes: usize::MAX,
            lag: 8,
        };
        let feed = crate::Feed::<Nothing>::new(crate::Epoch(1), bounds, &fanout);
        // Told over a fifth of a second.
        let told: Vec<_> = (0..4_000)
            .map(|id| {
                let cursor = crate::Subscription::new(Arc::clone(&feed), feed.end(), (), id);
                Arc::new(Told {
                    cursor: Mutex::new(cursor),
                    told: Mutex::default(),
                })
            })
            .collect();
        let seat = |told: &Arc<Told>| feed.members().join(Arc::clone(told) as Arc<_>);
        let _seats: Vec<_> = told.iter().map(seat).collect();
        let began = Instant::now();
        feed.reset(crate::Epoch(2), 7, [Nothing]);
        while told.iter().any(|told| told.told.lock().is_none()) {
            assert!(began.elapsed() < Duration::from_secs(10), "all are told");
            std::thread::yield_now();
        }
        let after = |told: &Arc<Told>| told.told.lock().map(|at| at - began);
        let times: Vec<Duration> = told.iter().filter_map(after).collect();
        let spread = Duration::from_millis(200);
        let late = times.iter().filter(|time| **time >= spread / 2).count();
        assert!(late > 1_000, "not all at once: {late} in the second half");
        assert_eq!(counters.panics.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_member_that_panics_is_ended_and_all_others_get_their_frame() {
        let counters = Arc::new(Counters::default());
        let fanout = Fanout::start(1, &counters).expect("a thread");
        let feed = Arc::new(Members::new(fanout.shards()));
        // Over several slices, the bad one amid the first.
        let members: Vec<_> = (0..3 * SLICE).map(|at| Member::new(at == 5)).collect();
        let _guards: Vec<_> = members
            .iter()
            .map(|member| feed.join(Arc::clone(member) as Arc<dyn Subscriber>))
            .collect();
        let deadline = Instant::now() + Duration::from_secs(10);
        for pass in 1..=2 {
            fanout.wake(&feed);
            let all = || {
                let reached =
                    |member: &Arc<Member>| member.delivered.load(Ordering::SeqCst) == pass;
                members.iter().all(reached) && members[5].ended.load(Ordering::SeqCst) == pass
            };
            while !all() {
                assert!(Instant::now() < deadline, "pass {pass} reaches all");
                std::thread::yield_now();
            }
        }
        let ended = members
            .iter()
            .map(|member| member.ended.load(Ordering::SeqCst));
        assert_eq!(ended.sum::<usize>(), 2, "nobody else");
        assert_eq!(counters.panics.load(Ordering::SeqCst), 2);
    }
}
