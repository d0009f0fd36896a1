//! `bench live`: what a thousand live expressions cost, over samples that come in each second; an
//! older commit beside it in the same run where one is named.
//!
//! The program that sends and watches is `bench/src/bin/live_client.rs`.

use std::{fs, path::Path};

use anyhow::Result;
use serde_json::Value;

use crate::{
    flags::{self, Flags},
    measured::{self, Server},
    revision, shell,
};

const HELP: &str = "\
cargo xtask bench live [FLAGS]

  --against REVISION    an older commit that is measured first
  --expressions A;B     what each panel watches, $N being its number
  --panels N            (1000)
  --series N            (10000), in equal shares for the panels
  --seconds N           of each measurement (20)
  --no-build            take the release programs as they are";

/// Forms that dashboards are full of.
const EXPRESSIONS: &[&str] = &[
    "sum(rate(live_load_total{panel=\"$N\"}[1m]))",
    "live_load_total{panel=\"$N\"}",
    "max_over_time(live_load_total{panel=\"$N\"}[5m])",
];

struct Plan {
    against: Option<String>,
    expressions: Vec<String>,
    panels: usize,
    series: usize,
    seconds: f64,
    builds: bool,
}

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    if flags::is_help(arguments, HELP) {
        return Ok(());
    }
    let plan = parse(arguments)?;
    measured::is_linux()?;
    let servers = revision::beside(plan.against.as_deref(), plan.builds)?;
    if plan.builds {
        measured::build()?;
    }
    println!(
        "\n| expression | server | cores without | cores with | values a second | late p50 / p99 / \
         max ms | failed | RSS MB |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|");
    for expression in &plan.expressions {
        for (name, program) in &servers {
            let report = measure(&plan, expression, program)?;
            let cores = |name: &str| report[name].as_f64().unwrap_or_default();
            let millis = |name: &str| report["late"][name].as_f64().unwrap_or_default() / 1_000.0;
            println!(
                "| `{expression}` | {name} | {:.3} | {:.3} | {:.0} | {:.0} / {:.0} / {:.0} | {} | {} |",
                cores("cores_without"),
                cores("cores_with"),
                cores("values_a_second"),
                millis("p50_us"),
                millis("p99_us"),
                millis("max_us"),
                report["failed"],
                report["rss_bytes"].as_u64().unwrap_or_default() >> 20,
            );
        }
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Plan> {
    let mut plan = Plan {
        against: None,
        expressions: EXPRESSIONS.iter().map(|&one| one.to_owned()).collect(),
        panels: 1_000,
        series: 10_000,
        seconds: 20.0,
        builds: true,
    };
    let mut flags = Flags::new(arguments, HELP);
    while let Some(flag) = flags.flag() {
        match flag {
            "--against" => plan.against = Some(flags.value()?.to_owned()),
            "--expressions" => {
                plan.expressions = flags.value()?.split(';').map(str::to_owned).collect();
            }
            "--panels" => plan.panels = flags.count()?,
            "--series" => plan.series = flags.count()?,
            "--seconds" => plan.seconds = flags.count()?,
            "--no-build" => plan.builds = false,
            _ => flags.refuse()?,
        }
    }
    Ok(plan)
}

fn measure(plan: &Plan, expression: &str, program: &Path) -> Result<Value> {
    let address = measured::free_address()?;
    let folder = shell::target().join("live");
    fs::create_dir_all(&folder)?;
    let mut command = shell::command(program);
    command
        .current_dir(&folder)
        .env("RUST_LOG", "error")
        .args(["--bind", &address, "--source", "none"])
        .args(["--data-dir", "memory"]);
    let mut server = Server::start(command, &address, &folder.join("server.log"))?;
    let mut client = server.aimed_at(shell::command(measured::program("live_client")));
    client
        .args(["--expression", expression])
        .args(["--panels", &plan.panels.to_string()])
        .args(["--series", &plan.series.to_string()])
        .args(["--seconds", &plan.seconds.to_string()]);
    let report = measured::report(&mut client);
    server.stop()?;
    report
}
