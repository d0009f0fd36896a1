//! StatsD and DogStatsD datagrams (`STATSD_ADDR`): added up, and handed to the engine every ten
//! seconds for the default tenant. UDP promises nothing, so nobody waits for the disk.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use pulseboard_engine::DEFAULT_TENANT;
use pulseboard_ingest::statsd::{Aggregator, datagram};
use pulseboard_series::Batch;
use tokio::{net::UdpSocket, sync::mpsc};
use tokio_util::sync::CancellationToken;

use crate::{app::App, refusals::Sent};

/// How often sums become samples.
const FLUSH_MS: i64 = 10_000;

/// Metrics added up at once; lines of further ones are refused and counted.
const METRICS_MAX: usize = 100_000;

/// A datagram over IPv4 has no more.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Datagrams that wait to be added up, and their bytes; further ones are dropped and counted.
const WAITING_MAX: usize = 4_096;
const WAITING_BYTES_MAX: usize = 4 << 20;

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

/// Takes datagrams until the server stops, and has them flushed that were added up. They are read
/// on a thread for that, since a burst may keep one busy.
pub async fn run(app: Arc<App>, socket: UdpSocket, stopping: CancellationToken) {
    let (queue, waiting) = Queue::new();
    let (worker, held) = (Arc::clone(&app), Arc::clone(&queue.bytes));
    let adding = tokio::task::spawn_blocking(move || add_up(&worker, waiting, &held));
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let mut due_ms = (app.clock.now_ms().div_euclid(FLUSH_MS) + 1) * FLUSH_MS;
    loop {
        tokio::select! {
            () = stopping.cancelled() => break,
            () = app.clock.sleep_until(due_ms) => {
                if queue.flush().await.is_err() {
                    break;
                }
                due_ms = (app.clock.now_ms().div_euclid(FLUSH_MS) + 1) * FLUSH_MS;
            }
            received = socket.recv_from(&mut buffer) => match received {
                Ok((length, _)) => {
                    app.telemetry.statsd_datagrams.inc();
                    if !queue.offer(buffer.get(..length).unwrap_or_default()) {
                        app.telemetry.statsd_dropped.inc();
                    }
                }
                // An ICMP answer to something else; the socket is still good.
                Err(error) => tracing::debug!(%error, "a datagram could not be read"),
            },
        }
    }
    // All that has been taken by now is safe before the server ends.
    drop(queue);
    if let Err(error) = adding.await {
        app.telemetry.panics.inc();
        tracing::error!(%error, "adding up what StatsD clients sent panicked; there is no more of it");
    }
}

/// What is to be done, in the order in which it came.
#[derive(Debug)]
enum Work {
    Datagram(Box<[u8]>),
    Flush,
}

/// Datagrams that wait to be added up, bounded by number and bytes.
#[derive(Debug)]
struct Queue {
    work: mpsc::Sender<Work>,
    bytes: Arc<AtomicUsize>,
}

impl Queue {
    fn new() -> (Self, mpsc::Receiver<Work>) {
        let (work, waiting) = mpsc::channel(WAITING_MAX);
        let bytes = Arc::default();
        (Self { work, bytes }, waiting)
    }

    /// Whether there was room for it.
    fn offer(&self, datagram: &[u8]) -> bool {
        let bytes = datagram.len();
        // Only this thread adds to it.
        if self.bytes.load(Ordering::Relaxed) + bytes > WAITING_BYTES_MAX {
            return false;
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let is_taken = self.work.try_send(Work::Datagram(datagram.into())).is_ok();
        if !is_taken {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        is_taken
    }

    /// Waits until there is room, which there is soon.
    async fn flush(&self) -> Result<(), mpsc::error::SendError<Work>> {
        self.work.send(Work::Flush).await
    }
}

/// Adds up what comes until nothing comes any more, and flushes the rest. Blocks.
fn add_up(app: &App, mut waiting: mpsc::Receiver<Work>, held: &AtomicUsize) {
    let mut aggregator = Aggregator::new(METRICS_MAX);
    let mut batch = Batch::new();
    while let Some(work) = waiting.blocking_recv() {
        match work {
            Work::Datagram(bytes) => {
                let lines = datagram(&bytes, &mut aggregator, &mut batch);
                held.fetch_sub(bytes.len(), Ordering::Relaxed);
                app.telemetry.statsd_lines.inc_by(lines);
            }
            Work::Flush => flush(app, &mut aggregator, &mut batch),
        }
    }
    flush(app, &mut aggregator, &mut batch);
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
            endpoint: "StatsD",
            sender: None,
            at_ms: now_ms,
        };
        let lines = appended.refused.iter();
        app.refusals
            .note(&of, lines.map(|refused| (None, refused.reason.to_string())));
    }
    batch.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_is_bounded_by_number_and_by_bytes_and_keeps_its_order() {
        let (queue, mut waiting) = Queue::new();
        let offered = (0..2 * WAITING_MAX)
            .filter(|_| queue.offer(b"a:1|c"))
            .count();
        assert_eq!(offered, WAITING_MAX);
        while waiting.try_recv().is_ok() {}
        queue.bytes.store(0, Ordering::Relaxed);
        let large = vec![b'x'; DATAGRAM_BYTES_MAX];
        let offered = (0..WAITING_MAX).filter(|_| queue.offer(&large)).count();
        assert_eq!(offered, WAITING_BYTES_MAX / DATAGRAM_BYTES_MAX);
        assert!(queue.offer(b"a:1|c"), "a small one still fits");
        queue.flush().await.expect("room");
        drop(queue);
        for _ in 0..offered {
            let work = waiting.try_recv().expect("a large one");
            assert!(matches!(work, Work::Datagram(bytes) if bytes.len() == DATAGRAM_BYTES_MAX));
        }
        assert!(matches!(waiting.try_recv(), Ok(Work::Datagram(_))));
        assert!(matches!(waiting.try_recv(), Ok(Work::Flush)));
    }
}
