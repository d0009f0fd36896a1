//! Several real servers and a real Redis for tests of what they share: each server is the binary
//! itself in a temporary folder, at a port of its own, and so is Redis. What is not to be had here
//! (redis-server) is said and passed over.

#![allow(dead_code, reason = "each file of tests uses its own part of this")]

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

/// How long anything is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Milliseconds between ticks.
pub(crate) const INTERVAL_MS: u64 = 200;

/// The program: the one that `REDIS_SERVER` names, else the one on the search path.
fn redis_server() -> OsString {
    let named = std::env::var_os("REDIS_SERVER").filter(|named| !named.is_empty());
    named.unwrap_or_else(|| "redis-server".into())
}

/// Whether there is a Redis; says so where there is none.
pub(crate) fn has_redis() -> bool {
    let asked = Command::new(redis_server())
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if asked.is_err() {
        eprintln!("left out: there is no redis-server on the path, and REDIS_SERVER names none");
    }
    asked.is_ok()
}

/// A port that nobody listens at just now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// A Redis that can be stopped and started again at its port.
pub(crate) struct Redis {
    pub(crate) port: u16,
    folder: TempDir,
    child: Option<Child>,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let mut redis = Self::away();
        redis.again();
        redis
    }

    /// Not started yet.
    pub(crate) fn away() -> Self {
        Self {
            port: free_port(),
            folder: tempfile::tempdir().expect("a folder"),
            child: None,
        }
    }

    /// Starts it at the same port, with nothing in it.
    pub(crate) fn again(&mut self) {
        let port = self.port.to_string();
        let child = Command::new(redis_server())
            .args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--port",
                &port,
                "--dir",
            ])
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        self.child = Some(child);
    }

    /// Has it answer nobody (`STOP`), or go on (`CONT`).
    pub(crate) fn signal(&self, name: &str) {
        if let Some(child) = &self.child {
            signal(child, name);
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it runs");
            child.wait().expect("it ended");
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A server process; killed when dropped.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) address: String,
    pub(crate) child: Child,
    pub(crate) http: reqwest::Client,
    /// What it keeps.
    pub(crate) folder: TempDir,
}

impl Server {
    /// Starts one that measures this machine; `more` are further variables.
    pub(crate) fn start(name: &'static str, redis: &Redis, more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::start_in(folder, name, redis, more)
    }

    /// The same with what a server before it kept.
    pub(crate) fn start_in(
        folder: TempDir,
        name: &'static str,
        redis: &Redis,
        more: &[(&str, &str)],
    ) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pulseboard"))
            .env_clear()
            .env("RUST_LOG", "info")
            .env("BIND_ADDR", "127.0.0.1:0")
            .env("DATA_DIR", folder.path())
            .env("INSTANCE", name)
            .env("NODE_METRICS", "off")
            .env("METRIC_INTERVAL_MS", INTERVAL_MS.to_string())
            .env("REDIS_URL", format!("redis://127.0.0.1:{}", redis.port))
            .envs(more.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("a greeting");
        let address = line.split("http://").nth(1).expect("an address");
        let address = address.split(['/', ' ', '\n']).next().expect("an address");
        Self {
            name,
            address: address.to_owned(),
            child,
            http: reqwest::Client::new(),
            folder,
        }
    }

    /// Asks as who has this token from now on.
    pub(crate) fn with_token(mut self, token: &str) -> Self {
        let mut header: reqwest::header::HeaderValue =
            format!("Bearer {token}").parse().expect("a value");
        header.set_sensitive(true);
        let headers = [(reqwest::header::AUTHORIZATION, header)]
            .into_iter()
            .collect();
        let http = reqwest::Client::builder().default_headers(headers).build();
        self.http = http.expect("a client");
        self
    }

    /// Ends it at once; what it kept is left.
    pub(crate) fn kill(mut self) -> TempDir {
        self.signal("KILL");
        self.child.wait().expect("it ended");
        let empty = tempfile::tempdir().expect("a folder");
        std::mem::replace(&mut self.folder, empty)
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        let url = format!("http://{}{path}", self.address);
        self.http.get(url).send().await.expect("an answer")
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await.expect("JSON")
    }

    /// How it stands among the others; nothing where it does not answer, as one that begins anew
    /// with the history of another.
    pub(crate) async fn state(&self) -> (u16, String, u64) {
        let url = format!("http://{}/readyz", self.address);
        let Ok(answer) = self.http.get(url).send().await else {
            return (0, String::new(), 0);
        };
        let status = answer.status().as_u16();
        let Ok(body) = answer.json::<Value>().await else {
            return (0, String::new(), 0);
        };
        let cluster = &body["cluster"];
        let state = cluster["state"].as_str().unwrap_or_default().to_owned();
        (
            status,
            state,
            cluster["members"].as_u64().unwrap_or_default(),
        )
    }

    pub(crate) async fn is_joined_by(&self, members: u64) {
        let what = format!("{} is one of {members}", self.name);
        eventually(&what, async || {
            self.state().await == (200, "joined".to_owned(), members)
        })
        .await;
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    pub(crate) async fn socket(&self, path: &str) -> Socket {
        self.try_socket(path, None).await.expect("a socket")
    }

    /// Opens a socket with a header.
    ///
    /// # Errors
    /// The status that it was refused with, and seconds after which it may be tried again.
    pub(crate) async fn try_socket(
        &self,
        path: &str,
        header: Option<(&'static str, &str)>,
    ) -> Result<Socket, (u16, Option<u64>)> {
        let url = format!("ws://{}{path}", self.address);
        let mut request = url.into_client_request().expect("a request");
        if let Some((name, value)) = header {
            let value = value.parse().expect("a value");
            request.headers_mut().insert(name, value);
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(Error::Http(answer)) => {
                let retry = answer.headers().get("retry-after");
                let retry = retry.and_then(|value| value.to_str().ok()?.parse().ok());
                Err((answer.status().as_u16(), retry))
            }
            Err(error) => panic!("{}: {error}", self.name),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-s", name, &id]).status();
    assert!(sent.expect("there is kill").success());
}

/// A WebSocket whose messages are JSON.
pub(crate) struct Socket(pub(crate) WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// The next message; `None` at the end, with the code of the close where there was one.
    pub(crate) async fn next(&mut self) -> Result<Value, Option<u16>> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.0.next()).await;
            match next.expect("something comes in time") {
                Some(Ok(Message::Text(text))) => {
                    return Ok(serde_json::from_str(&text).expect("JSON"));
                }
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map(|frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// The code of the close, whatever comes before it.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        loop {
            if let Err(code) = self.next().await {
                return code;
            }
        }
    }

    /// The next message of this type; what comes before it is passed over.
    pub(crate) async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await.expect("it is open");
            if message["type"] == kind {
                return message;
            }
        }
    }

    pub(crate) async fn say(&mut self, message: Value) {
        let sent = self.0.send(Message::text(message.to_string())).await;
        sent.expect("it is open");
    }
}

/// Waits for a condition; fails with `what` when it does not come.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Three that have found each other.
pub(crate) async fn three(redis: &Redis) -> [Server; 3] {
    let servers = ["a", "b", "c"].map(|name| Server::start(name, redis, &[]));
    for server in &servers {
        server.is_joined_by(3).await;
    }
    servers
}
