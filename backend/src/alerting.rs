//! Alerts: rules watched at every tick, incidents with a beginning and an end, and the feed that
//! carries their sendings.

mod feed;
mod rule;
mod state;

pub use feed::{AlertPayload, AlertView};
pub use rule::{Rule, default_rules};
pub use state::Watch;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use pulseboard_shared::{Alert, AlertState};
use uuid::Uuid;

use crate::{
    feed::{Bounds, Epoch, Fanout, Feed},
    telemetry::Telemetry,
    window::Tick,
};

/// Alerts that can be replayed to a stream that was away. None is merged: a stream is moved on
/// only past what is no longer held.
const ALERT_LOG: Bounds = Bounds {
    frames: 1_000,
    bytes: usize::MAX,
    lag: 1_000,
};

/// The rules, what they are doing, and what was sent.
pub struct Alerts {
    /// Changed by the ticker alone; leaf lock.
    watches: Mutex<Vec<Watch>>,
    /// The newest sending of each incident that goes on, by incident (which sorts by its time).
    active: Mutex<BTreeMap<Uuid, Alert>>,
    feed: Arc<Feed<AlertPayload>>,
    telemetry: Arc<Telemetry>,
}

impl Alerts {
    /// All rules inactive. A firing rule is sent again no more often than `repeat`.
    #[must_use]
    pub fn new(
        epoch: Epoch,
        rules: impl IntoIterator<Item = Rule>,
        repeat: Duration,
        telemetry: Arc<Telemetry>,
        fanout: &Fanout,
    ) -> Arc<Self> {
        let watches = rules
            .into_iter()
            .map(|rule| Watch::new(rule, repeat))
            .collect();
        Arc::new(Self {
            watches: Mutex::new(watches),
            active: Mutex::default(),
            feed: Feed::new(epoch, ALERT_LOG, fanout),
            telemetry,
        })
    }

    /// Lets every rule see a tick, and sends what follows from it. Returns what was sent.
    pub fn observe(&self, tick: &Tick) -> Vec<Alert> {
        let sent: Vec<Alert> = {
            let mut watches = self.watches.lock();
            watches
                .iter_mut()
                .filter_map(|watch| watch.observe(tick))
                .collect()
        };
        for alert in &sent {
            self.publish(alert.clone());
        }
        sent
    }

    fn publish(&self, alert: Alert) {
        match alert.state {
            AlertState::Firing => self.active.lock().insert(alert.incident, alert.clone()),
            AlertState::Resolved => self.active.lock().remove(&alert.incident),
        };
        self.telemetry.alerts_sent.fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            alert.rule = alert.rule,
            alert.incident = %alert.incident,
            alert.state = ?alert.state,
            "alert {:?}: {}",
            alert.state,
            alert.message,
        );
        self.feed
            .append(AlertPayload::new(self.feed.epoch(), alert));
    }

    /// The newest sending of each incident that goes on, oldest incident first.
    #[must_use]
    pub fn active(&self) -> Vec<Alert> {
        self.active.lock().values().cloned().collect()
    }

    /// The feed of sendings.
    #[must_use]
    pub fn feed(&self) -> &Arc<Feed<AlertPayload>> {
        &self.feed
    }
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alerts")
            .field("active", &self.active().len())
            .finish_non_exhaustive()
    }
}
