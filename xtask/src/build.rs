//! `build`: the page, and then the server with the page inside.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{page, shell};

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    crate::arguments::nothing(arguments)?;
    everything()?;
    report(&page::dist(), &shell::server_binary())
}

/// Leaves `target/release/pulseboard`; does nothing where nothing changed.
///
/// # Errors
/// One of the two does not compile.
pub(crate) fn everything() -> Result<()> {
    page::build()?;
    println!("Building the server (the first time about four minutes on two cores)");
    shell::run(shell::cargo().args(["build", "--release", "--package", "pulseboard"]))
        .context("the server could not be built")
}

/// The same for whoever wants it soon, to look at it or to test it: without the linker's pass over all crates, which
/// takes a quarter of the time and makes the server a little faster. Returns where it lies.
///
/// # Errors
/// One of the two does not compile.
pub(crate) fn quickly() -> Result<PathBuf> {
    page::build()?;
    println!("Building the server (the first time about three minutes on two cores)");
    shell::run(shell::cargo().args(["build", "--profile", "quick", "--package", "pulseboard"]))
        .context("the server could not be built")?;
    Ok(shell::binary("quick"))
}

/// Prints what a first visit loads and how large the server is.
pub(crate) fn report(dist: &Path, server: &Path) -> Result<()> {
    let sizes = page::sizes(dist)?;
    println!(
        "  first load   {:>8}  (brotli, all files)",
        kilobytes(sizes.first)
    );
    println!("  of it wasm   {:>8}", kilobytes(sizes.wasm));
    println!("  when opened  {:>8}", kilobytes(sizes.late));
    println!(
        "  server       {:>8}  {}",
        kilobytes(fs::metadata(server)?.len()),
        server.display()
    );
    Ok(())
}

/// Thousands of bytes with one decimal, such as `123.4 kB`.
fn kilobytes(bytes: u64) -> String {
    format!("{}.{} kB", bytes / 1000, bytes % 1000 / 100)
}
