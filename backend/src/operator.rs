//! The operator's figures and counters (`GET /api/metrics`), their stream, and the threshold that
//! outlives a restart.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_feed::{
    At, Bounds, Epoch, Fanout, Feed, Frame, NotPortable, Payload, Portable, portable,
    wire::{self, Framing},
};
use pulseboard_shared::{
    BuiltIn,
    protocol::{
        follow::FeedName,
        operator::{Figures, THRESHOLD_DEFAULT},
    },
};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{
    base::{
        documents::{DocumentError, Documents, Expected},
        json::json_text,
        telemetry::{StreamKind, Telemetry},
    },
    ticks::live::Live,
};

/// Ticks that a stream which was away can still get.
const FIGURES_LOG: Bounds = Bounds {
    frames: 1_024,
    bytes: usize::MAX,
    lag: 512,
};
/// The document that the threshold is kept in.
const DOCUMENT: &str = "operator";

/// Totals that can be reset, the threshold, and the stream of figures.
pub struct Operator {
    live: Arc<Live>,
    telemetry: Arc<Telemetry>,
    /// Leaf lock.
    state: Mutex<State>,
    /// Where the threshold is kept. The lock makes storing and setting one step.
    documents: Mutex<Arc<Documents>>,
    feed: Arc<Feed<OperatorPayload>>,
    /// Control sockets that are open on other servers.
    control_elsewhere: AtomicU64,
    /// Something was changed that other servers are to know of.
    changed: Notify,
}

#[derive(Clone, Copy, Debug)]
struct State {
    requests_total: u64,
    errors_total: u64,
    /// What was answered when the totals were last told of it; what came since is added when they
    /// are looked at. `None` where the totals are made up.
    counted: Option<(u64, u64)>,
    alert_threshold: f64,
    /// When that was set, Unix milliseconds; 0 before.
    set_ms: i64,
    /// The reset of the totals of all servers that is known here; 0 for none.
    reset_id: u64,
    /// Where several servers count together.
    shared: Option<Counted>,
}

/// Of what several servers count together.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    /// Of the totals, what the others do not know of yet.
    unsent: (u64, u64),
    /// The totals were reset here, and the others do not know.
    is_reset: bool,
}

/// The threshold as servers tell it each other: the one that was set last holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SharedThreshold {
    /// In percent.
    pub alert_threshold: f64,
    /// When it was set, Unix milliseconds; 0: never.
    pub set_ms: i64,
}

/// What the document holds.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    alert_threshold: f64,
    #[serde(default)]
    set_ms: i64,
    /// Totals that were kept before it are over.
    #[serde(default)]
    reset_id: u64,
}

impl Operator {
    /// Totals at 0, and the threshold that was stored, or the default. `counts` says whether the
    /// totals are of what this server answers; else [`add`](Self::add) alone makes them grow.
    #[must_use]
    pub fn new(
        (counts, is_shared): (bool, bool),
        live: Arc<Live>,
        telemetry: Arc<Telemetry>,
        documents: Arc<Documents>,
        epoch: Epoch,
        fanout: &Fanout,
    ) -> Self {
        let Stored {
            alert_threshold,
            set_ms,
            reset_id,
        } = load(&documents).unwrap_or(Stored {
            alert_threshold: THRESHOLD_DEFAULT,
            set_ms: 0,
            reset_id: 0,
        });
        let state = State {
            set_ms,
            reset_id,
            shared: is_shared.then(Counted::default),
            requests_total: 0,
            errors_total: 0,
            counted: counts.then(|| answered(&telemetry)),
            alert_threshold,
        };
        Self {
            live,
            telemetry,
            state: Mutex::new(state),
            documents: Mutex::new(documents),
            feed: Feed::new(epoch, FIGURES_LOG, fanout),
            control_elsewhere: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    /// Goes on where a run before this one ended: totals, and the offset of its newest tick.
    pub fn restore(&self, (requests, errors): (u64, u64), newest_offset: u64) {
        let mut state = self.state.lock();
        state.requests_total = requests;
        state.errors_total = errors;
        self.feed.begin_at(newest_offset + 1);
    }

    /// Requests and errors in all.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        let state = self.now();
        (state.requests_total, state.errors_total)
    }

    /// The state, with all that was answered until now.
    fn now(&self) -> State {
        let mut state = self.state.lock();
        if let Some(before) = state.counted {
            let now = answered(&self.telemetry);
            let since = |now: u64, before: u64| now.saturating_sub(before);
            state.add(since(now.0, before.0), since(now.1, before.1));
            state.counted = Some(now);
        }
        *state
    }

    /// Counts what was made up since the last tick.
    pub fn add(&self, requests: u64, errors: u64) {
        self.state.lock().add(requests, errors);
    }

    /// What other servers have not been told of; it counts as told from here on.
    pub fn take_unsent(&self) -> (u64, u64) {
        let _counted = self.now();
        let mut state = self.state.lock();
        let shared = state.shared.as_mut();
        shared.map_or((0, 0), |shared| std::mem::take(&mut shared.unsent))
    }

    /// Takes in what all servers have counted, without what is only on its way: totals never go
    /// down, but by a reset, of which `reset_id` names the newest. Whether that was not known.
    pub fn set_shared(
        &self,
        (requests, errors): (f64, f64),
        (own_requests, own_errors): (u64, u64),
        reset_id: Option<u64>,
    ) -> bool {
        // What was read as a floating point number is whole, and far below 2⁵³.
        let whole = |value: f64| value as u64;
        let mut state = self.state.lock();
        let shared = state.shared.unwrap_or_default();
        if shared.is_reset {
            // What was read is of before.
            return false;
        }
        let requests = whole(requests) + own_requests + shared.unsent.0;
        let errors = whole(errors) + own_errors + shared.unsent.1;
        match reset_id.filter(|id| *id != state.reset_id) {
            Some(id) => {
                state.reset_id = id;
                state.requests_total = requests;
                state.errors_total = errors;
                true
            }
            None => {
                state.requests_total = state.requests_total.max(requests);
                state.errors_total = state.errors_total.max(errors);
                false
            }
        }
    }

    /// Names a reset of the totals of all servers.
    #[must_use]
    pub fn next_reset(&self, now_ms: i64) -> u64 {
        let known = self.state.lock().reset_id;
        now_ms.unsigned_abs().max(known + 1)
    }

    /// Has the newest reset that is known outlive a restart. Blocks for the disk.
    ///
    /// # Errors
    /// It could not be stored.
    pub fn keep_reset(&self) -> Result<(), DocumentError> {
        let documents = self.documents.lock();
        let state = *self.state.lock();
        let stored = Stored {
            alert_threshold: state.alert_threshold,
            set_ms: state.set_ms,
            reset_id: state.reset_id,
        };
        documents.put(DOCUMENT, Expected::Any, &stored).map(drop)
    }

    /// Whether the totals were reset here since this was asked last.
    pub fn take_reset(&self) -> bool {
        let mut state = self.state.lock();
        let shared = state.shared.as_mut();
        shared.is_some_and(|shared| std::mem::take(&mut shared.is_reset))
    }

    /// The reset could not be told: it is to be told later.
    pub fn reset_again(&self) {
        let mut state = self.state.lock();
        if let Some(shared) = &mut state.shared {
            shared.is_reset = true;
        }
    }

    /// Something is to be told to other servers.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// How many control sockets other servers have open.
    pub fn set_control_elsewhere(&self, count: u64) {
        self.control_elsewhere.store(count, Ordering::Relaxed);
    }

    /// The threshold as it is told to other servers.
    #[must_use]
    pub fn shared_threshold(&self) -> SharedThreshold {
        let state = self.state.lock();
        SharedThreshold {
            alert_threshold: state.alert_threshold,
            set_ms: state.set_ms,
        }
    }

    /// Takes the threshold of another server, where that was set later. Blocks for the disk.
    ///
    /// # Errors
    /// As [`Self::set_threshold`].
    pub fn adopt(&self, threshold: SharedThreshold) -> Result<(), DocumentError> {
        let SharedThreshold {
            alert_threshold,
            set_ms,
        } = threshold;
        if !(0.0..=100.0).contains(&alert_threshold) || set_ms < self.shared_threshold().set_ms {
            return Ok(());
        }
        self.store(alert_threshold, set_ms)
    }

    /// Totals back to 0.
    pub fn reset(&self) {
        let mut state = self.state.lock();
        state.requests_total = 0;
        state.errors_total = 0;
        state.counted = state.counted.map(|_| answered(&self.telemetry));
        if let Some(shared) = &mut state.shared {
            *shared = Counted {
                unsent: (0, 0),
                is_reset: true,
            };
            self.changed.notify_one();
        }
    }

    /// Sets the threshold, in percent; stored before it holds.
    ///
    /// # Errors
    /// It could not be stored; nothing has changed.
    pub fn set_threshold(&self, percent: f64, now_ms: i64) -> Result<(), DocumentError> {
        // Later than what it takes the place of, whatever the clocks say.
        let set_ms = now_ms.max(self.shared_threshold().set_ms + 1);
        self.store(percent, set_ms)?;
        self.changed.notify_one();
        Ok(())
    }

    fn store(&self, percent: f64, set_ms: i64) -> Result<(), DocumentError> {
        let documents = self.documents.lock();
        let stored = Stored {
            alert_threshold: percent,
            set_ms,
            reset_id: self.state.lock().reset_id,
        };
        documents.put(DOCUMENT, Expected::Any, &stored)?;
        let mut state = self.state.lock();
        state.alert_threshold = percent;
        state.set_ms = set_ms;
        Ok(())
    }

    /// The six figures now.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let state = self.now();
        let newest = self.live.with_window(|window| window.newest().cloned());
        let value = |metric: BuiltIn| {
            newest
                .as_ref()
                .map(|tick| tick.built_in(metric))
                .filter(|value| value.is_finite())
                .unwrap_or(0.0)
        };
        Figures {
            cpu_percent: value(BuiltIn::Cpu),
            memory_percent: value(BuiltIn::Memory),
            requests_total: state.requests_total,
            errors_total: state.errors_total,
            active_connections: self.telemetry.open(StreamKind::WsControl)
                + self.control_elsewhere.load(Ordering::Relaxed),
            alert_threshold: state.alert_threshold,
        }
    }

    /// Sends the figures to who watches them; called at each tick.
    pub fn tell_tick(&self) {
        self.feed.append(OperatorPayload(self.figures()));
    }

    /// The same where the tick's place is the others', too: figures have that of their tick.
    pub fn tell_tick_at(&self, at: At) {
        self.feed.append_at(at, OperatorPayload(self.figures()));
    }

    /// Ticks go on under `epoch`, the next at offset `next`. Of those before nothing is known, and
    /// nothing is missed: the newest figures say it all.
    pub fn begin_anew(&self, epoch: Epoch, next: u64) {
        self.feed.reset(epoch, next, []);
    }

    /// The feed of figures.
    #[must_use]
    pub fn feed(&self) -> &Arc<Feed<OperatorPayload>> {
        &self.feed
    }
}

impl State {
    fn add(&mut self, requests: u64, errors: u64) {
        self.requests_total += requests;
        self.errors_total += errors;
        if let Some(shared) = &mut self.shared {
            shared.unsent.0 += requests;
            shared.unsent.1 += errors;
        }
    }
}

/// Requests and errors since the start of the process.
fn answered(telemetry: &Telemetry) -> (u64, u64) {
    let answered = telemetry.answered();
    (answered.requests, answered.errors)
}

/// None that is stored is a first start; one that makes no sense is said and passed over.
fn load(documents: &Documents) -> Option<Stored> {
    let (_, stored) = documents.get::<Stored>(DOCUMENT)?;
    let percent = stored.alert_threshold;
    if !(0.0..=100.0).contains(&percent) {
        tracing::warn!(
            percent,
            "the stored threshold is no percentage; the default holds"
        );
        return None;
    }
    Some(stored)
}

/// One tick's figures in the feed.
#[derive(Debug)]
pub struct OperatorPayload(Figures);

/// How the stream is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperatorView(pub Framing);

impl Payload for OperatorPayload {
    type View = OperatorView;

    fn encode(&self, at: At, view: &OperatorView) -> Bytes {
        let (Self(figures), id) = (self, at.id().to_string());
        let (feed, json) = (FeedName::Operator, json_text(figures));
        let metrics = wire::event(view.0, feed, Some("metrics"), Some(&id), &json);
        if figures.cpu_percent <= figures.alert_threshold {
            return metrics;
        }
        let text = format!("CPU usage at {:.1}%", figures.cpu_percent);
        let text = match view.0 {
            Framing::WebSocket(_) => json_text(&text),
            // An event stream has it plain.
            Framing::SseChunked | Framing::SsePlain => text,
        };
        let alert = wire::event(view.0, feed, Some("alert"), None, &text);
        Bytes::from([metrics, alert].concat())
    }

    /// Totals and newest values are all there is to know: the newest tick says it.
    fn merge(held: &[Arc<Frame<Self>>], _first: u64, _last: u64, view: &OperatorView) -> Bytes {
        held.last()
            .map(|frame| frame.encoded(view))
            .unwrap_or_default()
    }
}

impl Portable for OperatorPayload {
    fn to_bytes(&self) -> Vec<u8> {
        portable::write(&self.0)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, NotPortable> {
        portable::read(bytes).map(Self)
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator")
            .field("state", &*self.state.lock())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulseboard_shared::codec::Encoding;

    use super::*;
    use crate::base::clock::Clock;

    fn shared() -> Operator {
        let fanout = Fanout::start(1, &Arc::default()).expect("a thread");
        let telemetry = Arc::<Telemetry>::default();
        let clock = Clock::manual(0);
        let live = Live::new(Epoch(1), 10, 10, 1_000, clock, &telemetry, &fanout);
        let documents = Arc::new(Documents::in_memory());
        let of = (false, true);
        Operator::new(of, live, telemetry, documents, Epoch(1), &fanout)
    }

    #[test]
    fn totals_of_all_servers_go_down_by_a_reset_alone() {
        let operator = shared();
        operator.restore((100, 10), 0);
        // Not yet counted there, or counted and on its way.
        assert!(!operator.set_shared((90.0, 10.0), (0, 0), None));
        assert_eq!(operator.totals(), (100, 10));
        operator.add(5, 1);
        let taken = operator.take_unsent();
        assert!(!operator.set_shared((98.0, 10.0), taken, None));
        assert_eq!(operator.totals(), (105, 11));
        assert!(!operator.set_shared((98.0, 10.0), (0, 0), None));
        assert_eq!(operator.totals(), (105, 11), "they are on their way");
        assert!(!operator.set_shared((203.0, 11.0), (0, 0), None));
        assert_eq!(operator.totals(), (203, 11));
        // Another server has them begin anew: once.
        assert!(operator.set_shared((2.0, 0.0), (0, 0), Some(7)));
        assert_eq!(operator.totals(), (2, 0));
        assert!(!operator.set_shared((1.0, 0.0), (0, 0), Some(7)));
        assert_eq!(operator.totals(), (2, 0));
        // What is on its way when this one does is of before.
        operator.reset();
        assert!(!operator.set_shared((300.0, 30.0), (0, 0), Some(7)));
        assert_eq!(operator.totals(), (0, 0));
        assert!(operator.take_reset());
        let id = operator.next_reset(3);
        assert_eq!(id, 8, "none is named twice");
        assert!(operator.set_shared((1.0, 0.0), (0, 0), Some(id)));
        assert_eq!(operator.totals(), (1, 0));
        operator.keep_reset().expect("kept");
        let stored = load(&operator.documents.lock()).expect("it is stored");
        assert_eq!((stored.reset_id, stored.set_ms), (8, 0));
    }

    proptest! {
        #[test]
        fn what_was_read_back_looks_the_same(
            (cpu_percent, memory_percent, alert_threshold) in (0.0..100.0, 0.0..100.0, 0.0..100.0),
            (requests_total, errors_total, active_connections) in any::<(u64, u64, u64)>(),
            (epoch, offset) in any::<(u64, u64)>(),
        ) {
            let figures = Figures {
                cpu_percent,
                memory_percent,
                requests_total,
                errors_total,
                active_connections,
                alert_threshold,
            };
            let payload = OperatorPayload(figures);
            let at = At { epoch: Epoch(epoch), offset };
            let read = OperatorPayload::from_bytes(&payload.to_bytes()).expect("it is one");
            for framing in [
                Framing::WebSocket(Encoding::Json),
                Framing::WebSocket(Encoding::Binary),
                Framing::SseChunked,
                Framing::SsePlain,
            ] {
                let view = OperatorView(framing);
                prop_assert_eq!(read.encode(at, &view), payload.encode(at, &view));
            }
        }
    }
}
