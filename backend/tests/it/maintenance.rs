//! `/api/maintenance`: windows in which a tenant's alerts are told to nobody.

use std::{fs, path::Path, time::Duration};

use pulseboard::settings::{DataDir, Settings};
use pulseboard_shared::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    access::{bearer, with_tokens},
    support::{START_MS, TestServer, problem, token, webhook::Webhook},
};

const OPERATOR: &str = "Bearer the-token-of-an-operator";
const OF_ACME: &str = "Bearer the-token-of-an-operator-of-acme";
const ALL: &str = "/api/maintenance";

fn set(settings: &mut Settings, folder: &Path) {
    settings.notify_private = true;
    settings.tokens = vec![
        token("the-token-of-an-operator", Role::Operator, None),
        token(
            "the-token-of-an-operator-of-acme",
            Role::Operator,
            Some("acme"),
        ),
    ];
    settings.data_dir = DataDir::Path(folder.join("data"));
    settings.alertmanager_config = Some(folder.join("alertmanager.yml"));
}

/// A server whose webhook is told at once, at eight in the evening of a Friday.
async fn start(now_ms: i64, folder: &Path) -> TestServer {
    TestServer::start_at(now_ms, |settings| set(settings, folder)).await
}

fn window() -> Value {
    json!({
        "name": "database",
        "matchers": [{"name": "job", "value": "db|cache", "isRegex": true, "isEqual": true}],
        "intervals": [{
            "times": [{"start_time": "20:00", "end_time": "20:05"}],
            "weekdays": ["monday:wednesday", "friday"],
            "years": ["2026"],
        }],
        "comment": "moved to another rack",
    })
}

async fn ask(
    server: &TestServer,
    who: &str,
    (method, path): (Method, &str),
    body: Option<Value>,
) -> (u16, Value) {
    let answer = server.send_as(who, method, path, body).await;
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("text");
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

async fn make(server: &TestServer, who: &str, window: Value) -> Value {
    let (status, made) = ask(server, who, (Method::POST, ALL), Some(window)).await;
    assert_eq!(status, 201, "{made}");
    made
}

async fn all(server: &TestServer, who: &str) -> Vec<Value> {
    let (status, listed) = ask(server, who, (Method::GET, ALL), None).await;
    assert_eq!(status, 200);
    listed["windows"].as_array().expect("windows").clone()
}

#[tokio::test]
async fn what_is_in_a_window_is_told_when_it_closes() {
    let webhook = Webhook::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let yaml = format!(
        "route: {{receiver: ops, group_by: [alertname], group_wait: 0s, group_interval: 1s}}\nreceivers: [{{name: ops, webhook_configs: [{{url: '{}'}}]}}]\n",
        webhook.url
    );
    fs::write(folder.path().join("alertmanager.yml"), yaml).expect("written");
    let server = start(START_MS, folder.path()).await;
    let alert = |name: &str, job: &str| json!({"labels": {"alertname": name, "job": job}, "endsAt": "2026-11-20T23:00:00Z"});
    // One fires before its window is made, and its timeline says that it is.
    let early = server.send_as(
        OPERATOR,
        Method::POST,
        "/api/v2/alerts",
        Some(json!([alert("Early", "cache")])),
    );
    assert_eq!(early.await.status(), 200);
    server
        .eventually("the first is told", async || !webhook.heard().is_empty())
        .await;
    let made = make(&server, OPERATOR, window()).await;
    assert_eq!(
        json!([
            made["name"],
            made["open"],
            made["comment"],
            made["intervals"]
        ]),
        json!([
            "database",
            true,
            "moved to another rack",
            window()["intervals"]
        ])
    );
    assert_eq!(
        made["next"],
        json!({"from": "2026-11-20T20:00:00.000Z", "to": "2026-11-20T20:05:00.000Z"})
    );
    let id = made["id"].as_str().expect("an id").to_owned();
    let incidents = server
        .send_as(OPERATOR, Method::GET, "/api/incidents", None)
        .await;
    let incidents: Value = incidents.json().await.expect("JSON");
    let incident = incidents["incidents"][0]["incident"].as_str().expect("one");
    let path = format!("/api/alerts/{incident}");
    let (_, incident) = ask(&server, OPERATOR, (Method::GET, &path), None).await;
    let timeline = incident["timeline"].as_array().expect("entries");
    let said = timeline.iter().find(|entry| entry["kind"] == "silenced");
    let said = said.unwrap_or_else(|| panic!("{incident}"));
    assert_eq!(said["text"], "moved to another rack");
    // Another's window keeps nothing quiet that is not its tenant's.
    let mut of_acme = window();
    of_acme["matchers"] = json!([{"name": "job", "value": ".+", "isRegex": true}]);
    make(&server, OF_ACME, of_acme).await;
    let posted = json!([alert("Db", "db"), alert("Web", "web")]);
    let answer = server.send_as(OPERATOR, Method::POST, "/api/v2/alerts", Some(posted));
    assert_eq!(answer.await.status(), 200);
    let names = || -> Vec<String> {
        let heard = webhook.heard();
        let names = heard
            .iter()
            .map(|one| one["groupLabels"]["alertname"].as_str().map(str::to_owned));
        names.flatten().collect()
    };
    server
        .eventually("the one outside is told", async || {
            names().contains(&"Web".to_owned())
        })
        .await;
    let (_, listed) = ask(
        &server,
        OPERATOR,
        (Method::GET, "/api/v2/alerts?filter=job=db"),
        None,
    )
    .await;
    assert_eq!(listed[0]["status"]["silencedBy"], json!([id]));
    // It outlives a restart.
    let now_ms = server.clock.now_ms() + 1_000;
    server.stop().await;
    let server = start(now_ms, folder.path()).await;
    assert_eq!(all(&server, OPERATOR).await, [made]);
    server.clock.advance(Duration::from_secs(60));
    server
        .eventually("rounds are made", async || {
            server.clock.advance(Duration::from_secs(1));
            server.clock.now_ms() > START_MS + 120_000
        })
        .await;
    assert!(!names().contains(&"Db".to_owned()), "{:?}", names());
    server
        .eventually("it is told when the window has closed", async || {
            server.clock.advance(Duration::from_secs(1));
            names().contains(&"Db".to_owned())
        })
        .await;
    assert!(server.clock.now_ms() >= START_MS + 300_000);
    assert_eq!(all(&server, OPERATOR).await[0]["open"], false);
    server.stop().await;
}

#[tokio::test]
async fn they_are_a_tenants_own_and_are_changed_and_removed() {
    let server = TestServer::start_with(with_tokens).await;
    let operator = bearer(Role::Operator);
    let viewer = bearer(Role::Viewer);
    let made = make(&server, &operator, window()).await;
    let one = format!("{ALL}/{}", made["id"].as_str().expect("an id"));
    assert_eq!(
        ask(&server, &viewer, (Method::GET, &one), None).await,
        (200, made.clone())
    );
    for (method, path, body) in [
        (Method::POST, ALL, Some(window())),
        (Method::PUT, &one, Some(window())),
        (Method::DELETE, &one, None),
    ] {
        let answer = server.send_as(&viewer, method, path, body).await;
        problem(answer, 403).await;
    }
    let elsewhere = format!("{one}?tenant=other");
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let body = (method == Method::PUT).then(window);
        let answer = server.send_as(&operator, method, &elsewhere, body).await;
        problem(answer, 404).await;
    }
    let listed = ask(
        &server,
        &operator,
        (Method::GET, "/api/maintenance?tenant=other"),
        None,
    );
    assert_eq!(listed.await, (200, json!({"windows": []})));
    // What is told may be sent again, with a change.
    let mut changed = made.clone();
    changed["until"] = json!("2026-11-20T20:10:00.000Z");
    changed["intervals"] = json!([{"times": [{"start_time": "03:00", "end_time": "04:00"}], "location": "Europe/Paris"}]);
    let (status, now) = ask(
        &server,
        &operator,
        (Method::PUT, &one),
        Some(changed.clone()),
    )
    .await;
    changed["open"] = json!(false);
    changed["revision"] = json!(2);
    // It ends before the night.
    changed.as_object_mut().expect("fields").remove("next");
    assert_eq!((status, &now), (200, &changed));
    server.clock.advance(Duration::from_secs(600));
    assert_eq!(all(&server, &viewer).await, Vec::<Value>::new());
    problem(server.send_as(&viewer, Method::GET, &one, None).await, 404).await;
    let again = make(&server, &operator, window()).await;
    let one = format!("{ALL}/{}", again["id"].as_str().expect("an id"));
    assert_eq!(
        ask(&server, &operator, (Method::DELETE, &one), None)
            .await
            .0,
        204
    );
    problem(
        server.send_as(&operator, Method::DELETE, &one, None).await,
        404,
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn who_is_late_is_told_so_and_changes_nothing() {
    let server = TestServer::start_with(with_tokens).await;
    let operator = bearer(Role::Operator);
    let tag_of = |answer: &reqwest::Response| {
        let tag = answer.headers().get("etag").expect("a tag");
        tag.to_str().expect("text").to_owned()
    };
    let made = server
        .send_as(&operator, Method::POST, ALL, Some(window()))
        .await;
    let first = tag_of(&made);
    let made: Value = made.json().await.expect("JSON");
    let one = format!("{ALL}/{}", made["id"].as_str().expect("an id"));
    let read = server.send_as(&operator, Method::GET, &one, None).await;
    assert_eq!(tag_of(&read), first);
    let send = async |method: Method, tag: &str, body: Option<Value>| {
        let request = server.request(method, &one);
        let request = request
            .header("authorization", &operator)
            .header("if-match", tag);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        request.send().await.expect("an answer")
    };
    let renamed = |name: &str| {
        let mut window = window();
        window["name"] = json!(name);
        window
    };
    let changed = send(Method::PUT, &first, Some(renamed("second"))).await;
    assert_eq!(changed.status(), 200);
    let second = tag_of(&changed);
    assert_ne!(second, first);
    for method in [Method::PUT, Method::DELETE] {
        let body = (method == Method::PUT).then(|| renamed("late"));
        problem(send(method, &first, body).await, 412).await;
    }
    problem(
        send(Method::PUT, "second", Some(renamed("late"))).await,
        400,
    )
    .await;
    // So is who says in the body what was read.
    let mut late = renamed("late");
    late["revision"] = made["revision"].clone();
    let answer = server
        .send_as(&operator, Method::PUT, &one, Some(late.clone()))
        .await;
    problem(answer, 409).await;
    problem(send(Method::PUT, &second, Some(late)).await, 412).await;
    let (_, now) = ask(&server, &operator, (Method::GET, &one), None).await;
    assert_eq!(now["name"], "second");
    let any = send(Method::PUT, "*", Some(renamed("third"))).await;
    let third = tag_of(&any);
    assert_eq!(send(Method::DELETE, &third, None).await.status(), 204);
    problem(send(Method::DELETE, &third, None).await, 404).await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_place() {
    let server = TestServer::start_with(with_tokens).await;
    let operator = bearer(Role::Operator);
    let with = |field: &str, value: Value| {
        let mut window = window();
        window[field] = value;
        window
    };
    for (body, pointer, words) in [
        (json!([]), "", "invalid type: sequence"),
        (with("times", json!([])), "/times", "unknown field `times`"),
        (with("name", json!("")), "/name", "is empty"),
        (with("name", json!(3)), "/name", "invalid type: integer"),
        (with("matchers", json!([])), "/matchers", "one or more"),
        (
            with(
                "matchers",
                json!([{"name": "a", "value": "b", "isRegex": false}, {"name": "a", "value": "(", "isRegex": true}]),
            ),
            "/matchers/1",
            "",
        ),
        (with("matchers", json!(["job=db"])), "/matchers/0", ""),
        (
            with(
                "matchers",
                json!([{"name": "a", "value": "b", "isRegex": false, "isEquall": false}]),
            ),
            "/matchers/0/isEquall",
            "unknown field `isEquall`",
        ),
        (with("revision", json!("1")), "/revision", "invalid type"),
        (
            with(
                "intervals",
                json!([{"times": [{"start_time": "22:00", "end_time": "06:00"}]}]),
            ),
            "/intervals/0/times/0",
            "past midnight",
        ),
        (with("intervals", Value::Null), "/intervals", "null"),
        (with("intervals", json!([])), "/intervals", "one or more"),
        (
            with("intervals", json!([{}, {"weekdays": ["someday"]}])),
            "/intervals/1/weekdays/0",
            "someday is not a valid weekday",
        ),
        (
            with(
                "intervals",
                json!([{"times": [{"start_time": "25:00", "end_time": "26:00"}]}]),
            ),
            "/intervals/0/times/0",
            "HH:MM",
        ),
        (with("until", json!("tomorrow")), "/until", "RFC 3339"),
        (
            with("until", json!("2020-01-01T00:00:00Z")),
            "/until",
            "over already",
        ),
        (
            with(
                "matchers",
                json!([{"name": "a", "value": ".*", "isRegex": true}]),
            ),
            "",
            "must not match the empty string",
        ),
        (
            with("intervals", json!(vec![json!({}); 33])),
            "",
            "more than 32 intervals",
        ),
        (
            with("comment", json!("x".repeat(9_000))),
            "",
            "longer than 8192 bytes",
        ),
    ] {
        let answer = server
            .send_as(&operator, Method::POST, ALL, Some(body.clone()))
            .await;
        let told = problem(answer, 400).await;
        assert_eq!(told["errors"][0]["pointer"], pointer, "{body}: {told}");
        let detail = told["detail"].as_str().expect("a text");
        assert!(detail.contains(words), "{body}: {told}");
    }
    assert_eq!(all(&server, &operator).await, Vec::<Value>::new());
    server.stop().await;
}
