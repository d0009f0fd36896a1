//! So many notifications an hour for each way out of a receiver; what is more waits for a digest.

use std::collections::{HashMap, VecDeque};

use crate::way::Way;

/// How many in how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetOptions {
    pub notifications: usize,
    pub within_ms: i64,
}

impl Default for BudgetOptions {
    fn default() -> Self {
        Self {
            notifications: 30,
            within_ms: 3_600_000,
        }
    }
}

/// What each way has used.
#[derive(Clone, Debug)]
pub(crate) struct Budgets {
    options: Option<BudgetOptions>,
    /// Oldest first.
    used: HashMap<Way, VecDeque<i64>>,
}

impl Budgets {
    /// `None`: nothing is held back.
    pub(crate) fn new(options: Option<BudgetOptions>) -> Self {
        Self {
            options,
            used: HashMap::new(),
        }
    }

    pub(crate) fn options(&self) -> Option<BudgetOptions> {
        self.options
    }

    /// When there is room again, if there is none now.
    pub(crate) fn full_until(&self, way: &Way, now_ms: i64) -> Option<i64> {
        let options = self.options?;
        if options.notifications == 0 {
            // there is never room; it is looked at again after each stretch
            return Some(now_ms.saturating_add(options.within_ms));
        }
        let used = self.used.get(way)?;
        let oldest = used.len().checked_sub(options.notifications)?;
        let frees = used.get(oldest)?.saturating_add(options.within_ms);
        (now_ms < frees).then_some(frees)
    }

    /// One more is sent.
    pub(crate) fn take(&mut self, way: &Way, now_ms: i64) {
        let Some(options) = self.options else {
            return;
        };
        let used = self.used.entry(way.clone()).or_default();
        used.push_back(now_ms);
        while used.len() > options.notifications {
            used.pop_front();
        }
    }

    pub(crate) fn forget(&mut self, now_ms: i64) {
        let within = self.options.map_or(0, |options| options.within_ms);
        self.used.retain(|_, used| {
            let newest = used.back();
            newest.is_some_and(|newest| newest.saturating_add(within) > now_ms)
        });
    }

    /// The clock was set back by so much.
    pub(crate) fn shift(&mut self, by_ms: i64) {
        for time in self.used.values_mut().flatten() {
            *time -= by_ms;
        }
    }

    pub(crate) fn keep(&self) -> Vec<(Way, Vec<i64>)> {
        let used = self.used.iter();
        used.map(|(way, times)| (way.clone(), times.iter().copied().collect()))
            .collect()
    }

    pub(crate) fn restore(&mut self, kept: Vec<(Way, Vec<i64>)>) {
        if let Some(options) = self.options {
            let kept = kept.into_iter().map(|(way, times)| {
                let surplus = times.len().saturating_sub(options.notifications);
                (way, times.into_iter().skip(surplus).collect())
            });
            self.used = kept.collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_again_when_the_oldest_is_an_hour_old() {
        let options = BudgetOptions {
            notifications: 2,
            within_ms: 100,
        };
        let mut budgets = Budgets::new(Some(options));
        let way = Way::new("r", "webhook[0]");
        assert_eq!(budgets.full_until(&way, 0), None);
        budgets.take(&way, 0);
        assert_eq!(budgets.full_until(&way, 0), None);
        budgets.take(&way, 50);
        assert_eq!(budgets.full_until(&way, 60), Some(100));
        assert_eq!(budgets.full_until(&Way::new("r", "email[0]"), 60), None);
        assert_eq!(budgets.full_until(&way, 100), None);
        budgets.take(&way, 100);
        assert_eq!(budgets.full_until(&way, 100), Some(150));
        budgets.forget(199);
        assert_eq!(budgets.keep().len(), 1);
        budgets.forget(200);
        assert!(budgets.keep().is_empty());
    }
}
