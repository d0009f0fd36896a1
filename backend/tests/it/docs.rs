//! `GET /api/openapi.json` and `/docs`.

use crate::support::TestServer;

#[tokio::test]
async fn every_described_path_is_there() {
    let server = TestServer::start().await;
    let description = server.json("/api/openapi.json").await;
    assert_eq!(description["openapi"], "3.1.0");
    let paths = description["paths"].as_object().expect("paths");
    assert!(paths.len() >= 10);
    for (path, item) in paths {
        if item.get("get").is_some() && !path.contains("stream") && !path.starts_with("/events") {
            let status = server.get(path).await.status();
            assert!(status != 404 && status != 405, "{path} answers {status}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn the_description_can_be_browsed_offline() {
    let server = TestServer::start().await;
    let page = server.get("/docs").await;
    assert_eq!(page.status(), 200);
    assert!(
        page.headers()["content-security-policy"]
            .to_str()
            .is_ok_and(|policy| policy.contains("script-src 'self';"))
    );
    let html = page.text().await.expect("text");
    for file in ["swagger-ui.css", "swagger-ui-bundle.js", "start.js"] {
        assert!(html.contains(file));
        assert_eq!(
            server.get(&format!("/docs/{file}")).await.status(),
            200,
            "{file}"
        );
    }
    server.stop().await;
}
