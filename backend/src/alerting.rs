//! Alerts: rules watched at every tick, incidents with a beginning and an end, and the feed that
//! carries their sendings.

mod error_rate;
mod feed;
mod rule;
mod state;

use error_rate::ErrorRate;
pub use feed::{AlertPayload, AlertView};
pub use rule::{ERROR_RATE, Rule, Watched, default_rules};
pub use state::Watch;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use pulseboard_shared::{Alert, AlertState};
use uuid::Uuid;

use crate::{
    base::telemetry::Telemetry,
    feed::{Bounds, Epoch, Fanout, Feed},
    storage::journal::{Journal, KeptAlert},
    ticks::window::Tick,
};

/// Sendings that are kept, in memory and across a restart.
pub const ALERTS_KEPT: usize = 1_000;

/// Alerts that can be replayed to a stream that was away. None is merged: a stream is moved on
/// only past what is no longer held.
const ALERT_LOG: Bounds = Bounds {
    frames: ALERTS_KEPT,
    bytes: usize::MAX,
    lag: ALERTS_KEPT,
};

/// The rules, what they are doing, and what was sent.
pub struct Alerts {
    /// Of the server's own rules; changed by the ticker alone. Leaf lock.
    watches: Mutex<Vec<Watch>>,
    /// Of each tenant that has tracked an `error` lately. Leaf lock.
    error_rates: Mutex<HashMap<Arc<str>, ErrorRate>>,
    /// The newest sending of each incident that goes on, by incident (which sorts by its time).
    /// Held while a sending is published, so that journal and feed have one order.
    active: Mutex<BTreeMap<Uuid, KeptAlert>>,
    feed: Arc<Feed<AlertPayload>>,
    journal: Option<Arc<Journal>>,
    repeat: Duration,
    telemetry: Arc<Telemetry>,
}

impl Alerts {
    /// All rules inactive. A firing rule is sent again no more often than `repeat`.
    #[must_use]
    pub fn new(
        epoch: Epoch,
        rules: impl IntoIterator<Item = Rule>,
        repeat: Duration,
        journal: Option<Arc<Journal>>,
        telemetry: Arc<Telemetry>,
        fanout: &Fanout,
    ) -> Arc<Self> {
        let watches = rules
            .into_iter()
            .map(|rule| Watch::new(rule, repeat))
            .collect();
        Arc::new(Self {
            watches: Mutex::new(watches),
            error_rates: Mutex::default(),
            active: Mutex::default(),
            feed: Feed::new(epoch, ALERT_LOG, fanout),
            journal,
            repeat,
            telemetry,
        })
    }

    /// Goes on where a run before this one ended: what can be replayed, and incidents that had
    /// not ended. Before anything is published.
    pub fn restore(
        &self,
        sent: impl IntoIterator<Item = (u64, KeptAlert)>,
        active: impl IntoIterator<Item = KeptAlert>,
    ) {
        let mut sent = sent.into_iter().peekable();
        if let Some((first, _)) = sent.peek() {
            self.feed.begin_at(*first);
        }
        for (_, kept) in sent {
            self.feed.append(AlertPayload::new(self.feed.epoch(), kept));
        }
        for kept in active {
            match &kept.tenant {
                None => {
                    let mut watches = self.watches.lock();
                    // A rule that is no more cannot end its incident: it is forgotten.
                    let Some(watch) = watches
                        .iter_mut()
                        .find(|watch| watch.rule().name == kept.alert.rule)
                    else {
                        continue;
                    };
                    watch.restore(&kept.alert);
                }
                Some(tenant) => {
                    let mut rates = self.error_rates.lock();
                    let rate = rates
                        .entry(Arc::clone(tenant))
                        .or_insert_with(|| ErrorRate::new(self.repeat));
                    rate.restore(&kept.alert);
                }
            }
            self.active.lock().insert(kept.alert.incident, kept);
        }
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
            self.publish(KeptAlert {
                tenant: None,
                alert: alert.clone(),
            });
        }
        sent
    }

    /// Counts an `error` that a tenant tracked; returns what was sent because of it.
    pub fn count_error(&self, tenant: &str, now_ms: i64) -> Option<KeptAlert> {
        let sent = {
            let mut rates = self.error_rates.lock();
            if !rates.contains_key(tenant) {
                rates.insert(tenant.into(), ErrorRate::new(self.repeat));
            }
            rates
                .get_key_value(tenant)
                .map(|(name, _)| Arc::clone(name))
                .zip(rates.get_mut(tenant).and_then(|rate| rate.count(now_ms)))
        };
        let (tenant, alert) = sent?;
        Some(self.send(tenant, alert))
    }

    /// Lets the error rates see that time goes on; called about once a second. Returns what was
    /// sent.
    pub fn observe_time(&self, now_ms: i64) -> Vec<KeptAlert> {
        let mut due = Vec::new();
        self.error_rates.lock().retain(|tenant, rate| {
            if let Some(alert) = rate.look(now_ms) {
                due.push((Arc::clone(tenant), alert));
            }
            !rate.is_over()
        });
        due.into_iter()
            .map(|(tenant, alert)| self.send(tenant, alert))
            .collect()
    }

    fn send(&self, tenant: Arc<str>, alert: Alert) -> KeptAlert {
        let kept = KeptAlert {
            tenant: Some(tenant),
            alert,
        };
        self.publish(kept.clone());
        kept
    }

    fn publish(&self, kept: KeptAlert) {
        let mut active = self.active.lock();
        let alert = &kept.alert;
        match alert.state {
            AlertState::Firing => active.insert(alert.incident, kept.clone()),
            AlertState::Resolved => active.remove(&alert.incident),
        };
        self.telemetry.alerts_sent.fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            alert.rule = alert.rule,
            alert.incident = %alert.incident,
            alert.state = ?alert.state,
            alert.tenant = kept.tenant.as_deref(),
            "alert {:?}: {}",
            alert.state,
            alert.message,
        );
        if let Some(journal) = &self.journal {
            let offset = self.feed.with_log(|log| log.next_offset());
            journal.alert(offset, kept.clone());
        }
        self.feed.append(AlertPayload::new(self.feed.epoch(), kept));
    }

    /// The newest sending of each incident that goes on and that this tenant may see, oldest
    /// incident first.
    #[must_use]
    pub fn active(&self, tenant: &str) -> Vec<Alert> {
        let active = self.active.lock();
        active
            .values()
            .filter(|kept| kept.is_for(tenant))
            .map(|kept| kept.alert.clone())
            .collect()
    }

    /// What a restart has to know: sendings that can be replayed with their offsets, and the
    /// incidents that go on.
    #[must_use]
    pub fn state(&self) -> (Vec<(u64, KeptAlert)>, Vec<KeptAlert>) {
        let active = self.active.lock();
        let sent = self.feed.with_log(|log| {
            log.frames()
                .map(|frame| (frame.offset(), frame.payload().kept().clone()))
                .collect()
        });
        (sent, active.values().cloned().collect())
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
            .field("active", &self.active.lock().len())
            .finish_non_exhaustive()
    }
}
