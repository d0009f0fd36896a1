//! `alertmanager.yml`, whole and as Alertmanager reads it: strict about fields that it does not
//! know, with line and column; defaults filled in; printed again without its secrets.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::{Path, PathBuf},
};

use pulseboard_receivers::config::{Global, Receiver, Span};
use pulseboard_yaml::{self as place, Place, Step};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    interval::TimeInterval,
    labels::quote,
    matcher::{self, Matcher, Matchers, Operator},
};

/// A larger file is something else.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// There are at most so many routes in all.
pub const ROUTES_MAX: usize = 4096;

/// Routes are nested at most so deep.
pub const DEPTH_MAX: usize = 32;

/// There are at most so many rules of inhibition.
pub const INHIBIT_RULES_MAX: usize = 1000;

/// There are at most so many receivers.
pub const RECEIVERS_MAX: usize = 2000;

/// There are at most so many names of time intervals, and so many intervals below one.
pub const INTERVALS_MAX: usize = 1000;

/// `alertmanager.yml`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    #[serde(deserialize_with = "or_default")]
    pub global: Global,
    pub route: Option<RouteConfig>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub inhibit_rules: Vec<InhibitConfig>,
    #[serde(deserialize_with = "or_default")]
    pub receivers: Vec<Receiver>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub mute_time_intervals: Vec<NamedIntervals>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub time_intervals: Vec<NamedIntervals>,
    /// Globs of files with templates, relative to the file's folder.
    #[serde(deserialize_with = "or_default")]
    pub templates: Vec<String>,
    #[serde(skip_serializing)]
    pub tracing: Option<yaml_serde::Value>,
    /// The file's folder: what is relative in it is relative to this.
    #[serde(skip)]
    pub folder: PathBuf,
    /// One more receiver, no part of the file, that is told of everything whatever the routes say:
    /// browsers that have subscribed. Settled.
    #[serde(skip)]
    pub beside: Option<Receiver>,
    /// Other documents follow in the file, which nobody reads.
    #[serde(skip)]
    has_more: bool,
}

/// As there, the first document of a file is the configuration; whether there are more.
fn first_document(text: &str) -> Result<(Option<Config>, bool), yaml_serde::Error> {
    let mut documents = yaml_serde::Deserializer::from_str(text);
    let first = documents.next().map(Option::<Config>::deserialize);
    let first = first.transpose()?.flatten();
    Ok((first, documents.next().is_some()))
}

/// One of `routes`, and `route` itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteConfig {
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub receiver: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<Vec<String>>,
    /// Old: exact values.
    #[serde(
        rename = "match",
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub equal: BTreeMap<String, String>,
    /// Old: patterns.
    #[serde(
        rename = "match_re",
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub pattern: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub matchers: Vec<MatcherText>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub mute_time_intervals: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub active_time_intervals: Vec<String>,
    #[serde(rename = "continue")]
    pub goes_on: bool,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_wait: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_interval: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_interval: Option<Span>,
}

/// One of `inhibit_rules`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct InhibitConfig {
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub source_match: BTreeMap<String, String>,
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub source_match_re: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub source_matchers: Vec<MatcherText>,
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub target_match: BTreeMap<String, String>,
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub target_match_re: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub target_matchers: Vec<MatcherText>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub equal: Vec<String>,
}

/// A name and what it stands for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct NamedIntervals {
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub time_intervals: Vec<TimeInterval>,
}

/// One text of `matchers`, which may hold several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatcherText(pub Vec<Matcher>);

impl Serialize for MatcherText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        serializer.serialize_str(&texts.join(","))
    }
}

// A visitor refuses what it is shown, so that the reader of the file tells its place.
impl<'de> Deserialize<'de> for MatcherText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl serde::de::Visitor<'_> for Read {
            type Value = MatcherText;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a matcher such as severity=\"page\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<MatcherText, E> {
                matcher::parse(text).map(MatcherText).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Read)
    }
}

/// Nothing stands for the default.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Why a file is not taken: `FILE:LINE:COLUMN: what is wrong`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {what}", file.display(), shown(*line))]
pub struct ConfigError {
    pub file: PathBuf,
    /// Line and column, from 1, where there is one.
    pub line: Option<(usize, usize)>,
    pub what: String,
}

fn shown(line: Option<Place>) -> String {
    line.map_or(String::new(), |(line, column)| format!(":{line}:{column}"))
}

impl Config {
    /// Reads the text of a file. `file` stands in errors, and its folder is where paths begin.
    ///
    /// # Errors
    /// It is no YAML, or says what cannot be; with line and column.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let error = |line: Option<Place>, what: String| ConfigError {
            file: file.to_owned(),
            line,
            what,
        };
        if text.len() > FILE_BYTES_MAX {
            return Err(error(None, format!("larger than {FILE_BYTES_MAX} bytes")));
        }
        let parsed = place::check_keys(text).and_then(|()| first_document(text));
        let config = parsed.map_err(|wrong| {
            let told = wrong.to_string();
            let (what, _) = told.rsplit_once(" at line ").unwrap_or((&told, ""));
            // all the fields that there are help nobody
            let (what, _) = what.split_once(", expected one of").unwrap_or((what, ""));
            let line = wrong.location().map(|at| (at.line(), at.column()));
            error(line, what.to_owned())
        })?;
        let (config, has_more) = config;
        let mut config: Self = config.unwrap_or_default();
        config.has_more = has_more;
        config.folder = file.parent().unwrap_or(Path::new("")).to_owned();
        config
            .settle()
            .map_err(|wrong| error(place::find(text, &wrong.steps()), wrong.what))?;
        Ok(config)
    }

    /// A configuration of one route to one receiver, with Alertmanager's defaults: what holds where
    /// there is no file.
    ///
    /// # Errors
    /// A receiver lacks something; in words.
    pub fn of_receivers(receivers: Vec<Receiver>, first: &str) -> Result<Self, String> {
        let mut config = Self {
            route: Some(RouteConfig {
                receiver: first.to_owned(),
                ..RouteConfig::default()
            }),
            receivers,
            ..Self::default()
        };
        config.settle().map_err(|wrong| wrong.what)?;
        Ok(config)
    }

    /// With a receiver beside the routes, which is given what is usual and nothing of `global`.
    ///
    /// # Errors
    /// It lacks something, or another one has its name; in words.
    pub fn with_beside(mut self, mut receiver: Receiver) -> Result<Self, String> {
        if self.receivers.iter().any(|one| one.name == receiver.name) {
            return Err(format!("there is a receiver {:?} already", receiver.name));
        }
        let settled = receiver.settle(&Global::default(), &self.folder);
        settled.map_err(|error| error.to_string())?;
        self.beside = Some(receiver);
        Ok(self)
    }

    /// Those of the file, and the one beside them.
    pub fn all_receivers(&self) -> impl Iterator<Item = &Receiver> {
        self.receivers.iter().chain(&self.beside)
    }

    /// The file as it is used, defaults filled in and secrets hidden: `config.original`.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        yaml_serde::to_string(self).unwrap_or_default()
    }

    /// What the file asks for that is not there, in words: each is left out and the rest is used.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let receivers = self.receivers.iter();
        let mut warnings: Vec<String> = receivers.flat_map(Receiver::warnings).collect();
        if self.has_more {
            warnings.push("what follows the first document of the file is not read".to_owned());
        }
        if self.tracing.is_some() {
            warnings.push("tracing is not supported".to_owned());
        }
        for (name, intervals) in self.intervals() {
            let mut locations = intervals.iter().filter_map(|one| one.location.as_ref());
            if locations.any(|location| location.is_local()) {
                warnings.push(format!(
                    "time interval {name:?}: the location Local is taken as UTC"
                ));
            }
        }
        warnings
    }

    /// Names of time intervals and what they stand for.
    pub(crate) fn intervals(&self) -> impl Iterator<Item = (&str, &[TimeInterval])> {
        let all = self.mute_time_intervals.iter().chain(&self.time_intervals);
        all.map(|named| (named.name.as_str(), named.time_intervals.as_slice()))
    }

    /// Takes over what is global, and checks what holds for several fields.
    fn settle(&mut self) -> Result<(), Wrong> {
        let global = At::key("global");
        self.global
            .check()
            .map_err(|what| global.field_of(&what).wrong(format!("global: {what}")))?;
        if self.global.resolve_timeout.as_millis() == 0 {
            return Err(global
                .then("resolve_timeout")
                .wrong("global: resolve_timeout cannot be zero".to_owned()));
        }
        self.global.resolve(&self.folder);
        let receivers = At::key("receivers");
        if self.receivers.len() > RECEIVERS_MAX {
            return Err(receivers.wrong(format!("more than {RECEIVERS_MAX} receivers")));
        }
        let mut names = HashSet::new();
        for (item, receiver) in self.receivers.iter_mut().enumerate() {
            let at = receivers.item(item);
            receiver
                .settle(&self.global, &self.folder)
                .map_err(|error| {
                    let at = at.then(error.section).item(error.index);
                    at.field_of(&error.what).wrong(error.to_string())
                })?;
            if !names.insert(receiver.name.clone()) {
                return Err(at.then("name").wrong(format!(
                    "notification config name {} is not unique",
                    quote(&receiver.name)
                )));
            }
        }
        let intervals = self.check_intervals()?;
        let at = At::key("route");
        let Some(route) = &self.route else {
            return Err(at.wrong("no route provided in config".to_owned()));
        };
        check_root(route, &at)?;
        let mut count = 0;
        check_route(route, &at, &names, &intervals, &mut count)?;
        if self.inhibit_rules.len() > INHIBIT_RULES_MAX {
            return Err(At::key("inhibit_rules")
                .wrong(format!("more than {INHIBIT_RULES_MAX} rules of inhibition")));
        }
        for (item, rule) in self.inhibit_rules.iter().enumerate() {
            let at = At::key("inhibit_rules").item(item);
            let told = |what: String| at.field_of(&what).wrong(format!("inhibit rule: {what}"));
            rule.source().map_err(told)?;
            rule.target().map_err(told)?;
        }
        Ok(())
    }

    fn check_intervals(&self) -> Result<BTreeSet<String>, Wrong> {
        let mut names = BTreeSet::new();
        for (section, list) in [
            ("mute_time_intervals", &self.mute_time_intervals),
            ("time_intervals", &self.time_intervals),
        ] {
            for (item, named) in list.iter().enumerate() {
                let at = At::key(section).item(item);
                let kind = section.trim_end_matches('s').replace('_', " ");
                if named.name.is_empty() {
                    return Err(at.wrong(format!("missing name in {kind}")));
                }
                if named.time_intervals.len() > INTERVALS_MAX || names.len() >= INTERVALS_MAX {
                    return Err(at.wrong(format!("more than {INTERVALS_MAX} time intervals")));
                }
                if !names.insert(named.name.clone()) {
                    return Err(at
                        .then("name")
                        .wrong(format!("{kind} {} is not unique", quote(&named.name))));
                }
            }
        }
        Ok(names)
    }
}

fn check_root(root: &RouteConfig, at: &At) -> Result<(), Wrong> {
    for (field, is_there, what) in [
        (
            "receiver",
            root.receiver.is_empty(),
            "root route must specify a default receiver",
        ),
        (
            "match",
            !root.equal.is_empty(),
            "root route must not have any matchers",
        ),
        (
            "match_re",
            !root.pattern.is_empty(),
            "root route must not have any matchers",
        ),
        (
            "matchers",
            !root.matchers.is_empty(),
            "root route must not have any matchers",
        ),
        (
            "mute_time_intervals",
            !root.mute_time_intervals.is_empty(),
            "root route must not have any mute time intervals",
        ),
        (
            "active_time_intervals",
            !root.active_time_intervals.is_empty(),
            "root route must not have any active time intervals",
        ),
        (
            "continue",
            root.goes_on,
            "cannot have continue in root route",
        ),
    ] {
        if is_there {
            return Err(at.then(field).wrong(what.to_owned()));
        }
    }
    Ok(())
}

fn check_route(
    route: &RouteConfig,
    at: &At,
    receivers: &HashSet<String>,
    intervals: &BTreeSet<String>,
    count: &mut usize,
) -> Result<(), Wrong> {
    *count += 1;
    if *count > ROUTES_MAX {
        return Err(at.wrong(format!("more than {ROUTES_MAX} routes")));
    }
    if at.depth() > DEPTH_MAX {
        return Err(at.wrong(format!("routes are nested deeper than {DEPTH_MAX}")));
    }
    route
        .matchers()
        .map_err(|what| at.field_of(&what).wrong(format!("route: {what}")))?;
    if !route.receiver.is_empty() && !receivers.contains(&route.receiver) {
        return Err(at.then("receiver").wrong(format!(
            "undefined receiver {} used in route",
            quote(&route.receiver)
        )));
    }
    let mut seen = HashSet::new();
    for (item, name) in route.group_by.iter().flatten().enumerate() {
        let at = at.then("group_by").item(item);
        if name == "..." {
            if route.group_by.iter().flatten().count() > 1 {
                return Err(at.wrong(
                    "cannot have wildcard group_by (`...`) and other other labels at the same time"
                        .to_owned(),
                ));
            }
        } else if name.is_empty() {
            return Err(at.wrong(format!(
                "invalid label name {} in group_by list",
                quote(name)
            )));
        }
        if !seen.insert(name) {
            return Err(at.wrong(format!("duplicated label {} in group_by", quote(name))));
        }
    }
    for (field, span) in [
        ("group_interval", route.group_interval),
        ("repeat_interval", route.repeat_interval),
    ] {
        if span.is_some_and(|span| span.as_millis() == 0) {
            return Err(at.then(field).wrong(format!("{field} cannot be zero")));
        }
    }
    for (field, names) in [
        ("mute_time_intervals", &route.mute_time_intervals),
        ("active_time_intervals", &route.active_time_intervals),
    ] {
        for (item, name) in names.iter().enumerate() {
            if !intervals.contains(name) {
                return Err(at.then(field).item(item).wrong(format!(
                    "undefined time interval {} used in route",
                    quote(name)
                )));
            }
        }
    }
    for (item, child) in route.routes.iter().enumerate() {
        check_route(
            child,
            &at.then("routes").item(item),
            receivers,
            intervals,
            count,
        )?;
    }
    Ok(())
}

fn joined(
    equal: (&str, &BTreeMap<String, String>),
    pattern: (&str, &BTreeMap<String, String>),
    texts: (&str, &[MatcherText]),
) -> Result<Matchers, String> {
    let mut all = Vec::new();
    for ((field, map), operator) in [(equal, Operator::Equal), (pattern, Operator::Match)] {
        for (name, value) in map {
            let matcher = Matcher::new(name, operator, value);
            let mut matcher = matcher.map_err(|error| format!("{field}: {error}"))?;
            if operator == Operator::Match {
                // so that groups have the keys that they have with Alertmanager
                let anchored = Matcher::new(name, operator, &format!("^(?:{value})$"));
                matcher = anchored.map_err(|error| format!("{field}: {error}"))?;
            }
            all.push(matcher);
        }
    }
    all.extend(texts.1.iter().flat_map(|text| text.0.iter().cloned()));
    if all.len() > matcher::MATCHERS_MAX {
        return Err(format!(
            "{}: more than {} matchers",
            texts.0,
            matcher::MATCHERS_MAX
        ));
    }
    let mut matchers = Matchers(all);
    matchers.sort();
    Ok(matchers)
}

impl RouteConfig {
    /// All its conditions, in order.
    pub(crate) fn matchers(&self) -> Result<Matchers, String> {
        joined(
            ("match", &self.equal),
            ("match_re", &self.pattern),
            ("matchers", &self.matchers),
        )
    }
}

impl InhibitConfig {
    pub(crate) fn source(&self) -> Result<Matchers, String> {
        joined(
            ("source_match", &self.source_match),
            ("source_match_re", &self.source_match_re),
            ("source_matchers", &self.source_matchers),
        )
    }

    pub(crate) fn target(&self) -> Result<Matchers, String> {
        joined(
            ("target_match", &self.target_match),
            ("target_match_re", &self.target_match_re),
            ("target_matchers", &self.target_matchers),
        )
    }
}

/// What is wrong, and the way to it.
struct Wrong {
    at: At,
    what: String,
}

impl Wrong {
    fn steps(&self) -> Vec<Step<'_>> {
        let steps = self.at.0.iter();
        steps
            .map(|step| match step {
                Ok(key) => Step::Key(key),
                Err(item) => Step::Item(*item),
            })
            .collect()
    }
}

/// A way into the file: keys and items.
#[derive(Clone)]
struct At(Vec<Result<String, usize>>);

impl At {
    fn key(key: &str) -> Self {
        Self(vec![Ok(key.to_owned())])
    }

    fn then(&self, key: &str) -> Self {
        let mut at = self.clone();
        at.0.push(Ok(key.to_owned()));
        at
    }

    fn item(&self, item: usize) -> Self {
        let mut at = self.clone();
        at.0.push(Err(item));
        at
    }

    /// The field that what is wrong begins with.
    fn field_of(&self, what: &str) -> Self {
        let end = what.find(|char: char| !(char.is_ascii_lowercase() || char == '_'));
        self.then(what.get(..end.unwrap_or(what.len())).unwrap_or_default())
    }

    fn depth(&self) -> usize {
        self.0.iter().filter(|step| step.is_err()).count()
    }

    fn wrong(&self, what: String) -> Wrong {
        Wrong {
            at: self.clone(),
            what,
        }
    }
}

#[cfg(test)]
mod tests;
