//! One request to the hub.

use std::{
    borrow::Cow,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use bytes::Bytes;
use pulseboard_forward::answer::{Outcome, said};
use pulseboard_outbound::{
    Answer, Client, ClientConfig, Error, HeaderMap, HeaderName, HeaderValue, Secret, check_address,
    config::Authorization, header, secret::hide_password,
};
use tokio::time::Instant;

use crate::options::Options;

/// A request that takes longer is given up and made again.
const DEADLINE: Duration = Duration::from_secs(30);

/// Of an answer; it says why in words.
const ANSWER_BYTES: usize = 64 << 10;

/// The pause after the first failure, and after many.
pub(crate) const PAUSE: (Duration, Duration) =
    (Duration::from_millis(500), Duration::from_secs(30));

/// The hub, as it is spoken to.
#[derive(Debug)]
pub(crate) struct Hub {
    client: Client,
    url: String,
    headers: HeaderMap,
}

/// Whether a hub can be at this address. The path of remote write is appended to it, so that
/// nothing may follow its path.
///
/// # Errors
/// Why it cannot.
pub fn check_hub(to: &str) -> Result<(), Error> {
    check_address(to)?;
    match to.find(['?', '#']) {
        None => Ok(()),
        Some(_) => Err(Error::Url {
            url: hide_password(to).into_owned(),
            why: "a hub's address has neither ? nor #".to_owned(),
        }),
    }
}

impl Hub {
    pub(crate) fn new(options: &Options) -> Result<Self, Error> {
        check_hub(&options.to)?;
        let mut config = ClientConfig::default();
        config.tls_config.ca_file.clone_from(&options.ca_file);
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
        // By which the hub tells two agents that have one name.
        let run = RandomState::new().build_hasher().finish();
        if let Ok(run) = HeaderValue::from_str(&format!("{run:016x}")) {
            headers.insert(HeaderName::from_static("x-pulseboard-agent"), run);
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

    /// Its address as it may be shown.
    pub(crate) fn shown(&self) -> Cow<'_, str> {
        hide_password(&self.url)
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
            Ok(answer) => read(&answer),
            Err(error) => Outcome::Later(error.to_string(), None),
        }
    }
}

/// In every answer of a hub that has read a message, whatever became of it: how many samples it
/// wrote (`backend/src/endpoint/push.rs`).
const WRITTEN: &str = "x-prometheus-remote-write-samples-written";

/// What an answer means. Others may answer in the hub's place (a network's login page, the page
/// that a proxy shows while its server is away), so that nothing counts as sent, or as refused for
/// good, but by an answer that only a hub gives. A proxy may have a limit of its own for what it
/// passes on.
fn read(answer: &Answer) -> Outcome {
    let is_hubs = answer
        .headers
        .get(WRITTEN)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.parse::<u64>().is_ok());
    match answer.status {
        204 if is_hubs => Outcome::Taken,
        400 if is_hubs => Outcome::Refused(said(answer)),
        413 => Outcome::TooLarge(said(answer)),
        200..=299 => Outcome::later(
            answer,
            format!(
                "{} is no answer of a hub; is there a login page or another server in between?",
                match answer.content_type() {
                    "" => answer.status.to_string(),
                    kind => format!("{} ({kind})", answer.status),
                }
            ),
        ),
        // A token that is not known, or a path that is not there (yet), is for a person to mend.
        _ => Outcome::later(answer, said(answer)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hubs_password_is_not_shown() {
        let options = Options {
            to: "https://me:hunter2@hub:3000".to_owned(),
            token: None,
            token_file: None,
            ca_file: None,
            tenant: None,
            instance: "here".to_owned(),
            interval: Duration::from_secs(1),
            scrape: None,
            local: crate::options::Local::default(),
            folder: std::path::PathBuf::new(),
            limits: crate::buffer::Limits::default(),
        };
        let hub = Hub::new(&options).expect("a hub");
        assert_eq!(hub.shown(), "https://me:xxxxx@hub:3000/api/v1/write");
    }

    #[test]
    fn what_is_no_address_of_a_hub_is_refused() {
        check_hub("https://me:secret@hub:3000/prefix/").expect("a hub");
        for to in [
            "",
            "hub",
            "hub:3000",
            "ftp://hub",
            "http://",
            "http://hub?a=b",
            "http://hub/#a",
        ] {
            assert!(check_hub(to).is_err(), "{to:?}");
        }
    }

    #[test]
    fn a_hub_is_named_with_or_without_the_path() {
        for to in ["http://h:1", "http://h:1/", "http://h:1/api/v1/write"] {
            assert_eq!(write_url(to), "http://h:1/api/v1/write");
        }
    }

    fn outcome(status: u16, headers: &[(&'static str, &'static str)]) -> Outcome {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        read(&Answer {
            status,
            headers: all,
            body: Bytes::from_static(b"why"),
            wire_bytes: 3,
            seat: None,
        })
    }

    #[test]
    fn only_what_a_hub_answers_ends_the_matter() {
        let hubs = (WRITTEN, "7");
        let refused = Outcome::Refused("400 why".to_owned());
        assert_eq!(outcome(204, &[hubs]), Outcome::Taken);
        assert_eq!(outcome(400, &[hubs]), refused);
        let later = |outcome| matches!(outcome, Outcome::Later(..));
        for status in [401, 403, 404, 405, 415, 421, 429, 500, 503, 507] {
            assert!(later(outcome(status, &[hubs])), "{status}");
        }
        let page = ("content-type", "text/html; charset=utf-8");
        for status in [200, 201, 202, 204, 206, 302, 400, 403, 410, 451, 511, 600] {
            assert!(later(outcome(status, &[page])), "{status}");
            assert!(later(outcome(status, &[(WRITTEN, "many")])), "{status}");
        }
        for headers in [&[][..], &[page], &[hubs]] {
            let too_large = Outcome::TooLarge("413 why".to_owned());
            assert_eq!(outcome(413, headers), too_large);
        }
        let Outcome::Later(why, _) = outcome(200, &[page]) else {
            panic!("it is kept");
        };
        assert!(
            why.starts_with("200 (text/html; charset=utf-8) is no answer of a hub"),
            "{why}"
        );
    }
}
