//! Tasks whose panics end them and nothing else.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;

use super::telemetry::Telemetry;

/// A task whose panic ends it and nothing else, and is counted. What the task owned is dropped with
/// it: the socket, the place among the streams, the seats in members.
pub fn catch_panic(
    task: impl Future<Output = ()> + Send,
    telemetry: Arc<Telemetry>,
) -> impl Future<Output = ()> + Send {
    // Not an `async` block, which would hold the task twice, and there are thousands.
    AssertUnwindSafe(task)
        .catch_unwind()
        .map(move |ended| ended.unwrap_or_else(|_| count_panic(&telemetry)))
}

/// Counts a panic of a connection's task, and says so.
pub fn count_panic(telemetry: &Telemetry) {
    telemetry.panics.inc();
    tracing::error!("a connection's task panicked; it ended alone");
}
