//! Slow viewers: what one gets that reads nothing for a long time, and that nobody else notices.

use std::{collections::BTreeMap, time::Duration};

use pulseboard_host::{Extra, Reading};
use pulseboard_shared::{
    Labels,
    codec::decode,
    protocol::metrics::{Merged, ServerMessage},
};
use serde_json::{Value, json};

use crate::support::{
    TestServer,
    raw::{BINARY, FIN, Raw, TEXT},
    reading,
    ws::WsClient,
};

/// More than the server lets a viewer be behind.
const TICKS: u64 = 600;
const HOURS: Duration = Duration::from_secs(36_000);

/// What `cpu_usage` is at a tick: known to the test, different from its neighbours.
fn cpu_at(offset: u64) -> f64 {
    f64::from(u32::try_from(offset * 37 % 89).expect("small"))
}

/// The usual four and enough labelled series that a few ticks fill the kernel's buffers.
fn large_reading(cpu: f64) -> Reading {
    let extras = (0..100).map(|core| Extra {
        name: "cpu_core_usage".into(),
        unit: "%".into(),
        labels: Labels::from([("core".to_owned(), format!("{core}-{}", "x".repeat(300)))]),
        value: cpu + f64::from(core),
    });
    Reading {
        extras: extras.collect(),
        ..reading(cpu)
    }
}

async fn patient_server() -> TestServer {
    TestServer::start_with(|settings| {
        settings.write_timeout = HOURS;
        settings.idle_timeout = HOURS;
        settings.window_size = 10;
    })
    .await
}

/// Ticks, and sees to it that a viewer that reads gets each of them.
async fn tick_for(server: &mut TestServer, reader: &mut WsClient, offset: u64) {
    server.tick_with(large_reading(cpu_at(offset))).await;
    let tick = reader.json_of("metrics").await;
    assert_eq!(tick["offset"], offset, "who reads misses nothing");
    assert_eq!(tick["data"][0]["value"], cpu_at(offset));
}

/// Each offset from 1 on exactly once, as a tick or inside the one merged range; then live again.
struct Account {
    newest: u64,
    merged: Option<(u64, u64)>,
}

impl Account {
    fn take(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Initial(snapshot) => assert_eq!(snapshot.offset, 0),
            ServerMessage::Metrics(tick) => {
                assert_eq!(tick.offset, self.newest + 1, "in order, none missing");
                let cpu = tick.data.iter().find(|metric| metric.name == "cpu_usage");
                assert_eq!(cpu.map(|metric| metric.value), Some(cpu_at(tick.offset)));
                self.newest = tick.offset;
            }
            ServerMessage::Merged(merged) => {
                assert_eq!(self.merged, None, "exactly one merged frame");
                assert_eq!(merged.first_offset, self.newest + 1);
                assert_eq!(merged.offset, merged.last_offset);
                assert_summary(&merged);
                self.merged = Some((merged.first_offset, merged.last_offset));
                self.newest = merged.last_offset;
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
}

/// The merged frame agrees with what was ticked.
fn assert_summary(merged: &Merged) {
    let skipped: Vec<f64> = (merged.first_offset..=merged.last_offset)
        .map(cpu_at)
        .collect();
    assert_eq!(merged.data.len(), 101, "cpu and its hundred cores");
    for (index, series) in merged.data.iter().enumerate() {
        // Core n is n above cpu.
        let above = f64::from(u32::try_from(index.saturating_sub(1)).expect("small"));
        let expected =
            |of: fn(f64, f64) -> f64| skipped.iter().copied().reduce(of).map(|v| v + above);
        assert_eq!(Some(series.min), expected(f64::min), "{}", series.name);
        assert_eq!(Some(series.max), expected(f64::max), "{}", series.name);
        assert_eq!(
            Some(series.last),
            expected(|_, last| last),
            "{}",
            series.name
        );
        assert_eq!(series.count, skipped.len() as u64, "{}", series.name);
    }
}

/// Has a viewer stand still for [`TICKS`] ticks, then read all there is and two live ticks.
async fn stand_still(
    mut slow: Raw,
    next: impl AsyncFn(&mut Raw) -> Option<ServerMessage>,
    mut server: TestServer,
) {
    let mut reader = server.ws("/ws/metrics").await;
    reader.json_of("initial").await;
    for offset in 1..=TICKS {
        tick_for(&mut server, &mut reader, offset).await;
    }
    let mut account = Account {
        newest: 0,
        merged: None,
    };
    while account.newest < TICKS {
        account.take(next(&mut slow).await.expect("the stream goes on"));
    }
    let (first, last) = account.merged.expect("it was moved on");
    assert!(
        first < 100 && last == TICKS,
        "{first}–{last}: the buffers are small"
    );
    for offset in [TICKS + 1, TICKS + 2] {
        tick_for(&mut server, &mut reader, offset).await;
        account.take(next(&mut slow).await.expect("live again"));
        assert_eq!(account.newest, offset);
    }
    assert_eq!(
        server.own_metric("pulseboard_frames_skipped_total").await,
        last + 1 - first,
        "what was merged is counted"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_viewer_that_stood_still_gets_one_merged_frame_and_then_live_ticks() {
    let server = patient_server().await;
    let slow = server
        .raw_ws("/ws/metrics?metrics=cpu_usage,cpu_core_usage")
        .await;
    let next = async |raw: &mut Raw| {
        let (head, payload) = raw.message().await?;
        assert_eq!(head, FIN | TEXT);
        Some(serde_json::from_slice(&payload).expect("a message"))
    };
    stand_still(slow, next, server).await;
}

#[tokio::test]
async fn so_does_one_that_reads_binary() {
    let server = patient_server().await;
    let slow = server
        .raw_ws("/ws/metrics?metrics=cpu_usage,cpu_core_usage&encoding=bin")
        .await;
    let next = async |raw: &mut Raw| {
        let (head, payload) = raw.message().await?;
        assert_eq!(head, FIN | BINARY);
        Some(decode(&payload).expect("a message"))
    };
    stand_still(slow, next, server).await;
}

#[tokio::test]
async fn so_does_an_event_stream() {
    let server = patient_server().await;
    let mut slow = server
        .raw("/events/metrics?metrics=cpu_usage,cpu_core_usage", "")
        .await;
    slow.head().await;
    let retry = slow.chunk().await.expect("an event");
    assert!(retry.starts_with("retry: "), "{retry}");
    let next = async |raw: &mut Raw| {
        let event = raw.chunk().await?;
        let (id, data) = event.strip_prefix("id: ")?.split_once("\ndata: ")?;
        let message: ServerMessage = serde_json::from_str(data).expect("a message");
        let offset = match &message {
            ServerMessage::Metrics(tick) => tick.offset,
            ServerMessage::Merged(merged) => merged.offset,
            _ => 0,
        };
        let start = u64::try_from(crate::support::START_MS).expect("positive");
        assert_eq!(id.parse(), Ok(start + offset), "the id is where to resume");
        Some(message)
    };
    stand_still(slow, next, server).await;
}

#[tokio::test]
async fn a_member_that_stood_still_is_told_which_messages_it_missed() {
    const MESSAGES: u64 = 150;
    let server = patient_server().await;
    let join = br#"{"action":"subscribe","channel":"news","cursor":true}"#;
    let mut reader = server.ws("/ws").await;
    reader.send(std::str::from_utf8(join).expect("text")).await;
    let mut slow = server.raw_ws("/ws").await;
    slow.send(&crate::support::raw::masked(FIN | TEXT, join))
        .await;
    while !next_json(&mut slow)
        .await
        .to_string()
        .contains("subscribed")
    {}

    let padding = "x".repeat(60_000);
    let mut published = BTreeMap::new();
    let mut publish = async |number: u64| {
        let event = json!({"event": "headline", "data": {"number": number, "padding": padding}});
        let request = server.request(reqwest::Method::POST, "/api/rooms/news/events");
        assert_eq!(
            request
                .json(&event)
                .send()
                .await
                .expect("an answer")
                .status(),
            200
        );
        let message = loop {
            let message = reader.json().await;
            if message["type"] == "event" {
                break message;
            }
        };
        assert_eq!(
            message["data"]["number"], number,
            "who reads misses nothing"
        );
        let offset = message["offset"].as_u64().expect("an offset");
        published.insert(offset, number);
        offset
    };
    let mut newest = 0;
    for number in 0..MESSAGES {
        newest = publish(number).await;
    }
    // A room holds 2 MB; what is older has gone.
    let mut seen = 0;
    let mut merged = Vec::new();
    let mut got: Vec<Value> = Vec::new();
    while seen < newest {
        let message = next_json(&mut slow).await;
        if message["type"] == "merged" {
            let (first, last) = (&message["first_offset"], &message["last_offset"]);
            merged.push((first.as_u64().expect("first"), last.as_u64().expect("last")));
            seen = last.as_u64().expect("last");
        } else if message["type"] == "event" {
            seen = message["offset"].as_u64().expect("an offset");
            got.push(message);
        }
    }
    let [(first, last)] = merged[..] else {
        panic!("exactly one merged frame: {merged:?}")
    };
    let live = publish(MESSAGES).await;
    loop {
        let message = next_json(&mut slow).await;
        if message["offset"] == live {
            got.push(message);
            break;
        }
    }
    for (offset, number) in &published {
        let times = got
            .iter()
            .filter(|message| message["offset"] == *offset && message["data"]["number"] == *number)
            .count();
        let skipped = usize::from((first..=last).contains(offset));
        assert_eq!(
            times + skipped,
            1,
            "message {number} at {offset}: once, as such or merged"
        );
    }
    server.stop().await;
}

async fn next_json(raw: &mut Raw) -> Value {
    let (_, payload) = raw.message().await.expect("the socket stays open");
    serde_json::from_slice(&payload).expect("JSON")
}
