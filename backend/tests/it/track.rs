//! `POST /metrics/track` and `GET /dashboard/stream`, with two tenants.

use serde_json::{Value, json};

use crate::support::{START_MS, TestServer, problem};

async fn track(server: &TestServer, tenant: &str, body: Value) -> reqwest::Response {
    server
        .request(reqwest::Method::POST, "/metrics/track")
        .header("x-tenant-id", tenant)
        .json(&body)
        .send()
        .await
        .expect("an answer")
}

#[tokio::test]
async fn series_that_there_is_no_room_for_are_listed_as_refused() {
    let server = TestServer::start_with(|settings| settings.max_series = 3).await;
    server.push("red", "a 1\nb 1\nc 1").await;
    let answer = track(&server, "red", json!({"type": "late_one", "value": 2})).await;
    assert_eq!(answer.status(), 200, "it is counted all the same");
    let refused = server.json("/api/ingest?tenant=red").await["refusals"].clone();
    let of_track = refused.as_array().expect("a list").iter().any(|one| {
        one["endpoint"] == "/metrics/track"
            && one["reason"].as_str().is_some_and(|why| why.contains('3'))
    });
    assert!(of_track, "{refused}");
    server.stop().await;
}

#[tokio::test]
async fn an_item_is_counted_for_its_tenant_alone() {
    let mut server = TestServer::start().await;
    let answer = track(
        &server,
        "red",
        json!({"type": "page_view", "value": 2.5, "userId": "u", "metadata": {"a": [1]}}),
    )
    .await;
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(answer["success"], true);
    let id = answer["metricId"].as_str().expect("a text");
    assert!(id.starts_with(&format!("page_view-{START_MS}-")), "{id}");
    track(&server, "red", json!({"type": "page_view", "value": 1})).await;

    let mut red = server.sse("/dashboard/stream?tenant=red").await;
    let (event, init) = red.json().await;
    assert_eq!(event.event, "init");
    let metrics = json!({"page_view": {"count": 2, "total": 3.5, "lastUpdate": START_MS}});
    assert_eq!(
        (&init["metrics"], &init["connectedClients"]),
        (&metrics, &json!(1))
    );
    // Clients hand both events to the same code, which reads `stats.metrics` and `timeSeries`.
    assert_eq!(
        (&init["stats"]["metrics"], &init["timeSeries"]),
        (
            &metrics,
            &json!([{"count": 2, "sum": 3.5, "timestamp": START_MS}])
        )
    );
    let mut blue = server.sse("/dashboard/stream?tenant=blue").await;
    let (_, init_of_blue) = blue.json().await;
    assert_eq!(
        (&init_of_blue["metrics"], &init_of_blue["connectedClients"]),
        (&json!({}), &json!(1))
    );

    for _ in 0..4 {
        server.tick(1.0).await;
    }
    let (event, update) = red.json().await;
    assert_eq!(event.event, "update");
    assert_eq!(
        update["stats"],
        json!({"metrics": init["metrics"], "connectedClients": 1})
    );
    assert_eq!(
        update["timeSeries"],
        json!([{"count": 2, "sum": 3.5, "timestamp": START_MS}])
    );
    assert_eq!(update["timestamp"], START_MS + 2_000);
    let (_, update) = blue.json().await;
    assert_eq!(
        (&update["stats"], &update["timeSeries"]),
        (&json!({"metrics": {}, "connectedClients": 1}), &json!([]))
    );
    server.stop().await;
}

#[tokio::test]
async fn buckets_are_of_the_asked_type_and_length_newest_first() {
    let mut server = TestServer::start().await;
    track(&server, "red", json!({"type": "sale", "value": 5})).await;
    server.clock.advance(std::time::Duration::from_secs(600));
    track(&server, "red", json!({"type": "sale", "value": 7})).await;
    let mut stream = server
        .sse("/dashboard/stream?tenant=red&type=sale&window=300")
        .await;
    stream.json().await;
    server.tick(1.0).await;
    server.clock.advance(std::time::Duration::from_secs(2));
    let (_, update) = stream.json().await;
    assert_eq!(
        update["timeSeries"],
        json!([
            {"count": 1, "sum": 7.0, "timestamp": START_MS + 600_000},
            {"count": 1, "sum": 5.0, "timestamp": START_MS},
        ])
    );
    for query in ["window=61", "window=x", "type="] {
        problem(server.get(&format!("/dashboard/stream?{query}")).await, 400).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn each_wrong_field_is_named() {
    let server = TestServer::start().await;
    let body = json!({"type": "", "value": "1", "userId": 7, "metadata": []});
    let problem = problem(track(&server, "red", body).await, 400).await;
    let mut pointers: Vec<_> = problem["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|error| error["pointer"].as_str().expect("a pointer"))
        .collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/metadata", "/type", "/userId", "/value"]);
    for (body, fields) in [
        (json!([]), vec![""]),
        (json!({}), vec!["/type", "/value"]),
        (json!({"type": "a"}), vec!["/value"]),
        (json!({"value": 1}), vec!["/type"]),
    ] {
        let problem = crate::support::problem(track(&server, "red", body).await, 400).await;
        let pointers: Vec<_> = problem["errors"]
            .as_array()
            .expect("errors")
            .iter()
            .map(|error| error["pointer"].as_str().expect("a pointer"))
            .collect();
        assert_eq!(pointers, fields);
    }
    server.stop().await;
}

/// JSON has such numbers, and serializers do not write them: the body is text.
#[tokio::test]
async fn a_number_past_the_largest_double_is_named() {
    let server = TestServer::start().await;
    let send = async |body: &'static str| {
        let track = server.request(reqwest::Method::POST, "/metrics/track");
        let track = track.header("x-tenant-id", "red").body(body);
        track.send().await.expect("an answer")
    };
    let refused = problem(send(r#"{"type":"a","value":1e400}"#).await, 400).await;
    assert_eq!(refused["errors"][0]["pointer"], "/value");
    let taken = send(r#"{"type":"a","value":1,"metadata":{"x":[1e400]}}"#).await;
    assert_eq!(taken.status(), 200, "what nobody keeps is not looked at");
    server.stop().await;
}

#[tokio::test]
async fn many_errors_within_a_minute_alert_their_tenant_alone() {
    let server = TestServer::start().await;
    let mut red = server.sse("/events/alerts?tenant=red").await;
    let mut blue = server.sse("/events/alerts?tenant=blue").await;
    for _ in 0..101 {
        assert_eq!(
            track(&server, "red", json!({"type": "error", "value": 1}))
                .await
                .status(),
            200
        );
    }
    let (_, alert) = red.json().await;
    assert_eq!(alert["message"], "Error rate exceeded threshold");
    assert_eq!(alert["severity"], "critical");
    assert_eq!(
        server
            .json("/api/alerts?tenant=red")
            .await
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    assert_eq!(server.json("/api/alerts?tenant=blue").await, json!([]));
    server.clock.advance(std::time::Duration::from_secs(61));
    let mut heard = red.json().await;
    while heard.1["type"] == "heartbeat" {
        heard = red.json().await;
    }
    let (event, ended) = heard;
    assert_eq!(event.event, "resolved");
    assert_eq!(ended["incident"], alert["incident"]);
    // The next thing that the other tenant hears is a heartbeat.
    let (_, heartbeat) = blue.json().await;
    assert_eq!(heartbeat["type"], "heartbeat");
    server.stop().await;
}

#[tokio::test]
async fn the_hosts_performance_is_tracked_every_thirty_seconds() {
    let mut server = TestServer::start().await;
    server.tick(40.0).await;
    server.clock.advance(std::time::Duration::from_secs(30));
    server
        .eventually("both items are tracked", async || {
            let list = server.json("/api/ingest").await;
            list["accepted"].as_u64() >= Some(5)
        })
        .await;
    let mut stream = server.sse("/dashboard/stream").await;
    let (_, init) = stream.json().await;
    assert_eq!(init["metrics"]["performance"]["count"], 2);
    server.stop().await;
}
