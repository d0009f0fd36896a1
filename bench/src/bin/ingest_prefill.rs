//! Writes a past of some days into a data folder, through the history itself: samples older than
//! the window are refused over HTTP. Prints one JSON report of what it takes on the disk.
#![expect(clippy::print_stdout, reason = "its report goes to standard output")]

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use pulseboard_bench::samples::{NAME, labels, value};
use pulseboard_history::{Definition, History, HistoryOptions, RecoverSink, SealBatch, SeriesId};
use pulseboard_series::{Batch, Kind};
use serde_json::json;

const HOUR_MS: i64 = 3_600_000;

#[derive(Debug, Parser)]
struct Flags {
    /// The server's `DATA_DIR`; it must not run.
    #[arg(long)]
    data_dir: PathBuf,
    #[arg(long)]
    series: u32,
    #[arg(long)]
    step_ms: i64,
    #[arg(long)]
    start_ms: i64,
    #[arg(long)]
    end_ms: i64,
}

/// Takes nothing: the folder is new.
struct Nothing;

impl RecoverSink for Nothing {
    fn tombstone(&mut self, _: pulseboard_history::Tombstone) {}

    fn definition(&mut self, _definition: Definition) {}

    fn sample(&mut self, _id: SeriesId, _at_ms: i64, _value: f64) {}
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let folder = flags.data_dir.join("history");
    std::fs::create_dir_all(&folder)?;
    let (history, _) = History::open(&folder, HistoryOptions::default(), &mut Nothing)?;
    for id in 1..=flags.series {
        // Nobody waits for the log: sealing stores it.
        drop(history.append_definition(&definition(id, flags.start_ms)?)?);
    }
    let mut raw = None;
    let mut from_ms = flags.start_ms;
    let mut step = 0;
    while from_ms < flags.end_ms {
        let to_ms = (from_ms + 6 * HOUR_MS).min(flags.end_ms);
        let count = usize::try_from((to_ms - from_ms) / flags.step_ms)?;
        let columns: Vec<Vec<(i64, f64)>> = (0..flags.series)
            .map(|number| {
                (0..count)
                    .map(|at| {
                        let at_ms = from_ms + flags.step_ms * i64::try_from(at).unwrap_or_default();
                        (at_ms, value(number as usize, step + at))
                    })
                    .collect()
            })
            .collect();
        history.seal(&SealBatch {
            series: (1..)
                .map(SeriesId)
                .zip(columns.iter().map(Vec::as_slice))
                .collect(),
            safe_segment: None,
        })?;
        step += count;
        from_ms = to_ms;
        if raw.is_none() {
            let stats = history.stats().levels[0];
            raw = Some((stats.bytes, stats.samples));
        }
        while history
            .maintain(to_ms, to_ms, Duration::from_secs(10))?
            .more
        {}
    }
    let stats = history.stats();
    let (raw_bytes, raw_samples) = raw.unwrap_or_default();
    let rolled_raw = stats.levels[0];
    history.close();
    println!(
        "{}",
        json!({
            "samples": step * flags.series as usize,
            "raw_bytes_per_sample": raw_bytes as f64 / raw_samples as f64,
            "merged_bytes_per_sample": rolled_raw.bytes as f64 / rolled_raw.samples as f64,
            "blocks_bytes": stats.blocks_bytes,
            "file_bytes": stats.file_bytes,
        })
    );
    Ok(())
}

fn definition(id: u32, created_ms: i64) -> Result<Definition> {
    let mut batch = Batch::new();
    batch.begin(&[NAME, "_value"])?;
    for (name, value) in labels(id as usize - 1) {
        batch.label(name, &value)?;
    }
    batch.finish(1, None, 0.0)?;
    let row = batch.rows().first().context("a row was written")?;
    Ok(Definition {
        id: SeriesId(id),
        tenant: "default".into(),
        key: batch.key(row).as_bytes().into(),
        unit: "".into(),
        kind: Kind::Gauge as u8,
        created_ms,
    })
}
