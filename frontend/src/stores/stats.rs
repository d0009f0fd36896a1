//! The figures: history for the charts, statistics over the server's window for the cards.
//!
//! The history is shared with the charts and changed in place, since it is far too large to be
//! cloned at each tick; `revision` says that it changed. Statistics are over the newest
//! `window` ticks, as the server's own are, whatever the length of the history.

use std::{
    cell::{Ref, RefCell},
    rc::Rc,
};

use pulseboard_shared::{BuiltIn, RollingStats, Stats};
use yewdux::{Context, store::Store};

use crate::{
    chart::ring::{Before, COLUMNS, Ring},
    net::feed::{Row, Update},
};

/// How far back the charts can look. Longer costs memory: 44 bytes a tick.
pub const HISTORY_MS: u64 = 20 * 60_000;

/// Rows held at least and at most, whatever the interval; at 100 ms a tick the upper bound
/// is two minutes more than an hour.
const HISTORY_ROWS: std::ops::RangeInclusive<u64> = 1_200..=40_000;

/// A tick later than this many intervals after the one before leaves a gap in the line.
const GAP_INTERVALS: f64 = 2.5;

/// What a card shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Card {
    /// The newest figure; NaN when there is none.
    pub current: f64,
    /// Over the server's rolling window.
    pub stats: Stats,
}

/// All cards, in the order of [`pulseboard_shared::BUILT_IN`], compared by their bits: a figure that is not a number
/// equals itself, so that cards without figures are not rendered again and again.
#[derive(Clone, Copy, Debug)]
pub struct SameCards(pub [Card; COLUMNS]);

impl SameCards {
    /// As they are now.
    #[must_use]
    pub const fn of(stats: &StatsStore) -> Self {
        Self(stats.cards)
    }
}

impl PartialEq for SameCards {
    fn eq(&self, other: &Self) -> bool {
        let mut pairs = self.0.iter().zip(&other.0);
        pairs.all(|(one, other)| {
            one.current.to_bits() == other.current.to_bits() && one.stats == other.stats
        })
    }
}

#[derive(Debug)]
struct Data {
    ring: Ring,
    rolling: [RollingStats; COLUMNS],
}

/// See the module.
#[derive(Clone, Debug)]
pub struct StatsStore {
    data: Rc<RefCell<Data>>,
    cards: [Card; COLUMNS],
    newest_ms: Option<f64>,
    interval_ms: u64,
    window: u64,
    /// Milliseconds that the server's clock is ahead of the page's.
    clock_offset_ms: f64,
    revision: u64,
}

impl Store for StatsStore {
    fn new(_: &Context) -> Self {
        let window = 60;
        Self {
            data: Rc::new(RefCell::new(Data {
                ring: Ring::new(rows_for(1000)),
                rolling: std::array::from_fn(|_| RollingStats::new(to_usize(window))),
            })),
            cards: [Card {
                current: f64::NAN,
                stats: Stats::default(),
            }; COLUMNS],
            newest_ms: None,
            interval_ms: 1000,
            window,
            clock_offset_ms: 0.0,
            revision: 0,
        }
    }

    fn should_notify(&self, old: &Self) -> bool {
        self.revision != old.revision
    }
}

impl StatsStore {
    /// Takes in everything that arrived since the last animation frame. One revision, however
    /// many updates.
    pub fn apply(&mut self, updates: impl IntoIterator<Item = Update>, clock_offset_ms: f64) {
        let shared = Rc::clone(&self.data);
        let mut data = shared.borrow_mut();
        for update in updates {
            match update {
                Update::Window {
                    rows,
                    window,
                    interval_ms,
                    restarted,
                } => {
                    self.window = window.max(1);
                    self.interval_ms = interval_ms.max(1);
                    data.ring.set_capacity(rows_for(self.interval_ms));
                    data.rolling =
                        std::array::from_fn(|_| RollingStats::new(to_usize(self.window)));
                    if let Some(first) = rows.first().filter(|_| restarted) {
                        data.ring.truncate_from(first.t_ms);
                    }
                    // The statistics begin anew from the whole window; the history only takes
                    // what it has not had.
                    let known = data.ring.last_time();
                    for row in rows {
                        let news = known.is_none_or(|known| row.t_ms > known);
                        self.push(&mut data, row, news.then_some(Before::Nothing));
                    }
                }
                Update::Rows(rows) => {
                    for row in rows {
                        self.push(&mut data, row, Some(Before::Nothing));
                    }
                }
                Update::Merged { rows, ticks } => {
                    let mut before = Before::merged(ticks);
                    for row in rows {
                        self.push(&mut data, row, Some(before));
                        before = Before::Nothing;
                    }
                }
            }
        }
        for (card, rolling) in self.cards.iter_mut().zip(&data.rolling) {
            card.stats = rolling.stats();
        }
        self.clock_offset_ms = clock_offset_ms;
        self.revision += 1;
    }

    /// `before` is what is known of the time before the row; `None` for one that the history
    /// has already.
    fn push(&mut self, data: &mut Data, row: Row, before: Option<Before>) {
        if let Some(before) = before {
            #[expect(clippy::cast_precision_loss, reason = "an interval is small")]
            let late_ms = GAP_INTERVALS * self.interval_ms as f64;
            let newest = data.ring.last_time();
            let late = newest.is_some_and(|newest| row.t_ms - newest > late_ms);
            let before = match before {
                Before::Nothing if late => Before::Missing,
                before => before,
            };
            if !data.ring.push(row, before) {
                // The server's clock was set back: its time is what counts.
                data.ring.truncate_from(row.t_ms);
                data.ring.push(row, Before::Missing);
            }
        }
        for (rolling, value) in data.rolling.iter_mut().zip(row.values) {
            rolling.push(value);
        }
        for (card, value) in self.cards.iter_mut().zip(row.values) {
            card.current = value;
        }
        self.newest_ms = Some(row.t_ms);
    }

    /// The history, to draw from; not to be held across anything that could reduce.
    #[must_use]
    pub fn ring(&self) -> Ref<'_, Ring> {
        Ref::map(self.data.borrow(), |data| &data.ring)
    }

    /// What the metric's card shows; O(1).
    #[must_use]
    pub const fn select_card(&self, metric: BuiltIn) -> Card {
        self.cards[metric.index()]
    }

    /// When the newest figures were sampled, by the server's clock.
    #[must_use]
    pub const fn select_newest_ms(&self) -> Option<f64> {
        self.newest_ms
    }

    /// Milliseconds between ticks.
    #[must_use]
    pub const fn select_interval_ms(&self) -> u64 {
        self.interval_ms
    }

    /// Ticks in the server's rolling window.
    #[must_use]
    pub const fn select_window(&self) -> u64 {
        self.window
    }

    /// Milliseconds to add to the page's clock to have the server's.
    #[must_use]
    pub const fn clock_offset_ms(&self) -> f64 {
        self.clock_offset_ms
    }

    /// Grows by one with each change.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }
}

/// Rows that [`HISTORY_MS`] needs at this interval.
fn rows_for(interval_ms: u64) -> usize {
    let rows = HISTORY_MS / interval_ms.max(1);
    to_usize(rows.clamp(*HISTORY_ROWS.start(), *HISTORY_ROWS.end()))
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use yewdux::Dispatch;

    use super::*;

    fn row(t_ms: f64, cpu: f64) -> Row {
        Row {
            t_ms,
            values: [cpu, 50.0, 7.0, 20.0],
        }
    }

    fn window(rows: Vec<Row>, restarted: bool) -> Update {
        Update::Window {
            rows,
            window: 3,
            interval_ms: 1000,
            restarted,
        }
    }

    fn dispatch() -> Dispatch<StatsStore> {
        Dispatch::new(&Context::new())
    }

    fn times(store: &StatsStore) -> Vec<f64> {
        let ring = store.ring();
        (0..ring.len()).map(|index| ring.time(index)).collect()
    }

    #[test]
    fn starts_with_nothing() {
        let store = dispatch().get();
        assert!(store.select_card(BuiltIn::Cpu).current.is_nan());
        assert_eq!(store.select_card(BuiltIn::Cpu).stats, Stats::default());
        assert_eq!(store.select_newest_ms(), None);
    }

    #[test]
    fn statistics_are_over_the_servers_window() {
        let dispatch = dispatch();
        dispatch.reduce_mut(|store| {
            store.apply(
                [
                    window(vec![row(1e3, 10.0), row(2e3, 20.0)], false),
                    Update::Rows(vec![row(3e3, 30.0)]),
                    Update::Rows(vec![row(4e3, 40.0)]),
                ],
                5.0,
            );
        });
        let store = dispatch.get();
        let card = store.select_card(BuiltIn::Cpu);
        assert_eq!(card.current, 40.0);
        assert_eq!(
            (
                card.stats.min,
                card.stats.max,
                card.stats.avg,
                card.stats.count
            ),
            (20.0, 40.0, 30.0, 3)
        );
        assert_eq!(times(&store), [1e3, 2e3, 3e3, 4e3]);
        assert_eq!(store.revision(), 1, "one revision a batch");
        assert_eq!(store.clock_offset_ms(), 5.0);
    }

    #[test]
    fn a_repeated_window_adds_only_what_is_new() {
        let dispatch = dispatch();
        dispatch.reduce_mut(|store| {
            store.apply([window(vec![row(1e3, 1.0), row(2e3, 2.0)], false)], 0.0);
        });
        dispatch.reduce_mut(|store| {
            let rows = vec![row(1e3, 1.0), row(2e3, 2.0), row(9e3, 9.0)];
            store.apply([window(rows, false)], 0.0);
        });
        let store = dispatch.get();
        assert_eq!(times(&store), [1e3, 2e3, 9e3]);
        assert!(
            store.ring().starts_after_gap(2),
            "seven seconds are missing"
        );
        assert_eq!(store.select_card(BuiltIn::Cpu).stats.count, 3);
    }

    #[test]
    fn a_clock_set_back_does_not_stop_the_charts() {
        let dispatch = dispatch();
        dispatch.reduce_mut(|store| {
            store.apply([window(vec![row(8e3, 1.0), row(9e3, 2.0)], false)], 0.0);
            store.apply([window(vec![row(5e3, 3.0)], true)], 0.0);
            store.apply([Update::Rows(vec![row(4e3, 4.0)])], 0.0);
        });
        assert_eq!(times(&dispatch.get()), [4e3]);
    }

    #[test]
    fn merged_rows_of_one_moment_are_all_kept() {
        let dispatch = dispatch();
        dispatch.reduce_mut(|store| {
            store.apply(
                [
                    Update::Rows(vec![row(1e3, 3.0)]),
                    Update::Merged {
                        rows: [row(9e3, 1.0), row(9e3, 9.0), row(9e3, 4.0)],
                        ticks: 8,
                    },
                ],
                0.0,
            );
        });
        let store = dispatch.get();
        assert_eq!(times(&store).len(), 4);
        assert_eq!(
            store.ring().before(1),
            Before::merged(8),
            "merged ticks are not missing ones"
        );
        assert_eq!(store.ring().before(2), Before::Nothing);
        assert_eq!(store.select_card(BuiltIn::Cpu).stats.max, 9.0);
    }
}
