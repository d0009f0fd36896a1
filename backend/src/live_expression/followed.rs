//! What a live expression reads, kept from one step to the next: each sample is read once, as it is
//! appended, and series are looked for once.
//!
//! ```text
//! first step    a selector is read as any question reads it
//! second step   it is tapped, then read: from now on what is appended is gathered
//! later         what was gathered goes behind what is kept; what is too old goes
//! ```
//!
//! It is a way to the same samples, never to others. Whatever cannot be followed is read whole at
//! each step: a selector of more series than a tap has, one that looks back further than an hour or
//! at a fixed time (`@`), whatever there is no memory for, and all of a tenant that brings samples
//! from before its windows. Where a series appears its selector is read anew, since the
//! series may have a past in the history; and where one goes.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use pulseboard_engine::{Engine, SeriesTap, Tenant, query};
use pulseboard_promql::{
    EvalError, Guard, Labels, Rolled, Samples, Storage, ast::Matcher, storage::Hints,
};

use crate::expressions::{ReadError, TenantSeries, counting, labels_of, selector};

/// Further back than this nothing is kept, in milliseconds.
const BACK_MAX_MS: i64 = 3_600_000;

/// At longer steps more would wait to be taken than a question reads.
const STEP_MAX_MS: i64 = 10_000;

/// Selectors of one expression; further ones are read whole.
const SELECTORS_MAX: usize = 32;

/// Bytes of one selector.
const SELECTOR_BYTES_MAX: usize = 4 << 20;

/// Bytes of all selectors of all expressions.
const BYTES_MAX: usize = 64 << 20;

/// A selector that cannot be followed is tried again after so many steps.
const TRIED_AGAIN_AFTER: u32 = 300;

/// A sample that waits in a tap.
const GATHERED_BYTES: usize = 24;

/// Bytes that all expressions keep now.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger(Arc<AtomicUsize>);

impl Ledger {
    /// Bytes kept now.
    #[must_use]
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A part of the ledger; what it holds is given back when it goes.
#[derive(Debug)]
struct Part {
    ledger: Ledger,
    bytes: usize,
}

impl Part {
    /// Becomes `bytes` large. Whether there is room for that; it has none else.
    fn becomes(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes {
            let more = bytes - self.bytes;
            let before = self.ledger.0.fetch_add(more, Ordering::Relaxed);
            self.bytes = bytes;
            return bytes <= SELECTOR_BYTES_MAX && before + more <= BYTES_MAX;
        }
        self.ledger
            .0
            .fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        self.bytes = bytes;
        true
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.ledger.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What an expression keeps between its steps.
#[derive(Debug)]
pub(super) struct Kept {
    ledger: Ledger,
    /// Leaf lock; what is being read is taken out of it.
    selectors: Mutex<Vec<Place>>,
}

/// A selector's place in an expression.
#[derive(Debug)]
struct Place {
    matchers: Vec<Matcher>,
    /// From the time of an evaluation to the time after which, and up to which, samples are read.
    /// The same selector over another stretch has another place.
    after_ms: i64,
    until_ms: i64,
    state: State,
    was_read: bool,
}

#[derive(Debug)]
enum State {
    /// It was read whole: of how many series how many samples. One that is never read again, as
    /// those of fixed times are, costs nothing more.
    Seen {
        series: usize,
        samples: usize,
    },
    /// It cannot be followed; so many steps are left until it is tried again.
    Whole(u32),
    Followed(Followed),
    /// It is being read.
    Busy,
}

impl Kept {
    /// Nothing yet.
    #[must_use]
    pub(super) fn new(ledger: &Ledger) -> Self {
        Self {
            ledger: ledger.clone(),
            selectors: Mutex::default(),
        }
    }

    /// What was not read since the last time goes.
    pub(super) fn end_step(&self) {
        let mut selectors = self.selectors.lock();
        // Whatever is still being read broke off.
        selectors.retain_mut(|place| {
            mem::take(&mut place.was_read) && !matches!(place.state, State::Busy)
        });
    }

    fn take(&self, matchers: &[Matcher], (after_ms, until_ms): (i64, i64)) -> Option<State> {
        let mut selectors = self.selectors.lock();
        let known = selectors.iter_mut().find(|place| {
            (place.after_ms, place.until_ms) == (after_ms, until_ms) && place.matchers == matchers
        });
        if let Some(place) = known {
            place.was_read = true;
            return Some(mem::replace(&mut place.state, State::Busy));
        }
        if selectors.len() < SELECTORS_MAX {
            selectors.push(Place {
                matchers: matchers.to_vec(),
                after_ms,
                until_ms,
                state: State::Busy,
                was_read: true,
            });
        }
        None
    }

    fn put(&self, matchers: &[Matcher], (after_ms, until_ms): (i64, i64), state: State) {
        let mut selectors = self.selectors.lock();
        let known = selectors.iter_mut().find(|place| {
            (place.after_ms, place.until_ms) == (after_ms, until_ms) && place.matchers == matchers
        });
        if let Some(place) = known {
            place.state = state;
        }
    }
}

/// An expression's series at one of its steps.
pub(super) struct KeptSeries<'a> {
    /// Read where nothing is kept.
    pub(super) whole: &'a TenantSeries<'a>,
    /// What is kept.
    pub(super) kept: &'a Kept,
    /// The time that is evaluated, Unix milliseconds.
    pub(super) at_ms: i64,
    /// Until the next, in milliseconds.
    pub(super) step_ms: i64,
}

impl KeptSeries<'_> {
    fn can_follow(&self, hints: &Hints) -> bool {
        self.step_ms <= STEP_MAX_MS
            && hints.until_ms.saturating_sub(hints.after_ms) <= BACK_MAX_MS
            && self.at_ms.saturating_sub(hints.after_ms) <= BACK_MAX_MS
            && !self.whole.tenant.brings_late(self.at_ms)
    }

    /// Reads whole, and counts.
    fn read(
        &self,
        matchers: &[Matcher],
        hints: &Hints,
        each: &mut dyn FnMut(Labels, &Samples) -> Result<(), EvalError>,
    ) -> Result<State, EvalError> {
        let (mut series, mut count) = (0, 0);
        self.whole.select(matchers, hints, &mut |labels, samples| {
            series += 1;
            count += samples.times.len();
            each(labels, samples)
        })?;
        Ok(State::Seen {
            series,
            samples: count,
        })
    }
}

impl Storage for KeptSeries<'_> {
    fn select(
        &self,
        matchers: &[Matcher],
        hints: &Hints,
        each: &mut dyn FnMut(Labels, &Samples) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        if !self.can_follow(hints) {
            return self.whole.select(matchers, hints, each);
        }
        let stretch = (
            hints.after_ms.saturating_sub(self.at_ms),
            hints.until_ms.saturating_sub(self.at_ms),
        );
        let state = match self.kept.take(matchers, stretch) {
            None => self.read(matchers, hints, each)?,
            Some(State::Whole(left)) => {
                self.whole.select(matchers, hints, each)?;
                match left.checked_sub(1) {
                    Some(left) => State::Whole(left),
                    None => State::Seen {
                        series: 0,
                        samples: 0,
                    },
                }
            }
            Some(State::Busy) => return self.whole.select(matchers, hints, each),
            Some(State::Seen { series, samples }) => {
                let gathered_max = gathered_max(series, samples, self.step_ms, hints);
                match Followed::begin(self, matchers, hints, gathered_max)? {
                    Some(followed) => {
                        followed.hand_on(self, hints, each)?;
                        State::Followed(followed)
                    }
                    None => {
                        self.whole.select(matchers, hints, each)?;
                        State::Whole(TRIED_AGAIN_AFTER)
                    }
                }
            }
            Some(State::Followed(mut followed)) => match followed.catch_up(self, hints)? {
                CaughtUp::Yes => {
                    followed.hand_on(self, hints, each)?;
                    State::Followed(followed)
                }
                CaughtUp::TooLarge => {
                    drop(followed);
                    self.whole.select(matchers, hints, each)?;
                    State::Whole(TRIED_AGAIN_AFTER)
                }
                CaughtUp::ReadAnew => {
                    drop(followed);
                    self.read(matchers, hints, each)?
                }
            },
        };
        self.kept.put(matchers, stretch, state);
        Ok(())
    }

    fn rolled(&self, after_ms: i64, until_ms: i64) -> Result<Vec<Rolled>, EvalError> {
        self.whole.rolled(after_ms, until_ms)
    }
}

/// Samples that may come until the next step, four times as many as came in one before.
fn gathered_max(series: usize, samples: usize, step_ms: i64, hints: &Hints) -> usize {
    let steps = (hints.until_ms.saturating_sub(hints.after_ms) / step_ms.max(1)).max(1);
    let a_step = samples / usize::try_from(steps).unwrap_or(1);
    (a_step + series).saturating_mul(4).saturating_add(256)
}

/// A selector's series, with their samples of a stretch that goes on.
struct Followed {
    engine: Arc<Engine>,
    tenant: Arc<Tenant>,
    tap: Arc<SeriesTap>,
    gathered_max: usize,
    /// In the order in which they are read from the engine.
    series: Vec<Series>,
    by_key: HashMap<Box<[u8]>, usize, foldhash::fast::RandomState>,
    part: Part,
}

struct Series {
    labels: Labels,
    samples: Samples,
    bytes: usize,
}

/// Whether what is kept is what there is.
enum CaughtUp {
    Yes,
    /// A series came or went, or samples were not gathered, or some were deleted.
    ReadAnew,
    TooLarge,
}

impl Followed {
    /// Taps a selector and reads it; `None` where it cannot be followed.
    fn begin(
        all: &KeptSeries<'_>,
        matchers: &[Matcher],
        hints: &Hints,
        gathered_max: usize,
    ) -> Result<Option<Self>, EvalError> {
        let selector = selector(matchers).map_err(EvalError::Execution)?;
        // Each step looks for itself, so nobody is to be woken.
        let tap = SeriesTap::bounded(selector, Box::new(|| {}), gathered_max);
        let tap = Arc::new(tap);
        if all
            .whole
            .engine
            .tap(all.whole.tenant, &tap, all.whole.cost)
            .is_err()
        {
            // Too many series; or it cost too much, which reading it whole will say.
            return Ok(None);
        }
        // From here on it is untapped when this goes.
        let mut followed = Self {
            engine: Arc::clone(all.whole.engine),
            tenant: Arc::clone(all.whole.tenant),
            tap,
            gathered_max,
            series: Vec::new(),
            by_key: HashMap::default(),
            part: Part {
                ledger: all.kept.ledger.clone(),
                bytes: 0,
            },
        };
        let mut bytes = gathered_max.saturating_mul(GATHERED_BYTES);
        let mut has_room = followed.part.becomes(bytes);
        // Those that are ahead of the clock are not asked for yet, and will be.
        let stretch = (hints.after_ms.saturating_add(1), i64::MAX);
        let (series, by_key) = (&mut followed.series, &mut followed.by_key);
        let part = &mut followed.part;
        query::raw(
            all.whole.engine,
            all.whole.tenant,
            &followed.tap.selector,
            stretch,
            (all.whole.cost, counting(hints)),
            &mut |key, samples| {
                if !has_room {
                    return Ok::<(), ReadError>(());
                }
                let mut one = Series {
                    labels: labels_of(key),
                    samples: Samples::default(),
                    bytes: 0,
                };
                one.samples
                    .times
                    .extend(samples.iter().map(|(at_ms, _)| *at_ms));
                one.samples
                    .values
                    .extend(samples.iter().map(|(_, value)| *value));
                let key: Box<[u8]> = key.as_bytes().into();
                one.bytes = one.labels.whole_bytes() + 2 * key.len();
                bytes += one.held_bytes();
                has_room = part.becomes(bytes);
                by_key.insert(key, series.len());
                series.push(one);
                Ok(())
            },
        )
        .map_err(|ReadError(error)| error)?;
        Ok(has_room.then_some(followed))
    }

    /// Takes in what was appended since the last step.
    fn catch_up(&mut self, all: &KeptSeries<'_>, hints: &Hints) -> Result<CaughtUp, EvalError> {
        if self.tap.has_newcomers() {
            let attached = self
                .engine
                .attach_newcomers(&self.tenant, &self.tap, all.whole.cost);
            if attached.is_err() {
                return Ok(CaughtUp::ReadAnew);
            }
        }
        let gain = self.tap.take();
        if gain.missed + gain.unseated + gain.gone + gain.forgotten > 0 {
            return Ok(CaughtUp::ReadAnew);
        }
        all.whole.spend(gain.samples.len() as u64)?;
        for (name, (at_ms, value)) in gain.samples {
            let known = self.by_key.get(&*name.key);
            let Some(series) = known.and_then(|at| self.series.get_mut(*at)) else {
                return Ok(CaughtUp::ReadAnew);
            };
            series.take(at_ms, value);
        }
        let mut bytes = self.gathered_max.saturating_mul(GATHERED_BYTES);
        for series in &mut self.series {
            series.forget(hints.after_ms);
            bytes += series.held_bytes();
        }
        Ok(match self.part.becomes(bytes) {
            true => CaughtUp::Yes,
            false => CaughtUp::TooLarge,
        })
    }

    fn hand_on(
        &self,
        all: &KeptSeries<'_>,
        hints: &Hints,
        each: &mut dyn FnMut(Labels, &Samples) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        let mut part = Samples::default();
        for series in &self.series {
            all.whole.spend(1)?;
            let times = &series.samples.times;
            let from = times.partition_point(|at_ms| *at_ms <= hints.after_ms);
            let to = times.partition_point(|at_ms| *at_ms <= hints.until_ms);
            if from >= to {
                continue;
            }
            if (from, to) == (0, times.len()) {
                each(series.labels.clone(), &series.samples)?;
                continue;
            }
            part.times.clear();
            part.values.clear();
            part.times.extend_from_slice(&times[from..to]);
            part.values
                .extend_from_slice(&series.samples.values[from..to]);
            each(series.labels.clone(), &part)?;
        }
        Ok(())
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.engine.untap(&self.tenant, &self.tap);
    }
}

impl Series {
    /// As the engine keeps it: sorted, of two values for one time the one that came later.
    fn take(&mut self, at_ms: i64, value: f64) {
        let Samples { times, values, .. } = &mut self.samples;
        if times.last().is_none_or(|newest_ms| *newest_ms < at_ms) {
            times.push(at_ms);
            values.push(value);
            return;
        }
        match times.binary_search(&at_ms) {
            Ok(at) => values[at] = value,
            Err(at) => {
                times.insert(at, at_ms);
                values.insert(at, value);
            }
        }
    }

    fn forget(&mut self, until_ms: i64) {
        let count = self
            .samples
            .times
            .partition_point(|at_ms| *at_ms <= until_ms);
        self.samples.times.drain(..count);
        self.samples.values.drain(..count);
    }

    fn held_bytes(&self) -> usize {
        let samples = self.samples.times.capacity() + self.samples.values.capacity();
        self.bytes + samples * size_of::<f64>() + size_of::<Self>()
    }
}

impl std::fmt::Debug for Followed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Followed({}, {} series)",
            self.tap.selector,
            self.series.len()
        )
    }
}

impl std::fmt::Debug for KeptSeries<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeptSeries(at {})", self.at_ms)
    }
}

#[cfg(test)]
mod tests;
