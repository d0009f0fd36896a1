//! Golden messages, one file each: what travels today is what travelled when the file was made.
//! JSON files are compared as values, `.hex` files byte by byte. `UPDATE_GOLDEN=1` writes them
//! anew; the diff then shows what changed for clients.

use pulseboard_shared::{
    Alert, AlertState, BUILT_IN, Labels, Metric, Severity, Timestamp,
    codec::{decode, encode},
    protocol::{
        alerts::{Heartbeat, UnnamedEvent},
        metrics::{Merged, MergedSeries, ServerMessage, Snapshot, Tick},
    },
};
use serde_json::Value;
use uuid::Uuid;

const SAMPLED_MS: i64 = 1_795_204_862_345;

fn samples(at_ms: i64) -> Vec<Metric> {
    BUILT_IN
        .into_iter()
        .zip([78.4, 61.2, 342.0, 94.25])
        .map(|(metric, value)| Metric {
            name: metric.name().to_owned(),
            value,
            unit: metric.unit().to_owned(),
            timestamp: Timestamp::from_millis(at_ms),
            labels: Labels::new(),
        })
        .collect()
}

fn snapshot() -> Snapshot {
    Snapshot {
        epoch: "1795204800000".to_owned(),
        offset: 62,
        window: 60,
        interval_ms: 1000,
        sent_ms: SAMPLED_MS + 7,
        data: [samples(SAMPLED_MS - 1000), samples(SAMPLED_MS)].concat(),
    }
}

fn messages() -> Vec<(&'static str, ServerMessage)> {
    let mut labelled = samples(SAMPLED_MS);
    labelled.push(Metric {
        name: "disk_usage".to_owned(),
        value: 71.5,
        unit: "%".to_owned(),
        timestamp: Timestamp::from_millis(SAMPLED_MS),
        labels: Labels::from([("mount".to_owned(), "/".to_owned())]),
    });
    let tick = Tick {
        epoch: "1795204800000".to_owned(),
        offset: 63,
        sampled_ms: SAMPLED_MS,
        sent_ms: SAMPLED_MS + 1,
        data: labelled,
    };
    let merged = Merged {
        epoch: "1795204800000".to_owned(),
        offset: 80,
        first_offset: 64,
        last_offset: 80,
        data: vec![MergedSeries {
            name: "cpu_usage".to_owned(),
            unit: "%".to_owned(),
            labels: Labels::new(),
            min: 3.5,
            max: 99.0,
            last: 42.0,
            count: 17,
            timestamp: Timestamp::from_millis(SAMPLED_MS),
        }],
    };
    vec![
        ("initial", ServerMessage::Initial(snapshot())),
        ("resumed", ServerMessage::Resumed(snapshot())),
        ("metrics", ServerMessage::Metrics(tick)),
        ("merged", ServerMessage::Merged(merged)),
        (
            "subscribed",
            ServerMessage::Subscribed {
                metrics: vec!["cpu_usage".to_owned()],
            },
        ),
        (
            "pong",
            ServerMessage::Pong {
                timestamp: Timestamp::from_millis(SAMPLED_MS),
            },
        ),
        (
            "error",
            ServerMessage::Error {
                text: "The message is not JSON".to_owned(),
            },
        ),
    ]
}

fn golden(name: &str, now: &str) -> String {
    let path = format!("{}/tests/wire/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{now}\n")).expect("the file is written");
    }
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn metrics_messages_are_as_they_were() {
    for (name, message) in messages() {
        let now = serde_json::to_string_pretty(&message).expect("serialises");
        let json: Value =
            serde_json::from_str(&golden(&format!("{name}.json"), &now)).expect("JSON");
        assert_eq!(
            serde_json::to_value(&message).expect("serialises"),
            json,
            "{name}.json"
        );
        assert_eq!(
            serde_json::from_value::<ServerMessage>(json).expect("reads"),
            message,
            "{name}.json"
        );
        let now = hex(&encode(&message));
        assert_eq!(
            now,
            golden(&format!("{name}.hex"), &now).trim(),
            "{name}.hex"
        );
        assert_eq!(decode(&encode(&message)), Ok(message), "{name}.hex");
    }
}

#[test]
fn alerts_are_as_they_were() {
    let alert = Alert {
        id: Uuid::from_u128(0x019a_0000_0000_7000_8000_0000_0000_0001),
        message: "CPU usage critical: 93.4%".to_owned(),
        severity: Severity::Critical,
        timestamp: Timestamp::from_millis(SAMPLED_MS),
        incident: Uuid::from_u128(0x019a_0000_0000_7000_8000_0000_0000_0000),
        rule: "cpu_high".to_owned(),
        state: AlertState::Firing,
        value: 93.4,
        threshold: 90.0,
        started: Timestamp::from_millis(SAMPLED_MS - 10_000),
        labels: Labels::new(),
    };
    let json: Value = serde_json::from_str(&golden(
        "alert.json",
        &serde_json::to_string_pretty(&alert).expect("serialises"),
    ))
    .expect("JSON");
    assert_eq!(serde_json::to_value(&alert).expect("serialises"), json);
    let read: UnnamedEvent = serde_json::from_value(json).expect("reads");
    assert_eq!(read, UnnamedEvent::Alert(Box::new(alert)));

    let heartbeat = Heartbeat {
        timestamp: Timestamp::from_millis(SAMPLED_MS),
    };
    let json: Value = serde_json::from_str(&golden(
        "heartbeat.json",
        &serde_json::to_string_pretty(&heartbeat).expect("serialises"),
    ))
    .expect("JSON");
    assert_eq!(serde_json::to_value(&heartbeat).expect("serialises"), json);
    let read: UnnamedEvent = serde_json::from_value(json).expect("reads");
    assert_eq!(read, UnnamedEvent::Heartbeat(heartbeat));
}
