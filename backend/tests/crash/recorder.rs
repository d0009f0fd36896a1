//! A receiver of notifications that remembers, and answers as it is told.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Instant,
};

use serde_json::Value;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) at: Instant,
    /// Which notification it is, the same at each try.
    pub(crate) key: String,
    /// The alerts, as a webhook has them.
    pub(crate) alerts: Vec<Value>,
    /// Whether it was answered that it is taken.
    pub(crate) is_taken: bool,
}

impl Heard {
    /// Of each alert what a label of it says, and `firing` or `resolved`.
    pub(crate) fn told<'a>(&'a self, label: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let text = |value: &'a Value| value.as_str().unwrap_or_default();
        let alerts = self.alerts.iter();
        alerts.map(move |alert| (text(&alert["labels"][label]), text(&alert["status"])))
    }
}

/// What is answered: a status line's rest and header lines; nothing: no answer ever comes.
pub(crate) type Answer = dyn Fn() -> Option<&'static str> + Send + Sync;

/// It listens until the test's process ends.
#[derive(Clone)]
pub(crate) struct Recorder {
    pub(crate) url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
}

#[allow(
    clippy::disallowed_methods,
    reason = "they end with the test's process, or when whoever sends has gone"
)]
impl Recorder {
    pub(crate) fn start() -> Self {
        Self::answering(|| Some("200 OK"))
    }

    pub(crate) fn answering(
        answer: impl Fn() -> Option<&'static str> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self::at(listener, answer)
    }

    pub(crate) fn at(
        listener: TcpListener,
        answer: impl Fn() -> Option<&'static str> + Send + Sync + 'static,
    ) -> Self {
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let answer: Arc<Answer> = Arc::new(answer);
        let kept = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &kept, &*answer));
            }
        });
        Self { url, heard }
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("no panic").clone()
    }
}

fn serve(mut stream: TcpStream, heard: &Mutex<Vec<Heard>>, answer: &Answer) {
    let mut request = Vec::new();
    let mut piece = [0; 16_384];
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        request.extend_from_slice(&piece[..read]);
        let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        let field = |name: &str| {
            let mut lines = head.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let length = field("content-length").expect("a length");
        let length: usize = length.parse().expect("a number");
        if request.len() < end + 4 + length {
            continue;
        }
        let body = &request[end + 4..end + 4 + length];
        let body: Value = serde_json::from_slice(body).expect("JSON");
        let answered = answer();
        let one = Heard {
            at: Instant::now(),
            key: field("idempotency-key").expect("a key").to_owned(),
            alerts: body["alerts"].as_array().expect("alerts").clone(),
            is_taken: answered.is_some_and(|said| said.starts_with("200")),
        };
        heard.lock().expect("no panic").push(one);
        request.drain(..end + 4 + length);
        let Some(said) = answered else {
            // Until whoever sent it has had enough.
            while stream.read(&mut piece).is_ok_and(|read| read > 0) {}
            return;
        };
        let said = format!("HTTP/1.1 {said}\r\ncontent-length: 0\r\n\r\n");
        if stream.write_all(said.as_bytes()).is_err() {
            return;
        }
    }
}
