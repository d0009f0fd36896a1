//! `run`: builds what changed and becomes the server.

use std::process::Command;

use anyhow::Result;

use crate::{build, shell};

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    let flags = crate::arguments::passed_on(arguments)?;
    let server = build::quickly()?;
    // Where the user stands, so that `./data` and `--config` mean what they say there.
    become_server(Command::new(server).args(flags))
}

/// The server takes this process's place: Ctrl-C and SIGTERM reach it and nobody else, and its
/// exit code is ours.
#[cfg(unix)]
fn become_server(server: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt;

    let error = server.exec();
    Err(anyhow::Error::new(error)
        .context(format!("{} could not be started", shell::describe(server))))
}

/// Ctrl-C reaches both; this process ignores it and waits for the server to stop in order.
#[cfg(not(unix))]
fn become_server(server: &mut Command) -> Result<()> {
    ctrlc::set_handler(|| {})?;
    let status = server.status()?;
    std::process::exit(status.code().unwrap_or(1))
}
