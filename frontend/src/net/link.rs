//! A connection that is simply wanted: opened, and opened again when it is lost. For the rooms'
//! socket, the control channel, the chat, and event streams where no socket opens; what arrives
//! on it is not looked at here, only that something does.
//!
//! A pure state machine like [`super::feed`], without cursors.

use super::backoff::{Backoff, CAP_MS, retry_ms};

/// A connection that lasted this long was a good one: the next delay is a short one again.
const GOOD_AFTER_MS: f64 = 5_000.0;

/// A server that is at a limit is given at least this long.
const LIMIT_MS_MIN: f64 = 5_000.0;

/// A question is given this long to be answered, whatever the silence before it: a tab that was
/// frozen first has to be handed what came meanwhile.
const ANSWER_MS: f64 = 2_000.0;

/// How it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// On the way, for the first time or again.
    #[default]
    Opening,
    /// Open.
    Open,
    /// Lost; it is tried again by itself.
    Lost,
    /// The server does not allow it, in its words; nothing more is tried.
    Refused(String),
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// It is wanted.
    Start,
    /// It is open.
    Opened,
    /// Something arrived.
    Heard,
    /// It ended or could not be opened.
    Closed {
        /// RFC 6455 §7.4; 1006 for an event stream.
        code: u16,
        /// The server's words, often empty.
        reason: &'a str,
    },
    /// The time that [`Link::wake_at`] named has come.
    Wake,
    /// A good moment to try, or to see whether it still works.
    Nudge,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// Nothing.
    Nothing,
    /// Open it.
    Open,
    /// Ask something that is answered, where that is possible.
    Ask,
    /// Close it: nothing comes any more.
    Close,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Idle,
    Opening,
    Open {
        since: f64,
        heard_at: f64,
        /// When it was asked something, since it was last heard of.
        asked_at: Option<f64>,
    },
    Waiting {
        retry_at: f64,
    },
    Refused(String),
}

/// The state machine of one connection that is opened again whenever it is lost.
#[derive(Clone, Debug)]
pub struct Link {
    state: State,
    backoff: Backoff,
    /// A connection that is silent for longer is dead.
    patience_ms: f64,
}

impl Link {
    /// Not wanted yet; `seed` decides the jitter of the delays. One that may be silent for as
    /// long as it likes has an infinite patience.
    #[must_use]
    pub const fn new(seed: u64, patience_ms: f64) -> Self {
        Self {
            state: State::Idle,
            backoff: Backoff::new(seed),
            patience_ms,
        }
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> LinkState {
        match &self.state {
            State::Idle | State::Opening if self.backoff.attempt() == 0 => LinkState::Opening,
            State::Idle | State::Opening | State::Waiting { .. } => LinkState::Lost,
            State::Open { .. } => LinkState::Open,
            State::Refused(why) => LinkState::Refused(why.clone()),
        }
    }

    /// When [`Event::Wake`] is wanted.
    #[must_use]
    pub fn wake_at(&self) -> Option<f64> {
        match self.state {
            State::Waiting { retry_at } => Some(retry_at),
            State::Open {
                heard_at, asked_at, ..
            } => Some(match asked_at {
                None => heard_at + self.patience_ms / 2.0,
                Some(asked_at) => (heard_at + self.patience_ms).max(asked_at + ANSWER_MS),
            })
            .filter(|at| at.is_finite()),
            _ => None,
        }
    }

    /// `event` happened `at` (our clock, never going back).
    pub fn on(&mut self, at: f64, event: Event<'_>) -> Do {
        match (event, &mut self.state) {
            (Event::Start, State::Idle) | (Event::Nudge, State::Waiting { .. }) => self.open(),
            (Event::Wake, State::Waiting { retry_at }) if at >= *retry_at => self.open(),
            (Event::Opened, State::Opening) => {
                self.state = State::Open {
                    since: at,
                    heard_at: at,
                    asked_at: None,
                };
                Do::Nothing
            }
            (
                Event::Heard,
                State::Open {
                    heard_at, asked_at, ..
                },
            ) => {
                (*heard_at, *asked_at) = (at, None);
                Do::Nothing
            }
            (
                event @ (Event::Wake | Event::Nudge),
                State::Open {
                    heard_at, asked_at, ..
                },
            ) => {
                let quiet_ms = at - *heard_at;
                let waited = asked_at.is_some_and(|asked_at| at - asked_at >= ANSWER_MS);
                if quiet_ms >= self.patience_ms && waited {
                    self.lose(at, 0, "");
                    return Do::Close;
                }
                let nudged = matches!(event, Event::Nudge) && self.patience_ms.is_finite();
                if asked_at.is_none() && (nudged || quiet_ms >= self.patience_ms / 2.0) {
                    *asked_at = Some(at);
                    return Do::Ask;
                }
                Do::Nothing
            }
            (Event::Closed { code: 1008, reason }, State::Opening | State::Open { .. }) => {
                self.state = State::Refused(reason.to_owned());
                Do::Nothing
            }
            (Event::Closed { code, reason }, State::Opening | State::Open { .. }) => {
                self.lose(at, code, reason);
                Do::Nothing
            }
            _ => Do::Nothing,
        }
    }

    fn open(&mut self) -> Do {
        self.state = State::Opening;
        Do::Open
    }

    fn lose(&mut self, at: f64, code: u16, reason: &str) {
        if let State::Open { since, .. } = self.state
            && at - since >= GOOD_AFTER_MS
        {
            self.backoff.reset();
        }
        #[expect(clippy::cast_precision_loss, reason = "a delay is small")]
        let delay = self.backoff.next_ms(CAP_MS) as f64;
        let delay = match (code, retry_ms(reason)) {
            (1012, Some(retry_ms)) => retry_ms,
            (1013, _) => delay.max(LIMIT_MS_MIN),
            _ => delay,
        };
        self.state = State::Waiting {
            retry_at: at + delay,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: u16, reason: &str) -> Event<'_> {
        Event::Closed { code, reason }
    }

    #[test]
    fn comes_back_by_itself() {
        let mut link = Link::new(1, f64::INFINITY);
        assert_eq!(link.on(0.0, Event::Start), Do::Open);
        assert_eq!(link.state(), LinkState::Opening);
        assert_eq!(link.on(1.0, Event::Opened), Do::Nothing);
        assert_eq!(link.state(), LinkState::Open);
        assert_eq!(link.wake_at(), None, "it may be silent");
        assert_eq!(link.on(2.0, closed(1006, "")), Do::Nothing);
        assert_eq!(link.state(), LinkState::Lost);
        let retry_at = link.wake_at().expect("a retry is planned");
        assert_eq!(link.on(retry_at - 1.0, Event::Wake), Do::Nothing);
        assert_eq!(link.on(retry_at, Event::Wake), Do::Open);
        assert_eq!(link.state(), LinkState::Lost, "until it is open");
    }

    #[test]
    fn a_good_moment_is_used() {
        let mut link = Link::new(1, 20_000.0);
        link.on(0.0, Event::Start);
        link.on(0.0, Event::Opened);
        assert_eq!(link.on(1.0, Event::Nudge), Do::Ask, "whether it works");
        link.on(2.0, closed(1006, ""));
        assert_eq!(link.on(2.0, Event::Nudge), Do::Open);
    }

    #[test]
    fn a_silent_connection_is_dead() {
        let mut link = Link::new(1, 20_000.0);
        link.on(0.0, Event::Start);
        link.on(0.0, Event::Opened);
        assert_eq!(link.wake_at(), Some(10_000.0));
        assert_eq!(link.on(10_000.0, Event::Wake), Do::Ask);
        link.on(10_001.0, Event::Heard);
        assert_eq!(link.wake_at(), Some(20_001.0), "it answered");
        assert_eq!(link.on(20_001.0, Event::Wake), Do::Ask);
        assert_eq!(link.wake_at(), Some(30_001.0));
        assert_eq!(link.on(30_001.0, Event::Wake), Do::Close);
        assert_eq!(link.state(), LinkState::Lost);
    }

    #[test]
    fn a_tab_that_was_frozen_asks_before_it_gives_up() {
        let mut link = Link::new(1, 20_000.0);
        link.on(0.0, Event::Start);
        link.on(0.0, Event::Opened);
        assert_eq!(link.on(900_000.0, Event::Wake), Do::Ask);
        assert_eq!(link.wake_at(), Some(902_000.0));
        link.on(900_001.0, Event::Heard);
        assert_eq!(link.state(), LinkState::Open);
    }

    #[test]
    fn believes_what_the_server_asks_for() {
        let after = |code, reason| {
            let mut link = Link::new(1, f64::INFINITY);
            link.on(0.0, Event::Start);
            link.on(0.0, Event::Opened);
            link.on(0.0, closed(code, reason));
            link
        };
        let stopping = "server is stopping; retry_ms=2345";
        assert_eq!(after(1012, stopping).wake_at(), Some(2345.0));
        assert!(after(1013, "too many messages").wake_at() >= Some(LIMIT_MS_MIN));
        let refused = after(1008, "token withdrawn");
        assert_eq!(refused.wake_at(), None, "no storm");
        assert_eq!(
            refused.state(),
            LinkState::Refused("token withdrawn".into())
        );
    }
}
