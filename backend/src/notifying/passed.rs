//! Alerts that somebody posted lately and that another server was to take: whoever acts for their
//! tenant next may be this one, and that one may have been killed with them. Pure; time is told.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use pulseboard_notify::PostedAlert;
use pulseboard_shared::Labels;

/// For so long they are known: a lease lasts three seconds, and taking over takes a moment.
const KEPT_MS: i64 = 30_000;

/// Alerts of all tenants, and their texts in bytes; past it the oldest go.
const COUNT_MAX: usize = 20_000;
const BYTES_MAX: usize = 16 << 20;

/// Those that are known.
#[derive(Debug, Default)]
pub(super) struct Passed {
    parts: VecDeque<Part>,
    count: usize,
    bytes: usize,
}

/// What was posted at once.
#[derive(Debug)]
struct Part {
    tenant: Arc<str>,
    heard_ms: i64,
    bytes: usize,
    alerts: Vec<PostedAlert>,
}

fn bytes_of(alert: &PostedAlert) -> usize {
    let of = |labels: &Labels| -> usize {
        let texts = labels.iter();
        texts.map(|(name, value)| name.len() + value.len()).sum()
    };
    of(&alert.labels) + of(&alert.annotations) + alert.generator_url.len()
}

/// Whether what was posted then still counts.
pub(super) fn is_new(at_ms: i64, now_ms: i64) -> bool {
    now_ms.saturating_sub(at_ms) <= KEPT_MS
}

impl Passed {
    /// Remembers what was posted.
    pub(super) fn keep(&mut self, now_ms: i64, tenant: &Arc<str>, alerts: Vec<PostedAlert>) {
        let bytes = alerts.iter().map(bytes_of).sum();
        self.count += alerts.len();
        self.bytes += bytes;
        self.parts.push_back(Part {
            tenant: Arc::clone(tenant),
            heard_ms: now_ms,
            bytes,
            alerts,
        });
        self.forget(now_ms);
    }

    fn forget(&mut self, now_ms: i64) {
        while let Some(oldest) = self.parts.front()
            && (self.count > COUNT_MAX
                || self.bytes > BYTES_MAX
                || !is_new(oldest.heard_ms, now_ms))
        {
            self.count -= oldest.alerts.len();
            self.bytes -= oldest.bytes;
            self.parts.pop_front();
        }
    }

    /// What was posted of a tenant, the last word of each alert; it is remembered no longer.
    pub(super) fn take(&mut self, now_ms: i64, tenant: &str) -> Vec<PostedAlert> {
        self.forget(now_ms);
        let (mut taken, mut left) = (Vec::new(), VecDeque::new());
        for part in std::mem::take(&mut self.parts) {
            match *part.tenant == *tenant {
                true => {
                    self.count -= part.alerts.len();
                    self.bytes -= part.bytes;
                    taken.extend(part.alerts);
                }
                false => left.push_back(part),
            }
        }
        self.parts = left;
        let mut said: HashSet<Labels> = HashSet::new();
        let newest = taken.into_iter().rev();
        let mut newest: Vec<PostedAlert> = newest
            .filter(|alert| said.insert(alert.labels.clone()))
            .collect();
        newest.reverse();
        newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(name: &str, ends_at_ms: i64) -> PostedAlert {
        PostedAlert {
            labels: [("alertname".to_owned(), name.to_owned())].into(),
            ends_at_ms: Some(ends_at_ms),
            ..PostedAlert::default()
        }
    }

    #[test]
    fn the_last_word_of_each_alert_is_known_for_a_while() {
        let (shop, other): (Arc<str>, Arc<str>) = ("shop".into(), "other".into());
        let mut passed = Passed::default();
        passed.keep(0, &shop, vec![alert("old", 1)]);
        passed.keep(20_000, &shop, vec![alert("a", 1), alert("b", 2)]);
        passed.keep(20_001, &other, vec![alert("a", 3)]);
        passed.keep(20_002, &shop, vec![alert("c", 5), alert("a", 4)]);
        let taken = passed.take(30_001, "shop");
        assert_eq!(taken, [alert("b", 2), alert("c", 5), alert("a", 4)]);
        assert_eq!(passed.take(30_001, "shop"), []);
        assert_eq!(passed.take(30_001, "other"), [alert("a", 3)]);
        assert_eq!((passed.count, passed.bytes), (0, 0));
        assert!(is_new(0, KEPT_MS) && !is_new(0, KEPT_MS + 1) && is_new(5, 0));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let shop: Arc<str> = "shop".into();
        let mut passed = Passed::default();
        for number in 0..COUNT_MAX as i64 + 10 {
            passed.keep(0, &shop, vec![alert(&number.to_string(), number)]);
        }
        assert_eq!(passed.count, COUNT_MAX);
        let long = "x".repeat(BYTES_MAX / 4);
        for _ in 0..6 {
            passed.keep(0, &shop, vec![alert(&long, 0)]);
        }
        assert!(
            passed.bytes <= BYTES_MAX && passed.parts.len() == 3,
            "{}",
            passed.parts.len()
        );
    }
}
