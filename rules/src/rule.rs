//! A rule as it is written, and as it is evaluated.
//!
//! [`RuleSpec`] and [`GroupSpec`] are what stands in a file or in JSON; [`Rule::new`] checks all of it
//! and makes what is evaluated. What a rule has beyond those of Prometheus:
//!
//! - `clear`: what ends a firing. An expression: a firing goes on, whatever `expr` says, until a series
//!   of `clear` comes whose labels, but the metric's name, are all among those of the alert's own
//!   series (none at all ends every alert of the rule) while `expr` does not hold. A number, for an
//!   `expr` of the form `X > t` (or `>=`, `<`, `<=`, either way round): it goes on as long as
//!   `X > number`.
//! - `missing`: what to do where a series that is compared is not there or is not a number. `resolve`
//!   as Prometheus does; `keep` what it was, firing or pending, without going from one to the other;
//!   `alert` as if it were over the threshold.
//! - `enabled`: whether it is evaluated; what fires when it is switched off ends.
//! - `every`: its group's interval, 0 for each tick. `group`: the name of its group.

use std::{collections::BTreeMap, sync::Arc};

use pulseboard_promql::{Expr, ast::ValueType, parse};
use serde::{Deserialize, Serialize};

use crate::{condition::Condition, expand, period::Period};

/// Bytes of a name, a label's text or an annotation.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Labels or annotations of one rule.
pub const TEXTS_MAX: usize = 100;

/// What ends a firing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Clear {
    /// The threshold for the way back.
    Number(f64),
    /// An expression.
    Expr(String),
}

/// What to do where a series is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// It stays what it is.
    Keep,
    /// It is over.
    #[default]
    Resolve,
    /// That is an alert.
    Alert,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_true(value: &bool) -> bool {
    *value
}

fn yes() -> bool {
    true
}

/// A rule as it is written in JSON, and, without the last six fields, in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// The alert's name; one of this and `record`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub alert: String,
    /// The name of the series that is recorded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub record: String,
    /// PromQL.
    pub expr: String,
    /// How long it holds before it fires.
    #[serde(default, rename = "for", skip_serializing_if = "Period::is_zero")]
    pub hold: Period,
    /// How long a firing goes on after it held last.
    #[serde(default, skip_serializing_if = "Period::is_zero")]
    pub keep_firing_for: Period,
    /// Added to those of the series; an alert's are templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Its group's name; only in JSON, where rules stand alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Its group's interval, 0 for each tick; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Period>,
    /// What ends a firing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear: Option<Clear>,
    /// What to do where a series is missing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub missing: Missing,
    /// Whether it is evaluated.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub enabled: bool,
}

impl Default for RuleSpec {
    fn default() -> Self {
        Self {
            alert: String::new(),
            record: String::new(),
            expr: String::new(),
            hold: Period::default(),
            keep_firing_for: Period::default(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            group: String::new(),
            every: None,
            clear: None,
            missing: Missing::default(),
            enabled: true,
        }
    }
}

impl RuleSpec {
    /// The alert's or the recorded series' name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self.alert.is_empty() {
            true => &self.record,
            false => &self.alert,
        }
    }

    /// All that is wrong with it; nothing where [`Rule::new`] takes it.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        Rule::new(self.clone()).err().unwrap_or_default()
    }
}

/// A group as it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSpec {
    /// Unique within its file.
    pub name: String,
    /// Where it is not said, that of the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Period>,
    /// How much earlier than the evaluation its expressions look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_offset: Option<Period>,
    /// Alerts or series that each of its rules may have; 0 for any number.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limit: i64,
    /// Added to each rule that does not set them itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Evaluated one after the other.
    #[serde(default)]
    pub rules: Vec<RuleSpec>,
}

/// One thing that is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct Problem {
    /// The field, such as `expr` or `labels.severity`.
    pub field: String,
    /// What is wrong, in Prometheus' words where it says it too.
    pub what: String,
}

impl Problem {
    fn new(field: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            what: what.into(),
        }
    }
}

/// A rule that can be evaluated.
#[derive(Clone, Debug)]
pub struct Rule {
    spec: Arc<RuleSpec>,
    expr: Expr,
    shown: Arc<str>,
    pub(crate) condition: Condition,
}

impl Rule {
    /// Checks a rule.
    ///
    /// # Errors
    /// All that is wrong with it, in the order in which Prometheus looks.
    pub fn new(spec: RuleSpec) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        if !spec.record.is_empty() && !spec.alert.is_empty() {
            problems.push(Problem::new(
                "record",
                "only one of 'record' and 'alert' must be set",
            ));
        }
        if spec.record.is_empty() && spec.alert.is_empty() {
            problems.push(Problem::new(
                "record",
                "one of 'record' or 'alert' must be set",
            ));
        }
        let mut parsed = None;
        if spec.expr.is_empty() {
            problems.push(Problem::new("expr", "field 'expr' must be set in rule"));
        } else {
            match parse(&spec.expr) {
                Ok(expr) => parsed = Some(expr),
                Err(error) => problems.push(Problem::new(
                    "expr",
                    format!("could not parse expression: {error}"),
                )),
            }
        }
        if !spec.record.is_empty() {
            recording(&spec, &mut problems);
        }
        texts(&spec, &mut problems);
        let mut condition = Condition::default();
        if let Some(expr) = &parsed {
            match Condition::of(&spec, expr) {
                Ok(made) => condition = made,
                Err((field, what)) => problems.push(Problem::new(field, what)),
            }
        }
        match parsed {
            Some(expr) if problems.is_empty() => Ok(Self {
                shown: expr.to_string().into(),
                spec: Arc::new(spec),
                expr,
                condition,
            }),
            _ => Err(problems),
        }
    }

    /// As it is written.
    #[must_use]
    pub fn spec(&self) -> &Arc<RuleSpec> {
        &self.spec
    }

    /// Its expression.
    #[must_use]
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// Its expression as Prometheus prints it, for `query` in the API's answers.
    #[must_use]
    pub fn query(&self) -> &Arc<str> {
        &self.shown
    }

    /// What its expression compares, where that decides: a rule with `clear` or `missing`.
    #[must_use]
    pub fn subject(&self) -> Option<&Expr> {
        self.condition.subject.as_ref()
    }

    /// What ends its firing, where that is said.
    #[must_use]
    pub fn clear(&self) -> Option<&Expr> {
        self.condition.clear.as_ref()
    }

    /// Whether it is one that alerts.
    #[must_use]
    pub fn is_alert(&self) -> bool {
        !self.spec.alert.is_empty()
    }
}

fn recording(spec: &RuleSpec, problems: &mut Vec<Problem>) {
    for (field, is_set) in [
        ("annotations", !spec.annotations.is_empty()),
        ("for", !spec.hold.is_zero()),
        ("keep_firing_for", !spec.keep_firing_for.is_zero()),
        ("clear", spec.clear.is_some()),
        ("missing", spec.missing != Missing::Resolve),
    ] {
        if is_set {
            problems.push(Problem::new(
                field,
                format!("invalid field '{field}' in recording rule"),
            ));
        }
    }
    if !is_metric_name(&spec.record) {
        problems.push(Problem::new(
            "record",
            format!("invalid recording rule name: {}", spec.record),
        ));
    }
}

fn texts(spec: &RuleSpec, problems: &mut Vec<Problem>) {
    for (name, text) in [("alert", &spec.alert), ("record", &spec.record)] {
        if text.len() > TEXT_BYTES_MAX {
            problems.push(Problem::new(
                name,
                format!(
                    "has {} bytes; at most {TEXT_BYTES_MAX} are taken",
                    text.len()
                ),
            ));
        }
    }
    for (field, all) in [("labels", &spec.labels), ("annotations", &spec.annotations)] {
        if all.len() > TEXTS_MAX {
            problems.push(Problem::new(
                field,
                format!("has {} entries; at most {TEXTS_MAX} are taken", all.len()),
            ));
        }
        for (name, text) in all {
            if name.len() + text.len() > TEXT_BYTES_MAX {
                problems.push(Problem::new(
                    format!("{field}.{name}"),
                    format!(
                        "has {} bytes; at most {TEXT_BYTES_MAX} are taken",
                        text.len()
                    ),
                ));
            }
        }
    }
    for name in spec.labels.keys() {
        if !is_label_name(name) || name == "__name__" {
            problems.push(Problem::new(
                format!("labels.{name}"),
                format!("invalid label name: {name}"),
            ));
        }
    }
    for name in spec.annotations.keys() {
        if !is_label_name(name) {
            problems.push(Problem::new(
                format!("annotations.{name}"),
                format!("invalid annotation name: {name}"),
            ));
        }
    }
    if spec.alert.is_empty() {
        return;
    }
    for (field, word, all) in [
        ("labels", "label", &spec.labels),
        ("annotations", "annotation", &spec.annotations),
    ] {
        for (name, text) in all {
            if let Err(what) = expand::check(&spec.alert, text) {
                problems.push(Problem::new(
                    format!("{field}.{name}"),
                    format!("{word} {name:?}: {what}"),
                ));
            }
        }
    }
}

/// Whether a label can be called so: a letter or `_`, then those and digits.
#[must_use]
pub fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a metric can be called so: as a label, and `:`.
#[must_use]
pub fn is_metric_name(name: &str) -> bool {
    is_label_name(&name.replace(':', "_"))
}

/// Whether a rule's expression has a value that a rule can use.
pub(crate) fn is_usable(expr: &Expr) -> bool {
    matches!(expr.value_type(), ValueType::Scalar | ValueType::Vector)
}
