//! The metrics feed as the page lives it: connecting, live, stale, lost, resumed.
//!
//! A pure state machine. [`Feed::on`] takes what happened and when, and answers what is to be
//! done; it opens no socket and reads no clock, so every order of events can be tested without
//! a browser. [`crate::hooks::use_metrics_socket`] connects it to a real socket.
//!
//! **Invariant**: each tick reaches [`Action::Apply`] at most once and in order, and what did
//! not reach it is counted in [`Counts::lost`].

pub mod event;
pub mod view;

pub use event::{Action, Cursor, Event, Row, Timing, Update};
pub use view::{Connection, Counts, Recovery, View};

use pulseboard_shared::{
    BUILT_IN, BuiltIn, Metric, codec,
    protocol::metrics::{ClientMessage, Merged, ServerMessage, Snapshot, Tick},
};

use super::{
    backoff::{Backoff, CAP_MS, CAP_YOUNG_MS, retry_ms},
    boot::Ticks,
    clock::ServerClock,
    probe::Diagnosis,
    transport::TransportFallback,
    wire,
};

/// How often the page asks the server for its time while all is well. More often would be
/// traffic for nothing; less often would notice a changed clock later.
const PING_EVERY_MS: f64 = 10_000.0;

/// An attempt that has not brought a frame by then is given up.
const CONNECT_TIMEOUT_MS: f64 = 10_000.0;

/// On a transport that carries no pings a silence has to be this long before it is taken for a dead
/// connection; a server without figures is silent, too.
const DEAF_SILENCE_MS_MAX: f64 = 15_000.0;

/// An unanswered ping is not held against the server before this time: a tab that was frozen
/// first has to be handed the frames that came meanwhile.
const PING_GRACE_MS: f64 = 2_000.0;

/// A connection that lasted this long was a good one: the next delay is a short one again.
const GOOD_AFTER_MS: f64 = 5_000.0;

/// An outage is young for this long: after it, a server that was being restarted would be back.
const YOUNG_MS: f64 = 60_000.0;

/// A tick later than this many intervals after the one before leaves a gap.
pub(crate) const GAP_INTERVALS: f64 = 2.5;

/// Assumed until the server has said how often it ticks.
const INTERVAL_MS_DEFAULT: f64 = 1_000.0;

/// While a number of seconds is on the screen it is looked at this often.
const COUNT_EVERY_MS: f64 = 250.0;

#[derive(Clone, Debug, PartialEq)]
enum Link {
    /// Before [`Event::Start`].
    Idle,
    /// A socket is being opened, or is open and has not brought a snapshot.
    Opening { since: f64 },
    /// A snapshot has arrived on this socket.
    Open(Open),
    /// Between attempts.
    Waiting { retry_at: f64 },
}

#[derive(Clone, Debug, PartialEq)]
struct Open {
    since: f64,
    /// Newest frame of any kind.
    frame_at: f64,
    ping_next_at: f64,
    /// The unanswered ping.
    ping_sent_at: Option<f64>,
}

/// The state machine of the ticks: what happens goes in, what is to be done comes out.
#[derive(Debug)]
pub struct Feed {
    link: Link,
    backoff: Backoff,
    fallback: TransportFallback,
    clock: ServerClock,
    /// A connection has brought a snapshot, ever: before, there is nothing to be lost.
    met: bool,
    /// Dropped when a frame shows that the server's log is another one.
    cursor: Option<Cursor>,
    interval_ms: f64,
    /// Sampling time of the newest row, by the server's clock.
    newest_ms: Option<f64>,
    /// When the connection was lost, or the first attempt began; emptied by a snapshot.
    down_since: Option<f64>,
    online: bool,
    diagnosis: Option<Diagnosis>,
    recovery: Option<Recovery>,
    /// Nothing has come since the recovery: whether there is a hole, the next tick tells.
    unproven: bool,
    sourceless: bool,
    counts: Counts,
    shown: View,
}

impl Feed {
    /// Not connected; `seed` decides the jitter of the delays.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            link: Link::Idle,
            backoff: Backoff::new(seed),
            fallback: TransportFallback::default(),
            clock: ServerClock::default(),
            met: false,
            cursor: None,
            interval_ms: INTERVAL_MS_DEFAULT,
            newest_ms: None,
            down_since: None,
            online: true,
            diagnosis: None,
            recovery: None,
            unproven: false,
            sourceless: false,
            counts: Counts::default(),
            shown: View::default(),
        }
    }

    /// The page brought these ticks along: what comes behind them is all that is wanted.
    pub fn begin_behind(&mut self, ticks: &Ticks) {
        self.clock.observe(ticks.came_ms, ticks.sent_ms);
        self.interval_ms = to_f64(ticks.interval_ms.max(1));
        self.newest_ms = ticks.rows.last().map(|row| row.t_ms);
        if ticks.cursor.is_some() {
            self.counts.ticks += ticks.rows.len() as u64;
        }
        self.cursor.clone_from(&ticks.cursor);
    }

    /// Milliseconds that the server's clock is ahead of ours.
    #[must_use]
    pub fn clock_offset_ms(&self) -> f64 {
        self.clock.offset_ms()
    }

    /// Where this page is in the server's log; for who polls.
    #[must_use]
    pub const fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    /// Milliseconds between ticks, as far as is known.
    #[must_use]
    pub const fn interval_ms(&self) -> f64 {
        self.interval_ms
    }

    /// `event` happened `at` (our clock, milliseconds, never going back).
    pub fn on(&mut self, at: f64, event: Event<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Start => {
                if self.link == Link::Idle {
                    self.down_since = Some(at);
                    self.connect(at, &mut actions);
                }
            }
            Event::Opened => {}
            Event::Text(text) => {
                let message = wire::server_message(text);
                self.message(at, message, &mut actions);
            }
            Event::Bytes(bytes) => {
                let message = codec::decode_with(bytes, wire::server_message)
                    .map_err(|error| error.to_string());
                self.message(at, message, &mut actions);
            }
            Event::Improved(transport) => self.fallback.improve(transport, at),
            Event::ProbeFailed => self.fallback.probe_failed(at),
            Event::Crowded => {
                self.fallback.crowded();
                actions.push(Action::Close);
                self.connect(at, &mut actions);
            }
            Event::Closed { code, reason } => self.closed(at, code, reason, &mut actions),
            Event::Wake => self.wake(at, &mut actions),
            Event::Nudge => match &mut self.link {
                Link::Waiting { .. } => self.connect(at, &mut actions),
                Link::Open(open) => ping(open, at, &mut actions),
                Link::Idle | Link::Opening { .. } => {}
            },
            Event::Network { online } => {
                let back = online && !self.online;
                self.online = online;
                if back {
                    self.fallback.network_changed(at);
                }
                if back && matches!(self.link, Link::Waiting { .. }) {
                    self.connect(at, &mut actions);
                }
            }
            Event::Probed(diagnosis) => {
                if matches!(self.link, Link::Open(_)) {
                    // Too late to matter.
                } else if diagnosis == Some(Diagnosis::NoUpgrade) && self.fallback.server_is_well()
                {
                    self.diagnosis = None;
                    if !matches!(self.link, Link::Idle) {
                        actions.push(Action::Close);
                        self.connect(at, &mut actions);
                    }
                } else {
                    self.diagnosis = diagnosis;
                }
            }
        }
        let view = self.view(at);
        if view != self.shown {
            self.shown = view.clone();
            actions.push(Action::Show(view));
        }
        actions
    }

    /// When [`Event::Wake`] is wanted, unless something else happens before.
    #[must_use]
    pub fn wake_at(&self, at: f64) -> Option<f64> {
        let counting = at + COUNT_EVERY_MS;
        match &self.link {
            Link::Idle => None,
            Link::Opening { since } => {
                let timeout = since + CONNECT_TIMEOUT_MS;
                Some(if self.shown.connection.is_lost() {
                    timeout.min(counting)
                } else {
                    timeout
                })
            }
            Link::Waiting { retry_at } => Some(retry_at.min(counting)),
            Link::Open(open) => {
                let limit = self.silence_ms_max();
                let quiet = match open.ping_sent_at {
                    None => open.frame_at + limit / 2.0,
                    Some(sent_at) => (open.frame_at + limit).max(sent_at + PING_GRACE_MS),
                };
                let probe_at = self.fallback.probe_at().unwrap_or(f64::INFINITY);
                let next = quiet.min(open.ping_next_at).min(probe_at);
                Some(match self.shown.connection {
                    Connection::Stale { .. } => next.min(counting),
                    // One millisecond later, so that the comparison is sure to see it.
                    _ => self.stale_at().map_or(next, |stale| next.min(stale + 1.0)),
                })
            }
        }
    }

    /// A connection on which nothing at all arrives for this long is dead.
    fn silence_ms_max(&self) -> f64 {
        let floor = if self.fallback.transport().is_socket() {
            5_000.0
        } else {
            DEAF_SILENCE_MS_MAX
        };
        (3.0 * self.interval_ms).max(floor)
    }

    /// Older figures are not called live: two intervals. Where those are short the eye could
    /// not follow the word any more, and half a second is as new as anything is to a reader.
    fn fresh_ms_max(&self) -> f64 {
        (2.0 * self.interval_ms).max(500.0)
    }

    /// When, by our clock, the newest figure stops being fresh.
    fn stale_at(&self) -> Option<f64> {
        self.newest_ms
            .filter(|_| !self.sourceless)
            .map(|newest| newest - self.clock.offset_ms() + self.fresh_ms_max())
    }

    fn connect(&mut self, at: f64, actions: &mut Vec<Action>) {
        self.link = Link::Opening { since: at };
        actions.push(Action::Connect(
            self.fallback.transport(),
            self.cursor.clone(),
        ));
    }

    /// The connection is gone, or never came to be: try again later.
    fn lose(&mut self, at: f64, delay_ms_min: f64, actions: &mut Vec<Action>) {
        let mut doubtful = false;
        match &self.link {
            Link::Open(open) => {
                self.down_since = Some(at);
                self.recovery = None;
                if at - open.since >= GOOD_AFTER_MS {
                    self.backoff.reset();
                }
            }
            Link::Opening { since } if at - since >= CONNECT_TIMEOUT_MS => {
                doubtful = self.fallback.on_timeout();
            }
            Link::Opening { .. } => doubtful = self.fallback.on_failure(),
            Link::Idle | Link::Waiting { .. } => {}
        }
        let young = self.down_since.is_none_or(|since| at - since < YOUNG_MS);
        let cap_ms = if young { CAP_YOUNG_MS } else { CAP_MS };
        let delay = to_f64(self.backoff.next_ms(cap_ms)).max(delay_ms_min);
        self.link = Link::Waiting {
            retry_at: at + delay,
        };
        // The second failure in a row is no blip; later ones are asked about now and then,
        // since the reason may have changed.
        let attempt = self.backoff.attempt();
        if doubtful || attempt == 2 || attempt.is_multiple_of(5) {
            actions.push(Action::Probe);
        }
    }

    fn closed(&mut self, at: f64, code: u16, reason: &str, actions: &mut Vec<Action>) {
        if matches!(self.link, Link::Idle | Link::Waiting { .. }) {
            return;
        }
        // What the close code asks for: patience from a server that is full or refuses us.
        let delay_ms_min = match code {
            1008 | 1013 => 5_000.0,
            _ => 0.0,
        };
        self.lose(at, delay_ms_min, actions);
        // A server that stops spreads its viewers' return; what it says is taken literally.
        if let (Some(retry_ms), Link::Waiting { retry_at }) = (retry_ms(reason), &mut self.link)
            && code == 1012
        {
            *retry_at = at + retry_ms;
        }
        if delay_ms_min > 0.0 {
            self.diagnosis = Some(Diagnosis::Closed {
                code,
                reason: reason.to_owned(),
            });
        }
    }

    fn wake(&mut self, at: f64, actions: &mut Vec<Action>) {
        let limit = self.silence_ms_max();
        match &mut self.link {
            Link::Idle => {}
            Link::Opening { since } => {
                if at - *since >= CONNECT_TIMEOUT_MS {
                    actions.push(Action::Close);
                    self.lose(at, 0.0, actions);
                }
            }
            Link::Waiting { retry_at } => {
                if at >= *retry_at {
                    self.connect(at, actions);
                }
            }
            Link::Open(open) => {
                if let Some(transport) = self.fallback.probe_better(at) {
                    actions.push(Action::ProbeBetter(transport, self.cursor.clone()));
                }
                let quiet_ms = at - open.frame_at;
                let ignored = open
                    .ping_sent_at
                    .is_some_and(|sent_at| at - sent_at >= PING_GRACE_MS);
                if quiet_ms >= limit && ignored {
                    actions.push(Action::Close);
                    self.lose(at, 0.0, actions);
                } else if at >= open.ping_next_at
                    || (quiet_ms >= limit / 2.0 && open.ping_sent_at.is_none())
                {
                    ping(open, at, actions);
                }
            }
        }
    }

    fn message(
        &mut self,
        at: f64,
        message: Result<ServerMessage, String>,
        actions: &mut Vec<Action>,
    ) {
        let message = match message {
            Ok(message) => message,
            Err(error) => {
                self.counts.unreadable += 1;
                if let Link::Opening { .. } = self.link {
                    actions.push(Action::Close);
                    if self.fallback.unreadable() {
                        // Something on the way may have damaged it.
                        self.connect(at, actions);
                    } else {
                        // Not ours, whatever carries it: this is some other server.
                        self.diagnosis = Some(Diagnosis::Unreadable(error));
                        self.lose(at, 5_000.0, actions);
                    }
                }
                return;
            }
        };
        if let Link::Open(open) = &mut self.link {
            open.frame_at = at;
        }
        match message {
            ServerMessage::Initial(snapshot) => self.snapshot(at, snapshot, true, actions),
            ServerMessage::Resumed(snapshot) => self.snapshot(at, snapshot, false, actions),
            ServerMessage::Metrics(tick) => self.tick(at, tick, actions),
            ServerMessage::Merged(merged) => self.merged(at, &merged, actions),
            ServerMessage::Pong { timestamp } => {
                if let Link::Open(open) = &mut self.link
                    && let Some(sent_at) = open.ping_sent_at.take()
                {
                    #[expect(clippy::cast_precision_loss, reason = "Unix ms fit 2^53")]
                    let server_ms = timestamp.as_millis() as f64;
                    self.clock.observe_round_trip(sent_at, at, server_ms);
                }
            }
            ServerMessage::Subscribed { .. } | ServerMessage::Error { .. } => {}
        }
    }

    fn snapshot(&mut self, at: f64, snapshot: Snapshot, whole: bool, actions: &mut Vec<Action>) {
        let mut rows = rows(&snapshot.data);
        let known = self
            .cursor
            .as_ref()
            .filter(|cursor| cursor.epoch == snapshot.epoch && cursor.offset <= snapshot.offset)
            .map(|cursor| cursor.offset);
        let restarted = self.cursor.is_some() && known.is_none();

        let hole_ms = hole_ms(self.newest_ms, &rows, to_f64(snapshot.interval_ms.max(1)));
        let held = rows.len() as u64;
        let missed = known.map_or(held, |offset| snapshot.offset - offset);
        let fresh = missed.min(held);
        self.counts.ticks += fresh;
        if known.is_some() {
            self.counts.lost += missed - fresh;
        }

        if let Link::Opening { since } = self.link {
            self.fallback.on_frame(at);
            // Who polls, or changes the transport, gets snapshots without having lost anything.
            self.clock.clear();
            // Before the first connection there was none to be lost: the page brought its ticks.
            if known.is_some() && self.met {
                self.counts.recovered += fresh;
            }
            if self.met && (known.is_some() || (restarted && hole_ms > 0.0)) {
                self.recovery = Some(Recovery {
                    ticks: fresh,
                    lost: missed - fresh,
                    took_ms: whole_ms(at - since),
                    away_ms: whole_ms(self.down_since.map_or(0.0, |lost_at| at - lost_at)),
                    hole_ms: whole_ms(hole_ms),
                });
                self.unproven = fresh == 0;
            }
            self.met = true;
            self.link = Link::Open(Open {
                since: at,
                frame_at: at,
                ping_next_at: at + PING_EVERY_MS,
                ping_sent_at: None,
            });
        } else if restarted {
            // The log became another one under an open connection: what is not in it is missing,
            // as after a connection that was lost.
            self.recovery = (hole_ms > 0.0).then_some(Recovery {
                ticks: fresh,
                lost: missed - fresh,
                took_ms: 0,
                away_ms: whole_ms(hole_ms),
                hole_ms: whole_ms(hole_ms),
            });
            self.unproven = false;
        }
        self.down_since = None;
        self.diagnosis = None;
        self.sourceless = snapshot.interval_ms == 0;
        self.interval_ms = if self.sourceless {
            INTERVAL_MS_DEFAULT
        } else {
            to_f64(snapshot.interval_ms)
        };
        if restarted {
            self.clock.clear();
            self.newest_ms = None;
        }
        self.observe_sent(at, snapshot.sent_ms);
        if let Some(newest) = rows.last() {
            self.newest_ms = Some(newest.t_ms);
        }
        self.cursor = Some(Cursor {
            epoch: snapshot.epoch,
            offset: snapshot.offset,
        });

        if self.sourceless {
            // Figures of a run that had a source are not those of now.
        } else if whole {
            actions.push(Action::Apply(Update::Window {
                rows,
                window: snapshot.window,
                interval_ms: snapshot.interval_ms,
                restarted,
            }));
        } else {
            let repeated = rows.len() - usize::try_from(fresh).unwrap_or(rows.len());
            self.counts.repeated += repeated as u64;
            rows.drain(..repeated);
            if !rows.is_empty() {
                actions.push(Action::Apply(Update::Rows(rows)));
            }
        }
    }

    fn tick(&mut self, at: f64, tick: Tick, actions: &mut Vec<Action>) {
        if !self.advance(at, &tick.epoch, tick.offset, tick.offset, actions) {
            return;
        }
        self.observe_sent(at, tick.sent_ms);
        self.counts.ticks += 1;
        #[expect(clippy::cast_precision_loss, reason = "Unix ms fit 2^53")]
        let mut row = Row {
            t_ms: tick.sampled_ms as f64,
            values: [f64::NAN; 4],
        };
        for metric in &tick.data {
            if let Some(index) = built_in(metric) {
                row.values[index] = metric.value;
            }
        }
        row.without_waiting();
        if std::mem::take(&mut self.unproven)
            && let Some(recovery) = &mut self.recovery
        {
            let hole_ms = hole_ms(self.newest_ms, &[row], self.interval_ms);
            recovery.hole_ms = recovery.hole_ms.max(whole_ms(hole_ms));
        }
        self.newest_ms = Some(row.t_ms);
        actions.push(Action::Apply(Update::Rows(vec![row])));
        #[expect(clippy::cast_precision_loss, reason = "Unix ms fit 2^53")]
        actions.push(Action::Timed(Timing {
            sampled_ms: row.t_ms,
            sent_ms: tick.sent_ms as f64,
            arrived_ms: at + self.clock.offset_ms(),
        }));
    }

    fn merged(&mut self, at: f64, merged: &Merged, actions: &mut Vec<Action>) {
        let (first, last) = (merged.first_offset, merged.last_offset);
        if !self.advance(at, &merged.epoch, first, last, actions) {
            return;
        }
        let ticks = (last + 1).saturating_sub(first);
        self.counts.ticks += ticks;
        self.counts.merged += ticks;
        // The extremes stand at the moment of the newest; the page marks the whole stretch.
        let mut rows = [[f64::NAN; 4]; 3];
        let mut t_ms = self.newest_ms.unwrap_or(0.0);
        for series in &merged.data {
            if let Some(metric) =
                BuiltIn::from_name(&series.name).filter(|_| series.labels.is_empty())
            {
                // Of nothing there is no least and no greatest.
                let real = |end: f64| if series.count > 0 { end } else { f64::NAN };
                rows[0][metric.index()] = real(series.min);
                rows[1][metric.index()] = real(series.max);
                rows[2][metric.index()] = series.last;
                #[expect(clippy::cast_precision_loss, reason = "Unix ms fit 2^53")]
                let timestamp = series.timestamp.as_millis() as f64;
                t_ms = t_ms.max(timestamp);
            }
        }
        self.newest_ms = Some(t_ms);
        actions.push(Action::Apply(Update::Merged {
            rows: rows.map(|values| Row { t_ms, values }),
            ticks,
        }));
    }

    /// Moves the cursor over the ticks `first..=last`; false when they are not news.
    fn advance(
        &mut self,
        at: f64,
        epoch: &str,
        first: u64,
        last: u64,
        actions: &mut Vec<Action>,
    ) -> bool {
        match &mut self.cursor {
            Some(cursor) if cursor.epoch == epoch && matches!(self.link, Link::Open(_)) => {
                if last <= cursor.offset {
                    self.counts.repeated += 1;
                    return false;
                }
                self.counts.lost += first.saturating_sub(cursor.offset + 1);
                cursor.offset = last;
                true
            }
            // A tick of another log, or before any snapshot: begin anew.
            _ => {
                self.cursor = None;
                actions.push(Action::Close);
                self.lose(at, 0.0, actions);
                false
            }
        }
    }

    fn observe_sent(&mut self, at: f64, sent_ms: i64) {
        #[expect(clippy::cast_precision_loss, reason = "Unix ms fit 2^53")]
        self.clock.observe(at, sent_ms as f64);
    }

    fn view(&self, at: f64) -> View {
        let lost_s = || whole_s(self.down_since.map_or(0.0, |since| at - since));
        let connection = match &self.link {
            Link::Idle => Connection::Connecting,
            Link::Opening { .. } if !self.met && self.backoff.attempt() == 0 => {
                Connection::Connecting
            }
            Link::Opening { .. } => Connection::Lost {
                attempt: self.backoff.attempt(),
                retry_in_s: None,
                lost_s: lost_s(),
            },
            Link::Waiting { retry_at } => Connection::Lost {
                attempt: self.backoff.attempt(),
                // Rounded up: "in 0 s" would be a lie for most of that second.
                retry_in_s: Some(whole_s(retry_at - at + 999.0)),
                lost_s: lost_s(),
            },
            // What is pushed comes all the same.
            Link::Open(_) if self.sourceless => Connection::Live,
            Link::Open(_) => match (self.newest_ms, self.stale_at()) {
                (Some(newest), Some(stale_at)) if at > stale_at => Connection::Stale {
                    age_s: whole_s(at + self.clock.offset_ms() - newest).max(1),
                },
                (Some(_), _) => Connection::Live,
                _ => Connection::Waiting,
            },
        };
        View {
            connection,
            online: self.online,
            diagnosis: self.diagnosis.clone(),
            recovery: self.recovery.filter(|_| !self.unproven),
            sourceless: self.sourceless,
            transport: self.fallback.transport(),
            counts: self.counts,
        }
    }
}

fn ping(open: &mut Open, at: f64, actions: &mut Vec<Action>) {
    open.ping_next_at = at + PING_EVERY_MS;
    open.ping_sent_at.get_or_insert(at);
    actions.push(Action::Send(ClientMessage::Ping));
}

/// How long nothing was measured between `newest` and the last of `rows`, all stretches together. A
/// tick that is late by an interval or two is no stretch.
fn hole_ms(newest: Option<f64>, rows: &[Row], interval_ms: f64) -> f64 {
    let mut hole = 0.0;
    let mut before = newest.unwrap_or(f64::INFINITY);
    for row in rows {
        let wait = row.t_ms - before;
        if wait <= 0.0 {
            continue;
        }
        if wait > GAP_INTERVALS * interval_ms {
            hole += wait;
        }
        before = row.t_ms;
    }
    hole
}

/// Samples, oldest tick first, put together again into ticks: a new one begins where the time
/// changes or a metric would stand before the one before it.
fn rows(data: &[Metric]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::with_capacity(data.len() / 4 + 1);
    let mut index_before = usize::MAX;
    for metric in data {
        let Some(index) = built_in(metric) else {
            continue;
        };
        #[expect(clippy::cast_precision_loss, reason = "Unix ms fit 2^53")]
        let t_ms = metric.timestamp.as_millis() as f64;
        match rows.last_mut() {
            Some(row) if row.t_ms == t_ms && index > index_before => {
                row.values[index] = metric.value;
            }
            _ => {
                let mut row = Row {
                    t_ms,
                    values: [f64::NAN; 4],
                };
                row.values[index] = metric.value;
                rows.push(row);
            }
        }
        index_before = index;
    }
    rows.iter_mut().for_each(Row::without_waiting);
    rows
}

/// The column of a sample: only the built-in four, and only without labels.
fn built_in(metric: &Metric) -> Option<usize> {
    BuiltIn::from_name(&metric.name)
        .filter(|_| metric.labels.is_empty())
        .map(BuiltIn::index)
        .filter(|index| *index < BUILT_IN.len())
}

#[expect(clippy::cast_precision_loss, reason = "intervals and delays are small")]
const fn to_f64(ms: u64) -> f64 {
    ms as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped at 0, and a float cast saturates"
)]
const fn whole_ms(ms: f64) -> u64 {
    ms.max(0.0) as u64
}

const fn whole_s(ms: f64) -> u64 {
    whole_ms(ms / 1000.0)
}

#[cfg(test)]
mod tests;
