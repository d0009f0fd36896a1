//! Graphite's plaintext (`GRAPHITE_ADDR`) over TCP and UDP, for the default tenant: the protocol
//! has neither a token nor a tenant, and no answer.
//!
//! Over TCP that is made up for: of a connection nothing more is read before what came is safe on
//! the disk, so a sender that is faster than the disk waits, and loses nothing. What is refused for
//! want of memory is tried again. Over UDP what finds no room is dropped and counted.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pulseboard_engine::{DEFAULT_TENANT, Tenant};
use pulseboard_ingest::{decompress::Coding, graphite};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream, UdpSocket},
    sync::mpsc,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    accept,
    connections::{self, HEAD_DEADLINE},
    slots::ConnectionSlots,
    statsd,
};
use crate::{
    app::App,
    base::address::network_of,
    ingest::{IngestError, Packed, RETRY_AFTER_S},
    refusals::Sent,
    shares::CallerKeys,
};

/// Connections at once; of one address there may be an eighth.
const CONNECTIONS_MAX: usize = 256;

/// Bytes read of a connection before they are made safe, and so the longest line.
const PIECE_BYTES: usize = 64 * 1024;

/// A connection that is silent for so long between two lines is closed; relays of Graphite send
/// once a minute. Its first line, and each that was begun, is to be there sooner
/// ([`HEAD_DEADLINE`]).
const IDLE: Duration = Duration::from_secs(300);

/// A datagram over IPv4 has no more.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Datagrams that wait to be taken, and their bytes; further ones are dropped and counted.
const WAITING_MAX: usize = 4_096;
const WAITING_BYTES_MAX: usize = 4 << 20;

/// Bytes of datagrams that are taken together.
const TOGETHER_BYTES: usize = 256 * 1024;

/// What it is called among refusals.
const ENDPOINT: &str = "Graphite";

/// Where lines come from.
#[derive(Debug)]
pub struct Sockets {
    tcp: TcpListener,
    udp: UdpSocket,
}

/// Listens there, for connections and for datagrams.
///
/// # Errors
/// The address is taken, or not ours.
pub fn bind(address: SocketAddr) -> io::Result<Sockets> {
    let tcp = accept::bind(address)?;
    // The same port, where the system chose it.
    let udp = statsd::bind(tcp.local_addr()?)?;
    Ok(Sockets { tcp, udp })
}

/// Takes lines until the server stops.
pub async fn run(app: Arc<App>, sockets: Sockets, stopping: CancellationToken) {
    let Ok(tenant) = app.storage.engine.tenant(DEFAULT_TENANT) else {
        return;
    };
    let lines = Arc::new(Lines {
        app,
        tenant,
        stopping,
    });
    let places = ConnectionSlots::new(CONNECTIONS_MAX, CONNECTIONS_MAX / 8);
    let datagrams = read_datagrams(Arc::clone(&lines), sockets.udp);
    let mut datagrams = std::pin::pin!(datagrams);
    loop {
        let (socket, remote) = tokio::select! {
            () = &mut datagrams => return,
            next = connections::next(&sockets.tcp) => next,
        };
        let reader = Arc::clone(&lines);
        let reading = async move { reader.read_connection(socket, remote.ip()).await };
        connections::spawn(&lines.app, &places, remote, reading);
    }
}

/// Where lines go.
struct Lines {
    app: Arc<App>,
    tenant: Arc<Tenant>,
    stopping: CancellationToken,
}

impl Lines {
    /// Reads a connection to its end, piece by piece.
    async fn read_connection(&self, mut socket: TcpStream, address: IpAddr) {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        // Until when the line is to be there that is waited for.
        let (mut is_begun, mut line_until) = (true, Instant::now() + HEAD_DEADLINE);
        loop {
            let mut limited = (&mut socket).take((PIECE_BYTES - piece.len()) as u64);
            let read = tokio::select! {
                () = self.stopping.cancelled() => return,
                read = tokio::time::timeout_at(line_until, limited.read_buf(&mut piece)) => read,
            };
            match read {
                // The last line may have no end.
                Ok(Ok(0)) if piece.is_empty() => return,
                Ok(Ok(0)) => return self.take(piece, Some(address)).await,
                Ok(Ok(_)) => {}
                // What was begun may have been cut anywhere.
                Ok(Err(_)) | Err(_) => return,
            }
            if !is_begun {
                (is_begun, line_until) = (true, Instant::now() + HEAD_DEADLINE);
            }
            let Some(end) = piece.iter().rposition(|byte| *byte == b'\n') else {
                if piece.len() == PIECE_BYTES {
                    let why = format!("a line has more than {PIECE_BYTES} bytes");
                    return self.note(Some(address), [why]);
                }
                continue;
            };
            let mut rest = Vec::with_capacity(PIECE_BYTES);
            rest.extend_from_slice(&piece[end + 1..]);
            piece.truncate(end + 1);
            self.take(std::mem::replace(&mut piece, rest), Some(address))
                .await;
            is_begun = !piece.is_empty();
            let patience = if is_begun { HEAD_DEADLINE } else { IDLE };
            line_until = Instant::now() + patience;
        }
    }

    /// Has lines taken and waits until they are safe. What there is no memory for is tried again,
    /// until the server stops.
    async fn take(&self, bytes: Vec<u8>, address: Option<IpAddr>) {
        let keys = CallerKeys {
            client: None,
            address: address.map(network_of),
            token: None,
            tenant: Some(Arc::from(&*self.tenant.name)),
        };
        loop {
            let error = match self.try_take(bytes.clone(), &keys, address).await {
                Ok(()) => return,
                Err(error) => error,
            };
            let is_passing = matches!(
                error,
                IngestError::NoMemory(_) | IngestError::Budget(_) | IngestError::Busy
            );
            let wait = Duration::from_secs(RETRY_AFTER_S.into());
            tokio::select! {
                () = tokio::time::sleep(wait), if is_passing => {}
                () = self.stopping.cancelled(), if is_passing => return,
                else => return self.note(address, [error.to_string()]),
            }
        }
    }

    async fn try_take(
        &self,
        bytes: Vec<u8>,
        keys: &CallerKeys,
        address: Option<IpAddr>,
    ) -> Result<(), IngestError> {
        let mut share = self.app.ingest.begin_body(keys)?;
        share.grow(bytes.len()).map_err(IngestError::NoMemory)?;
        let packed = Packed {
            bytes,
            coding: Coding::Identity,
            share,
        };
        let ingest = &self.app.ingest;
        let taken = ingest.append(&self.tenant, keys, packed, |body, batch| {
            graphite::parse(body, batch);
            Ok(())
        });
        let taken = taken.await?;
        self.app.telemetry.graphite_lines.inc_by(taken.accepted);
        let refused = taken.refused.iter();
        self.note(address, refused.map(|refused| refused.reason.to_string()));
        // There is nobody to tell: what the disk did not take is shown from memory.
        if let Some(error) = taken.not_durable {
            self.note(address, [error.to_string()]);
        }
        Ok(())
    }

    fn note(&self, sender: Option<IpAddr>, why: impl IntoIterator<Item = String>) {
        let of = Sent {
            tenant: &self.tenant.name,
            endpoint: ENDPOINT,
            sender,
            at_ms: self.app.clock.now_ms(),
        };
        let why = why.into_iter().map(|reason| (None, reason));
        self.app.refusals.note(&of, why);
    }
}

/// Reads datagrams until the server stops, and has those taken that came.
async fn read_datagrams(lines: Arc<Lines>, socket: UdpSocket) {
    let (work, mut waiting) = mpsc::channel::<Box<[u8]>>(WAITING_MAX);
    let bytes = Arc::new(AtomicUsize::new(0));
    let (taker, held) = (Arc::clone(&lines), Arc::clone(&bytes));
    // Beside the reading: who waits for the disk reads nothing.
    let taking = lines.app.tasks.spawn(async move {
        while let Some(first) = waiting.recv().await {
            let mut together = first.into_vec();
            while together.len() < TOGETHER_BYTES
                && let Ok(next) = waiting.try_recv()
            {
                together.push(b'\n');
                together.extend_from_slice(&next);
            }
            // Each counts with a line break.
            let count = together.len() + 1;
            taker.take(together, None).await;
            held.fetch_sub(count, Ordering::Relaxed);
        }
    });
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let received = tokio::select! {
            () = lines.stopping.cancelled() => break,
            received = socket.recv_from(&mut buffer) => received,
        };
        match received {
            Ok((length, _)) => {
                let datagram: Box<[u8]> = buffer.get(..length).unwrap_or_default().into();
                let waiting = bytes.fetch_add(length + 1, Ordering::Relaxed) + length + 1;
                if waiting > WAITING_BYTES_MAX || work.try_send(datagram).is_err() {
                    bytes.fetch_sub(length + 1, Ordering::Relaxed);
                    lines.app.telemetry.graphite_dropped.inc();
                }
            }
            // An ICMP answer to something else; the socket is still good.
            Err(error) => tracing::debug!(%error, "a datagram could not be read"),
        }
    }
    // All that has been read by now is safe before the server ends.
    drop(work);
    if taking.await.is_err() {
        lines.app.telemetry.panics.inc();
    }
}
