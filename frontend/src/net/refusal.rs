//! A request that was not answered with what was asked for, in words for the reader.

use super::json::Json;
use crate::words;

/// Why a request was not answered with what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status; 0 when there was no answer.
    pub status: u16,
    /// The server's own words, where it had some.
    pub detail: Option<String>,
}

impl Refusal {
    /// From an answer with an error status.
    #[must_use]
    pub fn new(status: u16, body: &str) -> Self {
        let problem = Json::parse(body).unwrap_or_default();
        Self {
            status,
            // Prometheus' API calls it otherwise.
            detail: ["detail", "error"]
                .into_iter()
                .find_map(|name| problem.get(name).text())
                .map(str::to_owned),
        }
    }

    /// Nobody answered.
    #[must_use]
    pub const fn silence() -> Self {
        Self {
            status: 0,
            detail: None,
        }
    }

    /// The refusal as a close code and reason of a socket, which says more than a failed opening.
    #[must_use]
    pub fn as_close(&self) -> (u16, String) {
        let code = match self.status {
            401 | 403 => 1008,
            429 | 503 => 1013,
            _ => 1006,
        };
        (code, self.in_words())
    }

    /// What is wrong, one line.
    #[must_use]
    pub fn in_words(&self) -> String {
        let what = match self.status {
            0 => return words::NO_ANSWER.to_owned(),
            401 => "A token is needed",
            403 => words::NOT_ALLOWED,
            429 => "Too many attempts; wait a minute",
            503 => "The server is at its limit; try again soon",
            status => {
                return self.with_detail(&format!("The server answered with status {status}"));
            }
        };
        self.with_detail(what)
    }

    fn with_detail(&self, what: &str) -> String {
        match &self.detail {
            Some(detail) => format!("{what}: {detail}"),
            None => what.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_the_server_said() {
        let body = r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"this token is not known here"}"#;
        let refusal = Refusal::new(401, body);
        assert_eq!(
            refusal.in_words(),
            "A token is needed: this token is not known here"
        );
        assert_eq!(refusal.as_close().0, 1008);
        assert_eq!(
            Refusal::new(429, "<html>").in_words(),
            "Too many attempts; wait a minute"
        );
        let body = r#"{"status":"error","errorType":"bad_data","error":"1:1: parse error: no"}"#;
        assert_eq!(
            Refusal::new(400, body).detail.as_deref(),
            Some("1:1: parse error: no")
        );
        assert_eq!(Refusal::new(500, "").as_close().0, 1006);
        assert_eq!(Refusal::silence().in_words(), "The server does not answer");
    }
}
