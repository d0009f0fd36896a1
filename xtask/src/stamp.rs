//! Remembers what the page was last built from, so that an unchanged page is not built again.
//!
//! Contents are compared and not times: a fresh checkout or a touched file changes nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::shell;

/// Everything the page is made of, files and whole folders. `xtask` is among them since it
/// finishes what Trunk made.
const INPUTS: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "Trunk.toml",
    "config.json",
    "frontend",
    "index.html",
    "markup/Cargo.toml",
    "markup/src",
    "shared/Cargo.toml",
    "shared/src",
    "xtask/src/imports.rs",
    "xtask/src/order.rs",
    "xtask/src/page.rs",
    "xtask/src/panics.rs",
    "xtask/src/script.rs",
    "xtask/src/split.rs",
    "xtask/src/tools.rs",
    "xtask/src/type_ids.rs",
    "xtask/src/wasm.rs",
];

/// The state of the inputs and of what was made of them.
pub(crate) struct Stamp {
    inputs: String,
    file: PathBuf,
}

impl Stamp {
    /// Looks at the inputs as they are now.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub(crate) fn now() -> Result<Self> {
        let mut hash = Sha256::new();
        for input in INPUTS {
            add(&mut hash, &shell::root(), Path::new(input))?;
        }
        Ok(Self {
            inputs: hex(&hash.finalize()),
            file: shell::target().join("page.stamp"),
        })
    }

    /// Whether `dist` is what was made of these inputs, untouched.
    pub(crate) fn matches(&self, dist: &Path) -> bool {
        fs::read_to_string(&self.file)
            .is_ok_and(|kept| outputs(dist).is_ok_and(|outputs| kept == self.text(&outputs)))
    }

    /// Notes that `dist` was made of these inputs.
    ///
    /// # Errors
    /// The note cannot be written.
    pub(crate) fn keep(&self, dist: &Path) -> Result<()> {
        let text = self.text(&outputs(dist)?);
        fs::write(&self.file, text)
            .with_context(|| format!("{} cannot be written", self.file.display()))
    }

    fn text(&self, outputs: &str) -> String {
        format!("{}\n{outputs}\n", self.inputs)
    }
}

/// What lies in `dist`, as one hash.
fn outputs(dist: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    add(&mut hash, dist, Path::new(""))?;
    Ok(hex(&hash.finalize()))
}

/// Adds a file, or all files below a folder in the order of their names, with their paths.
fn add(hash: &mut Sha256, base: &Path, relative: &Path) -> Result<()> {
    let path = base.join(relative);
    if path.is_dir() {
        let mut names = fs::read_dir(&path)
            .and_then(|entries| {
                entries
                    .map(|entry| entry.map(|entry| entry.file_name()))
                    .collect::<Result<Vec<_>, _>>()
            })
            .with_context(|| format!("{} cannot be listed", path.display()))?;
        names.sort();
        for name in names {
            add(hash, base, &relative.join(name))?;
        }
        return Ok(());
    }
    let bytes = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    hash.update(relative.to_string_lossy().as_bytes());
    hash.update([0]);
    hash.update(bytes.len().to_le_bytes());
    hash.update(&bytes);
    Ok(())
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
