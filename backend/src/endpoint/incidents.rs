//! `/api/incidents` and `/api/alerts/{incident}`: what became of alerts, who was told and who was
//! not, and what people said and did about it.

mod capsule;
mod chart;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use pulseboard_notify::{Ack, AckError};
use pulseboard_shared::{Labels, Severity, Timestamp, figure};
use salvo::{
    Depot, Request, Response, handler,
    http::{HeaderValue, StatusCode, header},
    writing::Json,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::change::{away, caught_up, wrong_field};
use crate::{
    app::App,
    base::error::AppError,
    http::{
        self,
        body::{blocking, read_json},
        caller,
        counted::send_text,
        ingest::engine_tenant,
        path, query,
        tenant::tenant,
    },
    incidents::{
        book::WEEK_MS,
        entry::{Entry, FROM_OTHERS, Incident, Kind},
    },
    notifying::{NOTIFICATION_FAILED, State, generator},
    questions::Finished,
};

/// Incidents of one answer.
const LIMIT_MAX: usize = 1_000;
const LIMIT_DEFAULT: usize = 100;

/// A text that is looked for.
const SEARCH_CHARS_MAX: usize = 200;

/// What somebody says of an incident.
const TEXT_BYTES_MAX: usize = 4_096;

/// Rules that are counted in one answer.
const COUNTS_MAX: usize = 1_000;

/// An incident as it is told.
#[derive(Serialize)]
struct Shown {
    incident: Uuid,
    rule: String,
    severity: Severity,
    message: String,
    state: &'static str,
    labels: Labels,
    annotations: Labels,
    #[serde(with = "figure::option")]
    value: Option<f64>,
    #[serde(with = "figure::option")]
    threshold: Option<f64>,
    started: Timestamp,
    ended: Option<Timestamp>,
    acknowledged: Option<ShownAck>,
    #[serde(rename = "silencedBy")]
    silenced_by: Vec<String>,
    #[serde(rename = "inhibitedBy")]
    inhibited_by: Vec<String>,
    receivers: Vec<String>,
    notified: u64,
    fingerprint: String,
}

/// Who has it in hand.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ShownAck {
    by: String,
    comment: String,
    at: Timestamp,
    until: Option<Timestamp>,
}

/// An entry of a timeline as it is told.
#[derive(Serialize)]
struct ShownEntry<'a> {
    at: Timestamp,
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none", with = "figure::option")]
    value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    integration: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

impl<'a> ShownEntry<'a> {
    fn of(entry: &'a Entry) -> Self {
        Self {
            at: Timestamp::from_millis(entry.at_ms),
            kind: entry.kind,
            value: entry.value,
            receiver: entry.receiver.as_deref(),
            integration: entry.integration.as_deref(),
            reason: entry.reason.as_deref(),
            by: entry.by.as_deref(),
            text: entry.text.as_deref(),
            until: entry.until_ms.map(Timestamp::from_millis),
            key: entry.key.as_deref(),
        }
    }
}

/// Who has an incident in hand now; what has run out is over.
pub(super) fn acknowledged(incident: &Incident, now_ms: i64) -> Option<ShownAck> {
    let held = incident.acknowledged.as_ref()?;
    let is_over = held.until_ms.is_some_and(|until_ms| until_ms <= now_ms);
    (!is_over).then(|| ShownAck {
        by: held.by.clone(),
        comment: held.comment.clone(),
        at: Timestamp::from_millis(held.at_ms),
        until: held.until_ms.map(Timestamp::from_millis),
    })
}

impl Shown {
    /// `state`: of the tenant whose it is; none where somebody else looks after it.
    fn of(incident: &Incident, state: Option<&State>, now_ms: i64) -> Self {
        let alert = state
            .filter(|_| incident.is_firing())
            .and_then(|state| state.manager().alert(now_ms, incident.fingerprint));
        let (silenced_by, inhibited_by) = alert.map_or_else(Default::default, |alert| {
            (alert.status.silenced_by, alert.status.inhibited_by)
        });
        // Of what others sent it is not known what was measured.
        let is_measured = ![FROM_OTHERS, NOTIFICATION_FAILED].contains(&&*incident.rule_id);
        Self {
            incident: incident.id,
            rule: incident.rule.clone(),
            severity: incident.severity,
            message: incident.message.clone(),
            state: match incident.is_firing() {
                true => "firing",
                false => "resolved",
            },
            labels: incident.labels.clone(),
            annotations: incident.annotations.clone(),
            value: incident.value.filter(|_| is_measured),
            threshold: incident.threshold.filter(|_| is_measured),
            started: Timestamp::from_millis(incident.started_ms),
            ended: incident.ended_ms.map(Timestamp::from_millis),
            acknowledged: acknowledged(incident, now_ms),
            silenced_by,
            inhibited_by,
            receivers: incident.receivers.iter().cloned().collect(),
            notified: incident.notified,
            fingerprint: incident.fingerprint.to_string(),
        }
    }
}

/// What is asked for of the list.
#[derive(Debug)]
struct Search {
    is_firing: Option<bool>,
    rule: Option<String>,
    severity: Option<Severity>,
    /// In small letters.
    text: Option<String>,
    before: Option<Uuid>,
    limit: usize,
}

impl Search {
    fn read(request: &Request) -> Result<Self, AppError> {
        let said = |name: &str| {
            let said = request.query::<String>(name);
            said.filter(|said| !said.is_empty())
        };
        let is_firing = match said("state").as_deref() {
            None => None,
            Some("firing") => Some(true),
            Some("resolved") => Some(false),
            Some(_) => return Err(AppError::bad_query("state", "accepted: firing or resolved")),
        };
        let severity = said("severity").map(|severity| {
            let severity = severity.parse::<Severity>();
            severity.map_err(|()| {
                AppError::bad_query(
                    "severity",
                    "accepted: low, medium, warning, high or critical",
                )
            })
        });
        let before = said("before").map(|before| {
            let before = before.parse::<Uuid>();
            before
                .map_err(|_none| AppError::bad_query("before", "accepted: the UUID of an incident"))
        });
        let text = said("q").map(|text| match text.chars().count() > SEARCH_CHARS_MAX {
            true => Err(AppError::bad_query(
                "q",
                format!("at most {SEARCH_CHARS_MAX} characters are looked for"),
            )),
            false => Ok(text.to_lowercase()),
        });
        Ok(Self {
            is_firing,
            rule: said("rule"),
            severity: severity.transpose()?,
            text: text.transpose()?,
            before: before.transpose()?,
            limit: query::limit(request, LIMIT_DEFAULT, LIMIT_MAX)?,
        })
    }

    fn finds(&self, incident: &Incident) -> bool {
        self.is_firing
            .is_none_or(|is_firing| is_firing == incident.is_firing())
            && self.rule.as_ref().is_none_or(|rule| *rule == incident.rule)
            && self
                .severity
                .is_none_or(|severity| severity == incident.severity)
            && self.text.as_ref().is_none_or(|text| says(incident, text))
    }
}

/// Whether a text in small letters is somewhere in what is said of an incident.
fn says(incident: &Incident, text: &str) -> bool {
    let maps = [&incident.labels, &incident.annotations];
    let values = maps.into_iter().flat_map(|map| map.values());
    let mut all = [&incident.message, &incident.rule]
        .into_iter()
        .chain(values);
    all.any(|said| said.to_lowercase().contains(text))
}

/// All that is kept, newest first.
#[handler]
pub async fn list_incidents(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    let tenant = tenant(request, depot)?;
    let search = Search::read(request)?;
    let keys = caller::caller_keys(request, depot, Some(&tenant));
    let worker = Arc::clone(&app);
    let listed = app.questions.ask(keys, move |working| {
        let now_ms = worker.clock.now_ms();
        let all = worker.incidents.seen_by(&tenant);
        let counts = counts(&all, now_ms);
        let older = all
            .iter()
            .filter(|incident| search.before.is_none_or(|before| incident.id < before));
        let mut found = older.filter(|incident| search.finds(incident));
        let page: Vec<&Arc<Incident>> = found.by_ref().take(search.limit).collect();
        let next = found
            .next()
            .and_then(|_more| page.last().map(|last| last.id));
        let shown: Vec<Shown> = worker.notifying.read(&tenant, |state| {
            let page = page.iter();
            page.map(|incident| Shown::of(incident, Some(state), now_ms))
                .collect()
        });
        let refused = |error| worker.questions.refuse(&error);
        let mut text = working.text();
        text.push("{\"incidents\":[").map_err(refused)?;
        let mut comma = "";
        for one in &shown {
            text.push(comma).map_err(refused)?;
            text.push_json(one).map_err(refused)?;
            comma = ",";
        }
        text.push("],\"next\":").map_err(refused)?;
        text.push_json(&next).map_err(refused)?;
        text.push(",\"counts\":").map_err(refused)?;
        text.push_json(&counts).map_err(refused)?;
        text.push("}").map_err(refused)?;
        Ok::<Finished, AppError>(working.finish(text.into_pieces()))
    });
    send_text(response, listed.await??);
    Ok(())
}

/// How many began within a week, by rule.
fn counts(all: &[Arc<Incident>], now_ms: i64) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for incident in all {
        if incident.started_ms < now_ms - WEEK_MS {
            continue;
        }
        if let Some(count) = counts.get_mut(&incident.rule) {
            *count += 1;
        } else if counts.len() < COUNTS_MAX {
            counts.insert(incident.rule.clone(), 1);
        }
    }
    counts
}

/// An incident with all that happened.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    shown: Shown,
    expr: &'a str,
    generator: String,
    week: usize,
    #[serde(with = "figure::samples")]
    values: Vec<(i64, Option<f64>)>,
    timeline: Vec<ShownEntry<'a>>,
}

/// The incident that a path names, as somebody of this tenant sees it.
fn named(app: &App, request: &Request, tenant: &str) -> Result<Arc<Incident>, AppError> {
    let id = path::named(request, "incident")?;
    let found = id
        .parse::<Uuid>()
        .ok()
        .and_then(|id| app.incidents.see(tenant, id));
    found.ok_or_else(|| AppError::not_found(format!("there is no incident {id:?}")))
}

/// How many of the same labels began within a week.
fn week(app: &App, tenant: &str, incident: &Incident, now_ms: i64) -> usize {
    let all = app.incidents.seen_by(tenant);
    let same = all.iter().filter(|one| {
        one.fingerprint == incident.fingerprint && one.started_ms >= now_ms - WEEK_MS
    });
    same.count()
}

/// One incident: its timeline, what was measured around it, how often it was there this week.
#[handler]
pub async fn get_incident(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    let engine_tenant = engine_tenant(&app, request, depot)?;
    let incident = named(&app, request, &engine_tenant.name)?;
    let keys = caller::caller_keys(request, depot, Some(&engine_tenant.name));
    let worker = Arc::clone(&app);
    let told = app.questions.ask(keys, move |working| {
        let now_ms = worker.clock.now_ms();
        let tenant = &*engine_tenant.name;
        let of = chart::Of {
            app: &worker,
            tenant: &engine_tenant,
            incident: &incident,
            now_ms,
            cost: &working.cost,
        };
        let values = chart::values(&of);
        let whole = worker.notifying.read(tenant, |state| Whole {
            shown: Shown::of(&incident, Some(state), now_ms),
            expr: &incident.expr,
            generator: generator(worker.notifying.external_url(), &incident.expr),
            week: week(&worker, tenant, &incident, now_ms),
            values: values
                .iter()
                .map(|(at_ms, value)| (*at_ms, Some(*value)))
                .collect(),
            timeline: incident.entries.iter().map(ShownEntry::of).collect(),
        });
        let mut text = working.text();
        text.push_json(&whole)
            .map_err(|error| worker.questions.refuse(&error))?;
        Ok::<Finished, AppError>(working.finish(text.into_pieces()))
    });
    send_text(response, told.await??);
    Ok(())
}

/// The same as one file that opens anywhere: no scripts, nothing from elsewhere.
#[handler]
pub async fn get_capsule(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    let engine_tenant = engine_tenant(&app, request, depot)?;
    let incident = named(&app, request, &engine_tenant.name)?;
    let keys = caller::caller_keys(request, depot, Some(&engine_tenant.name));
    let worker = Arc::clone(&app);
    let (id, started) = (
        incident.id,
        Timestamp::from_millis(incident.started_ms).to_string(),
    );
    let written = app.questions.ask(keys, move |working| {
        let now_ms = worker.clock.now_ms();
        let of = chart::Of {
            app: &worker,
            tenant: &engine_tenant,
            incident: &incident,
            now_ms,
            cost: &working.cost,
        };
        let charts = chart::series(&of);
        let week = week(&worker, &engine_tenant.name, &incident, now_ms);
        let mut text = working.text();
        capsule::write(&mut text, &incident, week, &charts, now_ms)
            .map_err(|error| worker.questions.refuse(&error))?;
        Ok::<Finished, AppError>(working.finish(text.into_pieces()))
    });
    let written = written.await??;
    let headers = response.headers_mut();
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, html);
    let day = started.get(..10).unwrap_or_default();
    let name = format!("attachment; filename=\"incident-{day}-{id}.html\"");
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    let policy = HeaderValue::from_static(capsule::POLICY);
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    http::counted::send(response, written);
    Ok(())
}

/// What somebody who takes an incident in hand says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AckBody {
    comment: String,
    #[serde(default)]
    until: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommentBody {
    text: String,
}

/// Who acts on which incident: one of their own tenant's.
struct Acting {
    app: Arc<App>,
    tenant: String,
    incident: Arc<Incident>,
    by: String,
}

impl Acting {
    /// Asked before the body is read.
    fn begin(request: &Request, depot: &Depot) -> Result<Self, AppError> {
        caller::require_operate(depot)?;
        let app = http::app::app(depot)?;
        let tenant = tenant(request, depot)?;
        let seen = named(&app, request, &tenant)?;
        let incident = app.incidents.get(&tenant, seen.id).ok_or_else(|| {
            AppError::forbidden(
                "this is an incident of the server; those of the default tenant look after it",
            )
        })?;
        let by = caller::actor(request, depot);
        Ok(Self {
            app,
            tenant,
            incident,
            by,
        })
    }

    /// Adds what was done, and answers with the incident as it is now, once that outlives the
    /// process.
    async fn done(self, entry: Entry) -> Result<Json<Value>, AppError> {
        let (app, tenant, id) = (self.app, self.tenant, self.incident.id);
        app.incidents.add(&tenant, id, entry);
        let unsafe_now = |why: String| AppError::new(StatusCode::INSUFFICIENT_STORAGE, why);
        app.incidents
            .safe()
            .await
            .map_err(|error| unsafe_now(error.to_string()))?;
        app.notifying
            .safe()
            .await
            .map_err(|error| unsafe_now(error.to_string()))?;
        let shown = blocking(move || {
            let incident = app.incidents.get(&tenant, id)?;
            let now_ms = app.clock.now_ms();
            let shown = app
                .notifying
                .read(&tenant, |state| Shown::of(&incident, Some(state), now_ms));
            serde_json::to_value(shown).ok()
        });
        let shown = shown.await?;
        shown
            .map(Json)
            .ok_or_else(|| AppError::not_found("the incident has gone meanwhile"))
    }
}

fn text_of(name: &str, text: &str) -> Result<String, AppError> {
    let text = text.trim();
    match text.len() > TEXT_BYTES_MAX {
        true => Err(wrong_field(
            format!("/{name}"),
            format!("at most {TEXT_BYTES_MAX} bytes are taken"),
        )),
        false => Ok(text.to_owned()),
    }
}

/// Takes an incident in hand, or hands it over.
#[handler]
pub async fn acknowledge(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Value>, AppError> {
    let acting = Acting::begin(request, depot)?;
    let body: AckBody = read_json(&acting.app, request).await?;
    let comment = text_of("comment", &body.comment)?;
    let now_ms = acting.app.clock.now_ms();
    let until_ms = body.until.map(Timestamp::as_millis);
    if !acting.incident.is_firing() {
        return Err(AppError::new(StatusCode::CONFLICT, "the incident is over"));
    }
    let ack = Ack {
        fingerprint: acting.incident.fingerprint,
        by: acting.by.clone(),
        comment: comment.clone(),
        at_ms: now_ms,
        until_ms,
    };
    caught_up(&acting.app).await?;
    let (worker, tenant) = (Arc::clone(&acting.app), acting.tenant.clone());
    let acknowledged = blocking(move || worker.notifying.acknowledge(&tenant, ack)).await?;
    match acknowledged.map_err(|error| away(error.to_string()))? {
        Ok(()) => {}
        // It goes on, and nobody would be told of it.
        Err(AckError::NotFiring) if until_ms.is_none_or(|until_ms| until_ms > now_ms) => {}
        Err(error) => return Err(http::body::wrong_body(error.to_string())),
    }
    tracing::info!(by = acting.by, tenant = acting.tenant, incident = %acting.incident.id, "an incident was acknowledged");
    let entry = Entry {
        by: Some(acting.by.clone()),
        text: Some(comment),
        until_ms,
        ..Entry::new(now_ms, Kind::Acknowledged)
    };
    acting.done(entry).await
}

/// Takes that back.
#[handler]
pub async fn unacknowledge(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Value>, AppError> {
    let acting = Acting::begin(request, depot)?;
    let now_ms = acting.app.clock.now_ms();
    let fingerprint = acting.incident.fingerprint;
    caught_up(&acting.app).await?;
    let (worker, tenant) = (Arc::clone(&acting.app), acting.tenant.clone());
    let was_held = blocking(move || worker.notifying.unacknowledge(&tenant, fingerprint)).await?;
    let was_held = was_held.map_err(|error| away(error.to_string()))?;
    if !was_held && acting.incident.acknowledged.is_none() {
        return Err(AppError::new(
            StatusCode::CONFLICT,
            "nobody has the incident in hand",
        ));
    }
    tracing::info!(by = acting.by, tenant = acting.tenant, incident = %acting.incident.id, "an acknowledgement was taken back");
    let entry = Entry {
        by: Some(acting.by.clone()),
        ..Entry::new(now_ms, Kind::Unacknowledged)
    };
    acting.done(entry).await
}

/// Says something of an incident.
#[handler]
pub async fn add_comment(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Value>, AppError> {
    let acting = Acting::begin(request, depot)?;
    let body: CommentBody = read_json(&acting.app, request).await?;
    let text = text_of("text", &body.text)?;
    if text.is_empty() {
        return Err(wrong_field(
            "/text".to_owned(),
            "something is to be said".to_owned(),
        ));
    }
    tracing::info!(by = acting.by, tenant = acting.tenant, incident = %acting.incident.id, "an incident was commented");
    let entry = Entry {
        by: Some(acting.by.clone()),
        text: Some(text),
        ..Entry::new(acting.app.clock.now_ms(), Kind::Comment)
    };
    acting.done(entry).await
}

/// The newest acknowledgements of incidents that go on, and what their rules say, by incident.
pub(super) fn said_of(
    app: &App,
    tenant: &str,
    ids: impl Iterator<Item = Uuid>,
) -> HashMap<Uuid, (Labels, Option<ShownAck>)> {
    let now_ms = app.clock.now_ms();
    let known = ids.filter_map(|id| app.incidents.see(tenant, id));
    known
        .map(|incident| {
            let held = acknowledged(&incident, now_ms);
            (incident.id, (incident.annotations.clone(), held))
        })
        .collect()
}
