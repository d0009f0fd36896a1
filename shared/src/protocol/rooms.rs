//! `GET /ws`: rooms. A client is in any number of them; a message to a room reaches its members.

use serde::Serialize;
use serde_json::Value;

use crate::{
    limits,
    protocol::{
        follow::{self, FeedName, Follow},
        watch::{WatchRequest, Watched},
    },
};

/// The room that every client joins on opening.
pub const DASHBOARD_ROOM: &str = "dashboard";
/// The admins' room, joined by them on opening.
pub const OPERATIONS_ROOM: &str = "operations";
/// The room that a chat client joins on opening.
pub const GENERAL_ROOM: &str = "general";

/// What a client may do.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientAction {
    /// Join a room.
    Subscribe(Subscribe),
    /// Leave a room.
    Unsubscribe {
        /// The room.
        channel: String,
    },
    /// Send to a room's other members.
    Publish {
        /// The room.
        channel: String,
        /// Anything.
        data: Value,
    },
    /// Watch a selector or an expression.
    Watch(WatchRequest),
    /// Watch it no more.
    Unwatch {
        /// As it was written when it was watched.
        watched: Watched,
    },
    /// Be told of series that come and go.
    Catalog,
    /// Be told what an event stream tells.
    Follow(Follow),
    /// No more.
    Unfollow {
        /// Of which.
        feed: FeedName,
    },
    /// Asks for a pong.
    Ping,
}

/// How a room is joined.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subscribe {
    /// The room.
    pub channel: String,
    /// Only these typed events; `None`: those that the room sends by default.
    pub events: Option<Vec<String>>,
    /// Whether to be told how many members there are, now and at each change.
    pub presence: bool,
    /// Whether messages carry `epoch` and `offset`, so that a later join can resume.
    pub cursor: bool,
    /// The last message seen, to resume behind it.
    pub after: Option<(String, u64)>,
}

/// What the server sends; rooms' messages are written by [`frames`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ServerMessage<'a> {
    /// The client is in the room now.
    Subscribed {
        /// The room.
        channel: &'a str,
    },
    /// The client has left the room, or was not in it.
    Unsubscribed {
        /// The room.
        channel: &'a str,
    },
    /// Answers a ping.
    Pong {
        /// The server's clock.
        timestamp: crate::Timestamp,
    },
    /// The client's message could not be read, or is not allowed.
    Error {
        /// What was wrong and what is accepted.
        text: String,
    },
}

/// The text of the answer to an action that is none of ours.
pub const UNKNOWN_ACTION: &str = "Unknown action";

impl ClientAction {
    /// Reads one text message.
    ///
    /// # Errors
    /// The text for an `error` message: what was wrong and what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| format!("The message is not JSON: {error}"))?;
        let Value::Object(mut object) = value else {
            return Err(
                "The message is JSON but not an object; expected {\"action\":…}".to_owned(),
            );
        };
        let action = object
            .get("action")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let kind = object.get("type").and_then(Value::as_str);
        match action.as_str() {
            "subscribe" => Ok(Self::Subscribe(Subscribe {
                channel: channel(&object)?,
                events: event_names(&object)?,
                presence: flag(&object, "presence"),
                cursor: flag(&object, "cursor"),
                after: after(&object),
            })),
            "unsubscribe" => Ok(Self::Unsubscribe {
                channel: channel(&object)?,
            }),
            "publish" => Ok(Self::Publish {
                channel: channel(&object)?,
                data: object
                    .remove("data")
                    .ok_or("In \"publish\", \"data\" is missing; it may be any JSON value")?,
            }),
            "watch" => Ok(Self::Watch(WatchRequest {
                watched: watched(&object)?,
                step_ms: whole(&object, "step_ms")?,
                max_points: whole(&object, "max_points")?,
                back_ms: whole(&object, "back_ms")?,
                after: after(&object),
            })),
            "unwatch" => Ok(Self::Unwatch {
                watched: watched(&object)?,
            }),
            "catalog" => Ok(Self::Catalog),
            "follow" => Ok(Self::Follow(follow::follow(&object)?)),
            "unfollow" => Ok(Self::Unfollow {
                feed: follow::feed(&object)?,
            }),
            "ping" => Ok(Self::Ping),
            "" if kind == Some("ping") => Ok(Self::Ping),
            _ => Err(UNKNOWN_ACTION.to_owned()),
        }
    }
}

type Object = serde_json::Map<String, Value>;

fn flag(object: &Object, name: &str) -> bool {
    object
        .get(name)
        .and_then(Value::as_bool)
        .unwrap_or_default()
}

/// The last frame that the client saw, where it says so.
fn after(object: &Object) -> Option<(String, u64)> {
    object
        .get("epoch")
        .and_then(Value::as_str)
        .zip(object.get("offset").and_then(Value::as_u64))
        .map(|(epoch, offset)| (epoch.to_owned(), offset))
}

fn watched(object: &Object) -> Result<Watched, String> {
    let text = |name: &str, bytes_max: usize| match object.get(name).and_then(Value::as_str) {
        Some(text) if text.len() > bytes_max => Err(format!(
            "\"{name}\" has {} bytes; at most {bytes_max} are accepted",
            text.len(),
        )),
        text => Ok(text.map(str::to_owned)),
    };
    let selector = text("match", limits::SELECTOR_BYTES_MAX)?.map(Watched::Selector);
    let query = text("query", limits::EXPRESSION_BYTES_MAX)?.map(Watched::Expression);
    match (selector, query) {
        (Some(_), Some(_)) => Err("\"match\" and \"query\" are two; one is watched at once".to_owned()),
        (one, other) => one.or(other).ok_or_else(|| {
            "\"match\" is missing; it is a selector such as http_requests{job=\"api\"}. Or \"query\" is an expression such as rate(http_requests[1m])".to_owned()
        }),
    }
}

fn whole(object: &Object, name: &str) -> Result<Option<u64>, String> {
    match object.get(name) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) => Ok(Some(number)),
            None => Err(format!("\"{name}\" must be a whole number")),
        },
    }
}

fn channel(object: &Object) -> Result<String, String> {
    match object.get("channel").and_then(Value::as_str) {
        Some(name) => check_channel(name).map(str::to_owned),
        None => Err("\"channel\" is missing; it is a text that names the room".to_owned()),
    }
}

fn event_names(object: &Object) -> Result<Option<Vec<String>>, String> {
    const EXPECTED: &str = "\"events\" must be a list of event names";
    let Some(events) = object.get("events") else {
        return Ok(None);
    };
    let list = events.as_array().ok_or(EXPECTED)?;
    if list.len() > limits::EVENTS_PER_ROOM_MAX {
        return Err(format!(
            "\"events\" has {} names; at most {} are accepted",
            list.len(),
            limits::EVENTS_PER_ROOM_MAX
        ));
    }
    let names: Option<Vec<String>> = list
        .iter()
        .map(|name| name.as_str().map(str::to_owned))
        .collect();
    names.map(Some).ok_or_else(|| EXPECTED.to_owned())
}

/// Whether a text can name a room: 1–128 characters of `A–Z a–z 0–9 _ . : / -`.
///
/// # Errors
/// The text for an `error` message.
pub fn check_channel(name: &str) -> Result<&str, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/-".contains(&byte);
    if (1..=limits::CHANNEL_CHARS_MAX).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(name);
    }
    Err(format!(
        "The channel name is not valid; 1 to {} characters of A-Z a-z 0-9 _ . : / - are accepted",
        limits::CHANNEL_CHARS_MAX
    ))
}

/// The texts of what a room's members get.
pub mod frames {
    use serde::Serialize;
    use serde_json::Value;

    use crate::StatsReport;

    /// One message to a room.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    #[serde(tag = "type", rename_all = "lowercase")]
    pub enum RoomMessage<'a> {
        /// On opening: the figures of `GET /api/stats`.
        Init {
            /// The figures.
            data: StatsReport,
        },
        /// At each tick, to the dashboard's members.
        Update {
            /// The figures.
            data: StatsReport,
        },
        /// What a member published.
        Message {
            /// The room.
            channel: &'a str,
            /// What was published.
            data: &'a Value,
        },
        /// A typed event.
        Event {
            /// The room.
            room: &'a str,
            /// The event's name.
            event: &'a str,
            /// Fits the event's schema.
            data: &'a Value,
        },
        /// How many members the room has.
        Presence {
            /// The room.
            channel: &'a str,
            /// Members now.
            members: usize,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_clients_do() {
        let subscribe = Subscribe {
            channel: "a/b:c.d_e-1".to_owned(),
            ..Subscribe::default()
        };
        assert_eq!(
            ClientAction::parse(r#"{"action":"subscribe","channel":"a/b:c.d_e-1"}"#),
            Ok(ClientAction::Subscribe(subscribe))
        );
        assert_eq!(
            ClientAction::parse(r#"{"action":"publish","channel":"x","data":null}"#),
            Ok(ClientAction::Publish {
                channel: "x".to_owned(),
                data: json!(null)
            })
        );
        for unknown in [
            "{}",
            r#"{"action":"dance"}"#,
            r#"{"action":7}"#,
            r#"{"type":"subscribe"}"#,
        ] {
            assert_eq!(
                ClientAction::parse(unknown),
                Err(UNKNOWN_ACTION.to_owned()),
                "{unknown}"
            );
        }
        for wrong in [
            "x",
            "[]",
            r#"{"action":"subscribe"}"#,
            r#"{"action":"subscribe","channel":""}"#,
            r#"{"action":"subscribe","channel":"a b"}"#,
            r#"{"action":"subscribe","channel":"ä"}"#,
            r#"{"action":"subscribe","channel":"x","events":"all"}"#,
            r#"{"action":"publish","channel":"x"}"#,
        ] {
            assert!(ClientAction::parse(wrong).is_err(), "{wrong} was taken");
        }
        assert!(
            check_channel(&"x".repeat(128)).is_ok() && check_channel(&"x".repeat(129)).is_err()
        );
    }
}
