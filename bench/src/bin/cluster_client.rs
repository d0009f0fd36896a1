//! What it costs that several servers are one: frames that are said at one server and heard at
//! another, streams that are opened, and samples that all servers get; started by
//! `cargo xtask bench cluster`, with one server and with several.
#![expect(
    clippy::print_stdout,
    reason = "a command line tool answers on standard output"
)]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
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
    wire::payload,
};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// Streams are opened by so many at once.
const OPENERS: usize = 8;

/// Samples of one body.
const SAMPLES_A_BODY: usize = 1_000;

/// Flags.
#[derive(Parser)]
struct Flags {
    /// Where frames are said and samples are pushed.
    #[arg(long)]
    said_at: SocketAddr,
    /// Where frames are heard and streams are opened.
    #[arg(long)]
    heard_at: SocketAddr,
    /// Redis, where there is one.
    #[arg(long)]
    redis: Option<SocketAddr>,
    /// Processes whose time is measured, as `NAME=ID`.
    #[arg(long, value_delimiter = ',')]
    processes: Vec<String>,
    /// Frames a second.
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
    /// Bytes of a frame.
    #[arg(long, default_value_t = 400)]
    bytes: usize,
    /// Members of the room.
    #[arg(long, default_value_t = 8)]
    members: usize,
    /// How long each part is measured.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Series that are pushed.
    #[arg(long, default_value_t = 10_000)]
    series: usize,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let processes = Processes::of(&flags.processes)?;
    let frames = frames(&flags, &processes)?;
    let opens = json!({
        "ticks": opens(&flags, &processes, "/ws/metrics", None)?,
        "rooms": opens(&flags, &processes, "/ws", Some("open"))?,
    });
    let samples = samples(&flags, &processes)?;
    println!(
        "{}",
        json!({"frames": frames, "opens": opens, "samples": samples})
    );
    Ok(())
}

/// The processes that are measured.
struct Processes(BTreeMap<String, Server>);

impl Processes {
    fn of(named: &[String]) -> Result<Self> {
        let read = |one: &String| {
            let (name, id) = one.split_once('=')?;
            Some((name.to_owned(), Server::new(id.parse().ok()?)))
        };
        let all: Option<_> = named.iter().map(read).collect();
        Ok(Self(all.context("--processes is NAME=ID,NAME=ID")?))
    }

    fn time_us(&self) -> BTreeMap<&str, u64> {
        let times = self.0.iter();
        times
            .map(|(name, one)| (name.as_str(), one.cpu_ticks_us()))
            .collect()
    }

    /// Cores of each since `before`.
    fn cores(&self, before: &BTreeMap<&str, u64>, began: Instant) -> Value {
        let took = began.elapsed().as_micros() as f64;
        let now = self.time_us();
        let cores = now.iter().map(|(name, time)| {
            let used = time - before.get(name).copied().unwrap_or_default();
            ((*name).to_owned(), json!(used as f64 / took))
        });
        Value::Object(cores.collect())
    }
}

type Socket = WebSocket<TcpStream>;

fn open(address: SocketAddr, path: &str) -> Result<Socket> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let url = format!("ws://{address}{path}");
    let (socket, _) =
        tungstenite::client(url, stream).map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(socket)
}

fn read(socket: &mut Socket) -> Result<Value> {
    loop {
        match socket.read()? {
            Message::Text(text) => return Ok(serde_json::from_str(&text)?),
            Message::Close(why) => bail!("closed: {why:?}"),
            _ => {}
        }
    }
}

fn until(socket: &mut Socket, kind: &str) -> Result<Value> {
    loop {
        let said = read(socket)?;
        match said["type"].as_str() {
            Some(of) if of == kind => return Ok(said),
            Some("error") => bail!("{said}"),
            _ => {}
        }
    }
}

fn join(socket: &mut Socket, room: &str) -> Result<()> {
    let join = json!({"action": "subscribe", "channel": room});
    socket.send(Message::text(join.to_string()))?;
    until(socket, "subscribed").map(drop)
}

/// Frames that are said at one place and heard at another.
fn frames(flags: &Flags, processes: &Processes) -> Result<Value> {
    let ready = Barrier::new(flags.members + 1);
    let wanted = (flags.rate as f64 * flags.seconds) as u64;
    thread::scope(|scope| {
        let hearing: Vec<_> = (0..flags.members)
            .map(|_| {
                scope.spawn(|| -> Result<Vec<u32>> {
                    let joined = open(flags.heard_at, "/ws").and_then(|mut socket| {
                        join(&mut socket, "frames")?;
                        Ok(socket)
                    });
                    ready.wait();
                    let mut socket = joined?;
                    let mut late = Vec::new();
                    while (late.len() as u64) < wanted {
                        let said = read(&mut socket)?;
                        if said["type"] == "merged" {
                            bail!("a member was too slow: {said}");
                        }
                        let sent = said.pointer("/data/sent_us").and_then(Value::as_u64);
                        if let Some(sent_us) = sent {
                            let us = now_us().saturating_sub(sent_us);
                            late.push(u32::try_from(us).unwrap_or(u32::MAX));
                        }
                    }
                    Ok(late)
                })
            })
            .collect();
        let speaker = open(flags.said_at, "/ws");
        ready.wait();
        let mut speaker = speaker?;
        let (before, began) = (processes.time_us(), Instant::now());
        for number in 0..wanted {
            let due = Duration::from_secs_f64(number as f64 / flags.rate as f64);
            thread::sleep(due.saturating_sub(began.elapsed()));
            let data = payload(flags.bytes, now_us());
            let said = format!(r#"{{"action":"publish","channel":"frames","data":{data}}}"#);
            speaker.send(Message::text(said))?;
        }
        let mut late = Vec::new();
        for one in hearing {
            late.extend(
                one.join()
                    .unwrap_or_else(|_panicked| bail!("a member ended"))?,
            );
        }
        Ok(json!({
            "heard": late.len(),
            "a_second": wanted as f64 / began.elapsed().as_secs_f64(),
            "late": Summary::of(late),
            "cores": processes.cores(&before, began),
        }))
    })
}

/// Streams that are opened, heard once and closed; of rooms each a new one.
fn opens(flags: &Flags, processes: &Processes, path: &str, room: Option<&str>) -> Result<Value> {
    let (count, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let (before, began) = (processes.time_us(), Instant::now());
    let late = thread::scope(|scope| {
        let opening: Vec<_> = (0..OPENERS)
            .map(|_| {
                scope.spawn(|| -> Result<Vec<u32>> {
                    let mut took = Vec::new();
                    while !is_over.load(Ordering::Relaxed) {
                        let began = Instant::now();
                        let mut socket = open(flags.heard_at, path)?;
                        let number = count.fetch_add(1, Ordering::Relaxed);
                        match room {
                            Some(room) => join(&mut socket, &format!("{room}{number}"))?,
                            None => drop(until(&mut socket, "initial")?),
                        }
                        took.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
                    }
                    Ok(took)
                })
            })
            .collect();
        thread::sleep(Duration::from_secs_f64(flags.seconds));
        is_over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for one in opening {
            all.extend(
                one.join()
                    .unwrap_or_else(|_panicked| bail!("an opener ended"))?,
            );
        }
        anyhow::Ok(all)
    })?;
    Ok(json!({
        "a_second": late.len() as f64 / began.elapsed().as_secs_f64(),
        "took": Summary::of(late),
        "cores": processes.cores(&before, began),
    }))
}

/// Bytes that came to Redis so far, whoever sent them.
fn to_redis(flags: &Flags) -> Result<Option<u64>> {
    let Some(address) = flags.redis else {
        return Ok(None);
    };
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"INFO stats\r\n")?;
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    reader.read_line(&mut head)?;
    let length: u64 = head.trim_start_matches('$').trim().parse()?;
    let mut text = String::new();
    reader.take(length).read_to_string(&mut text)?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("total_net_input_bytes:"));
    Ok(Some(line.context("it counts its input")?.trim().parse()?))
}

/// A sample of each series again and again, and what came to Redis for it beyond what comes
/// anyway.
fn samples(flags: &Flags, processes: &Processes) -> Result<Value> {
    let idle = Duration::from_secs_f64(flags.seconds / 2.0);
    let before = to_redis(flags)?;
    thread::sleep(idle);
    let idle_bytes = to_redis(flags)?
        .zip(before)
        .map(|(now, before)| now - before);
    let idle_a_second = idle_bytes.map(|bytes| bytes as f64 / idle.as_secs_f64());

    let host = flags.said_at.to_string();
    let mut connection = Connection::open(&host)?;
    let (mut answer, mut pushed) = (Vec::new(), 0_u64);
    let numbers: Vec<usize> = (0..flags.series).collect();
    let before = to_redis(flags)?;
    let (times, began) = (processes.time_us(), Instant::now());
    let mut round = 0_u64;
    while began.elapsed().as_secs_f64() < flags.seconds {
        for part in numbers.chunks(SAMPLES_A_BODY) {
            let mut body = String::new();
            for number in part {
                // What hosts measure: a figure that wanders, with a digit or two.
                let value = (number * 7 % 100) as f64 + (round % 50) as f64 / 10.0;
                writeln!(
                    body,
                    "cluster_load{{host=\"host-{}\",core=\"{}\"}} {value}",
                    number / 16,
                    number % 16
                )?;
            }
            let status = connection.ask(&post(&host, "/push", "", body.as_bytes()), &mut answer)?;
            if status != 200 {
                bail!("{status}: {}", String::from_utf8_lossy(&answer));
            }
            pushed += part.len() as u64;
        }
        round += 1;
    }
    let took = began.elapsed().as_secs_f64();
    // What is on its way arrives.
    thread::sleep(Duration::from_millis(500));
    let bytes = to_redis(flags)?
        .zip(before)
        .map(|(now, before)| now - before);
    let beyond = bytes.zip(idle_a_second).map(|(bytes, idle)| {
        let anyway = idle * (took + 0.5);
        (bytes as f64 - anyway).max(0.0) / pushed as f64
    });
    Ok(json!({
        "a_second": pushed as f64 / took,
        "bytes_a_sample": beyond,
        "idle_bytes_a_second": idle_a_second,
        "cores": processes.cores(&times, began),
    }))
}
