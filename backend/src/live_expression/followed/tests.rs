//! What is kept is what is there: the same answers as by reading whole, at every step.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use pulseboard_engine::{Cancel, Cost, Engine, EngineOptions, Selector, Tenant};
use pulseboard_promql::{Expr, Options, instant, parse};
use pulseboard_series::{Batch, STALE_MARKER_BITS};

use super::{Kept, KeptSeries, Ledger, SELECTOR_BYTES_MAX};
use crate::expressions::TenantSeries;

const START_MS: i64 = 1_800_000_000_000;

const EXPRESSIONS: &[&str] = &[
    "load",
    "sum(rate(load[30s]))",
    "sum by (host) (increase(load[1m])) / on (host) count by (host) (load)",
    "max_over_time(load{host=~\"h[0-3]\"}[45s] offset 5s)",
    "load{host!=\"h1\"} - load{host!=\"h1\"} offset 10s",
    "absent(load{host=\"nowhere\"})",
    "topk(2, load)",
    "max_over_time(rate(load[10s])[30s:3s])",
    "load @ 1800000005",
    "quantile_over_time(0.9, {__name__=~\"lo.*\",cpu=\"1\"}[20s])",
];

struct Follower {
    expr: Expr,
    kept: Kept,
}

struct Stage {
    engine: Arc<Engine>,
    tenants: [Arc<Tenant>; 2],
    ledger: Ledger,
}

impl Stage {
    fn new(options: EngineOptions) -> Self {
        let engine = Arc::new(Engine::new(options, None));
        let tenant = |name| engine.tenant(name).expect("a tenant");
        Self {
            tenants: [tenant("red"), tenant("blue")],
            ledger: Ledger::default(),
            engine,
        }
    }

    fn follower(&self, text: &str) -> Follower {
        Follower {
            expr: parse(text).expect("an expression"),
            kept: Kept::new(&self.ledger),
        }
    }

    /// By what is kept, and by reading whole.
    fn answers(&self, follower: &Follower, tenant: usize, at_ms: i64) -> [String; 2] {
        let (cost, tenant) = (Cost::unbounded(), &self.tenants[tenant]);
        let whole = TenantSeries::new(&self.engine, tenant, &cost);
        let kept = KeptSeries {
            whole: &whole,
            kept: &follower.kept,
            at_ms,
            step_ms: 1_000,
        };
        let options = Options::default();
        let by_kept = instant(&follower.expr, at_ms, &kept, &whole, options);
        follower.kept.end_step();
        let by_whole = instant(&follower.expr, at_ms, &whole, &whole, options);
        [format!("{by_kept:?}"), format!("{by_whole:?}")]
    }

    fn push(&self, tenant: usize, host: u32, cpu: u32, at_ms: i64, value: f64, now_ms: i64) {
        let mut batch = Batch::new();
        batch.begin(&["load"]).expect("a name");
        batch.label("host", &format!("h{host}")).expect("a label");
        batch.label("cpu", &cpu.to_string()).expect("a label");
        batch.finish(1, Some(at_ms), value).expect("a sample");
        self.engine.append(&self.tenants[tenant], &batch, now_ms);
    }
}

impl Stage {
    fn delete(&self, tenant: usize, host: u32, stretch: (i64, i64), now_ms: i64) {
        let selector = Selector::parse(&format!("load{{host=\"h{host}\"}}"));
        let (selector, cost) = (selector.expect("a selector"), Cost::unbounded());
        let deleted = self
            .engine
            .delete(&self.tenants[tenant], &selector, stretch, now_ms, &cost);
        deleted.expect("deleted");
    }
}

#[test]
fn answers_are_those_of_reading_whole_whatever_comes_and_goes() {
    let seed = fastrand::u64(..);
    let mut random = Rng::with_seed(seed);
    let options = EngineOptions {
        window_ms: 90_000,
        ttl_ms: 60_000,
        ..EngineOptions::default()
    };
    let stage = Stage::new(options);
    let followers: Vec<Follower> = EXPRESSIONS
        .iter()
        .map(|text| stage.follower(text))
        .collect();
    let mut hosts = 2;
    for step in 0..240_i64 {
        let at_ms = START_MS + step * 1_000;
        for _ in 0..random.usize(..30) {
            let (host, cpu) = (random.u32(..hosts), random.u32(..3));
            let back_ms = match random.u32(..60) {
                // From before the windows.
                0 if step > 150 => 80_000 + random.i64(..60_000),
                // Ahead of the clock, as another machine's may be.
                1 => -random.i64(..5_000),
                2..8 => random.i64(..40_000),
                _ => random.i64(..1_000),
            };
            let value = match random.u32(..40) {
                0 => f64::from_bits(STALE_MARKER_BITS),
                1 => f64::NAN,
                _ => f64::from(random.u32(..1_000)),
            };
            let (tenant, now_ms) = (random.usize(..2), at_ms + 500);
            stage.push(tenant, host, cpu, at_ms - back_ms, value, now_ms);
        }
        if random.u32(..20) == 0 {
            hosts += 1;
        }
        if random.u32(..15) == 0 {
            let stretch = match random.u32(..4) {
                0 => (0, i64::MAX),
                _ => (at_ms - random.i64(..60_000), at_ms - random.i64(..5_000)),
            };
            stage.delete(0, random.u32(..hosts), stretch, at_ms + 500);
        }
        if step % 30 == 29 {
            stage.engine.maintain(at_ms, false).expect("maintained");
        }
        for (follower, text) in followers.iter().zip(EXPRESSIONS) {
            let [by_kept, by_whole] = stage.answers(follower, 0, at_ms);
            assert_eq!(by_kept, by_whole, "{text} at step {step}, seed {seed}");
        }
    }
    drop(followers);
    assert_eq!(stage.ledger.bytes(), 0, "all was given back");
}

#[test]
fn a_sample_is_read_once_and_what_is_kept_is_given_back() {
    let stage = Stage::new(EngineOptions::default());
    let followers = [
        stage.follower("sum(rate(load[5m]))"),
        // A time that stands still is read as it is asked.
        stage.follower("load @ 1800000005"),
    ];
    // Whether it is answered although no sample may be read.
    let is_answered = |follower: &Follower, at_ms: i64, samples_max: u64| {
        let cost = Cost::new(Duration::from_secs(60), samples_max, Cancel::default());
        let whole = TenantSeries::new(&stage.engine, &stage.tenants[0], &cost);
        let kept = KeptSeries {
            whole: &whole,
            kept: &follower.kept,
            at_ms,
            step_ms: 1_000,
        };
        let answer = instant(&follower.expr, at_ms, &kept, &whole, Options::default());
        follower.kept.end_step();
        answer.is_ok()
    };
    for step in 0..100 {
        let at_ms = START_MS + step * 1_000;
        stage.push(0, 1, 0, at_ms, step as f64, at_ms);
        let samples_max = if step < 2 { u64::MAX } else { 0 };
        let moving = is_answered(&followers[0], at_ms, samples_max);
        assert!(moving, "step {step} reads what was read before");
        let fixed = is_answered(&followers[1], at_ms, samples_max);
        assert_eq!(fixed, step < 2, "step {step}");
    }
    assert!(stage.ledger.bytes() > 100 * 16, "{}", stage.ledger.bytes());
    drop(followers);
    assert_eq!(stage.ledger.bytes(), 0);
}

#[test]
fn what_is_too_much_to_be_kept_is_read_whole() {
    let stage = Stage::new(EngineOptions::default());
    let follower = stage.follower("count_over_time(load[1h])");
    let each = SELECTOR_BYTES_MAX / 16 / 8 + 1_000;
    for host in 0..8 {
        let mut batch = Batch::new();
        for at in 0..each {
            batch.begin(&["load"]).expect("a name");
            batch.label("host", &host.to_string()).expect("a label");
            let at_ms = START_MS - 800_000 + i64::try_from(at).expect("a time") * 20;
            batch.finish(1, Some(at_ms), 1.0).expect("a sample");
        }
        stage.engine.append(&stage.tenants[0], &batch, START_MS);
    }
    for step in 0..4 {
        let [by_kept, by_whole] = stage.answers(&follower, 0, START_MS + step * 1_000);
        assert_eq!(by_kept, by_whole);
        assert!(by_kept.contains(&each.to_string()), "{by_kept}");
        assert_eq!(stage.ledger.bytes(), 0, "step {step}");
    }
}
