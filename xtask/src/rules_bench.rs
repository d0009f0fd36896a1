//! `bench rules`: what evaluating rules costs this server, beside Prometheus with the same rule
//! file and the same series, in one run.
//!
//! Both get the same samples by remote write, up to now, and the same file. Each is pinned to the
//! server's core and left to itself; what it spends of the processor meanwhile is compared.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};

use crate::{
    debian,
    flags::{self, Flags, Named},
    measured::{self, Server, Setup},
    rules_told, shell,
};

const HELP: &str = "\
cargo xtask bench rules [FLAGS]

  --servers A,B         of pulseboard and prometheus (installed, or Debian's)
                        (pulseboard,prometheus)
  --rules N             rules, in groups of 20              (10000)
  --series N            series, of which each rule looks at 1 to 20 (100000)
  --every-s N           how often each is evaluated         (15)
  --seconds S           how long is measured                (60)
  --told S              instead: for S seconds, how long after its tick an alert is on the event
                        stream
  --cores S,C           of the server and of the client     (0,1)
  --priority            run both with nice -n -15, which needs the right to; for a shared machine
  --server-binary FILE  the server to measure               (target/release/pulseboard)
  --client-binary FILE  bench/'s ingest_client              (target/release/ingest_client)
  --no-build            take the release programs as they are";

const METRIC: &str = "bench_requests_value";

/// Series of one instance, as the client makes them.
const OF_INSTANCE: u64 = 20;

/// Rules of one group.
const OF_GROUP: u64 = 20;

/// Both get samples from so long ago up to so long from now, and are measured so long after that:
/// until then filling is done, and meanwhile rules find samples of the last five minutes all the
/// time.
const BACK_S: u64 = 150;
const AHEAD_S: u64 = 240;
const BEGIN_S: u64 = 150;

/// How long a server may take until it takes samples.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// Ticks a second of `/proc/PID/stat`, whatever the kernel's own are.
const TICKS: f64 = 100.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Pulseboard,
    Prometheus,
}

impl Named for Peer {
    const ALL: &'static [(Self, &'static str)] = &[
        (Self::Pulseboard, "pulseboard"),
        (Self::Prometheus, "prometheus"),
    ];
}

struct Plan {
    servers: Vec<Peer>,
    rules: u64,
    series: u64,
    every_s: u64,
    seconds: u64,
    told: Option<u64>,
    setup: Setup,
    server: PathBuf,
    client: PathBuf,
}

/// What one server did while it was measured.
struct Measured {
    cpu_s: f64,
    seconds: f64,
    evaluations: f64,
    missed: f64,
}

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    if flags::is_help(arguments, HELP) {
        return Ok(());
    }
    let plan = parse(arguments)?;
    plan.setup.prepare()?;
    if let Some(seconds) = plan.told {
        let folder = measured::fresh_folder(Path::new("rules").join("told"))?;
        let log = shell::target().join("rules").join("told.log");
        let address = measured::free_address()?;
        let (server, pins) = ((plan.server.as_path(), address.as_str()), &plan.setup.pins);
        let told = rules_told::measure(seconds, pins, server, (&folder, &log));
        fs::remove_dir_all(&folder)?;
        return told;
    }
    println!("| server | rules | series | evaluations | missed | cores | µs an evaluation |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for peer in &plan.servers {
        let folder = measured::fresh_folder(Path::new("rules").join(peer.name()))?;
        let measured =
            measure(&plan, *peer, &folder).with_context(|| format!("with {}", peer.name()));
        fs::remove_dir_all(&folder)?;
        let one = measured?;
        println!(
            "| {} | {} | {} | {:.0} | {:.0} | {:.3} | {:.1} |",
            peer.name(),
            plan.rules,
            plan.series,
            one.evaluations,
            one.missed,
            one.cpu_s / one.seconds,
            one.cpu_s * 1e6 / one.evaluations.max(1.0),
        );
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Plan> {
    let mut plan = Plan {
        servers: vec![Peer::Pulseboard, Peer::Prometheus],
        rules: 10_000,
        series: 100_000,
        every_s: 15,
        seconds: 60,
        told: None,
        setup: Setup::default(),
        server: shell::server_binary(),
        client: measured::program("ingest_client"),
    };
    let mut flags = Flags::new(arguments, HELP);
    while let Some(flag) = flags.flag() {
        match flag {
            "--servers" => plan.servers = flags.named()?,
            "--rules" => plan.rules = flags.count()?,
            "--series" => plan.series = flags.count()?,
            "--every-s" => plan.every_s = flags.count()?,
            "--seconds" => plan.seconds = flags.count()?,
            "--told" => plan.told = Some(flags.count()?),
            "--server-binary" => plan.server = flags.value()?.into(),
            "--client-binary" => plan.client = flags.value()?.into(),
            other => plan.setup.take(other, &mut flags)?,
        }
    }
    Ok(plan)
}

/// The rules: thresholds that hold for nothing and that hold for some, rates by a label, and
/// recorded means, in equal parts.
fn rule_file(plan: &Plan) -> String {
    let instances = (plan.series / OF_INSTANCE).max(1);
    let mut text = "groups:\n".to_owned();
    for rule in 0..plan.rules {
        if rule % OF_GROUP == 0 {
            // Writing to a `String` cannot fail.
            write!(
                text,
                "- name: g{}\n  interval: {}s\n  rules:\n",
                rule / OF_GROUP,
                plan.every_s
            )
            .ok();
        }
        let instance = rule % instances;
        let of = format!(
            "{METRIC}{{instance=\"10.1.{}.{}:9100\"",
            instance / 250 % 250,
            instance % 250
        );
        let what = match rule % 4 {
            0 => format!("alert: Never\n    expr: {of}}} > 1e9\n    for: 5m"),
            1 => format!(
                "alert: Often\n    expr: {of},code=\"200\",method=\"GET\"}} >= 0\n    for: 1m"
            ),
            2 => format!(
                "alert: Rate\n    expr: sum by (code) (rate({of}}}[5m])) > 1e9\n    labels: {{severity: page}}"
            ),
            _ => format!(
                "record: instance:mean{}\n    expr: avg by (method) ({of}}})",
                rule
            ),
        };
        writeln!(text, "  - {what}").ok();
    }
    text
}

fn measure(plan: &Plan, peer: Peer, folder: &Path) -> Result<Measured> {
    let address = measured::free_address()?;
    let log = shell::target()
        .join("rules")
        .join(format!("{}.log", peer.name()));
    let rules = folder.join("rules.yml");
    fs::write(&rules, rule_file(plan))?;
    let server = Server::start(command(plan, peer, &address, folder)?, &address, &log)?;
    until_ready(&address)?;
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut client = server.aimed_at(plan.setup.pins.client(&plan.client));
    client.arg("fill");
    for (flag, value) in [
        ("--form", "remote".to_owned()),
        ("--path", "/api/v1/write".to_owned()),
        ("--series", plan.series.to_string()),
        ("--step-ms", "15000".to_owned()),
        ("--start-ms", ((now_s - BACK_S) * 1_000).to_string()),
        ("--end-ms", ((now_s + AHEAD_S) * 1_000).to_string()),
    ] {
        client.args([flag, &value]);
    }
    measured::report(&mut client)?;
    // What filling has put off is done, every group was evaluated, and either sees as much of the
    // last five minutes as the other.
    let begin = Duration::from_secs(now_s + BEGIN_S);
    let wait = begin.checked_sub(SystemTime::now().duration_since(UNIX_EPOCH)?);
    std::thread::sleep(wait.context("filling took so long that the samples are too old")?);
    let (before, cpu_before, began) = (counts(&address)?, cpu_s(server.id())?, Instant::now());
    std::thread::sleep(Duration::from_secs(plan.seconds));
    let (after, cpu_after) = (counts(&address)?, cpu_s(server.id())?);
    Ok(Measured {
        cpu_s: cpu_after - cpu_before,
        seconds: began.elapsed().as_secs_f64(),
        evaluations: after.0 - before.0,
        missed: after.1 - before.1,
    })
}

fn command(plan: &Plan, peer: Peer, address: &str, folder: &Path) -> Result<std::process::Command> {
    Ok(match peer {
        Peer::Pulseboard => {
            let mut command = plan.setup.pins.server(&plan.server);
            command
                .env("RUST_LOG", "warn")
                // The client says no more than HTTP asks for, and is no direct caller.
                .env("ANONYMOUS_ROLE", "operator")
                .env("RULE_FILES", folder.join("rules.yml"))
                .args(["--bind", address, "--source", "none", "--data-dir"])
                .arg(folder.join("data"));
            command
        }
        Peer::Prometheus => {
            let config = folder.join("prometheus.yml");
            fs::write(&config, "rule_files: [rules.yml]\n")?;
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
    })
}

/// Waits until it takes samples, which is a while after it listens.
fn until_ready(address: &str) -> Result<()> {
    let deadline = Instant::now() + READY_DEADLINE;
    loop {
        let answer = get(address, "/-/ready")?;
        if answer.split_whitespace().nth(1) == Some("200") {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("it was not ready within {READY_DEADLINE:?}: {answer}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// An answer with its head.
fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Evaluations and missed iterations so far, of either's `/metrics`.
fn counts(address: &str) -> Result<(f64, f64)> {
    let text = get(address, "/metrics")?;
    Ok((
        sum(&text, "rule_evaluations_total"),
        sum(&text, "rule_group_iterations_missed_total"),
    ))
}

/// The sum of all samples whose name ends so.
fn sum(text: &str, name_end: &str) -> f64 {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let values = lines.filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let name = series.split('{').next()?;
        name.ends_with(name_end)
            .then(|| value.parse::<f64>().ok())?
    });
    values.sum()
}

/// What a process has spent of the processor, in seconds.
fn cpu_s(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Behind the program's name, which may have blanks in it.
    let rest = stat.rsplit_once(')').context("no such form of stat")?.1;
    let ticks = |index: usize| -> Option<f64> { rest.split_whitespace().nth(index)?.parse().ok() };
    let (user, system) = (ticks(11), ticks(12));
    let sum = user.zip(system).map(|(user, system)| user + system);
    Ok(sum.context("no such form of stat")? / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::words;

    #[test]
    fn flags_are_read_and_rules_made() -> Result<()> {
        let plan = parse(&words("--rules 41 --series 40 --every-s 5 --no-build"))?;
        let text = rule_file(&plan);
        assert_eq!(text.matches("- name: g").count(), 3);
        assert_eq!(text.matches("expr: ").count(), 41);
        assert_eq!(text.matches("interval: 5s").count(), 3);
        assert!(text.contains("10.1.0.1:9100"), "the second instance");
        assert!(!text.contains("10.1.0.2:9100"), "there are two");
        assert!(parse(&words("--servers victoria")).is_err());
        Ok(())
    }

    #[test]
    fn counters_are_summed_over_their_series() {
        let text = "# TYPE x_rule_evaluations_total counter\n\
                    x_rule_evaluations_total{group=\"a b\"} 3\nx_rule_evaluations_total 4\nother 9\n";
        assert!((sum(text, "rule_evaluations_total") - 7.0).abs() < f64::EPSILON);
    }
}
