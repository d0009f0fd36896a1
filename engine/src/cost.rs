//! What one question may cost: time, samples, memory, and until its asker leaves.
//!
//! Everything that walks over series or samples counts its steps here, and ends when the time is
//! over or nobody waits for the answer any more. The clock is looked at every so many steps, so
//! that counting costs next to nothing. Memory is counted as it is taken ([`Cost::hold`]), and
//! whoever bounds it is asked for large pieces of it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Work between two looks at the clock: some hundreds of series that are merely looked at, or one
/// of those whose labels are matched with large patterns.
const WORK_BETWEEN: u32 = 256;

/// Memory is asked for in pieces of this size.
const RESERVED_BYTES: usize = 64 * 1024;

/// So much is there without asking: a connection's own buffers are larger.
const FREE_BYTES: usize = 16 * 1024;

/// Why a question was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Spent {
    /// Its time is over.
    #[error("the time is over")]
    Time,
    /// Nobody waits for the answer.
    #[error("nobody waits for the answer")]
    Cancelled,
    /// There is no memory for the answer.
    #[error("there is no memory for the answer at this time")]
    Memory,
    /// The answer takes more memory than its asker may have, whatever others hold.
    #[error("the answer takes more than the {max} bytes that {whose} may have")]
    TooLarge {
        /// Bytes that it may have at most.
        max: usize,
        /// Whose bound that is, in words: `one connection`.
        whose: &'static str,
    },
}

/// Ends questions from outside: given up when whoever asks has gone.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Whoever asked has gone.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether that was said.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Lets others have their turn; how long that took, or `None` where it is to end.
type Pause = Box<dyn Fn() -> Option<Duration> + Send + Sync>;

/// Told how many bytes are to be reserved from now on, more or fewer than before; why they are not.
type Reserve = Box<dyn Fn(usize) -> Result<(), Spent> + Send + Sync>;

/// What one question has spent of its time, samples and memory, and when it is to end. One thread
/// works on a question, so that nothing is counted by two.
pub struct Cost {
    began: Instant,
    /// Microseconds after `began`.
    ends_us: AtomicU64,
    cancel: Cancel,
    samples_max: u64,
    samples_left: AtomicU64,
    /// Work since the clock was looked at.
    work: AtomicU32,
    pause: Option<(u64, Pause)>,
    /// Microseconds after `began` at which others are to have a turn.
    pauses_us: AtomicU64,
    reserve: Option<Reserve>,
    /// Bytes that are held, and that are reserved.
    held: AtomicUsize,
    reserved: AtomicUsize,
}

impl Cost {
    /// At most so much time from now on, and so many samples; until `cancel` says that it is in
    /// vain.
    #[must_use]
    pub fn new(time: Duration, samples: u64, cancel: Cancel) -> Self {
        Self {
            began: Instant::now(),
            ends_us: AtomicU64::new(micros(time)),
            cancel,
            samples_max: samples,
            samples_left: AtomicU64::new(samples),
            work: AtomicU32::new(0),
            pause: None,
            pauses_us: AtomicU64::new(u64::MAX),
            reserve: None,
            held: AtomicUsize::new(0),
            reserved: AtomicUsize::new(FREE_BYTES),
        }
    }

    /// Has `reserve` asked for the memory that the answer takes; what it is told is the sum.
    #[must_use]
    pub fn reserving(
        self,
        reserve: impl Fn(usize) -> Result<(), Spent> + Send + Sync + 'static,
    ) -> Self {
        Self {
            reserve: Some(Box::new(reserve)),
            ..self
        }
    }

    /// Has `pause` called about every so often, which lets others have their turn and says how
    /// long that took; `None` ends the question.
    #[must_use]
    pub fn pausing(
        self,
        every: Duration,
        pause: impl Fn() -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        Self {
            pause: Some((micros(every), Box::new(pause))),
            pauses_us: AtomicU64::new(micros(every)),
            ..self
        }
    }

    /// Without bounds: for what the server does for itself, and for tests.
    #[must_use]
    pub fn unbounded() -> Self {
        Self::new(Duration::MAX, u64::MAX, Cancel::default())
    }

    /// Counts a step of a walk that is about as dear as looking at `work` series.
    ///
    /// # Errors
    /// It is to end.
    pub fn step(&self, work: u32) -> Result<(), Spent> {
        let done = self
            .work
            .load(Ordering::Relaxed)
            .saturating_add(work.max(1));
        if done < WORK_BETWEEN {
            self.work.store(done, Ordering::Relaxed);
            return Ok(());
        }
        self.work.store(0, Ordering::Relaxed);
        self.check()
    }

    /// Looks at the clock, and whether anybody waits.
    ///
    /// # Errors
    /// It is to end.
    pub fn check(&self) -> Result<(), Spent> {
        if self.cancel.is_cancelled() {
            return Err(Spent::Cancelled);
        }
        let now_us = micros(self.began.elapsed());
        if let Some((every_us, pause)) = &self.pause
            && now_us >= self.pauses_us.load(Ordering::Relaxed)
        {
            self.put_off(pause().ok_or(Spent::Time)?);
            let next_us = micros(self.began.elapsed()).saturating_add(*every_us);
            self.pauses_us.store(next_us, Ordering::Relaxed);
            if self.cancel.is_cancelled() {
                return Err(Spent::Cancelled);
            }
        }
        match micros(self.began.elapsed()) < self.ends_us.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(Spent::Time),
        }
    }

    /// Takes so many samples of those that may be read; `false` when there are not so many left.
    #[must_use]
    pub fn take_samples(&self, count: usize) -> bool {
        let left = self.samples_left.load(Ordering::Relaxed);
        let left = left.checked_sub(count as u64);
        left.inspect(|left| self.samples_left.store(*left, Ordering::Relaxed))
            .is_some()
    }

    /// What was read so far is written and let go: only what is held at once counts. For answers
    /// that are sent while they are made.
    pub fn forget_samples(&self) {
        self.samples_left.store(self.samples_max, Ordering::Relaxed);
    }

    /// Takes memory, before it is taken or shortly after.
    ///
    /// # Errors
    /// There is none; nothing is taken.
    pub fn hold(&self, bytes: usize) -> Result<(), Spent> {
        let held = self.held.load(Ordering::Relaxed).saturating_add(bytes);
        let reserved = self.reserved.load(Ordering::Relaxed);
        if held > reserved
            && let Some(reserve) = &self.reserve
        {
            let wanted = held
                .checked_next_multiple_of(RESERVED_BYTES)
                .unwrap_or(held);
            reserve(wanted)?;
            self.reserved.store(wanted, Ordering::Relaxed);
        }
        self.held.store(held, Ordering::Relaxed);
        Ok(())
    }

    /// Gives memory back.
    pub fn let_go(&self, bytes: usize) {
        let held = self.held.load(Ordering::Relaxed).saturating_sub(bytes);
        self.held.store(held, Ordering::Relaxed);
        let reserved = self.reserved.load(Ordering::Relaxed);
        // Not for every little bit, which may be wanted again at once.
        if reserved - held.min(reserved) >= 4 * RESERVED_BYTES
            && let Some(reserve) = &self.reserve
        {
            let wanted = held.next_multiple_of(RESERVED_BYTES).max(RESERVED_BYTES);
            if reserve(wanted).is_ok() {
                self.reserved.store(wanted, Ordering::Relaxed);
            }
        }
    }

    /// Bytes that are held.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Ends it no later than so long from now on: whoever asks waits no longer.
    pub fn end_within(&self, time: Duration) {
        let ends_us = micros(self.began.elapsed()).saturating_add(micros(time));
        self.ends_us.fetch_min(ends_us, Ordering::Relaxed);
    }

    /// Samples that were read, but for those that were forgotten.
    #[must_use]
    pub fn samples_taken(&self) -> u64 {
        self.samples_max - self.samples_left.load(Ordering::Relaxed)
    }

    /// Samples that may be read in all.
    #[must_use]
    pub fn samples_max(&self) -> u64 {
        self.samples_max
    }

    /// Moves the end: so long nothing was done, since whoever asked was waited for.
    pub fn put_off(&self, by: Duration) {
        let ends_us = self.ends_us.load(Ordering::Relaxed);
        self.ends_us
            .store(ends_us.saturating_add(micros(by)), Ordering::Relaxed);
    }
}

impl fmt::Debug for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cost")
            .field("ends_us", &self.ends_us)
            .field("samples_left", &self.samples_left)
            .finish_non_exhaustive()
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cost_ends_by_time_by_samples_and_when_nobody_waits() {
        let cancel = Cancel::default();
        let cost = Cost::new(Duration::from_secs(3_600), 10, cancel.clone());
        assert_eq!(cost.step(WORK_BETWEEN), Ok(()));
        assert!(cost.take_samples(4) && cost.samples_taken() == 4);
        assert!(cost.take_samples(6) && !cost.take_samples(1));
        assert_eq!(cost.samples_taken(), 10);
        cost.forget_samples();
        assert!(cost.take_samples(10) && !cost.take_samples(1));
        cancel.cancel();
        assert_eq!(cost.step(1), Ok(()), "not looked at yet");
        assert_eq!(cost.step(WORK_BETWEEN), Err(Spent::Cancelled));
        let cost = Cost::new(Duration::ZERO, 0, Cancel::default());
        assert_eq!(cost.check(), Err(Spent::Time));
        cost.put_off(Duration::from_secs(3_600));
        assert_eq!(cost.check(), Ok(()));
        cost.end_within(Duration::from_secs(7_200));
        assert_eq!(cost.check(), Ok(()), "it ends before that");
        cost.end_within(Duration::ZERO);
        assert_eq!(cost.check(), Err(Spent::Time));
    }

    #[test]
    fn memory_is_asked_for_in_large_pieces_and_given_back() {
        let asked = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&asked);
        let most = 10 * RESERVED_BYTES;
        let cost = Cost::unbounded().reserving(move |bytes| {
            let is_there = bytes <= most;
            if is_there {
                seen.store(bytes, Ordering::Relaxed);
            }
            is_there.then_some(()).ok_or(Spent::Memory)
        });
        let reserved = || asked.load(Ordering::Relaxed);
        assert_eq!((cost.hold(FREE_BYTES), reserved()), (Ok(()), 0));
        assert_eq!((cost.hold(1), reserved()), (Ok(()), RESERVED_BYTES));
        for too_much in [most, usize::MAX] {
            assert_eq!(cost.hold(too_much), Err(Spent::Memory));
        }
        assert_eq!(cost.held_bytes(), FREE_BYTES + 1, "nothing was taken");
        let more = cost.hold(8 * RESERVED_BYTES);
        assert_eq!((more, reserved()), (Ok(()), 9 * RESERVED_BYTES));
        cost.let_go(RESERVED_BYTES);
        assert_eq!(reserved(), 9 * RESERVED_BYTES, "not for a little");
        cost.let_go(usize::MAX);
        assert_eq!((cost.held_bytes(), reserved()), (0, RESERVED_BYTES));
    }

    proptest! {
        /// Whatever is taken and given back: what is reserved is never less than what is held,
        /// nor more than five pieces more.
        #[test]
        fn what_is_reserved_covers_what_is_held(
            most in 1_usize..100,
            steps in proptest::collection::vec((any::<bool>(), 0..3 * RESERVED_BYTES), 0..200),
        ) {
            let most = most * RESERVED_BYTES;
            let asked = Arc::new(AtomicUsize::new(FREE_BYTES));
            let seen = Arc::clone(&asked);
            let cost = Cost::unbounded().reserving(move |bytes| {
                let is_there = bytes <= most;
                if is_there {
                    seen.store(bytes, Ordering::Relaxed);
                }
                is_there.then_some(()).ok_or(Spent::Memory)
            });
            let mut held = 0;
            for (takes, bytes) in steps {
                if takes {
                    let fits = held + bytes <= most;
                    prop_assert_eq!(cost.hold(bytes).is_ok(), fits);
                    held += if fits { bytes } else { 0 };
                } else {
                    cost.let_go(bytes);
                    held = held.saturating_sub(bytes);
                }
                prop_assert_eq!(cost.held_bytes(), held);
                let reserved = asked.load(Ordering::Relaxed);
                prop_assert!(reserved >= held && reserved <= held + 5 * RESERVED_BYTES);
            }
        }
    }
}
