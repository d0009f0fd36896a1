//! What was pushed and viewers of the tick subscribed to by name: looked up at each tick.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use pulseboard_engine::{Found, Selector, Tenant};

use crate::{
    app::App,
    telemetry::Limit,
    window::{Pushed, Series},
};

/// Pushed samples of one tenant in a tick, and of all; each is held as long as the tick is.
const PER_TENANT_MAX: usize = 1_000;
const PUSHED_MAX: usize = 4_000;

type Known = HashMap<Arc<str>, HashMap<Box<[u8]>, Arc<Series>>>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Gleaner {
    /// The series of the last tick's pushed samples, by tenant and key: the next tick's are mostly
    /// the same.
    known: Known,
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
            let others = asked.iter().filter(|asked| !self.own.contains(&***asked));
            let mut gleaning = Gleaning {
                tenant: name,
                room,
                before,
                now: HashMap::new(),
                pushed: &mut pushed,
            };
            for asked in others {
                let found = find(app, &tenant, asked, gleaning.room + 1, now_ms);
                if !gleaning.take(found) {
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

/// All series of a metric's name, or the one of a whole name.
fn find(app: &App, tenant: &Tenant, asked: &str, max: usize, now_ms: i64) -> Vec<Found> {
    // What cannot be read names nothing.
    let Ok(selector) = Selector::parse(asked) else {
        return Vec::new();
    };
    let is_whole = asked.contains('{');
    let engine = &app.storage.engine;
    let is_it = |key: pulseboard_series::KeyRef<'_>| !is_whole || key.to_string() == asked;
    engine.find(tenant, &selector, is_it, None, max, now_ms).0
}
