//! What every way to start the binary needs: words and exit codes, signals, logging.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use pulseboard::settings::LogFormat;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// The exit code for what the user can mend: a setting, a port, a folder.
const EXIT_USAGE: u8 = 2;

/// Prints it and ends well.
pub(crate) fn say(text: &str) -> ExitCode {
    // A closed pipe (`pulseboard --help | head`) is no failure of ours.
    drop(std::io::stdout().write_all(text.as_bytes()));
    ExitCode::SUCCESS
}

/// Says what the user can mend, and ends with the exit code for that.
pub(crate) fn refuse(why: &str) -> ExitCode {
    drop(writeln!(std::io::stderr(), "pulseboard: {why}"));
    ExitCode::from(EXIT_USAGE)
}

/// Says what was left out of what was done, and ends with a code that tells of it.
pub(crate) fn complain(of: &str) -> ExitCode {
    drop(writeln!(std::io::stderr(), "pulseboard: {of}"));
    ExitCode::FAILURE
}

/// The first Ctrl-C or SIGTERM stops in order, the second at once.
pub(crate) async fn watch_signals(mut signals: Signals, stop: CancellationToken) {
    signals.next().await;
    stop.cancel();
    signals.next().await;
    tracing::warn!("second signal: stopping at once");
    std::process::exit(130);
}

/// Ctrl-C and, where there is one, SIGTERM, which end the process; heard from the moment that this
/// is made.
#[cfg(unix)]
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// Unheard, it would end the process; whoever reads files again at it listens, too.
    _hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            _hangup: signal(SignalKind::hangup())?,
        })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(windows)]
pub(crate) struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    pub(crate) fn new() -> std::io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    pub(crate) async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// Log lines on standard error, in this shape.
pub(crate) fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}
