//! Programs of Debian packages, unpacked and not installed: nothing starts as a service, nothing
//! changes outside of `target`, and no rights are needed.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;

/// The program of Prometheus: one that is installed, else Debian's.
///
/// # Errors
/// There is neither.
pub(crate) fn prometheus() -> Result<PathBuf> {
    match shell::find("prometheus") {
        Some(installed) => Ok(installed),
        None => Ok(unpacked("prometheus", &["prometheus"])?.join("usr/bin/prometheus")),
    }
}

/// Unpacks `packages` into one folder below `target` and returns it; what is there already stays.
/// Their dependencies are the caller's to name.
///
/// # Errors
/// This is no Debian, or a package cannot be fetched; the text says which.
pub(crate) fn unpacked(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = shell::target().join("debian").join(name);
    // Written last, so that a folder without it is one that was interrupted.
    let complete = folder.join(".complete");
    if complete.is_file() {
        return Ok(folder);
    }
    let apt = shell::find("apt-get").context("there is no apt-get here")?;
    let dpkg = shell::find("dpkg-deb").context("there is no dpkg-deb here")?;
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let fetched = folder.join("packages");
    fs::create_dir_all(&fetched)?;
    let fetch = || {
        let mut command = shell::command(&apt);
        command
            .current_dir(&fetched)
            .args(["--quiet", "--quiet", "download"])
            .args(packages);
        shell::run(&mut command)
    };
    if fetch().is_err() {
        // A fresh machine has no package lists; only root may fetch them.
        shell::run(shell::command(&apt).args(["--quiet", "--quiet", "update"]))?;
        fetch()?;
    }
    let mut found = 0;
    for entry in fs::read_dir(&fetched)? {
        let package = entry?.path();
        if package.extension().is_some_and(|ending| ending == "deb") {
            shell::run(
                shell::command(&dpkg)
                    .arg("--extract")
                    .arg(&package)
                    .arg(&folder),
            )?;
            found += 1;
        }
    }
    if found != packages.len() {
        bail!("apt-get reported success, and left {found} of {packages:?}");
    }
    fs::remove_dir_all(&fetched)?;
    fs::write(complete, "")?;
    Ok(folder)
}
