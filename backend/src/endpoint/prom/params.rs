//! What a query string or a form asks for.

use pulseboard_promql::{ParseError, ast::Selector, parse_duration, parse_selector};
use pulseboard_shared::Timestamp;
use salvo::{Request, http::header};

use super::{answer::ApiError, multipart};
use crate::{app::App, http::body};

/// Parameters of one request: those of the form, then those of the address. Where both have one the
/// form's is meant, as in Prometheus.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

/// Values of one parameter, `match[]` above all.
const VALUES_MAX: usize = 64;

/// Milliseconds of the earliest and the latest time that anybody may mean; what lies beyond is one
/// of them. Clients send the first and the last time that they know, and mean everything.
const TIMES_MS: std::ops::RangeInclusive<i64> = -(1 << 53)..=(1 << 53);

impl Params {
    /// Reads the form too where there is one.
    pub(super) async fn read(app: &App, request: &mut Request) -> Result<Self, ApiError> {
        let pairs = |bytes: &[u8]| -> Vec<(String, String)> {
            form_urlencoded::parse(bytes).into_owned().collect()
        };
        let of_address = pairs(request.uri().query().unwrap_or_default().as_bytes());
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.to_owned();
        let (media, parameters) = kind.split_once(';').unwrap_or((&kind, ""));
        let is = |wanted: &str| media.trim().eq_ignore_ascii_case(wanted);
        let is_post = request.method() == salvo::http::Method::POST;
        let mut all = Vec::new();
        if is_post && is("application/x-www-form-urlencoded") {
            all = pairs(&body::read_bytes(app, request).await?);
        } else if is_post && is("multipart/form-data") {
            let body = body::read_bytes(app, request).await?;
            all = multipart::boundary(parameters)
                .and_then(|boundary| multipart::fields(&body, &boundary))
                .ok_or_else(|| ApiError::BadData("the multipart form cannot be read".to_owned()))?;
        }
        all.extend(of_address);
        Ok(Self(all))
    }

    /// The first of this name that is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, value)| known == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// All of this name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let all = self.0.iter().filter(move |(known, _)| known == name);
        all.map(|(_, value)| value.as_str())
    }

    pub(super) fn needed(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).ok_or_else(|| {
            ApiError::BadData(format!(
                "invalid parameter {name:?}: it is missing or empty"
            ))
        })
    }

    /// All selectors of `match[]`, each of which must name something.
    pub(super) fn selectors(&self) -> Result<Vec<Selector>, ApiError> {
        self.selectors_by(parse_selector)
    }

    /// All selectors of `match[]`, as `parse` reads them.
    pub(super) fn selectors_by(
        &self,
        parse: fn(&str) -> Result<Selector, ParseError>,
    ) -> Result<Vec<Selector>, ApiError> {
        let all = self.0.iter().filter(|(name, _)| name == "match[]");
        let all: Vec<Selector> = all
            .map(|(_, text)| parse(text).map_err(|error| bad_expression("match[]", &error)))
            .collect::<Result<_, _>>()?;
        match all.len() > VALUES_MAX {
            true => Err(ApiError::BadData(format!(
                "at most {VALUES_MAX} match[] are answered at once"
            ))),
            false => Ok(all),
        }
    }

    /// A time: seconds since 1970, or as RFC 3339 has it.
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let bad = || {
            ApiError::BadData(format!(
                "invalid parameter {name:?}: cannot parse {:?} to a valid timestamp",
                shown(text)
            ))
        };
        if let Ok(seconds) = text.parse::<f64>() {
            if seconds.is_nan() {
                return Err(bad());
            }
            // Whole and broken seconds apart, as Prometheus does: what half a millisecond is does
            // not hang on how large the number is. Saturates, as the clamp wants it.
            let broken = (seconds.fract() * 1000.0).round() as i64;
            let ms = ((seconds.trunc() * 1000.0) as i64).saturating_add(broken);
            return Ok(Some(ms.clamp(*TIMES_MS.start(), *TIMES_MS.end())));
        }
        // Other forms of it, such as a blank for the `T`, are none to clients of Prometheus.
        let is_strict = text.as_bytes().get(10) == Some(&b'T') && !text.ends_with('z');
        if is_strict && let Ok(time) = text.parse::<Timestamp>() {
            return Ok(Some(time.as_millis()));
        }
        // The year -292273086 and the like: the first and the last time that Go knows.
        match text.strip_prefix('-') {
            Some(rest) if is_far(rest) => Ok(Some(*TIMES_MS.start())),
            None if is_far(text) => Ok(Some(*TIMES_MS.end())),
            _ => Err(bad()),
        }
    }

    /// `start` and `end`, in this order.
    pub(super) fn span(&self) -> Result<(Option<i64>, Option<i64>), ApiError> {
        let (start_ms, end_ms) = (self.time("start")?, self.time("end")?);
        match start_ms.zip(end_ms) {
            Some((start_ms, end_ms)) if end_ms < start_ms => Err(ApiError::BadData(
                "invalid parameter \"end\": end timestamp must not be before start time".to_owned(),
            )),
            _ => Ok((start_ms, end_ms)),
        }
    }

    /// A length of time in milliseconds: seconds, or such as `1h30m`.
    pub(super) fn duration(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let seconds = text.parse::<f64>().ok().filter(|one| one.is_finite());
        let ms = match seconds {
            Some(seconds) if seconds.abs() < 9.2e12 => Some((seconds * 1000.0).round() as i64),
            Some(_) => None,
            None => parse_duration(text),
        };
        ms.map(Some).ok_or_else(|| {
            ApiError::BadData(format!(
                "invalid parameter {name:?}: cannot parse {:?} to a valid duration",
                shown(text)
            ))
        })
    }

    /// How many of something at most; 0 is all.
    pub(super) fn limit(&self) -> Result<usize, ApiError> {
        let Some(text) = self.get("limit") else {
            return Ok(usize::MAX);
        };
        match text.parse::<usize>() {
            Ok(0) => Ok(usize::MAX),
            Ok(limit) => Ok(limit),
            Err(_) => Err(ApiError::BadData(format!(
                "invalid parameter \"limit\": {:?} is not a whole number ≥ 0",
                shown(text)
            ))),
        }
    }
}

impl Params {
    /// How many metrics are told of at most; less than 0 is all, and 0 is none, as in Prometheus.
    pub(super) fn limit_of_metadata(&self) -> Result<usize, ApiError> {
        let Some(text) = self.get("limit") else {
            return Ok(usize::MAX);
        };
        let limit: i64 = text
            .parse()
            .map_err(|_none| ApiError::BadData("limit must be a number".to_owned()))?;
        Ok(usize::try_from(limit).unwrap_or(usize::MAX))
    }
}

/// An RFC 3339 time of a year with more than four digits.
fn is_far(text: &str) -> bool {
    let year = text.split('-').next().unwrap_or_default();
    year.len() > 4 && year.bytes().all(|byte| byte.is_ascii_digit()) && text.contains('T')
}

fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

/// What is wrong with an expression, as Prometheus says it.
pub(super) fn bad_expression(name: &str, error: &ParseError) -> ApiError {
    ApiError::BadData(format!("invalid parameter {name:?}: {error}"))
}
