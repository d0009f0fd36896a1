//! `bench live`: what a thousand live expressions cost, over samples that come in each second; an
//! older commit beside it in the same run where one is named.
//!
//! The program that sends and watches is `bench/src/bin/live_client.rs`.

use std::{fs, net::TcpListener, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
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
    panels: String,
    series: String,
    seconds: String,
    is_built: bool,
}

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    if arguments.iter().any(|word| word == "help") {
        println!("{HELP}");
        return Ok(());
    }
    let plan = parse(arguments)?;
    if !cfg!(target_os = "linux") {
        bail!("this bench reads /proc: it runs on Linux only");
    }
    let mut servers = Vec::new();
    if let Some(revision) = &plan.against {
        servers.push((revision.clone(), revision::server(revision, true)?));
    }
    if !plan.is_built {
        measured::build()?;
    }
    servers.push(("this one".to_owned(), shell::server_binary()));
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
        panels: "1000".to_owned(),
        series: "10000".to_owned(),
        seconds: "20".to_owned(),
        is_built: false,
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            let value = words.next().cloned();
            value.with_context(|| format!("{word} needs a value"))
        };
        match word.as_str() {
            "--against" => plan.against = Some(value()?),
            "--expressions" => plan.expressions = value()?.split(';').map(str::to_owned).collect(),
            "--panels" => plan.panels = value()?,
            "--series" => plan.series = value()?,
            "--seconds" => plan.seconds = value()?,
            "--no-build" => plan.is_built = true,
            other => bail!("{other:?} is not a flag of this bench\n\n{HELP}"),
        }
    }
    Ok(plan)
}

fn measure(plan: &Plan, expression: &str, program: &Path) -> Result<Value> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let folder = shell::target().join("live");
    fs::create_dir_all(&folder)?;
    let mut command = shell::command(program);
    command
        .current_dir(&folder)
        .env("RUST_LOG", "error")
        .args(["--bind", &address, "--source", "none"])
        .args(["--data-dir", "memory"]);
    let mut server = Server::start(command, &address, &folder.join("server.log"))?;
    let mut client = shell::command(measured::program("live_client"));
    client
        .args(["--address", &address, "--expression", expression])
        .args(["--pid", &server.id().to_string()])
        .args(["--panels", &plan.panels, "--series", &plan.series])
        .args(["--seconds", &plan.seconds]);
    let report = shell::output(&mut client);
    server.stop()?;
    serde_json::from_str(&report?).context("the client's report")
}
