//! The bus of a server that is the only one: calls, and nothing else.

use std::{collections::HashMap, fmt, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_feed::Epoch;
use tokio::sync::{oneshot, watch};

use crate::{
    bus::Bus,
    cluster::Cluster,
    figures::Figures,
    key::FeedKey,
    lease::Leases,
    sink::{FeedSink, Placed, Refused, State, Subscription, Told},
};

/// The bus of a server that is the only one.
pub struct Local {
    epoch: Epoch,
    feeds: Arc<Mutex<HashMap<FeedKey, Arc<One>>>>,
    leases: Arc<Leases>,
    figures: Arc<Figures>,
    state: watch::Sender<State>,
}

/// A feed with its sink.
struct One {
    sink: Arc<dyn FeedSink>,
    place: Mutex<(Epoch, u64)>,
}

impl Local {
    /// All its feeds are of this epoch, unless they are told to go on with another.
    #[must_use]
    pub fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            feeds: Arc::default(),
            leases: Arc::new(Leases::of_all()),
            figures: Arc::default(),
            state: watch::Sender::new(State::Connected),
        }
    }
}

impl Bus for Local {
    fn subscribe_after(
        &self,
        key: FeedKey,
        after: Option<(Epoch, u64)>,
        sink: Arc<dyn FeedSink>,
    ) -> Subscription {
        let place = after.unwrap_or((self.epoch, 0));
        if after.is_none() {
            sink.reset(place.0, place.1 + 1, Vec::new());
        }
        let one = Arc::new(One {
            sink,
            place: Mutex::new(place),
        });
        self.feeds.lock().insert(key.clone(), Arc::clone(&one));
        let feeds = Arc::clone(&self.feeds);
        Subscription::new(move || {
            let mut feeds = feeds.lock();
            if feeds
                .get(&key)
                .is_some_and(|known| Arc::ptr_eq(known, &one))
            {
                feeds.remove(&key);
            }
        })
    }

    fn publish(&self, key: &FeedKey, once: Option<u64>, frame: Bytes) -> Result<(), Refused> {
        self.publish_told(key, once, frame).map(drop)
    }

    fn publish_told(
        &self,
        key: &FeedKey,
        _once: Option<u64>,
        frame: Bytes,
    ) -> Result<Told, Refused> {
        let (bytes, max) = (frame.len(), key.kind.frame_max());
        if bytes > max {
            return Err(Refused::TooLarge { bytes, max });
        }
        let one = self.feeds.lock().get(key).cloned();
        let (done, told) = oneshot::channel();
        let mut placed = Placed::At {
            epoch: self.epoch,
            offset: 0,
        };
        if let Some(one) = one {
            let mut place = one.place.lock();
            place.1 += 1;
            let (epoch, offset) = *place;
            one.sink.append(epoch, offset, frame);
            placed = Placed::At { epoch, offset };
        }
        // Who asked may be gone.
        let _gone = done.send(placed);
        Ok(Told(told))
    }

    fn cluster(&self) -> Option<&Cluster> {
        None
    }

    fn leases(&self) -> &Arc<Leases> {
        &self.leases
    }

    fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}
