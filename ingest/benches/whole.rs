//! What a sample costs on its whole way from a body to the window, by stage and form, in the
//! thread that takes the body: `cargo bench -p pulseboard-ingest --bench whole`.
//!
//! A plain program and not criterion: the figures are of many bodies that each bring newer times.
//! The bodies are those of `cargo xtask bench ingest`, 500 samples of five labels each, and are
//! built outside of the clock. `WHOLE_SERIES=1000,100000` sets how many series, `WHOLE_SAMPLES`
//! how many samples of each measurement, `WHOLE_FORMS=remote` which forms.

use std::time::{Duration, Instant};

use pulseboard_bench::samples::{Form, Writer};
use pulseboard_engine::{Engine, EngineOptions};
use pulseboard_ingest::{
    Batch,
    decompress::{Coding, Unpacker},
    detect, influx,
    remote_write::{self, Version},
    time::Precision,
};

const NOON: i64 = 1_763_726_400_000;
const ROWS: usize = 500;

/// Where the time of a measurement went.
#[derive(Default)]
struct Stages {
    unpack: Duration,
    parse: Duration,
    append: Duration,
}

fn measure(form: Form, series: usize, samples: usize) -> Stages {
    let engine = Engine::new(
        EngineOptions {
            memory_max_bytes: 16 << 30,
            ..EngineOptions::default()
        },
        None,
    );
    let tenant = engine.tenant("default").expect("a tenant");
    let writer = Writer::new(form, series);
    let mut batch = Batch::new();
    let mut unpacker = Unpacker::new();
    let mut unpacked = Vec::new();
    let mut stages = Stages::default();
    for step in 0..=samples.div_ceil(series) {
        let at_ms = NOON + step as i64 * 1_000;
        let bodies: Vec<Vec<u8>> = (0..series)
            .step_by(ROWS)
            .map(|from| {
                let range = from..series.min(from + ROWS);
                writer.body(range, step, at_ms).expect("packs")
            })
            .collect();
        // The first step makes the series, which is another measurement.
        if step == 1 {
            stages = Stages::default();
        }
        for body in &bodies {
            let begun = Instant::now();
            let message = if form == Form::Remote {
                unpacker
                    .unpack(Coding::Snappy, body, usize::MAX, &mut unpacked, |_| true)
                    .expect("unpacks");
                unpacked.as_slice()
            } else {
                body.as_slice()
            };
            let is_unpacked = Instant::now();
            batch.clear();
            match form {
                Form::Remote => {
                    remote_write::parse(Version::V1, message, &mut batch).expect("a message");
                }
                Form::Prometheus => drop(detect::push(message, &mut batch)),
                Form::Influx => influx::parse(message, Precision::Nanoseconds, &mut batch),
            }
            let is_parsed = Instant::now();
            let appended = engine.append(&tenant, &batch, at_ms);
            assert_eq!(appended.refused_total, 0);
            stages.append += is_parsed.elapsed();
            stages.parse += is_parsed - is_unpacked;
            stages.unpack += is_unpacked - begun;
        }
    }
    stages
}

fn list(variable: &str) -> Vec<String> {
    let asked = std::env::var(variable).unwrap_or_default();
    asked.split(',').map(str::to_owned).collect()
}

fn main() {
    let number = |text: &String| text.parse::<usize>().ok();
    let mut counts: Vec<usize> = list("WHOLE_SERIES").iter().filter_map(number).collect();
    if counts.is_empty() {
        counts = vec![1_000, 100_000];
    }
    let samples = list("WHOLE_SAMPLES").first().and_then(number);
    let samples = samples.unwrap_or(4_000_000);
    let forms = list("WHOLE_FORMS");
    for series in counts {
        for form in [Form::Prometheus, Form::Influx, Form::Remote] {
            let name = format!("{form:?}").to_lowercase();
            if !forms.contains(&name) && forms != [""] {
                continue;
            }
            let stages = measure(form, series, samples);
            let each = |time: Duration| {
                time.as_nanos() as f64 / (samples.div_ceil(series) * series) as f64
            };
            eprintln!(
                "{series:>8} series, {name:>10}: {:>4.0} ns a sample: unpack {:>3.0}, parse {:>3.0}, append {:>3.0}",
                each(stages.unpack + stages.parse + stages.append),
                each(stages.unpack),
                each(stages.parse),
                each(stages.append),
            );
        }
    }
}
