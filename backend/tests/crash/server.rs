//! A server process of its own, and questions to it.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long a test waits for anything before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The built binary, on a folder. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
}

impl Server {
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    pub(crate) fn start_with(folder: &Path, settings: &[(&str, &str)]) -> Self {
        Self::started(Self::command(folder, settings))
    }

    /// Starts where another was: on an address such as `127.0.0.1:3000`.
    pub(crate) fn start_at(folder: &Path, address: &str) -> Self {
        let mut command = Self::command(folder, &[]);
        command.args(["--bind", address]);
        Self::started(command)
    }

    fn started(mut command: Command) -> Self {
        let mut child = command.spawn().expect("starts");
        let mut first_line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        let mut stdout = BufReader::new(stdout);
        stdout.read_line(&mut first_line).expect("a line");
        let at = first_line.find("http://").expect("an address");
        let url = first_line[at..].split_whitespace().next();
        Self {
            child,
            url: url.expect("an address").trim_end_matches('/').to_owned(),
            http: reqwest::Client::new(),
        }
    }

    /// Kills it after so long, however far its start has come.
    pub(crate) fn start_and_kill(folder: &Path, after: Duration) {
        let mut child = Self::command(folder, &[]).spawn().expect("starts");
        std::thread::sleep(after);
        child.kill().expect("it ran");
        child.wait().expect("it has ended");
    }

    fn command(folder: &Path, settings: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pulseboard"));
        command
            .env_clear()
            .env("RUST_LOG", "warn")
            .envs(settings.iter().copied())
            .args(["--bind", "127.0.0.1:0", "--source", "none", "--data-dir"])
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command
    }

    /// SIGKILL, and no process any more when this returns.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it ran");
        self.child.wait().expect("it has ended");
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let asked = self.http.get(format!("{}{path}", self.url));
        let answer = asked.timeout(PATIENCE).send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.expect("JSON"))
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let (status, answer) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// Pushes a body for a tenant; the status.
    pub(crate) async fn push(&self, tenant: &str, body: String) -> (u16, Value) {
        let asked = self.http.post(format!("{}/push", self.url));
        let asked = asked.header("x-tenant-id", tenant).body(body);
        let answer = asked.timeout(PATIENCE).send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.expect("JSON"))
    }

    /// The samples of a metric of a tenant from `start_ms` on, each with its time: the sums of
    /// steps of a millisecond, so one that is there twice has twice its value.
    pub(crate) async fn samples(&self, tenant: &str, name: &str, start_ms: i64) -> Vec<(i64, f64)> {
        /// The server gives out 11 000 steps at most.
        const STEPS: i64 = 10_000;
        let end_ms = start_ms + STEPS;
        let answer = self
            .json(&format!(
                "/api/range?tenant={tenant}&match={name}&start={start_ms}&end={end_ms}&step=1&agg=sum"
            ))
            .await;
        assert_eq!(answer["step_ms"], 1, "{answer}");
        let series = answer["series"].as_array().expect("a list");
        assert!(series.len() <= 1, "{name}: {series:?}");
        let points = series.iter().flat_map(|one| one["points"].as_array());
        points
            .flatten()
            .map(|point| {
                let at_ms = point[0].as_i64().expect("a time");
                (at_ms, point[1].as_f64().expect("a number"))
            })
            .collect()
    }

    pub(crate) async fn eventually(&self, what: &str, condition: impl AsyncFnMut() -> bool) {
        self.within(PATIENCE, what, condition).await;
    }

    pub(crate) async fn within(
        &self,
        patience: Duration,
        what: &str,
        mut condition: impl AsyncFnMut() -> bool,
    ) {
        let began = Instant::now();
        while !condition().await {
            assert!(began.elapsed() < patience, "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_millis()).expect("this millennium")
}

/// How often a test kills the server.
pub(crate) fn rounds() -> u32 {
    std::env::var("CRASH_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(12)
}
