//! How fresh the figures are: from the moment a tick was sampled until it was painted, over the
//! newest two minutes, and where that time went.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use yewdux::store::Store;

use crate::net::feed::Timing;

/// How far back the percentiles look. Longer would hide that it has become slow; shorter would
/// be too few ticks for a 99th percentile.
const SPAN_MS: f64 = 120_000.0;

/// Ticks remembered, whatever their rate: the oldest are forgotten.
const TICKS_MAX: usize = 1_200;

/// Percentiles are computed and shown this often: faster could not be read.
const SUMMARY_EVERY_MS: f64 = 1_000.0;

/// The stretches of a tick's way, in their order.
pub const STRETCHES: [&str; 3] = ["sampled → sent", "sent → arrived", "arrived → painted"];

/// Half of all ticks were as fast, and 99 of 100; whole milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// The median.
    pub p50: u32,
    /// The 99th percentile.
    pub p99: u32,
}

/// What is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// From sampled to painted.
    pub total: Percentiles,
    /// As [`STRETCHES`].
    pub stretches: [Percentiles; 3],
}

/// When it was painted by our clock, and the total and the stretches in milliseconds.
type Tick = (f64, [f64; 4]);

/// How long the ticks of the newest two minutes took from being sampled to being painted.
#[derive(Clone, Debug, Default, Store)]
pub struct LatencyStore {
    /// Shared, since every reduce clones the store.
    ticks: Rc<RefCell<VecDeque<Tick>>>,
    summed_at: Option<f64>,
    summary: Option<Summary>,
}

impl PartialEq for LatencyStore {
    fn eq(&self, other: &Self) -> bool {
        self.summary == other.summary
    }
}

impl LatencyStore {
    /// These ticks were painted `at` (our clock), which is `painted_ms` of the server's. Those from
    /// before `seen_since_ms` (of the server's, too) do not count: the page was in the background
    /// then, where nothing is painted, so that nothing can be late.
    pub fn add(&mut self, at: f64, timings: &[Timing], painted_ms: f64, seen_since_ms: f64) {
        let mut ticks = self.ticks.borrow_mut();
        let seen = |timing: &&Timing| timing.sampled_ms >= seen_since_ms;
        for timing in timings.iter().filter(seen) {
            // The clocks are known to some milliseconds; a way back in time is not shown.
            let sent = timing.sent_ms.max(timing.sampled_ms);
            let arrived = timing.arrived_ms.max(sent);
            let painted = painted_ms.max(arrived);
            ticks.push_back((
                at,
                [
                    painted - timing.sampled_ms,
                    sent - timing.sampled_ms,
                    arrived - sent,
                    painted - arrived,
                ],
            ));
        }
        let excess = ticks.len().saturating_sub(TICKS_MAX);
        ticks.drain(..excess);
        while ticks.front().is_some_and(|tick| at - tick.0 > SPAN_MS) {
            ticks.pop_front();
        }
        if ticks.is_empty() {
            return;
        }
        if self
            .summed_at
            .is_none_or(|summed_at| at - summed_at >= SUMMARY_EVERY_MS)
        {
            self.summed_at = Some(at);
            let of = |index: usize| percentiles(ticks.iter().map(|tick| tick.1[index]));
            self.summary = Some(Summary {
                total: of(0),
                stretches: [of(1), of(2), of(3)],
            });
        }
    }

    /// What is shown; `None` before the first tick.
    #[must_use]
    pub const fn select_summary(&self) -> Option<Summary> {
        self.summary
    }
}

/// By the nearest rank; 0 of nothing.
fn percentiles(all: impl Iterator<Item = f64>) -> Percentiles {
    let mut values: Vec<f64> = Vec::new();
    for value in all {
        // Put in place one by one: some hundred in two seconds are not worth the kilobytes that
        // a general sort takes in the page.
        let place = values.partition_point(|other| *other <= value);
        values.insert(place, value);
    }
    let rank = |percent: usize| {
        let index = (values.len() * percent).div_ceil(100).saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float cast saturates"
        )]
        values.get(index).map_or(0, |value| value.round() as u32)
    };
    Percentiles {
        p50: rank(50),
        p99: rank(99),
    }
}

#[cfg(test)]
mod tests {
    use yewdux::{Context, Dispatch};

    use super::*;

    fn timing(sampled_ms: f64) -> Timing {
        Timing {
            sampled_ms,
            sent_ms: sampled_ms + 1.0,
            arrived_ms: sampled_ms + 4.0,
        }
    }

    #[test]
    fn ranks_are_nearest_ranks() {
        let of = |count: u32| percentiles((1..=count).map(f64::from));
        assert_eq!(of(100), Percentiles { p50: 50, p99: 99 });
        assert_eq!(of(1), Percentiles { p50: 1, p99: 1 });
        assert_eq!(of(0), Percentiles::default());
    }

    #[test]
    fn splits_the_way_and_forgets_in_time() {
        let dispatch = Dispatch::<LatencyStore>::new(&Context::new());
        assert_eq!(dispatch.get().select_summary(), None);
        dispatch.reduce_mut(|store| store.add(0.0, &[timing(500.0)], 520.0, 0.0));
        let expected = |all: [u32; 4]| {
            let [total, stretches @ ..] = all.map(|ms| Percentiles { p50: ms, p99: ms });
            Some(Summary { total, stretches })
        };
        assert_eq!(dispatch.get().select_summary(), expected([20, 1, 3, 16]));
        dispatch.reduce_mut(|store| store.add(999.0, &[timing(0.0)], 900.0, 0.0));
        assert_eq!(
            dispatch.get().select_summary(),
            expected([20, 1, 3, 16]),
            "not more than once a second"
        );
        dispatch.reduce_mut(|store| store.add(130_000.0, &[timing(0.0)], 8.0, 0.0));
        assert_eq!(dispatch.get().select_summary(), expected([8, 1, 3, 4]));
    }

    #[test]
    fn what_came_while_nobody_could_see_it_does_not_count() {
        let mut store = LatencyStore::default();
        // In the background from 1 s to 30 s, where frames are held back until it is over.
        let held_back: Vec<Timing> = (1..30).map(|s| timing(f64::from(s) * 1_000.0)).collect();
        store.add(30_010.0, &held_back, 30_010.0, 30_000.0);
        assert_eq!(store.select_summary(), None);
        store.add(31_020.0, &[timing(31_000.0)], 31_020.0, 30_000.0);
        let summary = store.select_summary().expect("a tick in front");
        assert_eq!(summary.total, Percentiles { p50: 20, p99: 20 });
    }

    #[test]
    fn clocks_that_disagree_a_little_give_no_negative_times() {
        let mut store = LatencyStore::default();
        let timing = Timing {
            sampled_ms: 100.0,
            sent_ms: 99.0,
            arrived_ms: 98.0,
        };
        store.add(0.0, &[timing], 97.0, 0.0);
        assert_eq!(store.select_summary(), Some(Summary::default()));
    }
}
