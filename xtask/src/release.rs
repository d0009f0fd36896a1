//! `release`: an archive that somebody without a toolchain downloads and runs.
//!
//! `target/release-archives/pulseboard-VERSION-TARGET.tar.gz` holds the server with the page
//! inside, the licences, the README and the example of a configuration file. The release
//! workflow runs it once a target and adds the checksums.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{page, shell};

/// What lies beside the server in the archive.
const BESIDE: &[&str] = &[
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "config.example.toml",
];

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    let target = match arguments {
        [] => host_target()?,
        [flag, target] if flag == "--target" => target.clone(),
        _ => bail!("`cargo xtask release` takes `--target TRIPLE` and nothing else"),
    };
    page::build()?;
    shell::run(shell::cargo().args([
        "build",
        "--release",
        "--package",
        "pulseboard",
        "--target",
        &target,
    ]))?;
    let archive = pack(&target)?;
    println!("\n{}", archive.display());
    Ok(())
}

/// The triple that the compiler builds for when it is told nothing.
fn host_target() -> Result<String> {
    let said = shell::output(shell::command("rustc").arg("-vV"))?;
    said.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc names no host")
}

/// Puts all into a folder named like the archive, so that unpacking it litters nothing.
fn pack(target: &str) -> Result<PathBuf> {
    let name = format!("pulseboard-{}-{target}", env!("CARGO_PKG_VERSION"));
    let archives = shell::target().join("release-archives");
    let folder = archives.join(&name);
    shell::remove(&folder)?;
    fs::create_dir_all(&folder)?;
    let suffix = if target.contains("windows") {
        ".exe"
    } else {
        ""
    };
    let server = format!("pulseboard{suffix}");
    let built = shell::target().join(target).join("release").join(&server);
    fs::copy(&built, folder.join(&server))
        .with_context(|| format!("{} is not there", built.display()))?;
    for file in BESIDE {
        fs::copy(shell::root().join(file), folder.join(file))
            .with_context(|| format!("{file} cannot be copied"))?;
    }
    let archive = archives.join(format!("{name}.tar.gz"));
    // Every system that we release for has a `tar` that packs with gzip.
    shell::run(
        shell::command("tar")
            .current_dir(&archives)
            .arg("-czf")
            .arg(&archive)
            .arg(Path::new(&name)),
    )?;
    shell::remove(&folder)?;
    Ok(archive)
}
