//! A rule as it is written, and as it is evaluated.
//!
//! [`RuleSpec`] and [`GroupSpec`] are what stands in a file or in JSON; [`Rule::new`] checks all of
//! it and makes what is evaluated. What a rule has beyond those of Prometheus:
//!
//! - `clear`: what ends a firing. An expression: a firing goes on, whatever `expr` says, until a
//!   series of `clear` comes whose labels, but the metric's name, are all among those of the
//!   alert's own series (none at all ends every alert of the rule) while `expr` does not hold. A
//!   number, for an `expr` of the form `X > t` (or `>=`, `<`, `<=`, either way round): it goes on
//!   as long as `X > number`.
//! - `missing`: what to do where a series that is compared is not there or is not a number.
//!   `resolve` as Prometheus does; `keep` what it was, firing or pending, without going from one to
//!   the other; `alert` as if it were over the threshold.
//! - `enabled`: whether it is evaluated; what fires when it is switched off ends.
//! - `every`: its group's interval, 0 for each tick. `group`: the name of its group.

use std::sync::Arc;

use pulseboard_promql::{
    Expr,
    labels::{Label, NAME},
    parse,
};

use crate::{condition::Condition, template};

pub use crate::spec::{
    Clear, GroupSpec, Missing, Problem, RuleSpec, TEXT_BYTES_MAX, TEXTS_MAX, is_label_name,
    is_metric_name,
};

impl RuleSpec {
    /// All that is wrong with it; nothing where [`Rule::new`] takes it.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        Rule::new(self.clone()).err().unwrap_or_default()
    }
}

/// A rule that can be evaluated.
#[derive(Clone, Debug)]
pub struct Rule {
    spec: Arc<RuleSpec>,
    expr: Expr,
    shown: Arc<str>,
    pub(crate) condition: Condition,
    /// Its labels, which every series and alert of it gets.
    pub(crate) set: Box<[SetLabel]>,
    /// What each of its alerts, or recorded series, is called.
    pub(crate) named: Label,
}

/// A label of a rule.
#[derive(Clone, Debug)]
pub(crate) struct SetLabel {
    pub(crate) name: Arc<str>,
    pub(crate) text: Arc<str>,
    /// Of an alerting rule: whether it is another one for each alert.
    pub(crate) is_template: bool,
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
                set: spec
                    .labels
                    .iter()
                    .map(|(name, text)| SetLabel {
                        name: Arc::from(name.as_str()),
                        text: Arc::from(text.as_str()),
                        is_template: template::is_template(text),
                    })
                    .collect(),
                named: match spec.alert.is_empty() {
                    true => (Arc::from(NAME), Arc::from(spec.record.as_str())),
                    false => (
                        Arc::from(template::ALERT_NAME),
                        Arc::from(spec.alert.as_str()),
                    ),
                },
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
            if let Err(what) = template::check(&spec.alert, text) {
                problems.push(Problem::new(
                    format!("{field}.{name}"),
                    format!("{word} {name:?}: {what}"),
                ));
            }
        }
    }
}
