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

/// Why a receiver refuses samples, by its words. Receivers word it differently, so that these are
/// few; the words of the last refusal are told, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Another value is there for that time.
    Duplicate,
    /// A newer sample of the series is there.
    OutOfOrder,
    /// It is older than the receiver takes any.
    TooOld,
    /// It is of a time that is still to come.
    TooNew,
    /// Its labels or its name are none, too many or too long.
    Labels,
    /// The receiver has as much as it may have.
    Limit,
    /// It takes no message of that size.
    TooLarge,
    /// Anything else.
    Other,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Duplicate,
        Self::OutOfOrder,
        Self::TooOld,
        Self::TooNew,
        Self::Labels,
        Self::Limit,
        Self::TooLarge,
        Self::Other,
    ];

    /// As it is counted.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::OutOfOrder => "out_of_order",
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::Labels => "labels",
            Self::Limit => "limit",
            Self::TooLarge => "too_large",
            Self::Other => "other",
        }
    }

    /// What a refusal means that [`said`] these words: those of Prometheus, Mimir, Cortex, Thanos
    /// and VictoriaMetrics are known.
    #[must_use]
    pub fn of(words: &str) -> Self {
        let words = words.to_ascii_lowercase();
        let status = words.split_whitespace().next().unwrap_or_default();
        let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
        match status {
            "413" => Self::TooLarge,
            _ if has(&["duplicate sample", "duplicate-timestamp", "conflict"]) => Self::Duplicate,
            _ if has(&["out of order", "out-of-order"]) => Self::OutOfOrder,
            _ if has(&["too old", "too-old", "out of bounds", "too far in the past"]) => {
                Self::TooOld
            }
            _ if has(&["future"]) => Self::TooNew,
            _ if has(&["label", "metric name", "metric-name"]) => Self::Labels,
            _ if has(&["limit", "exceed"]) => Self::Limit,
            _ => Self::Other,
        }
    }

    /// Whether it says of a sample that was sent before that the receiver still has it.
    #[must_use]
    pub const fn is_of_known(self) -> bool {
        matches!(self, Self::Duplicate | Self::OutOfOrder | Self::TooOld)
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

    #[test]
    fn reasons_are_known_by_the_words_of_stores() {
        for (words, reason) in [
            ("400 out of order sample", Reason::OutOfOrder),
            ("400 duplicate sample for timestamp", Reason::Duplicate),
            ("409 store is in conflict", Reason::Duplicate),
            ("400 out of bounds", Reason::TooOld),
            (
                "400 the sample has been rejected because its timestamp is too far in the future (err-mimir-too-far-in-future)",
                Reason::TooNew,
            ),
            ("400 label name \"a b\" is not valid", Reason::Labels),
            ("400 per-user series limit of 10 exceeded", Reason::Limit),
            ("413 limit", Reason::TooLarge),
            ("400 no", Reason::Other),
        ] {
            assert_eq!(Reason::of(words), reason, "{words}");
        }
        let names = Reason::ALL.map(Reason::name);
        assert!((0..names.len()).all(|at| !names[at + 1..].contains(&names[at])));
    }

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
