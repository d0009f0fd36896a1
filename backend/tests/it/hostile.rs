//! Clients that mean harm, or are broken: after each of them the server still answers, nothing
//! panicked, and what they took has been given back.

use std::time::{Duration, Instant};

use pulseboard_shared::Role;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    PATIENCE, TestServer, problem,
    raw::{BINARY, FIN, Raw, TEXT, UPGRADE, masked},
};

const HOURS: Duration = Duration::from_secs(36_000);
const MB: u64 = 1024 * 1024;

/// Memory of this process that is resident, in bytes.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("a VmRSS line");
    let kilobytes: u64 = line
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number");
    kilobytes * 1024
}

impl TestServer {
    /// Streams of all kinds that are open.
    async fn streams_open(&self) -> u64 {
        let text = self.get("/metrics").await.text().await.expect("text");
        text.lines()
            .filter_map(|line| {
                line.strip_prefix("pulseboard_streams_open{")?
                    .split_once(' ')
            })
            .map(|(_, value)| value.parse::<u64>().expect("a whole number"))
            .sum()
    }

    /// The server answers, nobody is left, nothing panicked, and it is done with its tasks.
    async fn assert_well(mut self) {
        let mut good = self.ws("/ws/metrics").await;
        let newest = good.json_of("initial").await["offset"].as_u64();
        self.tick(7.0).await;
        let tick = good.json_of("metrics").await;
        assert_eq!(tick["offset"].as_u64(), newest.map(|newest| newest + 1));
        drop(good);
        self.eventually("nobody is left", async || {
            // Those who were closed do not linger for ever.
            self.clock.advance(Duration::from_secs(3));
            self.streams_open().await == 0
        })
        .await;
        assert_eq!(self.own_metric("pulseboard_panics_total").await, 0);
        self.stop().await;
    }
}

async fn patient_server() -> TestServer {
    TestServer::start_with(|settings| {
        settings.write_timeout = HOURS;
        settings.idle_timeout = HOURS;
    })
    .await
}

/// Sends these bytes again and again, in a thread of its own and as fast as the server takes them,
/// until the connection ends or `times` is reached; how often it did, and the socket.
fn flood(raw: Raw, bytes: Vec<u8>, times: usize) -> tokio::task::JoinHandle<(usize, Raw)> {
    let mut stream = raw.0.into_std().expect("a socket");
    stream.set_nonblocking(false).expect("blocking");
    stream
        .set_write_timeout(Some(Duration::from_secs(2)))
        .expect("a timeout");
    tokio::task::spawn_blocking(move || {
        let sent = (0..times)
            .take_while(|_| std::io::Write::write_all(&mut stream, &bytes).is_ok())
            .count();
        stream.set_nonblocking(true).expect("not blocking");
        (sent, Raw(TcpStream::from_std(stream).expect("a socket")))
    })
}

/// Other clients are served, and the server stops, while some send without end.
async fn others_are_served_despite(path: &str, headers: &str, first: &[u8], then: &[u8]) {
    let server = patient_server().await;
    let then = then.repeat(1 + 200_000 / then.len());
    let mut floods = Vec::new();
    for _ in 0..4 {
        let mut raw = server.raw(path, headers).await;
        raw.send(first).await;
        floods.push(flood(raw, then.clone(), usize::MAX));
    }
    let began = Instant::now();
    for _ in 0..50 {
        assert_eq!(server.get("/healthz").await.status(), 200);
    }
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    server.stop().await;
    for flood in floods {
        flood.await.expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_stream_whose_client_talks_without_end_takes_no_worker() {
    others_are_served_despite("/events/metrics", "", b"", b"x").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fragments_without_end_take_no_worker() {
    let (begun, empty) = (masked(TEXT, b"{"), masked(0, b""));
    others_are_served_despite("/ws/metrics", UPGRADE, &begun, &empty).await;
    let server = patient_server().await;
    let mut raw = server.raw_ws("/ws/metrics").await;
    raw.send(&begun).await;
    let (_, mut raw) = flood(raw, empty.repeat(100_000), 3)
        .await
        .expect("no panic");
    assert_eq!(
        raw.closed().await,
        Some(1009),
        "600 KB of nothing are too much"
    );
    server.assert_well().await;
}

#[tokio::test]
async fn who_asks_and_does_not_read_costs_little() {
    let server = patient_server().await;
    let names: Vec<String> = (0..1_000).map(|index| format!("{index:058}")).collect();
    let ask = json!({"type": "subscribe", "metrics": names}).to_string();
    let ask = masked(FIN | TEXT, ask.as_bytes());
    let before = resident_bytes();
    let raw = server.raw_ws("/ws/metrics").await;
    // Within the rate, and each is answered with as much as it has.
    let asking = flood(raw, ask, 1_000);
    let received = "pulseboard_messages_received_total";
    let mut seen = u64::MAX;
    // Until nothing is taken any more.
    while seen != server.own_metric(received).await {
        seen = server.own_metric(received).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(seen < 200, "{seen} questions of 62 KB were taken");
    assert!(grown < 24 * MB, "{} MB for one client", grown / MB);
    assert!(asking.await.expect("no panic").0 < 1_000);
    server.assert_well().await;
}

/// A connection from another address of this machine.
async fn from_address(server: &TestServer, last: u8) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let from = std::net::SocketAddr::from(([127, 0, 0, last], 0));
    socket.bind(from).expect("an address of ours");
    socket.connect(server.address).await.expect("connected")
}

/// A thousand series that are listed in 10 MB.
async fn push_long_series(server: &TestServer) {
    push_series_with(server, &"a".repeat(900)).await;
}

/// A thousand series of nine labels of this and a number.
async fn push_series_with(server: &TestServer, long: &str) {
    for from in (0..1_000).step_by(100) {
        let lines = (from..from + 100).map(|number| {
            let labels = (0..9).map(|label| format!("l{label}=\"{long}{number}\""));
            format!("heavy{{{}}} 1\n", labels.collect::<Vec<_>>().join(","))
        });
        let push = server.request(reqwest::Method::POST, "/push");
        let pushed = push.body(lines.collect::<String>()).send().await;
        assert_eq!(pushed.expect("an answer").status(), 200);
    }
}

/// 150 clients ask for 10 MB each and read nothing of it: whatever they ask for, and packed or not,
/// they cost what one address may cost, the rest of them is told so, and others are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_are_bounded_while_they_are_made() {
    let server = patient_server().await;
    push_long_series(&server).await;
    let before = resident_bytes();
    let mut peak = before;
    let paths = [
        "/api/series?limit=1000&spark=120",
        "/api/series?limit=1000&order=newest",
        "/api/windows?match=heavy",
        "/api/range?match=heavy&start=-15m",
    ];
    let mut unread = Vec::new();
    for number in 0..150 {
        let mut stream = from_address(&server, 2).await;
        let path = paths[number % paths.len()];
        let packed = ["", "Accept-Encoding: gzip\r\n"][number / 8 % 2];
        let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{packed}\r\n");
        stream.write_all(ask.as_bytes()).await.expect("sent");
        unread.push(stream);
        peak = peak.max(resident_bytes());
    }
    let mut refused = 0;
    for stream in &mut unread {
        // What was refused is told in the first bytes, whatever waits.
        let mut status = [0; 12];
        let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut status));
        let read = async {
            tokio::pin!(read);
            loop {
                peak = peak.max(resident_bytes());
                let soon = tokio::time::sleep(Duration::from_millis(5));
                tokio::select! {
                    read = &mut read => break read,
                    () = soon => {}
                }
            }
        };
        read.await.expect("in time").expect("a status");
        match &status[9..] {
            b"200" => {}
            b"503" | b"429" => refused += 1,
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    }
    assert!(refused > 0, "all were answered");
    // Which of those that are made at once get done is chance, and packed ones are short: one after
    // the other some more of the long ones are asked for.
    for path in &paths[..2] {
        if server.own_metric("pulseboard_answer_bytes").await > 24 * MB {
            break;
        }
        let mut stream = from_address(&server, 2).await;
        let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.expect("sent");
        let mut status = [0; 12];
        let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut status));
        read.await.expect("in time").expect("a status");
        unread.push(stream);
        peak = peak.max(resident_bytes());
    }
    let held = server.own_metric("pulseboard_answer_bytes").await;
    // Some of the many are answered: what is half made does not refuse what is nearly done.
    assert!(held > 16 * MB && held <= 80 * MB, "{} MB", held / MB);
    let grown = peak - before;
    assert!(
        grown < 200 * MB,
        "{} MB for those who do not read",
        grown / MB
    );
    // Others have what they ask for, whole.
    for path in paths {
        let mut other = from_address(&server, 3).await;
        let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        other.write_all(ask.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        let reading = tokio::time::timeout(PATIENCE, other.read_to_end(&mut answer));
        reading.await.expect("in time").expect("read");
        let begins = String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned();
        assert!(begins.starts_with("HTTP/1.1 200"), "{path}: {begins}");
        assert!(answer.len() as u64 > 6 * MB, "{path}: {}", answer.len());
    }
    drop(unread);
    server
        .eventually("nothing is kept", async || {
            server.own_metric("pulseboard_answer_bytes").await == 0
        })
        .await;
    server.assert_well().await;
}

/// Sixty sockets of one address watch 2 MB each with one short message, and read nothing of what
/// they are told: some are told, and others are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watched_histories_that_nobody_reads_are_bounded() {
    let server = patient_server().await;
    push_series_with(&server, &"a".repeat(90)).await;
    let before = resident_bytes();
    let watch = masked(FIN | TEXT, br#"{"action":"watch","match":"heavy"}"#);
    let open = async |address| {
        let mut stream = from_address(&server, address).await;
        let ask = format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n");
        stream.write_all(ask.as_bytes()).await.expect("sent");
        stream.write_all(&watch).await.expect("sent");
        stream
    };
    let mut unread = Vec::new();
    for _ in 0..60 {
        unread.push(open(2).await);
    }
    let mut peak = before;
    server
        .eventually("all are answered", async || {
            peak = peak.max(resident_bytes());
            server
                .own_metric("pulseboard_messages_received_total")
                .await
                == 60
                && server.own_metric("pulseboard_questions").await == 0
        })
        .await;
    let held = server.own_metric("pulseboard_answer_bytes").await;
    assert!(held > MB && held <= 80 * MB, "{held} bytes");
    // What the allocator keeps comes on top of what is held: without bounds it is 1.4 GB.
    let grown = peak.max(resident_bytes()) - before;
    assert!(
        grown < 300 * MB,
        "{} MB for those who do not read",
        grown / MB
    );
    // Another address has all of its own.
    let mut other = open(3).await;
    let mut answer = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    while answer.len() < MB as usize {
        let reading = tokio::time::timeout(PATIENCE, other.read(&mut buffer));
        let read = reading.await.expect("in time").expect("read");
        assert!(read > 0, "closed");
        answer.extend_from_slice(&buffer[..read]);
    }
    let told = String::from_utf8_lossy(&answer);
    assert!(told.contains("\"watched\""), "{}", &told[..200]);
    drop((unread, other));
    server
        .eventually("nothing is kept", async || {
            server.own_metric("pulseboard_answer_bytes").await == 0
        })
        .await;
    server.stop().await;
}

/// A thousand series with long names are watched at once, names and all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_long_series_are_watched_together() {
    let server = patient_server().await;
    push_series_with(&server, &"a".repeat(200)).await;
    let mut client = server.ws("/ws").await;
    client.json_of("init").await;
    client.send(r#"{"action":"watch","match":"heavy"}"#).await;
    let told = loop {
        let told = client.json().await;
        if ["watched", "error"]
            .map(Value::from)
            .contains(&told["type"])
        {
            break told;
        }
    };
    let series = told["series"].as_array().map(Vec::len);
    assert_eq!(series, Some(1_000), "{}", told["text"]);
    server.stop().await;
}

/// One address has all that it may have and reads nothing of it: another one's large answer is made
/// beside it, at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_that_does_not_read_refuses_nobody_a_large_answer() {
    let server = patient_server().await;
    push_long_series(&server).await;
    let ask = async |address, path: &str| {
        let mut stream = from_address(&server, address).await;
        let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.expect("sent");
        let mut status = [0; 12];
        let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut status));
        read.await.expect("in time").expect("a status");
        (String::from_utf8_lossy(&status[9..]).into_owned(), stream)
    };
    let mut unread = Vec::new();
    for limit in [1_000, 500, 300, 200, 100] {
        for _ in 0..12 {
            let (status, stream) = ask(2, &format!("/api/series?limit={limit}")).await;
            if status != "200" {
                break;
            }
            unread.push(stream);
        }
    }
    let held = server.own_metric("pulseboard_answer_bytes").await;
    assert!(held > 60 * MB, "{} MB", held / MB);
    let (status, mut stream) = ask(3, "/api/range?match=heavy&start=-15m").await;
    assert_eq!(status, "200");
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer));
    reading.await.expect("in time").expect("read");
    assert!(answer.len() as u64 > 6 * MB, "{}", answer.len());
    drop(unread);
    server.stop().await;
}

/// Two addresses ask for all that there is and read nothing. Those who have nothing find room
/// for what they ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_addresses_that_do_not_read_leave_something_to_those_who_do() {
    let server = patient_server().await;
    push_long_series(&server).await;
    let ask = async |address, limit: u32| {
        let mut stream = from_address(&server, address).await;
        let ask = format!("GET /api/series?limit={limit} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.expect("sent");
        let mut status = [0; 12];
        let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut status));
        read.await.expect("in time").expect("a status");
        (String::from_utf8_lossy(&status[9..]).into_owned(), stream)
    };
    let mut unread = Vec::new();
    for address in 2..4 {
        // The largest answers that are still made, and then smaller ones.
        for limit in [1_000, 600] {
            for _ in 0..12 {
                let (status, stream) = ask(address, limit).await;
                if status != "200" {
                    break;
                }
                unread.push(stream);
            }
        }
    }
    let held = server.own_metric("pulseboard_answer_bytes").await;
    assert!(held > 64 * MB, "{} MB", held / MB);
    for address in 30..34 {
        assert_eq!(ask(address, 20).await.0, "200");
    }
    // Who asks for much waits, and those who have read nothing for long go for it.
    assert_eq!(ask(40, 1_000).await.0, "200");
    drop(unread);
    server.stop().await;
}

#[tokio::test]
async fn questions_that_wait_while_the_socket_is_full_are_answered_later() {
    let server = patient_server().await;
    let mut raw = server.raw_ws("/ws/control").await;
    let long = "y".repeat(20_000);
    let ask = move |number: usize| json!({"command": [number, long]}).to_string();
    let (mut reading, mut writing) = {
        raw.frame().await.expect("a greeting");
        raw.0.into_split()
    };
    let asking = tokio::spawn(async move {
        for number in 0..200 {
            let ask = masked(FIN | TEXT, ask(number).as_bytes());
            writing.write_all(&ask).await.expect("sent");
        }
        writing
    });
    // Nothing is read until nothing is taken any more.
    let received = "pulseboard_messages_received_total";
    let mut seen = u64::MAX;
    while seen != server.own_metric(received).await {
        seen = server.own_metric(received).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(seen < 200, "all were taken");
    for number in 0..200 {
        let answer = tokio::time::timeout(PATIENCE, async {
            let mut head = [0; 4];
            reading.read_exact(&mut head).await.expect("a head");
            assert_eq!(head[..2], [FIN | TEXT, 126]);
            let mut payload = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
            reading.read_exact(&mut payload).await.expect("a payload");
            payload
        });
        let answer = answer
            .await
            .unwrap_or_else(|_| panic!("answer {number} in time"));
        let text = String::from_utf8(answer).expect("UTF-8");
        assert!(
            text.contains(&format!("[{number},")),
            "in order: {}",
            &text[..60]
        );
    }
    drop(asking.await.expect("sent"));
    server.assert_well().await;
}

#[tokio::test]
async fn huge_frames_are_refused_and_many_at_once_cost_little() {
    let server = patient_server().await;
    let before = resident_bytes();
    let mut raws = Vec::new();
    for number in 0..40 {
        let mut raw = server.raw_ws("/ws/metrics").await;
        match number % 4 {
            // As large as allowed, and no JSON.
            0 => raw.send(&masked(FIN | TEXT, &vec![b'['; 65_536])).await,
            // One byte more.
            1 => raw.send(&masked(FIN | TEXT, &vec![b'x'; 65_537])).await,
            // Many fragments.
            2 => {
                for _ in 0..200 {
                    raw.send(&masked(TEXT * u8::from(number == 0), &[b'x'; 1_000]))
                        .await;
                }
            }
            // A claim, and then nothing.
            _ => {
                let claim = [FIN | TEXT, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4];
                raw.send(&claim).await;
            }
        }
        raws.push(raw);
    }
    for (number, raw) in raws.iter_mut().enumerate() {
        match number % 4 {
            0 => {
                let (_, answer) = raw.message().await.expect("initial");
                assert!(answer.starts_with(b"{\"type\":\"initial\""));
                let (_, answer) = raw.message().await.expect("an answer");
                assert!(answer.starts_with(b"{\"type\":\"error\""));
            }
            1 => assert_eq!(raw.closed().await, Some(1009)),
            2 => assert_eq!(raw.closed().await, Some(1002), "a continuation of nothing"),
            _ => {}
        }
    }
    drop(raws);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 * MB, "{} MB", grown / MB);
    server.assert_well().await;
}

#[tokio::test]
async fn who_says_too_much_is_told_to_come_back_later() {
    for (path, message) in [
        ("/ws", r#"{"action":"publish","channel":"x","data":1}"#),
        ("/ws", "{}"),
        ("/ws/chat", r#"{"type":"chat","user":"a","text":"b"}"#),
        ("/ws/metrics", r#"{"type":"ping"}"#),
        ("/ws/control", r#"{"command":"dance"}"#),
    ] {
        let server = TestServer::start_with(|settings| settings.max_messages_per_sec = 20).await;
        let raw = server.raw_ws(path).await;
        let (reading, mut writing) = raw.0.into_split();
        let sending = tokio::spawn(async move {
            let message = masked(FIN | TEXT, message.as_bytes());
            while writing.write_all(&message).await.is_ok() {}
            writing
        });
        let mut bytes = Vec::new();
        let mut reading = reading.take(MB);
        drop(tokio::time::timeout(PATIENCE, reading.read_to_end(&mut bytes)).await);
        let close = [FIN | crate::support::raw::CLOSE, 45, 0x03, 0xF5];
        assert!(
            bytes.windows(2).any(|window| window == &close[2..]),
            "{path}: closed with 1013"
        );
        sending.abort();
        server.assert_well().await;
    }
}

#[tokio::test]
async fn deep_odd_and_long_messages_are_answered_at_every_door() {
    let server = patient_server().await;
    let mut odd = vec![
        "[".repeat(60_000),
        format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000)),
        "\"\\ud800\"".to_owned(),
        "\u{0}".to_owned(),
        "{\"type\":\"subscribe\",\"metrics\":[1e999]}".to_owned(),
        "{\"type\":\"\\u0000\"}".to_owned(),
        format!("{{\"command\":{}}}", "9".repeat(60_000)),
        format!("{{\"command\":\"{}\"}}", "\u{10FFFF}".repeat(10_000)),
        json!({"action": "subscribe", "channel": "x".repeat(60_000)}).to_string(),
        json!({"action": "subscribe", "channel": "x", "events": vec!["e"; 20_000]}).to_string(),
        json!({"action": "subscribe", "channel": "x", "epoch": "1", "offset": u64::MAX})
            .to_string(),
        json!({"type": "chat", "user": "x".repeat(60_000), "text": ""}).to_string(),
    ];
    for count in [1_000, 1_001] {
        let names: Vec<String> = (0..count).map(|index| format!("m{index}")).collect();
        odd.push(json!({"type": "subscribe", "metrics": names}).to_string());
    }
    for path in ["/ws", "/ws/chat", "/ws/control", "/ws/metrics"] {
        for encoding in ["json", "bin"] {
            let mut client = server.ws(&format!("{path}?encoding={encoding}")).await;
            for text in &odd {
                client.send(text).await;
            }
            if encoding == "bin" {
                for byte in 0..=255_u8 {
                    let bytes = [byte, 0xFF, byte, b'{'];
                    let message = tokio_tungstenite::tungstenite::Message::binary(bytes.to_vec());
                    client.send_message(message).await;
                }
            }
            // All are answered or ignored, and the socket goes on.
            client
                .send_message(tokio_tungstenite::tungstenite::Message::Close(None))
                .await;
            while client.next_message().await.is_some() {}
        }
    }
    server.assert_well().await;
}

#[tokio::test]
async fn thousands_that_are_silent_half_open_or_do_not_read_leave_nothing_behind() {
    /// Of ten kinds; client and server are one process, and each end is an open file.
    const EACH: usize = 200;
    let files = rlimit::increase_nofile_limit(32 * EACH as u64).expect("a limit");
    assert!(files >= 24 * EACH as u64, "only {files} open files");
    let mut server = patient_server().await;
    // Once, so that what is allocated for good is.
    drop(server.ws("/ws").await);
    server.tick(1.0).await;
    let before = resident_bytes();
    let mut kept = Vec::new();
    for _ in 0..EACH {
        // Nothing is ever said.
        kept.push(server.raw_connection().await);
        // A head that is not finished.
        let mut half = server.raw_connection().await;
        half.send(b"GET /ws/metrics HTTP/1.1\r\nHost: x\r\n").await;
        kept.push(half);
        // Streams that are not read from.
        for path in ["/ws/metrics", "/ws", "/ws/chat", "/ws/control"] {
            kept.push(server.raw(path, UPGRADE).await);
        }
        for path in ["/events/metrics", "/events/alerts", "/api/metrics/stream"] {
            kept.push(server.raw(path, "").await);
        }
        // A WebSocket whose client closes its side only.
        let mut closing = server.raw("/ws/metrics", UPGRADE).await;
        closing.0.shutdown().await.expect("closed");
        kept.push(closing);
    }
    let open = 7 * EACH as u64;
    server
        .eventually("they are there", async || {
            server.streams_open().await >= open
        })
        .await;
    for cpu in 0..50 {
        server.tick(f64::from(cpu) + 50.0).await;
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(
        grown < 32 * 1024 * kept.len() as u64 + 16 * MB,
        "{} KB each",
        grown / 1024 / kept.len() as u64
    );
    drop(kept);
    server
        .eventually("all are gone", async || server.streams_open().await == 0)
        .await;
    server.assert_well().await;
}

#[tokio::test]
async fn garbage_on_a_socket_ends_that_socket_only() {
    let server = patient_server().await;
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..200 {
        let length = random.usize(1..2_000);
        let garbage: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
        let path = ["/ws", "/ws/chat", "/ws/control", "/ws/metrics"][round % 4];
        let mut raw = server.raw_ws(path).await;
        raw.send(&garbage).await;
        // And as a request of its own.
        let mut raw = server.raw_connection().await;
        raw.send(&garbage).await;
        raw.send(b"\r\n\r\n").await;
        let masked_garbage = masked(FIN | BINARY, &garbage);
        let mut raw = server.raw_ws(&format!("{path}?encoding=bin")).await;
        raw.send(&masked_garbage).await;
    }
    server.assert_well().await;
}

#[tokio::test]
async fn a_socket_asked_for_where_there_is_none_is_refused() {
    let server = patient_server().await;
    for path in [
        "/api/stats",
        "/healthz",
        "/events/alerts",
        "/",
        "/nothing",
        "/ws/nothing",
    ] {
        let mut raw = server
            .raw(path, &format!("{UPGRADE}Connection: close\r\n"))
            .await;
        let head = raw.head().await;
        assert!(!head.starts_with("HTTP/1.1 101"), "{path}: {head}");
        assert!(!head.starts_with("HTTP/1.1 5"), "{path}: {head}");
    }
    for path in ["/ws", "/ws/chat", "/ws/control", "/ws/metrics"] {
        problem(server.get(path).await, 426).await;
    }
    server.assert_well().await;
}

#[tokio::test]
async fn a_room_keeps_one_copy_of_a_message_however_oddly_its_members_ask() {
    let server = TestServer::start_with(crate::access::with_tokens).await;
    let operator = crate::access::bearer(Role::Operator);
    let mut members = Vec::new();
    for number in 0..60 {
        let mut member = server
            .try_ws("/ws", &[("authorization", &operator)])
            .await
            .unwrap_or_else(|_| panic!("opens"));
        let events = ["news".to_owned(), format!("none-{number}")];
        let join = json!({"action": "subscribe", "channel": "r", "events": events});
        member.send(&join.to_string()).await;
        while member.json().await["type"] != "subscribed" {}
        members.push(member);
    }
    let before = resident_bytes();
    for _ in 0..40 {
        let event = json!({"event": "news", "data": "x".repeat(50_000)});
        let answer = server
            .send_as(
                &operator,
                reqwest::Method::POST,
                "/api/rooms/r/events",
                Some(event),
            )
            .await;
        assert_eq!(answer.status(), 200);
        for member in &mut members {
            let message: Value = member.json().await;
            assert_eq!(message["event"], "news");
        }
    }
    // Its log holds 2 MB; sixty copies of it were 120 MB.
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 40 * MB, "{} MB", grown / MB);
    drop(members);
    server.stop().await;
}
