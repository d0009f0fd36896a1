//! Watches many live expressions while samples come in, and says as JSON what that cost the server
//! and how late the values came; started by `cargo xtask bench live`.
//!
//! Each panel has an expression of its own over its own share of the series, so that no work is
//! shared by panels that are alike.
#![expect(
    clippy::print_stdout,
    reason = "a command line tool answers on standard output"
)]

use std::{
    fmt::Write as _,
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use pulseboard_bench::{
    http::{Connection, post},
    latency::Summary,
    now_us,
    process::Server,
};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// As many as one connection may watch.
const PANELS_A_SOCKET: usize = 32;

/// Between two bodies of samples of the same series, and between two values of a panel.
const STEP: Duration = Duration::from_secs(1);

/// Series of one body.
const SERIES_A_BODY: usize = 500;

/// Flags.
#[derive(Parser)]
struct Flags {
    /// Where the server listens.
    #[arg(long)]
    address: SocketAddr,
    /// The server's process.
    #[arg(long)]
    pid: u32,
    /// Expressions that are watched.
    #[arg(long, default_value_t = 1_000)]
    panels: usize,
    /// Series, in equal shares for the panels.
    #[arg(long, default_value_t = 10_000)]
    series: usize,
    /// How long each of the two halves is measured: without panels, and with them.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// `$N` in it becomes the panel's number.
    #[arg(long, default_value = "sum(rate(live_load_total{panel=\"$N\"}[1m]))")]
    expression: String,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let server = Server::new(flags.pid);
    let is_over = AtomicBool::new(false);
    let (idle, busy, reports) = thread::scope(|scope| {
        let pushing = scope.spawn(|| push(&flags, &is_over));
        let measured = measure(&flags, &server);
        is_over.store(true, Ordering::Relaxed);
        let pushed = pushing.join();
        pushed.unwrap_or_else(|_panicked| bail!("the sender ended"))?;
        measured
    })?;
    let frames: usize = reports.iter().map(|report| report.late_us.len()).sum();
    let failed: usize = reports.iter().map(|report| report.failed).sum();
    let late = Summary::of(reports.into_iter().flat_map(|one| one.late_us).collect());
    let said = json!({
        "cores_without": idle,
        "cores_with": busy,
        "values_a_second": frames as f64 / flags.seconds,
        "failed": failed,
        "late": late,
        "rss_bytes": server.resident_bytes(),
    });
    println!("{said}");
    Ok(())
}

/// Cores without panels, cores with them, and what each connection saw.
fn measure(flags: &Flags, server: &Server) -> Result<(f64, f64, Vec<Report>)> {
    // A range of a minute is full before anything is measured.
    thread::sleep(Duration::from_secs(61));
    let idle = cores(flags, server);
    let ready = std::sync::Barrier::new(flags.panels.div_ceil(PANELS_A_SOCKET) + 1);
    thread::scope(|scope| {
        let watching: Vec<_> = (0..flags.panels)
            .step_by(PANELS_A_SOCKET)
            .map(|first| {
                let ready = &ready;
                scope.spawn(move || {
                    let panels = first..(first + PANELS_A_SOCKET).min(flags.panels);
                    let socket = open(flags, panels);
                    ready.wait();
                    follow(flags, socket?)
                })
            })
            .collect();
        ready.wait();
        let busy = cores(flags, server);
        let reports = watching.into_iter().map(|one| {
            let joined = one.join();
            joined.unwrap_or_else(|_panicked| bail!("a viewer ended"))
        });
        Ok((idle, busy, reports.collect::<Result<_>>()?))
    })
}

fn cores(flags: &Flags, server: &Server) -> f64 {
    let (before, began) = (server.cpu_ticks_us(), Instant::now());
    thread::sleep(Duration::from_secs_f64(flags.seconds));
    (server.cpu_ticks_us() - before) as f64 / began.elapsed().as_micros() as f64
}

fn push(flags: &Flags, is_over: &AtomicBool) -> Result<()> {
    let host = flags.address.to_string();
    let mut connection = Connection::open(&host)?;
    let mut answer = Vec::new();
    let (began, mut round) = (Instant::now(), 0_u32);
    let numbers: Vec<usize> = (0..flags.series).collect();
    while !is_over.load(Ordering::Relaxed) {
        for part in numbers.chunks(SERIES_A_BODY) {
            let mut body = String::new();
            for number in part {
                let (panel, value) = (number % flags.panels, u64::from(round) * 7);
                writeln!(
                    body,
                    "live_load_total{{panel=\"{panel}\",instance=\"{number}\"}} {value}"
                )?;
            }
            let status = connection.ask(&post(&host, "/push", "", body.as_bytes()), &mut answer)?;
            if status != 200 {
                bail!("{status}: {}", String::from_utf8_lossy(&answer));
            }
        }
        round += 1;
        thread::sleep((STEP * round).saturating_sub(began.elapsed()));
    }
    Ok(())
}

fn open(flags: &Flags, panels: std::ops::Range<usize>) -> Result<WebSocket<TcpStream>> {
    let stream = TcpStream::connect(flags.address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let url = format!("ws://{}/ws", flags.address);
    let (mut socket, _) =
        tungstenite::client(url, stream).map_err(|error| anyhow::anyhow!("{error}"))?;
    // One after the other: an address may have so many questions at once and no more.
    for panel in panels {
        let query = flags.expression.replace("$N", &panel.to_string());
        let ask = json!({"action": "watch", "query": query, "step_ms": 1_000, "back_ms": 1_000});
        socket.send(Message::text(ask.to_string()))?;
        loop {
            let said = read(&mut socket)?;
            match said["type"].as_str() {
                Some("watched") => break,
                Some("error") => bail!("{said}"),
                _ => {}
            }
        }
    }
    Ok(socket)
}

/// What a connection saw.
struct Report {
    /// From the moment that a value is of to its arrival, each value.
    late_us: Vec<u32>,
    /// Steps without a value.
    failed: usize,
}

fn follow(flags: &Flags, mut socket: WebSocket<TcpStream>) -> Result<Report> {
    let mut report = Report {
        late_us: Vec::new(),
        failed: 0,
    };
    let end = Instant::now() + Duration::from_secs_f64(flags.seconds);
    // What came while other connections were opened was not read at once.
    let since_us = now_us();
    while Instant::now() < end {
        let said = read(&mut socket)?;
        match said["type"].as_str() {
            Some("samples") => {
                let at_ms = said.pointer("/series/0/points/0/0").and_then(Value::as_u64);
                let at_us = at_ms.context("a time")? * 1_000;
                if at_us < since_us {
                    continue;
                }
                let late = now_us().saturating_sub(at_us);
                report.late_us.push(u32::try_from(late).unwrap_or(u32::MAX));
            }
            Some("failed") => report.failed += 1,
            _ => {}
        }
    }
    Ok(report)
}

fn read(socket: &mut WebSocket<TcpStream>) -> Result<Value> {
    loop {
        match socket.read()? {
            Message::Text(text) => return Ok(serde_json::from_str(&text)?),
            Message::Close(why) => bail!("closed: {why:?}"),
            _ => {}
        }
    }
}
