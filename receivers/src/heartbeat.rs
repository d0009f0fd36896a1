//! The dead man's switch: an address that is called regularly while all is well, so that somebody
//! elsewhere notices when it is not. Pure; [`Sender::call`](crate::Sender::call) does the calling.

use crate::outcome::Outcome;

/// After a call in vain the next comes this soon, or sooner where the interval is short.
const AGAIN_MS: i64 = 10_000;

/// When the address is called.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    every_ms: i64,
    next_ms: Option<i64>,
    /// Calls in vain since the last that was answered.
    failures: u64,
    last_error: Option<String>,
    last_answer_ms: Option<i64>,
}

impl Heartbeat {
    /// One that is called every so many ms, a second at least, and first as soon as all is well.
    #[must_use]
    pub fn new(every_ms: u64) -> Self {
        Self {
            every_ms: i64::try_from(every_ms).unwrap_or(i64::MAX).max(1000),
            next_ms: None,
            failures: 0,
            last_error: None,
            last_answer_ms: None,
        }
    }

    /// Whether it is to be called now; if so, the next call is planned. `is_well`: rules are
    /// evaluated and deliveries work. While that is not so nobody is called, and as soon as it is
    /// so again somebody is.
    pub fn is_due(&mut self, now_ms: i64, is_well: bool) -> bool {
        if !is_well {
            self.next_ms = None;
            return false;
        }
        let is_due = match self.next_ms {
            None => true,
            // A clock that stepped back plans nothing further off than an interval.
            Some(next) => now_ms >= next || next > now_ms.saturating_add(self.every_ms),
        };
        if is_due {
            self.next_ms = Some(now_ms.saturating_add(self.every_ms));
        }
        is_due
    }

    /// When [`Heartbeat::is_due`] is worth asking again.
    #[must_use]
    pub fn next_due_ms(&self, now_ms: i64) -> i64 {
        let next = self.next_ms.unwrap_or(now_ms);
        next.clamp(now_ms, now_ms.saturating_add(self.every_ms))
    }

    /// What came of a call.
    pub fn answered(&mut self, now_ms: i64, outcome: &Outcome) {
        let (why, asked_ms) = match outcome {
            Outcome::Sent => {
                self.failures = 0;
                self.last_error = None;
                self.last_answer_ms = Some(now_ms);
                return;
            }
            Outcome::Left => return,
            Outcome::Retry { why, after_ms } => (why, *after_ms),
            Outcome::Failed { why } | Outcome::Gone { why } => (why, None),
        };
        self.failures += 1;
        self.last_error = Some(why.clone());
        let pause = asked_ms.map_or(AGAIN_MS, |asked| i64::try_from(asked).unwrap_or(i64::MAX));
        let soon = now_ms.saturating_add(pause.min(self.every_ms));
        self.next_ms = self.next_ms.map(|next| next.min(soon));
    }

    /// Calls in vain since the last that was answered, and why the last was.
    #[must_use]
    pub fn trouble(&self) -> Option<(u64, &str)> {
        let why = self.last_error.as_deref()?;
        Some((self.failures, why))
    }

    /// When it was answered last, Unix ms.
    #[must_use]
    pub fn last_answer_ms(&self) -> Option<i64> {
        self.last_answer_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_called_while_all_is_well_and_at_once_when_it_is_again() {
        let mut heart = Heartbeat::new(60_000);
        assert!(!heart.is_due(0, false));
        assert!(heart.is_due(1000, true));
        heart.answered(1100, &Outcome::Sent);
        assert!(!heart.is_due(60_999, true));
        assert_eq!(heart.next_due_ms(2000), 61_000);
        assert!(heart.is_due(61_000, true));
        assert!(!heart.is_due(121_000, false), "the rules hang");
        assert!(heart.is_due(121_500, true));
        assert_eq!(heart.last_answer_ms(), Some(1100));
    }

    #[test]
    fn a_call_in_vain_is_made_again_soon() {
        let mut heart = Heartbeat::new(60_000);
        assert!(heart.is_due(0, true));
        heart.answered(10, &Outcome::retry("refused"));
        assert_eq!(heart.trouble(), Some((1, "refused")));
        assert!(!heart.is_due(10_009, true));
        assert!(heart.is_due(10_010, true));
        heart.answered(10_020, &Outcome::Sent);
        assert_eq!(heart.trouble(), None);
        assert!(!heart.is_due(70_000, true) && heart.is_due(70_010, true));
    }

    #[test]
    fn a_clock_that_steps_back_silences_nothing() {
        let mut heart = Heartbeat::new(60_000);
        assert!(heart.is_due(1_000_000, true));
        assert!(heart.is_due(500_000, true));
        assert!(!heart.is_due(500_001, true));
    }
}
