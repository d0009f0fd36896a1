//! The vocabulary of the tests: a server whose clock and figures the test holds in its hands, and
//! third-party clients for its endpoints.

pub(crate) mod described;
pub(crate) mod exporter;
pub(crate) mod raw;
pub(crate) mod sse;
pub(crate) mod webhook;
pub(crate) mod ws;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use pulseboard::{
    Sources,
    base::clock::Clock,
    server::accept,
    settings::{DataDir, Settings, Token},
};
use pulseboard_host::{Extra, Reading, Source, Traffic};
use pulseboard_shared::{Labels, Role};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a test waits for anything before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A server that stops says goodbye for 2 s, and then waits 5 s for what does not end.
const TASKS_GIVEN_UP: Duration = Duration::from_secs(6);

/// 2026-11-20T20:00:00Z, a whole second.
pub(crate) const START_MS: i64 = 1_795_204_800_000;

/// The secret of the link that a start prints.
pub(crate) const ADMIN_LINK: &str = "the-secret-of-the-link-that-the-start-printed";

/// A token of the settings; without a tenant it speaks for all of them.
pub(crate) fn token(secret: &str, role: Role, tenant: Option<&str>) -> Token {
    Token {
        secret: secret.to_owned(),
        role,
        tenant: tenant.map(str::to_owned),
    }
}

/// A server in this process. Ends with the test; [`Self::stop`] asserts that it ends well.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) clock: Clock,
    readings: Arc<Mutex<VecDeque<Reading>>>,
    ticks: u64,
    stop: CancellationToken,
    running: Option<JoinHandle<std::io::Result<()>>>,
    http: reqwest::Client,
}

/// A source that says what the test told it to.
struct Scripted(Arc<Mutex<VecDeque<Reading>>>);

impl Source for Scripted {
    fn read(&mut self, _traffic: Traffic) -> Reading {
        self.0.lock().pop_front().unwrap_or_else(|| reading(0.0))
    }
}

/// Four figures that follow from one: cpu, memory = cpu / 2, requests = 10 cpu, latency = cpu / 4;
/// and one labelled series.
pub(crate) fn reading(cpu: f64) -> Reading {
    Reading {
        cpu,
        memory: cpu / 2.0,
        requests: cpu * 10.0,
        latency: cpu / 4.0,
        extras: vec![Extra {
            name: "cpu_core_usage".into(),
            unit: "%".into(),
            labels: Labels::from([("core".to_owned(), "0".to_owned())]),
            value: cpu,
        }],
        totals: None,
    }
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts with other settings. The clock stands at [`START_MS`]; [`Self::tick`] moves it.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_at(START_MS, change).await
    }

    /// Starts with other settings at another time, for a server that goes on where one ended.
    pub(crate) async fn start_at(now_ms: i64, change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_over(now_ms, change, |_| Sources::default()).await
    }

    /// Starts on a folder, at a time, for a server that goes on there where one ended.
    pub(crate) async fn start_in(now_ms: i64, folder: &Path) -> Self {
        let data_dir = DataDir::Path(folder.to_path_buf());
        Self::start_at(now_ms, move |settings| settings.data_dir = data_dir).await
    }

    /// Starts a server that measures this machine as its settings say, but for its ticks.
    pub(crate) async fn start_measuring(change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_over(START_MS, change, Sources::of).await
    }

    async fn start_over(
        now_ms: i64,
        change: impl FnOnce(&mut Settings),
        sources: impl FnOnce(&Settings) -> Sources,
    ) -> Self {
        let mut settings = Settings {
            data_dir: DataDir::Memory,
            ..Settings::default()
        };
        change(&mut settings);
        let listener = accept::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        settings.bind_addr = SocketAddr::new(settings.bind_addr.ip(), address.port());
        let clock = Clock::manual(now_ms);
        let readings = Arc::new(Mutex::new(VecDeque::new()));
        let sources = Sources {
            ticks: Some(Box::new(Scripted(Arc::clone(&readings)))),
            ..sources(&settings)
        };
        // Where TLS is spoken, what comes without is told so.
        let answer = if settings.tls_cert.is_some() {
            400
        } else {
            200
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(pulseboard::run_with(
            listener,
            settings,
            Some(ADMIN_LINK),
            clock.clone(),
            sources,
            stop.clone(),
        ));
        let server = Self {
            address,
            clock,
            readings,
            ticks: 0,
            stop,
            running: Some(running),
            http: reqwest::Client::new(),
        };
        // The first tick comes by itself, a moment after the start; here it is the test's to make.
        server
            .eventually("the server answers", async || {
                server.get("/healthz").await.status() == answer
            })
            .await;
        server
    }

    /// Makes the server tick with this cpu, and waits until it has.
    pub(crate) async fn tick(&mut self, cpu: f64) {
        self.tick_with(reading(cpu)).await;
    }

    /// What the next tick measures.
    pub(crate) fn prepare(&self, reading: Reading) {
        self.readings.lock().push_back(reading);
    }

    pub(crate) async fn tick_with(&mut self, reading: Reading) {
        self.readings.lock().push_back(reading);
        self.ticks += 1;
        // Before the first aligned second there is a tick of its own, 200 ms after the start.
        self.clock.advance(match self.ticks {
            1 => Duration::from_millis(200),
            2 => Duration::from_millis(800),
            _ => Duration::from_secs(1),
        });
        let expected = self.ticks;
        self.eventually("the tick is made", async || {
            self.own_metric("pulseboard_ticks_total").await == expected
        })
        .await;
    }

    /// Waits until `condition` holds.
    pub(crate) async fn eventually(&self, what: &str, mut condition: impl AsyncFnMut() -> bool) {
        let began = Instant::now();
        while !condition().await {
            assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// A counter of the server without labels, or with the labels written out.
    pub(crate) async fn own_metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").await.text().await.expect("text");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
            .parse()
            .expect("a whole number")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        self.request(reqwest::Method::GET, path)
            .send()
            .await
            .expect("an answer")
    }

    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> described::Asking {
        let builder = self.http.request(method.clone(), self.url(path));
        described::Asking::new(builder.timeout(PATIENCE), &method, path)
    }

    pub(crate) async fn json(&self, path: &str) -> serde_json::Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.expect("JSON")
    }

    /// Has a body taken by `POST /push` for a tenant.
    pub(crate) async fn push(&self, tenant: &str, body: impl Into<String>) {
        assert_eq!(self.pushed(tenant, body.into()).await.0, 200);
    }

    /// Pushes for a tenant; status and body of the answer.
    pub(crate) async fn pushed(
        &self,
        tenant: &str,
        body: impl Into<reqwest::Body>,
    ) -> (u16, serde_json::Value) {
        let request = self
            .request(reqwest::Method::POST, "/push")
            .header("x-tenant-id", tenant);
        let answer = request.body(body).send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.expect("JSON"))
    }

    /// Asks the server to stop.
    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Stops, and asserts that every task ended: the server gives up on those that do not.
    pub(crate) async fn stop(mut self) {
        let began = Instant::now();
        self.stop.cancel();
        let running = self.running.take().expect("stopped once");
        tokio::time::timeout(PATIENCE, running)
            .await
            .expect("stops in time")
            .expect("no panic")
            .expect("no error");
        assert!(began.elapsed() < TASKS_GIVEN_UP, "some tasks did not end");
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Asserts that an answer is a problem of this status, and returns it.
pub(crate) async fn problem(answer: reqwest::Response, status: u16) -> serde_json::Value {
    assert_eq!(answer.status(), status);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: serde_json::Value = answer.json().await.expect("JSON");
    assert_eq!(problem["status"], status);
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| !detail.is_empty()),
        "{problem}"
    );
    problem
}
