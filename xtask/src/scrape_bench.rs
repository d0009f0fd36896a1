//! `bench scrape`: many targets on one core; `bench agent`: what an agent costs the machine that it
//! measures.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{
    measured::{self, Pins, Server},
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
  --no-build            take the release programs as they are";

struct Plan {
    targets: usize,
    series: usize,
    interval_s: u64,
    seconds: u64,
    pins: Pins,
    build: bool,
}

fn parse(arguments: &[String]) -> Result<Option<Plan>> {
    let mut plan = Plan {
        targets: 5_000,
        series: 500,
        interval_s: 15,
        seconds: 120,
        pins: Pins::default(),
        build: true,
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            let value = words.next().map(String::as_str);
            value.with_context(|| format!("{word} needs a value"))
        };
        match word.as_str() {
            "help" => {
                println!("{HELP}");
                return Ok(None);
            }
            "--targets" => plan.targets = value()?.parse()?,
            "--series" => plan.series = value()?.parse()?,
            "--interval-s" => plan.interval_s = value()?.parse()?,
            "--seconds" => plan.seconds = value()?.parse()?,
            "--cores" => plan.pins.set_cores(value()?)?,
            "--no-build" => plan.build = false,
            other => bail!("{other:?} is not a flag of this bench\n\n{HELP}"),
        }
    }
    measured::is_possible()?;
    if plan.build {
        measured::build()?;
    }
    Ok(Some(plan))
}

fn folder(name: &str) -> Result<PathBuf> {
    let folder = shell::target().join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// What a process used in so many seconds.
fn watch(plan: &Plan, pid: u32) -> Result<Value> {
    let mut watch = plan.pins.client(&measured::program("scrape_targets"));
    watch.args(["watch", "--pid", &pid.to_string()]);
    watch.args(["--seconds", &plan.seconds.to_string()]);
    Ok(serde_json::from_str(&shell::output(&mut watch)?)?)
}

fn number(of: &Value, name: &str) -> f64 {
    of[name].as_f64().unwrap_or(f64::NAN)
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
    let Some(plan) = parse(arguments)? else {
        return Ok(());
    };
    let folder = folder("bench-scrape")?;
    let mut serve = plan.pins.client(&measured::program("scrape_targets"));
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
    let address = free_address()?;
    let mut command = plan.pins.server(&measured::program("pulseboard"));
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
        number(&used, "core_used") * 100.0,
        number(&used, "largest_resident_bytes") / 1e6,
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
    let Some(plan) = parse(arguments)? else {
        return Ok(());
    };
    let folder = folder("bench-agent")?;
    let address = free_address()?;
    let program = measured::program("pulseboard");
    let mut hub = plan.pins.client(&program);
    hub.args(["--bind", &address, "--source", "none", "--data-dir"])
        .arg(folder.join("hub"))
        .env("RUST_LOG", "warn");
    let hub = Server::start(hub, &address, &folder.join("hub.log"))?;
    let mut agent = plan.pins.server(&program);
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
        number(&used, "core_used") * 100.0,
        number(&used, "resident_bytes") / 1e6,
        number(&used, "largest_resident_bytes") / 1e6,
    );
    drop((agent, hub));
    Ok(())
}
