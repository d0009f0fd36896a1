//! The built-in tick, live: window and feed together, and what a viewer gets on opening.
//!
//! A tick goes into the window first and into the feed second. A viewer takes its snapshot from
//! the window and puts its cursor right behind the newest tick in it, so no tick falls between
//! snapshot and stream and none comes twice, whatever happens meanwhile.
//!
//! Ticks may go on under another epoch ([`Live::reset`]), while streams are open: window and feed
//! change under the window's lock, and each viewer gets an `initial` again.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use pulseboard_feed::{At, Bounds, Epoch, Fanout, Feed, Frame, Position, Spot, wire::Framing};
use pulseboard_shared::protocol::metrics::{ServerMessage, Snapshot};

use crate::{
    base::{clock::Clock, error::AppError, telemetry::Telemetry},
    questions::{ANSWERS_RETRY_S, Questions},
    shares::CallerKeys,
    ticks::{
        payload::{TickPayload, TickView},
        subscriptions::Named,
        window::{Selection, Tick, Window},
    },
};

/// Distinct selections that are shared; a further one is encoded for its viewer alone.
const SELECTIONS_MAX: usize = 1024;
/// Snapshots kept for the newest tick, one a view.
const SNAPSHOTS_MAX: usize = 16;
/// Longer ones are written for each viewer.
const SNAPSHOT_KEPT_BYTES: usize = 1 << 20;
/// Samples that are written for a viewer on the thread that serves it: some 2 ms of work.
const OPENED_AT_ONCE_MAX: usize = 2_000;
/// Samples that a viewer gets on the thread that tells all of another epoch: of a long selection
/// as many of the newest ticks as have no more.
const RESTARTED_SAMPLES_MAX: usize = 20_000;
/// Frames that a viewer may be behind before they are merged into one. Fewer would merge what a
/// viewer could still have taken after a short hiccup of the machine at fast intervals, more
/// would have a viewer that comes back to life read what is long past.
const LAG_MAX: usize = 512;

/// Ticks of the window.
struct Held {
    ticks: Vec<Arc<Tick>>,
    /// Whether they are those that somebody missed, and not all.
    is_missed: bool,
    newest: At,
    /// Where the cursor of whoever has these goes on.
    next: Spot,
}

/// What every snapshot says beside its ticks.
#[derive(Debug)]
struct Facts {
    window: u64,
    interval_ms: u64,
    /// Nothing ticks, and nothing will.
    sourceless: AtomicBool,
}

/// The built-in tick, live: the window and the feed together, so that no tick falls between a
/// viewer's snapshot and its stream.
pub struct Live {
    facts: Arc<Facts>,
    /// Written by whoever publishes alone; readers copy what they need. Its ticks are of the run
    /// that the feed is of.
    window: RwLock<Window>,
    feed: Arc<Feed<TickPayload>>,
    /// Equal selections become one, so that their frames are encoded once.
    selections: Mutex<Vec<Weak<Selection>>>,
    /// Snapshots that go on at one place, emptied when a newer tick has come.
    snapshots: Mutex<(Option<Spot>, Snapshots)>,
    /// What viewers ask for by name. Leaf lock.
    named: Mutex<Named>,
}

/// The frame of each view.
type Snapshots = Vec<(TickView, Bytes)>;

impl Live {
    /// Nothing has ticked yet. `retained` ticks are kept for viewers that read slowly; at least
    /// the window.
    #[must_use]
    pub fn new(
        epoch: Epoch,
        window_size: usize,
        retained: usize,
        interval_ms: u64,
        clock: Clock,
        telemetry: &Arc<Telemetry>,
        fanout: &Fanout,
    ) -> Arc<Self> {
        let frames = retained.max(window_size);
        let feed = Feed::new(
            epoch,
            Bounds {
                frames,
                bytes: usize::MAX,
                lag: LAG_MAX,
            },
            fanout,
        );
        let facts = Arc::new(Facts {
            window: window_size.max(1) as u64,
            interval_ms,
            sourceless: AtomicBool::new(false),
        });
        let told = Arc::clone(&facts);
        feed.restart_with(move |held, newest, view| {
            told.restarted(held, newest, view, clock.now_ms())
        });
        Arc::new(Self {
            facts,
            window: RwLock::new(Window::new(window_size)),
            feed,
            selections: Mutex::default(),
            snapshots: Mutex::default(),
            named: Mutex::new(Named::new(telemetry)),
        })
    }

    /// There is no source: viewers are told an interval of 0, so that none of them waits for
    /// figures that will not come.
    pub fn expect_nothing(&self) {
        self.facts.sourceless.store(true, Ordering::Relaxed);
    }

    /// Takes in the ticks of a run before this one, `first` being the offset of the oldest; before
    /// anything else is published and before there are viewers.
    pub fn restore(&self, first: u64, ticks: impl IntoIterator<Item = Arc<Tick>>) {
        self.window.write().begin_behind(first.saturating_sub(1));
        self.feed.begin_at(first);
        for tick in ticks {
            self.window.write().push(Arc::clone(&tick));
            self.feed.append(TickPayload(tick));
        }
    }

    /// Takes a tick in and has it delivered.
    pub fn publish(&self, tick: Tick) -> Arc<Tick> {
        let tick = Arc::new(tick);
        self.window.write().push(Arc::clone(&tick));
        self.feed.append(TickPayload(Arc::clone(&tick)));
        tick
    }

    /// Takes in a tick that somebody else has numbered, and has it delivered; whether it is the
    /// one that follows on the newest. One that does not is left out: what is between is to be
    /// found first, or everything to be begun anew by [`Live::reset`].
    pub fn publish_at(&self, at: At, tick: Arc<Tick>) -> bool {
        {
            let mut window = self.window.write();
            if at.epoch != self.feed.epoch() || at.offset != window.newest_offset() + 1 {
                return false;
            }
            window.push(Arc::clone(&tick));
        }
        self.feed.append_at(at, TickPayload(tick))
    }

    /// Goes on under `epoch`, in which `ticks` are known, `first` being the offset of the oldest.
    /// Every viewer gets an `initial` with them, within a second.
    pub fn reset(&self, epoch: Epoch, first: u64, ticks: impl IntoIterator<Item = Arc<Tick>>) {
        let ticks: Vec<Arc<Tick>> = ticks.into_iter().collect();
        let mut window = self.window.write();
        window.restart_behind(first.saturating_sub(1));
        for tick in &ticks {
            window.push(Arc::clone(tick));
        }
        // Under the window's lock: whoever opens finds both before or both after.
        self.feed
            .reset(epoch, first, ticks.into_iter().map(TickPayload));
    }

    /// The epoch that ticks come under, and the offset of the newest; 0 before the first.
    #[must_use]
    pub fn newest(&self) -> At {
        let window = self.window.read();
        At {
            epoch: self.feed.epoch(),
            offset: window.newest_offset(),
        }
    }

    /// Reads the window under its lock.
    pub fn with_window<T>(&self, read: impl FnOnce(&Window) -> T) -> T {
        read(&self.window.read())
    }

    /// Whether nothing ticks at all.
    #[must_use]
    pub fn is_sourceless(&self) -> bool {
        self.facts.sourceless.load(Ordering::Relaxed)
    }

    /// Nominal milliseconds between ticks.
    #[must_use]
    pub fn interval_ms(&self) -> u64 {
        self.facts.interval_ms
    }

    /// The feed of ticks.
    #[must_use]
    pub fn feed(&self) -> &Arc<Feed<TickPayload>> {
        &self.feed
    }

    /// The view of all of this tenant who ask for these names (`[]`: the four). Names that nobody
    /// has asked for yet count for `keys`.
    #[must_use]
    pub fn view(
        &self,
        keys: &CallerKeys,
        tenant: &Arc<str>,
        names: Vec<String>,
        wire: Framing,
    ) -> TickView {
        if names.is_empty() {
            return TickView {
                selection: None,
                wire,
            };
        }
        let until = self.kept_until(self.with_window(|window| window.newest_offset()));
        // Those that are left out are counted by the shares.
        let (names, _) = self.named.lock().take_in(keys, tenant, names, until);
        let Some(selection) = Selection::new(Arc::clone(tenant), names) else {
            return TickView {
                selection: None,
                wire,
            };
        };
        let mut selections = self.selections.lock();
        selections.retain(|known| known.strong_count() > 0);
        let known = selections
            .iter()
            .filter_map(Weak::upgrade)
            .find(|known| **known == selection);
        let selection = known.unwrap_or_else(|| {
            let selection = Arc::new(selection);
            if selections.len() < SELECTIONS_MAX {
                selections.push(Arc::downgrade(&selection));
            }
            selection
        });
        TickView {
            selection: Some(selection),
            wire,
        }
    }

    /// The names of each tenant that the next tick is to have what was pushed under; sorted.
    #[must_use]
    pub fn named(&self) -> Vec<(Arc<str>, Vec<Arc<str>>)> {
        let next = self.with_window(|window| window.newest_offset()) + 1;
        self.named.lock().at_tick(next, self.kept_until(next))
    }

    /// The last tick for which a name is looked up that was asked for at tick `offset`.
    fn kept_until(&self, offset: u64) -> u64 {
        offset.saturating_add(self.with_window(|window| window.capacity()) as u64)
    }

    /// What a viewer gets on opening, and where its cursor starts: what it missed since
    /// `from` where that is still held, else the whole window.
    #[must_use]
    pub fn open(&self, view: &TickView, from: Option<&Position>, now_ms: i64) -> (Bytes, Spot) {
        let held = self.held(from);
        let next = held.next;
        if !held.is_missed
            && let Some(known) = self.known_snapshot(next, view)
        {
            return (known, next);
        }
        let message = self.message(&held, view.selection.as_deref(), now_ms);
        let bytes = view.frame(held.newest.id(), &message);
        if !held.is_missed && bytes.len() <= SNAPSHOT_KEPT_BYTES {
            let mut snapshots = self.snapshots.lock();
            if snapshots.0 < Some(next) {
                *snapshots = (Some(next), Vec::new());
            }
            if snapshots.0 == Some(next) && snapshots.1.len() < SNAPSHOTS_MAX {
                snapshots.1.push((view.clone(), bytes.clone()));
            }
        }
        (bytes, next)
    }

    fn known_snapshot(&self, next: Spot, view: &TickView) -> Option<Bytes> {
        let snapshots = self.snapshots.lock();
        let mut known = snapshots.1.iter().filter(|_| snapshots.0 == Some(next));
        let known = known.find(|(known, _)| known == view);
        known.map(|(_, bytes)| bytes.clone())
    }

    /// As [`Live::open`], for a viewer that `keys` stand for. A long answer is a question like all
    /// others: it waits for a turn, is written on a thread that may block, and counts until it is
    /// read.
    ///
    /// # Errors
    /// As [`Questions::admit`]; there is no memory for it.
    pub async fn open_for(
        self: &Arc<Self>,
        questions: &Arc<Questions>,
        keys: &CallerKeys,
        view: &TickView,
        from: Option<Position>,
        now_ms: i64,
    ) -> Result<(Bytes, Spot), AppError> {
        if !self.is_long(view.selection.as_deref()) {
            return Ok(self.open(view, from.as_ref(), now_ms));
        }
        let (live, view) = (Arc::clone(self), view.clone());
        let opened = questions.ask(keys.clone(), move |working| {
            let (bytes, next) = live.open(&view, from.as_ref(), now_ms);
            let held = working
                .hold(bytes)
                .map_err(|refused| AppError::unavailable(refused.to_string(), ANSWERS_RETRY_S));
            held.map(|bytes| (bytes, next))
        });
        opened.await?
    }

    /// Whether the window's ticks have more of what is selected than is written at once.
    #[must_use]
    pub fn is_long(&self, selection: Option<&Selection>) -> bool {
        let Some(selection) = selection else {
            return false;
        };
        let (newest, ticks) = self.with_window(|window| {
            let ticks = window.newest_offset() + 1 - window.first_offset();
            (window.newest().cloned(), ticks)
        });
        let most = usize::try_from(ticks).map_or(0, |ticks| OPENED_AT_ONCE_MAX / ticks.max(1));
        newest.is_some_and(|newest| newest.samples(Some(selection)).nth(most).is_some())
    }

    /// What is in the window since `from`, or all of it: copied, so that whoever writes it holds no
    /// lock that the next tick needs.
    fn held(&self, from: Option<&Position>) -> Held {
        let window = self.window.read();
        let epoch = self.feed.epoch();
        let from = from.filter(|from| from.is_of(epoch));
        let missed = from.and_then(|from| window.since(from.offset));
        let is_missed = missed.is_some();
        let ticks = match missed {
            Some(missed) => missed.cloned().collect(),
            None => window.ticks().cloned().collect(),
        };
        let newest = window.newest_offset();
        Held {
            ticks,
            is_missed,
            newest: At {
                epoch,
                offset: newest,
            },
            next: self.feed.with_log(|log| log.place_of(newest + 1)),
        }
    }

    /// What a client that asks now and then gets: what came since it asked last, where that is
    /// still held, else the whole window.
    #[must_use]
    pub fn poll(
        &self,
        selection: Option<&Selection>,
        from: Option<&Position>,
        now_ms: i64,
    ) -> ServerMessage {
        self.message(&self.held(from), selection, now_ms)
    }

    fn message(&self, held: &Held, selection: Option<&Selection>, now_ms: i64) -> ServerMessage {
        let ticks = held.ticks.iter();
        let snapshot = self.facts.snapshot(ticks, held.newest, selection, now_ms);
        match held.is_missed {
            true => ServerMessage::Resumed(snapshot),
            false => ServerMessage::Initial(snapshot),
        }
    }
}

impl Facts {
    fn snapshot<'a>(
        &self,
        ticks: impl Iterator<Item = &'a Arc<Tick>>,
        newest: At,
        selection: Option<&Selection>,
        sent_ms: i64,
    ) -> Snapshot {
        Snapshot {
            epoch: newest.epoch.to_string(),
            offset: newest.offset,
            window: self.window,
            interval_ms: match self.sourceless.load(Ordering::Relaxed) {
                true => 0,
                false => self.interval_ms,
            },
            sent_ms,
            data: ticks.flat_map(|tick| tick.metrics(selection)).collect(),
        }
    }

    /// What a viewer gets whose ticks go on under another epoch.
    fn restarted(
        &self,
        held: &[Arc<Frame<TickPayload>>],
        newest: At,
        view: &TickView,
        now_ms: i64,
    ) -> Bytes {
        let selection = view.selection.as_deref();
        let of_newest = held.last().map_or(0, |frame| {
            frame
                .payload()
                .0
                .samples(selection)
                .take(RESTARTED_SAMPLES_MAX)
                .count()
        });
        let most = usize::try_from(self.window).unwrap_or(usize::MAX);
        let most = most.min((RESTARTED_SAMPLES_MAX / of_newest.max(1)).max(1));
        let ticks = held[held.len().saturating_sub(most)..].iter();
        let ticks = ticks.map(|frame| &frame.payload().0);
        let snapshot = self.snapshot(ticks, newest, selection, now_ms);
        view.frame(newest.id(), &ServerMessage::Initial(snapshot))
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("epoch", &self.feed.epoch())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulseboard_feed::{FanoutPass, Member, Subscription};

    use super::*;
    use crate::ticks::window::built_in_series;

    const VIEWERS: usize = 3;
    const WIRE: Framing = Framing::SsePlain;

    #[derive(Clone, Debug)]
    enum Step {
        Tick,
        /// Goes on under the next epoch, of which so many of the newest ticks are known and whose
        /// offsets are so far from those of the one before.
        Reset {
            known: usize,
            shift: u64,
        },
        /// A viewer takes up to this many frames.
        Read {
            viewer: usize,
            count: usize,
        },
        Disconnect {
            viewer: usize,
        },
        /// A viewer comes (back), with the place that it has or without one.
        Connect {
            viewer: usize,
            resumes: bool,
        },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let viewer = || 0..VIEWERS;
        let step = prop_oneof![
            5 => Just(Step::Tick),
            1 => (0_usize..9, 0_u64..4).prop_map(|(known, shift)| Step::Reset { known, shift }),
            3 => (viewer(), 1_usize..6).prop_map(|(viewer, count)| Step::Read { viewer, count }),
            1 => viewer().prop_map(|viewer| Step::Disconnect { viewer }),
            2 => (viewer(), any::<bool>()).prop_map(|(viewer, resumes)| Step::Connect { viewer, resumes }),
        ];
        proptest::collection::vec(step, 0..200)
    }

    fn cpu_at(offset: u64) -> f64 {
        (offset * 37 % 89) as f64
    }

    fn tick(offset: u64) -> Tick {
        Tick {
            sampled_ms: offset.cast_signed() * 1000,
            sent_ms: 0,
            series: built_in_series().collect(),
            values: [cpu_at(offset), 0.0, 0.0, 0.0].into(),
            pushed: Arc::default(),
        }
    }

    fn read(bytes: &Bytes) -> ServerMessage {
        let text = std::str::from_utf8(bytes).expect("text");
        let (_, data) = text.split_once("\ndata: ").expect("an event");
        ServerMessage::parse(data.trim_end()).expect("a message")
    }

    fn cpus(data: &[pulseboard_shared::Metric]) -> Vec<f64> {
        let cpu = data.iter().filter(|sample| sample.name == "cpu_usage");
        cpu.map(|sample| sample.value).collect()
    }

    /// One who watches, and what it has: every tick up to `seen` of an epoch, once.
    #[derive(Default)]
    struct Viewer {
        cursor: Option<Subscription<TickPayload>>,
        seen: Option<(u64, u64)>,
    }

    proptest! {
        /// Any interleaving of ticks, new epochs, disconnects, resumes and slow reads delivers what
        /// a naive model says, which is a `Vec` of all of the epoch: who resumes within the window
        /// gets exactly what it missed, everybody else the whole window; from then on each tick
        /// comes once and in order, or inside one merged frame that sums up what was skipped; and
        /// where the epoch changed, once the window of the new one.
        #[test]
        fn viewers_get_what_a_naive_model_says(
            window in 1_usize..8,
            held_more in 0_usize..8,
            steps in steps(),
        ) {
            let telemetry = Arc::new(Telemetry::default());
            let fanout = Fanout::start(1, &telemetry.feed).expect("a thread");
            let held = window + held_more;
            let clock = Clock::manual(0);
            let live = Live::new(Epoch(7), window, held, 1000, clock, &telemetry, &fanout);
            let nobody = CallerKeys {
                client: None,
                address: None,
                token: None,
                tenant: None,
            };
            let view = live.view(&nobody, &"default".into(), Vec::new(), WIRE);
            let mut viewers: [Viewer; VIEWERS] = Default::default();
            // The epoch, its first tick that is known and the newest; offsets say what a tick is.
            let (mut epoch, mut first, mut newest) = (7, 1, 0);
            let all = |first: u64, last: u64| (first..=last).map(cpu_at).collect::<Vec<f64>>();
            for step in steps {
                match step {
                    Step::Tick => {
                        newest += 1;
                        if newest % 2 == 0 {
                            live.publish(tick(newest));
                        } else {
                            let at = |epoch, offset| At { epoch: Epoch(epoch), offset };
                            prop_assert!(!live.publish_at(at(epoch, newest + 1), tick(newest).into()));
                            prop_assert!(!live.publish_at(at(epoch + 1, newest), tick(newest).into()));
                            prop_assert!(live.publish_at(at(epoch, newest), tick(newest).into()));
                        }
                    }
                    Step::Reset { known, shift } => {
                        epoch += 1;
                        // Also to smaller offsets.
                        newest = (newest + 2).saturating_sub(shift);
                        first = (newest + 1).saturating_sub(known as u64).max(1);
                        live.reset(Epoch(epoch), first, (first..=newest).map(|at| tick(at).into()));
                    }
                    Step::Disconnect { viewer } => viewers[viewer].cursor = None,
                    Step::Connect { viewer, resumes } => {
                        let viewer = &mut viewers[viewer];
                        let from = viewer.seen.filter(|_| resumes);
                        let place = from.map(|(epoch, offset)| {
                            Position { epoch: epoch.to_string(), offset }
                        });
                        let (bytes, next) = live.open(&view, place.as_ref(), 0);
                        let first_held = (newest + 1).saturating_sub(window as u64).max(first);
                        let (snapshot, expected) = match (read(&bytes), from) {
                            (ServerMessage::Resumed(snapshot), Some((of, seen))) => {
                                prop_assert!(of == epoch && seen + 1 >= first_held);
                                (snapshot, all(seen + 1, newest))
                            }
                            (ServerMessage::Initial(snapshot), from) => {
                                let is_held = |(of, seen)| of == epoch && seen + 1 >= first_held;
                                prop_assert!(!from.is_some_and(is_held));
                                (snapshot, all(first_held, newest))
                            }
                            (other, _) => panic!("unexpected: {other:?}"),
                        };
                        prop_assert_eq!(cpus(&snapshot.data), expected);
                        prop_assert_eq!((snapshot.epoch, snapshot.offset), (epoch.to_string(), newest));
                        viewer.seen = Some((epoch, newest));
                        let feed = Arc::clone(live.feed());
                        viewer.cursor = Some(Subscription::new(feed, next, view.clone(), 0));
                    }
                    Step::Read { viewer, count } => {
                        let Viewer { cursor: Some(cursor), seen: Some((of, seen)) } =
                            &mut viewers[viewer]
                        else {
                            continue;
                        };
                        for _ in 0..count {
                            let Some(step) = cursor.next(&mut FanoutPass::alone()) else {
                                prop_assert_eq!((*of, *seen), (epoch, newest));
                                break;
                            };
                            if *of != epoch {
                                let ServerMessage::Initial(snapshot) = read(&step.bytes) else {
                                    panic!("the epoch changed, and it was not told");
                                };
                                let first_held = (newest + 1).saturating_sub(window as u64).max(first);
                                prop_assert_eq!(cpus(&snapshot.data), all(first_held, newest));
                                prop_assert_eq!(
                                    (snapshot.epoch, snapshot.offset, snapshot.window),
                                    (epoch.to_string(), newest, window as u64)
                                );
                                (*of, *seen) = (epoch, newest);
                                continue;
                            }
                            let behind = newest - *seen;
                            match read(&step.bytes) {
                                ServerMessage::Metrics(tick) => {
                                    prop_assert!(behind <= held as u64);
                                    prop_assert_eq!(tick.epoch, epoch.to_string());
                                    prop_assert_eq!(tick.offset, *seen + 1);
                                    prop_assert_eq!(cpus(&tick.data), all(tick.offset, tick.offset));
                                    *seen += 1;
                                }
                                ServerMessage::Merged(merged) => {
                                    prop_assert!(behind > held as u64);
                                    prop_assert_eq!(
                                        (merged.first_offset, merged.last_offset, merged.offset),
                                        (*seen + 1, newest, newest)
                                    );
                                    prop_assert_eq!(step.skipped, behind);
                                    let summed = all(newest + 1 - held as u64, newest);
                                    let of = |pick: fn(f64, f64) -> f64| summed.iter().copied().reduce(pick);
                                    let cpu = &merged.data[0];
                                    prop_assert_eq!(Some(cpu.min), of(f64::min));
                                    prop_assert_eq!(Some(cpu.max), of(f64::max));
                                    prop_assert_eq!(Some(&cpu.last), summed.last());
                                    prop_assert_eq!(cpu.count, held as u64);
                                    *seen = newest;
                                }
                                other => panic!("unexpected: {other:?}"),
                            }
                        }
                    }
                }
            }
        }
    }
}
