//! One request to the hub.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use pulseboard_forward::answer::Outcome;
use pulseboard_outbound::{
    Client, ClientConfig, Error, HeaderMap, HeaderName, HeaderValue, Secret, config::Authorization,
    header, secret::hide_password,
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
            Ok(answer) => Outcome::of(&answer, &MENDED),
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

/// A token that is not known, or a path that is not there (yet), is for a person to mend: nothing is
/// given up for it.
const MENDED: [u16; 7] = [401, 403, 404, 405, 407, 408, 425];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hubs_password_is_not_shown() {
        let options = Options {
            to: "https://me:hunter2@hub:3000".to_owned(),
            token: None,
            token_file: None,
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
    fn a_hub_is_named_with_or_without_the_path() {
        for to in ["http://h:1", "http://h:1/", "http://h:1/api/v1/write"] {
            assert_eq!(write_url(to), "http://h:1/api/v1/write");
        }
    }
}
