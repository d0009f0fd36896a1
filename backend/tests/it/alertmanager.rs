//! `/api/v2` as Alertmanager answers it: shapes, flows, roles, tenants.

use std::time::Duration;

use pulseboard_shared::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    access::{bearer, with_tokens},
    support::{TestServer, problem, token},
};

/// As `amtool` sends a time that it does not give.
const ZERO: &str = "0001-01-01T00:00:00.000Z";

impl TestServer {
    /// Sends alerts for a tenant.
    pub(crate) async fn post_alerts(&self, tenant: &str, alerts: Value) {
        let request = self.request(Method::POST, "/api/v2/alerts");
        let answer = request.header("x-tenant-id", tenant).json(&alerts);
        let answer = answer.send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("text");
        assert_eq!((status.as_u16(), &*text), (200, ""));
    }

    /// What is answered to a tenant.
    pub(crate) async fn asked_by(&self, tenant: &str, path: &str) -> Value {
        let request = self.request(Method::GET, path);
        let answer = request.header("x-tenant-id", tenant).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.expect("JSON")
    }

    /// Makes a silence for a tenant that lasts for an hour.
    pub(crate) async fn make_silence(&self, tenant: &str, name: &str, value: &str) -> String {
        let now_ms = self.clock.now_ms();
        let time = |ms: i64| pulseboard_shared::Timestamp::from_millis(ms).to_string();
        let body = json!({
            "matchers": [{"name": name, "value": value, "isRegex": false}],
            "startsAt": time(now_ms), "endsAt": time(now_ms + 3_600_000),
            "createdBy": "ann", "comment": "at work",
        });
        let request = self.request(Method::POST, "/api/v2/silences");
        let answer = request.header("x-tenant-id", tenant).json(&body).send();
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.status(), 200);
        let made: Value = answer.json().await.expect("JSON");
        made["silenceID"].as_str().expect("an identity").to_owned()
    }
}

fn names(alerts: &Value) -> Vec<&str> {
    let alerts = alerts.as_array().expect("a list").iter();
    alerts
        .map(|alert| alert["labels"]["alertname"].as_str().expect("a name"))
        .collect()
}

#[tokio::test]
async fn alerts_that_are_sent_are_told_with_their_states() {
    let server = TestServer::start().await;
    server
        .post_alerts(
            "default",
            json!([
                {"labels": {"alertname": "Down", "job": "a"}, "startsAt": ZERO, "endsAt": ZERO},
                {"labels": {"alertname": "Slow", "job": "b"}, "annotations": {"summary": "slow"},
                 "generatorURL": "http://prometheus/graph"},
            ]),
        )
        .await;
    let alerts = server.json("/api/v2/alerts").await;
    assert_eq!(alerts.as_array().expect("a list").len(), 2);
    let slow = server.json("/api/v2/alerts?filter=job%3D%22b%22").await;
    assert_eq!(names(&slow), ["Slow"]);
    assert_eq!(
        (
            &slow[0]["status"],
            &slow[0]["generatorURL"],
            &slow[0]["startsAt"]
        ),
        (
            &json!({"inhibitedBy": [], "silencedBy": [], "mutedBy": [], "state": "active"}),
            &json!("http://prometheus/graph"),
            &json!("2026-11-20T20:00:00.000Z"),
        )
    );
    // five minutes after it was said last it is taken to be over
    assert_eq!(slow[0]["endsAt"], "2026-11-20T20:05:00.000Z");

    let id = server.make_silence("default", "job", "b").await;
    let quiet = server.json("/api/v2/alerts?silenced=false").await;
    assert_eq!(names(&quiet), ["Down"]);
    let slow = server.json("/api/v2/alerts?active=false").await;
    assert_eq!(slow[0]["status"]["silencedBy"], json!([id]));
    assert_eq!(slow[0]["status"]["state"], "suppressed");

    let groups = server.json("/api/v2/alerts/groups").await;
    assert_eq!(groups[0]["labels"], json!({}));
    assert_eq!(groups[0]["alerts"].as_array().map(Vec::len), Some(2));

    server.clock.advance(Duration::from_secs(301));
    server
        .eventually("they are over", async || {
            server.json("/api/v2/alerts").await == json!([])
        })
        .await;
    server.stop().await;
}

#[tokio::test]
async fn silences_are_made_changed_and_ended() {
    let server = TestServer::start().await;
    assert_eq!(server.json("/api/v2/silences").await, json!([]));
    let id = server.make_silence("default", "job", "b").await;
    let path = format!("/api/v2/silence/{id}");
    let silence = server.json(&path).await;
    assert_eq!(
        json!([
            silence["status"]["state"],
            silence["createdBy"],
            silence["comment"],
            silence["matchers"],
        ]),
        json!(["active", "ann", "at work", [
            {"isEqual": true, "isRegex": false, "name": "job", "value": "b"}
        ]])
    );
    let delete = || server.request(Method::DELETE, &path).send();
    let ended = delete().await.expect("an answer");
    assert_eq!(ended.status(), 200);
    assert_eq!(ended.text().await.expect("text"), "");
    assert_eq!(server.json(&path).await["status"]["state"], "expired");
    let again = delete().await.expect("an answer");
    assert_eq!(again.status(), 200, "it has ended");
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_said_as_there() {
    let server = TestServer::start().await;
    let answer = async |method: Method, path: &str, body: Option<Value>| {
        let mut request = server.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    let (status, text) = answer(Method::GET, "/api/v2/alerts?filter=%7B", None).await;
    assert_eq!(status, 400);
    assert!(serde_json::from_str::<String>(&text).is_ok(), "{text}");
    for (path, body) in [
        ("/api/v2/alerts", json!({})),
        ("/api/v2/alerts", json!([{"labels": {}}])),
        (
            "/api/v2/alerts",
            json!([{"labels": {"a": "b"}, "startsAt": "soon"}]),
        ),
        (
            "/api/v2/silences",
            json!({
                "matchers": [{"name": "", "value": "b", "isRegex": false}], "startsAt": "2026-11-20T20:00:00Z", "endsAt": "2026-11-21T20:00:00Z",
                "createdBy": "a", "comment": "b",
            }),
        ),
    ] {
        let (status, text) = answer(Method::POST, path, Some(body)).await;
        assert_eq!(status, 400, "{text}");
        assert!(serde_json::from_str::<String>(&text).is_ok(), "{text}");
    }
    for (path, body, code) in [
        ("/api/v2/silences", json!({}), 602),
        ("/api/v2/alerts", json!([{}]), 602),
        (
            "/api/v2/alerts",
            json!([{"labels": {"a": "b"}, "generatorURL": "not a url"}]),
            601,
        ),
    ] {
        let (status, text) = answer(Method::POST, path, Some(body)).await;
        assert_eq!(status, 422, "{text}");
        let said: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(said["code"], code, "{said}");
    }
    for path in ["/api/v2/alerts", "/api/v2/silences"] {
        for (kind, body, status) in [
            ("text/plain", "[]", 415),
            ("", "[]", 415),
            ("x y z", "[]", 400),
            ("", "", 422),
            ("APPLICATION/JSON; charset=utf-8", "", 422),
        ] {
            let mut request = server.request(Method::POST, path).body(body);
            if !kind.is_empty() {
                request = request.header("content-type", kind);
            }
            let answer = request.send().await.expect("an answer");
            assert_eq!(answer.status(), status, "{path} {kind:?} {body:?}");
        }
    }
    for (kind, body) in [
        ("application/json; charset=utf-8", "[]"),
        ("Application/JSON", "null"),
    ] {
        let request = server.request(Method::POST, "/api/v2/alerts").body(body);
        let answer = request.header("content-type", kind).send().await;
        assert_eq!(answer.expect("an answer").status(), 200, "{kind}");
    }
    let nobody = "/api/v2/silence/00000000-0000-4000-8000-000000000000";
    assert_eq!(
        answer(Method::GET, nobody, None).await,
        (404, String::new())
    );
    assert_eq!(
        answer(Method::DELETE, nobody, None).await,
        (404, String::new())
    );
    assert_eq!(answer(Method::GET, "/api/v2/silence/x", None).await.0, 422);
    server.stop().await;
}

#[tokio::test]
async fn a_batch_with_one_bad_alert_is_taken_but_for_that() {
    let server = TestServer::start().await;
    let request = server.request(Method::POST, "/api/v2/alerts");
    let answer = request.json(&json!([{"labels": {"alertname": "Good"}}, {"labels": {"a": ""}}]));
    let answer = answer.send().await.expect("an answer");
    assert_eq!(answer.status(), 400);
    assert_eq!(names(&server.json("/api/v2/alerts").await), ["Good"]);
    server.stop().await;
}

#[tokio::test]
async fn status_says_what_clients_look_for() {
    let server = TestServer::start().await;
    let status = server.json("/api/v2/status").await;
    assert_eq!(status["cluster"]["status"], "disabled");
    assert_eq!(status["versionInfo"]["version"], "0.28.0");
    let original = status["config"]["original"].as_str().expect("YAML");
    assert!(original.contains("receiver: nobody"), "{original}");
    assert_eq!(
        server.json("/api/v2/receivers").await,
        json!([{"name": "nobody"}])
    );
    let own = server
        .own_metric("alertmanager_build_info{version=\"0.28.0\"}")
        .await;
    assert_eq!(own, 1);
    server.stop().await;
}

#[tokio::test]
async fn each_tenant_has_its_own_and_nobody_sees_anothers() {
    let server = TestServer::start().await;
    for tenant in ["shop", "bank"] {
        let alert = json!([{"labels": {"alertname": tenant, "job": "x"}}]);
        server.post_alerts(tenant, alert).await;
    }
    server.make_silence("shop", "job", "x").await;
    for (tenant, state, silences) in [("shop", "suppressed", 1), ("bank", "active", 0)] {
        let alerts = server.asked_by(tenant, "/api/v2/alerts").await;
        assert_eq!(names(&alerts), [tenant]);
        assert_eq!(alerts[0]["status"]["state"], state);
        let all = server.asked_by(tenant, "/api/v2/silences").await;
        assert_eq!(all.as_array().map(Vec::len), Some(silences));
    }
    assert_eq!(
        server.json("/api/v2/alerts").await,
        json!([]),
        "the default tenant"
    );
    server.stop().await;
}

#[tokio::test]
async fn writers_send_alerts_operators_silence_and_viewers_look() {
    let server = TestServer::start_with(with_tokens).await;
    let alert = || Some(json!([{"labels": {"alertname": "A"}}]));
    for (role, status) in [
        (Role::Viewer, 403),
        (Role::Writer, 200),
        (Role::Operator, 200),
        (Role::Admin, 200),
    ] {
        let answer = server
            .send_as(&bearer(role), Method::POST, "/api/v2/alerts", alert())
            .await;
        assert_eq!(answer.status(), status, "{role}");
    }
    let writer = server
        .send_as(&bearer(Role::Writer), Method::GET, "/api/v2/alerts", None)
        .await;
    problem(writer, 403).await;
    for (role, status) in [
        (Role::Writer, 403),
        (Role::Viewer, 403),
        (Role::Operator, 422),
    ] {
        let silence = Some(json!({}));
        let answer = server
            .send_as(&bearer(role), Method::POST, "/api/v2/silences", silence)
            .await;
        assert_eq!(answer.status(), status, "{role}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_token_of_a_tenant_sends_to_that_one_alone() {
    const SECRET: &str = "the-token-of-a-writer-of-shop";
    let server = TestServer::start_with(|settings| {
        settings.tokens = vec![token(SECRET, Role::Writer, Some("shop"))];
        settings.anonymous_tenants = ["default", "shop", "bank"].map(str::to_owned).into();
    })
    .await;
    let alerts = json!([{"labels": {"alertname": "A"}}]);
    let send = async |tenant: Option<&str>| {
        let mut request = server
            .request(Method::POST, "/api/v2/alerts")
            .bearer_auth(SECRET)
            .json(&alerts);
        if let Some(tenant) = tenant {
            request = request.header("x-tenant-id", tenant);
        }
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(send(None).await, 200);
    assert_eq!(send(Some("bank")).await, 403);
    assert_eq!(
        names(&server.asked_by("shop", "/api/v2/alerts").await),
        ["A"]
    );
    assert_eq!(server.asked_by("bank", "/api/v2/alerts").await, json!([]));
    server.stop().await;
}

#[tokio::test]
async fn what_others_send_is_on_the_feed_and_has_an_incident() {
    let server = TestServer::start().await;
    let mut stream = server.sse("/events/alerts").await;
    let labels = json!({"alertname": "DiskFull", "severity": "page", "disk": "sda"});
    let firing = json!([{"labels": labels, "annotations": {"summary": "sda is full"}}]);
    server.post_alerts("default", firing.clone()).await;
    let (event, alert) = stream.json().await;
    assert_eq!(event.event, "message");
    assert_eq!(
        json!([
            alert["rule"],
            alert["severity"],
            alert["message"],
            alert["labels"]["disk"]
        ]),
        json!(["DiskFull", "critical", "sda is full", "sda"])
    );
    // said again at once: nothing new
    server.post_alerts("default", firing).await;
    let over = json!([{"labels": labels, "startsAt": "2026-11-20T19:00:00Z", "endsAt": "2026-11-20T20:00:00Z"}]);
    server.post_alerts("default", over).await;
    let (event, ended) = stream.json().await;
    assert_eq!(event.event, "resolved");
    assert_eq!(ended["incident"], alert["incident"]);
    let listed = server.json("/api/incidents").await;
    assert_eq!(listed["incidents"][0]["state"], "resolved");
    assert_eq!(listed["incidents"][0]["value"], Value::Null);
    assert_eq!(listed["counts"], json!({"DiskFull": 1}));
    server.stop().await;
}
