//! `bench hostile`: what good callers feel while somebody attacks, beside an older commit.
//!
//! Both servers are built without the page, run one after the other with the same settings, and are
//! attacked by the same client (`bench/src/bin/hostile_client.rs`) with one attack after the other,
//! each on a server of its own. A server that ends by itself is said to have ended.

use std::{fs, net::TcpListener, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
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
    is_built: bool,
}

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    let arguments = match arguments.split_first() {
        Some((dashes, rest)) if dashes == "--" => rest,
        _ => arguments,
    };
    if arguments
        .iter()
        .any(|word| word == "help" || word == "--help")
    {
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
        is_built: false,
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .map(String::as_str)
                .with_context(|| format!("{word} needs a value"))
        };
        match word.as_str() {
            "--against" => plan.against = Some(value()?.to_owned()).filter(|name| name != "none"),
            "--attacks" => {
                plan.attacks = value()?.split(',').map(str::to_owned).collect();
                if let Some(unknown) = plan.attacks.iter().find(|one| !is_known(one)) {
                    bail!("{unknown:?} is no attack of this bench\n\n{HELP}");
                }
            }
            "--seconds" => plan.seconds = value()?.parse()?,
            "--no-build" => plan.is_built = true,
            other => bail!("{other:?} is not a flag of this bench\n\n{HELP}"),
        }
    }
    Ok(plan)
}

fn is_known(attack: &str) -> bool {
    ATTACKS.contains(&attack)
}

fn measure(plan: &Plan, attack: &str, program: &Path) -> Result<Value> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
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
    let mut client = shell::command(measured::program("hostile_client"));
    client
        .args(["--address", &address, "--attack", attack])
        .args(["--pid", &server.id().to_string()])
        .args(["--seconds", &plan.seconds.to_string()]);
    let report = shell::output(&mut client);
    server.stop()?;
    serde_json::from_str(&report?).context("the client's report")
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

    #[test]
    fn flags_are_read() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let plan = parse(&words("--against none --attacks rooms,bodies --seconds 3"));
        let plan = plan.expect("these are flags");
        assert_eq!(plan.against, None);
        assert_eq!(plan.attacks, ["rooms", "bodies"]);
        assert!(parse(&words("--attacks rain")).is_err());
    }
}
