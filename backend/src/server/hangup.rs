//! SIGHUP: the files of the settings are read again.

use std::sync::Arc;

use tokio::{
    signal::unix::{SignalKind, signal},
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// Reads the files again at each signal, until the server stops. What is wrong with them is logged.
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
        let read = Arc::clone(&app);
        match spawn_blocking(move || read.reload()).await {
            Ok(Ok(false)) => tracing::warn!(
                "SIGHUP: there is no PROMETHEUS_CONFIG, ALERTMANAGER_CONFIG, RULE_FILES or TLS_CERT to be read again"
            ),
            // each says itself what is wrong with its file
            Ok(_) => {}
            Err(error) => {
                app.telemetry.panics.inc();
                tracing::error!(%error, "reading the files of the settings again panicked");
            }
        }
    }
}
