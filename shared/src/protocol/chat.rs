//! `GET /ws/chat`: the talk beside the dashboard.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rooms::check_channel;
use crate::{Role, limits};

/// What a client may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage {
    /// To the others in its room.
    Chat {
        /// Who speaks, as they call themselves.
        user: String,
        /// What they say; text, never markup.
        text: String,
    },
    /// Leave the current room and join another.
    JoinRoom {
        /// The room.
        room: String,
    },
}

/// What the server sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ServerMessage {
    /// About the room.
    System {
        /// One line.
        text: String,
    },
    /// Somebody said something.
    Chat {
        /// Who, as they call themselves.
        user: String,
        /// What.
        text: String,
        /// What they may do here, which nobody chooses.
        role: Role,
    },
    /// The client's message could not be read, or is not allowed.
    Error {
        /// What was wrong and what is accepted.
        text: String,
    },
}

/// Greets a client on opening.
pub const WELCOME: &str = "Welcome to the chat!";
/// Tells the others that somebody came.
pub const USER_JOINED: &str = "A new user joined";
/// Tells the others that somebody went.
pub const USER_LEFT: &str = "A user left the chat";
/// Answers a type that is none of ours.
pub const UNKNOWN_TYPE: &str = "Unknown message type";

impl ClientMessage {
    /// Reads one text message.
    ///
    /// # Errors
    /// The text for an `error` message: what was wrong and what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| format!("The message is not JSON: {error}"))?;
        let object = value
            .as_object()
            .ok_or("The message is JSON but not an object; expected {\"type\":…}")?;
        let field = |name: &str, chars_max: usize| {
            let text = object
                .get(name)
                .and_then(Value::as_str)
                .ok_or_else(|| format!("\"{name}\" is missing; it is a text"))?;
            if text.chars().count() > chars_max {
                return Err(format!("\"{name}\" is longer than {chars_max} characters"));
            }
            Ok(text.to_owned())
        };
        match object.get("type").and_then(Value::as_str) {
            Some("chat") => Ok(Self::Chat {
                user: field("user", limits::CHAT_USER_CHARS_MAX)?,
                text: field("text", limits::CHAT_TEXT_CHARS_MAX)?,
            }),
            Some("join_room") => {
                let room = field("room", limits::CHANNEL_CHARS_MAX)?;
                check_channel(&room)?;
                Ok(Self::JoinRoom { room })
            }
            _ => Err(UNKNOWN_TYPE.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_clients_say() {
        assert_eq!(
            ClientMessage::parse(r#"{"type":"chat","user":"Ada","text":"<b>hi</b>"}"#),
            Ok(ClientMessage::Chat {
                user: "Ada".to_owned(),
                text: "<b>hi</b>".to_owned()
            })
        );
        assert_eq!(ClientMessage::parse("{}"), Err(UNKNOWN_TYPE.to_owned()));
        for wrong in [
            "",
            "[]",
            r#"{"type":"chat","user":"Ada"}"#,
            r#"{"type":"chat","user":1,"text":"x"}"#,
            r#"{"type":"join_room","room":"a b"}"#,
        ] {
            assert!(ClientMessage::parse(wrong).is_err(), "{wrong} was taken");
        }
        let long = "x".repeat(limits::CHAT_TEXT_CHARS_MAX + 1);
        assert!(
            ClientMessage::parse(&format!(r#"{{"type":"chat","user":"A","text":"{long}"}}"#))
                .is_err()
        );
    }
}
