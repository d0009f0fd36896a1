//! `GET /events/alerts` and `GET /api/alerts`.

use std::time::Duration;

use serde_json::json;

use crate::support::TestServer;

#[tokio::test]
async fn an_incident_is_told_when_it_begins_now_and_then_and_when_it_ends() {
    let mut server =
        TestServer::start_with(|settings| settings.alert_check = Duration::from_secs(3)).await;
    let mut stream = server.sse("/events/alerts").await;
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert_eq!(stream.headers["x-accel-buffering"], "no");
    assert_eq!(stream.headers["cache-control"], "no-cache");
    for cpu in [50.0, 93.44, 94.0, 95.0, 96.0, 97.0, 20.0] {
        server.tick(cpu).await;
    }
    let (event, first) = stream.json().await;
    assert_eq!(event.event, "message", "unnamed");
    assert_eq!(first["message"], "CPU usage critical: 93.4%");
    assert_eq!(
        (&first["severity"], &first["state"]),
        (&json!("critical"), &json!("firing"))
    );
    let (event, second) = stream.json().await;
    assert_eq!(event.event, "message");
    assert_eq!(second["message"], "CPU usage critical: 96.0%");
    let (event, last) = stream.json().await;
    assert_eq!(event.event, "resolved");
    assert_eq!(last["state"], "resolved");
    assert!(first["incident"] == second["incident"] && second["incident"] == last["incident"]);
    assert!(first["id"] != second["id"] && second["id"] != last["id"]);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_comes_back_gets_each_alert_it_missed_once() {
    let mut server =
        TestServer::start_with(|settings| settings.alert_check = Duration::from_secs(1)).await;
    let mut stream = server.sse("/events/alerts").await;
    for cpu in [1.0, 91.0, 92.0, 93.0] {
        server.tick(cpu).await;
    }
    let (seen, _) = stream.json().await;
    drop(stream);
    for (header, path) in [
        (
            vec![("last-event-id", &*seen.id)],
            "/events/alerts".to_owned(),
        ),
        (vec![], format!("/events/alerts?last-event-id={}", seen.id)),
        // A header that says nothing does not hide a query that does.
        (
            vec![("last-event-id", "")],
            format!("/events/alerts?last-event-id={}", seen.id),
        ),
    ] {
        let mut again = server.sse_with(&path, &header).await;
        let missed = [again.json().await.1, again.json().await.1];
        assert_eq!(
            missed.map(|alert| alert["value"].as_f64()),
            [Some(92.0), Some(93.0)]
        );
    }
    let mut of_another_run = server
        .sse_with("/events/alerts", &[("last-event-id", "7")])
        .await;
    assert_eq!(of_another_run.json().await.1["value"], 91.0);
    let mut new = server
        .sse_with("/events/alerts", &[("last-event-id", "nonsense")])
        .await;
    server.tick(94.0).await;
    assert_eq!(new.json().await.1["value"], 94.0);
    server.stop().await;
}

#[tokio::test]
async fn a_quiet_stream_has_heartbeats() {
    let server = TestServer::start().await;
    // A moment after a sweep, so that no sweep comes exactly 30 s later.
    server.clock.advance(Duration::from_millis(300));
    let mut stream = server.sse("/events/alerts").await;
    for (after, at) in [
        (Duration::from_millis(29_700), "20:00:30"),
        (Duration::from_secs(30), "20:01:00"),
    ] {
        server.clock.advance(after);
        let (event, heartbeat) = stream.json().await;
        assert_eq!(event.event, "message");
        assert_eq!(
            heartbeat,
            json!({"type": "heartbeat", "timestamp": format!("2026-11-20T{at}.000Z")})
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn a_page_just_opened_can_ask_what_goes_on() {
    let mut server = TestServer::start().await;
    assert_eq!(server.json("/api/alerts").await, json!([]));
    server.tick(95.0).await;
    let active = server.json("/api/alerts").await;
    assert_eq!(
        (&active[0]["rule"], &active[1]),
        (&json!("cpu_high"), &json!(null))
    );
    server.tick(5.0).await;
    assert_eq!(server.json("/api/alerts").await, json!([]));
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_closed_is_forgotten() {
    let server = TestServer::start().await;
    let stream = server.sse("/events/alerts").await;
    let open = "pulseboard_streams_open{kind=\"sse_alerts\"}";
    server
        .eventually("the stream is counted", async || {
            server.own_metric(open).await == 1
        })
        .await;
    drop(stream);
    server
        .eventually("the stream is forgotten", async || {
            server.own_metric(open).await == 0
        })
        .await;
    server.stop().await;
}
