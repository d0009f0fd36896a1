//! Over which transport the ticks come: the best one that brings them; now and then a better one
//! is probed.
//!
//! | transport | what breaks it |
//! |---|---|
//! | WebSocket, binary | a proxy that takes frames apart for text |
//! | WebSocket, JSON | a proxy that passes no upgrades |
//! | event stream | a proxy that holds answers back until they end |
//! | polling | nothing that lets a page load |
//!
//! A transport is left when it brings nothing although the server is known to be well, or when
//! what it brings cannot be read. A server that is merely down is no reason: the worse transport
//! would not work either. All of them share one cursor, so none loses a tick.

/// Attempts that bring nothing before a transport is left. One could be a coincidence.
const FAILURES_MAX: u32 = 2;

/// The first wait before a better transport is probed. Shorter would be traffic for nothing, since
/// proxies seldom change; longer would leave a laptop that left its office on the worse one.
const PROBE_AFTER_MS: f64 = 60_000.0;

/// Each probe that fails doubles the wait up to this.
const PROBE_AFTER_MS_MAX: f64 = 600_000.0;

/// How the ticks come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
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

impl Transport {
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

/// Which transport is in use, and when a better one is probed: the fallback of Engine.IO, with one
/// cursor for all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TransportFallback {
    transport: Transport,
    /// Attempts on this transport in a row that brought nothing.
    failures: u32,
    /// The best one that may work: what a probe tries.
    best: Transport,
    probes: u32,
    probe_at: Option<f64>,
}

impl TransportFallback {
    /// The one to use.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// The transport in use brought a frame.
    pub fn on_frame(&mut self, at: f64) {
        self.failures = 0;
        if self.transport == Transport::Binary {
            (self.probe_at, self.probes) = (None, 0);
        } else if self.probe_at.is_none() {
            self.probe_at = Some(at + probe_after_ms(self.probes));
        }
    }

    /// An attempt ended and had brought nothing. True when that makes it worth asking whether
    /// the server is well.
    pub const fn on_failure(&mut self) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.failures == FAILURES_MAX
    }

    /// An attempt neither opened nor failed in the time it is given: no coincidence.
    pub const fn on_timeout(&mut self) -> bool {
        self.failures = FAILURES_MAX;
        true
    }

    /// The server itself is well. True when another transport is to be used.
    pub fn server_is_well(&mut self) -> bool {
        if self.failures < FAILURES_MAX {
            return false;
        }
        // What does not open as binary does not open as text: the next try is another kind.
        let next = match self.transport {
            Transport::Binary | Transport::Json => Some(Transport::Events),
            Transport::Events | Transport::Polling => self.transport.worse(),
        };
        self.leave_for(next, Transport::Binary)
    }

    /// The first thing that came could not be read. True when another transport is to be used.
    pub fn unreadable(&mut self) -> bool {
        self.leave_for(self.transport.worse(), self.best)
    }

    /// Other tabs have as many event streams as leave room for requests.
    pub fn crowded(&mut self) {
        self.leave_for(Some(Transport::Polling), Transport::Binary);
    }

    fn leave_for(&mut self, next: Option<Transport>, best: Transport) -> bool {
        let Some(next) = next else {
            return false;
        };
        *self = Self {
            transport: next,
            failures: 0,
            best,
            probe_at: None,
            ..*self
        };
        true
    }

    /// When to probe a better transport, if that is due at all.
    #[must_use]
    pub const fn probe_at(&self) -> Option<f64> {
        self.probe_at
    }

    /// The better transport to probe; until it is known how that went nothing more is probed.
    pub fn probe_better(&mut self, at: f64) -> Option<Transport> {
        if self.probe_at.is_none_or(|probe_at| at < probe_at) || self.transport == Transport::Binary
        {
            return None;
        }
        self.probe_at = None;
        self.probes += 1;
        Some(self.best)
    }

    /// The better transport did not bring a frame.
    pub fn probe_failed(&mut self, at: f64) {
        self.probe_at = Some(at + probe_after_ms(self.probes));
    }

    /// The better transport brought a frame and is the one in use from now on.
    pub fn improve(&mut self, transport: Transport, at: f64) {
        *self = Self {
            transport,
            ..Self::default()
        };
        self.on_frame(at);
    }

    /// The network is another one: what broke the better transport may be gone.
    pub fn network_changed(&mut self, at: f64) {
        if self.probe_at.is_some() {
            (self.probe_at, self.probes) = (Some(at), 0);
        }
    }
}

fn probe_after_ms(probes: u32) -> f64 {
    (PROBE_AFTER_MS * f64::from(1_u32 << probes.min(6))).min(PROBE_AFTER_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_down_is_no_reason_to_leave_a_way() {
        let mut fallback = TransportFallback::default();
        for _ in 0..9 {
            fallback.on_failure();
        }
        assert_eq!(fallback.transport(), Transport::Binary);
        fallback.on_frame(0.0);
        assert!(!fallback.server_is_well(), "it works again");
        assert_eq!(fallback.transport(), Transport::Binary);
    }

    #[test]
    fn transports_that_bring_nothing_are_left_while_the_server_is_well() {
        let mut fallback = TransportFallback::default();
        assert!(!fallback.on_failure());
        assert!(!fallback.server_is_well(), "once is no habit");
        assert!(fallback.on_failure(), "now it is worth asking");
        assert!(fallback.server_is_well());
        assert_eq!(
            fallback.transport(),
            Transport::Events,
            "text would not open where binary does not"
        );
        assert!(fallback.on_timeout());
        assert!(fallback.server_is_well());
        assert_eq!(fallback.transport(), Transport::Polling);
        assert!(fallback.on_timeout());
        assert!(!fallback.server_is_well(), "there is nothing below");
    }

    #[test]
    fn unreadable_frames_lead_down_one_by_one() {
        let mut fallback = TransportFallback::default();
        let transports: Vec<Transport> =
            std::iter::from_fn(|| fallback.unreadable().then(|| fallback.transport())).collect();
        assert_eq!(
            transports,
            [Transport::Json, Transport::Events, Transport::Polling]
        );
    }

    #[test]
    fn better_ways_are_looked_at_less_and_less() {
        let mut fallback = TransportFallback::default();
        fallback.on_timeout();
        fallback.server_is_well();
        fallback.on_frame(1_000.0);
        fallback.on_frame(2_000.0);
        assert_eq!(fallback.probe_at(), Some(61_000.0));
        assert_eq!(fallback.probe_better(60_999.0), None);
        assert_eq!(fallback.probe_better(61_000.0), Some(Transport::Binary));
        assert_eq!(fallback.probe_better(99_000.0), None, "one at a time");
        fallback.probe_failed(62_000.0);
        assert_eq!(fallback.probe_at(), Some(62_000.0 + 120_000.0));
        for _ in 0..9 {
            fallback.probe_better(1e9);
            fallback.probe_failed(0.0);
        }
        assert_eq!(fallback.probe_at(), Some(600_000.0));
        fallback.network_changed(5.0);
        assert_eq!(fallback.probe_better(5.0), Some(Transport::Binary));
        fallback.improve(Transport::Binary, 6.0);
        assert_eq!(
            (fallback.transport(), fallback.probe_at()),
            (Transport::Binary, None)
        );
    }
}
