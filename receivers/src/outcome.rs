//! What an answer means.

use pulseboard_outbound::{HeaderMap, Secret, header};

use crate::text::said;

/// A receiver that asks for a longer pause is asked after this all the same, so that a wrong number
/// silences nobody: an hour.
pub const ASKED_PAUSE_MAX_MS: u64 = 3_600_000;

/// What became of one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has arrived.
    Sent,
    /// It may go another time; not before so long where the receiver said so.
    Retry { after_ms: Option<u64>, why: String },
    /// It will not go however often it is tried.
    Failed { why: String },
    /// Likewise, and nothing ever will: a browser that has unsubscribed.
    Gone { why: String },
    /// It is not this server's to be sent any more: another one has it, too. Nothing is said of it.
    Left,
}

impl Outcome {
    /// It may go another time.
    #[must_use]
    pub fn retry(why: impl Into<String>) -> Self {
        Self::Retry {
            after_ms: None,
            why: why.into(),
        }
    }

    /// It will not go.
    #[must_use]
    pub fn failed(why: impl Into<String>) -> Self {
        Self::Failed { why: why.into() }
    }
}

/// A whole answer: what a way judges by.
#[derive(Clone, Debug)]
pub struct Reply<'a> {
    pub status: u16,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
    /// What is not to be shown of the body.
    pub secrets: &'a [Secret],
    /// Unix ms, for pauses that are told as dates.
    pub now_ms: i64,
}

impl Reply<'_> {
    /// Status and first words.
    #[must_use]
    pub fn said(&self) -> String {
        let words = said(self.body, self.secrets);
        match words.is_empty() {
            true => format!("it answered {}", self.status),
            false => format!("it answered {}: {words}", self.status),
        }
    }

    /// The body as JSON, or nothing.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.body).unwrap_or_default()
    }

    /// What a status means where a maker says nothing else: 2xx is sent; 408, 425, 429 and 5xx may
    /// go another time; the rest will not.
    #[must_use]
    pub fn usual(&self) -> Outcome {
        match self.status {
            200..=299 => Outcome::Sent,
            408 | 425 | 429 | 500..=599 => self.later(None),
            _ => Outcome::failed(self.said()),
        }
    }

    /// It may go another time, after the pause that the body told, or `Retry-After`.
    #[must_use]
    pub fn later(&self, told_ms: Option<u64>) -> Outcome {
        let pause = told_ms.or_else(|| self.retry_after());
        Outcome::Retry {
            after_ms: pause.map(|pause| pause.min(ASKED_PAUSE_MAX_MS)),
            why: self.said(),
        }
    }

    /// `Retry-After` in ms, as seconds or as a date.
    fn retry_after(&self) -> Option<u64> {
        let value = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = value.parse::<f64>() {
            // Some say parts of seconds.
            let seconds = seconds.clamp(0.0, 1e9);
            return Some((seconds * 1000.0).ceil() as u64);
        }
        let date_ms = http_date(value)?;
        Some(u64::try_from(date_ms.saturating_sub(self.now_ms)).unwrap_or(0))
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` as Unix ms; the two older forms are nobody's any more.
fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, rest) = text.split_once(", ")?;
    let parts: Vec<&str> = rest.split(' ').collect();
    let [day, month, year, time, "GMT"] = parts[..] else {
        return None;
    };
    let month = MONTHS.iter().position(|name| *name == month)?;
    let month = i64::try_from(month).ok()? + 1;
    let (day, year): (i64, i64) = (day.parse().ok()?, year.parse().ok()?);
    let clock: Vec<i64> = time
        .split(':')
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    let [hour, minute, second] = clock[..] else {
        return None;
    };
    let known = (1970..10_000).contains(&year)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..61).contains(&second);
    if !known {
        return None;
    }
    // Days since 1970-01-01, counting years from March.
    let (of_year, from_march) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let days = of_year * 365 + of_year / 4 - of_year / 100
        + of_year / 400
        + (153 * from_march + 2) / 5
        + day
        - 1
        - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply<'a>(status: u16, headers: &'a HeaderMap, body: &'a [u8]) -> Reply<'a> {
        Reply {
            status,
            headers,
            body,
            secrets: &[],
            now_ms: 784_111_777_000,
        }
    }

    #[test]
    fn a_pause_is_told_in_seconds_or_as_a_date() {
        for (value, pause) in [
            ("7", Some(7000)),
            ("0.5", Some(500)),
            ("99999999", Some(ASKED_PAUSE_MAX_MS)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10_000)),
            ("Sun, 06 Nov 1994 08:40:00 GMT", Some(0)),
            ("-4", Some(0)),
            ("soon", None),
            ("Sun, 06 Nov 1994 08:49 GMT", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().expect("a value"));
            let Outcome::Retry { after_ms, .. } = reply(429, &headers, b"").usual() else {
                panic!("{value}");
            };
            assert_eq!(after_ms, pause, "{value}");
        }
    }

    #[test]
    fn what_may_go_another_time_is_told_from_what_will_not() {
        let headers = HeaderMap::new();
        for (status, is_sent, is_retried) in [
            (200, true, false),
            (204, true, false),
            (301, false, false),
            (400, false, false),
            (404, false, false),
            (408, false, true),
            (429, false, true),
            (500, false, true),
            (503, false, true),
        ] {
            let outcome = reply(status, &headers, b"because").usual();
            assert_eq!(outcome == Outcome::Sent, is_sent, "{status}");
            let retries = matches!(outcome, Outcome::Retry { .. });
            assert_eq!(retries, is_retried, "{status}");
            if let Outcome::Failed { why } = outcome {
                assert_eq!(why, format!("it answered {status}: because"));
            }
        }
    }
}
