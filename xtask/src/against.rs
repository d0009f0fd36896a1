//! `bench against`: what a delivery and a sample cost this server beside an older revision, round
//! by round in one run. The older one is checked out into a work tree of git below `target` and
//! built there once.
//!
//! In each round the two are measured one after the other, and the one that comes first changes
//! from round to round; a round's ratio is what counts, so that what else the machine does hits
//! both. The table has the middle ratio and the least and greatest.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    flags::{self, Flags},
    measured::{self, Server, Setup},
    revision, shell,
};

const HELP: &str = "\
cargo xtask bench against [FLAGS]

  --against REV         the revision to measure beside this tree        (32b1cfb)
  --rounds N            how often each is measured                      (7)
  --seconds S           of frames, for each measurement                 (4)
  --viewers N           how many watch, at 20 frames a second           (2000)
  --samples N           of ingest, for each measurement                 (1500000)
  --series N,M          series in the bodies of 500                     (1000,100000)
  --cores S,C           of the server and of the client                 (0,1)
  --skip LIST           of fan-out, ingest: parts to leave out
  --priority            run both with nice -n -15, which needs the right to; for a shared machine
  --no-build            take the release programs as they are";

/// The server as it was before it had layers.
const AGAINST: &str = "32b1cfb";

/// Frames a second.
const RATE: u32 = 20;

/// Forms of bodies as the client names them, and where they are sent.
const FORMS: [(&str, &str); 3] = [
    ("prometheus", "/push"),
    ("influx", "/write"),
    ("remote", "/api/v1/write"),
];

/// What is measured, and may be left out.
const PARTS: [&str; 2] = ["fan-out", "ingest"];

struct Plan {
    against: String,
    rounds: usize,
    seconds: f64,
    viewers: usize,
    samples: usize,
    series: Vec<usize>,
    setup: Setup,
    skip: Vec<String>,
}

/// One line of the tables: how a server is started and loaded, and which figure of the client's
/// report counts.
struct Setting {
    name: String,
    server: fn(&mut Command, &Path),
    client: &'static str,
    flags: Vec<String>,
    figure: &'static str,
}

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    if flags::is_help(arguments, HELP) {
        return Ok(());
    }
    let plan = parse(arguments)?;
    plan.setup.prepare()?;
    let before = revision::server(&plan.against, plan.setup.builds)?;
    let servers = [before, shell::server_binary()];
    println!(
        "\n| what | {} | this tree | ratio | least to greatest |",
        plan.against
    );
    println!("|---|---:|---:|---:|---:|");
    for setting in settings(&plan) {
        compare(&plan, &servers, &setting)?;
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Plan> {
    let mut plan = Plan {
        against: AGAINST.to_owned(),
        rounds: 7,
        seconds: 4.0,
        viewers: 2_000,
        samples: 1_500_000,
        series: vec![1_000, 100_000],
        setup: Setup::default(),
        skip: Vec::new(),
    };
    let mut flags = Flags::new(arguments, HELP);
    while let Some(flag) = flags.flag() {
        match flag {
            "--against" => plan.against = flags.value()?.to_owned(),
            "--rounds" => plan.rounds = flags.count()?,
            "--seconds" => plan.seconds = flags.count()?,
            "--viewers" => plan.viewers = flags.count()?,
            "--samples" => plan.samples = flags.count()?,
            "--series" => plan.series = flags.counts()?,
            "--skip" => plan.skip = flags.some_of(&PARTS)?,
            other => plan.setup.take(other, &mut flags)?,
        }
    }
    Ok(plan)
}

fn settings(plan: &Plan) -> Vec<Setting> {
    let wanted = |part: &str| !plan.skip.iter().any(|skipped| skipped == part);
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let mut settings = Vec::new();
    for (transport, path) in [("ws", "/ws/metrics"), ("sse", "/events/metrics")] {
        if !wanted("fan-out") {
            break;
        }
        let (viewers, seconds) = (plan.viewers.to_string(), plan.seconds.to_string());
        settings.push(Setting {
            name: format!("µs CPU per delivery, {transport}"),
            server: |command, _| {
                let interval_ms = (1_000 / RATE).to_string();
                command
                    .env("MAX_CONNECTIONS", "15000")
                    .args(["--source", "simulator", "--data-dir", "memory"])
                    .args(["--metric-interval-ms", &interval_ms]);
            },
            client: "fan_out_client",
            flags: words(&[
                "--path",
                path,
                "--transport",
                transport,
                "--viewers",
                &viewers,
                "--frozen",
                "0",
                "--seconds",
                &seconds,
            ]),
            figure: "/server_cpu_us_per_delivery",
        });
    }
    for series in &plan.series {
        for (form, path) in FORMS {
            if !wanted("ingest") {
                break;
            }
            let samples = plan.samples.max(2 * series).to_string();
            settings.push(Setting {
                name: format!("ns CPU per sample, {form}, {series} series"),
                server: |command, folder| {
                    command
                        .env("DURABILITY", "fsync")
                        .env("MAX_SERIES", "2000000")
                        .args(["--source", "none", "--data-dir"])
                        .arg(folder);
                },
                client: "ingest_client",
                flags: words(&[
                    "load",
                    "--form",
                    form,
                    "--path",
                    path,
                    "--series",
                    &series.to_string(),
                    "--samples",
                    &samples,
                ]),
                figure: "/cpu_ns_per_sample",
            });
        }
    }
    settings
}

/// Measures both in turn, and prints the line.
fn compare(plan: &Plan, servers: &[PathBuf; 2], setting: &Setting) -> Result<()> {
    let mut figures = [Vec::new(), Vec::new()];
    for round in 0..plan.rounds {
        for turn in 0..2 {
            let which = (round + turn) % 2;
            figures[which].push(measure(plan, &servers[which], setting)?);
        }
    }
    let [before, after] = &figures;
    let ratios: Vec<f64> = before
        .iter()
        .zip(after)
        .map(|(before, after)| after / before)
        .collect();
    let middle = |values: &[f64]| measured::median(values.iter().copied());
    let mut ends = ratios.clone();
    ends.sort_by(f64::total_cmp);
    println!(
        "| {} | {:.2} | {:.2} | {:.3} | {:.2} to {:.2} |",
        setting.name,
        middle(before),
        middle(after),
        middle(&ratios),
        ends[0],
        ends[ends.len() - 1],
    );
    Ok(())
}

/// One figure of one server, started for this alone.
fn measure(plan: &Plan, program: &Path, setting: &Setting) -> Result<f64> {
    let data = measured::fresh_folder("against/data")?;
    let folder = shell::target().join("against");
    let address = measured::free_address()?;
    let mut command = plan.setup.pins.server(program);
    command
        .env("RUST_LOG", "warn")
        .current_dir(&folder)
        .args(["--bind", &address]);
    (setting.server)(&mut command, &data);
    let mut server = Server::start(command, &address, &folder.join("server.log"))?;
    let client = plan.setup.pins.client(&measured::program(setting.client));
    let report = measured::report(server.aimed_at(client).args(&setting.flags));
    server.stop()?;
    let figure = report?.pointer(setting.figure).and_then(Value::as_f64);
    figure.with_context(|| format!("the load client's report has no {}", setting.figure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::words;

    #[test]
    fn flags_are_read_and_parts_left_out() {
        let plan = parse(&words("--rounds 3 --series 7 --skip fan-out --no-build"));
        let plan = plan.expect("these are flags");
        assert_eq!((plan.rounds, plan.setup.builds), (3, false));
        let names: Vec<String> = settings(&plan).into_iter().map(|one| one.name).collect();
        assert_eq!(names.len(), FORMS.len());
        assert!(names.iter().all(|name| name.ends_with("7 series")));
        assert!(parse(&words("--rounds 0")).is_err());
        assert!(parse(&words("--servers node")).is_err());
    }
}
