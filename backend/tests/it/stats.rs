//! `GET /api/stats`.

use serde_json::json;

use crate::support::TestServer;

#[tokio::test]
async fn all_is_zero_before_the_first_tick() {
    let server = TestServer::start().await;
    let none = json!({"avg": 0.0, "max": 0.0, "min": 0.0, "count": 0});
    assert_eq!(
        server.json("/api/stats").await,
        json!({"cpu": none, "memory": none, "requests": none, "latency": none})
    );
    server.stop().await;
}

#[tokio::test]
async fn figures_are_those_of_the_window() {
    let mut server = TestServer::start_with(|settings| settings.window_size = 3).await;
    for cpu in [80.0, 10.0, 20.0, 60.0] {
        server.tick(cpu).await;
    }
    let stats = server.json("/api/stats").await;
    assert_eq!(
        stats["cpu"],
        json!({"avg": 30.0, "max": 60.0, "min": 10.0, "count": 3})
    );
    assert_eq!(
        stats["requests"],
        json!({"avg": 300.0, "max": 600.0, "min": 100.0, "count": 3})
    );
    server.stop().await;
}
