//! Questions to the engine, whoever asks them and wherever: who may ask how many, which threads
//! work on them, how long, and how many bytes of answers may wait for those who asked.
//!
//! ```text
//! asked ──share?──▶ waits for a turn ──▶ works, a slice at a time ──▶ answer ──bytes?──▶ client
//!          429/503       503 after 5 s     │ others wait: they go first      503
//!                                          └ its client reads slowly: the turn is given back
//! ```
//!
//! There are as many turns as cores, so that questions never take more of the machine than that,
//! and none is worked on by a thread that serves or ticks. They go round among callers, and a
//! question that takes long gives its turn to the next one's every [`SLICE`]: one caller with many
//! or dear questions holds up nobody but itself. A question ends when its time is over, when it
//! has read its samples, or when its client has gone.
//!
//! Bytes of answers are counted as they are made ([`Working::text`]), with what they are made of,
//! and until they are sent ([`Working::finish`], [`Questions::hold`]); who does not read what it
//! asked for runs into its share of them. An answer that takes more than its caller may ever have
//! is refused for good (422), and says so; one that finds no room since others do not read what
//! they have waits for a while, in which those are hurried ([`ROOM_PATIENCE`]). Of one caller's
//! answers that are made at once the one that was begun first waits for room, and those begun later
//! are refused: so one of them gets done, where all would be half made and refused otherwise
//! (`making`).

pub(crate) mod lane;
mod making;
mod text;

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::StatusCode;
use parking_lot::Mutex;
use pulseboard_engine::{Cancel, Cost, Spent, query::QueryError};
use tokio::runtime::Handle;

pub use self::text::Text;
use crate::{
    base::{
        error::AppError,
        telemetry::{Limit, Telemetry},
    },
    questions::{
        lane::{Lane, Queue, Turn},
        making::{Making, Place},
    },
    settings::Settings,
    shares::{CallerKeys, Refused, Scope, Share, ShareLimits, Shares},
};

/// Questions that are worked on or wait for it.
const ASKED_MAX: usize = 64;

/// Answers whose client is waited for; each has a thread and up to a megabyte.
const STALLED_MAX: usize = 128;

/// Bytes of answers that wait to be sent, in all. Larger: more memory for those who do not read.
/// Smaller: a few large answers at once are refused.
const ANSWER_BYTES_ALL_MAX: usize = 128 << 20;

/// Shorter answers are not counted: a connection's own buffers are larger.
const HELD_FROM_BYTES: usize = 16 * 1024;

/// A question waits so long for its first turn.
const TURN_PATIENCE: Duration = Duration::from_secs(5);

/// After so much work others who wait have their turn.
const SLICE: Duration = Duration::from_millis(50);

/// Seconds after which who was refused may ask again.
const RETRY_AFTER_S: u32 = 2;

/// Who has no more bytes of answers than this is not to blame where there are none left.
const LITTLE_BYTES: usize = 1 << 20;

/// So long after somebody was refused memory that others hold, those others are hurried: whoever
/// was refused may have come back by then.
const SHORT_FOR: Duration = Duration::from_secs(3);

/// So long a question waits for memory that others hold: until those who do not read what they have
/// were hurried (`server/accept.rs`), and have gone.
const ROOM_PATIENCE: Duration = Duration::from_secs(8);

/// Whoever waits so says this often that others are to be hurried.
const HURRIED_EVERY: Duration = Duration::from_secs(1);

/// Of what a tenant and all have, so many sixteenths are for those who have little: as much as is
/// left of a tenant's when one caller has all that it may have suffices another for a large answer.
const ANSWERS_KEPT_SIXTEENTHS: usize = 2;

/// Seconds after which a client that does not read its answers may ask again.
pub const ANSWERS_RETRY_S: u32 = 2;

/// Who asks the engine something now, and the bytes of answers that wait to be sent.
pub struct Questions {
    lane: Arc<Lane>,
    asked: Arc<Shares>,
    stalled: Arc<Shares>,
    answers: Arc<Shares>,
    making: Arc<Making>,
    short: Arc<Short>,
    timeout: Duration,
    samples_max: u64,
    telemetry: Arc<Telemetry>,
}

/// When somebody was last refused memory that others hold. Leaf lock.
#[derive(Debug, Default)]
struct Short(Mutex<Option<Instant>>);

impl Short {
    /// Takes note of a refusal that is not the caller's own doing: it has next to nothing but for
    /// `made`, the answer that it is refused more for. Whether it is such a one.
    fn note(&self, refused: &Refused, answers: &Shares, keys: &CallerKeys, made: usize) -> bool {
        let is_others = matches!(refused.scope, Scope::Tenant | Scope::All | Scope::Kept)
            && answers.taken_by(keys).saturating_sub(made) <= LITTLE_BYTES;
        if is_others {
            self.note_now();
        }
        is_others
    }

    fn note_now(&self) {
        *self.0.lock() = Some(Instant::now());
    }
}

/// A question that is worked on, on a thread that may block.
pub struct Working {
    /// What it may cost.
    pub cost: Arc<Cost>,
    questions: Arc<Questions>,
    keys: CallerKeys,
    turn: Arc<Mutex<Option<Turn>>>,
    asked: Option<Share>,
    stalled: Option<Share>,
    /// Bytes of the answer, and of what it is made of.
    answer: Arc<Mutex<Share>>,
    /// Bytes that it was given beside those.
    beside: Arc<AtomicUsize>,
    /// Among its caller's answers that are made now. Dropped after `answer`, so that whoever is
    /// told finds the room that it had.
    place: Arc<Place>,
}

/// In an answer's extensions: its bytes are counted already.
#[derive(Clone, Copy, Debug)]
pub struct Counted;

/// An answer that is at hand.
#[derive(Debug)]
pub enum Finished {
    /// In the pieces in which it was written; each is counted until it has been sent.
    Counted(VecDeque<Bytes>),
    /// Made without a question's memory.
    Uncounted(Bytes),
}

/// Cancels a question when it is dropped: whoever asked has gone.
#[derive(Debug)]
pub struct Asker(Cancel);

impl Drop for Asker {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Bytes that are counted until the last one has been sent.
struct Held {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Questions {
    /// Nobody has asked.
    #[must_use]
    pub fn new(settings: &Settings, telemetry: &Arc<Telemetry>) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shares =
            |what, counted_as, limits| Shares::new(what, counted_as, limits, Arc::clone(telemetry));
        let asked = |_: Scope| Limit::Questions;
        let bytes = |_: Scope| Limit::AnswerBytes;
        Arc::new(Self {
            lane: Lane::new(cores.max(2)),
            asked: shares("questions", asked, ShareLimits::of(ASKED_MAX)),
            stalled: shares(
                "answers that are not read",
                bytes,
                ShareLimits::of(STALLED_MAX),
            ),
            answers: shares(
                "bytes of answers that are not read",
                bytes,
                ShareLimits {
                    kept_sixteenths: ANSWERS_KEPT_SIXTEENTHS,
                    ..ShareLimits::of(ANSWER_BYTES_ALL_MAX)
                },
            ),
            making: Arc::default(),
            short: Arc::default(),
            timeout: settings.query_timeout,
            samples_max: settings.query_max_samples as u64,
            telemetry: Arc::clone(telemetry),
        })
    }

    /// Waits for the turn of a question. The [`Asker`] is to be held for as long as somebody waits
    /// for the answer; the other is for the thread that works on it.
    ///
    /// # Errors
    /// 429 or 503 with `Retry-After`.
    pub async fn admit(self: &Arc<Self>, keys: CallerKeys) -> Result<(Working, Asker), AppError> {
        let asked = self.asked.acquire(&keys, 1).map_err(Refused::into_error)?;
        let queue = Queue::of(&keys);
        let Ok(turn) = tokio::time::timeout(TURN_PATIENCE, self.lane.enter(queue)).await else {
            self.telemetry.count_limit(Limit::Questions);
            return Err(AppError::unavailable(
                "too many questions are being answered; ask again later",
                RETRY_AFTER_S,
            ));
        };
        let turn = Arc::new(Mutex::new(Some(turn)));
        let cancel = Cancel::default();
        let answer = self
            .answers
            .acquire(&keys, 0)
            .map_err(Refused::into_error)?;
        let answer = Arc::new(Mutex::new(answer));
        let place = Arc::new(self.making.begin(queue));
        let beside = Arc::default();
        let lanes = InLane {
            lane: Arc::clone(&self.lane),
            queue,
            turn: Arc::clone(&turn),
            // Whoever waits longer than it may work is not served at all.
            patience: self.timeout,
            waited: Arc::default(),
        };
        let cost = Cost::new(self.timeout, self.samples_max, cancel.clone())
            .pausing(SLICE, lanes.clone().pause())
            .reserving(resize(
                self,
                Made {
                    share: Arc::clone(&answer),
                    beside: Arc::clone(&beside),
                    keys: keys.clone(),
                    place: Arc::clone(&place),
                },
                lanes,
                cancel.clone(),
            ));
        let working = Working {
            cost: Arc::new(cost),
            questions: Arc::clone(self),
            keys,
            turn,
            asked: Some(asked),
            stalled: None,
            answer,
            beside,
            place,
        };
        Ok((working, Asker(cancel)))
    }

    /// Has `work` done on a thread that may block. It is told to end when nobody waits for it.
    ///
    /// # Errors
    /// As [`Questions::admit`]; 500 when it panicked.
    pub async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        keys: CallerKeys,
        work: impl FnOnce(&Working) -> T + Send + 'static,
    ) -> Result<T, AppError> {
        let (working, _asker) = self.admit(keys).await?;
        tokio::task::spawn_blocking(move || work(&working))
            .await
            .map_err(|error| {
                self.telemetry.panics.inc();
                tracing::error!(%error, "a question panicked");
                AppError::internal()
            })
    }

    /// Counts the bytes of an answer for whoever asked until they have been sent, or nobody waits
    /// for them any more.
    ///
    /// # Errors
    /// It, or somebody whom it is part of, has too many that it does not read.
    pub fn hold(&self, keys: &CallerKeys, bytes: Bytes) -> Result<Bytes, Refused> {
        if bytes.len() < HELD_FROM_BYTES {
            return Ok(bytes);
        }
        let share = self.answers.acquire(keys, bytes.len());
        let share = share.inspect_err(|refused| {
            self.short.note(refused, &self.answers, keys, 0);
        })?;
        Ok(Bytes::from_owner(Held {
            bytes,
            _share: share,
        }))
    }

    /// Bytes of answers that wait to be sent now.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.answers.taken()
    }

    /// Whether somebody finds no memory for an answer just now, since others do not read theirs.
    #[must_use]
    pub fn is_short(&self) -> bool {
        let last = *self.short.0.lock();
        last.is_some_and(|last| last.elapsed() < SHORT_FOR)
    }

    /// Questions that are worked on or wait for it.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked.taken()
    }

    /// What a question that was not answered is for its asker.
    #[must_use]
    pub fn refuse(&self, error: &QueryError) -> AppError {
        match error {
            QueryError::History(cause) => {
                tracing::error!(error = %cause, "a question could not be answered");
                AppError::internal()
            }
            QueryError::Deadline => {
                self.telemetry.count_limit(Limit::QueryTimeout);
                AppError::unavailable(format!("timeout: {error}"), RETRY_AFTER_S)
            }
            // Counted where it was refused.
            QueryError::Memory | QueryError::Cancelled => {
                AppError::unavailable(error.to_string(), RETRY_AFTER_S)
            }
            QueryError::Samples { .. } => {
                self.telemetry.count_limit(Limit::QuerySamples);
                AppError::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
            }
            // The last is counted where it was refused.
            QueryError::Points { .. }
            | QueryError::Series { .. }
            | QueryError::By { .. }
            | QueryError::TooLarge { .. } => {
                AppError::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
            }
            _ => AppError::bad_request(error.to_string()),
        }
    }
}

impl Working {
    /// Waits for the client meanwhile: the turn is somebody else's, and the time is not counted.
    ///
    /// # Errors
    /// Too many answers are waited for already.
    pub fn waiting<T>(&mut self, wait: impl FnOnce() -> T) -> Result<T, Refused> {
        if self.stalled.is_none() {
            self.stalled = Some(self.questions.stalled.acquire(&self.keys, 1)?);
            self.asked = None;
            // It takes no more than it has.
            self.place.leave();
        }
        let began = Instant::now();
        drop(self.turn.lock().take());
        let waited = wait();
        let lane = &self.questions.lane;
        let next = lane.enter(Queue::of(&self.keys));
        *self.turn.lock() = Some(Handle::current().block_on(next));
        self.cost.put_off(began.elapsed());
        Ok(waited)
    }

    /// Text that is counted as part of this question's answer.
    #[must_use]
    pub fn text(&self) -> Text<'_> {
        Text::of(&self.cost)
    }

    /// The answer as it is sent: nothing else of the question is in memory any more, and its bytes
    /// are counted until they are gone.
    #[must_use]
    pub fn finish(&self, pieces: Vec<Vec<u8>>) -> Finished {
        let mut answer = self.answer.lock();
        let mut share = answer.split(usize::MAX);
        drop(answer);
        let pieces = pieces.into_iter().map(|piece| {
            let bytes = Bytes::from(piece.into_boxed_slice());
            Bytes::from_owner(Held {
                _share: share.split(bytes.len()),
                bytes,
            })
        });
        let pieces = Finished::Counted(pieces.collect());
        drop(share);
        self.place.leave();
        pieces
    }

    /// Memory beside the answer that it needs as long as it is made; `None` where there is none for
    /// this caller.
    #[must_use]
    pub fn room(&self, bytes: usize) -> Option<Share> {
        let room = self.questions.answers.acquire(&self.keys, bytes).ok()?;
        self.beside.fetch_add(bytes, Ordering::Relaxed);
        Some(room)
    }

    /// As [`Questions::hold`], for whoever asked this.
    ///
    /// # Errors
    /// Its asker, or somebody whom that is part of, has too many bytes that it does not read.
    pub fn hold(&self, bytes: Bytes) -> Result<Bytes, Refused> {
        self.questions.hold(&self.keys, bytes)
    }
}

/// A question's place where turns are given.
#[derive(Clone)]
struct InLane {
    lane: Arc<Lane>,
    queue: Queue,
    turn: Arc<Mutex<Option<Turn>>>,
    patience: Duration,
    waited: Arc<Mutex<Duration>>,
}

impl InLane {
    /// Lets those who wait have their turn, and waits for the next one.
    fn pause(self) -> impl Fn() -> Option<Duration> + Send + Sync + 'static {
        move || match self.lane.is_crowded() {
            true => self.step_aside(async {}),
            false => Some(Duration::ZERO),
        }
    }

    /// Gives its turn up until something has been waited for and it has the next one; how long
    /// that was. `None` when that is too long in all.
    fn step_aside(&self, until: impl Future<Output = ()>) -> Option<Duration> {
        let began = Instant::now();
        drop(self.turn.lock().take());
        let left = self.patience.saturating_sub(*self.waited.lock());
        let next = async {
            until.await;
            self.lane.enter(self.queue).await
        };
        let next = Handle::current().block_on(async { tokio::time::timeout(left, next).await });
        *self.waited.lock() += began.elapsed();
        *self.turn.lock() = Some(next.ok()?);
        Some(began.elapsed())
    }
}

/// An answer that is made, and who has it made.
struct Made {
    share: Arc<Mutex<Share>>,
    beside: Arc<AtomicUsize>,
    keys: CallerKeys,
    place: Arc<Place>,
}

/// Has a share be as large as is said. Where there is no room, the first of its caller's waits: as
/// long as others of them may give some back, and for a while where it is others who hold it. What
/// has no room beside nothing at all is refused for good.
fn resize(
    questions: &Questions,
    made: Made,
    lanes: InLane,
    cancel: Cancel,
) -> impl Fn(usize) -> Result<(), Spent> + Send + Sync + 'static {
    let (short, answers) = (Arc::clone(&questions.short), Arc::clone(&questions.answers));
    let waits_until = Mutex::new(None);
    move |bytes| {
        let Made { keys, place, .. } = &made;
        loop {
            let mut share = made.share.lock();
            let Some(more) = bytes.checked_sub(share.count()) else {
                let less = share.count() - bytes;
                share.shrink(less);
                return Ok(());
            };
            // Before it is tried, so that what ends in between is not missed.
            let ended = place.others_end();
            let Err(refused) = share.grow(more) else {
                return Ok(());
            };
            let has = share.count();
            drop(share);
            let alone = bytes.saturating_add(made.beside.load(Ordering::Relaxed));
            if let Some(never) = answers.never_fits(keys, alone) {
                let (max, whose) = (never.max, never.scope.whose());
                return Err(Spent::TooLarge { max, whose });
            }
            let is_others = short.note(&refused, &answers, keys, has);
            if cancel.is_cancelled() {
                return Err(Spent::Cancelled);
            }
            let aside = if let Some(ended) = ended {
                lanes.step_aside(ended)
            } else if is_others && place.is_first() {
                let now = Instant::now();
                let until = *waits_until.lock().get_or_insert(now + ROOM_PATIENCE);
                let room = Room {
                    answers: &answers,
                    keys,
                    more,
                    short: &short,
                    cancel: &cancel,
                };
                (now < until)
                    .then(|| lanes.step_aside(room.wait(until)))
                    .flatten()
            } else {
                None
            };
            if aside.is_none() {
                return Err(Spent::Memory);
            }
        }
    }
}

/// Memory that others hold and that somebody waits for.
struct Room<'a> {
    answers: &'a Shares,
    keys: &'a CallerKeys,
    more: usize,
    short: &'a Short,
    cancel: &'a Cancel,
}

impl Room<'_> {
    /// Waits until there is some, or it is that late, or nobody waits for the answer; others are
    /// hurried meanwhile.
    async fn wait(self, until: Instant) {
        loop {
            // Before it is looked, so that what is given back in between is not missed.
            let given_back = self.answers.given_back();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero()
                || self.cancel.is_cancelled()
                || self.answers.has_room(self.keys, self.more)
            {
                return;
            }
            self.short.note_now();
            drop(tokio::time::timeout(left.min(HURRIED_EVERY), given_back).await);
        }
    }
}

impl fmt::Debug for Questions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Questions")
            .field("asked", &self.asked)
            .field("answers", &self.answers)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Working {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Working")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn keys(address: u8) -> CallerKeys {
        CallerKeys {
            client: None,
            address: Some(IpAddr::from([192, 0, 2, address])),
            token: None,
            tenant: None,
        }
    }

    fn questions(timeout: Duration) -> (Arc<Questions>, Arc<Telemetry>) {
        let telemetry = Arc::new(Telemetry::default());
        let settings = Settings {
            query_timeout: timeout,
            ..Settings::default()
        };
        (Questions::new(&settings, &telemetry), telemetry)
    }

    /// Works until it is told to end.
    fn toil(working: &Working) -> pulseboard_engine::Spent {
        loop {
            if let Err(spent) = working.cost.step(1_000) {
                return spent;
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_cheap_question_is_answered_among_any_number_of_dear_ones() {
        let (questions, _) = questions(Duration::from_secs(3_600));
        let dear: Vec<_> = (0..16)
            .map(|_| {
                let questions = Arc::clone(&questions);
                tokio::spawn(async move { questions.ask(keys(1), toil).await })
            })
            .collect();
        while questions.asked() < 16 {
            tokio::task::yield_now().await;
        }
        let answer = questions.ask(keys(2), |_| 7).await;
        assert_eq!(answer.ok(), Some(7), "others' questions go on");
        // Those who asked go: nothing is worked on for nobody.
        for one in dear {
            one.abort();
        }
        while questions.asked() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn each_caller_has_its_share_and_a_question_its_time() {
        let (questions, telemetry) = questions(Duration::ZERO);
        let ended = questions.ask(keys(1), toil).await;
        assert_eq!(ended.ok(), Some(pulseboard_engine::Spent::Time));
        let mut held = Vec::new();
        while let Ok(share) = questions.asked.acquire(&keys(1), 1) {
            held.push(share);
        }
        assert_eq!(held.len(), ASKED_MAX / 2, "of those without a token");
        let refused = questions.ask(keys(1), |_| ()).await.expect_err("no share");
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(questions.ask(keys(2), |_| ()).await.is_ok());
        assert!(telemetry.text().contains("{limit=\"questions\"}"));
    }

    #[tokio::test]
    async fn an_answer_is_counted_while_it_is_made_and_until_it_is_gone() {
        let (questions, telemetry) = questions(Duration::from_secs(3_600));
        let piece = "x".repeat(1 << 20);
        let write = |count: usize| {
            let piece = piece.clone();
            move |working: &Working| {
                let mut text = working.text();
                for _ in 0..count {
                    text.push(&piece)?;
                }
                let made = working.questions.held_bytes();
                Ok::<_, QueryError>((made, working.finish(text.into_pieces())))
            }
        };
        let answer = questions.ask(keys(1), write(40)).await.expect("a turn");
        let (made, answer) = answer.expect("there is room");
        assert!((40 << 20..=41 << 20).contains(&made), "{made}");
        assert_eq!(questions.held_bytes(), 40 << 20, "as long as it waits");
        let more = questions.ask(keys(1), write(40)).await.expect("a turn");
        assert!(matches!(more, Err(QueryError::Memory)), "past its share");
        assert_eq!(questions.held_bytes(), 40 << 20, "nothing is left of it");
        assert!(telemetry.text().contains("{limit=\"answer_bytes\"} 1\n"));
        let other = questions.ask(keys(2), write(40)).await.expect("a turn");
        assert!(other.is_ok(), "others have theirs");
        drop((other, answer));
        assert_eq!(questions.held_bytes(), 0);
    }

    /// Whether it is others who hold the memory or there is none for it even alone are two things.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_can_never_be_answered_is_refused_for_good_and_what_others_hold_is_waited_for() {
        let (questions, _) = questions(Duration::from_secs(3_600));
        let write = |megabytes: usize| {
            move |working: &Working| {
                let mut text = working.text();
                for _ in 0..megabytes {
                    text.push(&"x".repeat(1 << 20))?;
                }
                Ok::<_, QueryError>(working.finish(text.into_pieces()))
            }
        };
        let most = ANSWER_BYTES_ALL_MAX / 2;
        let alone = questions.ask(keys(1), write((most >> 20) + 1)).await;
        let error = alone.expect("a turn").expect_err("it never fits");
        let refused = questions.refuse(&error);
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert!(
            refused.detail().contains(&format!("{most} bytes")),
            "{refused}"
        );
        // Two others have nearly all, and then one of them reads.
        let hold = |address, megabytes: usize| {
            let bytes = Bytes::from(vec![0; megabytes << 20]);
            questions
                .hold(&keys(address), bytes)
                .expect("there is room")
        };
        let (first, second) = (hold(1, 60), hold(2, 50));
        let asked = tokio::spawn({
            let questions = Arc::clone(&questions);
            async move { questions.ask(keys(3), write(27)).await }
        });
        while !questions.is_short() {
            tokio::task::yield_now().await;
        }
        assert!(!asked.is_finished());
        drop(first);
        let answer = asked.await.expect("no panic").expect("a turn");
        assert!(answer.is_ok(), "{:?}", answer.err());
        drop((second, answer));
        assert_eq!(questions.held_bytes(), 0);
    }

    #[test]
    fn answers_are_counted_until_they_are_gone() {
        let (questions, _) = questions(Duration::ZERO);
        let bytes = Bytes::from(vec![0; 1 << 20]);
        let mut held = Vec::new();
        while let Ok(bytes) = questions.hold(&keys(1), bytes.clone()) {
            held.push(bytes);
        }
        assert_eq!(questions.held_bytes(), ANSWER_BYTES_ALL_MAX / 2);
        assert!(
            questions.hold(&keys(2), bytes).is_ok(),
            "others have theirs"
        );
        let part = held.pop().map(|bytes| bytes.slice(5..6));
        assert_eq!(
            questions.held_bytes(),
            ANSWER_BYTES_ALL_MAX / 2,
            "still there"
        );
        drop((held, part));
        assert_eq!(questions.held_bytes(), 0);
    }
}
