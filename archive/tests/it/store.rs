//! A store in a folder of its own, at a port of its own, that can be killed and started again.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use pulseboard_archive::{Way, write, write::Target};
use pulseboard_forward::{Limits, Sending, View};
use pulseboard_outbound::{Client, ClientConfig, HeaderMap};
use pulseboard_scrape::WallClock;
use pulseboard_series::Batch;
use tempfile::TempDir;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Prometheus,
    Victoria,
}

impl Kind {
    fn program(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Victoria => "victoria-metrics",
        }
    }

    fn is_there(self) -> bool {
        let asked = Command::new(self.program())
            .arg("--help")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if asked.is_err() {
            eprintln!("left out: there is no {} on the path", self.program());
        }
        asked.is_ok()
    }
}

/// A store; killed when dropped.
pub(crate) struct Store {
    kind: Kind,
    port: u16,
    folder: TempDir,
    child: Option<Child>,
    client: Client,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Store {
    /// `None` where there is none of the kind.
    pub(crate) async fn start(kind: Kind) -> Option<Self> {
        if !kind.is_there() {
            return None;
        }
        let port = {
            let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
            listener.local_addr().expect("bound").port()
        };
        let mut store = Self {
            kind,
            port,
            folder: tempfile::tempdir().expect("a folder"),
            child: None,
            client: Client::new(&ClientConfig::default()).expect("a client"),
        };
        store.again().await;
        Some(store)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it runs");
            child.wait().expect("it ended");
        }
    }

    /// Starts it with what it still has, and waits until it answers.
    pub(crate) async fn again(&mut self) {
        let address = format!("127.0.0.1:{}", self.port);
        let folder = self.folder.path();
        let mut command = Command::new(self.kind.program());
        match self.kind {
            Kind::Prometheus => {
                let file = folder.join("prometheus.yml");
                std::fs::write(&file, "{}").expect("written");
                command
                    .arg(format!("--config.file={}", file.display()))
                    .arg(format!("--storage.tsdb.path={}", folder.display()))
                    .arg(format!("--web.listen-address={address}"))
                    .arg("--storage.tsdb.retention.time=10y")
                    .arg("--web.enable-remote-write-receiver");
            }
            Kind::Victoria => {
                command
                    .arg(format!("-storageDataPath={}", folder.display()))
                    .arg(format!("-httpListenAddr={address}"))
                    .arg("-retentionPeriod=100y")
                    .arg("-memory.allowedPercent=5")
                    .arg("-search.latencyOffset=1ms")
                    .arg("-dedup.minScrapeInterval=1ms");
            }
        }
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        self.child = Some(child);
        let path = match self.kind {
            Kind::Prometheus => "/-/ready",
            Kind::Victoria => "/health",
        };
        let began = Instant::now();
        while self.get(path).await.is_none() {
            assert!(began.elapsed() < PATIENCE, "it does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn get(&self, path: &str) -> Option<String> {
        let url = format!("{}{path}", self.url());
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        let headers = HeaderMap::new();
        let answer = self.client.get(&url, &headers, deadline, 64 << 20).await;
        let answer = answer
            .ok()
            .filter(pulseboard_outbound::Answer::is_success)?;
        Some(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// The one number that an expression comes to now; 0 for nothing.
    pub(crate) async fn number(&self, expression: &str) -> f64 {
        let query: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("query", expression)
            .append_pair("nocache", "1")
            .finish();
        let text = self.get(&format!("/api/v1/query?{query}")).await;
        let answer: serde_json::Value =
            serde_json::from_str(&text.expect("an answer")).expect("JSON");
        let value = &answer["data"]["result"][0]["value"][1];
        value
            .as_str()
            .map_or(0.0, |text| text.parse().expect("a number"))
    }

    /// Waits until an expression comes to a number.
    pub(crate) async fn until(&self, expression: &str, expected: f64) {
        let began = Instant::now();
        loop {
            let number = self.number(expression).await;
            if (number - expected).abs() < 0.5 {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{expression} is {number} and not {expected}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// What is sent to a store, with its task; that ends when it is dropped.
pub(crate) struct Writer {
    pub(crate) sending: Sending,
    _stop: DropGuard,
    _folder: TempDir,
}

impl Writer {
    pub(crate) fn to(store: &Store, way: Way, hold: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let target = Target {
            url: format!("{}/api/v1/write", store.url()),
            way,
            hold,
        };
        let clock = WallClock::new(now_ms);
        let limits = Limits::default();
        let sending =
            write::open(&target, Some(folder.path()), limits, None, clock).expect("opens");
        let stop = CancellationToken::new();
        sending.start(&TaskTracker::new(), &stop);
        Self {
            sending,
            _stop: stop.drop_guard(),
            _folder: folder,
        }
    }

    /// Takes a batch in, and waits until it outlives the process.
    pub(crate) async fn take(&self, tenant: &str, batch: &Batch) {
        if let Some(ticket) = self.sending.take(tenant, batch, &[], now_ms()) {
            ticket.wait().await.expect("written");
        }
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&View) -> bool) {
        let began = Instant::now();
        while !holds(&self.sending.view()) {
            assert!(
                began.elapsed() < PATIENCE,
                "{what}: {:?}",
                self.sending.view()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_millis()).expect("small")
}

/// One value for each of some series of the metric `m`.
pub(crate) fn batch(series: impl IntoIterator<Item = usize>, at_ms: i64, value: f64) -> Batch {
    let mut batch = Batch::new();
    for one in series {
        let row = batch
            .begin(&["m"])
            .and_then(|()| batch.label("series", &one.to_string()))
            .and_then(|()| batch.finish(1, Some(at_ms), value));
        row.expect("a row");
    }
    batch
}
