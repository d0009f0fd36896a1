//! What was pushed and viewers of the tick subscribed to by name: looked up at each tick.
//!
//! Names were read when they were subscribed to; here each is a look-up or two, and the whole is
//! given up after [`TIME_MAX`], so that a tick is never late for them.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
    time::{Duration, Instant},
};

use pulseboard_engine::{Found, NamedSeries};

use crate::{
    app::App,
    base::telemetry::Limit,
    ticks::window::{Pushed, Series},
};

/// Pushed samples of one tenant in a tick, and of all; each is held as long as the tick is.
const PER_TENANT_MAX: usize = 1_000;
const PUSHED_MAX: usize = 4_000;

/// Time that looking up may take at a tick; what is left is not in this one.
const TIME_MAX: Duration = Duration::from_millis(20);

type Known = HashMap<Arc<str>, HashMap<Box<[u8]>, Arc<Series>>>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Gleaner {
    /// The series of the last tick's pushed samples, by tenant and key: the next tick's are mostly
    /// the same.
    known: Known,
    /// Names as they are looked up, by tenant; `None` for what names nothing.
    read: HashMap<Arc<str>, HashMap<Arc<str>, Option<NamedSeries>>>,
    /// Names and keys of what is in the tick anyway, and what they were taken from.
    own: HashSet<String>,
    own_of: Option<Arc<[Series]>>,
}

impl Gleaner {
    /// The newest sample of each pushed series that somebody asks for, as long as it goes on;
    /// `own` are the series that are in the tick anyway.
    pub(super) fn glean(&mut self, app: &App, own: &Arc<[Series]>, now_ms: i64) -> Box<[Pushed]> {
        let asked = app.live.named();
        let mut before = std::mem::take(&mut self.known);
        let mut read_before = std::mem::take(&mut self.read);
        let began = Instant::now();
        if asked.is_empty() {
            return Box::default();
        }
        self.learn(own);
        let mut pushed = Vec::new();
        for (name, asked) in asked {
            let Some(tenant) = app.storage.engine.known_tenant(&name) else {
                continue;
            };
            let room = PER_TENANT_MAX.min(PUSHED_MAX - pushed.len());
            let before = before.remove(&name).unwrap_or_default();
            let mut known_names = read_before.remove(&name).unwrap_or_default();
            let names = self.read.entry(Arc::clone(&name)).or_default();
            let others = asked.iter().filter(|asked| !self.own.contains(&***asked));
            let mut gleaning = Gleaning {
                tenant: name,
                room,
                before,
                now: HashMap::new(),
                pushed: &mut pushed,
            };
            for asked in others {
                if began.elapsed() > TIME_MAX {
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
                    let mut found = engine.named(&tenant, named, gleaning.room + 1, now_ms);
                    found.sort_unstable_by(|one, other| one.key.cmp(&other.key));
                    if asked.contains('{') {
                        // Viewers compare the text.
                        found.retain(|found| found.key().to_string() == **asked);
                    }
                    is_full = !gleaning.take(found);
                }
                names.insert(Arc::clone(asked), named);
                if is_full {
                    app.telemetry.count_limit(Limit::Subscriptions);
                    break;
                }
            }
            self.known.insert(gleaning.tenant, gleaning.now);
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

/// One tenant's part.
struct Gleaning<'a> {
    tenant: Arc<str>,
    /// Samples that there is room for.
    room: usize,
    before: HashMap<Box<[u8]>, Arc<Series>>,
    now: HashMap<Box<[u8]>, Arc<Series>>,
    pushed: &'a mut Vec<Pushed>,
}

impl Gleaning<'_> {
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
            if self.room == 0 {
                return false;
            }
            self.room -= 1;
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
