//! What comes from npm: pinned packages, each in a folder of its own under `target/tools/npm`.
//!
//! Only helpers are had this way; the product itself contains nothing from npm.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::shell;

/// A package and the one version that is used.
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

/// A recent `wasm-opt`: distributions ship one too old to read what today's compiler writes.
pub(crate) const BINARYEN: Package = Package {
    name: "binaryen",
    version: "132.0.0",
};

/// The accessibility checks that the browser tests run on the page.
pub(crate) const AXE: Package = Package {
    name: "axe-core",
    version: "4.14.1",
};

/// A client of Prometheus' API that is tried at the server.
pub(crate) const PROMETHEUS_QUERY: Package = Package {
    name: "prometheus-query",
    version: "3.5.1",
};

impl Package {
    fn prefix(&self) -> PathBuf {
        shell::tools()
            .join("npm")
            .join(format!("{}-{}", self.name, self.version))
    }

    /// Where the package lies once installed.
    pub(crate) fn folder(&self) -> PathBuf {
        self.prefix().join("node_modules").join(self.name)
    }

    /// Whether it was installed completely.
    pub(crate) fn is_installed(&self) -> bool {
        self.folder().join("package.json").is_file()
    }

    /// Installs the package when it is missing.
    ///
    /// # Errors
    /// npm is missing, or could not fetch it; the text says which.
    pub(crate) fn install(&self) -> Result<()> {
        if self.is_installed() {
            return Ok(());
        }
        let npm = shell::find("npm").context("npm is not on the PATH (it comes with Node.js)")?;
        std::fs::create_dir_all(self.prefix())?;
        let mut command = shell::command(npm);
        command
            .args([
                "install",
                "--no-save",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--loglevel=error",
                "--prefix",
            ])
            .arg(self.prefix())
            .arg(format!("{}@{}", self.name, self.version));
        shell::run(&mut command)?;
        if !self.is_installed() {
            bail!(
                "npm reported success, and {} is not there",
                self.folder().display()
            );
        }
        Ok(())
    }
}
