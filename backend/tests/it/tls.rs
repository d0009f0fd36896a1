//! TLS by the server itself: what is served over it, by which protocol, and which certificate is
//! shown.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Request, Response,
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pulseboard::settings::Settings;
use pulseboard_shared::Role;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use crate::support::{PATIENCE, TestServer, reading, token};

const HTTP_1: &[u8] = b"http/1.1";
const HTTP_2: &[u8] = b"h2";
const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

/// A folder with a certificate and its key.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().expect("a temporary folder"));
        files.write("cert.pem", "key.pem");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a new pair under these names.
    fn write(&self, certificate: &str, key: &str) {
        let (made, private) = pair();
        fs::write(self.path(certificate), made).expect("written");
        fs::write(self.path(key), private).expect("written");
    }

    fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path("cert.pem")).expect("a certificate")
    }

    fn settings(&self, settings: &mut Settings) {
        settings.tls_cert = Some(self.path("cert.pem"));
        settings.tls_key = Some(self.path("key.pem"));
    }
}

/// A certificate and its key in PEM.
fn pair() -> (String, String) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

async fn server(files: &Files) -> TestServer {
    TestServer::start_with(|settings| files.settings(settings)).await
}

/// Connects as one who believes this certificate.
async fn connect_by(
    address: SocketAddr,
    believed: &CertificateDer<'static>,
    protocols: &[&[u8]],
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(believed.clone()).expect("a certificate");
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

async fn connect(server: &TestServer, files: &Files, protocol: &[u8]) -> TlsStream<TcpStream> {
    let (believed, protocols) = (files.certificate(), [protocol]);
    let connecting = connect_by(server.address, &believed, &protocols, BOTH);
    timeout(PATIENCE, connecting)
        .await
        .expect("in time")
        .expect("a handshake")
}

/// A client of one connection.
enum Client {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    async fn over(stream: TlsStream<TcpStream>) -> Self {
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
        let io = TokioIo::new(stream);
        if is_http2 {
            let (client, connection) = http2::Builder::new(TokioExecutor::new())
                .handshake(io)
                .await
                .expect("HTTP/2");
            tokio::spawn(connection);
            Self::Http2(client)
        } else {
            let (client, connection) = http1::handshake(io).await.expect("HTTP/1.1");
            tokio::spawn(connection);
            Self::Http1(client)
        }
    }

    async fn new(server: &TestServer, files: &Files, protocol: &[u8]) -> Self {
        Self::over(connect(server, files, protocol).await).await
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        let asking = async {
            match self {
                Self::Http1(client) => client.send_request(request).await,
                Self::Http2(client) => client.send_request(request).await,
            }
        };
        timeout(PATIENCE, asking).await.expect("an answer in time")
    }

    /// Asks; the target has the host for HTTP/2, the header for HTTP/1.1.
    async fn ask(
        &mut self,
        server: &TestServer,
        (method, path): (&str, &str),
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Response<Incoming> {
        let host = format!("localhost:{}", server.address.port());
        let mut request = Request::builder().method(method);
        request = match self {
            Self::Http1(_) => request.uri(path).header("host", &host),
            Self::Http2(_) => request.uri(format!("https://{host}{path}")),
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::from(body.to_owned()));
        let request = request.body(body).expect("a request");
        self.send(request).await.expect("an answer")
    }

    async fn get(&mut self, server: &TestServer, path: &str) -> (u16, String) {
        let answer = self.ask(server, ("GET", path), &[], "").await;
        (answer.status().as_u16(), text(answer).await)
    }
}

async fn text(answer: Response<Incoming>) -> String {
    let whole = timeout(PATIENCE, answer.into_body().collect())
        .await
        .expect("in time")
        .expect("whole");
    String::from_utf8(whole.to_bytes().to_vec()).expect("text")
}

/// Waits for a condition of the world outside.
async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Ticks; what is waited for elsewhere cannot be asked without TLS.
async fn tick(server: &TestServer, client: &mut Client, number: u64) {
    server.prepare(reading(f64::from(u32::try_from(number).expect("few"))));
    server.clock.advance(match number {
        1 => Duration::from_millis(200),
        2 => Duration::from_millis(800),
        _ => Duration::from_secs(1),
    });
    eventually("the tick is made", async || {
        let (_, text) = client.get(server, "/metrics").await;
        text.contains(&format!("\npulseboard_ticks_total {number}\n"))
    })
    .await;
}

/// The next event of a stream that has data, as text.
async fn event(body: &mut Incoming, held: &mut String) -> String {
    loop {
        if let Some(end) = held.find("\n\n") {
            let event: String = held.drain(..end + 2).collect();
            if event.contains("data:") {
                return event;
            }
            continue;
        }
        let frame = timeout(PATIENCE, body.frame()).await.expect("in time");
        let frame = frame.expect("not over").expect("whole");
        let data = frame.into_data().expect("data");
        held.push_str(std::str::from_utf8(&data).expect("text"));
    }
}

#[tokio::test]
async fn both_protocols_and_both_versions_answer() {
    let files = Files::new();
    let server = server(&files).await;
    for version in BOTH {
        for protocol in [HTTP_1, HTTP_2] {
            let certificate = files.certificate();
            let stream = connect_by(server.address, &certificate, &[protocol], &[version]).await;
            let stream = stream.expect("a handshake");
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
            let mut client = Client::over(stream).await;
            let (status, text) = client.get(&server, "/api/stats").await;
            assert_eq!(status, 200, "{text}");
            assert!(text.contains("\"latency\""), "{text}");
            // The page, which is large, in as many pieces as it takes.
            let (status, page) = client.get(&server, "/docs").await;
            assert_eq!(status, 200);
            assert!(
                page.ends_with("</html>\n") || page.ends_with("</html>"),
                "whole"
            );
        }
    }
    // Who offers both gets HTTP/2, who offers none HTTP/1.1, and who offers another nothing.
    let certificate = files.certificate();
    let chosen = async |protocols: &[&[u8]]| {
        let stream = connect_by(server.address, &certificate, protocols, BOTH).await;
        stream.map(|stream| stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(
        chosen(&[HTTP_1, HTTP_2]).await.expect("a handshake"),
        Some(HTTP_2.to_vec())
    );
    assert_eq!(chosen(&[]).await.expect("a handshake"), None);
    assert!(chosen(&[b"spdy/3"]).await.is_err());
    server.stop().await;
}

#[tokio::test]
async fn a_request_over_http2_is_held_to_its_host_and_sheds_what_is_of_http1() {
    let files = Files::new();
    let server = TestServer::start_with(|settings| {
        files.settings(settings);
        settings.tls_hsts = Duration::from_secs(600);
    })
    .await;
    let mut client = Client::new(&server, &files, HTTP_2).await;
    let get = |uri: &str, host: Option<&str>| {
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        request.body(Full::new(Bytes::new())).expect("a request")
    };
    let answer = client.send(get("https://a.test/healthz", None)).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=600");
    let both = client
        .send(get("https://a.test/healthz", Some("b.test")))
        .await;
    assert_eq!(both.expect("an answer").status(), 400);
    // Refused before its body was read: HTTP/1.1 says that the connection ends.
    let post = client.ask(&server, ("POST", "/nothing"), &[], "{}").await;
    assert_eq!(post.status(), 405);
    assert!(!post.headers().contains_key("connection"));
    let socket = client.ask(&server, ("GET", "/ws/metrics"), &[], "").await;
    assert_eq!(socket.status(), 426);
    assert!(text(socket).await.contains("HTTP/1.1"));
    server.stop().await;
}

#[tokio::test]
async fn a_socket_misses_nothing_over_tls() {
    let files = Files::new();
    let server = server(&files).await;
    let mut asking = Client::new(&server, &files, HTTP_1).await;
    let stream = connect(&server, &files, HTTP_1).await;
    let url = format!("wss://localhost:{}/ws/metrics", server.address.port());
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream)
        .await
        .expect("the socket opens");
    let initial = message(&mut socket).await;
    assert_eq!(initial["type"], "initial");
    for number in 1..=20 {
        tick(&server, &mut asking, number).await;
        let next = message(&mut socket).await;
        assert_eq!(next["type"], "metrics");
        let value = next["data"][0]["value"].as_f64().expect("a number");
        assert!((value - number as f64).abs() < f64::EPSILON, "{next}");
    }
    // Many small messages in one record, and an answer to each.
    for _ in 0..50 {
        socket
            .feed(Message::text(r#"{"type":"ping"}"#))
            .await
            .expect("fed");
    }
    socket.flush().await.expect("sent");
    for _ in 0..50 {
        assert_eq!(message(&mut socket).await["type"], "pong");
    }
    socket.close(None).await.expect("closed");
    let last = timeout(PATIENCE, socket.next()).await.expect("in time");
    assert!(matches!(last, Some(Ok(Message::Close(_)))), "{last:?}");
    server.stop().await;
}

async fn message(socket: &mut WebSocketStream<TlsStream<TcpStream>>) -> Value {
    loop {
        let next = timeout(PATIENCE, socket.next()).await.expect("in time");
        if let Message::Text(text) = next.expect("open").expect("a message") {
            return serde_json::from_str(&text).expect("JSON");
        }
    }
}

#[tokio::test]
async fn event_streams_come_over_either_protocol_and_resume_at_the_other() {
    let files = Files::new();
    let server = server(&files).await;
    let mut asking = Client::new(&server, &files, HTTP_2).await;
    for (protocol, first) in [(HTTP_1, 1), (HTTP_2, 5)] {
        let mut client = Client::new(&server, &files, protocol).await;
        let target = ("GET", "/api/metrics/stream");
        let answer = client.ask(&server, target, &[], "").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let chunked = answer.headers().contains_key("transfer-encoding");
        assert_eq!(chunked, protocol == HTTP_1);
        let (mut body, mut held) = (answer.into_body(), String::new());
        assert!(event(&mut body, &mut held).await.contains("event: config"));
        let mut id = String::new();
        for number in first..first + 3 {
            tick(&server, &mut asking, number).await;
            loop {
                let event = event(&mut body, &mut held).await;
                if event.contains("event: metrics") {
                    let cpu = format!("\"cpu_percent\":{number}.0");
                    assert!(event.contains(&cpu), "{event}");
                    let said = event.lines().find_map(|line| line.strip_prefix("id: "));
                    id = said.expect("an id").to_owned();
                    break;
                }
            }
        }
        // With the other protocol, from where it was.
        tick(&server, &mut asking, first + 3).await;
        let other = if protocol == HTTP_1 { HTTP_2 } else { HTTP_1 };
        let mut second = Client::new(&server, &files, other).await;
        let seen = [("last-event-id", id.as_str())];
        let answer = second.ask(&server, target, &seen, "").await;
        assert_eq!(answer.status(), 200);
        let (mut resumed, mut held) = (answer.into_body(), String::new());
        loop {
            let event = event(&mut resumed, &mut held).await;
            if event.contains("event: metrics") {
                let cpu = format!("\"cpu_percent\":{}.0", first + 3);
                assert!(event.contains(&cpu), "{event}");
                break;
            }
        }
        // Gone, they are forgotten.
        drop((body, client, resumed, second));
        eventually("the stream is forgotten", async || {
            let (_, text) = asking.get(&server, "/readyz").await;
            text.contains("\"streams\":0")
        })
        .await;
    }
    server.stop().await;
}

#[tokio::test]
async fn an_event_stream_over_http2_ends_well_when_the_server_stops() {
    let files = Files::new();
    let server = server(&files).await;
    let mut client = Client::new(&server, &files, HTTP_2).await;
    let answer = client
        .ask(&server, ("GET", "/events/alerts"), &[], "")
        .await;
    assert_eq!(answer.status(), 200);
    let reading = tokio::spawn(answer.into_body().collect());
    server.stop().await;
    let ended = timeout(PATIENCE, reading).await.expect("in time");
    assert!(ended.expect("no panic").is_ok(), "an end and no reset");
}

#[tokio::test]
async fn who_does_not_read_over_http2_is_ended_and_others_go_on() {
    let files = Files::new();
    let server = TestServer::start_with(|settings| {
        files.settings(settings);
        settings.write_timeout = Duration::from_secs(1);
    })
    .await;
    let mut asking = Client::new(&server, &files, HTTP_1).await;
    // A window that takes next to nothing, and nobody who makes it larger.
    let stream = connect(&server, &files, HTTP_2).await;
    let (mut client, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1_000)
        .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await
        .expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let uri = format!(
        "https://localhost:{}/api/openapi.json",
        server.address.port()
    );
    let request = Request::get(uri).body(Full::new(Bytes::new()));
    let answer = client.send_request(request.expect("a request")).await;
    let answer = answer.expect("a head");
    let ended = timeout(PATIENCE, connection).await.expect("it is ended");
    drop((ended, answer));
    let (status, _) = asking.get(&server, "/healthz").await;
    assert_eq!(status, 200);
    let (_, metrics) = asking.get(&server, "/metrics").await;
    assert!(metrics.contains("pulseboard_limit_hits_total{limit=\"write_deadline\"} 1"));
    server.stop().await;
}

#[tokio::test]
async fn what_comes_without_tls_is_told_so() {
    let files = Files::new();
    let server = server(&files).await;
    let answer = server.get("/api/stats").await;
    assert_eq!(answer.status(), 400);
    let problem: Value = answer.json().await.expect("JSON");
    assert!(
        problem["detail"]
            .as_str()
            .expect("text")
            .contains("https://")
    );
    // What is neither is closed without a word.
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    stream.write_all(&[0, 1, 2, 3]).await.expect("sent");
    let mut said = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut said)).await;
    read.expect("in time").ok();
    assert!(said.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn handshakes_that_break_or_stand_still_take_nothing_from_others() {
    let files = Files::new();
    let server = server(&files).await;
    let mut hello = vec![0x16, 3, 1, 2, 0];
    hello.extend([1, 0, 1, 0xfc]);
    let mut silent = Vec::new();
    for begun in [&b""[..], &hello[..1], &hello] {
        for _ in 0..40 {
            let mut stream = TcpStream::connect(server.address).await.expect("connected");
            stream.write_all(begun).await.expect("sent");
            silent.push(stream);
        }
    }
    // Some that break off, and some that send what is none.
    for _ in 0..40 {
        let mut stream = TcpStream::connect(server.address).await.expect("connected");
        stream.write_all(&hello).await.expect("sent");
        drop(stream);
        let mut stream = TcpStream::connect(server.address).await.expect("connected");
        stream.write_all(&[0x16; 600]).await.expect("sent");
        let mut said = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut said)).await;
        read.expect("it is closed").ok();
    }
    let began = Instant::now();
    let mut client = Client::new(&server, &files, HTTP_1).await;
    assert_eq!(client.get(&server, "/healthz").await.0, 200);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    // The silent ones are given up within their time.
    let (longest, mut stream) = (Duration::from_secs(15), silent.swap_remove(0));
    let read = timeout(longest, stream.read(&mut [0])).await;
    assert!(matches!(read.expect("given up"), Ok(0) | Err(_)));
    let (_, metrics) = client.get(&server, "/metrics").await;
    assert!(!metrics.contains("limit=\"handshake_deadline\"} 0\n"));
    server.stop().await;
}

#[tokio::test]
async fn a_changed_certificate_is_shown_and_a_broken_one_is_not() {
    let files = Files::new();
    let live = files.path("live");
    let version = |name: &str| {
        let folder = files.path(name);
        fs::create_dir(&folder).expect("made");
        let (certificate, key) = pair();
        fs::write(folder.join("tls.crt"), certificate).expect("written");
        fs::write(folder.join("tls.key"), key).expect("written");
        folder
    };
    let shown = |folder: &Path| {
        CertificateDer::from_pem_file(folder.join("tls.crt")).expect("a certificate")
    };
    let (first, second) = (version("1"), version("2"));
    std::os::unix::fs::symlink(&first, &live).expect("linked");
    let server = TestServer::start_with(|settings| {
        settings.tls_cert = Some(live.join("tls.crt"));
        settings.tls_key = Some(live.join("tls.key"));
    })
    .await;
    let shows = async |believed: CertificateDer<'static>| {
        let connecting = connect_by(server.address, &believed, &[HTTP_1], BOTH);
        connecting.await.is_ok()
    };
    assert!(shows(shown(&first)).await);

    // As Kubernetes does it: another link is renamed over this one.
    let relink = |to: &Path| {
        let new = files.path("new");
        std::os::unix::fs::symlink(to, &new).expect("linked");
        fs::rename(&new, &live).expect("renamed");
    };
    let before = connect_by(server.address, &shown(&first), &[HTTP_1], BOTH).await;
    relink(&second);
    eventually("the second is shown", async || shows(shown(&second)).await).await;
    assert!(!shows(shown(&first)).await);
    // Connections that were there go on.
    let mut before = Client::over(before.expect("a handshake")).await;
    assert_eq!(before.get(&server, "/healthz").await.0, 200);

    // A key of another certificate, then a file that is none, then none at all.
    let good = async |client: &mut Client| {
        let (_, metrics) = client.get(&server, "/metrics").await;
        let (_, ready) = client.get(&server, "/readyz").await;
        let good = metrics.contains("\npulseboard_tls_certificate_good 1\n");
        assert_eq!(ready.contains("\"current\":true"), good);
        let left = metrics
            .lines()
            .find_map(|line| line.strip_prefix("pulseboard_tls_certificate_expires_seconds "))
            .expect("a figure");
        assert!(left.parse::<f64>().expect("a number") > 0.0);
        good
    };
    let broken = files.path("broken");
    fs::create_dir(&broken).expect("made");
    fs::copy(first.join("tls.crt"), broken.join("tls.crt")).expect("copied");
    fs::copy(second.join("tls.key"), broken.join("tls.key")).expect("copied");
    for step in ["another key", "no certificate", "nothing"] {
        match step {
            "another key" => relink(&broken),
            "no certificate" => fs::write(broken.join("tls.crt"), "none").expect("written"),
            _ => fs::remove_file(broken.join("tls.key")).expect("removed"),
        }
        eventually(step, async || !good(&mut before).await).await;
        assert!(shows(shown(&second)).await, "{step}");
    }
    relink(&first);
    eventually("the first is shown again", async || {
        shows(shown(&first)).await
    })
    .await;
    assert!(good(&mut before).await);
    server.stop().await;
}

#[tokio::test]
async fn who_comes_directly_is_operator_and_a_session_is_the_hosts() {
    let files = Files::new();
    let secret = "a-token-that-nobody-guesses";
    let server = TestServer::start_with(|settings| {
        files.settings(settings);
        settings.tokens = vec![token(secret, Role::Viewer, None)];
    })
    .await;
    let role = async |client: &mut Client, headers: &[(&'static str, &str)]| {
        let answer = client
            .ask(&server, ("GET", "/api/session"), headers, "")
            .await;
        let session: Value = serde_json::from_str(&text(answer).await).expect("JSON");
        session["role"].as_str().expect("a role").to_owned()
    };
    let mut client = Client::new(&server, &files, HTTP_1).await;
    let own = format!("https://localhost:{}", server.address.port());
    let plain = own.replace("https:", "http:");
    assert_eq!(role(&mut client, &[("origin", &own)]).await, "operator");
    assert_eq!(role(&mut client, &[("origin", &plain)]).await, "viewer");
    assert_eq!(role(&mut client, &[("via", "1.1 x")]).await, "viewer");
    // As it is written down who comes directly: by HTTP/1.1.
    let mut other = Client::new(&server, &files, HTTP_2).await;
    assert_eq!(role(&mut other, &[]).await, "viewer");

    for client in [&mut client, &mut other] {
        let json = [("content-type", "application/json"), ("origin", &own)];
        let body = format!("{{\"token\":\"{secret}\"}}");
        let answer = client
            .ask(&server, ("POST", "/api/login"), &json, &body)
            .await;
        assert_eq!(answer.status(), 200);
        let cookie = cookie(answer.headers());
        assert!(cookie.starts_with("__Host-pulseboard_session="), "{cookie}");
        assert!(cookie.ends_with("; Secure") && cookie.contains("; Path=/;"));
        let pair = cookie.split(';').next().expect("a pair");
        assert_eq!(role(client, &[("cookie", pair)]).await, "viewer");
    }
    server.stop().await;
}

fn cookie(headers: &HeaderMap) -> String {
    headers["set-cookie"].to_str().expect("text").to_owned()
}

#[tokio::test]
async fn samples_are_sent_on_over_tls() {
    let files = Files::new();
    let hub = server(&files).await;
    let config = files.path("prometheus.yml");
    let text = format!(
        "remote_write:\n- url: https://localhost:{}/api/v1/write\n  tls_config: {{ca_file: {}}}\n",
        hub.address.port(),
        files.path("cert.pem").display()
    );
    fs::write(&config, text).expect("written");
    let sender = TestServer::start_with(|settings| {
        settings.prometheus_config = Some(config);
    })
    .await;
    sender.push("default", "sent_on 42").await;
    let mut client = Client::new(&hub, &files, HTTP_2).await;
    eventually("it arrives", async || {
        let (_, series) = client.get(&hub, "/api/series?match=sent_on").await;
        series.contains("sent_on")
    })
    .await;
    sender.stop().await;
    hub.stop().await;
}

#[tokio::test]
async fn grpc_is_spoken_over_tls_beside_it() {
    let files = Files::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("bound");
    drop(free);
    let server = TestServer::start_with(|settings| {
        files.settings(settings);
        settings.otlp_grpc_addr = Some(address);
    })
    .await;
    let stream = connect_by(address, &files.certificate(), &[HTTP_2], BOTH).await;
    let mut client = Client::over(stream.expect("a handshake")).await;
    let uri = format!(
        "https://localhost:{}/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        address.port()
    );
    let request = Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        // A message without a metric in it.
        .body(Full::new(Bytes::from_static(&[0; 5])))
        .expect("a request");
    let answer = client.send(request).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let in_head = answer.headers().get("grpc-status").cloned();
    let whole = answer.into_body().collect().await.expect("whole");
    let trailers = whole.trailers();
    let status = in_head.or_else(|| trailers?.get("grpc-status").cloned());
    // Who comes directly may push.
    assert_eq!(status.expect("a status"), "0");
    server.stop().await;
}

#[tokio::test]
async fn a_request_has_a_hundred_headers_at_most_over_either_protocol() {
    let files = Files::new();
    let server = server(&files).await;
    for protocol in [HTTP_1, HTTP_2] {
        let mut client = Client::new(&server, &files, protocol).await;
        let few = vec![("a", "b"); 90];
        let answer = client.ask(&server, ("GET", "/healthz"), &few, "").await;
        assert_eq!(answer.status(), 200);
        let many = vec![("a", "b"); 1_000];
        let mut client = Client::new(&server, &files, protocol).await;
        let answer = client.ask(&server, ("GET", "/healthz"), &many, "").await;
        assert_eq!(answer.status(), 431);
    }
    server.stop().await;
}
