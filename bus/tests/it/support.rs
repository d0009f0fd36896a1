//! Redis servers, buses and sinks for tests.

use std::{
    future::Future,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_bus::{Address, Bus, FeedKey, FeedSink, Kind, Redis, Settings, State, Subscription};
use pulseboard_feed::Epoch;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// A port that nobody uses at the moment.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A program of Redis: the one that `REDIS_SERVER` names, or what lies beside that; else the one on
/// the search path.
pub(crate) fn program(name: &str) -> PathBuf {
    let named = std::env::var_os("REDIS_SERVER").map(PathBuf::from);
    let named = named.filter(|server| server.is_file());
    match (named, name) {
        (Some(server), "redis-server") => server,
        (Some(server), _) => Some(server.with_file_name(name))
            .filter(|beside| beside.is_file())
            .unwrap_or_else(|| name.into()),
        (None, _) => name.into(),
    }
}

/// Whether this machine has the program; says so where it has not.
pub(crate) fn has(program: &str) -> bool {
    let found = Command::new(self::program(program))
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok();
    if !found {
        eprintln!("left out: there is no {program} on the path, and REDIS_SERVER leads to none");
    }
    found
}

/// A server of its own in a folder of its own.
pub(crate) struct RedisServer {
    pub(crate) port: u16,
    folder: TempDir,
    more: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    pub(crate) fn start(more: &[&str]) -> Self {
        Self::at(free_port(), more)
    }

    /// At this port.
    pub(crate) fn at(port: u16, more: &[&str]) -> Self {
        Self::try_at(port, more).expect("redis-server answers")
    }

    /// At this port, unless it, or another that goes with it, is taken.
    pub(crate) fn try_at(port: u16, more: &[&str]) -> Option<Self> {
        let mut server = Self {
            port,
            folder: tempfile::tempdir().expect("a folder"),
            more: more.iter().map(|&text| text.to_owned()).collect(),
            child: None,
        };
        server.is_up().then_some(server)
    }

    /// Starts it, at the port where it was before.
    pub(crate) fn again(&mut self) {
        assert!(self.is_up(), "redis-server does not answer");
    }

    /// Starts it; whether it answers.
    fn is_up(&mut self) -> bool {
        let child = Command::new(program("redis-server"))
            .args(["--bind", "127.0.0.1", "--save", ""])
            .args(self.ports())
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        self.child = Some(child);
        let until = Instant::now() + Duration::from_secs(10);
        while !self.answers() {
            let ended = self
                .child
                .as_mut()
                .is_none_or(|child| child.try_wait().is_ok_and(|end| end.is_some()));
            if ended || Instant::now() > until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    fn ports(&self) -> Vec<String> {
        let is_tls = self.more.iter().any(|argument| argument == "--tls-port");
        match is_tls {
            true => vec!["--port".to_owned(), "0".to_owned()],
            false => vec!["--port".to_owned(), self.port.to_string()],
        }
    }

    fn answers(&self) -> bool {
        if self.more.iter().any(|argument| argument == "--tls-port") {
            return TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        }
        let mut answer = [0; 7];
        let asked = TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"PING\r\n")?;
            stream.read_exact(&mut answer)
        });
        // `-NOAUTH` is an answer, too.
        asked.is_ok() && !answer.starts_with(b"-LOADIN")
    }

    /// Kills it, with SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it was there");
            child.wait().expect("it ends");
        }
    }

    /// Asks it something, a line of text, by `redis-cli`.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new(program("redis-cli"))
            .args(["-p", &self.port.to_string()])
            .args(arguments)
            .output()
            .expect("redis-cli");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A bus that runs until it is dropped.
pub(crate) struct Running {
    pub(crate) bus: Arc<Redis>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(url: &str, instance: &str) -> Self {
        Self::with(url, instance, |_| {})
    }

    pub(crate) fn with(url: &str, instance: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let address: Address = url.parse().expect("an address");
        let mut settings = Settings::new(address, instance);
        change(&mut settings);
        let bus = Arc::new(Redis::new(settings).expect("random numbers"));
        let runs = Arc::clone(&bus);
        let task = tokio::spawn(async move { runs.run().await });
        Self { bus, task }
    }

    /// One that is connected.
    pub(crate) async fn connected(url: &str, instance: &str) -> Self {
        let running = Self::start(url, instance);
        running.until(|state| *state == State::Connected).await;
        running
    }

    /// Two of one service, connected.
    pub(crate) async fn two(url: &str) -> (Self, Self) {
        let a = Self::connected(url, "a").await;
        (a, Self::connected(url, "b").await)
    }

    /// What it is told of a feed from now on, as long as it is subscribed.
    pub(crate) fn hears(&self, key: &FeedKey) -> (Arc<Recorder>, Subscription) {
        let recorder = Recorder::new();
        let subscription = self.bus.subscribe(key.clone(), recorder.clone());
        (recorder, subscription)
    }

    pub(crate) async fn until(&self, is_so: impl FnMut(&State) -> bool) {
        let mut state = self.bus.state();
        let waited = tokio::time::timeout(Duration::from_secs(30), state.wait_for(is_so)).await;
        assert!(
            waited.is_ok(),
            "the state is {:?}",
            *self.bus.state().borrow()
        );
    }

    /// Publishes a text.
    pub(crate) fn publish(&self, key: &FeedKey, text: &str) {
        let published = self
            .bus
            .publish(key, None, Bytes::copy_from_slice(text.as_bytes()));
        assert_eq!(published, Ok(()));
    }

    /// As a process does that is killed: no word to anybody.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a sink has been told since the last reset, and what was wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) epoch: u64,
    pub(crate) first: u64,
    pub(crate) frames: Vec<String>,
    pub(crate) resets: Vec<u64>,
    /// How many frames were told as new, and not as what there was.
    pub(crate) news: usize,
    /// Everything: epoch, offset, frame.
    pub(crate) all: Vec<(u64, u64, String)>,
}

/// A sink that keeps what it is told and looks whether it may be so.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Told>);

impl Recorder {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn told(&self) -> Told {
        self.0.lock().clone()
    }

    pub(crate) fn frames(&self) -> Vec<String> {
        self.told().frames
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        self.0.lock().frames.iter().any(|frame| frame == text)
    }
}

fn text_of(frame: &Bytes) -> String {
    String::from_utf8_lossy(frame).into_owned()
}

impl FeedSink for Recorder {
    fn append(&self, epoch: Epoch, offset: u64, frame: Bytes) {
        let mut told = self.0.lock();
        assert_eq!(told.epoch, epoch.0, "another epoch begins with a reset");
        assert_eq!(
            told.first + told.frames.len() as u64,
            offset,
            "no gap, nothing twice"
        );
        told.news += 1;
        told.frames.push(text_of(&frame));
        told.all.push((epoch.0, offset, text_of(&frame)));
    }

    fn reset(&self, epoch: Epoch, first_offset: u64, frames: Vec<Bytes>) {
        let mut told = self.0.lock();
        told.epoch = epoch.0;
        told.first = first_offset;
        told.frames = frames.iter().map(text_of).collect();
        told.resets.push(epoch.0);
        let numbered = (first_offset..).zip(frames.iter().map(text_of));
        told.all
            .extend(numbered.map(|(offset, frame)| (epoch.0, offset, frame)));
    }
}

/// Waits until it is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < until, "not so within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until it is so, which has to be asked.
pub(crate) async fn eventually_asked<F: Future<Output = bool>>(
    what: &str,
    mut is_so: impl FnMut() -> F,
) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_so().await {
        assert!(Instant::now() < until, "not so within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A room.
pub(crate) fn room(name: &str) -> FeedKey {
    FeedKey::new(Kind::Room, "tenant", name)
}

/// `a0`, `a1`, …
pub(crate) fn texts(name: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{name}{number}")).collect()
}
