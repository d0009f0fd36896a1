//! Accepts connections and has them served, each as a task: [`super::doors`] does the handshake
//! where TLS is spoken, and then it is HTTP/1.1 ([`super::http1`]) or HTTP/2 ([`super::http2`]).
//!
//! salvo's own server is not used for this: it hands no socket out, its idle fuse races the
//! heartbeats, and its graceful stop leaves sockets and streams open. Its routing, hoops and
//! handlers are, through [`salvo::Service`].

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use socket2::TcpKeepalive;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
};

use crate::{
    app::App,
    base::{error::AppError, task::catch_panic},
    certificate::{HTTP_1, HTTP_2},
    http::via,
    server::{
        connections::{self, Ends, UNACKED_MAX, bound_unacked},
        doors::{Doors, say},
        http1, http2,
        slots::{ConnectionSlots, Full, Place},
    },
};

/// Connections that the kernel completes before we accept them; thousands of pages may come back
/// in one second after a restart.
const BACKLOG: u32 = 4_096;
/// A peer that nothing was heard of for this long is asked by the kernel whether it is there.
const ASKED_AFTER: Duration = Duration::from_secs(60);
/// Files that are not connections: the history, logs, the runtime's own.
const FILES_RESERVED: u64 = 128;
/// The limit asked for however few streams are wanted.
const OPEN_FILES_AT_LEAST: u64 = 4_096;
/// Plain HTTP connections beside the streams.
const HTTP_CONNECTIONS_MAX: usize = 1_024;
/// Connections past their address's share that are told so at once; further ones are closed.
const REFUSALS_MAX: usize = 64;
/// When it may come back.
const REFUSAL_RETRY_S: u32 = 5;

fn fitting_streams(wanted: usize, files_limit: u64) -> usize {
    let left = files_limit.saturating_sub(FILES_RESERVED + HTTP_CONNECTIONS_MAX as u64);
    wanted
        .min(usize::try_from(left).unwrap_or(usize::MAX))
        .max(1)
}

/// Binds the listening socket.
///
/// # Errors
/// The address is taken or not ours.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Raises the open-file limit as far as allowed and returns how many streams it then carries: at
/// most `wanted`, fewer (in a warning) where the limit does not suffice.
#[must_use]
pub fn fit_open_files(wanted: usize) -> usize {
    let needed = (wanted + HTTP_CONNECTIONS_MAX) as u64 + FILES_RESERVED;
    let Ok(limit) = rlimit::increase_nofile_limit(needed.max(OPEN_FILES_AT_LEAST)) else {
        return wanted;
    };
    let fitting = fitting_streams(wanted, limit);
    if fitting < wanted {
        tracing::warn!(
            files.limit = limit,
            "MAX_CONNECTIONS={wanted} needs more open files than the limit of {limit} allows; lowered to {fitting}"
        );
    }
    fitting
}

/// Accepts until the server stops, and gives the listener back; every connection is a task of
/// `app.tasks`.
pub async fn accept(app: Arc<App>, listener: TcpListener, service: salvo::Service) -> TcpListener {
    let service = Arc::new(service);
    let doors = Arc::new(Doors::new(&app, &[HTTP_2, HTTP_1]));
    let bound = listener.local_addr().unwrap_or(app.settings.bind_addr);
    let places = ConnectionSlots::new(
        app.registry.max() + HTTP_CONNECTIONS_MAX,
        app.settings.max_connections_per_address,
    );
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    loop {
        let (stream, remote) = tokio::select! {
            () = app.stopping.cancelled() => return listener,
            next = connections::next(&listener) => next,
        };
        let is_proxy = via::trusts(&app.settings.trusted_proxies, remote.ip());
        let place = match places.take(remote.ip(), is_proxy) {
            Ok(place) => place,
            Err(full) => {
                app.telemetry.count_limit(full.limit());
                // Where TLS is spoken, a word would cost a handshake: there it is closed.
                if let Full::Address(max) = full
                    && !doors.speak_tls()
                    && let Ok(permit) = Arc::clone(&refusals).try_acquire_owned()
                {
                    let now_ms = app.clock.now_ms();
                    app.tasks.spawn(async move {
                        let refusal = AppError::too_many(
                            format!("all {max} connections of one address are taken"),
                            REFUSAL_RETRY_S,
                        );
                        say(stream, &refusal, now_ms).await;
                        drop(permit);
                    });
                }
                continue;
            }
        };
        // Where we listen on several addresses, the one that they came to.
        let local = stream.local_addr().unwrap_or(bound);
        let ends = Ends { local, remote };
        let (doors, service) = (Arc::clone(&doors), Arc::clone(&service));
        let connection = serve(Arc::clone(&app), doors, stream, ends, service, place);
        app.tasks
            .spawn(catch_panic(connection, Arc::clone(&app.telemetry)));
    }
}

async fn serve(
    app: Arc<App>,
    doors: Arc<Doors>,
    stream: TcpStream,
    ends: Ends,
    service: Arc<salvo::Service>,
    place: Place,
) {
    let socket = socket2::SockRef::from(&stream);
    // Where the system refuses one of these, the connection works all the same.
    drop(socket.set_tcp_nodelay(true));
    bound_unacked(&socket, UNACKED_MAX);
    // A stream that nothing is sent on would never notice that its peer is gone.
    drop(socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(ASKED_AFTER)));
    let Some(transport) = doors.open(&app, stream, ends.remote).await else {
        return;
    };
    if transport.is_http2() {
        // Apart: a plain connection, which may be one of many thousands, needs no room for it.
        Box::pin(http2::serve(app, transport, ends, &service, place)).await;
    } else {
        http1::serve(app, transport, ends, &service, place).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a connection's task: what serving HTTP/1.1 needs, and little beside it.
    const CONNECTION_BYTES: usize = 4_096;

    /// What a future takes, without one.
    fn size_of_future<A, B, C, D, E, F, T: Future>(_: impl Fn(A, B, C, D, E, F) -> T) -> usize {
        size_of::<T>()
    }

    #[test]
    fn a_plain_connection_takes_no_room_for_what_it_does_not_speak() {
        let size = size_of_future(serve);
        assert!(size <= CONNECTION_BYTES, "{size} bytes");
    }

    #[test]
    fn streams_fit_the_open_file_limit() {
        assert_eq!(fitting_streams(20_000, 1_000_000), 20_000);
        assert_eq!(fitting_streams(20_000, 20_000), 20_000 - 128 - 1_024);
        assert_eq!(fitting_streams(20_000, 10), 1, "one always fits");
    }
}
