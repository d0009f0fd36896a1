//! Series that are made by chance, the same for the same seed: what a Prometheus is given and what
//! our own evaluators read.
//!
//! Values are whole eighths, so that sums of them are exact in whatever order and by whatever
//! method they are added up. Times keep off the fractions of a second at which questions are asked
//! (.3) and at which subqueries look (.0), and so no sample is ever exactly at the left edge of a
//! window.

use std::sync::Arc;

use fastrand::Rng;
use pulseboard_promql::{Labels, Samples, labels::NAME};
use pulseboard_series::STALE_MARKER_BITS;

/// The first sample's second, of Unix time.
pub(crate) const START_S: i64 = 1_600_000_000;

/// How many seconds have samples.
pub(crate) const LENGTH_S: i64 = 600;

/// A series and its samples.
pub(crate) type Series = (Labels, Samples);

/// The jobs, instances and bounds that there are.
pub(crate) const JOBS: [&str; 3] = ["api", "web", "db"];
pub(crate) const INSTANCES: [&str; 3] = ["a:1", "b:1", "c:1"];
const BOUNDS: [&str; 5] = ["0.125", "0.5", "1", "2.5", "+Inf"];

fn labels(name: &str, others: &[(&str, &str)]) -> Labels {
    let name = [(NAME, name)];
    let all = name.iter().chain(others);
    all.map(|(name, value)| (Arc::from(*name), Arc::from(*value)))
        .collect()
}

/// Times of samples: every `interval_s` with a little jitter, stretches of it missing. Never so
/// much that a window's first sample seems to lack one before it.
fn times(random: &mut Rng, interval_s: i64, has_gaps: bool) -> Vec<i64> {
    let mut all = Vec::new();
    let mut at_s = random.i64(0..interval_s);
    while at_s < LENGTH_S {
        let fraction_ms = [150, 250, 350][random.usize(..3)];
        all.push((START_S + at_s) * 1000 + fraction_ms);
        at_s += interval_s;
        if has_gaps && random.u8(..20) == 0 {
            at_s += random.i64(20..90);
        }
    }
    all
}

fn eighths(random: &mut Rng, below: i32) -> f64 {
    f64::from(random.i32(0..below * 8)) / 8.0
}

/// A counter that begins at zero, sometimes stands still and is sometimes reset. Behind a gap it
/// begins anew at zero: else Prometheus 3 carries a rate to zero otherwise than
/// Prometheus 2 does.
fn counter(random: &mut Rng, interval_s: i64, has_gaps: bool) -> Samples {
    let times = times(random, interval_s, has_gaps);
    let mut values = Vec::with_capacity(times.len());
    let mut value = 0.0;
    for (at, time) in times.iter().enumerate() {
        let before = at.checked_sub(1).map_or(*time, |before| times[before]);
        let is_behind_gap = time - before > interval_s * 1000 + 1000;
        value = match random.u8(..40) {
            _ if at == 0 || is_behind_gap => 0.0,
            0 => 0.0,
            1 => eighths(random, 4),
            2..12 => value,
            _ => value + eighths(random, 16),
        };
        values.push(value);
    }
    Samples::of(times, values)
}

fn gauge(random: &mut Rng, interval_s: i64, has_gaps: bool) -> Samples {
    let times = times(random, interval_s, has_gaps);
    let values = times.iter().map(|_| eighths(random, 40) - 20.0).collect();
    Samples::of(times, values)
}

/// All series, in the order of their labels, in which Prometheus reads them.
pub(crate) fn all(random: &mut Rng) -> Vec<Series> {
    let mut all = unsorted(random);
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

fn unsorted(random: &mut Rng) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for (row, job) in JOBS.into_iter().enumerate() {
        for (column, instance) in INSTANCES.into_iter().enumerate() {
            let place = row * INSTANCES.len() + column;
            if (job, instance) == ("db", "c:1") {
                continue;
            }
            let named = |name| labels(name, &[("job", job), ("instance", instance)]);
            all.push((named("up"), steady(random, 1.0)));
            all.push((named("requests_total"), counter(random, 5, false)));
            all.push((named("jobs_total"), counter(random, 7, true)));
            all.push((named("temperature"), gauge(random, 5, job == "web")));
            let weight = distinct(random, place);
            all.push((named("weight"), weight));
            let version = ["1.0", "1.1"][random.usize(..2)];
            let info = [("job", job), ("instance", instance), ("version", version)];
            all.push((labels("build_info", &info), steady(random, 1.0)));
        }
        let limit = f64::from(random.i32(1..20));
        all.push((labels("limit", &[("job", job)]), steady(random, limit)));
        all.push((labels("gone", &[("job", job)]), gone(random)));
        all.extend(histogram(random, job, job != "db"));
    }
    for (kind, values) in [
        ("nan", [f64::NAN; 3]),
        ("inf", [f64::INFINITY; 3]),
        ("less", [f64::NEG_INFINITY; 3]),
        ("mixed", [f64::INFINITY, f64::NAN, 1.5]),
        ("some", [f64::NAN, 2.0, -2.0]),
        ("zero", [0.0, -0.0, 0.0]),
    ] {
        let mut samples = gauge(random, 5, false);
        for value in &mut samples.values {
            *value = values[random.usize(..3)];
        }
        all.push((labels("odd", &[("kind", kind)]), samples));
    }
    for job in JOBS {
        let times = vec![(START_S + random.i64(100..500)) * 1000 + 150];
        let values = vec![eighths(random, 9)];
        all.push((
            labels("single", &[("job", job)]),
            Samples::of(times, values),
        ));
    }
    all
}

/// A gauge that never has the value of one in another `place`.
fn distinct(random: &mut Rng, place: usize) -> Samples {
    let mut samples = gauge(random, 5, false);
    for value in &mut samples.values {
        *value = f64::from(random.i32(0..30)) + place as f64 / 16.0;
    }
    samples
}

fn steady(random: &mut Rng, value: f64) -> Samples {
    let times = times(random, 10, false);
    let values = vec![value; times.len()];
    Samples::of(times, values)
}

/// A gauge that is marked as gone now and then, and comes back.
fn gone(random: &mut Rng) -> Samples {
    let mut samples = gauge(random, 5, true);
    for value in &mut samples.values {
        if random.u8(..8) == 0 {
            *value = f64::from_bits(STALE_MARKER_BITS);
        }
    }
    samples
}

/// Cumulative buckets of one histogram, one of which may lack the last.
fn histogram(random: &mut Rng, job: &str, has_last: bool) -> Vec<Series> {
    let times = times(random, 5, false);
    let mut counts = [0.0; BOUNDS.len()];
    let mut values = vec![Vec::new(); BOUNDS.len()];
    for at in 0..times.len() {
        if at == 0 || random.u8(..60) == 0 {
            counts = [0.0; BOUNDS.len()];
        }
        let mut more = 0.0;
        for (count, values) in counts.iter_mut().zip(&mut values) {
            more += f64::from(random.u8(..4)) * f64::from(u8::from(at > 0));
            *count += more;
            values.push(*count);
        }
    }
    let bounds = BOUNDS.iter().zip(values);
    bounds
        .filter(|(bound, _)| has_last || **bound != "+Inf")
        .map(|(bound, values)| {
            let labels = labels("latency_bucket", &[("job", job), ("le", bound)]);
            let times = times.clone();
            (labels, Samples::of(times, values))
        })
        .collect()
}
