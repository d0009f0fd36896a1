//! Alerts in this server: rules over ticks, the feed that carries what they send, and how that is
//! written into an event stream or to who follows it on a socket.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use pulseboard_alerting::{ALERTS_KEPT, AlertEvent, AlertSink, Manager, Query, Rule};
use pulseboard_bus::{Bus, FeedSink, Subscription};
use pulseboard_feed::{
    At, Bounds, Epoch, Fanout, Feed, Frame, NotPortable, Payload, Portable, portable,
    wire::{self, Framing},
};
use pulseboard_shared::{
    Alert, AlertState, BuiltIn, Labels,
    protocol::{alerts::RESOLVED_EVENT, follow::FeedName},
};

use uuid::Uuid;

use crate::{
    base::{json::json_text, telemetry::Telemetry},
    cluster::voice::{ALERT_VERSION, Said, Voice, alert_frame, alerts_key},
    ticks::window::Tick,
};

/// Texts of what can be replayed: of alerts with very long ones fewer are kept.
const LOG_BYTES_MAX: usize = 16 << 20;

/// Alerts that can be replayed to a stream that was away. None is merged: a stream is moved on
/// only past what is no longer held.
const ALERT_LOG: Bounds = Bounds {
    frames: ALERTS_KEPT,
    bytes: LOG_BYTES_MAX,
    lag: ALERTS_KEPT,
};

/// The rules over ticks, and the feed of what they send.
#[derive(Debug)]
pub struct Alerts {
    manager: Manager,
    feed: Arc<Feed<AlertPayload>>,
    /// Where other servers have the feed, too.
    _shared: Option<Subscription>,
}

/// Puts what is sent into the feed; where other servers have it too, over the bus.
struct IntoFeed {
    feed: Arc<Feed<AlertPayload>>,
    shared: Option<(Arc<dyn Bus>, Arc<Voice>)>,
    sent: Counter,
}

/// Puts what comes from the bus into the feed.
struct FromBus {
    feed: Arc<Feed<AlertPayload>>,
    /// Of the newest run of the feed, the first offset that the one before it did not have.
    unseen_from: Arc<AtomicU64>,
    /// How many were held when this server began to go on alone: they stand before what comes.
    ahead: AtomicU64,
}

impl FromBus {
    /// Has the feed told what other servers send, too.
    fn begin(feed: &Arc<Feed<AlertPayload>>, bus: &Arc<dyn Bus>) -> Subscription {
        bus.subscribe(alerts_key(), Arc::new(Self::new(feed)))
    }

    fn new(feed: &Arc<Feed<AlertPayload>>) -> Self {
        let unseen_from = Arc::<AtomicU64>::default();
        let first = Arc::clone(&unseen_from);
        // Whoever watches goes on with what it has not had: an alert is nothing to be missed.
        feed.restart_with(move |held, _, view| {
            let first = first.load(Ordering::SeqCst);
            let unseen = held.iter().filter(|frame| frame.offset() >= first);
            Bytes::from(
                unseen
                    .flat_map(|frame| frame.encoded(view))
                    .collect::<Vec<u8>>(),
            )
        });
        Self {
            feed: Arc::clone(feed),
            unseen_from,
            ahead: AtomicU64::default(),
        }
    }

    fn read(frame: &Bytes) -> Option<AlertPayload> {
        let form = portable::of_version(ALERT_VERSION, frame);
        let read = form.and_then(|form| AlertPayload::from_bytes(form).ok());
        if read.is_none() {
            tracing::warn!("an alert of another server cannot be read here");
        }
        read
    }
}

impl FeedSink for FromBus {
    fn append(&self, epoch: Epoch, offset: u64, frame: Bytes) {
        if let Some(payload) = Self::read(&frame) {
            let offset = offset + self.ahead.load(Ordering::SeqCst);
            self.feed.append_at(At { epoch, offset }, payload);
        }
    }

    fn reset(&self, epoch: Epoch, first_offset: u64, frames: Vec<Bytes>) {
        let had: HashSet<Uuid> = self.feed.with_log(|log| {
            let ids = log.frames().map(|frame| frame.payload().event().alert.id);
            ids.collect()
        });
        let end = first_offset + frames.len() as u64;
        let read = frames.iter().map(Self::read);
        // One that cannot be read leaves a gap, behind which the log begins.
        let mut payloads: Vec<AlertPayload> = Vec::new();
        for payload in read {
            match payload {
                Some(payload) => payloads.push(payload),
                None => payloads.clear(),
            }
        }
        let first = end - payloads.len() as u64;
        let is_unseen = |payload: &AlertPayload| !had.contains(&payload.event().alert.id);
        // Behind the last one that was had: what came before that was told, or is too old.
        let seen = payloads.iter().rposition(|payload| !is_unseen(payload));
        let unseen_from = match seen {
            Some(seen) => first + seen as u64 + 1,
            None if had.is_empty() => end,
            None => first,
        };
        self.unseen_from.store(unseen_from, Ordering::SeqCst);
        self.ahead.store(0, Ordering::SeqCst);
        self.feed.reset(epoch, first, payloads);
    }

    /// What can be replayed can be replayed under the own epoch, too, and was told.
    fn reset_alone(&self, epoch: Epoch, first_offset: u64) {
        let held: Vec<AlertPayload> = self.feed.with_log(|log| {
            let frames = log.frames();
            let events = frames.map(|frame| frame.payload().event().clone());
            events.map(AlertPayload).collect()
        });
        let count = held.len() as u64;
        self.unseen_from
            .store(first_offset + count, Ordering::SeqCst);
        self.ahead.store(count, Ordering::SeqCst);
        self.feed.reset(epoch, first_offset, held);
    }
}

impl AlertSink for IntoFeed {
    fn publish(&self, offset: u64, event: &AlertEvent) {
        self.sent.inc();
        let Some((bus, voice)) = &self.shared else {
            let epoch = self.feed.epoch();
            let payload = AlertPayload(event.clone());
            self.feed.append_at(At { epoch, offset }, payload);
            return;
        };
        if let Err(refused) = bus.publish(&alerts_key(), None, alert_frame(event)) {
            tracing::error!(%refused, rule = event.alert.rule, "an alert was not told to viewers");
        }
        let now_ms = event.alert.timestamp.as_millis();
        voice.say(now_ms, Said::Event(Box::new(event.clone())));
    }

    fn publish_sent(&self, _offset: u64, _event: &AlertEvent) {
        self.sent.inc();
    }
}

/// What alerts go to other servers by, and how they are told.
type OverBus = (Arc<dyn Bus>, Arc<Voice>);

impl Alerts {
    /// All rules inactive. A firing rule is sent again no more often than `repeat`. `before` hears
    /// of an alert before any viewer does (what is shown is to be kept), `after` when they have it.
    #[must_use]
    pub fn new(
        epoch: Epoch,
        rules: impl IntoIterator<Item = Rule>,
        repeat: Duration,
        before: Option<Arc<dyn AlertSink>>,
        after: Vec<Arc<dyn AlertSink>>,
        telemetry: &Telemetry,
        (fanout, shared): (&Fanout, Option<OverBus>),
    ) -> Arc<Self> {
        let feed = Feed::new(epoch, ALERT_LOG, fanout);
        let into_feed = IntoFeed {
            feed: Arc::clone(&feed),
            shared: shared.clone(),
            sent: telemetry.counter(
                "pulseboard_alerts_sent",
                "Alerts published, firing and resolved.",
            ),
        };
        let sinks = before
            .into_iter()
            .chain([Arc::new(into_feed) as Arc<dyn AlertSink>])
            .chain(after)
            .collect();
        Arc::new(Self {
            manager: Manager::new(rules, repeat, sinks),
            _shared: shared.map(|(bus, _)| FromBus::begin(&feed, &bus)),
            feed,
        })
    }

    /// Goes on where a run before this one ended: what can be replayed, and incidents that had
    /// not ended. Before anything is published.
    pub fn restore(
        &self,
        sent: impl IntoIterator<Item = (u64, AlertEvent)>,
        active: impl IntoIterator<Item = AlertEvent>,
    ) {
        let mut sent = sent.into_iter().peekable();
        if let Some((first, _)) = sent.peek() {
            self.feed.begin_at(*first);
        }
        for (_, event) in sent {
            self.feed.append(AlertPayload(event));
        }
        let next = self.feed.next_offset();
        self.manager.restore(next, active);
    }

    /// Lets every rule see a tick, and sends what follows from it.
    pub fn observe(&self, tick: &OwnTick<'_>) {
        self.manager.observe(tick);
    }

    /// Counts an `error` that a tenant tracked, and sends what follows from it.
    pub fn count_error(&self, tenant: &str, now_ms: i64) {
        self.manager.count_error(tenant, now_ms);
    }

    /// Lets the error rates see that time goes on; called about once a second.
    pub fn observe_time(&self, now_ms: i64) {
        self.manager.observe_time(now_ms);
    }

    /// The rules, and what goes on by them.
    #[must_use]
    pub fn manager(&self) -> &Manager {
        &self.manager
    }

    /// The newest alert of each incident that goes on and that this tenant may see, oldest incident
    /// first.
    #[must_use]
    pub fn active(&self, tenant: &str) -> Vec<Alert> {
        self.manager.active(tenant)
    }

    /// What a restart has to know: events that can be replayed with their offsets, and the
    /// incidents that go on.
    #[must_use]
    pub fn state(&self) -> (Vec<(u64, AlertEvent)>, Vec<AlertEvent>) {
        let (active, sent) = self.manager.with_active(|| self.held());
        (sent, active)
    }

    /// Events that can be replayed, with their offsets. Waits for no incident, so that a sink of
    /// the bus may ask.
    #[must_use]
    pub fn held(&self) -> Vec<(u64, AlertEvent)> {
        self.feed.with_log(|log| {
            log.frames()
                .map(|frame| (frame.offset(), frame.payload().event().clone()))
                .collect()
        })
    }

    /// The feed of what is sent.
    #[must_use]
    pub fn feed(&self) -> &Arc<Feed<AlertPayload>> {
        &self.feed
    }
}

/// What a server measured itself, as rules look at it.
#[derive(Clone, Copy, Debug)]
pub struct OwnTick<'a> {
    /// What was measured.
    pub tick: &'a Tick,
    /// Whose it is, where there are several servers.
    pub instance: Option<&'a str>,
}

impl Query for OwnTick<'_> {
    fn now_ms(&self) -> i64 {
        self.tick.sampled_ms
    }

    /// Where nobody asks, nobody waits: a latency that was high is over.
    fn newest(&self, metric: BuiltIn) -> f64 {
        match metric {
            BuiltIn::Latency if self.tick.is_idle() => 0.0,
            metric => self.tick.built_in(metric),
        }
    }

    fn labels(&self) -> Labels {
        let instance = self.instance.iter();
        instance
            .map(|instance| ("instance".to_owned(), (*instance).to_owned()))
            .collect()
    }
}

/// An alert in the feed.
#[derive(Debug)]
pub struct AlertPayload(pub AlertEvent);

impl AlertPayload {
    /// What was sent and whose it is.
    #[must_use]
    pub fn event(&self) -> &AlertEvent {
        &self.0
    }
}

/// Who watches, and how the stream is framed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertView {
    /// Whose alerts, besides the server's own.
    pub tenant: Arc<str>,
    /// The framing.
    pub wire: Framing,
}

impl Payload for AlertPayload {
    type View = AlertView;

    fn held_bytes(&self) -> usize {
        self.0.bytes()
    }

    fn encode(&self, at: At, view: &AlertView) -> Bytes {
        let Self(event) = self;
        if !event.is_for(&view.tenant) {
            return Bytes::new();
        }
        let name = match event.alert.state {
            AlertState::Firing => None,
            AlertState::Resolved => Some(RESOLVED_EVENT),
        };
        let id = at.id().to_string();
        let json = json_text(&event.alert);
        wire::event(view.wire, FeedName::Alerts, name, Some(&id), &json)
    }

    /// A stream that fell behind the whole log gets what the log still has: alerts are not merged.
    fn merge(held: &[Arc<Frame<Self>>], _first: u64, _last: u64, view: &AlertView) -> Bytes {
        Bytes::from(
            held.iter()
                .flat_map(|frame| frame.encoded(view))
                .collect::<Vec<u8>>(),
        )
    }
}

impl Portable for AlertPayload {
    fn to_bytes(&self) -> Vec<u8> {
        portable::write(&self.0)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, NotPortable> {
        portable::read(bytes).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulseboard_alerting::{Detail, RuleState, default_rules};
    use pulseboard_shared::{Labels, Severity, Timestamp, codec::Encoding};

    use super::*;
    use crate::ticks::window::built_in_series;

    fn event(number: u128) -> AlertEvent {
        AlertEvent {
            tenant: None,
            alert: Alert {
                id: Uuid::from_u128(number),
                message: "hot".to_owned(),
                severity: Severity::High,
                timestamp: Timestamp::from_millis(1_000),
                incident: Uuid::from_u128(number),
                rule: "cpu_high".to_owned(),
                state: AlertState::Firing,
                value: 95.0,
                threshold: 90.0,
                started: Timestamp::from_millis(1_000),
                labels: Labels::default(),
            },
            detail: None,
        }
    }

    #[test]
    fn what_can_be_replayed_can_be_while_alone_and_is_not_told_anew() {
        let fanout = Fanout::start(1, &Arc::default()).expect("a thread");
        let feed = Feed::new(Epoch(1), ALERT_LOG, &fanout);
        let sink = FromBus::new(&feed);
        let frame = |number| {
            let form = AlertPayload(event(number)).to_bytes();
            portable::versioned(ALERT_VERSION, &form)
        };
        let held = || -> Vec<(u64, u128)> {
            feed.with_log(|log| {
                let frames = log.frames();
                let ids =
                    frames.map(|one| (one.offset(), one.payload().event().alert.id.as_u128()));
                ids.collect()
            })
        };
        sink.reset(Epoch(5), 7, vec![frame(1), frame(2)]);
        sink.append(Epoch(5), 9, frame(3));
        // Without Redis: its own count begins with 1.
        sink.reset_alone(Epoch(90), 1);
        assert_eq!(feed.epoch(), Epoch(90));
        assert_eq!(held(), [(1, 1), (2, 2), (3, 3)]);
        let unseen = || sink.unseen_from.load(Ordering::SeqCst);
        assert_eq!(unseen(), 4, "all of it was told");
        sink.append(Epoch(90), 1, frame(4));
        assert_eq!(held(), [(1, 1), (2, 2), (3, 3), (4, 4)]);
        // The others are there again, and have heard of it; one of theirs is new here.
        let all = [1, 2, 3, 4, 5].map(frame);
        sink.reset(Epoch(100), 7, all.to_vec());
        assert_eq!(unseen(), 11);
        sink.append(Epoch(100), 12, frame(6));
        assert_eq!(held().last(), Some(&(12, 6)));
    }

    #[test]
    fn a_high_latency_is_over_once_nobody_asks() {
        let [_, _, latency] = default_rules();
        let mut state = RuleState::new(latency, Duration::from_secs(10));
        let mut observe = |second: i64, requests: f64, latency: f64| {
            let tick = Tick {
                sampled_ms: second * 1000,
                sent_ms: second * 1000,
                series: built_in_series().collect(),
                values: [0.0, 0.0, requests, latency].into(),
                pushed: Arc::default(),
            };
            state.observe(&OwnTick {
                tick: &tick,
                instance: None,
            })
        };
        assert!(observe(1, 3.0, 120.0).is_some());
        assert_eq!(observe(2, 3.0, f64::NAN), None, "asked, and not measured");
        let ended = observe(3, 0.0, f64::NAN).map(|alert| alert.state);
        assert_eq!(ended, Some(AlertState::Resolved));
    }

    proptest! {
        #[test]
        fn what_was_read_back_looks_the_same(
            (epoch, offset, id, incident) in any::<(u64, u64, u128, u128)>(),
            (message, rule) in any::<(String, String)>(),
            (at_ms, started_ms) in (0..4_000_000_000_000_i64, 0..4_000_000_000_000_i64),
            (value, threshold) in (-1e9..1e9, -1e9..1e9),
            (is_over, has_tenant, severity) in (any::<bool>(), any::<bool>(), 0..5_usize),
            labels in prop::collection::btree_map("[a-z]{1,8}", any::<String>(), 0..3),
            expr in any::<Option<String>>(),
        ) {
            let detail = expr.map(|expr| Arc::new(Detail {
                rule_id: "pulseboard/cpu_high".to_owned(),
                expr,
                annotations: labels.clone(),
            }));
            let severities = ["low", "medium", "warning", "high", "critical"];
            let alert = Alert {
                id: Uuid::from_u128(id),
                message,
                severity: severities[severity].parse::<Severity>().expect("one of ours"),
                timestamp: Timestamp::from_millis(at_ms),
                incident: Uuid::from_u128(incident),
                rule,
                state: if is_over { AlertState::Resolved } else { AlertState::Firing },
                value,
                threshold,
                started: Timestamp::from_millis(started_ms),
                labels: Labels::from_iter(labels),
            };
            let tenant = has_tenant.then(|| "shop".into());
            let payload = AlertPayload(AlertEvent { tenant, alert, detail });
            let at = At { epoch: Epoch(epoch), offset };
            let read = AlertPayload::from_bytes(&payload.to_bytes()).expect("it is one");
            prop_assert_eq!(read.event(), payload.event());
            for wire in [
                Framing::WebSocket(Encoding::Json),
                Framing::WebSocket(Encoding::Binary),
                Framing::SseChunked,
                Framing::SsePlain,
            ] {
                for tenant in ["shop", "other"] {
                    let view = AlertView { tenant: tenant.into(), wire };
                    prop_assert_eq!(read.encode(at, &view), payload.encode(at, &view));
                }
            }
        }
    }
}
