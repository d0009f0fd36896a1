//! Leaving a service of several servers: whoever chooses between them is told first, and viewers go
//! to the others a few at a time.
//!
//! ```text
//! SIGTERM   /readyz says 503; requests and streams are served on
//!    │      viewers are closed with 1012 in equal parts, those that came first before the others
//! DRAIN_SEC
//!    │      the rest is told; no connection is taken any more: as every server that stops
//! ```

use std::{sync::Arc, time::Duration};

use crate::app::App;

/// Viewers are told in parts, one each so often.
const PART: Duration = Duration::from_millis(100);

/// Who was told to move comes back within this time: there are others that wait for it.
const COME_BACK_SPREAD_MS: u64 = 500;

/// Serves on for `time`, while viewers are sent away and nobody new is to be sent here.
pub(super) async fn drain(app: &Arc<App>, time: Duration) {
    app.draining.cancel();
    if time.is_zero() {
        return;
    }
    tracing::info!(
        streams.open = app.registry.open(),
        "leaving: viewers go to the other servers within {} s",
        time.as_secs()
    );
    let parts = u32::try_from(time.as_millis() / PART.as_millis()).unwrap_or(u32::MAX);
    for left in (1..=parts).rev() {
        tokio::time::sleep(PART).await;
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        app.registry.tell_part_to_move(left, COME_BACK_SPREAD_MS);
    }
}
