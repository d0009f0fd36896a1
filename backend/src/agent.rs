//! `pulseboard agent`: the same binary as a sender.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use pulseboard::{
    base::data_dir,
    settings::{AgentArguments, DataDir, Settings},
};
use pulseboard_agent::{Limits, Options};
use pulseboard_scrape::{Config, config};
use tokio::{sync::mpsc, task::spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::process::{Signals, refuse, say, start_logging, watch_signals};

/// The folder in `DATA_DIR`, so that a server may run beside it.
const FOLDER: &str = "agent";

/// Measures and sends until it is told to stop.
pub(crate) fn start(settings: &Settings, arguments: AgentArguments) -> ExitCode {
    if let Err(error) = pulseboard_agent::check_hub(&arguments.to) {
        return refuse(&format!(
            "--to (AGENT_TO): {error}; it takes the hub's address, such as https://hub.example.org:3000"
        ));
    }
    if arguments.print_unit {
        let program = std::env::current_exe();
        let program = program.map_or_else(
            |_| "/usr/local/bin/pulseboard".to_owned(),
            |path| path.display().to_string(),
        );
        return say(&pulseboard_agent::unit::unit(&program, &arguments.to));
    }
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    start_logging(settings.log_format);
    let DataDir::Path(folder) = &settings.data_dir else {
        return refuse(
            "DATA_DIR=memory: an agent keeps what the hub does not take on disk; name a folder",
        );
    };
    let folder = folder.join(FOLDER);
    let scrape = match &arguments.scrape_config {
        Some(path) => match config::load(path) {
            Ok(config) => Some(config),
            Err(error) => return refuse(&format!("--scrape-config: {error}")),
        },
        None => None,
    };
    let _folder = match data_dir::open(&folder) {
        Ok(folder) => folder,
        Err(error) => return refuse(&error.to_string()),
    };
    let options = Options {
        to: arguments.to,
        token: arguments.token,
        token_file: arguments.token_file,
        ca_file: arguments.ca_file,
        tenant: arguments.tenant,
        instance: settings.instance.clone(),
        interval: settings.metric_interval,
        scrape,
        local: arguments.local,
        folder,
        limits: Limits {
            age: Duration::from_secs(arguments.buffer_hours * 3_600),
            bytes: arguments.buffer_mib << 20,
        },
    };
    // One thread: what there is to do takes milliseconds a second.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("the runtime cannot start: {error}")),
    };
    let ended = runtime.block_on(async {
        let signals = match Signals::new() {
            Ok(signals) => signals,
            Err(error) => return Err(format!("signals cannot be heard: {error}")),
        };
        let stop = CancellationToken::new();
        tokio::spawn(watch_signals(signals, stop.clone()));
        let (read, configs) = mpsc::channel(1);
        #[cfg(unix)]
        tokio::spawn(on_hangup(arguments.scrape_config, read));
        #[cfg(not(unix))]
        drop(read);
        let ran = pulseboard_agent::run(options, configs, stop).await;
        ran.map_err(|error| error.to_string())
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => refuse(&why),
    }
}

/// Reads the scrape configuration again at each SIGHUP, until nobody takes one. A file with a
/// mistake changes nothing.
#[cfg(unix)]
async fn on_hangup(file: Option<PathBuf>, read: mpsc::Sender<Config>) {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => return tracing::error!(%error, "SIGHUP cannot be heard"),
    };
    while hangups.recv().await.is_some() {
        let Some(file) = file.clone() else {
            tracing::warn!("SIGHUP: there is no --scrape-config to be read again");
            continue;
        };
        let loaded = spawn_blocking(move || config::load(&file)).await;
        match loaded {
            Ok(Ok(config)) => {
                if read.send(config).await.is_err() {
                    return;
                }
            }
            Ok(Err(error)) => {
                tracing::error!("--scrape-config: {error}; what was read before goes on");
            }
            Err(error) => tracing::error!(%error, "reading the scrape configuration panicked"),
        }
    }
}
