//! Templates of alerting rules: data and functions as Prometheus 3 has them
//! (prometheus.io/docs/prometheus/latest/configuration/template_reference).

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use crate::{
    Error, Functions, Limits, Object, Set, Value,
    builtin::wrong_type,
    escape,
    kit::{self, Patterns, exactly, number, text, texts},
    print,
};

/// One element of what a query found.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// With `__name__`, if it has one.
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// Who answers `query`.
pub trait Query {
    /// The vector at the time of the evaluation; a scalar is one sample without labels.
    ///
    /// # Errors
    /// Why there is no answer.
    fn query(&mut self, expression: &str) -> Result<Vec<Sample>, String>;
}

/// Where nothing can be asked: `query` is an error.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoQuery;

impl Query for NoQuery {
    fn query(&mut self, _: &str) -> Result<Vec<Sample>, String> {
        Err("there is nothing to query here".to_owned())
    }
}

/// What `.Labels`, `$labels`, `.Value`, `$value`, `.ExternalLabels` and `.ExternalURL` are.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    pub labels: &'a BTreeMap<String, String>,
    pub value: f64,
    pub external_labels: &'a BTreeMap<String, String>,
    pub external_url: &'a str,
    /// Of the evaluation: `now`.
    pub now_ms: i64,
}

/// Prometheus puts this before each text, and counts the bytes of it, too.
const PREFIX: &str = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}";

/// What is wrong with a text, as Prometheus says it of the template `name`.
#[must_use]
pub fn said(error: &Error, name: &str) -> String {
    error.as_go(name, PREFIX.len())
}

const VARIABLES: [&str; 4] = ["$labels", "$externalLabels", "$externalURL", "$value"];

/// A label or an annotation of an alerting rule.
///
/// # Errors
/// The text cannot be read, failed while it ran, or went past a limit.
pub fn expand(
    text: &str,
    data: &Data<'_>,
    query: &mut dyn Query,
    limits: Limits,
) -> Result<String, Error> {
    // Most annotations say the same always.
    if !text.contains("{{") && text.len() <= limits.output_bytes {
        return Ok(text.to_owned());
    }
    let alert = Alert {
        labels: Value::strings(data.labels),
        external_labels: Value::strings(data.external_labels),
        external_url: data.external_url.into(),
        value: data.value,
    };
    let values = [
        alert.labels.clone(),
        alert.external_labels.clone(),
        data.external_url.into(),
        data.value.into(),
    ];
    let variables: Vec<(&str, Value)> = VARIABLES.into_iter().zip(values).collect();
    let mut functions = RuleFunctions {
        query,
        external_url: data.external_url,
        now_ms: data.now_ms,
        patterns: Patterns::default(),
    };
    Set::new().render(
        text,
        &Value::object(alert),
        &variables,
        &mut functions,
        limits,
    )
}

/// Whether a text can be read, and names only functions and variables that there are.
///
/// # Errors
/// What is wrong with it.
pub fn check(text: &str) -> Result<(), Error> {
    let functions = RuleFunctions {
        query: &mut NoQuery,
        external_url: "",
        now_ms: 0,
        patterns: Patterns::default(),
    };
    Set::new().check(text, &VARIABLES, &functions)
}

/// `.`
#[derive(Debug)]
struct Alert {
    labels: Value,
    external_labels: Value,
    external_url: Arc<str>,
    value: f64,
}

fn shown(values: &[Value]) -> String {
    print::print(values, 1 << 16).unwrap_or_default()
}

impl Object for Alert {
    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Labels" => Some(self.labels.clone()),
            "ExternalLabels" => Some(self.external_labels.clone()),
            "ExternalURL" => Some(Value::Text(self.external_url.clone())),
            "Value" => Some(self.value.into()),
            _ => None,
        }
    }

    fn text(&self) -> String {
        format!(
            "{{{} {} {} {}}}",
            shown(std::slice::from_ref(&self.labels)),
            shown(std::slice::from_ref(&self.external_labels)),
            self.external_url,
            shown(&[self.value.into()])
        )
    }

    fn json(&self) -> String {
        "{}".to_owned()
    }

    fn type_name(&self) -> &'static str {
        "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value interface {} }"
    }
}

const SAMPLE: &str = "*template.sample";

/// One element of what `query` gave.
#[derive(Debug)]
struct Found {
    labels: Value,
    value: f64,
}

impl Object for Found {
    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Labels" => Some(self.labels.clone()),
            "Value" => Some(self.value.into()),
            _ => None,
        }
    }

    fn text(&self) -> String {
        format!(
            "&{{{} {}}}",
            shown(std::slice::from_ref(&self.labels)),
            shown(&[self.value.into()])
        )
    }

    fn json(&self) -> String {
        "{}".to_owned()
    }

    fn type_name(&self) -> &'static str {
        SAMPLE
    }
}

/// The labels and the value of a sample.
fn sample(value: &Value) -> Result<(Value, Value), String> {
    match value {
        Value::Object(object) if object.type_name() == SAMPLE => Ok((
            object.field("Labels").unwrap_or(Value::Nil),
            object.field("Value").unwrap_or(Value::Nil),
        )),
        other => Err(wrong_type(SAMPLE, other)),
    }
}

fn label(labels: &Value, name: &str) -> Arc<str> {
    match labels {
        Value::Strings(labels) => labels.get(name).cloned().unwrap_or_else(|| "".into()),
        _ => "".into(),
    }
}

fn vector(value: &Value) -> Result<&Arc<[Value]>, String> {
    match value {
        Value::List(items) => Ok(items),
        other => Err(wrong_type("template.queryResult", other)),
    }
}

struct RuleFunctions<'a> {
    query: &'a mut dyn Query,
    external_url: &'a str,
    now_ms: i64,
    patterns: Patterns,
}

const NAMES: &[&str] = &[
    "args",
    "externalURL",
    "first",
    "graphLink",
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "humanizeTimestamp",
    "label",
    "match",
    "now",
    "parseDuration",
    "pathPrefix",
    "query",
    "reReplaceAll",
    "safeHtml",
    "sortByLabel",
    "stripDomain",
    "stripPort",
    "strvalue",
    "tableLink",
    "title",
    "tmpl",
    "toDuration",
    "toLower",
    "toTime",
    "toUpper",
    "urlQueryEscape",
    "value",
];

impl Functions for RuleFunctions<'_> {
    fn has(&self, name: &str) -> bool {
        NAMES.binary_search(&name).is_ok()
    }

    fn cost(&self, name: &str, given: &[Value]) -> u64 {
        match name {
            "match" | "reReplaceAll" => Patterns::cost(given),
            "query" => 500,
            "sortByLabel" => match given {
                [_, Value::List(items)] => u64::try_from(items.len()).unwrap_or(u64::MAX),
                _ => 1,
            },
            _ => 1,
        }
    }

    fn call(&mut self, name: &str, given: &[Value]) -> Option<Result<Value, String>> {
        self.has(name).then(|| self.found(name, given))
    }
}

impl RuleFunctions<'_> {
    fn found(&mut self, name: &str, given: &[Value]) -> Result<Value, String> {
        let word = |make: &dyn Fn(&str) -> String| {
            let [text] = texts(name, given)?;
            Ok(Value::from(make(text)))
        };
        let figure = |make: &dyn Fn(f64) -> Result<Value, String>| {
            let [it] = exactly(name, given)?;
            make(number(it)?)
        };
        match name {
            "query" => {
                let [expression] = texts(name, given)?;
                let found = self.query.query(expression)?;
                Ok(Value::list(found.into_iter().map(|sample| {
                    Value::object(Found {
                        labels: Value::strings(&sample.labels),
                        value: sample.value,
                    })
                })))
            }
            "first" => {
                let [found] = exactly(name, given)?;
                vector(found)?
                    .first()
                    .cloned()
                    .ok_or_else(|| "first() called on vector with no elements".to_owned())
            }
            "label" => {
                let [name, found] = exactly(name, given)?;
                Ok(Value::Text(label(&sample(found)?.0, text(name)?)))
            }
            "value" => {
                let [found] = exactly(name, given)?;
                Ok(sample(found)?.1)
            }
            "strvalue" => {
                let [found] = exactly(name, given)?;
                Ok(Value::Text(label(&sample(found)?.0, "__value__")))
            }
            "sortByLabel" => {
                let [name, found] = exactly(name, given)?;
                let name = text(name)?;
                let mut sorted = Vec::new();
                for item in vector(found)?.iter() {
                    sorted.push((label(&sample(item)?.0, name), item.clone()));
                }
                sorted.sort_by(|left, right| left.0.cmp(&right.0));
                Ok(Value::list(sorted.into_iter().map(|(_, item)| item)))
            }
            "args" => {
                Ok(Value::map(given.iter().enumerate().map(
                    |(index, value)| (format!("arg{index}"), value.clone()),
                )))
            }
            "match" => self.patterns.matches(given),
            "reReplaceAll" => self.patterns.replaced(given),
            "safeHtml" => {
                let [text] = texts(name, given)?;
                Ok(Value::Safe(text.clone()))
            }
            "title" => word(&kit::title),
            "toUpper" => word(&kit::upper),
            "toLower" => word(&kit::lower),
            "graphLink" => word(&|text| format!("/graph?g0.expr={}&g0.tab=0", escape::query(text))),
            "tableLink" => word(&|text| format!("/graph?g0.expr={}&g0.tab=1", escape::query(text))),
            "stripPort" => word(&strip_port),
            "stripDomain" => word(&strip_domain),
            "urlQueryEscape" => word(&escape::query),
            "humanize" => figure(&|it| Ok(kit::humanize(it).into())),
            "humanize1024" => figure(&|it| Ok(kit::humanize_1024(it).into())),
            "humanizeDuration" => figure(&|it| Ok(kit::humanize_duration(it).into())),
            "humanizePercentage" => figure(&|it| Ok(kit::humanize_percentage(it).into())),
            "humanizeTimestamp" => figure(&|it| kit::humanize_timestamp(it).map(Value::from)),
            "toTime" => figure(&|it| kit::moment(it).map(Value::Time)),
            "toDuration" => figure(&|it| kit::length_of_time(it).map(Value::Duration)),
            "now" => {
                let [] = exactly(name, given)?;
                #[expect(clippy::cast_precision_loss, reason = "Prometheus gives a float")]
                Ok(Value::Float(self.now_ms as f64 / 1000.0))
            }
            "parseDuration" => {
                let [text] = texts(name, given)?;
                parse_duration(text).map(Value::Float)
            }
            "externalURL" => {
                let [] = exactly(name, given)?;
                Ok(self.external_url.into())
            }
            "pathPrefix" => {
                let [] = exactly(name, given)?;
                Ok(path(self.external_url).into())
            }
            name => Err(format!("function {name:?} not defined")),
        }
    }
}

/// The path of an address, nothing where it has none.
fn path(address: &str) -> &str {
    let rest = match address.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |slash| &rest[slash..]),
        None => address,
    };
    rest.split(['?', '#']).next().unwrap_or("")
}

/// Go's `net.SplitHostPort`; `None` where it is an error.
fn host_and_port(address: &str) -> Option<(&str, &str)> {
    let colon = address.rfind(':')?;
    let (host, rest) = if address.starts_with('[') {
        let end = address.find(']')?;
        if end + 1 != colon {
            return None;
        }
        (&address[1..end], &address[end + 1..])
    } else {
        let host = &address[..colon];
        if host.contains(':') {
            return None;
        }
        (host, address)
    };
    let stray = host.contains(['[', ']']) || rest.contains(['[', ']']);
    (!stray).then(|| (host, &address[colon + 1..]))
}

fn strip_port(address: &str) -> String {
    host_and_port(address)
        .map_or(address, |(host, _)| host)
        .to_owned()
}

/// `host.domain:port` becomes `host:port`; numbers stay.
fn strip_domain(address: &str) -> String {
    let (host, port) = host_and_port(address).unwrap_or((address, ""));
    if host.parse::<IpAddr>().is_ok() {
        return address.to_owned();
    }
    let host = host.split('.').next().unwrap_or("");
    match port {
        "" => host.to_owned(),
        port if host.contains(':') => format!("[{host}]:{port}"),
        port => format!("{host}:{port}"),
    }
}

/// Seconds of a length such as `1h30m`, as Prometheus writes them.
#[expect(clippy::cast_precision_loss, reason = "Prometheus gives a float")]
fn parse_duration(text: &str) -> Result<f64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    if text.is_empty() {
        return Err("empty duration string".to_owned());
    }
    if text == "0" {
        return Ok(0.0);
    }
    let bad = || {
        format!(
            "not a valid duration string: {}",
            print::quoted(text, '"', false)
        )
    };
    let mut rest = text;
    let mut next = 0;
    let mut sum = 0_u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let after = &rest[digits..];
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = UNITS[next..]
            .iter()
            .position(|(unit, _)| *unit == &after[..letters])
            .filter(|_| digits > 0)
            .ok_or_else(bad)?;
        let (_, length) = UNITS[next + unit];
        next += unit + 1;
        let out_of_range = || "duration out of range".to_owned();
        let count: u64 = rest[..digits].parse().map_err(|_error| out_of_range())?;
        sum = count
            .checked_mul(length)
            .and_then(|length| sum.checked_add(length))
            .filter(|sum| *sum <= i64::MAX.unsigned_abs() / 1_000_000)
            .ok_or_else(out_of_range)?;
        rest = &after[letters..];
    }
    Ok(sum as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_all_found() {
        assert!(NAMES.is_sorted());
        assert_eq!(NAMES.len(), 30);
    }

    #[test]
    fn addresses_are_taken_apart_as_go_does() {
        for (address, without_port, without_domain) in [
            ("localhost:9090", "localhost", "localhost:9090"),
            ("example.com:80", "example.com", "example:80"),
            ("a.b.c", "a.b.c", "a"),
            ("10.0.0.1:80", "10.0.0.1", "10.0.0.1:80"),
            ("10.0.0.1", "10.0.0.1", "10.0.0.1"),
            ("[::1]:80", "::1", "[::1]:80"),
            ("::1", "::1", "::1"),
            ("[::1]", "[::1]", "[::1]"),
            ("", "", ""),
            ("a:b:c", "a:b:c", "a:b:c"),
        ] {
            assert_eq!(strip_port(address), without_port, "{address}");
            assert_eq!(strip_domain(address), without_domain, "{address}");
        }
        for (address, expected) in [
            ("http://a:9090/x/y?z", "/x/y"),
            ("http://a", ""),
            ("", ""),
            ("http://a/", "/"),
        ] {
            assert_eq!(path(address), expected);
        }
    }

    #[test]
    fn lengths_of_time_are_read_as_prometheus_does() {
        for (text, expected) in [
            ("1h", Ok(3600.0)),
            ("1h30m", Ok(5400.0)),
            ("1y2w3d4h5m6s7ms", Ok(33_019_506.007)),
            ("0", Ok(0.0)),
            ("5ms", Ok(0.005)),
            ("", Err("empty duration string")),
            ("1", Err("not a valid duration string: \"1\"")),
            ("1m1h", Err("not a valid duration string: \"1m1h\"")),
            ("-1m", Err("not a valid duration string: \"-1m\"")),
            ("1.5h", Err("not a valid duration string: \"1.5h\"")),
            ("999999y", Err("duration out of range")),
        ] {
            let found = parse_duration(text);
            assert_eq!(
                found.as_ref().copied().map_err(String::as_str),
                expected,
                "{text}"
            );
        }
    }
}
