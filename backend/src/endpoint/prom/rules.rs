//! Rules and what fires, as clients of Prometheus read them: Grafana asks for both when a dashboard
//! opens.

use std::collections::BTreeMap;

use pulseboard_alerting::AlertEvent;
use pulseboard_promql::parse_selector;
use pulseboard_rules::{Alert as RuleAlert, GroupStatus, RuleSpec, RuleStatus};
use pulseboard_shared::{Alert, Timestamp};
use salvo::{Depot, Request, Response, handler};
use serde_json::{Value, json};

use super::{
    answer::{ApiError, NEVER, exponential, send},
    asking::Asking,
    matching::{Test, tests},
    params::bad_expression,
};
use crate::rules::{BUILT_IN_GROUP, Shown, Source, hash};

/// Selectors of one question.
const MATCHES_MAX: usize = 100;

/// What fires or is about to.
#[handler]
pub async fn list_alerts(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let answered = match Asking::begin(request, depot).await {
        Ok(asking) => {
            asking
                .work(|asking, working| {
                    let app = &asking.app;
                    let mut told: Vec<Value> = plain(asking).iter().map(alert).collect();
                    for group in app.rules.shown(&asking.tenant.name) {
                        let rules = group.status.rules.iter();
                        told.extend(rules.flat_map(|rule| rule.alerts.iter().map(rule_alert)));
                    }
                    let mut text = working.text();
                    text.push_json(&json!({"status": "success", "data": {"alerts": told}}))?;
                    Ok(working.finish(text.into_pieces()))
                })
                .await
        }
        Err(error) => Err(error),
    };
    send(response, answered);
}

/// The rules, each with what fires by it.
#[handler]
pub async fn list_rules(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let answered = match Asking::begin(request, depot).await {
        Ok(asking) => {
            asking
                .work(|asking, working| {
                    let groups = groups(asking)?;
                    let mut text = working.text();
                    text.push_json(&json!({"status": "success", "data": groups}))?;
                    Ok(working.finish(text.into_pieces()))
                })
                .await
        }
        Err(error) => Err(error),
    };
    send(response, answered);
}

/// Alerts of rules that every tick is compared with.
fn plain(asking: &Asking) -> Vec<Alert> {
    let active = asking.app.alerts.manager().events(&asking.tenant.name);
    let of_ticks = active
        .into_iter()
        .filter(|event: &AlertEvent| event.detail.is_none());
    of_ticks.map(|event| event.alert).collect()
}

/// What is asked for.
struct Filter<'a> {
    asking: &'a Asking,
    alerts: bool,
    records: bool,
    excludes_alerts: bool,
    matches: Vec<Vec<Test>>,
}

impl<'a> Filter<'a> {
    fn of(asking: &'a Asking) -> Result<Self, ApiError> {
        let params = &asking.params;
        let (alerts, records) = match params.get("type") {
            None | Some("") => (true, true),
            Some("alert") => (true, false),
            Some("record") => (false, true),
            Some(_) => {
                return Err(ApiError::BadData(
                    "invalid parameter \"type\": alert or record is expected".to_owned(),
                ));
            }
        };
        let read = |text| {
            let selector = parse_selector(text).map_err(|error| bad_expression("match[]", &error));
            tests(&selector?)
        };
        let matches = params.all("match[]").take(MATCHES_MAX).map(read);
        let matches = matches.collect::<Result<_, _>>()?;
        Ok(Self {
            asking,
            alerts,
            records,
            excludes_alerts: match params.get("exclude_alerts") {
                None | Some("") => false,
                Some(text) => truth(text).ok_or_else(|| {
                    ApiError::BadData(
                        "invalid parameter \"exclude_alerts\": true or false is expected"
                            .to_owned(),
                    )
                })?,
            },
            matches,
        })
    }

    fn is_asked(&self, name: &str, value: &str) -> bool {
        let mut values = self.asking.params.all(name).peekable();
        values.peek().is_none() || values.any(|asked| asked == value)
    }

    fn takes_rule(&self, spec: &RuleSpec) -> bool {
        let is_alert = !spec.alert.is_empty();
        let kind = if is_alert { self.alerts } else { self.records };
        let value_of = |name: &str| spec.labels.get(name).map_or("", String::as_str);
        let holds = |test: &Test| test.holds(value_of);
        kind && self.is_asked("rule_name[]", spec.name())
            && (self.matches.is_empty() || self.matches.iter().any(|all| all.iter().all(holds)))
    }
}

/// A truth as Prometheus reads it, by Go's `strconv.ParseBool`.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A group as it is told.
struct Told {
    file: String,
    name: String,
    interval_s: f64,
    limit: usize,
    last_ms: Option<i64>,
    took_s: f64,
    rules: Vec<Value>,
}

fn groups(asking: &Asking) -> Result<Value, ApiError> {
    let filter = Filter::of(asking)?;
    let params = &asking.params;
    let app = &asking.app;
    let mut told: Vec<Told> = Vec::new();
    let built_in = built_in(asking, &filter);
    if !built_in.rules.is_empty() {
        told.push(built_in);
    }
    for shown in app.rules.shown(&asking.tenant.name) {
        let rules: Vec<Value> = shown
            .status
            .rules
            .iter()
            .filter(|rule| filter.takes_rule(&rule.spec))
            .map(|rule| rule_value(rule, filter.excludes_alerts))
            .collect();
        if rules.is_empty() {
            continue;
        }
        add(&mut told, &shown, rules);
    }
    told.retain(|group| {
        filter.is_asked("rule_group[]", &group.name)
            && (params.get("file[]").is_none() || filter.is_asked("file[]", &group.file))
    });
    let limit = params.get("group_limit").unwrap_or_default();
    let limit: usize = match limit {
        "" => usize::MAX,
        text => text
            .parse()
            .ok()
            .filter(|limit| *limit > 0)
            .ok_or_else(|| {
                ApiError::BadData(
                    "invalid parameter \"group_limit\": a whole number above 0 is expected"
                        .to_owned(),
                )
            })?,
    };
    let mut rest = told.as_slice();
    if let Some(token) = params
        .get("group_next_token")
        .filter(|token| !token.is_empty())
    {
        let from = told.iter().position(|group| token_of(group) == token);
        let from = from.ok_or_else(|| {
            ApiError::BadData(
                "invalid parameter \"group_next_token\": there is no such group any more"
                    .to_owned(),
            )
        })?;
        rest = &told[from..];
    }
    let shown: Vec<Value> = rest.iter().take(limit).map(group_value).collect();
    let mut answer = json!({"groups": shown});
    if let Some(next) = rest.get(limit) {
        answer["groupNextToken"] = json!(token_of(next));
    }
    Ok(answer)
}

fn token_of(group: &Told) -> String {
    let place = format!("{}\u{0}{}", group.file, group.name);
    format!("{:016x}", hash(place.as_bytes()))
}

/// Rules that were made alone stand together under the name of their group.
fn add(told: &mut Vec<Told>, shown: &Shown, rules: Vec<Value>) {
    let status: &GroupStatus = &shown.status;
    if shown.source != Source::File
        && let Some(same) = told
            .iter_mut()
            .find(|group| group.file.is_empty() && group.name == status.name)
    {
        same.rules.extend(rules);
        same.last_ms = same.last_ms.max(status.last_evaluation_ms);
        same.took_s += status.evaluation_seconds;
        return;
    }
    told.push(Told {
        file: shown.file.clone(),
        name: status.name.clone(),
        interval_s: status.interval_ms as f64 / 1000.0,
        limit: status.limit,
        last_ms: status.last_evaluation_ms,
        took_s: status.evaluation_seconds,
        rules,
    });
}

/// The built-in rules that every tick is compared with.
fn built_in(asking: &Asking, filter: &Filter<'_>) -> Told {
    let app = &asking.app;
    let evaluated = app
        .live
        .with_window(|window| window.newest().map(|tick| tick.sampled_ms));
    let active = plain(asking);
    let rules = app.rules.built_in();
    let rules = rules
        .iter()
        .filter(|(_, spec, is_plain)| *is_plain && spec.enabled && filter.takes_rule(spec))
        .map(|(_, spec, _)| {
            let firing = active.iter().filter(|alert| alert.rule == spec.alert);
            let firing: Vec<Value> = firing.map(alert).collect();
            let mut told = json!({
                "type": "alerting",
                "name": spec.alert,
                "query": spec.expr,
                "duration": 0,
                "keepFiringFor": 0,
                "labels": spec.labels,
                "annotations": spec.annotations,
                "health": "ok",
                "evaluationTime": 0,
                "lastEvaluation": when(evaluated),
                "state": if firing.is_empty() { "inactive" } else { "firing" },
            });
            if !filter.excludes_alerts {
                told["alerts"] = Value::Array(firing);
            }
            told
        })
        .collect();
    Told {
        file: String::new(),
        name: BUILT_IN_GROUP.to_owned(),
        interval_s: app.settings.metric_interval.as_secs_f64(),
        limit: 0,
        last_ms: evaluated,
        took_s: 0.0,
        rules,
    }
}

fn group_value(group: &Told) -> Value {
    json!({
        "name": group.name,
        "file": group.file,
        "interval": group.interval_s,
        "limit": group.limit,
        "evaluationTime": group.took_s,
        "lastEvaluation": when(group.last_ms),
        "rules": group.rules,
    })
}

fn rule_value(rule: &RuleStatus, excludes_alerts: bool) -> Value {
    let spec = &rule.spec;
    let mut told = json!({
        "name": spec.name(),
        "query": &*rule.query,
        "labels": spec.labels,
        "health": rule.health.name(),
        "evaluationTime": rule.evaluation_seconds,
        "lastEvaluation": when(rule.last_evaluation_ms),
    });
    if !rule.last_error.is_empty() {
        told["lastError"] = json!(rule.last_error);
    }
    if spec.alert.is_empty() {
        told["type"] = json!("recording");
        return told;
    }
    told["type"] = json!("alerting");
    told["duration"] = json!(spec.hold.as_millis() as f64 / 1000.0);
    told["keepFiringFor"] = json!(spec.keep_firing_for.as_millis() as f64 / 1000.0);
    told["annotations"] = json!(spec.annotations);
    told["state"] = json!(rule.state.name());
    if !excludes_alerts {
        told["alerts"] = rule.alerts.iter().map(rule_alert).collect();
    }
    told
}

fn when(at_ms: Option<i64>) -> Value {
    match at_ms {
        Some(at_ms) => json!(Timestamp::from_millis(at_ms)),
        None => json!(NEVER),
    }
}

fn rule_alert(alert: &RuleAlert) -> Value {
    let labels: BTreeMap<&str, &str> = alert.labels.iter().collect();
    let mut told = json!({
        "labels": labels,
        "annotations": *alert.annotations,
        "state": alert.state.name(),
        "activeAt": Timestamp::from_millis(alert.active_at_ms),
        "value": exponential(alert.value),
    });
    if let Some(since_ms) = alert.keep_firing_since_ms {
        told["keepFiringSince"] = json!(Timestamp::from_millis(since_ms));
    }
    told
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
