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
    /// Of the last minute at other servers.
    elsewhere: u64,
}

impl ErrorRate {
    /// No errors yet.
    pub(super) fn new(rule: Rule, repeat: Duration) -> Self {
        Self {
            watch: RuleState::new(rule, repeat),
            seconds: VecDeque::new(),
            total: 0,
            elsewhere: 0,
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

    /// How many there were in the last minute here.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// How many there were in the last minute at other servers.
    pub(super) fn set_elsewhere(&mut self, count: u64) {
        self.elsewhere = count;
    }

    /// Counts an error; what is to be sent, where this server `tells`.
    pub(super) fn count(&mut self, now_ms: i64, tells: bool) -> Option<Alert> {
        let second = now_ms.div_euclid(1000);
        self.follow(second);
        match self.seconds.back_mut() {
            Some((newest, count)) if *newest >= second => *count += 1,
            _ => self.seconds.push_back((second, 1)),
        }
        self.total += 1;
        self.look(now_ms, tells)
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

    /// Lets what is older than a minute go; what is to be sent, where this server `tells`. Where
    /// another does, what was going on here ends: it begins there.
    pub(super) fn look(&mut self, now_ms: i64, tells: bool) -> Option<Alert> {
        self.follow(now_ms.div_euclid(1000));
        let oldest = now_ms.div_euclid(1000) - BACK_S;
        while let Some((second, count)) = self.seconds.front().copied()
            && second <= oldest
        {
            self.total -= count;
            self.seconds.pop_front();
        }
        let total = self.total.saturating_add(self.elsewhere);
        match tells {
            true => self.watch.observe_value(total as f64, now_ms),
            false if self.watch.is_firing() => self.watch.observe_value(0.0, now_ms),
            false => None,
        }
    }

    /// Whether there is nothing more to see.
    pub(super) fn is_over(&self) -> bool {
        self.seconds.is_empty() && self.elsewhere == 0 && !self.watch.is_firing()
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
            assert_eq!(rate.count(number * 500, true), None, "{number}");
        }
        let alert = rate.count(50_000, true).expect("one more is too many");
        assert_eq!(alert.message, "Error rate exceeded threshold");
        assert_eq!((alert.severity, alert.value), (Severity::Critical, 101.0));
        assert_eq!(rate.look(51_000, true), None);
        let ended = rate.look(60_000, true).expect("the first second is over");
        assert_eq!(ended.state, AlertState::Resolved);
        assert_eq!(ended.incident, alert.incident);
        assert_eq!(rate.look(200_000, true), None);
        assert!(rate.is_over());
    }

    #[test]
    fn errors_of_other_servers_count_and_one_server_tells() {
        let mut rate = ErrorRate::new(crate::ERROR_RATE, Duration::from_secs(10));
        assert_eq!(rate.count(0, true), None);
        rate.set_elsewhere(100);
        let alert = rate.look(1_000, true).expect("101 are too many");
        assert_eq!(alert.value, 101.0);
        let ended = rate.look(2_000, false).expect("another tells of it");
        assert_eq!(ended.state, pulseboard_shared::AlertState::Resolved);
        assert_eq!(
            (rate.look(3_000, false), rate.count(3_500, false)),
            (None, None)
        );
        assert!(rate.look(4_000, true).is_some(), "it is this one's again");
        rate.set_elsewhere(0);
        assert!(rate.look(5_000, true).is_some());
        rate.look(100_000, true);
        assert!(rate.is_over());
    }
}
