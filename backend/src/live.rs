//! The built-in tick, live: window and feed together, and what a viewer gets on opening.
//!
//! A tick goes into the window first and into the feed second. A viewer takes its snapshot from
//! the window and puts its cursor right behind the newest tick in it, so no tick falls between
//! snapshot and stream and none comes twice, whatever happens meanwhile.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use pulseboard_shared::{
    Stats, Timestamp,
    protocol::metrics::{Merged, MergedSeries, ServerMessage, Snapshot, Tick as WireTick},
};

use crate::{
    feed::{Bounds, Epoch, EventId, Fanout, Feed, Frame, Payload, Position},
    stream::{sse, viewer::Wire, ws},
    window::{Selection, Tick, Window},
};

/// Distinct selections that are shared; a further one is encoded for its viewer alone.
const SELECTIONS_MAX: usize = 1024;
/// Snapshots kept for the newest tick, one a view.
const SNAPSHOTS_MAX: usize = 16;
/// Frames that a viewer may be behind before they are merged into one. Fewer would merge what a
/// viewer could still have taken after a short hiccup of the machine at fast intervals, more
/// would have a viewer that comes back to life read what is long past.
const LAG_MAX: usize = 512;

/// How ticks are written for a viewer.
#[derive(Clone, Debug)]
pub struct TickView {
    /// `None`: the four built-in metrics.
    pub selection: Option<Arc<Selection>>,
    /// What it is framed for.
    pub wire: Wire,
}

impl TickView {
    /// A message on this view's wire; `id` is its frame's, for event streams.
    fn frame(&self, id: EventId, message: &ServerMessage) -> Bytes {
        match self.wire {
            Wire::WebSocket(form) => ws::metrics_message(form, message),
            wire => {
                let event = sse::event(None, Some(&id.to_string()), &crate::json_text(message));
                sse::frame(&event, wire)
            }
        }
    }
}

impl PartialEq for TickView {
    fn eq(&self, other: &Self) -> bool {
        let same_selection = match (&self.selection, &other.selection) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        same_selection && self.wire == other.wire
    }
}

/// A tick in the feed.
#[derive(Debug)]
pub struct TickPayload {
    epoch: Epoch,
    tick: Arc<Tick>,
}

impl TickPayload {
    /// A tick in the log called `epoch`.
    #[must_use]
    pub fn new(epoch: Epoch, tick: Arc<Tick>) -> Self {
        Self { epoch, tick }
    }
}

impl Payload for TickPayload {
    type View = TickView;

    fn encode(&self, offset: u64, view: &TickView) -> Bytes {
        view.frame(
            EventId::new(self.epoch, offset),
            &ServerMessage::Metrics(WireTick {
                epoch: self.epoch.to_string(),
                offset,
                sampled_ms: self.tick.sampled_ms,
                sent_ms: self.tick.sent_ms,
                data: self.tick.metrics(view.selection.as_deref()).collect(),
            }),
        )
    }

    fn merge(held: &[Arc<Frame<Self>>], first: u64, last: u64, view: &TickView) -> Bytes {
        let Some(newest) = held.last().map(|frame| frame.payload()) else {
            return Bytes::new();
        };
        // Series that appeared or went away on the way are in the newest tick or of no interest.
        let data = newest
            .tick
            .samples(view.selection.as_deref())
            .map(|(series, _)| {
                let samples = held.iter().filter_map(|frame| {
                    let tick = &frame.payload().tick;
                    tick.series
                        .iter()
                        .position(|known| known == series)
                        .map(|index| (tick.values[index], tick.sampled_ms))
                });
                let (values, times): (Vec<f64>, Vec<i64>) =
                    samples.filter(|(value, _)| value.is_finite()).unzip();
                let stats = Stats::of(values.iter().copied());
                MergedSeries {
                    name: series.name.to_string(),
                    unit: series.unit.to_string(),
                    labels: series.labels.clone(),
                    min: stats.min,
                    max: stats.max,
                    last: values.last().copied().unwrap_or(f64::NAN),
                    count: stats.count,
                    timestamp: Timestamp::from_millis(
                        times.last().copied().unwrap_or(newest.tick.sampled_ms),
                    ),
                }
            });
        view.frame(
            EventId::new(newest.epoch, last),
            &ServerMessage::Merged(Merged {
                epoch: newest.epoch.to_string(),
                offset: last,
                first_offset: first,
                last_offset: last,
                data: data.collect(),
            }),
        )
    }
}

/// The built-in tick. See the module.
pub struct Live {
    epoch: Epoch,
    interval_ms: u64,
    /// Written by the ticker alone; readers copy what they need.
    window: RwLock<Window>,
    feed: Arc<Feed<TickPayload>>,
    /// Equal selections become one, so that their frames are encoded once.
    selections: Mutex<Vec<Weak<Selection>>>,
    /// Snapshots of the newest tick, emptied when a newer one has come.
    snapshots: Mutex<(u64, Vec<(TickView, Bytes)>)>,
}

impl Live {
    /// Nothing has ticked yet. `retained` ticks are kept for viewers that read slowly; at least
    /// the window.
    #[must_use]
    pub fn new(
        epoch: Epoch,
        window_size: usize,
        retained: usize,
        interval_ms: u64,
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
        Arc::new(Self {
            epoch,
            interval_ms,
            window: RwLock::new(Window::new(window_size)),
            feed,
            selections: Mutex::default(),
            snapshots: Mutex::default(),
        })
    }

    /// Takes in the ticks of a run before this one, `first` being the offset of the oldest; before
    /// anything else is published and before there are viewers.
    pub fn restore(&self, first: u64, ticks: impl IntoIterator<Item = Arc<Tick>>) {
        self.window.write().begin_behind(first.saturating_sub(1));
        self.feed.begin_at(first);
        for tick in ticks {
            self.window.write().push(Arc::clone(&tick));
            self.feed.append(TickPayload::new(self.epoch, tick));
        }
    }

    /// Takes a tick in and has it delivered.
    pub fn publish(&self, tick: Tick) -> Arc<Tick> {
        let tick = Arc::new(tick);
        self.window.write().push(Arc::clone(&tick));
        self.feed.append(TickPayload {
            epoch: self.epoch,
            tick: Arc::clone(&tick),
        });
        tick
    }

    /// Reads the window under its lock.
    pub fn with_window<T>(&self, read: impl FnOnce(&Window) -> T) -> T {
        read(&self.window.read())
    }

    /// Nominal milliseconds between ticks.
    #[must_use]
    pub fn interval_ms(&self) -> u64 {
        self.interval_ms
    }

    /// The feed of ticks.
    #[must_use]
    pub fn feed(&self) -> &Arc<Feed<TickPayload>> {
        &self.feed
    }

    /// The view of all who ask for these names (`[]`: the four).
    #[must_use]
    pub fn view(&self, names: Vec<String>, wire: Wire) -> TickView {
        let Some(selection) = Selection::new(names) else {
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

    /// What a viewer gets on opening, and the offset its cursor starts at: what it missed since
    /// `from` where that is still held, else the whole window.
    #[must_use]
    pub fn open(&self, view: &TickView, from: Option<&Position>, now_ms: i64) -> (Bytes, u64) {
        let window = self.window.read();
        let newest = window.newest_offset();
        let id = EventId::new(self.epoch, newest);
        if let Some(snapshot) = self.missed(&window, from, view.selection.as_deref(), now_ms) {
            return (
                view.frame(id, &ServerMessage::Resumed(snapshot)),
                newest + 1,
            );
        }
        let mut snapshots = self.snapshots.lock();
        if snapshots.0 != newest {
            *snapshots = (newest, Vec::new());
        }
        if let Some((_, bytes)) = snapshots.1.iter().find(|(known, _)| known == view) {
            return (bytes.clone(), newest + 1);
        }
        let snapshot = self.snapshot(&window, now_ms, view.selection.as_deref(), window.ticks());
        let bytes = view.frame(id, &ServerMessage::Initial(snapshot));
        if snapshots.1.len() < SNAPSHOTS_MAX {
            snapshots.1.push((view.clone(), bytes.clone()));
        }
        (bytes, newest + 1)
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
        let window = self.window.read();
        match self.missed(&window, from, selection, now_ms) {
            Some(snapshot) => ServerMessage::Resumed(snapshot),
            None => {
                ServerMessage::Initial(self.snapshot(&window, now_ms, selection, window.ticks()))
            }
        }
    }

    fn missed(
        &self,
        window: &Window,
        from: Option<&Position>,
        selection: Option<&Selection>,
        now_ms: i64,
    ) -> Option<Snapshot> {
        let from = from.filter(|from| from.is_of(self.epoch))?;
        let missed = window.since(from.offset)?;
        Some(self.snapshot(window, now_ms, selection, missed))
    }

    fn snapshot<'a>(
        &self,
        window: &Window,
        now_ms: i64,
        selection: Option<&Selection>,
        ticks: impl Iterator<Item = &'a Arc<Tick>>,
    ) -> Snapshot {
        Snapshot {
            epoch: self.epoch.to_string(),
            offset: window.newest_offset(),
            window: window.capacity() as u64,
            interval_ms: self.interval_ms,
            sent_ms: now_ms,
            data: ticks.flat_map(|tick| tick.metrics(selection)).collect(),
        }
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
