//! Every chore of this repository, one file each: `cargo xtask <chore>`.
//!
//! Nothing here is part of the product. A chore names what it runs before running it, and a
//! failure says what was wanted, why it could not be had and what to do.
#![expect(
    clippy::print_stdout,
    reason = "a command line tool talks on standard output"
)]

mod against;
mod arguments;
mod background;
mod bench;
mod browser;
mod build;
mod check;
mod cluster;
mod cluster_bench;
mod crates;
mod debian;
mod dependencies;
mod dev;
mod dist;
mod fan_out;
mod flags;
mod hostile;
mod image;
mod imports;
mod ingest;
mod layers;
mod lints;
mod live;
mod measured;
mod modules;
mod node_questions;
mod npm;
mod order;
mod page;
mod page_bench;
mod panics;
mod query_bench;
mod release;
mod report;
mod revision;
mod rules_bench;
mod rules_told;
mod run;
mod scrape_bench;
mod screenshots;
mod script;
mod senders;
mod shell;
mod split;
mod stamp;
mod test;
mod text;
mod tidy;
mod tools;
mod type_ids;
mod vocabulary;
mod wasm;

use std::process::ExitCode;

use anyhow::{Result, bail};

/// A chore: its name, the arguments it takes, what it does, and the function that does it.
struct Chore {
    name: &'static str,
    arguments: &'static str,
    summary: &'static str,
    start: fn(&[String]) -> Result<()>,
}

/// In the order in which a newcomer needs them.
const CHORES: &[Chore] = &[
    Chore {
        name: "run",
        arguments: "[-- FLAGS]",
        summary: "build everything and start the server; FLAGS go to it",
        start: run::start,
    },
    Chore {
        name: "dev",
        arguments: "[-- FLAGS]",
        summary: "the server and `trunk serve` side by side, rebuilt as you edit",
        start: dev::start,
    },
    Chore {
        name: "build",
        arguments: "",
        summary: "target/release/pulseboard with the page inside",
        start: build::start,
    },
    Chore {
        name: "test",
        arguments: "",
        summary: "formatting, lints, documentation and every test, a browser's too",
        start: test::start,
    },
    Chore {
        name: "check",
        arguments: "",
        summary: "before each commit: format, lints, house rules, unit tests",
        start: check::start,
    },
    Chore {
        name: "page",
        arguments: "",
        summary: "dist/: the page alone",
        start: page::start,
    },
    Chore {
        name: "lints",
        arguments: "",
        summary: "lints, natively and in WebAssembly, and documentation",
        start: lints::start,
    },
    Chore {
        name: "layers",
        arguments: "",
        summary: "which file uses which: what points up, and what goes round in a ring",
        start: layers::start,
    },
    Chore {
        name: "release",
        arguments: "[--target TRIPLE]",
        summary: "an archive to download and run, in target/release-archives",
        start: release::start,
    },
    Chore {
        name: "image",
        arguments: "[--root-only]",
        summary: "the container image, in target/image (needs buildah and musl-tools)",
        start: image::start,
    },
    Chore {
        name: "tidy",
        arguments: "",
        summary: "the rules of this repository that no compiler checks",
        start: tidy::start,
    },
    Chore {
        name: "dependencies",
        arguments: "",
        summary: "known faults, licences, sources and disuse of the crates that we use (needs a network)",
        start: dependencies::start,
    },
    Chore {
        name: "dist",
        arguments: "[--backend URL]",
        summary: "target/dist: the page for a CDN, and the server without it",
        start: dist::start,
    },
    Chore {
        name: "screenshots",
        arguments: "",
        summary: "take the pictures in docs/screenshots anew",
        start: screenshots::start,
    },
    Chore {
        name: "bench",
        arguments: "[fan-out|ingest|query|scrape|agent|live|rules|hostile|page|cluster|against] [-- FLAGS]",
        summary: "the micro-benchmarks, or the server beside its peers, beside an older one or under attack, or the page (flags: `fan-out help`, …)",
        start: bench::start,
    },
    Chore {
        name: "test-senders",
        arguments: "[--server FILE]",
        summary: "Prometheus, OpenTelemetry, Influx, StatsD and others send to the real server (needs a network)",
        start: senders::start,
    },
    Chore {
        name: "test-cluster",
        arguments: "[--all]",
        summary: "several real servers over a real Redis, while parts of it are killed and parted (needs a network the first time; flags: `test-cluster help`)",
        start: cluster::start,
    },
    Chore {
        name: "tools",
        arguments: "",
        summary: "install what a build needs, only when missing",
        start: tools::start,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        help();
        return Ok(());
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        help();
        return Ok(());
    }
    match CHORES.iter().find(|chore| chore.name == name) {
        Some(chore)
            if rest
                .iter()
                .take_while(|word| *word != "--")
                .any(|word| word == "--help" || word == "-h") =>
        {
            println!(
                "cargo xtask {} {}\n\n{}",
                chore.name, chore.arguments, chore.summary
            );
            Ok(())
        }
        Some(chore) => (chore.start)(rest),
        None => bail!("no chore is called {name:?}; `cargo xtask` lists them"),
    }
}

fn help() {
    println!("cargo xtask <chore>\n");
    for chore in CHORES {
        println!(
            "  {:<32} {}",
            format!("{} {}", chore.name, chore.arguments),
            chore.summary
        );
    }
}
