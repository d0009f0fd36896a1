//! What `tidy` asks of the crates that we use: licences that go with ours, and none that nobody
//! uses. Both are answered by `cargo metadata` alone, so no tool has to be built first.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{shell, text};

/// Licences that ask for no more than their text beside a binary (SPDX identifiers).
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that are named for a feature of theirs alone, which another crate then uses.
const FOR_THEIR_FEATURES: &[&str] = &["proc-macro2", "getrandom"];

/// All findings, in the order of `Cargo.lock`.
///
/// # Errors
/// `cargo metadata` fails, such as where `Cargo.lock` would have to change.
pub(crate) fn findings() -> Result<Vec<String>> {
    let said =
        shell::output(shell::cargo().args(["metadata", "--format-version", "1", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&said).context("what cargo metadata says")?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let mut findings = Vec::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap_or_default();
        match package["license"].as_str() {
            Some(licence) if is_allowed(licence) => {}
            Some(licence) => {
                findings.push(format!("{name}: the licence {licence:?} is none of ours"))
            }
            None => findings.push(format!("{name}: names no licence")),
        }
        // Crates from a registry have a source, and answer for themselves.
        if package["source"].is_null() {
            findings.extend(unused(name, package)?);
        }
    }
    Ok(findings)
}

/// Dependencies of one of our crates that none of its files names.
fn unused(name: &str, package: &Value) -> Result<Vec<String>> {
    let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
    let folder = manifest.parent().context("a manifest is in a folder")?;
    let text = text_of(folder)?;
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    let mut names: Vec<&str> = dependencies
        .filter_map(|dependency| {
            dependency["rename"]
                .as_str()
                .or(dependency["name"].as_str())
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    let is_named = |crate_name: &&str| text::has_word(&text, &crate_name.replace('-', "_"));
    Ok(names
        .into_iter()
        .filter(|crate_name| !is_named(crate_name) && !FOR_THEIR_FEATURES.contains(crate_name))
        .map(|crate_name| format!("{name}: the dependency {crate_name} is not used"))
        .collect())
}

/// All Rust text of a crate.
fn text_of(folder: &Path) -> Result<String> {
    let mut text = String::new();
    for file in text::sources(folder)? {
        if file.extension().is_some_and(|ending| ending == "rs") {
            text.push_str(&fs::read_to_string(folder.join(file))?);
        }
    }
    Ok(text)
}

/// Whether an SPDX expression leaves a choice that is among ours. A slash is an older `OR`.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    any_of(&words, &mut at) && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = all_of(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        // Not short-circuited: the words have to be read in any case.
        allowed |= all_of(words, at);
    }
    allowed
}

fn all_of(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = one(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        allowed &= one(words, at);
    }
    allowed
}

fn one(words: &[&str], at: &mut usize) -> bool {
    let Some(word) = words.get(*at) else {
        return false;
    };
    *at += 1;
    if *word == "(" {
        let allowed = any_of(words, at);
        *at += 1;
        return allowed;
    }
    if words.get(*at) == Some(&"WITH") {
        let whole = words.get(*at - 1..*at + 2).unwrap_or_default().join(" ");
        *at += 2;
        return LICENCES.contains(&whole.as_str());
    }
    LICENCES.contains(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_allowed_where_a_choice_of_ours_is_left() {
        for allowed in [
            "MIT",
            "MIT/Apache-2.0",
            "Apache-2.0 / MIT",
            "MIT OR Apache-2.0 OR LGPL-2.1-or-later",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
        ] {
            assert!(is_allowed(allowed), "{allowed}");
        }
        for other in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT OR Apache-2.0) AND AGPL-3.0",
            "GPL-2.0 WITH Classpath-exception-2.0",
        ] {
            assert!(!is_allowed(other), "{other}");
        }
    }

    #[test]
    fn a_crate_is_not_used_by_one_with_a_longer_name() {
        assert!(text::has_word("use serde::Serialize;", "serde"));
        assert!(!text::has_word("use serde_json::Value;", "serde"));
    }
}
