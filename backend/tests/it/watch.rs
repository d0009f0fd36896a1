//! Live queries on `GET /ws`, with two tenants.

use serde_json::{Value, json};

use crate::support::{START_MS, TestServer, ws::WsClient};

async fn open(server: &TestServer, tenant: &str) -> WsClient {
    let mut client = server.ws(&format!("/ws?tenant={tenant}")).await;
    client.json_of("init").await;
    client
}

async fn ask(client: &mut WsClient, message: Value) {
    client.send(&message.to_string()).await;
}

#[tokio::test]
async fn history_comes_first_and_then_every_sample_of_the_tenant_live() {
    let server = TestServer::start().await;
    server
        .push(
            "red",
            &format!("depth{{q=\"a\"}} 1 {}\nother 5\n", START_MS - 5_000),
        )
        .await;
    let mut red = open(&server, "red").await;
    let mut blue = open(&server, "blue").await;
    for client in [&mut red, &mut blue] {
        ask(
            client,
            json!({"action": "watch", "match": "depth", "max_points": 900}),
        )
        .await;
    }
    let watched = red.json_of("watched").await;
    assert_eq!(watched["match"], "depth");
    assert_eq!(watched["series"][0]["key"], r#"depth{q="a"}"#);
    assert_eq!(watched["series"][0]["points"][0][1], 1.0);
    assert_eq!(watched["series"][0]["newest"][0][1], 1.0);
    assert_eq!(blue.json_of("watched").await["series"], json!([]));

    server
        .push("red", "depth{q=\"a\"} 2\ndepth{q=\"b\"} 3\nother 6\n")
        .await;
    let samples = red.json_of("samples").await;
    let mut runs: Vec<_> = samples["series"].as_array().expect("runs").clone();
    runs.sort_by_key(|run| run["key"].to_string());
    assert_eq!(runs.len(), 2);
    assert_eq!(
        (&runs[0]["key"], &runs[0]["points"]),
        (&json!(r#"depth{q="a"}"#), &json!([[START_MS, 2.0]]))
    );
    assert_eq!(
        (&runs[1]["labels"], &runs[1]["points"]),
        (&json!({"q": "b"}), &json!([[START_MS, 3.0]]))
    );
    assert_eq!(
        samples["offset"].as_u64(),
        watched["offset"].as_u64().map(|offset| offset + 1)
    );

    ask(&mut red, json!({"action": "unwatch", "match": "depth"})).await;
    red.json_of("unwatched").await;
    server.push("blue", "depth 9").await;
    assert_eq!(
        blue.json_of("samples").await["series"][0]["points"][0][1],
        9.0
    );
    ask(&mut red, json!({"action": "ping"})).await;
    assert_eq!(red.json().await["type"], "pong", "nothing came in between");
    server.stop().await;
}

#[tokio::test]
async fn a_viewer_that_comes_back_gets_what_it_missed_once() {
    let server = TestServer::start().await;
    let mut first = open(&server, "red").await;
    ask(&mut first, json!({"action": "watch", "match": "depth"})).await;
    let watched = first.json_of("watched").await;
    server.push("red", "depth 1").await;
    let seen = first.json_of("samples").await;
    drop(first);
    server.clock.advance(std::time::Duration::from_millis(100));
    server.push("red", "depth 2").await;
    let mut again = open(&server, "red").await;
    ask(
        &mut again,
        json!({"action": "watch", "match": "depth", "epoch": watched["epoch"], "offset": seen["offset"]}),
    )
    .await;
    assert_eq!(again.json_of("rewatched").await["offset"], seen["offset"]);
    let missed = again.json_of("samples").await;
    assert_eq!(missed["series"][0]["points"][0][1], 2.0);
    assert_eq!(
        missed["offset"].as_u64(),
        seen["offset"].as_u64().map(|offset| offset + 1)
    );
    ask(
        &mut again,
        json!({"action": "watch", "match": "depth", "epoch": "1", "offset": 1}),
    )
    .await;
    again.json_of("watched").await;
    server.stop().await;
}

#[tokio::test]
async fn series_that_come_and_go_are_told_to_their_tenant_alone() {
    let server = TestServer::start_with(|settings| {
        settings.series_ttl = std::time::Duration::from_secs(20);
    })
    .await;
    let mut red = open(&server, "red").await;
    let mut blue = open(&server, "blue").await;
    for client in [&mut red, &mut blue] {
        ask(client, json!({"action": "catalog"})).await;
        assert_eq!(client.json_of("catalog").await["total"], 0);
    }
    server.push("red", "depth{q=\"a\"} 1").await;
    let appeared = red.json_of("appeared").await;
    assert_eq!(
        (&appeared["total"], &appeared["series"][0]["key"]),
        (&json!(1), &json!(r#"depth{q="a"}"#))
    );
    server.clock.advance(std::time::Duration::from_secs(30));
    let vanished = after_updates(&mut red).await;
    assert_eq!(vanished["type"], "vanished");
    assert_eq!(
        (&vanished["total"], &vanished["keys"]),
        (&json!(0), &json!([r#"depth{q="a"}"#]))
    );
    ask(&mut blue, json!({"action": "ping"})).await;
    assert_eq!(after_updates(&mut blue).await["type"], "pong");
    server.stop().await;
}

/// The next message that is not a room's, which come with each tick.
async fn after_updates(client: &mut WsClient) -> Value {
    loop {
        let message = client.json().await;
        if message["type"] != "update" && message["type"] != "event" {
            return message;
        }
    }
}

#[tokio::test]
async fn the_hosts_own_series_are_told_as_such() {
    let mut server = TestServer::start().await;
    let mut client = open(&server, "default").await;
    ask(&mut client, json!({"action": "catalog"})).await;
    while after_updates(&mut client).await["type"] != "catalog" {}
    server.tick(10.0).await;
    server.push("default", "depth 1").await;
    let mut told = std::collections::BTreeMap::new();
    while told.len() < 6 {
        server.clock.advance(std::time::Duration::from_millis(60));
        let appeared = after_updates(&mut client).await;
        assert_eq!(appeared["type"], "appeared");
        for series in appeared["series"].as_array().expect("series") {
            let key = series["key"].as_str().expect("a key").to_owned();
            told.insert(key, series["own"].as_bool().unwrap_or_default());
        }
    }
    assert!(
        told.iter().all(|(key, own)| *own == (key != "depth")),
        "{told:?}"
    );
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_watched_is_said_and_the_socket_stays() {
    let server = TestServer::start().await;
    let lines: String = (0..1_001)
        .map(|number| format!("many{{n=\"{number}\"}} 1\n"))
        .collect();
    server.push("red", &lines).await;
    let mut red = open(&server, "red").await;
    for (message, part) in [
        (json!({"action": "watch", "match": "a{"}), "character 3"),
        (json!({"action": "watch"}), "\"match\" is missing"),
        (json!({"action": "watch", "match": "many"}), "1001 series"),
        (
            json!({"action": "watch", "match": "a", "max_points": -1}),
            "whole number",
        ),
    ] {
        ask(&mut red, message.clone()).await;
        let error = red.json_of("error").await;
        assert!(
            error["text"]
                .as_str()
                .is_some_and(|text| text.contains(part)),
            "{message}: {error}"
        );
    }
    for number in 0..32 {
        let selector = format!("m{number}");
        ask(&mut red, json!({"action": "watch", "match": selector})).await;
        red.json_of("watched").await;
    }
    ask(&mut red, json!({"action": "watch", "match": "m32"})).await;
    assert!(
        red.json_of("error").await["text"]
            .as_str()
            .is_some_and(|text| text.contains("at most 32"))
    );
    server.stop().await;
}

#[tokio::test]
async fn everything_comes_in_binary_too() {
    let server = TestServer::start().await;
    let mut client = server.ws("/ws?tenant=red&encoding=bin").await;
    client
        .send(&json!({"action": "watch", "match": "depth"}).to_string())
        .await;
    loop {
        let message = client.next_message().await.expect("a message");
        let bytes = message.into_data();
        let text = pulseboard_shared::codec::decode_other(&bytes).expect("our own form");
        if text.contains("\"watched\"") {
            server.push("red", "depth 1").await;
        }
        if text.contains("\"samples\"") {
            assert!(text.contains(&format!("[{START_MS},1.0]")), "{text}");
            break;
        }
    }
    server.stop().await;
}
