//! A receiver of a few lines: remembers what it was sent, and answers as it is told.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

#[derive(Clone)]
pub(crate) struct Webhook {
    pub(crate) url: String,
    heard: Arc<Mutex<Vec<Value>>>,
    heads: Arc<Mutex<Vec<String>>>,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
    status: Arc<AtomicU16>,
}

impl Webhook {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let webhook = Self {
            url: format!("http://{}/", listener.local_addr().expect("an address")),
            heard: Arc::default(),
            heads: Arc::default(),
            bodies: Arc::default(),
            status: Arc::new(AtomicU16::new(200)),
        };
        let served = webhook.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(served.clone().serve(stream));
            }
        });
        webhook
    }

    pub(crate) fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// All bodies so far.
    pub(crate) fn heard(&self) -> Vec<Value> {
        self.heard.lock().clone()
    }

    /// All heads so far, in lower case.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().clone()
    }

    /// All bodies so far, as they came.
    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        self.bodies.lock().clone()
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://").trim_end_matches('/')
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut request = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut piece).await {
            request.extend_from_slice(&piece[..read]);
            let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.trim().parse().expect("a length"));
            if request.len() < end + 4 + length {
                continue;
            }
            let body = &request[end + 4..end + 4 + length];
            self.bodies.lock().push(body.to_vec());
            let body = serde_json::from_slice(body).unwrap_or(Value::Null);
            request.drain(..end + 4 + length);
            self.heads.lock().push(head);
            self.heard.lock().push(body);
            let status = self.status.load(Ordering::SeqCst);
            let answer = format!("HTTP/1.1 {status} Said\r\ncontent-length: 0\r\n\r\n");
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}
