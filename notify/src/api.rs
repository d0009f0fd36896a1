//! The shapes of Alertmanager's API v2. Times are RFC 3339 with milliseconds and `Z`; lists are
//! there when they are empty.

use std::{collections::BTreeMap, fmt};

use pulseboard_shared::{Labels, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

use crate::{
    alerts::PostedAlert,
    config::Config,
    labels::{Fingerprint, quote},
    matcher::{self, Matcher, MatcherError, Matchers, Operator},
    silence::{Silence, SilenceError, SilenceState},
};

/// Go's zero time, `0001-01-01T00:00:00.000Z`, in Unix ms: "not given".
pub const ZERO_MS: i64 = -62_135_596_800_000;

/// A request has at most so many alerts.
pub const POSTED_MAX: usize = 20_000;

/// A moment on the wire; Unix ms inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateTime(pub i64);

impl Serialize for DateTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Timestamp::from_millis(self.0))
    }
}

impl<'de> Deserialize<'de> for DateTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(ZERO_MS));
        }
        let time: Timestamp = text.parse().map_err(D::Error::custom)?;
        Ok(Self(time.as_millis()))
    }
}

/// `active`, `suppressed`, or `unprocessed` of one that no receiver's group has taken yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    Unprocessed,
    Active,
    Suppressed,
}

/// `alertStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertStatus {
    pub inhibited_by: Vec<String>,
    /// Names of time intervals.
    #[serde(default)]
    pub muted_by: Vec<String>,
    /// Identities of silences and of maintenance windows.
    pub silenced_by: Vec<String>,
    pub state: AlertState,
}

/// `receiver`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Receiver {
    pub name: String,
}

/// `gettableAlert`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GettableAlert {
    pub annotations: Labels,
    pub ends_at: DateTime,
    pub fingerprint: Fingerprint,
    pub receivers: Vec<Receiver>,
    pub starts_at: DateTime,
    pub status: AlertStatus,
    pub updated_at: DateTime,
    #[serde(
        rename = "generatorURL",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    pub generator_url: String,
    pub labels: Labels,
}

/// `alertGroup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertGroup {
    pub alerts: Vec<GettableAlert>,
    pub labels: Labels,
    pub receiver: Receiver,
}

/// `postableAlert`: what `POST /api/v2/alerts` has a list of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PostableAlert {
    pub labels: Labels,
    #[serde(default)]
    pub annotations: Option<Labels>,
    #[serde(default)]
    pub starts_at: Option<DateTime>,
    #[serde(default)]
    pub ends_at: Option<DateTime>,
    #[serde(default, rename = "generatorURL")]
    pub generator_url: Option<String>,
}

impl From<PostableAlert> for PostedAlert {
    fn from(alert: PostableAlert) -> Self {
        let given = |time: Option<DateTime>| time.map(|time| time.0).filter(|ms| *ms != ZERO_MS);
        Self {
            labels: alert.labels,
            annotations: alert.annotations.unwrap_or_default(),
            starts_at_ms: given(alert.starts_at),
            ends_at_ms: given(alert.ends_at),
            generator_url: alert.generator_url.unwrap_or_default(),
        }
    }
}

/// Reads the body of `POST /api/v2/alerts`. As there, `null` is an empty list.
///
/// # Errors
/// It is no such list, or has more than [`POSTED_MAX`]; or one of it lacks its labels, or comes
/// from what is no address.
pub fn posted_alerts(body: &[u8]) -> Result<Vec<PostedAlert>, BodyError> {
    let no_shape = |error: &dyn fmt::Display| {
        BodyError::no_shape(format!(
            "parsing alerts body from \"\" failed, because {error}"
        ))
    };
    if body.trim_ascii().is_empty() {
        return Err(BodyError::required("alerts"));
    }
    let values: Option<Vec<Value>> =
        serde_json::from_slice(body).map_err(|error| no_shape(&error))?;
    let values = values.unwrap_or_default();
    if values.len() > POSTED_MAX {
        return Err(BodyError::no_shape(format!(
            "{} alerts, at most {POSTED_MAX} are taken at once",
            values.len()
        )));
    }
    let mut alerts = Vec::with_capacity(values.len());
    let mut unfit = None;
    for (number, value) in values.into_iter().enumerate() {
        if !value.is_object() {
            return Err(no_shape(&format!("the alert {number} is no object")));
        }
        if value.get("labels").is_none_or(Value::is_null) {
            unfit.get_or_insert_with(|| BodyError::required(&format!("{number}.labels")));
            continue;
        }
        let alert: PostableAlert =
            serde_json::from_value(value).map_err(|error| no_shape(&error))?;
        if let Some(url) = &alert.generator_url
            && !is_address(url)
        {
            unfit.get_or_insert_with(|| BodyError {
                status: 422,
                code: 601,
                what: format!(
                    "{number}.generatorURL in body must be of type uri: {}",
                    quote(url)
                ),
            });
        }
        alerts.push(PostedAlert::from(alert));
    }
    // What has no shape is said before what does not fit, as there.
    unfit.map_or(Ok(alerts), Err)
}

/// Whether Alertmanager takes it for an address: an absolute one, or a path.
fn is_address(text: &str) -> bool {
    if text.is_empty() || text.starts_with('/') {
        return true;
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let mut letters = scheme.chars();
    let is_scheme = letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|one| one.is_ascii_alphanumeric() || "+-.".contains(one));
    let is_clean = !text.chars().any(|one| one.is_ascii_control());
    let rest = rest.split('#').next().unwrap_or_default();
    let is_place = match rest.strip_prefix("//") {
        None => true,
        Some(rest) => {
            let (host, path) = match rest.find(['/', '?']) {
                Some(at) => rest.split_at(at),
                None => (rest, ""),
            };
            let path = path.split('?').next().unwrap_or_default();
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            let bare = host.rsplit_once(']').map_or(host, |(_, port)| port);
            let port = bare.split_once(':').map_or("", |(_, port)| port);
            !host.contains([' ', '<', '>', '"', '\\', '^', '`', '{', '|', '}'])
                && port.bytes().all(|byte| byte.is_ascii_digit())
                && is_escaped(path)
        }
    };
    is_scheme && is_clean && is_place
}

/// Whether each `%` is followed by two hexadecimal digits.
fn is_escaped(path: &str) -> bool {
    path.split('%').skip(1).all(|piece| {
        let digits = piece.as_bytes().get(..2).unwrap_or_default();
        digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit)
    })
}

/// `matcher`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiMatcher {
    #[serde(default = "yes")]
    pub is_equal: bool,
    pub is_regex: bool,
    pub name: String,
    pub value: String,
}

fn yes() -> bool {
    true
}

impl From<&Matcher> for ApiMatcher {
    fn from(matcher: &Matcher) -> Self {
        Self {
            is_equal: matcher.operator().is_equal(),
            is_regex: matcher.operator().is_regex(),
            name: matcher.name().to_owned(),
            value: matcher.value().to_owned(),
        }
    }
}

impl TryFrom<&ApiMatcher> for Matcher {
    type Error = MatcherError;

    fn try_from(one: &ApiMatcher) -> Result<Self, MatcherError> {
        let operator = Operator::from_flags(one.is_regex, one.is_equal);
        Self::new(&one.name, operator, &one.value)
    }
}

/// `silenceStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceStatus {
    pub state: SilenceState,
}

/// `gettableSilence`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GettableSilence {
    pub id: String,
    pub status: SilenceStatus,
    pub updated_at: DateTime,
    pub comment: String,
    pub created_by: String,
    pub ends_at: DateTime,
    pub matchers: Vec<ApiMatcher>,
    pub starts_at: DateTime,
}

impl GettableSilence {
    pub(crate) fn new(silence: &Silence, now_ms: i64) -> Self {
        Self {
            id: silence.id.clone(),
            status: SilenceStatus {
                state: silence.state(now_ms),
            },
            updated_at: DateTime(silence.updated_at_ms),
            comment: silence.comment.clone(),
            created_by: silence.created_by.clone(),
            ends_at: DateTime(silence.ends_at_ms),
            matchers: silence.matchers.0.iter().map(ApiMatcher::from).collect(),
            starts_at: DateTime(silence.starts_at_ms),
        }
    }
}

/// `postableSilence`: the body of `POST /api/v2/silences`. What is missing is said with 422 by
/// Alertmanager, so callers give these shapes through [`PostableSilence::read`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PostableSilence {
    #[serde(default)]
    pub id: String,
    pub matchers: Vec<ApiMatcher>,
    pub starts_at: DateTime,
    pub ends_at: DateTime,
    pub created_by: String,
    pub comment: String,
}

/// A body that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct BodyError {
    /// 400 of what is no JSON of that shape, 422 of what lacks a field.
    pub status: u16,
    /// What the library that Alertmanager is made with calls it.
    pub code: u16,
    pub what: String,
}

impl BodyError {
    fn no_shape(what: String) -> Self {
        Self {
            status: 400,
            code: 400,
            what,
        }
    }

    fn required(field: &str) -> Self {
        Self {
            status: 422,
            code: 602,
            what: format!("{field} in body is required"),
        }
    }
}

impl PostableSilence {
    /// Reads a body.
    ///
    /// # Errors
    /// It is no JSON of that shape, or a field is missing.
    pub fn read(body: &[u8]) -> Result<Self, BodyError> {
        let no_shape = |error: &dyn fmt::Display| {
            BodyError::no_shape(format!(
                "parsing silence body from \"\" failed, because {error}"
            ))
        };
        if body.trim_ascii().is_empty() {
            return Err(BodyError::required("silence"));
        }
        let value: Value = serde_json::from_slice(body).map_err(|error| no_shape(&error))?;
        if !value.is_object() && !value.is_null() {
            return Err(no_shape(&"it is no object"));
        }
        let lacks = |value: &Value, field: &str| value.get(field).is_none_or(Value::is_null);
        for field in ["comment", "createdBy", "endsAt", "matchers", "startsAt"] {
            if lacks(&value, field) {
                return Err(BodyError::required(field));
            }
        }
        if let Some(matchers) = value["matchers"].as_array() {
            if matchers.is_empty() {
                return Err(BodyError {
                    status: 422,
                    code: 612,
                    what: "matchers in body should have at least 1 items".to_owned(),
                });
            }
            if !matchers.iter().all(Value::is_object) {
                return Err(no_shape(&"a matcher is no object"));
            }
            for (number, matcher) in matchers.iter().enumerate() {
                for field in ["isRegex", "name", "value"] {
                    if lacks(matcher, field) {
                        return Err(BodyError::required(&format!("matchers.{number}.{field}")));
                    }
                }
            }
        }
        serde_json::from_value(value).map_err(|error| no_shape(&error))
    }

    pub(crate) fn into_silence(self) -> Result<Silence, SilenceError> {
        let failed = |what: String| {
            SilenceError::Invalid(format!(
                "failed to convert API silence to internal silence: {what}"
            ))
        };
        if self.matchers.len() > matcher::MATCHERS_MAX {
            return Err(failed(format!(
                "{} matchers, at most {} are taken",
                self.matchers.len(),
                matcher::MATCHERS_MAX
            )));
        }
        let mut matchers = Vec::with_capacity(self.matchers.len());
        for (number, one) in self.matchers.iter().enumerate() {
            let matcher = Matcher::try_from(one).map_err(|error| {
                SilenceError::Invalid(format!(
                    "silence invalid: invalid label matcher {number}: {error}"
                ))
            })?;
            matchers.push(matcher);
        }
        if self.starts_at.0 == ZERO_MS || self.ends_at.0 == ZERO_MS {
            return Err(SilenceError::Invalid(
                "silence invalid: invalid zero start or end timestamp".to_owned(),
            ));
        }
        Ok(Silence {
            id: self.id,
            matchers: Matchers(matchers),
            starts_at_ms: self.starts_at.0,
            ends_at_ms: self.ends_at.0,
            updated_at_ms: 0,
            created_by: self.created_by,
            comment: self.comment,
        })
    }
}

/// The answer to `POST /api/v2/silences`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceCreated {
    #[serde(rename = "silenceID")]
    pub silence_id: String,
}

/// `versionInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    pub branch: String,
    pub build_date: String,
    pub build_user: String,
    pub go_version: String,
    pub revision: String,
    pub version: String,
}

/// `clusterStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// `disabled`: there are no peers.
    pub status: String,
    pub peers: Vec<BTreeMap<String, String>>,
}

/// `alertmanagerConfig`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertmanagerConfig {
    pub original: String,
}

/// `alertmanagerStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertmanagerStatus {
    pub cluster: ClusterStatus,
    pub config: AlertmanagerConfig,
    /// When it was started, in spite of the name.
    pub uptime: DateTime,
    pub version_info: VersionInfo,
}

impl AlertmanagerStatus {
    /// What `GET /api/v2/status` answers.
    #[must_use]
    pub fn new(config: &Config, version_info: VersionInfo, started_ms: i64) -> Self {
        Self {
            cluster: ClusterStatus {
                status: "disabled".to_owned(),
                peers: Vec::new(),
            },
            config: AlertmanagerConfig {
                original: config.to_yaml(),
            },
            uptime: DateTime(started_ms),
            version_info,
        }
    }
}

/// What `GET /api/v2/alerts` and `/alerts/groups` are asked for.
#[derive(Clone, Debug)]
pub struct AlertFilter {
    pub active: bool,
    pub silenced: bool,
    pub inhibited: bool,
    pub unprocessed: bool,
    /// Of groups: those that a time interval mutes.
    pub muted: bool,
    pub(crate) receiver: Option<Matcher>,
    pub(crate) matchers: Vec<Matcher>,
}

impl Default for AlertFilter {
    fn default() -> Self {
        Self {
            active: true,
            silenced: true,
            inhibited: true,
            unprocessed: true,
            muted: true,
            receiver: None,
            matchers: Vec::new(),
        }
    }
}

impl AlertFilter {
    /// Reads the parameters of a query. What is not known is passed over.
    ///
    /// # Errors
    /// A filter is no matcher, or the receiver no pattern; the text of a 400, to be a JSON string.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let mut filter = Self::default();
        for (name, value) in pairs {
            match name {
                // As there: what is empty says nothing.
                "active" | "silenced" | "inhibited" | "unprocessed" | "muted"
                    if value.is_empty() => {}
                "active" => filter.active = is_yes(value),
                "silenced" => filter.silenced = is_yes(value),
                "inhibited" => filter.inhibited = is_yes(value),
                "unprocessed" => filter.unprocessed = is_yes(value),
                "muted" => filter.muted = is_yes(value),
                "receiver" if !value.is_empty() => {
                    let pattern = Matcher::new("receiver", Operator::Match, value);
                    filter.receiver = Some(
                        pattern
                            .map_err(|error| format!("failed to parse receiver param: {error}"))?,
                    );
                }
                "filter" => read_filter(&mut filter.matchers, value)?,
                _ => {}
            }
        }
        Ok(filter)
    }

    pub(crate) fn takes_receiver(&self, name: &str) -> bool {
        let pattern = self.receiver.as_ref();
        pattern.is_none_or(|pattern| pattern.matches_value(name))
    }

    pub(crate) fn takes(&self, labels: &Labels, status: &AlertStatus) -> bool {
        (self.active || status.state != AlertState::Active)
            && (self.unprocessed || status.state != AlertState::Unprocessed)
            && (self.silenced || status.silenced_by.is_empty())
            && (self.inhibited || status.inhibited_by.is_empty())
            && (self.muted || status.muted_by.is_empty())
            && matcher::filter_matches(&self.matchers, labels)
    }
}

/// Reads the `filter`s of `GET /api/v2/silences`.
///
/// # Errors
/// One is no matcher; the text of a 400, to be a JSON string.
pub fn silence_filter<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<Matcher>, String> {
    let mut matchers = Vec::new();
    for (name, value) in pairs {
        if name == "filter" {
            read_filter(&mut matchers, value)?;
        }
    }
    Ok(matchers)
}

fn read_filter(matchers: &mut Vec<Matcher>, text: &str) -> Result<(), String> {
    matchers.extend(matcher::parse_filter(text).map_err(|error| error.to_string())?);
    match matchers.len() > matcher::MATCHERS_MAX {
        true => Err(format!("more than {} matchers", matcher::MATCHERS_MAX)),
        false => Ok(()),
    }
}

/// As the original reads a truth.
fn is_yes(text: &str) -> bool {
    let yes = [
        "true", "1", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled",
    ];
    yes.contains(&text.to_ascii_lowercase().as_str())
}

impl fmt::Display for AlertState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unprocessed => "unprocessed",
            Self::Active => "active",
            Self::Suppressed => "suppressed",
        })
    }
}
