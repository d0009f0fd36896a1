//! `bench fan-out`: what one delivery costs this server, beside its peers, in one run.
//!
//! Each server in turn is pinned to one core and the load client to another. For every setting
//! all servers are measured one after the other, round by round, so that what else the machine
//! does hits them alike; the table gives the median of the rounds, and ratios to the floor. A
//! peer that cannot be had is left out, and the reason is said.

mod peers;
mod setting;

use std::{collections::BTreeMap, fs, thread, time::Duration};

use anyhow::Result;
use serde_json::Value;

use crate::{
    flags::{self, Flags, Named},
    measured::{self, Server, Setup},
    shell,
};
use peers::Peer;
use setting::{PAYLOAD_BYTES, Setting, WINDOW};

/// Bytes of the large frames that some viewers never read.
const LARGE_BYTES: usize = 60_000;
/// Who watches them, and how many of those never read.
const LARGE_VIEWERS: (usize, usize) = (120, 20);
/// How often ticks come while a window fills, in milliseconds.
const FILLING_INTERVAL_MS: u32 = 250;

/// What is measured, and may be left out.
const PARTS: [&str; 3] = ["frames", "opening", "frozen"];
const TRANSPORTS: [&str; 2] = ["ws", "sse"];

const HELP: &str = "\
cargo xtask bench fan-out [FLAGS]

  --quick               1 000 and 5 000 viewers, a few seconds each, one round
  --servers A,B         of floor, pulseboard, nchan, node        (all that can be had)
  --transports A,B      of ws, sse                               (both)
  --viewers N,M         how many watch                           (1000,5000,10000)
  --rates R,S           frames a second                          (1,20)
  --seconds S           how long each is measured                (6; --quick: 4)
  --rounds N            how often each is measured               (3; --quick: 1)
  --cores S,C           of the server and of the client          (0,1)
  --skip LIST           of frames, opening, frozen: parts to leave out
  --hold S              and hold the most viewers for S seconds, to see whether memory stays flat
  --priority            run both with nice -n -15, which needs the right to; for a shared machine
  --no-build            take the release programs as they are";

struct Plan {
    servers: Vec<Peer>,
    transports: Vec<String>,
    viewers: Vec<usize>,
    rates: Vec<u32>,
    seconds: f64,
    rounds: usize,
    setup: Setup,
    skip: Vec<String>,
    hold_seconds: Option<f64>,
}

type Reports = BTreeMap<Peer, Vec<Value>>;

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    if flags::is_help(arguments, HELP) {
        return Ok(());
    }
    let mut plan = parse(arguments)?;
    plan.setup.prepare()?;
    plan.servers.retain(|peer| match peer.prepare() {
        Ok(()) => true,
        Err(error) => {
            println!("leaving {} out: {error:#}", peer.name());
            false
        }
    });
    let wanted = |part: &str| !plan.skip.iter().any(|skipped| skipped == part);
    if wanted("frames") {
        measure_frames(&plan)?;
    }
    if wanted("opening") {
        measure_opening(&plan)?;
    }
    if wanted("frozen") {
        measure_frozen(&plan);
        measure_frozen_large(&plan);
    }
    if let Some(seconds) = plan.hold_seconds {
        hold(&plan, seconds);
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Plan> {
    let quick = arguments.iter().any(|word| word == "--quick");
    let mut plan = Plan {
        servers: Peer::ALL.iter().map(|(peer, _)| *peer).collect(),
        transports: TRANSPORTS.map(str::to_owned).to_vec(),
        viewers: if quick {
            vec![1_000, 5_000]
        } else {
            vec![1_000, 5_000, 10_000]
        },
        rates: vec![1, 20],
        seconds: if quick { 4.0 } else { 6.0 },
        rounds: if quick { 1 } else { 3 },
        setup: Setup::default(),
        skip: Vec::new(),
        hold_seconds: None,
    };
    let mut flags = Flags::new(arguments, HELP);
    while let Some(flag) = flags.flag() {
        match flag {
            "--quick" => {}
            "--servers" => plan.servers = flags.named()?,
            "--transports" => plan.transports = flags.some_of(&TRANSPORTS)?,
            "--viewers" => plan.viewers = flags.counts()?,
            "--rates" => plan.rates = flags.counts()?,
            "--seconds" => plan.seconds = flags.count()?,
            "--rounds" => plan.rounds = flags.count()?,
            "--hold" => plan.hold_seconds = Some(flags.count()?),
            "--skip" => plan.skip = flags.some_of(&PARTS)?,
            other => plan.setup.take(other, &mut flags)?,
        }
    }
    Ok(plan)
}

/// CPU per delivery, latency and memory.
fn measure_frames(plan: &Plan) -> Result<()> {
    for transport in &plan.transports {
        println!("\n## Frames over {transport}\n");
        println!(
            "| viewers | frames/s | server | µs CPU per delivery | × floor | core used | delivered \
             | latency p50 / p99 ms | spread p50 / p99 ms | bytes per frame | KB per idle viewer |"
        );
        println!("|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|");
        for viewers in &plan.viewers {
            for rate in &plan.rates {
                let setting = Setting::new(transport, *viewers, *rate, plan.seconds);
                let reports = measure(plan, &plan.servers, &setting);
                let floor = reports
                    .get(&Peer::Floor)
                    .map(|reports| median(reports, "/server_cpu_us_per_delivery"));
                for (peer, reports) in &reports {
                    let of = |pointer| median(reports, pointer);
                    let cpu = of("/server_cpu_us_per_delivery");
                    println!(
                        "| {viewers} | {rate} | {} | {cpu:.2} | {} | {:.0} % | {:.1} % | {} / {} \
                         | {} / {} | {:.0} | {:.1} |",
                        peer.name(),
                        floor.map_or("–".to_owned(), |floor| format!("{:.2}", cpu / floor)),
                        of("/server_cpu_share") * 100.0,
                        of("/delivered_share") * 100.0,
                        millis(of("/latency/p50_us")),
                        millis(of("/latency/p99_us")),
                        millis(of("/spread/p50_us")),
                        millis(of("/spread/p99_us")),
                        of("/bytes_per_delivery"),
                        of("/idle_bytes_per_viewer") / 1024.0,
                    );
                }
            }
        }
    }
    Ok(())
}

/// What opening a viewer costs; with Pulseboard it gets a whole window, elsewhere nothing.
fn measure_opening(plan: &Plan) -> Result<()> {
    let viewers = plan.viewers.iter().copied().min().unwrap_or(1_000);
    println!("\n## Opening {viewers} viewers\n");
    println!("| transport | server | what it gets | µs CPU per viewer | × nchan | µs per viewer |");
    println!("|---|---|---|---:|---:|---:|");
    for transport in &plan.transports {
        let setting = Setting {
            fill: Duration::from_millis(u64::from(FILLING_INTERVAL_MS * (WINDOW + 4))),
            interval_ms: Some(FILLING_INTERVAL_MS),
            ..Setting::new(transport, viewers, 1, 1.2)
        };
        let reports = measure(plan, &plan.servers, &setting);
        let nchan = reports
            .get(&Peer::Nchan)
            .map(|reports| median(reports, "/open_cpu_us_per_viewer"));
        for (peer, reports) in &reports {
            let cpu = median(reports, "/open_cpu_us_per_viewer");
            println!(
                "| {transport} | {} | {} | {cpu:.0} | {} | {:.0} |",
                peer.name(),
                if *peer == Peer::Pulseboard {
                    format!("a window of {WINDOW} ticks")
                } else {
                    "nothing".to_owned()
                },
                nchan.map_or("–".to_owned(), |nchan| format!("{:.2}", cpu / nchan)),
                median(reports, "/open_wall_us_per_viewer"),
            );
        }
    }
    Ok(())
}

/// One viewer in ten never reads: what the others notice, and what it costs.
fn measure_frozen(plan: &Plan) {
    let viewers = plan.viewers.iter().copied().max().unwrap_or(10_000);
    let frozen = viewers / 10;
    // A rate at which one core is not the limit, so that a change shows.
    let rate = if viewers > 5_000 { 5 } else { 10 };
    println!("\n## {frozen} of {viewers} viewers never read, {rate} frames a second");
    print_frozen_head();
    for transport in &plan.transports {
        let with = Setting {
            frozen,
            ..Setting::new(transport, viewers, rate, plan.seconds * 4.0)
        };
        compare_frozen(plan, &with);
    }
}

/// The same with few viewers and large frames, which Pulseboard takes as events of a room.
fn measure_frozen_large(plan: &Plan) {
    let (viewers, frozen) = LARGE_VIEWERS;
    let rate = 10;
    println!(
        "\n## {frozen} of {viewers} viewers never read, {rate} frames of {LARGE_BYTES} bytes a second"
    );
    print_frozen_head();
    let with = Setting {
        frozen,
        interval_ms: Some(1_000),
        large: true,
        ..Setting::new("ws", viewers, rate, plan.seconds * 4.0)
    };
    compare_frozen(plan, &with);
}

fn print_frozen_head() {
    println!(
        "\n| transport | server | p99 ms without | p99 ms with | ratio | delivered \
         | process KB per frozen viewer | kernel KB per frozen viewer | ended |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|");
}

/// Measures with frozen viewers and without. Round by round, so that what else the machine does
/// hits both.
fn compare_frozen(plan: &Plan, with: &Setting) {
    let without = Setting {
        frozen: 0,
        ..with.clone()
    };
    let (mut frozen, mut free) = (Reports::new(), Reports::new());
    for _ in 0..plan.rounds {
        for (setting, all) in [(&without, &mut free), (with, &mut frozen)] {
            for peer in plan.servers.iter().filter(|peer| **peer != Peer::Floor) {
                match measure_one(plan, *peer, setting) {
                    Ok(report) => all.entry(*peer).or_default().push(report),
                    Err(error) => eprintln!("{}: {error:#}", peer.name()),
                }
            }
        }
    }
    for (peer, reports) in &frozen {
        let Some(free) = free.get(peer) else {
            continue;
        };
        let p99 = (
            median(free, "/spread/p99_us"),
            median(reports, "/spread/p99_us"),
        );
        // What grows without them too, such as the log, is not theirs.
        let each = |pointer| {
            (median(reports, pointer) - median(free, pointer)) / 1024.0 / lossy(with.frozen)
        };
        println!(
            "| {} | {} | {} | {} | {:.2} | {:.1} % | {:.1} | {:.1} | {} |",
            with.transport,
            peer.name(),
            millis(p99.0),
            millis(p99.1),
            p99.1 / p99.0,
            median(reports, "/delivered_share") * 100.0,
            each("/grown_process_bytes"),
            each("/grown_kernel_bytes"),
            median(reports, "/lost"),
        );
    }
}

/// Many viewers for a long time: what Pulseboard's memory does.
fn hold(plan: &Plan, seconds: f64) {
    let viewers = plan.viewers.iter().copied().max().unwrap_or(10_000);
    println!("\n## {viewers} viewers for {seconds} s, one frame a second\n");
    println!("| transport | after s | process MB | kernel MB |");
    println!("|---|---:|---:|---:|");
    for transport in &plan.transports {
        let setting = Setting::new(transport, viewers, 1, seconds);
        match measure_one(plan, Peer::Pulseboard, &setting) {
            Ok(report) => print_hold(transport, &report),
            Err(error) => eprintln!("{transport}: {error:#}"),
        }
    }
}

fn print_hold(transport: &str, report: &Value) {
    let float = |value: Option<&Value>| value.and_then(Value::as_f64).unwrap_or(f64::NAN);
    for reading in report["memory"].as_array().into_iter().flatten() {
        println!(
            "| {transport} | {:.0} | {:.1} | {:.1} |",
            float(reading.get("seconds")),
            float(reading.get("process_bytes")) / MB,
            float(reading.get("kernel_bytes")) / MB
        );
    }
    println!(
        "\n{transport}: {} frames, {:.2} % delivered, {} streams ended, {:.2} µs CPU per delivery, \
         spread p99 {} ms\n",
        report["frames"],
        float(report.get("delivered_share")) * 100.0,
        report["lost"],
        float(report.get("server_cpu_us_per_delivery")),
        millis(float(report.pointer("/spread/p99_us"))),
    );
}

/// All servers in turn, round by round. One that fails is left out of this setting.
fn measure(plan: &Plan, servers: &[Peer], setting: &Setting) -> Reports {
    let mut reports = Reports::new();
    for round in 0..plan.rounds {
        for peer in servers {
            match measure_one(plan, *peer, setting) {
                Ok(report) => reports.entry(*peer).or_default().push(report),
                Err(error) => eprintln!(
                    "{} over {}, {} viewers, {} frames a second, round {}: {error:#}",
                    peer.name(),
                    setting.transport,
                    setting.viewers,
                    setting.rate,
                    round + 1
                ),
            }
        }
    }
    reports
}

fn measure_one(plan: &Plan, peer: Peer, setting: &Setting) -> Result<Value> {
    let address = measured::free_address()?;
    let folder = shell::target().join("fan-out");
    fs::create_dir_all(&folder)?;
    let command = peer.command(&plan.setup.pins, setting, &address, &folder)?;
    let log = folder.join(format!("{}.log", peer.name()));
    let mut server = Server::start(command, &address, &log)?;
    thread::sleep(if peer == Peer::Pulseboard {
        setting.fill
    } else {
        Duration::ZERO
    });
    let path = if setting.large && peer == Peer::Pulseboard {
        "/ws".to_owned()
    } else {
        peer.path(&setting.transport)
    };
    let client = plan.setup.pins.client(&measured::program("fan_out_client"));
    let mut client = server.aimed_at(client);
    client
        .args(["--path", &path])
        .args(["--transport", &setting.transport])
        .args(["--viewers", &setting.viewers.to_string()])
        .args(["--frozen", &setting.frozen.to_string()])
        .args(["--seconds", &setting.seconds.to_string()]);
    let bytes = if setting.large {
        LARGE_BYTES
    } else {
        PAYLOAD_BYTES
    };
    let publish = match peer {
        Peer::Nchan => Some("/publish"),
        Peer::Pulseboard if setting.large => {
            client.arg("--room-event");
            Some("/api/rooms/dashboard/events")
        }
        _ => None,
    };
    if let Some(publish) = publish {
        client
            .args(["--publish", publish])
            .args(["--rate", &setting.rate.to_string()])
            .args(["--bytes", &bytes.to_string()]);
    }
    let report = measured::report(&mut client);
    server.stop()?;
    report
}

fn median(reports: &[Value], pointer: &str) -> f64 {
    let values = reports.iter();
    measured::median(values.filter_map(|report| report.pointer(pointer)?.as_f64()))
}

fn millis(us: f64) -> String {
    format!("{:.1}", us / 1_000.0)
}

const MB: f64 = 1024.0 * 1024.0;

/// A count of viewers; exact.
fn lossy(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::NAN, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::words;

    #[test]
    fn flags_are_read() {
        let plan = parse(&words(
            "--quick --servers floor,nchan --rates 20 --cores 2,3",
        ));
        let plan = plan.expect("these are flags");
        assert_eq!(plan.servers, [Peer::Floor, Peer::Nchan]);
        let pins = plan.setup.pins;
        assert_eq!(
            (plan.viewers, plan.rates, pins.server, pins.client),
            (vec![1_000, 5_000], vec![20], "2".to_owned(), "3".to_owned())
        );
        assert!(parse(&words("--servers apache")).is_err());
        assert!(parse(&words("--rates 0")).is_err());
    }

    #[test]
    fn the_middle_round_counts() {
        let reports: Vec<Value> = [3.0, 1.0, 2.0]
            .map(|cpu| serde_json::json!({ "a": { "b": cpu } }))
            .into();
        assert_eq!(median(&reports, "/a/b"), 2.0);
    }
}
