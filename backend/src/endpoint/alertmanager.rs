//! Alertmanager's API v2 at `/api/v2`: alerts, groups, silences, status and receivers, as `amtool`,
//! Karma, Grafana and a Prometheus that sends its alerts know them. What is wrong with a question
//! is told as there, by a JSON string.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use pulseboard_notify::{
    Refused, SilenceError,
    api::{
        AlertFilter, AlertmanagerStatus, BodyError, GettableSilence, PostableSilence,
        SilenceCreated, VersionInfo, posted_alerts, silence_filter,
    },
    config::Config,
};
use pulseboard_outbound::secret::HIDDEN;
use salvo::{
    Depot, Request, Response, handler,
    http::{HeaderValue, ResBody, StatusCode, header},
};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;
use yaml_serde::Value as Yaml;

use super::change::{away, caught_up, safe};
use crate::{
    base::{error::AppError, json::json_text},
    http::{
        self,
        body::{blocking, larger_than, read_bytes, said_length},
        caller,
        counted::send_text,
        error::Render,
        ingest::gather,
        path,
        tenant::{reading, tenant},
    },
    notifying::{NoSilence, NotPosted, State},
    questions::Finished,
};

/// The version of Alertmanager whose API this is; clients look at it to know what they may ask.
pub const VERSION: &str = "0.28.0";

/// Of alerts that somebody sends: a Prometheus sends 64 at once, with all that is said of them.
const ALERTS_BYTES_MAX: usize = 4 << 20;

/// Why there is no answer.
enum ApiError {
    /// In the API's own way: a JSON string.
    Text(StatusCode, String),
    /// Without words, as there.
    Bare(StatusCode),
    /// What the library says that Alertmanager is made with: status, its own code, and words.
    Unfit(StatusCode, u16, String),
    /// As everywhere else.
    App(AppError),
}

impl From<AppError> for ApiError {
    fn from(error: AppError) -> Self {
        Self::App(error)
    }
}

fn bad(text: impl ToString) -> ApiError {
    ApiError::Text(StatusCode::BAD_REQUEST, text.to_string())
}

fn say<T: Serialize>(response: &mut Response, body: &T) {
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response.body(json_text(body));
}

fn refuse(response: &mut Response, error: ApiError) {
    match error {
        ApiError::Text(status, text) => {
            response.status_code(status);
            say(response, &text);
        }
        ApiError::Bare(status) => {
            response.status_code(status);
            // An empty body, and not none: nobody is to put a problem there.
            response.body(ResBody::Once(Bytes::new()));
        }
        ApiError::Unfit(status, code, message) => {
            response.status_code(status);
            say(response, &json!({"code": code, "message": message}));
        }
        ApiError::App(error) => error.render(response),
    }
}

fn unread(error: BodyError) -> ApiError {
    match error.status {
        422 => ApiError::Unfit(StatusCode::UNPROCESSABLE_ENTITY, error.code, error.what),
        _ => bad(error.what),
    }
}

/// What a request says that its body is; as there it has to be JSON where there is one.
struct Kind(String);

impl Kind {
    fn of(request: &Request) -> Self {
        let said = request.headers().get(header::CONTENT_TYPE);
        let said = said.map(|said| String::from_utf8_lossy(said.as_bytes()).into_owned());
        let said = said.filter(|said| !said.is_empty());
        // What nobody names is anything, as there.
        Self(said.unwrap_or_else(|| "application/octet-stream".to_owned()))
    }

    fn check(&self, body: &[u8]) -> Result<(), ApiError> {
        let kind = self.0.split(';').next().unwrap_or_default().trim();
        if body.is_empty() || kind.eq_ignore_ascii_case("application/json") {
            return Ok(());
        }
        Err(match kind.contains('/') {
            true => ApiError::Unfit(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                415,
                format!("unsupported media type {kind:?}, only [application/json] are allowed"),
            ),
            false => bad(format!(
                "parsing Content-Type header from {:?} failed, because it is none",
                self.0
            )),
        })
    }
}

fn pairs(request: &Request) -> Vec<(String, String)> {
    let all = request.queries().iter_all();
    let all = all.flat_map(|(name, values)| {
        let values = values.iter();
        values
            .map(|value| (name.clone(), value.clone()))
            .collect::<Vec<_>>()
    });
    all.collect()
}

fn borrowed(pairs: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    pairs.iter().map(|(name, value)| (&**name, &**value))
}

/// A list of what `read` finds in a tenant's state, made on a thread that may block, with a turn.
async fn list<T: Serialize + Send + 'static>(
    request: &Request,
    depot: &Depot,
    read: impl FnOnce(&[(String, String)], &State, i64) -> Result<Vec<T>, String> + Send + 'static,
) -> Result<Finished, ApiError> {
    let (app, tenant) = reading(request, depot)?;
    let keys = caller::caller_keys(request, depot, Some(&tenant));
    let pairs = pairs(request);
    let worker = Arc::clone(&app);
    let answered = app.questions.ask(keys, move |working| {
        let now_ms = worker.clock.now_ms();
        let found = worker
            .notifying
            .read(&tenant, |state| read(&pairs, state, now_ms))
            .map_err(bad)?;
        let refused = |error| ApiError::App(worker.questions.refuse(&error));
        let mut text = working.text();
        text.push("[").map_err(refused)?;
        let mut comma = "";
        for one in &found {
            text.push(comma).map_err(refused)?;
            text.push_json(one).map_err(refused)?;
            comma = ",";
        }
        text.push("]").map_err(refused)?;
        Ok(working.finish(text.into_pieces()))
    });
    answered.await?
}

/// Alerts that go on.
#[handler]
pub async fn list_alerts(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let listed = list(request, depot, |pairs, state, now_ms| {
        let filter = AlertFilter::parse(borrowed(pairs))?;
        Ok(state.manager().alerts(now_ms, &filter))
    });
    match listed.await {
        Ok(text) => send_text(response, text),
        Err(error) => refuse(response, error),
    }
}

/// The same as they are told: in groups, by receiver.
#[handler]
pub async fn list_groups(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let listed = list(request, depot, |pairs, state, now_ms| {
        let filter = AlertFilter::parse(borrowed(pairs))?;
        Ok(state.manager().groups(now_ms, &filter))
    });
    match listed.await {
        Ok(text) => send_text(response, text),
        Err(error) => refuse(response, error),
    }
}

/// Silences that are, that will be and that were.
#[handler]
pub async fn list_silences(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let listed = list(request, depot, |pairs, state, now_ms| {
        let filter = silence_filter(borrowed(pairs))?;
        Ok(state.manager().silences(now_ms, &filter))
    });
    match listed.await {
        Ok(text) => send_text(response, text),
        Err(error) => refuse(response, error),
    }
}

/// Who may be told.
#[handler]
pub async fn list_receivers(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let listed = list(request, depot, |_, state, _| {
        Ok(state.manager().receivers())
    });
    match listed.await {
        Ok(text) => send_text(response, text),
        Err(error) => refuse(response, error),
    }
}

/// Takes alerts that somebody else's rules found.
#[handler]
pub async fn take_alerts(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    if let Err(error) = taken(request, depot).await {
        refuse(response, error);
    }
}

async fn taken(request: &mut Request, depot: &Depot) -> Result<(), ApiError> {
    caller::require_write(depot)?;
    let app = http::app::app(depot)?;
    let tenant = tenant(request, depot)?;
    let keys = caller::caller_keys(request, depot, Some(&tenant));
    let kind = Kind::of(request);
    let expected = usize::try_from(said_length(request)).unwrap_or(usize::MAX);
    if expected > ALERTS_BYTES_MAX {
        return Err(larger_than(ALERTS_BYTES_MAX).into());
    }
    let mut arriving = request.take_body();
    let gathered = gather(&app, &keys, &mut arriving, expected, ALERTS_BYTES_MAX).await;
    let (body, share) = gathered.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => larger_than(ALERTS_BYTES_MAX),
        _ => error,
    })?;
    let refused = blocking(move || {
        kind.check(&body)?;
        let alerts = posted_alerts(&body).map_err(unread)?;
        drop((body, share));
        let refused = app.notifying.post(&tenant, alerts);
        refused.map_err(|error| {
            ApiError::App(match error {
                NotPosted::TooManyTenants(error) => AppError::too_many(error.to_string(), 60),
                NotPosted::Untold(error) => away(format!("the alerts are not taken: {error}")),
            })
        })
    });
    let refused = refused.await??;
    match refused.is_empty() {
        true => Ok(()),
        false => {
            // As there: what is good was taken all the same.
            let status = match refused.iter().all(|one| one.is_full) {
                true => StatusCode::TOO_MANY_REQUESTS,
                false => StatusCode::BAD_REQUEST,
            };
            Err(ApiError::Text(status, said_once(&refused)))
        }
    }
}

/// Different reasons that are told of one request.
const REASONS_MAX: usize = 20;

/// Each reason once, with how many alerts it is of.
fn said_once(refused: &[Refused]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for one in refused {
        *counts.entry(&one.why).or_default() += 1;
    }
    let told = counts.iter().take(REASONS_MAX);
    let mut texts: Vec<String> = told
        .map(|(why, count)| match count {
            1 => (*why).to_owned(),
            count => format!("{why} ({count} alerts)"),
        })
        .collect();
    if let Some(more @ 1..) = counts.len().checked_sub(REASONS_MAX) {
        texts.push(format!("and {more} other reasons"));
    }
    texts.join("; ")
}

/// Makes or changes a silence.
#[handler]
pub async fn make_silence(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    match made(request, depot).await {
        Ok(made) => say(response, &made),
        Err(error) => refuse(response, error),
    }
}

async fn made(request: &mut Request, depot: &Depot) -> Result<SilenceCreated, ApiError> {
    caller::require_operate(depot)?;
    let app = http::app::app(depot)?;
    let tenant = tenant(request, depot)?;
    let kind = Kind::of(request);
    let body = read_bytes(&app, request).await?;
    kind.check(&body)?;
    let silence = PostableSilence::read(&body).map_err(unread)?;
    let by = caller::actor(request, depot);
    let said = silence.created_by.clone();
    caught_up(&app).await?;
    let worker = Arc::clone(&app);
    let (named, actor) = (tenant.clone(), by.clone());
    let made = blocking(move || worker.notifying.silence(&named, silence, &actor)).await?;
    let made = made.map_err(|error| match error {
        NoSilence::TooManyTenants(error) => AppError::too_many(error.to_string(), 60),
        NoSilence::Untold(error) => away(error.to_string()),
    })?;
    let silence_id = made.map_err(|error| match error {
        SilenceError::NotFound => ApiError::Text(StatusCode::NOT_FOUND, error.to_string()),
        error => bad(error),
    })?;
    tracing::info!(
        by,
        created_by = said,
        tenant,
        silence = silence_id,
        "a silence was made or changed"
    );
    safe(&app).await?;
    Ok(SilenceCreated { silence_id })
}

fn silence_id(request: &Request) -> Result<String, ApiError> {
    let id = path::named(request, "id")?;
    match id.parse::<Uuid>() {
        Ok(_) => Ok(id),
        Err(_) => Err(ApiError::Unfit(
            StatusCode::UNPROCESSABLE_ENTITY,
            601,
            format!("silenceID in path must be of type uuid: {id:?}"),
        )),
    }
}

/// One silence.
#[handler]
pub async fn get_silence(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    match found(request, depot).await {
        Ok(silence) => say(response, &silence),
        Err(error) => refuse(response, error),
    }
}

async fn found(request: &Request, depot: &Depot) -> Result<GettableSilence, ApiError> {
    let (app, tenant) = reading(request, depot)?;
    let id = silence_id(request)?;
    let found = blocking(move || {
        let now_ms = app.clock.now_ms();
        app.notifying
            .read(&tenant, |state| state.manager().silence(now_ms, &id))
    });
    found.await?.ok_or(ApiError::Bare(StatusCode::NOT_FOUND))
}

/// Ends a silence.
#[handler]
pub async fn expire_silence(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    if let Err(error) = expired(request, depot).await {
        refuse(response, error);
    }
}

async fn expired(request: &mut Request, depot: &Depot) -> Result<(), ApiError> {
    caller::require_operate(depot)?;
    let app = http::app::app(depot)?;
    let tenant = tenant(request, depot)?;
    let id = silence_id(request)?;
    caught_up(&app).await?;
    let (worker, named, which) = (Arc::clone(&app), tenant.clone(), id.clone());
    let ended = blocking(move || worker.notifying.expire(&named, &which)).await?;
    let ended = ended.map_err(|error| away(error.to_string()))?;
    ended.map_err(|error| match error {
        SilenceError::NotFound => ApiError::Bare(StatusCode::NOT_FOUND),
        error => ApiError::Text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    })?;
    tracing::info!(
        by = caller::actor(request, depot),
        tenant,
        silence = id,
        "a silence was ended"
    );
    Ok(safe(&app).await?)
}

/// What runs, and by what configuration; what is wrong with the newest reading of the file stands
/// beside it.
#[handler]
pub async fn get_status(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    match status(request, depot).await {
        Ok(status) => say(response, &status),
        Err(error) => error.render(response),
    }
}

async fn status(request: &Request, depot: &Depot) -> Result<Value, AppError> {
    let (app, tenant) = reading(request, depot)?;
    blocking(move || {
        let started_ms = app.clock.now_ms() - app.uptime_seconds() * 1000;
        let version = VersionInfo {
            branch: "HEAD".to_owned(),
            build_user: format!("pulseboard {}", env!("CARGO_PKG_VERSION")),
            version: VERSION.to_owned(),
            ..VersionInfo::default()
        };
        let config = app
            .notifying
            .read(&tenant, |state| Arc::clone(state.manager().config()));
        let status = AlertmanagerStatus::new(&config, version, started_ms);
        let mut status = serde_json::to_value(status).unwrap_or_default();
        status["config"]["original"] = readable(&config).into();
        if app.notifying.is_of_file(&tenant) {
            let file = app.notifying.file_state();
            status["pulseboard"] = json!({
                "configError": file.error,
                "configWarnings": file.warnings,
            });
        }
        status
    })
    .await
}

/// What is in the place of an address that is not shown.
const NOWHERE: &str = "http://secret.invalid/";

/// Telegram's own servers.
const TELEGRAM: &str = "https://api.telegram.org";

/// Fields that say something where they are `false`: without them they would be `true`.
const FALSE_TOO: [&str; 2] = ["send_resolved", "require_tls"];

/// A configuration that `amtool config routes` reads: it takes only what the Alertmanager that it
/// is of knows, so what nobody set is left out, and it takes `<secret>` for no address where that
/// version hides none.
fn readable(config: &Config) -> String {
    let Ok(mut yaml) = yaml_serde::to_value(config) else {
        return String::new();
    };
    if let Some(global) = yaml.get_mut("global").and_then(Yaml::as_mapping_mut) {
        global.retain(|name, _| !text_of(name).starts_with("webpush_"));
        let telegram = origin(config.global.telegram_api_url.reveal());
        global.insert("telegram_api_url".into(), telegram.into());
    }
    let receivers = yaml.get_mut("receivers").and_then(Yaml::as_sequence_mut);
    for (shown, receiver) in receivers.into_iter().flatten().zip(&config.receivers) {
        let fields = shown.as_mapping_mut().into_iter().flatten();
        for (kind, ways) in fields {
            let is_telegram = text_of(kind) == "telegram_configs";
            let ways = ways.as_sequence_mut().into_iter().flatten();
            for (number, way) in ways.enumerate() {
                let Some(way) = way.as_mapping_mut() else {
                    continue;
                };
                way.retain(|name, value| is_set(text_of(name), value));
                for (name, value) in way.iter_mut() {
                    if text_of(name) == "url" && text_of(value) == HIDDEN {
                        *value = NOWHERE.into();
                    }
                }
                let telegram = receiver.telegram_configs.get(number);
                if let Some(url) = telegram.and_then(|way| way.api_url.as_ref())
                    && is_telegram
                {
                    way.insert("api_url".into(), origin(url.reveal()).into());
                }
            }
        }
    }
    yaml_serde::to_string(&yaml).unwrap_or_default()
}

fn text_of(yaml: &Yaml) -> &str {
    yaml.as_str().unwrap_or_default()
}

/// Whether a field of a way says anything.
fn is_set(name: &str, value: &Yaml) -> bool {
    match value {
        Yaml::Null => false,
        Yaml::Bool(truth) => *truth || FALSE_TOO.contains(&name),
        Yaml::Number(number) => number.as_f64() != Some(0.0),
        Yaml::String(text) => !text.is_empty(),
        Yaml::Sequence(items) => !items.is_empty(),
        Yaml::Mapping(fields) => !fields.is_empty(),
        _ => true,
    }
}

/// Whom an address names, without what may be secret in it.
fn origin(url: &str) -> String {
    let origin = url::Url::parse(url).map(|url| url.origin().ascii_serialization());
    origin.unwrap_or_else(|_opaque| TELEGRAM.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_one_that_amtool_reads() {
        let text = "
global: {telegram_api_url: 'http://me:mine@127.0.0.1:9/path', slack_api_url: 'http://127.0.0.1:8/s'}
route: {receiver: a}
receivers:
- name: a
  webhook_configs: [{url: 'http://127.0.0.1:8/hook', send_resolved: false}]
  slack_configs: [{channel: '#x'}]
  telegram_configs: [{bot_token: 't', chat_id: 5}]
  discord_configs: [{webhook_url: 'http://127.0.0.1:8/d'}]
  pushover_configs: [{user_key: u, token: t}]
";
        let config = Config::parse(text, std::path::Path::new(".")).expect("a configuration");
        let shown = readable(&config);
        let (_, receivers) = shown.split_once("\nreceivers:").expect("receivers");
        for unset in [
            "message_text",
            "update_message",
            "content:",
            "avatar_url",
            "message_thread_id",
            "device",
            "monospace",
            "webpush",
            "''",
            "mine",
            "/hook",
            "api_url: <secret>\n    bot_token",
        ] {
            assert!(!receivers.contains(unset), "{unset}: {shown}");
        }
        assert!(
            shown.contains("telegram_api_url: http://127.0.0.1:9\n"),
            "{shown}"
        );
        assert!(
            !shown.contains("webpush_") && !shown.contains("mine"),
            "{shown}"
        );
        assert!(shown.contains("url: http://secret.invalid/"), "{shown}");
        assert!(shown.contains("send_resolved: false"), "{shown}");
        assert!(shown.contains("bot_token: <secret>"), "{shown}");
        assert_eq!(
            shown.matches("api_url: http://127.0.0.1:9\n").count(),
            2,
            "{shown}"
        );
    }
}
