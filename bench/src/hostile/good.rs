//! Those who only want to be served: what they wait for, and how often they are turned away.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::{Value, json};

use super::{GOOD, Http, head, say, token, web_socket};
use crate::latency::Summary;

/// Between two questions of one who asks.
const PAUSE: Duration = Duration::from_millis(200);
/// Between two looks at `/healthz`.
const HEALTH_PAUSE: Duration = Duration::from_millis(50);

/// What the good callers met.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Between two ticks of a viewer, in microseconds.
    pub tick_gap: Summary,
    /// Until `/healthz` answered.
    pub healthz: Summary,
    /// Questions asked: a list of series, a push, the dashboard and a room, a session.
    pub asked: u64,
    /// Of these, refused or not answered.
    pub refused: u64,
    /// What the first refusal was.
    pub first_refusal: Option<String>,
}

/// What goes on while an attack runs.
#[derive(Debug)]
pub struct Watch {
    to: SocketAddr,
    is_over: AtomicBool,
    gaps_us: Mutex<Vec<u32>>,
    health_us: Mutex<Vec<u32>>,
    asked: AtomicU64,
    refused: AtomicU64,
    first_refusal: Mutex<Option<String>>,
    /// Where lists of series are asked for, which has moved.
    series: String,
    cookie: String,
}

impl Watch {
    /// Finds out what the server is like before it is attacked.
    ///
    /// # Errors
    /// It does not serve.
    pub fn new(to: SocketAddr) -> Result<Self> {
        let mut http = Http::open(to, GOOD)?;
        let body = json!({ "token": token::VIEWER }).to_string();
        let more = "Content-Type: application/json\r\n";
        let login = http.ask(
            &head("POST", "/api/login", None, more, body.len()),
            body.as_bytes(),
        )?;
        let Some(cookie) = login.cookie else {
            bail!("no session was opened: {}", login.status);
        };
        let is_list = |body: &[u8]| {
            serde_json::from_slice::<Value>(body).is_ok_and(|list| list["series"].is_array())
        };
        let mut series = None;
        for path in ["/api/series", "/api/v1/series"] {
            let ask = head(
                "GET",
                &format!("{path}?limit=1"),
                Some(token::VIEWER),
                "",
                0,
            );
            if is_list(&http.ask(&ask, b"")?.body) {
                series = Some(path.to_owned());
                break;
            }
        }
        let Some(series) = series else {
            bail!("nowhere is a list of series");
        };
        Ok(Self {
            to,
            is_over: AtomicBool::new(false),
            gaps_us: Mutex::default(),
            health_us: Mutex::default(),
            asked: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            first_refusal: Mutex::default(),
            series,
            cookie,
        })
    }

    /// Where lists of series are asked for.
    #[must_use]
    pub fn series(&self) -> &str {
        &self.series
    }

    /// Runs the good callers beside `attack`, which goes on for `time`.
    ///
    /// # Errors
    /// A thread panicked.
    pub fn beside(&self, time: Duration, attack: impl FnOnce(Instant) + Send) -> Result<Report> {
        let until = Instant::now() + time;
        thread::scope(|scope| {
            let viewers: Vec<_> = (0..3).map(|_| scope.spawn(|| self.view())).collect();
            scope.spawn(|| self.look_after_health());
            scope.spawn(|| self.ask());
            let attacking = scope.spawn(move || attack(until));
            thread::sleep(until.saturating_duration_since(Instant::now()));
            self.is_over.store(true, Ordering::Relaxed);
            drop((attacking.join(), viewers));
        });
        let take = |of: &Mutex<Vec<u32>>| {
            of.lock()
                .map(|mut of| std::mem::take(&mut *of))
                .unwrap_or_default()
        };
        Ok(Report {
            tick_gap: Summary::of(take(&self.gaps_us)),
            healthz: Summary::of(take(&self.health_us)),
            asked: self.asked.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            first_refusal: self
                .first_refusal
                .lock()
                .ok()
                .and_then(|first| first.clone()),
        })
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    fn note(of: &Mutex<Vec<u32>>, since: Instant) {
        if let Ok(mut of) = of.lock() {
            of.push(u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }

    /// A viewer of the tick; one that loses its connection comes back, and the gap goes on.
    fn view(&self) {
        let mut last = Instant::now();
        while self.goes_on() {
            let Ok(mut socket) = web_socket(self.to, GOOD, "/ws/metrics", None, None) else {
                thread::sleep(PAUSE);
                continue;
            };
            let patience = Some(Duration::from_millis(500));
            if socket.get_ref().set_read_timeout(patience).is_err() {
                continue;
            }
            while self.goes_on() {
                match socket.read() {
                    Ok(message) if message.is_text() => {
                        Self::note(&self.gaps_us, last);
                        last = Instant::now();
                    }
                    Ok(_) => {}
                    Err(tungstenite::Error::Io(error))
                        if matches!(
                            error.kind(),
                            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                        ) => {}
                    Err(_) => break,
                }
            }
        }
        // Whoever still waits has waited so long.
        Self::note(&self.gaps_us, last);
    }

    fn look_after_health(&self) {
        let ask = head("GET", "/healthz", None, "", 0);
        while self.goes_on() {
            let began = Instant::now();
            let Ok(mut http) = Http::open(self.to, GOOD) else {
                Self::note(&self.health_us, began);
                thread::sleep(HEALTH_PAUSE);
                continue;
            };
            let mut began = began;
            while self.goes_on() {
                let answer = http.ask(&ask, b"");
                Self::note(&self.health_us, began);
                if answer.is_err() {
                    break;
                }
                thread::sleep(HEALTH_PAUSE);
                began = Instant::now();
            }
        }
    }

    fn ask(&self) {
        while self.goes_on() {
            for (what, asked) in [
                ("a list of series", self.ask_series()),
                ("a push", self.push()),
                ("the dashboard and a room", self.join()),
                ("a session", self.ask_session()),
            ] {
                self.asked.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = asked {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    if let Ok(mut first) = self.first_refusal.lock() {
                        first.get_or_insert_with(|| format!("{what}: {error:#}"));
                    }
                }
            }
            thread::sleep(PAUSE);
        }
    }

    fn ok(&self, head: &str, body: &[u8]) -> Result<Vec<u8>> {
        let answer = Http::open(self.to, GOOD)?.ask(head, body)?;
        if !(200..300).contains(&answer.status) {
            bail!("{}", answer.status);
        }
        Ok(answer.body)
    }

    fn ask_series(&self) -> Result<()> {
        let path = format!("{}?limit=1", self.series);
        self.ok(&head("GET", &path, Some(token::VIEWER), "", 0), b"")?;
        Ok(())
    }

    fn push(&self) -> Result<()> {
        let body = b"good 1\n";
        let head = head("POST", "/push", Some(token::WRITER), "", body.len());
        self.ok(&head, body)?;
        Ok(())
    }

    fn ask_session(&self) -> Result<()> {
        let more = format!("Cookie: {}\r\n", self.cookie);
        let body = self.ok(&head("GET", "/api/session", None, &more, 0), b"")?;
        let session: Value = serde_json::from_slice(&body)?;
        if session["anonymous"] != Value::Bool(false) {
            bail!("it has ended");
        }
        Ok(())
    }

    fn join(&self) -> Result<()> {
        let mut socket = web_socket(self.to, GOOD, "/ws", Some(token::VIEWER), None)?;
        let room = json!({ "action": "subscribe", "channel": "good-callers" });
        say(&mut socket, room.to_string())?;
        let (mut is_in, mut has_joined) = (false, false);
        while !(is_in && has_joined) {
            let message = socket.read()?;
            let Ok(text) = message.to_text() else {
                continue;
            };
            let said: Value = serde_json::from_str(text).unwrap_or_default();
            match said["type"].as_str() {
                Some("init") => is_in = true,
                Some("subscribed") => has_joined = true,
                Some("error") => bail!("{}", said["text"]),
                _ => {}
            }
        }
        Ok(())
    }
}
