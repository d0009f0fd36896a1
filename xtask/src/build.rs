//! `build`: the page, and then the server with the page inside.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
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

/// The same for whoever wants it soon, to look at it or to test it: without the linker's pass over
/// all crates, which takes a quarter of the time and makes the server a little faster. Returns
/// where it lies.
///
/// # Errors
/// One of the two does not compile.
pub(crate) fn quickly() -> Result<PathBuf> {
    let ahead = server_parts_ahead()?;
    page::build()?;
    println!("Building the server (the first time about two minutes on two cores)");
    if let Some(mut ahead) = ahead {
        // Whatever stopped it stops the build below, too, which says why.
        ahead
            .wait()
            .context("the build of the server's parts was lost")?;
    }
    shell::run(shell::cargo().args(["build", "--profile", "quick", "--package", "pulseboard"]))
        .context("the server could not be built")?;
    Ok(shell::binary("quick"))
}

/// Compiles what the server is made of, while the page is made that goes into it. At the lowest
/// priority: the tools come first, and one core is enough for most of the page. It is quiet, since
/// two builds that talk at once are understood by nobody. Nothing where one of the two is there
/// already.
fn server_parts_ahead() -> Result<Option<Child>> {
    if page::is_current()? || shell::binary("quick").exists() {
        return Ok(None);
    }
    println!("Building the server's parts meanwhile");
    let mut command = shell::cargo_last();
    command
        .args(["build", "--profile", "quick", "--package", "pulseboard"])
        // All but the page, which is not there yet.
        .args(["--no-default-features", "--quiet"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = command.spawn();
    Ok(Some(child.context("`cargo build` could not be started")?))
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
