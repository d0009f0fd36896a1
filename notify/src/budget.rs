//! So many notifications for each way out of a receiver: some at once, then one each few minutes.
//! What is more waits for a digest, which goes with the next that there is room for. What is
//! critical has as much again for itself, so that nothing lesser stands before it.

use std::collections::HashMap;

use crate::way::Way;

/// How many at once, and how long it takes until there is room for as many again.
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

impl BudgetOptions {
    fn count(&self) -> i64 {
        i64::try_from(self.notifications).unwrap_or(i64::MAX).max(1)
    }

    /// After so long there is room for one more.
    #[must_use]
    pub fn pause_ms(&self) -> i64 {
        (self.within_ms / self.count()).max(1)
    }

    /// When there is room in a bucket that is full again at a time.
    fn frees_ms(&self, full_ms: i64) -> i64 {
        let others = self.pause_ms().saturating_mul(self.count() - 1);
        full_ms.saturating_sub(others)
    }

    /// When a bucket is full again of which one more is taken.
    fn taken(&self, full_ms: i64, now_ms: i64) -> i64 {
        full_ms.max(now_ms).saturating_add(self.pause_ms())
    }
}

/// When each of a way's buckets is full again: one for all, and one for what is critical.
#[derive(Clone, Copy, Debug)]
struct Used {
    all_ms: i64,
    critical_ms: i64,
}

/// What each way has used.
#[derive(Clone, Debug)]
pub(crate) struct Budgets {
    options: Option<BudgetOptions>,
    used: HashMap<Way, Used>,
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
    pub(crate) fn full_until(&self, way: &Way, is_critical: bool, now_ms: i64) -> Option<i64> {
        let options = self.options?;
        let used = self.used.get(way)?;
        let mut frees = options.frees_ms(used.all_ms);
        if is_critical {
            frees = frees.min(options.frees_ms(used.critical_ms));
        }
        (now_ms < frees).then_some(frees)
    }

    /// One more is sent: what is critical takes of its own where there is no room for all.
    pub(crate) fn take(&mut self, way: &Way, is_critical: bool, now_ms: i64) {
        let Some(options) = self.options else {
            return;
        };
        let used = self.used.entry(way.clone()).or_insert(Used {
            all_ms: now_ms,
            critical_ms: now_ms,
        });
        let bucket = match is_critical && now_ms < options.frees_ms(used.all_ms) {
            true => &mut used.critical_ms,
            false => &mut used.all_ms,
        };
        *bucket = options.taken(*bucket, now_ms);
    }

    pub(crate) fn forget(&mut self, now_ms: i64) {
        self.used
            .retain(|_, used| used.all_ms.max(used.critical_ms) > now_ms);
    }

    /// The clock was set back by so much.
    pub(crate) fn shift(&mut self, by_ms: i64) {
        for used in self.used.values_mut() {
            used.all_ms -= by_ms;
            used.critical_ms -= by_ms;
        }
    }

    pub(crate) fn keep(&self) -> Vec<(Way, Vec<i64>)> {
        let used = self.used.iter();
        used.map(|(way, used)| (way.clone(), vec![used.all_ms, used.critical_ms]))
            .collect()
    }

    /// Also from other options: nobody waits for longer than these say.
    pub(crate) fn restore(&mut self, kept: Vec<(Way, Vec<i64>)>, now_ms: i64) {
        let Some(options) = self.options else {
            return;
        };
        let longest = now_ms.saturating_add(options.pause_ms().saturating_mul(options.count()));
        let kept = kept.into_iter().map(|(way, times)| {
            let time = |number: usize| times.get(number).copied().unwrap_or(now_ms).min(longest);
            let used = Used {
                all_ms: time(0),
                critical_ms: time(1),
            };
            (way, used)
        });
        self.used = kept.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: BudgetOptions = BudgetOptions {
        notifications: 2,
        within_ms: 100,
    };

    fn way() -> Way {
        Way::new("r", "webhook[0]")
    }

    #[test]
    fn there_is_room_for_some_at_once_and_then_for_one_at_a_time() {
        let mut budgets = Budgets::new(Some(OPTIONS));
        let way = way();
        assert_eq!(budgets.full_until(&way, false, 0), None);
        budgets.take(&way, false, 0);
        assert_eq!(budgets.full_until(&way, false, 0), None);
        budgets.take(&way, false, 10);
        assert_eq!(budgets.full_until(&way, false, 10), Some(50));
        let other = Way::new("r", "email[0]");
        assert_eq!(budgets.full_until(&other, false, 10), None);
        assert_eq!(budgets.full_until(&way, false, 50), None);
        budgets.take(&way, false, 50);
        assert_eq!(budgets.full_until(&way, false, 50), Some(100));
        budgets.take(&way, false, 100);
        assert_eq!(budgets.full_until(&way, false, 100), Some(150));
        // after a rest there is room for as many again, and no more
        budgets.take(&way, false, 1_000);
        budgets.take(&way, false, 1_000);
        assert_eq!(budgets.full_until(&way, false, 1_000), Some(1_050));
        budgets.forget(1_099);
        assert_eq!(budgets.keep().len(), 1);
        budgets.forget(1_100);
        assert!(budgets.keep().is_empty());
    }

    #[test]
    fn what_is_critical_has_room_of_its_own_which_is_bounded_too() {
        let mut budgets = Budgets::new(Some(OPTIONS));
        let way = way();
        for _ in 0..4 {
            assert_eq!(budgets.full_until(&way, true, 0), None);
            budgets.take(&way, true, 0);
        }
        assert_eq!(budgets.full_until(&way, true, 0), Some(50));
        assert_eq!(budgets.full_until(&way, false, 0), Some(50));
        let mut again = Budgets::new(Some(OPTIONS));
        again.restore(budgets.keep(), 0);
        assert_eq!(again.full_until(&way, true, 0), Some(50));
        // what was kept under a smaller budget, or by an older version as times of what was sent
        again.restore(vec![(way.clone(), vec![9_999, 9_999])], 0);
        assert_eq!(again.full_until(&way, true, 0), Some(50));
        again.restore(vec![(way.clone(), vec![-3, -2, -1])], 0);
        assert_eq!(again.full_until(&way, true, 0), None);
    }
}
