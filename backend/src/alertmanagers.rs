//! Alerts of this server's own rules on their way to the Alertmanagers of `PROMETHEUS_CONFIG`.
//!
//! ```text
//! alerts ──▶ book ──due──▶ lanes ──▶ POST {prefix}/api/v2/alerts
//!            (what fires,   (one an Alertmanager: what
//!             what is over)  waits for it, one request at once)
//! ```
//!
//! What fires is told at once and each minute, to hold for four; what is over is told until each
//! has taken it, for 15 minutes at most. A lane waits for numbers of alerts and looks up what to
//! say when it says it, so what waits is small and never old. Nothing of it is kept on disk: after
//! a restart what still fires is told, and what ended meanwhile ends by itself where it is not told
//! again.
//!
//! Of several servers the one tells that acts for the tenant; the others know what there is to be
//! told, and go on with it when that is them.
//!
//! The default tenant's alerts are told, and the server's own. What others sent to `/api/v2` is
//! not: it would come back.

mod book;
mod lane;
mod post;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use pulseboard_alerting::{AlertEvent, AlertSink};
use pulseboard_engine::DEFAULT_TENANT;
use pulseboard_outbound::{HeaderMap, HeaderValue, header};
use pulseboard_scrape::alertmanagers::{Alertmanager, Found};
use tokio::{sync::Notify, sync::watch, task::spawn_blocking, time::Instant};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

pub use self::lane::View;
use self::{book::Book, lane::Lane, post::Made};
use crate::{
    base::clock::{Clock, millis},
    cluster::alike::{Alike, Role},
    notifying::{generator, is_ours},
    settings::Settings,
};

/// Alerts of one request.
const BATCH: usize = 64;

/// Alerts that are handed to the lanes before others have their turn.
const DUE_AT_ONCE: usize = 1_000;

/// Pauses between tries while an Alertmanager does not answer.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Of an answer so much is read: it says nothing.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Who is told of alerts, and of which.
#[derive(Debug)]
pub struct Alertmanagers {
    clock: Clock,
    external_url: String,
    is_wanted: bool,
    /// Where there are other servers, one of them tells.
    alike: Option<Arc<Alike>>,
    /// Leaf lock.
    book: Mutex<Book>,
    /// By id. Leaf lock.
    lanes: Mutex<BTreeMap<String, Running>>,
    /// Lanes that there have been.
    numbers: AtomicU64,
    wake: Notify,
}

#[derive(Debug)]
struct Running {
    lane: Arc<Lane>,
    /// Dropped, its task ends.
    _end: DropGuard,
}

/// How a request ended.
enum Answer {
    Taken,
    /// It is not asked again for the same.
    Refused(String),
    Failed(String),
}

impl Alertmanagers {
    /// Nobody is told yet.
    #[must_use]
    pub fn new(settings: &Settings, clock: Clock, alike: Option<Arc<Alike>>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            external_url: settings.external_address(),
            is_wanted: settings.prometheus_config.is_some(),
            alike,
            book: Mutex::default(),
            lanes: Mutex::default(),
            numbers: AtomicU64::new(0),
            wake: Notify::new(),
        })
    }

    /// Takes up an alert that a run before this one began.
    pub fn adopt(&self, event: &AlertEvent) {
        self.hear(event);
    }

    fn hear(&self, event: &AlertEvent) {
        if !self.is_wanted || !event.is_for(DEFAULT_TENANT) || !is_ours(event) {
            return;
        }
        let now_ms = self.clock.steady_ms();
        if self.book.lock().hear(event, now_ms) {
            self.wake.notify_one();
        }
    }

    /// Tells those who are found, until the server stops. Lanes are put into `tasks`.
    pub async fn run(
        self: Arc<Self>,
        mut found: watch::Receiver<Arc<Found>>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        let mut is_watched = true;
        loop {
            let now = Arc::clone(&found.borrow_and_update());
            self.set_lanes(&now, &found, &tasks, &stop);
            loop {
                let (is_more, due_ms) = self.hand_out();
                if is_more {
                    tokio::task::yield_now().await;
                    continue;
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = found.changed(), if is_watched => {
                        is_watched = changed.is_ok();
                        break;
                    }
                    () = self.wake.notified() => {}
                    () = self.until(due_ms) => {}
                }
            }
        }
    }

    async fn until(&self, due_ms: Option<i64>) {
        match due_ms {
            Some(due_ms) => self.clock.sleep_until_steady(due_ms).await,
            None => std::future::pending().await,
        }
    }

    /// Puts what is due into the lanes; whether there is more of it, and when to look again.
    fn hand_out(&self) -> (bool, Option<i64>) {
        let now_ms = self.clock.steady_ms();
        let (due, next_ms) = self.book.lock().due(now_ms, DUE_AT_ONCE);
        let lanes = self.lanes.lock();
        for running in lanes.values().filter(|_| !due.is_empty()) {
            let number = running.lane.number;
            let theirs = due.iter().filter(|due| {
                let only = due.only.as_ref();
                only.is_none_or(|only| only.contains(&number))
            });
            running.lane.put(theirs.map(|due| due.number));
        }
        (due.len() >= DUE_AT_ONCE, next_ms)
    }

    /// Goes on with the lanes of those who are still found, and begins and ends the others.
    fn set_lanes(
        self: &Arc<Self>,
        now: &Found,
        found: &watch::Receiver<Arc<Found>>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let mut lanes = self.lanes.lock();
        let wanted: HashSet<&str> = now.active.iter().map(|who| who.id.as_str()).collect();
        lanes.retain(|id, _| wanted.contains(id.as_str()));
        let mut new = Vec::new();
        for who in &now.active {
            if let Some(running) = lanes.get(&who.id) {
                running.lane.set_who(who.clone());
                continue;
            }
            let number = self.numbers.fetch_add(1, Relaxed);
            let lane = Arc::new(Lane::new(number, who.clone()));
            let end = stop.child_token();
            let telling = Arc::clone(self).tell(Arc::clone(&lane), found.clone());
            tasks.spawn(end.clone().run_until_cancelled_owned(telling));
            new.push(Arc::clone(&lane));
            let running = Running {
                lane,
                _end: end.drop_guard(),
            };
            lanes.insert(who.id.clone(), running);
        }
        let numbers: BTreeSet<u64> = lanes.values().map(|running| running.lane.number).collect();
        drop(lanes);
        let firing = {
            let mut book = self.book.lock();
            book.set_lanes(numbers);
            match new.is_empty() {
                true => Vec::new(),
                false => book.firing(),
            }
        };
        for lane in new {
            lane.put(firing.iter().copied());
        }
    }

    /// Tells one Alertmanager what waits for it, until it is dropped.
    async fn tell(self: Arc<Self>, lane: Arc<Lane>, found: watch::Receiver<Arc<Found>>) {
        let mut pause = Duration::ZERO;
        loop {
            let numbers = lane.take(BATCH);
            if numbers.is_empty() {
                lane.wake.notified().await;
                continue;
            }
            let who = lane.who();
            let now = Arc::clone(&found.borrow());
            let Some(made) = self.make(numbers, &who, now).await else {
                continue;
            };
            lane.put_back(&made.left);
            let dropped = made.dropped.len() as u64;
            lane.counts.relabelled_away.fetch_add(dropped, Relaxed);
            self.took(&lane, &made.dropped);
            if made.sent.is_empty() {
                continue;
            }
            // Whoever acts for the tenant tells; it is remembered here for when that is this one.
            if !self.tells() {
                self.took(&lane, &made.sent);
                continue;
            }
            let count = made.sent.len() as u64;
            match post(&who, &made).await {
                Answer::Taken => {
                    lane.counts.sent.fetch_add(count, Relaxed);
                    self.took(&lane, &made.sent);
                    if !pause.is_zero() {
                        tracing::info!(alertmanager = who.id, "an Alertmanager takes alerts again");
                    }
                    pause = Duration::ZERO;
                }
                Answer::Refused(why) => {
                    lane.counts.refused.fetch_add(count, Relaxed);
                    lane.counts.failures.fetch_add(1, Relaxed);
                    tracing::warn!(
                        alertmanager = who.id,
                        why,
                        "an Alertmanager refuses alerts; they are sent again in a minute"
                    );
                }
                Answer::Failed(why) => {
                    lane.counts.failures.fetch_add(1, Relaxed);
                    if pause.is_zero() {
                        tracing::warn!(
                            alertmanager = who.id,
                            why,
                            "an Alertmanager does not take alerts; it is tried again"
                        );
                    }
                    let numbers: Vec<u64> = made.sent.iter().map(|(number, _)| *number).collect();
                    lane.put_back(&numbers);
                    pause = (2 * pause).clamp(PAUSE_MIN, PAUSE_MAX);
                    let until_ms = self.clock.steady_ms().saturating_add(millis(pause));
                    self.clock.sleep_until_steady(until_ms).await;
                }
            }
        }
    }

    /// Whether this server is the one that tells.
    fn tells(&self) -> bool {
        let role = self.alike.as_ref().map(|alike| alike.role(DEFAULT_TENANT));
        role != Some(Role::Theirs)
    }

    /// Writes a request. Relabelling many alerts takes its time, and holds up no worker.
    async fn make(
        self: &Arc<Self>,
        numbers: Vec<u64>,
        who: &Alertmanager,
        found: Arc<Found>,
    ) -> Option<Made> {
        let (me, section) = (Arc::clone(self), Arc::clone(&who.section));
        let made = spawn_blocking(move || {
            let alerts = {
                let book = me.book.lock();
                let numbers = numbers.into_iter();
                let alerts = numbers.filter_map(|number| {
                    let (event, labels) = book.get(number)?;
                    Some((number, event, labels))
                });
                alerts.collect()
            };
            let now_ms = me.clock.now_ms();
            post::make(alerts, (&found, &section), now_ms, |expr| {
                generator(&me.external_url, expr)
            })
        });
        made.await
            .inspect_err(|error| tracing::error!(%error, "writing alerts panicked"))
            .ok()
    }

    fn took(&self, lane: &Lane, alerts: &[(u64, pulseboard_shared::AlertState)]) {
        let mut book = self.book.lock();
        for (number, state) in alerts {
            book.took(lane.number, *number, *state);
        }
    }

    /// How each Alertmanager does.
    #[must_use]
    pub fn views(&self) -> Vec<View> {
        let lanes = self.lanes.lock();
        lanes
            .values()
            .map(|running| View::from(&running.lane))
            .collect()
    }

    /// Alerts that nobody was told of, since too many were held.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.book.lock().left_out
    }
}

impl AlertSink for Alertmanagers {
    fn publish(&self, _offset: u64, event: &AlertEvent) {
        self.hear(event);
    }

    fn hear(&self, _offset: u64, event: &AlertEvent) {
        self.hear(event);
    }
}

async fn post(who: &Alertmanager, made: &Made) -> Answer {
    let mut headers = HeaderMap::new();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    let deadline = Instant::now() + who.section.timeout;
    let client = &who.section.client;
    let body = made.body.clone();
    match client
        .post(&who.url, &headers, body, deadline, ANSWER_BYTES_MAX)
        .await
    {
        Ok(answer) if answer.is_success() => Answer::Taken,
        Ok(answer) => {
            let said = String::from_utf8_lossy(&answer.body);
            let said: String = said.chars().take(200).collect();
            let why = format!("status {}: {said}", answer.status);
            match answer.status {
                408 | 429 => Answer::Failed(why),
                400..500 => Answer::Refused(why),
                _ => Answer::Failed(why),
            }
        }
        Err(error) => Answer::Failed(error.to_string()),
    }
}
