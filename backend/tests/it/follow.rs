//! `GET /ws` with `follow`: what event streams carry, on a socket.

use std::time::Duration;

use pulseboard_shared::codec;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{TestServer, ws::WsClient};

/// Opens `/ws` without the room that it joins on opening.
async fn enter(server: &TestServer, path: &str) -> WsClient {
    let mut client = server.ws(path).await;
    client.json_of("init").await;
    client
        .send(r#"{"action":"unsubscribe","channel":"dashboard"}"#)
        .await;
    client.json_of("unsubscribed").await;
    client
}

async fn follow(client: &mut WsClient, asked: Value) {
    let feed = asked["feed"].clone();
    let mut text = asked;
    text["action"] = json!("follow");
    client.send(&text.to_string()).await;
    assert_eq!(
        client.json().await,
        json!({"type": "following", "feed": feed})
    );
}

#[tokio::test]
async fn alerts_come_as_on_their_event_stream_and_each_missed_one_once() {
    let mut server =
        TestServer::start_with(|settings| settings.alert_check = Duration::from_secs(1)).await;
    let mut stream = server.sse("/events/alerts").await;
    let mut socket = enter(&server, "/ws").await;
    follow(&mut socket, json!({"feed": "alerts"})).await;
    for cpu in [1.0, 91.0, 92.0, 20.0] {
        server.tick(cpu).await;
    }
    let mut ids = Vec::new();
    for name in ["message", "message", "resolved"] {
        let (event, data) = stream.json().await;
        assert_eq!(event.event, name);
        assert_eq!(
            socket.json().await,
            json!({"type": "feed", "feed": "alerts", "event": name, "id": event.id, "data": data})
        );
        ids.push(event.id);
    }

    // Away, and back behind the first: what was missed, once and in order, then live.
    drop(socket);
    let mut again = enter(&server, "/ws").await;
    follow(
        &mut again,
        json!({"feed": "alerts", "last_event_id": ids[0]}),
    )
    .await;
    for id in &ids[1..] {
        assert_eq!(again.json_of("feed").await["id"], json!(id));
    }
    server.tick(95.0).await;
    assert_eq!(again.json_of("feed").await["data"]["value"], 95.0);

    again.send(r#"{"action":"unfollow","feed":"alerts"}"#).await;
    assert_eq!(
        again.json().await,
        json!({"type": "unfollowed", "feed": "alerts"})
    );
    server.tick(1.0).await;
    again.send(r#"{"action":"ping"}"#).await;
    again.json_of("pong").await;
    server.stop().await;
}

#[tokio::test]
async fn the_operators_figures_come_with_their_interval_and_alerts_as_text() {
    let mut server = TestServer::start().await;
    let mut socket = enter(&server, "/ws").await;
    follow(&mut socket, json!({"feed": "operator"})).await;
    assert_eq!(
        socket.json().await,
        json!({"type": "feed", "feed": "operator", "event": "config", "data": {"interval_ms": 1000}})
    );
    server.tick(87.34).await;
    let figures = socket.json_of("feed").await;
    assert_eq!(
        (&figures["event"], &figures["data"]["cpu_percent"]),
        (&json!("metrics"), &json!(87.34))
    );
    let keys = figures["data"].as_object().map(|data| data.len());
    assert_eq!(keys, Some(6), "those of GET /api/metrics: {figures}");
    assert_eq!(
        socket.json().await,
        json!({"type": "feed", "feed": "operator", "event": "alert", "data": "CPU usage at 87.3%"})
    );

    let last_seen = figures["id"].clone();
    server.tick(42.0).await;
    let mut again = enter(&server, "/ws").await;
    follow(
        &mut again,
        json!({"feed": "operator", "last_event_id": last_seen}),
    )
    .await;
    assert_eq!(again.json_of("feed").await["event"], "config");
    assert_eq!(again.json_of("feed").await["data"]["cpu_percent"], 42.0);
    server.stop().await;
}

#[tokio::test]
async fn the_aggregate_is_of_the_type_and_bucket_that_were_asked_for_last() {
    let mut server = TestServer::start().await;
    let tracked = server
        .request(reqwest::Method::POST, "/metrics/track")
        .json(&json!({"type": "sign_up", "value": 2}))
        .send()
        .await
        .expect("an answer");
    assert_eq!(tracked.status(), 200);
    let mut socket = enter(&server, "/ws").await;
    follow(&mut socket, json!({"feed": "aggregate"})).await;
    let init = socket.json_of("feed").await;
    assert_eq!(
        (
            &init["event"],
            &init["data"]["metrics"]["sign_up"]["total"],
            &init["data"]["connectedClients"]
        ),
        (&json!("init"), &json!(2.0), &json!(1))
    );
    follow(
        &mut socket,
        json!({"feed": "aggregate", "type": "sign_up", "window": 3600}),
    )
    .await;
    let init = socket.json_of("feed").await;
    assert_eq!(
        init["data"]["connectedClients"], 1,
        "in place of what it followed before"
    );
    for _ in 0..4 {
        server.tick(1.0).await;
    }
    let update = socket.json_of("feed").await;
    assert_eq!(update["event"], "update");
    assert_eq!(update["data"]["timeSeries"][0]["sum"], 2.0);
    let start = update["data"]["timeSeries"][0]["timestamp"].as_i64();
    assert_eq!(start.map(|start| start % 3_600_000), Some(0));
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_followed_is_said_and_changes_nothing() {
    let mut server = TestServer::start().await;
    let mut socket = enter(&server, "/ws").await;
    follow(&mut socket, json!({"feed": "operator"})).await;
    socket.json_of("feed").await;
    for wrong in [
        json!({"action": "follow"}),
        json!({"action": "follow", "feed": "everything"}),
        json!({"action": "follow", "feed": "aggregate", "window": 61}),
        json!({"action": "follow", "feed": "aggregate", "type": ""}),
        json!({"action": "unfollow", "feed": "everything"}),
    ] {
        socket.send(&wrong.to_string()).await;
        socket.json_of("error").await;
    }
    server.tick(1.0).await;
    assert_eq!(socket.json_of("feed").await["event"], "metrics");
    server.stop().await;
}

#[tokio::test]
async fn a_client_of_the_binary_form_follows_in_it() {
    let mut server = TestServer::start().await;
    let mut socket = server.ws("/ws?encoding=bin").await;
    let follow = codec::text_as_other(r#"{"action":"follow","feed":"operator"}"#);
    socket.send_message(Message::binary(follow)).await;
    // It follows once it is told its interval; what ticks before that is not for it.
    for (event, cpu) in [("config", None), ("metrics", Some(7.0))] {
        if cpu.is_some() {
            server.tick(7.0).await;
        }
        let message = loop {
            let Some(Message::Binary(bytes)) = socket.next_message().await else {
                panic!("a message that is not binary");
            };
            let text = codec::decode_other(&bytes).expect("a message");
            let message: Value = serde_json::from_str(text).expect("JSON");
            if message["event"] == event {
                break message;
            }
        };
        assert_eq!(message["data"]["cpu_percent"].as_f64(), cpu);
    }
    server.stop().await;
}
