//! Rules: of files, made while the server runs, and built in; what becomes of them in an alert's
//! life, across a restart and a reload, and what a rehearsal says.

use std::{fs, path::Path, time::Duration};

use pulseboard::settings::DataDir;
use pulseboard_shared::{Role, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{START_MS, TestServer, problem, sse::SseClient, token};

const ADMIN: &str = "Bearer the-token-of-an-admin";
const OF_ACME: &str = "Bearer the-token-of-an-admin-of-acme";

async fn start_at(now_ms: i64, folder: Option<&Path>, globs: &[String]) -> TestServer {
    let data_dir = folder.map(|folder| DataDir::Path(folder.join("data")));
    TestServer::start_at(now_ms, move |settings| {
        settings.tokens = vec![
            token("the-token-of-an-admin", Role::Admin, None),
            token("the-token-of-an-admin-of-acme", Role::Admin, Some("acme")),
        ];
        settings.anonymous_tenants = ["default", "other"].map(str::to_owned).into();
        settings.rule_files = globs.to_vec();
        if let Some(data_dir) = data_dir {
            settings.data_dir = data_dir;
        }
    })
    .await
}

async fn start() -> TestServer {
    start_at(START_MS, None, &[]).await
}

/// Lets time go on, a little at a time, until something is so.
async fn until(server: &TestServer, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..2_000 {
        if is_so().await {
            return;
        }
        server.clock.advance(Duration::from_millis(100));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("waited in vain: {what}");
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

async fn make(server: &TestServer, who: &str, rule: Value) -> Value {
    let (status, made) = ask(server, who, (Method::POST, "/api/rules"), Some(rule)).await;
    assert_eq!(status, 201, "{made}");
    made
}

async fn rule(server: &TestServer, name: &str) -> Value {
    let all = server.json("/api/rules").await;
    let all = all["rules"].as_array().expect("rules");
    let is_it = |rule: &&Value| rule["alert"] == name || rule["record"] == name;
    all.iter().find(is_it).cloned().unwrap_or(Value::Null)
}

/// Alerts of a name that are active, as Prometheus' clients see them.
async fn active(server: &TestServer, name: &str) -> Vec<Value> {
    let answer = server.json("/api/v1/alerts").await;
    let all = answer["data"]["alerts"].as_array().expect("alerts");
    let is_it = |alert: &&Value| alert["labels"]["alertname"] == name;
    all.iter().filter(is_it).cloned().collect()
}

async fn fires(server: &TestServer, name: &str) -> bool {
    let active = active(server, name).await;
    active.iter().any(|alert| alert["state"] == "firing")
}

/// What an event stream says up to the first alert of a rule in a state, which is the last.
async fn alert_of(events: &mut SseClient, rule: &str, state: &str) -> Vec<Value> {
    let mut said = Vec::new();
    loop {
        let (_, event) = events.json().await;
        let is_it = event["rule"] == rule && event["state"] == state;
        if event["rule"].is_string() {
            said.push(event);
        }
        if is_it {
            return said;
        }
    }
}

#[tokio::test]
async fn a_rule_file_records_and_fires_and_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("shop.yml");
    fs::write(
        &file,
        r#"groups:
- name: shop
  interval: 1s
  rules:
  - record: shop:orders:double
    expr: orders * 2
  - alert: OrdersHigh
    expr: shop:orders:double > 10
    for: 2s
    labels: {severity: page, team: "{{ $labels.shop }}-team"}
    annotations: {summary: "{{ $value }} orders of {{ $labels.shop }}", runbook_url: "https://example.com/orders"}
"#,
    )
    .expect("written");
    let server = start_at(
        START_MS,
        None,
        &[folder.path().join("*.yml").display().to_string()],
    )
    .await;
    let mut events = server.sse("/events/alerts").await;
    server.push("default", "orders{shop=\"a\"} 7").await;
    until(&server, "it waits for its time", async || {
        let active = active(&server, "OrdersHigh").await;
        active.iter().any(|alert| alert["state"] == "pending")
    })
    .await;
    until(&server, "it fires", async || {
        fires(&server, "OrdersHigh").await
    })
    .await;
    let alert = &active(&server, "OrdersHigh").await[0];
    assert_eq!(
        alert["labels"],
        json!({"alertname": "OrdersHigh", "shop": "a", "severity": "page", "team": "a-team"})
    );
    assert_eq!(alert["annotations"]["summary"], "14 orders of a");
    assert_eq!(alert["value"], "1.4e+01");

    let event = alert_of(&mut events, "OrdersHigh", "firing")
        .await
        .pop()
        .expect("one");
    assert_eq!(event["message"], "14 orders of a");
    assert_eq!(
        (&event["severity"], &event["labels"]["severity"]),
        (&json!("critical"), &json!("page"))
    );
    assert_eq!(
        (&event["value"], &event["threshold"]),
        (&json!(14.0), &json!(10.0))
    );

    let answer = server
        .json("/api/v1/rules?file[]=".to_owned().as_str())
        .await;
    assert_eq!(answer["status"], "success");
    let query = format!("/api/v1/rules?rule_group[]=shop&file[]={}", file.display());
    let answer = server.json(&query).await;
    let group = &answer["data"]["groups"][0];
    assert_eq!(
        (&group["name"], &group["interval"]),
        (&json!("shop"), &json!(1.0))
    );
    assert_eq!(group["rules"][0]["type"], "recording");
    assert_eq!(group["rules"][1]["state"], "firing");
    assert_eq!(group["rules"][1]["health"], "ok");
    let series = server
        .json("/api/v1/query?query=ALERTS%7Balertname%3D%22OrdersHigh%22%2Calertstate%3D%22firing%22%7D")
        .await;
    assert_eq!(series["data"]["result"][0]["value"][1], "1");

    server.push("default", "orders{shop=\"a\"} 1").await;
    until(&server, "it ends", async || {
        !fires(&server, "OrdersHigh").await
    })
    .await;
    let ended = alert_of(&mut events, "OrdersHigh", "resolved")
        .await
        .pop()
        .expect("one");
    assert_eq!(ended["incident"], event["incident"]);
    until(&server, "its series ends", async || {
        let series = server
            .json("/api/v1/query?query=ALERTS%7Balertname%3D%22OrdersHigh%22%7D")
            .await;
        series["data"]["result"] == json!([])
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_rule_is_made_changed_switched_off_and_removed() {
    let server = start().await;
    server.push("default", "queue 5").await;
    let made = make(
        &server,
        ADMIN,
        json!({"alert": "Full", "expr": "queue > 3", "every": "1s", "labels": {"severity": "error"},
               "annotations": {"description": "{{ $value }} wait"}}),
    )
    .await;
    let id = made["id"].as_str().expect("an id").to_owned();
    let path = format!("/api/rules/{id}");
    assert_eq!(made["source"], "api");
    until(&server, "it fires", async || fires(&server, "Full").await).await;
    let shown = server.json("/api/alerts").await;
    assert_eq!(
        (&shown[0]["message"], &shown[0]["severity"]),
        (&json!("5 wait"), &json!("high"))
    );

    // What was read is sent back with a change.
    let mut changed = server.json(&path).await;
    changed["expr"] = json!("queue > 10");
    let (status, now) = ask(&server, ADMIN, (Method::PUT, &path), Some(changed.clone())).await;
    assert_eq!((status, &now["expr"]), (200, &json!("queue > 10")), "{now}");
    until(&server, "it ends", async || !fires(&server, "Full").await).await;
    let (status, _) = ask(&server, ADMIN, (Method::PUT, &path), Some(changed.clone())).await;
    assert_eq!(status, 409, "of a revision that is not the newest");

    let (status, _) = ask(
        &server,
        ADMIN,
        (Method::PUT, &path),
        Some(json!({"alert": "Full", "expr": "queue > 3", "every": "1s"})),
    )
    .await;
    assert_eq!(status, 200);
    until(&server, "it fires again", async || {
        fires(&server, "Full").await
    })
    .await;
    let (status, _) = ask(
        &server,
        ADMIN,
        (Method::PUT, &path),
        Some(json!({"alert": "Full", "expr": "queue > 3", "every": "1s", "enabled": false})),
    )
    .await;
    assert_eq!(status, 200);
    until(&server, "it is off", async || !fires(&server, "Full").await).await;

    let read = server.get(&path).await;
    let tag = read.headers()["etag"].to_str().expect("text").to_owned();
    let rule: Value = read.json().await.expect("JSON");
    assert_eq!(tag, format!("\"{}\"", rule["revision"]));
    let with = async |method: Method, tag: &str, body: Option<Value>| {
        let request = server
            .request(method, &path)
            .header("authorization", ADMIN)
            .header("if-match", tag);
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        request.send().await.expect("an answer")
    };
    let body = json!({"alert": "Full", "expr": "queue > 4", "every": "1s", "enabled": false});
    let changed = with(Method::PUT, &tag, Some(body.clone())).await;
    assert_eq!(changed.status(), 200);
    let newest = changed.headers()["etag"].to_str().expect("text").to_owned();
    assert_ne!(newest, tag);
    for (method, body) in [(Method::PUT, Some(body.clone())), (Method::DELETE, None)] {
        problem(with(method.clone(), &tag, body.clone()).await, 412).await;
        problem(with(method, "5", body).await, 400).await;
    }
    let mut of_before = body.clone();
    of_before["revision"] = rule["revision"].clone();
    problem(
        with(Method::PUT, &newest, Some(of_before.clone())).await,
        412,
    )
    .await;
    problem(with(Method::PUT, "*", Some(of_before)).await, 412).await;
    let weak = format!("\"0\", W/{newest}");
    assert_eq!(
        with(Method::PUT, &weak, Some(body.clone())).await.status(),
        200
    );
    assert_eq!(with(Method::PUT, "*", Some(body)).await.status(), 200);

    let built_in = "/api/rules/pulseboard%2Fcpu_high";
    if let Some(tag) = server.get(built_in).await.headers().get("etag") {
        assert_eq!(tag, "\"0\"", "it was never changed");
    }

    let file = server.get("/api/rules?format=yaml").await;
    assert_eq!(
        file.headers()["content-type"],
        "application/yaml; charset=utf-8"
    );
    assert!(file.text().await.expect("text").starts_with("groups:"));
    let (status, _) = ask(&server, ADMIN, (Method::DELETE, &path), None).await;
    assert_eq!(status, 204);
    assert_eq!(server.get(&path).await.status(), 404);
    server.stop().await;
}

#[tokio::test]
async fn the_built_in_rules_are_rules_as_any_other() {
    let mut server = start().await;
    let cpu = rule(&server, "cpu_high").await;
    assert_eq!(
        (&cpu["source"], &cpu["expr"], &cpu["group"]),
        (
            &json!("builtin"),
            &json!("cpu_usage > 90"),
            &json!("pulseboard")
        )
    );
    let path = "/api/rules/cpu_high";
    let mut lower = cpu.clone();
    lower["expr"] = json!("cpu_usage > 50");
    let (status, now) = ask(&server, ADMIN, (Method::PUT, path), Some(lower)).await;
    assert_eq!(
        (status, &now["expr"]),
        (200, &json!("cpu_usage > 50")),
        "{now}"
    );
    server.tick(60.0).await;
    let alerts = server.json("/api/alerts").await;
    assert_eq!(alerts[0]["message"], "CPU usage critical: 60.0%");
    assert_eq!(alerts[0]["threshold"], 50.0);

    let mut off = cpu.clone();
    off["enabled"] = json!(false);
    let (status, _) = ask(&server, ADMIN, (Method::PUT, path), Some(off)).await;
    assert_eq!(status, 200);
    assert_eq!(
        server.json("/api/alerts").await,
        json!([]),
        "what fired by it has ended"
    );
    server.tick(99.0).await;
    assert_eq!(server.json("/api/alerts").await, json!([]));

    // More than the threshold: over what is stored, with every tick.
    let mut own = cpu.clone();
    own["annotations"] = json!({"summary": "busy: {{ $value }}"});
    let (status, now) = ask(&server, ADMIN, (Method::PUT, path), Some(own)).await;
    assert_eq!(status, 200, "{now}");
    server.tick(98.0).await;
    until(&server, "it fires", async || {
        fires(&server, "cpu_high").await
    })
    .await;
    let alerts = server.json("/api/alerts").await;
    assert_eq!(alerts[0]["message"], "busy: 98");

    let (status, _) = ask(&server, ADMIN, (Method::DELETE, path), None).await;
    assert_eq!(status, 204);
    assert_eq!(
        rule(&server, "cpu_high").await["annotations"],
        cpu["annotations"]
    );
    let of_tenant = server.send_as(OF_ACME, Method::DELETE, path, None).await;
    problem(of_tenant, 403).await;
    server.stop().await;
}

#[tokio::test]
async fn a_restart_neither_forgets_nor_fires_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start_at(START_MS, Some(folder.path()), &[]).await;
    make(
        &server,
        ADMIN,
        json!({"alert": "Now", "expr": "queue > 3", "every": "1s"}),
    )
    .await;
    make(
        &server,
        ADMIN,
        json!({"alert": "Later", "expr": "queue > 3", "every": "1s", "for": "40s"}),
    )
    .await;
    server.push("default", "queue 5").await;
    until(&server, "one fires, one waits", async || {
        fires(&server, "Now").await && !active(&server, "Later").await.is_empty()
    })
    .await;
    let before = server.json("/api/alerts").await;
    let waits = active(&server, "Later").await[0]["activeAt"].clone();
    let now_ms = server.clock.now_ms();
    server.stop().await;

    let server = start_at(now_ms + 5_000, Some(folder.path()), &[]).await;
    let mut events = server.sse("/events/alerts").await;
    until(&server, "both are evaluated", async || {
        rule(&server, "Now").await["health"] == "ok"
            && rule(&server, "Later").await["health"] == "ok"
    })
    .await;
    let after = server.json("/api/alerts").await;
    assert_eq!(after[0]["incident"], before[0]["incident"]);
    assert_eq!(
        active(&server, "Later").await[0]["activeAt"],
        waits,
        "no pending time is lost"
    );
    until(
        &server,
        "the other fires when its time is over",
        async || fires(&server, "Later").await,
    )
    .await;
    // Of the first one nothing but repetitions of its incident is said.
    let said = alert_of(&mut events, "Later", "firing").await;
    let first: Vec<&Value> = said.iter().filter(|event| event["rule"] == "Now").collect();
    assert!(
        first
            .iter()
            .all(|event| event["incident"] == before[0]["incident"]),
        "{first:?}"
    );
    server.push("default", "queue 1").await;
    let ended = until(&server, "both end", async || {
        server.json("/api/alerts").await == json!([])
    });
    ended.await;
    server.stop().await;
}

#[tokio::test]
async fn rules_go_on_when_the_clock_is_set() {
    let server = start().await;
    let rule_of_all = json!({"alert": "Full", "expr": "queue > 3", "every": "1s"});
    make(&server, ADMIN, rule_of_all).await;
    until(&server, "it is evaluated", async || {
        rule(&server, "Full").await["health"] == "ok"
    })
    .await;
    for moved_ms in [-3_600_000, 7_200_000] {
        server.clock.set_by(moved_ms);
        let (from, to) = (
            server.clock.now().to_string(),
            Timestamp::from_millis(server.clock.now_ms() + 3_000).to_string(),
        );
        until(
            &server,
            "it is evaluated by the time that it is now",
            async || {
                let told = rule(&server, "Full").await;
                let at = told["lastEvaluation"].as_str().expect("a time");
                (&*from..&*to).contains(&at)
            },
        )
        .await;
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_rule_is_said_field_by_field() {
    let server = start().await;
    for (rule, pointer) in [
        (json!({"alert": "A", "expr": "sum("}), "/expr"),
        (json!({"expr": "up"}), "/record"),
        (
            json!({"alert": "A", "record": "a", "expr": "up"}),
            "/record",
        ),
        (
            json!({"alert": "A", "expr": "up", "labels": {"no-label": "x"}}),
            "/labels/no-label",
        ),
        (
            json!({"alert": "A", "expr": "up", "annotations": {"summary": "{{ $x"}}),
            "/annotations/summary",
        ),
        (
            json!({"alert": "A", "expr": "up", "every": "1ms"}),
            "/every",
        ),
        (json!({"record": "a", "expr": "up", "for": "1m"}), "/for"),
        (json!({"alert": "A", "expr": "up", "for": 5}), "/for"),
        (json!({"alert": "A", "expr": "up", "for": "5"}), "/for"),
        (
            json!({"alert": "A", "expr": "up", "keep_firing_for": 0}),
            "/keep_firing_for",
        ),
        (
            json!({"alert": "A", "expr": "up", "every": 1_000}),
            "/every",
        ),
        (
            json!({"alert": "A", "expr": "up", "enabled": "no"}),
            "/enabled",
        ),
        (
            json!({"alert": "A", "expr": "up", "missing": "x"}),
            "/missing",
        ),
        (json!({"alert": "A", "expr": "up", "clear": true}), "/clear"),
        (json!({"alert": "A", "expr": "up", "clear": [1]}), "/clear"),
        (json!({"alert": 1, "expr": "up"}), "/alert"),
        (json!({"alert": "A"}), "/expr"),
        (json!({"alert": "A", "expr": "up", "evry": "1s"}), "/evry"),
        (
            json!({"alert": "A", "expr": "up", "labels": {"a/b": 1}}),
            "/labels/a~1b",
        ),
        (
            json!({"alert": "A", "expr": "up", "labels": {"a.b": "x"}}),
            "/labels/a.b",
        ),
        (json!(["A", "", "up"]), ""),
    ] {
        let answer = server
            .send_as(ADMIN, Method::POST, "/api/rules", Some(rule.clone()))
            .await;
        let told = problem(answer, 400).await;
        let pointers = told["errors"].as_array().expect("fields");
        assert!(
            pointers.iter().any(|error| error["pointer"] == pointer),
            "{rule}: {told}"
        );
        if rule["every"] == "1ms" {
            continue;
        }
        let rehearsed = server
            .send_as(
                ADMIN,
                Method::POST,
                "/api/rules/rehearse",
                Some(json!({"rule": rule})),
            )
            .await;
        let told = problem(rehearsed, 400).await;
        let pointer = format!("/rule{pointer}");
        let pointers = told["errors"].as_array().expect("fields");
        assert!(
            pointers.iter().any(|error| error["pointer"] == pointer),
            "{rule}: {told}"
        );
        assert!(!told["detail"].to_string().contains("untagged"), "{told}");
    }
    let operator = server
        .request(Method::POST, "/api/rules")
        .json(&json!({"alert": "A", "expr": "up"}));
    problem(operator.send().await.expect("an answer"), 401).await;
    server.stop().await;
}

#[tokio::test]
async fn a_value_that_json_has_not_is_said_in_words() {
    let server = start().await;
    let mut events = server.sse("/events/alerts").await;
    server.push("default", "jobs 3").await;
    for (name, expr, word) in [
        ("Endless", "jobs / 0 > 1", "+Inf"),
        ("Below", "-jobs / 0", "-Inf"),
        ("Nothing", "jobs * NaN", "NaN"),
    ] {
        let rule = json!({"alert": name, "expr": expr, "every": "1s"});
        make(&server, ADMIN, rule.clone()).await;
        until(&server, "it fires", async || fires(&server, name).await).await;
        assert_eq!(active(&server, name).await[0]["value"], word);
        let groups = server.json("/api/v1/rules").await.to_string();
        assert!(
            groups.contains(&format!("\"value\":\"{word}\"")),
            "{groups}"
        );
        let said = alert_of(&mut events, name, "firing").await;
        assert_eq!(said.last().expect("it was said")["value"], word);
        let of = |alert: &&Value| alert["rule"] == name;
        let going_on = server.json("/api/alerts").await;
        let alert = going_on.as_array().expect("alerts").iter().find(of);
        let id = alert.expect("it goes on")["incident"].as_str().expect("id");
        assert_eq!(alert.expect("it goes on")["value"], word);
        let listed = server.json("/api/incidents").await;
        let mut listed = listed["incidents"].as_array().expect("incidents").iter();
        assert_eq!(listed.find(of).expect("listed")["value"], word);
        let whole = server.json(&format!("/api/alerts/{id}")).await;
        assert_eq!(whole["timeline"][0]["value"], word, "{whole}");
        let file = server.get(&format!("/api/alerts/{id}/capsule")).await;
        let file = file.text().await.expect("text");
        assert!(file.contains(&format!("<th>Value<td>{word}")), "{file}");
        let body = json!({"rule": rule, "start": START_MS});
        let (_, rehearsed) = ask(
            &server,
            ADMIN,
            (Method::POST, "/api/rules/rehearse"),
            Some(body),
        )
        .await;
        let spans = &rehearsed["series"][0]["spans"];
        assert_eq!(spans[0]["value"], word, "{rehearsed}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_tenants_rules_are_its_own() {
    let server = start().await;
    server.push("default", "queue 5").await;
    let pushed = server
        .send_as(
            OF_ACME,
            Method::POST,
            "/api/rules",
            Some(json!({"alert": "Full", "expr": "queue > 3", "every": "1s"})),
        )
        .await;
    assert_eq!(pushed.status(), 201);
    let made: Value = pushed.json().await.expect("JSON");
    let path = format!("/api/rules/{}", made["id"].as_str().expect("an id"));
    assert_eq!(server.get(&path).await.status(), 404, "another tenant's");
    let (status, _) = ask(&server, ADMIN, (Method::DELETE, &path), None).await;
    assert_eq!(
        status, 404,
        "an admin of all speaks for the default tenant here"
    );
    until(&server, "it is evaluated", async || {
        let (_, all) = ask(&server, OF_ACME, (Method::GET, "/api/rules"), None).await;
        let all = all["rules"].as_array().expect("rules").clone();
        all.iter()
            .any(|rule| rule["alert"] == "Full" && rule["health"] == "ok")
    })
    .await;
    assert!(!fires(&server, "Full").await);
    let (_, theirs) = ask(&server, OF_ACME, (Method::GET, "/api/v1/alerts"), None).await;
    assert_eq!(
        theirs["data"]["alerts"],
        json!([]),
        "the series is the default tenant's"
    );
    server.stop().await;
}

#[tokio::test]
async fn files_that_are_wrong_change_nothing_and_stop_a_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rules.yml");
    let good =
        "groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: Good\n    expr: queue > 3\n";
    fs::write(&file, good).expect("written");
    let server = start_at(START_MS, None, &[file.display().to_string()]).await;
    server.push("default", "queue 5").await;
    until(&server, "it fires", async || fires(&server, "Good").await).await;
    fs::write(
        &file,
        "groups:\n- name: g\n  rules:\n  - alert: Good\n    expr: sum(\n",
    )
    .expect("written");
    let answer = server.send_as(ADMIN, Method::POST, "/-/reload", None).await;
    let told = problem(answer, 500).await;
    let detail = told["detail"].as_str().expect("text");
    assert!(detail.contains("rules.yml:5"), "{detail}");
    assert!(fires(&server, "Good").await);
    assert_eq!(rule(&server, "Good").await["source"], "file");
    let id = rule(&server, "Good").await["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let change = Some(json!({"alert": "Good", "expr": "up"}));
    let answer = server
        .send_as(ADMIN, Method::PUT, &format!("/api/rules/{id}"), change)
        .await;
    problem(answer, 409).await;

    fs::write(&file, "groups: []\n").expect("written");
    let answer = server.send_as(ADMIN, Method::POST, "/-/reload", None).await;
    assert_eq!(answer.status(), 200);
    until(
        &server,
        "it is gone, and what fired has ended",
        async || server.json("/api/alerts").await == json!([]),
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_rehearsal_says_when_it_would_have_fired() {
    let server = start().await;
    let (from, to) = (START_MS - 600_000, START_MS);
    let mut body = String::new();
    for at_ms in (from..to).step_by(10_000) {
        let minute = (at_ms - from) / 60_000;
        let value = if (3..5).contains(&minute) { 9 } else { 1 };
        body.push_str(&format!("queue {value} {at_ms}\n"));
    }
    server.push("default", body).await;
    let rule = json!({"alert": "Full", "expr": "queue > 3", "for": "30s", "every": "10s"});
    let question = json!({"rule": rule, "start": from, "end": to});
    let answer = server
        .request(Method::POST, "/api/rules/rehearse")
        .json(&question);
    let answer: Value = answer
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let spans = answer["series"][0]["spans"].as_array().expect("spans");
    let states: Vec<(&str, i64)> = spans
        .iter()
        .map(|span| {
            (
                span["state"].as_str().expect("text"),
                span["start"].as_i64().expect("ms") - from,
            )
        })
        .collect();
    assert_eq!(
        states,
        [("pending", 180_000), ("firing", 210_000)],
        "{answer}"
    );
    assert_eq!(
        answer["notifications"], 2,
        "that it fired, and that it ended"
    );
    for wrong in [
        json!({"rule": rule, "strat": from}),
        json!({"rule": {"alert": "A", "expr": "sum("}}),
        json!({"start": 1}),
        json!({"rule": rule, "start": to, "end": from}),
        json!({"rule": rule, "start": "yesterday"}),
    ] {
        let answer = server
            .request(Method::POST, "/api/rules/rehearse")
            .json(&wrong);
        problem(answer.send().await.expect("an answer"), 400).await;
    }
    server.stop().await;
}

/// Labels of an alert as whoever is told knows it; nothing where nobody is.
async fn told(server: &TestServer, tenant: &str, name: &str) -> Vec<Value> {
    let alerts = server.asked_by(tenant, "/api/v2/alerts").await;
    let alerts = alerts.as_array().expect("alerts").iter();
    let of_name = alerts.filter(|alert| alert["labels"]["alertname"] == name);
    of_name.cloned().collect()
}

#[tokio::test]
async fn alerts_are_told_under_the_labels_that_the_file_asks_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("prometheus.yml");
    let write = |cluster: &str| {
        let text = format!(
            r#"global:
  external_labels: {{cluster: {cluster}, shop: elsewhere}}
alerting:
  alert_relabel_configs:
  - {{source_labels: [alertname], regex: Noise, action: drop}}
  - {{regex: pod, action: labeldrop}}
  - {{source_labels: [shop], target_label: team, replacement: "team-$1"}}
"#
        );
        fs::write(&file, text).expect("written");
    };
    write("eu");
    let config = file.clone();
    let server = TestServer::start_at(START_MS, move |settings| {
        settings.tokens = vec![
            token("the-token-of-an-admin", Role::Admin, None),
            token("the-token-of-an-admin-of-acme", Role::Admin, Some("acme")),
        ];
        settings.anonymous_tenants = ["default", "acme"].map(str::to_owned).into();
        settings.prometheus_config = Some(config);
    })
    .await;
    for tenant in ["default", "acme"] {
        server
            .push(tenant, "orders{shop=\"a\",pod=\"x\"} 7\nqueue 4")
            .await;
    }
    for who in [ADMIN, OF_ACME] {
        for (name, expr) in [("Orders", "orders > 1"), ("Noise", "queue > 1")] {
            let rule = json!({"alert": name, "expr": expr, "every": "1s",
                              "labels": {"severity": "page"}});
            make(&server, who, rule).await;
        }
    }
    until(&server, "all are told", async || {
        !told(&server, "default", "Orders").await.is_empty()
            && !told(&server, "acme", "Orders").await.is_empty()
            && told(&server, "acme", "Noise").await.len() == 1
    })
    .await;
    let orders = told(&server, "default", "Orders").await.remove(0);
    assert_eq!(
        orders["labels"],
        json!({"alertname": "Orders", "shop": "a", "severity": "page", "cluster": "eu",
               "team": "team-a"})
    );
    let of_acme = told(&server, "acme", "Orders").await.remove(0);
    assert_eq!(
        of_acme["labels"],
        json!({"alertname": "Orders", "shop": "a", "severity": "page", "pod": "x"}),
        "the file is the default tenant's"
    );
    let active = &active(&server, "Orders").await[0];
    assert_eq!(active["labels"], of_acme["labels"], "as its rule has it");

    until(&server, "it fires", async || fires(&server, "Noise").await).await;
    let timeline_of = async |name: &str| {
        let listed = server.json(&format!("/api/incidents?rule={name}")).await;
        let incident = &listed["incidents"][0];
        let id = incident["incident"].as_str().unwrap_or_default();
        let whole = server.json(&format!("/api/alerts/{id}")).await;
        (incident.clone(), whole["timeline"].clone())
    };
    until(&server, "the timeline says why", async || {
        let (_, timeline) = timeline_of("Noise").await;
        let entries = timeline.as_array().expect("entries").iter();
        entries.filter(|entry| entry["reason"] == "dropped").count() == 1
    })
    .await;
    assert!(told(&server, "default", "Noise").await.is_empty());
    let (incident, _) = timeline_of("Orders").await;
    assert_eq!(incident["fingerprint"], orders["fingerprint"]);
    assert_eq!(incident["labels"], orders["labels"]);

    write("us");
    let reloaded = server.send_as(ADMIN, Method::POST, "/-/reload", None).await;
    assert_eq!(reloaded.status(), 200);
    until(&server, "it is known by the new labels alone", async || {
        let told = told(&server, "default", "Orders").await;
        let (incident, _) = timeline_of("Orders").await;
        told.len() == 1
            && told[0]["labels"]["cluster"] == "us"
            && incident["fingerprint"] == told[0]["fingerprint"]
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn alerts_of_one_tenants_rules_have_a_bound_together() {
    let server = start().await;
    let series: Vec<String> = (0..800).map(|n| format!("job{{n=\"{n}\"}} 1")).collect();
    for tenant in ["default", "other"] {
        server.push(tenant, &series.join("\n")).await;
    }
    // Twelve million bytes a rule; they wait, so that nobody has to be told of them.
    let text = "x".repeat(15_000);
    for (name, field, is_so) in [
        ("First", "state", "pending"),
        ("Second", "state", "pending"),
        ("Third", "health", "err"),
    ] {
        let wide = json!({"alert": name, "expr": "job", "every": "1s", "for": "1h",
                          "annotations": {"summary": text}});
        make(&server, ADMIN, wide).await;
        until(&server, "it was evaluated", async || {
            rule(&server, name).await[field] == is_so
        })
        .await;
    }
    assert_eq!(rule(&server, "Second").await["health"], "ok");
    let third = rule(&server, "Third").await;
    let why = third["lastError"].as_str().expect("why");
    assert!(
        why.contains("annotations of this rule's alerts take more than"),
        "{why}"
    );
    assert_eq!(third["state"], "inactive");

    let elsewhere = json!({"alert": "Elsewhere", "expr": "job", "every": "1s", "for": "1h",
                           "annotations": {"summary": text}});
    let (status, made) = ask(
        &server,
        ADMIN,
        (Method::POST, "/api/rules?tenant=other"),
        Some(elsewhere),
    )
    .await;
    assert_eq!(status, 201, "{made}");
    until(&server, "another tenant's rule works", async || {
        let all = server.asked_by("other", "/api/rules").await.to_string();
        all.contains("\"state\":\"pending\"")
    })
    .await;
    // How long stopping takes is not asked here: the evaluation that is under way makes 36 MB of
    // texts, for which an unoptimised build needs seconds.
}

#[tokio::test]
async fn what_goes_on_is_said_again_as_often_as_it_may() {
    let server = TestServer::start_at(START_MS, |settings| {
        settings.tokens = vec![token("the-token-of-an-admin", Role::Admin, None)];
        settings.alert_check = Duration::from_secs(2);
    })
    .await;
    let mut events = server.sse("/events/alerts").await;
    server.push("default", "queue 5").await;
    make(
        &server,
        ADMIN,
        json!({"alert": "Full", "expr": "queue > 3", "every": "1s"}),
    )
    .await;
    until(&server, "it fires", async || fires(&server, "Full").await).await;
    for _ in 0..6 {
        let before = rule(&server, "Full").await["lastEvaluation"].clone();
        server.clock.advance(Duration::from_secs(1));
        let waiting = async {
            while rule(&server, "Full").await["lastEvaluation"] == before {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        waited.expect("it is evaluated");
    }
    let mut said = Vec::new();
    while said.len() < 4 {
        let alert = alert_of(&mut events, "Full", "firing").await.remove(0);
        let at: Timestamp = alert["timestamp"]
            .as_str()
            .expect("text")
            .parse()
            .expect("a time");
        said.push(at.as_millis());
    }
    let apart: Vec<i64> = said.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(apart, [2_000, 2_000, 2_000]);
    server.stop().await;
}

/// What a query of `ALERTS` and of `ALERTS_FOR_STATE` finds, a line each.
async fn alerts_series(server: &TestServer, tenant: &str, rule: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in ["ALERTS", "ALERTS_FOR_STATE"] {
        let path = format!("/api/v1/query?query={name}%7Balertname%3D%22{rule}%22%7D");
        let answer = server.asked_by(tenant, &path).await;
        for series in answer["data"]["result"].as_array().expect("series") {
            found.push(format!("{} {}", series["metric"], series["value"][1]));
        }
    }
    found
}

#[tokio::test]
async fn rules_over_ticks_write_alerts_as_all_others_do() {
    let mut server = start().await;
    let none: [&str; 0] = [];
    server.tick(50.0).await;
    assert_eq!(alerts_series(&server, "default", "cpu_high").await, none);
    server.tick(95.0).await;
    let since_s = server.clock.now_ms().div_euclid(1_000);
    let shown = [
        r#"{"__name__":"ALERTS","alertname":"cpu_high","alertstate":"firing","severity":"critical"} "1""#.to_owned(),
        format!(r#"{{"__name__":"ALERTS_FOR_STATE","alertname":"cpu_high","severity":"critical"}} "{since_s}""#),
    ];
    server
        .eventually("it fires", async || {
            alerts_series(&server, "default", "cpu_high").await == shown
        })
        .await;
    server.tick(96.0).await;
    assert_eq!(alerts_series(&server, "default", "cpu_high").await, shown);
    assert_eq!(alerts_series(&server, "other", "cpu_high").await, none);
    server.tick(10.0).await;
    server
        .eventually("it is over", async || {
            alerts_series(&server, "default", "cpu_high").await == none
        })
        .await;

    // Switched off while it fires, it is over as well.
    server.tick(97.0).await;
    server
        .eventually("it fires again", async || {
            alerts_series(&server, "default", "cpu_high").await.len() == 2
        })
        .await;
    let mut off = rule(&server, "cpu_high").await;
    off["enabled"] = json!(false);
    let path = "/api/rules/cpu_high";
    let (status, said) = ask(&server, ADMIN, (Method::PUT, path), Some(off)).await;
    assert_eq!(status, 200, "{said}");
    server
        .eventually("it is over", async || {
            alerts_series(&server, "default", "cpu_high").await == none
        })
        .await;

    // Tracked errors are each tenant's.
    for _ in 0..101 {
        let item = json!({"type": "error", "value": 1});
        let tracked = server
            .request(Method::POST, "/metrics/track")
            .header("x-tenant-id", "other")
            .json(&item)
            .send()
            .await;
        assert!(tracked.expect("an answer").status().is_success());
    }
    until_so(&server, "other", 2).await;
    assert_eq!(alerts_series(&server, "default", "error_rate").await, none);
    server.clock.advance(Duration::from_secs(61));
    until_so(&server, "other", 0).await;
    server.stop().await;
}

async fn until_so(server: &TestServer, tenant: &str, count: usize) {
    until(server, "so many series of the error rate", async || {
        alerts_series(server, tenant, "error_rate").await.len() == count
    })
    .await;
}
