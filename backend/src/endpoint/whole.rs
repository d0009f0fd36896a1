//! What all servers together have of some series, where this one has a part of the samples
//! (`CLUSTER_MODE=sharded`): its own, what has just come in elsewhere and is wanted here, and what
//! the archive has, put together for one question.

use std::{collections::BTreeMap, sync::Arc};

use pulseboard_engine::{
    Cost, Engine, EngineOptions, Tenant,
    query::{self, ListRequest, QueryError},
};
use pulseboard_promql::{
    EvalError, Labels, Samples, Storage as _, ast::Matcher, labels::NAME, parse_any_selector,
    storage::Hints,
};
use pulseboard_series::{Batch, Reason};
use pulseboard_shared::protocol::series::{SeriesInfo, SeriesList, SeriesState};

use crate::{
    app::App,
    archive::{Archive, Without},
    base::error::AppError,
    expressions::TenantSeries,
    http::pieces::Ended,
};

/// Rows that are put together before the engine gets them.
const ROWS: usize = 10_000;

/// Memory of what is put together.
const BYTES_MAX: u64 = 128 << 20;

/// Series that came in elsewhere are listed as long as they have a sample in this time.
const LISTED_MS: i64 = 3_600_000;

/// Samples of one question, from everywhere.
pub(super) struct Whole {
    pub(super) engine: Arc<Engine>,
    pub(super) tenant: Arc<Tenant>,
    /// What is to be said of the answer besides.
    pub(super) partial: Vec<String>,
}

/// Why there is no answer.
pub(super) enum Failed {
    /// Reading ended.
    Query(QueryError),
    /// It cannot be answered.
    App(AppError),
}

impl From<QueryError> for Failed {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

impl From<Failed> for Ended {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Query(error) => error.into(),
            Failed::App(error) => error.into(),
        }
    }
}

impl Failed {
    /// As it is told.
    pub(super) fn told(self, app: &App) -> AppError {
        match self {
            Self::Query(error) => app.questions.refuse(&error),
            Self::App(error) => error,
        }
    }

    fn of(error: EvalError, cost: &Cost) -> Self {
        match error {
            EvalError::Timeout => Self::Query(QueryError::Deadline),
            EvalError::Canceled => Self::Query(QueryError::Cancelled),
            EvalError::TooManySamples => Self::Query(QueryError::Samples {
                samples_max: cost.samples_max(),
            }),
            EvalError::NoMemory(_) => Self::Query(QueryError::Memory),
            EvalError::Execution(why) => Self::App(AppError::bad_query("match", why)),
            EvalError::Storage(why) => {
                tracing::error!(why, "a question could not be answered");
                Self::App(AppError::internal())
            }
        }
    }
}

fn others(app: &App) -> Option<&Arc<Archive>> {
    let archive = app.archive.as_ref();
    archive.filter(|archive| archive.has_what_others_have())
}

fn matchers(match_text: &str) -> Result<Vec<Matcher>, Failed> {
    let read = parse_any_selector(match_text);
    let bad = |error: String| Failed::App(AppError::bad_query("match", error));
    let selector = read.map_err(|error| bad(error.to_string()))?;
    Ok(selector.matchers)
}

/// The samples of `from_ms..to_ms` of a selector; `None` where this server has all of them itself.
/// Blocks for the archive.
pub(super) fn whole(
    app: &App,
    tenant: &Arc<Tenant>,
    match_text: &str,
    (from_ms, to_ms): (i64, i64),
    cost: &Cost,
) -> Result<Option<Whole>, Failed> {
    if others(app).is_none() {
        return Ok(None);
    }
    let matchers = matchers(match_text)?;
    let hints = Hints {
        after_ms: from_ms.saturating_sub(1),
        until_ms: to_ms.saturating_sub(1),
        step_ms: 1,
        range_ms: to_ms.saturating_sub(from_ms),
        function: "",
        is_instant: false,
        is_unordered: true,
    };
    let mut series =
        TenantSeries::new(&app.storage.engine, tenant, cost).with_others(app.archive.as_ref());
    loop {
        let gathering = Gathering::new(&tenant.name, (from_ms, to_ms), app.clock.now_ms());
        let Some(mut gathering) = gathering else {
            return Err(Failed::App(AppError::internal()));
        };
        let read = series.select(&matchers, &hints, &mut |labels, samples| {
            gathering.take(&labels, samples);
            Ok(())
        });
        match read {
            Ok(()) => {
                gathering.hand_over();
                // They are counted once more where they are read from here.
                cost.forget_samples();
                return Ok(Some(Whole {
                    engine: gathering.engine,
                    tenant: gathering.tenant,
                    partial: series.warnings(),
                }));
            }
            Err(_) if series.does_without_archive() => {}
            Err(error) => return Err(Failed::of(error, cost)),
        }
    }
}

/// An engine that gets the samples of one question.
struct Gathering {
    engine: Arc<Engine>,
    tenant: Arc<Tenant>,
    batch: Batch,
    now_ms: i64,
}

impl Gathering {
    fn new(tenant: &str, (from_ms, to_ms): (i64, i64), now_ms: i64) -> Option<Self> {
        let defaults = EngineOptions::default();
        let window_ms = now_ms.saturating_sub(from_ms).max(0) + defaults.window_ms;
        let engine = Engine::new(
            EngineOptions {
                window_ms,
                ttl_ms: window_ms,
                ahead_ms: to_ms.saturating_sub(now_ms).max(0) + defaults.ahead_ms,
                memory_max_bytes: BYTES_MAX,
                ..defaults
            },
            None,
        );
        Some(Self {
            tenant: engine.tenant(tenant).ok()?,
            engine: Arc::new(engine),
            batch: Batch::new(),
            now_ms,
        })
    }

    fn take(&mut self, labels: &Labels, samples: &Samples) {
        for (at_ms, value) in samples.times.iter().zip(&samples.values) {
            if let Err(reason) = row(&mut self.batch, labels, *at_ms, *value) {
                self.batch.refuse(1, reason);
            }
            if self.batch.rows().len() >= ROWS {
                self.hand_over();
            }
        }
    }

    fn hand_over(&mut self) {
        self.engine.append(&self.tenant, &self.batch, self.now_ms);
        self.batch.clear();
    }
}

fn row(batch: &mut Batch, labels: &Labels, at_ms: i64, value: f64) -> Result<(), Reason> {
    batch.begin(&[labels.get(NAME)])?;
    for (label, value) in labels.iter().filter(|(label, _)| &**label != NAME) {
        batch.label(label, value)?;
    }
    batch.finish(1, Some(at_ms), value)
}

/// A page of the list of series, those among it that came in at other servers within the last
/// hour, of which no more is known than that; and what is to be said of it besides. `None` where
/// this server has all of them itself. Blocks for the archive.
pub(super) fn list(
    app: &App,
    tenant: &Arc<Tenant>,
    match_text: Option<&str>,
    asked: &ListRequest,
    cost: &Cost,
) -> Result<Option<(SeriesList, Vec<String>)>, Failed> {
    let Some(archive) = others(app) else {
        return Ok(None);
    };
    let matchers = match_text.map(matchers).transpose()?.unwrap_or_default();
    let engine = &app.storage.engine;
    let mut list = query::list_series(engine, tenant, asked, cost)?;
    let stretch = (asked.now_ms - LISTED_MS, asked.now_ms + 1);
    let mut partial = Vec::new();
    let found = match archive.series(&tenant.name, &matchers, stretch, cost) {
        Ok((found, bytes)) => {
            cost.let_go(bytes);
            found
        }
        Err(Without::Spent(spent)) => return Err(Failed::Query(spent.into())),
        Err(Without::Missing(why)) => {
            partial.push(format!(
                "partial: {why}; there are only series that came in at this server"
            ));
            return Ok(Some((list, partial)));
        }
    };
    let words = asked.search.to_lowercase();
    let words: Vec<&str> = words.split_whitespace().collect();
    let mut elsewhere = 0;
    let mut page: BTreeMap<String, SeriesInfo> = BTreeMap::new();
    for labels in &found {
        let mut batch = Batch::new();
        if row(&mut batch, labels, 0, 0.0).is_err() {
            continue;
        }
        let Some(first) = batch.rows().first() else {
            continue;
        };
        let bytes = batch.key(first);
        let key = bytes.to_string();
        let lower = key.to_lowercase();
        let is_asked = words.iter().all(|word| lower.contains(word));
        if !is_asked || engine.last_of(tenant, bytes.as_bytes()).is_some() {
            continue;
        }
        elsewhere += 1;
        if asked.after.as_ref().is_none_or(|after| key > *after) {
            page.insert(key.clone(), unknown(key, labels));
        }
    }
    let has_more = list.next.is_some();
    let own = std::mem::take(&mut list.series).into_iter();
    page.extend(own.map(|info| (info.key.clone(), info)));
    let is_cut = page.len() > asked.limit;
    list.series = page.into_values().take(asked.limit).collect();
    let last = list.series.last().filter(|_| is_cut || has_more);
    list.next = last.map(|info| info.key.clone());
    list.matched += elsewhere;
    list.total = (list.total + elsewhere).max(list.matched);
    Ok(Some((list, partial)))
}

/// What is known of a series that came in elsewhere.
fn unknown(key: String, labels: &Labels) -> SeriesInfo {
    let others = labels.iter().filter(|(label, _)| &**label != NAME);
    SeriesInfo {
        key,
        name: labels.get(NAME).to_owned(),
        labels: others
            .map(|(label, value)| (label.to_string(), value.to_string()))
            .collect(),
        unit: String::new(),
        kind: "unknown".to_owned(),
        state: SeriesState::Live,
        own: false,
        interval_ms: None,
        last: None,
        last_ms: 0,
        ahead_ms: None,
        rate: None,
        spark: Vec::new(),
    }
}
