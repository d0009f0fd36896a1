//! `/api/incidents` and `/api/alerts/{incident}`: found, acknowledged, commented, taken away as a
//! file.

use std::time::Duration;

use pulseboard::settings::DataDir;
use pulseboard_shared::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    access::{bearer, with_tokens},
    support::{TestServer, problem, token},
};

impl TestServer {
    async fn newest(&self, tenant: &str) -> Value {
        let listed = self.asked_by(tenant, "/api/incidents").await;
        listed["incidents"][0].clone()
    }

    /// Does something to an incident for a tenant.
    async fn act(
        &self,
        tenant: &str,
        method: Method,
        path: &str,
        body: Value,
    ) -> reqwest::Response {
        let request = self.request(method, path).header("x-tenant-id", tenant);
        request.json(&body).send().await.expect("an answer")
    }
}

fn path_of(incident: &Value) -> String {
    let id = incident["incident"].as_str().expect("an identity");
    format!("/api/alerts/{id}")
}

fn alert(name: &str) -> Value {
    json!([{"labels": {"alertname": name, "severity": "warning", "job": "x"},
            "annotations": {"summary": format!("{name} is <b>bad</b>")}}])
}

#[tokio::test]
async fn incidents_are_found_page_by_page() {
    let mut server = TestServer::start().await;
    for cpu in [50.0, 95.0, 20.0] {
        server.tick(cpu).await;
    }
    for name in ["Down", "Slow"] {
        server.clock.advance(Duration::from_millis(10));
        server.post_alerts("default", alert(name)).await;
    }
    let rules = |listed: &Value| -> Vec<String> {
        let all = listed["incidents"].as_array().expect("a list").iter();
        all.map(|one| one["rule"].as_str().expect("text").to_owned())
            .collect()
    };
    let all = server.json("/api/incidents").await;
    assert_eq!(rules(&all), ["Slow", "Down", "cpu_high"]);
    assert_eq!(all["next"], Value::Null);
    assert_eq!(all["counts"], json!({"Slow": 1, "Down": 1, "cpu_high": 1}));
    for (query, found) in [
        ("state=firing", vec!["Slow", "Down"]),
        ("state=resolved", vec!["cpu_high"]),
        ("rule=Down", vec!["Down"]),
        ("severity=critical", vec!["cpu_high"]),
        ("q=sLOW", vec!["Slow"]),
        ("q=nothing", vec![]),
    ] {
        let listed = server.json(&format!("/api/incidents?{query}")).await;
        assert_eq!(rules(&listed), found, "{query}");
    }
    let mut before = String::new();
    let mut seen = Vec::new();
    loop {
        let listed = server
            .json(&format!("/api/incidents?limit=1{before}"))
            .await;
        seen.extend(rules(&listed));
        let Some(next) = listed["next"].as_str() else {
            break;
        };
        before = format!("&before={next}");
    }
    assert_eq!(seen, ["Slow", "Down", "cpu_high"]);
    for query in ["state=x", "severity=x", "before=x", "limit=0"] {
        problem(server.get(&format!("/api/incidents?{query}")).await, 400).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn somebody_has_it_in_hand_says_something_and_lets_it_go() {
    let server = TestServer::start().await;
    server.post_alerts("shop", alert("Down")).await;
    let path = path_of(&server.newest("shop").await);
    let ack = format!("{path}/ack");
    let until = "2026-11-20T21:00:00.000Z";
    let body = json!({"comment": "mine", "until": until});
    let acked = server.act("shop", Method::POST, &ack, body).await;
    assert_eq!(acked.status(), 200);
    let acked: Value = acked.json().await.expect("JSON");
    assert_eq!(
        json!([
            acked["acknowledged"]["comment"],
            acked["acknowledged"]["until"]
        ]),
        json!(["mine", until])
    );
    let by = acked["acknowledged"]["by"].as_str().expect("text");
    assert!(by.contains("operator") && by.contains("127.0.0.1"), "{by}");
    let active = server.asked_by("shop", "/api/alerts").await;
    assert_eq!(active[0]["acknowledged"]["comment"], "mine");
    assert_eq!(active[0]["annotations"]["summary"], "Down is <b>bad</b>");

    let comments = format!("{path}/comments");
    let said = server
        .act("shop", Method::POST, &comments, json!({"text": "looking"}))
        .await;
    assert_eq!(said.status(), 200);
    for (path, body, pointer) in [
        (&ack, json!(["x"]), ""),
        (&ack, json!([]), ""),
        (&ack, json!({"comment": 1}), "/comment"),
        (&ack, json!({}), "/comment"),
        (&ack, json!({"comment": "x", "until": "soon"}), "/until"),
        (&comments, json!(["x"]), ""),
        (&comments, json!({"txt": "x"}), "/txt"),
        (&comments, json!({}), "/text"),
    ] {
        let answer = server.act("shop", Method::POST, path, body.clone()).await;
        let told = problem(answer, 400).await;
        assert_eq!(told["errors"][0]["pointer"], pointer, "{body}");
    }
    let nothing = json!({"text": " "});
    problem(
        server.act("shop", Method::POST, &comments, nothing).await,
        400,
    )
    .await;
    let gone = server.act("shop", Method::DELETE, &ack, json!({})).await;
    assert_eq!(gone.status(), 200);
    problem(
        server.act("shop", Method::DELETE, &ack, json!({})).await,
        409,
    )
    .await;
    let seen = server.asked_by("shop", &path).await;
    let told: Vec<(&str, Option<&str>)> = seen["timeline"]
        .as_array()
        .expect("entries")
        .iter()
        .filter(|entry| entry["by"].is_string())
        .map(|entry| {
            (
                entry["kind"].as_str().expect("a kind"),
                entry["text"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("acknowledged", Some("mine")),
            ("comment", Some("looking")),
            ("unacknowledged", None),
        ]
    );
    // an end that is past is none
    let past = json!({"comment": "", "until": "2026-11-20T19:00:00.000Z"});
    problem(server.act("shop", Method::POST, &ack, past).await, 400).await;
    server.stop().await;
}

#[tokio::test]
async fn another_tenant_sees_and_changes_nothing() {
    let server = TestServer::start().await;
    server.post_alerts("shop", alert("Down")).await;
    let path = path_of(&server.newest("shop").await);
    let of_bank = server.asked_by("bank", "/api/incidents").await;
    assert_eq!(of_bank["incidents"], json!([]));
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::GET, format!("{path}/capsule")),
        (Method::POST, format!("{path}/ack")),
        (Method::POST, format!("{path}/comments")),
    ] {
        let answer = server
            .act("bank", method, &path, json!({"text": "x"}))
            .await;
        problem(answer, 404).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn the_servers_own_is_seen_by_all_and_looked_after_by_the_default_tenant() {
    let mut server = TestServer::start().await;
    for cpu in [50.0, 95.0] {
        server.tick(cpu).await;
    }
    let own = server.newest("default").await;
    let ack = format!("{}/ack", path_of(&own));
    let acked = server
        .act(
            "default",
            Method::POST,
            &ack,
            json!({"comment": "between us"}),
        )
        .await;
    assert_eq!(acked.status(), 200);
    let seen = server.asked_by("shop", &path_of(&own)).await;
    assert_eq!(seen["rule"], "cpu_high");
    assert!(!seen.to_string().contains("between us"), "{seen}");
    problem(server.act("shop", Method::POST, &ack, json!({})).await, 403).await;
    server.stop().await;
}

#[tokio::test]
async fn viewers_look_and_operators_act() {
    let server = TestServer::start_with(with_tokens).await;
    let sent = server
        .send_as(
            &bearer(Role::Writer),
            Method::POST,
            "/api/v2/alerts",
            Some(alert("Down")),
        )
        .await;
    assert_eq!(sent.status(), 200);
    let listed = server
        .send_as(&bearer(Role::Viewer), Method::GET, "/api/incidents", None)
        .await;
    let listed: Value = listed.json().await.expect("JSON");
    let ack = format!("{}/ack", path_of(&listed["incidents"][0]));
    for (role, status) in [
        (Role::Viewer, 403),
        (Role::Writer, 403),
        (Role::Operator, 200),
    ] {
        let answer = server
            .send_as(
                &bearer(role),
                Method::POST,
                &ack,
                Some(json!({"comment": "x"})),
            )
            .await;
        assert_eq!(answer.status(), status, "{role}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_capsule_opens_anywhere_and_runs_nothing() {
    let mut server = TestServer::start().await;
    for cpu in [50.0, 95.0, 20.0] {
        server.tick(cpu).await;
    }
    let path = path_of(&server.newest("default").await);
    let said = json!({"text": "<script>alert(1)</script>"});
    let comments = format!("{path}/comments");
    let answer = server.act("default", Method::POST, &comments, said).await;
    assert_eq!(answer.status(), 200);
    let capsule = server.get(&format!("{path}/capsule")).await;
    assert_eq!(capsule.status(), 200);
    assert_eq!(
        capsule.headers()["content-type"],
        "text/html; charset=utf-8"
    );
    let disposition = capsule.headers()["content-disposition"]
        .to_str()
        .expect("text");
    assert!(disposition.starts_with("attachment; filename=\"incident-2026-11-20-"));
    let html = capsule.text().await.expect("text");
    for part in [
        "Content-Security-Policy",
        "CPU usage critical: 95.0%",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "<svg ",
        "cpu_usage,2026-11-20T20:00:",
        ",95\n",
    ] {
        assert!(html.contains(part), "{part} in {html}");
    }
    for part in ["<script", "http://", "src=", "href="] {
        assert!(!html.contains(part), "{part} in {html}");
    }
    let seen = server.json(&path).await;
    let values = seen["values"].as_array().expect("values");
    assert!(values.iter().any(|point| point[1] == 95.0), "{values:?}");
    server.stop().await;
}

#[tokio::test]
async fn what_was_said_outlives_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = DataDir::Path(folder.path().to_owned());
    let server = TestServer::start_with(|settings| {
        settings.data_dir = data_dir.clone();
        settings.tokens = vec![token("the-token-of-an-admin", Role::Admin, None)];
    })
    .await;
    for tenant in ["shop", "bank"] {
        server.post_alerts(tenant, alert(tenant)).await;
        let ack = format!("{}/ack", path_of(&server.newest(tenant).await));
        let acked = server
            .act(tenant, Method::POST, &ack, json!({"comment": tenant}))
            .await;
        assert_eq!(acked.status(), 200);
    }
    let before = server.newest("shop").await;
    let now_ms = server.clock.now_ms();
    server.stop().await;
    let server = TestServer::start_at(now_ms, |settings| settings.data_dir = data_dir).await;
    let after = server.newest("shop").await;
    assert_eq!(after, before);
    assert_eq!(after["acknowledged"]["comment"], "shop");
    server.stop().await;
}
