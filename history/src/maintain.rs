//! Maintenance in small steps: deleting what is asked to be deleted, rolling up, merging chunks,
//! retention. One call does as much as its budget allows; each step is one transaction, so a crash
//! or a full disk loses one step.

use std::time::{Duration, Instant};

use crate::{History, HistoryError, SeriesId, history::Workshop, state::DAY_MS};

/// One step's transaction is ended after this time, so that sealing never waits long for it.
pub(crate) const STEP: Duration = Duration::from_millis(100);

/// What maintenance did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// More can be done now: call again soon.
    pub more: bool,
    /// Blocks rolled up, over all tiers.
    pub rolled: u64,
    /// Series-hours whose several chunks became one.
    pub merged: u64,
    /// Chunks and blocks deleted by age or size.
    pub removed: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Series whose stored samples are all gone, ascending, at most 10 000, each reported about
    /// once a day. The caller passes those that it has no samples of either to
    /// [`History::forget`] and forgets them.
    pub expired: Vec<SeriesId>,
}

impl History {
    /// Does at most about `budget` of what is to be done: takes out what is deleted, rolls up hours
    /// that have become final and whatever got late samples since, makes one chunk of many, deletes
    /// by age and size. Blocks; readers go on, sealing waits for 100 ms at most.
    ///
    /// `final_before_ms`: samples before this have all been sealed, late ones too (usually now −
    /// the bound for late samples − the sealing interval). A sample that comes later still is
    /// not lost: it costs its blocks a second rolling up.
    ///
    /// # Errors
    /// [`HistoryError::Blocks`], [`HistoryError::Structure`]: the step that failed changed
    /// nothing, those before it stand.
    pub fn maintain(
        &self,
        now_ms: i64,
        final_before_ms: i64,
        budget: Duration,
    ) -> Result<Progress, HistoryError> {
        self.maintain_some(now_ms, final_before_ms, budget, true)
    }

    /// As [`History::maintain`], for while late samples keep coming: what got some is not rolled up
    /// again, since the next ones would make that void, and nothing is deleted by age and size,
    /// which would take what is still to be rolled up. Readers take those stretches from the
    /// samples.
    ///
    /// # Errors
    /// As [`History::maintain`].
    pub fn maintain_but_late(
        &self,
        now_ms: i64,
        final_before_ms: i64,
        budget: Duration,
    ) -> Result<Progress, HistoryError> {
        self.maintain_some(now_ms, final_before_ms, budget, false)
    }

    /// About how many blocks late samples have come to since all such were rolled up again.
    #[must_use]
    pub fn late_blocks(&self) -> u64 {
        self.state.lock().late_blocks
    }

    fn maintain_some(
        &self,
        now_ms: i64,
        final_before_ms: i64,
        budget: Duration,
        with_late: bool,
    ) -> Result<Progress, HistoryError> {
        let started = Instant::now();
        let mut progress = Progress::default();
        loop {
            let mut workshop = self.writing.lock();
            let until = Instant::now() + STEP.min(budget.saturating_sub(started.elapsed()));
            let stepped = self.bury_next(&mut workshop, until)?
                || self.list_old(until)?
                || with_late && self.roll_dirty(&mut workshop, until, &mut progress)?
                || self.roll_next(&mut workshop, final_before_ms, until, &mut progress)?
                || with_late && self.retain_step(&mut workshop, now_ms, &mut progress)?;
            if !stepped {
                self.list_expired(&mut workshop, now_ms, &mut progress);
                return Ok(progress);
            }
            drop(workshop);
            if started.elapsed() >= budget {
                progress.more = true;
                return Ok(progress);
            }
        }
    }

    /// Looks for expired series, once a day.
    fn list_expired(&self, workshop: &mut Workshop, now_ms: i64, progress: &mut Progress) {
        /// More wait for the next call.
        const LISTED_MAX: usize = 10_000;
        let today = now_ms.div_euclid(DAY_MS);
        if workshop.expired_day == Some(today) {
            return;
        }
        workshop.expired_day = Some(today);
        let horizon_ms = self.horizon_ms(now_ms);
        let state = self.state.lock();
        let gone = |day: u32| (i64::from(day) + 1) * DAY_MS <= horizon_ms;
        let expired = state.seen.iter().filter(|&(_, &day)| gone(day));
        progress.expired = expired.map(|(&id, _)| SeriesId(id)).collect();
        progress.expired.sort_unstable();
        progress.expired.truncate(LISTED_MAX);
    }
}
