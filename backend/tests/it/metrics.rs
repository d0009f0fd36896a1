//! `GET /api/metrics/recent`, `GET /api/metrics`, `GET /metrics`.

use serde_json::json;

use crate::support::{TestServer, problem, reading};

#[tokio::test]
async fn recent_samples_come_oldest_first_and_as_many_as_asked_for() {
    let mut server = TestServer::start().await;
    for cpu in [1.0, 2.0, 3.0] {
        server.tick(cpu).await;
    }
    let recent = server.json("/api/metrics/recent?count=5").await;
    let cells: Vec<_> = recent
        .as_array()
        .expect("a list")
        .iter()
        .map(|m| (m["name"].as_str(), m["value"].as_f64()))
        .collect();
    assert_eq!(
        cells,
        [
            (Some("avg_latency"), Some(0.5)),
            (Some("cpu_usage"), Some(3.0)),
            (Some("memory_usage"), Some(1.5)),
            (Some("requests_per_sec"), Some(30.0)),
            (Some("avg_latency"), Some(0.75)),
        ]
    );
    assert_eq!(
        recent[1],
        json!({"name": "cpu_usage", "value": 3.0, "unit": "%", "timestamp": "2026-11-20T20:00:02.000Z"})
    );
    assert_eq!(
        server
            .json("/api/metrics/recent")
            .await
            .as_array()
            .map(Vec::len),
        Some(12)
    );
    assert_eq!(server.json("/api/metrics/recent?count=0").await, json!([]));
    server.stop().await;
}

#[tokio::test]
async fn a_count_that_is_no_whole_number_is_refused() {
    let server = TestServer::start().await;
    for wrong in ["-1", "abc", "1.5", ""] {
        let answer = server
            .get(&format!("/api/metrics/recent?count={wrong}"))
            .await;
        let problem = problem(answer, 400).await;
        assert_eq!(problem["errors"][0]["pointer"], "?count");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_gap_is_null_and_counts_for_nothing() {
    let mut server = TestServer::start().await;
    server.tick(4.0).await;
    server
        .tick_with(pulseboard_host::Reading {
            cpu: f64::NAN,
            ..reading(8.0)
        })
        .await;
    let recent = server.json("/api/metrics/recent?count=4").await;
    assert_eq!(recent[0]["value"], json!(null));
    assert_eq!(server.json("/api/stats").await["cpu"]["count"], 1);
    server.stop().await;
}

#[tokio::test]
async fn without_requests_there_is_no_latency_and_each_tick_has_four_numbers() {
    let mut server = TestServer::start().await;
    server.tick(4.0).await;
    let idle = pulseboard_host::Reading {
        requests: 0.0,
        latency: f64::NAN,
        ..reading(8.0)
    };
    for _ in 0..3 {
        server.tick_with(idle.clone()).await;
    }
    let recent = server.json("/api/metrics/recent?count=4").await;
    let cells: Vec<_> = recent
        .as_array()
        .expect("a list")
        .iter()
        .map(|metric| (metric["name"].as_str(), metric["value"].as_f64()))
        .collect();
    assert_eq!(
        cells,
        [
            (Some("cpu_usage"), Some(8.0)),
            (Some("memory_usage"), Some(4.0)),
            (Some("requests_per_sec"), Some(0.0)),
            (Some("avg_latency"), Some(0.0)),
        ],
        "clients print each value with a fixed number of digits"
    );
    let stats = server.json("/api/stats").await;
    assert_eq!(
        stats["latency"],
        json!({"avg": 1.0, "max": 1.0, "min": 1.0, "count": 1}),
        "what was not measured pulls no mean towards 0"
    );
    assert_eq!(stats["requests"]["count"], 4);
    let kept = server
        .json("/api/range?match=avg_latency&start=-1m&step=1s")
        .await;
    assert_eq!(
        kept["series"][0]["points"].as_array().map(Vec::len),
        Some(1)
    );
    server.stop().await;
}

#[tokio::test]
async fn the_operators_figures_are_those_of_the_newest_tick() {
    let mut server = TestServer::start().await;
    server.tick(42.0).await;
    let figures = server.json("/api/metrics").await;
    assert_eq!(figures["cpu_percent"], 42.0);
    assert_eq!(figures["memory_percent"], 21.0);
    assert_eq!(figures["active_connections"], 0);
    assert_eq!(figures["alert_threshold"], 80.0);
    let before = figures["requests_total"].as_u64().expect("a count");
    server.get("/nothing-here.txt").await;
    server.tick(42.0).await;
    let after = server.json("/api/metrics").await["requests_total"]
        .as_u64()
        .expect("a count");
    assert!(
        after > before,
        "{after} requests after {before}: answered requests are counted"
    );
    server.stop().await;
}

#[tokio::test]
async fn own_figures_are_prometheus_text() {
    let mut server = TestServer::start().await;
    server.tick(42.0).await;
    let answer = server.get("/metrics").await;
    assert_eq!(
        answer.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = answer.text().await.expect("text");
    let has = |expected: &str| text.lines().any(|line| line == expected);
    assert!(
        has("# TYPE pulseboard_http_responses_total counter"),
        "{text}"
    );
    for series in [
        "pulseboard_sample{metric=\"cpu_usage\",unit=\"%\"} ",
        "pulseboard_sample{metric=\"cpu_core_usage\",unit=\"%\",core=\"0\"} ",
    ] {
        // 42 and 42.0 are one number to whoever scrapes.
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.parse::<f64>().ok());
        assert_eq!(value, Some(42.0), "{series} in\n{text}");
    }
    server.stop().await;
}

#[tokio::test]
async fn who_polls_gets_the_window_and_then_what_came_since() {
    let mut server = TestServer::start().await;
    server.tick(1.0).await;
    let initial = server.json("/api/metrics/since").await;
    assert_eq!(
        (&initial["type"], &initial["offset"]),
        (&json!("initial"), &json!(1))
    );
    server.tick(2.0).await;
    server.tick(3.0).await;
    let epoch = initial["epoch"].as_str().expect("an epoch");
    let since = server
        .json(&format!(
            "/api/metrics/since?epoch={epoch}&offset=1&metrics=cpu_usage"
        ))
        .await;
    assert_eq!(
        (&since["type"], &since["offset"]),
        (&json!("resumed"), &json!(3))
    );
    let values: Vec<_> = since["data"]
        .as_array()
        .expect("data")
        .iter()
        .map(|sample| &sample["value"])
        .collect();
    assert_eq!(values, [&json!(2.0), &json!(3.0)]);
    problem(
        server
            .get(&format!("/api/metrics/since?epoch={epoch}&offset=x"))
            .await,
        400,
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn ticks_come_as_events_too_and_resume_by_the_last_id() {
    let mut server = TestServer::start().await;
    server.tick(1.0).await;
    let mut stream = server.sse("/events/metrics").await;
    assert_eq!(stream.json().await.1["type"], "initial");
    server.tick(2.0).await;
    let (event, tick) = stream.json().await;
    assert_eq!(
        (&tick["type"], &tick["offset"]),
        (&json!("metrics"), &json!(2))
    );
    drop(stream);
    server.tick(3.0).await;
    server.tick(4.0).await;
    let mut stream = server
        .sse_with("/events/metrics", &[("last-event-id", &event.id)])
        .await;
    let (event, resumed) = stream.json().await;
    assert_eq!(
        (&resumed["type"], resumed["data"].as_array().map(Vec::len)),
        (&json!("resumed"), Some(8))
    );
    drop(stream);
    let mut stream = server
        .sse_with("/events/metrics", &[("last-event-id", &event.id)])
        .await;
    assert_eq!(stream.json().await.1["data"], json!([]), "nothing twice");
    server.stop().await;
}
