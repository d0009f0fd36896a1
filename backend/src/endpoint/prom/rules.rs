//! Rules and what fires, as clients of Prometheus read them: Grafana asks for both when a dashboard
//! opens.

use std::collections::BTreeMap;

use pulseboard_alerting::{ERROR_RATE, Measured, Rule, default_rules};
use pulseboard_shared::{Alert, BuiltIn, Timestamp};
use salvo::{Depot, Request, Response, handler};
use serde_json::{Value, json};

use super::{
    answer::{ApiError, exponential, send, success},
    asking::Asking,
};

/// The group of the rules that are there without configuration.
const GROUP: &str = "pulseboard";

/// What fires now.
#[handler]
pub async fn alerts(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let answered = Asking::begin(request, depot).await.map(|asking| {
        let active = asking.app.alerts.active(&asking.tenant.name);
        let told: Vec<Value> = active.iter().map(alert).collect();
        success(&json!({"alerts": told}))
    });
    send(response, answered);
}

/// The rules, each with what fires by it.
#[handler]
pub async fn rules(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let answered = Asking::begin(request, depot)
        .await
        .and_then(|asking| groups(&asking).map(|groups| success(&json!({"groups": groups}))));
    send(response, answered);
}

fn groups(asking: &Asking) -> Result<Vec<Value>, ApiError> {
    let params = &asking.params;
    let is_asked = |name: &str, value: &str| {
        let mut values = params.all(name).peekable();
        values.peek().is_none() || values.any(|asked| asked == value)
    };
    let has_alerts = match params.get("type") {
        None | Some("alert") => true,
        Some("record") => false,
        Some(_) => {
            return Err(ApiError::BadData(
                "invalid parameter \"type\": alert or record is expected".to_owned(),
            ));
        }
    };
    // The built-in rules are in no file.
    if !has_alerts || !is_asked("rule_group[]", GROUP) || params.get("file[]").is_some() {
        return Ok(Vec::new());
    }
    let app = &asking.app;
    let evaluated = app
        .live
        .with_window(|window| window.newest().map(|tick| tick.sampled_ms));
    let evaluated_ms = evaluated.unwrap_or_default();
    let active = app.alerts.active(&asking.tenant.name);
    let told: Vec<Value> = default_rules()
        .into_iter()
        .chain([ERROR_RATE])
        .filter(|rule| is_asked("rule_name[]", rule.name))
        .map(|rule| {
            let firing = active.iter().filter(|alert| alert.rule == rule.name);
            let firing: Vec<Value> = firing.map(alert).collect();
            let mut told = json!({
                "type": "alerting",
                "name": rule.name,
                "query": query(&rule),
                "duration": 0,
                "keepFiringFor": 0,
                "labels": {"severity": rule.severity},
                "annotations": {},
                "health": "ok",
                "lastEvaluation": Timestamp::from_millis(evaluated_ms),
                "state": if firing.is_empty() { "inactive" } else { "firing" },
            });
            if params.get("exclude_alerts") != Some("true") {
                told["alerts"] = Value::Array(firing);
            }
            told
        })
        .collect();
    if told.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![json!({
        "name": GROUP,
        "file": "",
        "interval": app.settings.metric_interval.as_secs_f64(),
        "limit": 0,
        "lastEvaluation": Timestamp::from_millis(evaluated_ms),
        "rules": told,
    })])
}

/// What a rule compares, as an expression over the server's own series.
fn query(rule: &Rule) -> String {
    let compared = match rule.measured {
        Measured::Newest(BuiltIn::Cpu) => "cpu_usage",
        Measured::Newest(BuiltIn::Memory) => "memory_usage",
        Measured::Newest(BuiltIn::Requests) => "requests_per_sec",
        Measured::Newest(BuiltIn::Latency) => "avg_latency",
        Measured::ErrorRate => "increase(error_count[1m])",
    };
    format!("{compared} > {}", rule.above)
}

fn alert(alert: &Alert) -> Value {
    let mut labels: BTreeMap<&str, Value> = BTreeMap::new();
    for (label, value) in &alert.labels {
        labels.insert(label, json!(value));
    }
    labels.insert("alertname", json!(alert.rule));
    labels.insert("severity", json!(alert.severity));
    json!({
        "labels": labels,
        "annotations": {"summary": alert.message},
        "state": "firing",
        "activeAt": alert.started,
        "value": exponential(alert.value),
    })
}
