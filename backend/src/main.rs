//! The `pulseboard` command: settings, logging, bind, run, exit code; nothing else.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use pulseboard::{
    clock::Clock,
    serve,
    settings::{self, DataDir, Launch, LogFormat, Settings},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// The exit code for what the user can mend: a setting, a port, a folder.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    match settings::load(std::env::args_os(), &|name| std::env::var(name).ok()) {
        Ok(Launch::Run(settings)) => start(settings),
        Ok(Launch::CheckConfig(_)) => say("settings are valid\n"),
        Ok(Launch::Text(text)) => say(&text),
        Err(error) => refuse(&error.to_string()),
    }
}

fn say(text: &str) -> ExitCode {
    // A closed pipe (`pulseboard --help | head`) is no failure of ours.
    drop(std::io::stdout().write_all(text.as_bytes()));
    ExitCode::SUCCESS
}

fn refuse(why: &str) -> ExitCode {
    drop(writeln!(std::io::stderr(), "pulseboard: {why}"));
    ExitCode::from(EXIT_USAGE)
}

fn start(mut settings: Settings) -> ExitCode {
    start_logging(settings.log_format);
    let _folder = match &settings.data_dir {
        DataDir::Memory => None,
        DataDir::Path(path) => match pulseboard::data_dir::open(path) {
            Ok(folder) => Some(folder),
            Err(error) => return refuse(&error.to_string()),
        },
    };
    settings.max_connections = serve::fit_open_files(settings.max_connections);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("the runtime cannot start: {error}")),
    };
    runtime.block_on(serve_until_signal(settings))
}

async fn serve_until_signal(settings: Settings) -> ExitCode {
    let address = settings.bind_addr;
    let listener = match serve::bind(address) {
        Ok(listener) => listener,
        Err(error) => {
            return refuse(&format!(
                "BIND_ADDR={address}: cannot listen there: {error}; choose another address or end what uses it"
            ));
        }
    };
    // The real port, where port 0 asked for any.
    let address = listener.local_addr().unwrap_or(address);
    let settings = Settings {
        bind_addr: address,
        ..settings
    };
    drop(writeln!(
        std::io::stdout(),
        "Pulseboard is at http://{address}/"
    ));
    tracing::info!(server.address = %address, source = ?settings.metric_source, "listening on {address}");

    let stop = CancellationToken::new();
    tokio::spawn(watch_signals(stop.clone()));
    match pulseboard::run(listener, settings, Clock::system(), stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the server could not run");
            ExitCode::FAILURE
        }
    }
}

/// The first Ctrl-C or SIGTERM stops in order, the second Ctrl-C at once.
async fn watch_signals(stop: CancellationToken) {
    wait_for_signal().await;
    stop.cancel();
    wait_for_signal().await;
    tracing::warn!("second signal: stopping at once");
    std::process::exit(130);
}

#[cfg(unix)]
async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return wait_for_interrupt().await;
    };
    tokio::select! {
        () = wait_for_interrupt() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn wait_for_signal() {
    wait_for_interrupt().await;
}

async fn wait_for_interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler the signal ends the process by itself.
        std::future::pending::<()>().await;
    }
}

fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}
