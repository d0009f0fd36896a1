//! `GET /api/windows`: how series did over the last minute, five minutes and hour.
//!
//! ```text
//! now − window                                                now
//!   │ part of a minute │ closed minute │ closed minute │ running │
//!     raw, if in memory   figures, made once each        raw
//! ```
//!
//! A minute of a series is closed when a sample behind it has come, or it is too old for any; one
//! that comes late after all voids what was made of the series.

use pulseboard_history::Snapshot;
use pulseboard_series::KeyRef;
use pulseboard_shared::protocol::series::{LiveWindow, OtherWindows, SeriesWindows, WindowsAnswer};

use super::{
    GROUPED_SERIES_MAX, SERIES_MAX,
    error::{QueryError, TOP_MAX},
    sketch::{Figures, Minute, SeriesMinutes},
    top::{Best, Few},
};
use crate::{
    cost::Cost,
    engine::Engine,
    find::Found,
    selector::{NameFilter, Selector},
    tenant::Tenant,
    window::Sample,
};

const MINUTE_MS: i64 = 60_000;

/// The windows, in seconds, shortest first.
const WINDOWS_S: [u32; 3] = [60, 300, 3_600];

/// The windows of the series in memory that a selector names, sorted by key. Percentiles are
/// within 1 % of a sample's value. A window that reaches further back than memory begins at a
/// whole minute; one that reaches further back than what is kept has what there is. At most
/// [`SERIES_MAX`] series. Blocks for the disk where the memory's window is shorter than an hour.
///
/// # Errors
/// [`QueryError::Series`], [`QueryError::History`], or it cost too much.
pub fn windows(
    engine: &Engine,
    tenant: &Tenant,
    selector: &Selector,
    now_ms: i64,
    cost: &Cost,
) -> Result<Vec<SeriesWindows>, QueryError> {
    let (found, _) = find(engine, tenant, selector, (SERIES_MAX, None), now_ms, cost)?;
    let mut asking = Asking::new(engine, now_ms, cost);
    let answers = found.into_iter();
    answers
        .map(|(key, found)| {
            let figures = asking.answer(&found)?;
            Ok(series_windows(key, &figures))
        })
        .collect()
}

/// As [`windows()`], with some of the series told one by one and the others together: the best by
/// the longest window, or the first by key. At most [`GROUPED_SERIES_MAX`] series, of which one at
/// a time is worked on.
///
/// # Errors
/// As [`windows()`], and [`QueryError::Top`].
pub fn few_windows(
    engine: &Engine,
    tenant: &Tenant,
    selector: &Selector,
    few: Few,
    now_ms: i64,
    cost: &Cost,
) -> Result<WindowsAnswer, QueryError> {
    let mut asking = Asking::new(engine, now_ms, cost);
    match few {
        Few::First(max) => {
            let max = max.min(SERIES_MAX);
            let (found, matched) = find(engine, tenant, selector, (max, Some(max)), now_ms, cost)?;
            let count = matched.saturating_sub(found.len() as u64);
            let series: Result<_, QueryError> = found
                .into_iter()
                .map(|(key, found)| Ok(series_windows(key, &asking.answer(&found)?)))
                .collect();
            Ok(WindowsAnswer {
                series: series?,
                others: (count > 0).then(|| OtherWindows {
                    count,
                    windows: Vec::new(),
                }),
            })
        }
        Few::Best(max, rank) => {
            if !(1..=TOP_MAX).contains(&max) {
                return Err(QueryError::Top { series: max });
            }
            let (found, _) = find(
                engine,
                tenant,
                selector,
                (GROUPED_SERIES_MAX, None),
                now_ms,
                cost,
            )?;
            let mut best = Best::new(max);
            let mut count = 0;
            let mut others = WINDOWS_S.map(|_| Figures::new());
            for (key, found) in found {
                let figures = asking.answer(&found)?;
                let longest = figures[WINDOWS_S.len() - 1].window(0);
                let score = rank.score_window(&longest);
                if let Some((_, figures)) = best.put(score, (key, figures)) {
                    count += 1;
                    for (all, one) in others.iter_mut().zip(figures) {
                        all.merge(&Minute::Many(Box::new(one)));
                    }
                }
            }
            Ok(WindowsAnswer {
                series: best
                    .into_iter()
                    .map(|(key, figures)| series_windows(key, &figures))
                    .collect(),
                others: (count > 0).then(|| OtherWindows {
                    count,
                    windows: told(&others),
                }),
            })
        }
    }
}

/// The series that a selector names, at most `series_max`, with their count; or the `first` of
/// them.
fn find(
    engine: &Engine,
    tenant: &Tenant,
    selector: &Selector,
    (series_max, first): (usize, Option<usize>),
    now_ms: i64,
    cost: &Cost,
) -> Result<(Vec<(String, Found)>, u64), QueryError> {
    let all = (|_: &str| NameFilter::All, |_: KeyRef<'_>| true);
    let max = first.unwrap_or(series_max + 1);
    let page = engine.page(tenant, selector, all, (None, max), now_ms, cost)?;
    let (found, matched) = (page.found, page.matched);
    if found.len() > series_max || (first.is_none() && page.is_cut) {
        return Err(QueryError::Series {
            series: matched,
            series_max,
            is_grouped: true,
        });
    }
    Ok((found, matched))
}

fn series_windows(key: String, figures: &AllFigures) -> SeriesWindows {
    SeriesWindows {
        key,
        windows: told(figures),
    }
}

fn told(figures: &AllFigures) -> Vec<LiveWindow> {
    let all = figures.iter().zip(WINDOWS_S);
    all.map(|(figures, seconds)| figures.window(seconds))
        .collect()
}

/// Of one series, by [`WINDOWS_S`].
type AllFigures = [Figures; WINDOWS_S.len()];

struct Asking<'a> {
    engine: &'a Engine,
    /// Opened when something older than memory is needed.
    snapshot: Option<Snapshot>,
    now_ms: i64,
    samples: Vec<Sample>,
    cost: &'a Cost,
}

impl<'a> Asking<'a> {
    fn new(engine: &'a Engine, now_ms: i64, cost: &'a Cost) -> Self {
        Self {
            cost,
            engine,
            snapshot: None,
            now_ms,
            samples: Vec::new(),
        }
    }

    fn answer(&mut self, found: &Found) -> Result<AllFigures, QueryError> {
        self.cost.check()?;
        let end_ms = self.now_ms + 1;
        let last_ms = found.last.map_or(i64::MIN, |last| last.0);
        let memory_ms = end_ms - self.engine.options.window_ms;
        // The first minute that is not closed.
        let open = last_ms
            .max(memory_ms)
            .min(self.now_ms)
            .div_euclid(MINUTE_MS);
        let longest_ms = i64::from(WINDOWS_S[WINDOWS_S.len() - 1]) * 1000;
        let oldest = whole_minute(end_ms - longest_ms).min(open);
        let mut known = self
            .engine
            .query_cache
            .minutes
            .lock()
            .take(found.id, found.late_count);
        known.minutes.retain(|minute, _| *minute >= oldest);
        self.close_minutes(found, &mut known, oldest, open)?;

        let part_from_ms = (end_ms - longest_ms).max(memory_ms - MINUTE_MS);
        self.samples.clear();
        if let Some(copy) = self.engine.copy(found, part_from_ms, end_ms) {
            copy.read(part_from_ms, end_ms, &mut self.samples);
        }
        self.spend()?;
        let windows = WINDOWS_S.map(|seconds| {
            let from_ms = end_ms - i64::from(seconds) * 1000;
            let first = whole_minute(from_ms);
            let mut figures = Figures::new();
            let parts = [
                (from_ms, (first * MINUTE_MS).min(end_ms)),
                (open.max(first) * MINUTE_MS, end_ms),
            ];
            for (part_from_ms, part_to_ms) in parts {
                for value in values(&self.samples, part_from_ms, part_to_ms) {
                    figures.add(value);
                }
            }
            if first < open {
                for minute in known.minutes.range(first..open).map(|(_, minute)| minute) {
                    figures.merge(minute);
                }
            }
            figures
        });
        self.engine.query_cache.minutes.lock().put(found.id, known);
        Ok(windows)
    }

    fn spend(&self) -> Result<(), QueryError> {
        match self.cost.take_samples(self.samples.len()) {
            true => Ok(()),
            false => Err(QueryError::Samples {
                samples_max: self.cost.samples_max(),
            }),
        }
    }

    /// Makes the closed minutes of `oldest..open` that are not known.
    fn close_minutes(
        &mut self,
        found: &Found,
        known: &mut SeriesMinutes,
        oldest: i64,
        open: i64,
    ) -> Result<(), QueryError> {
        let mut minute = oldest;
        while minute < open {
            if known.minutes.contains_key(&minute) {
                minute += 1;
                continue;
            }
            // As many as are not known at a stretch, read at once.
            let next = known.minutes.range(minute..open).next();
            let end = next.map_or(open, |(minute, _)| *minute);
            let (from_ms, to_ms) = (minute * MINUTE_MS, end * MINUTE_MS);
            self.samples.clear();
            let is_old = from_ms < self.now_ms - self.engine.window_ms();
            if is_old && self.snapshot.is_none() {
                self.snapshot = self.engine.snapshot()?;
            }
            let past = self.snapshot.as_mut().filter(|_| is_old);
            self.engine
                .read(found, past, from_ms, to_ms, &mut self.samples)?;
            self.spend()?;
            for minute in minute..end {
                let (from_ms, to_ms) = (minute * MINUTE_MS, (minute + 1) * MINUTE_MS);
                let made = Minute::of(values(&self.samples, from_ms, to_ms));
                known.minutes.insert(minute, made);
            }
            minute = end;
        }
        Ok(())
    }
}

/// The first minute that begins at or behind a moment.
fn whole_minute(at_ms: i64) -> i64 {
    at_ms.div_euclid(MINUTE_MS) + i64::from(at_ms.rem_euclid(MINUTE_MS) > 0)
}

/// The values of a stretch of sorted samples, without those that are NaN.
fn values(samples: &[Sample], from_ms: i64, to_ms: i64) -> impl Iterator<Item = f64> + Clone {
    let start = samples.partition_point(|sample| sample.0 < from_ms);
    let end = samples.partition_point(|sample| sample.0 < to_ms);
    let stretch = samples.get(start..end).unwrap_or_default();
    stretch
        .iter()
        .map(|sample| sample.1)
        .filter(|value| !value.is_nan())
}
