//! What was measured around an incident, from what is stored: the series that its rule asks for.

use std::sync::Arc;

use pulseboard_engine::{Cost, Tenant};
use pulseboard_promql::{
    Expr, Labels, Options,
    ast::{ExprKind, Selector, ValueType},
    parse, range,
};
use pulseboard_shared::BuiltIn;

use crate::{app::App, expressions::TenantSeries, incidents::entry::Incident};

/// What is shown before it began and after it ended.
const BEFORE_MS: i64 = 15 * 60_000;
const AFTER_MS: i64 = 5 * 60_000;

/// Of what went on for long, the end.
const SPAN_MS_MAX: i64 = 24 * 3_600_000;

/// Points of one series.
const POINTS: i64 = 1_000;

/// Selectors of an expression that are looked at, and series of each.
const SELECTORS_MAX: usize = 5;
const SERIES_MAX: usize = 20;

/// Samples that one chart may load.
const SAMPLES_MAX: u64 = 5_000_000;

/// Whose chart it is.
pub(super) struct Of<'a> {
    pub(super) app: &'a App,
    pub(super) tenant: &'a Arc<Tenant>,
    pub(super) incident: &'a Incident,
    pub(super) now_ms: i64,
    pub(super) cost: &'a Cost,
}

/// One series of a chart.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(i64, f64)>,
}

impl Of<'_> {
    /// From when to when, and how often.
    fn times(&self) -> (i64, i64, i64) {
        let incident = self.incident;
        let end_ms = incident.ended_ms.unwrap_or(self.now_ms);
        let end_ms = end_ms.saturating_add(AFTER_MS).min(self.now_ms);
        let start_ms = incident.started_ms.saturating_sub(BEFORE_MS);
        let start_ms = start_ms.max(end_ms.saturating_sub(SPAN_MS_MAX));
        let step_ms = ((end_ms - start_ms) / POINTS).max(1_000);
        // Whole steps, so that whoever looks twice sees the same.
        (start_ms.div_euclid(step_ms) * step_ms, end_ms, step_ms)
    }

    /// What its rule asks.
    fn expr(&self) -> Option<Expr> {
        let asked = match &*self.incident.expr {
            "" => built_in(&self.incident.rule)?,
            expr => expr,
        };
        parse(asked).ok()
    }

    /// Series of an expression that agree with the incident's labels where they have the same ones.
    fn ask(&self, expr: &Expr) -> Vec<Series> {
        let storage = TenantSeries::new(&self.app.storage.engine, self.tenant, self.cost)
            .with_others(self.app.archive.as_ref());
        let options = Options {
            samples_max: SAMPLES_MAX,
            ..self.app.evaluating.options()
        };
        // An incident is told without its chart where there is none to be had.
        let Ok((matrix, _notes)) = range(expr, self.times(), &storage, &storage, options) else {
            return Vec::new();
        };
        let agree = |labels: &Labels| {
            let mut named = labels.iter().filter(|(name, _)| *name != "__name__");
            named.all(|(name, value)| {
                let said = self.incident.labels.get(name);
                said.is_none_or(|said| said == value)
            })
        };
        matrix
            .into_iter()
            .filter(|(labels, points)| agree(labels) && !points.is_empty())
            .take(SERIES_MAX)
            .map(|(labels, points)| Series {
                name: name_of(&labels),
                points,
            })
            .collect()
    }
}

/// What is measured where a rule is no expression.
fn built_in(rule: &str) -> Option<&'static str> {
    let metric = match rule {
        "cpu_high" => BuiltIn::Cpu,
        "memory_high" => BuiltIn::Memory,
        "latency_high" => BuiltIn::Latency,
        _ => return None,
    };
    Some(metric.name())
}

fn name_of(labels: &Labels) -> String {
    let mut text = labels.get("__name__").to_owned();
    let others = labels.iter().filter(|(name, _)| *name != "__name__");
    let others: Vec<String> = others
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    if !others.is_empty() || text.is_empty() {
        text.push_str(&format!("{{{}}}", others.join(", ")));
    }
    text
}

/// What the rule compares, where it compares something with a number; else what it asks. One
/// series.
pub(super) fn values(of: &Of<'_>) -> Vec<(i64, f64)> {
    let Some(expr) = of.expr() else {
        return Vec::new();
    };
    let asked = compared(&expr).unwrap_or(&expr);
    if asked.value_type() != ValueType::Vector {
        return Vec::new();
    }
    let first = of.ask(asked).into_iter().next();
    first.map(|series| series.points).unwrap_or_default()
}

/// The side of a comparison that is no number.
fn compared(expr: &Expr) -> Option<&Expr> {
    match &expr.kind {
        ExprKind::Paren(inner) => compared(inner),
        ExprKind::Binary(binary) if binary.op.is_comparison() => {
            match (binary.lhs.value_type(), binary.rhs.value_type()) {
                (ValueType::Vector, ValueType::Scalar) => Some(&binary.lhs),
                (ValueType::Scalar, ValueType::Vector) => Some(&binary.rhs),
                _ => None,
            }
        }
        _ => None,
    }
}

/// What the rule compares, and the series that it is made of.
pub(super) fn series(of: &Of<'_>) -> Vec<Series> {
    let Some(expr) = of.expr() else {
        return Vec::new();
    };
    let mut selectors = Vec::new();
    collect(&expr, &mut selectors);
    let mut all = Vec::new();
    if let Some(compared) = compared(&expr)
        && !matches!(compared.kind, ExprKind::Vector(_))
        && compared.value_type() == ValueType::Vector
    {
        all.extend(of.ask(compared).into_iter().map(|series| Series {
            name: format!("{compared} {}", series.name),
            ..series
        }));
    }
    for selector in selectors.into_iter().take(SELECTORS_MAX) {
        let expr = Expr {
            kind: ExprKind::Vector(selector),
            span: expr.span,
        };
        all.extend(of.ask(&expr));
    }
    all.truncate(SELECTORS_MAX * SERIES_MAX);
    all
}

/// All selectors of an expression, each once.
fn collect(expr: &Expr, into: &mut Vec<Selector>) {
    let mut add = |selector: &Selector| {
        if !into.contains(selector) {
            into.push(selector.clone());
        }
    };
    match &expr.kind {
        ExprKind::Vector(selector) | ExprKind::Matrix { selector, .. } => add(selector),
        ExprKind::Number(_) | ExprKind::Text(_) => {}
        ExprKind::Subquery { expr, .. }
        | ExprKind::Negative(expr)
        | ExprKind::Positive(expr)
        | ExprKind::Paren(expr) => {
            collect(expr, into);
        }
        ExprKind::Call { args, .. } => args.iter().for_each(|arg| collect(arg, into)),
        ExprKind::Aggregate(aggregate) => {
            collect(&aggregate.expr, into);
            if let Some(param) = &aggregate.param {
                collect(param, into);
            }
        }
        ExprKind::Binary(binary) => {
            collect(&binary.lhs, into);
            collect(&binary.rhs, into);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compared_and_what_it_is_made_of_are_found() {
        for (text, side, selectors) in [
            ("up == 0", Some("up"), 1),
            ("(90 < cpu)", Some("cpu"), 1),
            ("rate(a[5m]) / b > 0.1", Some("rate(a[5m]) / b"), 2),
            ("a > b", None, 2),
            ("absent(a)", None, 1),
            ("sum by (x) (a) + a > 1", Some("sum by (x) (a) + a"), 1),
        ] {
            let expr = parse(text).expect(text);
            let found = compared(&expr).map(ToString::to_string);
            assert_eq!(found.as_deref(), side, "{text}");
            let mut all = Vec::new();
            collect(&expr, &mut all);
            assert_eq!(all.len(), selectors, "{text}");
        }
    }
}
