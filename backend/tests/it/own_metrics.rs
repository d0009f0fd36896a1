//! `GET /metrics`: what the server says of itself, in both formats that Prometheus asks for.

use pulseboard::settings::DataDir;
use reqwest::{Method, header};

use crate::support::TestServer;

/// Every family with its type and help, and every sample with its labels, as dashboards of users
/// know them. Where a figure depends on the machine there is a `?` for it.
const KNOWN: &str = include_str!("own_metrics.txt");
/// What Prometheus 3 asks for.
const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
    application/openmetrics-text;version=0.0.1;q=0.5,\
    text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

async fn scrape(server: &TestServer, accept: &str) -> (String, String) {
    let request = server.request(Method::GET, "/metrics");
    let answer = request.header("accept", accept).send().await;
    let answer = answer.expect("an answer");
    let content_type = answer.headers()[header::CONTENT_TYPE].to_str();
    let content_type = content_type.expect("text").to_owned();
    (content_type, answer.text().await.expect("text"))
}

/// A server that something of everything has happened to.
async fn busy() -> (TestServer, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = DataDir::Path(folder.path().to_owned());
    let mut server = TestServer::start_with(|settings| settings.data_dir = data_dir).await;
    for cpu in [12.5, 95.25] {
        server.tick(cpu).await;
    }
    let push = |body: &'static str| server.request(Method::POST, "/push").body(body).send();
    let pushed = push("queue_depth{job=\"a \\\"b\\\"\"} 42\n").await;
    assert_eq!(pushed.expect("an answer").status(), 200);
    let refused = push("9bad 1\n").await.expect("an answer").status();
    assert!(refused.is_client_error(), "{refused}");
    (server, folder)
}

/// A name without what the format makes of it, and whether its figure is the same on each machine.
fn is_steady(name: &str) -> bool {
    let varies = [
        "bytes",
        "duration",
        "responses",
        "syncs",
        "sync_seconds",
        "uptime",
        "window_seconds",
        "streams_max",
    ];
    !varies.iter().any(|part| name.contains(part))
}

/// Families and samples, sorted; figures as numbers.
fn told(text: &str) -> String {
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| {
            if line.starts_with('#') {
                return line.to_owned();
            }
            let (name, value) = line.rsplit_once(' ').expect("name and value");
            let value: f64 = value.parse().expect("a number");
            let name = name.replace(env!("CARGO_PKG_VERSION"), "VERSION");
            match is_steady(&name) {
                true => format!("{name} {value}"),
                false => format!("{name} ?"),
            }
        })
        .collect();
    lines.sort();
    lines.join("\n") + "\n"
}

#[tokio::test]
async fn names_labels_types_and_figures_stay_what_they_are() {
    let (server, _folder) = busy().await;
    for accept in [
        "*/*",
        "text/plain",
        "text/html",
        "text/plain;version=0.0.4",
        "",
    ] {
        let (content_type, text) = scrape(&server, accept).await;
        assert_eq!(content_type, TEXT, "{accept}");
        assert_eq!(told(&text), KNOWN);
    }
    server.stop().await;
}

/// The two formats say the same but for where a counter's `_total` stands, and for the end.
#[tokio::test]
async fn who_asks_for_open_metrics_gets_the_same_figures_in_it() {
    let (server, _folder) = busy().await;
    for accept in [PROMETHEUS, "application/openmetrics-text"] {
        let (content_type, text) = scrape(&server, accept).await;
        assert_eq!(content_type, OPEN_METRICS, "{accept}");
        let text = text
            .strip_suffix("# EOF\n")
            .expect("it says that it is whole");
        // A family's figures stand together, under its name, type and help.
        let mut family = ("", "");
        let mut known = Vec::new();
        for line in text.lines() {
            if let Some(head) = line.strip_prefix("# TYPE ") {
                family = head.split_once(' ').expect("name and type");
                assert!(!known.contains(&family.0), "{} comes twice", family.0);
                known.push(family.0);
            } else if !line.starts_with('#') {
                let end = line.find(['{', ' ']).expect("a figure");
                let suffix = line[..end].strip_prefix(family.0);
                let suffix = suffix.unwrap_or_else(|| panic!("{line} under {}", family.0));
                let expected: &[&str] = match family.1 {
                    "counter" => &["_total"],
                    "info" => &["_info"],
                    "histogram" => &["_bucket", "_sum", "_count"],
                    _ => &[""],
                };
                assert!(expected.contains(&suffix), "{line}");
            }
        }
        let figures = |told: &str| {
            let figures = told.lines().filter(|line| !line.starts_with('#'));
            figures.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(figures(&told(text)), figures(KNOWN));
    }
    server.stop().await;
}
