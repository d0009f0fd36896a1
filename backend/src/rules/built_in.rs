//! The rules that are there without configuration. As they are written they are compared with each
//! tick's own figures (`alerting`), which are finer than what is stored; once somebody has changed
//! more than the threshold or how bad it is, one is a rule as any other, over the stored series.

use std::{collections::BTreeMap, sync::Arc};

use pulseboard_alerting::{ERROR_RATE, Measured, Rule as Fast, default_rules};
use pulseboard_engine::DEFAULT_TENANT;
use pulseboard_promql::{
    Expr,
    ast::{BinaryOp, ExprKind},
    parse,
};
use pulseboard_rules::{Period, Problem, RuleSpec, group::Defaults};
use pulseboard_shared::BuiltIn as Metric;

use super::{
    made::{self, Made, MakeError},
    say::severity_of,
    wanted::{BUILT_IN_GROUP, Source, Wanted},
};
use crate::base::documents::Documents;

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct BuiltIn {
    rule: Fast,
    /// As it is now.
    pub(super) spec: RuleSpec,
}

/// All of them as they are without configuration.
pub(super) fn defaults() -> Vec<BuiltIn> {
    let rules = default_rules().into_iter().chain([ERROR_RATE]);
    rules
        .map(|rule| BuiltIn {
            spec: written(&rule),
            rule,
        })
        .collect()
}

/// What is compared, as an expression over the stored series.
fn compared(measured: Measured) -> &'static str {
    match measured {
        Measured::Newest(Metric::Cpu) => "cpu_usage",
        Measured::Newest(Metric::Memory) => "memory_usage",
        Measured::Newest(Metric::Requests) => "requests_per_sec",
        Measured::Newest(Metric::Latency) => "avg_latency",
        Measured::ErrorRate => "increase(error_count[1m])",
    }
}

/// The line for people, with a hole for the value.
fn summary(measured: Measured) -> String {
    let value = "{{ $value | printf \"%.1f\" }}";
    match measured {
        Measured::Newest(Metric::Cpu) => format!("CPU usage critical: {value}%"),
        Measured::Newest(Metric::Memory) => format!("Memory usage high: {value}%"),
        Measured::Newest(Metric::Requests) => format!("Request rate high: {value} req/s"),
        Measured::Newest(Metric::Latency) => format!("Latency spike: {value}ms"),
        Measured::ErrorRate => "Error rate exceeded threshold".to_owned(),
    }
}

fn written(rule: &Fast) -> RuleSpec {
    let severity = rule.severity.as_str().to_owned();
    RuleSpec {
        alert: rule.name.to_owned(),
        expr: format!("{} > {}", compared(rule.measured), rule.above),
        labels: BTreeMap::from([("severity".to_owned(), severity)]),
        annotations: BTreeMap::from([("summary".to_owned(), summary(rule.measured))]),
        group: BUILT_IN_GROUP.to_owned(),
        every: Some(Period::from_millis(0)),
        ..RuleSpec::default()
    }
}

/// Whether a rule of this id is built in.
pub(super) fn is_one(id: &str) -> bool {
    default_rules()
        .iter()
        .chain([&ERROR_RATE])
        .any(|rule| rule.name == id)
}

/// What a built-in rule may not become.
pub(super) fn check(spec: &RuleSpec) -> Result<(), MakeError> {
    if spec.alert.is_empty() {
        return Err(MakeError::Fields(vec![Problem {
            field: "alert".to_owned(),
            what: "a built-in rule is one that alerts".to_owned(),
        }]));
    }
    Ok(())
}

/// What was changed before.
pub(super) fn restore(rules: &mut [BuiltIn], documents: &Documents) {
    for rule in rules {
        if let Some((_, made)) = documents.get::<Made>(&made::document(rule.id())) {
            rule.spec = made.spec;
        }
    }
}

/// Changes one.
pub(super) fn set(rules: &mut [BuiltIn], id: &str, spec: RuleSpec) {
    if let Some(rule) = rules.iter_mut().find(|rule| rule.id() == id) {
        rule.spec = spec;
    }
}

/// Makes one what it is without configuration.
pub(super) fn reset(rules: &mut [BuiltIn], id: &str) {
    if let Some(rule) = rules.iter_mut().find(|rule| rule.id() == id) {
        rule.spec = written(&rule.rule);
    }
}

/// The one over tracked errors, if it is on, and the others.
pub(super) fn split(fast: Vec<Fast>) -> (Option<Fast>, Vec<Fast>) {
    let (errors, others): (Vec<_>, Vec<_>) = fast
        .into_iter()
        .partition(|rule| rule.measured == Measured::ErrorRate);
    (errors.into_iter().next(), others)
}

impl BuiltIn {
    pub(super) fn id(&self) -> &'static str {
        self.rule.name
    }

    /// The rule over ticks, where nothing but its threshold and severity was changed and it is on.
    pub(super) fn fast(&self) -> Option<Fast> {
        if !self.spec.enabled {
            return None;
        }
        self.plain()
    }

    /// The same, whether it is on or not.
    fn plain(&self) -> Option<Fast> {
        let threshold = threshold(&self.spec.expr, compared(self.rule.measured))?;
        let mut same = written(&self.rule);
        same.expr.clone_from(&self.spec.expr);
        same.enabled = self.spec.enabled;
        let severity = self.spec.labels.get("severity")?;
        same.labels.insert("severity".to_owned(), severity.clone());
        same.group.clone_from(&self.spec.group);
        if same != self.spec || severity_of(Some(severity)).as_str() != severity {
            return None;
        }
        Some(Fast {
            above: threshold,
            severity: severity_of(Some(severity)),
            ..self.rule
        })
    }

    /// The group that it is in, where it is a rule as any other.
    pub(super) fn wanted(&self, defaults: Defaults) -> Option<Wanted> {
        if self.plain().is_some() {
            return None;
        }
        let tenant: Arc<str> = DEFAULT_TENANT.into();
        let source = (Source::BuiltIn, defaults);
        Some(made::wanted(self.id(), tenant, &self.spec, source))
    }
}

/// The number in `compared > NUMBER`.
fn threshold(expr: &str, compared: &str) -> Option<f64> {
    let expr = parse(expr).ok()?;
    let plain = parse(compared).ok()?.to_string();
    let ExprKind::Binary(binary) = &expr.kind else {
        return None;
    };
    if binary.op != BinaryOp::Greater || binary.lhs.to_string() != plain {
        return None;
    }
    number(&binary.rhs)
}

fn number(expr: &Expr) -> Option<f64> {
    match &expr.kind {
        ExprKind::Number(value) => Some(*value),
        _ => None,
    }
}
