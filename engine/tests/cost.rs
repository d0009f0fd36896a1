//! Whatever is asked, it costs no more than it may: random selectors and searches over a tenant
//! whose series were made to be dear.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use proptest::prelude::*;
use pulseboard_engine::{
    Cancel, Cost, Engine, EngineOptions, Selector, SeriesTap, Spent, Tenant,
    query::{
        Few, Limits, ListRequest, QueryError, RangeRequest, Rank, Step, few_windows, keys,
        list_series, range, windows,
    },
    selector::PATTERN_BYTES_MAX,
    tap::TapRefused,
};
use pulseboard_series::{Batch, KeyRef, Kind};

const NOON: i64 = 1_763_726_400_000;

/// One comparison of a series with all patterns of a selector may be begun when the time is over;
/// a debug build on a busy machine takes its time for it.
const SLACK: Duration = Duration::from_secs(2);

/// Series with long labels, which near misses of repeated classes take longest for.
fn world(series: usize, label_bytes: usize) -> (Engine, Arc<Tenant>) {
    let engine = Engine::new(EngineOptions::default(), None);
    let tenant = engine.tenant("default").expect("a tenant");
    let mut batch = Batch::new();
    for number in 0..series {
        let filler = "a".repeat(label_bytes - 8);
        let value = format!("{filler}{number:08}");
        batch.begin(&["heavy"]).expect("a name");
        batch.label("p", &value).expect("a label");
        batch.describe(Kind::Gauge, "");
        batch.finish(1, Some(NOON), 1.0).expect("a sample");
    }
    engine.append(&tenant, &batch, NOON);
    (engine, tenant)
}

/// A matcher with a pattern: such as people write, and such as nobody needs.
fn matcher() -> impl Strategy<Value = String> {
    let pattern = prop_oneof![
        (1_u32..200).prop_map(|count| format!("[^a]{{{count}}}")),
        (1_u32..200).prop_map(|count| format!(".*a.{{{count}}}.*")),
        (1_u32..40).prop_map(|count| format!("(a|aa|a?){{{count}}}b")),
        (1_u32..30).prop_map(|count| format!(r"(?i)\\w{{{count}}}")),
        (1_u32..30).prop_map(|count| format!(r"\\pL{{0,{count}}}.*")),
        "[ab.*+?()|\\[\\]^${}0-9-]{0,40}",
    ];
    let operator = prop_oneof![Just("=~"), Just("!~")];
    let label = prop_oneof![Just("p"), Just("__name__"), Just("missing")];
    (label, operator, pattern).prop_map(|(label, operator, pattern)| {
        let escaped = pattern.replace('"', "\\\"");
        format!("{label}{operator}\"{escaped}\"")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// A selector is refused, or it takes no more memory than it may, and a question with it ends
    /// when its time is over.
    #[test]
    fn a_random_selector_never_costs_more_than_its_budget(
        matchers in proptest::collection::vec(matcher(), 1..31),
    ) {
        let text = format!("{{{}}}", matchers.join(","));
        let began = Instant::now();
        let parsed = Selector::parse(&text);
        prop_assert!(began.elapsed() < SLACK, "reading took {:?}: {text}", began.elapsed());
        let Ok(selector) = parsed else {
            return Ok(());
        };
        prop_assert!(selector.compiled_bytes() <= PATTERN_BYTES_MAX);
        let (engine, tenant) = world(200, 1_000);
        let time = Duration::from_millis(50);
        let cost = Cost::new(time, u64::MAX, Cancel::default());
        let began = Instant::now();
        let found = engine.find(&tenant, &selector, |_| true, (None, 10), NOON, &cost);
        let took = began.elapsed();
        prop_assert!(took < time + SLACK, "took {took:?}: {text}");
        if let Ok((found, matched)) = found {
            // One by one, without the automaton of the walk, it is the same.
            prop_assert!(found.len() as u64 <= matched);
            prop_assert!(found.iter().all(|found| selector.takes(found.key())));
        }
    }
}

#[test]
fn every_question_ends_when_its_time_is_over_and_when_nobody_waits() {
    let (engine, tenant) = world(2_000, 64);
    let request = RangeRequest {
        selector: Selector::all(),
        start_ms: NOON,
        end_ms: NOON + 60_000,
        step: Step::default(),
        aggregation: Default::default(),
        by: Some(Vec::new()),
        few: None,
        limits: Limits::default(),
    };
    let list = ListRequest {
        selector: Selector::parse("{p=~\".*1\"}").expect("a selector"),
        search: "heavy 1".to_owned(),
        after: None,
        limit: 10,
        spark_points: 10,
        now_ms: NOON,
    };
    let all = Selector::all();
    let best = Few::Best(3, Rank::Max);
    let tap = || Arc::new(SeriesTap::new(list.selector.clone(), Box::new(|| {})));
    let ask = |cost: &Cost| -> Vec<Result<(), QueryError>> {
        let watched = engine.tap(&tenant, &tap(), cost);
        let watched = watched.map(drop).map_err(|refused| match refused {
            TapRefused::Spent(spent) => QueryError::from(spent),
            TapRefused::Series(_) => QueryError::Search,
        });
        vec![
            range(&engine, &tenant, &request, cost).map(drop),
            list_series(&engine, &tenant, &list, cost).map(drop),
            windows(&engine, &tenant, &list.selector, NOON, cost).map(drop),
            few_windows(&engine, &tenant, &all, best, NOON, cost).map(drop),
            watched,
        ]
    };
    for answer in ask(&Cost::unbounded()) {
        assert!(answer.is_ok(), "{answer:?}");
    }
    for answer in ask(&Cost::new(Duration::ZERO, u64::MAX, Cancel::default())) {
        assert!(matches!(answer, Err(QueryError::Deadline)), "{answer:?}");
    }
    let cancel = Cancel::default();
    cancel.cancel();
    for answer in ask(&Cost::new(Duration::from_secs(3_600), u64::MAX, cancel)) {
        assert!(matches!(answer, Err(QueryError::Cancelled)), "{answer:?}");
    }
    let few = Cost::new(Duration::from_secs(3_600), 100, Cancel::default());
    let answer = range(&engine, &tenant, &request, &few);
    assert!(
        matches!(answer, Err(QueryError::Samples { samples_max: 100 })),
        "{answer:?}"
    );
}

#[test]
fn ending_a_watch_costs_its_own_series_alone_and_leaves_none_behind() {
    let (engine, tenant) = world(500, 64);
    let tap = Arc::new(SeriesTap::new(Selector::all(), Box::new(|| {})));
    assert_eq!(engine.tap(&tenant, &tap, &Cost::unbounded()), Ok(500));
    engine.untap(&tenant, &tap);
    // Every slot held it.
    assert_eq!(Arc::strong_count(&tap), 1);
}

#[test]
fn a_seat_that_is_given_up_half_way_is_made_up_for() {
    let engine = Engine::new(EngineOptions::default(), None);
    let tenant = engine.tenant("default").expect("a tenant");
    let selector = Selector::parse("{__name__=~\"n.*\"}").expect("a selector");
    let tap = Arc::new(SeriesTap::new(selector, Box::new(|| {})));
    assert_eq!(engine.tap(&tenant, &tap, &Cost::unbounded()), Ok(0));
    let mut batch = Batch::new();
    for number in 0..600 {
        batch.begin(&[&format!("n{number}")]).expect("a name");
        batch.finish(1, Some(NOON), 1.0).expect("a sample");
    }
    engine.append(&tenant, &batch, NOON);
    let spent = Cost::new(Duration::ZERO, 0, Cancel::default());
    let seated = engine.attach_newcomers(&tenant, &tap, &spent);
    assert_eq!((seated, tap.has_newcomers()), (Err(Spent::Time), true));
    let seated = engine.attach_newcomers(&tenant, &tap, &Cost::unbounded());
    assert_eq!((seated, tap.has_newcomers()), (Ok(()), false));
    assert_eq!(tap.take().samples.len(), 600, "each once");
}

/// Three times as many series are three times the work, and not nine: each is looked at a few
/// times, in the order of keys all the same.
#[test]
fn a_walk_over_all_series_looks_at_each_a_few_times() {
    let looks = |series: usize, selector: &str| -> u64 {
        let (engine, tenant) = world(series, 24);
        let mut batch = Batch::new();
        for name in ["heavy.b", "heavy_a", "zero"] {
            batch.begin(&[name]).expect("a name");
            batch.label("p", "a").expect("a label");
            batch.finish(1, Some(NOON), 1.0).expect("a sample");
        }
        engine.append(&tenant, &batch, NOON);
        let selector = Selector::parse(selector).expect("a selector");
        let pauses = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&pauses);
        // The clock is looked at after so much work, and each time it is somebody else's turn.
        let cost = Cost::unbounded().pausing(Duration::ZERO, move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Some(Duration::ZERO)
        });
        let mut found = Vec::new();
        let each = &mut |key: KeyRef<'_>, _: Kind, _: &str| {
            found.push(key.to_string());
            Ok::<_, QueryError>(())
        };
        keys(&engine, &tenant, &selector, (NOON, NOON), &cost, each).expect("found");
        assert_eq!(found.len(), series + 3);
        assert!(found.is_sorted(), "in the order of keys");
        pauses.load(Ordering::Relaxed)
    };
    for selector in ["{}", "{p!=\"\"}", "{p=~\"a.*\"}"] {
        let (few, many) = (looks(10_000, selector), looks(30_000, selector));
        assert!(
            many < few * 4,
            "{selector}: {few} looks at the clock for 10 000 series, {many} for 30 000"
        );
    }
}
