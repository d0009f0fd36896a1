//! Tells cargo when the page changed that a release build has within, and gives it its commit.

use std::{env, fs, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");

    // What is optimised has the page within, and carries its commit; other builds read the page
    // when they start, so that neither a new one nor a commit compiles this crate anew.
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    // The embedding macro watches the files it saw and not the folder, so a new file would be
    // missed. Cargo takes an absent path as changed for ever and would compile this crate at every
    // build, hence an empty folder; where that cannot be written, the page cannot appear either.
    let dist = Path::new("../dist");
    if release && (dist.is_dir() || fs::create_dir(dist).is_ok()) {
        println!("cargo::rerun-if-changed=../dist");
    }
    if release && Path::new("../.git").exists() {
        if let Some(log) =
            git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|path| Path::new(path).is_file())
        {
            println!("cargo::rerun-if-changed={log}");
        }
        if let Some(commit) = git(&["rev-parse", "--short=10", "HEAD"]) {
            println!("cargo::rustc-env=PULSEBOARD_COMMIT={commit}");
        }
    }
}

/// The one line that `git` answers; `None` without git, without a commit, or on any failure.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}
