//! One request to the hub, what its answer means, and when to try again.

use std::time::Duration;

use bytes::Bytes;
use pulseboard_outbound::{
    Answer, Client, ClientConfig, Error, HeaderMap, HeaderName, HeaderValue, Secret,
    config::Authorization, header,
};
use tokio::time::Instant;

use crate::options::Options;

/// A request that takes longer is given up and made again.
const DEADLINE: Duration = Duration::from_secs(30);

/// Of an answer; it says why in words.
const ANSWER_BYTES: usize = 64 << 10;

/// Characters of an answer that are said on.
const SAID_CHARS: usize = 300;

/// The pause after the first failure, and after many.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// A hub that asks for a longer pause is asked after this all the same.
const ASKED_PAUSE_MAX: Duration = Duration::from_secs(300);

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The hub has all of it.
    Taken,
    /// The hub will not take all of it, however often it is asked.
    Refused(String),
    /// It may take it later; after this long where it said so.
    Later(String, Option<Duration>),
}

/// The hub, as it is spoken to.
#[derive(Debug)]
pub(crate) struct Hub {
    client: Client,
    url: String,
    headers: HeaderMap,
}

impl Hub {
    pub(crate) fn new(options: &Options) -> Result<Self, Error> {
        let mut config = ClientConfig::default();
        if options.token.is_some() || options.token_file.is_some() {
            config.authorization = Some(Authorization {
                credentials: options.token.clone().map(Secret::new),
                credentials_file: options.token_file.clone(),
                ..Authorization::default()
            });
        }
        let mut headers = HeaderMap::new();
        let fixed = [
            (header::CONTENT_TYPE, "application/x-protobuf"),
            (header::CONTENT_ENCODING, "snappy"),
            (
                HeaderName::from_static("x-prometheus-remote-write-version"),
                "0.1.0",
            ),
        ];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Some(tenant) = &options.tenant {
            let value = HeaderValue::from_str(tenant)
                .map_err(|_error| Error::Config(format!("{tenant:?} is no name of a tenant")))?;
            headers.insert(HeaderName::from_static("x-tenant-id"), value);
        }
        Ok(Self {
            client: Client::new(&config)?,
            url: write_url(&options.to),
            headers,
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Sends a packed message.
    pub(crate) async fn send(&self, message: Vec<u8>) -> Outcome {
        let deadline = Instant::now() + DEADLINE;
        let sent = self.client.post(
            &self.url,
            &self.headers,
            Bytes::from(message),
            deadline,
            ANSWER_BYTES,
        );
        match sent.await {
            Ok(answer) => outcome(&answer),
            Err(error) => Outcome::Later(error.to_string(), None),
        }
    }
}

/// Where a hub takes remote write.
fn write_url(to: &str) -> String {
    const PATH: &str = "/api/v1/write";
    let to = to.trim_end_matches('/');
    match to.ends_with(PATH) {
        true => to.to_owned(),
        false => format!("{to}{PATH}"),
    }
}

/// What an answer means. A token that is not known, or a path that is not there (yet), is for a
/// person to mend: nothing is given up for it.
fn outcome(answer: &Answer) -> Outcome {
    let said: String = String::from_utf8_lossy(&answer.body)
        .chars()
        .take(SAID_CHARS)
        .collect();
    let why = format!("{} {}", answer.status, said.trim());
    match answer.status {
        200..=299 => Outcome::Taken,
        401 | 403 | 404 | 405 | 407 | 408 | 425 | 429 => Outcome::Later(why, retry_after(answer)),
        400..=499 => Outcome::Refused(why),
        _ => Outcome::Later(why, retry_after(answer)),
    }
}

/// Seconds; dates (RFC 9110 §10.2.3) are not looked at, since clocks differ.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let value = answer.headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let seconds = value.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(ASKED_PAUSE_MAX))
}

/// Pauses between tries: twice as long each time, and by chance up to half of that shorter, so
/// that agents of one hub do not all come back at once.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after one more failure.
    pub(crate) fn pause(&mut self, asked: Option<Duration>) -> Duration {
        let longest = PAUSE.0 * 2_u32.saturating_pow(self.failures.min(16));
        self.failures += 1;
        let pause = longest.min(PAUSE.1).mul_f64(0.5 + fastrand::f64() / 2.0);
        pause.max(asked.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<&'static str>) -> Outcome {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(value));
        }
        outcome(&Answer {
            status,
            headers,
            body: Bytes::from_static(b"why"),
            wire_bytes: 3,
            seat: None,
        })
    }

    #[test]
    fn only_what_nobody_can_mend_is_given_up() {
        assert_eq!(answer(204, None), Outcome::Taken);
        for status in [401, 403, 404, 429, 500, 503, 507] {
            assert!(
                matches!(answer(status, None), Outcome::Later(..)),
                "{status}"
            );
        }
        assert_eq!(answer(400, None), Outcome::Refused("400 why".to_owned()));
        let later = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(
            answer(503, Some("7")),
            Outcome::Later("503 why".to_owned(), later(7))
        );
        assert_eq!(
            answer(503, Some("9999")),
            Outcome::Later("503 why".to_owned(), later(300))
        );
    }

    #[test]
    fn pauses_grow_within_bounds_and_are_as_long_as_was_asked_for() {
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            let pause = backoff.pause(None);
            assert!(pause >= PAUSE.0 / 2 && pause <= PAUSE.1, "{pause:?}");
        }
        assert!(backoff.pause(None) >= PAUSE.1 / 2);
        backoff.reset();
        assert!(backoff.pause(None) <= PAUSE.0);
        assert!(backoff.pause(Some(Duration::from_secs(60))) >= Duration::from_secs(60));
    }

    #[test]
    fn a_hub_is_named_with_or_without_the_path() {
        for to in ["http://h:1", "http://h:1/", "http://h:1/api/v1/write"] {
            assert_eq!(write_url(to), "http://h:1/api/v1/write");
        }
    }
}
