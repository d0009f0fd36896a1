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
use pulseboard_bus::{Bus, FeedKey, FeedSink, Kind, Subscription, key::FRAME_MAX};
use pulseboard_feed::{Epoch, portable};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

/// The first byte of what is sent: what is of another version is passed over.
const VERSION: u8 = 1;

/// What was said and heard lately is known by its identity: more than Redis keeps of the feed, so
/// that who reads it anew takes nothing twice.
const KNOWN_MAX: usize = 8_192;

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
    /// Somebody posted alerts; as JSON. For whoever notifies their tenant's people.
    Posted {
        /// Whose they are.
        tenant: Arc<str>,
        /// Them.
        alerts: String,
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
    let mut frame = vec![VERSION];
    frame.extend(portable::write(sent));
    if let Said::Event(event) = &sent.said
        && frame.len() > FRAME_MAX
    {
        let said = Said::Event(Box::new(cut((**event).clone())));
        frame.truncate(1);
        frame.extend(portable::write(&Sent { id: sent.id, said }));
    }
    frame.into()
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
    let of = |event: &AlertEvent| {
        let mut frame = vec![ALERT_VERSION];
        frame.extend(portable::write(event));
        frame
    };
    let frame = of(event);
    match frame.len() > FRAME_MAX {
        true => of(&cut(event.clone())).into(),
        false => frame.into(),
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
            let sent = match frame.split_first() {
                Some((&VERSION, form)) => portable::read::<Sent>(form).ok(),
                _ => None,
            };
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
}
