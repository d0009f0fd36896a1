//! Who gets samples on: how it is asked, and how what waits for it is sent.

use std::{borrow::Cow, collections::HashMap, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use pulseboard_outbound::{Client, HeaderMap, HeaderName, HeaderValue, header};
use pulseboard_scrape::{config::RemoteWrite, metadata::Metric};
use tokio::time::Instant;

use crate::answer::Outcome;

/// Of an answer; it says why in words.
const ANSWER_BYTES: usize = 64 << 10;

/// What is known of metrics, by name.
pub type Families = HashMap<String, Metric>;

/// Where that is asked for.
pub type Describe = Arc<dyn Fn() -> Families + Send + Sync>;

/// Which message is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// `prometheus.WriteRequest`.
    #[default]
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

impl Protocol {
    fn of(config: &RemoteWrite) -> Self {
        match config.protobuf_message.as_deref() {
            Some("io.prometheus.write.v2.Request") => Self::V2,
            _ => Self::V1,
        }
    }

    fn headers(self) -> [(HeaderName, &'static str); 3] {
        let (content_type, version) = match self {
            Self::V1 => ("application/x-protobuf", "0.1.0"),
            Self::V2 => (
                "application/x-protobuf;proto=io.prometheus.write.v2.Request",
                "2.0.0",
            ),
        };
        [
            (header::CONTENT_TYPE, content_type),
            (header::CONTENT_ENCODING, "snappy"),
            (
                HeaderName::from_static("x-prometheus-remote-write-version"),
                version,
            ),
        ]
    }
}

/// What stands for the tenant in an address.
pub const TENANT_IN_URL: &str = "{tenant}";

/// Where a request says whose samples it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// In this header.
    Header(HeaderName),
    /// In the address, in the place of [`TENANT_IN_URL`].
    Path,
}

/// Whose samples a request has, and where it says so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whose<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) said: &'a Said,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) outcome: Outcome,
    /// The receiver was not there: it may be another run of it that answers next.
    pub(crate) is_in_doubt: bool,
}

/// A receiver as the file has it.
#[derive(Debug)]
pub(crate) struct Receiver {
    client: Client,
    url: String,
    headers: HeaderMap,
    timeout: Duration,
    pub(crate) protocol: Protocol,
    pub(crate) samples_max: usize,
    pub(crate) deadline: Duration,
    pub(crate) at_once: usize,
    pub(crate) pauses: (Duration, Duration),
    /// Samples whose own time is longer ago are not sent.
    pub(crate) sample_age: Option<Duration>,
    /// How often what metrics are is sent, and of how many at once.
    pub(crate) families: Option<(Duration, usize)>,
    /// Statuses that a person can mend: what they answer is sent again.
    mended: &'static [u16],
}

/// Of such a receiver as a file has.
const MENDED: &[u16] = &[408];

/// Of one that keeps samples for others: who may not write, or writes to where nobody takes it, has
/// to be set right, and nothing is lost meanwhile.
const MENDED_CAREFULLY: &[u16] = &[401, 403, 404, 408];

impl Receiver {
    /// # Errors
    /// A header is none, or who sends contradicts itself; in words. Certificates that cannot be
    /// read are looked for again by each request.
    pub(crate) fn new(
        config: &RemoteWrite,
        folder: &Path,
        is_careful: bool,
    ) -> Result<Self, String> {
        let protocol = Protocol::of(config);
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let wrong = || format!("the header {name:?} cannot be sent");
            let mut value = HeaderValue::from_str(value).map_err(|_error| wrong())?;
            value.set_sensitive(true);
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_error| wrong())?;
            headers.insert(name, value);
        }
        for (name, value) in protocol.headers() {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let client = Client::patient(&config.client(folder)).map_err(|error| error.to_string())?;
        let (queue, told) = (&config.queue_config, &config.metadata_config);
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
        let families = told.send && protocol == Protocol::V1 && !told.send_interval.is_zero();
        Ok(Self {
            client,
            url: config.url.clone(),
            headers,
            timeout: config.remote_timeout.as_duration(),
            protocol,
            samples_max: count(queue.max_samples_per_send),
            deadline: queue.batch_send_deadline.as_duration(),
            at_once: count(queue.max_shards),
            pauses: (
                queue.min_backoff.as_duration(),
                queue.max_backoff.as_duration(),
            ),
            sample_age: (!queue.sample_age_limit.is_zero())
                .then(|| queue.sample_age_limit.as_duration()),
            families: families.then(|| {
                let at_once = count(told.max_samples_per_send);
                (told.send_interval.as_duration(), at_once)
            }),
            mended: if is_careful { MENDED_CAREFULLY } else { MENDED },
        })
    }

    /// Sends a packed message. Nobody can mend what is answered with 4xx, as with Prometheus, but
    /// for 429.
    pub(crate) async fn send(&self, message: Bytes, whose: Option<&Whose<'_>>) -> Sent {
        let deadline = Instant::now() + self.timeout;
        let (mut url, mut headers) = (Cow::Borrowed(&self.url), Cow::Borrowed(&self.headers));
        match whose {
            None => {}
            Some(Whose {
                tenant,
                said: Said::Path,
            }) if !tenant.is_empty() && !tenant.bytes().all(|byte| byte == b'.') => {
                *url.to_mut() = self.url.replace(TENANT_IN_URL, tenant);
            }
            Some(Whose {
                tenant,
                said: Said::Path,
            }) => {
                // It would lead somewhere else.
                return Sent {
                    outcome: Outcome::Refused(format!(
                        "the tenant {tenant:?} is no part of a path"
                    )),
                    is_in_doubt: false,
                };
            }
            Some(Whose {
                tenant,
                said: Said::Header(name),
            }) => match HeaderValue::from_str(tenant) {
                Ok(value) => drop(headers.to_mut().insert(name.clone(), value)),
                Err(error) => {
                    let why = format!("the tenant {tenant:?} is no header's value: {error}");
                    return Sent {
                        outcome: Outcome::Refused(why),
                        is_in_doubt: false,
                    };
                }
            },
        }
        let sent = self
            .client
            .post(&url, &headers, message, deadline, ANSWER_BYTES);
        match sent.await {
            Ok(answer) => Sent {
                outcome: Outcome::of(&answer, self.mended),
                is_in_doubt: matches!(answer.status, 502..=504),
            },
            Err(error) => Sent {
                outcome: Outcome::Later(error.to_string(), None),
                is_in_doubt: true,
            },
        }
    }
}

/// The folder of a receiver's queue: by its name, or by where it is, so that what waits is found
/// again when anything else changes.
pub(crate) fn folder(config: &RemoteWrite) -> String {
    let hash = |text: &str| format!("{:08x}", crc32fast::hash(text.as_bytes()));
    match &config.name {
        Some(name) => format!("name-{}", hash(name)),
        None => format!("url-{}", hash(&config.url)),
    }
}
