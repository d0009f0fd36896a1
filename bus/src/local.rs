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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{key::Kind, lease::Spread, route::Partition};

    #[derive(Default)]
    struct Kept(Mutex<Vec<String>>);

    impl FeedSink for Kept {
        fn append(&self, epoch: Epoch, offset: u64, frame: Bytes) {
            let text = String::from_utf8_lossy(&frame).into_owned();
            self.0.lock().push(format!("{epoch} {offset} {text}"));
        }

        fn reset(&self, epoch: Epoch, first_offset: u64, frames: Vec<Bytes>) {
            let count = frames.len();
            self.0
                .lock()
                .push(format!("reset {epoch} {first_offset}+{count}"));
        }
    }

    #[tokio::test]
    async fn the_only_server_tells_itself_at_once_and_counts_by_itself() {
        let bus = Local::new(Epoch(7));
        let key = FeedKey::new(Kind::Room, "tenant", "lobby");
        let frame = Bytes::from_static;
        assert_eq!(bus.publish(&key, None, frame(b"nobody")), Ok(()));
        let sink = Arc::new(Kept::default());
        let keep = bus.subscribe(key.clone(), sink.clone());
        let told = bus.publish_told(&key, None, frame(b"one")).expect("room");
        let (epoch, offset) = (Epoch(7), 1);
        assert_eq!(told.await, Some(Placed::At { epoch, offset }));
        assert_eq!(bus.publish(&key, Some(1), frame(b"two")), Ok(()));
        assert_eq!(*sink.0.lock(), ["reset 7 1+0", "7 1 one", "7 2 two"]);
        drop(keep);
        assert_eq!(bus.publish(&key, None, frame(b"nobody")), Ok(()));
        let again = Arc::new(Kept::default());
        let _keep = bus.subscribe_after(key.clone(), Some((Epoch(3), 40)), again.clone());
        assert_eq!(bus.publish(&key, None, frame(b"on")), Ok(()));
        assert_eq!(*again.0.lock(), ["3 41 on"], "as the journal has it");
        assert_eq!(sink.0.lock().len(), 3, "who left is told nothing");
        let (bytes, max) = (65_537, 65_536);
        let large = bus.publish(&key, None, Bytes::from(vec![0; bytes]));
        assert_eq!(large, Err(Refused::TooLarge { bytes, max }));
    }

    #[test]
    fn the_only_server_does_everything() {
        let bus = Local::new(Epoch(7));
        let work = bus.leases().work("alerts", Spread::Partitions);
        assert_eq!(work.held().len(), 64);
        assert_eq!(work.token(Partition::of("tenant")), Some(0));
        assert!(!bus.is_shared());
        assert_eq!(*bus.state().borrow(), State::Connected);
    }
}
