//! Expressions over a tenant's series: PromQL's storage and guard, made of the engine and of what a
//! question may cost; and of the archive, where somebody asks for what the engine has no samples
//! of.

mod older;

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::{BuildHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use pulseboard_engine::{
    Cost, Engine, Selector, Spent, Tenant,
    query::{self, Counting, KeptRoom, KeptSelector, Order, QueryError, Reading, Selected, Wanted},
};
use pulseboard_history::{Bucket, Tier};
use pulseboard_promql::{
    EvalError, Guard, Labels, Named, Options, Rolled, Rollup, Samples, Storage, Texts,
    ast::{MatchOp, Matcher},
    labels::NAME,
    pattern::translated,
    storage::{Each, Hints},
};
use pulseboard_series::{KeyRef, key::write_quoted};

use self::older::{Older, joined};
use crate::{
    archive::{Archive, Found, Without},
    elsewhere::{Elsewhere, Want},
};

/// Samples of this many points are about as dear as looking at one series.
const WORK_A_STEP: u64 = 64;

/// What a matcher takes beside its texts.
const MATCHER_BYTES: usize = 96;

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
    /// Of who asks the same again and again.
    known: Option<&'a KnownSelectors>,
    older: Option<Older<'a>>,
    /// Of who asks the same again and again, where other servers have samples, too.
    wants: Option<&'a Wants>,
    /// What is to be said of the answer besides.
    warnings: RefCell<Vec<String>>,
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
            known: None,
            older: None,
            wants: None,
            warnings: RefCell::default(),
        }
    }

    /// As one of many questions that ask the same again and again.
    #[must_use]
    pub fn knowing(self, known: &'a KnownSelectors) -> Self {
        Self {
            known: Some(known),
            ..self
        }
    }

    /// With what the archive has of the time before the engine's samples, where it can be read.
    #[must_use]
    pub fn with_archive(mut self, archive: Option<&'a Arc<Archive>>) -> Self {
        self.older = archive
            .filter(|archive| archive.is_read())
            .map(|archive| Older {
                archive,
                before_ms: archive.floor_ms(self.engine, self.tenant),
                held: self.cost.held_bytes(),
                missing: RefCell::default(),
            });
        self
    }

    /// With what came in at other servers, where this one has only a part; else what came in here
    /// is all that is wanted.
    #[must_use]
    pub fn with_others(self, archive: Option<&'a Arc<Archive>>) -> Self {
        self.with_archive(archive.filter(|archive| archive.has_what_others_have()))
    }

    /// As one that asks the same again and again, and is to have what comes in elsewhere at once.
    #[must_use]
    pub fn wanting(self, wants: Option<&'a Wants>) -> Self {
        Self { wants, ..self }
    }

    /// Whether an evaluation failed for the archive: the next one does without, and says so.
    pub fn does_without_archive(&mut self) -> bool {
        let why = self.older.as_ref().and_then(|older| older.missing.take());
        let Some((why, older)) = why.zip(self.older.take()) else {
            return false;
        };
        // What was read is read again, and what was made is nobody's.
        self.cost.forget_samples();
        let held = self.cost.held_bytes();
        self.cost.let_go(held.saturating_sub(older.held));
        self.texts.take();
        let rest = match older.archive.has_what_others_have() {
            true => "there is only what came in at this server".to_owned(),
            false => {
                let before = pulseboard_shared::Timestamp::from_millis(older.before_ms);
                format!("before {before} there is only what the own history has")
            }
        };
        // What else was said is of an answer that is not given.
        self.warnings
            .replace(vec![format!("partial: {why}; {rest}")]);
        true
    }

    /// What is to be said of the answer besides what the evaluation says.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.borrow().clone()
    }

    /// As [`Storage::select_named`], of a stretch whose beginning the engine has not.
    fn select_both(
        &self,
        older: &Older<'_>,
        matchers: &[Matcher],
        hints: &Hints,
        each: &mut Each<'_>,
    ) -> Result<(), EvalError> {
        let selector = selector(matchers).map_err(EvalError::Execution)?;
        let from_ms = hints.after_ms.saturating_add(1).max(0);
        let to_ms = hints.until_ms.saturating_add(1);
        let counting = counting(hints);
        if let Some(wants) = self.wants {
            wants.add(&self.tenant.name, &selector);
        }
        let asked = older.archive.samples(
            &self.tenant.name,
            matchers,
            (from_ms, to_ms.min(older.before_ms)),
            self.cost,
            counting == Counting::Read,
        );
        let (mut found, mut bytes) = asked.map_err(|without| match without {
            Without::Spent(why) => spent(why),
            Without::Missing(why) => {
                let error = EvalError::Storage(why.clone());
                older.missing.replace(Some(why));
                error
            }
        })?;
        bytes += self.read_guests(older, &selector, (from_ms, to_ms), hints, &mut found)?;
        if let Some(what) = older.archive.may_lack(hints.until_ms) {
            let mut warnings = self.warnings.borrow_mut();
            if !warnings.contains(&what) {
                warnings.push(what);
            }
        }
        let read = self.read_both(&selector, (from_ms, to_ms), hints, &mut found, each);
        let handed = read.and_then(|()| {
            let mut part = Samples::default();
            for (labels, samples) in std::mem::take(&mut found) {
                part.clear();
                put(&mut part, &samples);
                each(&labels, &part)?;
            }
            Ok(())
        });
        self.cost.let_go(bytes);
        handed
    }

    /// Puts what has just come in at other servers to what the archive has; the bytes that are held
    /// for it.
    fn read_guests(
        &self,
        older: &Older<'_>,
        selector: &Selector,
        stretch: (i64, i64),
        hints: &Hints,
        found: &mut Found,
    ) -> Result<usize, EvalError> {
        let Some((engine, tenant)) = older.archive.guests_of(&self.tenant.name) else {
            return Ok(0);
        };
        let mut bytes = 0;
        query::raw(
            engine,
            &tenant,
            selector,
            stretch,
            (self.cost, counting(hints)),
            &mut |key, samples| {
                let labels = self.labels(key, |_| true).map_err(ReadError)?;
                let more = size_of_val(samples);
                self.cost.hold(more).map_err(|why| ReadError(spent(why)))?;
                bytes += more;
                let known = found.entry(labels).or_default();
                *known = joined(known, samples);
                Ok(())
            },
        )
        .map_err(|ReadError(error)| error)?;
        Ok(bytes)
    }

    /// Hands on what the engine has, each series with what was found of it elsewhere.
    fn read_both(
        &self,
        selector: &Selector,
        stretch: (i64, i64),
        hints: &Hints,
        found: &mut Found,
        each: &mut Each<'_>,
    ) -> Result<(), EvalError> {
        let mut part = Samples::default();
        query::raw(
            self.engine,
            self.tenant,
            selector,
            stretch,
            (self.cost, counting(hints)),
            &mut |key, samples| {
                let labels = self.labels(key, |_| true).map_err(ReadError)?;
                part.clear();
                match found.remove(&labels) {
                    // Nothing is there twice: what came late is in both.
                    Some(older) => put(&mut part, &joined(&older, samples)),
                    None => put(&mut part, samples),
                }
                each(&labels, &part).map_err(ReadError)
            },
        )
        .map_err(|ReadError(error)| error)
    }

    /// Those of a series' labels that `keeps` names; the memory of their texts is held until nobody
    /// has them.
    fn labels(&self, key: KeyRef<'_>, keeps: impl Fn(&str) -> bool) -> Result<Labels, EvalError> {
        let metric = Some(key.name()).filter(|_| keeps(NAME)).unwrap_or_default();
        let kept = key.labels().filter(|(name, _)| keeps(name));
        let made = self.texts.borrow_mut().labels(metric, kept);
        if made.taken > made.freed {
            self.cost.hold(made.taken - made.freed).map_err(spent)?;
        } else if made.taken < made.freed {
            self.cost.let_go(made.freed - made.taken);
        }
        Ok(made.labels)
    }
}

/// Selectors of which somebody who asks again and again wants what comes in elsewhere; further ones
/// are read from the archive.
const WANTS_MAX: usize = 32;

/// Selectors that are read again and again, of which samples of other servers come here meanwhile.
#[derive(Debug)]
pub struct Wants {
    elsewhere: Arc<Elsewhere>,
    /// By selector; `None` where there was no room. Leaf lock.
    all: Mutex<HashMap<String, Option<Arc<Want>>>>,
}

impl Wants {
    /// Nothing is wanted yet.
    #[must_use]
    pub fn new(elsewhere: &Arc<Elsewhere>) -> Self {
        Self {
            elsewhere: Arc::clone(elsewhere),
            all: Mutex::default(),
        }
    }

    fn add(&self, tenant: &str, selector: &Selector) {
        let text = selector.to_string();
        let mut all = self.all.lock();
        if all.len() < WANTS_MAX && !all.contains_key(&text) {
            let want = self.elsewhere.want(tenant, selector);
            all.insert(text, want);
        }
    }
}

/// Bytes of [`KnownSelectors`].
const KNOWN_BYTES_MAX: usize = 32 << 20;

/// What nobody asked for so long goes where there is no room for others.
const UNUSED_MAX: Duration = Duration::from_secs(600);

/// Selectors of those who ask the same again and again, and where their series are: so neither is
/// read or looked for each time. Where there is no room for more, those are read each time.
#[derive(Debug)]
pub struct KnownSelectors {
    hashes: RandomState,
    room: Arc<KeptRoom>,
    /// A leaf lock.
    all: Mutex<AllKnown>,
}

#[derive(Debug)]
struct AllKnown {
    /// By hash.
    by_hash: HashMap<u64, Vec<Known>, RandomState>,
    tidied: Instant,
}

#[derive(Debug)]
struct Known {
    tenant: Box<str>,
    matchers: Box<[Matcher]>,
    selector: Arc<KeptSelector>,
    /// Since they were tidied.
    is_used: bool,
}

impl Default for KnownSelectors {
    fn default() -> Self {
        Self {
            hashes: RandomState::default(),
            room: KeptRoom::new(KNOWN_BYTES_MAX),
            all: Mutex::new(AllKnown {
                by_hash: HashMap::default(),
                tidied: Instant::now(),
            }),
        }
    }
}

impl KnownSelectors {
    /// A tenant's selector; `None` where there is no room for it, or it cannot be read.
    fn get(&self, tenant: &str, matchers: &[Matcher]) -> Option<Arc<KeptSelector>> {
        let mut hasher = self.hashes.build_hasher();
        tenant.hash(&mut hasher);
        for matcher in matchers {
            (&*matcher.name, &*matcher.value).hash(&mut hasher);
        }
        let hash = hasher.finish();
        let is_it = |known: &&mut Known| *known.tenant == *tenant && *known.matchers == *matchers;
        let mut all = self.all.lock();
        let known = all.by_hash.get_mut(&hash);
        if let Some(known) = known.and_then(|known| known.iter_mut().find(is_it)) {
            known.is_used = true;
            return Some(Arc::clone(&known.selector));
        }
        drop(all);
        let selector = selector(matchers).ok()?;
        let texts = matchers.iter();
        let texts = texts.map(|one| one.name.len() + 2 * one.value.len() + 2 * MATCHER_BYTES);
        let bytes =
            size_of::<Known>() + tenant.len() + texts.sum::<usize>() + selector.compiled_bytes();
        let selector = match KeptSelector::new(selector.clone(), bytes, &self.room) {
            Some(kept) => kept,
            None => {
                self.tidy();
                KeptSelector::new(selector, bytes, &self.room)?
            }
        };
        let selector = Arc::new(selector);
        let mut all = self.all.lock();
        // Somebody may have been faster.
        let known = all.by_hash.get_mut(&hash);
        if let Some(known) = known.and_then(|known| known.iter_mut().find(is_it)) {
            known.is_used = true;
            return Some(Arc::clone(&known.selector));
        }
        all.by_hash.entry(hash).or_default().push(Known {
            tenant: tenant.into(),
            matchers: matchers.into(),
            selector: Arc::clone(&selector),
            is_used: true,
        });
        Some(selector)
    }

    /// Lets those go that nobody asked for since this was done last.
    fn tidy(&self) {
        let mut all = self.all.lock();
        if all.tidied.elapsed() < UNUSED_MAX {
            return;
        }
        all.tidied = Instant::now();
        all.by_hash.retain(|_, known| {
            known.retain_mut(|known| std::mem::take(&mut known.is_used));
            !known.is_empty()
        });
    }
}

/// What names a series that the engine hands on.
struct Keyed<'a> {
    key: KeyRef<'a>,
    of: &'a TenantSeries<'a>,
}

impl Named for Keyed<'_> {
    fn labels(&self) -> Result<Labels, EvalError> {
        self.of.labels(self.key, |_| true)
    }

    fn only(&self, keeps: &dyn Fn(&str) -> bool) -> Result<Labels, EvalError> {
        self.of.labels(self.key, keeps)
    }

    fn label(&self, name: &str) -> &str {
        match name {
            NAME => self.key.name(),
            name => self.key.label(name).unwrap_or_default(),
        }
    }

    fn each(&self, each: &mut dyn FnMut(&str, &str)) {
        let mut metric = Some(self.key.name()).filter(|metric| !metric.is_empty());
        for (name, value) in self.key.labels() {
            if let Some(metric) = metric.take_if(|_| name > NAME) {
                each(NAME, metric);
            }
            each(name, value);
        }
        if let Some(metric) = metric {
            each(NAME, metric);
        }
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

/// Of an instant selector at one time, nothing but the newest sample matters.
fn wanted(hints: &Hints) -> Wanted {
    let looks_ms = hints.until_ms.saturating_sub(hints.after_ms);
    match hints.is_instant && looks_ms == hints.range_ms {
        true => Wanted::Newest,
        false => Wanted::All,
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

/// Puts samples behind what a part has.
fn put(part: &mut Samples, samples: &[(i64, f64)]) {
    part.times.extend(samples.iter().map(|(at_ms, _)| *at_ms));
    part.values.extend(samples.iter().map(|(_, value)| *value));
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
        self.select_named(matchers, hints, &mut |named, samples| {
            each(named.labels()?, samples)
        })
    }

    fn select_named(
        &self,
        matchers: &[Matcher],
        hints: &Hints,
        each: &mut Each<'_>,
    ) -> Result<(), EvalError> {
        if let Some(older) = &self.older
            && hints.after_ms.saturating_add(1) < older.before_ms
        {
            return self.select_both(older, matchers, hints, each);
        }
        let stretch = (
            hints.after_ms.saturating_add(1),
            hints.until_ms.saturating_add(1),
        );
        let reading = Reading {
            cost: self.cost,
            counting: counting(hints),
            order: order(hints),
            wanted: wanted(hints),
        };
        let mut part = Samples::default();
        let mut hand = |key: KeyRef<'_>, buckets: &[(Tier, Bucket)], samples: &[(i64, f64)]| {
            part.clear();
            for (tier, bucket) in buckets {
                part.push_rollup(hints.function, &rollup(*tier, bucket));
            }
            put(&mut part, samples);
            each(&Keyed { key, of: self }, &part).map_err(ReadError)
        };
        let known = self
            .known
            .and_then(|known| known.get(&self.tenant.name, matchers));
        let parsed;
        let selected = match &known {
            Some(kept) => Selected::Kept(kept),
            None => {
                parsed = selector(matchers).map_err(EvalError::Execution)?;
                Selected::Once(&parsed)
            }
        };
        let read = query::finest(
            self.engine,
            self.tenant,
            selected,
            stretch,
            reading,
            &mut hand,
        );
        read.map_err(|ReadError(error)| error)
    }

    fn rolled(&self, after_ms: i64, until_ms: i64) -> Result<Vec<Rolled>, EvalError> {
        // Of what the archive has there are samples.
        let first_ms = self
            .older
            .as_ref()
            .map_or(i64::MIN, |older| older.before_ms);
        let stretch = (
            after_ms.saturating_add(1).max(first_ms),
            until_ms.saturating_add(1),
        );
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

#[cfg(test)]
mod tests {
    use pulseboard_engine::EngineOptions;
    use pulseboard_promql::{Answer, instant, parse};
    use pulseboard_series::Batch;

    use super::*;

    const NOON: i64 = 1_763_726_400_000;

    fn append(engine: &Engine, name: &str, labels: &[(&str, &str)], (at_ms, value): (i64, f64)) {
        let tenant = engine.tenant("default").expect("a tenant");
        let mut batch = Batch::new();
        let row = batch.begin(&[name]).and_then(|()| {
            for (label, value) in labels {
                batch.label(label, value)?;
            }
            batch.finish(1, Some(at_ms), value)
        });
        assert_eq!(row, Ok(()));
        engine.append(&tenant, &batch, NOON);
    }

    fn engine() -> (Arc<Engine>, Arc<Tenant>) {
        let engine = Arc::new(Engine::new(EngineOptions::default(), None));
        let tenant = engine.tenant("default").expect("a tenant");
        (engine, tenant)
    }

    fn hints() -> Hints {
        Hints {
            after_ms: NOON - 1_000,
            until_ms: NOON,
            step_ms: 1,
            range_ms: 1_000,
            function: "",
            is_instant: true,
            is_unordered: false,
        }
    }

    /// Whoever looks at some labels alone sees what it would if all were made.
    #[test]
    fn what_names_a_series_is_what_its_labels_would_be() {
        let (engine, tenant) = engine();
        for name in ["up", "a b"] {
            for labels in [
                &[][..],
                &[("A", "1")],
                &[("A", "1"), ("zone", "b")],
                &[("job", "a"), ("zone", "b")],
            ] {
                append(&engine, name, labels, (NOON, 1.0));
            }
        }
        let cost = Cost::unbounded();
        let stored = TenantSeries::new(&engine, &tenant, &cost);
        let mut count = 0;
        let read = stored.select_named(&[], &hints(), &mut |named, _| {
            count += 1;
            let labels = named.labels()?;
            let mut each = Vec::new();
            named.each(&mut |name, value| each.push((name.to_owned(), value.to_owned())));
            let own = labels.iter();
            let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let own: Vec<_> = own.collect();
            assert_eq!(each, own);
            for name in [NAME, "A", "job", "zone", "other"] {
                assert_eq!(named.label(name), labels.get(name));
                let keeps = |one: &str| one == name;
                assert_eq!(named.only(&keeps)?, labels.filtered(keeps));
            }
            Ok(())
        });
        assert_eq!((read, count), (Ok(()), 8));
    }

    /// Series that come, end, are deleted and come again are found as by who asks for the first
    /// time.
    #[test]
    fn what_is_asked_again_is_answered_as_at_first() {
        let (engine, tenant) = engine();
        let known = KnownSelectors::default();
        let ask = |text: &str| {
            let expr = parse(text).expect("an expression");
            let asked = |is_known: bool| -> Vec<(Labels, f64)> {
                let cost = Cost::unbounded();
                let stored = TenantSeries::new(&engine, &tenant, &cost);
                let stored = match is_known {
                    true => stored.knowing(&known),
                    false => stored,
                };
                let answer = instant(&expr, NOON, &stored, &stored, Options::default());
                match answer.expect("an answer").0 {
                    Answer::Vector(series) => series
                        .into_iter()
                        .map(|(labels, (_, value))| (labels, value))
                        .collect(),
                    other => panic!("{other:?}"),
                }
            };
            let (first, again) = (asked(false), asked(true));
            assert_eq!(first, again, "{text}");
            first.len()
        };
        let all = || {
            [
                "x",
                "x > 1",
                "sum by (host) (x)",
                "rate(x[5m])",
                "{host=~\"a|c\"}",
            ]
            .map(ask)
        };
        assert_eq!(all(), [0; 5]);
        append(&engine, "x", &[("host", "a")], (NOON - 60_000, 1.0));
        append(&engine, "x", &[("host", "a")], (NOON, 2.0));
        append(&engine, "x", &[("host", "b")], (NOON, 1.0));
        assert_eq!(all(), [2, 1, 2, 1, 1]);
        append(&engine, "y", &[("host", "c")], (NOON, 1.0));
        assert_eq!(all(), [2, 1, 2, 1, 2]);
        let stale = f64::from_bits(pulseboard_series::STALE_MARKER_BITS);
        append(&engine, "x", &[("host", "b")], (NOON, stale));
        assert_eq!(all(), [1, 1, 1, 1, 2]);
        let selector = Selector::parse("x").expect("a selector");
        let (stretch, cost) = ((0, i64::MAX), Cost::unbounded());
        let deleted = engine.delete(&tenant, &selector, stretch, NOON, &cost);
        assert_eq!(deleted.expect("deleted"), 2);
        assert_eq!(all(), [0, 0, 0, 0, 1]);
        append(&engine, "x", &[("host", "a")], (NOON, 3.0));
        assert_eq!(all(), [1, 1, 1, 0, 2]);
        assert!(known.room.taken() > 0);
    }

    #[test]
    fn where_there_is_no_room_selectors_are_read_each_time() {
        let known = KnownSelectors {
            room: KeptRoom::new(4_000),
            ..KnownSelectors::default()
        };
        let matchers = |number: usize| {
            let value = Arc::from(number.to_string());
            vec![Matcher {
                name: Arc::from("number"),
                op: MatchOp::Equal,
                value,
            }]
        };
        let kept = (0..100).filter(|number| known.get("a", &matchers(*number)).is_some());
        assert!((1..20).contains(&kept.count()));
        assert!(known.room.taken() <= 4_000);
        let first = known.get("a", &matchers(0)).expect("it was there first");
        assert_eq!(first.selector.to_string(), "{number=\"0\"}");
        assert!(
            known.get("b", &matchers(0)).is_none(),
            "another tenant's is another"
        );
    }
}
