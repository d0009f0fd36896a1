//! Viewers of ticks and members of a room who come back by themselves, as browsers do, each with
//! the place that it saw last.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::watch, task::JoinSet};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest},
};

use crate::{Notes, Seen, TOKEN, eventually, replica::authorized};

/// Opening takes no longer, or is tried again.
const OPENS_WITHIN: Duration = Duration::from_secs(5);

/// A stream of which nothing came for so long is given up.
const SILENT_AFTER: Duration = Duration::from_secs(4);

/// Members of a room, who hear nothing while nobody speaks, ask so often whether it is there.
const ASKS_EVERY: Duration = Duration::from_secs(2);

/// How soon somebody whose stream ended comes back, in milliseconds: at some moment of these.
const BACK_MS: std::ops::Range<u64> = 50..400;

/// A close without a word, as the table of codes has it.
const NO_WORD: u16 = 1006;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What one of them watches.
#[derive(Clone, Debug)]
enum Watches {
    /// Ticks by WebSocket.
    Socket,
    /// Ticks by an event stream.
    Events,
    /// A room.
    Room(Room),
}

/// A room of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Room {
    tenant: String,
    name: String,
}

impl Room {
    /// Of `ROOM`, or of `TENANT@ROOM`.
    fn named(name: &str) -> Self {
        let (tenant, name) = name.split_once('@').unwrap_or(("default", name));
        Self {
            tenant: tenant.to_owned(),
            name: name.to_owned(),
        }
    }

    fn path(&self) -> String {
        format!("/ws?tenant={}", self.tenant)
    }
}

/// How it goes for one of them.
#[derive(Debug, Default)]
struct State {
    seen: Seen,
    /// When something came last.
    last: Option<Instant>,
    /// The longest time without, since the last look.
    longest: Duration,
    opens: usize,
    refused: usize,
    silent: usize,
    closes: BTreeMap<u16, usize>,
    members: u64,
}

#[derive(Debug)]
struct Viewer {
    by: String,
    watches: Watches,
    /// Where it comes to, one after the other.
    addresses: Vec<String>,
    state: Mutex<State>,
    notes: Notes,
}

/// All viewers of a test. They leave when it is dropped.
#[derive(Debug)]
pub struct Audience {
    viewers: Vec<Arc<Viewer>>,
    notes: Notes,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// What all of them saw together.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Ticks and messages, of all together.
    pub frames: u64,
    /// The orders of epochs that somebody saw.
    pub epochs: BTreeSet<Vec<String>>,
    /// Snapshots under an epoch that was known.
    pub snapshots: usize,
    /// Times that somebody was too slow.
    pub merged: usize,
    /// Times that somebody came back.
    pub reopened: usize,
    /// Times that somebody was not let in, and tried again.
    pub refused: usize,
    /// Streams that were given up since nothing came.
    pub silent: usize,
    /// How streams ended: 1006 without a word.
    pub closes: BTreeMap<u16, usize>,
    /// Places that were compared.
    pub places: usize,
}

impl Default for Audience {
    fn default() -> Self {
        Self {
            viewers: Vec::new(),
            notes: Notes::default(),
            stop: watch::Sender::new(false),
            tasks: JoinSet::new(),
        }
    }
}

impl Audience {
    /// So many more who watch ticks by WebSocket; each comes to these addresses in turn, beginning
    /// with another one.
    pub fn watch(&mut self, count: usize, addresses: &[String]) {
        self.add(count, &Watches::Socket, addresses);
    }

    /// The same by event streams.
    pub fn watch_events(&mut self, count: usize, addresses: &[String]) {
        self.add(count, &Watches::Events, addresses);
    }

    /// So many more members of a room, `ROOM` or `TENANT@ROOM`.
    pub fn join(&mut self, room: &str, count: usize, addresses: &[String]) {
        self.add(count, &Watches::Room(Room::named(room)), addresses);
    }

    fn add(&mut self, count: usize, watches: &Watches, addresses: &[String]) {
        for number in 0..count {
            let mut addresses = addresses.to_vec();
            let turn = number % addresses.len().max(1);
            addresses.rotate_left(turn);
            let by = match watches {
                Watches::Socket => format!("viewer {number}"),
                Watches::Events => format!("event stream {number}"),
                Watches::Room(room) => {
                    format!("member {number} of {} of {}", room.name, room.tenant)
                }
            };
            let viewer = Arc::new(Viewer {
                by,
                watches: watches.clone(),
                addresses,
                state: Mutex::default(),
                notes: self.notes.clone(),
            });
            self.viewers.push(Arc::clone(&viewer));
            let mut stop = self.stop.subscribe();
            self.tasks.spawn(async move {
                tokio::select! {
                    () = viewer.runs() => {}
                    stopped = stop.wait_for(|stopped| *stopped) => drop(stopped),
                }
            });
        }
    }

    /// Waits until each viewer of ticks got one from now on; how long that took.
    ///
    /// # Errors
    /// Somebody got none within that time.
    pub async fn hears(&self, within: Duration) -> Result<Duration> {
        let from = Instant::now();
        let deaf = || {
            let mut ticks = self.viewers.iter().filter(|viewer| !viewer.is_member());
            ticks.find(|viewer| viewer.state.lock().last.is_none_or(|last| last < from))
        };
        let heard = eventually(
            "everybody gets ticks",
            within,
            async || Ok(deaf().is_none()),
        )
        .await;
        heard.with_context(|| {
            deaf().map_or_else(String::new, |viewer| {
                format!("{}: {:?}", viewer.by, viewer.state.lock())
            })
        })
    }

    /// Waits until everybody in this room has heard something from now on.
    ///
    /// # Errors
    /// Somebody has not, within that time.
    pub async fn hears_in(&self, room: &str, within: Duration) -> Result<Duration> {
        let from: Vec<u64> = self
            .members(room)
            .map(|one| one.state.lock().seen.frames)
            .collect();
        eventually(&format!("everybody hears in {room}"), within, async || {
            let now = self.members(room).map(|one| one.state.lock().seen.frames);
            Ok(now.zip(&from).all(|(now, from)| now > *from))
        })
        .await
    }

    fn members(&self, room: &str) -> impl Iterator<Item = &Arc<Viewer>> + use<'_> {
        let room = Room::named(room);
        let is_in = move |viewer: &&Arc<Viewer>| matches!(&viewer.watches, Watches::Room(of) if *of == room);
        self.viewers.iter().filter(is_in)
    }

    /// Waits until everybody in this room was told that there are so many.
    ///
    /// # Errors
    /// Somebody was told otherwise, for that time.
    pub async fn count_in(&self, room: &str, members: u64, within: Duration) -> Result<Duration> {
        let told = || -> Vec<u64> {
            self.members(room)
                .map(|one| one.state.lock().members)
                .collect()
        };
        let counted = eventually(&format!("{members} in {room}"), within, async || {
            Ok(told().iter().all(|told| *told == members))
        })
        .await;
        counted.with_context(|| format!("they were told {:?}", told()))
    }

    /// Waits until all viewers of ticks are in one epoch.
    ///
    /// # Errors
    /// They are not, within that time.
    pub async fn agrees(&self, within: Duration) -> Result<Duration> {
        let epochs = || -> BTreeSet<String> {
            let ticks = self.viewers.iter().filter(|viewer| !viewer.is_member());
            ticks
                .map(|viewer| viewer.state.lock().seen.epoch.clone())
                .collect()
        };
        let agreed = eventually(
            "one epoch for all",
            within,
            async || Ok(epochs().len() == 1),
        )
        .await;
        agreed.with_context(|| format!("their epochs are {:?}", epochs()))
    }

    /// The epoch of each viewer of ticks now.
    #[must_use]
    pub fn epochs(&self) -> BTreeSet<String> {
        let ticks = self.viewers.iter().filter(|viewer| !viewer.is_member());
        ticks
            .map(|viewer| viewer.state.lock().seen.epoch.clone())
            .collect()
    }

    /// What was without ticks until now is not counted.
    pub fn forgets_silence(&self) {
        for viewer in &self.viewers {
            viewer.state.lock().longest = Duration::ZERO;
        }
    }

    /// How long all but one of a hundred viewers of ticks were without one at most, since this was
    /// asked or forgotten.
    #[must_use]
    pub fn silence_p99(&self) -> Duration {
        let mut longest: Vec<Duration> = Vec::new();
        for viewer in self.viewers.iter().filter(|viewer| !viewer.is_member()) {
            let mut state = viewer.state.lock();
            let now = state.last.map_or(Duration::MAX, |last| last.elapsed());
            longest.push(std::mem::take(&mut state.longest).max(now));
        }
        longest.sort_unstable();
        let at = longest.len().saturating_sub(1) * 99 / 100;
        longest.get(at).copied().unwrap_or_default()
    }

    /// Sends all of them away; what they saw.
    ///
    /// # Errors
    /// Somebody saw what may not be, or nothing at all.
    pub async fn finish(mut self) -> Result<Summary> {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a viewer panicked")?;
        }
        let mut all = Summary {
            places: self.notes.places(),
            ..Summary::default()
        };
        let mut problems = Vec::new();
        for viewer in &self.viewers {
            let state = viewer.state.lock();
            let seen = &state.seen;
            problems.extend(seen.problems.iter().cloned());
            if seen.frames == 0 {
                problems.push(format!("{} saw nothing: {state:?}", viewer.by));
            }
            all.frames += seen.frames;
            if !viewer.is_member() {
                all.epochs.insert(seen.epochs.clone());
            }
            all.snapshots += seen.snapshots;
            all.merged += seen.merged;
            all.reopened += state.opens.saturating_sub(1);
            all.refused += state.refused;
            all.silent += state.silent;
            for (code, count) in &state.closes {
                *all.closes.entry(*code).or_default() += count;
            }
        }
        eprintln!("{} viewers: {all:?}", self.viewers.len());
        if !problems.is_empty() {
            let count = problems.len();
            problems.truncate(10);
            bail!("{count} problems, of them\n{}", problems.join("\n"));
        }
        Ok(all)
    }
}

impl Viewer {
    fn is_member(&self) -> bool {
        matches!(self.watches, Watches::Room(_))
    }

    /// Watches for ever.
    async fn runs(&self) {
        for address in self.addresses.iter().cycle() {
            let watched = match &self.watches {
                Watches::Socket => self.by_socket(address).await,
                Watches::Events => self.by_events(address).await,
                Watches::Room(room) => self.in_room(room, address).await,
            };
            if watched.is_err() {
                self.state.lock().refused += 1;
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(BACK_MS))).await;
        }
    }

    fn opened(&self) {
        self.state.lock().opens += 1;
    }

    /// Something came.
    fn heard(&self, change: impl FnOnce(&mut Seen)) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let before = state.last.replace(now);
        let without = before.map_or(Duration::ZERO, |before| now - before);
        state.longest = state.longest.max(without);
        change(&mut state.seen);
    }

    /// The next text; `None` once the stream has ended, in whatever way.
    async fn next(&self, socket: &mut Socket, within: Duration) -> Option<Value> {
        loop {
            let code = match tokio::time::timeout(within, socket.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => match serde_json::from_str(&text) {
                    Ok(message) => return Some(message),
                    Err(_) => NO_WORD,
                },
                Ok(Some(Ok(Message::Close(frame)))) => {
                    frame.map_or(NO_WORD, |frame| frame.code.into())
                }
                Ok(Some(Ok(_))) => continue,
                Ok(Some(Err(_)) | None) => NO_WORD,
                Err(_) => {
                    self.state.lock().silent += 1;
                    return None;
                }
            };
            *self.state.lock().closes.entry(code).or_default() += 1;
            return None;
        }
    }

    async fn by_socket(&self, address: &str) -> Result<()> {
        let place = {
            let state = self.state.lock();
            let Seen { epoch, offset, .. } = &state.seen;
            match epoch.is_empty() {
                true => String::new(),
                false => format!("?epoch={epoch}&offset={offset}"),
            }
        };
        let mut socket = open(address, &format!("/ws/metrics{place}")).await?;
        self.opened();
        while let Some(message) = self.next(&mut socket, SILENT_AFTER).await {
            self.heard(|seen| seen.tick(&message, &self.notes, &self.by));
        }
        Ok(())
    }

    async fn by_events(&self, address: &str) -> Result<()> {
        let place = {
            let state = self.state.lock();
            let Seen { epoch, offset, .. } = &state.seen;
            // Epoch and offset as one number, as event streams say them.
            let epoch: Option<u64> = epoch.parse().ok();
            epoch.map_or_else(String::new, |epoch| (epoch + offset).to_string())
        };
        let url = format!("http://{address}/events/metrics");
        let mut request = authorized(Method::GET, &url).timeout(Duration::from_secs(3_600));
        if !place.is_empty() {
            request = request.header("last-event-id", place);
        }
        let answer = tokio::time::timeout(OPENS_WITHIN, request.send()).await??;
        let mut answer = answer.error_for_status()?;
        self.opened();
        let mut text = Vec::new();
        loop {
            let chunk = match tokio::time::timeout(SILENT_AFTER, answer.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(_) => {
                    *self.state.lock().closes.entry(NO_WORD).or_default() += 1;
                    return Ok(());
                }
                Err(_) => {
                    self.state.lock().silent += 1;
                    return Ok(());
                }
            };
            text.extend_from_slice(&chunk);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                if let Some(data) = line.strip_prefix(b"data: ")
                    && let Ok(message) = serde_json::from_slice(data)
                {
                    self.heard(|seen| seen.tick(&message, &self.notes, &self.by));
                }
            }
        }
    }

    async fn in_room(&self, room: &Room, address: &str) -> Result<()> {
        let name = &room.name;
        let mut join =
            json!({"action": "subscribe", "channel": name, "cursor": true, "presence": true});
        {
            let state = self.state.lock();
            if !state.seen.epoch.is_empty() {
                join["epoch"] = state.seen.epoch.clone().into();
                join["offset"] = state.seen.offset.into();
            }
        }
        let mut socket = open(address, &room.path()).await?;
        socket.send(Message::text(join.to_string())).await?;
        self.opened();
        let mut asked = Instant::now();
        loop {
            if asked.elapsed() > ASKS_EVERY {
                asked = Instant::now();
                let ping = Message::text(json!({"action": "ping"}).to_string());
                if socket.send(ping).await.is_err() {
                    return Ok(());
                }
            }
            // The dashboard's figures come each tick, and what is asked is answered.
            let Some(message) = self.next(&mut socket, SILENT_AFTER).await else {
                return Ok(());
            };
            if message["type"] == "presence" && message["channel"] == **name {
                self.state.lock().members = message["members"].as_u64().unwrap_or_default();
            }
            if message["type"] == "message" || message["type"] == "merged" {
                self.heard(|seen| seen.room(&message, &self.notes, &room.tenant, &self.by));
            }
        }
    }
}

async fn open(address: &str, path: &str) -> Result<Socket> {
    let mut request = format!("ws://{address}{path}").into_client_request()?;
    let shown = format!("Bearer {TOKEN}").parse()?;
    request.headers_mut().insert("authorization", shown);
    let opened = tokio_tungstenite::connect_async(request);
    let (socket, _) = tokio::time::timeout(OPENS_WITHIN, opened).await??;
    Ok(socket)
}

/// Somebody who speaks in a room at one address, numbering what it says.
#[derive(Debug)]
pub struct Speaker {
    room: Room,
    address: String,
    socket: Option<Socket>,
    said: u64,
}

impl Speaker {
    /// One at this address; the room is `ROOM` or `TENANT@ROOM`.
    #[must_use]
    pub fn at(address: &str, room: &str) -> Self {
        Self {
            room: Room::named(room),
            address: address.to_owned(),
            socket: None,
            said: 0,
        }
    }

    /// Says the next number.
    ///
    /// # Errors
    /// It could not be said.
    pub async fn say(&mut self) -> Result<u64> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => open(&self.address, &self.room.path()).await?,
        };
        self.said += 1;
        let data = json!({"from": self.address, "number": self.said});
        let said = json!({"action": "publish", "channel": self.room.name, "data": data});
        socket.send(Message::text(said.to_string())).await?;
        // What it is told meanwhile is not to pile up.
        while let Ok(Some(told)) =
            tokio::time::timeout(Duration::from_millis(1), socket.next()).await
        {
            let told = told?;
            ensure!(!told.is_close(), "the speaker was sent away: {told:?}");
        }
        self.socket = Some(socket);
        Ok(self.said)
    }

    /// Says so many numbers, so often a second; what could not be said is passed over, and the
    /// next is said by another connection.
    pub async fn go_on(&mut self, count: usize, a_second: u32) {
        let mut due = tokio::time::interval(Duration::from_secs(1) / a_second.max(1));
        for _ in 0..count {
            due.tick().await;
            if self.say().await.is_err() {
                self.socket = None;
            }
        }
    }
}
