//! Which way the ticks come: the best one that brings them, and now and then another look at a
//! better one.
//!
//! | way | what breaks it |
//! |---|---|
//! | WebSocket, binary | a proxy that takes frames apart for text |
//! | WebSocket, JSON | a proxy that passes no upgrades |
//! | event stream | a proxy that holds answers back until they end |
//! | polling | nothing that lets a page load |
//!
//! A way is left when it stays barren although the server is known to be well, or when what it
//! brings cannot be read. A server that is merely down is no reason: it would be left for a
//! worse way that does not work either. All ways share one cursor, so none loses a tick.

/// Attempts that bring nothing before a way is left. One could be a coincidence.
const BARREN_MAX: u32 = 2;

/// The first wait before a better way is looked at again. Shorter would be traffic for nothing,
/// since proxies seldom change; longer would leave a laptop that left its office on the worse way.
const LOOK_AFTER_MS: f64 = 60_000.0;

/// Each look that fails doubles the wait up to this.
const LOOK_AFTER_MS_MAX: f64 = 600_000.0;

/// A way for the ticks to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// `GET /ws/metrics?encoding=bin`.
    #[default]
    Binary,
    /// `GET /ws/metrics`.
    Json,
    /// `GET /events/metrics`.
    Events,
    /// `GET /api/metrics/since`, again and again.
    Polling,
}

impl Way {
    /// For people.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Binary => "WebSocket, binary",
            Self::Json => "WebSocket, JSON",
            Self::Events => "Event stream",
            Self::Polling => "Polling",
        }
    }

    /// The page can ask on it, and the server can say why it closes.
    #[must_use]
    pub const fn is_socket(self) -> bool {
        matches!(self, Self::Binary | Self::Json)
    }

    const fn worse(self) -> Option<Self> {
        match self {
            Self::Binary => Some(Self::Json),
            Self::Json => Some(Self::Events),
            Self::Events => Some(Self::Polling),
            Self::Polling => None,
        }
    }
}

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ladder {
    way: Way,
    /// Attempts on this way in a row that brought nothing.
    barren: u32,
    /// What made us leave better ways, so that the look at one starts at the right one.
    best: Way,
    looks: u32,
    look_at: Option<f64>,
}

impl Ladder {
    /// The way to take.
    #[must_use]
    pub const fn way(&self) -> Way {
        self.way
    }

    /// The way brought a frame.
    pub fn bore(&mut self, at: f64) {
        self.barren = 0;
        if self.way == Way::Binary {
            (self.look_at, self.looks) = (None, 0);
        } else if self.look_at.is_none() {
            self.look_at = Some(at + look_after_ms(self.looks));
        }
    }

    /// An attempt ended and had brought nothing. True when that makes it worth asking whether
    /// the server is well.
    pub const fn barren(&mut self) -> bool {
        self.barren = self.barren.saturating_add(1);
        self.barren == BARREN_MAX
    }

    /// An attempt neither opened nor failed in the time it is given: no coincidence.
    pub const fn mute(&mut self) -> bool {
        self.barren = BARREN_MAX;
        true
    }

    /// The server itself is well. True when another way is to be taken.
    pub fn server_is_well(&mut self) -> bool {
        if self.barren < BARREN_MAX {
            return false;
        }
        // What does not open as binary does not open as text: the next try is another kind.
        let next = match self.way {
            Way::Binary | Way::Json => Some(Way::Events),
            Way::Events | Way::Polling => self.way.worse(),
        };
        self.leave_for(next, Way::Binary)
    }

    /// The first thing that the way brought could not be read. True when another way is to be
    /// taken.
    pub fn unreadable(&mut self) -> bool {
        self.leave_for(self.way.worse(), self.best)
    }

    /// Other tabs have as many event streams as leave room for requests.
    pub fn crowded(&mut self) {
        self.leave_for(Some(Way::Polling), Way::Binary);
    }

    fn leave_for(&mut self, next: Option<Way>, best: Way) -> bool {
        let Some(next) = next else {
            return false;
        };
        *self = Self {
            way: next,
            barren: 0,
            best,
            look_at: None,
            ..*self
        };
        true
    }

    /// When to look at a better way, if that is due at all.
    #[must_use]
    pub const fn look_at(&self) -> Option<f64> {
        self.look_at
    }

    /// The better way to look at; until it is known how that went nothing more is looked at.
    pub fn look(&mut self, at: f64) -> Option<Way> {
        if self.look_at.is_none_or(|look_at| at < look_at) || self.way == Way::Binary {
            return None;
        }
        self.look_at = None;
        self.looks += 1;
        Some(self.best)
    }

    /// The better way did not bring a frame.
    pub fn looked_in_vain(&mut self, at: f64) {
        self.look_at = Some(at + look_after_ms(self.looks));
    }

    /// The better way brought a frame and is the one in use from now on.
    pub fn improve(&mut self, way: Way, at: f64) {
        *self = Self {
            way,
            ..Self::default()
        };
        self.bore(at);
    }

    /// The network is another one: what broke the better way may be gone.
    pub fn network_changed(&mut self, at: f64) {
        if self.look_at.is_some() {
            (self.look_at, self.looks) = (Some(at), 0);
        }
    }
}

fn look_after_ms(looks: u32) -> f64 {
    (LOOK_AFTER_MS * f64::from(1_u32 << looks.min(6))).min(LOOK_AFTER_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_down_is_no_reason_to_leave_a_way() {
        let mut ladder = Ladder::default();
        for _ in 0..9 {
            ladder.barren();
        }
        assert_eq!(ladder.way(), Way::Binary);
        ladder.bore(0.0);
        assert!(!ladder.server_is_well(), "it works again");
        assert_eq!(ladder.way(), Way::Binary);
    }

    #[test]
    fn barren_ways_are_left_while_the_server_is_well() {
        let mut ladder = Ladder::default();
        assert!(!ladder.barren());
        assert!(!ladder.server_is_well(), "once is no habit");
        assert!(ladder.barren(), "now it is worth asking");
        assert!(ladder.server_is_well());
        assert_eq!(
            ladder.way(),
            Way::Events,
            "text would not open where binary does not"
        );
        assert!(ladder.mute());
        assert!(ladder.server_is_well());
        assert_eq!(ladder.way(), Way::Polling);
        assert!(ladder.mute());
        assert!(!ladder.server_is_well(), "there is nothing below");
    }

    #[test]
    fn unreadable_frames_lead_down_one_by_one() {
        let mut ladder = Ladder::default();
        let ways: Vec<Way> =
            std::iter::from_fn(|| ladder.unreadable().then(|| ladder.way())).collect();
        assert_eq!(ways, [Way::Json, Way::Events, Way::Polling]);
    }

    #[test]
    fn better_ways_are_looked_at_less_and_less() {
        let mut ladder = Ladder::default();
        ladder.mute();
        ladder.server_is_well();
        ladder.bore(1_000.0);
        ladder.bore(2_000.0);
        assert_eq!(ladder.look_at(), Some(61_000.0));
        assert_eq!(ladder.look(60_999.0), None);
        assert_eq!(ladder.look(61_000.0), Some(Way::Binary));
        assert_eq!(ladder.look(99_000.0), None, "one at a time");
        ladder.looked_in_vain(62_000.0);
        assert_eq!(ladder.look_at(), Some(62_000.0 + 120_000.0));
        for _ in 0..9 {
            ladder.look(1e9);
            ladder.looked_in_vain(0.0);
        }
        assert_eq!(ladder.look_at(), Some(600_000.0));
        ladder.network_changed(5.0);
        assert_eq!(ladder.look(5.0), Some(Way::Binary));
        ladder.improve(Way::Binary, 6.0);
        assert_eq!((ladder.way(), ladder.look_at()), (Way::Binary, None));
    }
}
