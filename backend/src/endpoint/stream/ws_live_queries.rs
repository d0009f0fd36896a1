//! What one viewer watches on `GET /ws`: selectors (`watch`, `unwatch`), one after the other.
//!
//! ```text
//! watch ──share?──▶ queue ──turn──▶ parse, find its series, read the history ──▶ watched, samples…
//!   unwatch, or the client leaves: what is in the queue goes, what is worked on is given up
//! ```
//!
//! Nothing of this is done on the thread that reads the socket: see [`crate::questions`]. A client's
//! requests are answered in their order.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use pulseboard_engine::{
    Selector, Tenant,
    query::{Aggregation, Limits, QueryError, RangeRequest, RangeStream, Step},
    tap::TAPPED_SERIES_MAX,
};
use pulseboard_feed::wire::ws;
use pulseboard_shared::{
    codec::Encoding,
    protocol::{
        rooms::ServerMessage,
        series::{RangePoint, RangeSeries},
        watch::{WatchMessage, WatchRequest},
    },
};

use crate::{
    app::App,
    base::telemetry::Limit,
    live_query::{LiveQueryGuard, WATCHED_PER_CLIENT_MAX},
    questions::{Asker, Working},
    shares::{CallerKeys, Share},
    stream::viewer::Viewer,
};

/// History that a watch brings when the client asks for no other, and at most; older stretches
/// are `GET /api/range`'s.
const WATCH_BACK_MS: u64 = 15 * 60_000;
const WATCH_BACK_MAX_MS: u64 = 24 * 3_600_000;

/// Steps of that history.
const WATCH_POINTS: u64 = 300;

/// Bytes of one history; where there are many series, each has fewer steps than it might.
const HISTORY_BYTES_MAX: usize = 8 << 20;

/// Bytes of a step as text, about, and of what stands around a series' steps.
const POINT_BYTES: usize = 48;
const SERIES_BYTES: usize = 128;

/// What one viewer watches, and its requests that wait for their turn, answered in their order.
pub(super) struct Watches {
    state: Arc<Mutex<State>>,
    app: Arc<App>,
    tenant: Arc<Tenant>,
    keys: CallerKeys,
    form: Encoding,
}

#[derive(Default)]
struct State {
    /// By selector, as the client wrote it.
    places: HashMap<String, LiveQueryGuard>,
    queue: VecDeque<(WatchRequest, Share)>,
    /// What is worked on: its selector, and what cancels it.
    current: Option<(String, Option<Asker>)>,
    /// Whether a task works on the queue.
    is_busy: bool,
    /// The client has gone.
    is_over: bool,
}

impl State {
    fn watches(&self, selector: &str) -> bool {
        self.places.contains_key(selector)
            || self
                .queue
                .iter()
                .any(|(asked, _)| asked.selector == selector)
            || self
                .current
                .as_ref()
                .is_some_and(|(current, _)| current == selector)
    }

    fn count(&self) -> usize {
        self.places.len() + self.queue.len() + usize::from(self.current.is_some())
    }

    /// Takes a place out, and whether it was the last that its feed has here: two spellings of one
    /// selector have one feed, and one cursor.
    fn leave(&mut self, viewer: &Viewer, selector: &str) {
        if let Some(place) = self.places.remove(selector)
            && !self.places.values().any(|other| other.id == place.id)
        {
            viewer.unfollow(place.id);
        }
    }
}

impl Watches {
    pub(super) fn new(
        app: Arc<App>,
        tenant: Arc<Tenant>,
        keys: CallerKeys,
        form: Encoding,
    ) -> Self {
        Self {
            state: Arc::default(),
            app,
            tenant,
            keys,
            form,
        }
    }

    /// Has a selector watched; the answer comes later.
    pub(super) fn watch(&self, viewer: &Arc<Viewer>, asked: WatchRequest) -> Result<(), String> {
        let mut state = self.state.lock();
        // One that is watched anew counts once; several at once are as many requests.
        if !state.watches(&asked.selector) && state.count() >= WATCHED_PER_CLIENT_MAX
            || state.queue.len() >= WATCHED_PER_CLIENT_MAX
        {
            self.app.telemetry.count_limit(Limit::Watches);
            return Err(format!(
                "Too many watched selectors: at most {WATCHED_PER_CLIENT_MAX} of one connection at once"
            ));
        }
        // LiveQuery anew: its place is given up when the new one is there, so that nothing is lost.
        let keys = CallerKeys {
            client: None,
            ..self.keys.clone()
        };
        let share = self.app.live_queries.share(&keys);
        let share = share.map_err(|refused| refused.to_string())?;
        state.queue.push_back((asked, share));
        if std::mem::replace(&mut state.is_busy, true) {
            return Ok(());
        }
        drop(state);
        let worker = Worker {
            state: Arc::clone(&self.state),
            app: Arc::clone(&self.app),
            tenant: Arc::clone(&self.tenant),
            keys: self.keys.clone(),
            form: self.form,
            viewer: Arc::clone(viewer),
        };
        self.app.tasks.spawn(worker.run());
        Ok(())
    }

    /// Ends a watch, or gives it up before it has begun.
    pub(super) fn unwatch(&self, viewer: &Arc<Viewer>, selector: String) {
        let mut state = self.state.lock();
        state.queue.retain(|(asked, _)| asked.selector != selector);
        if state
            .current
            .as_ref()
            .is_some_and(|(current, _)| *current == selector)
        {
            state.current = None;
        }
        state.leave(viewer, &selector);
        drop(state);
        viewer.send_message(&WatchMessage::Unwatched { selector });
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        state.is_over = true;
        let gone = (
            std::mem::take(&mut state.places),
            std::mem::take(&mut state.queue),
            state.current.take(),
        );
        drop(state);
        drop(gone);
    }
}

/// Works on a client's queue until it is empty.
struct Worker {
    state: Arc<Mutex<State>>,
    app: Arc<App>,
    tenant: Arc<Tenant>,
    keys: CallerKeys,
    form: Encoding,
    viewer: Arc<Viewer>,
}

impl Worker {
    async fn run(self) {
        let worker = Arc::new(self);
        while let Some((asked, share)) = worker.next() {
            let selector = asked.selector.clone();
            let admitted = worker.app.questions.admit(worker.keys.clone()).await;
            let (mut working, asker) = match admitted {
                Ok(admitted) => admitted,
                Err(refused) => {
                    worker.fail(&selector, refused.detail().to_owned());
                    continue;
                }
            };
            if !worker.begin(&selector, asker) {
                continue;
            }
            let work = Arc::clone(&worker);
            let live_queries =
                tokio::task::spawn_blocking(move || work.watch(&asked, share, &mut working));
            match live_queries.await {
                Ok(Ok(())) => {}
                Ok(Err(text)) => worker.fail(&selector, text),
                Err(error) => {
                    tracing::error!(%error, "live_queries a selector panicked");
                    worker.fail(&selector, "Something went wrong here".to_owned());
                }
            }
        }
    }

    fn next(&self) -> Option<(WatchRequest, Share)> {
        let mut state = self.state.lock();
        state.current = None;
        let next = state.queue.pop_front();
        match &next {
            Some((asked, _)) => state.current = Some((asked.selector.clone(), None)),
            None => state.is_busy = false,
        }
        next
    }

    /// Whether it is still wanted; from now on it can be cancelled.
    fn begin(&self, selector: &str, asker: Asker) -> bool {
        let mut state = self.state.lock();
        match &mut state.current {
            Some((current, place)) if current == selector => {
                *place = Some(asker);
                true
            }
            _ => false,
        }
    }

    /// Says what is wrong, where that is still of interest.
    fn fail(&self, selector: &str, text: String) {
        let mut state = self.state.lock();
        let is_wanted = state
            .current
            .as_ref()
            .is_some_and(|(current, _)| current == selector);
        if is_wanted {
            state.current = None;
            self.viewer.send_message(&ServerMessage::Error { text });
        }
    }

    /// History first, then live: the cursor is placed before the history is read, so nothing falls
    /// between them; a sample may be in both, and is the same in both. Blocks.
    fn watch(
        &self,
        asked: &WatchRequest,
        share: Share,
        working: &mut Working,
    ) -> Result<(), String> {
        let text = &asked.selector;
        let selector = Selector::parse(text).map_err(|error| error.to_string())?;
        let (app, cost) = (&self.app, Arc::clone(&working.cost));
        let place = app
            .live_queries
            .enter(&self.tenant, &selector, &self.keys, share, &cost)
            .map_err(|error| error.to_string())?;
        let watched = Arc::clone(&place.watched);
        let resumed = asked
            .after
            .as_ref()
            .and_then(|(epoch, offset)| Some((watched.resume(epoch, *offset)?, *offset)));
        let (next, answer) = match resumed {
            Some((next, offset)) => {
                let answer = WatchMessage::Rewatched {
                    selector: text.clone(),
                    epoch: watched.epoch(),
                    offset,
                };
                (next, answer)
            }
            None => {
                let next = watched.end();
                let (step_ms, series) = self.history(selector, asked, working)?;
                let answer = WatchMessage::Watched {
                    selector: text.clone(),
                    epoch: watched.epoch(),
                    offset: next - 1,
                    step_ms,
                    series,
                };
                (next, answer)
            }
        };
        let answer = working
            .hold(ws::message(self.form, &answer))
            .map_err(|refused| refused.to_string())?;
        self.seat(text, place, next, answer);
        Ok(())
    }

    /// Answers, and takes the place, where it is still wanted.
    fn seat(&self, text: &str, mut place: LiveQueryGuard, next: u64, answer: bytes::Bytes) {
        let mut state = self.state.lock();
        let is_wanted = state
            .current
            .as_ref()
            .is_some_and(|(current, _)| current == text);
        if state.is_over || !is_wanted {
            drop(state);
            return drop(place);
        }
        state.leave(&self.viewer, text);
        self.viewer.reply(answer);
        let cursor = place.watched.cursor(next, text, self.form, self.viewer.id);
        place.sit(Arc::clone(&self.viewer) as Arc<_>);
        let id = place.id;
        state.places.insert(text.to_owned(), place);
        // It counts as one, whichever it is.
        state.current = None;
        self.viewer.follow(id, cursor);
    }

    fn history(
        &self,
        selector: Selector,
        asked: &WatchRequest,
        working: &Working,
    ) -> Result<(i64, Vec<RangeSeries>), String> {
        let now_ms = self.app.clock.now_ms();
        let back_ms = asked
            .back_ms
            .unwrap_or(WATCH_BACK_MS)
            .min(WATCH_BACK_MAX_MS);
        let points = asked.max_points.unwrap_or(WATCH_POINTS);
        let mut points = usize::try_from(points).unwrap_or(usize::MAX);
        let mut request = RangeRequest {
            selector,
            start_ms: now_ms - i64::try_from(back_ms).unwrap_or(i64::MAX),
            end_ms: now_ms + 1,
            step: Step::Points(points),
            aggregation: Aggregation::Avg,
            by: None,
            few: None,
            limits: Limits {
                series_max: TAPPED_SERIES_MAX,
                ..Limits::default()
            },
        };
        let engine = &self.app.storage.engine;
        let refuse = |error: QueryError| {
            // Counted there, too.
            self.app.questions.refuse(&error).detail().to_owned()
        };
        let open = |request: &RangeRequest| {
            RangeStream::open(engine, &self.tenant, request, &working.cost).map_err(refuse)
        };
        let mut stream = open(&request)?;
        let most = HISTORY_BYTES_MAX / POINT_BYTES / stream.rest().max(1);
        if points > most {
            points = most.max(1);
            request.step = Step::Points(points);
            stream = open(&request)?;
        }
        let step_ms = stream.head().step_ms;
        let mut series = Vec::new();
        let mut bytes = 0;
        for one in stream {
            let one = one.map_err(refuse)?;
            bytes += one.points.len() * POINT_BYTES + 2 * one.key.len() + SERIES_BYTES;
            let size = one.points.len() * size_of::<RangePoint>() + 3 * one.key.len();
            let held = working
                .cost
                .hold(size)
                .map_err(|spent| refuse(spent.into()));
            held?;
            // The names alone are larger than most of the answer may be.
            if bytes > 2 * HISTORY_BYTES_MAX {
                self.app.telemetry.count_limit(Limit::AnswerBytes);
                return Err(
                    "The history of these series is too large; watch fewer of them".to_owned(),
                );
            }
            series.push(one);
        }
        Ok((step_ms, series))
    }
}
