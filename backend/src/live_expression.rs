//! Live expressions: PromQL that somebody watches, evaluated once a step for all who watch the
//! same.
//!
//! ```text
//! clock ──step──▶ a turn, as every question has ──▶ instant(expr, t) ──▶ feed ──▶ cursors of all
//! ```
//!
//! An evaluation is a question of whoever asked first: it has a turn, a time, a number of samples
//! and memory as that caller's other questions have. One that takes longer than a fifth of its step
//! is evaluated less often, so that no expression takes more than a fifth of a core. Two are
//! evaluated at once.

pub mod expression_feed;
mod followed;

use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;
use pulseboard_engine::{Engine, Tenant};
use pulseboard_feed::{Bounds, Epoch, Fanout, Feed};
use pulseboard_promql::{EvalError, Expr, Labels, ast::ValueType, instant, parse, range};
use pulseboard_shared::protocol::series::RangeSeries;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use self::{
    expression_feed::{LiveExpression, SERIES_MAX, run_of, too_many},
    followed::{Kept, KeptSeries, Ledger},
};
use crate::{
    archive::Archive,
    base::clock::Clock,
    elsewhere::Elsewhere,
    expressions::{Evaluating, TenantSeries, Wants},
    questions::{Questions, Working},
    shares::{CallerKeys, Share},
    watchable::{AllWatched, Place, Viewers},
};

/// The shortest step.
pub const STEP_MIN_MS: i64 = 100;

/// The longest.
pub const STEP_MAX_MS: i64 = 3_600_000;

/// Samples of a moment come a little after it: an expression waits so long for them.
const SETTLE_MS: i64 = 30;

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

/// Where samples of other servers are.
#[derive(Clone, Debug)]
pub struct Others {
    /// It has all, a while later.
    pub archive: Arc<Archive>,
    /// What has just come.
    pub elsewhere: Arc<Elsewhere>,
}

/// All expressions that somebody watches.
pub struct LiveExpressions {
    engine: Arc<Engine>,
    clock: Clock,
    fanout: Fanout,
    questions: Arc<Questions>,
    evaluating: Evaluating,
    /// Where this server has only a part of the samples.
    others: Option<Others>,
    known: Arc<AllWatched<LiveExpression>>,
    next_id: AtomicU64,
    /// What all keep between their steps.
    ledger: Ledger,
    /// Somebody watches a new one.
    more: Notify,
}

/// An expression that can be watched.
///
/// # Errors
/// Where it cannot be read, with line and column; or its result is no scalar and no instant vector.
pub fn read(text: &str) -> Result<Expr, String> {
    let expr = parse(text).map_err(|error| format!("\"query\" cannot be read: {error}"))?;
    match expr.value_type() {
        ValueType::Scalar | ValueType::Vector => Ok(expr),
        _ => Err("\"query\" must be a scalar or an instant vector".to_owned()),
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
        evaluating: Evaluating,
    ) -> Self {
        Self {
            known: AllWatched::new(clock.clone()),
            engine,
            clock,
            fanout: fanout.clone(),
            questions,
            evaluating,
            others: None,
            // Rooms count from one and selectors from 2^32; all share a viewer.
            next_id: AtomicU64::new(1 << 48),
            ledger: Ledger::default(),
            more: Notify::new(),
        }
    }

    /// Expressions are of what came in at other servers, too.
    #[must_use]
    pub fn with(mut self, others: Option<Others>) -> Self {
        self.others = others;
        self
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
    ) -> Place<LiveExpression> {
        let step_ms = step_ms.clamp(STEP_MIN_MS, STEP_MAX_MS);
        let key = (tenant.name.clone(), expr.to_string(), step_ms);
        let others = self.others.as_ref();
        let make = |key| {
            let now_ms = self.clock.now_ms();
            Ok::<_, Infallible>(Arc::new(LiveExpression {
                id: self.next_id.fetch_add(1, Ordering::Relaxed),
                step_ms,
                key,
                expr,
                tenant: Arc::clone(tenant),
                keys: CallerKeys {
                    client: None,
                    ..keys.clone()
                },
                feed: Feed::of_tenant(&tenant.name, Epoch::at(now_ms), LOG, &self.fanout),
                due_ms: AtomicI64::new(next_step(now_ms, step_ms)),
                viewers: Viewers::new(self.clock.steady_ms()),
                shown: Mutex::default(),
                kept: Kept::new(&self.ledger),
                wants: others.map(|others| Wants::new(&others.elsewhere)),
            }))
        };
        let Ok(place) = self.known.enter(key, vec![share], make);
        self.more.notify_one();
        place
    }

    /// Expressions watched now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Bytes that they keep between their steps.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.ledger.bytes()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
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
        let mut series = self.series(expression, working);
        let end_ms = self.clock.now_ms().div_euclid(step_ms) * step_ms;
        let times = (end_ms - back_ms, end_ms, step_ms);
        let options = self.evaluating.options();
        let (matrix, _) = loop {
            match range(&expression.expr, times, &series, &series, options) {
                Ok(answer) => break answer,
                Err(_) if series.does_without_archive() => {}
                Err(error) => return Err(error),
            }
        };
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

    fn series<'a>(
        &'a self,
        expression: &'a LiveExpression,
        working: &'a Working,
    ) -> TenantSeries<'a> {
        let archive = self.others.as_ref().map(|others| &others.archive);
        TenantSeries::new(&self.engine, &expression.tenant, &working.cost)
            .with_others(archive)
            .wanting(expression.wants.as_ref())
    }

    /// Evaluates what is due, until `stopping`.
    pub async fn run(self: Arc<Self>, stopping: CancellationToken) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let now_ms = self.clock.now_ms();
            let next_ms = self.known.with_all(|known| {
                let dues = known.map(|one| one.due_ms.load(Ordering::Relaxed));
                // The greatest number is one that is being evaluated.
                dues.filter(|due_ms| *due_ms < i64::MAX).min()
            });
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
                let now_ms = self.clock.now_ms() - SETTLE_MS;
                let is_due =
                    |one: &&Arc<LiveExpression>| one.due_ms.load(Ordering::Relaxed) <= now_ms;
                self.known
                    .with_all(|known| known.filter(is_due).map(Arc::clone).collect())
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
                    kept: &one.kept,
                    at_ms,
                    step_ms: one.step_ms,
                };
                let options = all.evaluating.options();
                let answer = match all.others {
                    None => instant(&one.expr, at_ms, &kept, &series, options),
                    // What is kept follows what comes in here alone.
                    Some(_) => instant(&one.expr, at_ms, &series, &series, options),
                };
                let answer = answer.map(|(answer, _)| answer);
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

impl fmt::Debug for LiveExpressions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveExpressions")
            .field("expressions", &self.len())
            .finish_non_exhaustive()
    }
}
