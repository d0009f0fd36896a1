//! Why the server cannot be reached, found out by asking it in plain HTTP.
//!
//! A browser tells a page nothing about why a socket did not open. So the page asks `/healthz`,
//! then the socket's own address without an upgrade, and concludes from what it may see.
//! The conclusions are pure and tested here; [`crate::hooks::use_metrics_socket`] asks.

use super::config::Endpoint;
use crate::words;

/// What is wrong, as far as a page can know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Diagnosis {
    /// Nothing answers.
    Unreachable,
    /// Something answers, but not to pages of this origin (CORS).
    OriginRefused,
    /// A page served by https may not talk to a server without it.
    InsecureBackend,
    /// Something answers `/healthz` that is not Pulseboard.
    NotPulseboard {
        /// Its HTTP status.
        status: u16,
    },
    /// A proxy stands there that cannot reach the server.
    BehindProxy {
        /// The proxy's HTTP status.
        status: u16,
    },
    /// The server wants to know who is there.
    SignInNeeded,
    /// The server knows who is there, and that is not enough.
    Forbidden,
    /// The server has all the connections it allows.
    Full,
    /// The server is well, and the socket does not open: a proxy that passes no upgrades.
    NoUpgrade,
    /// The server closed the connection with these words.
    Closed {
        /// RFC 6455 §7.4.
        code: u16,
        /// May be empty.
        reason: String,
    },
    /// The socket opened, and what came was not of our protocol.
    Unreadable(String),
}

/// What one request showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// An answer that the page may read.
    Status {
        /// HTTP status.
        status: u16,
        /// It says that it is Pulseboard.
        ours: bool,
    },
    /// There is an answer, and the page may not read it.
    Hidden,
    /// No answer.
    Nothing,
}

/// What `health` (of `/healthz`) and `socket` (of `/ws/metrics`, without an upgrade) say
/// together; `socket` is only asked for when `health` was an answer.
#[must_use]
pub fn conclude(health: &Reply, socket: Option<&Reply>) -> Diagnosis {
    match health {
        Reply::Nothing => Diagnosis::Unreachable,
        Reply::Hidden => Diagnosis::OriginRefused,
        Reply::Status { status: 401, .. } => Diagnosis::SignInNeeded,
        Reply::Status { status: 403, .. } => Diagnosis::Forbidden,
        Reply::Status {
            status: status @ 500..=599,
            ..
        } => Diagnosis::BehindProxy { status: *status },
        Reply::Status {
            status: 200,
            ours: true,
        } => match socket {
            Some(Reply::Status { status: 401, .. }) => Diagnosis::SignInNeeded,
            Some(Reply::Status { status: 403, .. }) => Diagnosis::Forbidden,
            Some(Reply::Status { status: 503, .. }) => Diagnosis::Full,
            Some(Reply::Status {
                status: status @ 404,
                ..
            }) => Diagnosis::NotPulseboard { status: *status },
            Some(Reply::Hidden) => Diagnosis::OriginRefused,
            Some(Reply::Nothing) => Diagnosis::Unreachable,
            Some(Reply::Status { .. }) | None => Diagnosis::NoUpgrade,
        },
        Reply::Status { status, .. } => Diagnosis::NotPulseboard { status: *status },
    }
}

/// What is wrong and how it is put right, for the reader of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What is wrong, one line.
    pub what: String,
    /// What to do about it.
    pub fix: String,
    /// Time alone will not put it right.
    pub lasting: bool,
}

impl Diagnosis {
    /// In words. `endpoint` is where the page looks for the server, `page` its own origin.
    #[must_use]
    pub fn advice(&self, endpoint: &Endpoint, page: &str) -> Advice {
        let server = endpoint.origin();
        let configured = endpoint.configured();
        let or_config = if configured {
            ", or correct \"backend\" in config.json beside index.html"
        } else {
            ""
        };
        let (what, fix, lasting) = match self {
            Self::Unreachable if configured => (
                format!("Nothing answers at {server}"),
                format!(
                    "Start the server there{or_config}. The address must be reachable from this browser."
                ),
                true,
            ),
            Self::Unreachable => (
                words::NO_ANSWER.to_owned(),
                "It may be restarting; this page connects again by itself.".to_owned(),
                false,
            ),
            Self::OriginRefused => (
                format!("What answers at {server} does not accept pages from {page}"),
                format!("If it is Pulseboard, start it with --allowed-origins {page} (or ALLOWED_ORIGINS){or_config}."),
                true,
            ),
            Self::InsecureBackend => (
                format!("This page uses https, but {server} does not"),
                "Serve the backend over https, and give that address in config.json; browsers block a mixture of both.".to_owned(),
                true,
            ),
            Self::NotPulseboard { status } => (
                format!("What answers at {server} is not Pulseboard (status {status} from /healthz)"),
                if configured {
                    "Correct \"backend\" in config.json beside index.html: it names the server's origin, such as https://metrics.example.org.".to_owned()
                } else {
                    "This page looks for the server at its own address. When it is hosted apart, name the server in config.json beside index.html: {\"backend\":\"https://metrics.example.org\"}.".to_owned()
                },
                true,
            ),
            Self::BehindProxy { status } => (
                format!("A proxy at {server} cannot reach the server (status {status})"),
                "Start the server, or correct the proxy's address of it; this page connects again by itself.".to_owned(),
                false,
            ),
            Self::SignInNeeded => (
                format!("The server at {server} wants a token"),
                "Ask its owner for one, or start it with --anonymous-role viewer.".to_owned(),
                true,
            ),
            Self::Forbidden => (
                format!("The server at {server} refuses this page"),
                format!(
                    "Allow this page's origin with --allowed-origins {page}, and give its visitors a role that may read."
                ),
                true,
            ),
            Self::Full => (
                "The server has as many viewers as it allows".to_owned(),
                "Raise MAX_CONNECTIONS, or wait: this page tries again by itself.".to_owned(),
                false,
            ),
            Self::NoUpgrade => (
                format!("The server at {server} is up, but the live connection does not open"),
                "A proxy in between does not pass WebSocket upgrades on; let it do so for /ws/.".to_owned(),
                true,
            ),
            Self::Closed { code, reason } => (
                if reason.is_empty() {
                    format!("The server closed the connection (code {code})")
                } else {
                    format!("The server closed the connection: {reason}")
                },
                match code {
                    1008 => "The token may have been withdrawn, or this page may not read here.",
                    1013 => "The server is at one of its limits; this page tries again by itself.",
                    _ => "This page tries again by itself.",
                }
                .to_owned(),
                *code == 1008,
            ),
            Self::Unreadable(error) => (
                format!("What the server at {server} sends is not understood: {error}"),
                "The page and the server may be of different versions: reload the page, or deploy both from the same release.".to_owned(),
                true,
            ),
        };
        Advice { what, fix, lasting }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concludes_from_what_it_sees() {
        let ok = Reply::Status {
            status: 200,
            ours: true,
        };
        let status = |status| Reply::Status { status, ours: true };
        let html = Reply::Status {
            status: 200,
            ours: false,
        };
        for (health, socket, expected) in [
            (Reply::Nothing, None, Diagnosis::Unreachable),
            (Reply::Hidden, None, Diagnosis::OriginRefused),
            (html, None, Diagnosis::NotPulseboard { status: 200 }),
            (status(404), None, Diagnosis::NotPulseboard { status: 404 }),
            (status(500), None, Diagnosis::BehindProxy { status: 500 }),
            (status(401), None, Diagnosis::SignInNeeded),
            (ok.clone(), Some(status(401)), Diagnosis::SignInNeeded),
            (ok.clone(), Some(status(403)), Diagnosis::Forbidden),
            (ok.clone(), Some(status(503)), Diagnosis::Full),
            (ok.clone(), Some(status(400)), Diagnosis::NoUpgrade),
            (ok.clone(), Some(status(426)), Diagnosis::NoUpgrade),
            (ok, Some(Reply::Hidden), Diagnosis::OriginRefused),
        ] {
            assert_eq!(conclude(&health, socket.as_ref()), expected);
        }
    }

    #[test]
    fn advice_names_the_origin_to_allow() {
        let endpoint = Endpoint::resolve("https://metrics.example.org", "https://cdn.example.net")
            .expect("a good address");
        let advice = Diagnosis::OriginRefused.advice(&endpoint, "https://cdn.example.net");
        assert!(advice.what.contains("https://metrics.example.org"));
        assert!(
            advice
                .fix
                .contains("--allowed-origins https://cdn.example.net")
        );
        assert!(advice.fix.contains("config.json"));
        assert!(advice.lasting);
    }
}
