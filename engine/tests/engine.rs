//! The engine as its callers see it: what is appended is found, kept, and there after a restart.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use proptest::prelude::*;
use pulseboard_engine::{
    Appended, Catalog, Cost, Engine, EngineOptions, Found, Persistence, Selector, SeriesTap, Tenant,
};
use pulseboard_history::HistoryOptions;
use pulseboard_series::{Batch, Kind, Reason, STALE_MARKER_BITS};

const MINUTE: i64 = 60_000;
/// Some day, at noon.
const NOON: i64 = 1_763_726_400_000;

/// Name, labels, time and value.
type Line<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<i64>, f64);

fn batch(rows: &[Line<'_>]) -> Batch {
    let mut batch = Batch::new();
    for (line, (name, labels, at_ms, value)) in (1..).zip(rows) {
        let built = batch.begin(&[name]).and_then(|()| {
            for (label, value) in *labels {
                batch.label(label, value)?;
            }
            batch.describe(Kind::Gauge, "B");
            batch.finish(line, *at_ms, *value)
        });
        assert_eq!(built, Ok(()));
    }
    batch
}

fn one(engine: &Engine, tenant: &Arc<Tenant>, name: &str, at_ms: i64, value: f64) -> Appended {
    engine.append(
        tenant,
        &batch(&[(name, &[], Some(at_ms), value)]),
        at_ms.max(NOON),
    )
}

fn find(engine: &Engine, tenant: &Tenant, selector: &str, now_ms: i64) -> Vec<Found> {
    let selector = Selector::parse(selector).expect("a selector");
    engine
        .find(
            tenant,
            &selector,
            |_| true,
            (None, 1000),
            now_ms,
            &Cost::unbounded(),
        )
        .expect("found")
        .0
}

fn samples(engine: &Engine, found: &Found) -> Vec<(i64, f64)> {
    let mut past = engine.snapshot().expect("a snapshot");
    let mut read = Vec::new();
    engine
        .read(found, past.as_mut(), i64::MIN / 2, i64::MAX, &mut read)
        .expect("the history reads");
    read
}

#[test]
fn what_is_appended_is_found_by_name_and_labels() {
    let engine = Engine::new(EngineOptions::default(), None);
    let tenant = engine.tenant("default").expect("a tenant");
    let appended = engine.append(
        &tenant,
        &batch(&[
            ("http", &[("job", "api"), ("code", "200")], None, 1.0),
            ("http", &[("code", "500"), ("job", "api")], None, 2.0),
            ("queue", &[], Some(NOON - 1), 3.0),
        ]),
        NOON,
    );
    assert_eq!((appended.accepted, appended.refused_total), (3, 0));
    assert!(matches!(appended.persistence, Persistence::InMemory));
    let keys = |selector: &str| -> Vec<String> {
        let found = find(&engine, &tenant, selector, NOON);
        found.iter().map(|found| found.key().to_string()).collect()
    };
    assert_eq!(
        keys("http"),
        [
            r#"http{code="200",job="api"}"#,
            r#"http{code="500",job="api"}"#
        ]
    );
    assert_eq!(keys(r#"{code="500"}"#), [r#"http{code="500",job="api"}"#]);
    assert_eq!(keys("{}").len(), 3);
    let queue = &find(&engine, &tenant, "queue", NOON)[0];
    assert_eq!((queue.last, &*queue.unit), (Some((NOON - 1, 3.0)), "B"));
    let found = engine.find(
        &tenant,
        &Selector::all(),
        |_| true,
        (Some(&keys("http")[0]), 1),
        NOON,
        &Cost::unbounded(),
    );
    let (page, matched) = found.expect("found");
    assert_eq!(
        (page[0].key().to_string(), matched),
        (keys("http")[1].clone(), 3)
    );
}

#[test]
fn tenants_see_nothing_of_each_other() {
    let engine = Engine::new(EngineOptions::default(), None);
    let (red, blue) = (
        engine.tenant("red").expect("a tenant"),
        engine.tenant("blue").expect("a tenant"),
    );
    let told = Arc::new(AtomicUsize::new(0));
    let wake = {
        let told = Arc::clone(&told);
        move || {
            told.fetch_add(1, Ordering::SeqCst);
        }
    };
    engine.tell_catalog(&blue, Arc::new(Catalog::new(Box::new(wake.clone()))));
    let tap = Arc::new(SeriesTap::new(Selector::all(), Box::new(wake)));
    assert_eq!(engine.tap(&blue, &tap, &Cost::unbounded()), Ok(0));
    one(&engine, &red, "same", NOON, 1.0);
    assert_eq!(told.load(Ordering::SeqCst), 0);
    assert_eq!(blue.counts(), pulseboard_engine::TenantCounts::default());
    one(&engine, &blue, "same", NOON, 2.0);
    assert_eq!(find(&engine, &red, "same", NOON)[0].last, Some((NOON, 1.0)));
    assert_eq!(
        find(&engine, &blue, "same", NOON)[0].last,
        Some((NOON, 2.0))
    );
    assert_eq!(tap.take().samples.len(), 1);
}

#[test]
fn bounds_of_time_and_of_series_refuse_with_their_line() {
    let options = EngineOptions {
        series_max: 1,
        ..EngineOptions::default()
    };
    let engine = Engine::new(options, None);
    let tenant = engine.tenant("default").expect("a tenant");
    let (oldest, latest) = (NOON - options.window_ms, NOON + options.ahead_ms);
    one(&engine, &tenant, "a", NOON - 5, 1.0);
    let appended = engine.append(
        &tenant,
        &batch(&[
            ("a", &[], Some(oldest), 1.0),
            ("a", &[], Some(oldest - 1), 1.0),
            ("a", &[], Some(latest), 1.0),
            ("a", &[], Some(latest + 1), 1.0),
            ("b", &[], None, 1.0),
            ("a", &[], Some(i64::MIN + 1), 1.0),
        ]),
        NOON,
    );
    assert_eq!(appended.accepted, 2);
    let reasons: Vec<_> = appended
        .refused
        .iter()
        .map(|refused| (refused.line, refused.reason.code()))
        .collect();
    assert_eq!(
        reasons,
        [
            (2, "too_old"),
            (4, "in_future"),
            (5, "series_limit"),
            (6, "too_old")
        ]
    );
    let counts = tenant.counts();
    let too_old = Reason::CODES.iter().position(|code| *code == "too_old");
    assert_eq!((counts.accepted, counts.series), (3, 1));
    assert_eq!(counts.refused[too_old.expect("a code")], 2);
}

/// That a target is up is known of one whose samples filled the tenant up, and yet it has a bound.
#[test]
fn what_tells_of_a_target_is_taken_a_little_past_the_bound_of_series() {
    let options = EngineOptions {
        series_max: 10,
        ..EngineOptions::default()
    };
    let engine = Engine::new(options, None);
    let tenant = engine.tenant("default").expect("a tenant");
    let names: Vec<String> = (0..400).map(|at| format!("m{at}")).collect();
    let scraped = |names: &[String], telling_from| {
        let rows: Vec<Line<'_>> = (names.iter())
            .map(|name| (name.as_str(), &[][..], Some(NOON), 1.0))
            .collect();
        engine.append_scraped(&tenant, &batch(&rows), NOON, telling_from)
    };
    let appended = scraped(&names[..40], 35);
    let told = |rows: &Appended| rows.refused_rows.iter().filter(|at| **at >= 35).count();
    assert_eq!(told(&appended), 0, "{:?}", appended.refused);
    assert!((10..=15).contains(&appended.accepted));
    assert_eq!(appended.accepted + appended.refused_total, 40);
    // A hundred and a tenth of the bound, and no more.
    scraped(&names[100..], 0);
    assert_eq!(tenant.counts().series, 10 + 101);
    assert_eq!(scraped(&names[40..41], 1).accepted, 0);
}

#[test]
fn a_series_stops_and_then_goes() {
    let engine = Engine::new(EngineOptions::default(), None);
    let tenant = engine.tenant("default").expect("a tenant");
    for second in 0..10 {
        one(&engine, &tenant, "steady", NOON + second * 1000, 1.0);
    }
    let stopped = |now_ms| find(&engine, &tenant, "steady", now_ms)[0].is_stopped;
    let last = NOON + 9_000;
    assert!(!stopped(last + 3_000));
    assert!(stopped(last + 3_001));
    one(
        &engine,
        &tenant,
        "steady",
        last + 4_000,
        f64::from_bits(STALE_MARKER_BITS),
    );
    assert!(stopped(last + 4_000), "its sender says that it has ended");
    one(&engine, &tenant, "steady", last + 5_000, 1.0);
    assert!(!stopped(last + 5_000), "it is back");

    let catalog = Arc::new(Catalog::new(Box::new(|| {})));
    engine.tell_catalog(&tenant, Arc::clone(&catalog));
    let over = last + 5_000 + EngineOptions::default().ttl_ms + 1;
    engine.maintain(over, false).expect("nothing to seal");
    assert!(find(&engine, &tenant, "{}", over).is_empty());
    assert_eq!(catalog.take().vanished.len(), 1);
    assert_eq!(tenant.counts().series, 0);
    one(&engine, &tenant, "steady", over, 1.0);
    assert_eq!(catalog.take().appeared.len(), 1);
}

#[test]
fn the_window_gets_shorter_when_memory_is_short_and_new_series_are_refused() {
    let options = EngineOptions {
        memory_max_bytes: 64 * 1024,
        ..EngineOptions::default()
    };
    let engine = Engine::new(options, None);
    let tenant = engine.tenant("default").expect("a tenant");
    let mut now_ms = NOON;
    let mut was_full = false;
    for round in 0..600 {
        for series in 0..100 {
            let value = f64::from(series * 31 + round) * 0.7;
            let appended = one(&engine, &tenant, &format!("s{series}"), now_ms, value);
            was_full |= appended
                .refused
                .iter()
                .any(|refused| refused.reason == Reason::WindowFull);
        }
        now_ms += 1000;
        engine.maintain(now_ms, false).expect("nothing to seal");
    }
    assert!(engine.window_ms() < options.window_ms);
    assert!(
        engine.held_bytes() < 4 * options.memory_max_bytes,
        "{}",
        engine.held_bytes()
    );
    assert!(was_full || engine.series() == 100);
}

#[test]
fn watchers_get_each_sample_once_and_are_woken_once_a_batch() {
    let engine = Engine::new(EngineOptions::default(), None);
    let tenant = engine.tenant("default").expect("a tenant");
    one(&engine, &tenant, "old", NOON, 1.0);
    let woken = Arc::new(AtomicUsize::new(0));
    let wake = {
        let woken = Arc::clone(&woken);
        Box::new(move || {
            woken.fetch_add(1, Ordering::SeqCst);
        })
    };
    let selector = Selector::parse(r#"{__name__=~"old|new"}"#).expect("a selector");
    let tap = Arc::new(SeriesTap::new(selector, wake));
    assert_eq!(engine.tap(&tenant, &tap, &Cost::unbounded()), Ok(1));
    engine.append(
        &tenant,
        &batch(&[
            ("old", &[], Some(NOON + 1), 2.0),
            ("new", &[], Some(NOON + 1), 3.0),
            ("other", &[], Some(NOON + 1), 4.0),
            ("old", &[], Some(NOON + 1), 2.0),
        ]),
        NOON + 1,
    );
    assert_eq!(woken.load(Ordering::SeqCst), 1);
    assert!(
        tap.has_newcomers(),
        "a pattern is not tested where samples come in"
    );
    let seated = engine.attach_newcomers(&tenant, &tap, &Cost::unbounded());
    assert_eq!((seated, tap.has_newcomers()), (Ok(()), false));
    let mut gained: Vec<_> = tap
        .take()
        .samples
        .into_iter()
        .map(|(name, sample)| (name.key().to_string(), sample))
        .collect();
    gained.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(
        gained,
        [
            ("new".to_owned(), (NOON + 1, 3.0)),
            ("old".to_owned(), (NOON + 1, 2.0))
        ]
    );
    one(&engine, &tenant, "old", NOON + 2, 5.0);
    assert_eq!(woken.load(Ordering::SeqCst), 2);
    engine.untap(&tenant, &tap);
    assert_eq!(tap.take().samples.len(), 1);
    one(&engine, &tenant, "old", NOON + 3, 6.0);
    assert!(tap.take().samples.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    /// Minutes after noon at which samples come; each may be late by some minutes.
    Append {
        series: u8,
        late_s: u32,
        value: i8,
    },
    /// Time goes on.
    Wait {
        minutes: u8,
    },
    Maintenance {
        everything: bool,
    },
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0_u8..3, prop_oneof![2 => 0_u32..850, 1 => 850_u32..170_000], any::<i8>()).prop_map(|(series, late_s, value)| Step::Append { series, late_s, value }),
        3 => (0_u8..30).prop_map(|minutes| Step::Wait { minutes }),
        2 => any::<bool>().prop_map(|everything| Step::Maintenance { everything }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..50)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is appended, late or again, before or after sealing and restarts, is there to the
    /// last value, and nothing else is.
    #[test]
    fn everything_acknowledged_is_there_in_the_end(steps in steps()) {
        let folder = tempfile::tempdir().expect("a folder");
        let options = EngineOptions { ttl_ms: i64::MAX, ..EngineOptions::default() };
        let mut now_ms = NOON;
        let open = |now_ms| {
            Engine::open(folder.path(), options, HistoryOptions::default(), now_ms).expect("opens").0
        };
        let mut engine = open(now_ms);
        let mut naive: BTreeMap<String, BTreeMap<i64, f64>> = BTreeMap::new();
        for step in steps {
            let tenant = engine.tenant("default").expect("a tenant");
            match step {
                Step::Append { series, late_s, value } => {
                    let name = format!("s{series}");
                    let at_ms = now_ms - i64::from(late_s) * 1000;
                    let value = f64::from(value);
                    let rows = [(name.as_str(), [].as_slice(), Some(at_ms), value)];
                    let appended = engine.append(&tenant, &batch(&rows), now_ms);
                    prop_assert_eq!(appended.accepted, 1);
                    if let Persistence::Pending(ticket) = appended.persistence {
                        prop_assert!(ticket.wait_blocking().is_ok());
                    }
                    naive.entry(name).or_default().insert(at_ms, value);
                }
                Step::Wait { minutes } => now_ms += i64::from(minutes) * MINUTE,
                Step::Maintenance { everything } => {
                    prop_assert!(engine.maintain(now_ms, everything).is_ok());
                }
                Step::Restart => {
                    drop(engine);
                    engine = open(now_ms);
                }
            }
        }
        for last in [false, true] {
            if last {
                drop(engine);
                engine = open(now_ms);
            }
            let tenant = engine.tenant("default").expect("a tenant");
            for (name, expected) in &naive {
                let found = find(&engine, &tenant, name, now_ms);
                if found.is_empty() {
                    // It is sealed, and nothing of it is young enough for the window.
                    let newest = expected.last_key_value().map(|(at_ms, _)| *at_ms);
                    prop_assert!(newest < Some(now_ms - options.window_ms));
                    continue;
                }
                let expected: Vec<(i64, f64)> = expected.iter().map(|(at, value)| (*at, *value)).collect();
                prop_assert_eq!(samples(&engine, &found[0]), expected, "{} {}", name, last);
            }
        }
    }
}

#[test]
fn asking_for_a_tenant_makes_none() {
    let engine = Engine::new(EngineOptions::default(), None);
    let max = pulseboard_engine::tenant::TENANTS_MAX;
    let names = || -> Vec<_> {
        let tenants = engine.tenants();
        tenants.iter().map(|tenant| tenant.name.clone()).collect()
    };
    for number in 0..max + 2 {
        let asked = engine.tenant(&format!("asked{number}")).expect("a tenant");
        // What is refused makes none either.
        assert_eq!(one(&engine, &asked, "a", 0, 1.0).accepted, 0);
        assert!(!asked.is_listed());
    }
    assert_eq!(names(), ["default".into()]);
    assert_eq!(engine.known_tenant("asked1").map(|_| ()), None, "gone");
    // Whoever holds it sees what comes.
    let (watching, sending) = (engine.tenant("red"), engine.tenant("red"));
    let (watching, sending) = (watching.expect("held"), sending.expect("the same"));
    assert!(Arc::ptr_eq(&watching, &sending));
    one(&engine, &sending, "a", NOON, 1.0);
    assert_eq!(names(), ["default".into(), "red".into()]);
    drop((watching, sending));
    engine.forget_unused_tenants();
    let red = engine.known_tenant("red").expect("it has a series");
    assert_eq!(find(&engine, &red, "a", NOON)[0].last, Some((NOON, 1.0)));
}

#[test]
fn a_tenant_of_which_nothing_is_stored_is_forgotten_and_one_that_is_kept_is_not() {
    let engine = Engine::new(EngineOptions::default(), None);
    engine.keep_tenant("named");
    let held = engine.tenant("held").expect("a tenant");
    for name in ["named", "held", "gone"] {
        let tenant = engine.tenant(name).expect("a tenant");
        assert_eq!(one(&engine, &tenant, "a", NOON, 1.0).accepted, 1);
    }
    let later = NOON + 2 * EngineOptions::default().ttl_ms;
    engine.maintain(later, false).expect("in memory");
    engine.forget_unused_tenants();
    assert!(engine.known_tenant("gone").is_none());
    assert!(engine.known_tenant("named").is_some());
    assert!(engine.known_tenant("held").is_some());
    drop(held);
    engine.forget_unused_tenants();
    assert!(engine.known_tenant("held").is_none());
}

#[test]
fn past_the_bound_a_tenants_first_sample_is_refused_and_those_that_are_kept_have_a_place() {
    let engine = Engine::new(EngineOptions::default(), None);
    let max = pulseboard_engine::tenant::TENANTS_MAX;
    let send = |name: &str| {
        let tenant = engine.tenant(name).expect("a tenant");
        one(&engine, &tenant, "a", NOON, 1.0)
    };
    for number in 0..max {
        assert_eq!(send(&format!("t{number}")).accepted, 1);
    }
    let refused = send("one-more");
    assert_eq!(refused.accepted, 0);
    assert_eq!(
        refused.refused[0].reason.to_string(),
        "this tenant would be new, and there are 10000 tenants already"
    );
    assert_eq!(send("t7").accepted, 1, "one that is there goes on");
    engine.keep_tenant("named");
    assert_eq!(send("named").accepted, 1);
    assert_eq!(send("default").accepted, 1);
}

/// One tenant with much fills memory: its window is shortened and its new series are refused, and
/// the other's are neither.
#[test]
fn a_tenant_with_much_pushes_nobody_out() {
    let engine = Engine::new(
        EngineOptions {
            memory_max_bytes: 4 << 20,
            ..EngineOptions::default()
        },
        None,
    );
    let tenants = ["small", "large"].map(|name| engine.tenant(name).expect("a tenant"));
    let [small, large] = &tenants;
    for second in 0..600 {
        one(&engine, small, "a", NOON + second * 1_000, 1.0);
    }
    // Until one of its new series is refused, a round of maintenance-keeping after each hundred.
    let now_ms = NOON + 600_000;
    let mut made = 0;
    let refused = loop {
        let name = format!("s{made}");
        let appended = one(&engine, large, &name, now_ms, 1.0);
        if appended.accepted == 0 {
            break appended.refused[0].reason.clone();
        }
        for back in 1..120 {
            one(
                &engine,
                large,
                &name,
                now_ms - back * 997,
                (back as f64).sin(),
            );
        }
        made += 1;
        if made % 100 == 0 {
            engine.maintain(now_ms, false).expect("in memory");
        }
        assert!(made < 100_000, "it is never refused");
    };
    assert_eq!(refused, Reason::WindowFull);
    assert!(engine.shortenings() > 0, "its window was shortened");
    assert!(engine.window_ms() < EngineOptions::default().window_ms);
    let found = find(&engine, small, "a", now_ms);
    assert_eq!(
        samples(&engine, &found[0]).len(),
        600,
        "the other's was not"
    );
    for number in 0..100 {
        let name = format!("b{number}");
        assert_eq!(one(&engine, small, &name, now_ms, 1.0).accepted, 1);
    }
    assert!(engine.held_bytes() <= 4 << 20);
}

/// All labels of a series name it, and those that have more.
#[test]
fn equal_labels_name_the_series_that_has_them_all() {
    let engine = Engine::new(EngineOptions::default(), None);
    let tenant = engine.tenant("default").expect("a tenant");
    let count = |selector: &str| find(&engine, &tenant, selector, NOON).len();
    let row = |labels: &'static [(&'static str, &'static str)]| batch(&[("a", labels, None, 1.0)]);
    for labels in [
        &[("x", "1"), ("y", "1")],
        &[("x", "1"), ("y", "2")],
        &[("x", "2"), ("y", "2")],
    ] {
        engine.append(&tenant, &row(labels), NOON);
    }
    let expected = |longer: usize| {
        for (selector, matched) in [
            (r#"a{y="1",x="1"}"#, 1 + longer),
            (r#"a{x="1",y="1",z=""}"#, 1),
            (r#"a{x="1"}"#, 2 + longer),
            (r#"a{x="2",y="1"}"#, 0),
            (r#"a{x="1",x="1"}"#, 2 + longer),
            (r#"a{x="1",y!="1"}"#, 1),
            (r#"{__name__="a",x="1",y="1"}"#, 1 + longer),
            (r#"b{x="1",y="1"}"#, 0),
            ("a", 3 + longer),
        ] {
            assert_eq!(count(selector), matched, "{selector}");
        }
    };
    expected(0);
    engine.append(&tenant, &row(&[("x", "1"), ("y", "1"), ("z", "9")]), NOON);
    expected(1);
}
