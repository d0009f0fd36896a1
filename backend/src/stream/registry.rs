//! All open streams: how many there may be, and the deadlines that they keep.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    sse,
    viewer::{Viewer, Wire},
    ws::{self, CloseCode},
};
use crate::telemetry::{Limit, StreamKind, Telemetry};

/// A WebSocket client that sent nothing for this long is asked whether it is there.
const PING_AFTER_MS: i64 = 25_000;
/// A WebSocket client that sent nothing for this long, pings notwithstanding, is gone.
const SILENT_MAX_MS: i64 = 60_000;
/// A client whose socket has been full for this long is ended: it would hold its place and the
/// kernel's buffers for ever.
pub const WRITE_DEADLINE_MS: i64 = 30_000;
/// Alert streams carry a heartbeat this often (CONTRACT section 4).
const HEARTBEAT_MS: i64 = 30_000;

/// Open streams and their limits.
#[derive(Debug)]
pub struct Registry {
    /// Leaf lock; held for an insertion, a removal, or to copy the list for a sweep.
    streams: Mutex<Streams>,
    next_id: AtomicU64,
    max: usize,
    telemetry: Arc<Telemetry>,
}

#[derive(Debug, Default)]
struct Streams {
    admitted: usize,
    per_address: HashMap<IpAddr, usize>,
    viewers: HashMap<u64, Weak<Viewer>>,
}

/// Permission to be a stream; dropping it gives the place back.
#[derive(Debug)]
pub struct Admission {
    registry: Arc<Registry>,
    address: IpAddr,
    /// Names the stream in logs and in the registry.
    pub id: u64,
}

/// All places are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// The bound that was hit.
    pub max: usize,
}

impl Registry {
    /// Room for `max` streams.
    #[must_use]
    pub fn new(max: usize, telemetry: Arc<Telemetry>) -> Arc<Self> {
        Arc::new(Self {
            streams: Mutex::default(),
            next_id: AtomicU64::new(1),
            max,
            telemetry,
        })
    }

    /// Takes a place for a stream from `address`.
    ///
    /// # Errors
    /// [`Full`] when `MAX_CONNECTIONS` streams are open; counted.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Admission, Full> {
        let mut streams = self.streams.lock();
        if streams.admitted >= self.max {
            self.telemetry.count_limit(Limit::Connections);
            return Err(Full { max: self.max });
        }
        streams.admitted += 1;
        *streams.per_address.entry(address).or_default() += 1;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Ok(Admission {
            registry: Arc::clone(self),
            address,
            id,
        })
    }

    /// Streams open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.streams.lock().admitted
    }

    /// The most there may be.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }

    fn all(&self) -> Vec<Arc<Viewer>> {
        self.streams
            .lock()
            .viewers
            .values()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// Keeps the deadlines; called about once a second.
    pub fn sweep(&self, now_ms: i64) {
        let heartbeat = std::cell::OnceCell::new();
        for viewer in self.all() {
            if viewer.lingered(now_ms) {
                viewer.abort("closed by the server");
            } else if viewer
                .blocked_for_ms(now_ms)
                .is_some_and(|ms| ms > WRITE_DEADLINE_MS)
            {
                self.telemetry.count_limit(Limit::WriteDeadline);
                viewer.abort("client did not read before the write deadline");
            } else if viewer.wire == Wire::WebSocket {
                self.sweep_web_socket(&viewer, now_ms);
            } else if viewer.kind == StreamKind::SseAlerts && due(&viewer, now_ms, HEARTBEAT_MS) {
                let event: &Bytes = heartbeat.get_or_init(|| sse::heartbeat(now_ms));
                viewer.reply(sse::frame(event, viewer.wire));
            }
        }
    }

    fn sweep_web_socket(&self, viewer: &Arc<Viewer>, now_ms: i64) {
        let silent_ms = viewer.silent_for_ms(now_ms);
        if silent_ms > SILENT_MAX_MS {
            self.telemetry.count_limit(Limit::IdleDeadline);
            viewer.abort("client did not answer pings");
        } else if silent_ms >= PING_AFTER_MS && due(viewer, now_ms, PING_AFTER_MS) {
            viewer.reply(ws::ping());
        }
    }

    /// Tells every viewer that the server stops, and when to come back: each another moment
    /// within `spread_ms`, so that they do not all return in one.
    pub fn tell_stopping(&self, spread_ms: u64) {
        for viewer in self.all() {
            // Ids grow by one; the golden ratio spreads neighbours evenly (Knuth, TAOCP 6.4).
            let retry_ms = 500 + viewer.id.wrapping_mul(0x9E37_79B9_7F4A_7C15) % spread_ms.max(1);
            match viewer.wire {
                Wire::WebSocket => viewer.finish(ws::close(
                    CloseCode::Restart,
                    &format!("server is stopping; retry_ms={retry_ms}"),
                )),
                wire => viewer.finish(sse::last(retry_ms, wire)),
            }
        }
    }

    /// Ends every stream that is still open.
    pub fn abort_all(&self) {
        for viewer in self.all() {
            viewer.abort("server stopped");
        }
    }
}

fn due(viewer: &Viewer, now_ms: i64, every_ms: i64) -> bool {
    let due = now_ms - viewer.beat_ms.load(Ordering::Relaxed) >= every_ms;
    if due {
        viewer.beat_ms.store(now_ms, Ordering::Relaxed);
    }
    due
}

impl Admission {
    /// Puts the viewer where deadlines are kept.
    pub fn register(&self, viewer: &Arc<Viewer>) {
        self.registry
            .streams
            .lock()
            .viewers
            .insert(self.id, Arc::downgrade(viewer));
        self.registry.telemetry.count_opened(viewer.kind);
        tracing::info!(
            stream.id = self.id,
            stream.kind = viewer.kind.as_str(),
            client.address = %self.address,
            "client opened {} from {}",
            viewer.kind.as_str(),
            self.address,
        );
    }

    /// Says why the viewer's stream ended; the place is given back when `self` is dropped.
    pub fn end(self, viewer: &Viewer, why: &str) {
        let skipped = viewer.skipped();
        self.registry.telemetry.count_closed(viewer.kind);
        tracing::info!(
            stream.id = self.id,
            stream.kind = viewer.kind.as_str(),
            client.address = %self.address,
            frames.skipped = skipped,
            "client left {} from {}: {why}",
            viewer.kind.as_str(),
            self.address,
        );
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut streams = self.registry.streams.lock();
        streams.admitted -= 1;
        streams.viewers.remove(&self.id);
        if let Some(count) = streams.per_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                streams.per_address.remove(&self.address);
            }
        }
    }
}
