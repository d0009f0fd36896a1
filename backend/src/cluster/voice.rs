//! What servers tell each other of alerts: one feed in one order, heard by all. What was done here
//! was done here already, so what comes back of it is passed over.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_alerting::{AlertEvent, new_id};
use pulseboard_bus::{Bus, FeedKey, FeedSink, Kind, Refused, Subscription, Told, key::FRAME_MAX};
use pulseboard_feed::{Epoch, portable};
use pulseboard_notify::PostedAlert;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

/// The first byte of what is sent: what is of another version is passed over.
const VERSION: u8 = 1;

/// What was said and heard lately is known by its identity: more than Redis keeps of the feed, so
/// that who reads it anew takes nothing twice.
const KNOWN_MAX: usize = 8_192;

/// Of a frame with alerts that somebody posted, what is not them.
const POSTED_BYTES: usize = 1_024;

/// What waits to be taken in; the oldest go.
const WAITING_MAX: usize = 16_384;

/// What somebody says to all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Said {
    /// An incident began, goes on or ended.
    Event(Box<AlertEvent>),
    /// Something happened in an incident; as JSON, as it stands in the incident's file.
    Entry {
        /// Whose it is.
        tenant: Arc<str>,
        /// Which.
        incident: Uuid,
        /// What.
        entry: String,
    },
    /// Somebody posted alerts. For whoever notifies their tenant's people, and, should that be
    /// another server soon, for that one.
    Posted {
        /// Whose they are.
        tenant: Arc<str>,
        /// When, Unix milliseconds.
        at_ms: i64,
        /// Them.
        alerts: Vec<PostedAlert>,
    },
}

/// As it travels.
#[derive(Serialize, Deserialize)]
struct Sent {
    id: Uuid,
    said: Said,
}

/// Speaks to all servers, and hears them.
pub struct Voice {
    bus: Arc<dyn Bus>,
    key: FeedKey,
    heard: Arc<Heard>,
    subscription: OnceLock<Subscription>,
}

#[derive(Default)]
struct Heard {
    /// Leaf lock.
    inner: Mutex<Inner>,
    more: Notify,
}

#[derive(Default)]
struct Inner {
    known: HashSet<Uuid>,
    order: VecDeque<Uuid>,
    waiting: VecDeque<Said>,
    lost: u64,
}

impl Inner {
    /// Whether this was not known; it is from now on.
    fn learn(&mut self, id: Uuid) -> bool {
        if !self.known.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > KNOWN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

/// The feed.
fn key() -> FeedKey {
    FeedKey::new(Kind::Alert, "", "said")
}

impl Voice {
    /// Nothing is heard before [`Voice::listen`].
    #[must_use]
    pub fn new(bus: Arc<dyn Bus>) -> Arc<Self> {
        Arc::new(Self {
            bus,
            key: key(),
            heard: Arc::default(),
            subscription: OnceLock::new(),
        })
    }

    /// Hears from now on what is said, and what Redis keeps of what was.
    pub fn listen(&self) {
        let sink = Arc::new(Sink(Arc::clone(&self.heard)));
        drop(
            self.subscription
                .set(self.bus.subscribe(self.key.clone(), sink)),
        );
    }

    /// The feed that is spoken on.
    #[must_use]
    pub fn key(&self) -> &FeedKey {
        &self.key
    }

    /// What is to be said, as it travels. It is taken as said here.
    #[must_use]
    pub fn frame(&self, now_ms: i64, said: Said) -> Bytes {
        let id = match &said {
            Said::Event(event) => event.alert.id,
            _ => new_id(now_ms),
        };
        self.heard.inner.lock().learn(id);
        written(&Sent { id, said })
    }

    /// As [`Self::say`], for who has to know what became of it.
    ///
    /// # Errors
    /// It is too large, or too much waits.
    pub fn say_told(&self, now_ms: i64, said: Said) -> Result<Told, Refused> {
        let frame = self.frame(now_ms, said);
        self.bus.publish_told(&self.key, None, frame)
    }

    /// Says something, as soon as that can be done.
    pub fn say(&self, now_ms: i64, said: Said) {
        let frame = self.frame(now_ms, said);
        if let Err(refused) = self.bus.publish(&self.key, None, frame) {
            tracing::error!(%refused, "the other servers were not told of an alert");
        }
    }

    /// What others said, in its order, so many at most; waits until there is something.
    pub async fn hear(&self, count: usize) -> Vec<Said> {
        loop {
            {
                let mut inner = self.heard.inner.lock();
                let lost = std::mem::take(&mut inner.lost);
                if lost > 0 {
                    tracing::error!(lost, "what other servers said of alerts was not taken in");
                }
                if !inner.waiting.is_empty() {
                    let count = count.min(inner.waiting.len());
                    return inner.waiting.drain(..count).collect();
                }
            }
            self.heard.more.notified().await;
        }
    }
}

/// As it travels; an event that would be too large goes without what its rule says.
fn written(sent: &Sent) -> Bytes {
    let frame = portable::versioned(VERSION, &portable::write(sent));
    match &sent.said {
        Said::Event(event) if frame.len() > FRAME_MAX => {
            let said = Said::Event(Box::new(cut((**event).clone())));
            portable::versioned(VERSION, &portable::write(&Sent { id: sent.id, said }))
        }
        _ => frame,
    }
}

/// Alerts that somebody posted, in parts that fit a frame each.
#[must_use]
pub fn parts_of(alerts: Vec<PostedAlert>) -> Vec<Vec<PostedAlert>> {
    let mut parts: Vec<Vec<PostedAlert>> = Vec::new();
    let mut left = 0;
    for alert in alerts {
        let bytes = portable::write(&alert).len();
        match parts.last_mut().filter(|_| bytes <= left) {
            Some(part) => {
                left -= bytes;
                part.push(alert);
            }
            None => {
                left = (FRAME_MAX - POSTED_BYTES).saturating_sub(bytes);
                parts.push(vec![alert]);
            }
        }
    }
    parts
}

/// Whether an alert that somebody posted can be passed on.
///
/// # Errors
/// It is too large; says so.
pub fn check_size(alert: &PostedAlert) -> Result<(), String> {
    let bytes = portable::write(alert).len();
    let most = FRAME_MAX - POSTED_BYTES;
    match bytes <= most {
        true => Ok(()),
        false => Err(format!(
            "an alert of {bytes} bytes, at most {most} are passed between servers"
        )),
    }
}

/// The feed that viewers of alerts follow.
#[must_use]
pub fn alerts_key() -> FeedKey {
    FeedKey::own(Kind::Alert)
}

/// The first byte of an alert on it: what is of another version is passed over.
pub const ALERT_VERSION: u8 = 1;

/// An alert as it travels on it; one that would be too large goes without what its rule says.
#[must_use]
pub fn alert_frame(event: &AlertEvent) -> Bytes {
    let of = |event: &AlertEvent| portable::versioned(ALERT_VERSION, &portable::write(event));
    let frame = of(event);
    match frame.len() > FRAME_MAX {
        true => of(&cut(event.clone())),
        false => frame,
    }
}

/// An event whose rule's texts are left out; what it is known by stays.
fn cut(mut event: AlertEvent) -> AlertEvent {
    if let Some(detail) = &mut event.detail {
        let detail = Arc::make_mut(detail);
        detail.annotations.clear();
        detail.expr.clear();
    }
    event
}

struct Sink(Arc<Heard>);

impl Sink {
    fn take(&self, frames: impl IntoIterator<Item = Bytes>) {
        let mut inner = self.0.inner.lock();
        for frame in frames {
            let form = portable::of_version(VERSION, &frame);
            let sent = form.and_then(|form| portable::read::<Sent>(form).ok());
            let Some(Sent { id, said }) = sent else {
                tracing::warn!("what another server says of alerts cannot be read here");
                continue;
            };
            if !inner.learn(id) {
                continue;
            }
            if inner.waiting.len() >= WAITING_MAX {
                inner.waiting.pop_front();
                inner.lost += 1;
            }
            inner.waiting.push_back(said);
        }
        drop(inner);
        self.0.more.notify_one();
    }
}

impl FeedSink for Sink {
    fn append(&self, _epoch: Epoch, _offset: u64, frame: Bytes) {
        self.take([frame]);
    }

    fn reset(&self, _epoch: Epoch, _first_offset: u64, frames: Vec<Bytes>) {
        self.take(frames);
    }
}

impl fmt::Debug for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Voice").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use pulseboard_bus::Local;
    use pulseboard_feed::Epoch;

    use super::*;

    fn entry(text: &str) -> Said {
        Said::Entry {
            tenant: "shop".into(),
            incident: Uuid::from_u128(1),
            entry: text.to_owned(),
        }
    }

    #[test]
    fn what_comes_back_and_what_comes_twice_is_passed_over() {
        let voice = Voice::new(Arc::new(Local::new(Epoch(1))));
        let sink = Sink(Arc::clone(&voice.heard));
        let own = voice.frame(1, entry("own"));
        let other = Voice::new(Arc::new(Local::new(Epoch(1)))).frame(1, entry("other"));
        sink.take([own.clone(), other.clone()]);
        sink.take([other, own, Bytes::from_static(b"\x63nothing of ours")]);
        let waiting: Vec<Said> = voice.heard.inner.lock().waiting.drain(..).collect();
        assert_eq!(waiting, [entry("other")]);
    }
    #[test]
    fn posted_alerts_are_cut_by_bytes_and_come_whole() {
        let alert = |number: usize, bytes: usize| PostedAlert {
            labels: [("alertname".to_owned(), format!("A{number}"))].into(),
            annotations: [("text".to_owned(), "\u{1}".repeat(bytes))].into(),
            starts_at_ms: Some(7),
            ..PostedAlert::default()
        };
        // Twenty of these are far more than a frame, and one of them more than half of one.
        let sizes = [40_000, 10, 30_000, 30_000, 5, 5, 60_000];
        let posted: Vec<PostedAlert> = sizes
            .iter()
            .enumerate()
            .map(|(number, bytes)| alert(number, *bytes))
            .chain((10..30).map(|number| alert(number, 9_000)))
            .collect();
        assert!(posted.iter().all(|one| check_size(one).is_ok()));
        let speaks = Voice::new(Arc::new(Local::new(Epoch(1))));
        let hears = Voice::new(Arc::new(Local::new(Epoch(1))));
        let parts = parts_of(posted.clone());
        assert!(parts.len() < 12, "{} frames", parts.len());
        let sink = Sink(Arc::clone(&hears.heard));
        let tenant: Arc<str> = "shop".repeat(50).into();
        for alerts in parts {
            let tenant = Arc::clone(&tenant);
            let at_ms = i64::MAX;
            let frame = speaks.frame(
                1,
                Said::Posted {
                    tenant,
                    at_ms,
                    alerts,
                },
            );
            assert!(frame.len() <= FRAME_MAX, "{} bytes", frame.len());
            sink.take([frame]);
        }
        let heard = hears
            .heard
            .inner
            .lock()
            .waiting
            .drain(..)
            .collect::<Vec<Said>>();
        let heard = heard.into_iter().flat_map(|said| match said {
            Said::Posted { alerts, .. } => alerts,
            other => panic!("{other:?}"),
        });
        assert_eq!(heard.collect::<Vec<_>>(), posted);
        let said = check_size(&alert(1, FRAME_MAX)).expect_err("no frame takes it");
        assert!(said.contains("at most"), "{said}");
    }
}
