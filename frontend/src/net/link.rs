//! A connection that is simply wanted: opened, and opened again when it is lost. For the
//! operator's stream, the control channel and the chat; what arrives on it is not looked at here.
//!
//! A pure state machine like [`super::feed`], without cursors.

use super::{
    backoff::{Backoff, CAP_MS},
    feed::retry_ms,
};

/// A connection that lasted this long was a good one: the next delay is a short one again.
const GOOD_AFTER_MS: f64 = 5_000.0;

/// A server that is at a limit is given at least this long.
const LIMIT_MS_MIN: f64 = 5_000.0;

/// How it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
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
    /// It ended or could not be opened.
    Closed {
        /// RFC 6455 §7.4; 1006 for an event stream.
        code: u16,
        /// The server's words, often empty.
        reason: &'a str,
    },
    /// The time that [`Link::wake_at`] named has come.
    Wake,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Idle,
    Opening,
    Open { since: f64 },
    Waiting { retry_at: f64 },
    Refused(String),
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Link {
    state: State,
    backoff: Backoff,
}

impl Link {
    /// Not wanted yet; `seed` decides the jitter of the delays.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            state: State::Idle,
            backoff: Backoff::new(seed),
        }
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match &self.state {
            State::Idle | State::Opening if self.backoff.attempt() == 0 => Standing::Opening,
            State::Idle | State::Opening | State::Waiting { .. } => Standing::Lost,
            State::Open { .. } => Standing::Open,
            State::Refused(why) => Standing::Refused(why.clone()),
        }
    }

    /// When [`Event::Wake`] is wanted.
    #[must_use]
    pub const fn wake_at(&self) -> Option<f64> {
        match self.state {
            State::Waiting { retry_at } => Some(retry_at),
            _ => None,
        }
    }

    /// `event` happened `at` (our clock, never going back). True when it is to be opened now.
    pub fn on(&mut self, at: f64, event: Event<'_>) -> bool {
        match (event, &self.state) {
            (Event::Start, State::Idle) => self.open(),
            (Event::Wake, State::Waiting { retry_at }) if at >= *retry_at => self.open(),
            (Event::Opened, State::Opening) => {
                self.state = State::Open { since: at };
                false
            }
            (Event::Closed { code: 1008, reason }, State::Opening | State::Open { .. }) => {
                self.state = State::Refused(reason.to_owned());
                false
            }
            (Event::Closed { code, reason }, State::Opening | State::Open { .. }) => {
                self.lose(at, code, reason);
                false
            }
            _ => false,
        }
    }

    fn open(&mut self) -> bool {
        self.state = State::Opening;
        true
    }

    fn lose(&mut self, at: f64, code: u16, reason: &str) {
        if let State::Open { since } = self.state
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
        let mut link = Link::new(1);
        assert!(link.on(0.0, Event::Start));
        assert_eq!(link.standing(), Standing::Opening);
        assert!(!link.on(1.0, Event::Opened));
        assert_eq!(link.standing(), Standing::Open);
        assert!(!link.on(2.0, closed(1006, "")));
        assert_eq!(link.standing(), Standing::Lost);
        let retry_at = link.wake_at().expect("a retry is planned");
        assert!(!link.on(retry_at - 1.0, Event::Wake));
        assert!(link.on(retry_at, Event::Wake));
        assert_eq!(link.standing(), Standing::Lost, "until it is open");
    }

    #[test]
    fn believes_what_the_server_asks_for() {
        let after = |code, reason| {
            let mut link = Link::new(1);
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
            refused.standing(),
            Standing::Refused("token withdrawn".into())
        );
    }
}
