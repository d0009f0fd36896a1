//! What a receiver's answer means, and when it is asked again.

use std::time::Duration;

use pulseboard_outbound::{Answer, header};

/// Characters of an answer that are said on.
const SAID_CHARS: usize = 300;

/// A receiver that asks for a longer pause is asked after this all the same.
const ASKED_PAUSE_MAX: Duration = Duration::from_secs(300);

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has all of it.
    Taken,
    /// The receiver will not take all of it, however often it is asked.
    Refused(String),
    /// The receiver takes no message as large as this: it is to be sent in parts.
    TooLarge(String),
    /// It may take it later; after this long where it said so.
    Later(String, Option<Duration>),
}

impl Outcome {
    /// What an answer means; statuses of `mended` are for a person to mend, so that nothing is
    /// given up for them.
    #[must_use]
    pub fn of(answer: &Answer, mended: &[u16]) -> Self {
        let why = said(answer);
        match answer.status {
            200..=299 => Self::Taken,
            429 => Self::later(answer, why),
            413 => Self::TooLarge(why),
            status if mended.contains(&status) => Self::later(answer, why),
            400..=499 => Self::Refused(why),
            _ => Self::later(answer, why),
        }
    }

    /// It is to be sent again, for this reason.
    #[must_use]
    pub fn later(answer: &Answer, why: String) -> Self {
        Self::Later(why, retry_after(answer))
    }
}

/// Status and the first words of an answer.
#[must_use]
pub fn said(answer: &Answer) -> String {
    let body: String = String::from_utf8_lossy(&answer.body)
        .chars()
        .take(SAID_CHARS)
        .collect();
    format!("{} {}", answer.status, body.trim())
}

/// Seconds; dates (RFC 9110 §10.2.3) are not looked at, since clocks differ.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let value = answer.headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let seconds = value.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(ASKED_PAUSE_MAX))
}

/// Pauses between tries: twice as long each time, and by chance up to half of that shorter, so
/// that senders to one receiver do not all come back at once.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    shortest: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// The pause after the first failure, and after many.
    #[must_use]
    pub fn new(shortest: Duration, longest: Duration) -> Self {
        Self {
            shortest,
            longest,
            failures: 0,
        }
    }

    /// It went well.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after one more failure.
    pub fn pause(&mut self, asked: Option<Duration>) -> Duration {
        let grown = 2_u32.saturating_pow(self.failures.min(16));
        let longest = self.shortest.saturating_mul(grown).min(self.longest);
        self.failures += 1;
        let pause = longest.mul_f64(0.5 + fastrand::f64() / 2.0);
        pause.max(asked.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use pulseboard_outbound::{HeaderMap, HeaderValue};

    use super::*;

    const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

    fn outcome(status: u16, retry_after: Option<&'static str>, mended: &[u16]) -> Outcome {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(value));
        }
        let answer = Answer {
            status,
            headers,
            body: bytes::Bytes::from_static(b"why"),
            wire_bytes: 3,
            seat: None,
        };
        Outcome::of(&answer, mended)
    }

    #[test]
    fn only_what_nobody_can_mend_is_given_up() {
        assert_eq!(outcome(204, None, &[]), Outcome::Taken);
        for status in [302, 429, 500, 503, 507] {
            assert!(
                matches!(outcome(status, None, &[]), Outcome::Later(..)),
                "{status}"
            );
        }
        for status in [400, 401, 404, 415, 422] {
            let refused = Outcome::Refused(format!("{status} why"));
            assert_eq!(outcome(status, None, &[]), refused);
        }
        assert!(matches!(outcome(401, None, &[401]), Outcome::Later(..)));
        let too_large = Outcome::TooLarge("413 why".to_owned());
        assert_eq!(outcome(413, None, &[]), too_large);
        let later = |seconds| Some(Duration::from_secs(seconds));
        for (asked, seconds) in [("7", 7), ("9999", 300)] {
            assert_eq!(
                outcome(503, Some(asked), &[]),
                Outcome::Later("503 why".to_owned(), later(seconds))
            );
        }
    }

    #[test]
    fn pauses_grow_within_bounds_and_are_as_long_as_was_asked_for() {
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        for _ in 0..100 {
            let pause = backoff.pause(None);
            assert!(pause >= PAUSE.0 / 2 && pause <= PAUSE.1, "{pause:?}");
        }
        assert!(backoff.pause(None) >= PAUSE.1 / 2);
        backoff.reset();
        assert!(backoff.pause(None) <= PAUSE.0);
        assert!(backoff.pause(Some(Duration::from_secs(60))) >= Duration::from_secs(60));
    }
}
