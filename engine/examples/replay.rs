//! How long a start takes: writes ten million samples into a log, and opens it.
//! `cargo run --release -p pulseboard-engine --example replay [series] [samples of each]`
#![expect(
    clippy::print_stdout,
    reason = "a measuring program talks on standard output"
)]

use std::time::Instant;

use pulseboard_engine::{Engine, EngineOptions};
use pulseboard_history::HistoryOptions;
use pulseboard_series::Batch;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: i64| {
        let given = arguments.next();
        given.map_or(Ok(default), |text| text.parse())
    };
    let (series, samples) = (number(10_000)?, number(1_000)?);
    let folder = tempfile::tempdir()?;
    let options = EngineOptions {
        window_ms: 3_600_000,
        memory_max_bytes: u64::MAX,
        ..EngineOptions::default()
    };
    let now_ms = 1_763_726_400_000;
    let (engine, _) = Engine::open(folder.path(), options, HistoryOptions::default(), now_ms)?;
    let tenant = engine.tenant("default")?;
    let began = Instant::now();
    let mut batch = Batch::new();
    for sample in 0..samples {
        batch.clear();
        for name in 0..series {
            batch.begin(&["requests_total"])?;
            batch.label("instance", &name.to_string())?;
            batch.finish(1, Some(now_ms + sample), (sample * name) as f64)?;
        }
        let appended = engine.append(&tenant, &batch, now_ms);
        if appended.refused_total > 0 {
            return Err(format!("refused: {:?}", appended.refused).into());
        }
    }
    let wrote = began.elapsed();
    drop(engine);
    let began = Instant::now();
    let (engine, report) = Engine::open(folder.path(), options, HistoryOptions::default(), now_ms)?;
    println!(
        "{} samples of {} series: appended in {wrote:.2?}, read back in {:.2?} ({} MB in windows)",
        report.log_samples,
        engine.series(),
        began.elapsed(),
        {
            engine.maintain(now_ms, false)?;
            engine.held_bytes() >> 20
        }
    );
    Ok(())
}
