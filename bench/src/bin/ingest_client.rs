//! The load client of `cargo xtask bench ingest`: sends prepared bodies, asks questions, and
//! prints one JSON report of what that cost the server.
#![expect(clippy::print_stdout, reason = "its report goes to standard output")]

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    client::run()
}

#[cfg(not(target_os = "linux"))]
fn main() -> anyhow::Result<()> {
    anyhow::bail!("it reads /proc: it runs on Linux only")
}

#[cfg(target_os = "linux")]
mod client {
    use std::{
        fs,
        path::PathBuf,
        sync::atomic::{AtomicBool, AtomicUsize, Ordering},
        thread,
        time::{Duration, Instant},
    };

    use anyhow::{Context, Result, bail};
    use clap::{Args, Parser, Subcommand};
    use pulseboard_bench::{
        http::{self, Connection},
        latency::Summary,
        now_us,
        process::Server,
        samples::{Form, Writer},
    };
    use serde_json::{Value, json};

    /// Prepared bodies go this far back, and not further ahead than now.
    const BACK_MS: i64 = 10 * 60_000;
    /// Work that a server has put off is counted for so long after the last sample.
    const SETTLE: Duration = Duration::from_secs(3);

    #[derive(Debug, Parser)]
    struct Flags {
        /// Where the server listens.
        #[arg(long, global = true, default_value = "127.0.0.1:3000")]
        address: String,
        /// Its process.
        #[arg(long, global = true, default_value_t = 0)]
        pid: u32,
        #[command(subcommand)]
        work: Work,
    }

    #[derive(Debug, Subcommand)]
    enum Work {
        /// Bodies of many samples over some connections.
        Load(Load),
        /// One sample a request over many connections.
        Acks(Acks),
        /// Series that have one sample each: memory.
        Grow(Load),
        /// A past of some days, for questions.
        Fill(Fill),
        /// The same question again and again.
        Ask(Ask),
        /// Many questions, one after the other, in rounds.
        AskAll(AskAll),
    }

    #[derive(Debug, Args)]
    struct Load {
        #[arg(long)]
        form: Form,
        #[arg(long)]
        path: String,
        #[arg(long, default_value_t = 1_000)]
        series: usize,
        /// Samples in a body.
        #[arg(long, default_value_t = 500)]
        body: usize,
        /// Samples in all, besides the first of every series.
        #[arg(long, default_value_t = 1_000_000)]
        samples: usize,
        #[arg(long, default_value_t = 4)]
        connections: usize,
    }

    #[derive(Debug, Args)]
    struct Acks {
        #[arg(long)]
        path: String,
        #[arg(long, default_value_t = 64)]
        connections: usize,
        #[arg(long, default_value_t = 4.0)]
        seconds: f64,
    }

    #[derive(Debug, Args)]
    struct Fill {
        /// With remote write all series of a time come before the next time, else one series after
        /// the other.
        #[arg(long, default_value = "prometheus")]
        form: Form,
        #[arg(long)]
        path: String,
        #[arg(long, default_value_t = 0)]
        series: usize,
        /// The series of this exposition in their place, by remote write.
        #[arg(long)]
        exposition: Option<PathBuf>,
        #[arg(long)]
        step_ms: i64,
        #[arg(long)]
        start_ms: i64,
        #[arg(long)]
        end_ms: i64,
    }

    #[derive(Debug, Args)]
    struct Ask {
        #[arg(long)]
        path: String,
        #[arg(long, default_value_t = 50)]
        times: usize,
    }

    #[derive(Debug, Args)]
    struct AskAll {
        /// A file of paths with their queries, one a line.
        #[arg(long)]
        paths: PathBuf,
        #[arg(long, default_value_t = 5)]
        times: usize,
    }

    pub(crate) fn run() -> Result<()> {
        let flags = Flags::parse();
        let report = match &flags.work {
            Work::Load(load) => flags.load(load)?,
            Work::Acks(acks) => flags.acks(acks)?,
            Work::Grow(load) => flags.grow(load)?,
            Work::Fill(fill) => flags.fill(fill)?,
            Work::Ask(ask) => flags.ask(ask)?,
            Work::AskAll(ask) => flags.ask_all(ask)?,
        };
        println!("{report}");
        Ok(())
    }

    fn now_ms() -> i64 {
        i64::try_from(now_us() / 1_000).unwrap_or_default()
    }

    fn lossy(count: usize) -> f64 {
        u32::try_from(count).map_or(f64::NAN, f64::from)
    }

    /// Requests of `rounds` samples of every series, first to last.
    fn prepare(
        host: &str,
        load: &Load,
        rounds: std::ops::Range<usize>,
        of: usize,
    ) -> Result<Vec<Vec<u8>>> {
        let writer = Writer::new(load.form, load.series);
        let headers = match load.form {
            Form::Remote => {
                "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n"
            }
            Form::Prometheus | Form::Influx => "Content-Type: text/plain\r\n",
        };
        let of = i64::try_from(of.max(1))?;
        let pace_ms = (BACK_MS / of).clamp(1, 1_000);
        let first_ms = now_ms() - pace_ms * of;
        let mut requests = Vec::new();
        for round in rounds {
            let at_ms = first_ms + pace_ms * i64::try_from(round)?;
            let mut from = 0;
            while from < load.series {
                let to = (from + load.body).min(load.series);
                let body = writer.body(from..to, round, at_ms)?;
                requests.push(http::post(host, &load.path, headers, &body));
                from = to;
            }
        }
        Ok(requests)
    }

    impl Flags {
        /// Sends all of them over some connections; how many were not answered with 2xx.
        fn send(&self, requests: &[Vec<u8>], connections: usize) -> Result<usize> {
            let next = AtomicUsize::new(0);
            let refused = AtomicUsize::new(0);
            let sender = || -> Result<()> {
                let mut connection = Connection::open(&self.address)?;
                let mut answer = Vec::new();
                while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let status = connection.ask(request, &mut answer)?;
                    if !(200..300).contains(&status) && refused.fetch_add(1, Ordering::Relaxed) == 0
                    {
                        eprintln!("{status}: {}", String::from_utf8_lossy(&answer));
                    }
                }
                Ok(())
            };
            thread::scope(|scope| {
                let senders: Vec<_> = (0..connections).map(|_| scope.spawn(sender)).collect();
                for sender in senders {
                    sender
                        .join()
                        .map_err(|_panicked| anyhow::anyhow!("a sender panicked"))??;
                }
                anyhow::Ok(())
            })?;
            Ok(refused.into_inner())
        }

        fn load(&self, load: &Load) -> Result<Value> {
            let server = Server::new(self.pid);
            let rounds = (load.samples / load.series).max(1);
            let samples = rounds * load.series;
            let first = prepare(&self.address, load, 0..1, rounds + 1)?;
            let rss_before = server.resident_bytes();
            let cpu = server.cpu_ticks_us();
            let mut refused = self.send(&first, load.connections)?;
            let create_cpu_us = server.cpu_ticks_us() - cpu;
            drop(first);
            let requests = prepare(&self.address, load, 1..rounds + 1, rounds + 1)?;
            let bytes: usize = requests.iter().map(Vec::len).sum();
            let cpu = server.cpu_ticks_us();
            let started = Instant::now();
            refused += self.send(&requests, load.connections)?;
            let seconds = started.elapsed().as_secs_f64();
            let cpu_us = server.cpu_ticks_us() - cpu;
            thread::sleep(SETTLE);
            let settled_us = server.cpu_ticks_us() - cpu;
            let each = |us: u64, count: usize| us as f64 * 1_000.0 / lossy(count);
            Ok(json!({
                "samples": samples,
                "refused_bodies": refused,
                "seconds": seconds,
                "bytes_per_sample": lossy(bytes) / lossy(samples),
                "samples_per_s": lossy(samples) / seconds,
                "cpu_ns_per_sample": each(cpu_us, samples),
                "settled_ns_per_sample": each(settled_us, samples),
                "create_ns_per_series": each(create_cpu_us, load.series),
                "core_used": cpu_us as f64 / 1e6 / seconds,
                "rss_before": rss_before,
                "rss_after": server.resident_bytes(),
            }))
        }

        fn grow(&self, load: &Load) -> Result<Value> {
            /// So much memory is there in any case.
            const FEW: usize = 1_000;
            let server = Server::new(self.pid);
            let mut at = Vec::new();
            for series in [FEW, load.series] {
                let some = Load {
                    path: load.path.clone(),
                    series,
                    ..*load
                };
                let requests = prepare(&self.address, &some, 0..1, 1)?;
                let refused = self.send(&requests, load.connections)?;
                if refused > 0 {
                    bail!("{refused} bodies were refused");
                }
                thread::sleep(SETTLE);
                at.push(server.resident_bytes());
            }
            let [few, many] = at[..] else {
                bail!("two measurements are needed");
            };
            Ok(json!({
                "rss_few": few,
                "rss_many": many,
                "bytes_per_series": (many as f64 - few as f64) / lossy(load.series - FEW),
            }))
        }

        fn acks(&self, acks: &Acks) -> Result<Value> {
            let server = Server::new(self.pid);
            let stop = AtomicBool::new(false);
            let acknowledged = AtomicUsize::new(0);
            let sender = |number: usize| -> Result<Vec<u32>> {
                let mut connection = Connection::open(&self.address)?;
                let mut answer = Vec::new();
                let mut latencies = Vec::new();
                let body = format!("bench_acks{{writer=\"{number}\"}} {number}\n");
                let request = http::post(
                    &self.address,
                    &acks.path,
                    "Content-Type: text/plain\r\n",
                    body.as_bytes(),
                );
                while !stop.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    let status = connection.ask(&request, &mut answer)?;
                    if !(200..300).contains(&status) {
                        bail!("{status}: {}", String::from_utf8_lossy(&answer));
                    }
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                    latencies.push(u32::try_from(asked.elapsed().as_micros())?);
                }
                Ok(latencies)
            };
            let sender = &sender;
            thread::scope(|scope| {
                let senders: Vec<_> = (0..acks.connections)
                    .map(|number| scope.spawn(move || sender(number)))
                    .collect();
                // All have connected, and the series are there.
                thread::sleep(Duration::from_millis(500));
                let cpu = server.cpu_ticks_us();
                let before = acknowledged.load(Ordering::Relaxed);
                let started = Instant::now();
                thread::sleep(Duration::from_secs_f64(acks.seconds));
                let count = acknowledged.load(Ordering::Relaxed) - before;
                let seconds = started.elapsed().as_secs_f64();
                let cpu_us = server.cpu_ticks_us() - cpu;
                stop.store(true, Ordering::Relaxed);
                let mut latencies = Vec::new();
                for sender in senders {
                    let mut own = sender
                        .join()
                        .map_err(|_panicked| anyhow::anyhow!("a sender panicked"))??;
                    latencies.append(&mut own);
                }
                Ok(json!({
                    "acks_per_s": lossy(count) / seconds,
                    "cpu_us_per_ack": cpu_us as f64 / lossy(count),
                    "core_used": cpu_us as f64 / 1e6 / seconds,
                    "latency": Summary::of(latencies),
                }))
            })
        }

        fn fill(&self, fill: &Fill) -> Result<Value> {
            /// Samples in a body.
            const BODY: usize = 20_000;
            let server = Server::new(self.pid);
            let rss_before = server.resident_bytes();
            let (cpu, started) = (server.cpu_ticks_us(), Instant::now());
            let samples = match fill.form {
                Form::Remote => {
                    let writer = match &fill.exposition {
                        None => Writer::new(Form::Remote, fill.series),
                        Some(file) => {
                            let text = fs::read_to_string(file)?;
                            Writer::of_exposition(&text, "localhost:9100", "node")
                        }
                    };
                    self.fill_by_time(fill, &writer)?
                }
                Form::Prometheus | Form::Influx => self.fill_by_series(fill, BODY)?,
            };
            let seconds = started.elapsed().as_secs_f64();
            let cpu_us = server.cpu_ticks_us() - cpu;
            thread::sleep(SETTLE);
            let settled_us = server.cpu_ticks_us() - cpu;
            Ok(json!({
                "samples": samples,
                "seconds": seconds,
                "samples_per_s": lossy(samples) / seconds,
                "cpu_ns_per_sample": cpu_us as f64 * 1_000.0 / lossy(samples),
                "settled_ns_per_sample": settled_us as f64 * 1_000.0 / lossy(samples),
                "rss_before": rss_before,
                "rss_peak": server.peak_bytes(),
            }))
        }

        /// All series of a time, then those of the next.
        fn fill_by_time(&self, fill: &Fill, writer: &Writer) -> Result<usize> {
            /// Samples in a body.
            const BODY: usize = 2_000;
            const HEADERS: &str = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n";
            let series = writer.series();
            let times = (fill.start_ms..fill.end_ms).step_by(usize::try_from(fill.step_ms)?);
            let mut samples = 0;
            for (step, at_ms) in times.enumerate() {
                let mut bodies = Vec::new();
                for from in (0..series).step_by(BODY) {
                    let to = (from + BODY).min(series);
                    let body = writer.body(from..to, step, at_ms)?;
                    bodies.push(http::post(&self.address, &fill.path, HEADERS, &body));
                }
                let refused = self.send(&bodies, 1)?;
                if refused > 0 {
                    bail!("{refused} bodies were refused");
                }
                samples += series;
            }
            Ok(samples)
        }

        /// All times of a series, then those of the next.
        fn fill_by_series(&self, fill: &Fill, body_samples: usize) -> Result<usize> {
            let writer = Writer::new(fill.form, fill.series);
            let steps: Vec<(usize, i64)> = (0..)
                .zip((fill.start_ms..fill.end_ms).step_by(usize::try_from(fill.step_ms)?))
                .collect();
            for number in 0..fill.series {
                let bodies = steps.chunks(body_samples).map(|steps| {
                    let body = writer.run(number, steps.iter().copied());
                    http::post(
                        &self.address,
                        &fill.path,
                        "Content-Type: text/plain\r\n",
                        &body,
                    )
                });
                let refused = self.send(&bodies.collect::<Vec<_>>(), 1)?;
                if refused > 0 {
                    bail!("{refused} bodies were refused");
                }
            }
            Ok(steps.len() * fill.series)
        }

        fn ask(&self, ask: &Ask) -> Result<Value> {
            let mut connection = Connection::open(&self.address)?;
            let mut answer = Vec::new();
            let mut latencies = Vec::new();
            let request = http::get(&self.address, &ask.path);
            for _ in 0..ask.times + 2 {
                let asked = Instant::now();
                let status = connection.ask(&request, &mut answer)?;
                if status != 200 {
                    bail!("{status}: {}", String::from_utf8_lossy(&answer));
                }
                latencies.push(u32::try_from(asked.elapsed().as_micros())?);
            }
            // The first ones warm caches up.
            let latencies = latencies.split_off(2);
            let text = std::str::from_utf8(&answer).context("the answer is not text")?;
            serde_json::from_str::<serde::de::IgnoredAny>(text).context("the answer breaks off")?;
            Ok(json!({ "latency": Summary::of(latencies), "bytes": answer.len() }))
        }

        /// The median of each question's times, and how long its answer is; the first round warms
        /// caches up.
        fn ask_all(&self, ask: &AskAll) -> Result<Value> {
            let paths = fs::read_to_string(&ask.paths)?;
            let mut connection = Connection::open(&self.address)?;
            let mut answer = Vec::new();
            let mut asked: Vec<(Vec<u32>, usize)> = Vec::new();
            for round in 0..=ask.times {
                for (number, path) in paths.lines().enumerate() {
                    let started = Instant::now();
                    let request = http::get(&self.address, path);
                    let status = connection.ask(&request, &mut answer)?;
                    let took = u32::try_from(started.elapsed().as_micros())?;
                    if status != 200 {
                        bail!("{status}: {path}: {}", String::from_utf8_lossy(&answer));
                    }
                    match asked.get_mut(number) {
                        Some((times, bytes)) => {
                            times.push(took);
                            *bytes = answer.len();
                        }
                        None => asked.push((Vec::new(), 0)),
                    }
                }
                if round == 0 && asked.is_empty() {
                    bail!("there are no questions in {}", ask.paths.display());
                }
            }
            let questions = asked.into_iter().map(|(mut times, bytes)| {
                times.sort_unstable();
                json!({ "p50_us": times.get(times.len() / 2), "bytes": bytes })
            });
            Ok(json!({ "questions": questions.collect::<Vec<_>>() }))
        }
    }
}
