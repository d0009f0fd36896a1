//! The examples that are handed out work as they are.

use std::process::Command;

use serde_json::Value;

use crate::support::TestServer;

#[path = "../../../examples/follow.rs"]
mod follow;
#[path = "../../../examples/push.rs"]
mod push;

/// Runs a script of `examples/` against the server; what it prints.
async fn run(server: &TestServer, program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    command.current_dir(folder).args(arguments);
    command
        .env("PULSEBOARD", format!("http://{}", server.address))
        .env("COUNT", "1")
        .env_remove("TOKEN");
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("no panic")
        .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}{errors}");
    said
}

async fn newest(server: &TestServer, selector: &str) -> Value {
    let series = server.json(&format!("/api/series?match={selector}")).await;
    series["series"][0]["last"].clone()
}

#[tokio::test]
async fn a_shell_pushes() {
    let server = TestServer::start().await;
    let said = run(&server, "sh", &["push.sh"]).await;
    assert!(said.contains("\"accepted\":3"), "{said}");
    server.stop().await;
}

#[tokio::test]
async fn python_pushes() {
    // The script says what time it is, so the server's clock is right, too; a little late, since
    // what lies ahead is shown when its time has come.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_ms = i64::try_from(now.expect("after 1970").as_millis()).expect("before the year 10^8");
    let server = TestServer::start_at(now_ms + 5_000, |_| {}).await;
    let arguments = ["push.py", "queue_depth", "42", "queue=mail"];
    let said = run(&server, "python3", &arguments).await;
    assert!(said.contains("\"accepted\": 1"), "{said}");
    assert_eq!(newest(&server, "queue_depth").await, 42.0);
    server.stop().await;
}

#[tokio::test]
async fn rust_pushes() {
    let server = TestServer::start().await;
    let url = format!("http://{}", server.address);
    let client = reqwest::Client::new();
    let said = push::push(&client, &url, None, "example_rounds{from=\"rust\"} 7\n").await;
    let said: Value = serde_json::from_str(&said.expect("an answer")).expect("JSON");
    assert_eq!(said["accepted"], 1);
    assert_eq!(newest(&server, "example_rounds").await, 7.0);
    let refused = push::push(&client, &url, None, "no samples at all").await;
    assert!(refused.is_err_and(|error| error.to_string().starts_with("400")));
    server.stop().await;
}

#[tokio::test]
async fn who_follows_comes_back_and_misses_nothing() {
    let mut server = TestServer::start().await;
    let url = format!("ws://{}", server.address);
    let mut position = None;
    server.tick(10.0).await;
    follow::follow(&url, &mut position, |kind, _| kind != "initial")
        .await
        .expect("a connection");
    let first = position.clone().expect("it saw something");
    server.tick(20.0).await;
    server.tick(30.0).await;
    let mut missed = Vec::new();
    follow::follow(&url, &mut position, |kind, data| {
        assert_eq!(kind, "resumed");
        let cpu = data.as_array().into_iter().flatten();
        missed.extend(
            cpu.filter(|metric| metric["name"] == "cpu_usage")
                .map(|metric| metric["value"].clone()),
        );
        false
    })
    .await
    .expect("a connection");
    assert_eq!(missed, [20.0, 30.0]);
    let now = position.expect("it saw more");
    assert_eq!((now.epoch, now.offset), (first.epoch, first.offset + 2));
    server.stop().await;
}
