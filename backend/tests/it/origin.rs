//! Which browser pages may use the server.

use pulseboard::settings::Origins;
use reqwest::Method;

use crate::support::{TestServer, problem};

#[tokio::test]
async fn a_socket_from_a_foreign_page_is_refused() {
    let server = TestServer::start().await;
    let own = format!("http://{}", server.address);
    assert!(
        server
            .try_ws("/ws/metrics", &[("origin", &own)])
            .await
            .is_ok()
    );
    for foreign in [
        "https://evil.test",
        "null",
        "http://127.0.0.1",
        &format!("{own}.evil.test"),
        &own.replace("http", "https"),
    ] {
        let refused = server
            .try_ws("/ws/metrics", &[("origin", foreign)])
            .await
            .err();
        assert_eq!(
            refused.map(|answer| answer.status().as_u16()),
            Some(403),
            "{foreign}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn a_listed_page_may_read_also_errors() {
    let listed = "https://app.example.org";
    let server = TestServer::start_with(|settings| {
        settings.allowed_origins = Origins::List(vec![listed.to_owned()])
    })
    .await;
    for (path, status) in [
        ("/api/stats", 200),
        ("/api/metrics/recent?count=x", 400),
        ("/api/nothing", 404),
    ] {
        let answer = server
            .request(Method::GET, path)
            .header("origin", listed)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.headers()["access-control-allow-origin"], listed);
        assert_eq!(answer.headers()["access-control-allow-credentials"], "true");
        assert!(
            answer
                .headers()
                .get_all("vary")
                .iter()
                .any(|value| value == "Origin")
        );
    }
    assert!(
        server
            .try_ws("/ws/metrics", &[("origin", listed)])
            .await
            .is_ok()
    );
    let preflight = server
        .request(Method::OPTIONS, "/api/stats")
        .header("origin", listed)
        .header("access-control-request-method", "GET")
        .send()
        .await
        .expect("an answer");
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.headers()["access-control-allow-origin"], listed);
    let other = server
        .request(Method::GET, "/api/stats")
        .header("origin", "https://b.test")
        .send()
        .await
        .expect("an answer");
    assert!(!other.headers().contains_key("access-control-allow-origin"));
    server.stop().await;
}

#[tokio::test]
async fn any_page_may_where_the_setting_says_so_but_without_cookies() {
    let server = TestServer::start_with(|settings| settings.allowed_origins = Origins::Any).await;
    let answer = server
        .request(Method::GET, "/api/stats")
        .header("origin", "https://a.test")
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    assert!(
        !answer
            .headers()
            .contains_key("access-control-allow-credentials")
    );
    server.stop().await;
}

#[tokio::test]
async fn a_foreign_page_changes_nothing() {
    let server = TestServer::start().await;
    let answer = server
        .request(Method::POST, "/api/stats")
        .header("origin", "https://evil.test")
        .send()
        .await
        .expect("an answer");
    problem(answer, 403).await;
    server.stop().await;
}
