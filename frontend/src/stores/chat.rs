//! The talk beside the dashboard.

use std::{collections::VecDeque, rc::Rc};

use pulseboard_shared::protocol::rooms::GENERAL_ROOM;
use yewdux::store::Store;

use crate::net::json::{Json, quote};

/// Lines kept: the oldest are forgotten.
pub const LINES_MAX: usize = 200;

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The server, about the room.
    System,
    /// The server, about something that it did not take.
    Error,
    /// Somebody else.
    Other {
        /// As they call themselves.
        user: Rc<str>,
        /// What they may do, as the server says; empty where it does not.
        role: Rc<str>,
    },
    /// This page's reader.
    Own(Rc<str>),
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatLine {
    /// Grows by one with each line.
    pub number: u64,
    /// When it came, Unix milliseconds.
    pub at_ms: f64,
    /// Who said it.
    pub speaker: Speaker,
    /// What; text, never markup.
    pub text: Rc<str>,
}

/// What the page sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Say<'a> {
    /// To the others in the room.
    Chat {
        /// As the reader calls themselves.
        user: &'a str,
        /// What they say.
        text: &'a str,
    },
    /// Leaves the room for another.
    JoinRoom {
        /// The other.
        room: &'a str,
    },
}

impl Say<'_> {
    /// As it is sent.
    #[must_use]
    pub fn json(&self) -> String {
        match self {
            Self::Chat { user, text } => format!(
                r#"{{"type":"chat","user":{},"text":{}}}"#,
                quote(user),
                quote(text)
            ),
            Self::JoinRoom { room } => {
                format!(r#"{{"type":"join_room","room":{}}}"#, quote(room))
            }
        }
    }
}

/// What was said in the chat, in which room, and how much of it is unread.
#[derive(Clone, Debug, Store)]
pub struct ChatStore {
    /// Oldest first.
    lines: Rc<VecDeque<ChatLine>>,
    said: u64,
    room: Rc<str>,
    unread: u32,
    open: bool,
    /// The drawer was open once: from then on the page listens.
    listening: bool,
    revision: u64,
}

impl Default for ChatStore {
    fn default() -> Self {
        Self {
            lines: Rc::default(),
            said: 0,
            room: GENERAL_ROOM.into(),
            unread: 0,
            open: false,
            listening: false,
            revision: 0,
        }
    }
}

impl PartialEq for ChatStore {
    fn eq(&self, other: &Self) -> bool {
        self.revision == other.revision
    }
}

impl ChatStore {
    /// The server sent this.
    pub fn hear(&mut self, text: &str, at_ms: f64) {
        let json = Json::parse(text).unwrap_or_default();
        let (Some(text), kind) = (json.get("text").text(), json.text_of("type")) else {
            return;
        };
        let speaker = match kind {
            "system" => Speaker::System,
            "error" => Speaker::Error,
            "chat" => {
                if !self.open {
                    self.unread += 1;
                }
                Speaker::Other {
                    user: json.text_of("user").into(),
                    role: json.text_of("role").into(),
                }
            }
            _ => return,
        };
        self.add(speaker, text, at_ms);
    }

    /// The reader said this; the server does not send it back to them.
    pub fn say(&mut self, user: &str, text: &str, at_ms: f64) {
        self.add(Speaker::Own(user.into()), text, at_ms);
    }

    fn add(&mut self, speaker: Speaker, text: &str, at_ms: f64) {
        self.said += 1;
        let lines = Rc::make_mut(&mut self.lines);
        lines.push_back(ChatLine {
            number: self.said,
            at_ms,
            speaker,
            text: text.into(),
        });
        let excess = lines.len().saturating_sub(LINES_MAX);
        lines.drain(..excess);
        self.revision += 1;
    }

    /// The reader goes to another room.
    pub fn enter(&mut self, room: &str) {
        self.room = room.into();
        self.revision += 1;
    }

    /// Opens or closes the drawer.
    pub const fn show(&mut self, open: bool) {
        self.open = open;
        if open {
            self.listening = true;
            self.unread = 0;
        }
        self.revision += 1;
    }

    /// The lines, oldest first.
    #[must_use]
    pub fn lines(&self) -> impl ExactSizeIterator<Item = &ChatLine> {
        self.lines.iter()
    }

    /// Grows by one with each line.
    #[must_use]
    pub const fn said(&self) -> u64 {
        self.said
    }

    /// The room that the reader is in.
    #[must_use]
    pub fn room(&self) -> &str {
        &self.room
    }

    /// Messages of others since the drawer was closed.
    #[must_use]
    pub const fn unread(&self) -> u32 {
        self.unread
    }

    /// The drawer is open.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open
    }

    /// The page is to be connected to the chat.
    #[must_use]
    pub const fn is_listening(&self) -> bool {
        self.listening
    }
}

#[cfg(test)]
mod tests {
    use yewdux::{Context, Dispatch};

    use super::*;

    #[test]
    fn counts_what_was_said_while_closed() {
        let dispatch = Dispatch::<ChatStore>::new(&Context::new());
        let hear = |text: &str| dispatch.reduce_mut(|store| store.hear(text, 0.0));
        dispatch.reduce_mut(|store| store.show(true));
        hear(r#"{"type":"chat","user":"Ada","role":"operator","text":"<b>hi</b>"}"#);
        assert_eq!(dispatch.get().unread(), 0);
        dispatch.reduce_mut(|store| store.show(false));
        assert!(dispatch.get().is_listening(), "a closed drawer listens on");
        hear(r#"{"type":"system","text":"A new user joined"}"#);
        hear(r#"{"type":"chat","user":"Ada","text":"there?"}"#);
        assert_eq!(dispatch.get().unread(), 1, "system lines are not counted");
        dispatch.reduce_mut(|store| store.show(true));
        assert_eq!(dispatch.get().unread(), 0);
        let store = dispatch.get();
        let first = store.lines().next().expect("a line");
        assert_eq!(
            (&first.speaker, &*first.text),
            (
                &Speaker::Other {
                    user: "Ada".into(),
                    role: "operator".into()
                },
                "<b>hi</b>"
            )
        );
    }

    #[test]
    fn holds_so_many_lines() {
        let mut store = ChatStore::default();
        for _ in 0..LINES_MAX + 9 {
            store.say("Ada", "x", 0.0);
        }
        assert_eq!((store.lines().len(), store.said()), (LINES_MAX, 209));
    }

    #[test]
    fn speaks_as_the_server_reads() {
        use pulseboard_shared::protocol::chat::ClientMessage;
        let chat = Say::Chat {
            user: "Ada",
            text: "\"hi\"",
        };
        assert!(matches!(
            ClientMessage::parse(&chat.json()),
            Ok(ClientMessage::Chat { user, text }) if user == "Ada" && text == "\"hi\""
        ));
        let join = Say::JoinRoom { room: "night" };
        assert!(matches!(
            ClientMessage::parse(&join.json()),
            Ok(ClientMessage::JoinRoom { room }) if room == "night"
        ));
    }
}
