//! `GET /metrics`: what the server says of itself, in both formats that Prometheus asks for.

use pulseboard::settings::DataDir;
use reqwest::{Method, header};

use crate::support::TestServer;

/// Every family with its type and help, and every sample with its labels, as dashboards of users
/// know them. Where a figure depends on the machine there is a `?` for it.
const KNOWN: &str = include_str!("own_metrics.txt");
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
        "bytes", "duration", "responses", "syncs", "sync_seconds", "uptime", "window_seconds",
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
    for accept in ["*/*", "text/plain", "text/html", "text/plain;version=0.0.4", ""] {
        let (content_type, text) = scrape(&server, accept).await;
        assert_eq!(content_type, TEXT, "{accept}");
        assert_eq!(told(&text), KNOWN);
    }
    server.stop().await;
}
