//! SIGHUP: `PROMETHEUS_CONFIG` and files of rules are read again.

use std::sync::Arc;

use tokio::{
    signal::unix::{SignalKind, signal},
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// Reads the file again at each signal, until the server stops. What is wrong with it is logged.
pub async fn on_hangup(app: Arc<App>, stopping: CancellationToken) {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => return tracing::error!(%error, "SIGHUP cannot be heard"),
    };
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            heard = hangups.recv() => if heard.is_none() {
                return;
            }
        }
        if !app.has_files() {
            tracing::warn!("SIGHUP: there is no file of the settings to be read again");
            continue;
        }
        let read = Arc::clone(&app);
        // it says itself what is wrong with the files
        let done = spawn_blocking(move || read.reload().is_ok()).await;
        if let Err(error) = done {
            app.telemetry.panics.inc();
            tracing::error!(%error, "reading the configuration of scraping panicked");
        }
    }
}
