//! `dependencies`: what the crates that we use bring with them. Known faults, licences and sources
//! by cargo-deny (`deny.toml`), and dependencies that nobody uses by cargo-machete.
//!
//! Apart from `test`, since both tools are built first and the database of faults comes over the
//! network: what cannot be had is said and left out. What is found is an error.

use anyhow::{Result, bail};

use crate::{shell, tools};

/// What cargo-deny is asked that it can answer from the lock file and the registry alone.
const OFFLINE_CHECKS: [&str; 3] = ["bans", "licenses", "sources"];

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    crate::arguments::nothing(arguments)?;
    let mut wrong = Vec::new();
    let mut left_out = Vec::new();
    match tools::machete() {
        Ok(()) => {
            if !shell::succeeds(shell::cargo().args(["machete", "--with-metadata"]))? {
                wrong.push("unused dependencies");
            }
        }
        Err(error) => left_out.push(format!("unused dependencies: {error:#}")),
    }
    match tools::deny() {
        Ok(()) => {
            let deny = || {
                let mut deny = shell::cargo();
                deny.args(["deny", "--workspace", "--locked"]);
                deny
            };
            if !shell::succeeds(deny().arg("check").args(OFFLINE_CHECKS))? {
                wrong.push("licences, sources or versions");
            }
            // The faults that are known stand in a repository that is fetched.
            if shell::succeeds(deny().arg("fetch").arg("db"))? {
                if !shell::succeeds(deny().arg("check").arg("advisories"))? {
                    wrong.push("known faults");
                }
            } else {
                left_out.push("known faults: the advisory database cannot be fetched".to_owned());
            }
        }
        Err(error) => left_out.push(format!("licences, sources, known faults: {error:#}")),
    }
    for what in &left_out {
        println!("left out: {what}");
    }
    if !wrong.is_empty() {
        bail!("found above: {}", wrong.join(", "));
    }
    println!("\nnothing is wrong with what was looked at");
    Ok(())
}
