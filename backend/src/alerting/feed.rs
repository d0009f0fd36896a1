//! How a sending is written into an event stream, or to who follows it on a socket.

use std::sync::Arc;

use bytes::Bytes;
use pulseboard_shared::{
    AlertState,
    protocol::{alerts::RESOLVED_EVENT, follow::FeedName},
};

use crate::wire;
use crate::{
    feed::{Epoch, EventId, Frame, Payload},
    storage::journal::KeptAlert,
    wire::Wire,
};

/// A sending in the feed.
#[derive(Debug)]
pub struct AlertPayload {
    epoch: Epoch,
    kept: KeptAlert,
}

impl AlertPayload {
    /// A sending in the log called `epoch`.
    #[must_use]
    pub fn new(epoch: Epoch, kept: KeptAlert) -> Self {
        Self { epoch, kept }
    }

    /// The sending and whose it is.
    #[must_use]
    pub fn kept(&self) -> &KeptAlert {
        &self.kept
    }
}

/// Who watches, and how the stream is framed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertView {
    /// Whose alerts, besides the server's own.
    pub tenant: Arc<str>,
    /// The framing.
    pub wire: Wire,
}

impl Payload for AlertPayload {
    type View = AlertView;

    fn encode(&self, offset: u64, view: &AlertView) -> Bytes {
        if !self.kept.is_for(&view.tenant) {
            return Bytes::new();
        }
        let name = match self.kept.alert.state {
            AlertState::Firing => None,
            AlertState::Resolved => Some(RESOLVED_EVENT),
        };
        let id = EventId::new(self.epoch, offset).to_string();
        let json = crate::base::json::json_text(&self.kept.alert);
        wire::event(view.wire, FeedName::Alerts, name, Some(&id), &json)
    }

    /// A stream that fell behind the whole log gets what the log still has: alerts are not merged.
    fn merge(held: &[Arc<Frame<Self>>], _first: u64, _last: u64, view: &AlertView) -> Bytes {
        Bytes::from(
            held.iter()
                .flat_map(|frame| frame.encoded(view))
                .collect::<Vec<u8>>(),
        )
    }
}
