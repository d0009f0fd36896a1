//! What one question may cost: time, samples, and until its asker leaves.
//!
//! Everything that walks over series or samples counts its steps here, and ends when the time is
//! over or nobody waits for the answer any more. The clock is looked at every so many steps, so
//! that counting costs next to nothing.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Work between two looks at the clock: some hundreds of series that are merely looked at, or one
/// of those whose labels are matched with large patterns.
const WORK_BETWEEN: u32 = 256;

/// Why a question was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Spent {
    /// Its time is over.
    #[error("the time is over")]
    Time,
    /// Nobody waits for the answer.
    #[error("nobody waits for the answer")]
    Cancelled,
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

/// See the module. One thread works on a question, so that nothing is counted by two.
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
    use super::*;

    #[test]
    fn a_cost_ends_by_time_by_samples_and_when_nobody_waits() {
        let cancel = Cancel::default();
        let cost = Cost::new(Duration::from_secs(3_600), 10, cancel.clone());
        assert_eq!(cost.step(WORK_BETWEEN), Ok(()));
        assert!(cost.take_samples(10) && !cost.take_samples(1));
        cancel.cancel();
        assert_eq!(cost.step(1), Ok(()), "not looked at yet");
        assert_eq!(cost.step(WORK_BETWEEN), Err(Spent::Cancelled));
        let cost = Cost::new(Duration::ZERO, 0, Cancel::default());
        assert_eq!(cost.check(), Err(Spent::Time));
        cost.put_off(Duration::from_secs(3_600));
        assert_eq!(cost.check(), Ok(()));
    }
}
