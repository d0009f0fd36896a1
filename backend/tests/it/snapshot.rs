//! `POST /api/v1/admin/tsdb/snapshot`: a copy of everything is for who administers the server.

use std::fs;

use pulseboard::settings::DataDir;
use pulseboard_shared::Role;
use reqwest::Method;
use serde_json::Value;

use crate::support::{TestServer, problem, token};

const PATH: &str = "/api/v1/admin/tsdb/snapshot";
const ADMIN: &str = "the-token-of-an-admin-of-all";
const OF_RED: &str = "the-token-of-an-admin-of-red";

#[tokio::test]
async fn a_copy_of_all_tenants_is_made_for_admins_of_the_server_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_path_buf();
    let server = TestServer::start_with(move |settings| {
        settings.data_dir = DataDir::Path(data);
        settings.tokens = vec![
            token(ADMIN, Role::Admin, None),
            token(OF_RED, Role::Admin, Some("red")),
        ];
    })
    .await;
    let ask = async |secret: Option<&str>| {
        let request = server.request(Method::POST, PATH);
        let request = match secret {
            Some(secret) => request.bearer_auth(secret),
            None => request,
        };
        request.send().await.expect("an answer")
    };
    assert!([401, 403].contains(&ask(None).await.status().as_u16()));
    problem(ask(Some(OF_RED)).await, 403).await;
    assert!(
        !folder.path().join("snapshots").exists(),
        "nothing was made for them"
    );
    let made: Value = {
        let answer = ask(Some(ADMIN)).await;
        assert_eq!(answer.status(), 200);
        answer.json().await.expect("JSON")
    };
    let name = made["data"]["name"].as_str().expect("a name");
    let copy = folder.path().join("snapshots").join(name);
    assert!(fs::read_dir(copy).expect("a folder").next().is_some());
    server.stop().await;
}
