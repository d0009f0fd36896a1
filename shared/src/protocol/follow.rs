//! Event streams on `GET /ws`: what `/events/alerts`, `/api/metrics/stream` and
//! `/dashboard/stream` carry, on a socket that is open anyway. A browser opens six connections to
//! a server for all of its tabs, and an event stream keeps one of them; sockets are not counted
//! among these.
//!
//! ```text
//! → {"action":"follow","feed":"alerts","last_event_id":"1764345600007"}
//! ← {"type":"following","feed":"alerts"}
//! ← {"type":"feed","feed":"alerts","event":"message","id":"1764345600008","data":{…Alert…}}
//! → {"action":"follow","feed":"aggregate","type":"page_view","window":60}
//! → {"action":"unfollow","feed":"alerts"}    ← {"type":"unfollowed","feed":"alerts"}
//! ```
//!
//! Events, ids and data are those of the event stream; an unnamed event is called `message`.
//! Following a feed again replaces what was asked for before.

use std::{fmt, str::FromStr};

use serde::Serialize;
use serde_json::Value;

/// What can be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FeedName {
    /// `GET /events/alerts`.
    Alerts,
    /// `GET /api/metrics/stream`.
    Operator,
    /// `GET /dashboard/stream`.
    Aggregate,
}

impl FeedName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Alerts, Self::Operator, Self::Aggregate];

    /// As on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alerts => "alerts",
            Self::Operator => "operator",
            Self::Aggregate => "aggregate",
        }
    }
}

impl fmt::Display for FeedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FeedName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|feed| feed.as_str() == text)
            .ok_or_else(|| {
                format!(
                    "There is no feed {text:?}; accepted are \"alerts\", \"operator\" and \"aggregate\""
                )
            })
    }
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    /// Which feed.
    pub feed: FeedName,
    /// The last event seen, to be told of those after it.
    pub last_event_id: Option<String>,
    /// Of the aggregate: whose buckets.
    pub name: Option<String>,
    /// Of the aggregate: their length in seconds.
    pub window: Option<u64>,
}

/// What the server answers. The events themselves are written by [`event_text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum FollowMessage {
    /// Events of this feed come from here on.
    Following {
        /// Which.
        feed: FeedName,
    },
    /// They do not.
    Unfollowed {
        /// Which.
        feed: FeedName,
    },
}

/// One event; `data` is JSON.
#[must_use]
pub fn event_text(feed: FeedName, event: Option<&str>, id: Option<&str>, data: &str) -> String {
    let event = event.unwrap_or("message");
    let id = id.map_or_else(String::new, |id| format!(r#""id":"{id}","#));
    format!(r#"{{"type":"feed","feed":"{feed}","event":"{event}",{id}"data":{data}}}"#)
}

pub(super) fn feed(object: &serde_json::Map<String, Value>) -> Result<FeedName, String> {
    object
        .get("feed")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .parse()
}

pub(super) fn follow(object: &serde_json::Map<String, Value>) -> Result<Follow, String> {
    let text = |name: &str| match object.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("{name:?} must be a text")),
    };
    Ok(Follow {
        feed: feed(object)?,
        last_event_id: text("last_event_id")?,
        name: text("type")?,
        window: match object.get("window") {
            None => None,
            Some(window) => Some(
                window
                    .as_u64()
                    .ok_or("\"window\" must be a whole number of seconds")?,
            ),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::rooms::ClientAction;

    #[test]
    fn reads_what_is_followed() {
        let follow = |text: &str| match ClientAction::parse(text) {
            Ok(ClientAction::Follow(follow)) => Ok(follow),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        };
        assert_eq!(
            follow(r#"{"action":"follow","feed":"aggregate","type":"page_view","window":300}"#),
            Ok(Follow {
                feed: FeedName::Aggregate,
                last_event_id: None,
                name: Some("page_view".to_owned()),
                window: Some(300),
            })
        );
        assert_eq!(
            follow(r#"{"action":"follow","feed":"alerts","last_event_id":"17"}"#)
                .map(|follow| follow.last_event_id),
            Ok(Some("17".to_owned()))
        );
        for wrong in [
            r#"{"action":"follow"}"#,
            r#"{"action":"follow","feed":"everything"}"#,
            r#"{"action":"follow","feed":"alerts","last_event_id":17}"#,
            r#"{"action":"follow","feed":"aggregate","window":"60"}"#,
            r#"{"action":"unfollow","feed":7}"#,
        ] {
            assert!(ClientAction::parse(wrong).is_err(), "{wrong} was taken");
        }
    }

    #[test]
    fn writes_events_as_json() {
        let text = event_text(FeedName::Operator, Some("alert"), None, r#""CPU""#);
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            value,
            serde_json::json!({"type":"feed","feed":"operator","event":"alert","data":"CPU"})
        );
        let text = event_text(FeedName::Alerts, None, Some("7"), "{}");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            (&value["event"], &value["id"]),
            (&"message".into(), &"7".into())
        );
    }
}
