//! `bench hostile`: what good callers feel while somebody attacks, beside an older commit.
//!
//! Both servers are built without the page, run one after the other with the same settings, and are
//! attacked by the same client (`bench/src/bin/hostile_client.rs`) with one attack after the other,
//! each on a server of its own. A server that ends by itself is said to have ended.

use std::{fs, path::Path};

use anyhow::Result;
use serde_json::Value;

use crate::{
    flags::{self, Flags},
    measured::{self, Server},
    revision, shell,
};

const HELP: &str = "cargo xtask bench hostile [FLAGS]

  --against REV    the commit to compare with (default 32b1cfb); `none`: this one alone
  --attacks A,B    only these; see below
  --seconds N      of each attack (default 15)
  --no-build       both servers are built already

Attacks: none, watch-memory, watch-freeze, names, search, unread, tenants, starve, sessions, rooms,
bodies, connections, slow-bodies";

/// The attacks in the order in which they are made; `none` is what the machine itself does.
const ATTACKS: &[&str] = &[
    "none",
    "watch-memory",
    "watch-freeze",
    "names",
    "search",
    "unread",
    "tenants",
    "starve",
    "sessions",
    "rooms",
    "bodies",
    "connections",
    "slow-bodies",
];

/// Ticks are so far apart; a gap of this length is none.
const INTERVAL_MS: &str = "200";

/// What the client's tokens are called; see `hostile::token` there.
const TOKENS: &str = "good-viewer-000000000000=viewer,good-writer-000000000000=writer,\
    evil-writer-000000000000=writer,evil-nobody-000000000000=none";

struct Plan {
    against: Option<String>,
    attacks: Vec<String>,
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
        "\n| attack | server | tick gap p50 / max ms | /healthz p50 / max ms | RSS peak MB \
         | good callers refused | the first |"
    );
    println!("|---|---|---:|---:|---:|---:|---|");
    for attack in &plan.attacks {
        for (name, program) in &servers {
            match measure(&plan, attack, program) {
                Ok(report) => print_row(attack, name, &report),
                Err(error) => println!("| {attack} | {name} | | | | | it ended: {error:#} |"),
            }
        }
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Plan> {
    let mut plan = Plan {
        against: Some("32b1cfb".to_owned()),
        attacks: ATTACKS.iter().map(|&attack| attack.to_owned()).collect(),
        seconds: 15.0,
        builds: true,
    };
    let mut flags = Flags::new(arguments, HELP);
    while let Some(flag) = flags.flag() {
        match flag {
            "--against" => {
                let revision = flags.value()?;
                plan.against = (revision != "none").then(|| revision.to_owned());
            }
            "--attacks" => plan.attacks = flags.some_of(ATTACKS)?,
            "--seconds" => plan.seconds = flags.count()?,
            "--no-build" => plan.builds = false,
            _ => flags.refuse()?,
        }
    }
    Ok(plan)
}

fn measure(plan: &Plan, attack: &str, program: &Path) -> Result<Value> {
    let address = measured::free_address()?;
    let folder = shell::target().join("hostile");
    fs::create_dir_all(&folder)?;
    let mut command = shell::command(program);
    command
        .current_dir(&folder)
        .env("RUST_LOG", "error")
        .env("AUTH_TOKENS", TOKENS)
        .env("ANONYMOUS_ROLE", "viewer")
        .args(["--bind", &address, "--source", "simulator"])
        .args(["--data-dir", "memory", "--metric-interval-ms", INTERVAL_MS]);
    let mut server = Server::start(command, &address, &folder.join("server.log"))?;
    let mut client = server.aimed_at(shell::command(measured::program("hostile_client")));
    client
        .args(["--attack", attack])
        .args(["--seconds", &plan.seconds.to_string()]);
    let report = measured::report(&mut client);
    server.stop()?;
    report
}

fn print_row(attack: &str, server: &str, report: &Value) {
    let millis = |pointer: &str| {
        let us = report.pointer(pointer).and_then(Value::as_f64);
        us.map_or("–".to_owned(), |us| format!("{:.0}", us / 1_000.0))
    };
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let first = report
        .pointer("/good/first_refusal")
        .and_then(Value::as_str);
    let stopped = if report["was_stopped"] == true {
        "≥ "
    } else {
        ""
    };
    println!(
        "| {attack} | {server} | {} / {} | {} / {} | {stopped}{} | {} of {} | {} |",
        millis("/good/tick_gap/p50_us"),
        millis("/good/tick_gap/max_us"),
        millis("/good/healthz/p50_us"),
        millis("/good/healthz/max_us"),
        number("/rss_peak_bytes") >> 20,
        number("/good/refused"),
        number("/good/asked"),
        first.unwrap_or_default().replace('|', "/"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::words;

    #[test]
    fn flags_are_read() {
        let plan = parse(&words("--against none --attacks rooms,bodies --seconds 3"));
        let plan = plan.expect("these are flags");
        assert_eq!(plan.against, None);
        assert_eq!(plan.attacks, ["rooms", "bodies"]);
        assert!(parse(&words("--attacks rain")).is_err());
    }
}
