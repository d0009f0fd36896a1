//! StatsD and DogStatsD datagrams, added up and put into the log every ten seconds. UDP promises
//! nothing: what came since the last time goes with the agent when that is killed.

use std::{sync::Arc, time::Duration};

use pulseboard_ingest::statsd::{Aggregator, datagram};
use pulseboard_series::Batch;
use tokio::{
    net::UdpSocket,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use crate::{measure, scraping::Scraped};

/// How often sums become samples.
const PERIOD: Duration = Duration::from_secs(10);

/// Metrics added up at once; lines of further ones are refused.
const METRICS_MAX: usize = 10_000;

/// A datagram over IPv4 has no more.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Datagrams that are read before others get their turn: a flood must not keep the agent from
/// measuring.
const AT_ONCE: usize = 256;

/// How long what lies in the socket may take to be seen when the agent stops.
const LAST_WORD: Duration = Duration::from_millis(20);

/// Takes datagrams until the agent stops; what was added up by then is put into the log.
pub(super) async fn run(sink: Arc<Scraped>, socket: UdpSocket, stop: CancellationToken) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let mut adding = Adding {
        aggregator: Aggregator::new(METRICS_MAX),
        batch: Batch::new(),
        sink,
    };
    let mut flushing = tokio::time::interval_at(Instant::now() + PERIOD, PERIOD);
    flushing.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = flushing.tick() => adding.flush(),
            received = socket.recv_from(&mut buffer) => match received {
                Ok((length, _)) => {
                    adding.add(buffer.get(..length).unwrap_or_default());
                    adding.add_waiting(&socket, &mut buffer);
                    tokio::task::yield_now().await;
                }
                // An ICMP answer to something else; the socket is still good.
                Err(error) => tracing::debug!(%error, "a datagram could not be read"),
            },
        }
    }
    // What was sent before the end counts; where nothing was, nobody says so.
    tokio::time::timeout(LAST_WORD, socket.readable())
        .await
        .map_or(Ok(()), |readable| readable)
        .unwrap_or_default();
    adding.add_waiting(&socket, &mut buffer);
    adding.flush();
}

struct Adding {
    aggregator: Aggregator,
    batch: Batch,
    sink: Arc<Scraped>,
}

impl Adding {
    fn add(&mut self, bytes: &[u8]) {
        datagram(bytes, &mut self.aggregator, &mut self.batch);
    }

    /// Takes what lies there already.
    fn add_waiting(&mut self, socket: &UdpSocket, buffer: &mut [u8]) {
        for _ in 0..AT_ONCE {
            let Ok((length, _)) = socket.try_recv_from(buffer) else {
                break;
            };
            self.add(buffer.get(..length).unwrap_or_default());
        }
    }

    fn flush(&mut self) {
        let now_ms = measure::now_ms();
        self.aggregator.flush(now_ms, &mut self.batch);
        if let Some(refused) = self.batch.refused().first() {
            tracing::debug!(reason = %refused.reason, "a line of StatsD is not taken");
        }
        self.sink.take(&self.batch, now_ms);
        self.batch.clear();
    }
}
