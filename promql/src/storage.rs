//! What an evaluation asks for: samples, and leave to go on.

use crate::{
    ast::Matcher,
    labels::{Labels, NAME},
};

/// One series' samples of a stretch of time, in the order of time, each time once.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Unix milliseconds.
    pub times: Vec<i64>,
    /// As many; stale markers among them.
    pub values: Vec<f64>,
    /// What the first so many of them stand for where they are rollups: as many as there are such,
    /// see [`Samples::push_rollup`].
    pub(crate) weights: Vec<f64>,
}

impl Samples {
    /// Of so many times and values.
    #[must_use]
    pub const fn of(times: Vec<i64>, values: Vec<f64>) -> Self {
        Self {
            times,
            values,
            weights: Vec::new(),
        }
    }

    /// Without any, for the next series.
    pub fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
        self.weights.clear();
    }

    /// Appends a sample.
    pub fn push(&mut self, at_ms: i64, value: f64) {
        self.times.push(at_ms);
        self.values.push(value);
    }

    /// How many of the first ones are rollups.
    pub(crate) fn rolled(&self) -> usize {
        self.weights.len()
    }
}

/// What is known of the samples of `start_ms <= time < start_ms + length_ms`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rollup {
    /// Unix milliseconds.
    pub start_ms: i64,
    /// At least 4.
    pub length_ms: i64,
    /// Samples, at least 1.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The earliest.
    pub first: f64,
    /// The latest.
    pub last: f64,
    /// The sum of those that the next one is less than.
    pub resets: f64,
}

/// A stretch of time, `from_ms <= time < until_ms`, of which there are rollups of one length and no
/// samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rolled {
    /// Unix milliseconds.
    pub from_ms: i64,
    /// Unix milliseconds.
    pub until_ms: i64,
    /// How long each rollup is.
    pub length_ms: i64,
}

/// What a question is going to do with a stretch, for storages that can answer from less than all
/// samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hints {
    /// Samples above this, in Unix milliseconds.
    pub after_ms: i64,
    /// Samples up to this.
    pub until_ms: i64,
    /// Between two times of the question, in milliseconds.
    pub step_ms: i64,
    /// How far back each looks, in milliseconds.
    pub range_ms: i64,
    /// The function over the range; empty where there is none.
    pub function: &'static str,
    /// An instant selector: whoever asks takes the newest sample at each step, and counts those.
    pub is_instant: bool,
    /// Series may come in any order: what is made of them is the same.
    pub is_unordered: bool,
}

/// What names a series that is handed on: its labels are made where somebody keeps them, since most
/// are looked at and let go.
pub trait Named {
    /// All its labels, the metric's name among them.
    ///
    /// # Errors
    /// There is no room for them.
    fn labels(&self) -> Result<Labels, EvalError>;

    /// Those that `keeps` names.
    ///
    /// # Errors
    /// As [`Named::labels`].
    fn only(&self, keeps: &dyn Fn(&str) -> bool) -> Result<Labels, EvalError> {
        Ok(self.labels()?.filtered(keeps))
    }

    /// The value of one; empty where it is not there.
    fn label(&self, name: &str) -> &str;

    /// Hands all of them to `each`, by name.
    fn each(&self, each: &mut dyn FnMut(&str, &str));
}

impl Named for Labels {
    fn labels(&self) -> Result<Labels, EvalError> {
        Ok(self.clone())
    }

    fn label(&self, name: &str) -> &str {
        self.get(name)
    }

    fn each(&self, each: &mut dyn FnMut(&str, &str)) {
        self.iter().for_each(|(name, value)| each(name, value));
    }
}

/// A series that has lost its metric's name.
pub(crate) struct Nameless<'a>(pub(crate) &'a dyn Named);

impl Named for Nameless<'_> {
    fn labels(&self) -> Result<Labels, EvalError> {
        self.only(&|_| true)
    }

    fn only(&self, keeps: &dyn Fn(&str) -> bool) -> Result<Labels, EvalError> {
        self.0.only(&|name| name != NAME && keeps(name))
    }

    fn label(&self, name: &str) -> &str {
        match name {
            NAME => "",
            name => self.0.label(name),
        }
    }

    fn each(&self, each: &mut dyn FnMut(&str, &str)) {
        self.0.each(&mut |name, value| {
            if name != NAME {
                each(name, value);
            }
        });
    }
}

/// Takes series, one after the other, with their samples of a stretch.
pub type Each<'a> = dyn FnMut(&dyn Named, &Samples) -> Result<(), EvalError> + 'a;

/// Where samples are.
pub trait Storage {
    /// Hands every series that all `matchers` take to `each`, with its samples of the stretch. A
    /// series without samples there may be left out.
    ///
    /// # Errors
    /// Those of `each`, of the storage, and of limits.
    fn select(
        &self,
        matchers: &[Matcher],
        hints: &Hints,
        each: &mut dyn FnMut(Labels, &Samples) -> Result<(), EvalError>,
    ) -> Result<(), EvalError>;

    /// As [`Storage::select`], for who needs the labels of a few of them: for storages that make
    /// those for that alone.
    ///
    /// # Errors
    /// As [`Storage::select`].
    fn select_named(
        &self,
        matchers: &[Matcher],
        hints: &Hints,
        each: &mut Each<'_>,
    ) -> Result<(), EvalError> {
        self.select(matchers, hints, &mut |labels, samples| {
            each(&labels, samples)
        })
    }

    /// Where, above `after_ms` and up to `until_ms`, there are rollups and no samples.
    ///
    /// # Errors
    /// Those of the storage.
    fn rolled(&self, after_ms: i64, until_ms: i64) -> Result<Vec<Rolled>, EvalError> {
        let _ = (after_ms, until_ms);
        Ok(Vec::new())
    }
}

/// Who says whether an evaluation may go on.
pub trait Guard {
    /// Asked after about so many samples or points were worked on.
    ///
    /// # Errors
    /// Its time is over, or its client has gone.
    fn spend(&self, work: u64) -> Result<(), EvalError>;

    /// So many samples were taken of those that an instant selector read.
    ///
    /// # Errors
    /// They are more than one question may load.
    fn take(&self, samples: u64) -> Result<(), EvalError> {
        let _ = samples;
        Ok(())
    }

    /// So many bytes more are held.
    ///
    /// # Errors
    /// There is no room.
    fn hold(&self, bytes: usize) -> Result<(), EvalError>;

    /// So many of them are held no more.
    fn let_go(&self, bytes: usize);
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// It took too long.
    #[error("query timed out in expression evaluation")]
    Timeout,
    /// Nobody waits for it.
    #[error("query was canceled in expression evaluation")]
    Canceled,
    /// It would load more than one question may.
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// There is no memory for what it holds.
    #[error("{0}")]
    NoMemory(String),
    /// It cannot be computed.
    #[error("{0}")]
    Execution(String),
    /// The samples cannot be read.
    #[error("{0}")]
    Storage(String),
}

/// Goes on for ever; for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unguarded;

impl Guard for Unguarded {
    fn spend(&self, _: u64) -> Result<(), EvalError> {
        Ok(())
    }

    fn hold(&self, _: usize) -> Result<(), EvalError> {
        Ok(())
    }

    fn let_go(&self, _: usize) {}
}
