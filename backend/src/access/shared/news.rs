//! What servers tell each other of tokens and sessions as it happens: a feed of the bus. What is
//! missed is found out without it, later.
//!
//! | frame (after a byte of version) | means |
//! |---|---|
//! | `{"tokens":true}` | the table of tokens is another |
//! | `{"ended":["DIGEST",…]}` | these sessions are over |

use std::{
    collections::{HashSet, VecDeque},
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_bus::{FeedKey, FeedSink, Kind};
use pulseboard_feed::{Epoch, portable};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::asking::Asking;
use crate::{access::secret::Digest, base::json::json_text};

/// The first byte of a frame: what is of another version is passed over.
const VERSION: u8 = 1;
/// Ended sessions that are remembered, so that no answer that is on its way brings one back.
const ENDED_MAX: usize = 10_000;
/// Of one frame, which may have 64 KiB.
const PER_FRAME: usize = 500;

/// A frame.
#[derive(Debug, Default, Serialize, Deserialize)]
struct News {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    tokens: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ended: Vec<Digest>,
}

/// What was heard and not looked at yet.
#[derive(Debug, Default)]
pub struct Heard {
    /// Frames may have been missed.
    is_doubtful: AtomicBool,
    tokens: AtomicBool,
    /// Leaf lock.
    ended: Mutex<Ended>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Ended {
    /// To be ended here.
    new: Vec<Digest>,
    /// All that are remembered.
    all: HashSet<Digest>,
    by_age: VecDeque<Digest>,
}

impl Ended {
    fn remember(&mut self, secret: Digest) {
        if !self.all.insert(secret) {
            return;
        }
        self.by_age.push_back(secret);
        if self.by_age.len() > ENDED_MAX
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.all.remove(&oldest);
        }
    }
}

impl Heard {
    /// Returns when there is something to look at.
    pub async fn something(&self) {
        self.wake.notified().await;
    }

    /// Whether frames may have been missed since this was asked last.
    pub fn take_doubt(&self) -> bool {
        self.is_doubtful.swap(false, Ordering::AcqRel)
    }

    /// Whether the table of tokens was said to be another.
    pub fn take_tokens(&self) -> bool {
        self.tokens.swap(false, Ordering::AcqRel)
    }

    /// The sessions that were ended elsewhere since this was asked last.
    pub fn take_ended(&self) -> Vec<Digest> {
        std::mem::take(&mut self.ended.lock().new)
    }

    /// This session is over, whoever still says that it is there.
    pub fn remember_ended(&self, secret: Digest) {
        self.ended.lock().remember(secret);
    }

    /// Whether this session is known to be over.
    pub fn has_ended(&self, secret: &Digest) -> bool {
        self.ended.lock().all.contains(secret)
    }
}

impl Heard {
    fn take_in(&self, frame: &Bytes) {
        let text = portable::of_version(VERSION, frame);
        let read = text.and_then(|text| serde_json::from_slice::<News>(text).ok());
        let Some(news) = read else {
            self.is_doubtful.store(true, Ordering::Release);
            return;
        };
        if news.tokens {
            self.tokens.store(true, Ordering::Release);
        }
        let mut ended = self.ended.lock();
        for secret in news.ended {
            ended.remember(secret);
            ended.new.push(secret);
        }
        if ended.new.len() > ENDED_MAX {
            // Whoever is to look has not for long; everything is looked for anew.
            ended.new.clear();
            self.is_doubtful.store(true, Ordering::Release);
        }
    }
}

impl FeedSink for Heard {
    fn append(&self, _epoch: Epoch, _offset: u64, frame: Bytes) {
        self.take_in(&frame);
        self.wake.notify_one();
    }

    /// What is there was perhaps not heard before, and to hear it twice changes nothing.
    fn reset(&self, _epoch: Epoch, _first_offset: u64, frames: Vec<Bytes>) {
        for frame in &frames {
            self.take_in(frame);
        }
        self.is_doubtful.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

/// Tells all servers that the table of tokens is another.
pub(super) fn tell_tokens(asking: &Asking) {
    tell(
        asking,
        &News {
            tokens: true,
            ended: Vec::new(),
        },
    );
}

/// Tells all servers that these sessions are over.
pub(super) fn tell_ended(asking: &Asking, ended: &[Digest]) {
    for part in ended.chunks(PER_FRAME) {
        tell(
            asking,
            &News {
                tokens: false,
                ended: part.to_vec(),
            },
        );
    }
}

fn tell(asking: &Asking, news: &News) {
    let frame = portable::versioned(VERSION, json_text(news).as_bytes());
    let key = FeedKey::own(Kind::Token);
    if let Err(refused) = asking.bus().publish(&key, None, frame) {
        tracing::warn!(%refused, "the other servers are told of a change later");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> Bytes {
        portable::versioned(VERSION, text.as_bytes())
    }

    #[test]
    fn what_is_heard_is_looked_at_once_and_what_ended_stays_over() {
        let heard = Heard::default();
        let (one, other) = (Digest::of("one"), Digest::of("other"));
        let text = json_text(&News {
            tokens: true,
            ended: vec![one],
        });
        heard.append(Epoch(1), 1, frame(&text));
        assert!(heard.take_tokens() && !heard.take_tokens());
        assert_eq!(
            (heard.take_ended(), heard.take_ended()),
            (vec![one], vec![])
        );
        assert!(heard.has_ended(&one) && !heard.has_ended(&other));
        assert!(!heard.take_doubt());
        for unknown in [Bytes::from_static(b"\x09{}"), Bytes::new(), frame("{")] {
            heard.append(Epoch(1), 2, unknown);
            assert!(heard.take_doubt() && !heard.take_doubt());
        }
        let text = json_text(&News {
            tokens: false,
            ended: vec![other],
        });
        heard.reset(Epoch(2), 1, vec![frame(&text)]);
        assert!(heard.take_doubt(), "frames may be missing");
        assert_eq!(heard.take_ended(), [other], "said while nobody listened");
        assert!(heard.has_ended(&one) && heard.has_ended(&other));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let heard = Heard::default();
        for number in 0..ENDED_MAX + 10 {
            heard.remember_ended(Digest::of(&number.to_string()));
        }
        assert!(!heard.has_ended(&Digest::of("9")));
        assert!(heard.has_ended(&Digest::of("10")));
        assert_eq!(heard.ended.lock().all.len(), ENDED_MAX);
    }
}
