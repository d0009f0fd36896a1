//! Notifications and receivers for tests.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use pulseboard_receivers::{
    AlertStatus, Notification, NotifiedAlert, Outcome, Sender,
    config::{Global, Receiver},
    fingerprint,
};
use pulseboard_template::alertmanager::Templates;

pub(crate) fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

pub(crate) fn alert(instance: &str, status: AlertStatus) -> NotifiedAlert {
    let labels = map(&[
        ("alertname", "Down"),
        ("instance", instance),
        ("severity", "critical"),
    ]);
    NotifiedAlert {
        fingerprint: fingerprint(&labels),
        labels,
        annotations: map(&[("summary", &format!("{instance} is down"))]),
        starts_at_ms: 1_796_083_200_120,
        ends_at_ms: Some(1_796_083_260_000),
        generator_url: "https://pulse.example.org/graph?g0.expr=up".to_owned(),
        status,
    }
}

pub(crate) fn notification(alerts: Vec<NotifiedAlert>) -> Notification {
    Notification {
        key: "5c9f2d0e-key".to_owned(),
        tenant: "default".into(),
        receiver: "all".to_owned(),
        group_key: "{}:{alertname=\"Down\"}".to_owned(),
        group_labels: map(&[("alertname", "Down")]),
        alerts,
        truncated: 0,
        external_url: "https://pulse.example.org".to_owned(),
        created_ms: 1_796_083_200_000,
        note: None,
        page: None,
    }
}

pub(crate) fn receiver(yaml: &str) -> Receiver {
    let mut receiver: Receiver = yaml_serde::from_str(yaml).expect(yaml);
    let global = Global::default();
    receiver.settle(&global, Path::new("/")).expect(yaml);
    receiver
}

/// One try over the only way out of a receiver.
pub(crate) async fn send(sender: &Sender, yaml: &str, notification: Notification) -> Outcome {
    let mut ways = receiver(yaml).ways();
    let (_, way) = ways.pop().expect("one");
    assert!(ways.is_empty());
    let templates = Arc::new(Templates::new());
    sender
        .send(Arc::new(way), Arc::new(notification), templates)
        .await
}
