//! Expressions that are live: what the view that is shown has evaluated for it, once a step, and
//! what came of that since its history was asked for.

use yewdux::store::Store;

use super::shared::Shared;
use crate::net::{
    rooms::{Evaluated, Incoming, WatchRequest},
    series::Step,
};

/// An expression is evaluated no less often than this, in milliseconds: what is shown is live.
const EVERY_MS_MAX: f64 = 1_000.0;

/// Values of one expression that are kept; past it the oldest go. They come again with the next
/// history.
const KEPT_MAX: usize = 30_000;

/// Lines of one expression that are kept up to date; no more of them are asked for, either.
const LINES_MAX: usize = crate::net::prom::SERIES_MAX;

/// What is to be live.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The expression.
    pub query: String,
    /// Between two steps of the history, in milliseconds.
    pub step_ms: f64,
    /// How long values are of use: until the history has them for sure.
    pub keep_ms: f64,
}

impl Wanted {
    /// How often it is evaluated: at each step of a fine history, and each second of a coarse one.
    fn every_ms(&self) -> f64 {
        let step_ms = self.step_ms.max(1.0);
        step_ms.min(EVERY_MS_MAX)
    }
}

/// A line that is live: its steps since the history, oldest first, and its newest value, which may
/// be between two steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveLine {
    /// As one writes its labels; empty where it has none.
    pub key: String,
    steps: Vec<(f64, f64)>,
    newest: Option<(f64, f64)>,
}

impl LiveLine {
    /// What is to be drawn of it behind `after_ms`.
    pub fn steps(&self, after_ms: f64) -> impl Iterator<Item = Step> + use<'_> {
        let begin = self.steps.partition_point(|(at_ms, _)| *at_ms <= after_ms);
        let last_ms = self.steps.last().map_or(after_ms, |(at_ms, _)| *at_ms);
        let newest = self
            .newest
            .filter(|(at_ms, _)| *at_ms > last_ms.max(after_ms));
        let all = self.steps[begin..].iter().copied().chain(newest);
        all.map(|(at_ms, value)| Step::of(at_ms, value))
    }

    /// Its value at the newest evaluation, where it has one.
    #[must_use]
    pub fn newest(&self) -> Option<f64> {
        self.newest.map(|(_, value)| value)
    }
}

/// One expression as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    wanted: Wanted,
    /// The server evaluates it for this page.
    pub is_live: bool,
    /// When it was evaluated last, Unix milliseconds; 0 before that.
    pub at_ms: f64,
    /// In the order in which they came.
    pub lines: Vec<LiveLine>,
}

impl Live {
    /// The expression.
    #[must_use]
    pub fn query(&self) -> &str {
        &self.wanted.query
    }

    fn take(&mut self, values: &[Evaluated]) {
        let step_ms = self.wanted.step_ms.max(1.0);
        for value in values {
            self.at_ms = self.at_ms.max(value.at_ms);
            let known = self.lines.iter().position(|line| line.key == value.key);
            let Some(place) = known.or_else(|| {
                (self.lines.len() < LINES_MAX).then(|| {
                    self.lines.push(LiveLine {
                        key: value.key.clone(),
                        ..LiveLine::default()
                    });
                    self.lines.len() - 1
                })
            }) else {
                continue;
            };
            let line = &mut self.lines[place];
            line.newest = value.value.map(|figure| (value.at_ms, figure));
            let last_ms = line.steps.last().map_or(f64::MIN, |(at_ms, _)| *at_ms);
            if let Some(figure) = value.value
                && (value.at_ms / step_ms).floor() * step_ms == value.at_ms
                && value.at_ms > last_ms
            {
                line.steps.push((value.at_ms, figure));
            }
        }
        let kept_max = KEPT_MAX / self.lines.len().max(1);
        let from_ms = self.at_ms - self.wanted.keep_ms;
        for line in &mut self.lines {
            let old = line.steps.partition_point(|(at_ms, _)| *at_ms < from_ms);
            let excess = line.steps.len().saturating_sub(kept_max);
            line.steps.drain(..old.max(excess));
        }
        self.lines
            .retain(|line| line.newest.is_some() || !line.steps.is_empty());
    }
}

/// What is live on the page.
#[derive(Clone, Debug, Default, Store)]
pub struct LiveStore {
    /// What each part of the view wants, by the part's number.
    wants: Shared<Vec<(u32, Vec<Wanted>)>>,
    all: Shared<Vec<Shared<Live>>>,
    revision: u64,
}

impl PartialEq for LiveStore {
    fn eq(&self, other: &Self) -> bool {
        self.revision == other.revision
    }
}

impl LiveStore {
    /// From now on part number `whose` of the view wants exactly this live. What was so already
    /// goes on, and what several parts want is there once.
    pub fn want(&mut self, whose: u32, wanted: &[Wanted]) {
        let wants = self.wants.make_mut();
        wants.retain(|(other, _)| *other != whose);
        if !wanted.is_empty() {
            wants.push((whose, wanted.to_vec()));
        }
        let mut all: Vec<Shared<Live>> = Vec::new();
        for wanted in self.wants.iter().flat_map(|(_, wanted)| wanted) {
            if all.iter().any(|live| live.query() == wanted.query) {
                continue;
            }
            let known = self.all.iter().find(|live| live.wanted == *wanted);
            let live = known.cloned().unwrap_or_else(|| {
                Shared::new(Live {
                    wanted: wanted.clone(),
                    is_live: false,
                    at_ms: 0.0,
                    lines: Vec::new(),
                })
            });
            all.push(live);
        }
        self.all = Shared::new(all);
        self.revision += 1;
    }

    /// What is to be watched for it.
    #[must_use]
    pub fn watch_requests(&self) -> Vec<WatchRequest> {
        let request = |live: &Shared<Live>| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a second at most"
            )]
            let every_ms = live.wanted.every_ms() as u32;
            WatchRequest {
                selector: live.wanted.query.clone(),
                every_ms,
                points_max: 1,
                back_ms: 1,
            }
        };
        self.all.iter().map(request).collect()
    }

    /// Something came on the live connection.
    pub fn hear(&mut self, heard: &Incoming) {
        let (query, is_live, values) = match heard {
            Incoming::Watched(query) => (query, true, &[][..]),
            Incoming::Values { query, values } => (query, true, &values[..]),
            Incoming::Failed(query) => (query, false, &[][..]),
            _ => return,
        };
        if let Some(place) = self.all.iter().position(|live| live.query() == query) {
            let live = self.all.make_mut()[place].make_mut();
            live.is_live = is_live;
            live.take(values);
            self.revision += 1;
        }
    }

    /// The connection is lost: nothing is live before the server says so again.
    pub fn lost(&mut self) {
        if self.all.iter().any(|live| live.is_live) {
            for live in self.all.make_mut() {
                live.make_mut().is_live = false;
            }
            self.revision += 1;
        }
    }

    /// All of it.
    #[must_use]
    pub fn select_all(&self) -> Shared<Vec<Shared<Live>>> {
        self.all.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(query: &str, step_ms: f64) -> Wanted {
        Wanted {
            query: query.into(),
            step_ms,
            keep_ms: 60_000.0,
        }
    }

    fn values(query: &str, at_ms: f64, of: &[(&str, Option<f64>)]) -> Incoming {
        let value = |(key, value): &(&str, Option<f64>)| Evaluated {
            key: (*key).into(),
            at_ms,
            value: *value,
        };
        Incoming::Values {
            query: query.into(),
            values: of.iter().map(value).collect(),
        }
    }

    fn drawn(line: &LiveLine, after_ms: f64) -> Vec<(f64, f64)> {
        let steps = line.steps(after_ms);
        steps.map(|step| (step.t_ms, step.mean)).collect()
    }

    #[test]
    fn steps_are_kept_and_what_is_between_them_is_the_newest() {
        let mut store = LiveStore::default();
        store.want(1, &[wanted("up", 5_000.0), wanted("up", 5_000.0)]);
        let requests = store.watch_requests();
        assert_eq!(requests.len(), 1, "asked twice, watched once");
        assert_eq!((requests[0].every_ms, requests[0].points_max), (1_000, 1));
        for second in 1..=12 {
            let at_ms = f64::from(second) * 1_000.0;
            store.hear(&values("up", at_ms, &[("a", Some(at_ms))]));
        }
        let live = &store.select_all()[0];
        assert!(live.is_live);
        assert_eq!(
            drawn(&live.lines[0], 5_000.0),
            [(10_000.0, 10_000.0), (12_000.0, 12_000.0)]
        );
        assert_eq!(drawn(&live.lines[0], 12_000.0), []);
        // A line that ended has no newest value, and is forgotten with its last step.
        store.hear(&values("up", 13_000.0, &[("a", None), ("b", Some(1.0))]));
        let live = &store.select_all()[0];
        assert_eq!(drawn(&live.lines[0], 5_000.0), [(10_000.0, 10_000.0)]);
        assert_eq!(live.lines[0].newest(), None);
        store.hear(&values("up", 90_000.0, &[("b", Some(2.0))]));
        let live = &store.select_all()[0];
        let keys: Vec<&str> = live.lines.iter().map(|line| line.key.as_str()).collect();
        assert_eq!(keys, ["b"]);
    }

    #[test]
    fn is_live_as_long_as_the_server_says_so() {
        let is_live = |store: &LiveStore| store.select_all()[0].is_live;
        let mut store = LiveStore::default();
        store.want(1, &[wanted("up", 250.0)]);
        assert_eq!(store.watch_requests()[0].every_ms, 250);
        assert!(!is_live(&store));
        store.hear(&Incoming::Watched("up".into()));
        assert!(is_live(&store));
        store.hear(&Incoming::Failed("up".into()));
        assert!(!is_live(&store), "why is in the answer to a question");
        store.hear(&values("up", 250.0, &[("a", Some(1.0))]));
        assert!(is_live(&store));
        store.lost();
        assert!(!is_live(&store));
        // Another one takes its place; what still comes of the first is for nobody.
        store.want(1, &[wanted("down", 250.0)]);
        store.hear(&values("up", 500.0, &[("a", Some(1.0))]));
        assert!(store.select_all()[0].lines.is_empty());
    }

    #[test]
    fn parts_of_a_view_want_things_of_their_own() {
        let queries = |store: &LiveStore| -> Vec<String> {
            let requests = store.watch_requests();
            let queries = requests.iter().map(|request| request.selector.clone());
            queries.collect()
        };
        let mut store = LiveStore::default();
        store.want(1, &[wanted("up", 1_000.0)]);
        store.want(2, &[wanted("up", 1_000.0), wanted("load", 1_000.0)]);
        assert_eq!(queries(&store), ["up", "load"]);
        store.hear(&Incoming::Watched("up".into()));
        store.want(1, &[]);
        assert_eq!(queries(&store), ["up", "load"], "the other part goes on");
        assert!(store.select_all()[0].is_live);
        store.want(2, &[]);
        assert!(queries(&store).is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut store = LiveStore::default();
        store.want(
            1,
            &[Wanted {
                keep_ms: 1e12,
                ..wanted("up", 1_000.0)
            }],
        );
        for second in 0..300_u32 {
            let keys: Vec<String> = (0..300).map(|number| format!("{number}")).collect();
            let all: Vec<(&str, Option<f64>)> =
                keys.iter().map(|key| (key.as_str(), Some(1.0))).collect();
            store.hear(&values("up", f64::from(second) * 1_000.0, &all));
        }
        let live = &store.select_all()[0];
        let kept: usize = live.lines.iter().map(|line| line.steps.len()).sum();
        assert_eq!(live.lines.len(), LINES_MAX);
        assert_eq!(kept, KEPT_MAX, "150 of each");
    }
}
