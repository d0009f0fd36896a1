//! What appending costs, per sample, on the thread that appends, with and without a history; and
//! what a series takes in memory: `cargo bench -p pulseboard-engine --bench append`.
//!
//! A plain program and not criterion: it needs figures per sample over many batches that each
//! bring newer times, and the process's size (with that of the batches, 1 series' row about 100
//! bytes; alone for a run with one number of series, as pages are not given back). Batches are
//! built beforehand, outside of the clock. `APPEND_SERIES=1000,100000` sets how many series.

use std::time::{Duration, Instant};

use pulseboard_engine::{Engine, EngineOptions, Persistence};
use pulseboard_history::{HistoryOptions, log::Durability};
use pulseboard_series::Batch;

const NOON: i64 = 1_763_726_400_000;
const ROWS: usize = 500;

/// Bytes of this process in memory (Linux; 0 elsewhere).
fn resident_bytes() -> usize {
    let figures = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = figures
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or_default() * 4_096
}

/// Batches with a sample of each series.
fn batches(series: usize, at_ms: i64, value: f64) -> Vec<Batch> {
    let mut batches = Vec::new();
    for from in (0..series).step_by(ROWS) {
        let mut batch = Batch::new();
        for (line, number) in (1..).zip(from..series.min(from + ROWS)) {
            let built = batch.begin(&["http_requests_total"]).and_then(|()| {
                batch.label("host", &format!("host-{}", number / 10))?;
                batch.label("path", &format!("/api/{}", number % 10))?;
                batch.finish(line, Some(at_ms), value + (number % 100) as f64)
            });
            assert_eq!(built, Ok(()));
        }
        batches.push(batch);
    }
    batches
}

fn measure(series: usize, rounds: usize, durability: Option<Durability>) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let options = EngineOptions {
        memory_max_bytes: 16 << 30,
        ..EngineOptions::default()
    };
    let engine = match durability {
        None => Engine::new(options, None),
        Some(durability) => {
            let history = HistoryOptions::with_durability(durability);
            Engine::open(folder.path(), options, history, NOON)
                .expect("opens")
                .0
        }
    };
    let tenant = engine.tenant("default").expect("a tenant");
    let before = resident_bytes();
    let mut first = Duration::ZERO;
    let mut took = Duration::ZERO;
    let mut held = 0;
    for round in 0..=rounds {
        let at_ms = NOON + round as i64 * 1_000;
        let batches = batches(series, at_ms, round as f64 * 0.5);
        let started = Instant::now();
        let mut newest = None;
        for batch in &batches {
            let appended = engine.append(&tenant, batch, at_ms);
            if let Persistence::Pending(ticket) = appended.persistence {
                newest = Some(ticket);
            }
        }
        let elapsed = started.elapsed();
        if let Some(ticket) = newest {
            ticket.wait_blocking().expect("safe");
        }
        drop(batches);
        if round == 0 {
            first = elapsed;
            held = resident_bytes().saturating_sub(before);
        } else {
            took += elapsed;
        }
    }
    let history = durability.map_or("in memory".to_owned(), |durability| {
        format!("{durability:?}")
    });
    format!(
        "{series:>9} series, {history:>9}: {:>5.0} ns a sample, {:>5.0} ns a new series, {:>4} bytes a series with its first sample",
        took.as_nanos() as f64 / (rounds * series) as f64,
        first.as_nanos() as f64 / series as f64,
        held / series,
    )
}

fn main() {
    let asked = std::env::var("APPEND_SERIES").unwrap_or_default();
    let mut counts: Vec<usize> = asked
        .split(',')
        .filter_map(|count| count.parse().ok())
        .collect();
    if counts.is_empty() {
        counts = vec![1_000, 100_000, 1_000_000];
    }
    for series in counts {
        let rounds = (4_000_000 / series).clamp(4, 2_000);
        for durability in [None, Some(Durability::Write)] {
            let line = measure(series, rounds, durability);
            eprintln!("{line}");
        }
    }
}
