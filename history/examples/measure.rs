//! Measures the history on this machine and prints the figures that the crate's documentation
//! quotes: `cargo run --release -p pulseboard-history --example measure [FOLDER]`. The folder
//! (default: the system's temporary one) decides which disk is measured.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use pulseboard_history::{
    History, HistoryOptions, RecoverSink, SampleRecord, SealBatch, SeriesId, Tier,
    log::{Durability, Log, LogOptions},
};
use redb::{Database, TableDefinition};

const HOUR_MS: i64 = 3_600_000;
/// A multiple of all blocks.
const START_MS: i64 = 2_000 * 240 * HOUR_MS;

#[derive(Default)]
struct Count(u64);

impl RecoverSink for Count {
    fn tombstone(&mut self, _: pulseboard_history::Tombstone) {}

    fn definition(&mut self, _definition: pulseboard_history::Definition) {}

    fn sample(&mut self, _id: SeriesId, _at_ms: i64, _value: f64) {
        self.0 += 1;
    }
}

fn main() -> Result<()> {
    let base = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, Into::into);
    let only = std::env::args().nth(2);
    type Measure = fn(&Path) -> Result<()>;
    let measures: [(&str, Measure); 9] = [
        ("acknowledgements", acknowledgements),
        ("append", append),
        ("head", head),
        ("codec", codec),
        ("replay", replay),
        ("seal", seal),
        ("rollup", rollup),
        ("lone", lone),
        ("late", late),
    ];
    for (name, measure) in measures {
        if only.as_deref().is_none_or(|only| only == name) {
            println!("{name}");
            let dir = tempfile::tempdir_in(&base)?;
            measure(dir.path())?;
        }
    }
    Ok(())
}

fn resident() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    line.map_or_else(
        || "RSS unknown".into(),
        |line| line.split_whitespace().collect::<Vec<_>>().join(" "),
    )
}

fn each(time: Duration, count: usize) -> f64 {
    time.as_nanos() as f64 / count as f64
}

/// Group commit: writers of one tiny record each, each waiting for its fsync.
fn acknowledgements(dir: &Path) -> Result<()> {
    for threads in [1, 8, 64, 256] {
        let dir = dir.join(threads.to_string());
        let (log, _) = Log::open(&dir, LogOptions::default(), |_, _, _| {})?;
        let started = Instant::now();
        let end = started + Duration::from_secs(2);
        let slowest = std::thread::scope(|scope| {
            let writer = || {
                let mut slowest = Duration::ZERO;
                while Instant::now() < end {
                    let asked = Instant::now();
                    if log
                        .append(1, &[7; 12])
                        .and_then(|ticket| ticket.wait_blocking())
                        .is_err()
                    {
                        break;
                    }
                    slowest = slowest.max(asked.elapsed());
                }
                slowest
            };
            let writers: Vec<_> = (0..threads).map(|_| scope.spawn(writer)).collect();
            writers
                .into_iter()
                .filter_map(|writer| writer.join().ok())
                .max()
        });
        let stats = log.stats();
        println!(
            "  {threads} writers: {:.0} acknowledgements/s, {:.0} syncs/s, sync {:.0} µs mean, slowest answer {:?}",
            stats.durable as f64 / started.elapsed().as_secs_f64(),
            stats.syncs as f64 / started.elapsed().as_secs_f64(),
            stats.sync_time.as_micros() as f64 / stats.syncs.max(1) as f64,
            slowest.unwrap_or_default(),
        );
    }
    Ok(())
}

/// What a sample costs its ingesting thread.
fn append(dir: &Path) -> Result<()> {
    const ROWS: usize = 500;
    const RECORDS: usize = 20_000;
    let (history, _) = History::open(dir, HistoryOptions::default(), &mut Count::default())?;
    let mut record = SampleRecord::new();
    let (mut build, mut append) = (Duration::ZERO, Duration::ZERO);
    let started = Instant::now();
    let mut last = None;
    for number in 0..RECORDS {
        let at = Instant::now();
        record.clear();
        for row in 0..ROWS {
            record.push(
                SeriesId(row as u32),
                START_MS + number as i64 * 1000,
                (row * number) as f64,
            );
        }
        let built = Instant::now();
        last = Some(history.append_samples(&record)?);
        build += built - at;
        append += built.elapsed();
    }
    if let Some(last) = last {
        last.wait_blocking()?;
    }
    println!(
        "  records of {ROWS}: build {:.1} ns, append {:.1} ns a sample; {:.1} M samples/s until all were synced; {:.2} bytes each",
        each(build, ROWS * RECORDS),
        each(append, ROWS * RECORDS),
        (ROWS * RECORDS) as f64 / started.elapsed().as_secs_f64() / 1e6,
        record.as_bytes().len() as f64 / ROWS as f64,
    );
    Ok(())
}

/// The alternative without a log: newest samples as rows of redb, one durable commit a second of
/// arrivals; and the same through the log.
fn head(dir: &Path) -> Result<()> {
    const HEAD: TableDefinition<'_, (u32, i64), f64> = TableDefinition::new("head");
    for (series, ticks) in [(1_000_u32, 100), (100_000, 10)] {
        let path = dir.join(format!("head-{series}.redb"));
        let database = Database::builder().set_cache_size(64 << 20).create(&path)?;
        let started = Instant::now();
        for tick in 0..ticks {
            let txn = database.begin_write()?;
            {
                let mut table = txn.open_table(HEAD)?;
                for id in 0..series {
                    table.insert((id, START_MS + tick * 1000), f64::from(id))?;
                }
            }
            txn.commit()?;
        }
        let rows = started.elapsed() / ticks as u32;
        drop(database);
        let bytes = fs::metadata(&path)?.len() as f64 / f64::from(series) / ticks as f64;

        let (history, _) = History::open(
            &dir.join(series.to_string()),
            HistoryOptions::default(),
            &mut Count(0),
        )?;
        let started = Instant::now();
        let mut record = SampleRecord::new();
        for tick in 0..ticks {
            record.clear();
            for id in 0..series {
                record.push(SeriesId(id), START_MS + tick * 1000, f64::from(id));
            }
            history.append_samples(&record)?.wait_blocking()?;
        }
        let log = started.elapsed() / ticks as u32;
        println!(
            "  {series} series, one durable tick: rows of redb {rows:.1?} ({bytes:.0} bytes a sample), log {log:.1?}; {:.0} times",
            rows.as_secs_f64() / log.as_secs_f64()
        );
    }
    Ok(())
}

type Shape = (&'static str, fn(&mut fastrand::Rng, &mut f64) -> f64);

const SHAPES: [Shape; 6] = [
    ("percent, walk, 0.1", |random, state| {
        *state = (*state + (random.f64() - 0.5) * 4.0).clamp(0.0, 100.0);
        (*state * 10.0).round() / 10.0
    }),
    ("percent, spikes, 0.1", |random, state| {
        *state = if random.u8(..) < 8 {
            20.0 + random.f64() * 70.0
        } else {
            *state * 0.7
        };
        ((*state + random.f64()) * 10.0).round() / 10.0
    }),
    ("memory, pages", |random, state| {
        *state += (random.f64() * 60.0 - 30.0).round() * 4096.0;
        8e9 + *state
    }),
    ("counter of bytes", |random, state| {
        *state += f64::from(random.u32(0..20_000));
        *state
    }),
    ("mostly constant", |random, state| {
        if random.u8(..) == 0 {
            *state += 1.0;
        }
        *state
    }),
    ("full f64 walk", |random, state| {
        *state += random.f64() - 0.5;
        *state
    }),
];

fn fill(shape: Shape, seed: u64, from_ms: i64, step_ms: i64, count: usize) -> Vec<(i64, f64)> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut state = 0.0;
    (0..count)
        .map(|tick| {
            (
                from_ms + tick as i64 * step_ms,
                shape.1(&mut random, &mut state),
            )
        })
        .collect()
}

/// Space and time of chunks, through sealing and reading.
fn codec(dir: &Path) -> Result<()> {
    const SERIES: usize = 200;
    for chunk in [3600_usize, 900, 60, 15] {
        for (number, shape) in SHAPES.into_iter().enumerate() {
            let dir = dir.join(format!("{chunk}-{number}"));
            let (history, _) = History::open(&dir, HistoryOptions::default(), &mut Count(0))?;
            let data: Vec<_> = (0..SERIES)
                .map(|seed| fill(shape, seed as u64, START_MS, 1000, chunk))
                .collect();
            let series = data.iter().enumerate();
            let series = series
                .map(|(id, data)| (SeriesId(id as u32), data.as_slice()))
                .collect();
            let started = Instant::now();
            let report = history.seal(&SealBatch {
                series,
                safe_segment: None,
            })?;
            let sealed = started.elapsed();
            let mut snapshot = history.snapshot()?;
            let mut samples = Vec::new();
            let started = Instant::now();
            for id in 0..SERIES {
                snapshot.read_raw(SeriesId(id as u32), 0, i64::MAX, &mut samples)?;
            }
            println!(
                "  {:<22} {chunk:>4} a chunk: {:.2} bytes, seal {:.0} ns, read {:.1} ns a sample",
                shape.0,
                report.bytes as f64 / report.samples as f64,
                each(sealed, SERIES * chunk),
                each(started.elapsed(), samples.len()),
            );
        }
    }
    Ok(())
}

/// Ten million samples back from the log.
fn replay(dir: &Path) -> Result<()> {
    let options = HistoryOptions::with_durability(Durability::Write);
    let (history, _) = History::open(dir, options.clone(), &mut Count(0))?;
    let mut record = SampleRecord::new();
    for number in 0..20_000_i64 {
        record.clear();
        for row in 0..500 {
            record.push(
                SeriesId(row),
                START_MS + number * 1000,
                f64::from(row) * 0.1,
            );
        }
        history.append_samples(&record)?.wait_blocking()?;
    }
    drop(history);
    let mut count = Count(0);
    let started = Instant::now();
    let (history, report) = History::open(dir, options, &mut count)?;
    let bytes = history.stats().log.bytes as f64 / 1e6;
    println!(
        "  {} samples, {bytes:.0} MB: {:.2?}, {}",
        count.0,
        started.elapsed(),
        resident()
    );
    assert_eq!(report.log_samples, count.0);
    Ok(())
}

/// A quarter of an hour of many series.
fn seal(dir: &Path) -> Result<()> {
    for series in [1_000_usize, 100_000] {
        const PART: usize = 4_000;
        let shapes: Vec<_> = SHAPES[..5]
            .iter()
            .map(|shape| fill(*shape, 1, START_MS, 1000, 900))
            .collect();
        let dir = dir.join(series.to_string());
        let (history, _) = History::open(&dir, HistoryOptions::default(), &mut Count(0))?;
        let started = Instant::now();
        let (mut bytes, mut longest) = (0, Duration::ZERO);
        for first in (0..series).step_by(PART) {
            let ids = first..(first + PART).min(series);
            let batch = ids
                .map(|id| (SeriesId(id as u32), shapes[id % 5].as_slice()))
                .collect();
            let began = Instant::now();
            bytes += history
                .seal(&SealBatch {
                    series: batch,
                    safe_segment: None,
                })?
                .bytes;
            longest = longest.max(began.elapsed());
        }
        let time = started.elapsed();
        println!(
            "  {series} series × 900 samples: {time:.2?} ({:.0} ns a sample, {:.2} % of one core's 900 s), {:.2} bytes a sample, file {} MB, longest transaction {longest:.0?}, {}",
            each(time, series * 900),
            time.as_secs_f64() / 9.0,
            bytes as f64 / series as f64 / 900.0,
            history.stats().file_bytes >> 20,
            resident(),
        );
    }
    Ok(())
}

/// Rolling up, and what reading the rollups costs.
fn rollup(dir: &Path) -> Result<()> {
    let (history, _) = History::open(dir, HistoryOptions::default(), &mut Count(0))?;
    let data: Vec<_> = (0..2000)
        .map(|id| fill(SHAPES[id % 5], id as u64, START_MS, 1000, 3600))
        .collect();
    let series = data
        .iter()
        .enumerate()
        .map(|(id, data)| (SeriesId(id as u32), data.as_slice()));
    history.seal(&SealBatch {
        series: series.collect(),
        safe_segment: None,
    })?;
    let started = Instant::now();
    let progress = history.maintain(START_MS, START_MS + HOUR_MS, Duration::from_secs(60))?;
    let rolled = history.stats().levels[1];
    println!(
        "  10 s tier: {:.0} µs a series and hour (3 600 samples), {:.2} bytes a bucket",
        started.elapsed().as_micros() as f64 / progress.rolled as f64,
        rolled.bytes as f64 / rolled.samples as f64,
    );
    drop(data);

    // 100 series, 30 days at one sample in 10 s, retention out of the way.
    for day in 0..30_i64 {
        let from_ms = START_MS + (10 + day) * 24 * HOUR_MS;
        let data: Vec<_> = (0..100)
            .map(|id| fill(SHAPES[id % 5], id as u64, from_ms, 10_000, 8640))
            .collect();
        let series = data.iter().enumerate();
        let series = series
            .map(|(id, data)| (SeriesId(id as u32), data.as_slice()))
            .collect();
        history.seal(&SealBatch {
            series,
            safe_segment: None,
        })?;
        history.maintain(from_ms, from_ms + 24 * HOUR_MS, Duration::from_secs(60))?;
    }
    let (from_ms, to_ms) = (START_MS + 10 * 24 * HOUR_MS, START_MS + 40 * 24 * HOUR_MS);
    let mut buckets = Vec::new();
    let started = Instant::now();
    history.read_rollup(
        Tier::Minute,
        SeriesId(7),
        to_ms - 24 * HOUR_MS,
        to_ms,
        &mut buckets,
    )?;
    println!(
        "  24 h of one series by the minute: {} buckets in {:.0?}",
        buckets.len(),
        started.elapsed()
    );
    buckets.clear();
    let started = Instant::now();
    let mut snapshot = history.snapshot()?;
    for id in 0..100 {
        snapshot.read_rollup(
            Tier::FiveMinutes,
            SeriesId(id),
            from_ms,
            to_ms,
            &mut buckets,
        )?;
    }
    println!(
        "  30 d of 100 series by 5 minutes: {} buckets in {:.1?}",
        buckets.len(),
        started.elapsed()
    );
    let mut samples = Vec::new();
    let started = Instant::now();
    snapshot.read_raw(SeriesId(7), to_ms - 48 * HOUR_MS, to_ms, &mut samples)?;
    println!(
        "  48 h of one series raw: {} samples in {:.0?}, {}",
        samples.len(),
        started.elapsed(),
        resident()
    );
    for level in history.stats().levels {
        let per = level.bytes as f64 / level.samples.max(1) as f64;
        println!(
            "  {:?}: {} values, {per:.2} bytes a sample or bucket",
            level.tier, level.values
        );
    }
    Ok(())
}

/// One line for each level, and for the file.
fn sizes(history: &History, samples: usize) {
    let stats = history.stats();
    for level in stats.levels {
        println!(
            "    {:?}: {} values, {:.1} bytes each",
            level.tier,
            level.values,
            level.bytes as f64 / level.values.max(1) as f64,
        );
    }
    println!(
        "    stored {:.0} bytes a sample, file {:.1} MB = {:.0} bytes a sample",
        stats.blocks_bytes as f64 / samples as f64,
        stats.file_bytes as f64 / 1e6,
        stats.file_bytes as f64 / samples as f64,
    );
}

/// Late samples that have nobody beside them: each in an hour of its own, more or less; rolled up
/// each time, or when a quiet moment has come.
fn lone(dir: &Path) -> Result<()> {
    const SERIES: u32 = 4_000;
    const EACH: usize = 40;
    const ROUNDS: usize = 8;
    for rest in [1, ROUNDS] {
        let dir = dir.join(rest.to_string());
        let (history, _) = History::open(&dir, HistoryOptions::default(), &mut Count(0))?;
        let now_ms = START_MS + 48 * HOUR_MS;
        history.maintain(now_ms, now_ms, Duration::from_secs(60))?;
        let mut random = fastrand::Rng::with_seed(1);
        let (mut sealing, mut rolling) = (Duration::ZERO, Duration::ZERO);
        for round in 0..ROUNDS {
            let mut lone = || {
                let at_ms = |_| START_MS + random.i64(HOUR_MS..48 * HOUR_MS);
                let mut times: Vec<i64> = (0..EACH / ROUNDS).map(at_ms).collect();
                times.sort_unstable();
                times
                    .into_iter()
                    .map(|at_ms| (at_ms, random.f64()))
                    .collect()
            };
            let data: Vec<Vec<(i64, f64)>> = (0..SERIES).map(|_| lone()).collect();
            let began = Instant::now();
            for (part, data) in (0..).zip(data.chunks(2_000)) {
                let ids = (part * 2_000..).map(SeriesId);
                let series = ids.zip(data.iter().map(Vec::as_slice));
                history.seal(&SealBatch {
                    series: series.collect(),
                    safe_segment: None,
                })?;
            }
            sealing += began.elapsed();
            let began = Instant::now();
            if round % rest == rest - 1 {
                while history
                    .maintain(now_ms, now_ms, Duration::from_secs(60))?
                    .more
                {}
            }
            rolling += began.elapsed();
        }
        let samples = SERIES as usize * EACH;
        println!(
            "  {samples} samples, rolled up after {rest} rounds: seal {:.1} µs, roll up {:.1} µs a sample",
            each(sealing, samples) / 1e3,
            each(rolling, samples) / 1e3,
        );
        sizes(&history, samples);
    }
    Ok(())
}

/// Two days of some series, time by time, sealed whenever there is much; rolled up each time, or
/// when a quiet moment has come.
fn late(dir: &Path) -> Result<()> {
    const SERIES: u32 = 50;
    const EACH: usize = 10_000;
    const AT_ONCE: usize = 524;
    for rest in [1, 10, 100] {
        let dir = dir.join(rest.to_string());
        let (history, _) = History::open(&dir, HistoryOptions::default(), &mut Count(0))?;
        let now_ms = START_MS + 48 * HOUR_MS;
        history.maintain(now_ms, now_ms, Duration::from_secs(60))?;
        let step_ms = 47 * HOUR_MS / EACH as i64;
        let data: Vec<_> = (0..SERIES)
            .map(|id| {
                fill(
                    SHAPES[id as usize % 5],
                    id.into(),
                    START_MS + HOUR_MS,
                    step_ms,
                    EACH,
                )
            })
            .collect();
        let (mut sealing, mut rolling) = (Duration::ZERO, Duration::ZERO);
        let rounds = EACH.div_ceil(AT_ONCE);
        for round in 0..rounds {
            let part = round * AT_ONCE..((round + 1) * AT_ONCE).min(EACH);
            let series = (0..SERIES).map(|id| (SeriesId(id), &data[id as usize][part.clone()]));
            let began = Instant::now();
            history.seal(&SealBatch {
                series: series.collect(),
                safe_segment: None,
            })?;
            sealing += began.elapsed();
            let began = Instant::now();
            if round % rest == rest - 1 || round + 1 == rounds {
                while history
                    .maintain(now_ms, now_ms, Duration::from_secs(60))?
                    .more
                {}
            }
            rolling += began.elapsed();
        }
        let samples = SERIES as usize * EACH;
        println!(
            "  rolled up after {rest} rounds: seal {:.0} ns, roll up {:.0} ns a sample",
            each(sealing, samples),
            each(rolling, samples),
        );
        sizes(&history, samples);
    }
    Ok(())
}
