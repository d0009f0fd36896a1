//! `PROMETHEUS_CONFIG`: targets are scraped into the default tenant, told of, and exchanged by a
//! reload.

use std::{fs, path::PathBuf, time::Duration};

use pulseboard::settings::Settings;
use pulseboard_shared::Role;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{TestServer, exporter::Exporter, problem, token};

const ADMIN: &str = "the-token-of-an-admin";
const OF_ACME: &str = "the-token-of-an-admin-of-acme";

/// A server that scrapes by a file, and the file's folder.
struct Scraping {
    server: TestServer,
    file: PathBuf,
    _folder: TempDir,
}

/// One job of a file.
fn job(name: &str, address: &str, more: &str) -> String {
    format!(
        "  - job_name: {name}\n    scrape_interval: 100ms\n    static_configs: [{{targets: ['{address}']}}]\n{more}"
    )
}

fn file_of(jobs: &[String]) -> String {
    format!("scrape_configs:\n{}", jobs.concat())
}

impl Scraping {
    async fn start(yaml: &str) -> Self {
        Self::start_with(yaml, |_settings| {}).await
    }

    async fn start_with(yaml: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, yaml).expect("written");
        let server = TestServer::start_with(|settings| {
            settings.prometheus_config = Some(file.clone());
            settings.tokens = vec![
                token(ADMIN, Role::Admin, None),
                token(OF_ACME, Role::Admin, Some("acme")),
            ];
            settings.anonymous_tenants = ["default", "other"].map(str::to_owned).into();
            change(settings);
        })
        .await;
        Self {
            server,
            file,
            _folder: folder,
        }
    }

    /// Values of an expression now, by what a label says.
    async fn values(&self, query: &str, label: &str) -> Vec<(String, String)> {
        let now = (self.server.clock.now_ms() as f64 / 1000.0).to_string();
        let answer = self
            .server
            .request(Method::GET, "/api/v1/query")
            .query(&[("query", query), ("time", &now)])
            .send()
            .await
            .expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let result = answer["data"]["result"].as_array().expect("a vector");
        let values = result.iter();
        let values = values.map(|one| (text(&one["metric"][label]), text(&one["value"][1])));
        let mut values: Vec<_> = values.collect();
        // an instant vector comes in no order
        values.sort();
        values
    }

    /// Lets time go by until an expression has these values.
    async fn until(&self, query: &str, label: &str, expected: &[(&str, &str)]) {
        let what = format!("{query} is {expected:?}");
        self.server
            .eventually(&what, async || {
                self.server.clock.advance(Duration::from_millis(20));
                let values = self.values(query, label).await;
                values
                    .iter()
                    .map(|(a, b)| (&**a, &**b))
                    .eq(expected.iter().copied())
            })
            .await;
    }

    async fn reload(&self, token: Option<&str>) -> reqwest::Response {
        let mut request = self.server.request(Method::POST, "/-/reload");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request.send().await.expect("an answer")
    }
}

/// Of a target whose samples cannot all be kept it is told which and why, and it is known to be up.
#[tokio::test]
async fn what_is_not_kept_of_a_target_is_told() {
    let long = format!(
        "ok 1\n{} 2\na{{x=\"{}\"}} 3\n",
        "n".repeat(201),
        "v".repeat(1025)
    );
    let long = Exporter::start(Some(&long)).await;
    let many: String = (0..200).map(|at| format!("m{{at=\"{at}\"}} 1\n")).collect();
    let many = Exporter::start(Some(&many)).await;
    let yaml = file_of(&[
        job("long", &long.address, ""),
        job("many", &many.address, ""),
    ]);
    let scraping = Scraping::start_with(&yaml, |settings| settings.max_series = 50).await;
    scraping
        .until(
            "scrape_samples_scraped{job='long'}",
            "job",
            &[("long", "3")],
        )
        .await;
    scraping
        .until("up", "job", &[("long", "1"), ("many", "1")])
        .await;
    scraping
        .until("count(scrape_duration_seconds)", "job", &[("", "2")])
        .await;
    scraping
        .until(
            "scrape_samples_scraped{job='many'}",
            "job",
            &[("many", "200")],
        )
        .await;
    let told = scraping.server.json("/api/ingest").await;
    let told: Value = told;
    assert!(
        told["refused"]["series_limit"].as_u64() > Some(100),
        "{told}"
    );
    assert!(told["refused"]["name"].as_u64() > Some(0), "{told}");
    assert!(told["refused"]["label"].as_u64() > Some(0), "{told}");
    let refusals = told["refusals"].as_array().expect("refusals").clone();
    for (job, address, reason) in [
        ("long", &long.address, "name has 201 bytes"),
        ("long", &long.address, "1025 bytes"),
        ("many", &many.address, "MAX_SERIES"),
    ] {
        let endpoint = format!("scrape {{job=\"{job}\",instance=\"{address}\"}}");
        let is_it = |one: &&Value| {
            let text = |key: &str| one[key].as_str().unwrap_or_default();
            text("endpoint") == endpoint && text("reason").contains(reason)
        };
        assert!(refusals.iter().any(|one| is_it(&one)), "{endpoint}: {told}");
    }
}

#[tokio::test]
async fn what_is_scraped_is_answered_and_told() {
    let exporter = Exporter::start(Some(
        "# HELP jobs_done_total Jobs that ended.\n# TYPE jobs_done_total counter\njobs_done_total{job=\"own\"} 7\n",
    ))
    .await;
    let more = "    honor_labels: true\n    basic_auth: {username: me, password: hunter2}\n    relabel_configs: [{source_labels: [__meta_nothing], regex: '', target_label: zone, replacement: x}]\n";
    let dropped = "    relabel_configs: [{action: drop}]\n";
    let scraping = Scraping::start(&file_of(&[
        job("node", &exporter.address, more),
        job("nobody", "localhost:1", dropped),
    ]))
    .await;
    // `honor_labels`: the exporter's own job stays
    scraping
        .until("jobs_done_total", "job", &[("own", "7")])
        .await;
    scraping.until("up", "job", &[("node", "1")]).await;
    scraping
        .until("scrape_samples_scraped", "zone", &[("x", "1")])
        .await;

    let server = &scraping.server;
    let answer = server.json("/api/v1/targets").await;
    let target = &answer["data"]["activeTargets"][0];
    let address = &exporter.address;
    assert_eq!(
        target["labels"],
        json!({"instance": address, "job": "node", "zone": "x"})
    );
    assert_eq!(target["discoveredLabels"]["__address__"], json!(address));
    assert_eq!(target["scrapeUrl"], format!("http://{address}/metrics"));
    assert_eq!(
        json!([
            target["scrapePool"],
            target["health"],
            target["lastError"],
            target["scrapeInterval"],
            target["scrapeTimeout"]
        ]),
        json!(["node", "up", "", "100ms", "100ms"])
    );
    assert!(
        target["lastScrape"]
            .as_str()
            .is_some_and(|at| at.starts_with("2026-11-20T"))
    );
    assert_eq!(
        answer["data"]["droppedTargets"][0]["discoveredLabels"]["job"],
        "nobody"
    );
    assert_eq!(
        answer["data"]["droppedTargetCounts"],
        json!({"node": 0, "nobody": 1})
    );
    for (query, active, dropped) in [
        ("?state=active", 1, 0),
        ("?state=dropped", 0, 1),
        ("?scrapePool=nobody", 0, 1),
        ("?state=any", 1, 1),
        ("?state=ANY", 1, 1),
        ("?state=foo", 0, 0),
    ] {
        let answer = server.json(&format!("/api/v1/targets{query}")).await;
        let count = |kind: &str| answer["data"][kind].as_array().map(Vec::len);
        assert_eq!(
            (count("activeTargets"), count("droppedTargets")),
            (Some(active), Some(dropped)),
            "{query}"
        );
    }
    let pools = server.json("/api/v1/scrape_pools").await;
    assert_eq!(pools["data"]["scrapePools"], json!(["nobody", "node"]));
    let told = server
        .json(
            "/api/v1/targets/metadata?match_target=%7Bjob%3D~%22no.e%22%7D&metric=jobs_done_total",
        )
        .await;
    assert_eq!(
        told["data"],
        json!([{"target": target["labels"], "type": "counter", "help": "Jobs that ended.", "unit": ""}])
    );
    let nobody = server
        .json("/api/v1/targets/metadata?match_target=%7Bjob%3D%22other%22%7D")
        .await;
    assert_eq!(nobody["data"], json!([]));
    let managers = server.json("/api/v1/alertmanagers").await;
    assert_eq!(managers["data"]["activeAlertmanagers"], json!([]));
    let config = server.json("/api/v1/status/config").await;
    let yaml = config["data"]["yaml"].as_str().expect("a text");
    assert!(
        yaml.contains("job_name: node") && yaml.contains("password: <secret>"),
        "{yaml}"
    );
    assert!(!yaml.contains("hunter2"), "{yaml}");
}

/// A password in a target's address is for the target alone: not for who asks what is scraped, nor
/// for who looks at the series.
#[tokio::test]
async fn passwords_in_addresses_are_not_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer =
                b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            // Whoever has gone is answered nothing.
            stream.write_all(answer).await.ok();
            stream.shutdown().await.ok();
            stream.read_to_end(&mut Vec::new()).await.ok();
        }
    });
    let with = |address: &str| format!("me:hunter2@{address}");
    let probe =
        "    metrics_path: /nowhere\n    params: {target: ['https://me:hunter2@probed/']}\n";
    let dropped = "    relabel_configs: [{action: drop}]\n";
    let wrong = "    relabel_configs: [{target_label: __scheme__, replacement: ftp}]\n";
    let scraping = Scraping::start(&file_of(&[
        job("down", &with("localhost:1"), ""),
        job("dropped", &with("a:1"), dropped),
        job("probe", &with(&address.to_string()), probe),
        job("wrong", &with("b:1"), wrong),
    ]))
    .await;
    let instance = format!("me:xxxxx@{address}");
    scraping
        .until(
            "up",
            "instance",
            &[(&instance, "0"), ("me:xxxxx@localhost:1", "0")],
        )
        .await;
    for path in [
        "/api/v1/targets",
        "/api/v1/status/config",
        "/api/v1/series?match%5B%5D=up",
    ] {
        let told = scraping.server.json(path).await.to_string();
        assert!(!told.contains("hunter2"), "{path}: {told}");
        assert!(told.contains("me:xxxxx@"), "{path}: {told}");
    }
    let targets = scraping.server.json("/api/v1/targets").await;
    let probed = &targets["data"]["activeTargets"][1];
    let url = format!("http://{instance}/nowhere?target=https%3A%2F%2Fme%3Axxxxx%40probed%2F");
    for field in ["scrapeUrl", "globalUrl"] {
        assert_eq!(probed[field], url);
    }
    let error = probed["lastError"].as_str().expect("text");
    assert!(error.starts_with(&url), "{error}");
    scraping.server.stop().await;
}

#[tokio::test]
async fn another_tenant_sees_no_targets() {
    let exporter = Exporter::start(Some("a 1\n")).await;
    let scraping = Scraping::start(&file_of(&[job("node", &exporter.address, "")])).await;
    scraping.until("a", "job", &[("node", "1")]).await;
    let server = &scraping.server;
    for (path, expected) in [
        (
            "/api/v1/targets?tenant=other",
            json!({"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {}}),
        ),
        (
            "/api/v1/scrape_pools?tenant=other",
            json!({"scrapePools": []}),
        ),
        ("/api/v1/targets/metadata?tenant=other", json!([])),
        ("/api/v1/status/config?tenant=other", json!({"yaml": ""})),
    ] {
        assert_eq!(server.json(path).await["data"], expected, "{path}");
    }
}

#[tokio::test]
async fn a_target_that_hangs_holds_up_nobody_and_a_series_that_vanishes_is_gone_at_once() {
    let hangs = Exporter::start(None).await;
    let works = Exporter::start(Some("a 1\nb 2\n")).await;
    let scraping = Scraping::start(&file_of(&[
        job("hangs", &hangs.address, ""),
        job("works", &works.address, ""),
    ]))
    .await;
    scraping
        .until("up", "job", &[("hangs", "0"), ("works", "1")])
        .await;
    scraping.until("b", "job", &[("works", "2")]).await;
    works.say("a 3\n");
    scraping.until("a", "job", &[("works", "3")]).await;
    // it would be found for five more minutes if it were not marked
    scraping.until("b", "job", &[]).await;
    let targets = scraping
        .server
        .json("/api/v1/targets?scrapePool=hangs")
        .await;
    let error = targets["data"]["activeTargets"][0]["lastError"].as_str();
    assert!(
        error.is_some_and(|error| error.contains("did not answer in time")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_reload_is_the_admins_and_exchanges_only_what_changed() {
    let (one, two) = (
        Exporter::start(Some("a 1\n")).await,
        Exporter::start(Some("a 2\n")).await,
    );
    let first = job("one", &one.address, "");
    let scraping = Scraping::start(&file_of(std::slice::from_ref(&first))).await;
    scraping.until("a", "job", &[("one", "1")]).await;
    problem(scraping.reload(None).await, 401).await;
    // what is scraped is the whole server's, and no tenant's admin changes it
    let told = problem(scraping.reload(Some(OF_ACME)).await, 403).await;
    let detail = told["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("bound to the tenant \"acme\""), "{detail}");

    // a mistake changes nothing and is told with its line
    fs::write(&scraping.file, "scrape_configs:\n  - job_nam: x\n").expect("written");
    let told = problem(scraping.reload(Some(ADMIN)).await, 500).await;
    let detail = told["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains("prometheus.yml:2:5: scrape_configs[0]: unknown field `job_nam`"),
        "{detail}"
    );
    let state = scraping.server.json("/api/v1/status/runtimeinfo").await;
    assert_eq!(state["data"]["reloadConfigSuccess"], false);
    one.say("a 3\n");
    scraping.until("a", "job", &[("one", "3")]).await;

    // one more job; the first goes on
    let both = file_of(&[first, job("two", &two.address, "")]);
    fs::write(&scraping.file, both).expect("written");
    assert_eq!(scraping.reload(Some(ADMIN)).await.status(), 200);
    scraping
        .until("a", "job", &[("one", "3"), ("two", "2")])
        .await;
    let state = scraping.server.json("/api/v1/status/runtimeinfo").await;
    assert_eq!(state["data"]["reloadConfigSuccess"], true);

    // the first goes, and its series with it
    fs::write(&scraping.file, file_of(&[job("two", &two.address, "")])).expect("written");
    let put = scraping.server.request(Method::PUT, "/-/reload");
    let put = put
        .header("authorization", format!("Bearer {ADMIN}"))
        .send();
    assert_eq!(put.await.expect("an answer").status(), 200);
    scraping.until("a", "job", &[("two", "2")]).await;
    scraping.until("up", "job", &[("two", "1")]).await;
    scraping.server.stop().await;
}

#[tokio::test]
async fn subqueries_without_a_step_have_the_files_evaluation_interval() {
    let query = "count_over_time(vector(1)[3m:])";
    let rule = format!("groups: [{{name: g, rules: [{{record: points, expr: '{query}'}}]}}]");
    let of = |global: &str| format!("{global}rule_files: [rules.yml]\n");
    let scraping = Scraping::start("scrape_configs: []\n").await;
    assert_eq!(scraping.values(query, "").await[0].1, "3");
    fs::write(scraping.file.with_file_name("rules.yml"), rule).expect("written");
    for (global, points) in [
        ("global: {evaluation_interval: 15s}\n", "12"),
        ("global: {evaluation_interval: 30s}\n", "6"),
        ("global: {evaluation_interval: 0s}\n", "3"),
        ("", "3"),
    ] {
        fs::write(&scraping.file, of(global)).expect("written");
        assert_eq!(scraping.reload(Some(ADMIN)).await.status(), 200);
        assert_eq!(scraping.values(query, "").await[0].1, points, "{global}");
        // a rule, and who watches, ask the same
        scraping.server.clock.advance(Duration::from_secs(60));
        scraping.until("points", "", &[("", points)]).await;
        let mut watcher = scraping.server.ws("/ws").await;
        watcher.json_of("init").await;
        let asked = json!({"action": "watch", "query": query, "step_ms": 1000, "back_ms": 1000});
        watcher.send(&asked.to_string()).await;
        let watched = watcher.json_of("watched").await;
        let told = watched["series"][0]["points"][0][1].as_f64();
        assert_eq!(
            told.map(|told| told.to_string()).as_deref(),
            Some(points),
            "{watched}"
        );
    }
}

#[tokio::test]
async fn without_a_file_there_is_nothing_to_reload() {
    let server = TestServer::start_with(|settings| {
        settings.tokens = vec![token(ADMIN, Role::Admin, None)];
    })
    .await;
    let answer = server
        .request(Method::POST, "/-/reload")
        .header("authorization", format!("Bearer {ADMIN}"))
        .send()
        .await
        .expect("an answer");
    problem(answer, 409).await;
    let targets = server.json("/api/v1/targets").await;
    assert_eq!(targets["data"]["activeTargets"], json!([]));
}

/// Rules that make a label longer and longer cost the targets that they are for and nobody else.
#[tokio::test]
async fn relabelling_without_end_is_told_and_stops_nobody() {
    let exporter = Exporter::start(Some("a 1\n")).await;
    let four = "{source_labels: [x, x, x, x], separator: xxxxxxxx, target_label: x}";
    let rules = vec![four; 40].join(", ");
    let scraping = Scraping::start(&file_of(&[
        job(
            "targets",
            &exporter.address,
            &format!("    relabel_configs: [{rules}]\n"),
        ),
        job(
            "samples",
            &exporter.address,
            &format!("    metric_relabel_configs: [{rules}]\n"),
        ),
        job("fine", &exporter.address, ""),
    ]))
    .await;
    scraping.until("a", "job", &[("fine", "1")]).await;
    scraping
        .until("up", "job", &[("fine", "1"), ("samples", "0")])
        .await;
    let targets = scraping.server.json("/api/v1/targets").await;
    let told = targets.to_string();
    assert!(told.contains("line 1: rule "), "{told}");
    assert!(
        targets["warnings"].to_string().contains("targets: ")
            && told.contains("joins source_labels"),
        "{told}"
    );
    scraping.server.stop().await;
}

/// Whom the file names is told of, with what is wrong with it.
#[tokio::test]
async fn alertmanagers_of_the_file_are_found() {
    let yaml = "rule_files: [rules/*.yml]\nalerting:\n  alertmanagers:\n  - path_prefix: /am\n    static_configs: [{targets: ['a:9093', 'b:9093']}]\n    relabel_configs: [{source_labels: [__address__], regex: 'b.*', action: drop}]\n  - static_configs: [{targets: ['c:9093']}]\n    scheme: https\n  - file_sd_configs: [{files: [none.json]}]\n    ec2_sd_configs: [{}]\n    relabel_configs: [{target_label: __address__, replacement: x/y}]\n    static_configs: [{targets: [d]}]\n";
    let scraping = Scraping::start(yaml).await;
    let server = &scraping.server;
    let config = server.json("/api/v1/status/config").await;
    let warnings = config["warnings"].as_array().expect("warnings");
    for (what, count) in [("rule_files", 0), ("alerting", 1)] {
        let said = warnings
            .iter()
            .filter(|text| text.as_str().is_some_and(|text| text.starts_with(what)));
        assert_eq!(said.count(), count, "{what}: {warnings:?}");
    }
    let told = server.json("/api/v1/alertmanagers").await;
    assert_eq!(
        told["data"],
        json!({
            "activeAlertmanagers": [{"url": "http://a:9093/am/api/v2/alerts"}, {"url": "https://c:9093/api/v2/alerts"}],
            "droppedAlertmanagers": [{"url": "http://b:9093/am/api/v2/alerts"}],
        })
    );
    assert_eq!(told["warnings"], json!(["d: it is not host and port"]));
    let others = server.json("/api/v1/alertmanagers?tenant=other").await;
    assert_eq!(
        others["data"],
        json!({"activeAlertmanagers": [], "droppedAlertmanagers": []})
    );
    let others = server.json("/api/v1/status/config?tenant=other").await;
    assert_eq!(others["warnings"], Value::Null);
}

/// What targets say of their metrics is told as they say it, where they differ each; to their
/// tenant.
#[tokio::test]
async fn what_targets_say_of_their_metrics_is_told() {
    let first = Exporter::start(Some(
        "# HELP took_seconds How long it took.\n# TYPE took_seconds histogram\n# UNIT took_seconds seconds\ntook_seconds_bucket{le=\"+Inf\"} 2\ntook_seconds_count 2\ntook_seconds_sum 3\n# TYPE only_here gauge\nonly_here 1\n",
    ))
    .await;
    let second = Exporter::start(Some(
        "# HELP took_seconds Another text.\n# TYPE took_seconds summary\ntook_seconds_sum 3\n",
    ))
    .await;
    let jobs = [job("a", &first.address, ""), job("b", &second.address, "")];
    let scraping = Scraping::start(&file_of(&jobs)).await;
    scraping.until("up", "job", &[("a", "1"), ("b", "1")]).await;
    let server = &scraping.server;
    server.push("default", "pushed 1\n").await;
    let all = server.json("/api/v1/metadata").await;
    let told = all["data"]["took_seconds"].as_array().expect("a list");
    let mut helps: Vec<&str> = told.iter().filter_map(|one| one["help"].as_str()).collect();
    helps.sort_unstable();
    assert_eq!(helps, ["Another text.", "How long it took."]);
    let histogram = json!({"type": "histogram", "help": "How long it took.", "unit": "seconds"});
    assert!(told.contains(&histogram), "{told:?}");
    for (name, is_there) in [
        ("only_here", true),
        ("pushed", false),
        ("up", true),
        ("took_seconds_bucket", false),
        ("took_seconds_sum", false),
    ] {
        assert_eq!(all["data"][name].is_array(), is_there, "{name}: {all}");
    }
    let one = server
        .json("/api/v1/metadata?metric=took_seconds&limit_per_metric=1")
        .await;
    assert_eq!(one["data"].as_object().map(serde_json::Map::len), Some(1));
    assert_eq!(
        one["data"]["took_seconds"].as_array().map(Vec::len),
        Some(1)
    );
    let others = server.json("/api/v1/metadata?tenant=other").await;
    assert_eq!(others["data"], json!({}));
    let answer = server.get("/api/v1/metadata?limit_per_metric=x").await;
    assert_eq!(answer.status(), 400);
}
