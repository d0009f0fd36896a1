//! Who carries what the outbox holds: the receivers as they are configured now, and the sender.

use std::{sync::Arc, time::Duration};

use pulseboard_template::alertmanager::Templates;
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    config::{Receiver, Way, WayName},
    notification::{AlertStatus, Notification, NotifiedAlert, fingerprint},
    outbox::{Deliver, Trying},
    outcome::Outcome,
    send::{Directory, Sender, now_ms},
};

/// Looks receivers up in a [`Directory`] and sends with a [`Sender`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Courier {
    directory: Directory,
    sender: Sender,
}

impl Courier {
    #[must_use]
    pub fn new(directory: Directory, sender: Sender) -> Self {
        Self { directory, sender }
    }
}

impl Deliver for Courier {
    fn ways(&self, tenant: &str, receiver: &str) -> Option<Vec<(WayName, bool)>> {
        let (ways, _) = self.directory.ways(tenant, receiver)?;
        let ways = ways.into_iter();
        Some(
            ways.map(|(name, way)| (name, way.sends_resolved()))
                .collect(),
        )
    }

    fn deliver(&self, notification: Arc<Notification>, way: WayName) -> Trying {
        let found = self
            .directory
            .ways(&notification.tenant, &notification.receiver);
        let sender = self.sender.clone();
        Box::pin(async move {
            let Some((ways, templates)) = found else {
                return Outcome::failed("there is no such receiver any more");
            };
            let Some((_, way)) = ways.into_iter().find(|(name, _)| *name == way) else {
                return Outcome::failed("the receiver has no such way out any more");
            };
            let notification = for_way(notification, &way);
            sender.send(way, notification, templates).await
        })
    }
}

/// As Alertmanager: who is not told that alerts are over is told of those alone that are not.
fn for_way(notification: Arc<Notification>, way: &Way) -> Arc<Notification> {
    if way.sends_resolved() || notification.resolved().next().is_none() {
        return notification;
    }
    let mut firing = (*notification).clone();
    firing
        .alerts
        .retain(|alert| alert.status == AlertStatus::Firing);
    Arc::new(firing)
}

/// What became of a test over one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tested {
    pub way: WayName,
    pub sent: bool,
    /// In words, without secrets: `sent`, or what went wrong.
    pub said: String,
    pub took_ms: u64,
    /// Nothing will ever arrive there again.
    #[serde(skip)]
    pub is_gone: bool,
}

/// Sends a test over each way out of a receiver that is settled, all at once and each once. `key`
/// is one of its own.
pub async fn test(
    sender: &Sender,
    receiver: &Receiver,
    templates: &Arc<Templates>,
    tenant: &str,
    key: &str,
    external_url: &str,
) -> Vec<Tested> {
    let notification = Arc::new(sample(tenant, &receiver.name, key, external_url, now_ms()));
    let mut tasks = Vec::new();
    for (name, way) in receiver.ways() {
        let (sender, templates) = (sender.clone(), Arc::clone(templates));
        let notification = Arc::clone(&notification);
        let task = tokio::spawn(async move {
            let began = Instant::now();
            let outcome = sender.send(Arc::new(way), notification, templates).await;
            (outcome, began.elapsed())
        });
        tasks.push((name, task));
    }
    let mut tested = Vec::new();
    for (way, task) in tasks {
        let (outcome, took) = task.await.unwrap_or_else(|_error| {
            let outcome = Outcome::failed("it could not be made: a fault here");
            (outcome, Duration::ZERO)
        });
        let sent = outcome == Outcome::Sent;
        let is_gone = matches!(outcome, Outcome::Gone { .. });
        let said = match outcome {
            Outcome::Sent => "sent".to_owned(),
            Outcome::Left => String::new(),
            Outcome::Retry { why, .. } | Outcome::Failed { why } | Outcome::Gone { why } => why,
        };
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tested.push(Tested {
            way,
            sent,
            said,
            took_ms,
            is_gone,
        });
    }
    tested
}

/// What a test says.
#[must_use]
pub fn sample(
    tenant: &str,
    receiver: &str,
    key: &str,
    external_url: &str,
    now_ms: i64,
) -> Notification {
    let map = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter();
        pairs
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect()
    };
    let labels = map(&[
        ("alertname", "PulseboardTest"),
        ("severity", "info"),
        ("instance", "pulseboard"),
    ]);
    let alert = NotifiedAlert {
        fingerprint: fingerprint(&labels),
        labels,
        annotations: map(&[
            ("summary", "This is a test: nothing is wrong."),
            (
                "description",
                "Somebody pressed \"send a test\". Whoever reads this is told of real alerts, too.",
            ),
        ]),
        starts_at_ms: now_ms,
        ends_at_ms: None,
        generator_url: external_url.to_owned(),
        status: AlertStatus::Firing,
    };
    Notification {
        key: key.to_owned(),
        tenant: tenant.into(),
        receiver: receiver.to_owned(),
        group_key: format!("test/{key}"),
        group_labels: map(&[("alertname", "PulseboardTest")]),
        alerts: vec![alert],
        truncated: 0,
        external_url: external_url.to_owned(),
        created_ms: now_ms,
        note: Some("This is a test.".to_owned()),
        page: None,
    }
}
