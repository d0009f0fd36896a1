//! A receiver of remote write that remembers what it took, and answers as it is told.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use pulseboard_ingest::remote_write::{Version, parse};
use pulseboard_series::Batch;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::timeout,
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the next requests are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    Taken,
    /// A status, and a header line more.
    Status(u16, &'static str),
    /// Takes messages of at most so many bytes, and says 413 to others.
    TakesUpTo(usize),
    /// Takes it, and closes the connection instead of answering.
    TakenInSilence,
    /// Never answers.
    Hangs,
}

/// What it took: times and values by series.
pub(crate) type Taken = BTreeMap<String, Vec<(i64, f64)>>;

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    says: Arc<Mutex<Says>>,
    taken: Arc<Mutex<Taken>>,
    /// The heads of all requests, and which messages they were.
    pub(crate) heads: Arc<Mutex<Vec<String>>>,
    changed: Arc<Notify>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let receiver = Self {
            url: format!("http://{address}/write"),
            says: Arc::new(Mutex::new(Says::Taken)),
            taken: Arc::default(),
            heads: Arc::default(),
            changed: Arc::default(),
        };
        let served = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(served.clone().serve(stream));
            }
        });
        receiver
    }

    pub(crate) fn say(&self, says: Says) {
        *self.says.lock() = says;
    }

    pub(crate) fn taken(&self) -> Taken {
        self.taken.lock().clone()
    }

    pub(crate) fn samples(&self) -> usize {
        self.taken.lock().values().map(Vec::len).sum()
    }

    pub(crate) fn requests(&self) -> usize {
        self.heads.lock().len()
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if holds(self) {
                    return;
                }
                changed.await;
            }
        };
        let waited = timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "waited in vain: {what}: {:?}", self.taken());
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        loop {
            let head_end = loop {
                if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                    break at + 4;
                }
                if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                    return;
                }
            };
            let head = String::from_utf8_lossy(&buffer[..head_end]).to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|text| text.parse().ok()).expect("a length");
            while buffer.len() < head_end + length {
                if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let body: Vec<u8> = buffer.drain(..head_end + length).skip(head_end).collect();
            let mut says = *self.says.lock();
            if let Says::TakesUpTo(bytes) = says {
                says = match body.len() > bytes {
                    true => Says::Status(413, ""),
                    false => Says::Taken,
                };
            }
            if matches!(says, Says::Taken | Says::TakenInSilence) {
                self.take(&head, &body);
            }
            self.heads.lock().push(head);
            self.changed.notify_waiters();
            let answer = match says {
                Says::Taken | Says::TakesUpTo(_) => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
                Says::Status(status, more) => {
                    format!("HTTP/1.1 {status} Said\r\n{more}content-length: 3\r\n\r\nwhy")
                }
                Says::TakenInSilence => return,
                Says::Hangs => std::future::pending().await,
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn take(&self, head: &str, body: &[u8]) {
        let version = match head.contains("write.v2.request") {
            true => Version::V2,
            false => Version::V1,
        };
        let message = snap::raw::Decoder::new()
            .decompress_vec(body)
            .expect("snappy");
        let mut batch = Batch::new();
        parse(version, &message, &mut batch).expect("a message");
        let mut taken = self.taken.lock();
        for row in batch.rows() {
            let series = taken.entry(batch.key(row).to_string()).or_default();
            series.push((row.at_ms, row.value));
        }
    }
}
