//! `bench cluster`: what it costs that several servers are one. A frame that is said at one server
//! and heard at another, streams that are opened, samples, and the time of servers and Redis, each
//! beside one server without Redis.
//!
//! The program that speaks and listens is `bench/src/bin/cluster_client.rs`.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    cluster::Programs,
    flags::{self, Flags},
    measured::{self, Server, Setup, number},
    shell,
};

const HELP: &str = "\
cargo xtask bench cluster [FLAGS]

  --servers N           of the cluster (2); frames are said at the first and heard at the last
  --rate N              frames a second (1000)
  --bytes N             of a frame (400)
  --members N           who hear each of them (8)
  --series N            that are pushed (10000)
  --seconds N           of each part (10)
  --cores S,C           of servers and Redis, and of the client (0,1)
  --priority            run all with nice -n -15, which needs the right to; for a shared machine
  --no-build            take the release programs as they are";

/// How long servers may need to find each other.
const JOINED_WITHIN: Duration = Duration::from_secs(20);

struct Plan {
    servers: usize,
    rate: u64,
    bytes: usize,
    members: usize,
    series: usize,
    seconds: f64,
    setup: Setup,
}

fn parse(arguments: &[String]) -> Result<Plan> {
    let mut plan = Plan {
        servers: 2,
        rate: 1_000,
        bytes: 400,
        members: 8,
        series: 10_000,
        seconds: 10.0,
        setup: Setup::default(),
    };
    let mut flags = Flags::new(arguments, HELP);
    while let Some(flag) = flags.flag() {
        match flag {
            "--servers" => plan.servers = flags.count()?,
            "--rate" => plan.rate = flags.count()?,
            "--bytes" => plan.bytes = flags.count()?,
            "--members" => plan.members = flags.count()?,
            "--series" => plan.series = flags.count()?,
            "--seconds" => plan.seconds = flags.count()?,
            other => plan.setup.take(other, &mut flags)?,
        }
    }
    Ok(plan)
}

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    if flags::is_help(arguments, HELP) {
        return Ok(());
    }
    let plan = parse(arguments)?;
    plan.setup.prepare()?;
    let redis = Programs::redis_server().context("there is no Redis to measure with")?;
    let folder = measured::fresh_folder("bench-cluster")?;
    let alone = measure(&plan, None, 1, &folder.join("alone"))?;
    let several = measure(&plan, Some(&redis), plan.servers, &folder.join("several"))?;
    tell(
        &plan,
        &[
            ("one server".to_owned(), &alone),
            (format!("{} servers and Redis", plan.servers), &several),
        ],
    );
    Ok(())
}

/// A Redis that is measured; it ends with this.
struct Redis {
    child: Child,
    address: String,
}

impl Redis {
    fn start(plan: &Plan, program: &Path, folder: &Path) -> Result<Self> {
        let address = measured::free_address()?;
        let port = address.rsplit(':').next().context("a port")?;
        let mut command = plan.setup.pins.server(program);
        command.args(["--bind", "127.0.0.1", "--save", "", "--port", port, "--dir"]);
        command
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = command
            .spawn()
            .context("redis-server could not be started")?;
        let redis = Self { child, address };
        let until = Instant::now() + JOINED_WITHIN;
        while std::net::TcpStream::connect(&redis.address).is_err() {
            if Instant::now() > until {
                bail!("redis-server does not listen");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(redis)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // What it holds is not looked at again.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn measure(plan: &Plan, redis: Option<&Path>, count: usize, folder: &Path) -> Result<Value> {
    fs::create_dir_all(folder)?;
    let redis = redis
        .map(|program| Redis::start(plan, program, folder))
        .transpose()?;
    let mut servers = Vec::new();
    for number in 1..=count {
        let address = measured::free_address()?;
        let name = format!("server-{number}");
        let own = folder.join(&name);
        fs::create_dir_all(&own)?;
        let mut command = plan.setup.pins.server(&shell::server_binary());
        command
            .current_dir(&own)
            .env("RUST_LOG", "error")
            .env("NODE_METRICS", "off")
            .args(["--bind", &address, "--instance", &name, "--data-dir"])
            .arg(own.join("data"));
        if let Some(redis) = &redis {
            command.args(["--redis", &format!("redis://{}", redis.address)]);
        }
        let server = Server::start(command, &address, &own.join("server.log"))?;
        servers.push((name, address, server));
    }
    for (_, address, _) in &servers {
        is_joined(address, redis.is_some().then_some(count))?;
    }
    let mut processes: Vec<String> = servers
        .iter()
        .map(|(name, _, server)| format!("{name}={}", server.id()))
        .collect();
    let (first, last) = match &servers[..] {
        [(_, first, _), .., (_, last, _)] => (first, last),
        [(_, only, _)] => (only, only),
        [] => bail!("no server is measured"),
    };
    let mut client = plan.setup.pins.client(&measured::program("cluster_client"));
    client.args(["--said-at", first, "--heard-at", last]);
    if let Some(redis) = &redis {
        client.args(["--redis", &redis.address]);
        processes.push(format!("redis={}", redis.child.id()));
    }
    told(plan, &mut client, &processes);
    let report = measured::report(&mut client);
    for (_, _, server) in &mut servers {
        server.stop()?;
    }
    report
}

fn told(plan: &Plan, client: &mut Command, processes: &[String]) {
    let numbers = [
        ("--rate", plan.rate.to_string()),
        ("--bytes", plan.bytes.to_string()),
        ("--members", plan.members.to_string()),
        ("--series", plan.series.to_string()),
        ("--seconds", plan.seconds.to_string()),
        ("--processes", processes.join(",")),
    ];
    for (flag, number) in numbers {
        client.args([flag, &number]);
    }
}

/// Waits until a server is ready, and is one of so many where it has others.
fn is_joined(address: &str, count: Option<usize>) -> Result<()> {
    let until = Instant::now() + JOINED_WITHIN;
    loop {
        let mut ask = shell::command("curl");
        let said = shell::output(ask.args(["--silent", &format!("http://{address}/readyz")]));
        let ready: Value = serde_json::from_str(&said.unwrap_or_default()).unwrap_or_default();
        let members = ready["cluster"]["members"].as_u64();
        let is_whole = members == count.map(|count| count as u64);
        if ready["ready"] == true && is_whole {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("{address} is not ready: {ready}");
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// A line a figure, a column a service.
fn tell(plan: &Plan, measured: &[(String, &Value)]) {
    let row = |name: &str, of: &dyn Fn(&Value) -> String| {
        let figures: Vec<String> = measured.iter().map(|(_, report)| of(report)).collect();
        println!("| {name} | {} |", figures.join(" | "));
    };
    let names: Vec<&str> = measured.iter().map(|(name, _)| name.as_str()).collect();
    println!("\n| | {} |", names.join(" | "));
    println!("|---|{}", "---:|".repeat(names.len()));
    let quantiles = |report: &Value, of: &str| {
        let ms = |quantile: &str| number(report, &format!("{of}/{quantile}_us")) / 1_000.0;
        format!("{:.2} / {:.2} / {:.2}", ms("p50"), ms("p99"), ms("max"))
    };
    let cores = |report: &Value, of: &str| {
        let all = report
            .pointer(&format!("{of}/cores"))
            .and_then(Value::as_object);
        let each = all.into_iter().flatten();
        let each =
            each.map(|(name, cores)| format!("{name} {:.3}", cores.as_f64().unwrap_or(f64::NAN)));
        each.collect::<Vec<_>>().join(", ")
    };
    let frames = format!(
        "frame of {} B at {}/s to {} members: p50 / p99 / max ms",
        plan.bytes, plan.rate, plan.members
    );
    row(&frames, &|report| quantiles(report, "/frames/late"));
    row("… heard", &|report| {
        format!("{:.0}", number(report, "/frames/heard"))
    });
    row("… cores", &|report| cores(report, "/frames"));
    for (name, of) in [
        ("streams of ticks opened a second", "/opens/ticks"),
        ("new rooms joined a second", "/opens/rooms"),
    ] {
        row(name, &|report| {
            format!("{:.0}", number(report, &format!("{of}/a_second")))
        });
        row("… took p50 / p99 / max ms", &|report| {
            quantiles(report, &format!("{of}/took"))
        });
        row("… cores", &|report| cores(report, of));
    }
    row("samples pushed a second", &|report| {
        format!("{:.0}", number(report, "/samples/a_second"))
    });
    row("… cores", &|report| cores(report, "/samples"));
    row("… bytes to Redis a sample", &|report| {
        format!("{:.2}", number(report, "/samples/bytes_a_sample"))
    });
    row("bytes to Redis a second, idle", &|report| {
        format!("{:.0}", number(report, "/samples/idle_bytes_a_second"))
    });
}
