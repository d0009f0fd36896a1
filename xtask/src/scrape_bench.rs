//! `bench scrape`: many targets on one core; `bench agent`: what an agent costs the machine that it
//! measures.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    flags::{self, Flags},
    measured::{self, Server, Setup, number},
    shell,
};

const HELP: &str = "\
cargo xtask bench scrape [FLAGS]    targets of a prometheus.yml, scraped on one core
cargo xtask bench agent [FLAGS]     an agent beside its hub, at one moment a second

  --targets N           targets                          (5000)
  --series N            series of each                   (500)
  --interval-s N        time between two scrapes         (15)
  --seconds N           measured, after two intervals    (120)
  --cores S,C           of the server, and of the rest   (0,1)
  --priority            run all with nice -n -15, which needs the right to; for a shared machine
  --no-build            take the release programs as they are";

struct Plan {
    targets: usize,
    series: usize,
    interval_s: u64,
    seconds: u64,
    setup: Setup,
}

/// What the flags say, with all that is measured built; `None` where they asked for help.
fn plan(arguments: &[String]) -> Result<Option<Plan>> {
    if flags::is_help(arguments, HELP) {
        return Ok(None);
    }
    let plan = parse(arguments)?;
    plan.setup.prepare()?;
    Ok(Some(plan))
}

fn parse(arguments: &[String]) -> Result<Plan> {
    let mut plan = Plan {
        targets: 5_000,
        series: 500,
        interval_s: 15,
        seconds: 120,
        setup: Setup::default(),
    };
    let mut flags = Flags::new(arguments, HELP);
    while let Some(flag) = flags.flag() {
        match flag {
            "--targets" => plan.targets = flags.count()?,
            "--series" => plan.series = flags.count()?,
            "--interval-s" => plan.interval_s = flags.count()?,
            "--seconds" => plan.seconds = flags.count()?,
            other => plan.setup.take(other, &mut flags)?,
        }
    }
    Ok(plan)
}

/// What a process used in so many seconds.
fn watch(plan: &Plan, pid: u32) -> Result<Value> {
    let mut watch = plan.setup.pins.client(&measured::program("scrape_targets"));
    watch.args(["watch", "--pid", &pid.to_string()]);
    watch.args(["--seconds", &plan.seconds.to_string()]);
    measured::report(&mut watch)
}

/// The one value of an expression.
fn ask(address: &str, query: &str) -> Result<String> {
    let mut curl = shell::command("curl");
    curl.args(["--silent", "--get", "--data-urlencode"]);
    curl.arg(format!("query={query}"));
    let said = shell::output(curl.arg(format!("http://{address}/api/v1/query")))?;
    let answer: Value = serde_json::from_str(&said)?;
    let value = answer["data"]["result"][0]["value"][1].as_str();
    Ok(value.unwrap_or("none").to_owned())
}

/// Scrapes many targets.
pub(crate) fn scrape(arguments: &[String]) -> Result<()> {
    let Some(plan) = plan(arguments)? else {
        return Ok(());
    };
    let folder = measured::fresh_folder("bench-scrape")?;
    let mut serve = plan.setup.pins.client(&measured::program("scrape_targets"));
    serve.args(["serve", "--series", &plan.series.to_string()]);
    let mut targets = serve.stdout(Stdio::piped()).spawn()?;
    let measured = (|| {
        let out = targets.stdout.take().context("its output")?;
        let mut port = String::new();
        BufReader::new(out).read_line(&mut port)?;
        measure(&plan, &folder, port.trim())
    })();
    targets.kill()?;
    targets.wait()?;
    measured
}

fn measure(plan: &Plan, folder: &Path, port: &str) -> Result<()> {
    let groups: Vec<Value> = (0..plan.targets)
        .map(|number| {
            json!({
                "targets": [format!("127.0.0.1:{port}")],
                "labels": {
                    "__metrics_path__": format!("/t/{number}"),
                    "instance": format!("host-{number}"),
                },
            })
        })
        .collect();
    serde_json::to_writer(File::create(folder.join("targets.json"))?, &groups)?;
    let file = folder.join("prometheus.yml");
    fs::write(
        &file,
        format!(
            "global: {{scrape_interval: {0}s, scrape_timeout: {0}s}}\nscrape_configs: [{{job_name: app, file_sd_configs: [{{files: [targets.json]}}]}}]\n",
            plan.interval_s
        ),
    )?;
    let address = measured::free_address()?;
    let mut command = plan.setup.pins.server(&shell::server_binary());
    command
        .args(["--bind", &address, "--source", "none", "--data-dir"])
        .arg(folder.join("data"))
        .args(["--max-series", "10000000"])
        .arg("--prometheus-config")
        .arg(&file)
        .env("RUST_LOG", "warn");
    let server = Server::start(command, &address, &folder.join("server.log"))?;
    thread::sleep(Duration::from_secs(2 * plan.interval_s));
    let used = watch(plan, server.id())?;
    let rounds = plan.seconds / plan.interval_s;
    let span = format!("{}s", rounds * plan.interval_s);
    println!(
        "| targets | series each | every s | core used | resident MB | up | scrapes that are missing | duration p50 / p99 / max s | samples/s |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let up = ask(&address, "sum(up)")?;
    let scrapes = ask(&address, &format!("sum(count_over_time(up[{span}]))"))?;
    let scrapes: f64 = scrapes.parse().unwrap_or(0.0);
    let wanted = rounds as f64 * plan.targets as f64;
    let duration = |of: &str| ask(&address, &format!("{of}scrape_duration_seconds)"));
    println!(
        "| {} | {} | {} | {:.0} % | {:.0} | {up} | {:.0} | {} / {} / {} | {:.0} |",
        plan.targets,
        plan.series,
        plan.interval_s,
        number(&used, "/core_used") * 100.0,
        number(&used, "/largest_resident_bytes") / 1e6,
        wanted - scrapes,
        duration("quantile(0.5, ")?,
        duration("quantile(0.99, ")?,
        duration("max(")?,
        (plan.targets * plan.series) as f64 / plan.interval_s as f64,
    );
    Ok(())
}

/// Measures an agent.
pub(crate) fn agent(arguments: &[String]) -> Result<()> {
    let Some(plan) = plan(arguments)? else {
        return Ok(());
    };
    let folder = measured::fresh_folder("bench-agent")?;
    let address = measured::free_address()?;
    let program = shell::server_binary();
    let mut hub = plan.setup.pins.client(&program);
    hub.args(["--bind", &address, "--source", "none", "--data-dir"])
        .arg(folder.join("hub"))
        .env("RUST_LOG", "warn");
    let hub = Server::start(hub, &address, &folder.join("hub.log"))?;
    let mut agent = plan.setup.pins.server(&program);
    agent
        .args(["agent", "--to", &format!("http://{address}")])
        .args(["--instance", "bench", "--data-dir"])
        .arg(folder.join("agent"));
    // It listens nowhere: what it sends to does.
    let agent = Server::start(agent, &address, &folder.join("agent.log"))?;
    thread::sleep(Duration::from_secs(10));
    let used = watch(&plan, agent.id())?;
    let series = ask(&address, "count({instance=\"bench\"})")?;
    let moments = ask(&address, "pulseboard_agent_moments_waiting")?;
    println!("| series | core used | resident MB, at the end / at most | moments that wait |");
    println!("|---:|---:|---:|---:|");
    println!(
        "| {series} | {:.2} % | {:.1} / {:.1} | {moments} |",
        number(&used, "/core_used") * 100.0,
        number(&used, "/resident_bytes") / 1e6,
        number(&used, "/largest_resident_bytes") / 1e6,
    );
    drop((agent, hub));
    Ok(())
}
