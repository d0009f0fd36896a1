//! Who may do what.

use pulseboard::settings::{Settings, Token};
use pulseboard_shared::Role;
use reqwest::Method;

use crate::support::{TestServer, problem};

fn with_tokens(settings: &mut Settings) {
    settings.anonymous_role = Some(Role::None);
    settings.tokens = [("see", Role::Viewer), ("push", Role::Writer)]
        .map(|(secret, role)| Token {
            secret: secret.to_owned(),
            role,
            tenant: None,
        })
        .to_vec();
}

#[tokio::test]
async fn reading_needs_a_token_that_reads() {
    let server = TestServer::start_with(with_tokens).await;
    for path in [
        "/api/stats",
        "/api/metrics",
        "/api/metrics/recent",
        "/api/alerts",
        "/metrics",
        "/events/alerts",
    ] {
        let anonymous = server.get(path).await;
        assert!(
            anonymous.headers().contains_key("www-authenticate"),
            "{path}"
        );
        problem(anonymous, 401).await;
        for (authorization, status) in [
            ("Bearer see", 200),
            ("bearer see", 200),
            ("Bearer push", 403),
            ("Bearer nobody", 401),
            ("Basic see", 401),
        ] {
            let answer = server
                .request(Method::GET, path)
                .header("authorization", authorization)
                .send()
                .await
                .expect("an answer");
            assert_eq!(answer.status(), status, "{path} with {authorization}");
        }
    }
    for path in ["/healthz", "/readyz"] {
        assert_ne!(server.get(path).await.status(), 401, "probes have no token");
    }
    server.stop().await;
}

#[tokio::test]
async fn sockets_ask_for_the_same() {
    let server = TestServer::start_with(with_tokens).await;
    let status = async |headers: &[(&'static str, &str)]| match server
        .try_ws("/ws/metrics", headers)
        .await
    {
        Ok(_) => 101,
        Err(answer) => answer.status().as_u16(),
    };
    assert_eq!(status(&[]).await, 401);
    assert_eq!(status(&[("authorization", "Bearer push")]).await, 403);
    assert_eq!(status(&[("authorization", "Bearer see")]).await, 101);
    server.stop().await;
}
