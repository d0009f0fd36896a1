//! Live expressions on `GET /ws`, with two tenants: history first, then a value at each step.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{START_MS, TestServer, ws::WsClient};

async fn open(server: &TestServer, tenant: &str) -> WsClient {
    let mut client = server.ws(&format!("/ws?tenant={tenant}")).await;
    client.json_of("init").await;
    client
}

async fn watch(client: &mut WsClient, query: &str) {
    let asked = json!({"action": "watch", "query": query, "step_ms": 1000, "back_ms": 10_000});
    client.send(&asked.to_string()).await;
}

/// Lets time go on until a frame comes.
async fn next(server: &TestServer, client: &mut WsClient, kind: &str) -> Value {
    let clock = server.clock.clone();
    let going = tokio::spawn(async move {
        loop {
            clock.advance(Duration::from_millis(100));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    for _ in 0..1_000 {
        let message = client.json().await;
        if message["type"] == kind {
            going.abort();
            return message;
        }
    }
    panic!("no {kind} among a thousand messages");
}

#[tokio::test]
async fn an_expression_is_told_with_its_history_and_then_at_each_step() {
    let server = TestServer::start().await;
    let lines: String = (0..60)
        .map(|second| {
            let at_ms = START_MS - 60_000 + second * 1_000;
            format!("jobs_total{{queue=\"a\"}} {} {at_ms}\n", second * 2)
        })
        .collect();
    server.push("red", lines).await;
    let query = "sum by (queue) (rate(jobs_total[10s])) * 10";
    let mut red = open(&server, "red").await;
    let mut blue = open(&server, "blue").await;
    watch(&mut red, query).await;
    watch(&mut blue, query).await;
    let watched = red.json_of("watched").await;
    assert_eq!(watched["query"], query);
    assert_eq!(watched["step_ms"], 1_000);
    let series = &watched["series"][0];
    assert_eq!(series["labels"], json!({"queue": "a"}));
    let points = series["points"].as_array().expect("points");
    assert_eq!(
        points.len(),
        11,
        "ten seconds and their beginning: {points:?}"
    );
    assert_eq!(points[0], json!([START_MS - 10_000, 20.0, 20.0, 20.0]));
    assert_eq!(blue.json_of("watched").await["series"], json!([]));

    let samples = next(&server, &mut red, "samples").await;
    assert_eq!(samples["query"], query);
    let run = &samples["series"][0];
    assert_eq!(run["labels"], json!({"queue": "a"}));
    let at_ms = run["points"][0][0].as_i64().expect("a time");
    assert_eq!(at_ms % 1_000, 0);
    assert!(at_ms > START_MS, "a step behind the history");
    assert!(samples["offset"].as_u64() > watched["offset"].as_u64());

    // Its series is gone when nothing of it is in the range any more.
    let gone = loop {
        let samples = next(&server, &mut red, "samples").await;
        let points = samples["series"][0]["points"].clone();
        if points[0][1].is_null() {
            break points;
        }
    };
    assert!(gone[0][0].as_i64() > Some(at_ms));

    let asked = json!({"action": "unwatch", "query": query});
    red.send(&asked.to_string()).await;
    assert_eq!(red.json_of("unwatched").await["query"], query);
    server.stop().await;
}

#[tokio::test]
async fn who_comes_back_goes_on_where_it_was_while_others_watch() {
    let server = TestServer::start().await;
    let query = "vector(time())";
    let (mut stays, mut leaves) = (open(&server, "red").await, open(&server, "red").await);
    for client in [&mut stays, &mut leaves] {
        watch(client, query).await;
        client.json_of("watched").await;
    }
    let last = next(&server, &mut leaves, "samples").await;
    drop(leaves);
    let missed: Vec<Value> = [
        next(&server, &mut stays, "samples").await,
        next(&server, &mut stays, "samples").await,
        next(&server, &mut stays, "samples").await,
    ]
    .into_iter()
    .filter(|frame| frame["offset"].as_u64() > last["offset"].as_u64())
    .collect();
    assert!(missed.len() >= 2, "{missed:?}");

    let mut back = open(&server, "red").await;
    let mut asked = json!({
        "action": "watch", "query": query, "step_ms": 1000,
        "epoch": last["epoch"], "offset": last["offset"],
    });
    back.send(&asked.to_string()).await;
    let rewatched = back.json_of("rewatched").await;
    assert_eq!(rewatched["query"], query);
    assert_eq!(rewatched["offset"], last["offset"]);
    for frame in missed {
        assert_eq!(back.json_of("samples").await, frame, "what was missed");
    }

    // Of another run of the feed nothing goes on: all of it is told.
    asked["epoch"] = json!("1");
    let mut other = open(&server, "red").await;
    other.send(&asked.to_string()).await;
    assert_eq!(other.json_of("watched").await["query"], query);
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_watched_is_refused_with_the_reason() {
    let server = TestServer::start().await;
    let mut client = open(&server, "red").await;
    for (query, why) in [
        ("rate(a[1m]", "1:11"),
        ("a[5m]", "scalar or an instant vector"),
        ("\"text\"", "scalar or an instant vector"),
    ] {
        watch(&mut client, query).await;
        let error = client.json_of("error").await;
        let text = error["text"].as_str().expect("a text");
        assert!(text.contains(why), "{query}: {text}");
    }
    let both = json!({"action": "watch", "query": "a", "match": "a"});
    client.send(&both.to_string()).await;
    assert!(
        client.json_of("error").await["text"]
            .as_str()
            .is_some_and(|text| text.contains("two"))
    );
    let long = json!({"action": "watch", "query": "a".repeat(16 * 1024 + 1)});
    client.send(&long.to_string()).await;
    assert!(
        client.json_of("error").await["text"]
            .as_str()
            .is_some_and(|text| text.contains("16384"))
    );
    server.stop().await;
}
