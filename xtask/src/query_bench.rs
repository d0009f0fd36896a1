//! `bench query`: what an expression costs this server, beside Prometheus and VictoriaMetrics, in
//! one run.
//!
//! All get the same samples by remote write, in the order of time, and the same questions one after
//! the other. Each is pinned to the server's core, and the client of `bench/` to another.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    debian,
    flags::{self, Flags, Named},
    measured::{self, Server, Setup, number},
    node_questions, shell,
};

const HELP: &str = "\
cargo xtask bench query [FLAGS]

  --servers A,B         of pulseboard, prometheus (installed, or Debian's) and victoria
                        (pulseboard,prometheus)
  --series N,M          series, each in a run of its own    (10000,100000)
  --minutes N           how far back they go                (60)
  --step-s N            between two samples of one          (15)
  --times N             how often each question is asked    (20)
  --node                instead: what node_exporter (Debian's) tells, every second for two hours,
                        and a question for each of its figures and for what dashboards make of them
  --cores S,C           of the server and of the client     (0,1)
  --priority            run both with nice -n -15, which needs the right to; for a shared machine
  --server-binary FILE  the server to measure               (target/release/pulseboard)
  --client-binary FILE  bench/'s ingest_client              (target/release/ingest_client)
  --no-build            take the release programs as they are";

/// What is asked: a name, the expression, and the step in seconds; 0 is an instant.
const QUESTIONS: &[(&str, &str, u64)] = &[
    (
        "one series",
        "X{code=\"200\",method=\"GET\",instance=\"10.1.0.0:9100\",path=\"/api/v1/items/0\"}",
        15,
    ),
    ("sum", "sum(X)", 0),
    ("sum by rate", "sum by (path) (rate(X[5m]))", 0),
    ("topk", "topk(10, X)", 0),
    (
        "quantile_over_time",
        "max(quantile_over_time(0.9, X[5m]))",
        0,
    ),
    (
        "join",
        "sum by (path) (X{method=\"GET\"}) / on (path) sum by (path) (X)",
        0,
    ),
    ("sum by rate", "sum by (path) (rate(X[5m]))", 15),
    ("max_over_time", "max by (code) (max_over_time(X[5m]))", 60),
    ("quantile", "quantile by (code) (0.9, X)", 60),
    (
        "subquery",
        "max_over_time(sum by (code) (rate(X[1m]))[10m:1m])",
        60,
    ),
];

const METRIC: &str = "bench_requests_value";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Pulseboard,
    Prometheus,
    Victoria,
}

impl Named for Peer {
    const ALL: &'static [(Self, &'static str)] = &[
        (Self::Pulseboard, "pulseboard"),
        (Self::Prometheus, "prometheus"),
        (Self::Victoria, "victoria"),
    ];
}

struct Plan {
    servers: Vec<Peer>,
    series: Vec<u64>,
    minutes: u64,
    step_s: u64,
    times: u64,
    node: bool,
    setup: Setup,
    server: PathBuf,
    client: PathBuf,
}

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    if flags::is_help(arguments, HELP) {
        return Ok(());
    }
    let plan = parse(arguments)?;
    plan.setup.prepare()?;
    if plan.node {
        return node(&plan);
    }
    println!("| series | question | step | server | p50 / p99 ms | bytes |");
    println!("|---:|---|---:|---|---:|---:|");
    for series in &plan.series {
        let mut rows = Vec::new();
        for peer in &plan.servers {
            let folder = measured::fresh_folder(Path::new("query").join(peer.name()))?;
            let asked = measure(&plan, *peer, *series, &folder)
                .with_context(|| format!("{} with {series} series", peer.name()));
            fs::remove_dir_all(&folder)?;
            for (index, report) in asked?.into_iter().enumerate() {
                rows.push((index, *peer, report));
            }
        }
        rows.sort_by_key(|(index, ..)| *index);
        for (index, peer, report) in rows {
            let Some((name, _, step)) = QUESTIONS.get(index) else {
                continue;
            };
            let step = match step {
                0 => "instant".to_owned(),
                step => format!("{step} s"),
            };
            println!(
                "| {series} | {name} | {step} | {} | {:.1} / {:.1} | {:.0} |",
                peer.name(),
                number(&report, "/latency/p50_us") / 1_000.0,
                number(&report, "/latency/p99_us") / 1_000.0,
                number(&report, "/bytes"),
            );
        }
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Plan> {
    let mut plan = Plan {
        servers: vec![Peer::Pulseboard, Peer::Prometheus],
        series: vec![10_000, 100_000],
        minutes: 60,
        step_s: 15,
        times: 20,
        node: false,
        setup: Setup::default(),
        server: shell::server_binary(),
        client: measured::program("ingest_client"),
    };
    let mut flags = Flags::new(arguments, HELP);
    while let Some(flag) = flags.flag() {
        match flag {
            "--servers" => plan.servers = flags.named()?,
            "--series" => plan.series = flags.counts()?,
            "--minutes" => plan.minutes = flags.count()?,
            "--step-s" => plan.step_s = flags.count()?,
            "--times" => plan.times = flags.count()?,
            "--node" => plan.node = true,
            "--server-binary" => plan.server = flags.value()?.into(),
            "--client-binary" => plan.client = flags.value()?.into(),
            other => plan.setup.take(other, &mut flags)?,
        }
    }
    Ok(plan)
}

/// What node_exporter tells, as often and for as long as a dashboard of it was measured.
const NODE_S: u64 = 7_200;

/// Points of each answer, as a panel of a screen's width a third has them.
const NODE_POINTS: u64 = 60;

/// Fills each server with two hours of node_exporter's figures, and asks each the same.
fn node(plan: &Plan) -> Result<()> {
    let folder = measured::fresh_folder("query/node")?;
    let text = exposition(&folder.join("exporter.log"))?;
    let file = folder.join("exposition");
    fs::write(&file, &text)?;
    let end_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / 60 * 60;
    let start_s = end_s - NODE_S;
    let questions = node_questions::of(&text);
    let step_s = NODE_S / NODE_POINTS;
    let paths: Vec<String> = questions
        .iter()
        .map(|expression| {
            let expression = escaped(expression);
            format!(
                "/api/v1/query_range?nocache=1&query={expression}&start={start_s}&end={end_s}&step={step_s}"
            )
        })
        .collect();
    let asked = folder.join("paths");
    fs::write(&asked, paths.join("\n"))?;
    let mut columns: Vec<Vec<f64>> = Vec::new();
    println!("| server | questions | ns CPU a sample sent | mean ms | median ms | greatest ms |");
    println!("|---|---:|---:|---:|---:|---:|");
    for peer in &plan.servers {
        let data = measured::fresh_folder(Path::new("query").join(peer.name()))?;
        let address = measured::free_address()?;
        let log = folder.join(format!("{}.log", peer.name()));
        let server = Server::start(command(plan, *peer, &address, &data)?, &address, &log)?;
        let client = || server.aimed_at(plan.setup.pins.client(&plan.client));
        let mut fill = client();
        fill.args(["fill", "--form", "remote", "--path", "/api/v1/write"])
            .arg("--exposition")
            .arg(&file)
            .args(["--step-ms", "1000"])
            .args(["--start-ms", &(start_s * 1_000).to_string()])
            .args(["--end-ms", &(end_s * 1_000).to_string()]);
        let filled = measured::report(&mut fill)?;
        std::thread::sleep(Duration::from_secs(5));
        let mut ask = client();
        ask.arg("ask-all").arg("--paths").arg(&asked);
        let report = measured::report(ask.args(["--times", &plan.times.to_string()]))?;
        let times: Vec<f64> = (0..paths.len())
            .map(|at| number(&report, &format!("/questions/{at}/p50_us")) / 1_000.0)
            .collect();
        println!(
            "| {} | {} | {:.0} | {:.3} | {:.3} | {:.2} |",
            peer.name(),
            times.len(),
            number(&filled, "/cpu_ns_per_sample"),
            times.iter().sum::<f64>() / f64::from(u32::try_from(times.len())?),
            measured::median(times.iter().copied()),
            times.iter().copied().fold(f64::NAN, f64::max),
        );
        columns.push(times);
        drop(server);
        fs::remove_dir_all(&data)?;
    }
    compared(plan, &questions, &columns);
    Ok(())
}

/// How much of the faster of the others' time each question takes the first server.
fn compared(plan: &Plan, questions: &[String], columns: &[Vec<f64>]) {
    let [first, others @ ..] = columns else {
        return;
    };
    if others.is_empty() {
        return;
    }
    let mut ratios: Vec<(f64, &str)> = Vec::new();
    for (at, (time, question)) in first.iter().zip(questions).enumerate() {
        let best = others.iter().filter_map(|other| other.get(at));
        let best = best.copied().fold(f64::INFINITY, f64::min);
        ratios.push((time / best, question));
    }
    ratios.sort_by(|one, other| one.0.total_cmp(&other.0));
    let slower = ratios.iter().filter(|(ratio, _)| *ratio > 1.0).count();
    let of: Vec<f64> = ratios.iter().map(|(ratio, _)| *ratio).collect();
    println!(
        "\n{} beside the faster of the others, question by question: median of the ratios {:.2}, \
         greatest {:.2}, slower in {slower} of {}",
        plan.servers.first().map_or("", |peer| peer.name()),
        measured::median(of.iter().copied()),
        of.last().copied().unwrap_or(f64::NAN),
        of.len(),
    );
    for (ratio, question) in ratios.iter().rev().take(5) {
        println!("  {ratio:.2}  {question}");
    }
}

/// What node_exporter says of this machine, once.
fn exposition(log: &Path) -> Result<String> {
    let name = "prometheus-node-exporter";
    let program = match shell::find(name) {
        Some(program) => program,
        None => debian::unpacked(name, &[name])?.join("usr/bin").join(name),
    };
    let address = measured::free_address()?;
    let mut command = std::process::Command::new(program);
    command.arg(format!("--web.listen-address={address}"));
    let exporter = Server::start(command, &address, log)?;
    let mut stream = TcpStream::connect(&address)?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    drop(exporter);
    let (_, text) = answer.split_once("\r\n\r\n").context("no answer")?;
    Ok(text.to_owned())
}

/// Fills one server and asks it everything; a report a question.
fn measure(plan: &Plan, peer: Peer, series: u64, folder: &Path) -> Result<Vec<Value>> {
    let address = measured::free_address()?;
    let log = shell::target()
        .join("query")
        .join(format!("{}.log", peer.name()));
    let server = Server::start(command(plan, peer, &address, folder)?, &address, &log)?;
    let client = |words: &[(&str, String)], work: &str| -> Result<Value> {
        let mut client = server.aimed_at(plan.setup.pins.client(&plan.client));
        client.arg(work);
        for (flag, value) in words {
            client.args([flag, value.as_str()]);
        }
        measured::report(&mut client)
    };
    let end_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / 60 * 60;
    let start_s = end_s - plan.minutes * 60;
    client(
        &[
            ("--form", "remote".to_owned()),
            ("--path", "/api/v1/write".to_owned()),
            ("--series", series.to_string()),
            ("--step-ms", (plan.step_s * 1_000).to_string()),
            ("--start-ms", (start_s * 1_000).to_string()),
            ("--end-ms", (end_s * 1_000).to_string()),
        ],
        "fill",
    )?;
    // What filling has put off is done.
    std::thread::sleep(Duration::from_secs(5));
    QUESTIONS
        .iter()
        .map(|(name, expression, step_s)| {
            let expression = escaped(&expression.replace('X', METRIC));
            let path = match step_s {
                0 => format!("/api/v1/query?query={expression}&time={end_s}"),
                step_s => format!(
                    "/api/v1/query_range?nocache=1&query={expression}&start={start_s}&end={end_s}&step={step_s}"
                ),
            };
            let words = [("--path", path), ("--times", plan.times.to_string())];
            client(&words, "ask").with_context(|| format!("{name}: {expression}"))
        })
        .collect()
}

fn command(plan: &Plan, peer: Peer, address: &str, folder: &Path) -> Result<std::process::Command> {
    Ok(match peer {
        Peer::Pulseboard => {
            let mut command = plan.setup.pins.server(&plan.server);
            command
                .env("RUST_LOG", "warn")
                // The client says no more than HTTP asks for, and is no direct caller.
                .env("ANONYMOUS_ROLE", "operator")
                .args(["--bind", address, "--source", "none", "--data-dir"])
                .arg(folder);
            command
        }
        Peer::Prometheus => {
            let config = folder.join("prometheus.yml");
            fs::write(&config, "global: {}\n")?;
            let mut command = plan.setup.pins.server(&debian::prometheus()?);
            command
                .arg(format!("--config.file={}", config.display()))
                .arg(format!(
                    "--storage.tsdb.path={}",
                    folder.join("data").display()
                ))
                .arg(format!("--web.listen-address={address}"))
                .arg("--web.enable-remote-write-receiver");
            command
        }
        Peer::Victoria => measured::victoria(&plan.setup.pins, address, folder)?,
    })
}

/// As a query string has it.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::words;

    #[test]
    fn flags_are_read() {
        let plan = parse(&words(
            "--servers prometheus --series 7,8 --times 3 --no-build",
        ));
        let plan = plan.expect("these are flags");
        assert_eq!(plan.servers, [Peer::Prometheus]);
        assert_eq!(
            (plan.series, plan.times, plan.setup.builds),
            (vec![7, 8], 3, false)
        );
        assert!(parse(&words("--servers influx")).is_err());
        assert!(parse(&words("--minutes 0")).is_err());
    }

    #[test]
    fn expressions_are_escaped() {
        assert_eq!(escaped("a{b=\"c\"}[5m]"), "a%7Bb%3D%22c%22%7D%5B5m%5D");
    }
}
