//! What a series makes of a sample that comes: into its window or beside it, which is its newest,
//! what of it is not sealed, and whether it has stopped.

use pulseboard_series::is_stale_marker;

use crate::{
    late::Late,
    table::Entry,
    window::{Pushed, Sample, Scratch, WindowCopy},
};

/// How long a series with a single sample counts as coming in.
const LONE_SAMPLE_LIVES_MS: i64 = 300_000;

/// The shortest silence that makes a series a stopped one.
const STOPPED_AFTER_MIN_MS: i64 = 3_000;

/// A clock that is off by more was set.
const CLOCK_SLIPS_MS: i64 = 2_000;

impl Entry {
    /// Takes a sample into the window that comes now.
    pub(crate) fn take(
        &mut self,
        at_ms: i64,
        value: f64,
        now_ms: i64,
        scratch: &mut Scratch,
    ) -> Pushed {
        self.arrived(now_ms, now_ms);
        self.take_in(at_ms, value, now_ms, scratch)
    }

    /// Something came at a moment; one that has not been yet was when the clock was ahead.
    pub(crate) fn arrived(&mut self, arrived_ms: i64, now_ms: i64) {
        self.arrived_ms = if self.arrived_ms > now_ms {
            arrived_ms
        } else {
            self.arrived_ms.max(arrived_ms)
        };
    }

    /// As [`Entry::take`], whenever it came.
    pub(crate) fn take_in(
        &mut self,
        at_ms: i64,
        value: f64,
        now_ms: i64,
        scratch: &mut Scratch,
    ) -> Pushed {
        let pushed = self.window.push(at_ms, value, scratch);
        if at_ms > now_ms {
            self.take_ahead(at_ms, value, now_ms);
            return pushed;
        }
        let before = self.newest_at(now_ms);
        self.is_ahead = false;
        match before {
            Some((last_ms, _)) if at_ms > last_ms => {
                self.learn_interval(at_ms - last_ms);
                self.last = Some((at_ms, value));
                self.is_ended = is_stale_marker(value);
            }
            Some((last_ms, _)) if at_ms == last_ms => self.last = Some((at_ms, value)),
            Some(last) => {
                self.last = Some(last);
                self.late_count = self.late_count.wrapping_add(1);
            }
            None => {
                // What was made of its past is void where the clock was set back.
                if self.last.is_some() {
                    self.late_count = self.late_count.wrapping_add(1);
                }
                self.last = Some((at_ms, value));
                self.is_ended = is_stale_marker(value);
            }
        }
        pushed
    }

    fn take_ahead(&mut self, at_ms: i64, value: f64, now_ms: i64) {
        let last_ms = self.last.map_or(i64::MIN, |last| last.0);
        let newest_ms = self.ahead_ms.max(last_ms);
        if newest_ms != i64::MIN && at_ms > newest_ms {
            self.learn_interval(at_ms - newest_ms);
        }
        // What has come of age meanwhile is ahead no more.
        if self.ahead_ms <= now_ms {
            self.last = self.newest_at(now_ms);
        }
        self.ahead_ms = self.ahead_ms.max(at_ms);
        self.is_ahead = true;
        // That there will be no more holds at once.
        self.is_ended = is_stale_marker(value);
    }

    /// The newest sample that came and is not ahead of the clock.
    pub(crate) fn newest_at(&self, now_ms: i64) -> Option<Sample> {
        let last = self.last.filter(|last| last.0 <= now_ms);
        if !self.is_ahead {
            return last;
        }
        let of_age = self.window.newest_at(now_ms);
        match (last, of_age) {
            (Some(last), Some(of_age)) if of_age.0 > last.0 => Some(of_age),
            (None, of_age) => of_age,
            (last, _) => last,
        }
    }

    /// Whether a sample of this time is kept apart from the window: it is older than the window is
    /// to reach, and than what is in it.
    pub(crate) fn is_before_window(&self, at_ms: i64, window_from_ms: i64) -> bool {
        at_ms < window_from_ms
            && self
                .window
                .oldest_ms()
                .is_none_or(|oldest_ms| at_ms < oldest_ms)
    }

    /// Takes a sample in that is older than the window.
    pub(crate) fn take_late(&mut self, at_ms: i64, value: f64, now_ms: i64, segment: u32) {
        if self.arrived_ms == i64::MIN {
            self.arrived_ms = at_ms;
        }
        // What was made of its past is void.
        self.late_count = self.late_count.wrapping_add(1);
        self.lacks(at_ms);
        if self.unsealed_segment == 0 {
            self.unsealed_segment = segment;
            self.unsealed_ms = i64::MAX;
        }
        self.keep_late((at_ms, value), now_ms);
    }

    /// Its window has not all that was taken up to a moment.
    pub(crate) fn lacks(&mut self, until_ms: i64) {
        self.whole_from_ms = self.whole_from_ms.max(until_ms.saturating_add(1));
    }

    fn keep_late(&mut self, sample: Sample, now_ms: i64) {
        match &mut self.late {
            Some(late) => late.push(sample, now_ms),
            None => self.late = Some(Box::new(Late::new(sample, now_ms))),
        }
    }

    /// Its samples of `from_ms..to_ms` in memory, copied; blocks are shared.
    pub(crate) fn copy(&self, from_ms: i64, to_ms: i64) -> WindowCopy {
        let mut copy = self.window.copy(from_ms, to_ms);
        if let Some(late) = &self.late {
            late.copy(from_ms, to_ms, &mut copy.late);
        }
        copy
    }

    /// Time of the oldest sample that a view of the history may not have; the greatest number when
    /// there is none.
    pub(crate) fn oldest_unknown_ms(&self) -> i64 {
        let of_late = self.late.as_ref().map(|late| late.oldest_ms());
        let of_window = (self.unsealed_segment != 0).then_some(self.unsealed_ms);
        of_late
            .into_iter()
            .chain(of_window)
            .min()
            .unwrap_or(i64::MAX)
    }

    /// Time of the oldest sample that is in the log alone; the greatest number when all are
    /// sealed.
    pub(crate) fn oldest_unsealed_ms(&self) -> i64 {
        if self.unsealed_segment == 0 {
            return i64::MAX;
        }
        let late = self.late.as_ref().filter(|late| late.unsealed() > 0);
        late.map_or(self.unsealed_ms, |late| {
            self.unsealed_ms.min(late.oldest_ms())
        })
    }

    /// Remembers that a sample is in the log alone; whether it is kept beside the window, too.
    pub(crate) fn note_unsealed(
        &mut self,
        at_ms: i64,
        value: f64,
        now_ms: i64,
        segment: u32,
    ) -> bool {
        if segment == 0 {
            return false;
        }
        if self.unsealed_segment == 0 {
            self.unsealed_segment = segment;
            self.unsealed_ms = i64::MAX;
        }
        if at_ms > self.sealed_ms {
            self.unsealed_ms = self.unsealed_ms.min(at_ms);
            return false;
        }
        self.keep_late((at_ms, value), now_ms);
        true
    }

    /// Whether nothing came for three of its own intervals, or its sender ended it.
    pub(crate) fn is_stopped(&self, now_ms: i64) -> bool {
        let patience = match self.interval_ms {
            0 => LONE_SAMPLE_LIVES_MS,
            interval_ms => (3 * i64::from(interval_ms)).max(STOPPED_AFTER_MIN_MS),
        };
        // What came before the clock was set back came we do not know when; what lives comes again.
        let since_ms = now_ms.saturating_sub(self.arrived_ms);
        self.is_ended || since_ms > patience || since_ms < -CLOCK_SLIPS_MS
    }
}
