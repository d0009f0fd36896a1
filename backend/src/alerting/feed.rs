//! How a sending is written into an event stream.

use std::sync::Arc;

use bytes::Bytes;
use pulseboard_shared::{Alert, AlertState, protocol::alerts::RESOLVED_EVENT};

use crate::{
    feed::{Epoch, EventId, Frame, Payload},
    stream::{sse, viewer::Wire},
};

/// A sending in the feed.
#[derive(Debug)]
pub struct AlertPayload {
    epoch: Epoch,
    alert: Alert,
}

impl AlertPayload {
    /// A sending in the log called `epoch`.
    #[must_use]
    pub fn new(epoch: Epoch, alert: Alert) -> Self {
        Self { epoch, alert }
    }
}

/// How the stream is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertView(pub Wire);

impl Payload for AlertPayload {
    type View = AlertView;

    fn encode(&self, offset: u64, view: &AlertView) -> Bytes {
        let name = match self.alert.state {
            AlertState::Firing => None,
            AlertState::Resolved => Some(RESOLVED_EVENT),
        };
        let id = EventId::new(self.epoch, offset).to_string();
        sse::frame(
            &sse::event(name, Some(&id), &crate::json_text(&self.alert)),
            view.0,
        )
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
