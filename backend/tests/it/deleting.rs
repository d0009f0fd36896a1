//! `POST /api/v1/admin/tsdb/delete_series`: who may, whose series, and that nothing of them is
//! found again.

use std::path::Path;

use pulseboard::settings::{DataDir, Settings};
use pulseboard_shared::Role;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::{START_MS, TestServer, problem, token};

const ADMIN: &str = "the-token-of-an-admin";
const HOUR_MS: i64 = 3_600_000;

const DELETE: &str = "/api/v1/admin/tsdb/delete_series";
const CLEAN: &str = "/api/v1/admin/tsdb/clean_tombstones";

async fn start_at(now_ms: i64, folder: &Path) -> TestServer {
    let folder = folder.to_path_buf();
    TestServer::start_at(now_ms, move |settings: &mut Settings| {
        settings.data_dir = DataDir::Path(folder);
        settings.tokens = vec![token(ADMIN, Role::Admin, None)];
    })
    .await
}

async fn order(server: &TestServer, path: &str, tenant: &str, query: &[(&str, &str)]) -> Response {
    server
        .request(Method::POST, path)
        .header("authorization", format!("Bearer {ADMIN}"))
        .header("x-tenant-id", tenant)
        .query(query)
        .send()
        .await
        .expect("an answer")
}

/// How many samples of each series of a tenant there are.
async fn counts(server: &TestServer, tenant: &str) -> Vec<(String, String)> {
    let query = "sort(count_over_time({__name__=~\"one|two\"}[40h]))";
    let time = (server.clock.now_ms() / 1000).to_string();
    let answer = server
        .request(Method::GET, "/api/v1/query")
        .header("x-tenant-id", tenant)
        .query(&[("query", query), ("time", &time)])
        .send()
        .await
        .expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let result = answer["data"]["result"].as_array().expect("a vector");
    let count = |one: &Value| (text(&one["metric"]["host"]), text(&one["value"][1]));
    let mut counts: Vec<_> = result.iter().map(count).collect();
    counts.sort();
    counts
}

async fn names(server: &TestServer, tenant: &str) -> Value {
    let path = format!("/api/v1/label/host/values?tenant={tenant}");
    server.json(&path).await["data"].clone()
}

fn owned(counts: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(host, count): &(&str, &str)| (host.to_string(), count.to_string());
    counts.iter().map(owned).collect()
}

#[tokio::test]
async fn what_an_admin_deletes_of_a_tenant_is_gone_for_good() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start_at(START_MS, folder.path()).await;
    for tenant in ["red", "blue"] {
        let mut body = String::new();
        for back in 0..30 {
            let at_ms = START_MS - back * HOUR_MS;
            body.push_str(&format!("one{{host=\"a\"}} 1 {at_ms}\n"));
            body.push_str(&format!("two{{host=\"b\"}} 2 {at_ms}\n"));
        }
        server.push(tenant, body).await;
    }
    let all = owned(&[("a", "30"), ("b", "30")]);
    assert_eq!(counts(&server, "red").await, all);

    // Nobody but an admin, and nothing by mistake.
    let answer = server.request(Method::POST, DELETE).send().await;
    problem(answer.expect("an answer"), 401).await;
    let answer = server.request(Method::POST, CLEAN).send().await;
    problem(answer.expect("an answer"), 401).await;
    for wrong in [
        &[][..],
        &[("match[]", "one{")],
        &[("match[]", "one"), ("start", "x")],
        &[("match[]", "one"), ("start", "9"), ("end", "8")],
    ] {
        let answer = order(&server, DELETE, "red", wrong).await;
        assert_eq!(answer.status(), 400, "{wrong:?}");
        let told: Value = answer.json().await.expect("JSON");
        assert_eq!(told["errorType"], "bad_data", "{told}");
    }
    assert_eq!(counts(&server, "red").await, all);

    // Ten hours of one series, and all of the other.
    let at = |hours: i64| ((START_MS - hours * HOUR_MS) / 1000).to_string();
    let stretch = [("match[]", "one"), ("start", &at(20)), ("end", &at(11))];
    assert_eq!(order(&server, DELETE, "red", &stretch).await.status(), 204);
    assert_eq!(
        counts(&server, "red").await,
        owned(&[("a", "20"), ("b", "30")])
    );
    let whole = [("match[]", "two{host=~\"b|c\"}")];
    assert_eq!(order(&server, DELETE, "red", &whole).await.status(), 204);
    let left = owned(&[("a", "20")]);
    assert_eq!(counts(&server, "red").await, left);
    assert_eq!(names(&server, "red").await, json!(["a"]));
    let series = server.json("/api/series?tenant=red").await;
    assert_eq!(series["total"], 1, "{series}");

    // Another tenant's are as they were, also after a restart and on the disk.
    assert_eq!(counts(&server, "blue").await, all);
    assert_eq!(names(&server, "blue").await, json!(["a", "b"]));
    server.stop().await;
    let server = start_at(START_MS + 1_000, folder.path()).await;
    assert_eq!(order(&server, CLEAN, "red", &[]).await.status(), 204);
    assert_eq!(counts(&server, "red").await, left);
    assert_eq!(names(&server, "red").await, json!(["a"]));
    assert_eq!(counts(&server, "blue").await, all);

    // What comes after it stays, whatever its time.
    let late = format!(
        "one{{host=\"a\"}} 5 {}\ntwo{{host=\"b\"}} 6 {}\n",
        START_MS - 12 * HOUR_MS,
        START_MS
    );
    server.push("red", late).await;
    assert_eq!(
        counts(&server, "red").await,
        owned(&[("a", "21"), ("b", "1")])
    );
    server.stop().await;
    let server = start_at(START_MS + 2_000, folder.path()).await;
    assert_eq!(
        counts(&server, "red").await,
        owned(&[("a", "21"), ("b", "1")])
    );
    server.stop().await;
}
