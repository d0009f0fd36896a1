//! A week of ten thousand alerts that come and go as chance has it, of two tenants: how often
//! whoever is to be told is told, against a model of grouping that knows nothing but sets and
//! times.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use pulseboard_notify::{Input, Manager, PostedAlert, config::Config};

use crate::drive::{Drive, HOUR, MINUTE, SECOND, START, Told, labels, plain};

const CONFIG: &str = "
route:
  receiver: all
  group_by: [c]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 4h
receivers:
  - name: all
    webhook_configs: [{url: 'http://127.0.0.1:1/'}]
";
const WAIT: i64 = 30 * SECOND;
const INTERVAL: i64 = 5 * MINUTE;
const REPEAT: i64 = 4 * HOUR;

/// What was told is remembered for twice as long as until it is repeated, and looked for each
/// minute.
const KEPT: i64 = 2 * REPEAT;
const SWEEP: i64 = MINUTE;

/// Alerts of one tenant.
const ALERTS: u64 = 5_000;
const CLUSTERS: u64 = 250;
const WEEK: i64 = 7 * 24 * HOUR;

/// SplitMix64: chance that is the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// In milliseconds, at a whole second.
    fn time(&mut self, most: i64) -> i64 {
        let seconds = u64::try_from(most / SECOND).expect("positive");
        i64::try_from(self.below(seconds)).expect("few") * SECOND
    }
}

/// When which alerts begin or end.
type Events = BTreeMap<i64, Vec<(u64, bool)>>;

/// Each alert has a few fits in the week, each of some firings of a second up to some hours. What
/// burns in a cluster often burns in more of its alerts.
fn events(seed: u64) -> Events {
    let mut chance = Chance(seed);
    let mut events = Events::new();
    for alert in 0..ALERTS {
        let mut at = START + chance.time(WEEK);
        for _ in 0..1 + chance.below(6) {
            let long = match chance.below(8) {
                0..3 => 20 * SECOND,
                3..5 => 10 * MINUTE,
                5..7 => HOUR,
                _ => 12 * HOUR,
            };
            let end = at + SECOND + chance.time(long);
            if end >= START + WEEK {
                break;
            }
            events.entry(at).or_default().push((alert, true));
            events.entry(end).or_default().push((alert, false));
            at = end + SECOND + chance.time(long);
            if at >= START + WEEK {
                break;
            }
        }
    }
    events
}

/// What is known of a cluster.
#[derive(Default)]
struct Group {
    /// What fires, and what is over and was not looked at since.
    members: BTreeMap<u64, bool>,
    /// Since when there has been nobody.
    empty: Option<i64>,
    next: i64,
}

/// What a cluster's receiver was told last: what fires, and of what it has not heard the end.
struct Heard {
    firing: BTreeSet<u64>,
    open: BTreeSet<u64>,
    at: i64,
}

#[derive(Default)]
struct Model {
    groups: BTreeMap<u64, Group>,
    heard: BTreeMap<u64, Heard>,
    told: Vec<Told>,
}

impl Model {
    fn run(&mut self, events: &Events) {
        let mut sweep = None;
        let mut events = events.iter().peekable();
        loop {
            let due = self.groups.iter().map(|(cluster, group)| {
                let gone = group.empty.map(|since| since + WAIT);
                (gone.unwrap_or(i64::MAX).min(group.next), *cluster)
            });
            let due = due.min().unwrap_or((i64::MAX, 0));
            let event = events.peek().map_or(i64::MAX, |(at, _)| **at);
            let now = due.0.min(event);
            if now >= START + WEEK {
                return;
            }
            while let Some(at) = sweep.filter(|at| *at <= now) {
                self.heard.retain(|_, heard| heard.at + KEPT > at);
                sweep = Some(at + SWEEP);
            }
            if event <= due.0
                && let Some((at, all)) = events.next()
            {
                sweep.get_or_insert(at + SWEEP);
                for (alert, fires) in all {
                    self.put(*at, *alert, *fires);
                }
                continue;
            }
            let Some(group) = self.groups.get_mut(&due.1) else {
                continue;
            };
            if group.next <= now {
                group.next = now + INTERVAL;
                self.flush(now, due.1);
            }
            let group = &self.groups[&due.1];
            if group.empty.is_some_and(|since| since + WAIT <= now) {
                self.groups.remove(&due.1);
            }
        }
    }

    fn put(&mut self, now: i64, alert: u64, fires: bool) {
        let group = self
            .groups
            .entry(alert % CLUSTERS)
            .or_insert_with(|| Group {
                next: now + WAIT,
                ..Group::default()
            });
        group.members.insert(alert, fires);
        group.empty = None;
    }

    fn flush(&mut self, now: i64, cluster: u64) {
        let Some(group) = self.groups.get_mut(&cluster) else {
            return;
        };
        let of = |fires: bool| -> BTreeSet<u64> {
            let those = group.members.iter().filter(|(_, is)| **is == fires);
            those.map(|(alert, _)| *alert).collect()
        };
        let (firing, over) = (of(true), of(false));
        group.members.retain(|_, fires| *fires);
        if group.members.is_empty() {
            group.empty.get_or_insert(now);
        }
        if firing.is_empty() && over.is_empty() {
            return;
        }
        let before = self.heard.get(&cluster);
        let ended: BTreeSet<u64> = match before {
            Some(before) => over.intersection(&before.open).copied().collect(),
            None => BTreeSet::new(),
        };
        let is_due = match before {
            None => !firing.is_empty(),
            Some(before) => {
                !firing.is_subset(&before.firing)
                    || !ended.is_empty()
                    || (!firing.is_empty() && before.at + REPEAT <= now)
            }
        };
        if !is_due {
            return;
        }
        let names = |all: &BTreeSet<u64>| all.iter().map(ToString::to_string).collect();
        self.told.push(Told {
            at_ms: now,
            receiver: "all".to_owned(),
            group: format!("{{}}:{{c=\"{cluster}\"}}"),
            firing: names(&firing),
            resolved: names(&ended),
        });
        let mut open: BTreeSet<u64> = before.map(|before| before.open.clone()).unwrap_or_default();
        open.extend(&firing);
        open.retain(|alert| firing.contains(alert));
        self.heard.insert(
            cluster,
            Heard {
                firing,
                open,
                at: now,
            },
        );
    }
}

/// What the manager says of the same.
fn run(tenant: &str, events: &Events) -> Vec<Told> {
    let config = Config::parse(CONFIG, Path::new("alertmanager.yml")).expect("a configuration");
    let manager = Manager::new(Arc::from(tenant), Arc::new(config), plain());
    let mut drive = Drive::of(manager, START);
    for (at, all) in events {
        drive.until(at - 1);
        drive.now = *at;
        let posted = all.iter().map(|(alert, fires)| PostedAlert {
            labels: labels(&format!("c={},i={alert}", alert % CLUSTERS)),
            starts_at_ms: fires.then_some(*at),
            // A rule says its end when it comes, and until then that it is far away.
            ends_at_ms: Some(if *fires { at + 1_000 * HOUR } else { *at }),
            ..PostedAlert::default()
        });
        drive.handle(Input::Own(posted.collect()));
    }
    drive.until(START + WEEK - 1);
    drive.told()
}

fn sorted(mut told: Vec<Told>) -> Vec<Told> {
    for one in &mut told {
        one.firing.sort();
        one.resolved.sort();
    }
    told.sort();
    told
}

#[test]
fn as_many_are_told_as_the_model_of_grouping_says() {
    let began = std::time::Instant::now();
    let tenants = [("default", 1), ("shop", 2)].map(|(tenant, seed)| {
        let events = events(seed);
        let mut model = Model::default();
        model.run(&events);
        let (told, expected) = (sorted(run(tenant, &events)), sorted(model.told));
        for (told, expected) in told.iter().zip(&expected) {
            assert_eq!(told, expected, "{tenant}");
        }
        assert_eq!(told.len(), expected.len(), "{tenant}");
        (events.values().map(Vec::len).sum::<usize>(), told)
    });
    for (changes, told) in &tenants {
        assert!(*changes > 20_000, "{changes}");
        // Grouped, there are fewer; and nobody hears of an end before its beginning.
        assert!(told.len() < *changes, "{}", told.len());
        let mut in_order: Vec<&Told> = told.iter().collect();
        in_order.sort_by_key(|one| one.at_ms);
        let mut open = BTreeSet::new();
        for one in in_order {
            for alert in &one.resolved {
                assert!(open.remove(alert), "{one:?}");
            }
            open.extend(&one.firing);
        }
    }
    assert_ne!(tenants[0].1, tenants[1].1, "each has its own");
    let counts = tenants
        .each_ref()
        .map(|(changes, told)| (*changes, told.len()));
    eprintln!(
        "changes and notifications: {counts:?} in {:?}",
        began.elapsed()
    );
}
