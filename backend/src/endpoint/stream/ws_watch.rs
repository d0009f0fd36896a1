//! What one viewer watches on `GET /ws`: selectors and expressions (`watch`, `unwatch`), one after
//! the other.
//!
//! ```text
//! watch ──share?──▶ queue ──turn──▶ parse, find its series, read the history ──▶ watched, samples…
//!   unwatch, or the client leaves: what is in the queue goes, what is worked on is given up
//! ```
//!
//! Nothing of this is done on the thread that reads the socket: see [`crate::questions`]. A
//! client's requests are answered in their order.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_engine::{
    Selector, Tenant,
    query::{Aggregation, Limits, QueryError, RangeRequest, RangeStream, Step},
    tap::TAPPED_SERIES_MAX,
};
use pulseboard_feed::{Payload, Spot, wire::ws};
use pulseboard_shared::{
    codec::Encoding,
    protocol::{
        rooms::ServerMessage,
        series::{RangePoint, RangeSeries},
        watch::{ExpressionMessage, WatchMessage, WatchRequest, Watched},
    },
};
use serde::Serialize;

use crate::{
    app::App,
    base::telemetry::Limit,
    endpoint::whole,
    live_expression::{self, expression_feed::LiveExpression},
    live_query::{WATCHED_PER_CLIENT_MAX, selector_feed::LiveQuery},
    questions::{Asker, Working},
    shares::{CallerKeys, Share},
    stream::viewer::Viewer,
    watchable::{self, WatchView, Watchable},
};

/// History that a watch brings when the client asks for no other, and at most; older stretches
/// are `GET /api/range`'s.
const WATCH_BACK_MS: u64 = 15 * 60_000;
const WATCH_BACK_MAX_MS: u64 = 24 * 3_600_000;

/// Steps of that history.
const WATCH_POINTS: u64 = 300;

/// Most of them, of an expression.
const WATCH_POINTS_MAX: i64 = 11_000;

/// Milliseconds between two evaluations where the client does not say.
const EXPRESSION_STEP_MS: u64 = 1_000;

/// Bytes of one history; where there are many series, each has fewer steps than it might.
const HISTORY_BYTES_MAX: usize = 8 << 20;

/// A history begins at a whole step, which is no longer than this where there are several.
const WIDER_MS: i64 = 10 * 60_000;

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
    /// By selector or expression, as the client wrote it.
    places: HashMap<Watched, Place>,
    queue: VecDeque<(WatchRequest, Share)>,
    /// What is worked on, and what cancels it.
    current: Option<(Watched, Option<Asker>)>,
    /// Whether a task works on the queue.
    is_busy: bool,
    /// The client has gone.
    is_over: bool,
}

/// A place at what is watched; leaving is dropping it.
enum Place {
    Selector(watchable::Place<LiveQuery>),
    Expression(watchable::Place<LiveExpression>),
}

impl Place {
    /// Names its cursor.
    fn id(&self) -> u64 {
        match self {
            Self::Selector(place) => place.watched.id,
            Self::Expression(place) => place.watched.id,
        }
    }
}

impl State {
    fn watches(&self, watched: &Watched) -> bool {
        self.places.contains_key(watched)
            || self
                .queue
                .iter()
                .any(|(asked, _)| asked.watched == *watched)
            || self.is_current(watched)
    }

    /// Whether it is what is worked on.
    fn is_current(&self, watched: &Watched) -> bool {
        let current = self.current.as_ref();
        current.is_some_and(|(current, _)| current == watched)
    }

    fn count(&self) -> usize {
        self.places.len() + self.queue.len() + usize::from(self.current.is_some())
    }

    /// Takes a place out, and whether it was the last that its feed has here: two spellings of one
    /// selector have one feed, and one cursor.
    fn leave(&mut self, viewer: &Viewer, watched: &Watched) {
        if let Some(place) = self.places.remove(watched)
            && !self.places.values().any(|other| other.id() == place.id())
        {
            viewer.unfollow(place.id());
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
        if !state.watches(&asked.watched) && state.count() >= WATCHED_PER_CLIENT_MAX
            || state.queue.len() >= WATCHED_PER_CLIENT_MAX
        {
            self.app.telemetry.count_limit(Limit::Watches);
            return Err(format!(
                "Too many watched selectors: at most {WATCHED_PER_CLIENT_MAX} of one connection at once"
            ));
        }
        // Watched anew: its place is given up when the new one is there, so that nothing is lost.
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
    pub(super) fn unwatch(&self, viewer: &Arc<Viewer>, watched: Watched) {
        let mut state = self.state.lock();
        state.queue.retain(|(asked, _)| asked.watched != watched);
        if state.is_current(&watched) {
            state.current = None;
        }
        state.leave(viewer, &watched);
        drop(state);
        match watched {
            Watched::Selector(selector) => {
                viewer.send_message(&WatchMessage::Unwatched { selector });
            }
            Watched::Expression(query) => {
                viewer.send_message(&ExpressionMessage::Unwatched { query });
            }
        }
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
            let watched = asked.watched.clone();
            // What is made here is not the connection's yet; what waits to be read is (`told`).
            let keys = CallerKeys {
                client: None,
                ..worker.keys.clone()
            };
            let admitted = worker.app.questions.admit(keys).await;
            let (mut working, asker) = match admitted {
                Ok(admitted) => admitted,
                Err(refused) => {
                    worker.fail(&watched, refused.detail().to_owned());
                    continue;
                }
            };
            if !worker.begin(&watched, asker) {
                continue;
            }
            let work = Arc::clone(&worker);
            let watching =
                tokio::task::spawn_blocking(move || work.watch(&asked, share, &mut working));
            match watching.await {
                Ok(Ok(())) => {}
                Ok(Err(text)) => worker.fail(&watched, text),
                Err(error) => {
                    tracing::error!(%error, "watching panicked");
                    worker.fail(&watched, "Something went wrong here".to_owned());
                }
            }
        }
    }

    fn next(&self) -> Option<(WatchRequest, Share)> {
        let mut state = self.state.lock();
        state.current = None;
        let next = state.queue.pop_front();
        match &next {
            Some((asked, _)) => state.current = Some((asked.watched.clone(), None)),
            None => state.is_busy = false,
        }
        next
    }

    /// Whether it is still wanted; from now on it can be cancelled.
    fn begin(&self, watched: &Watched, asker: Asker) -> bool {
        let mut state = self.state.lock();
        match &mut state.current {
            Some((current, place)) if current == watched => {
                *place = Some(asker);
                true
            }
            _ => false,
        }
    }

    /// Says what is wrong, where that is still of interest.
    fn fail(&self, watched: &Watched, text: String) {
        let mut state = self.state.lock();
        if state.is_current(watched) {
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
        let text = match &asked.watched {
            Watched::Selector(text) => text,
            Watched::Expression(text) => {
                return self.watch_expression(text, asked, share, working);
            }
        };
        let selector = Selector::parse(text).map_err(|error| error.to_string())?;
        let (app, cost) = (&self.app, Arc::clone(&working.cost));
        let place = app
            .live_queries
            .enter(&self.tenant, &selector, &self.keys, share, &cost)
            .map_err(|error| error.to_string())?;
        let watched = Arc::clone(&place.watched);
        let resumed = resumed(&*watched, asked);
        let (next, answer) = match resumed {
            Some((next, epoch, offset)) => {
                let answer = WatchMessage::Rewatched {
                    selector: text.clone(),
                    epoch,
                    offset,
                };
                (next, answer)
            }
            None => {
                let (next, newest) = watched.end();
                let (step_ms, series) = self.history(selector, asked, working)?;
                let answer = WatchMessage::Watched {
                    selector: text.clone(),
                    epoch: newest.epoch.to_string(),
                    offset: newest.offset,
                    step_ms,
                    series,
                };
                (next, answer)
            }
        };
        let answer = self.told(&answer)?;
        self.seat(
            &asked.watched,
            &*watched,
            Place::Selector(place),
            (next, answer),
        );
        Ok(())
    }

    /// A message that counts for its connection until it has been read.
    fn told(&self, answer: &impl Serialize) -> Result<Bytes, String> {
        let message = ws::message(self.form, answer);
        let held = self.app.questions.hold(&self.keys, message);
        held.map_err(|refused| refused.to_string())
    }

    /// As [`Worker::watch`] for an expression: what is evaluated from now on comes behind the
    /// history.
    fn watch_expression(
        &self,
        text: &str,
        asked: &WatchRequest,
        share: Share,
        working: &Working,
    ) -> Result<(), String> {
        let expr = live_expression::read(text)?;
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let step_ms = whole(asked.step_ms.unwrap_or(EXPRESSION_STEP_MS));
        let all = &self.app.live_expressions;
        let place = all.enter(&self.tenant, expr, step_ms, &self.keys, share);
        let expression = Arc::clone(&place.watched);
        let resumed = resumed(&*expression, asked);
        let (next, answer) = match resumed {
            Some((next, epoch, offset)) => {
                let answer = ExpressionMessage::Rewatched {
                    query: text.to_owned(),
                    epoch,
                    offset,
                };
                (next, answer)
            }
            None => {
                let (next, newest) = expression.end();
                let (step_ms, series) = self.values(&expression, asked, working)?;
                let answer = ExpressionMessage::Watched {
                    query: text.to_owned(),
                    epoch: newest.epoch.to_string(),
                    offset: newest.offset,
                    step_ms,
                    series,
                };
                (next, answer)
            }
        };
        let answer = self.told(&answer)?;
        self.seat(
            &asked.watched,
            &*expression,
            Place::Expression(place),
            (next, answer),
        );
        Ok(())
    }

    /// What an expression was until now: the length of a step, and each series at each.
    fn values(
        &self,
        expression: &LiveExpression,
        asked: &WatchRequest,
        working: &Working,
    ) -> Result<(i64, Vec<RangeSeries>), String> {
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let back_ms = asked.back_ms.unwrap_or(WATCH_BACK_MS);
        let back_ms = whole(back_ms.min(WATCH_BACK_MAX_MS));
        let points = whole(asked.max_points.unwrap_or(WATCH_POINTS)).clamp(1, WATCH_POINTS_MAX);
        // Steps of the history are steps of the live values, or several of them together.
        let wanted_ms = (back_ms / points).max(1);
        let steps = (wanted_ms + expression.step_ms - 1) / expression.step_ms;
        let step_ms = steps * expression.step_ms;
        let all = &self.app.live_expressions;
        let series = all.history(expression, (back_ms, step_ms), working);
        Ok((step_ms, series.map_err(|error| error.to_string())?))
    }

    /// Answers, and takes the place, where it is still wanted; what comes is told from `next` on.
    fn seat<W>(&self, asked: &Watched, watched: &W, mut place: Place, (next, answer): (Spot, Bytes))
    where
        W: Watchable,
        W::Payload: Payload<View = WatchView>,
    {
        let view = WatchView {
            asked: asked.text().into(),
            form: self.form,
        };
        let cursor = watched.cursor(next, view, self.viewer.id);
        let mut state = self.state.lock();
        if state.is_over || !state.is_current(asked) {
            drop(state);
            return drop(place);
        }
        state.leave(&self.viewer, asked);
        self.viewer.reply(answer);
        let viewer = Arc::clone(&self.viewer) as Arc<_>;
        match &mut place {
            Place::Selector(place) => place.sit(viewer),
            Place::Expression(place) => place.sit(viewer),
        }
        let id = place.id();
        state.places.insert(asked.clone(), place);
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
        let refuse = |error: QueryError| {
            // Counted there, too.
            self.app.questions.refuse(&error).detail().to_owned()
        };
        // As whole steps.
        let stretch = (request.start_ms - WIDER_MS, request.end_ms);
        let text = request.selector.to_string();
        let all = whole::whole(&self.app, &self.tenant, &text, stretch, &working.cost);
        let all = all.map_err(|failed| failed.told(&self.app).detail().to_owned())?;
        let (engine, tenant) = match &all {
            Some(all) => (&all.engine, &all.tenant),
            None => (&self.app.storage.engine, &self.tenant),
        };
        let open = |request: &RangeRequest| {
            RangeStream::open(engine, tenant, request, &working.cost).map_err(refuse)
        };
        let mut stream = open(&request)?;
        let most = HISTORY_BYTES_MAX / POINT_BYTES / stream.rest().max(1);
        if points > most {
            points = most.max(1);
            request.step = Step::Points(points);
            // Its names first, so that they are not held twice.
            drop(stream);
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

/// Where a client that was here before goes on: the next frame, and the last one that it has seen.
fn resumed(watched: &impl Watchable, asked: &WatchRequest) -> Option<(Spot, String, u64)> {
    let (epoch, offset) = asked.after.as_ref()?;
    Some((watched.resume(epoch, *offset)?, epoch.clone(), *offset))
}
