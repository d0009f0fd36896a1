//! Live expressions: PromQL that somebody watches, evaluated once a step for all who watch the same.
//!
//! ```text
//! clock ──step──▶ a turn, as every question has ──▶ instant(expr, t) ──▶ feed ──▶ cursors of all
//! ```
//!
//! An evaluation is a question of whoever asked first: it has a turn, a time, a number of samples
//! and memory as that caller's other questions have. One that takes longer than a fifth of its step
//! is evaluated less often, so that no expression takes more than a fifth of a core. Two are
//! evaluated at once.

mod followed;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_engine::{Engine, Tenant};
use pulseboard_feed::{
    Bounds, Epoch, Fanout, Feed, Frame, MemberGuard, Payload, Subscriber, Subscription, wire::ws,
};
use pulseboard_promql::{
    Answer, EvalError, Expr, Labels, Options, ast::ValueType, instant, labels::NAME, parse, range,
};
use pulseboard_series::{is_stale_marker, key::write_labels};
use pulseboard_shared::{
    codec::Encoding,
    protocol::{
        series::RangeSeries,
        watch::{ExpressionMessage, SampleRun},
    },
};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use self::followed::{Kept, KeptSeries, Ledger};
use crate::{
    base::{clock::Clock, error::AppError},
    expressions::TenantSeries,
    questions::{Questions, Working},
    shares::{CallerKeys, Share},
};

/// The shortest step.
pub const STEP_MIN_MS: i64 = 100;

/// The longest.
pub const STEP_MAX_MS: i64 = 3_600_000;

/// Samples of a moment come a little after it: an expression waits so long for them.
const SETTLE_MS: i64 = 30;

/// Series of one frame; a result of more is an error, as a chart of it would be.
pub const SERIES_MAX: usize = 1_000;

/// An expression rests for at least so many times what its evaluation took.
const REST: u32 = 4;

/// Expressions that are evaluated at once.
const AT_ONCE: usize = 2;

/// What a viewer that reads slowly, or comes back, can still get.
const LOG: Bounds = Bounds {
    frames: 1_024,
    bytes: 1024 * 1024,
    lag: 256,
};

/// Whose, what and how often.
type Key = (Box<str>, String, i64);

/// By key. Leaf lock.
type Map = Mutex<HashMap<Key, Arc<LiveExpression>>>;

/// All expressions that somebody watches.
pub struct LiveExpressions {
    engine: Arc<Engine>,
    clock: Clock,
    fanout: Fanout,
    questions: Arc<Questions>,
    samples_max: u64,
    known: Arc<Map>,
    next_id: AtomicU64,
    /// What all keep between their steps.
    ledger: Ledger,
    /// Somebody watches a new one.
    more: Notify,
}

/// One expression that is watched.
pub struct LiveExpression {
    /// Names its cursors among those of a viewer.
    pub id: u64,
    /// Milliseconds between two evaluations, each at a multiple of it.
    pub step_ms: i64,
    key: Key,
    expr: Expr,
    tenant: Arc<Tenant>,
    /// Whose question an evaluation is.
    keys: CallerKeys,
    feed: Arc<Feed<ExpressionPayload>>,
    /// At which time it is evaluated next, Unix milliseconds.
    due_ms: AtomicI64,
    /// Who watches; under the map's lock where it becomes none.
    members: AtomicU64,
    /// Series of the newest frame: those that are gone in the next are told so. Leaf lock.
    shown: Mutex<BTreeMap<String, Labels>>,
    /// What it read, for the next step.
    kept: Kept,
}

/// A viewer's place; leaving is dropping it.
pub struct LiveExpressionGuard {
    /// Names the viewer's cursor.
    pub id: u64,
    /// What is watched.
    pub expression: Arc<LiveExpression>,
    map: Arc<Map>,
    _share: Share,
    seat: Option<MemberGuard>,
}

impl LiveExpressionGuard {
    /// Has the viewer told of what comes.
    pub fn sit(&mut self, viewer: Arc<dyn Subscriber>) {
        self.seat = Some(self.expression.feed.members().join(viewer));
    }
}

impl Drop for LiveExpressionGuard {
    fn drop(&mut self) {
        self.seat = None;
        let mut map = self.map.lock();
        if self.expression.members.fetch_sub(1, Ordering::SeqCst) > 1 {
            return;
        }
        let is_it = map
            .get(&self.expression.key)
            .is_some_and(|known| Arc::ptr_eq(known, &self.expression));
        if is_it {
            map.remove(&self.expression.key);
        }
    }
}

/// An expression that can be watched.
///
/// # Errors
/// Where it cannot be read, with line and column; or its result is no scalar and no instant vector.
pub fn read(text: &str) -> Result<Expr, String> {
    let expr = parse(text).map_err(|error| format!("\"query\" cannot be read: {error}"))?;
    match expr.value_type() {
        ValueType::Scalar | ValueType::Vector => Ok(expr),
        _ => Err("\"query\" is to be a scalar or an instant vector".to_owned()),
    }
}

impl LiveExpressions {
    /// Nothing watched yet.
    #[must_use]
    pub fn new(
        engine: Arc<Engine>,
        clock: Clock,
        fanout: &Fanout,
        questions: Arc<Questions>,
        samples_max: u64,
    ) -> Self {
        Self {
            engine,
            clock,
            fanout: fanout.clone(),
            questions,
            samples_max,
            known: Arc::default(),
            // Rooms count from one and selectors from 2^32; all share a viewer.
            next_id: AtomicU64::new(1 << 48),
            ledger: Ledger::default(),
            more: Notify::new(),
        }
    }

    /// A place at an expression, which is evaluated from its next step on where nobody watched it.
    #[must_use]
    pub fn enter(
        &self,
        tenant: &Arc<Tenant>,
        expr: Expr,
        step_ms: i64,
        keys: &CallerKeys,
        share: Share,
    ) -> LiveExpressionGuard {
        let step_ms = step_ms.clamp(STEP_MIN_MS, STEP_MAX_MS);
        let key = (tenant.name.clone(), expr.to_string(), step_ms);
        let now_ms = self.clock.now_ms();
        let mut map = self.known.lock();
        let expression = map.entry(key.clone()).or_insert_with(|| {
            let epoch = Epoch(u64::try_from(now_ms).unwrap_or_default());
            Arc::new(LiveExpression {
                id: self.next_id.fetch_add(1, Ordering::Relaxed),
                step_ms,
                key,
                expr,
                tenant: Arc::clone(tenant),
                keys: CallerKeys {
                    client: None,
                    ..keys.clone()
                },
                feed: Feed::of_tenant(&tenant.name, epoch, LOG, &self.fanout),
                due_ms: AtomicI64::new(next_step(now_ms, step_ms)),
                members: AtomicU64::new(0),
                shown: Mutex::default(),
                kept: Kept::new(&self.ledger),
            })
        });
        let expression = Arc::clone(expression);
        expression.members.fetch_add(1, Ordering::SeqCst);
        drop(map);
        self.more.notify_one();
        LiveExpressionGuard {
            id: expression.id,
            expression,
            map: Arc::clone(&self.known),
            _share: share,
            seat: None,
        }
    }

    /// Expressions watched now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.lock().len()
    }

    /// Bytes that they keep between their steps.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.ledger.bytes()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What an expression was at each step of a stretch that ends now. Blocks.
    ///
    /// # Errors
    /// It costs too much.
    pub fn history(
        &self,
        expression: &LiveExpression,
        (back_ms, step_ms): (i64, i64),
        working: &Working,
    ) -> Result<Vec<RangeSeries>, EvalError> {
        let series = self.series(expression, working);
        let end_ms = self.clock.now_ms().div_euclid(step_ms) * step_ms;
        let times = (end_ms - back_ms, end_ms, step_ms);
        let (matrix, _) = range(&expression.expr, times, &series, &series, self.options())?;
        if matrix.len() > SERIES_MAX {
            return Err(too_many(matrix.len()));
        }
        let one = |(labels, points): (Labels, Vec<(i64, f64)>)| {
            let run = run_of(&labels);
            let points = points.into_iter();
            RangeSeries {
                key: run.key,
                name: run.name,
                labels: run.labels,
                points: points
                    .map(|(at_ms, value)| (at_ms, Some(value), Some(value), Some(value)))
                    .collect(),
                ..RangeSeries::default()
            }
        };
        Ok(matrix.into_iter().map(one).collect())
    }

    fn options(&self) -> Options {
        Options {
            samples_max: self.samples_max,
            ..Options::default()
        }
    }

    fn series<'a>(
        &'a self,
        expression: &'a LiveExpression,
        working: &'a Working,
    ) -> TenantSeries<'a> {
        TenantSeries {
            engine: &self.engine,
            tenant: &expression.tenant,
            cost: &working.cost,
        }
    }

    /// Evaluates what is due, until `stopping`.
    pub async fn run(self: Arc<Self>, stopping: CancellationToken) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let now_ms = self.clock.now_ms();
            let next_ms = {
                let known = self.known.lock();
                let dues = known.values().map(|one| one.due_ms.load(Ordering::Relaxed));
                // The greatest number is one that is being evaluated.
                dues.filter(|due_ms| *due_ms < i64::MAX).min()
            };
            let Some(next_ms) = next_ms else {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = self.more.notified() => continue,
                }
            };
            if now_ms < next_ms + SETTLE_MS {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = self.more.notified() => continue,
                    () = self.clock.sleep_until(next_ms + SETTLE_MS) => {}
                }
            }
            let due: Vec<Arc<LiveExpression>> = {
                let known = self.known.lock();
                let now_ms = self.clock.now_ms() - SETTLE_MS;
                let is_due =
                    |one: &&Arc<LiveExpression>| one.due_ms.load(Ordering::Relaxed) <= now_ms;
                known.values().filter(is_due).map(Arc::clone).collect()
            };
            for expression in due {
                let at_ms = newest_step(self.clock.now_ms() - SETTLE_MS, expression.step_ms);
                // Not due again before it has been evaluated.
                expression.due_ms.store(i64::MAX, Ordering::Relaxed);
                // Never closed.
                let place = Arc::clone(&places).acquire_owned().await;
                let all = Arc::clone(&self);
                tokio::spawn(async move {
                    all.evaluate(&expression, at_ms).await;
                    drop(place);
                    all.more.notify_one();
                });
            }
        }
    }

    async fn evaluate(self: &Arc<Self>, expression: &Arc<LiveExpression>, at_ms: i64) {
        let (all, one) = (Arc::clone(self), Arc::clone(expression));
        let began = Instant::now();
        let asked = self
            .questions
            .ask(expression.keys.clone(), move |working| {
                let began = Instant::now();
                let series = all.series(&one, working);
                let kept = KeptSeries {
                    whole: &series,
                    engine: &all.engine,
                    tenant: &one.tenant,
                    kept: &one.kept,
                    at_ms,
                    step_ms: one.step_ms,
                };
                let answer = instant(&one.expr, at_ms, &kept, &series, all.options())
                    .map(|(answer, _)| answer);
                one.kept.end_step();
                (answer, began.elapsed())
            })
            .await;
        let took = match asked {
            Ok((answer, took)) => {
                expression.tell(at_ms, answer);
                took
            }
            Err(refused) => {
                expression.tell_error(&refused);
                began.elapsed()
            }
        };
        let rest_ms = i64::try_from((took * REST).as_millis()).unwrap_or(i64::MAX);
        let earliest_ms = self.clock.now_ms().saturating_add(rest_ms) - SETTLE_MS;
        let next_ms = next_step(at_ms, expression.step_ms);
        let due_ms = match next_ms < earliest_ms {
            true => next_step(earliest_ms, expression.step_ms),
            false => next_ms,
        };
        expression.due_ms.store(due_ms, Ordering::Relaxed);
    }
}

fn newest_step(now_ms: i64, step_ms: i64) -> i64 {
    now_ms.div_euclid(step_ms) * step_ms
}

fn next_step(now_ms: i64, step_ms: i64) -> i64 {
    newest_step(now_ms, step_ms) + step_ms
}

fn too_many(series: usize) -> EvalError {
    EvalError::Execution(format!(
        "the expression has {series} series; at most {SERIES_MAX} can be watched together"
    ))
}

/// A series of a result without points.
fn run_of(labels: &Labels) -> SampleRun {
    let name = labels.get(NAME);
    let others = || labels.iter().filter(|(label, _)| *label != NAME);
    let mut key = name.to_owned();
    write_labels(others(), &mut key);
    if key.is_empty() {
        key.push_str("{}");
    }
    SampleRun {
        key,
        name: name.to_owned(),
        labels: others()
            .map(|(label, value)| (label.to_string(), value.to_string()))
            .collect(),
        ..SampleRun::default()
    }
}

impl LiveExpression {
    /// Where a new viewer's cursor starts: behind every evaluation so far.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.feed.with_log(|log| log.next_offset())
    }

    /// The frame behind `offset` of the feed that `epoch` names, where it is still there.
    #[must_use]
    pub fn resume(&self, epoch: &str, offset: u64) -> Option<u64> {
        if epoch != self.epoch() {
            return None;
        }
        self.feed.with_log(|log| {
            let next = offset.checked_add(1)?;
            (log.first_offset()..=log.next_offset())
                .contains(&next)
                .then_some(next)
        })
    }

    /// Names this run of the feed.
    #[must_use]
    pub fn epoch(&self) -> String {
        self.feed.epoch().to_string()
    }

    /// A cursor for a viewer; `query` as it wrote it.
    #[must_use]
    pub fn cursor(
        &self,
        next: u64,
        query: &str,
        form: Encoding,
        viewer: u64,
    ) -> Subscription<ExpressionPayload> {
        let view = ExpressionView {
            query: query.into(),
            form,
        };
        Subscription::new(Arc::clone(&self.feed), next, view, viewer)
    }

    fn tell(&self, at_ms: i64, answer: Result<Answer, EvalError>) {
        let result = match answer {
            Ok(Answer::Scalar((_, value))) => vec![(Labels::default(), value)],
            Ok(Answer::Vector(series)) if series.len() > SERIES_MAX => {
                return self.append(Told::Error(too_many(series.len()).to_string()));
            }
            Ok(Answer::Vector(series)) => {
                let series = series.into_iter();
                series.map(|(labels, (_, value))| (labels, value)).collect()
            }
            // The type of what is watched is known before.
            Ok(Answer::Text(..) | Answer::Matrix(_)) => return,
            Err(error) => return self.append(Told::Error(error.to_string())),
        };
        let mut shown = BTreeMap::new();
        let mut runs = Vec::with_capacity(result.len());
        for (labels, value) in result {
            let mut run = run_of(&labels);
            run.points = vec![(at_ms, (!is_stale_marker(value)).then_some(value))];
            shown.insert(run.key.clone(), labels);
            runs.push(run);
        }
        let before = std::mem::replace(&mut *self.shown.lock(), shown.clone());
        for (_, labels) in before.iter().filter(|(key, _)| !shown.contains_key(*key)) {
            let mut run = run_of(labels);
            run.points = vec![(at_ms, None)];
            runs.push(run);
        }
        if !runs.is_empty() {
            self.append(Told::Runs(runs));
        }
    }

    fn tell_error(&self, refused: &AppError) {
        self.append(Told::Error(refused.detail().to_owned()));
    }

    fn append(&self, told: Told) {
        self.feed.append(ExpressionPayload {
            epoch: self.feed.epoch(),
            told,
        });
    }
}

/// What came of one evaluation.
#[derive(Debug)]
pub struct ExpressionPayload {
    epoch: Epoch,
    told: Told,
}

#[derive(Debug)]
enum Told {
    Runs(Vec<SampleRun>),
    Error(String),
}

/// How a viewer gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpressionView {
    /// The expression as this viewer wrote it.
    query: Arc<str>,
    form: Encoding,
}

impl Payload for ExpressionPayload {
    type View = ExpressionView;

    fn encode(&self, offset: u64, view: &ExpressionView) -> Bytes {
        let query = view.query.to_string();
        let (epoch, message) = (self.epoch.to_string(), &self.told);
        let message = match message {
            Told::Runs(runs) => ExpressionMessage::Samples {
                query,
                epoch,
                offset,
                series: runs.clone(),
            },
            Told::Error(text) => ExpressionMessage::Failed {
                query,
                epoch,
                offset,
                text: text.clone(),
            },
        };
        ws::message(view.form, &message)
    }

    fn held_bytes(&self) -> usize {
        match &self.told {
            Told::Runs(runs) => {
                let bytes = |run: &SampleRun| 3 * run.key.len() + size_of::<SampleRun>() + 32;
                runs.iter().map(bytes).sum()
            }
            Told::Error(text) => text.len(),
        }
    }

    /// Says which frames are left out; the viewer asks for the stretch again.
    fn merge(_held: &[Arc<Frame<Self>>], first: u64, last: u64, view: &ExpressionView) -> Bytes {
        let notice = serde_json::json!({
            "type": "merged",
            "query": &*view.query,
            "offset": last,
            "first_offset": first,
            "last_offset": last,
        });
        ws::message(view.form, &notice)
    }
}

impl fmt::Debug for LiveExpressions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveExpressions")
            .field("expressions", &self.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LiveExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "LiveExpression({} every {} ms)",
            self.key.1, self.step_ms
        )
    }
}

impl fmt::Debug for LiveExpressionGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveExpressionGuard({:?})", self.expression)
    }
}
