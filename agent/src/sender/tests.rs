//! A hub that takes little at once, and others that answer in its place: what is kept, what
//! arrives.

use std::{collections::BTreeMap, time::Instant};

use pulseboard_ingest::{
    decompress::{Coding, Unpacker},
    remote_write::{Version, parse},
};
use pulseboard_series::Batch;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    buffer::Limits,
    options::{Local, Options},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Who answers.
#[derive(Clone, Copy, Debug)]
enum Answers {
    /// A hub that takes messages of up to so many bytes.
    Hub(usize),
    /// This, whatever is sent.
    Other(&'static str),
}

const PAGE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>";

/// What a hub took: times and values by series.
type Taken = BTreeMap<String, Vec<(i64, f64)>>;

#[derive(Clone, Debug)]
struct FakeHub {
    url: String,
    answers: Arc<Mutex<Answers>>,
    taken: Arc<Mutex<Taken>>,
    /// Bytes of each message that was not taken.
    others: Arc<Mutex<Vec<usize>>>,
}

impl FakeHub {
    async fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let hub = Self {
            url: format!("http://{address}"),
            answers: Arc::new(Mutex::new(answers)),
            taken: Arc::default(),
            others: Arc::default(),
        };
        let served = hub.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(served.clone().serve(stream));
            }
        });
        hub
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
            let mut lines = head.lines();
            let length = lines.find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|text| text.parse().ok()).expect("a length");
            while buffer.len() < head_end + length {
                if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let body: Vec<u8> = buffer.drain(..head_end + length).skip(head_end).collect();
            let answers = *self.answers.lock();
            let answer = match answers {
                Answers::Hub(most) if length <= most => self.take(&body),
                Answers::Hub(_) => {
                    self.others.lock().push(length);
                    "HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n".to_owned()
                }
                Answers::Other(text) => {
                    self.others.lock().push(length);
                    text.to_owned()
                }
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn take(&self, body: &[u8]) -> String {
        let mut message = Vec::new();
        Unpacker::new()
            .unpack(Coding::Snappy, body, 1 << 20, &mut message, |_| true)
            .expect("snappy");
        let mut batch = Batch::new();
        parse(Version::V1, &message, &mut batch).expect("a message");
        let mut taken = self.taken.lock();
        for row in batch.rows() {
            let series = taken.entry(batch.key(row).to_string()).or_default();
            series.push((row.at_ms, row.value));
        }
        format!(
            "HTTP/1.1 204 No Content\r\nx-prometheus-remote-write-samples-written: {}\r\n\r\n",
            batch.rows().len()
        )
    }
}

/// A sender at work, and its log. It ends when it is dropped.
struct Sending {
    buffer: Arc<Mutex<Buffer>>,
    live: Arc<Live>,
    stop: CancellationToken,
    folder: TempDir,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Sending {
    fn start(hub: &FakeHub) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::start_in(folder, hub)
    }

    fn start_in(folder: TempDir, hub: &FakeHub) -> Self {
        let options = Options {
            to: hub.url.clone(),
            token: None,
            token_file: None,
            ca_file: None,
            tenant: None,
            instance: "me".to_owned(),
            interval: Duration::from_secs(1),
            scrape: None,
            local: Local::default(),
            folder: folder.path().to_owned(),
            limits: Limits::default(),
        };
        let buffer = Buffer::open(folder.path(), options.limits).expect("opens");
        let buffer = Arc::new(Mutex::new(buffer));
        let sender = Sender::new(Hub::new(&options).expect("a hub"), Arc::clone(&buffer));
        let sending = Self {
            buffer,
            live: sender.live(),
            stop: CancellationToken::new(),
            folder,
        };
        tokio::spawn(sender.run(sending.stop.clone()));
        sending
    }

    /// The next moment, of so many series, the first with a label of so many characters.
    fn measure(&self, at_ms: i64, series: usize, long: usize) {
        let mut batch = Batch::new();
        for one in 0..series {
            let label = match one {
                0 => format!("0{}", noise(long)),
                _ => one.to_string(),
            };
            let row = batch
                .begin(&["m"])
                .and_then(|()| batch.label("series", &label))
                .and_then(|()| batch.finish(1, Some(at_ms), at_ms as f64));
            row.expect("a row");
        }
        let mut buffer = self.buffer.lock();
        let appended = buffer.measured(&batch, at_ms);
        self.live.push(appended);
    }

    async fn until(&self, what: &str, holds: impl Fn(&mut Buffer) -> bool) {
        let began = Instant::now();
        while !holds(&mut self.buffer.lock()) {
            assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Text that does not pack, the same each time.
fn noise(characters: usize) -> String {
    let mut state = 7_u64;
    let one = |_| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        char::from(b'0' + ((state >> 33) % 75) as u8)
    };
    (0..characters).map(one).collect()
}

/// A message that is too large for the hub, or for a proxy before it, goes in parts; a sample that
/// is too large alone is dropped and counted, and no other.
#[tokio::test]
async fn what_is_too_large_is_sent_in_parts_and_only_one_sample_alone_is_dropped() {
    const SERIES: usize = 300;
    const MOMENTS: i64 = 4;
    let hub = FakeHub::start(Answers::Other(PAGE)).await;
    let sending = Sending::start(&hub);
    // They wait, so that they come together.
    for at_ms in 1..=MOMENTS {
        sending.measure(at_ms * 1_000, SERIES, 900);
    }
    *hub.answers.lock() = Answers::Hub(700);
    sending
        .until("everything is sent", |buffer| buffer.waiting() == 0)
        .await;
    let taken = hub.taken.lock().clone();
    assert_eq!(taken.len(), SERIES - 1);
    for (series, samples) in &taken {
        let mut times: Vec<i64> = samples.iter().map(|(at_ms, _)| *at_ms).collect();
        times.sort_unstable();
        let expected: Vec<i64> = (1..=MOMENTS).map(|at| at * 1_000).collect();
        assert_eq!(times, expected, "{series}");
    }
    assert_eq!(sending.live.refused(), MOMENTS.unsigned_abs());
    assert_eq!(sending.buffer.lock().given_up(), 0);
    // What the hub takes is learned: the next pieces do not begin with everything.
    let tries = hub.others.lock().len();
    assert!(tries < 60, "{tries}");
}

/// Nothing counts as sent, or as refused, that somebody else answered in the hub's place; it
/// arrives when the hub is back, also after a restart of the agent.
#[tokio::test]
async fn an_answer_that_no_hub_gives_loses_nothing() {
    const OTHERS: [&str; 5] = [
        PAGE,
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/login\r\ncontent-length: 0\r\n\r\n",
    ];
    let hub = FakeHub::start(Answers::Other(PAGE)).await;
    let mut sending = Sending::start(&hub);
    let mut at_ms = 0;
    for other in OTHERS {
        *hub.answers.lock() = Answers::Other(other);
        let asked = hub.others.lock().len();
        at_ms += 1_000;
        sending.measure(at_ms, 3, 0);
        sending
            .until("it was tried", |_| hub.others.lock().len() > asked)
            .await;
    }
    assert_eq!(sending.live.refused(), 0);
    sending.buffer.lock().close();
    let waiting = sending.buffer.lock().waiting();
    assert_eq!((waiting, hub.taken.lock().len()), (5, 0));
    let folder = std::mem::replace(&mut sending.folder, tempfile::tempdir().expect("a folder"));
    drop(sending);
    *hub.answers.lock() = Answers::Hub(1 << 20);
    let sending = Sending::start_in(folder, &hub);
    sending
        .until("all is sent", |buffer| buffer.waiting() == 0)
        .await;
    let taken = hub.taken.lock().clone();
    assert_eq!(taken.len(), 3);
    assert!(
        taken.values().all(|samples| samples.len() == OTHERS.len()),
        "{taken:?}"
    );
}
