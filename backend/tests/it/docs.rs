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
        // There is no incident, which is a 404 of its own.
        let is_one_of_some = path.contains("{incident}");
        let is_stream = path.contains("stream") || path.starts_with("/events");
        if item.get("get").is_some() && !is_stream && !is_one_of_some {
            let status = server.get(path).await.status();
            assert!(status != 404 && status != 405, "{path} answers {status}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn the_description_can_be_browsed_offline_and_without_scripts() {
    let server = TestServer::start().await;
    for path in ["/docs", "/docs/index.html"] {
        let page = server.get(path).await;
        assert_eq!(page.status(), 200, "{path}");
        let policy = page.headers()["content-security-policy"].to_str();
        assert!(policy.is_ok_and(|policy| policy.contains("default-src 'none'")));
        let html = page.text().await.expect("text");
        assert!(html.contains("/api/metrics/recent") && !html.contains("<script"));
        assert!(html.contains("href=\"/docs/style.css\""));
    }
    let readme = server.get("/docs/README.md").await;
    assert_eq!(
        readme.headers()["content-type"],
        "text/plain; charset=utf-8"
    );
    let readme = readme.text().await.expect("text");
    assert!(readme.starts_with("# Pulseboard"), "{readme:.80}");
    let style = server.get("/docs/style.css").await;
    assert_eq!(style.headers()["content-type"], "text/css; charset=utf-8");
    server.stop().await;
}
