//! One tenant's errors of the last minute, and the rule on them. Pure; times are the caller's.

use std::{collections::VecDeque, time::Duration};

use pulseboard_shared::Alert;

use crate::{Firing, Rule, RuleState};

/// A newest error that lies further ahead than this was counted before the clock was set back.
const STEP_MS: i64 = 2_000;

/// The rule looks back this far.
const BACK_S: i64 = 60;

/// The errors of one tenant's last minute, and what the rule makes of them.
#[derive(Debug)]
pub(super) struct ErrorRate {
    watch: RuleState,
    /// Second and count, oldest first; at most [`BACK_S`] of them.
    seconds: VecDeque<(i64, u64)>,
    total: u64,
}

impl ErrorRate {
    /// No errors yet.
    pub(super) fn new(rule: Rule, repeat: Duration) -> Self {
        Self {
            watch: RuleState::new(rule, repeat),
            seconds: VecDeque::new(),
            total: 0,
        }
    }

    /// Compares with this rule from now on.
    pub(super) fn set_rule(&mut self, rule: Rule) {
        self.watch.set_rule(rule);
    }

    /// What fires, where something does.
    pub(super) fn firing(&self) -> Option<Firing> {
        self.watch.firing()
    }

    /// What is sent where the rule goes.
    pub(super) fn end(self, now_ms: i64) -> Option<Alert> {
        self.watch.end(now_ms)
    }

    /// Goes on with an incident of a run before this one.
    pub(super) fn restore(&mut self, alert: &Alert) {
        self.watch.restore(alert);
    }

    /// Counts an error; what is to be sent.
    pub(super) fn count(&mut self, now_ms: i64) -> Option<Alert> {
        let second = now_ms.div_euclid(1000);
        self.follow(second);
        match self.seconds.back_mut() {
            Some((newest, count)) if *newest >= second => *count += 1,
            _ => self.seconds.push_back((second, 1)),
        }
        self.total += 1;
        self.look(now_ms)
    }

    /// Moves what was counted along when the clock was set back: it happened just now.
    fn follow(&mut self, second: i64) {
        let newest = self.seconds.back().map_or(second, |newest| newest.0);
        let ahead = newest - second;
        if ahead * 1000 > STEP_MS {
            for (counted, _) in &mut self.seconds {
                *counted -= ahead;
            }
        }
    }

    /// Lets what is older than a minute go; what is to be sent.
    pub(super) fn look(&mut self, now_ms: i64) -> Option<Alert> {
        self.follow(now_ms.div_euclid(1000));
        let oldest = now_ms.div_euclid(1000) - BACK_S;
        while let Some((second, count)) = self.seconds.front().copied()
            && second <= oldest
        {
            self.total -= count;
            self.seconds.pop_front();
        }
        self.watch.observe_value(self.total as f64, now_ms)
    }

    /// Whether there is nothing more to see.
    pub(super) fn is_over(&self) -> bool {
        self.seconds.is_empty() && !self.watch.is_firing()
    }
}

#[cfg(test)]
mod tests {
    use pulseboard_shared::{AlertState, Severity};

    use super::*;

    #[test]
    fn more_than_a_hundred_within_a_minute_fire_and_fewer_end_it() {
        let mut rate = ErrorRate::new(crate::ERROR_RATE, Duration::from_secs(10));
        for number in 0..100 {
            assert_eq!(rate.count(number * 500), None, "{number}");
        }
        let alert = rate.count(50_000).expect("one more is too many");
        assert_eq!(alert.message, "Error rate exceeded threshold");
        assert_eq!((alert.severity, alert.value), (Severity::Critical, 101.0));
        assert_eq!(rate.look(51_000), None);
        let ended = rate.look(60_000).expect("the first second is over");
        assert_eq!(ended.state, AlertState::Resolved);
        assert_eq!(ended.incident, alert.incident);
        assert_eq!(rate.look(200_000), None);
        assert!(rate.is_over());
    }
}
