//! Sending: one try of one notification over one way, within ten seconds, to nobody that the guard
//! does not let ask.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use pulseboard_outbound::{Client, Error, Guard, HeaderMap, Secret};
use pulseboard_template::alertmanager::Templates;
use tokio::time::{Instant, timeout_at};

use crate::{
    config::{HttpConfig, Receiver, Span, Way, WayName},
    notification::Notification,
    outcome::{Outcome, Reply},
    post::Post,
    render::texts,
    smtp,
    text::{scrub, secrets_of},
    way::{self, Message},
};

/// One try takes so long at most, with everything.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// An answer is read so far.
const ANSWER_BYTES: usize = 64 * 1024;
/// Clients whose connections are kept, one for each `http_config`.
const CLIENTS: usize = 64;

/// Sends. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Sender(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    guard: Guard,
    /// With when it was used last, by a counter.
    clients: Mutex<(u64, Vec<Kept>)>,
}

#[derive(Debug)]
struct Kept {
    config: HttpConfig,
    client: Client,
    used: u64,
}

/// Unix ms.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

impl Sender {
    /// One that asks this machine and private networks only where `allow_private` says so, and
    /// link-local and metadata addresses never.
    #[must_use]
    pub fn new(allow_private: bool) -> Self {
        Self(Arc::new(Inner {
            guard: Guard { allow_private },
            clients: Mutex::default(),
        }))
    }

    /// Tries once to send `notification` over `way`. Its texts are rendered on a thread of their
    /// own.
    pub async fn send(
        &self,
        way: Arc<Way>,
        notification: Arc<Notification>,
        templates: Arc<Templates>,
    ) -> Outcome {
        let deadline = Instant::now() + allowed(&way);
        let made = tokio::task::spawn_blocking({
            let way = Arc::clone(&way);
            move || {
                let now = now_ms();
                let texts = texts(&templates, &notification, now);
                way::message(&way, &notification, &texts, now)
            }
        });
        let made = match timeout_at(deadline, made).await {
            Ok(Ok(made)) => made,
            Ok(Err(_panicked)) => return Outcome::failed("its texts cannot be rendered"),
            Err(_) => return Outcome::retry("its texts were not rendered in time"),
        };
        match made {
            Err(why) => Outcome::failed(scrub(&why, &way::secrets(&way))),
            Ok(Message::Post(post)) => self.post(&way, post, deadline).await,
            Ok(Message::Mail(mail)) => {
                match timeout_at(deadline, smtp::send(&mail, self.0.guard)).await {
                    Ok(outcome) => outcome,
                    Err(_) => Outcome::retry(format!("{} did not answer in time", mail.host)),
                }
            }
        }
    }

    /// Posts, and puts what follows; all of it again where one does not go.
    async fn post(&self, way: &Way, mut post: Post, deadline: Instant) -> Outcome {
        let puts = std::mem::take(&mut post.puts);
        let mut outcome = self.ask(way, post, false, deadline).await;
        for put in puts {
            if outcome != Outcome::Sent {
                break;
            }
            outcome = self.ask(way, put, true, deadline).await;
        }
        outcome
    }

    async fn ask(&self, way: &Way, post: Post, is_put: bool, deadline: Instant) -> Outcome {
        let mut secrets = post.secrets;
        secrets.extend(way::secrets(way));
        let client = match self.client(way.http()) {
            Ok(client) => client,
            Err(error) => return Outcome::failed(scrub(&error.to_string(), &secrets)),
        };
        let (url, headers, body) = (post.url.reveal(), &post.headers, post.body.into());
        let asked = match is_put {
            true => client.put(url, headers, body, deadline, ANSWER_BYTES).await,
            false => {
                client
                    .post(url, headers, body, deadline, ANSWER_BYTES)
                    .await
            }
        };
        match asked {
            Ok(answer) => way::judge(
                way,
                &Reply {
                    status: answer.status,
                    headers: &answer.headers,
                    body: &answer.body,
                    secrets: &secrets,
                    now_ms: now_ms(),
                },
            ),
            Err(error) => trouble(&error, url, &secrets),
        }
    }

    /// Calls an address, and says whether it answered 2xx: a heartbeat.
    pub async fn call(&self, url: &Secret, http: Option<&HttpConfig>) -> Outcome {
        let deadline = Instant::now() + DEADLINE;
        let secrets = secrets_of(url.reveal());
        let client = match self.client(http) {
            Ok(client) => client,
            Err(error) => return Outcome::failed(scrub(&error.to_string(), &secrets)),
        };
        let headers = HeaderMap::new();
        let asked = client.get(url.reveal(), &headers, deadline, ANSWER_BYTES);
        match asked.await {
            Ok(answer) => Reply {
                status: answer.status,
                headers: &answer.headers,
                body: &answer.body,
                secrets: &secrets,
                now_ms: now_ms(),
            }
            .usual(),
            Err(error) => trouble(&error, url.reveal(), &secrets),
        }
    }

    /// The client of an `http_config`, with the connections that it has.
    fn client(&self, config: Option<&HttpConfig>) -> Result<Client, Error> {
        let config = config.cloned().unwrap_or_default();
        let mut clients = self.0.clients.lock();
        let (clock, kept) = &mut *clients;
        *clock += 1;
        if let Some(one) = kept.iter_mut().find(|one| one.config == config) {
            one.used = *clock;
            return Ok(one.client.clone());
        }
        let mut asker = config.client();
        asker.guard = Some(self.0.guard);
        // Files that are not there yet are told by each try.
        let client = Client::patient(&asker)?;
        if kept.len() >= CLIENTS
            && let Some(oldest) = (0..kept.len()).min_by_key(|index| kept[*index].used)
        {
            kept.swap_remove(oldest);
        }
        kept.push(Kept {
            config,
            client: client.clone(),
            used: *clock,
        });
        Ok(client)
    }
}

/// Ten seconds, or less where a way says so.
fn allowed(way: &Way) -> Duration {
    let own = match way {
        Way::Webhook(config) => config.timeout,
        Way::Slack(config) => config.timeout,
        Way::PagerDuty(config) => config.timeout,
        _ => None,
    };
    let own = own.map(Span::as_millis).filter(|own| *own > 0);
    own.map_or(DEADLINE, |own| DEADLINE.min(Duration::from_millis(own)))
}

/// Why there was no answer. Paths are secrets with many makers, so only the host is told.
fn trouble(error: &Error, url: &str, secrets: &[Secret]) -> Outcome {
    let host = url::Url::parse(url).ok();
    let host = host.as_ref().and_then(url::Url::host_str).unwrap_or("it");
    let hidden = |why: &str| scrub(why, secrets);
    match error {
        Error::Config(why) => Outcome::failed(hidden(why)),
        Error::Url { .. } => Outcome::failed("its address is none that can be asked"),
        Error::Forbidden { why, .. } => Outcome::failed(format!("{host} is not asked: {why}")),
        Error::Connect { why, .. } => {
            Outcome::retry(format!("no connection to {host}: {}", hidden(why)))
        }
        Error::TimedOut { .. } => Outcome::retry(format!("{host} did not answer in time")),
        Error::Broken { why, .. } => Outcome::retry(format!("{host} broke off: {}", hidden(why))),
        Error::TooLarge { limit, .. } => {
            Outcome::retry(format!("the answer of {host} is larger than {limit} bytes"))
        }
        Error::NoMemory { .. } | Error::Packed { .. } | Error::Redirects { .. } => {
            Outcome::retry(format!("the answer of {host} cannot be read"))
        }
    }
}

/// The ways out of one receiver, each with its name.
pub type Ways = Vec<(WayName, Arc<Way>)>;

/// Who receives, by tenant: what the outbox looks up at each try.
#[derive(Clone, Debug, Default)]
pub struct Directory(Arc<Mutex<HashMap<Arc<str>, Tenant>>>);

#[derive(Clone, Debug)]
struct Tenant {
    receivers: HashMap<String, Ways>,
    templates: Arc<Templates>,
}

impl Directory {
    /// Nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes these receivers, settled, in the place of those that the tenant had. What is under way
    /// goes to the new ones of the same name.
    pub fn set<'a>(
        &self,
        tenant: &str,
        receivers: impl IntoIterator<Item = &'a Receiver>,
        templates: Arc<Templates>,
    ) {
        let receivers = receivers
            .into_iter()
            .map(|receiver| {
                let ways = receiver.ways().into_iter();
                let ways = ways.map(|(name, way)| (name, Arc::new(way)));
                (receiver.name.clone(), ways.collect())
            })
            .collect();
        let tenant_now = Tenant {
            receivers,
            templates,
        };
        self.0.lock().insert(Arc::from(tenant), tenant_now);
    }

    /// The tenant has none any more.
    pub fn remove(&self, tenant: &str) {
        self.0.lock().remove(tenant);
    }

    /// The ways out of a receiver, with the templates of its tenant.
    #[must_use]
    pub fn ways(&self, tenant: &str, receiver: &str) -> Option<(Ways, Arc<Templates>)> {
        let tenants = self.0.lock();
        let tenant = tenants.get(tenant)?;
        let ways = tenant.receivers.get(receiver)?.clone();
        Some((ways, Arc::clone(&tenant.templates)))
    }
}
