//! Which series, labels and values there are.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pulseboard_archive::read::SERIES_MAX;
use pulseboard_engine::{
    DEFAULT_TENANT, Selector,
    query::{self, QueryError},
};
use pulseboard_host::describe;
use pulseboard_promql::{Labels, ast::Matcher, labels::NAME};
use pulseboard_scrape::metadata::Metric;
use pulseboard_series::{KeyRef, Kind};
use pulseboard_shared::Timestamp;
use salvo::{Depot, Request, Response, handler};
use serde_json::{Value, json};

use super::{
    answer::{ApiError, push_labels, send},
    asking::Asking,
    families::{Type, metric_of},
};
use crate::{
    archive::Without,
    expressions::{labels_of, selector},
    http::path,
    questions::{Finished, Text, Working},
};

/// Series that the selectors name.
#[handler]
pub async fn series(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let answered = ask(
        request,
        depot,
        true,
        |work, working| -> Result<Finished, ApiError> {
            let limit = work.asking.params.limit()?;
            let mut all: BTreeSet<Labels> = BTreeSet::default();
            work.each(working, &mut |named| {
                let found = named.labels();
                if all.contains(&found) {
                    return Ok(());
                }
                working
                    .cost
                    .hold(label_bytes(&found))
                    .map_err(QueryError::from)?;
                all.insert(found);
                Ok(())
            })?;
            let mut text = working.text();
            text.push("{\"status\":\"success\",\"data\":[")?;
            let mut comma = "";
            for named in all.iter().take(limit) {
                text.push(comma)?;
                push_labels(&mut text, named)?;
                comma = ",";
            }
            work.end(&mut text, all.len() > limit)?;
            Ok(working.finish(text.into_pieces()))
        },
    );
    let answered = answered.await;
    send(response, answered);
}

/// The names of labels.
#[handler]
pub async fn labels(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let answered = ask(
        request,
        depot,
        false,
        |work, working| -> Result<Finished, ApiError> {
            let limit = work.asking.params.limit()?;
            let mut all: BTreeSet<String> = BTreeSet::new();
            work.each(working, &mut |named| {
                named.each_name(&mut |name| put(&mut all, name, working))
            })?;
            work.texts(&all, limit, working)
        },
    );
    let answered = answered.await;
    send(response, answered);
}

/// The values of one label.
#[handler]
pub async fn label_values(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let named = path::named(request, "name");
    let answered = ask(
        request,
        depot,
        false,
        move |work, working| -> Result<Finished, ApiError> {
            let (name, limit) = (named?, work.asking.params.limit()?);
            let label = unescaped(&name);
            if label.is_empty() {
                return Err(ApiError::BadData(format!("invalid label name: {name:?}")));
            }
            let mut all: BTreeSet<String> = BTreeSet::new();
            work.each(working, &mut |named| match named.get(&label) {
                "" => Ok(()),
                value => put(&mut all, value, working),
            })?;
            work.texts(&all, limit, working)
        },
    );
    let answered = answered.await;
    send(response, answered);
}

/// What is known of metrics: types and units as senders say them, what targets say, and help of
/// this machine's figures.
#[handler]
pub async fn metadata(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let metric = request.query::<String>("metric").unwrap_or_default();
    let answered = ask(
        request,
        depot,
        false,
        move |work, working| -> Result<Finished, ApiError> {
            let per_metric = per_metric(work.asking)?;
            let limit = work.asking.params.limit_of_metadata()?;
            let mut all: BTreeMap<String, (Type, Arc<str>)> = BTreeMap::new();
            work.each_described(working, &mut |key, kind, unit| {
                let (name, found) = metric_of(key, kind);
                let is_asked = metric.is_empty() || stems(name).any(|stem| stem == metric);
                if name.is_empty() || !is_asked {
                    return Ok(());
                }
                if let Some((known, known_unit)) = all.get_mut(name) {
                    *known = found.max(*known);
                    if known_unit.is_empty() && !unit.is_empty() {
                        working.cost.hold(unit.len()).map_err(QueryError::from)?;
                        *known_unit = Arc::from(unit);
                    }
                    return Ok(());
                }
                working
                    .cost
                    .hold(name.len() + unit.len() + 96)
                    .map_err(QueryError::from)?;
                all.insert(name.to_owned(), (found, Arc::from(unit)));
                Ok(())
            })?;
            let only = (!metric.is_empty()).then_some(metric.as_str());
            let mut told = told_by_targets(work.asking, only);
            // Of metrics that are there: what was said of others is nobody's any more.
            for one in work.asking.app.told.of(&work.asking.tenant.name, only) {
                let name = &one.metric;
                let mut parts = PARTS.iter().map(|part| format!("{name}{part}"));
                if all.contains_key(name) || parts.any(|part| all.contains_key(&part)) {
                    let known = told.entry(one.metric.clone()).or_default();
                    if !known.contains(&one) {
                        known.push(one);
                    }
                }
            }
            for (name, known) in &told {
                let bytes: usize = known.iter().map(|one| one.help.len() + 128).sum();
                working
                    .cost
                    .hold(name.len() + bytes)
                    .map_err(QueryError::from)?;
            }
            // The series of a histogram are no metrics of their own where a target says what it is.
            all.retain(|name, _| {
                let is_told = stems(name).any(|stem| told.contains_key(stem));
                !is_told && (metric.is_empty() || *name == metric)
            });
            let others = all.into_iter().filter_map(|(name, (of_type, unit))| {
                let (kind, help) = describe(&name).unwrap_or_default();
                let of_type = of_type.max(kind.into());
                // Of what nobody said anything there is nothing to tell.
                let is_known = of_type != Type::Unknown || !unit.is_empty() || !help.is_empty();
                let told = || json!([{"type": of_type.name(), "help": help, "unit": unit}]);
                is_known.then(|| (name, told()))
            });
            let told = told.into_iter().map(|(name, known)| {
                let known = known
                    .iter()
                    .take(per_metric)
                    .map(|one| json!({"type": one.kind, "help": one.help, "unit": one.unit}));
                (name, Value::Array(known.collect()))
            });
            let mut all: Vec<(String, Value)> = told.chain(others).collect();
            all.sort_by(|(a, _), (b, _)| a.cmp(b));
            let all: serde_json::Map<String, Value> = all.into_iter().take(limit).collect();
            let mut text = working.text();
            text.push_json(&json!({"status": "success", "data": all}))?;
            Ok(working.finish(text.into_pieces()))
        },
    );
    let answered = answered.await;
    send(response, answered);
}

/// What targets say, for the tenant that they are scraped for.
fn told_by_targets(asking: &Asking, only: Option<&str>) -> BTreeMap<String, Vec<Metric>> {
    match &*asking.tenant.name == DEFAULT_TENANT {
        true => asking.app.scraping.families(only),
        false => BTreeMap::new(),
    }
}

/// What names of series have behind those of their metrics.
const PARTS: [&str; 7] = [
    "_total", "_bucket", "_count", "_sum", "_created", "_info", "_gcount",
];

/// Names of metrics that a series of this name can be a part of.
fn stems(name: &str) -> impl Iterator<Item = &str> {
    let stems = PARTS.iter().filter_map(|part| name.strip_suffix(part));
    std::iter::once(name).chain(stems)
}

/// `limit_per_metric`; none is all.
fn per_metric(asking: &Asking) -> Result<usize, ApiError> {
    let Some(text) = asking.params.get("limit_per_metric") else {
        return Ok(usize::MAX);
    };
    let limit: i64 = text
        .parse()
        .map_err(|_none| ApiError::BadData("limit_per_metric must be a number".to_owned()))?;
    // As with `limit`, nothing and less is all.
    match usize::try_from(limit) {
        Ok(0) | Err(_) => Ok(usize::MAX),
        Ok(limit) => Ok(limit),
    }
}

/// A series that was found.
#[derive(Clone, Copy)]
enum Named<'a> {
    /// In the engine.
    Here(KeyRef<'a>),
    /// In the archive.
    There(&'a Labels),
}

impl Named<'_> {
    fn labels(&self) -> Labels {
        match self {
            Self::Here(key) => labels_of(*key),
            Self::There(named) => (*named).clone(),
        }
    }

    fn each_name(
        &self,
        each: &mut dyn FnMut(&str) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        match self {
            Self::Here(key) => {
                let name = (!key.name().is_empty()).then_some(NAME);
                let mut names = name.into_iter().chain(key.labels().map(|(name, _)| name));
                names.try_for_each(each)
            }
            Self::There(named) => {
                let mut names = named.iter().map(|(name, _)| name);
                names.try_for_each(each)
            }
        }
    }

    /// The value of a label; empty where it has none.
    fn get(&self, label: &str) -> &str {
        match self {
            Self::Here(key) if label == NAME => key.name(),
            Self::Here(key) => key.label(label).unwrap_or_default(),
            Self::There(named) => named.get(label),
        }
    }
}

/// What is looked for, and where.
struct Work<'a> {
    asking: &'a Asking,
    since_ms: i64,
    /// The last moment that is asked about.
    until_ms: i64,
    /// What is to be said of the answer besides.
    warnings: RefCell<Vec<String>>,
}

impl Work<'_> {
    /// Of what the engine has, and the archive of the time before that; some come twice.
    fn each(
        &self,
        working: &Working,
        each: &mut dyn FnMut(Named<'_>) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        self.each_described(working, &mut |key, _, _| each(Named::Here(key)))?;
        self.each_archived(working, each)
    }

    fn each_archived(
        &self,
        working: &Working,
        each: &mut dyn FnMut(Named<'_>) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let (app, tenant) = (&self.asking.app, &self.asking.tenant);
        let Some(archive) = app.archive.as_ref().filter(|archive| archive.is_read()) else {
            return Ok(());
        };
        let before_ms = archive.floor_ms(&app.storage.engine, tenant);
        let stretch = (
            self.since_ms,
            before_ms.min(self.until_ms.saturating_add(1)),
        );
        if stretch.0 >= stretch.1 {
            return Ok(());
        }
        let selectors = self.asking.params.selectors()?;
        let mut all: Vec<&[Matcher]> = selectors.iter().map(|one| &*one.matchers).collect();
        if all.is_empty() {
            all.push(&[]);
        }
        for matchers in all {
            match archive.series(&tenant.name, matchers, stretch, &working.cost) {
                Ok((found, bytes)) => {
                    if found.len() >= SERIES_MAX {
                        self.warn(format!(
                            "partial: of the archive's series only the first {SERIES_MAX} are here"
                        ));
                    }
                    let mut found = found.iter().map(Named::There);
                    let told = found.try_for_each(&mut *each);
                    working.cost.let_go(bytes);
                    told?;
                }
                Err(Without::Spent(spent)) => return Err(QueryError::from(spent).into()),
                Err(Without::Missing(why)) => {
                    let rest = match archive.has_what_others_have() {
                        true => "there are only series that came in at this server".to_owned(),
                        false => {
                            let before = Timestamp::from_millis(before_ms);
                            format!(
                                "of series that ended before {before} there are only those that the own history has"
                            )
                        }
                    };
                    self.warn(format!("partial: {why}; {rest}"));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn warn(&self, what: String) {
        self.warnings.borrow_mut().push(what);
    }

    /// What is to be said besides, and the end of the answer.
    fn end(&self, text: &mut Text<'_>, is_cut: bool) -> Result<(), QueryError> {
        let mut warnings = self.warnings.borrow().clone();
        if is_cut {
            warnings.push("results truncated due to limit".to_owned());
        }
        text.push("]")?;
        if !warnings.is_empty() {
            text.push(",\"warnings\":")?;
            text.push_json(&warnings)?;
        }
        text.push("}")
    }

    fn texts(
        &self,
        all: &BTreeSet<String>,
        limit: usize,
        working: &Working,
    ) -> Result<Finished, ApiError> {
        let mut text = working.text();
        text.push("{\"status\":\"success\",\"data\":[")?;
        let mut comma = "";
        for one in all.iter().take(limit) {
            text.push(comma)?;
            text.push_json(one)?;
            comma = ",";
        }
        self.end(&mut text, all.len() > limit)?;
        Ok(working.finish(text.into_pieces()))
    }

    /// With kind and unit.
    fn each_described(
        &self,
        working: &Working,
        each: &mut dyn FnMut(KeyRef<'_>, Kind, &str) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let selectors = self.asking.params.selectors()?;
        let selectors: Vec<Selector> = match selectors.is_empty() {
            true => vec![Selector::all()],
            false => selectors
                .iter()
                .map(|one| selector(&one.matchers).map_err(ApiError::BadData))
                .collect::<Result<_, _>>()?,
        };
        for selector in &selectors {
            query::keys(
                &self.asking.app.storage.engine,
                &self.asking.tenant,
                selector,
                (self.since_ms, self.asking.app.clock.now_ms()),
                &working.cost,
                each,
            )?;
        }
        Ok(())
    }
}

async fn ask(
    request: &mut Request,
    depot: &mut Depot,
    needs_match: bool,
    work: impl FnOnce(&Work<'_>, &Working) -> Result<Finished, ApiError> + Send + 'static,
) -> Result<Finished, ApiError> {
    let asking = Asking::begin(request, depot).await?;
    let params = &asking.params;
    if needs_match && params.get("match[]").is_none() {
        return Err(ApiError::BadData(
            "no match[] parameter provided".to_owned(),
        ));
    }
    // Which series had begun by the end is not known, so it shuts out none; nor is one before the
    // start an error here.
    let (start_ms, end_ms) = (params.time("start")?, params.time("end")?);
    let since_ms = start_ms.unwrap_or(0).max(0);
    asking
        .work(move |asking, working| {
            let asked = Work {
                asking,
                since_ms,
                until_ms: end_ms.unwrap_or(i64::MAX),
                warnings: RefCell::default(),
            };
            work(&asked, working)
        })
        .await
}

/// What a series takes until it is written.
fn label_bytes(named: &Labels) -> usize {
    let pairs = named.iter();
    pairs
        .map(|(name, value)| name.len() + value.len() + 64)
        .sum::<usize>()
        + 96
}

fn put(all: &mut BTreeSet<String>, text: &str, working: &Working) -> Result<(), ApiError> {
    if !all.contains(text) {
        working
            .cost
            .hold(text.len() + 48)
            .map_err(QueryError::from)?;
        all.insert(text.to_owned());
    }
    Ok(())
}

/// A label's name as it is, where a client escaped it for an address: `U__a_2e_b` is `a.b`
/// (Prometheus 3, "UTF-8 support": values escaping).
fn unescaped(name: &str) -> String {
    let Some(escaped) = name.strip_prefix("U__") else {
        return name.to_owned();
    };
    let mut text = String::new();
    let mut rest = escaped;
    while let Some((before, behind)) = rest.split_once('_') {
        text.push_str(before);
        if let Some(behind) = behind.strip_prefix('_') {
            text.push('_');
            rest = behind;
            continue;
        }
        let one = behind.split_once('_').and_then(|(digits, behind)| {
            let number = u32::from_str_radix(digits, 16).ok()?;
            Some((char::from_u32(number)?, behind))
        });
        let Some((one, behind)) = one else {
            return name.to_owned();
        };
        text.push(one);
        rest = behind;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_read() {
        for (escaped, name) in [
            ("job", "job"),
            ("U__a_2e_b", "a.b"),
            ("U__a__b", "a_b"),
            ("U__my_20_label_e9_", "my labelé"),
            ("U__a_zz_b", "U__a_zz_b"),
            ("U__a_", "U__a_"),
        ] {
            assert_eq!(unescaped(escaped), name);
        }
    }
}
