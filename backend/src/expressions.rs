//! Expressions over a tenant's series: PromQL's storage and guard, made of the engine and of what a
//! question may cost.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use pulseboard_engine::{
    Cost, Engine, Selector, Spent, Tenant,
    query::{self, Counting, Order, QueryError},
};
use pulseboard_history::{Bucket, Tier};
use pulseboard_promql::{
    EvalError, Guard, Labels, Options, Rolled, Rollup, Samples, Storage, Texts,
    ast::{MatchOp, Matcher},
    labels::NAME,
    pattern::translated,
    storage::Hints,
};
use pulseboard_series::{KeyRef, key::write_quoted};

/// Samples of this many points are about as dear as looking at one series.
const WORK_A_STEP: u64 = 64;

/// One tenant's series for one question.
#[derive(Debug)]
pub struct TenantSeries<'a> {
    /// Where they are.
    pub engine: &'a Arc<Engine>,
    /// Whose they are.
    pub tenant: &'a Arc<Tenant>,
    /// What the question may cost.
    pub cost: &'a Cost,
    /// What series have in common.
    texts: RefCell<Texts>,
}

impl<'a> TenantSeries<'a> {
    /// For one question.
    #[must_use]
    pub fn new(engine: &'a Arc<Engine>, tenant: &'a Arc<Tenant>, cost: &'a Cost) -> Self {
        Self {
            engine,
            tenant,
            cost,
            texts: RefCell::default(),
        }
    }

    /// A series' labels; the memory of their texts is held until nobody has them.
    fn labels(&self, key: KeyRef<'_>) -> Result<Labels, EvalError> {
        let made = self.texts.borrow_mut().labels(key.name(), key.labels());
        if made.taken > made.freed {
            self.cost.hold(made.taken - made.freed).map_err(spent)?;
        } else if made.taken < made.freed {
            self.cost.let_go(made.freed - made.taken);
        }
        Ok(made.labels)
    }
}

/// What holds for every expression, whoever asks: one for all who evaluate.
#[derive(Clone, Debug)]
pub struct Evaluating {
    samples_max: u64,
    /// `evaluation_interval` of `PROMETHEUS_CONFIG`, or one minute, in milliseconds.
    subquery_step_ms: Arc<AtomicI64>,
}

impl Evaluating {
    /// As without a file.
    #[must_use]
    pub fn new(samples_max: usize) -> Self {
        Self {
            samples_max: samples_max as u64,
            subquery_step_ms: Arc::new(AtomicI64::new(Options::default().subquery_step_ms)),
        }
    }

    /// The step of subqueries that name none is so long from now on.
    pub fn set_subquery_step(&self, step_ms: i64) {
        self.subquery_step_ms.store(step_ms, Ordering::Relaxed);
    }

    /// For one evaluation.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            subquery_step_ms: self.subquery_step_ms.load(Ordering::Relaxed),
            samples_max: self.samples_max,
            ..Options::default()
        }
    }
}

/// A selector as the engine reads it.
///
/// # Errors
/// It is larger than the engine takes.
pub fn selector(matchers: &[Matcher]) -> Result<Selector, String> {
    let text = selector_text(matchers)?;
    Selector::parse_of_expression(&text).map_err(|error| error.to_string())
}

/// The same as text, which [`Selector::parse_of_expression`] reads.
///
/// # Errors
/// A pattern is larger than the engine takes.
pub fn selector_text(matchers: &[Matcher]) -> Result<String, String> {
    let mut text = String::from("{");
    let mut named = false;
    for matcher in matchers {
        if text.len() > 1 {
            text.push(',');
        }
        if &*matcher.name == NAME
            && matcher.op == MatchOp::Equal
            && !matcher.value.is_empty()
            && !named
        {
            // By its name alone series are found at once.
            named = true;
            write_quoted(&matcher.value, &mut text);
            continue;
        }
        write_quoted(&matcher.name, &mut text);
        text.push_str(matcher.op.text());
        match matcher.op {
            MatchOp::Equal | MatchOp::NotEqual => write_quoted(&matcher.value, &mut text),
            MatchOp::Regex | MatchOp::NotRegex => {
                write_quoted(&translated(&matcher.value)?, &mut text);
            }
        }
    }
    text.push('}');
    Ok(text)
}

/// A series' labels, its name among them.
#[must_use]
pub fn labels_of(key: KeyRef<'_>) -> Labels {
    let name = (!key.name().is_empty()).then(|| (Arc::from(NAME), Arc::from(key.name())));
    let others = key
        .labels()
        .map(|(name, value)| (Arc::from(name), Arc::from(value)));
    name.into_iter().chain(others).collect()
}

/// What went wrong while a question was read, in PromQL's terms.
#[must_use]
pub fn read_error(error: QueryError) -> EvalError {
    match error {
        QueryError::Deadline => EvalError::Timeout,
        QueryError::Cancelled => EvalError::Canceled,
        QueryError::Samples { .. } => EvalError::TooManySamples,
        QueryError::Memory => EvalError::NoMemory(error.to_string()),
        QueryError::History(cause) => {
            tracing::error!(error = %cause, "a question could not be answered");
            EvalError::Storage("the history cannot be read".to_owned())
        }
        error => EvalError::Execution(error.to_string()),
    }
}

/// Of an instant selector's samples those that are taken at a step count, see [`Guard::take`].
pub(crate) fn counting(hints: &Hints) -> Counting {
    match hints.is_instant {
        true => Counting::Taken,
        false => Counting::Read,
    }
}

/// Whoever asks says whether the order is seen.
fn order(hints: &Hints) -> Order {
    match hints.is_unordered {
        true => Order::Any,
        false => Order::Key,
    }
}

fn spent(spent: Spent) -> EvalError {
    read_error(spent.into())
}

fn rollup(tier: Tier, bucket: &Bucket) -> Rollup {
    Rollup {
        start_ms: bucket.start_ms,
        length_ms: tier.bucket_ms(),
        count: bucket.count,
        sum: bucket.sum,
        min: bucket.min,
        max: bucket.max,
        first: bucket.first,
        last: bucket.last,
        resets: bucket.resets,
    }
}

/// What reading is ended by: its own errors, and those of whoever takes the series.
pub(crate) struct ReadError(pub(crate) EvalError);

impl From<QueryError> for ReadError {
    fn from(error: QueryError) -> Self {
        Self(read_error(error))
    }
}

impl Storage for TenantSeries<'_> {
    fn select(
        &self,
        matchers: &[Matcher],
        hints: &Hints,
        each: &mut dyn FnMut(Labels, &Samples) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        let selector = selector(matchers).map_err(EvalError::Execution)?;
        let stretch = (
            hints.after_ms.saturating_add(1),
            hints.until_ms.saturating_add(1),
        );
        let mut part = Samples::default();
        query::finest(
            self.engine,
            self.tenant,
            &selector,
            stretch,
            (self.cost, counting(hints), order(hints)),
            &mut |key, buckets, samples| {
                part.clear();
                for (tier, bucket) in buckets {
                    part.push_rollup(hints.function, &rollup(*tier, bucket));
                }
                part.times.extend(samples.iter().map(|(at_ms, _)| *at_ms));
                part.values.extend(samples.iter().map(|(_, value)| *value));
                let labels = self.labels(key).map_err(ReadError)?;
                each(labels, &part).map_err(ReadError)
            },
        )
        .map_err(|ReadError(error)| error)
    }

    fn rolled(&self, after_ms: i64, until_ms: i64) -> Result<Vec<Rolled>, EvalError> {
        let stretch = (after_ms.saturating_add(1), until_ms.saturating_add(1));
        let rolled = query::rolled(self.engine, self.tenant, stretch).map_err(read_error)?;
        Ok(rolled
            .into_iter()
            .map(|(stretch, tier)| Rolled {
                from_ms: stretch.start,
                until_ms: stretch.end,
                length_ms: tier.bucket_ms(),
            })
            .collect())
    }
}

impl Guard for TenantSeries<'_> {
    fn spend(&self, work: u64) -> Result<(), EvalError> {
        let steps = u32::try_from(work / WORK_A_STEP).unwrap_or(u32::MAX);
        self.cost.step(steps).map_err(spent)
    }

    fn take(&self, samples: u64) -> Result<(), EvalError> {
        let samples = usize::try_from(samples).unwrap_or(usize::MAX);
        match self.cost.take_samples(samples) {
            true => Ok(()),
            false => Err(EvalError::TooManySamples),
        }
    }

    fn hold(&self, bytes: usize) -> Result<(), EvalError> {
        self.cost.hold(bytes).map_err(spent)
    }

    fn let_go(&self, bytes: usize) {
        self.cost.let_go(bytes);
    }
}
