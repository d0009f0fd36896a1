//! A server that sends on, killed while it does: everything that it acknowledged reaches the
//! receiver, and twice only what the receiver's answer to was under way.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex},
};

use pulseboard_ingest::remote_write::{Version, parse};
use pulseboard_series::Batch;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::server::{Server, rounds};

/// Requests that may be under way at once.
const UNDER_WAY: usize = 8;

/// A receiver that remembers the values of each request, and is away now and then.
#[derive(Clone, Default)]
struct Recorder {
    requests: Arc<Mutex<Vec<Vec<u64>>>>,
}

impl Recorder {
    async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let recorder = Self::default();
        let serving = recorder.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        (recorder, format!("http://{address}/write"))
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        loop {
            let head = loop {
                if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                    break at + 4;
                }
                if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                    return;
                }
            };
            let text = String::from_utf8_lossy(&buffer[..head]).to_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|text| text.parse().ok()).expect("a length");
            while buffer.len() < head + length {
                if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let body: Vec<u8> = buffer.drain(..head + length).skip(head).collect();
            let answer: &[u8] = match fastrand::u8(..) {
                0..64 => b"HTTP/1.1 503 Away\r\ncontent-length: 0\r\n\r\n",
                64..96 => b"HTTP/1.1 429 Patience\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n",
                _ => {
                    self.take(&body);
                    b"HTTP/1.1 204 No Content\r\n\r\n"
                }
            };
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
    }

    fn take(&self, body: &[u8]) {
        let message = snap::raw::Decoder::new()
            .decompress_vec(body)
            .expect("snappy");
        let mut batch = Batch::new();
        parse(Version::V1, &message, &mut batch).expect("a message");
        let named = batch
            .rows()
            .iter()
            .filter(|row| batch.key(row).name() == "numbers");
        let values = named.map(|row| row.value as u64).collect();
        self.requests.lock().expect("whole").push(values);
    }

    fn requests(&self) -> usize {
        self.requests.lock().expect("whole").len()
    }

    /// Where each value came: the requests that it was in.
    fn places(&self) -> HashMap<u64, Vec<usize>> {
        let mut places: HashMap<u64, Vec<usize>> = HashMap::new();
        for (at, values) in self.requests.lock().expect("whole").iter().enumerate() {
            for value in values {
                places.entry(*value).or_default().push(at);
            }
        }
        places
    }
}

fn start(folder: &Path, file: &Path) -> Server {
    let file = file.to_str().expect("a path");
    Server::start_with(folder, &[("PROMETHEUS_CONFIG", file)])
}

#[tokio::test]
async fn everything_that_was_acknowledged_is_sent_on_whoever_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (recorder, url) = Recorder::start().await;
    let file = folder.path().join("prometheus.yml");
    let yaml = format!(
        "remote_write: [{{url: '{url}', queue_config: {{batch_send_deadline: 5ms, min_backoff: 1ms, max_backoff: 20ms, max_samples_per_send: 50}}}}]"
    );
    std::fs::write(&file, yaml).expect("written");
    let data = folder.path().join("data");
    let mut next = 1_u64;
    let mut acknowledged: Vec<u64> = Vec::new();
    let mut kills = Vec::new();
    for _ in 0..rounds() {
        let mut server = start(&data, &file);
        for _ in 0..fastrand::u64(5..30) {
            let numbers = next..next + fastrand::u64(1..40);
            next = numbers.end;
            let lines = numbers
                .clone()
                .map(|number| format!("numbers{{series=\"{}\"}} {number}\n", number % 40));
            let lines: String = lines.collect();
            // Of others: not to be sent.
            server.push("red", "numbers 0\n".to_owned()).await;
            let (status, answer) = server.push("default", lines).await;
            assert_eq!(status, 200, "{answer}");
            acknowledged.extend(numbers);
        }
        server.kill();
        kills.push(recorder.requests());
    }
    let server = start(&data, &file);
    server
        .eventually("everything arrives", async || {
            let places = recorder.places();
            acknowledged
                .iter()
                .all(|number| places.contains_key(number))
        })
        .await;
    let places = recorder.places();
    assert!(!places.contains_key(&0), "another tenant's is sent");
    let under_way = |at: usize| {
        kills.iter().any(
            |kill| // What was sent when it was killed may be read after that was noted.
            (kill.saturating_sub(UNDER_WAY)..=*kill + UNDER_WAY).contains(&at),
        )
    };
    for (number, places) in places {
        let known = places
            .split_last()
            .map(|(_, before)| before)
            .unwrap_or_default();
        assert!(
            known.iter().all(|at| under_way(*at)),
            "{number} came again, though its answer was seen: {places:?}, {kills:?}"
        );
    }
}
