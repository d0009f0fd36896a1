//! What the rest of the server sees: the trait.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use pulseboard_feed::Epoch;
use tokio::sync::watch;

use crate::{
    cluster::Cluster,
    figures::Figures,
    key::FeedKey,
    lease::Leases,
    sink::{FeedSink, Refused, State, Subscription, Told},
};

/// Feeds that all servers of a service have alike.
pub trait Bus: Send + Sync + fmt::Debug {
    /// Has `sink` told what the feed carries until the [`Subscription`] is dropped, beginning with
    /// a reset. A feed has one sink on each server; a second one takes its place.
    fn subscribe(&self, key: FeedKey, sink: Arc<dyn FeedSink>) -> Subscription {
        self.subscribe_after(key, None, sink)
    }

    /// As [`Self::subscribe`], going on behind a frame that the sink has already; there is no reset
    /// where that place is still known.
    fn subscribe_after(
        &self,
        key: FeedKey,
        after: Option<(Epoch, u64)>,
        sink: Arc<dyn FeedSink>,
    ) -> Subscription;

    /// Appends a frame, at once or as soon as that can be done; never waits. Where `once` is given,
    /// the first server that says this number, or a larger one, is the only one whose frame is
    /// taken: a tick's planned time.
    ///
    /// # Errors
    /// It is too large, or too much waits; nothing of it is kept.
    fn publish(&self, key: &FeedKey, once: Option<u64>, frame: Bytes) -> Result<(), Refused>;

    /// As [`Self::publish`], for who has to know what became of it.
    ///
    /// # Errors
    /// As for [`Self::publish`].
    fn publish_told(&self, key: &FeedKey, once: Option<u64>, frame: Bytes)
    -> Result<Told, Refused>;

    /// Whether there may be other servers: without them nobody needs frames as bytes.
    fn is_shared(&self) -> bool {
        self.cluster().is_some()
    }

    /// What the servers share beside feeds; `None` where there is one server.
    fn cluster(&self) -> Option<&Cluster>;

    /// What one server does for all; alone it does everything.
    fn leases(&self) -> &Arc<Leases>;

    /// Whether the others can be reached, and when that changes.
    fn state(&self) -> watch::Receiver<State>;

    /// What is counted.
    fn figures(&self) -> &Arc<Figures>;
}
