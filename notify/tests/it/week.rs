//! A week of alerts that come and go, against a model that is as simple as can be: Alertmanager's
//! pipeline, a second at a time, with lists that are walked.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, test_runner::RngSeed};
use pulseboard_notify::{
    Input,
    api::{ApiMatcher, DateTime, PostableSilence},
};

use crate::drive::{Drive, HOUR, MINUTE, SECOND, START, Told, labels, plain};

const CONFIG: &str = r#"
global: {resolve_timeout: 5m}
route:
  receiver: all
  group_by: [c]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 4h
  routes:
    - matchers: [s=page]
      receiver: pager
      continue: true
      group_by: ['...']
      group_wait: 0s
      group_interval: 1m
      repeat_interval: 1h
    - matchers: [s=~"page|warn"]
      receiver: quiet
      group_by: [none]
      group_wait: 10s
      group_interval: 10m
inhibit_rules:
  - source_matchers: [s=page]
    target_matchers: [s=warn]
    equal: [c]
receivers:
  - name: all
    webhook_configs: [{url: 'http://127.0.0.1:1/'}]
  - name: pager
    webhook_configs: [{url: 'http://127.0.0.1:1/'}]
  - name: quiet
    webhook_configs: [{url: 'http://127.0.0.1:1/', send_resolved: false}]
"#;

/// Receiver, key before the labels, labels it groups by (`None`: all), wait, interval, repeat,
/// resolved.
type Route = (
    &'static str,
    &'static str,
    Option<&'static [&'static str]>,
    i64,
    i64,
    i64,
    bool,
);

fn routes_of(severity: &str) -> Vec<Route> {
    let pager: Route = ("pager", r#"{}/{s="page"}"#, None, 0, MINUTE, HOUR, true);
    let quiet: Route = (
        "quiet",
        r#"{}/{s=~"page|warn"}"#,
        Some(&[]),
        10 * SECOND,
        10 * MINUTE,
        4 * HOUR,
        false,
    );
    let all: Route = (
        "all",
        "{}",
        Some(&["c"]),
        30 * SECOND,
        5 * MINUTE,
        4 * HOUR,
        true,
    );
    match severity {
        "page" => vec![pager, quiet],
        "warn" => vec![quiet],
        _ => vec![all],
    }
}

#[derive(Clone, Debug)]
enum Event {
    Fire(usize),
    FireFor(usize, i64),
    Resolve(usize),
    Silence(usize, i64),
}

#[derive(Clone, Debug)]
struct Known {
    starts: i64,
    ends: i64,
    updated: i64,
    is_timeout: bool,
}

#[derive(Default)]
struct Group {
    next: i64,
    has_flushed: bool,
    empty_since: Option<i64>,
    members: BTreeSet<usize>,
}

#[derive(Default, Clone)]
struct Entry {
    firing: BTreeSet<usize>,
    told: BTreeSet<usize>,
    at: i64,
}

const NAMES: usize = 12;

fn name(alert: usize) -> String {
    let severity = ["page", "warn", "info"][alert % 3];
    format!("c={},i={alert},s={severity}", alert / 3 % 2)
}

fn severity(alert: usize) -> &'static str {
    ["page", "warn", "info"][alert % 3]
}

#[derive(Default)]
struct Model {
    known: BTreeMap<usize, Known>,
    groups: BTreeMap<(String, String), (Route2, Group)>,
    log: BTreeMap<(String, String), Entry>,
    silences: Vec<(usize, i64, i64)>,
    told: Vec<Told>,
}

#[derive(Clone)]
struct Route2(Route);

impl Default for Route2 {
    fn default() -> Self {
        Self(routes_of("info")[0])
    }
}

impl Model {
    fn post(&mut self, now: i64, alert: usize, starts: Option<i64>, ends: Option<i64>) {
        let mut new = Known {
            starts: starts.or(ends).unwrap_or(now),
            ends: ends.unwrap_or(now + 5 * MINUTE),
            updated: now,
            is_timeout: ends.is_none(),
        };
        if let Some(old) = self.known.get(&alert) {
            let within = |time: i64| old.starts < time && time < old.ends;
            if within(new.ends) || within(new.starts) {
                new.starts = new.starts.min(old.starts);
                if new.ends <= now {
                    if old.ends <= now && old.ends > new.ends {
                        new.ends = old.ends;
                    }
                } else if old.ends > new.ends && !old.is_timeout {
                    new.ends = old.ends;
                }
            }
        }
        self.known.insert(alert, new.clone());
        for route in routes_of(severity(alert)) {
            let all = labels(&name(alert));
            let of_group: Vec<String> = all
                .iter()
                .filter(|(name, _)| route.2.is_none_or(|by| by.contains(&name.as_str())))
                .map(|(name, value)| format!("{name}={value:?}"))
                .collect();
            let key = format!("{}:{{{}}}", route.1, of_group.join(", "));
            let (_, group) = self
                .groups
                .entry((route.0.to_owned(), key))
                .or_insert_with(|| {
                    let next = now + route.3;
                    (
                        Route2(route),
                        Group {
                            next,
                            ..Group::default()
                        },
                    )
                });
            group.members.insert(alert);
            group.empty_since = None;
            if !group.has_flushed && new.starts + route.3 < now {
                group.next = now;
            }
        }
    }

    fn is_over(&self, alert: usize, now: i64) -> bool {
        self.known[&alert].ends <= now
    }

    fn is_muted(&self, alert: usize, now: i64) -> bool {
        let cluster = alert / 3 % 2;
        let is_inhibited = severity(alert) == "warn"
            && self.known.keys().any(|other| {
                severity(*other) == "page" && other / 3 % 2 == cluster && !self.is_over(*other, now)
            });
        let mut silences = self.silences.iter();
        is_inhibited || silences.any(|(one, from, to)| *one == alert && (*from..*to).contains(&now))
    }

    fn second(&mut self, now: i64) {
        let is_due = |group: &Group| {
            let gone = group.empty_since.map(|since| since + 30 * SECOND);
            group.next <= now || gone.is_some_and(|gone| gone <= now)
        };
        let due = self.groups.iter().filter(|(_, (_, group))| is_due(group));
        let due: Vec<(String, String)> = due.map(|(place, _)| place.clone()).collect();
        for place in due {
            if self.groups[&place].1.next <= now {
                self.flush(now, &place);
            }
            let (_, group) = &self.groups[&place];
            if group
                .empty_since
                .is_some_and(|since| since + 30 * SECOND <= now)
            {
                self.groups.remove(&place);
            }
        }
    }

    fn flush(&mut self, now: i64, place: &(String, String)) {
        let (Route2(route), members) = {
            let (route, group) = self.groups.get_mut(place).expect("a group");
            group.next = now + route.0.4;
            group.has_flushed = true;
            (route.clone(), group.members.clone())
        };
        let heard: Vec<usize> = members
            .iter()
            .copied()
            .filter(|alert| !self.is_muted(*alert, now))
            .collect();
        let firing: BTreeSet<usize> = heard
            .iter()
            .copied()
            .filter(|one| !self.is_over(*one, now))
            .collect();
        let resolved: BTreeSet<usize> = heard
            .iter()
            .copied()
            .filter(|one| self.is_over(*one, now))
            .collect();
        if !heard.is_empty() {
            let entry = self.log.get(place).cloned();
            let told = entry.clone().unwrap_or_default();
            let over: BTreeSet<usize> = resolved.intersection(&told.told).copied().collect();
            let is_due = if entry.is_none() {
                !firing.is_empty()
            } else if !firing.is_subset(&told.firing) {
                true
            } else if firing.is_empty() {
                !told.firing.is_empty()
            } else {
                route.6 && !over.is_empty() || told.at <= now - route.5
            };
            if is_due {
                let texts =
                    |all: &BTreeSet<usize>| all.iter().map(ToString::to_string).collect::<Vec<_>>();
                let said = if route.6 { over } else { BTreeSet::new() };
                if !firing.is_empty() || !said.is_empty() {
                    self.told.push(Told {
                        at_ms: now,
                        receiver: place.0.clone(),
                        group: place.1.clone(),
                        firing: texts(&firing),
                        resolved: texts(&said),
                    });
                }
                let mut still: BTreeSet<usize> = told.told.union(&firing).copied().collect();
                still.retain(|one| !resolved.contains(one) && members.contains(one));
                let next = Entry {
                    firing,
                    told: still,
                    at: now,
                };
                self.log.insert(place.clone(), next);
            }
        }
        let gone: Vec<usize> = members
            .iter()
            .copied()
            .filter(|one| self.is_over(*one, now))
            .collect();
        let (_, group) = self.groups.get_mut(place).expect("a group");
        for alert in gone {
            group.members.remove(&alert);
        }
        if group.members.is_empty() {
            group.empty_since = group.empty_since.or(Some(now));
        }
    }

    /// What was told so long ago that it was forgotten.
    fn forget(&mut self, now: i64) {
        self.log.retain(|(receiver, _), entry| {
            let repeat = if receiver == "pager" { HOUR } else { 4 * HOUR };
            entry.at + 2 * repeat > now
        });
    }
}

fn events() -> impl Strategy<Value = Vec<(i64, Event)>> {
    let event = prop_oneof![
        6 => (0..NAMES).prop_map(Event::Fire),
        3 => (0..NAMES, 1..600_i64).prop_map(|(alert, minutes)| Event::FireFor(alert, minutes)),
        5 => (0..NAMES).prop_map(Event::Resolve),
        1 => (0..NAMES, 1..900_i64).prop_map(|(alert, minutes)| Event::Silence(alert, minutes)),
    ];
    // bursts and long pauses
    let pause = prop_oneof![
        4 => 0..20_i64,
        3 => 20..900_i64,
        1 => 900..20_000_i64,
    ];
    prop::collection::vec((pause, event), 300..600)
}

const WEEK_S: i64 = 7 * 24 * 3600;

fn run(events: &[(i64, Event)]) -> (Vec<Told>, Vec<Told>) {
    let mut drive = Drive::new(CONFIG, plain());
    let mut model = Model::default();
    let mut at = 0;
    let mut by_second: BTreeMap<i64, Vec<&Event>> = BTreeMap::new();
    for (pause, event) in events {
        at += pause;
        by_second.entry(at).or_default().push(event);
    }
    for second in 0..WEEK_S {
        let now = START + second * SECOND;
        if let Some(events) = by_second.get(&second) {
            drive.until(now - 1);
            drive.now = now;
            for event in events {
                match event {
                    Event::Fire(alert) => {
                        drive.fire(&name(*alert));
                        model.post(now, *alert, None, None);
                    }
                    Event::FireFor(alert, minutes) => {
                        let ends = now + minutes * MINUTE;
                        drive.post(&name(*alert), Some(now), Some(ends));
                        model.post(now, *alert, Some(now), Some(ends));
                    }
                    Event::Resolve(alert) => {
                        if model
                            .known
                            .get(alert)
                            .is_some_and(|known| known.updated < now)
                        {
                            drive.resolve(&name(*alert));
                            model.post(now, *alert, None, Some(now));
                        }
                    }
                    Event::Silence(alert, minutes) => {
                        let ends = now + minutes * MINUTE;
                        let silence = PostableSilence {
                            id: String::new(),
                            matchers: vec![ApiMatcher {
                                is_equal: true,
                                is_regex: false,
                                name: "i".to_owned(),
                                value: alert.to_string(),
                            }],
                            starts_at: DateTime(now),
                            ends_at: DateTime(ends),
                            created_by: String::new(),
                            comment: String::new(),
                        };
                        let id = format!("{second}-{}", model.silences.len());
                        drive
                            .manager
                            .set_silence(now, silence, id)
                            .expect("a silence");
                        model.silences.push((*alert, now, ends));
                    }
                }
                // each event is followed by what is due
                drive.handle(Input::Tick);
                model.second(now);
            }
        }
        model.second(now);
        if second % 60 == 0 {
            model.forget(now);
        }
    }
    drive.until(START + (WEEK_S - 1) * SECOND);
    (drive.told(), model.told)
}

fn sorted(mut told: Vec<Told>) -> Vec<Told> {
    for one in &mut told {
        one.firing.sort();
        one.resolved.sort();
    }
    told.sort();
    told
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 8,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(11),
        max_shrink_iters: 20,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_week_of_alerts_is_told_as_the_model_tells_it(events in events()) {
        let (told, expected) = run(&events);
        prop_assert!(expected.len() > 50, "{} notifications", expected.len());
        prop_assert_eq!(sorted(told.clone()), sorted(expected));
        // nobody hears that something is over of which he did not hear before
        let mut open: BTreeSet<(String, String, String)> = BTreeSet::new();
        for one in told {
            let place = |alert: &String| (one.receiver.clone(), one.group.clone(), alert.clone());
            for alert in &one.resolved {
                prop_assert!(open.remove(&place(alert)), "{:?}", one);
            }
            open.extend(one.firing.iter().map(place));
        }
    }
}
