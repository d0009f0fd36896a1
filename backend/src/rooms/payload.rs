//! What a room's feed carries, and which member sees what of it.

use std::sync::Arc;

use bytes::Bytes;
use pulseboard_feed::{At, Frame, NotPortable, Payload, Portable, portable, wire::ws};
use pulseboard_shared::codec::Encoding;
use serde::{Deserialize, Serialize};

/// One message to a room, as JSON text without its cursor.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct RoomPayload {
    kind: Kind,
    text: String,
    /// The viewer that is not to get its own message back; numbers of viewers are unique in one
    /// server, so it does not travel.
    #[serde(skip)]
    sender: Option<u64>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    /// The dashboard's figures: each replaces the one before.
    Update,
    /// What a member said.
    Message,
    /// A typed event of this name.
    Event(String),
    /// How many members there are.
    Presence,
    /// What could not be read.
    Nothing,
}

/// The typed events that a member asked for; `None`: all.
pub type AskedEvents = Option<Arc<[String]>>;

/// Whether who asked for these gets an event of this name.
pub(super) fn asks_for(asked: &AskedEvents, event: &str) -> bool {
    let is_named = |events: &Arc<[String]>| events.iter().any(|name| name == event);
    asked.as_ref().is_none_or(is_named)
}

/// What a member asked for.
#[derive(Clone, Debug, Default)]
pub struct RoomView {
    /// Only these typed events; `None`: all.
    pub events: AskedEvents,
    /// Whether to be told of presence.
    pub presence: bool,
    /// Whether messages carry `epoch` and `offset`.
    pub cursor: bool,
    /// JSON or binary.
    pub form: Encoding,
}

impl PartialEq for RoomView {
    fn eq(&self, other: &Self) -> bool {
        let same_events = match (&self.events, &other.events) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
            _ => false,
        };
        same_events
            && self.presence == other.presence
            && self.cursor == other.cursor
            && self.form == other.form
    }
}

impl RoomPayload {
    /// The dashboard's figures.
    #[must_use]
    pub fn update(text: String) -> Self {
        Self {
            kind: Kind::Update,
            text,
            sender: None,
        }
    }

    /// What `sender` said; it does not get it back.
    #[must_use]
    pub fn message(text: String, sender: u64) -> Self {
        Self {
            kind: Kind::Message,
            text,
            sender: Some(sender),
        }
    }

    /// A typed event.
    #[must_use]
    pub fn event(name: &str, text: String) -> Self {
        Self {
            kind: Kind::Event(name.to_owned()),
            text,
            sender: None,
        }
    }

    /// How many members there are.
    #[must_use]
    pub fn presence(text: String) -> Self {
        Self {
            kind: Kind::Presence,
            text,
            sender: None,
        }
    }

    /// What nobody hears; it has its place among what is said.
    #[must_use]
    pub(super) fn nothing() -> Self {
        Self {
            kind: Kind::Nothing,
            text: String::new(),
            sender: None,
        }
    }

    /// The viewer of this server that is not to get it back.
    pub(super) fn sender(&self) -> Option<u64> {
        self.sender
    }

    pub(super) fn sent_by(self, sender: Option<u64>) -> Self {
        Self { sender, ..self }
    }

    fn is_seen_by(&self, view: &RoomView) -> bool {
        match &self.kind {
            Kind::Nothing => false,
            Kind::Presence => view.presence,
            Kind::Event(name) => asks_for(&view.events, name),
            Kind::Update | Kind::Message => true,
        }
    }
}

impl Payload for RoomPayload {
    type View = RoomView;

    fn encode(&self, at: At, view: &RoomView) -> Bytes {
        if !self.is_seen_by(view) {
            return Bytes::new();
        }
        let At { epoch, offset } = at;
        match self.text.strip_suffix('}') {
            Some(open) if view.cursor => ws::text_in(
                view.form,
                &format!("{open},\"epoch\":\"{epoch}\",\"offset\":{offset}}}"),
            ),
            _ => ws::text_in(view.form, &self.text),
        }
    }

    /// What members ask for decides whether they see it, not how it looks.
    fn looks_alike(&self, one: &RoomView, other: &RoomView) -> bool {
        match (self.is_seen_by(one), self.is_seen_by(other)) {
            (true, true) => (one.form, one.cursor) == (other.form, other.cursor),
            (seen, also_seen) => seen == also_seen,
        }
    }

    fn held_bytes(&self) -> usize {
        self.text.len()
    }

    fn is_hidden_from(&self, viewer: u64) -> bool {
        self.sender == Some(viewer)
    }

    /// Says which messages are left out; the newest figures are worth having all the same.
    fn merge(held: &[Arc<Frame<Self>>], first: u64, last: u64, view: &RoomView) -> Bytes {
        if let Some(frame) = held.last()
            && frame.payload().kind == Kind::Presence
        {
            // A log of counts, of which only the newest is worth having.
            return frame.encoded(view);
        }
        Self::notice(held, (first, last), "", view)
    }

    /// The same: what was said before may be gone, and offsets count anew.
    fn restart(held: &[Arc<Frame<Self>>], newest: At, view: &RoomView) -> Bytes {
        let first = held.first().map_or(newest.offset, |frame| frame.offset());
        let epoch = match view.cursor {
            true => format!(",\"epoch\":\"{}\"", newest.epoch),
            false => String::new(),
        };
        Self::notice(held, (first, newest.offset), &epoch, view)
    }
}

impl RoomPayload {
    fn notice(
        held: &[Arc<Frame<Self>>],
        (first, last): (u64, u64),
        more: &str,
        view: &RoomView,
    ) -> Bytes {
        let notice = format!(
            "{{\"type\":\"merged\",\"offset\":{last},\"first_offset\":{first},\"last_offset\":{last}{more}}}"
        );
        let newest = held
            .iter()
            .rev()
            .find(|frame| frame.payload().kind == Kind::Update);
        let newest = newest.map(|frame| frame.encoded(view)).unwrap_or_default();
        Bytes::from([ws::text_in(view.form, &notice), newest].concat())
    }
}

impl Portable for RoomPayload {
    fn to_bytes(&self) -> Vec<u8> {
        portable::write(self)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, NotPortable> {
        portable::read(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulseboard_feed::Epoch;

    use super::*;

    proptest! {
        #[test]
        fn what_was_read_back_looks_the_same(
            (text, sender, offset) in any::<(String, u64, u64)>(),
            name in "[a-z]{1,8}",
        ) {
            let text = serde_json::json!({"type": "any", "data": text}).to_string();
            let payloads = [
                RoomPayload::update(text.clone()),
                RoomPayload::message(text.clone(), sender),
                RoomPayload::event(&name, text.clone()),
                RoomPayload::presence(text),
            ];
            for payload in payloads {
                let read = RoomPayload::from_bytes(&payload.to_bytes()).expect("it is one");
                for form in [Encoding::Json, Encoding::Binary] {
                    for (events, presence, cursor) in [
                        (None, true, false),
                        (None, false, true),
                        (Some([name.clone()].into()), false, false),
                        (Some(["other".to_owned()].into()), true, false),
                    ] {
                        let view = RoomView { events, presence, cursor, form };
                        let at = At { epoch: Epoch(1_795_204_800_000), offset };
                        prop_assert_eq!(read.encode(at, &view), payload.encode(at, &view));
                    }
                }
                // Whoever said it is not here.
                prop_assert!(!read.is_hidden_from(sender));
                prop_assert_eq!(read.held_bytes(), payload.held_bytes());
            }
        }
    }
}
