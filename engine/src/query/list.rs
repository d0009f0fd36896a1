//! `GET /api/series`: the series that a tenant has in memory, page by page.

use pulseboard_series::{Kind, is_stale_marker};
use pulseboard_shared::{
    Labels,
    protocol::series::{SeriesInfo, SeriesList, SeriesState},
};

use super::{LIST_MAX, QueryError, SPARK_POINTS_MAX, finite, fold::Growth, text::Search};
use crate::{
    cost::Cost,
    engine::Engine,
    find::{Found, page_bytes},
    selector::Selector,
    tenant::Tenant,
    window::Sample,
};

/// A counter's rate is its growth over this time.
const RATE_MS: i64 = 60_000;

/// How dear it is to list a series with its window's samples, in looks at one.
const INFO_WORK: u32 = 64;

/// Which series, and what of them.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// Which; [`Selector::all`] for all.
    pub selector: Selector,
    /// Words that must all be in the key, in any case; empty for none.
    pub search: String,
    /// Only those behind this key.
    pub after: Option<String>,
    /// At most so many, 1 to [`LIST_MAX`]; others are taken as the nearest of these.
    pub limit: usize,
    /// Points of each spark line, at most [`SPARK_POINTS_MAX`]; 0 for none.
    pub spark_points: usize,
    /// Now, Unix milliseconds.
    pub now_ms: i64,
}

/// The tenant's newest series, newest first, whatever they are called; at most `limit`, in one
/// page. `selector`, `search` and `after` are not looked at.
///
/// # Errors
/// It cost too much.
pub fn list_newest(
    engine: &Engine,
    tenant: &Tenant,
    request: &ListRequest,
    cost: &Cost,
) -> Result<SeriesList, QueryError> {
    ListStream::newest(engine, tenant, request, cost)?.collect()
}

/// The tenant's series that are asked for, sorted by key. Those that have gone from memory are
/// not listed. Cost: some 0.3 µs for each series that must be looked at, and a few microseconds
/// for each that is listed.
///
/// # Errors
/// There are too many words to search for, or it cost too much.
pub fn list_series(
    engine: &Engine,
    tenant: &Tenant,
    request: &ListRequest,
    cost: &Cost,
) -> Result<SeriesList, QueryError> {
    ListStream::open(engine, tenant, request, cost)?.collect()
}

/// A list of which one series is told at a time, so that it is not in memory as a whole.
#[derive(Debug)]
pub struct ListStream<'a> {
    engine: &'a Engine,
    request: &'a ListRequest,
    cost: &'a Cost,
    /// Without the series.
    head: SeriesList,
    found: std::vec::IntoIter<(String, Found)>,
    samples: Vec<Sample>,
}

impl<'a> ListStream<'a> {
    /// As [`list_series`].
    ///
    /// # Errors
    /// The history cannot be read, or the question costs too much.
    pub fn open(
        engine: &'a Engine,
        tenant: &Tenant,
        request: &'a ListRequest,
        cost: &'a Cost,
    ) -> Result<Self, QueryError> {
        let search = Search::new(&request.search)?;
        let limit = request.limit.clamp(1, LIST_MAX);
        let page = engine.page(
            tenant,
            &request.selector,
            (
                |name: &str| search.name_filter(name),
                |key| search.takes(key),
            ),
            (request.after.as_deref(), limit + 1),
            request.now_ms,
            cost,
        )?;
        let (mut found, matched) = (page.found, page.matched);
        let has_more = page.is_cut || found.len() > limit;
        for (key, found) in found.drain(limit.min(found.len())..) {
            cost.let_go(page_bytes(&key, &found));
        }
        let next = found.last().filter(|_| has_more);
        let head = SeriesList {
            tenant: tenant.name.to_string(),
            total: tenant.counts().series,
            matched,
            series: Vec::new(),
            next: next.map(|(key, _)| key.clone()),
        };
        Ok(Self::of(engine, request, cost, head, found))
    }

    /// As [`list_newest`].
    ///
    /// # Errors
    /// The history cannot be read, or the question costs too much.
    pub fn newest(
        engine: &'a Engine,
        tenant: &Tenant,
        request: &'a ListRequest,
        cost: &'a Cost,
    ) -> Result<Self, QueryError> {
        let limit = request.limit.clamp(1, LIST_MAX);
        let total = tenant.counts().series;
        let found = engine.newest(tenant, limit, request.now_ms, cost)?;
        let head = SeriesList {
            tenant: tenant.name.to_string(),
            total,
            matched: total,
            series: Vec::new(),
            next: None,
        };
        Ok(Self::of(engine, request, cost, head, found))
    }

    fn of(
        engine: &'a Engine,
        request: &'a ListRequest,
        cost: &'a Cost,
        head: SeriesList,
        found: Vec<(String, Found)>,
    ) -> Self {
        Self {
            engine,
            request,
            cost,
            head,
            found: found.into_iter(),
            samples: Vec::new(),
        }
    }

    /// The list without its series.
    #[must_use]
    pub fn head(&self) -> &SeriesList {
        &self.head
    }

    fn collect(mut self) -> Result<SeriesList, QueryError> {
        let mut series = Vec::new();
        for one in &mut self {
            series.push(one?);
        }
        self.head.series = series;
        Ok(self.head)
    }

    fn info(&mut self, key: String, found: &Found) -> Result<SeriesInfo, QueryError> {
        self.cost.step(INFO_WORK)?;
        self.samples.clear();
        let info = info(self.engine, key, found, self.request, &mut self.samples);
        match self.cost.take_samples(self.samples.len()) {
            true => Ok(info),
            false => Err(QueryError::Samples {
                samples_max: self.cost.samples_max(),
            }),
        }
    }
}

impl Iterator for ListStream<'_> {
    type Item = Result<SeriesInfo, QueryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (key, found) = self.found.next()?;
        let bytes = page_bytes(&key, &found);
        let info = self.info(key, &found);
        self.cost.let_go(bytes);
        Some(info)
    }
}

fn info(
    engine: &Engine,
    key: String,
    found: &Found,
    request: &ListRequest,
    samples: &mut Vec<Sample>,
) -> SeriesInfo {
    let now_ms = request.now_ms;
    let points = request.spark_points.min(SPARK_POINTS_MAX);
    let interval_ms = i64::from(found.interval_ms);
    // A series that comes every few minutes has a rate, too.
    let rate_from_ms = now_ms - RATE_MS.max(interval_ms * 5 / 2);
    let window_ms = engine.options.window_ms.max(1);
    let from_ms = match (points, found.kind) {
        (0, Kind::Counter) => Some(rate_from_ms),
        (0, _) => None,
        _ => Some(rate_from_ms.min(now_ms - window_ms)),
    };
    if let Some(from_ms) = from_ms
        && let Some(copy) = engine.copy(found, from_ms, now_ms + 1)
    {
        copy.read(from_ms, now_ms + 1, samples);
    }
    let rate = (found.kind == Kind::Counter)
        .then(|| rate(samples, rate_from_ms))
        .flatten();
    SeriesInfo {
        key,
        name: found.key().name().to_owned(),
        labels: labels_of(found.key().labels()),
        unit: found.unit.to_string(),
        kind: found.kind.name().to_owned(),
        state: if found.is_stopped {
            SeriesState::Stopped
        } else {
            SeriesState::Live
        },
        // Whoever writes them knows.
        own: false,
        interval_ms: (found.interval_ms > 0).then_some(u64::from(found.interval_ms)),
        last: found
            .last
            .map(|(_, value)| value)
            .filter(|value| !is_stale_marker(*value)),
        last_ms: match (found.last, found.ahead_ms) {
            (Some((at_ms, _)), _) => at_ms,
            (None, Some(ahead_ms)) => now_ms + ahead_ms,
            (None, None) => 0,
        },
        ahead_ms: found.ahead_ms.map(i64::unsigned_abs),
        rate,
        spark: spark(samples, now_ms, window_ms, points),
    }
}

pub(super) fn labels_of<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Labels {
    labels
        .map(|(label, value)| (label.to_owned(), value.to_owned()))
        .collect()
}

/// Growth per second since `from_ms`; `None` where there are no two samples.
fn rate(samples: &[Sample], from_ms: i64) -> Option<f64> {
    let mut growth = Growth::default();
    let young = samples.iter().filter(|sample| sample.0 >= from_ms);
    let steps = young.filter_map(|sample| growth.push_sample(*sample));
    let (grown, took_ms) = steps.fold((0.0, 0.0), |sum, step| (sum.0 + step.0, sum.1 + step.1));
    (took_ms > 0.0).then(|| grown / took_ms * 1000.0)
}

/// Means of `points` equal stretches of the window that ends now.
fn spark(samples: &[Sample], now_ms: i64, window_ms: i64, points: usize) -> Vec<Option<f64>> {
    let mut sums = vec![(0.0, 0_u32); points];
    let count = i64::try_from(points).unwrap_or_default();
    for &(at_ms, value) in samples.iter().filter(|sample| sample.1.is_finite()) {
        // The newest belongs to the last stretch: each has its end and not its beginning.
        let behind_ms = now_ms - at_ms;
        let from_end = behind_ms * count / window_ms;
        if (0..window_ms).contains(&behind_ms)
            && let Ok(place) = usize::try_from(count - 1 - from_end)
            && let Some(sum) = sums.get_mut(place)
        {
            sum.0 += value;
            sum.1 += 1;
        }
    }
    let means = sums.into_iter();
    means
        .map(|(sum, count)| (count > 0).then(|| sum / f64::from(count)).and_then(finite))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_bears_a_new_beginning() {
        let samples = [(0, 5.0), (10_000, 15.0), (20_000, 4.0), (30_000, 10.0)];
        assert_eq!(rate(&samples, 0), Some(20.0 / 30.0));
        assert_eq!(rate(&samples, 20_000), Some(0.6));
        assert_eq!(rate(&samples, 30_000), None);
    }

    #[test]
    fn a_spark_line_is_means_and_gaps() {
        let samples = [
            (-1, 9.0),
            (0, 1.0),
            (500, 3.0),
            (501, 5.0),
            (1_000, f64::NAN),
        ];
        assert_eq!(spark(&samples, 1_000, 1_000, 2), [Some(3.0), Some(5.0)]);
        assert_eq!(spark(&samples, 1_999, 1_000, 2), [None, None]);
        assert_eq!(spark(&samples, 1_999, 1_000, 0), []);
    }
}
