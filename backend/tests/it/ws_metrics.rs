//! `GET /ws/metrics`.

use pulseboard_shared::{codec::decode, protocol::metrics::ServerMessage};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{TestServer, ws::WsClient};

fn cpus(message: &Value) -> Vec<f64> {
    let data = message["data"].as_array().expect("data");
    data.iter()
        .filter(|m| m["name"] == "cpu_usage")
        .filter_map(|m| m["value"].as_f64())
        .collect()
}

fn names(message: &Value) -> Vec<&str> {
    message["data"]
        .as_array()
        .expect("data")
        .iter()
        .filter_map(|m| m["name"].as_str())
        .collect()
}

#[tokio::test]
async fn a_viewer_gets_the_window_and_then_every_tick() {
    let mut server = TestServer::start_with(|settings| settings.window_size = 2).await;
    let mut early = server.ws("/ws/metrics").await;
    let initial = early.json_of("initial").await;
    assert_eq!(
        (&initial["data"], &initial["offset"]),
        (&json!([]), &json!(0))
    );
    for cpu in [1.0, 2.0, 3.0] {
        server.tick(cpu).await;
    }
    for offset in 1..=3_u32 {
        let tick = early.json_of("metrics").await;
        assert_eq!(tick["offset"], offset);
        assert_eq!(tick["epoch"], initial["epoch"]);
        assert_eq!(
            names(&tick),
            [
                "cpu_usage",
                "memory_usage",
                "requests_per_sec",
                "avg_latency"
            ]
        );
        assert_eq!(cpus(&tick), [f64::from(offset)]);
    }
    let mut late = server.ws("/ws/metrics").await;
    let initial = late.json_of("initial").await;
    assert_eq!(
        (cpus(&initial), &initial["offset"]),
        (vec![2.0, 3.0], &json!(3))
    );
    assert_eq!(
        (&initial["window"], &initial["interval_ms"]),
        (&json!(2), &json!(1000))
    );
    server.tick(4.0).await;
    assert_eq!(cpus(&late.json_of("metrics").await), [4.0]);
    server.stop().await;
}

#[tokio::test]
async fn a_subscription_really_filters() {
    let mut server = TestServer::start().await;
    let mut viewer = server.ws("/ws/metrics").await;
    viewer.json_of("initial").await;
    let wanted = json!(["avg_latency", "cpu_usage", "no_such_metric"]);
    viewer
        .send(&json!({"type": "subscribe", "metrics": wanted}).to_string())
        .await;
    assert_eq!(
        viewer.json().await,
        json!({"type": "subscribed", "metrics": wanted})
    );
    server.tick(1.0).await;
    assert_eq!(
        names(&viewer.json_of("metrics").await),
        ["cpu_usage", "avg_latency"]
    );

    viewer
        .send(r#"{"type":"subscribe","metrics":["cpu_core_usage{core=\"0\"}"]}"#)
        .await;
    viewer.json_of("subscribed").await;
    server.tick(2.0).await;
    let tick = viewer.json_of("metrics").await;
    assert_eq!(
        (names(&tick), &tick["data"][0]["labels"]),
        (vec!["cpu_core_usage"], &json!({"core": "0"}))
    );

    viewer.send(r#"{"type":"subscribe","metrics":[]}"#).await;
    viewer.json_of("subscribed").await;
    server.tick(3.0).await;
    assert_eq!(names(&viewer.json_of("metrics").await).len(), 4);
    server.stop().await;
}

/// Names, values and times of a message's samples.
fn samples(message: &Value) -> Vec<(String, f64, String)> {
    let data = message["data"].as_array().expect("samples").iter();
    data.map(|sample| {
        let text = |field: &str| sample[field].as_str().expect("a text").to_owned();
        let job = sample["labels"]["job"].as_str().unwrap_or_default();
        (
            format!("{}{job}", text("name")),
            sample["value"].as_f64().expect("a number"),
            text("timestamp"),
        )
    })
    .collect()
}

#[tokio::test]
async fn pushed_series_may_be_named_too_each_tenants_own() {
    let mut server = TestServer::start().await;
    server.tick(1.0).await;
    for (tenant, lines) in [
        (
            "default",
            "queue_depth 42\njobs{job=\"api\"} 7\njobs{job=\"web\"} 8\nother 1",
        ),
        ("shop", "queue_depth 5"),
    ] {
        server.push(tenant, lines).await;
    }
    let pushed_at = "2026-11-20T20:00:00.200Z";
    let mut viewer = server.ws("/ws/metrics").await;
    viewer.json_of("initial").await;
    viewer
        .send(r#"{"type":"subscribe","metrics":["queue_depth","jobs{job=\"web\"}","cpu_usage"]}"#)
        .await;
    viewer.json_of("subscribed").await;
    let mut shop = server
        .ws("/ws/metrics?tenant=shop&metrics=queue_depth,jobs")
        .await;
    assert_eq!(names(&shop.json_of("initial").await).len(), 0);

    server.tick(2.0).await;
    let tick = viewer.json_of("metrics").await;
    let sample = |name: &str, value, at: &str| (name.to_owned(), value, at.to_owned());
    assert_eq!(
        samples(&tick),
        [
            sample("cpu_usage", 2.0, "2026-11-20T20:00:01.000Z"),
            sample("jobsweb", 8.0, pushed_at),
            sample("queue_depth", 42.0, pushed_at),
        ]
    );
    assert_eq!(
        samples(&shop.json_of("metrics").await),
        [sample("queue_depth", 5.0, pushed_at)]
    );

    // All of a name; the newest sample; and what is missed is resumed with.
    server
        .push("default", "queue_depth 43\nqueue_depth 44 1795204801500")
        .await;
    let place = format!(
        "epoch={}&offset={}",
        tick["epoch"].as_str().expect("text"),
        tick["offset"]
    );
    drop(viewer);
    server.tick(3.0).await;
    let mut again = server
        .ws(&format!("/ws/metrics?metrics=queue_depth,jobs&{place}"))
        .await;
    assert_eq!(
        samples(&again.json_of("resumed").await),
        [
            sample("jobsweb", 8.0, pushed_at),
            sample("queue_depth", 44.0, "2026-11-20T20:00:01.500Z"),
        ],
        "what was asked for when the tick was made"
    );
    server.tick(4.0).await;
    let expected = [
        sample("jobsapi", 7.0, pushed_at),
        sample("jobsweb", 8.0, pushed_at),
        sample("queue_depth", 44.0, "2026-11-20T20:00:01.500Z"),
    ];
    assert_eq!(samples(&again.json_of("metrics").await), expected);
    let polled = server
        .json("/api/metrics/since?metrics=queue_depth,jobs")
        .await;
    assert!(samples(&polled).ends_with(&expected), "{polled}");
    server.stop().await;
}

#[tokio::test]
async fn odd_messages_leave_the_socket_open() {
    let server = TestServer::start().await;
    let mut viewer = server.ws("/ws/metrics").await;
    viewer.json_of("initial").await;
    for wrong in [
        "hello",
        "[1]",
        "7",
        "null",
        "{\"type\":",
        r#"{"type":"subscribe","metrics":"cpu"}"#,
        "\u{0}",
    ] {
        viewer.send(wrong).await;
        let error = viewer.json_of("error").await;
        assert!(
            error["text"].as_str().is_some_and(|text| !text.is_empty()),
            "{error}"
        );
    }
    viewer.send(&"[".repeat(10_000)).await;
    viewer.json_of("error").await;
    viewer.send(r#"{"type":"dance"}"#).await;
    viewer.send(r#"{"type":"ping"}"#).await;
    assert_eq!(
        viewer.json().await,
        json!({"type": "pong", "timestamp": "2026-11-20T20:00:00.000Z"})
    );
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_understood_at_all_is_closed_with_a_code_and_a_reason() {
    let server = TestServer::start_with(|settings| settings.max_message_bytes = 1000).await;
    for (message, code) in [
        (Message::binary(vec![1, 2, 3]), 1003),
        (Message::text("x".repeat(1001)), 1009),
    ] {
        let mut viewer = server.ws("/ws/metrics").await;
        viewer.send_message(message).await;
        let (closed, reason) = viewer.closed().await;
        assert_eq!(closed, code);
        assert!(!reason.is_empty());
    }
    let mut other = server.ws("/ws/metrics").await;
    other.json_of("initial").await;
    server.stop().await;
}

#[tokio::test]
async fn a_viewer_that_comes_back_gets_exactly_what_it_missed() {
    let mut server = TestServer::start_with(|settings| settings.window_size = 3).await;
    for cpu in [1.0, 2.0, 3.0, 4.0, 5.0] {
        server.tick(cpu).await;
    }
    let epoch = server.ws("/ws/metrics").await.json_of("initial").await["epoch"]
        .as_str()
        .expect("an epoch")
        .to_owned();
    // The window holds ticks 3, 4, 5: its edge is a viewer that saw tick 2.
    for (epoch, offset, kind, expected) in [
        (&*epoch, u64::MAX, "initial", vec![3.0, 4.0, 5.0]),
        (&*epoch, 1, "initial", vec![3.0, 4.0, 5.0]),
        (&*epoch, 2, "resumed", vec![3.0, 4.0, 5.0]),
        (&*epoch, 3, "resumed", vec![4.0, 5.0]),
        (&*epoch, 5, "resumed", vec![]),
        (&*epoch, 6, "initial", vec![3.0, 4.0, 5.0]),
        ("another", 4, "initial", vec![3.0, 4.0, 5.0]),
    ] {
        let mut viewer = server
            .ws(&format!("/ws/metrics?epoch={epoch}&offset={offset}"))
            .await;
        let message = viewer.json_of(kind).await;
        assert_eq!(
            (cpus(&message), &message["offset"]),
            (expected, &json!(5)),
            "resumed from {epoch} {offset}"
        );
    }
    // A whole number all the same, and as little held as any other that was never given.
    let mut viewer = server
        .ws(&format!(
            "/ws/metrics?epoch={epoch}&offset=99999999999999999999"
        ))
        .await;
    assert_eq!(cpus(&viewer.json_of("initial").await), [3.0, 4.0, 5.0]);
    for wrong in ["-1", "+1", "1.5", "abc", ""] {
        let path = format!("/ws/metrics?epoch={epoch}&offset={wrong}");
        let refused = server.try_ws(&path, &[]).await.err();
        assert_eq!(
            refused.map(|refused| refused.status().as_u16()),
            Some(400),
            "{wrong}"
        );
    }
    let mut viewer = server
        .ws(&format!("/ws/metrics?epoch={epoch}&offset=5"))
        .await;
    viewer.json_of("resumed").await;
    server.tick(6.0).await;
    assert_eq!(viewer.json_of("metrics").await["offset"], 6);
    server.stop().await;
}

/// The next message, which must be binary.
async fn next(client: &mut WsClient) -> ServerMessage {
    match client.next_message().await {
        Some(Message::Binary(bytes)) => decode(&bytes).expect("a message"),
        other => panic!("expected binary, got {other:?}"),
    }
}

#[tokio::test]
async fn the_same_messages_come_in_binary_to_who_asks_for_it() {
    let mut server = TestServer::start().await;
    server.tick(1.0).await;
    let mut json = server.ws("/ws/metrics").await;
    let mut binary = server.ws("/ws/metrics?encoding=bin").await;
    let same = |message: &ServerMessage, json: Value| {
        assert_eq!(serde_json::to_value(message).expect("serialises"), json)
    };
    same(&next(&mut binary).await, json.json_of("initial").await);
    server.tick(2.5).await;
    same(&next(&mut binary).await, json.json_of("metrics").await);
    let request = r#"{"type":"subscribe","metrics":["cpu_core_usage"]}"#;
    json.send(request).await;
    binary
        .send_message(Message::binary([b"\0", request.as_bytes()].concat()))
        .await;
    same(&next(&mut binary).await, json.json_of("subscribed").await);
    server.tick(3.0).await;
    same(&next(&mut binary).await, json.json_of("metrics").await);
    crate::support::problem(server.get("/ws/metrics?encoding=xml").await, 400).await;
    server.stop().await;
}

#[tokio::test]
async fn a_plain_request_is_told_that_this_is_a_web_socket() {
    let server = TestServer::start().await;
    let problem = crate::support::problem(server.get("/ws/metrics").await, 426).await;
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("WebSocket"))
    );
    server.stop().await;
}

/// A window that is long to write is written beside, and is the same by every way, without a hole
/// before what comes then.
#[tokio::test]
async fn a_long_window_is_the_same_by_every_way_and_what_comes_then_follows() {
    let mut server = TestServer::start().await;
    let lines: String = (0..300)
        .map(|number| format!("many{{i=\"{number:03}\"}} {number}\n"))
        .collect();
    let push = server.request(reqwest::Method::POST, "/push").body(lines);
    assert_eq!(push.send().await.expect("an answer").status(), 200);
    // From now on it is looked up.
    let held = server.ws("/ws/metrics?metrics=many").await;
    for _ in 0..12 {
        server.tick(1.0).await;
    }
    let polled = server.json("/api/metrics/since?metrics=many").await;
    let mut again = server.ws("/ws/metrics?metrics=many").await;
    let initial = again.json_of("initial").await;
    let count = initial["data"].as_array().map_or(0, Vec::len);
    assert!(count >= 11 * 300 && count.is_multiple_of(300), "{count}");
    assert_eq!(polled["type"], "initial");
    assert_eq!(polled["data"], initial["data"]);
    server.tick(2.0).await;
    let tick = again.json_of("metrics").await;
    let offset = initial["offset"].as_u64().expect("a number");
    assert_eq!(tick["offset"].as_u64(), Some(offset + 1));
    drop((held, again));
    server.stop().await;
}
