//! The two rules of layers: a module uses only what lies below its own, and only what speaks HTTP
//! knows the web framework. In no crate do files use each other in a ring, and the picture of
//! crates in ARCHITECTURE.md says what their manifests say.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{
    arguments,
    crates::Crates,
    modules::{Crate, Module},
    shell,
};

/// The layers of the server, top first: a module may use its own line and those below. A name
/// stands for a file and everything in its folder.
const SERVER: &[&[&str]] = &[
    &[""],
    &["agent", "data", "rule_files"],
    &["process"],
    &["server"],
    &["router"],
    &["schedule"],
    &["endpoint"],
    &["http"],
    &["app"],
    &["stream"],
    &["storage"],
    &[
        "cluster",
        "ticks",
        "live_query",
        "live_expression",
        "watchable",
        "expressions",
        "tracking",
        "rooms",
        "operator",
        "alertmanagers",
        "alerts",
        "rules",
        "ingest",
        "ingest_log",
        "access",
        "shares",
        "questions",
        "refusals",
        "agents",
        "certificate",
        "told",
        "scraping",
        "forwarding",
        "archive",
        "elsewhere",
        "incidents",
        "notifying",
    ],
    &["settings"],
    &["base"],
];

/// The layers of the page, likewise.
const PAGE: &[&[&str]] = &[
    &["", "main"],
    &["app"],
    &["late"],
    &["pages"],
    &["components"],
    &["hooks"],
    &["chart", "contrast"],
    &["stores"],
    &["net"],
    &["preferences"],
    &["format", "markup", "panic", "platform", "words"],
];

/// Where the web framework may be named.
const SPEAKS_HTTP: &[&str] = &["server", "router", "endpoint", "http"];
const FRAMEWORK: &str = "salvo";

/// Prints what is against the layers; `cargo xtask tidy` holds them, this shows them alone.
pub(crate) fn start(arguments: &[String]) -> Result<()> {
    arguments::nothing(arguments)?;
    let findings = findings()?;
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        count => bail!("{count} findings against the layers, listed above"),
    }
}

/// Everything that is against the rules, a line each.
///
/// # Errors
/// A file cannot be read, or is not Rust.
pub(crate) fn findings() -> Result<Vec<String>> {
    let crates = Crates::read()?;
    let mut findings = crates.findings()?;
    for name in &crates.folders {
        let folder = shell::root().join(name).join("src");
        if !folder.is_dir() {
            continue;
        }
        let found = Crate::read(&folder).with_context(|| format!("{name}/src"))?;
        for ring in found.circles() {
            let names: Vec<String> = ring.iter().map(|module| told(module)).collect();
            findings.push(format!(
                "{name}: {} files use each other in a ring: {}",
                names.len(),
                names.join(", ")
            ));
        }
        if name == "backend" {
            findings.extend(upward(&found, SERVER));
            findings.extend(framework(&found));
        }
        if name == "frontend" {
            findings.extend(upward(&found, PAGE));
        }
    }
    Ok(findings)
}

/// Arrows that point up, and files that the table does not know.
fn upward(found: &Crate, layers: &[&[&str]]) -> Vec<String> {
    let mut findings = Vec::new();
    let layer_of = |module: &Module| {
        let top = module.first().map_or("", String::as_str);
        layers.iter().position(|layer| layer.contains(&top))
    };
    for (module, file) in &found.files {
        let Some(own) = layer_of(module) else {
            findings.push(format!(
                "{}:1: {} has no layer; it belongs into the table of xtask/src/layers.rs",
                shown(&file.path),
                told(module)
            ));
            continue;
        };
        for (used, line) in found.arrows(module) {
            if layer_of(&used).is_some_and(|layer| layer < own) {
                findings.push(format!(
                    "{}:{line}: {} uses {}, which is above it",
                    shown(&file.path),
                    told(module),
                    told(&used)
                ));
            }
        }
    }
    findings
}

fn framework(found: &Crate) -> Vec<String> {
    let speaks = |module: &Module| {
        module
            .first()
            .is_some_and(|top| SPEAKS_HTTP.contains(&top.as_str()))
    };
    found
        .files
        .iter()
        .filter(|(module, _)| !speaks(module))
        .filter_map(|(module, file)| {
            let line = file.crates.get(FRAMEWORK)?;
            Some(format!(
                "{}:{line}: {} names {FRAMEWORK}, which only {} may",
                shown(&file.path),
                told(module),
                SPEAKS_HTTP.join(", ")
            ))
        })
        .collect()
}

/// `feed::cursor`, as one reads it in Rust.
fn told(module: &[String]) -> String {
    match module {
        [] => "the crate's root".to_owned(),
        _ => module.join("::"),
    }
}

fn shown(path: &Path) -> String {
    path.strip_prefix(shell::root())
        .unwrap_or(path)
        .display()
        .to_string()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;

    /// A crate of these files, read as the real ones are.
    fn crate_of(files: &[(&str, &str)]) -> Crate {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder above")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        Crate::read(folder.path()).expect("files that are Rust")
    }

    const LAYERS: &[&[&str]] = &[&[""], &["endpoint"], &["services"], &["base"]];

    #[test]
    fn a_use_that_points_up_is_found() {
        let found = crate_of(&[
            ("lib.rs", "pub mod endpoint;\npub mod base;"),
            (
                "endpoint.rs",
                "use crate::base::now;\npub fn answer() { now() }",
            ),
            (
                "base.rs",
                "\nuse crate::endpoint::answer;\npub fn now() { answer() }",
            ),
        ]);
        let findings = upward(&found, LAYERS);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].ends_with("base.rs:2: base uses endpoint, which is above it"));
        assert_eq!(found.circles().len(), 1);
    }

    #[test]
    fn a_path_without_use_and_one_by_super_are_found_too() {
        for text in [
            "pub fn now() { crate::endpoint::answer() }",
            "pub fn now() { super::endpoint::answer() }",
            "mod inside { pub fn now() { super::super::endpoint::answer() } }",
            "use super::{endpoint as above};\npub fn now() { above::answer() }",
        ] {
            let found = crate_of(&[
                ("lib.rs", "pub mod endpoint;\npub mod base;"),
                ("endpoint.rs", "pub fn answer() {}"),
                ("base.rs", text),
            ]);
            assert_eq!(upward(&found, LAYERS).len(), 1, "{text}");
        }
    }

    #[test]
    fn what_is_for_tests_alone_and_what_points_down_are_no_findings() {
        let found = crate_of(&[
            ("lib.rs", "pub mod endpoint;\npub mod base;"),
            (
                "endpoint.rs",
                "use crate::base::now;\npub fn answer() { now() }",
            ),
            (
                "base.rs",
                "pub fn now() {}\n#[cfg(test)]\nmod tests { use crate::endpoint::answer; }",
            ),
        ]);
        assert_eq!(upward(&found, LAYERS), Vec::<String>::new());
        assert_eq!(found.circles(), Vec::<Vec<Module>>::new());
    }

    #[test]
    fn a_name_that_is_passed_on_leads_to_where_it_is_defined() {
        let found = crate_of(&[
            ("lib.rs", "pub mod feed;\npub mod other;"),
            (
                "feed.rs",
                "mod cursor;\npub use cursor::Cursor;\npub struct Feed;",
            ),
            (
                "feed/cursor.rs",
                "use super::Feed;\npub struct Cursor(Feed);",
            ),
            ("other.rs", "use crate::feed::{Cursor, Feed};"),
        ]);
        let home = |name: &str| vec!["feed".to_owned(), name.to_owned()];
        let arrows = found.arrows(&vec!["other".to_owned()]);
        assert_eq!(
            arrows,
            BTreeMap::from([(vec!["feed".to_owned()], 1), (home("cursor"), 1)])
        );
        assert_eq!(found.circles(), Vec::<Vec<Module>>::new());
    }

    #[test]
    fn a_file_without_a_layer_and_one_that_names_the_framework_are_found() {
        let found = crate_of(&[
            ("lib.rs", "pub mod strange;\npub mod services;"),
            ("strange.rs", ""),
            ("services.rs", "use salvo::Router;"),
        ]);
        assert_eq!(upward(&found, LAYERS).len(), 1);
        assert_eq!(framework(&found).len(), 1);
    }
}
