//! Questions against a naive model: whatever was appended, late or again, sealed, rolled up,
//! restarted or gone from memory, an answer is what grouping all samples by step says.

mod naive;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use naive::{NOON, Naive, World, close, parse};
use proptest::prelude::*;
use pulseboard_engine::{
    Cancel, Cost, Engine, EngineOptions, Selector, Spent,
    query::{
        Aggregation, Counting, Limits, ListRequest, QueryError, RangeRequest, RangeStream, Step,
        keys, list_series, range, raw, raw_in_pieces, windows,
    },
};
use pulseboard_history::{HistoryOptions, Retention};
use pulseboard_series::{KeyRef, Kind, STALE_MARKER_BITS};
use pulseboard_shared::protocol::series::{RangeAnswer, SeriesState};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

#[derive(Clone, Debug)]
enum Doing {
    /// A series' samples at equal distances, the newest so long ago.
    Run {
        series: u8,
        late_s: i64,
        every_ms: i64,
        values: Vec<i16>,
    },
    Wait {
        minutes: i64,
    },
    Maintenance {
        everything: bool,
    },
    /// Rolls up what is older than this.
    Maintain {
        minutes_old: i64,
    },
    Restart,
}

fn doings() -> impl Strategy<Value = Vec<Doing>> {
    let every_ms = prop::sample::select(vec![250_i64, 1_000, 3_700, 10_000, 60_000]);
    let values = prop::collection::vec(any::<i16>(), 1..300);
    let doing = prop_oneof![
        10 => (0_u8..6, prop_oneof![2 => 0_i64..600, 1 => 600_i64..150_000], every_ms, values).prop_map(|(series, late_s, every_ms, values)| {
            Doing::Run { series, late_s, every_ms, values }
        }),
        5 => (0_i64..200).prop_map(|minutes| Doing::Wait { minutes }),
        3 => any::<bool>().prop_map(|everything| Doing::Maintenance { everything }),
        3 => (0_i64..90).prop_map(|minutes_old| Doing::Maintain { minutes_old }),
        1 => Just(Doing::Restart),
    ];
    prop::collection::vec(doing, 1..40)
}

#[derive(Clone, Debug)]
struct Asked {
    from: f64,
    length: f64,
    step_ms: i64,
    by: Option<Vec<String>>,
}

fn asked() -> impl Strategy<Value = Asked> {
    // All are multiples of the buckets that fit into them, or too short for any.
    let steps = prop::sample::select(vec![
        SECOND,
        7 * SECOND,
        10 * SECOND,
        15 * SECOND,
        MINUTE,
        90 * SECOND,
        5 * MINUTE,
        10 * MINUTE,
        HOUR,
        6 * HOUR,
        24 * HOUR,
    ]);
    let by = prop::option::of(prop::sample::subsequence(
        vec!["__name__", "host", "core"],
        0..=3,
    ));
    (0.0..1.0_f64, 0.0..1.0_f64, steps, by).prop_map(|(from, length, step_ms, by)| Asked {
        from,
        length,
        step_ms,
        by: by.map(|by| by.into_iter().map(str::to_owned).collect()),
    })
}

fn forever() -> HistoryOptions {
    let mut options = naive::history_options();
    options.retention = Retention {
        raw: Duration::MAX,
        tiers: [Duration::MAX; 4],
        bytes_max: None,
    };
    options
}

fn does(world: &mut World, naive: &mut Naive, doing: Doing) {
    match doing {
        Doing::Run {
            series,
            late_s,
            every_ms,
            values,
        } => {
            let newest_ms = world.now_ms - late_s * SECOND;
            let tenant = world.engine().tenant("default").expect("a tenant");
            let oldest_ms = world.engine().oldest_taken_ms(&tenant, world.now_ms);
            let name = if series < 4 { "load" } else { "load_total" };
            let (host, core) = (["a", "b"][usize::from(series % 2)], series.to_string());
            let labels = [("host", host), ("core", core.as_str())];
            let times = (0..).map(|back| newest_ms - back * every_ms);
            let samples: Vec<(i64, f64)> = times
                .zip(values.iter().map(|value| f64::from(*value) / 8.0))
                .take_while(|(at_ms, _)| *at_ms >= oldest_ms)
                .collect();
            let in_order: Vec<_> = samples.into_iter().rev().collect();
            world.append("default", name, &labels, Kind::Gauge, &in_order);
            naive.append(name, &labels, &in_order);
        }
        Doing::Wait { minutes } => world.now_ms += minutes * MINUTE,
        Doing::Maintenance { everything } => {
            assert!(world.engine().maintain(world.now_ms, everything).is_ok());
        }
        Doing::Maintain { minutes_old } => world.maintain(minutes_old * MINUTE),
        Doing::Restart => world.restart(),
    }
}

fn request(selector: &str, start_ms: i64, end_ms: i64, step: Step) -> RangeRequest {
    RangeRequest {
        selector: parse(selector),
        start_ms,
        end_ms,
        step,
        aggregation: Aggregation::Avg,
        by: None,
        few: None,
        limits: Limits::default(),
    }
}

fn ask(world: &World, tenant: &str, request: &RangeRequest) -> Result<RangeAnswer, QueryError> {
    let engine = world.engine();
    let tenant = engine.tenant(tenant).expect("a tenant");
    range(engine, &tenant, request, &Cost::unbounded())
}

/// Every series' samples of a stretch, as expressions read them; each series once.
fn samples(
    world: &World,
    stretch: (i64, i64),
    cost: &Cost,
) -> Result<BTreeMap<String, Vec<(i64, f64)>>, QueryError> {
    let engine = world.engine();
    let tenant = engine.tenant("default").expect("a tenant");
    let mut all = BTreeMap::new();
    raw(
        engine,
        &tenant,
        &Selector::all(),
        stretch,
        (cost, Counting::Read),
        &mut |key, samples| {
            let before = all.insert(key.to_string(), samples.to_vec());
            assert!(before.is_none(), "{key} comes once");
            Ok::<_, QueryError>(())
        },
    )?;
    Ok(all)
}

/// However dense a series is, memory for its samples is asked for while it is read.
#[test]
fn a_dense_series_is_not_read_into_memory_that_is_not_there() {
    let mut world = World::of(Engine::new(EngineOptions::default(), None));
    let dense: Vec<_> = (0..600_000)
        .map(|back| (NOON - 600_000 + back, 1.0))
        .collect();
    for samples in dense.chunks(50_000) {
        world.append("default", "dense", &[], Kind::Gauge, samples);
    }
    let stretch = (NOON - HOUR, NOON + HOUR);
    let held = |bytes: usize| {
        Cost::new(Duration::MAX, u64::MAX, Cancel::default())
            .reserving(move |wanted| (wanted <= bytes).then_some(()).ok_or(Spent::Memory))
    };
    let refused = samples(&world, stretch, &held(1 << 20));
    assert!(matches!(refused, Err(QueryError::Memory)), "{refused:?}");
    let cost = held(64 << 20);
    let all = samples(&world, stretch, &cost).expect("there is room");
    assert_eq!(all["dense"].len(), 600_000);
    assert_eq!(cost.held_bytes(), 0, "and it is given back");
    // Piece by piece it needs no more than one of them.
    let (engine, cost) = (world.engine(), held(2 << 20));
    let tenant = engine.tenant("default").expect("a tenant");
    let mut pieces = Vec::new();
    let read = raw_in_pieces(
        engine,
        &tenant,
        &Selector::all(),
        stretch,
        &cost,
        &mut |_, samples| {
            pieces.push(samples.to_vec());
            Ok::<_, QueryError>(())
        },
    );
    read.expect("there is room");
    assert!(pieces.len() > 5, "{}", pieces.len());
    assert!(pieces.concat() == all["dense"]);
    assert_eq!(cost.held_bytes(), 0);
    // Whoever takes no more ends it by its own words.
    let mut taken = 0;
    let read = raw_in_pieces(
        engine,
        &tenant,
        &Selector::all(),
        stretch,
        &cost,
        &mut |_, _| {
            taken += 1;
            Err(QueryError::Search)
        },
    );
    assert!(matches!(read, Err(QueryError::Search)), "{read:?}");
    assert_eq!(taken, 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_range_is_what_grouping_all_samples_by_step_says(
        doings in doings(),
        asked in prop::collection::vec(asked(), 4),
    ) {
        let options = EngineOptions { ttl_ms: 30 * MINUTE, ..EngineOptions::default() };
        let mut world = World::open(options, forever());
        let mut naive = Naive::default();
        for doing in doings {
            does(&mut world, &mut naive, doing);
        }
        // What came late to a stretch that was rolled up is rolled up again.
        world.maintain(0);
        let whole_ms = (world.now_ms - NOON + 40 * MINUTE) as f64;
        for asked in asked {
            let start_ms = NOON - 20 * MINUTE + (asked.from * whole_ms) as i64;
            let length_ms = (asked.length * whole_ms) as i64 + 1;
            let length_ms = length_ms.min(asked.step_ms * 10_000);
            for aggregation in ["avg", "min", "max", "sum", "last", "count"] {
                let request = RangeRequest {
                    aggregation: aggregation.parse().expect("an aggregation"),
                    by: asked.by.clone(),
                    ..request("{}", start_ms, start_ms + length_ms, Step::Length(asked.step_ms))
                };
                let answer = ask(&world, "default", &request).expect("an answer");
                naive.check(&answer, asked.by.as_deref())?;
                let stretches = &answer.stretches;
                prop_assert_eq!(stretches.first().map(|stretch| stretch.from_ms), Some(answer.start_ms));
                prop_assert_eq!(stretches.last().map(|stretch| stretch.to_ms), Some(answer.end_ms));
            }
            let stretch = (start_ms, start_ms + length_ms);
            let samples = samples(&world, stretch, &Cost::unbounded()).expect("an answer");
            prop_assert_eq!(samples, naive.samples(stretch.0, stretch.1));
        }
    }

    /// A page begins where the one before ended, in whatever order names and labels sort.
    #[test]
    fn pages_of_a_list_have_each_series_once(
        names in prop::collection::btree_set("[ab](\\.|_|é|:)?[AB]?", 1..12),
        limit in 1_usize..7,
        search in "(a|B|é|x=| |\"1){0,3}",
    ) {
        let engine = Engine::new(EngineOptions::default(), None);
        let mut world = World::of(engine);
        let mut keys = BTreeSet::new();
        for name in &names {
            for labels in [&[][..], &[("x", "1")], &[("x", "1"), ("y", "A")], &[("y", "2")]] {
                world.append("default", name, labels, Kind::Gauge, &[(NOON, 1.0)]);
                keys.insert(naive::key(name, labels));
            }
        }
        world.append("other", "a", &[], Kind::Gauge, &[(NOON, 2.0)]);
        let lower = search.to_lowercase();
        let words: Vec<&str> = lower.split_whitespace().collect();
        let expected: Vec<String> = keys
            .iter()
            .filter(|key| words.iter().all(|word| key.to_lowercase().contains(word)))
            .cloned()
            .collect();
        let tenant = world.engine().tenant("default").expect("a tenant");
        let mut request = ListRequest {
            selector: Selector::all(),
            search,
            after: None,
            limit,
            spark_points: 3,
            now_ms: NOON,
        };
        let mut listed: Vec<String> = Vec::new();
        loop {
            let list = list_series(world.engine(), &tenant, &request, &Cost::unbounded())
                .expect("a list");
            prop_assert_eq!((list.total, list.matched), (keys.len() as u64, expected.len() as u64));
            prop_assert!(list.series.len() <= limit);
            listed.extend(list.series.into_iter().map(|series| series.key));
            prop_assert!(listed.len() <= expected.len());
            match list.next {
                Some(next) => request.after = Some(next),
                None => break,
            }
        }
        prop_assert_eq!(listed, expected);
    }

    /// From raw samples and from buckets alike, with new beginnings.
    #[test]
    fn a_rate_is_growth_over_time(
        runs in prop::collection::vec(1_i64..400, 1..30),
        growth in 1_u32..50,
        step_s in prop::sample::select(vec![1_i64, 5, 10, 30, 60, 300, 3_600]),
        is_rolled in any::<bool>(),
    ) {
        let mut world = World::open(EngineOptions::default(), forever());
        // A sample a second; each run begins again at zero and is longer than a bucket.
        let mut samples = Vec::new();
        for length_s in runs {
            let mut value = 0.0;
            for _ in 0..length_s + 20 {
                samples.push((NOON + 500 + samples.len() as i64 * SECOND, value));
                value += f64::from(growth);
            }
        }
        for part in samples.chunks(800) {
            world.now_ms = part[part.len() - 1].0;
            world.append("default", "grown", &[], Kind::Counter, part);
        }
        if is_rolled {
            world.now_ms += 30 * HOUR;
            world.engine().maintain(world.now_ms, true).expect("sealed");
            world.maintain(0);
        }
        let end_ms = samples[samples.len() - 1].0 + 1;
        let request = RangeRequest {
            aggregation: Aggregation::Rate,
            ..request("grown", NOON, end_ms, Step::Length(step_s * SECOND))
        };
        let Ok(answer) = ask(&world, "default", &request) else {
            return Err(TestCaseError::reject("too many points"));
        };
        // Less than one bucket does not say how far apart its samples were.
        prop_assume!(!is_rolled || samples.len() as i64 >= step_s.min(300));
        let points = &answer.series.first().expect("a series").points;
        prop_assert_eq!(is_rolled && step_s >= 10, answer.stretches[0].resolution != "raw");
        for (at_ms, value, min, max) in points {
            let mut grown = 0.0;
            let mut took_ms = 0;
            let mut bounds = (f64::INFINITY, f64::NEG_INFINITY);
            for pair in samples.windows(2) {
                if (*at_ms..at_ms + answer.step_ms).contains(&pair[1].0) {
                    let more = if pair[1].1 < pair[0].1 { pair[1].1 } else { pair[1].1 - pair[0].1 };
                    grown += more;
                    took_ms += pair[1].0 - pair[0].0;
                    bounds = (bounds.0.min(more), bounds.1.max(more));
                }
            }
            let expected = grown / took_ms as f64 * 1000.0;
            let value = value.expect("a number");
            // In a longer bucket a counter can begin again unseen: that is the least it grew by.
            let is_exact = !is_rolled || step_s < 60;
            let is_right = if is_exact { close(value, expected) } else { value <= expected + 1e-9 };
            prop_assert!(is_right, "{at_ms} {value} {expected}");
            let (min, max) = (min.expect("a number"), max.expect("a number"));
            prop_assert!(min <= value + 1e-9 && value <= max + 1e-9);
            prop_assert!(!is_exact || min >= bounds.0 - 1e-9 && max <= bounds.1 + 1e-9);
        }
    }
}

#[test]
fn a_spike_of_one_sample_is_seen_at_every_step_even_when_raw_samples_are_gone() {
    let mut world = World::open(EngineOptions::default(), naive::history_options());
    let spike_ms = NOON + 3 * HOUR + 1_234_567;
    let start_ms = NOON;
    for minute in 0..(12 * 60) {
        let from_ms = start_ms + minute * MINUTE;
        let times = (0..60).map(|second| from_ms + second * SECOND + 567);
        let samples: Vec<(i64, f64)> = times
            .map(|at_ms| {
                (
                    at_ms,
                    if at_ms == spike_ms {
                        1e6
                    } else {
                        (at_ms % 7) as f64
                    },
                )
            })
            .collect();
        world.now_ms = from_ms + MINUTE;
        world.append("default", "spiky", &[], Kind::Gauge, &samples);
    }
    for days in [0, 3, 8, 31, 181] {
        world.now_ms = NOON + 12 * HOUR + days * 24 * HOUR;
        world.engine().maintain(world.now_ms, true).expect("sealed");
        world.maintain(0);
        for step_s in [1, 15, 60, 300, 3_600, 86_400] {
            let step = Step::Length(step_s * SECOND);
            let request = request("spiky", start_ms, start_ms + 3 * HOUR, step);
            let request = RangeRequest {
                start_ms: spike_ms - HOUR,
                end_ms: spike_ms + HOUR,
                ..request
            };
            let answer = ask(&world, "default", &request).expect("an answer");
            let points = &answer.series[0].points;
            let greatest = points
                .iter()
                .filter_map(|point| point.3)
                .fold(0.0, f64::max);
            assert!(close(greatest, 1e6), "{days} days, {step_s} s");
            let resolution = &answer.stretches[0].resolution;
            let finest = ["raw", "10s", "1m", "5m", "1h"];
            let oldest_left = match days {
                0 => 0,
                3 => 1,
                8 => 2,
                31 => 3,
                _ => 4,
            };
            let place = finest.iter().position(|known| known == resolution);
            assert!(
                place >= Some(oldest_left),
                "{days} days, {step_s} s: {resolution}"
            );
        }
    }
}

#[test]
fn what_memory_no_longer_has_is_found_and_tenants_stay_apart() {
    let options = EngineOptions {
        ttl_ms: 30 * MINUTE,
        ..EngineOptions::default()
    };
    let mut world = World::open(options, naive::history_options());
    for (tenant, value) in [("red", 1.0), ("blue", 2.0)] {
        let samples = [(NOON, value)];
        world.append(tenant, "same", &[("host", "a")], Kind::Gauge, &samples);
        world.append(
            tenant,
            &format!("only_{tenant}"),
            &[],
            Kind::Gauge,
            &samples,
        );
    }
    let ask = |world: &World, tenant: &str, selector: &str| -> Vec<(String, f64)> {
        let request = request(selector, NOON - HOUR, NOON + HOUR, Step::Length(MINUTE));
        let answer = ask(world, tenant, &request).expect("an answer");
        let series = answer.series.into_iter();
        series
            .map(|series| (series.key, series.points[0].1.expect("a number")))
            .collect()
    };
    let red = vec![
        ("only_red".to_owned(), 1.0),
        ("same{host=\"a\"}".to_owned(), 1.0),
    ];
    let blue = vec![
        ("only_blue".to_owned(), 2.0),
        ("same{host=\"a\"}".to_owned(), 2.0),
    ];
    for round in 0..3 {
        match round {
            0 => {}
            1 => {
                world.now_ms += 2 * HOUR;
                for _ in 0..2 {
                    world.engine().maintain(world.now_ms, true).expect("sealed");
                }
                assert_eq!(world.engine().series(), 0);
            }
            _ => {
                world.restart();
                assert_eq!(world.engine().series(), 0);
            }
        }
        assert_eq!(ask(&world, "red", "{}"), red, "{round}");
        assert_eq!(ask(&world, "blue", "{}"), blue, "{round}");
        assert_eq!(
            ask(&world, "red", "same{host=~\"a|b\"}"),
            red[1..],
            "{round}"
        );
        assert_eq!(ask(&world, "red", "same{host!=\"a\"}"), [], "{round}");
        assert_eq!(ask(&world, "red", "only_blue"), [], "{round}");
        assert_eq!(ask(&world, "green", "{}"), [], "{round}");
    }
    // What has ended before is not listed, even if that was on the same day.
    let listed = |since_ms: i64| {
        let red = world.engine().tenant("red").expect("a tenant");
        let mut found = Vec::new();
        let times = (since_ms, world.now_ms);
        let mut each = |key: KeyRef<'_>, kind: Kind, _: &str| {
            assert_eq!(kind, Kind::Gauge);
            found.push(key.to_string());
            Ok::<_, QueryError>(())
        };
        keys(
            world.engine(),
            &red,
            &parse("{}"),
            times,
            &Cost::unbounded(),
            &mut each,
        )
        .expect("listed");
        found.sort();
        found
    };
    for (since_ms, count) in [
        (0, 2),
        (NOON - 12 * HOUR, 2),
        (NOON - 1, 2),
        (NOON, 2),
        (NOON + 1, 0),
        (NOON + HOUR, 0),
        (NOON + 12 * HOUR, 0),
    ] {
        assert_eq!(listed(since_ms).len(), count, "{}", since_ms - NOON);
    }
    // One comes back, under its number and with a new past; another is new.
    let now_ms = world.now_ms;
    world.append(
        "red",
        "same",
        &[("host", "a")],
        Kind::Gauge,
        &[(now_ms, 3.0)],
    );
    world.append("red", "new", &[], Kind::Gauge, &[(now_ms, 4.0)]);
    let request = request("{}", NOON, now_ms + 1, Step::Length(10 * MINUTE));
    let answer = self::ask(&world, "red", &request).expect("an answer");
    let found: Vec<(&str, Vec<Option<f64>>)> = answer
        .series
        .iter()
        .map(|series| {
            (
                &*series.key,
                series.points.iter().map(|point| point.1).collect(),
            )
        })
        .collect();
    let expected = [
        ("new", vec![Some(4.0)]),
        ("only_red", vec![Some(1.0)]),
        ("same{host=\"a\"}", vec![Some(1.0), Some(3.0)]),
    ];
    assert_eq!(found, expected);
}

#[test]
fn values_that_are_no_numbers_are_kept_for_what_they_are_and_a_marker_ends_growth() {
    let mut world = World::of(Engine::new(EngineOptions::default(), None));
    let stale = f64::from_bits(STALE_MARKER_BITS);
    let values = [1.0, f64::NAN, 3.0, f64::INFINITY, 5.0, stale, 100.0, 101.0];
    let samples: Vec<(i64, f64)> = (NOON..).step_by(1_000).zip(values).collect();
    world.now_ms = NOON + 7 * SECOND;
    world.append("default", "odd", &[], Kind::Counter, &samples);
    world.append("default", "none", &[], Kind::Gauge, &[(NOON, f64::NAN)]);
    let of = |aggregation| {
        let request = RangeRequest {
            aggregation,
            ..request("{}", NOON, NOON + 10 * SECOND, Step::Length(10 * SECOND))
        };
        let answer = ask(&world, "default", &request).expect("an answer");
        answer.series
    };
    let infinity = Some(f64::INFINITY);
    for (aggregation, value) in [
        (Aggregation::Count, Some(6.0)),
        (Aggregation::Avg, infinity),
        (Aggregation::Max, infinity),
        (Aggregation::Min, Some(1.0)),
        (Aggregation::Last, Some(101.0)),
    ] {
        let answer = of(aggregation);
        let [none, odd] = answer.as_slice() else {
            panic!("{answer:?}");
        };
        assert_eq!(odd.points, [(NOON, value, Some(1.0), infinity)]);
        let (at_ms, value, min, max) = none.points[0];
        assert_eq!((at_ms, none.points.len()), (NOON, 1));
        let is_nan = |value: Option<f64>| value.is_some_and(f64::is_nan);
        assert!(is_nan(min) && is_nan(max));
        assert!(is_nan(value) || aggregation == Aggregation::Count && value == Some(0.0));
    }
    let rates = of(Aggregation::Rate);
    assert_eq!(rates.len(), 1);
    assert_eq!(rates[0].points, [(NOON, Some(1.0), Some(1.0), Some(1.0))]);
    let tenant = world.engine().tenant("default").expect("a tenant");
    let list = list_series(
        world.engine(),
        &tenant,
        &ListRequest {
            selector: parse("{}"),
            search: String::new(),
            after: None,
            limit: 10,
            spark_points: 2,
            now_ms: NOON + 7 * SECOND,
        },
        &Cost::unbounded(),
    )
    .expect("a list");
    let (none, odd) = (&list.series[0], &list.series[1]);
    assert!(none.last.is_some_and(f64::is_nan));
    assert_eq!((none.last_ms, none.rate), (NOON, None));
    assert_eq!(
        (odd.last, odd.state, odd.interval_ms),
        (Some(101.0), SeriesState::Live, Some(1_000))
    );
    assert_eq!((odd.rate, &*odd.kind), (Some(1.0), "counter"));
    assert_eq!(odd.spark, [None, Some(42.0)]);
}

#[test]
fn limits_refuse_with_what_is_allowed() {
    let mut world = World::of(Engine::new(EngineOptions::default(), None));
    for number in 0..5 {
        let samples: Vec<(i64, f64)> = (NOON..)
            .step_by(1_000)
            .map(|at_ms| (at_ms, 1.0))
            .take(100)
            .collect();
        world.append(
            "default",
            "many",
            &[("n", &number.to_string())],
            Kind::Gauge,
            &samples,
        );
    }
    let refused = |request: RangeRequest| match ask(&world, "default", &request) {
        Ok(answer) => panic!("answered: {answer:?}"),
        Err(error) => error.to_string(),
    };
    let hour = || request("many", NOON, NOON + HOUR, Step::Length(MINUTE));
    let with = |limits: Limits| RangeRequest { limits, ..hour() };
    let default = Limits::default();
    assert_eq!(
        refused(RangeRequest {
            step: Step::Length(100),
            ..hour()
        }),
        "36000 points a series were asked for; 1 to 11000 are answered: for this range a step of 500 ms or longer"
    );
    assert_eq!(
        refused(RangeRequest {
            step: Step::Points(0),
            ..hour()
        }),
        "0 points a series were asked for; 1 to 11000 are answered: for this range a step of 500 ms or longer"
    );
    assert_eq!(
        refused(with(Limits {
            series_max: 4,
            ..default
        })),
        "the selector names 5 series; at most 4 are answered, or more when they are grouped (`by`)"
    );
    assert_eq!(
        refused(RangeRequest {
            by: Some(vec![]),
            ..with(Limits {
                grouped_series_max: 3,
                ..default
            })
        }),
        "the selector names 5 series; at most 3 are answered"
    );
    let at_cost = |time: Duration, samples: u64| {
        let tenant = world.engine().tenant("default").expect("a tenant");
        let cost = Cost::new(time, samples, Cancel::default());
        let answer = range(world.engine(), &tenant, &hour(), &cost);
        answer.map_err(|error| error.to_string())
    };
    let long = Duration::from_secs(3_600);
    assert!(at_cost(long, 499).is_err_and(|error| error.starts_with("more than 499 samples")));
    assert!(at_cost(long, 500).is_ok());
    let late = at_cost(Duration::ZERO, 500);
    assert!(late.is_err_and(|error| error.starts_with("the answer took longer")));
    assert!(
        refused(RangeRequest {
            end_ms: NOON,
            ..hour()
        })
        .contains("is not before")
    );
    assert!(
        refused(RangeRequest {
            start_ms: i64::MIN,
            end_ms: i64::MAX,
            ..hour()
        })
        .contains("points")
    );
    assert!(
        refused(RangeRequest {
            step: Step::Length(0),
            ..hour()
        })
        .contains("at least 1 ms")
    );
    assert!(
        refused(RangeRequest {
            by: Some(vec![String::new(); 17]),
            ..hour()
        })
        .contains("at most 16")
    );
    assert!(
        "median"
            .parse::<Aggregation>()
            .is_err_and(|error| error.to_string().contains("rate"))
    );
    // What is allowed is answered.
    for (start_ms, end_ms) in [
        (NOON, NOON + 1),
        (i64::MIN, i64::MAX),
        (NOON - 7, NOON + 400 * 24 * HOUR),
    ] {
        for points in [1, 2, 1_000, 11_000] {
            let request = request("many", start_ms, end_ms, Step::Points(points));
            let answer = ask(&world, "default", &request).expect("an answer");
            let steps = (answer.end_ms - answer.start_ms) / answer.step_ms;
            assert!(
                steps >= 1 && steps <= points as i64 + 1,
                "{points}: {steps}"
            );
            assert_eq!(answer.series.len(), 5);
        }
    }
}

#[test]
fn a_stream_says_first_what_comes_and_then_series_by_series() {
    let mut world = World::of(Engine::new(EngineOptions::default(), None));
    for host in ["a", "b", "c"] {
        world.append(
            "default",
            "cpu",
            &[("host", host)],
            Kind::Gauge,
            &[(NOON, 1.0)],
        );
    }
    let tenant = world.engine().tenant("default").expect("a tenant");
    let request = request("cpu", NOON, NOON + MINUTE, Step::default());
    let cost = Cost::unbounded();
    let mut stream = RangeStream::open(world.engine(), &tenant, &request, &cost).expect("a stream");
    assert_eq!(
        (
            stream.head().step_ms,
            stream.head().stretches.len(),
            stream.rest()
        ),
        (100, 1, 3)
    );
    let keys: Vec<String> = (&mut stream)
        .map(|one| one.expect("a series").key)
        .collect();
    assert_eq!(
        keys,
        ["cpu{host=\"a\"}", "cpu{host=\"b\"}", "cpu{host=\"c\"}"]
    );
    fn sends<T: Send>(_: &T) {}
    sends(&stream);
}

#[test]
fn windows_are_what_their_samples_say() {
    let mut world = World::open(EngineOptions::default(), naive::history_options());
    let mut all: Vec<(i64, f64)> = Vec::new();
    let check = |world: &World, all: &[(i64, f64)], is_hour_whole: bool| {
        let tenant = world.engine().tenant("default").expect("a tenant");
        let answer = windows(
            world.engine(),
            &tenant,
            &parse("w"),
            world.now_ms,
            &Cost::unbounded(),
        )
        .expect("windows");
        for window in &answer[0].windows {
            let mut from_ms = world.now_ms + 1 - i64::from(window.seconds) * SECOND;
            if window.seconds == 3_600 && is_hour_whole {
                from_ms = (from_ms + MINUTE - 1) / MINUTE * MINUTE;
            }
            let inside = all
                .iter()
                .filter(|sample| sample.0 >= from_ms && sample.0 <= world.now_ms);
            let mut values: Vec<f64> = inside.map(|sample| sample.1).collect();
            values.sort_by(f64::total_cmp);
            assert_eq!(window.count, values.len() as u64, "{} s", window.seconds);
            let Some(last) = values.len().checked_sub(1) else {
                assert_eq!((window.avg, window.p50), (None, None));
                continue;
            };
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            assert!(close(window.avg.expect("a mean"), mean));
            assert_eq!(
                (window.min, window.max),
                (Some(values[0]), Some(values[last]))
            );
            for (rank, found) in [
                (0.5, window.p50),
                (0.9, window.p90),
                (0.95, window.p95),
                (0.99, window.p99),
            ] {
                // The nearest rank.
                let place = (rank * values.len() as f64).ceil() as usize;
                let exact = values[place.max(1) - 1];
                let found = found.expect("a percentile");
                assert!(
                    (found - exact).abs() <= exact.abs() * 0.0101,
                    "{rank}: {found} for {exact}"
                );
            }
        }
    };
    for second in 0..5_000_i64 {
        let value = ((second * 7_919) % 2_001 - 1_000) as f64 / 10.0;
        all.push((NOON + second * SECOND, value));
    }
    for part in all.chunks(100) {
        let (newest_ms, _) = part[part.len() - 1];
        world.now_ms = newest_ms + 30 * SECOND;
        world.append("default", "w", &[], Kind::Gauge, part);
        let done = ((newest_ms - NOON) / SECOND + 1) as usize;
        if done.is_multiple_of(1_000) || done < 400 {
            let is_old = done > 800;
            check(&world, &all[..done], is_old);
            world.engine().maintain(world.now_ms, false).expect("kept");
            check(&world, &all[..done], is_old);
        }
    }
    // A sample comes late to a minute that was closed.
    let late_ms = world.now_ms - 10 * MINUTE + 1;
    check(&world, &all, true);
    world.append("default", "w", &[], Kind::Gauge, &[(late_ms, -1e5)]);
    all.push((late_ms, -1e5));
    check(&world, &all, true);
    world.restart();
    check(&world, &all, true);
    world.now_ms += 30 * MINUTE;
    check(&world, &all, true);
}

#[test]
fn samples_that_are_no_numbers_are_counted_where_they_are() {
    let mut world = World::open(EngineOptions::default(), naive::history_options());
    let stale = f64::from_bits(STALE_MARKER_BITS);
    let samples = [
        (NOON, 1.0),
        (NOON + SECOND, f64::NAN),
        (NOON + 2 * SECOND, f64::INFINITY),
        (NOON + 3 * SECOND, 3.0),
        (NOON + MINUTE, f64::NAN),
        (NOON + 2 * MINUTE, 5.0),
        (NOON + 3 * MINUTE, stale),
    ];
    world.append("default", "some", &[], Kind::Gauge, &samples);
    let none = [(NOON, f64::NAN), (NOON + SECOND, f64::NEG_INFINITY)];
    world.append("default", "none", &[], Kind::Gauge, &none);
    for _ in 0..2 {
        let request = request("{}", NOON, NOON + HOUR, Step::Length(MINUTE));
        let answer = ask(&world, "default", &request).expect("an answer");
        let [none, some] = &answer.series[..] else {
            panic!("{answer:?}");
        };
        assert_eq!(none.not_finite, [(NOON, 2)]);
        assert_eq!(some.not_finite, [(NOON, 2), (NOON + MINUTE, 1)]);
        // What the means are of: with them one mean is made of several.
        assert_eq!(some.counts, [3, 0, 1]);
        let times: Vec<i64> = some.points.iter().map(|point| point.0).collect();
        assert_eq!(times, [NOON, NOON + MINUTE, NOON + 2 * MINUTE]);
        world.restart();
    }
}
