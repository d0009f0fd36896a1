//! An event stream's session: one feed, followed by a client that has nothing to say.

use std::sync::Arc;

use super::{
    registry::Admission,
    viewer::{Viewer, Woken},
};
use crate::stream::ws_session::discard;

/// Serves one event stream until it ends; the viewer's task. The client has nothing to say.
pub async fn run(viewer: Arc<Viewer>, admission: Admission) {
    let mut left = false;
    let why = loop {
        if let Some(why) = viewer.end_reason() {
            break why;
        }
        if left {
            tokio::task::yield_now().await;
        } else {
            left = viewer.woken().await == Woken::Readable;
        }
        left = left && discard(&viewer);
    };
    admission.end(&viewer, why);
}
