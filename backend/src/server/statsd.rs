//! StatsD and DogStatsD datagrams (`STATSD_ADDR`): added up, and handed to the engine every ten
//! seconds for the default tenant. UDP promises nothing, so nobody waits for the disk.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use pulseboard_engine::DEFAULT_TENANT;
use pulseboard_ingest::statsd::{Aggregator, datagram};
use pulseboard_series::Batch;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use crate::{app::App, refusals::Sent};

/// How often sums become samples.
const FLUSH_MS: i64 = 10_000;

/// Metrics added up at once; lines of further ones are refused and counted.
const METRICS_MAX: usize = 100_000;

/// A datagram over IPv4 has no more.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Bytes of datagrams that the system keeps for us while we are busy.
const RECEIVE_BYTES: usize = 4 << 20;

/// Listens there.
///
/// # Errors
/// The address is taken, or not ours.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    // The system may give less; then more is lost in a burst.
    if let Err(error) = socket.set_recv_buffer_size(RECEIVE_BYTES) {
        tracing::debug!(%error, "the receive buffer stays small");
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Takes datagrams until the server stops, and flushes what was added up.
pub async fn run(app: Arc<App>, socket: UdpSocket, stopping: CancellationToken) {
    let mut aggregator = Aggregator::new(METRICS_MAX);
    let mut batch = Batch::new();
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let mut due_ms = (app.clock.now_ms().div_euclid(FLUSH_MS) + 1) * FLUSH_MS;
    loop {
        tokio::select! {
            () = stopping.cancelled() => break,
            () = app.clock.sleep_until(due_ms) => {
                flush(&app, &mut aggregator, &mut batch);
                due_ms = (app.clock.now_ms().div_euclid(FLUSH_MS) + 1) * FLUSH_MS;
            }
            received = socket.recv_from(&mut buffer) => match received {
                Ok((length, _)) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    let lines = datagram(bytes, &mut aggregator, &mut batch);
                    app.telemetry.statsd_datagrams.fetch_add(1, Ordering::Relaxed);
                    app.telemetry.statsd_lines.fetch_add(lines, Ordering::Relaxed);
                }
                // An ICMP answer to something else; the socket is still good.
                Err(error) => tracing::debug!(%error, "a datagram could not be read"),
            },
        }
    }
    flush(&app, &mut aggregator, &mut batch);
}

/// Hands sums, and what was refused since the last flush, to the engine.
fn flush(app: &App, aggregator: &mut Aggregator, batch: &mut Batch) {
    let now_ms = app.clock.now_ms();
    aggregator.flush(now_ms, batch);
    if batch.is_empty() {
        return;
    }
    if let Ok(tenant) = app.storage.engine.tenant(DEFAULT_TENANT) {
        let appended = app.storage.engine.append(&tenant, batch, now_ms);
        let of = Sent {
            tenant: &tenant.name,
            door: "StatsD",
            sender: None,
            at_ms: now_ms,
        };
        let lines = appended.refused.iter();
        app.refusals
            .note(&of, lines.map(|refused| (None, refused.reason.to_string())));
    }
    batch.clear();
}
