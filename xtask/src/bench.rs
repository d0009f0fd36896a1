//! `bench`: the micro-benchmarks in every crate's `benches/`; `bench fan-out` is [`fan_out`]'s,
//! `bench ingest` [`ingest`]'s, `bench query` [`query_bench`]'s, `bench hostile` [`hostile`]'s,
//! `bench live` [`live`]'s, `bench page` [`page_bench`]'s, `bench rules` [`rules_bench`]'s,
//! `bench cluster` [`cluster_bench`]'s, `bench against` [`against`]'s, `bench scrape` and
//! `bench agent` [`scrape_bench`]'s.

use std::fs;

use anyhow::{Result, bail};

use crate::{
    against, cluster_bench, fan_out, hostile, ingest, live, page_bench, query_bench, rules_bench,
    scrape_bench, shell,
};

/// The crates that have something to measure.
const CRATES: &[(&str, &str)] = &[
    ("backend", "pulseboard"),
    ("shared", "pulseboard-shared"),
    ("ingest", "pulseboard-ingest"),
    ("engine", "pulseboard-engine"),
    ("history", "pulseboard-history"),
];

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    if let Some((name, flags)) = arguments.split_first() {
        // As everywhere, what a bench is told may stand behind dashes.
        let flags = match flags.split_first() {
            Some((dashes, flags)) if dashes == "--" => flags,
            _ => flags,
        };
        match name.as_str() {
            "against" => return against::start(flags),
            "cluster" => return cluster_bench::start(flags),
            "fan-out" => return fan_out::start(flags),
            "ingest" => return ingest::start(flags),
            "query" => return query_bench::start(flags),
            "hostile" => return hostile::start(flags),
            "live" => return live::start(flags),
            "page" => return page_bench::start(flags),
            "rules" => return rules_bench::start(flags),
            "scrape" => return scrape_bench::scrape(flags),
            "agent" => return scrape_bench::agent(flags),
            _ => {}
        }
    }
    let flags = crate::arguments::passed_on(arguments)?;
    let mut command = shell::cargo();
    command.arg("bench");
    let mut found = 0;
    for (folder, package) in CRATES {
        let mut names = benches(folder);
        names.sort();
        if names.is_empty() {
            continue;
        }
        // Named one by one: the unit tests' own harness would not know criterion's flags.
        command.args(["--package", package]);
        for name in names {
            command.args(["--bench", &name]);
            found += 1;
        }
    }
    if found == 0 {
        bail!("no crate has a benches/ folder with something in it");
    }
    shell::run(command.arg("--").args(flags))
}

fn benches(folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(shell::root().join(folder).join("benches")) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .into_string()
                .ok()?
                .strip_suffix(".rs")
                .map(str::to_owned)
        })
        .collect()
}
