//! From an alert to somebody's webhook: grouping, silences, inhibition, acknowledgement, restarts,
//! receivers that fail, and who may say who is told.

use std::{fs, path::Path, time::Duration};

use pulseboard::settings::{DataDir, Settings};
use pulseboard_shared::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    access::{bearer, with_tokens},
    support::{TestServer, problem, token, webhook::Webhook},
};

const ADMIN: &str = "the-token-of-an-admin";

/// A file with one webhook that is told at once.
fn told_at_once(url: &str) -> String {
    format!(
        "route:\n  receiver: ops\n  group_by: [alertname]\n  group_wait: 0s\n  group_interval: 1s\n  repeat_interval: 1h\nreceivers:\n  - name: ops\n    webhook_configs: [{{url: '{url}'}}]\n"
    )
}

struct Notifying {
    server: TestServer,
    webhook: Webhook,
    folder: tempfile::TempDir,
}

impl Notifying {
    async fn start(more: &str) -> Self {
        let webhook = Webhook::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let yaml = told_at_once(&webhook.url) + more;
        fs::write(folder.path().join("alertmanager.yml"), yaml).expect("written");
        let server = TestServer::start_with(|settings| set(settings, folder.path())).await;
        Self {
            server,
            webhook,
            folder,
        }
    }

    /// The same folder and file, as if nothing had been.
    async fn restarted(self) -> Self {
        // A whole second, as ticks are told by.
        let now_ms = (self.server.clock.now_ms() / 1000 + 1) * 1000;
        self.server.stop().await;
        let folder = self.folder.path();
        let server = TestServer::start_at(now_ms, |settings| set(settings, folder)).await;
        Self { server, ..self }
    }

    /// Waits until the webhook has heard what is told at once: time stands, and with it what is
    /// measured.
    async fn heard_first(&self) -> Vec<Value> {
        self.server
            .eventually("the webhook hears at once", async || {
                !self.webhook.heard().is_empty()
            })
            .await;
        self.webhook.heard()
    }

    /// Lets time go by until the webhook has heard so much.
    async fn until_heard(&self, count: usize) -> Vec<Value> {
        self.server
            .eventually("the webhook hears", async || {
                self.server.clock.advance(Duration::from_millis(100));
                self.webhook.heard().len() >= count
            })
            .await;
        let heard = self.webhook.heard();
        assert_eq!(heard.len(), count, "{heard:#?}");
        heard
    }
}

fn set(settings: &mut Settings, folder: &Path) {
    settings.notify_private = true;
    settings.tokens = vec![token(ADMIN, Role::Admin, None)];
    settings.data_dir = DataDir::Path(folder.join("data"));
    settings.alertmanager_config = Some(folder.join("alertmanager.yml"));
    settings.external_url = Some("https://pulse.example.com".to_owned());
}

/// The incident of a rule; time stands, so that two may have begun in one millisecond.
async fn incident_of(server: &TestServer, rule: &str) -> Value {
    let listed = server.json(&format!("/api/incidents?rule={rule}")).await;
    let Some(id) = listed["incidents"][0]["incident"].as_str() else {
        return json!({"timeline": []});
    };
    server.json(&format!("/api/alerts/{id}")).await
}

async fn incident(server: &TestServer) -> Value {
    let listed = server.json("/api/incidents").await;
    let id = listed["incidents"][0]["incident"].as_str().expect("one");
    server.json(&format!("/api/alerts/{id}")).await
}

fn kinds(incident: &Value) -> Vec<&str> {
    let entries = incident["timeline"].as_array().expect("entries").iter();
    entries
        .map(|entry| entry["kind"].as_str().expect("a kind"))
        .collect()
}

#[tokio::test]
async fn a_rule_that_fires_is_told_to_a_webhook_and_so_is_its_end() {
    let mut notifying = Notifying::start("").await;
    notifying.server.tick(50.0).await;
    notifying.server.tick(95.5).await;
    let heard = notifying.heard_first().await;
    let alert = &heard[0]["alerts"][0];
    assert_eq!(
        json!([
            heard[0]["version"],
            heard[0]["status"],
            heard[0]["receiver"],
            heard[0]["groupLabels"],
            heard[0]["externalURL"],
            alert["labels"]["severity"],
            alert["annotations"]["summary"],
            alert["endsAt"],
        ]),
        json!([
            "4",
            "firing",
            "ops",
            {"alertname": "cpu_high"},
            "https://pulse.example.com",
            "critical",
            "CPU usage critical: 95.5%",
            "0001-01-01T00:00:00Z",
        ])
    );
    let server = &notifying.server;
    server
        .eventually("it is in the timeline", async || {
            kinds(&incident(server).await) == ["firing", "notified"]
        })
        .await;
    let log = server.json("/api/notifications").await;
    let line = &log["notifications"][0];
    assert_eq!(
        json!([
            line["receiver"],
            line["integration"],
            line["outcome"],
            line["alerts"]
        ]),
        json!(["ops", "webhook[0]", "sent", 1])
    );
    notifying.server.tick(10.0).await;
    let heard = notifying.until_heard(2).await;
    assert_eq!(heard[1]["status"], "resolved");
    let fingerprints = [&heard[0], &heard[1]].map(|one| &one["alerts"][0]["fingerprint"]);
    assert_eq!(fingerprints[0], fingerprints[1]);
    notifying.server.stop().await;
}

#[tokio::test]
async fn an_alert_is_known_by_the_labels_that_its_rule_gives() {
    let notifying = Notifying::start("").await;
    let server = &notifying.server;
    let rule = json!({"alert": "Bare", "expr": "vector(1)", "every": "1s"});
    let who = format!("Bearer {ADMIN}");
    let made = server.send_as(&who, Method::POST, "/api/rules", Some(rule));
    assert_eq!(made.await.status(), 201);
    let heard = notifying.until_heard(1).await;
    let labels = json!({"alertname": "Bare"});
    assert_eq!(heard[0]["alerts"][0]["labels"], labels);
    assert_eq!(heard[0]["commonLabels"], labels);
    let listed = server.json("/api/v2/alerts").await;
    assert_eq!(listed[0]["labels"], labels);
    let of_them = pulseboard_shared::Labels::from([("alertname".to_owned(), "Bare".to_owned())]);
    assert_eq!(
        listed[0]["fingerprint"],
        pulseboard_receivers::fingerprint(&of_them)
    );
    // the field says what no label says, and the timeline is that of this alert
    server
        .eventually("it is in the timeline", async || {
            let seen = incident_of(server, "Bare").await;
            kinds(&seen).contains(&"notified") && seen["severity"] == "warning"
        })
        .await;
    notifying.server.stop().await;
}

#[tokio::test]
async fn what_is_silenced_is_not_told_and_the_timeline_says_why() {
    let notifying = Notifying::start("").await;
    let server = &notifying.server;
    let id = server.make_silence("default", "alertname", "Down").await;
    let down = json!([{"labels": {"alertname": "Down"}}]);
    server.post_alerts("default", down).await;
    server
        .eventually("it is said why", async || {
            kinds(&incident(server).await).contains(&"not_notified")
        })
        .await;
    let seen = incident(server).await;
    let why = seen["timeline"].as_array().expect("entries").last();
    assert_eq!(why.expect("one")["reason"], "silenced");
    assert_eq!(seen["silencedBy"], json!([id]));
    assert!(notifying.webhook.heard().is_empty());
    // ended, it is told
    let path = format!("/api/v2/silence/{id}");
    let ended = server.request(Method::DELETE, &path).send().await;
    assert_eq!(ended.expect("an answer").status(), 200);
    notifying.until_heard(1).await;
    notifying.server.stop().await;
}

#[tokio::test]
async fn a_larger_fire_inhibits_a_smaller_one() {
    let more = "inhibit_rules:\n  - source_matchers: ['severity=critical']\n    target_matchers: ['severity=warning']\n";
    let mut notifying = Notifying::start(more).await;
    notifying.server.tick(50.0).await;
    // cpu 99 is critical; its memory of 49.5 and its latency of 24.75 are nothing
    notifying.server.tick(99.0).await;
    notifying.heard_first().await;
    let small = json!([{"labels": {"alertname": "Slow", "severity": "warning"}}]);
    notifying.server.post_alerts("default", small).await;
    let server = &notifying.server;
    server
        .eventually("it is said why", async || {
            let seen = incident_of(server, "Slow").await;
            let entries = seen["timeline"].as_array().expect("entries").clone();
            entries.iter().any(|entry| entry["reason"] == "inhibited")
        })
        .await;
    let seen = incident_of(server, "Slow").await;
    assert_eq!(seen["inhibitedBy"].as_array().map(Vec::len), Some(1));
    assert_eq!(notifying.webhook.heard().len(), 1);
    notifying.server.stop().await;
}

#[tokio::test]
async fn what_was_told_is_not_told_again_after_a_restart() {
    let mut notifying = Notifying::start("").await;
    notifying.server.tick(50.0).await;
    notifying.server.tick(95.0).await;
    notifying.heard_first().await;
    let before = incident(&notifying.server).await;
    let silence = notifying.server.make_silence("default", "job", "x").await;
    let mut notifying = notifying.restarted().await;
    let server = &notifying.server;
    let silences = server.json("/api/v2/silences").await;
    assert_eq!(silences[0]["id"], json!(silence));
    let after = incident(server).await;
    assert_eq!(after["incident"], before["incident"]);
    assert_eq!(after["state"], "firing");
    // it goes on: nothing new. It ends: that is told.
    notifying.server.tick(96.0).await;
    notifying.server.tick(5.0).await;
    let heard = notifying.until_heard(2).await;
    assert_eq!(heard[1]["status"], "resolved");
    notifying.server.stop().await;
}

#[tokio::test]
async fn a_receiver_that_refuses_is_an_alert_of_its_own_until_it_takes_something() {
    let notifying = Notifying::start("").await;
    notifying.webhook.answer(400);
    let down = json!([{"labels": {"alertname": "Down"}}]);
    notifying.server.post_alerts("default", down).await;
    notifying.until_heard(1).await;
    let server = &notifying.server;
    let rules = async || {
        let active = server.json("/api/alerts").await;
        let active = active.as_array().expect("a list").iter();
        let rules: Vec<String> = active
            .map(|alert| alert["rule"].as_str().expect("text").to_owned())
            .collect();
        rules
    };
    server
        .eventually("it is an alert", async || {
            rules().await == ["Down", "notification_failed"]
        })
        .await;
    assert!(
        server
            .own_metric("pulseboard_notifications_failed_total")
            .await
            >= 1
    );
    notifying.webhook.answer(200);
    server
        .eventually("it is over", async || {
            server.clock.advance(Duration::from_millis(500));
            rules().await == ["Down"]
        })
        .await;
    notifying.server.stop().await;
}

#[tokio::test]
async fn a_file_is_read_again_and_a_bad_one_changes_nothing() {
    let notifying = Notifying::start("").await;
    let server = &notifying.server;
    let file = notifying.folder.path().join("alertmanager.yml");
    let reload = async || {
        let answer = server
            .send_as(&format!("Bearer {ADMIN}"), Method::POST, "/-/reload", None)
            .await;
        answer.status().as_u16()
    };
    fs::write(&file, "route: {receiver: nobody}\n").expect("written");
    assert_eq!(reload().await, 500);
    let status = server.json("/api/v2/status").await;
    let error = status["pulseboard"]["configError"].as_str().expect("text");
    assert!(error.contains("alertmanager.yml:"), "{error}");
    assert_eq!(server.own_metric("pulseboard_notify_config_good").await, 0);
    assert_eq!(
        server.json("/api/v2/receivers").await,
        json!([{"name": "ops"}])
    );
    let good = "route: {receiver: dev}\nreceivers: [{name: dev}]\n";
    fs::write(&file, good).expect("written");
    assert_eq!(reload().await, 200);
    assert_eq!(server.own_metric("pulseboard_notify_config_good").await, 1);
    assert_eq!(
        server.json("/api/v2/receivers").await,
        json!([{"name": "dev"}])
    );
    notifying.server.stop().await;
}

#[tokio::test]
async fn a_start_with_a_bad_file_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("alertmanager.yml");
    fs::write(
        &file,
        "route: {receiver: ops}\nreceivers: [{name: ops, nothing_configs: []}]\n",
    )
    .expect("written");
    let wrong = pulseboard::notifying::check(Some(&file)).expect_err("it is wrong");
    assert!(wrong.starts_with("ALERTMANAGER_CONFIG="), "{wrong}");
    assert!(
        wrong.contains("nothing_configs") && !wrong.contains('\n'),
        "{wrong}"
    );
}

#[tokio::test]
async fn receivers_are_made_tried_and_used_each_tenants_own() {
    const OF_SHOP: &str = "the-token-of-an-admin-of-shop";
    let webhook = Webhook::start().await;
    let server = TestServer::start_with(|settings| {
        settings.notify_private = true;
        settings.tokens = vec![
            token(OF_SHOP, Role::Admin, Some("shop")),
            token("admin-secret", Role::Admin, None),
        ];
        settings.anonymous_tenants = ["default", "shop", "bank"].map(str::to_owned).into();
    })
    .await;
    let ask = async |method: Method, path: &str, body: Option<Value>| {
        server
            .send_as(&format!("Bearer {OF_SHOP}"), method, path, body)
            .await
    };
    let hook = json!({"name": "ops", "webhook_configs": [{"url": webhook.url}]});
    let made = ask(Method::POST, "/api/receivers", Some(hook.clone())).await;
    assert_eq!(made.status(), 201);
    let made: Value = made.json().await.expect("JSON");
    assert_eq!(made["webhook_configs"][0]["url"], "<secret>");
    assert_eq!(json!([made["source"], made["used"]]), json!(["api", true]));
    problem(ask(Method::POST, "/api/receivers", Some(hook)).await, 409).await;
    let file = json!({"name": "x", "webhook_configs": [{"url_file": "/etc/passwd"}]});
    problem(ask(Method::POST, "/api/receivers", Some(file)).await, 400).await;

    let tested = ask(Method::POST, "/api/receivers/ops/test", None).await;
    let tested: Value = tested.json().await.expect("JSON");
    assert_eq!(tested["results"][0]["outcome"], "sent", "{tested}");
    assert_eq!(webhook.heard().len(), 1);

    // what another tenant is sent is not told here
    for tenant in ["bank", "shop"] {
        let alert = json!([{"labels": {"alertname": "Down", "who": tenant}}]);
        server.post_alerts(tenant, alert).await;
    }
    server
        .eventually("it is told", async || {
            server.clock.advance(Duration::from_secs(1));
            webhook.heard().len() == 2
        })
        .await;
    assert_eq!(webhook.heard()[1]["alerts"][0]["labels"]["who"], "shop");
    let of_bank = server.asked_by("bank", "/api/receivers").await;
    assert_eq!(of_bank["receivers"], json!([]));
    assert_eq!(
        server.asked_by("bank", "/api/notifications").await,
        json!({"notifications": []})
    );

    // whatever its name is, it can be tried and removed
    for (name, path) in [
        ("a/b", "a%2Fb"),
        ("100 %?#", "100%20%25%3F%23"),
        ("...", "..."),
        ("ä\\", "%C3%A4%5C"),
    ] {
        let odd = json!({"name": name, "webhook_configs": [{"url": webhook.url}]});
        let made = ask(Method::POST, "/api/receivers", Some(odd.clone())).await;
        assert_eq!(made.status(), 201, "{name}");
        let path = format!("/api/receivers/{path}");
        let changed = ask(Method::PUT, &path, Some(odd)).await;
        assert_eq!(changed.status(), 200, "{name}");
        let tested = ask(Method::POST, &format!("{path}/test"), None).await;
        let tested: Value = tested.json().await.expect("JSON");
        assert_eq!(tested["results"][0]["outcome"], "sent", "{name}: {tested}");
        assert_eq!(
            ask(Method::DELETE, &path, None).await.status(),
            204,
            "{name}"
        );
    }
    for name in [".", ".."] {
        let odd = json!({"name": name, "webhook_configs": [{"url": webhook.url}]});
        problem(ask(Method::POST, "/api/receivers", Some(odd)).await, 400).await;
    }

    // what is stored for one address is sent to no other
    let thief = Webhook::start().await;
    let login = |url: &str, password: &str| {
        let basic = json!({"basic_auth": {"username": "me", "password": password}});
        json!({"name": "me", "webhook_configs": [{"url": url, "http_config": basic}]})
    };
    let mine = login(&webhook.url, "S3CRET");
    let made = ask(Method::POST, "/api/receivers", Some(mine)).await;
    assert_eq!(made.status(), 201);
    let theirs = login(&thief.url, "<secret>");
    let refused = ask(Method::PUT, "/api/receivers/me", Some(theirs)).await;
    let refused = problem(refused, 400).await;
    let detail = refused["detail"].as_str().expect("a text");
    assert!(detail.contains("webhook_configs/0"), "{detail}");
    ask(Method::POST, "/api/receivers/me/test", None).await;
    assert!(thief.heard().is_empty());
    let other_path = login(&format!("{}hook", webhook.url), "<secret>");
    let changed = ask(Method::PUT, "/api/receivers/me", Some(other_path)).await;
    assert_eq!(changed.status(), 200);
    ask(Method::DELETE, "/api/receivers/me", None).await;

    // hidden, it stays as it is
    let hidden =
        json!({"name": "ops", "webhook_configs": [{"url": "<secret>", "send_resolved": false}]});
    let changed = ask(Method::PUT, "/api/receivers/ops", Some(hidden)).await;
    assert_eq!(changed.status(), 200);
    let tested = ask(Method::POST, "/api/receivers/ops/test", None).await;
    let tested: Value = tested.json().await.expect("JSON");
    assert_eq!(tested["results"][0]["outcome"], "sent", "{tested}");
    assert_eq!(
        ask(Method::DELETE, "/api/receivers/ops", None)
            .await
            .status(),
        204
    );
    problem(ask(Method::DELETE, "/api/receivers/ops", None).await, 404).await;
    server.stop().await;
}

#[tokio::test]
async fn who_posts_alerts_keeps_no_rule_of_the_tenant_from_being_heard() {
    let webhook = Webhook::start().await;
    let server = TestServer::start_with(|settings| {
        settings.notify_private = true;
        settings.tokens = vec![token(ADMIN, Role::Admin, None)];
        settings.anonymous_tenants = ["default", "shop"].map(str::to_owned).into();
    })
    .await;
    let ask = async |path: &str, body: Value| {
        let request = server.request(Method::POST, path).bearer_auth(ADMIN);
        let request = request.header("x-tenant-id", "shop").json(&body);
        request.send().await.expect("an answer")
    };
    let hook = json!({"name": "ops", "webhook_configs": [{"url": webhook.url}]});
    assert_eq!(ask("/api/receivers", hook).await.status(), 201);
    let flood: Vec<Value> = (0..6_000)
        .map(|number| {
            json!({"labels": {"alertname": "Noise", "n": number.to_string()},
                   "endsAt": "2099-01-01T00:00:00Z"})
        })
        .collect();
    let full = ask("/api/v2/alerts", json!(flood)).await;
    assert_eq!(full.status(), 429);
    let said: String = full.json().await.expect("a JSON string");
    assert_eq!(
        said,
        "there are 5000 alerts, which is all that are kept (1000 alerts)"
    );
    let rule = json!({"alert": "Mine", "expr": "vector(1)", "every": "1s"});
    assert_eq!(ask("/api/rules", rule).await.status(), 201);
    server
        .eventually("the rule's alert is dispatched", async || {
            server.clock.advance(Duration::from_secs(1));
            let path = "/api/v2/alerts?filter=alertname%3D%22Mine%22";
            server.asked_by("shop", path).await != json!([])
        })
        .await;
    server.stop().await;
}

/// Two admins have the same list before them: who saves last is told that it has changed, whether
/// it is said by `If-Match` or in the body.
#[tokio::test]
async fn who_changes_receivers_late_is_told_so() {
    let server = TestServer::start_with(with_tokens).await;
    let ask = async |method: Method, path: &str, tag: Option<&str>, body: Option<Value>| {
        let bearer = bearer(Role::Admin);
        let mut request = server.request(method, path).header("authorization", bearer);
        if let Some(tag) = tag {
            request = request.header("if-match", tag);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.expect("an answer")
    };
    let tag_of = |answer: &reqwest::Response| {
        let tag = answer.headers().get("etag").expect("an ETag");
        tag.to_str().expect("text").to_owned()
    };
    let to = |url: &str| json!({"name": "ops", "webhook_configs": [{"url": url}]});
    let list = "/api/receivers";
    let empty = tag_of(&ask(Method::GET, list, None, None).await);
    let made = ask(
        Method::POST,
        list,
        Some(&empty),
        Some(to("http://a.example/")),
    )
    .await;
    assert_eq!(made.status(), 201);
    let first = tag_of(&made);
    let read = ask(Method::GET, list, None, None).await;
    assert_eq!(tag_of(&read), first);
    let revision = read.json::<Value>().await.expect("JSON")["revision"].clone();
    assert_eq!(format!("\"{revision}\""), first);

    let one = "/api/receivers/ops";
    let second = ask(
        Method::PUT,
        one,
        Some(&first),
        Some(to("http://b.example/")),
    )
    .await;
    assert_eq!(second.status(), 200);
    let second = tag_of(&second);
    assert_ne!(second, first);
    // who read the first state
    let body = Some(to("http://c.example/"));
    problem(ask(Method::PUT, one, Some(&first), body.clone()).await, 412).await;
    problem(ask(Method::DELETE, one, Some(&first), None).await, 412).await;
    let dev = Some(json!({"name": "dev"}));
    problem(ask(Method::POST, list, Some(&empty), dev).await, 412).await;
    let mut late = to("http://c.example/");
    late["revision"] = revision;
    problem(ask(Method::PUT, one, None, Some(late.clone())).await, 409).await;
    late["revision"] = json!("1");
    problem(ask(Method::PUT, one, None, Some(late)).await, 400).await;
    assert_eq!(tag_of(&ask(Method::GET, list, None, None).await), second);
    // and who says nothing of it changes what is there, as ever
    assert_eq!(ask(Method::PUT, one, None, body).await.status(), 200);
    let third = tag_of(&ask(Method::GET, list, None, None).await);
    let removed = ask(Method::DELETE, one, Some(&third), None).await;
    assert_eq!(removed.status(), 204);
}

#[tokio::test]
async fn receivers_are_for_admins() {
    let server = TestServer::start_with(with_tokens).await;
    let body = || Some(json!({"name": "a"}));
    for (role, status) in [
        (Role::Viewer, 403),
        (Role::Operator, 403),
        (Role::Admin, 201),
    ] {
        let answer = server
            .send_as(&bearer(role), Method::POST, "/api/receivers", body())
            .await;
        assert_eq!(answer.status(), status, "{role}");
    }
    let seen = server
        .send_as(&bearer(Role::Viewer), Method::GET, "/api/receivers", None)
        .await;
    assert_eq!(seen.status(), 200);
    server.stop().await;
}

#[tokio::test]
async fn the_heart_beats_while_all_is_well() {
    let heart = Webhook::start().await;
    let mut server = TestServer::start_with(|settings| {
        settings.notify_private = true;
        settings.heartbeat_url = Some(heart.url.trim_end_matches('/').to_owned());
    })
    .await;
    server.tick(1.0).await;
    server
        .eventually("it is called", async || {
            server.clock.advance(Duration::from_millis(500));
            !heart.heard().is_empty()
        })
        .await;
    server.stop().await;
}
