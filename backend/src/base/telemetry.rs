//! This server's own counters, rendered for `GET /metrics` in the Prometheus text format.
//!
//! Gauges of things that come and go are kept as two counters (opened, closed): a gauge lies
//! between scrapes, the counters do not.

use pulseboard_feed::Counters;
use std::sync::Arc;
use std::{
    fmt::Write as _,
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

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
];

/// Upper bounds of the request duration histogram, in seconds.
const DURATION_BUCKETS_S: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

/// All counters. Relaxed atomics: each figure is right, two of them may be a moment apart.
#[derive(Debug, Default)]
pub struct Telemetry {
    requests: AtomicU64,
    requests_failed: AtomicU64,
    request_nanos: AtomicU64,
    request_buckets: [AtomicU64; DURATION_BUCKETS_S.len() + 1],
    status_classes: [AtomicU64; 5],
    streams_opened: [AtomicU64; STREAM_KINDS.len()],
    streams_closed: [AtomicU64; STREAM_KINDS.len()],
    limits: [AtomicU64; LIMITS.len()],
    /// What the feeds count.
    pub feed: Arc<Counters>,
    /// Messages read from WebSocket clients.
    pub messages_received: AtomicU64,
    /// Ticks made.
    pub ticks: AtomicU64,
    /// When the newest was made, by the steady clock; 0 before the first.
    pub ticked_ms: AtomicI64,
    /// Ticks skipped because the server was late.
    pub ticks_skipped: AtomicU64,
    /// Alert sendings, firing and resolved.
    pub alerts_sent: AtomicU64,
    /// StatsD datagrams read.
    pub statsd_datagrams: AtomicU64,
    /// Of these, dropped since too many waited to be added up.
    pub statsd_dropped: AtomicU64,
    /// Lines of them that were taken.
    pub statsd_lines: AtomicU64,
    /// Handlers and tasks that panicked; each ended alone.
    pub panics: AtomicU64,
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
        self.requests.fetch_add(1, Relaxed);
        if status >= 500 {
            self.requests_failed.fetch_add(1, Relaxed);
        }
        if let Some(class) = self
            .status_classes
            .get(usize::from(status / 100).wrapping_sub(1))
        {
            class.fetch_add(1, Relaxed);
        }
        self.request_nanos
            .fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        let seconds = took.as_secs_f64();
        let bucket = DURATION_BUCKETS_S
            .iter()
            .position(|bound| seconds <= *bound)
            .unwrap_or(DURATION_BUCKETS_S.len());
        self.request_buckets[bucket].fetch_add(1, Relaxed);
    }

    /// The totals so far.
    #[must_use]
    pub fn answered(&self) -> RequestTotals {
        RequestTotals {
            requests: self.requests.load(Relaxed),
            errors: self.requests_failed.load(Relaxed),
            latency: Duration::from_nanos(self.request_nanos.load(Relaxed)),
        }
    }

    /// Counts a stream that was opened.
    pub fn count_opened(&self, kind: StreamKind) {
        self.streams_opened[kind as usize].fetch_add(1, Relaxed);
    }

    /// Counts a stream that ended.
    pub fn count_closed(&self, kind: StreamKind) {
        self.streams_closed[kind as usize].fetch_add(1, Relaxed);
    }

    /// Streams of a kind that are open now.
    #[must_use]
    pub fn open(&self, kind: StreamKind) -> u64 {
        let closed = self.streams_closed[kind as usize].load(Relaxed);
        self.streams_opened[kind as usize]
            .load(Relaxed)
            .saturating_sub(closed)
    }

    /// Counts that a bound was hit.
    pub fn count_limit(&self, limit: Limit) {
        self.limits[limit as usize].fetch_add(1, Relaxed);
    }

    /// The Prometheus text exposition format, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(4096);
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        let mut plain = |name: &str, kind: &str, help: &str, value: u64| {
            write_head(&mut text, name, kind, help);
            line(&mut text, name, "", value);
        };
        plain(
            "pulseboard_ticks_total",
            "counter",
            "Ticks of the built-in source.",
            load(&self.ticks),
        );
        plain(
            "pulseboard_ticks_skipped_total",
            "counter",
            "Ticks skipped because the server was late.",
            load(&self.ticks_skipped),
        );
        plain(
            "pulseboard_frames_sent_total",
            "counter",
            "Frames written to stream clients.",
            load(&self.feed.frames_sent),
        );
        plain(
            "pulseboard_stream_bytes_sent_total",
            "counter",
            "Bytes written to stream clients.",
            load(&self.feed.bytes_sent),
        );
        plain(
            "pulseboard_frames_skipped_total",
            "counter",
            "Frames merged into one for clients that were too slow.",
            load(&self.feed.frames_skipped),
        );
        plain(
            "pulseboard_messages_received_total",
            "counter",
            "Messages read from WebSocket clients.",
            load(&self.messages_received),
        );
        plain(
            "pulseboard_alerts_sent_total",
            "counter",
            "Alerts published, firing and resolved.",
            load(&self.alerts_sent),
        );
        plain(
            "pulseboard_statsd_datagrams_total",
            "counter",
            "StatsD datagrams read.",
            load(&self.statsd_datagrams),
        );
        plain(
            "pulseboard_statsd_datagrams_dropped_total",
            "counter",
            "StatsD datagrams dropped since too many waited to be added up.",
            load(&self.statsd_dropped),
        );
        plain(
            "pulseboard_statsd_lines_total",
            "counter",
            "Lines of StatsD datagrams that were taken.",
            load(&self.statsd_lines),
        );
        plain(
            "pulseboard_panics_total",
            "counter",
            "Requests or connections that ended in a panic, each alone.",
            load(&self.panics) + load(&self.feed.panics),
        );

        write_head(
            &mut text,
            "pulseboard_http_responses_total",
            "counter",
            "HTTP requests answered, by status class; streams are not counted.",
        );
        for (class, counter) in self.status_classes.iter().enumerate() {
            let labels = format!("{{status=\"{}xx\"}}", class + 1);
            line(
                &mut text,
                "pulseboard_http_responses_total",
                &labels,
                load(counter),
            );
        }
        self.render_durations(&mut text);

        for (name, help, counters) in [
            (
                "pulseboard_streams_opened_total",
                "Streams opened, by kind.",
                &self.streams_opened,
            ),
            (
                "pulseboard_streams_closed_total",
                "Streams ended, by kind.",
                &self.streams_closed,
            ),
        ] {
            write_head(&mut text, name, "counter", help);
            for (kind, counter) in STREAM_KINDS.iter().zip(counters) {
                line(
                    &mut text,
                    name,
                    &format!("{{kind=\"{}\"}}", kind.as_str()),
                    load(counter),
                );
            }
        }
        write_head(
            &mut text,
            "pulseboard_streams_open",
            "gauge",
            "Streams open now, by kind.",
        );
        for kind in STREAM_KINDS {
            let labels = format!("{{kind=\"{}\"}}", kind.as_str());
            line(
                &mut text,
                "pulseboard_streams_open",
                &labels,
                self.open(kind),
            );
        }
        write_head(
            &mut text,
            "pulseboard_limit_hits_total",
            "counter",
            "Refused or ended at a bound, by bound.",
        );
        for &(limit, name) in LIMITS {
            let labels = format!("{{limit=\"{name}\"}}");
            line(
                &mut text,
                "pulseboard_limit_hits_total",
                &labels,
                match limit {
                    Limit::FeedLogs => load(&self.feed.logs_shortened),
                    limit => load(&self.limits[limit as usize]),
                },
            );
        }
        text
    }

    fn render_durations(&self, text: &mut String) {
        const NAME: &str = "pulseboard_http_request_duration_seconds";
        write_head(
            text,
            NAME,
            "histogram",
            "Time to answer HTTP requests; streams are not counted.",
        );
        let mut count = 0;
        for (index, counter) in self.request_buckets.iter().enumerate() {
            count += counter.load(Relaxed);
            let bound = DURATION_BUCKETS_S
                .get(index)
                .map_or("+Inf".to_owned(), ToString::to_string);
            line(
                text,
                &format!("{NAME}_bucket"),
                &format!("{{le=\"{bound}\"}}"),
                count,
            );
        }
        let seconds = self.answered().latency.as_secs_f64();
        line(text, &format!("{NAME}_sum"), "", seconds);
        line(text, &format!("{NAME}_count"), "", count);
    }
}

/// Writes the `# HELP` and `# TYPE` lines of a metric.
pub fn write_head(text: &mut String, name: &str, kind: &str, help: &str) {
    line(text, &format!("# HELP {name}"), "", help);
    line(text, &format!("# TYPE {name}"), "", kind);
}

/// Writes one sample line.
pub fn line(text: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    if writeln!(text, "{name}{labels} {value}").is_err() {
        debug_assert!(false, "a String refused a line");
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
        let text = telemetry.render();
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
