//! What was pushed and viewers of the tick subscribed to by name: looked up for each tick, on a
//! thread for that.
//!
//! ```text
//! tick n ──begins, unless it still runs──▶ looks up ──▶ newest ──▶ tick n, where it took less than
//!    └ published once it is measured, with the newest there is  its patience, else n + 1
//! ```
//!
//! A tick has the newest sample of each series in any case, until a newer one comes, so what comes
//! late is not missed and nothing is told in another order. Names were read when they were
//! subscribed to; here each is a look-up or two. Tenants share the time, the samples and the bytes
//! evenly; what one leaves is for those behind it.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
    time::{Duration, Instant},
};

use pulseboard_engine::{Found, NamedSeries};
use tokio::task::JoinHandle;

use crate::{
    app::App,
    base::telemetry::Limit,
    ticks::window::{Pushed, Series},
};

/// Pushed samples of one tenant in a tick, and of all; each is held as long as the tick is.
const PER_TENANT_MAX: usize = 1_000;
const PUSHED_MAX: usize = 4_000;

/// Bytes of the names and labels of one tenant's, and of all: a window of ticks has them once for
/// each tick where it is sent.
const BYTES_PER_TENANT_MAX: usize = 256 * 1024;
const BYTES_MAX: usize = 1 << 20;

/// Time that looking up may take for a tick; what is left is not in it.
const TIME_MAX: Duration = Duration::from_millis(200);

/// A tick waits for what was pushed for this part of the interval; a few hundred names take less,
/// and nobody sees so little.
const PATIENCE_PARTS: u32 = 50;

/// And at most so long.
const PATIENCE_MAX: Duration = Duration::from_millis(20);

type Known = HashMap<Arc<str>, HashMap<Box<[u8]>, Arc<Series>>>;

/// Looks up what viewers of the tick subscribed to by name, on a thread for that, and has the
/// newest that was found.
#[derive(Debug, Default)]
pub(super) struct PushedSamples {
    /// `None` while it is at work.
    collector: Option<Collector>,
    running: Option<JoinHandle<(Collector, Arc<[Pushed]>)>>,
    newest: Arc<[Pushed]>,
}

impl PushedSamples {
    /// Begins to look up what is pushed by now, unless that still goes on; `own` are the series
    /// that are in the tick anyway.
    pub(super) fn begin(&mut self, app: &Arc<App>, own: &Arc<[Series]>, now_ms: i64) {
        if self.running.is_some() {
            return;
        }
        let asked = app.live.named();
        if asked.is_empty() {
            (self.collector, self.newest) = (None, Arc::default());
            return;
        }
        let (app, own) = (Arc::clone(app), Arc::clone(own));
        self.spawn(move |collector| collector.collect(&app, asked, &own, now_ms));
    }

    fn spawn(&mut self, work: impl FnOnce(&mut Collector) -> Arc<[Pushed]> + Send + 'static) {
        let mut collector = self.collector.take().unwrap_or_default();
        self.running = Some(tokio::task::spawn_blocking(move || {
            let pushed = work(&mut collector);
            (collector, pushed)
        }));
    }

    /// The newest that is known; waits a little for newer.
    pub(super) async fn newest(&mut self, app: &App) -> Arc<[Pushed]> {
        let interval = Duration::from_millis(app.live.interval_ms());
        let patience = PATIENCE_MAX.min(interval / PATIENCE_PARTS);
        self.newest_within(patience, || {
            app.telemetry.panics.inc();
            tracing::error!("looking up what was pushed panicked");
        })
        .await
    }

    async fn newest_within(&mut self, patience: Duration, panicked: impl Fn()) -> Arc<[Pushed]> {
        if let Some(running) = &mut self.running
            && let Ok(ended) = tokio::time::timeout(patience, running).await
        {
            self.running = None;
            match ended {
                Ok((collector, pushed)) => {
                    (self.collector, self.newest) = (Some(collector), pushed)
                }
                Err(_) => panicked(),
            }
        }
        Arc::clone(&self.newest)
    }
}

/// What is known from the tick before.
#[derive(Debug, Default)]
struct Collector {
    /// The series of the last tick's pushed samples, by tenant and key: the next tick's are mostly
    /// the same.
    known: Known,
    /// Names as they are looked up, by tenant; `None` for what names nothing.
    read: HashMap<Arc<str>, HashMap<Arc<str>, Option<NamedSeries>>>,
    /// Names and keys of what is in the tick anyway, and what they were taken from.
    own: HashSet<String>,
    own_of: Option<Arc<[Series]>>,
}

impl Collector {
    /// The newest sample of each pushed series that somebody asks for, as long as it goes on;
    /// `own` are the series that are in the tick anyway.
    fn collect(
        &mut self,
        app: &App,
        asked: Vec<(Arc<str>, Vec<Arc<str>>)>,
        own: &Arc<[Series]>,
        now_ms: i64,
    ) -> Arc<[Pushed]> {
        let mut before = std::mem::take(&mut self.known);
        let mut read_before = std::mem::take(&mut self.read);
        let began = Instant::now();
        self.learn(own);
        let mut pushed = Vec::new();
        let mut left = Room {
            samples: PUSHED_MAX,
            bytes: BYTES_MAX,
        };
        let tenants = asked.len();
        for (index, (name, asked)) in asked.into_iter().enumerate() {
            let rest = tenants - index;
            let Some(tenant) = app.storage.engine.known_tenant(&name) else {
                continue;
            };
            let time = TIME_MAX.saturating_sub(began.elapsed());
            let until = Instant::now() + time / u32::try_from(rest).unwrap_or(u32::MAX);
            let part = left.part(rest);
            let before = before.remove(&name).unwrap_or_default();
            let mut known_names = read_before.remove(&name).unwrap_or_default();
            let names = self.read.entry(Arc::clone(&name)).or_default();
            let others = asked.iter().filter(|asked| !self.own.contains(&***asked));
            let mut gathering = Gathering {
                tenant: name,
                room: part,
                before,
                now: HashMap::new(),
                pushed: &mut pushed,
            };
            for asked in others {
                if Instant::now() > until {
                    app.telemetry.count_limit(Limit::Subscriptions);
                    break;
                }
                let named = match known_names.remove(asked) {
                    Some(known) => known,
                    None => NamedSeries::parse(asked).ok(),
                };
                let mut is_full = false;
                if let Some(named) = &named {
                    let engine = &app.storage.engine;
                    let max = gathering.room.samples + 1;
                    let mut found = engine.named(&tenant, named, max, now_ms);
                    found.sort_unstable_by(|one, other| one.key.cmp(&other.key));
                    if asked.contains('{') {
                        // Viewers compare the text.
                        found.retain(|found| found.key().to_string() == **asked);
                    }
                    is_full = !gathering.take(found);
                }
                names.insert(Arc::clone(asked), named);
                if is_full {
                    app.telemetry.count_limit(Limit::Subscriptions);
                    break;
                }
            }
            left.samples -= part.samples - gathering.room.samples;
            left.bytes -= part.bytes - gathering.room.bytes;
            self.known.insert(gathering.tenant, gathering.now);
        }
        pushed.into()
    }

    fn learn(&mut self, own: &Arc<[Series]>) {
        let is_known = self.own_of.as_ref().is_some_and(|of| Arc::ptr_eq(of, own));
        if !is_known {
            let names = own.iter().map(|series| series.name.to_string());
            self.own = names
                .chain(own.iter().map(|series| series.key.clone()))
                .collect();
            self.own_of = Some(Arc::clone(own));
        }
    }
}

/// How much there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    samples: usize,
    bytes: usize,
}

impl Room {
    /// An even part for the next one of so many tenants.
    fn part(self, tenants: usize) -> Self {
        Self {
            samples: PER_TENANT_MAX.min(self.samples / tenants.max(1)),
            bytes: BYTES_PER_TENANT_MAX.min(self.bytes / tenants.max(1)),
        }
    }
}

/// One tenant's part.
struct Gathering<'a> {
    tenant: Arc<str>,
    room: Room,
    before: HashMap<Box<[u8]>, Arc<Series>>,
    now: HashMap<Box<[u8]>, Arc<Series>>,
    pushed: &'a mut Vec<Pushed>,
}

impl Gathering<'_> {
    /// Whether there was room for all of them.
    fn take(&mut self, found: Vec<Found>) -> bool {
        for found in found {
            let Some((at_ms, value)) = found.last.filter(|_| !found.is_stopped) else {
                continue;
            };
            // A metric's name and a whole series may name the same.
            let Entry::Vacant(place) = self.now.entry(found.key.clone()) else {
                continue;
            };
            let bytes = self.room.bytes.checked_sub(found.key.len());
            let samples = self.room.samples.checked_sub(1);
            let (Some(samples), Some(bytes)) = (samples, bytes) else {
                return false;
            };
            self.room = Room { samples, bytes };
            let known = self.before.remove(&found.key);
            let series = known
                .filter(|series| *series.unit == *found.unit)
                .unwrap_or_else(|| Arc::new(series_of(&found)));
            place.insert(Arc::clone(&series));
            self.pushed.push(Pushed {
                tenant: Arc::clone(&self.tenant),
                series,
                value,
                at_ms,
            });
        }
        true
    }
}

fn series_of(found: &Found) -> Series {
    let key = found.key();
    let labels = key
        .labels()
        .map(|(label, value)| (label.to_owned(), value.to_owned()));
    Series::new(key.name(), &found.unit, labels.collect())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    fn pushed(value: f64) -> Arc<[Pushed]> {
        Arc::from([Pushed {
            tenant: "a".into(),
            series: Arc::new(Series::new("x", "", Default::default())),
            value,
            at_ms: 1,
        }])
    }

    fn values(pushed: &[Pushed]) -> Vec<f64> {
        pushed.iter().map(|pushed| pushed.value).collect()
    }

    #[tokio::test]
    async fn a_tick_does_not_wait_for_what_takes_long_and_the_next_one_has_it() {
        let mut samples = PushedSamples::default();
        samples.spawn(|_| pushed(1.0));
        let newest = samples.newest_within(Duration::from_secs(30), || {}).await;
        assert_eq!(values(&newest), [1.0]);
        // Now it takes as long as this test likes.
        let (go_on, waits) = mpsc::channel::<()>();
        samples.spawn(move |_| {
            waits.recv().expect("told");
            pushed(2.0)
        });
        for _ in 0..3 {
            let newest = samples.newest_within(SOON, || {}).await;
            assert_eq!(values(&newest), [1.0], "the newest that there is");
            assert!(samples.running.is_some(), "and no second one is begun");
        }
        go_on.send(()).expect("it waits");
        let newest = samples.newest_within(Duration::from_secs(30), || {}).await;
        assert_eq!(values(&newest), [2.0]);
        let again = samples.newest_within(SOON, || {}).await;
        assert_eq!(values(&again), [2.0], "until there is a newer one");
    }

    #[tokio::test]
    async fn a_panic_is_counted_and_the_next_tick_begins_anew() {
        let mut samples = PushedSamples::default();
        samples.spawn(|_| panic!("on purpose"));
        let count = std::cell::Cell::new(0);
        let panicked = || count.set(count.get() + 1);
        samples
            .newest_within(Duration::from_secs(30), panicked)
            .await;
        assert_eq!(count.get(), 1);
        samples.spawn(|_| pushed(1.0));
        let newest = samples.newest_within(Duration::from_secs(30), || {}).await;
        assert_eq!(values(&newest), [1.0]);
    }

    #[test]
    fn tenants_have_even_parts_and_what_one_leaves_is_for_the_next() {
        let all = Room {
            samples: PUSHED_MAX,
            bytes: BYTES_MAX,
        };
        assert_eq!(all.part(1).samples, PER_TENANT_MAX);
        assert_eq!(all.part(8).samples, PUSHED_MAX / 8);
        let mut left = all;
        for rest in (1..=8).rev() {
            let part = left.part(rest);
            assert!(part.samples >= PUSHED_MAX / 8 && part.bytes >= BYTES_MAX / 8);
            // Every other one takes all of it.
            if rest % 2 == 0 {
                left.samples -= part.samples;
                left.bytes -= part.bytes;
            }
        }
    }
}
