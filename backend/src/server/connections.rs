//! Connections as they come to a listener, and those that are served one by one within a bound.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use super::slots::ConnectionSlots;
use crate::{app::App, base::task::catch_panic};

/// What a connection has to begin with must be there within this time: a request's head, the
/// opening of HTTP/2, a line.
pub(super) const HEAD_DEADLINE: Duration = Duration::from_secs(30);

/// Unacknowledged bytes older than this end a connection: its peer is gone. So does, to the kernel,
/// a peer that takes nothing for so long.
pub(super) const UNACKED_MAX: Duration = Duration::from_secs(30);

/// The two ends of a connection: ours and theirs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

/// How long to wait where the system has no connection to give.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// The next connection. May be given up at any time: none is lost.
pub(super) async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                // Out of file descriptors, or a client that went away in the queue: neither ends
                // the server, and trying again at once would only turn the crank.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
}

/// Has a connection from `remote` served as a task, where there is a place for it; else it is
/// closed and counted, for protocols that have no answer for this.
pub(super) fn spawn(
    app: &Arc<App>,
    places: &Arc<ConnectionSlots>,
    remote: SocketAddr,
    serving: impl Future<Output = ()> + Send + 'static,
) {
    let place = match places.take(remote.ip(), false) {
        Ok(place) => place,
        Err(full) => return app.telemetry.count_limit(full.limit()),
    };
    let serving = async move {
        serving.await;
        drop(place);
    };
    app.tasks
        .spawn(catch_panic(serving, Arc::clone(&app.telemetry)));
}

/// Ends a connection whose peer has acknowledged nothing for this long (`TCP_USER_TIMEOUT`). Only
/// Linux has it; elsewhere the system's own retransmission ends it, and the write deadline.
#[cfg(target_os = "linux")]
pub(super) fn bound_unacked(socket: &socket2::SockRef<'_>, longest: Duration) {
    // Where the system refuses, the connection works all the same.
    drop(socket.set_tcp_user_timeout(Some(longest)));
}

#[cfg(not(target_os = "linux"))]
pub(super) fn bound_unacked(_: &socket2::SockRef<'_>, _: Duration) {}

/// Has requests of one connection of HTTP/2 run among the server's tasks.
#[derive(Clone)]
pub(super) struct Tasks(TaskTracker, Arc<App>);

impl Tasks {
    pub(super) fn of(app: &Arc<App>) -> Self {
        Self(app.tasks.clone(), Arc::clone(app))
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, call: F) {
        self.0
            .spawn(catch_panic(call, Arc::clone(&self.1.telemetry)));
    }
}
