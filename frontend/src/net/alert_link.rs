//! The alert stream as the page lives it, a pure state machine like [`super::feed`].
//!
//! The browser's own reconnecting is not used: it says nothing while it waits, waits as long as
//! it likes and gives up for good on a status it does not like. So the page closes a failed
//! stream and opens a new one itself, with the newest event's id in `last-event-id`.

use pulseboard_shared::Alert;

use super::{
    backoff::{Backoff, CAP_MS},
    json::Json,
    wire,
};

/// The server sends a heartbeat every 30 s; when two of them are missing the stream is dead.
const SILENCE_MS_MAX: f64 = 75_000.0;

/// A stream that lasted this long was a good one: the next delay is a short one again.
const GOOD_AFTER_MS: f64 = 5_000.0;

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The page wants to listen.
    Start,
    /// The server answered with a stream.
    Opened,
    /// An unnamed event arrived.
    Unnamed {
        /// Its data.
        data: &'a str,
        /// Its id; empty when no event had one yet.
        id: &'a str,
    },
    /// A `resolved` event arrived.
    Resolved {
        /// Its data.
        data: &'a str,
        /// Its id.
        id: &'a str,
    },
    /// The stream ended or could not be opened.
    Failed,
    /// The time that [`AlertLink::wake_at`] named has come.
    Wake,
    /// A good moment to try.
    Nudge,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Open the stream after this event.
    Open(Option<String>),
    /// Close the stream and listen to it no more.
    Close,
    /// An alert began, went on, or ended.
    Apply(Box<Alert>),
    /// Whether the page hears of alerts at present.
    Listening(bool),
    /// Ask which incidents go on now: the stream tells only what happens from here on.
    CatchUp,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Link {
    Idle,
    Opening,
    Open { since: f64, heard_at: f64 },
    Waiting { retry_at: f64 },
}

/// See the module.
#[derive(Debug)]
pub struct AlertLink {
    link: Link,
    backoff: Backoff,
    last_id: Option<String>,
    /// Events that could not be read; they are left out.
    unreadable: u64,
}

impl AlertLink {
    /// Not listening; `seed` decides the jitter of the delays.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            link: Link::Idle,
            backoff: Backoff::new(seed),
            last_id: None,
            unreadable: 0,
        }
    }

    /// Events that could not be read.
    #[must_use]
    pub const fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// When [`Event::Wake`] is wanted.
    #[must_use]
    pub fn wake_at(&self) -> Option<f64> {
        match self.link {
            Link::Idle | Link::Opening => None,
            Link::Open { heard_at, .. } => Some(heard_at + SILENCE_MS_MAX),
            Link::Waiting { retry_at } => Some(retry_at),
        }
    }

    /// `event` happened `at` (our clock, milliseconds, never going back).
    pub fn on(&mut self, at: f64, event: Event<'_>) -> Vec<Action> {
        match (event, self.link) {
            (Event::Start, Link::Idle) | (Event::Nudge, Link::Waiting { .. }) => self.open(),
            (Event::Wake, Link::Waiting { retry_at }) if at >= retry_at => self.open(),
            (Event::Wake, Link::Open { heard_at, .. }) if at - heard_at >= SILENCE_MS_MAX => {
                self.lose(at)
            }
            (Event::Opened, Link::Opening) => {
                self.link = Link::Open {
                    since: at,
                    heard_at: at,
                };
                vec![Action::Listening(true), Action::CatchUp]
            }
            (Event::Failed, Link::Opening | Link::Open { .. }) => self.lose(at),
            (Event::Unnamed { data, id }, _) => {
                self.heard(at, id);
                self.alert(data)
            }
            (Event::Resolved { data, id }, _) => {
                self.heard(at, id);
                self.alert(data)
            }
            _ => Vec::new(),
        }
    }

    fn alert(&mut self, data: &str) -> Vec<Action> {
        let json = Json::parse(data).unwrap_or_default();
        if let Some(alert) = wire::alert(&json) {
            return vec![Action::Apply(Box::new(alert))];
        }
        if json.text_of("type") != "heartbeat" {
            self.unreadable += 1;
        }
        Vec::new()
    }

    fn heard(&mut self, at: f64, id: &str) {
        if let Link::Open { heard_at, .. } = &mut self.link {
            *heard_at = at;
        }
        if !id.is_empty() {
            self.last_id = Some(id.to_owned());
        }
    }

    fn open(&mut self) -> Vec<Action> {
        self.link = Link::Opening;
        vec![Action::Open(self.last_id.clone())]
    }

    fn lose(&mut self, at: f64) -> Vec<Action> {
        if let Link::Open { since, .. } = self.link
            && at - since >= GOOD_AFTER_MS
        {
            self.backoff.reset();
        }
        #[expect(clippy::cast_precision_loss, reason = "a delay is small")]
        let delay = self.backoff.next_ms(CAP_MS) as f64;
        self.link = Link::Waiting {
            retry_at: at + delay,
        };
        vec![Action::Close, Action::Listening(false)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALERT: &str = r#"{"id":"0193a5b2-0000-7000-8000-000000000001","message":"CPU usage critical: 93.4%",
        "severity":"critical","timestamp":"2026-11-20T20:01:02.345Z","incident":"0193a5b2-0000-7000-8000-000000000002",
        "rule":"cpu_high","state":"firing","value":93.4,"threshold":90.0,"started":"2026-11-20T20:01:02.345Z"}"#;

    #[test]
    fn resumes_after_the_newest_event() {
        let mut link = AlertLink::new(1);
        assert_eq!(link.on(0.0, Event::Start), [Action::Open(None)]);
        assert_eq!(
            link.on(1.0, Event::Opened),
            [Action::Listening(true), Action::CatchUp]
        );
        let got = link.on(
            2.0,
            Event::Unnamed {
                data: ALERT,
                id: "e:7",
            },
        );
        assert!(matches!(&got[..], [Action::Apply(alert)] if alert.rule == "cpu_high"));
        assert_eq!(
            link.on(3.0, Event::Failed),
            [Action::Close, Action::Listening(false)]
        );
        let retry_at = link.wake_at().expect("a retry is planned");
        assert_eq!(
            link.on(retry_at, Event::Wake),
            [Action::Open(Some("e:7".into()))]
        );
    }

    #[test]
    fn tells_heartbeats_and_nonsense_from_alerts() {
        let mut link = AlertLink::new(1);
        link.on(0.0, Event::Start);
        link.on(0.0, Event::Opened);
        let beat = r#"{"type":"heartbeat","timestamp":"2026-11-20T20:01:02.345Z"}"#;
        assert_eq!(link.on(30_000.0, Event::Unnamed { data: beat, id: "" }), []);
        assert_eq!(link.wake_at(), Some(30_000.0 + SILENCE_MS_MAX));
        assert_eq!(link.on(30_001.0, Event::Unnamed { data: "{}", id: "" }), []);
        assert_eq!(link.unreadable(), 1);
    }

    #[test]
    fn a_silent_stream_is_dead() {
        let mut link = AlertLink::new(1);
        link.on(0.0, Event::Start);
        link.on(0.0, Event::Opened);
        assert_eq!(link.on(SILENCE_MS_MAX - 1.0, Event::Wake), []);
        assert_eq!(
            link.on(SILENCE_MS_MAX, Event::Wake),
            [Action::Close, Action::Listening(false)]
        );
        assert_eq!(link.on(SILENCE_MS_MAX, Event::Nudge), [Action::Open(None)]);
    }
}
