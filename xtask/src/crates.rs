//! Which crates there are and who uses whom, as their manifests say it, and whether the picture in
//! ARCHITECTURE.md says the same.
//!
//! In the picture `a, b ──▶ c ──▶ d` is an arrow from `a` and from `b` to `c`, and one from `c` to
//! `d`. A line that begins with an arrow goes on with what the first line begins with. What tests
//! and build scripts alone use is not drawn.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell;

/// Where the picture is.
const MAP: &str = "ARCHITECTURE.md";

/// Who uses whom, by the names of their folders.
type Arrows = BTreeSet<(String, String)>;

/// The crates of the workspace.
pub(crate) struct Crates {
    /// Their folders, sorted.
    pub(crate) folders: Vec<String>,
    arrows: Arrows,
}

impl Crates {
    /// What cargo says of the manifests.
    ///
    /// # Errors
    /// A manifest cannot be read.
    pub(crate) fn read() -> Result<Self> {
        let mut cargo = shell::cargo();
        cargo.args(["metadata", "--no-deps", "--offline", "--format-version=1"]);
        let text = shell::output(&mut cargo).context("the manifests cannot be read")?;
        Self::of(&serde_json::from_str(&text).context("what cargo says of them is no JSON")?)
    }

    fn of(metadata: &Value) -> Result<Self> {
        let top = PathBuf::from(text(metadata, "workspace_root")?);
        let packages = metadata["packages"].as_array();
        let mut all = Self {
            folders: Vec::new(),
            arrows: Arrows::new(),
        };
        for package in packages.into_iter().flatten() {
            let manifest = Path::new(text(package, "manifest_path")?);
            let folder = below(&top, manifest.parent().unwrap_or(&top));
            let used = package["dependencies"].as_array().into_iter().flatten();
            // `kind` says that only tests or build scripts use it; those of the registry have no
            // `path`
            let drawn = used.filter(|used| used["kind"].is_null());
            let paths = drawn.filter_map(|used| used["path"].as_str());
            let arrows = paths.map(|path| (folder.clone(), below(&top, Path::new(path))));
            all.arrows.extend(arrows);
            all.folders.push(folder);
        }
        all.folders.sort();
        Ok(all)
    }

    /// Where the picture says something else than the manifests, a line each.
    ///
    /// # Errors
    /// There is no picture.
    pub(crate) fn findings(&self) -> Result<Vec<String>> {
        let map = fs::read_to_string(shell::root().join(MAP))
            .with_context(|| format!("{MAP} cannot be read"))?;
        self.differences(&map)
    }

    fn differences(&self, map: &str) -> Result<Vec<String>> {
        let drawn = drawn(map)?;
        let told = |(from, to): &(String, String), what: &str| {
            format!("{MAP}: in the picture of crates {from} ──▶ {to} {what}")
        };
        let missing = self.arrows.difference(&drawn);
        let wrong = drawn.difference(&self.arrows);
        let missing = missing.map(|arrow| told(arrow, "is missing"));
        let wrong = wrong.map(|arrow| told(arrow, &format!("is not in {}/Cargo.toml", arrow.0)));
        Ok(missing.chain(wrong).collect())
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    let text = value[key].as_str();
    text.with_context(|| format!("cargo's metadata has no {key}"))
}

fn below(top: &Path, folder: &Path) -> String {
    let folder = folder.strip_prefix(top).unwrap_or(folder);
    folder.display().to_string()
}

/// The arrows of the picture: of the first block that begins with the server's crate.
fn drawn(map: &str) -> Result<Arrows> {
    let blocks = map.split("\n```text\n").skip(1);
    let block = blocks
        .filter_map(|rest| rest.split_once("\n```"))
        .find(|(block, _)| block.starts_with("backend ") && block.contains('▶'));
    let Some((block, _)) = block else {
        bail!("{MAP} has no picture of crates that begins with backend and has arrows");
    };
    let names = |part: &str| -> Vec<String> {
        let part = part.trim_matches(|c: char| c.is_whitespace() || "│├└─".contains(c));
        let names = part.split(',').map(str::trim).map(str::to_owned);
        names.filter(|name| !name.is_empty()).collect()
    };
    let mut arrows = Arrows::new();
    let mut first: Option<Vec<String>> = None;
    for line in block.lines() {
        let mut parts = line.split('▶').map(names);
        let mut from = parts.next().unwrap_or_default();
        match &first {
            Some(first) if from.is_empty() => from.clone_from(first),
            Some(_) => {}
            None => first = Some(from.clone()),
        }
        for to in parts {
            for one in &from {
                arrows.extend(to.iter().map(|other| (one.clone(), other.clone())));
            }
            from = to;
        }
    }
    Ok(arrows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A workspace of three crates, of which `series` is for the tests of `backend` alone.
    fn three() -> Crates {
        let uses = |name: &str, kind: Value| json!({"path": format!("/top/{name}"), "kind": kind});
        let package = |name: &str, dependencies: Value| json!({"manifest_path": format!("/top/{name}/Cargo.toml"), "dependencies": dependencies});
        let from_elsewhere = json!({"name": "bytes", "kind": null});
        let metadata = json!({"workspace_root": "/top", "packages": [
            package("backend", json!([uses("engine", Value::Null), uses("series", json!("dev")), from_elsewhere])),
            package("engine", json!([uses("series", Value::Null)])),
            package("series", json!([])),
        ]});
        Crates::of(&metadata).expect("metadata")
    }

    fn map(picture: &str) -> String {
        format!("# A map\n\n```text\nsource ──▶ window\n```\n\n```text\n{picture}\n```\n\nMore.\n")
    }

    #[test]
    fn a_picture_that_is_right_is_no_finding() {
        let crates = three();
        assert_eq!(crates.folders, ["backend", "engine", "series"]);
        for picture in [
            "backend ──▶ engine ──▶ series",
            "backend ─▶ engine\n\nengine ▶ series",
        ] {
            let findings = crates.differences(&map(picture)).expect("a picture");
            assert_eq!(findings, Vec::<String>::new(), "{picture}");
        }
    }

    #[test]
    fn an_arrow_that_is_missing_and_one_too_many_are_found() {
        let picture = "backend ──▶ engine\n   └──────▶ series";
        assert_eq!(
            three().differences(&map(picture)).expect("a picture"),
            [
                "ARCHITECTURE.md: in the picture of crates engine ──▶ series is missing",
                "ARCHITECTURE.md: in the picture of crates backend ──▶ series is not in \
                 backend/Cargo.toml",
            ]
        );
    }

    #[test]
    fn a_line_names_several_on_both_sides() {
        let arrows = drawn(&map("backend ─▶ a, b ─▶ c, d\n   └────▶ e")).expect("a picture");
        let arrows: Vec<String> = arrows.iter().map(|(a, b)| format!("{a}{b}")).collect();
        assert_eq!(
            arrows,
            ["ac", "ad", "bc", "bd", "backenda", "backendb", "backende"]
        );
    }

    #[test]
    fn a_map_without_the_picture_is_an_error() {
        assert!(three().differences("# A map\n").is_err());
    }

    #[test]
    fn our_own_picture_says_what_the_manifests_say() {
        let findings = Crates::read().and_then(|crates| crates.findings());
        assert_eq!(findings.expect("a picture"), Vec::<String>::new());
    }
}
