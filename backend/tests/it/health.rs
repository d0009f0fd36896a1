//! `GET /healthz` and `GET /readyz`.

use pulseboard_shared::Role;
use reqwest::Method;
use serde_json::Value;

use crate::{
    access::{bearer, with_tokens},
    support::TestServer,
};

#[tokio::test]
async fn ready_once_there_are_figures() {
    let mut server = TestServer::start().await;
    let healthz = server.get("/healthz").await;
    assert_eq!(healthz.status(), 200);
    // A page from elsewhere tells a server that is away from one that does not allow it.
    assert_eq!(
        healthz.headers()["cross-origin-resource-policy"],
        "cross-origin"
    );
    assert_eq!(server.get("/readyz").await.status(), 503);
    server.tick(1.0).await;
    let readiness = server.json("/readyz").await;
    assert_eq!(readiness["ready"], true);
    assert!(
        readiness["history"].is_null(),
        "nothing is kept: {readiness}"
    );
    server.stop().await;
}

#[tokio::test]
async fn it_says_how_the_disk_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_path_buf();
    let server = TestServer::start_with(|settings| {
        settings.data_dir = pulseboard::settings::DataDir::Path(path);
    })
    .await;
    let readiness: serde_json::Value = server.get("/readyz").await.json().await.expect("JSON");
    assert_eq!(readiness["history"], serde_json::json!({"writable": true}));
    server.stop().await;
}

#[tokio::test]
async fn one_server_is_a_service_by_itself() {
    let mut server = TestServer::start_with(|settings| {
        let anonymous = settings.anonymous_role;
        with_tokens(settings);
        settings.anonymous_role = anonymous;
    })
    .await;
    server.tick(1.0).await;
    let admin = bearer(Role::Admin);
    let answer = server
        .send_as(&admin, Method::GET, "/api/cluster", None)
        .await;
    assert_eq!(answer.status(), 200);
    let service: Value = answer.json().await.expect("JSON");
    assert_eq!([&service["mode"], &service["state"]], ["single", "joined"]);
    let members = service["members"].as_array().expect("members");
    assert_eq!(members.len(), 1);
    assert_eq!([&members[0]["this"], &members[0]["ready"]], [true, true]);
    server.stop().await;
}
