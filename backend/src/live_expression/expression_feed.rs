//! The feed of one expression: its series at each step, as frames for all who watch it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, atomic::AtomicI64},
};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_engine::Tenant;
use pulseboard_feed::{At, Feed, Frame, Payload, Spot, wire::ws};
use pulseboard_promql::{Answer, EvalError, Expr, Labels, labels::NAME};
use pulseboard_series::{is_stale_marker, key::write_labels};
use pulseboard_shared::protocol::watch::{ExpressionMessage, SampleRun};

use super::followed::Kept;
use crate::{
    base::error::AppError,
    expressions::Wants,
    shares::{CallerKeys, Share},
    watchable::{Viewers, WatchView, Watchable},
};

/// Series of one frame; a result of more is an error, as a chart of it would be.
pub const SERIES_MAX: usize = 1_000;

/// Whose, what and how often.
pub type ExpressionKey = (Box<str>, String, i64);

/// One expression that is watched.
pub struct LiveExpression {
    /// Names its cursors among those of a viewer.
    pub id: u64,
    /// Milliseconds between two evaluations, each at a multiple of it.
    pub step_ms: i64,
    pub(super) key: ExpressionKey,
    pub(super) expr: Expr,
    pub(super) tenant: Arc<Tenant>,
    /// Whose question an evaluation is.
    pub(super) keys: CallerKeys,
    pub(super) feed: Arc<Feed<ExpressionPayload>>,
    /// At which time it is evaluated next, Unix milliseconds.
    pub(super) due_ms: AtomicI64,
    pub(super) viewers: Viewers,
    /// Series of the newest frame: those that are gone in the next are told so. Leaf lock.
    pub(super) shown: Mutex<BTreeMap<String, Labels>>,
    /// What it read, for the next step.
    pub(super) kept: Kept,
    /// Of what it reads, where other servers have samples of it.
    pub(super) wants: Option<Wants>,
}

impl LiveExpression {
    /// Where a new viewer's cursor starts: behind every evaluation so far.
    #[must_use]
    pub fn end(&self) -> (Spot, At) {
        self.feed.end_at()
    }

    pub(super) fn tell(&self, at_ms: i64, answer: Result<Answer, EvalError>) {
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

    pub(super) fn tell_error(&self, refused: &AppError) {
        self.append(Told::Error(refused.detail().to_owned()));
    }

    fn append(&self, told: Told) {
        self.feed.append(ExpressionPayload(told));
    }
}

impl Watchable for LiveExpression {
    type Key = ExpressionKey;
    type Payload = ExpressionPayload;

    fn key(&self) -> &ExpressionKey {
        &self.key
    }

    fn viewers(&self) -> &Viewers {
        &self.viewers
    }

    fn feed(&self) -> &Arc<Feed<ExpressionPayload>> {
        &self.feed
    }

    /// It would be evaluated for nobody.
    fn stays(&self, _shares: &mut Vec<Share>) -> bool {
        false
    }

    fn close(&self) {}
}

pub(super) fn too_many(series: usize) -> EvalError {
    EvalError::Execution(format!(
        "the expression has {series} series; at most {SERIES_MAX} can be watched together"
    ))
}

/// A series of a result without points.
pub(super) fn run_of(labels: &Labels) -> SampleRun {
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

/// What came of one evaluation.
#[derive(Debug)]
pub struct ExpressionPayload(Told);

#[derive(Debug)]
enum Told {
    Runs(Vec<SampleRun>),
    Error(String),
}

impl Payload for ExpressionPayload {
    type View = WatchView;

    fn encode(&self, at: At, view: &WatchView) -> Bytes {
        let query = view.asked.to_string();
        let (epoch, offset) = (at.epoch.to_string(), at.offset);
        let message = match &self.0 {
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
        match &self.0 {
            Told::Runs(runs) => {
                let bytes = |run: &SampleRun| 3 * run.key.len() + size_of::<SampleRun>() + 32;
                runs.iter().map(bytes).sum()
            }
            Told::Error(text) => text.len(),
        }
    }

    fn merge(_held: &[Arc<Frame<Self>>], first: u64, last: u64, view: &WatchView) -> Bytes {
        view.merged("query", first, last)
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
