//! The delivery log: what became of each notification, a line for each way out.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{config::WayName, notification::Notification};

/// Lines kept for each tenant.
pub const DELIVERIES: usize = 1000;
/// Tenants whose lines are kept.
const TENANTS: usize = 1024;
/// Alerts of a notification that are named in a line.
const FINGERPRINTS: usize = 50;

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// Not tried yet.
    Waiting,
    /// Tried in vain, and tried again.
    Retrying,
    /// It has arrived.
    Sent,
    /// Given up.
    Failed,
    /// Given up, and so is the receiver: it is no more.
    Gone,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Counts up; the same for all ways of one notification.
    pub number: u64,
    pub key: String,
    pub tenant: Arc<str>,
    pub receiver: String,
    /// Which of the receiver's ways out: `slack[0]`.
    pub way: WayName,
    pub group_key: String,
    pub group_labels: BTreeMap<String, String>,
    /// `firing` or `resolved`.
    pub status: String,
    /// How many alerts it tells of, and the fingerprints of the first 50.
    pub alerts: usize,
    pub fingerprints: Vec<String>,
    pub state: DeliveryState,
    pub tries: u32,
    /// Unix ms.
    pub created_ms: i64,
    /// When it came to this state, Unix ms.
    pub at_ms: i64,
    /// When it is tried again, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<i64>,
    /// What went wrong last, in words without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Delivery {
    pub(super) fn of(number: u64, way: &WayName, notification: &Notification) -> Self {
        let alerts = &notification.alerts;
        let named = alerts.iter().take(FINGERPRINTS);
        Self {
            number,
            key: notification.key.clone(),
            tenant: Arc::clone(&notification.tenant),
            receiver: notification.receiver.clone(),
            way: way.clone(),
            group_key: notification.group_key.clone(),
            group_labels: notification.group_labels.clone(),
            status: notification.status().as_str().to_owned(),
            alerts: alerts.len(),
            fingerprints: named.map(|alert| alert.fingerprint.clone()).collect(),
            state: DeliveryState::Waiting,
            tries: 0,
            created_ms: notification.created_ms,
            at_ms: notification.created_ms,
            next_ms: None,
            error: None,
        }
    }
}

/// What is done, by tenant.
#[derive(Debug, Default)]
pub(super) struct Deliveries(HashMap<Arc<str>, VecDeque<Delivery>>);

impl Deliveries {
    pub(super) fn add(&mut self, delivery: Delivery) {
        if !self.0.contains_key(&delivery.tenant) && self.0.len() >= TENANTS {
            let newest = |lines: &VecDeque<Delivery>| lines.back().map_or(0, |line| line.at_ms);
            let quietest = self.0.iter().min_by_key(|(_, lines)| newest(lines));
            if let Some(tenant) = quietest.map(|(tenant, _)| Arc::clone(tenant)) {
                self.0.remove(&tenant);
            }
        }
        let lines = self.0.entry(Arc::clone(&delivery.tenant)).or_default();
        if lines.len() >= DELIVERIES {
            lines.pop_front();
        }
        lines.push_back(delivery);
    }

    /// Those of a tenant, the newest last.
    pub(super) fn of<'a>(&'a self, tenant: &str) -> impl Iterator<Item = &'a Delivery> + use<'a> {
        self.0.get(tenant).into_iter().flatten()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Delivery> {
        self.0.values().flatten()
    }

    /// Whether a receiver was sent this before.
    pub(super) fn knows(&self, notification: &Notification) -> bool {
        let mut lines = self.of(&notification.tenant);
        lines.any(|line| line.key == notification.key && line.receiver == notification.receiver)
    }
}
