//! `alerting` of `PROMETHEUS_CONFIG`: alerts of this server's own rules are told to the
//! Alertmanagers that it names, across failures, a restart and a reload.

use std::{fs, time::Duration};

use pulseboard::settings::DataDir;
use pulseboard_shared::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{START_MS, TestServer, problem, token, webhook::Webhook};

const ADMIN: &str = "Bearer the-token-of-an-admin";

/// Nobody listens there.
const DEAD: &str = "127.0.0.1:1";

const RULES: &str = r"groups:
- name: shop
  interval: 1s
  rules:
  - alert: OrdersHigh
    expr: orders > 10
    labels: {severity: page, secret: x}
    annotations: {summary: '{{ $value }} orders'}
  - alert: Quiet
    expr: orders > 10
";

struct Telling {
    server: TestServer,
    folder: tempfile::TempDir,
}

/// A file with these sections of `alertmanagers`, and more of `alerting`.
fn file(sections: &[String], more: &str) -> String {
    format!(
        "global: {{external_labels: {{site: here, severity: unused}}}}\nrule_files: [rules.yml]\nalerting:\n{more}  alertmanagers:\n{}",
        sections.concat()
    )
}

/// A section with one address.
fn at(address: &str, more: &str) -> String {
    format!("  - static_configs: [{{targets: ['{address}']}}]\n    timeout: 1s\n{more}")
}

impl Telling {
    async fn start(yaml: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("rules.yml"), RULES).expect("written");
        fs::write(folder.path().join("prometheus.yml"), yaml).expect("written");
        let server = Self::run(START_MS, &folder).await;
        Self { server, folder }
    }

    async fn run(now_ms: i64, folder: &tempfile::TempDir) -> TestServer {
        let folder = folder.path();
        TestServer::start_at(now_ms, |settings| {
            settings.tokens = vec![token("the-token-of-an-admin", Role::Admin, None)];
            settings.anonymous_tenants = ["default", "other"].map(str::to_owned).into();
            settings.data_dir = DataDir::Path(folder.join("data"));
            settings.prometheus_config = Some(folder.join("prometheus.yml"));
            settings.external_url = Some("https://pulse.example.com".to_owned());
        })
        .await
    }

    /// The same folder and file, as if nothing had been.
    async fn restarted(self) -> Self {
        let now_ms = (self.server.clock.now_ms() / 1000 + 1) * 1000;
        self.server.stop().await;
        let server = Self::run(now_ms, &self.folder).await;
        Self { server, ..self }
    }

    async fn reload(&self, yaml: &str) {
        fs::write(self.folder.path().join("prometheus.yml"), yaml).expect("written");
        let answer = self.server.send_as(ADMIN, Method::POST, "/-/reload", None);
        assert_eq!(answer.await.status(), 200);
    }

    async fn push(&self, value: u32) {
        self.server
            .push("default", format!("orders {value}\n"))
            .await;
    }

    /// Lets time go on until something is so, with orders that go on.
    async fn until(&self, what: &str, orders: u32, mut is_so: impl AsyncFnMut() -> bool) {
        for round in 0..2_000 {
            if is_so().await {
                return;
            }
            if round % 10 == 0 {
                self.push(orders).await;
            }
            self.server.clock.advance(Duration::from_millis(100));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("waited in vain: {what}");
    }

    async fn metric(&self, name: &str, address: &str) -> u64 {
        let id = format!("http://{address}/api/v2/alerts");
        let name = format!("pulseboard_alertmanager_{name}{{alertmanager=\"{id}\"}}");
        self.server.own_metric(&name).await
    }
}

/// All alerts of a name that somebody was told, in order.
fn told(webhook: &Webhook, name: &str) -> Vec<Value> {
    let heard = webhook.heard();
    let all = heard
        .iter()
        .flat_map(|body| body.as_array().expect("alerts"));
    let is_it = |alert: &&Value| alert["labels"]["alertname"] == name;
    all.filter(is_it).cloned().collect()
}

fn millis(alert: &Value, field: &str) -> i64 {
    let text = alert[field].as_str().expect("a time");
    let time: pulseboard_shared::Timestamp = text.parse().expect("a time");
    time.as_millis()
}

/// Whether an alert says that it goes on.
fn is_firing(server: &TestServer, alert: &Value) -> bool {
    millis(alert, "endsAt") > server.clock.now_ms()
}

#[tokio::test]
async fn what_fires_is_told_at_once_each_minute_and_when_it_is_over() {
    let webhook = Webhook::start().await;
    let section = at(
        webhook.address(),
        "    path_prefix: /am\n    basic_auth: {username: us, password: hunter2}\n    alert_relabel_configs: [{regex: secret, action: labeldrop}]\n",
    );
    let more = "  alert_relabel_configs:\n  - {source_labels: [alertname], regex: Quiet, action: drop}\n  - {source_labels: [site], target_label: place}\n";
    let telling = Telling::start(&file(&[section], more)).await;
    let server = &telling.server;
    // neither others' alerts are told on, nor other tenants'
    let posted = json!([{"labels": {"alertname": "OfOthers"}}]);
    let answer = server.send_as(ADMIN, Method::POST, "/api/v2/alerts", Some(posted));
    assert_eq!(answer.await.status(), 200);
    let rule = json!({"alert": "OfOther", "expr": "orders > 10", "every": "1s"});
    let answer = server.send_as(ADMIN, Method::POST, "/api/rules?tenant=other", Some(rule));
    assert_eq!(answer.await.status(), 201);
    server.push("other", "orders 20\n").await;
    telling
        .until("it is told", 20, async || !webhook.heard().is_empty())
        .await;
    let first = &told(&webhook, "OrdersHigh")[0];
    assert_eq!(
        json!([first["labels"], first["annotations"], first["generatorURL"]]),
        json!([
            {"alertname": "OrdersHigh", "severity": "page", "site": "here", "place": "here"},
            {"summary": "20 orders"},
            "https://pulse.example.com/graph?g0.expr=orders+%3E+10&g0.tab=1",
        ])
    );
    assert!(is_firing(server, first));
    let began_ms = millis(first, "startsAt");
    assert!(began_ms < server.clock.now_ms() && began_ms >= START_MS);
    let holds_ms = millis(first, "endsAt") - server.clock.now_ms();
    assert!((200_000..=240_000).contains(&holds_ms), "{holds_ms}");
    let head = &webhook.heads()[0];
    assert!(
        head.starts_with("post /am/api/v2/alerts http/1.1")
            && head.contains("authorization: basic dxm6ahvudgvymg==")
            && head.contains("content-type: application/json"),
        "{head}"
    );
    let before_ms = server.clock.now_ms();
    telling
        .until("it is told again", 21, async || {
            told(&webhook, "OrdersHigh").len() == 2
        })
        .await;
    let again = &told(&webhook, "OrdersHigh")[1];
    let between_ms = millis(again, "endsAt") - millis(first, "endsAt");
    // as the machine is busy, time goes on while a request is on its way
    assert!((30_000..120_000).contains(&between_ms), "{between_ms}");
    assert!(server.clock.now_ms() - before_ms >= 30_000);
    assert_eq!(
        json!([again["startsAt"], again["annotations"]["summary"]]),
        json!([first["startsAt"], "21 orders"])
    );
    telling
        .until("its end is told", 1, async || {
            told(&webhook, "OrdersHigh").len() == 3
        })
        .await;
    let last = &told(&webhook, "OrdersHigh")[2];
    assert!(!is_firing(server, last));
    assert_eq!(last["startsAt"], first["startsAt"]);
    // it was taken, and so it is not said again
    for _ in 0..20 {
        server.clock.advance(Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(told(&webhook, "OrdersHigh").len(), 3);
    for name in ["Quiet", "OfOthers", "OfOther"] {
        assert_eq!(told(&webhook, name), Vec::<Value>::new(), "{name}");
    }
    let managers = server.json("/api/v1/alertmanagers").await;
    let url = format!("http://{}/am/api/v2/alerts", webhook.address());
    assert_eq!(
        managers["data"],
        json!({"activeAlertmanagers": [{"url": url}], "droppedAlertmanagers": []})
    );
    let labels = format!("{{alertmanager=\"{url}\"}}");
    let metric = async |name: &str| {
        let name = format!("pulseboard_alertmanager_{name}{labels}");
        server.own_metric(&name).await
    };
    assert_eq!(metric("sent_total").await, 3);
    assert!(metric("relabelled_away_total").await >= 2);
    assert_eq!(metric("waiting").await, 0);
    telling.server.stop().await;
}

#[tokio::test]
async fn one_that_is_dead_holds_up_nobody_and_hears_the_end_when_it_lives_again() {
    let (living, ill) = (Webhook::start().await, Webhook::start().await);
    ill.answer(503);
    let sections = [DEAD, ill.address(), living.address()].map(|address| at(address, ""));
    let telling = Telling::start(&file(&sections, "")).await;
    telling
        .until("the living one is told", 20, async || {
            !told(&living, "OrdersHigh").is_empty()
        })
        .await;
    telling
        .until("the others fail", 20, async || {
            telling.metric("failures_total", DEAD).await > 1 && ill.heard().len() > 1
        })
        .await;
    telling
        .until("its end is told", 1, async || {
            let told = told(&living, "OrdersHigh");
            told.last()
                .is_some_and(|last| !is_firing(&telling.server, last))
        })
        .await;
    assert_eq!(telling.metric("sent_total", ill.address()).await, 0);
    let before = ill.heard().len();
    ill.answer(200);
    telling
        .until("the end is heard", 1, async || ill.heard().len() > before)
        .await;
    let last = told(&ill, "OrdersHigh").pop().expect("one");
    assert!(!is_firing(&telling.server, &last));
    telling
        .until("nothing waits", 1, async || {
            telling.metric("waiting", ill.address()).await == 0
        })
        .await;
    // what it refuses for good is said again in a minute, and not at once
    living.answer(400);
    let before = living.heard().len();
    telling
        .until("it refuses", 20, async || living.heard().len() > before)
        .await;
    let refused = living.heard().len();
    for _ in 0..20 {
        telling.server.clock.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(living.heard().len() <= refused + 1);
    assert!(telling.metric("refused_total", living.address()).await >= 1);
    telling.server.stop().await;
}

#[tokio::test]
async fn a_restart_says_of_nothing_that_it_is_over() {
    let webhook = Webhook::start().await;
    let telling = Telling::start(&file(&[at(webhook.address(), "")], "")).await;
    telling
        .until("it is told", 20, async || {
            !told(&webhook, "OrdersHigh").is_empty()
        })
        .await;
    let first = told(&webhook, "OrdersHigh").remove(0);
    let telling = telling.restarted().await;
    telling
        .until("it is told again", 20, async || {
            told(&webhook, "OrdersHigh").len() > 1
        })
        .await;
    for alert in told(&webhook, "OrdersHigh") {
        assert!(is_firing(&telling.server, &alert), "{alert}");
        assert_eq!(alert["startsAt"], first["startsAt"]);
    }
    telling
        .until("its end is told", 1, async || {
            let told = told(&webhook, "OrdersHigh");
            told.last()
                .is_some_and(|last| !is_firing(&telling.server, last))
        })
        .await;
    telling.server.stop().await;
}

#[tokio::test]
async fn a_reload_keeps_who_is_told_and_tells_who_is_new() {
    let (kept, new) = (Webhook::start().await, Webhook::start().await);
    let telling = Telling::start(&file(&[at(kept.address(), "")], "")).await;
    telling
        .until("both are told", 20, async || {
            telling.metric("sent_total", kept.address()).await == 2
        })
        .await;
    let sections = [
        at(kept.address(), ""),
        at(
            new.address(),
            "    alert_relabel_configs: [{target_label: via, replacement: new}]\n",
        ),
    ];
    telling.reload(&file(&sections, "")).await;
    // time stands: who is new hears at once, and who is not hears nothing
    telling
        .server
        .eventually("the new one is told", async || {
            !told(&new, "OrdersHigh").is_empty()
        })
        .await;
    assert_eq!(told(&new, "OrdersHigh")[0]["labels"]["via"], "new");
    assert_eq!(telling.metric("sent_total", kept.address()).await, 2);
    telling.reload(&file(&[at(new.address(), "")], "")).await;
    let before = kept.heard().len();
    telling
        .until("the end is told", 1, async || {
            let told = told(&new, "OrdersHigh");
            told.last()
                .is_some_and(|last| !is_firing(&telling.server, last))
        })
        .await;
    let last = told(&new, "OrdersHigh").pop().expect("one");
    assert_eq!(last["labels"]["via"], Value::Null);
    assert_eq!(kept.heard().len(), before);
    fs::write(
        telling.folder.path().join("prometheus.yml"),
        "alerting: {alertmanagers: [{api_version: v1}]}\n",
    )
    .expect("written");
    let answer = telling
        .server
        .send_as(ADMIN, Method::POST, "/-/reload", None);
    let wrong = problem(answer.await, 500).await;
    assert!(wrong["detail"].to_string().contains("is not v2"), "{wrong}");
    let managers = telling.server.json("/api/v1/alertmanagers").await;
    let active = managers["data"]["activeAlertmanagers"].as_array();
    assert_eq!(active.map(Vec::len), Some(1));
    telling.server.stop().await;
}
