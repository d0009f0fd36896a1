//! From an alert of a rule to what is published of it.

use std::sync::Arc;

use pulseboard_alerting::{ALERTNAME, AlertEvent, Detail, SEVERITY, new_id};
use pulseboard_promql::{
    Expr,
    ast::{BinaryOp, ExprKind},
};
use pulseboard_rules::{Alert as RuleAlert, Rule, State, state::fingerprint};
use pulseboard_shared::{Alert, AlertState, Labels, Severity, Timestamp};

/// Rules of this beginning are not ours: their alerts were sent by others, who end them.
const FOREIGN: &str = "alertmanager";

/// A longer line is none, in bytes; the annotation is told as a whole.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// An alert's firing: what was said of it last.
#[derive(Clone, Debug)]
pub(super) struct Incident(AlertEvent);

/// How bad a `severity` label says it is.
#[must_use]
pub fn severity_of(label: Option<&str>) -> Severity {
    match label {
        Some("critical" | "page" | "fatal" | "emergency") => Severity::Critical,
        Some("high" | "error") => Severity::High,
        Some("medium") => Severity::Medium,
        Some("low" | "info" | "none") => Severity::Low,
        _ => Severity::Warning,
    }
}

/// Whether an alert fires; those that are said and do not are over.
pub(super) fn fires(alert: &RuleAlert) -> bool {
    alert.state == State::Firing
}

/// Whose incident was published: its rule, and its labels' fingerprint.
pub(super) fn key_of(event: &AlertEvent) -> Option<(String, u64)> {
    let detail = event.detail.as_ref()?;
    let mut labels = event.alert.labels.clone();
    labels.insert(ALERTNAME.to_owned(), event.alert.rule.clone());
    let labels = labels.into_iter();
    let labels = labels.map(|(name, value)| (name.into(), value.into()));
    Some((detail.rule_id.clone(), fingerprint(&labels.collect())))
}

/// Whether whoever evaluates rules has nothing to do with an incident.
pub(super) fn is_foreign(rule_id: &str) -> bool {
    rule_id.starts_with(FOREIGN)
}

/// The last of an incident.
pub(super) fn ended(event: AlertEvent, now_ms: i64) -> AlertEvent {
    Incident(event).ended(now_ms)
}

/// The line for people.
fn message(alert: &RuleAlert, rule: &Rule) -> String {
    let mut line = whole_message(alert, rule);
    let mut end = MESSAGE_BYTES_MAX.min(line.len());
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    line
}

fn whole_message(alert: &RuleAlert, rule: &Rule) -> String {
    ["summary", "message", "description"]
        .iter()
        .filter_map(|name| alert.annotations.get(*name))
        .find(|text| !text.trim().is_empty())
        .map_or_else(|| rule.spec().alert.clone(), Clone::clone)
}

/// What an expression compares with, where that is a number.
fn threshold(expr: &Expr) -> f64 {
    let ExprKind::Binary(binary) = &expr.kind else {
        return match &expr.kind {
            ExprKind::Paren(inner) => threshold(inner),
            _ => f64::NAN,
        };
    };
    let compares = [
        BinaryOp::Greater,
        BinaryOp::GreaterEqual,
        BinaryOp::Less,
        BinaryOp::LessEqual,
        BinaryOp::Equal,
        BinaryOp::NotEqual,
    ];
    match (
        compares.contains(&binary.op),
        &binary.rhs.kind,
        &binary.lhs.kind,
    ) {
        (true, ExprKind::Number(value), _) | (true, _, ExprKind::Number(value)) => *value,
        (true, ExprKind::Negative(inner), _) => match inner.kind {
            ExprKind::Number(value) => -value,
            _ => f64::NAN,
        },
        _ => f64::NAN,
    }
}

impl Incident {
    /// A firing that begins, and what is said of it.
    pub(super) fn begin(
        tenant: &Arc<str>,
        rule_id: &str,
        alert: &RuleAlert,
        rule: &Rule,
        at_ms: i64,
    ) -> (Self, AlertEvent) {
        let labels: Labels = alert
            .labels
            .iter()
            .filter(|(name, _)| *name != ALERTNAME)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let event = AlertEvent {
            tenant: Some(Arc::clone(tenant)),
            alert: Alert {
                id: new_id(at_ms),
                message: message(alert, rule),
                severity: severity_of(labels.get(SEVERITY).map(String::as_str)),
                timestamp: Timestamp::from_millis(at_ms),
                incident: new_id(at_ms),
                rule: rule.spec().alert.clone(),
                state: AlertState::Firing,
                value: alert.value,
                threshold: threshold(rule.expr()),
                started: Timestamp::from_millis(alert.fired_at_ms.unwrap_or(at_ms)),
                labels,
            },
            detail: Some(Arc::new(Detail {
                rule_id: rule_id.to_owned(),
                expr: rule.spec().expr.clone(),
                annotations: (*alert.annotations).clone(),
            })),
        };
        (Self(event.clone()), event)
    }

    /// One that goes on where a run before this one ended.
    pub(super) fn of(event: AlertEvent) -> Self {
        Self(event)
    }

    /// What was said of it last.
    pub(super) fn event(&self) -> AlertEvent {
        self.0.clone()
    }

    /// It is said once more.
    pub(super) fn goes_on(&mut self, alert: &RuleAlert, rule: &Rule, at_ms: i64) -> AlertEvent {
        let event = &mut self.0;
        event.alert.id = new_id(at_ms);
        event.alert.timestamp = Timestamp::from_millis(at_ms);
        event.alert.value = alert.value;
        event.alert.message = message(alert, rule);
        if let Some(detail) = &mut event.detail
            && (detail.annotations != *alert.annotations || detail.expr != rule.spec().expr)
        {
            *detail = Arc::new(Detail {
                rule_id: detail.rule_id.clone(),
                expr: rule.spec().expr.clone(),
                annotations: (*alert.annotations).clone(),
            });
        }
        event.clone()
    }

    /// It is over, with the value at which it was.
    pub(super) fn ended_as(mut self, alert: &RuleAlert, at_ms: i64) -> AlertEvent {
        if !alert.value.is_nan() {
            self.0.alert.value = alert.value;
        }
        self.ended(at_ms)
    }

    /// It is over.
    pub(super) fn ended(mut self, at_ms: i64) -> AlertEvent {
        self.0.alert.id = new_id(at_ms);
        self.0.alert.timestamp = Timestamp::from_millis(at_ms);
        self.0.alert.state = AlertState::Resolved;
        self.0
    }
}
