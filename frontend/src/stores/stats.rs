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
    net::{
        feed::{GAP_INTERVALS, Row, Update},
        json::Json,
    },
    stores::{
        ring::{Before, COLUMNS, Ring},
        view::Range,
    },
};

/// How far back the charts can look. Longer costs memory: 44 bytes a tick.
pub const HISTORY_MS: u64 = 20 * 60_000;

/// Rows held at least and at most, whatever the interval; at 100 ms a tick the upper bound
/// is two minutes more than an hour.
const HISTORY_ROWS: std::ops::RangeInclusive<u64> = 1_200..=40_000;

/// Up to so many ticks a range of time is asked for tick by tick; beyond, as the least and the
/// greatest of steps as many.
const PAST_TICKS_MAX: f64 = 3_000.0;

/// How much is known of the time before the page was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Past {
    /// All that the server has.
    Known,
    /// Asked for, or about to be.
    #[default]
    Loading,
    /// Not answered; asked for again.
    Failed,
}

/// What a card shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Card {
    /// The newest figure; NaN when there is none.
    pub current: f64,
    /// Over the server's rolling window.
    pub stats: Stats,
}

/// All cards, in the order of [`pulseboard_shared::BUILT_IN`], compared by their bits: a figure
/// that is not a number equals itself, so that cards without figures are not rendered again and
/// again.
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

/// The figures that the page has: rows for the charts, and statistics for the cards.
#[derive(Clone, Debug)]
pub struct StatsStore {
    data: Rc<RefCell<Data>>,
    cards: [Card; COLUMNS],
    newest_ms: Option<f64>,
    interval_ms: u64,
    window: u64,
    /// Milliseconds that the server's clock is ahead of the page's.
    clock_offset_ms: f64,
    /// Since when the history has all that the server has, by the server's clock.
    known_from_ms: f64,
    past_failed: bool,
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
            known_from_ms: f64::INFINITY,
            past_failed: false,
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
                    let begins = rows.first().map_or(f64::INFINITY, |first| first.t_ms);
                    if data
                        .ring
                        .last_time()
                        .is_none_or(|last| begins - last > self.late_ms())
                    {
                        // What was before is not here, or no longer as far as to here.
                        self.known_from_ms = begins;
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
            let newest = data.ring.last_time();
            let late = newest.is_some_and(|newest| row.t_ms - newest > self.late_ms());
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

    #[expect(clippy::cast_precision_loss, reason = "an interval is small")]
    const fn tick_ms(&self) -> f64 {
        self.interval_ms as f64
    }

    /// A tick so long after the one before has something missing before it.
    const fn late_ms(&self) -> f64 {
        GAP_INTERVALS * self.tick_ms()
    }

    /// How much is known of the newest `range_ms`.
    #[must_use]
    pub fn past(&self, range_ms: f64) -> Past {
        let known = self
            .newest_ms
            .is_some_and(|newest| self.known_from_ms <= newest - range_ms + self.tick_ms());
        match (known, self.past_failed) {
            (true, _) => Past::Known,
            (false, true) => Past::Failed,
            (false, false) => Past::Loading,
        }
    }

    /// What is known of the past of each range that can be chosen.
    #[must_use]
    pub fn select_past(&self) -> [Past; 3] {
        Range::ALL.map(|range| self.past(range.ms()))
    }

    /// What to ask the server for to know `range_ms`: since when, and in steps how long; `None`
    /// before the first figures, and once all is known.
    #[must_use]
    pub fn missing(&self, range_ms: f64) -> Option<(f64, f64)> {
        let newest = self
            .newest_ms
            .filter(|_| self.past(range_ms) != Past::Known)?;
        let tick_ms = self.tick_ms();
        let steps = (range_ms / tick_ms / PAST_TICKS_MAX).ceil().max(1.0);
        Some((newest - range_ms - steps * tick_ms, steps * tick_ms))
    }

    /// The answer to that question.
    pub fn take_past(&mut self, answer: &Json) {
        let from_ms = answer.get("start_ms").figure();
        let step_ms = answer.get("step_ms").figure().max(1.0);
        let whole = step_ms > self.tick_ms();
        // Of a step of several ticks both ends are drawn, whichever came first.
        let halves: &[f64] = if whole { &[0.0, 0.5] } else { &[0.0] };
        let mut rows = Vec::<Row>::new();
        for series in answer.get("series").list() {
            let Some(metric) = BuiltIn::from_name(series.text_of("key")) else {
                continue;
            };
            let mut at = 0;
            for point in series.get("points").list() {
                let [t_ms, mean, least, greatest] = point.list() else {
                    continue;
                };
                for half in halves {
                    let t_ms = t_ms.figure() + half * step_ms;
                    while rows.get(at).is_some_and(|row| row.t_ms < t_ms) {
                        at += 1;
                    }
                    if rows.get(at).is_none_or(|row| row.t_ms > t_ms) {
                        let values = [f64::NAN; COLUMNS];
                        rows.insert(at, Row { t_ms, values });
                    }
                    let value = match (whole, *half > 0.0) {
                        (false, _) => mean,
                        (true, false) => least,
                        (true, true) => greatest,
                    };
                    rows[at].values[metric.index()] = value.figure();
                }
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "one or two")]
        let width_ms = step_ms / halves.len() as f64;
        let gap_ms = self.late_ms().max(GAP_INTERVALS * step_ms);
        self.data.borrow_mut().ring.fill(&rows, width_ms, gap_ms);
        // An answer without a beginning answers nothing.
        if from_ms.is_finite() {
            self.known_from_ms = from_ms;
        }
        self.past_failed = false;
        self.revision += 1;
    }

    /// The question was not answered.
    pub fn miss_past(&mut self) {
        self.past_failed = true;
        self.revision += 1;
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

    #[test]
    fn the_chosen_range_is_asked_for_and_filled_in() {
        let dispatch = dispatch();
        assert_eq!(dispatch.get().missing(60_000.0), None, "no figures yet");
        dispatch.reduce_mut(|store| {
            store.apply([window(vec![row(600e3, 1.0), row(601e3, 2.0)], false)], 0.0);
        });
        assert_eq!(dispatch.get().select_past(), [Past::Loading; 3]);
        assert_eq!(
            dispatch.get().missing(60_000.0),
            Some((540e3, 1e3)),
            "a step more, so that the first one is whole"
        );
        dispatch.reduce_mut(StatsStore::miss_past);
        assert_eq!(dispatch.get().past(60_000.0), Past::Failed);
        let answer = r#"{"start_ms":540000,"end_ms":601001,"step_ms":1000,"series":[
            {"key":"avg_latency","points":[[599000,9,9,9]]},
            {"key":"cpu_usage","points":[[598000,50,50,50],[599000,60,60,60],[600000,1,1,1]]},
            {"key":"of_somebody_else","points":[[597000,1,1,1]]}]}"#;
        let answer = Json::parse(answer).expect("JSON");
        dispatch.reduce_mut(|store| store.take_past(&answer));
        let store = dispatch.get();
        assert_eq!(
            store.select_past(),
            [Past::Known, Past::Loading, Past::Loading]
        );
        assert_eq!(times(&store), [598e3, 599e3, 600e3, 601e3]);
        let ring = store.ring();
        assert_eq!((ring.value(0, 1), ring.value(3, 1)), (60.0, 9.0));
        assert!(ring.value(3, 0).is_nan(), "no latency was measured there");
        assert_eq!(
            store.select_card(BuiltIn::Cpu).stats.count,
            2,
            "statistics are over the window, whatever is drawn"
        );
    }

    #[test]
    fn of_long_steps_both_ends_are_drawn() {
        let dispatch = dispatch();
        dispatch.reduce_mut(|store| {
            let rows = Update::Window {
                rows: vec![row(900e3, 1.0)],
                window: 60,
                interval_ms: 100,
                restarted: false,
            };
            store.apply([rows], 0.0);
        });
        assert_eq!(
            dispatch.get().missing(900_000.0),
            Some((-300.0, 300.0)),
            "9 000 ticks in 3 000 steps"
        );
        let answer = Json::parse(
            r#"{"start_ms":0,"step_ms":300,"series":[{"key":"cpu_usage","points":[[300,5,1,99]]}]}"#,
        );
        dispatch.reduce_mut(|store| store.take_past(&answer.expect("JSON")));
        let store = dispatch.get();
        let ring = store.ring();
        assert_eq!((ring.time(0), ring.value(0, 0)), (300.0, 1.0));
        assert_eq!((ring.time(1), ring.value(0, 1)), (450.0, 99.0));
    }

    #[test]
    fn after_a_long_gap_the_past_is_asked_for_again() {
        let dispatch = dispatch();
        let full: Vec<Row> = (0..=60)
            .map(|second| row(f64::from(second) * 1e3, 1.0))
            .collect();
        dispatch.reduce_mut(|store| store.apply([window(full, false)], 0.0));
        assert_eq!(dispatch.get().past(60_000.0), Past::Known, "it came whole");
        let overlapping = vec![row(60e3, 1.0), row(61e3, 1.0)];
        dispatch.reduce_mut(|store| store.apply([window(overlapping, false)], 0.0));
        assert_eq!(dispatch.get().past(60_000.0), Past::Known);
        dispatch.reduce_mut(|store| store.apply([window(vec![row(900e3, 1.0)], true)], 0.0));
        assert_eq!(dispatch.get().past(60_000.0), Past::Loading);
    }
}
