//! `bench ingest`: what a sample costs this server, beside VictoriaMetrics, in one run.
//!
//! Each server in turn is pinned to one core and the load client to another, and all get the same
//! bodies, one server after the other in every line of a table. The programs that send, fill and
//! ask are in `bench/`.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use serde_json::Value;

use crate::{
    flags::{self, Flags, Named},
    measured::{self, Server, Setup, number},
    shell,
};

/// The past that questions are asked about.
const PAST_SERIES: usize = 100;
const PAST_STEP_MS: i64 = 15_000;
const DAY_MS: i64 = 86_400_000;

/// What is measured, and may be left out.
const PARTS: [&str; 5] = ["load", "acks", "memory", "late", "past"];

const HELP: &str = "\
cargo xtask bench ingest [FLAGS]

  --quick               fewer samples, at 1 000 and 100 000 series, and a past of 3 days
  --servers A,B         of fsync, write, memory (Pulseboard with that DURABILITY) and victoria
                        (fsync,memory,victoria; victoria is the Debian package victoria-metrics)
  --series N,M          series in the bodies of 500         (1000,100000,1000000)
  --samples N           samples of each measurement         (4000000; --quick: 1500000)
  --days N              how far back the past goes          (30; --quick: 3)
  --cores S,C           of the server and of the client     (0,1)
  --skip LIST           of load, acks, memory, late, past: parts to leave out
  --priority            run both with nice -n -15, which needs the right to; for a shared machine
  --no-build            take the release programs as they are";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Fsync,
    Write,
    Memory,
    Victoria,
}

impl Named for Peer {
    const ALL: &'static [(Self, &'static str)] = &[
        (Self::Fsync, "fsync"),
        (Self::Write, "write"),
        (Self::Memory, "memory"),
        (Self::Victoria, "victoria"),
    ];
}

/// A form of bodies: its name at the client, and the endpoints to send it to.
const FORMS: &[(&str, &str, &str)] = &[
    ("prometheus", "/push", "/api/v1/import/prometheus"),
    ("influx", "/write", "/write"),
    ("remote", "/api/v1/write", "/api/v1/write"),
];

struct Plan {
    servers: Vec<Peer>,
    series: Vec<usize>,
    samples: usize,
    days: i64,
    setup: Setup,
    skip: Vec<String>,
}

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    if flags::is_help(arguments, HELP) {
        return Ok(());
    }
    let mut plan = parse(arguments)?;
    plan.setup.prepare()?;
    if plan.servers.contains(&Peer::Victoria) && shell::find("victoria-metrics").is_none() {
        println!("leaving victoria out: install the Debian package victoria-metrics to have it");
        plan.servers.retain(|peer| *peer != Peer::Victoria);
    }
    let wanted = |part: &str| !plan.skip.iter().any(|skipped| skipped == part);
    if wanted("load") {
        measure_load(&plan)?;
    }
    if wanted("acks") {
        measure_acks(&plan)?;
    }
    if wanted("memory") {
        measure_memory(&plan)?;
    }
    if wanted("late") {
        measure_late(&plan)?;
    }
    if wanted("past") {
        measure_past(&plan)?;
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Plan> {
    let quick = arguments.iter().any(|word| word == "--quick");
    let mut plan = Plan {
        servers: vec![Peer::Fsync, Peer::Memory, Peer::Victoria],
        series: vec![1_000, 100_000],
        samples: if quick { 1_500_000 } else { 4_000_000 },
        days: if quick { 3 } else { 30 },
        setup: Setup::default(),
        skip: Vec::new(),
    };
    if !quick {
        plan.series.push(1_000_000);
    }
    let mut flags = Flags::new(arguments, HELP);
    while let Some(flag) = flags.flag() {
        match flag {
            "--quick" => {}
            "--servers" => plan.servers = flags.named()?,
            "--series" => plan.series = flags.counts()?,
            "--samples" => plan.samples = flags.count()?,
            "--days" => plan.days = flags.count()?,
            "--skip" => plan.skip = flags.some_of(&PARTS)?,
            other => plan.setup.take(other, &mut flags)?,
        }
    }
    Ok(plan)
}

/// CPU per sample in bodies of 500.
fn measure_load(plan: &Plan) -> Result<()> {
    println!("\n## Bodies of 500 samples\n");
    println!(
        "| form | series | server | ns CPU per sample | : victoria | with 3 s after it \
         | samples/s | core used | ns per new series | bytes per sample sent | refused bodies |"
    );
    println!("|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    for series in &plan.series {
        for (form, own, victorias) in FORMS {
            if *series >= 1_000_000 && *form != "remote" {
                continue;
            }
            let mut reports = Vec::new();
            for peer in &plan.servers {
                let path = if *peer == Peer::Victoria {
                    victorias
                } else {
                    own
                };
                let work = [
                    ("--form", (*form).to_owned()),
                    ("--path", (*path).to_owned()),
                    ("--series", series.to_string()),
                    ("--samples", plan.samples.max(2 * series).to_string()),
                ];
                match with_server(plan, *peer, |server| server.client(plan, "load", &work)) {
                    Ok(report) => reports.push((*peer, report)),
                    Err(error) => eprintln!("{form}, {}: {error:#}", peer.name()),
                }
            }
            let cpu = |report| number(report, "/cpu_ns_per_sample");
            let victoria = reports.iter().find(|(peer, _)| *peer == Peer::Victoria);
            let victoria = victoria.map(|(_, report)| cpu(report));
            for (peer, report) in &reports {
                let of = |pointer| number(report, pointer);
                println!(
                    "| {form} | {series} | {} | {:.0} | {} | {:.0} | {:.0} | {:.0} % | {:.0} | {:.0} | {} |",
                    peer.name(),
                    cpu(report),
                    victoria.map_or("–".to_owned(), |other| format!(
                        "{:.2}",
                        cpu(report) / other
                    )),
                    of("/settled_ns_per_sample"),
                    of("/samples_per_s"),
                    of("/core_used") * 100.0,
                    of("/create_ns_per_series"),
                    of("/bytes_per_sample"),
                    of("/refused_bodies"),
                );
            }
        }
    }
    Ok(())
}

/// Ten million samples of the last two days, in two orders, beside as many that come as they are
/// made.
fn measure_late(plan: &Plan) -> Result<()> {
    const SERIES: i64 = 1_000;
    println!("\n## Late samples, {SERIES} series over two days\n");
    println!(
        "| order | server | samples/s | ns CPU per sample | with 3 s after it | MB before | MB at most |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|");
    let samples = i64::try_from(plan.samples)?.max(10_000_000);
    let now_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    // Not to the last minute of what is taken: it goes on being late while it is sent.
    let back_ms = 47 * 3_600_000;
    let orders = [
        (
            "one series after the other",
            "prometheus",
            "/push",
            "/api/v1/import/prometheus",
        ),
        (
            "one time after the other",
            "remote",
            "/api/v1/write",
            "/api/v1/write",
        ),
    ];
    for (order, form, own, victorias) in orders {
        for peer in &plan.servers {
            // It keeps nothing that is older than its window.
            if *peer == Peer::Memory {
                continue;
            }
            let path = if *peer == Peer::Victoria {
                victorias
            } else {
                own
            };
            let work = [
                ("--form", form.to_owned()),
                ("--path", path.to_owned()),
                ("--series", SERIES.to_string()),
                ("--step-ms", (back_ms * SERIES / samples).max(1).to_string()),
                ("--start-ms", (now_ms - back_ms).to_string()),
                ("--end-ms", now_ms.to_string()),
            ];
            let report = with_server(plan, *peer, |server| server.client(plan, "fill", &work))?;
            let of = |pointer| number(&report, pointer);
            println!(
                "| {order} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
                peer.name(),
                of("/samples_per_s"),
                of("/cpu_ns_per_sample"),
                of("/settled_ns_per_sample"),
                of("/rss_before") / 1e6,
                of("/rss_peak") / 1e6,
            );
        }
    }
    Ok(())
}

/// Writers of one sample each.
fn measure_acks(plan: &Plan) -> Result<()> {
    println!("\n## 64 connections, one sample a request\n");
    println!("| server | acknowledgements/s | µs CPU each | core used | p50 / p99 / max ms |");
    println!("|---|---:|---:|---:|---:|");
    for peer in &plan.servers {
        let path = match peer {
            Peer::Victoria => "/api/v1/import/prometheus",
            _ => "/push",
        };
        let work = [("--path", path.to_owned())];
        let report = with_server(plan, *peer, |server| server.client(plan, "acks", &work))?;
        let of = |pointer| number(&report, pointer);
        let millis = |pointer| of(pointer) / 1_000.0;
        println!(
            "| {} | {:.0} | {:.1} | {:.0} % | {:.1} / {:.1} / {:.1} |",
            peer.name(),
            of("/acks_per_s"),
            of("/cpu_us_per_ack"),
            of("/core_used") * 100.0,
            millis("/latency/p50_us"),
            millis("/latency/p99_us"),
            millis("/latency/max_us"),
        );
    }
    Ok(())
}

/// What a series takes that has one sample.
fn measure_memory(plan: &Plan) -> Result<()> {
    const SERIES: usize = 200_000;
    println!("\n## Resident memory, one sample a series\n");
    println!("| server | 1 000 series, MB | {SERIES} series, MB | bytes per series |");
    println!("|---|---:|---:|---:|");
    for peer in &plan.servers {
        let work = [
            ("--form", "remote".to_owned()),
            ("--path", "/api/v1/write".to_owned()),
            ("--series", SERIES.to_string()),
        ];
        let report = with_server(plan, *peer, |server| server.client(plan, "grow", &work))?;
        let of = |pointer| number(&report, pointer);
        println!(
            "| {} | {:.1} | {:.1} | {:.0} |",
            peer.name(),
            of("/rss_few") / 1e6,
            of("/rss_many") / 1e6,
            of("/bytes_per_series"),
        );
    }
    Ok(())
}

/// Bytes on the disk, and how long questions take.
fn measure_past(plan: &Plan) -> Result<()> {
    let now_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let end_ms = now_ms / 60_000 * 60_000;
    let past = [
        ("--series", PAST_SERIES.to_string()),
        ("--step-ms", PAST_STEP_MS.to_string()),
        ("--start-ms", (end_ms - plan.days * DAY_MS).to_string()),
        ("--end-ms", end_ms.to_string()),
    ];
    println!(
        "\n## {} days of {PAST_SERIES} series every {} s\n",
        plan.days,
        PAST_STEP_MS / 1_000
    );
    let mut rows = Vec::new();
    for peer in &plan.servers {
        let folder = match peer {
            // Reading is the same whatever is promised about writing.
            Peer::Memory | Peer::Write => continue,
            Peer::Fsync | Peer::Victoria => folder(*peer)?,
        };
        if *peer == Peer::Fsync {
            let mut prefill = shell::command(measured::program("ingest_prefill"));
            prefill.arg("--data-dir").arg(&folder).args(flags_of(&past));
            let report = measured::report(&mut prefill)?;
            let of = |pointer| number(&report, pointer);
            println!(
                "pulseboard: {:.2} bytes per sample as sealed, {:.2} once an hour is one chunk; all resolutions together {:.2} per sample ever taken ({:.1} MB for {:.1} million; raw samples are kept 48 h)",
                of("/raw_bytes_per_sample"),
                of("/merged_bytes_per_sample"),
                of("/blocks_bytes") / of("/samples"),
                of("/blocks_bytes") / 1e6,
                of("/samples") / 1e6,
            );
        }
        let server = Target::start(plan, *peer, &folder)?;
        if *peer == Peer::Victoria {
            let mut work = past.to_vec();
            work.push(("--path", "/api/v1/import/prometheus".to_owned()));
            let report = server.client(plan, "fill", &work)?;
            let samples = number(&report, "/samples");
            for path in ["/internal/force_flush", "/internal/force_merge"] {
                let work = [("--path", path.to_owned()), ("--times", "0".to_owned())];
                // It answers nothing that is JSON.
                server.client(plan, "ask", &work).ok();
                thread::sleep(Duration::from_secs(3));
            }
            println!(
                "victoria: {:.2} bytes per sample, index included",
                lossy(bytes_of(&folder)?) / samples
            );
        }
        for (label, back_ms, points) in [
            ("1 h", DAY_MS / 24, 240),
            ("24 h", DAY_MS, 1_200),
            ("30 d", 30 * DAY_MS, 1_200),
        ] {
            if back_ms > plan.days * DAY_MS {
                continue;
            }
            for series in [1, PAST_SERIES] {
                let selector = if series == 1 {
                    "bench_requests_value{code=%22200%22,method=%22GET%22,instance=%2210.1.0.0:9100%22,path=%22/api/v1/items/0%22}"
                } else {
                    "bench_requests_value"
                };
                let points = if series == 1 { points } else { points.min(300) };
                let start_ms = end_ms - back_ms;
                let path = match peer {
                    Peer::Victoria => format!(
                        "/api/v1/query_range?nocache=1&query={selector}&start={}&end={}&step={}",
                        start_ms / 1_000,
                        end_ms / 1_000,
                        back_ms / 1_000 / points
                    ),
                    _ => format!(
                        "/api/range?match={selector}&start={start_ms}&end={end_ms}&max_points={points}"
                    ),
                };
                let report = server.client(plan, "ask", &[("--path", path)])?;
                rows.push((label, series, points, *peer, report));
            }
        }
    }
    println!("\n| range | series | points | server | p50 / p99 ms | bytes of the answer |");
    println!("|---|---:|---:|---|---:|---:|");
    rows.sort_by_key(|(label, series, ..)| (label.len(), *label, *series));
    for (label, series, points, peer, report) in rows {
        println!(
            "| {label} | {series} | {points} | {} | {:.1} / {:.1} | {:.0} |",
            if peer == Peer::Fsync {
                "pulseboard"
            } else {
                peer.name()
            },
            number(&report, "/latency/p50_us") / 1_000.0,
            number(&report, "/latency/p99_us") / 1_000.0,
            number(&report, "/bytes"),
        );
    }
    Ok(())
}

fn flags_of(words: &[(&str, String)]) -> Vec<String> {
    let flags = words.iter();
    flags
        .flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()])
        .collect()
}

/// Small enough to be exact.
fn lossy(bytes: u64) -> f64 {
    bytes as f64
}

fn bytes_of(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        sum += if entry.file_type()?.is_dir() {
            bytes_of(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(sum)
}

/// A new folder for a server's data.
fn folder(peer: Peer) -> Result<PathBuf> {
    measured::fresh_folder(Path::new("ingest").join(peer.name()))
}

/// A fresh server for one measurement.
fn with_server(
    plan: &Plan,
    peer: Peer,
    measure: impl FnOnce(&Target) -> Result<Value>,
) -> Result<Value> {
    let folder = folder(peer)?;
    let server = Target::start(plan, peer, &folder)?;
    let report = measure(&server);
    drop(server);
    fs::remove_dir_all(&folder)?;
    report
}

/// A server under measurement.
struct Target {
    server: Server,
}

impl Target {
    fn start(plan: &Plan, peer: Peer, folder: &Path) -> Result<Self> {
        let address = measured::free_address()?;
        let command = if peer == Peer::Victoria {
            measured::victoria(&plan.setup.pins, &address, folder)?
        } else {
            let mut command = plan.setup.pins.server(&shell::server_binary());
            command
                .env("RUST_LOG", "warn")
                // The client says no more than HTTP asks for, and is no direct caller.
                .env("ANONYMOUS_ROLE", "operator")
                .env("DURABILITY", peer.name())
                .env("MAX_SERIES", "2000000")
                .args(["--bind", &address, "--source", "none", "--data-dir"])
                .arg(folder);
            command
        };
        let log = shell::target()
            .join("ingest")
            .join(format!("{}.log", peer.name()));
        let server = Server::start(command, &address, &log)?;
        Ok(Self { server })
    }

    /// Runs the load client; its report.
    fn client(&self, plan: &Plan, work: &str, words: &[(&str, String)]) -> Result<Value> {
        let client = plan.setup.pins.client(&measured::program("ingest_client"));
        let mut client = self.server.aimed_at(client);
        measured::report(client.arg(work).args(flags_of(words)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::words;

    #[test]
    fn flags_are_read() {
        let plan = parse(&words(
            "--quick --servers fsync,victoria --series 7 --skip acks",
        ));
        let plan = plan.expect("these are flags");
        assert_eq!(plan.servers, [Peer::Fsync, Peer::Victoria]);
        assert_eq!((plan.series, plan.days), (vec![7], 3));
        assert!(parse(&words("--servers influx")).is_err());
        assert!(parse(&words("--days 0")).is_err());
    }
}
