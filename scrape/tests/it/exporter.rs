//! An exporter of a few lines, and a sink that remembers.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use pulseboard_scrape::{Config, Handed, Manager, NotTaken, Sink, Turns, WallClock, config};
use pulseboard_series::is_stale_marker;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers every request with what it was told last; with nothing to say it hangs.
#[derive(Clone)]
pub(crate) struct Exporter {
    pub(crate) address: String,
    says: Arc<Mutex<Option<String>>>,
    /// The newest request.
    pub(crate) asked: Arc<Mutex<String>>,
}

impl Exporter {
    pub(crate) async fn start(body: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let exporter = Self {
            address: listener.local_addr().expect("an address").to_string(),
            says: Arc::default(),
            asked: Arc::default(),
        };
        *exporter.says.lock() = body.map(|body| answer("text/plain; version=0.0.4", body));
        let served = exporter.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(served.clone().serve(stream));
            }
        });
        exporter
    }

    pub(crate) fn say(&self, body: &str) {
        *self.says.lock() = Some(answer("text/plain; version=0.0.4", body));
    }

    /// Whole answers, head included.
    pub(crate) fn say_raw(&self, answer: &str) {
        *self.says.lock() = Some(answer.to_owned());
    }

    pub(crate) fn say_json(&self, body: &str) {
        *self.says.lock() = Some(answer("application/json", body));
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut request = Vec::new();
        loop {
            let mut piece = [0; 4096];
            match stream.read(&mut piece).await {
                Ok(read) if read > 0 => request.extend_from_slice(&piece[..read]),
                _ => return,
            }
            if !request.ends_with(b"\r\n\r\n") {
                continue;
            }
            *self.asked.lock() = String::from_utf8_lossy(&request).into_owned();
            request.clear();
            let answer = self.says.lock().clone();
            let Some(answer) = answer else {
                std::future::pending::<()>().await;
                return;
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

fn answer(kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A row as text, `end` for the value of a stale marker, and its time.
pub(crate) type Row = (String, i64);

/// Remembers what it is given.
#[derive(Debug, Default)]
pub(crate) struct Remembers {
    rows: Mutex<Vec<Row>>,
    more: Notify,
}

impl Sink for Remembers {
    fn append(&self, handed: Handed<'_>) -> NotTaken {
        let batch = handed.batch;
        let mut rows = self.rows.lock();
        rows.extend(batch.rows().iter().map(|row| {
            let key = batch.key(row);
            let text = if is_stale_marker(row.value) {
                format!("{key} end")
            } else {
                format!("{key} {}", row.value)
            };
            (text, row.at_ms)
        }));
        self.more.notify_waiters();
        NotTaken {
            total: batch.refused_total(),
            first: batch.refused().to_vec(),
        }
    }
}

impl Remembers {
    /// All rows so far.
    pub(crate) fn rows(&self) -> Vec<Row> {
        self.rows.lock().clone()
    }

    pub(crate) fn forget(&self) {
        self.rows.lock().clear();
    }

    /// Waits until `is_there` says so of all rows so far.
    pub(crate) async fn until(&self, is_there: impl Fn(&[Row]) -> bool) {
        let seen = async {
            loop {
                let more = self.more.notified();
                if is_there(&self.rows.lock()) {
                    return;
                }
                more.await;
            }
        };
        if timeout(PATIENCE, seen).await.is_err() {
            panic!("it does not come; there are: {:#?}", self.rows());
        }
    }

    /// Waits for a row.
    pub(crate) async fn until_row(&self, text: &str) {
        self.until(|rows| rows.iter().any(|(row, _)| row == text))
            .await;
    }
}

/// A manager and where its samples go.
pub(crate) struct Scraped {
    pub(crate) manager: Arc<Manager>,
    pub(crate) sink: Arc<Remembers>,
    stop: CancellationToken,
}

impl Drop for Scraped {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn start() -> Scraped {
    start_among(Turns::all())
}

/// The same beside others.
pub(crate) fn start_among(turns: Turns) -> Scraped {
    let sink = Arc::new(Remembers::default());
    let stop = CancellationToken::new();
    let clock = WallClock::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        i64::try_from(since.expect("after 1970").as_millis()).expect("a time")
    });
    let given: Arc<dyn Sink> = Arc::clone(&sink) as _;
    Scraped {
        manager: Manager::start_among(given, clock, turns, TaskTracker::new(), stop.clone()),
        sink,
        stop,
    }
}

impl Scraped {
    /// Reads a file in `folder` and scrapes by it.
    pub(crate) fn apply_in(&self, folder: &Path, yaml: &str) -> Vec<String> {
        self.manager.apply(&read(folder, yaml))
    }

    pub(crate) fn apply(&self, yaml: &str) -> Vec<String> {
        self.apply_in(Path::new("/nowhere"), yaml)
    }
}

fn read(folder: &Path, yaml: &str) -> Config {
    config::parse(yaml, &folder.join("prometheus.yml")).expect("a configuration")
}
