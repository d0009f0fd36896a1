//! What servers keep alike of who may come in: tokens, sessions, who guesses, and how many streams
//! each has.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::app::App;

/// How often it is looked at where nothing happens.
const EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether somebody made an admin link.
const LINKS_EVERY: Duration = Duration::from_millis(250);
/// Between two times that the others are told of streams and guesses.
const APART: Duration = Duration::from_millis(100);

/// Follows what other servers change of tokens and sessions, until the server stops.
pub async fn keep_credentials(app: Arc<App>, stopping: CancellationToken) {
    let Some(shared) = app.access.shared() else {
        return;
    };
    let mut unlike: Vec<String> = Vec::new();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
            () = shared.something() => {}
        }
        shared.follow().await;
        let now = shared.unlike();
        if now != unlike && !now.is_empty() {
            tracing::warn!(
                servers = now.join(", "),
                "AUTH_TOKENS of other servers are not those of this one: who has a token is known at some of them only"
            );
        }
        unlike = now;
    }
}

/// Has the other servers know of admin links that are made here, until the server stops.
pub async fn keep_links(app: Arc<App>, stopping: CancellationToken) {
    let Some(shared) = app.access.shared() else {
        return;
    };
    loop {
        if let Err(error) = shared.links.follow().await {
            tracing::debug!(%error, "admin links are told later");
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(LINKS_EVERY) => {}
        }
    }
}

/// Tells the other servers how many streams each token and address has here and who guesses, and
/// hears it of them, until the streams have ended.
pub async fn keep_limits(app: Arc<App>, stopped: CancellationToken) {
    loop {
        tokio::select! {
            () = stopped.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
            // Soon, so that nobody guesses everywhere at once.
            () = app.access.guessed() => tokio::time::sleep(APART).await,
        }
        match app.registry.tell_others(app.access.guesses()).await {
            Ok(heard) => app.access.hear_guesses(&heard.unwrap_or_default()),
            Err(error) => tracing::debug!(%error, "what others count is not heard"),
        }
    }
}
