//! `GET /api/metrics/stream` and `GET /ws/control`.

use pulseboard::settings::{DataDir, SourceKind};
use serde_json::json;

use crate::support::TestServer;

#[tokio::test]
async fn the_stream_says_its_interval_then_the_figures_of_every_tick() {
    let mut server = TestServer::start().await;
    let mut stream = server.sse("/api/metrics/stream").await;
    let (config, data) = stream.json().await;
    assert_eq!(
        (config.event.as_str(), data),
        ("config", json!({"interval_ms": 1000}))
    );
    assert_eq!(config.retry.map(|retry| retry.as_millis()), Some(5000));
    server.tick(42.0).await;
    server.tick(87.34).await;
    let (first, figures) = stream.json().await;
    assert_eq!(
        (first.event.as_str(), &figures["cpu_percent"]),
        ("metrics", &json!(42.0))
    );
    let (second, _) = stream.json().await;
    let ids = [first.id, second.id].map(|id| id.parse::<u64>().expect("a number"));
    assert_eq!(ids[1], ids[0] + 1);
    let alert = stream.next().await.expect("an alert above the threshold");
    assert_eq!(
        (alert.event.as_str(), alert.data.as_str()),
        ("alert", "CPU usage at 87.3%")
    );
    server.tick(1.0).await;
    assert_eq!(
        stream.json().await.0.event,
        "metrics",
        "no alert below the threshold"
    );

    let last_seen = ids[0].to_string();
    let mut again = server
        .sse_with("/api/metrics/stream", &[("last-event-id", &last_seen)])
        .await;
    assert_eq!(again.json().await.0.event, "config");
    assert_eq!(
        again.json().await.1["cpu_percent"],
        87.34,
        "what was missed is replayed"
    );
    server.stop().await;
}

#[tokio::test]
async fn commands_are_answered_as_written() {
    let mut server = TestServer::start().await;
    let mut control = server.ws("/ws/control").await;
    assert_eq!(
        control.json().await,
        json!({"message": "Control channel connected"})
    );
    server.get("/nothing.txt").await;
    server.tick(1.0).await;
    assert!(server.json("/api/metrics").await["requests_total"].as_u64() > Some(0));
    for (command, reply) in [
        (r#"{"command":"reset_counters"}"#, "Counters reset"),
        (
            r#"{"command":"set_threshold","value":90}"#,
            "Threshold set to 90.0%",
        ),
        (
            r#"{"command":"set_threshold","value":"72.25"}"#,
            "Threshold set to 72.25%",
        ),
        (r#"{"command":"set_threshold"}"#, "Threshold set to 80.0%"),
        (
            r#"{"command":"self_destruct"}"#,
            "Unknown command: self_destruct",
        ),
    ] {
        control.send(command).await;
        assert_eq!(control.json().await, json!({"message": reply}), "{command}");
    }
    for wrong in [
        "nonsense",
        r#"{"command":"set_threshold","value":101}"#,
        r#"{"command":"set_threshold","value":"hot"}"#,
    ] {
        control.send(wrong).await;
        let reply = control.json().await;
        assert!(
            reply["message"]
                .as_str()
                .is_some_and(|message| message.starts_with("Error: ")),
            "{reply}"
        );
    }
    let figures = server.json("/api/metrics").await;
    assert_eq!(
        (&figures["requests_total"], &figures["alert_threshold"]),
        (&json!(0), &json!(80.0))
    );
    assert_eq!(figures["active_connections"], 1);
    drop(control);
    server
        .eventually("the socket is forgotten", async || {
            server.json("/api/metrics").await["active_connections"] == 0
        })
        .await;
    server.stop().await;
}

#[tokio::test]
async fn totals_are_of_now_and_what_was_reset_does_not_come_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_path_buf();
    let start = || {
        TestServer::start_with(|settings| {
            settings.data_dir = DataDir::Path(path.clone());
            settings.metric_source = SourceKind::None;
        })
    };
    let mut server = start().await;
    server.tick(1.0).await;
    let total = async |server: &TestServer| {
        let figures = server.json("/api/metrics").await;
        figures["requests_total"].as_u64().expect("a number")
    };
    let before = total(&server).await;
    for _ in 0..10 {
        server.get("/nothing.txt").await;
    }
    assert!(total(&server).await >= before + 10, "without a tick");
    let mut control = server.ws("/ws/control").await;
    control.json().await;
    control.send(r#"{"command":"reset_counters"}"#).await;
    assert_eq!(control.json().await, json!({"message": "Counters reset"}));
    server.tick(1.0).await;
    assert!(total(&server).await <= 1, "requests of before the reset");
    for _ in 0..10 {
        server.get("/nothing.txt").await;
    }
    drop(control);
    server.stop().await;
    let server = start().await;
    assert!(total(&server).await >= 10, "what no tick has seen is kept");
    server.stop().await;
}

#[tokio::test]
async fn the_threshold_outlives_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_path_buf();
    let start =
        || TestServer::start_with(|settings| settings.data_dir = DataDir::Path(path.clone()));
    let server = start().await;
    let mut control = server.ws("/ws/control").await;
    control.json().await;
    control
        .send(r#"{"command":"set_threshold","value":55}"#)
        .await;
    control.json().await;
    drop(control);
    server.stop().await;
    let server = start().await;
    assert_eq!(server.json("/api/metrics").await["alert_threshold"], 55.0);
    server.stop().await;
    std::fs::write(folder.path().join("operator.json"), "{torn").expect("written");
    let server = start().await;
    assert_eq!(
        server.json("/api/metrics").await["alert_threshold"],
        80.0,
        "a damaged file is passed over"
    );
    server.stop().await;
}
