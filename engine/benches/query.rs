//! What questions cost: `cargo bench -p pulseboard-engine --bench query`. `LIST_SERIES` sets how
//! many series the list has (default 1 000 000).

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use pulseboard_engine::{
    Cost, Engine, EngineOptions, Selector,
    query::{Aggregation, Limits, ListRequest, RangeRequest, Step, list_series, range, windows},
};
use pulseboard_history::{HistoryOptions, Retention, log::Durability};
use pulseboard_series::{Batch, Kind};

const NOON: i64 = 1_763_726_400_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn append(engine: &Engine, rows: impl Iterator<Item = (usize, i64, f64)>, now_ms: i64) {
    let tenant = engine.tenant("default").expect("a tenant");
    let mut batch = Batch::new();
    let send = |batch: &mut Batch| {
        engine.append(&tenant, batch, now_ms);
        batch.clear();
    };
    for (line, (series, at_ms, value)) in (1..).zip(rows) {
        let built = batch.begin(&["requests_total"]).and_then(|()| {
            batch.label("host", &format!("host-{series}"))?;
            batch.label("job", "api")?;
            batch.describe(Kind::Counter, "");
            batch.finish(line, Some(at_ms), value)
        });
        assert_eq!(built, Ok(()));
        if line % 5_000 == 0 {
            send(&mut batch);
        }
    }
    send(&mut batch);
}

/// `series` with a sample each `every_ms` for `length_ms`, sealed and rolled up as time goes by.
fn filled(folder: &std::path::Path, series: usize, every_ms: i64, length_ms: i64) -> (Engine, i64) {
    let options = EngineOptions::default();
    let mut history = HistoryOptions::with_durability(Durability::Write);
    history.retention = Retention::default();
    let (engine, _) = Engine::open(folder, options, history, NOON).expect("opens");
    let mut now_ms = NOON;
    while now_ms < NOON + length_ms {
        let from_ms = now_ms;
        now_ms += 10 * MINUTE;
        let times = (from_ms..now_ms).step_by(every_ms as usize);
        let rows = times.flat_map(|at_ms| {
            (0..series).map(move |series| (series, at_ms, ((at_ms / 1000) % 997) as f64))
        });
        append(&engine, rows, now_ms);
        engine.maintain(now_ms, false).expect("kept");
        if now_ms % HOUR == 0 {
            while engine
                .maintain_history(now_ms, Duration::from_secs(5))
                .expect("maintained")
            {}
        }
    }
    (engine, now_ms)
}

fn request(selector: &str, start_ms: i64, end_ms: i64, step: Step) -> RangeRequest {
    RangeRequest {
        selector: Selector::parse(selector).expect("a selector"),
        start_ms,
        end_ms,
        step,
        aggregation: Aggregation::Avg,
        by: None,
        few: None,
        limits: Limits::default(),
    }
}

fn ranges(criterion: &mut Criterion) {
    let mut bench = |name: &str, engine: &Engine, request: &RangeRequest| {
        let tenant = engine.tenant("default").expect("a tenant");
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                black_box(range(engine, &tenant, request, &Cost::unbounded())).expect("an answer")
            });
        });
    };
    {
        let folder = tempfile::tempdir().expect("a folder");
        let (engine, now_ms) = filled(folder.path(), 4, 1_000, 26 * HOUR);
        let one = r#"requests_total{host="host-1"}"#;
        let day = |step| request(one, now_ms - 24 * HOUR, now_ms, step);
        bench(
            "1 series, 1 s, 24 h at 1 440 points",
            &engine,
            &day(Step::Points(1_440)),
        );
        bench(
            "1 series, 1 s, 24 h by 15 s, raw",
            &engine,
            &day(Step::Length(15_000)),
        );
        let rate = RangeRequest {
            aggregation: Aggregation::Rate,
            ..day(Step::Points(1_440))
        };
        bench("1 series, 1 s, 24 h rate at 1 440 points", &engine, &rate);
        let hour = request(one, now_ms - HOUR, now_ms, Step::Points(1_000));
        bench("1 series, 1 s, 1 h at 1 000 points", &engine, &hour);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (engine, now_ms) = filled(folder.path(), 100, 60_000, 31 * 24 * HOUR);
    let month = request(
        "requests_total",
        now_ms - 720 * HOUR,
        now_ms,
        Step::Points(1_000),
    );
    bench("100 series, 1 min, 30 d at 1 000 points", &engine, &month);
    let grouped = RangeRequest {
        by: Some(vec!["job".to_owned()]),
        ..month
    };
    bench(
        "100 series in a group, 1 min, 30 d at 1 000 points",
        &engine,
        &grouped,
    );
    let tenant = engine.tenant("default").expect("a tenant");
    criterion.bench_function("100 series, live windows", |bencher| {
        bencher.iter(|| {
            black_box(windows(
                &engine,
                &tenant,
                &Selector::all(),
                now_ms,
                &Cost::unbounded(),
            ))
        });
    });
}

fn lists(criterion: &mut Criterion) {
    let series = std::env::var("LIST_SERIES")
        .ok()
        .and_then(|count| count.parse().ok());
    let series = series.unwrap_or(1_000_000);
    let options = EngineOptions {
        memory_max_bytes: 8 << 30,
        ..EngineOptions::default()
    };
    let engine = Engine::new(options, None);
    append(&engine, (0..series).map(|series| (series, NOON, 1.0)), NOON);
    let tenant = engine.tenant("default").expect("a tenant");
    for (name, selector, search, after) in [
        ("first page", "{}", "", None),
        (
            "page in the middle",
            "{}",
            "",
            Some(r#"requests_total{host="host-5"#),
        ),
        ("word in the name", "{}", "requests", None),
        ("word in a label", "{}", "host-4242", None),
        ("matcher", r#"{host=~"host-77.*"}"#, "", None),
    ] {
        let request = ListRequest {
            selector: Selector::parse(selector).expect("a selector"),
            search: search.to_owned(),
            after: after.map(str::to_owned),
            limit: 100,
            spark_points: 30,
            now_ms: NOON,
        };
        criterion.bench_function(&format!("list of {series}: {name}"), |bencher| {
            bencher.iter(|| black_box(list_series(&engine, &tenant, &request, &Cost::unbounded())));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = ranges, lists
}
criterion_main!(benches);
