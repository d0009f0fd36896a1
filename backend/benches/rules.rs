//! What evaluating rules costs without what becomes of it, by kind of rule: those that `cargo xtask
//! bench rules` makes, over an engine with 100 000 series (`RULES_SERIES`).

use std::{collections::BTreeMap, hint::black_box, sync::Arc, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pulseboard::expressions::{KnownSelectors, TenantSeries};
use pulseboard_engine::{Cancel, Cost, Engine, EngineOptions, Tenant};
use pulseboard_history::{HistoryOptions, log::Durability};
use pulseboard_promql::Options;
use pulseboard_rules::{Env, Group, GroupSpec, Period, RuleSpec, group::Defaults};
use pulseboard_series::Batch;

const NOON: i64 = 1_763_726_400_000;
const EVERY_MS: i64 = 15_000;
const METRIC: &str = "bench_requests_value";
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
const CODES: [&str; 5] = ["200", "201", "304", "404", "500"];

/// Rules of one kind, of as many instances.
const RULES: usize = 200;

fn instance(number: usize) -> String {
    format!("10.1.{}.{}:9100", number / 250 % 250, number % 250)
}

fn fill(engine: &Engine, tenant: &Arc<Tenant>, series: usize) {
    let mut batch = Batch::new();
    for step in 0..12 {
        for number in 0..series {
            let row = batch.begin(&[METRIC]).and_then(|()| {
                batch.label("code", CODES[number % 5])?;
                batch.label("instance", &instance(number / 20))?;
                batch.label("job", "service-0")?;
                batch.label("method", METHODS[number / 5 % 4])?;
                batch.label("path", &format!("/api/v1/items/{}", number % 20))?;
                let value = (number * 7 + step * 13) % 1_000;
                let at_ms = NOON - (11 - step as i64) * EVERY_MS;
                batch.finish(1, Some(at_ms), value as f64 / 10.0)
            });
            assert_eq!(row, Ok(()));
            if batch.rows().len() == 5_000 {
                engine.append(tenant, &batch, NOON);
                batch.clear();
            }
        }
    }
    engine.append(tenant, &batch, NOON);
}

fn rule(kind: &str, number: usize, instances: usize) -> RuleSpec {
    let of = format!(
        "{METRIC}{{instance=\"{}\"",
        instance(number % instances.max(1))
    );
    let alert = |expr: String, hold_ms: i64| RuleSpec {
        alert: kind.to_owned(),
        expr,
        hold: Period::from_millis(hold_ms),
        ..RuleSpec::default()
    };
    match kind {
        "never" => alert(format!("{of}}} > 1e9"), 300_000),
        "often" => alert(format!("{of},code=\"200\",method=\"GET\"}} >= 0"), 60_000),
        "rate" => alert(format!("sum by (code) (rate({of}}}[5m])) > 1e9"), 0),
        _ => RuleSpec {
            record: format!("instance:mean{number}"),
            expr: format!("avg by (method) ({of}}})"),
            ..RuleSpec::default()
        },
    }
}

fn rules(criterion: &mut Criterion) {
    let series = std::env::var("RULES_SERIES").ok();
    let series = series
        .and_then(|count| count.parse().ok())
        .unwrap_or(100_000);
    let folder = tempfile::tempdir().expect("a folder");
    let history = HistoryOptions::with_durability(Durability::Write);
    let options = EngineOptions::default();
    let (engine, _) = Engine::open(folder.path(), options, history, NOON).expect("opens");
    let engine = Arc::new(engine);
    let tenant = engine.tenant("default").expect("a tenant");
    fill(&engine, &tenant, series);
    let (selectors, external_labels) = (KnownSelectors::default(), BTreeMap::new());
    let mut criterion_group = criterion.benchmark_group("rules");
    criterion_group.throughput(Throughput::Elements(RULES as u64));
    for kind in ["never", "often", "rate", "record"] {
        let spec = GroupSpec {
            name: kind.to_owned(),
            rules: (0..RULES)
                .map(|number| rule(kind, number, series / 20))
                .collect(),
            ..GroupSpec::default()
        };
        let defaults = Defaults {
            interval_ms: EVERY_MS,
            query_offset_ms: 0,
        };
        let mut group = Group::new("rules.yml", &spec, defaults).expect("a group");
        // Nothing is written, so the time may go on among the samples that there are.
        let mut at_ms = NOON;
        criterion_group.bench_function(kind, |bencher| {
            bencher.iter(|| {
                at_ms = NOON + (at_ms - NOON + 1) % EVERY_MS;
                for index in 0..RULES {
                    let cost = Cost::new(Duration::from_secs(30), u64::MAX, Cancel::default());
                    let stored = TenantSeries::new(&engine, &tenant, &cost).knowing(&selectors);
                    let env = Env {
                        storage: &stored,
                        guard: &stored,
                        options: Options::default(),
                        external_labels: &external_labels,
                        external_url: "http://localhost",
                        resend_delay_ms: 60_000,
                    };
                    let outcome = group.evaluate_rule(index, at_ms, &env);
                    assert_eq!(outcome.error, None);
                    black_box(outcome);
                }
            });
        });
    }
    criterion_group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = rules
}
criterion_main!(benches);
