//! `/api/rules`: rules that are made, changed and removed while the server runs, those of files and
//! the built-in ones beside them; and what a rule would have done.

use std::{collections::BTreeMap, sync::Arc};

use pulseboard_engine::{Tenant, query::QueryError};
use pulseboard_rules::{
    Env, GroupSpec, Rule, RuleSpec, RuleStatus,
    file::write,
    rehearse::{Bounds, Rehearsal, rehearse},
};
use pulseboard_shared::{FieldError, Timestamp, figure};
use salvo::{
    Depot, Request, Response, handler,
    http::{
        StatusCode,
        header::{CONTENT_TYPE, ETAG, HeaderValue},
    },
    writing::Json,
};
use serde_json::{Map, Value, json};

use super::change::{away, caught_up, wrong_field};
use crate::{
    app::App,
    base::{
        documents::{DocumentError, Expected, Revision},
        error::AppError,
        typed,
    },
    expressions::TenantSeries,
    http::{
        self,
        body::{blocking, read_json},
        caller,
        counted::{send, send_text},
        if_match,
        ingest::engine_tenant,
        path,
        tenant::{reading, tenant},
    },
    questions::{Finished, Text, Working},
    rules::{BUILT_IN_GROUP, MakeError, Shown, Source},
};

/// What the server says of a rule and nobody else does.
const OURS: [&str; 9] = [
    "id",
    "source",
    "file",
    "health",
    "lastError",
    "lastEvaluation",
    "evaluationTime",
    "state",
    "alerts",
];

/// What a rehearsal asks for.
const REHEARSED: [&str; 3] = ["rule", "start", "end"];

/// A rehearsal without a beginning goes back so far.
const REHEARSED_MS: i64 = 86_400_000;

/// All rules that the caller's tenant has; `?format=yaml` those that were made, as a rule file.
#[handler]
pub async fn list_rules(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let (app, tenant) = reading(request, depot)?;
    let is_yaml = match request.query::<&str>("format") {
        None | Some("json") => false,
        Some("yaml") => true,
        Some(_) => return Err(AppError::bad_query("format", "json or yaml is accepted")),
    };
    let keys = caller::caller_keys(request, depot, Some(&tenant));
    let worker = Arc::clone(&app);
    // There may be tens of thousands.
    let listed = app.questions.ask(keys, move |working| {
        let mut text = working.text();
        let written = match is_yaml {
            true => text.push(&as_file(&worker, &tenant)),
            false => write_all(&worker, &tenant, &mut text),
        };
        written.map_err(|error| worker.questions.refuse(&error))?;
        Ok::<Finished, AppError>(working.finish(text.into_pieces()))
    });
    let listed = listed.await??;
    match is_yaml {
        true => {
            let yaml = HeaderValue::from_static("application/yaml; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, yaml);
            send(response, listed);
        }
        false => send_text(response, listed),
    }
    Ok(())
}

fn write_all(app: &App, tenant: &str, text: &mut Text<'_>) -> Result<(), QueryError> {
    text.push("{\"rules\":[")?;
    let mut comma = "";
    let plain = app.rules.built_in().into_iter();
    for (id, spec, _) in plain.filter(|(_, _, is_plain)| *is_plain) {
        text.push(comma)?;
        text.push_json(&of_ticks(app, tenant, id, &spec))?;
        comma = ",";
    }
    for group in app.rules.shown(tenant) {
        for (rule, id) in group.status.rules.iter().zip(&group.rule_ids) {
            text.push(comma)?;
            text.push_json(&of_group(app, &group, rule, id))?;
            comma = ",";
        }
    }
    text.push("]}")
}

/// One rule.
#[handler]
pub async fn get_rule(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<Json<Value>, AppError> {
    let (app, tenant) = reading(request, depot)?;
    let id = path::named(request, "id")?;
    tagged(one(&app, &tenant, &id)?, response)
}

/// A rule with its `ETag`; one of a file has none, since it is changed elsewhere.
fn tagged(rule: Value, response: &mut Response) -> Result<Json<Value>, AppError> {
    if let Some(revision) = rule["revision"].as_u64() {
        response.headers_mut().insert(ETAG, if_match::tag(revision));
    }
    Ok(Json(rule))
}

/// Makes a rule.
#[handler]
pub async fn make_rule(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<Json<Value>, AppError> {
    caller::require_administer(depot)?;
    let tenant: Arc<str> = tenant(request, depot)?.into();
    let app = http::app::app(depot)?;
    let (spec, _) = read_rule(read_json(&app, request).await?)?;
    caught_up(&app).await?;
    let making = Arc::clone(&app);
    let owner = Arc::clone(&tenant);
    let id = blocking(move || making.rules.make_rule(&owner, spec)).await?;
    let id = id.map_err(refusal)?;
    let by = caller::actor(request, depot);
    tracing::info!(by, tenant = &*tenant, rule.id = id, "a rule was made");
    response.status_code(StatusCode::CREATED);
    if let Ok(location) = HeaderValue::from_str(&format!("/api/rules/{id}")) {
        response.headers_mut().insert("location", location);
    }
    tagged(one(&app, &tenant, &id)?, response)
}

/// Changes a rule; with the `revision` that was read, or its `ETag`, nothing that somebody else
/// changed meanwhile.
#[handler]
pub async fn change_rule(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<Json<Value>, AppError> {
    caller::require_administer(depot)?;
    let tenant = tenant(request, depot)?;
    let app = http::app::app(depot)?;
    let id = path::named(request, "id")?;
    caught_up(&app).await?;
    may_change(&app, depot, &tenant, &id)?;
    let by_header = if_match::expected(request, app.rules.revision(&id))?;
    let (spec, by_body) = read_rule(read_json(&app, request).await?)?;
    let expected = if_match::both(by_header, by_body)?;
    let (changing, changed) = (Arc::clone(&app), id.clone());
    let done = blocking(move || changing.rules.change_rule(&changed, spec, expected)).await?;
    done.map_err(|error| conflict(error, by_header))?;
    let by = caller::actor(request, depot);
    tracing::info!(by, tenant, rule.id = id, "a rule was changed");
    tagged(one(&app, &tenant, &id)?, response)
}

/// 412 where somebody was faster than a request with `If-Match`.
fn conflict(error: MakeError, by_header: Option<Expected>) -> AppError {
    match (&error, by_header) {
        (MakeError::Document(DocumentError::Conflict { .. }), Some(_)) => if_match::changed(),
        _ => refusal(error),
    }
}

/// Removes a rule that was made; a built-in one is again what it was.
#[handler]
pub async fn remove_rule(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    caller::require_administer(depot)?;
    let tenant = tenant(request, depot)?;
    let app = http::app::app(depot)?;
    let id = path::named(request, "id")?;
    caught_up(&app).await?;
    may_change(&app, depot, &tenant, &id)?;
    let by_header = if_match::expected(request, app.rules.revision(&id))?;
    let expected = if_match::both(by_header, Expected::Any)?;
    let removed = id.clone();
    let done = blocking(move || app.rules.remove_rule(&removed, expected)).await?;
    done.map_err(|error| conflict(error, by_header))?;
    let by = caller::actor(request, depot);
    tracing::info!(by, tenant, rule.id = id, "a rule was removed");
    response.status_code(StatusCode::NO_CONTENT);
    Ok(())
}

/// When a rule would have fired.
#[handler]
pub async fn rehearse_rule(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Value>, AppError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    let tenant = engine_tenant(&app, request, depot)?;
    let keys = caller::caller_keys(request, depot, Some(&tenant.name));
    let body: Value = read_json(&app, request).await?;
    let mut given = body.as_object().into_iter().flatten();
    if let Some((name, _)) = given.find(|(name, _)| !REHEARSED.contains(&name.as_str())) {
        return Err(wrong_field(
            typed::step(name),
            format!("is not known; known are {}", REHEARSED.join(", ")),
        ));
    }
    let (spec, _) = read_rule(body.get("rule").cloned().ok_or_else(|| missing("/rule"))?)
        .map_err(|error| below("/rule", error))?;
    let rule = Rule::new(spec).map_err(|problems| wrong_fields(&problems, "/rule"))?;
    let now_ms = app.clock.now_ms();
    let end = moment(&body, "end")?.unwrap_or((now_ms, Form::Text));
    let start = moment(&body, "start")?.unwrap_or((end.0 - REHEARSED_MS, end.1));
    let form = start.1;
    if start.0 >= end.0 {
        return Err(
            AppError::bad_request("\"start\" must be before \"end\"").with_errors(vec![
                FieldError {
                    pointer: "/start".to_owned(),
                    detail: "a time before \"end\" is accepted".to_owned(),
                },
            ]),
        );
    }
    let asked = Asked {
        app: Arc::clone(&app),
        tenant,
        rule,
        // Nothing is known of what has not happened.
        times: (start.0, end.0.min(now_ms)),
    };
    let rehearsed = app
        .questions
        .ask(keys, move |working| asked.rehearse(working))
        .await?;
    let rehearsed =
        rehearsed.map_err(|why| AppError::new(StatusCode::UNPROCESSABLE_ENTITY, why))?;
    Ok(Json(told(&rehearsed, form)))
}

/// A rehearsal that is worked on.
struct Asked {
    app: Arc<App>,
    tenant: Arc<Tenant>,
    rule: Rule,
    times: (i64, i64),
}

impl Asked {
    fn rehearse(&self, working: &Working) -> Result<Rehearsal, String> {
        let series = TenantSeries::new(&self.app.storage.engine, &self.tenant, &working.cost)
            .with_others(self.app.archive.as_ref());
        let external_url = self.app.settings.external_address();
        let external_labels = self.app.scraping.for_rules().external_labels;
        let env = Env {
            storage: &series,
            guard: &series,
            options: self.app.evaluating.options(),
            external_labels: &external_labels,
            external_url: &external_url,
            resend_delay_ms: i64::MAX,
        };
        let every_ms = self.app.rules.every(self.rule.spec()).max(1);
        let (start_ms, end_ms) = self.times;
        // As the rule would have been evaluated, and of a long stretch no more often than its
        // evaluations can be counted.
        let most = i64::try_from(Bounds::default().steps).unwrap_or(i64::MAX);
        let step_ms = every_ms.max((end_ms - start_ms) / most + 1);
        let step_ms = (step_ms + every_ms - 1) / every_ms * every_ms;
        rehearse(
            &self.rule,
            (start_ms, end_ms, step_ms),
            (0, 0),
            &env,
            Bounds::default(),
        )
    }
}

/// How times are told: as they were asked.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Millis,
    Seconds,
}

/// A time of the body: RFC 3339, or Unix time in seconds or milliseconds.
fn moment(body: &Value, name: &str) -> Result<Option<(i64, Form)>, AppError> {
    let wrong = || {
        AppError::bad_request(format!("{name:?} is no time")).with_errors(vec![FieldError {
            pointer: format!("/{name}"),
            detail: "RFC 3339, or Unix time in seconds or milliseconds, is accepted".to_owned(),
        }])
    };
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            let parsed: Timestamp = text.parse().map_err(|_none| wrong())?;
            Ok(Some((parsed.as_millis(), Form::Text)))
        }
        Some(Value::Number(number)) => {
            let number = number
                .as_f64()
                .filter(|number| number.abs() < 1e15)
                .ok_or_else(wrong)?;
            // Seconds reach this in the year 5138.
            Ok(Some(match number.abs() < 1e11 {
                true => ((number * 1000.0) as i64, Form::Seconds),
                false => (number as i64, Form::Millis),
            }))
        }
        Some(_) => Err(wrong()),
    }
}

/// A number, or the word for one that JSON has not.
fn number(value: f64) -> Value {
    figure::word(value).map_or_else(|| json!(value), Value::from)
}

fn told(rehearsed: &Rehearsal, form: Form) -> Value {
    let when = |at_ms: i64| match form {
        Form::Text => json!(Timestamp::from_millis(at_ms)),
        Form::Millis => json!(at_ms),
        Form::Seconds => json!(at_ms as f64 / 1000.0),
    };
    let series: Vec<Value> = rehearsed
        .series
        .iter()
        .map(|one| {
            let labels: BTreeMap<&str, &str> = one.labels.iter().collect();
            let spans = one.spans.iter().map(|span| {
                json!({
                    "state": span.state.name(),
                    "start": when(span.start),
                    "end": when(span.end),
                    "value": number(span.value.unwrap_or(f64::NAN)),
                })
            });
            json!({"labels": labels, "spans": spans.collect::<Vec<_>>()})
        })
        .collect();
    let mut answer = json!({"series": series, "notifications": rehearsed.notifications});
    if rehearsed.truncated {
        answer["truncated"] = json!(true);
    }
    if let Some(error) = &rehearsed.error {
        answer["failed"] = json!(rehearsed.failed);
        answer["error"] = json!(error);
    }
    answer
}

/// A rule as it is sent, without what only the server says; and which state of it is meant.
fn read_rule(mut body: Value) -> Result<(RuleSpec, Expected), AppError> {
    let Value::Object(fields) = &mut body else {
        return Err(http::body::wrong_body(
            "a rule is an object with \"alert\" or \"record\", and \"expr\"".to_owned(),
        ));
    };
    for name in OURS {
        fields.remove(name);
    }
    let expected = match fields.remove("revision") {
        Some(Value::Number(number)) => match number.as_u64() {
            Some(revision) if revision > 0 => Expected::Revision(Revision(revision)),
            _ => Expected::Any,
        },
        _ => Expected::Any,
    };
    let spec = typed::from_value(body).map_err(|wrong| {
        let whole = format!("the rule is not in order: {}: {wrong}", wrong.pointer);
        AppError::bad_request(whole).with_errors(vec![FieldError {
            detail: wrong.to_string(),
            pointer: wrong.pointer,
        }])
    })?;
    Ok((spec, expected))
}

fn missing(pointer: &str) -> AppError {
    AppError::bad_request(format!("{pointer} is missing")).with_errors(vec![FieldError {
        pointer: pointer.to_owned(),
        detail: "a rule is needed".to_owned(),
    }])
}

/// The same error of a field that stands further down.
fn below(pointer: &str, error: AppError) -> AppError {
    let below = |error: &FieldError| FieldError {
        pointer: format!("{pointer}{}", error.pointer),
        detail: error.detail.clone(),
    };
    let errors = error.errors().iter().map(below).collect();
    AppError::bad_request(format!("{pointer}: {}", error.detail())).with_errors(errors)
}

fn wrong_fields(problems: &[pulseboard_rules::Problem], before: &str) -> AppError {
    let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let errors = problems.iter().map(|problem| FieldError {
        // `labels.NAME`, and a name may have dots.
        pointer: match problem.field.split_once('.') {
            Some((field, name)) => [before, &typed::step(field), &typed::step(name)].concat(),
            None => [before, &typed::step(&problem.field)].concat(),
        },
        detail: problem.what.clone(),
    });
    AppError::bad_request(format!("the rule is not in order: {}", all.join("; ")))
        .with_errors(errors.collect())
}

/// A rule of a file is changed in its file; one of another tenant is not there.
fn may_change(app: &App, depot: &Depot, tenant: &str, id: &str) -> Result<(), AppError> {
    let rule = one(app, tenant, id)?;
    match rule["source"].as_str() {
        Some("file") => Err(AppError::new(
            StatusCode::CONFLICT,
            format!("this rule stands in {}: it is changed there", rule["file"]),
        )),
        Some("builtin") => {
            caller::require_server(depot, "the built-in rules are the whole server's")
        }
        _ => Ok(()),
    }
}

fn refusal(error: MakeError) -> AppError {
    let unstored = |detail: String| AppError::new(StatusCode::INSUFFICIENT_STORAGE, detail);
    match error {
        MakeError::Fields(problems) => wrong_fields(&problems, ""),
        MakeError::TooMany(_) => unstored(error.to_string()),
        MakeError::Unknown => AppError::not_found(error.to_string()),
        MakeError::Document(DocumentError::Conflict { .. }) => AppError::new(
            StatusCode::CONFLICT,
            "somebody has changed this rule meanwhile: read it again",
        ),
        MakeError::Document(error @ (DocumentError::TooLarge { .. } | DocumentError::Full)) => {
            unstored(error.to_string())
        }
        MakeError::Document(error @ DocumentError::Away(_)) => away(error.to_string()),
        MakeError::Document(error) => {
            tracing::error!(%error, "a rule could not be stored");
            unstored("the rule could not be stored".to_owned())
        }
    }
}

fn one(app: &App, tenant: &str, id: &str) -> Result<Value, AppError> {
    let mut plain = app.rules.built_in().into_iter();
    if let Some((id, spec, _)) = plain.find(|(own, _, is_plain)| *is_plain && *own == id) {
        return Ok(of_ticks(app, tenant, id, &spec));
    }
    let found = app.rules.find(tenant, id).and_then(|(group, index)| {
        let rule = group.status.rules.get(index)?;
        Some(of_group(app, &group, rule, id))
    });
    found.ok_or_else(|| AppError::not_found(format!("there is no rule {id:?}")))
}

/// A built-in rule that every tick is compared with.
fn of_ticks(app: &App, tenant: &str, id: &str, spec: &RuleSpec) -> Value {
    let mut active = app.alerts.manager().events(tenant).into_iter();
    let fires = active.any(|event| event.detail.is_none() && event.alert.rule == spec.alert);
    let evaluated = app
        .live
        .with_window(|window| window.newest().map(|tick| tick.sampled_ms));
    let mut told = written(spec, id, Source::BuiltIn);
    told.insert("revision".to_owned(), json!(app.rules.revision(id)));
    told.insert("health".to_owned(), json!("ok"));
    told.insert("evaluationTime".to_owned(), json!(0));
    if let Some(at_ms) = evaluated {
        let at = Timestamp::from_millis(at_ms);
        told.insert("lastEvaluation".to_owned(), json!(at));
    }
    let state = if fires { "firing" } else { "inactive" };
    told.insert("state".to_owned(), json!(state));
    Value::Object(told)
}

fn of_group(app: &App, group: &Shown, rule: &RuleStatus, id: &str) -> Value {
    // With its own `group` and `every`, as it was made.
    let made = match group.source {
        Source::File => None,
        Source::Made => app.rules.made(id),
        Source::BuiltIn => {
            let mut all = app.rules.built_in().into_iter();
            all.find(|(own, _, _)| *own == id).map(|(_, spec, _)| spec)
        }
    };
    let mut told = match &made {
        Some(spec) => written(spec, id, group.source),
        None => {
            let mut told = written(&rule.spec, id, group.source);
            told.insert("group".to_owned(), json!(group.status.name));
            let every = pulseboard_rules::Period::from_millis(group.status.interval_ms);
            told.insert("every".to_owned(), json!(every));
            told
        }
    };
    if !group.file.is_empty() {
        told.insert("file".to_owned(), json!(group.file));
    }
    if group.source != Source::File {
        told.insert("revision".to_owned(), json!(app.rules.revision(id)));
    }
    told.insert("health".to_owned(), json!(rule.health.name()));
    if !rule.last_error.is_empty() {
        told.insert("lastError".to_owned(), json!(rule.last_error));
    }
    if let Some(at_ms) = rule.last_evaluation_ms {
        let at = Timestamp::from_millis(at_ms);
        told.insert("lastEvaluation".to_owned(), json!(at));
    }
    told.insert("evaluationTime".to_owned(), json!(rule.evaluation_seconds));
    told.insert("state".to_owned(), json!(rule.state.name()));
    Value::Object(told)
}

/// A rule with all its fields, whether they are set or not.
fn written(spec: &RuleSpec, id: &str, source: Source) -> Map<String, Value> {
    let mut told = match serde_json::to_value(spec) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    told.insert("id".to_owned(), json!(id));
    told.insert("source".to_owned(), json!(source.name()));
    for (name, value) in [
        ("group", json!(BUILT_IN_GROUP)),
        ("labels", json!({})),
        ("annotations", json!({})),
        ("enabled", json!(true)),
    ] {
        if name != "group" || source == Source::BuiltIn {
            told.entry(name).or_insert(value);
        }
    }
    told.entry("group").or_insert(json!("rules"));
    told
}

/// Rules that were made, as a file that Prometheus takes.
fn as_file(app: &App, tenant: &str) -> String {
    let mut groups: BTreeMap<String, GroupSpec> = BTreeMap::new();
    for shown in app.rules.shown(tenant) {
        if shown.source == Source::File {
            continue;
        }
        for id in &shown.rule_ids {
            let Some(spec) = app.rules.made(id) else {
                continue;
            };
            let name = match spec.group.as_str() {
                "" => "rules",
                name => name,
            };
            let every = spec.every;
            // A group has one interval.
            let key = match every {
                None => name.to_owned(),
                Some(every) => format!("{name} every {every}"),
            };
            let group = groups.entry(key.clone()).or_insert_with(|| GroupSpec {
                name: key,
                interval: every,
                ..GroupSpec::default()
            });
            group.rules.push(spec);
        }
    }
    let groups: Vec<GroupSpec> = groups.into_values().collect();
    write(&groups)
}
