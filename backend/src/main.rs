//! The `pulseboard` command: settings, logging, bind, run, exit code; nothing else.

mod agent;
mod data;
mod process;
mod rule_files;

use std::{io::Write, process::ExitCode};

use pulseboard::{
    access::{link, secret::new_secret},
    base::{
        clock::Clock,
        data_dir::{self, Served},
    },
    certificate,
    server::accept,
    settings::{self, DataDir, Launch, Settings},
};
use tokio_util::sync::CancellationToken;

use self::process::{Signals, refuse, say, start_logging, watch_signals};

fn main() -> ExitCode {
    match settings::load(std::env::args_os(), &|name| std::env::var(name).ok()) {
        Ok(Launch::Run(settings)) => checked(&settings).unwrap_or_else(|| start(settings)),
        Ok(Launch::CheckConfig(settings)) => {
            checked(&settings).unwrap_or_else(|| say("settings are valid\n"))
        }
        Ok(Launch::AdminLink(settings)) => admin_link(&settings),
        Ok(Launch::Agent(settings, arguments)) => agent::start(&settings, arguments),
        Ok(Launch::Data(settings, command)) => data::start(&settings, command),
        Ok(Launch::Rules(command)) => rule_files::start(&command),
        Ok(Launch::Text(text)) => say(&text),
        Err(error) => refuse(&error.to_string()),
    }
}

/// Refuses settings that parse but cannot be worked with.
fn checked(settings: &Settings) -> Option<ExitCode> {
    let rooms = pulseboard::rooms::check(&settings.rooms);
    let file = settings.prometheus_config.as_deref();
    rooms
        .map_err(|error| error.to_string())
        .and_then(|()| pulseboard::scraping::check(file))
        .and_then(|config| {
            let config = config.as_ref().map(pulseboard::scraping::from_config);
            pulseboard::rules::check(&config.unwrap_or_default(), &settings.rule_files)
        })
        .and_then(|()| pulseboard::notifying::check(settings.alertmanager_config.as_deref()))
        .and_then(|_loaded| certificate::check(settings))
        .and_then(|()| pulseboard::archive::check(settings))
        .err()
        .map(|error| refuse(&error))
}

/// Leaves a link in the folder of the server that runs with these settings.
fn admin_link(settings: &Settings) -> ExitCode {
    let DataDir::Path(folder) = &settings.data_dir else {
        return refuse(
            "DATA_DIR=memory keeps nothing on disk, so there is no place where a running server could find another admin link; use the one that its start printed (good for ten minutes), restart it, or give it a token in AUTH_TOKENS",
        );
    };
    let held = match data_dir::is_held(folder) {
        Ok(held) => held,
        Err(error) => {
            return refuse(&format!(
                "DATA_DIR={}: {error}; name the folder of the running server, as its user or root",
                folder.display()
            ));
        }
    };
    match link::leave(folder, Clock::system().now_ms()) {
        Ok(secret) => {
            if !held {
                drop(writeln!(
                    std::io::stderr(),
                    "pulseboard: no server runs on DATA_DIR={} now; the link works once one does",
                    folder.display()
                ));
            }
            let said = data_dir::said_address(folder).filter(|_| held);
            let url = link::url(&said.unwrap_or_else(|| served(settings)), &secret);
            say(&format!("{url}\n"))
        }
        Err(error) => refuse(&format!(
            "DATA_DIR={}: the link cannot be left there: {error}; run this as the server's user or root",
            folder.display()
        )),
    }
}

fn served(settings: &Settings) -> Served {
    Served {
        address: settings.bind_addr,
        tls: settings.tls_cert.is_some(),
    }
}

fn start(mut settings: Settings) -> ExitCode {
    // Whatever is made from here on, by us or by what we are built of, is its owner's alone.
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    start_logging(settings.log_format);
    for warning in settings::warnings(&settings) {
        tracing::warn!("{warning}");
    }
    let _folder = match &settings.data_dir {
        DataDir::Memory => None,
        DataDir::Path(path) => match data_dir::open(path) {
            Ok(folder) => Some(folder),
            Err(error) => return refuse(&error.to_string()),
        },
    };
    settings.max_connections = accept::fit_open_files(settings.max_connections);
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
    let listener = match accept::bind(address) {
        Ok(listener) => listener,
        Err(error) => {
            return refuse(&format!(
                "BIND_ADDR={address}: cannot listen there: {error}; choose another address or end what uses it"
            ));
        }
    };
    // Before the address is printed: who reads it may stop us in the same moment.
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return refuse(&format!("signals cannot be heard: {error}")),
    };
    // The real port, where port 0 asked for any.
    let address = listener.local_addr().unwrap_or(address);
    let settings = Settings {
        bind_addr: address,
        ..settings
    };
    let served = served(&settings);
    let secret = match new_secret() {
        Ok(secret) => secret,
        Err(error) => return refuse(&format!("the system gives no random numbers: {error}")),
    };
    if let DataDir::Path(folder) = &settings.data_dir
        && let Err(error) = data_dir::say_address(folder, &served)
    {
        return refuse(&format!("DATA_DIR={}: {error}", folder.display()));
    }
    drop(writeln!(
        std::io::stdout(),
        "Pulseboard is at {}://{address}/\nTo be admin, open once, within ten minutes: {}",
        served.scheme(),
        link::url(&served, &secret)
    ));
    tracing::info!(server.address = %address, source = ?settings.metric_source, "listening on {address}");

    let stop = CancellationToken::new();
    tokio::spawn(watch_signals(signals, stop.clone()));
    match pulseboard::run(listener, settings, Some(&secret), Clock::system(), stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the server could not run");
            ExitCode::FAILURE
        }
    }
}
