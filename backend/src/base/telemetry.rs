//! This server's own counters, for `GET /metrics`.
//!
//! A counter is declared where it is counted, by [`Telemetry::counter`], and is then in the answer;
//! those that several parts of the server count are fields here. Tables by kind and by bound, and
//! what the fan-out counts, are plain atomics that are read when somebody asks.
//!
//! Gauges of things that come and go are kept as two counters (opened, closed): a gauge lies
//! between scrapes, the counters do not.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector, encoding::DescriptorEncoder, metrics::counter::Counter,
    registry::Registry,
};
use pulseboard_feed::Counters;

use super::exposition::{Families, Format};

/// The kinds of streams, in the order of the arrays of [`Telemetry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// `GET /ws/metrics`.
    WsMetrics,
    /// `GET /events/alerts`.
    SseAlerts,
    /// `GET /api/metrics/stream`.
    SseOperator,
    /// `GET /ws/control`.
    WsControl,
    /// `GET /ws`.
    WsRooms,
    /// `GET /ws/chat`.
    WsChat,
    /// `GET /events/metrics`.
    SseMetrics,
    /// `GET /dashboard/stream`.
    SseDashboard,
}

const STREAM_KINDS: [StreamKind; 8] = [
    StreamKind::WsMetrics,
    StreamKind::SseAlerts,
    StreamKind::SseOperator,
    StreamKind::WsControl,
    StreamKind::WsRooms,
    StreamKind::WsChat,
    StreamKind::SseMetrics,
    StreamKind::SseDashboard,
];

impl StreamKind {
    /// The label value in `/metrics` and in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WsMetrics => "ws_metrics",
            Self::SseAlerts => "sse_alerts",
            Self::SseOperator => "sse_operator",
            Self::WsControl => "ws_control",
            Self::WsRooms => "ws_rooms",
            Self::WsChat => "ws_chat",
            Self::SseMetrics => "sse_metrics",
            Self::SseDashboard => "sse_dashboard",
        }
    }
}

/// Why something was refused or ended; each is a counter, so no bound is hit in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// A stream past `MAX_CONNECTIONS`.
    Connections,
    /// A stream past the limit of one address.
    ConnectionsPerAddress,
    /// A stream past the limit of one token.
    ConnectionsPerToken,
    /// A TCP connection past what the open-file limit allows.
    Sockets,
    /// A WebSocket message past `MAX_MESSAGE_BYTES`.
    MessageBytes,
    /// A client that sent messages faster than allowed.
    MessageRate,
    /// A client that did not read before the write deadline.
    WriteDeadline,
    /// A client that did not answer pings.
    IdleDeadline,
    /// A room past the limit of one client.
    Rooms,
    /// A request body past its limit.
    BodyBytes,
    /// A login or token guess past its rate.
    LoginRate,
    /// A session that went for a newer one.
    Sessions,
    /// A ticket past what one address may leave unused.
    Tickets,
    /// A browser origin that is not allowed.
    Origin,
    /// A body that found no memory left for unpacking.
    BodyBudget,
    /// Samples that the disk did not take.
    Storage,
    /// Names of pushed series past what is looked up at each tick, or their samples.
    Subscriptions,
    /// A question past those that are answered at once.
    Questions,
    /// A selector watched past somebody's share, or its compiled patterns.
    Watches,
    /// A tenant past those that there may be.
    Tenants,
    /// A body past what one caller may send at once.
    BodyShare,
    /// A stream past what one tenant may have.
    ConnectionsPerTenant,
    /// A tenant's window shortened, or its new series refused, since it has more than its part.
    TenantMemory,
    /// A question past its time.
    QueryTimeout,
    /// A question past the samples that it may load.
    QuerySamples,
    /// An answer past the bytes that may wait for those who do not read.
    AnswerBytes,
    /// Frames that went since the logs of all feeds held too much.
    FeedLogs,
    /// A tenant's list of series that come and go, past those that one caller may have made.
    Catalogs,
    /// What was pushed to a group, past what is remembered.
    PushGroups,
    /// A handshake of TLS that was not done in time.
    HandshakeDeadline,
}

const LIMITS: &[(Limit, &str)] = &[
    (Limit::Connections, "connections"),
    (Limit::ConnectionsPerAddress, "connections_per_address"),
    (Limit::ConnectionsPerToken, "connections_per_token"),
    (Limit::Sockets, "sockets"),
    (Limit::MessageBytes, "message_bytes"),
    (Limit::MessageRate, "message_rate"),
    (Limit::WriteDeadline, "write_deadline"),
    (Limit::IdleDeadline, "idle_deadline"),
    (Limit::Rooms, "rooms"),
    (Limit::BodyBytes, "body_bytes"),
    (Limit::LoginRate, "login_rate"),
    (Limit::Sessions, "sessions"),
    (Limit::Tickets, "tickets"),
    (Limit::Origin, "origin"),
    (Limit::BodyBudget, "body_budget"),
    (Limit::Storage, "storage"),
    (Limit::Subscriptions, "subscriptions"),
    (Limit::Questions, "questions"),
    (Limit::Watches, "watches"),
    (Limit::Tenants, "tenants"),
    (Limit::BodyShare, "body_share"),
    (Limit::ConnectionsPerTenant, "connections_per_tenant"),
    (Limit::TenantMemory, "tenant_memory"),
    (Limit::QueryTimeout, "query_timeout"),
    (Limit::QuerySamples, "query_samples"),
    (Limit::AnswerBytes, "answer_bytes"),
    (Limit::FeedLogs, "feed_logs"),
    (Limit::Catalogs, "catalogs"),
    (Limit::PushGroups, "push_groups"),
    (Limit::HandshakeDeadline, "handshake_deadline"),
];

/// Upper bounds of the request duration histogram, in seconds.
const DURATION_BUCKETS_S: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

/// What is counted by kind or by bound, and what the feeds count.
#[derive(Debug, Default)]
struct Tables {
    requests: AtomicU64,
    requests_failed: AtomicU64,
    request_nanos: AtomicU64,
    request_buckets: [AtomicU64; DURATION_BUCKETS_S.len() + 1],
    status_classes: [AtomicU64; 5],
    streams_opened: [AtomicU64; STREAM_KINDS.len()],
    streams_closed: [AtomicU64; STREAM_KINDS.len()],
    limits: [AtomicU64; LIMITS.len()],
    feed: Arc<Counters>,
    panics: Counter,
}

/// Counters that are declared one by one. Leaf lock.
#[derive(Debug, Default)]
struct Registered {
    registry: Registry,
    counters: BTreeMap<&'static str, Counter>,
}

/// All counters. Relaxed atomics: each figure is right, two of them may be a moment apart.
#[derive(Debug)]
pub struct Telemetry {
    registered: Mutex<Registered>,
    tables: Arc<Tables>,
    /// What the feeds count.
    pub feed: Arc<Counters>,
    /// Messages read from WebSocket clients.
    pub messages_received: Counter,
    /// Ticks made.
    pub ticks: Counter,
    /// When the newest was made, by the steady clock; 0 before the first.
    pub ticked_ms: AtomicI64,
    /// Ticks skipped because the server was late.
    pub ticks_skipped: Counter,
    /// StatsD datagrams read.
    pub statsd_datagrams: Counter,
    /// Of these, dropped since too many waited to be added up.
    pub statsd_dropped: Counter,
    /// Lines of them that were taken.
    pub statsd_lines: Counter,
    /// Lines of Graphite's plaintext that were taken.
    pub graphite_lines: Counter,
    /// Datagrams of such lines dropped since too many waited.
    pub graphite_dropped: Counter,
    /// Handlers and tasks that panicked; each ended alone.
    pub panics: Counter,
}

/// What was answered so far; two of them make the traffic between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestTotals {
    /// HTTP requests answered; streams are not requests.
    pub requests: u64,
    /// Of these, with a 5xx status.
    pub errors: u64,
    /// Time taken to answer them, in all.
    pub latency: Duration,
}

impl Telemetry {
    /// Counts one answered request.
    pub fn count_request(&self, status: u16, took: Duration) {
        self.tables.requests.fetch_add(1, Relaxed);
        if status >= 500 {
            self.tables.requests_failed.fetch_add(1, Relaxed);
        }
        if let Some(class) = self
            .tables
            .status_classes
            .get(usize::from(status / 100).wrapping_sub(1))
        {
            class.fetch_add(1, Relaxed);
        }
        self.tables
            .request_nanos
            .fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        let seconds = took.as_secs_f64();
        let bucket = DURATION_BUCKETS_S
            .iter()
            .position(|bound| seconds <= *bound)
            .unwrap_or(DURATION_BUCKETS_S.len());
        self.tables.request_buckets[bucket].fetch_add(1, Relaxed);
    }

    /// The totals so far.
    #[must_use]
    pub fn answered(&self) -> RequestTotals {
        self.tables.answered()
    }

    /// Counts a stream that was opened.
    pub fn count_opened(&self, kind: StreamKind) {
        self.tables.streams_opened[kind as usize].fetch_add(1, Relaxed);
    }

    /// Counts a stream that ended.
    pub fn count_closed(&self, kind: StreamKind) {
        self.tables.streams_closed[kind as usize].fetch_add(1, Relaxed);
    }

    /// Streams of a kind that are open now.
    #[must_use]
    pub fn open(&self, kind: StreamKind) -> u64 {
        self.tables.open(kind)
    }

    /// Counts that a bound was hit.
    pub fn count_limit(&self, limit: Limit) {
        self.tables.limits[limit as usize].fetch_add(1, Relaxed);
    }

    /// A counter of this name (without `_total`) and help (a sentence), declared where it is
    /// counted; it is in `GET /metrics` from now on. Who asks again for a name gets the same one.
    #[must_use]
    pub fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        let mut registered = self.registered.lock();
        if let Some(known) = registered.counters.get(name) {
            return known.clone();
        }
        let counter = Counter::default();
        // The registry adds the full stop.
        let help = help.strip_suffix('.').unwrap_or(help);
        registered.registry.register(name, help, counter.clone());
        registered.counters.insert(name, counter.clone());
        counter
    }

    /// Appends every figure that is counted here.
    ///
    /// # Errors
    /// A figure cannot be written in this format.
    pub fn write(&self, format: Format, into: &mut String) -> fmt::Result {
        format.write(&self.registered.lock().registry, into)
    }

    /// Every figure that is counted here, as `GET /metrics` has it.
    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.write(Format::Text, &mut text).expect("written");
        text
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        let tables = Arc::new(Tables::default());
        let mut registered = Registered::default();
        let collector = Box::new(Arc::clone(&tables));
        registered.registry.register_collector(collector);
        let feed = Arc::clone(&tables.feed);
        let panics = tables.panics.clone();
        let mut this = Self {
            registered: Mutex::new(registered),
            tables,
            feed,
            ticked_ms: AtomicI64::new(0),
            panics,
            messages_received: Counter::default(),
            ticks: Counter::default(),
            ticks_skipped: Counter::default(),
            statsd_datagrams: Counter::default(),
            statsd_dropped: Counter::default(),
            statsd_lines: Counter::default(),
            graphite_lines: Counter::default(),
            graphite_dropped: Counter::default(),
        };
        this.messages_received = this.counter(
            "pulseboard_messages_received",
            "Messages read from WebSocket clients.",
        );
        this.ticks = this.counter("pulseboard_ticks", "Ticks of the built-in source.");
        this.ticks_skipped = this.counter(
            "pulseboard_ticks_skipped",
            "Ticks skipped because the server was late.",
        );
        this.statsd_datagrams =
            this.counter("pulseboard_statsd_datagrams", "StatsD datagrams read.");
        this.statsd_dropped = this.counter(
            "pulseboard_statsd_datagrams_dropped",
            "StatsD datagrams dropped since too many waited to be added up.",
        );
        this.statsd_lines = this.counter(
            "pulseboard_statsd_lines",
            "Lines of StatsD datagrams that were taken.",
        );
        this.graphite_lines = this.counter(
            "pulseboard_graphite_lines",
            "Lines of Graphite's plaintext that were taken.",
        );
        this.graphite_dropped = this.counter(
            "pulseboard_graphite_datagrams_dropped",
            "Datagrams of Graphite's plaintext dropped since too many waited.",
        );
        this
    }
}

/// What is read from plain atomics when somebody asks.
impl Collector for Tables {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        let mut families = Families::new(encoder);
        families.counter(
            "pulseboard_frames_sent",
            "Frames written to stream clients.",
            load(&self.feed.frames_sent),
        )?;
        families.counter(
            "pulseboard_stream_bytes_sent",
            "Bytes written to stream clients.",
            load(&self.feed.bytes_sent),
        )?;
        families.counter(
            "pulseboard_frames_skipped",
            "Frames merged into one for clients that were too slow.",
            load(&self.feed.frames_skipped),
        )?;
        families.counter(
            "pulseboard_panics",
            "Requests or connections that ended in a panic, each alone.",
            self.panics.get() + load(&self.feed.panics),
        )?;
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter();
        families.counters(
            "pulseboard_http_responses",
            "HTTP requests answered, by status class; streams are not counted.",
            classes
                .zip(&self.status_classes)
                .map(|(class, counter)| ([("status", class)], load(counter))),
        )?;
        let bounds = DURATION_BUCKETS_S.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.request_buckets.iter().map(load)).collect();
        families.histogram(
            "pulseboard_http_request_duration_seconds",
            "Time to answer HTTP requests; streams are not counted.",
            self.answered().latency.as_secs_f64(),
            buckets.iter().map(|(_, count)| count).sum(),
            &buckets,
        )?;
        for (name, help, counters) in [
            (
                "pulseboard_streams_opened",
                "Streams opened, by kind.",
                &self.streams_opened,
            ),
            (
                "pulseboard_streams_closed",
                "Streams ended, by kind.",
                &self.streams_closed,
            ),
        ] {
            let kinds = STREAM_KINDS.iter().zip(counters);
            let of_kind = kinds.map(|(kind, counter)| ([("kind", kind.as_str())], load(counter)));
            families.counters(name, help, of_kind)?;
        }
        families.gauges(
            "pulseboard_streams_open",
            "Streams open now, by kind.",
            STREAM_KINDS
                .iter()
                .map(|kind| ([("kind", kind.as_str())], self.open(*kind))),
        )?;
        let limits = LIMITS.iter().map(|(limit, name)| {
            let hits = match limit {
                Limit::FeedLogs => &self.feed.logs_shortened,
                limit => &self.limits[*limit as usize],
            };
            ([("limit", *name)], load(hits))
        });
        families.counters(
            "pulseboard_limit_hits",
            "Refused or ended at a bound, by bound.",
            limits,
        )
    }
}

impl Tables {
    fn answered(&self) -> RequestTotals {
        RequestTotals {
            requests: self.requests.load(Relaxed),
            errors: self.requests_failed.load(Relaxed),
            latency: Duration::from_nanos(self.request_nanos.load(Relaxed)),
        }
    }

    fn open(&self, kind: StreamKind) -> u64 {
        let closed = self.streams_closed[kind as usize].load(Relaxed);
        self.streams_opened[kind as usize]
            .load(Relaxed)
            .saturating_sub(closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_in_the_order_of_their_enums() {
        for (index, kind) in STREAM_KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
        for (index, (limit, _)) in LIMITS.iter().enumerate() {
            assert_eq!(*limit as usize, index);
        }
    }

    #[test]
    fn buckets_are_cumulative() {
        let telemetry = Telemetry::default();
        telemetry.count_request(200, Duration::from_millis(2));
        telemetry.count_request(503, Duration::from_secs(9));
        let text = telemetry.text();
        for expected in [
            "pulseboard_http_request_duration_seconds_bucket{le=\"0.001\"} 0\n",
            "pulseboard_http_request_duration_seconds_bucket{le=\"0.0025\"} 1\n",
            "pulseboard_http_request_duration_seconds_bucket{le=\"+Inf\"} 2\n",
            "pulseboard_http_responses_total{status=\"5xx\"} 1\n",
        ] {
            assert!(text.contains(expected), "{expected} is missing in {text}");
        }
    }
}
