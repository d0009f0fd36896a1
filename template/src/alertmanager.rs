//! Templates of notifications: data, functions and default templates as Alertmanager has them
//! (prometheus.io/docs/alerting/latest/notifications). The names of the default templates are
//! those that people's files call; their texts are our own.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use crate::{
    Error, Functions, Limits, Object, Set, Value,
    builtin::wrong_type,
    escape, json,
    kit::{self, Patterns, exactly, number, text, texts},
    print,
    time::{Moment, ZERO_MS},
};

/// An alert of a notification.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// `false`: resolved.
    pub firing: bool,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub starts_at_ms: i64,
    /// `None`: Go's zero time.
    pub ends_at_ms: Option<i64>,
    pub generator_url: String,
    /// 16 hexadecimal digits.
    pub fingerprint: String,
}

/// What `.` is in a notification's templates.
#[derive(Debug, Clone, PartialEq)]
pub struct Data {
    pub receiver: String,
    pub firing: bool,
    pub alerts: Vec<Alert>,
    pub group_labels: BTreeMap<String, String>,
    pub common_labels: BTreeMap<String, String>,
    pub common_annotations: BTreeMap<String, String>,
    pub external_url: String,
    pub group_key: String,
    /// Alerts of the group that are not among `alerts`.
    pub truncated_alerts: u64,
}

impl Data {
    /// A notification of these alerts: firing while one of them is, with what all have in common.
    #[must_use]
    pub fn new(
        receiver: &str,
        group_labels: BTreeMap<String, String>,
        alerts: Vec<Alert>,
        external_url: &str,
    ) -> Self {
        let common = |of: fn(&Alert) -> &BTreeMap<String, String>| {
            let mut kept = alerts.first().map(of).cloned().unwrap_or_default();
            for alert in alerts.iter().skip(1) {
                kept.retain(|name, value| of(alert).get(name) == Some(value));
            }
            kept
        };
        Self {
            receiver: receiver.to_owned(),
            firing: alerts.iter().any(|alert| alert.firing),
            common_labels: common(|alert| &alert.labels),
            common_annotations: common(|alert| &alert.annotations),
            alerts,
            group_labels,
            external_url: external_url.to_owned(),
            group_key: String::new(),
            truncated_alerts: 0,
        }
    }
}

/// The default templates, and what people's files add to them or define anew.
#[derive(Debug, Clone)]
pub struct Templates {
    set: Set,
}

impl Default for Templates {
    fn default() -> Self {
        Self::new()
    }
}

impl Templates {
    /// The default templates.
    #[must_use]
    pub fn new() -> Self {
        static DEFAULT: OnceLock<Set> = OnceLock::new();
        let set = DEFAULT.get_or_init(|| {
            let mut set = Set::new();
            for (name, text) in [
                ("default.tmpl", include_str!("alertmanager/default.tmpl")),
                ("email.tmpl", include_str!("alertmanager/email.tmpl")),
            ] {
                let parsed = set.parse(name, text, &NotificationFunctions::new(0));
                debug_assert_eq!(parsed, Ok(()), "our own templates can be read");
            }
            set
        });
        Self { set: set.clone() }
    }

    /// Takes a file of templates.
    ///
    /// # Errors
    /// What is wrong with it; nothing of it is taken then.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), Error> {
        self.set.parse(name, text, &NotificationFunctions::new(0))
    }

    /// Whether there is a template of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.set.has(name)
    }

    /// Whether a receiver's text can be read, and calls only functions that there are.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, text: &str) -> Result<(), Error> {
        self.set.check(text, &[], &NotificationFunctions::new(0))
    }

    /// Ready to render the texts of one notification. `now_ms` is what `since` counts to.
    #[must_use]
    pub fn with(&self, data: &Data, now_ms: i64, limits: Limits) -> Rendering<'_> {
        Rendering {
            templates: self,
            data: Value::object(Notification::of(data)),
            now_ms,
            limits,
        }
    }
}

/// The texts of one notification.
#[derive(Debug)]
pub struct Rendering<'a> {
    templates: &'a Templates,
    data: Value,
    now_ms: i64,
    limits: Limits,
}

impl Rendering<'_> {
    /// As `text/template` does: what is sent to chats, subjects, JSON.
    ///
    /// # Errors
    /// The text cannot be read, failed while it ran, or went past a limit.
    pub fn text(&self, text: &str) -> Result<String, Error> {
        // Most fields of receivers are no templates.
        if !text.contains("{{") && text.len() <= self.limits.output_bytes {
            return Ok(text.to_owned());
        }
        self.templates.set.render(
            text,
            &self.data,
            &[],
            &mut NotificationFunctions::new(self.now_ms),
            self.limits,
        )
    }

    /// As `html/template` does: the body of a mail.
    ///
    /// # Errors
    /// As [`Self::text`], and a value stands where none can be safe.
    pub fn html(&self, text: &str) -> Result<String, Error> {
        self.templates.set.render_html(
            text,
            &self.data,
            &[],
            &mut NotificationFunctions::new(self.now_ms),
            self.limits,
        )
    }
}

fn shown(value: &Value) -> String {
    print::print(std::slice::from_ref(value), 1 << 16).unwrap_or_default()
}

fn status(firing: bool) -> Value {
    Value::from(if firing { "firing" } else { "resolved" })
}

/// Labels or annotations, which have methods.
#[derive(Debug, Clone)]
struct Pairs {
    map: Arc<BTreeMap<Arc<str>, Arc<str>>>,
}

impl Pairs {
    fn of(map: &BTreeMap<String, String>) -> Self {
        Self {
            map: Arc::new(
                map.iter()
                    .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                    .collect(),
            ),
        }
    }

    /// By name, the alert's own first.
    fn sorted(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let all = self
            .map
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        let (mut first, rest): (Vec<_>, Vec<_>) =
            all.partition(|(name, _)| name.as_ref() == "alertname");
        first.extend(rest);
        first
    }
}

fn written(pairs: &[(Arc<str>, Arc<str>)]) -> String {
    let all: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    all.join(", ")
}

fn names(pairs: &[(Arc<str>, Arc<str>)]) -> Value {
    Value::list(pairs.iter().map(|(name, _)| Value::Text(name.clone())))
}

fn values(pairs: &[(Arc<str>, Arc<str>)]) -> Value {
    Value::list(pairs.iter().map(|(_, value)| Value::Text(value.clone())))
}

impl Object for Pairs {
    fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "SortedPairs" => Value::object(SortedPairs {
                pairs: self.sorted(),
            }),
            "Names" => names(&self.sorted()),
            "Values" => values(&self.sorted()),
            "String" => self.text().into(),
            // It wants names.
            "Remove" => return None,
            name => Value::Text(self.map.get(name).cloned().unwrap_or_else(|| "".into())),
        })
    }

    fn call(&self, method: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
        match method {
            "Remove" => Some(exactly::<1>("Remove", arguments).and_then(|[list]| {
                let mut map = self.map.as_ref().clone();
                for name in kit::items(list)? {
                    map.remove(text(&name)?.as_ref());
                }
                Ok(Value::object(Self { map: Arc::new(map) }))
            })),
            "SortedPairs" | "Names" | "Values" | "String" => Some(
                exactly::<0>(method, arguments)
                    .and_then(|_| self.field(method).ok_or_else(|| "there is none".to_owned())),
            ),
            _ => None,
        }
    }

    fn items(&self) -> Option<Vec<(Value, Value)>> {
        let pair = |(name, value): (&Arc<str>, &Arc<str>)| {
            (Value::Text(name.clone()), Value::Text(value.clone()))
        };
        Some(self.map.iter().map(pair).collect())
    }

    fn len(&self) -> Option<usize> {
        Some(self.map.len())
    }

    fn text(&self) -> String {
        written(&self.sorted())
    }

    fn json(&self) -> String {
        let entries: Vec<String> = self
            .map
            .iter()
            .map(|(name, value)| format!("{}:{}", escape::json(name), escape::json(value)))
            .collect();
        format!("{{{}}}", entries.join(","))
    }

    fn type_name(&self) -> &'static str {
        "template.KV"
    }
}

/// `.SortedPairs`
#[derive(Debug)]
struct SortedPairs {
    pairs: Vec<(Arc<str>, Arc<str>)>,
}

impl Object for SortedPairs {
    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Names" => Some(names(&self.pairs)),
            "Values" => Some(values(&self.pairs)),
            "String" => Some(self.text().into()),
            _ => None,
        }
    }

    fn items(&self) -> Option<Vec<(Value, Value)>> {
        let pair = |(index, (name, value)): (usize, &(Arc<str>, Arc<str>))| {
            let pair = Pair {
                name: name.clone(),
                value: value.clone(),
            };
            (
                Value::Int(i64::try_from(index).unwrap_or(i64::MAX)),
                Value::object(pair),
            )
        };
        Some(self.pairs.iter().enumerate().map(pair).collect())
    }

    fn len(&self) -> Option<usize> {
        Some(self.pairs.len())
    }

    fn text(&self) -> String {
        written(&self.pairs)
    }

    fn json(&self) -> String {
        let entries: Vec<String> = self
            .pairs
            .iter()
            .map(|(name, value)| {
                format!(
                    "{{\"Name\":{},\"Value\":{}}}",
                    escape::json(name),
                    escape::json(value)
                )
            })
            .collect();
        format!("[{}]", entries.join(","))
    }

    fn type_name(&self) -> &'static str {
        "template.Pairs"
    }
}

#[derive(Debug)]
struct Pair {
    name: Arc<str>,
    value: Arc<str>,
}

impl Object for Pair {
    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Name" => Some(Value::Text(self.name.clone())),
            "Value" => Some(Value::Text(self.value.clone())),
            _ => None,
        }
    }

    fn text(&self) -> String {
        format!("{{{} {}}}", self.name, self.value)
    }

    fn json(&self) -> String {
        format!(
            "{{\"Name\":{},\"Value\":{}}}",
            escape::json(&self.name),
            escape::json(&self.value)
        )
    }

    fn type_name(&self) -> &'static str {
        "template.Pair"
    }
}

/// One alert, as templates see it: its fields in the order in which JSON has them.
#[derive(Debug)]
struct Fields {
    type_name: &'static str,
    /// Name in templates, name in JSON, value.
    fields: Vec<(&'static str, &'static str, Value)>,
}

impl Object for Fields {
    fn field(&self, name: &str) -> Option<Value> {
        self.fields
            .iter()
            .find(|(known, ..)| *known == name)
            .map(|(.., value)| value.clone())
    }

    fn text(&self) -> String {
        let all: Vec<String> = self.fields.iter().map(|(.., value)| shown(value)).collect();
        format!("{{{}}}", all.join(" "))
    }

    fn json(&self) -> String {
        let entries: Vec<String> = self
            .fields
            .iter()
            .filter(|(_, name, _)| !name.is_empty())
            .map(|(_, name, value)| {
                let value = json::json(value, 1 << 20).unwrap_or_else(|_| "null".to_owned());
                format!("{}:{value}", escape::json(name))
            })
            .collect();
        format!("{{{}}}", entries.join(","))
    }

    fn type_name(&self) -> &'static str {
        self.type_name
    }
}

fn alert(alert: &Alert) -> Value {
    Value::object(Fields {
        type_name: "template.Alert",
        fields: vec![
            ("Status", "status", status(alert.firing)),
            ("Labels", "labels", Value::object(Pairs::of(&alert.labels))),
            (
                "Annotations",
                "annotations",
                Value::object(Pairs::of(&alert.annotations)),
            ),
            ("StartsAt", "startsAt", Value::time(alert.starts_at_ms)),
            (
                "EndsAt",
                "endsAt",
                Value::time(alert.ends_at_ms.unwrap_or(ZERO_MS)),
            ),
            (
                "GeneratorURL",
                "generatorURL",
                alert.generator_url.as_str().into(),
            ),
            (
                "Fingerprint",
                "fingerprint",
                alert.fingerprint.as_str().into(),
            ),
        ],
    })
}

/// `.Alerts`
#[derive(Debug)]
struct Alerts {
    all: Arc<[Value]>,
    firing: Arc<[Value]>,
    resolved: Arc<[Value]>,
}

impl Object for Alerts {
    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Firing" => Some(Value::List(self.firing.clone())),
            "Resolved" => Some(Value::List(self.resolved.clone())),
            _ => None,
        }
    }

    fn items(&self) -> Option<Vec<(Value, Value)>> {
        let numbered = |(index, alert): (usize, &Value)| {
            (
                Value::Int(i64::try_from(index).unwrap_or(i64::MAX)),
                alert.clone(),
            )
        };
        Some(self.all.iter().enumerate().map(numbered).collect())
    }

    fn len(&self) -> Option<usize> {
        Some(self.all.len())
    }

    fn text(&self) -> String {
        shown(&Value::List(self.all.clone()))
    }

    fn json(&self) -> String {
        json::json(&Value::List(self.all.clone()), 1 << 20).unwrap_or_else(|_| "null".to_owned())
    }

    fn type_name(&self) -> &'static str {
        "template.Alerts"
    }
}

/// `.`
struct Notification;

impl Notification {
    fn of(data: &Data) -> Fields {
        let all: Vec<(bool, Value)> = data
            .alerts
            .iter()
            .map(|one| (one.firing, alert(one)))
            .collect();
        let those = |firing: bool| {
            let of = all.iter().filter(|(is_firing, _)| *is_firing == firing);
            of.map(|(_, alert)| alert.clone()).collect()
        };
        let alerts = Alerts {
            firing: those(true),
            resolved: those(false),
            all: all.into_iter().map(|(_, alert)| alert).collect(),
        };
        Fields {
            type_name: "*template.Data",
            fields: vec![
                ("Receiver", "receiver", data.receiver.as_str().into()),
                ("Status", "status", status(data.firing)),
                ("Alerts", "alerts", Value::object(alerts)),
                (
                    "GroupLabels",
                    "groupLabels",
                    Value::object(Pairs::of(&data.group_labels)),
                ),
                (
                    "CommonLabels",
                    "commonLabels",
                    Value::object(Pairs::of(&data.common_labels)),
                ),
                (
                    "CommonAnnotations",
                    "commonAnnotations",
                    Value::object(Pairs::of(&data.common_annotations)),
                ),
                (
                    "ExternalURL",
                    "externalURL",
                    data.external_url.as_str().into(),
                ),
                // Beyond Alertmanager's own data: what its webhook has, and not in its JSON.
                ("GroupKey", "", data.group_key.as_str().into()),
                (
                    "TruncatedAlerts",
                    "",
                    Value::Int(i64::try_from(data.truncated_alerts).unwrap_or(i64::MAX)),
                ),
            ],
        }
    }
}

struct NotificationFunctions {
    now_ms: i64,
    patterns: Patterns,
}

impl NotificationFunctions {
    fn new(now_ms: i64) -> Self {
        Self {
            now_ms,
            patterns: Patterns::default(),
        }
    }
}

const NAMES: &[&str] = &[
    "append",
    "date",
    "dict",
    "humanizeDuration",
    "join",
    "list",
    "match",
    "reReplaceAll",
    "safeHtml",
    "safeUrl",
    "since",
    "stringSlice",
    "title",
    "toJson",
    "toLower",
    "toUpper",
    "trimSpace",
    "tz",
    "urlUnescape",
];

fn moment(value: &Value) -> Result<&Moment, String> {
    match value {
        Value::Time(moment) => Ok(moment),
        other => Err(wrong_type("time.Time", other)),
    }
}

impl Functions for NotificationFunctions {
    fn has(&self, name: &str) -> bool {
        NAMES.binary_search(&name).is_ok()
    }

    fn cost(&self, name: &str, given: &[Value]) -> u64 {
        match name {
            "match" | "reReplaceAll" => Patterns::cost(given),
            // Places are looked up, and what is whole goes through JSON.
            "tz" => 10,
            "toJson" => 100,
            "join" => match given.last() {
                Some(Value::List(items)) => u64::try_from(items.len() / 4).unwrap_or(u64::MAX),
                _ => 1,
            },
            _ => 1,
        }
    }

    fn call(&mut self, name: &str, given: &[Value]) -> Option<Result<Value, String>> {
        self.has(name).then(|| self.found(name, given))
    }
}

impl NotificationFunctions {
    fn found(&mut self, name: &str, given: &[Value]) -> Result<Value, String> {
        let word = |make: &dyn Fn(&str) -> Result<String, String>| {
            let [text] = texts(name, given)?;
            make(text).map(Value::from)
        };
        match name {
            "toUpper" => word(&|text| Ok(kit::upper(text))),
            "toLower" => word(&|text| Ok(kit::lower(text))),
            "title" => word(&|text| Ok(kit::title_case(text))),
            "trimSpace" => word(&|text| Ok(text.trim().to_owned())),
            "urlUnescape" => word(&escape::query_read),
            "safeHtml" => {
                let [text] = texts(name, given)?;
                Ok(Value::Safe(text.clone()))
            }
            "safeUrl" => {
                let [text] = texts(name, given)?;
                Ok(Value::SafeUrl(text.clone()))
            }
            "join" => {
                let [separator, list] = exactly(name, given)?;
                kit::joined(text(separator)?, list).map(Value::from)
            }
            "match" => self.patterns.matches(given),
            "reReplaceAll" => self.patterns.replaced(given),
            "stringSlice" => {
                for value in given {
                    text(value)?;
                }
                Ok(Value::List(given.into()))
            }
            "list" => Ok(Value::List(given.into())),
            "append" => {
                let [list, more @ ..] = given else {
                    return Err("wrong number of args for append: want at least 1 got 0".to_owned());
                };
                let mut items = kit::items(list)?;
                items.extend_from_slice(more);
                Ok(Value::list(items))
            }
            "dict" => {
                let (pairs, rest) = given.as_chunks::<2>();
                if !rest.is_empty() {
                    return Err("dict wants as many values as keys".to_owned());
                }
                let mut made = BTreeMap::new();
                for [key, value] in pairs {
                    made.insert(text(key)?.clone(), value.clone());
                }
                Ok(Value::Map(Arc::new(made)))
            }
            "date" => {
                let [layout, at] = exactly(name, given)?;
                Ok(moment(at)?.format(text(layout)?).into())
            }
            "tz" => {
                let [place, at] = exactly(name, given)?;
                moment(at)?.place(text(place)?).map(Value::Time)
            }
            "since" => {
                let [at] = exactly(name, given)?;
                Ok(Value::Duration(
                    Moment::from_ms(self.now_ms).since(moment(at)?),
                ))
            }
            "humanizeDuration" => {
                let [seconds] = exactly(name, given)?;
                Ok(kit::humanize_duration(number(seconds)?).into())
            }
            "toJson" => {
                let [value] = exactly(name, given)?;
                json::json(value, 1 << 20).map(Value::from)
            }
            name => Err(format!("function {name:?} not defined")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_all_found() {
        assert!(NAMES.is_sorted());
        let templates = Templates::new();
        for name in [
            "__subject",
            "slack.default.title",
            "email.default.html",
            "webpush.default.title",
        ] {
            assert!(templates.has(name), "{name}");
        }
    }
}
