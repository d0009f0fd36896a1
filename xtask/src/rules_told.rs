//! `bench rules --told S`: how long after its tick an alert of a rule that is looked at each tick
//! is on the event stream, with the real server.
//!
//! The simulator's figures go up and down with each tick, so the built-in rules over ticks begin
//! and end all the time, and so does one of a file that is evaluated as often. An alert says which
//! tick it is of; when its line arrives is read from the same clock.

use std::{
    fs,
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    net::TcpStream,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail};
use serde_json::Value;

use crate::measured::{Pins, Server};

/// Of ticks, and of the rule of the file.
const TICK_MS: &str = "100";

const RULES: &str =
    "groups:\n- name: told\n  interval: 100ms\n  rules:\n  - {alert: Made, expr: cpu_usage > 50}\n";

/// The aim, from sample to event stream.
const AIM_MS: f64 = 50.0;

/// Alerts of the beginning, while the server warms up.
const WARM_UP: Duration = Duration::from_secs(2);

/// What is told of alerts of one kind.
struct Told {
    name: &'static str,
    late_ms: Vec<f64>,
}

/// Measures for so long, and prints what came of it.
pub(crate) fn measure(
    seconds: u64,
    pins: &Pins,
    (server, address): (&Path, &str),
    (folder, log): (&Path, &Path),
) -> Result<()> {
    let rules = folder.join("rules.yml");
    fs::write(&rules, RULES)?;
    let mut command = pins.server(server);
    command
        .env("RUST_LOG", "warn")
        .env("ANONYMOUS_ROLE", "viewer")
        .env("RULE_FILES", &rules)
        .args(["--bind", address, "--source", "simulator"])
        .args(["--metric-interval-ms", TICK_MS, "--data-dir"])
        .arg(folder.join("data"));
    let mut server = Server::start(command, address, log)?;
    let told = listen(address, Duration::from_secs(seconds));
    server.stop()?;
    println!("| rules | alerts | late p50 / p99 / max ms | aim |");
    println!("|---|---:|---:|---:|");
    for Told { name, mut late_ms } in told? {
        late_ms.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = (late_ms.len() as f64 * part) as usize;
            late_ms.get(place.min(late_ms.len().saturating_sub(1)))
        };
        let at = |part: f64| at(part).copied().unwrap_or(f64::NAN);
        println!(
            "| {name} | {} | {:.1} / {:.1} / {:.1} | {AIM_MS:.0} |",
            late_ms.len(),
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
    Ok(())
}

/// Hears alerts for so long.
fn listen(address: &str, time: Duration) -> Result<[Told; 2]> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    write!(
        stream,
        "GET /events/alerts HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n"
    )?;
    let mut lines = BufReader::new(stream);
    let began = Instant::now();
    let mut told = ["of ticks, built in", "of a file, each tick"].map(|name| Told {
        name,
        late_ms: Vec::new(),
    });
    let mut line = Vec::new();
    while began.elapsed() < WARM_UP + time {
        match lines.read_until(b'\n', &mut line) {
            Ok(0) => bail!("the server has closed the event stream"),
            Ok(_) => {}
            // Nothing came, or a part of a line: the rest of it is read behind that.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        let arrived = SystemTime::now().duration_since(UNIX_EPOCH)?;
        if began.elapsed() >= WARM_UP
            && let Some((is_made, stamp_ms)) = read(&line)
        {
            let [built_in, made] = &mut told;
            let of = if is_made { made } else { built_in };
            of.late_ms.push(late_ms(arrived, stamp_ms));
        }
        line.clear();
    }
    let all = told.iter().map(|one| one.late_ms.len()).sum::<usize>();
    if all == 0 {
        bail!("no alert came within {time:?}");
    }
    Ok(told)
}

/// Whether an event's line is of the rule of the file, and at which millisecond of its minute its
/// tick was; `None` for a line without an alert.
fn read(line: &[u8]) -> Option<(bool, f64)> {
    let alert: Value = serde_json::from_slice(line.strip_prefix(b"data: ")?).ok()?;
    let rule = alert["rule"].as_str()?;
    // `2026-11-30T14:05:06.700Z`.
    let (_, time) = alert["timestamp"].as_str()?.split_once('T')?;
    let seconds: f64 = time
        .trim_end_matches('Z')
        .rsplit(':')
        .next()?
        .parse()
        .ok()?;
    Some((rule == "Made", seconds * 1_000.0))
}

/// How long after a millisecond of a minute something was, which is no minute.
fn late_ms(at: Duration, stamp_ms: f64) -> f64 {
    (at.as_secs_f64() * 1_000.0 - stamp_ms).rem_euclid(60_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_late_is_read_from_an_alert() {
        let line = br#"data: {"rule":"Made","timestamp":"2026-11-30T14:05:59.900Z"}"#;
        let (is_made, stamp_ms) = read(line).expect("an alert");
        assert!(is_made);
        // Into the next minute.
        let late = late_ms(Duration::from_millis(1_764_511_560_025), stamp_ms);
        assert!((late - 125.0).abs() < 1.0, "{late}");
        for other in [
            "",
            "1f\r\n",
            "event: resolved\r\n",
            "data: {\"type\":\"heartbeat\"}\r\n",
        ] {
            assert!(read(other.as_bytes()).is_none(), "{other}");
        }
    }
}
