//! What is deleted is gone from every answer at once and for good, and nothing else is: against a
//! map of all samples, through sealing, rolling up and restarts.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use proptest::prelude::*;
use pulseboard_engine::{
    Cost, Engine, EngineOptions, Persistence, Selector,
    query::{self, KeptRoom, KeptSelector, Reading, Selected, Wanted},
};
use pulseboard_history::{Bucket, HistoryOptions, Tier, log::Durability};
use pulseboard_series::Batch;

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;
/// Some day, at noon.
const NOON: i64 = 1_763_726_400_000;

const TENANTS: [&str; 2] = ["red", "blue"];
const NAMES: [&str; 2] = ["a", "b"];

type Samples = BTreeMap<i64, f64>;

/// An engine and what it should have.
struct World {
    engine: Option<Engine>,
    folder: tempfile::TempDir,
    all: BTreeMap<(&'static str, &'static str), Samples>,
    /// Of somebody who asks the same again and again: a selector and an order.
    kept: Vec<(&'static str, &'static str, query::Order, KeptSelector)>,
    now_ms: i64,
}

/// Selectors of somebody who asks the same again and again.
fn kept_selectors() -> Vec<(&'static str, &'static str, query::Order, KeptSelector)> {
    let room = KeptRoom::new(1 << 20);
    let mut kept = Vec::new();
    for tenant in TENANTS {
        for (text, order) in [
            ("a", query::Order::Key),
            ("b", query::Order::Any),
            ("{}", query::Order::Key),
        ] {
            let selector = KeptSelector::new(parse(text), 100, &room).expect("there is room");
            kept.push((tenant, text, order, selector));
        }
    }
    kept
}

fn open(folder: &Path, now_ms: i64) -> Engine {
    let history = HistoryOptions::with_durability(Durability::Write);
    let opened = Engine::open(folder, EngineOptions::default(), history, now_ms);
    opened.expect("opens").0
}

fn parse(selector: &str) -> Selector {
    Selector::parse(selector).expect("a selector")
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            engine: Some(open(folder.path(), NOON)),
            folder,
            all: BTreeMap::new(),
            kept: kept_selectors(),
            now_ms: NOON,
        }
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("an engine")
    }

    /// As after a kill: nothing is sealed for it.
    fn restart(&mut self) {
        self.engine = None;
        self.engine = Some(open(self.folder.path(), self.now_ms));
        self.kept = kept_selectors();
    }

    fn append(&mut self, tenant: &'static str, name: &'static str, samples: &[(i64, f64)]) {
        let mut batch = Batch::new();
        for (line, (at_ms, value)) in (1..).zip(samples) {
            let built = batch
                .begin(&[name])
                .and_then(|()| batch.finish(line, Some(*at_ms), *value));
            assert_eq!(built, Ok(()));
        }
        let owner = self.engine().tenant(tenant).expect("a tenant");
        let appended = self.engine().append(&owner, &batch, self.now_ms);
        assert_eq!(appended.accepted, samples.len() as u64);
        match appended.persistence {
            Persistence::Pending(ticket) => ticket.wait_blocking().expect("safe"),
            _ => panic!("not safe"),
        }
        let all = self.all.entry((tenant, name)).or_default();
        all.extend(samples.iter().copied());
    }

    fn delete(
        &mut self,
        tenant: &'static str,
        selector: &str,
        (from_ms, to_ms): (i64, i64),
    ) -> u64 {
        for ((owner, name), samples) in &mut self.all {
            if *owner == tenant && (selector == "{}" || selector == *name) {
                samples.retain(|at_ms, _| !(from_ms..=to_ms).contains(at_ms));
            }
        }
        let owner = self.engine().tenant(tenant).expect("a tenant");
        let (stretch, cost) = ((from_ms, to_ms), Cost::unbounded());
        let deleted = self
            .engine()
            .delete(&owner, &parse(selector), stretch, self.now_ms, &cost);
        deleted.expect("deleted")
    }

    fn maintain(&mut self) {
        self.engine()
            .maintain(self.now_ms, false)
            .expect("maintained");
        let budget = Duration::from_secs(60);
        let more = self.engine().maintain_history(self.now_ms, budget);
        assert!(!more.expect("maintained"));
    }

    fn samples(&self, tenant: &str, name: &str) -> Vec<(i64, f64)> {
        let owner = self.engine().tenant(tenant).expect("a tenant");
        let mut found = Vec::new();
        let cost = Cost::unbounded();
        let stretch = (0, self.now_ms + HOUR);
        let mut each = |_: pulseboard_series::KeyRef<'_>, samples: &[(i64, f64)]| {
            found.extend_from_slice(samples);
            Ok::<(), query::QueryError>(())
        };
        query::raw(
            self.engine(),
            &owner,
            &parse(name),
            stretch,
            (&cost, query::Counting::Read),
            &mut each,
        )
        .expect("read");
        found
    }

    fn check(&self) {
        for tenant in TENANTS {
            for name in NAMES {
                let expected = self.all.get(&(tenant, name)).cloned().unwrap_or_default();
                let expected: Vec<(i64, f64)> = expected.into_iter().collect();
                assert_eq!(self.samples(tenant, name), expected, "{tenant} {name}");
            }
        }
        self.check_kept();
    }

    /// Whoever asks the same again and again finds what there is, whatever it found before.
    fn check_kept(&self) {
        let minutes = |minutes: i64| (self.now_ms - minutes * 60 * SECOND, self.now_ms + 1);
        for stretch in [minutes(5), minutes(70), minutes(30 * 60)] {
            for (tenant, text, order, kept) in &self.kept {
                let is_asked = |name: &str| *text == "{}" || *text == name;
                let expected: BTreeMap<&str, Vec<(i64, f64)>> = NAMES
                    .into_iter()
                    .filter(|name| is_asked(name))
                    .filter_map(|name| {
                        let samples = self.all.get(&(*tenant, name))?;
                        let samples = samples.range(stretch.0..stretch.1);
                        let samples: Vec<_> = samples.map(|(at, value)| (*at, *value)).collect();
                        (!samples.is_empty()).then_some((name, samples))
                    })
                    .collect();
                for wanted in [Wanted::All, Wanted::Newest] {
                    let found = self.read_kept(tenant, kept, stretch, (*order, wanted));
                    assert!(
                        found.keys().eq(expected.keys()),
                        "{tenant} {text} {found:?}"
                    );
                    for (found, expected) in found.values().zip(expected.values()) {
                        match wanted {
                            Wanted::All => assert_eq!(found, expected, "{tenant} {text}"),
                            // With or without those before it.
                            Wanted::Newest => assert!(expected.ends_with(found), "{found:?}"),
                        }
                        assert!(!found.is_empty());
                    }
                }
            }
        }
    }

    fn read_kept(
        &self,
        tenant: &str,
        kept: &KeptSelector,
        stretch: (i64, i64),
        (order, wanted): (query::Order, Wanted),
    ) -> BTreeMap<String, Vec<(i64, f64)>> {
        let owner = self.engine().tenant(tenant).expect("a tenant");
        let cost = Cost::unbounded();
        let reading = Reading {
            cost: &cost,
            counting: query::Counting::Read,
            order,
            wanted,
        };
        let mut found = BTreeMap::new();
        let mut each = |key: pulseboard_series::KeyRef<'_>,
                        buckets: &[(Tier, Bucket)],
                        samples: &[(i64, f64)]| {
            assert!(buckets.is_empty());
            let before = found.insert(key.name().to_owned(), samples.to_vec());
            assert!(before.is_none(), "each series comes once");
            Ok::<(), query::QueryError>(())
        };
        query::finest(
            self.engine(),
            &owner,
            Selected::Kept(kept),
            stretch,
            reading,
            &mut each,
        )
        .expect("read");
        found
    }

    fn keys(&self, tenant: &str) -> Vec<String> {
        let owner = self.engine().tenant(tenant).expect("a tenant");
        let mut keys = Vec::new();
        let cost = Cost::unbounded();
        let mut each = |key: pulseboard_series::KeyRef<'_>, _: pulseboard_series::Kind, _: &str| {
            keys.push(key.name().to_owned());
            Ok::<(), query::QueryError>(())
        };
        let times = (0, self.now_ms);
        query::keys(self.engine(), &owner, &parse("{}"), times, &cost, &mut each).expect("listed");
        keys.sort();
        keys.dedup();
        keys
    }

    /// Buckets of the series that memory has, against those of its samples.
    fn check_rollups(&self) {
        let history = self.engine().history().expect("a history");
        for tenant in TENANTS {
            let owner = self.engine().tenant(tenant).expect("a tenant");
            let cost = Cost::unbounded();
            let all = self.engine().find(
                &owner,
                &Selector::all(),
                |_| true,
                (None, 9),
                self.now_ms,
                &cost,
            );
            for found in all.expect("found").0 {
                let name = NAMES.into_iter().find(|name| *name == found.key().name());
                let samples = &self.all[&(tenant, name.expect("one of ours"))];
                let mut snapshot = history.snapshot().expect("a snapshot");
                for tier in [Tier::TenSeconds, Tier::Minute] {
                    let until_ms = snapshot.rolled_through(tier);
                    let mut buckets = Vec::new();
                    snapshot
                        .read_rollup(tier, found.id, 0, until_ms, &mut buckets)
                        .expect("read");
                    let told = |bucket: &Bucket| (bucket.start_ms, bucket.count, bucket.sum);
                    let told: Vec<(i64, u64, f64)> = buckets.iter().map(told).collect();
                    let mut expected: Vec<(i64, u64, f64)> = Vec::new();
                    for (at_ms, value) in samples.range(..until_ms) {
                        let start_ms = at_ms - at_ms.rem_euclid(tier.bucket_ms());
                        match expected.last_mut().filter(|last| last.0 == start_ms) {
                            Some(last) => (last.1, last.2) = (last.1 + 1, last.2 + value),
                            None => expected.push((start_ms, 1, *value)),
                        }
                    }
                    assert_eq!(told, expected, "{tenant} {name:?} {tier:?}");
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// So many seconds apart, beginning so many milliseconds ago.
    Append(usize, usize, i64, u8),
    /// Of a tenant; a name or all; from and how long, in milliseconds; `None` is everything.
    Delete(usize, Option<usize>, Option<(i64, i64)>),
    Wait(i64),
    Maintain,
    /// Tenants of which nothing is stored are forgotten.
    Forget,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let back = prop_oneof![Just(0), 0..20 * 60 * SECOND, 0..20 * HOUR];
    let stretch = (
        0..21 * HOUR,
        prop_oneof![1..60 * SECOND, 1..3 * HOUR, 1..21 * HOUR],
    );
    let step = prop_oneof![
        5 => (0..2_usize, 0..2_usize, back, 1..60_u8)
            .prop_map(|(tenant, name, back, count)| Step::Append(tenant, name, back, count)),
        3 => (0..2_usize, prop::option::of(0..2_usize), prop::option::weighted(0.8, stretch))
            .prop_map(|(tenant, name, stretch)| Step::Delete(tenant, name, stretch)),
        2 => (1..40 * 60 * SECOND).prop_map(Step::Wait),
        3 => Just(Step::Maintain),
        1 => Just(Step::Forget),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_deleted_is_gone_and_nothing_else(steps in steps()) {
        let mut world = World::new();
        let mut value = 0.0;
        for step in steps {
            match step {
                Step::Append(tenant, name, back_ms, count) => {
                    let samples: Vec<(i64, f64)> = (0..i64::from(count))
                        .map(|number| {
                            value += 1.0;
                            (world.now_ms - back_ms - number * 7 * SECOND, value)
                        })
                        .collect();
                    world.append(TENANTS[tenant], NAMES[name], &samples);
                }
                Step::Delete(tenant, name, stretch) => {
                    let stretch = match stretch {
                        Some((back_ms, length_ms)) => {
                            let from_ms = world.now_ms - back_ms;
                            (from_ms, from_ms + length_ms)
                        }
                        None => (0, i64::MAX),
                    };
                    let selector = name.map_or("{}", |name| NAMES[name]);
                    world.delete(TENANTS[tenant], selector, stretch);
                    if stretch.1 == i64::MAX {
                        let left = world.keys(TENANTS[tenant]);
                        let is_gone = |name: &str| selector != "{}" && selector != name;
                        prop_assert!(left.iter().all(|name| is_gone(name)), "{left:?}");
                    }
                }
                Step::Wait(ms) => world.now_ms += ms,
                Step::Maintain => world.maintain(),
                Step::Forget => world.engine().forget_unused_tenants(),
                Step::Restart => world.restart(),
            }
            world.check();
        }
        // Sealed, rolled up and written anew, rollups have none of it either.
        world.now_ms += 2 * HOUR;
        world.engine().maintain(world.now_ms, true).expect("sealed");
        world.maintain();
        world.check();
        // What came late waits for a quiet moment.
        world.now_ms += 11 * SECOND;
        world.maintain();
        world.check();
        world.check_rollups();
        prop_assert_eq!(world.engine().history().expect("a history").tombstones(), 0);
        world.restart();
        world.check();
    }
}

/// Old rollups lose what is deleted to the bucket, although their samples are long gone; the disk
/// is rid of it, and another tenant's are as they were.
#[test]
fn rollups_without_samples_lose_it_too() {
    let mut world = World::new();
    let samples: Vec<(i64, f64)> = (0..4 * 360)
        .map(|number| (NOON - 5 * HOUR + number * 10 * SECOND, 1.0))
        .collect();
    for tenant in TENANTS {
        world.append(tenant, "a", &samples);
    }
    world.engine().maintain(world.now_ms, true).expect("sealed");
    // Rolled up, and then the samples go.
    world.now_ms = NOON + 60 * HOUR;
    world.maintain();
    world.restart();
    world.all.clear();
    world.check();
    let rolled = |world: &World, tenant: &str| {
        let owner = world.engine().tenant(tenant).expect("a tenant");
        let mut found: Vec<(Tier, Bucket)> = Vec::new();
        let cost = Cost::unbounded();
        let mut each = |_: pulseboard_series::KeyRef<'_>, buckets: &[(Tier, Bucket)], _: &[_]| {
            found.extend_from_slice(buckets);
            Ok::<(), query::QueryError>(())
        };
        let stretch = (0, world.now_ms);
        query::finest(
            world.engine(),
            &owner,
            Selected::Once(&parse("a")),
            stretch,
            Reading {
                cost: &cost,
                counting: query::Counting::Read,
                order: query::Order::Key,
                wanted: Wanted::All,
            },
            &mut each,
        )
        .expect("read");
        found
            .into_iter()
            .map(|(tier, bucket)| {
                assert_eq!(tier, Tier::TenSeconds);
                bucket.start_ms
            })
            .collect::<Vec<i64>>()
    };
    let before: Vec<i64> = samples.iter().map(|sample| sample.0).collect();
    assert_eq!(rolled(&world, "red"), before);
    let bytes = |world: &World| {
        let history = world.engine().history().expect("a history");
        history.bytes_by_tenant()["red"]
    };
    let full_bytes = bytes(&world);

    let stretch = (NOON - 4 * HOUR, NOON - 2 * HOUR - 1);
    assert_eq!(world.delete("red", "a", stretch), 1);
    let left: Vec<i64> = before
        .iter()
        .copied()
        .filter(|at_ms| !(stretch.0..=stretch.1).contains(at_ms))
        .collect();
    assert_eq!(rolled(&world, "red"), left, "at once");
    assert_eq!(rolled(&world, "blue"), before);
    world.restart();
    assert_eq!(rolled(&world, "red"), left, "after a restart");
    world.maintain();
    assert_eq!(rolled(&world, "red"), left, "when it is off the disk");
    let history = world.engine().history().expect("a history");
    assert_eq!(history.tombstones(), 0);
    assert!(bytes(&world) < full_bytes);

    assert_eq!(world.delete("red", "a", (0, i64::MAX)), 1);
    assert!(rolled(&world, "red").is_empty());
    assert!(world.keys("red").is_empty());
    world.maintain();
    let history = world.engine().history().expect("a history");
    assert!(!history.bytes_by_tenant().contains_key("red"));
    world.restart();
    assert!(world.keys("red").is_empty());
    assert_eq!(rolled(&world, "blue"), before);
}

/// What a sender goes on with while its series is deleted is a series of its own.
#[test]
fn a_series_that_goes_on_begins_anew() {
    let mut world = World::new();
    world.append("red", "a", &[(NOON - HOUR, 1.0), (NOON - SECOND, 2.0)]);
    assert_eq!(world.delete("red", "a", (0, i64::MAX)), 1);
    world.append("red", "a", &[(NOON - 2 * HOUR, 3.0), (NOON, 4.0)]);
    world.check();
    world.engine().maintain(world.now_ms, true).expect("sealed");
    world.restart();
    world.check();
    assert_eq!(world.keys("red"), ["a"]);
    assert_eq!(world.delete("red", "b", (0, i64::MAX)), 0);
    assert_eq!(world.delete("blue", "{}", (0, i64::MAX)), 0);
    world.check();
}

/// Three times as many series are three times the work, and not nine.
#[test]
fn a_deletion_looks_at_each_series_a_few_times() {
    let looks = |series: usize| -> u64 {
        let engine = Engine::new(EngineOptions::default(), None);
        let tenant = engine.tenant("red").expect("a tenant");
        let mut batch = Batch::new();
        for number in 0..series {
            batch.begin(&["load"]).expect("a name");
            batch.label("n", &number.to_string()).expect("a label");
            batch.finish(1, Some(NOON), 1.0).expect("a sample");
        }
        engine.append(&tenant, &batch, NOON);
        let pauses = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&pauses);
        // The clock is looked at after so much work, and each time it is somebody else's turn.
        let cost = Cost::unbounded().pausing(Duration::ZERO, move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Some(Duration::ZERO)
        });
        let all = (0, i64::MAX);
        let deleted = engine.delete(&tenant, &parse("{n!=\"\"}"), all, NOON, &cost);
        assert_eq!(deleted.expect("deleted"), series as u64);
        pauses.load(Ordering::Relaxed)
    };
    let (few, many) = (looks(10_000), looks(30_000));
    assert!(
        many < few * 4,
        "{few} looks at the clock for 10 000 series, {many} for 30 000"
    );
}
