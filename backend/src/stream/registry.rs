//! All open streams: how many there may be, and the deadlines that they keep.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    sse,
    viewer::{Viewer, Wire},
    ws::{self, CloseCode},
};
use crate::{
    http::access::{Credential, guard::network_of, token::TokenId},
    settings::Settings,
    telemetry::{Limit, StreamKind, Telemetry},
};

/// A WebSocket client that sent nothing for this long is asked whether it is there; sooner where
/// the idle timeout is short.
const PING_AFTER_MS: i64 = 25_000;
/// Event streams that end because their credential did: when to try again, which then fails
/// unless somebody logged in.
const REFUSED_RETRY_MS: u64 = 5_000;
/// Alert streams carry a heartbeat this often (CONTRACT section 4).
const HEARTBEAT_MS: i64 = 30_000;
/// How much too early a heartbeat may be. Without this, one that is due a moment after a sweep
/// would wait for the next, and a stream that was just opened for up to 31 s.
const HEARTBEAT_EARLY_MS: i64 = 500;

/// Open streams and their limits.
#[derive(Debug)]
pub struct Registry {
    /// Leaf lock; held for an insertion, a removal, or to copy the list for a sweep.
    streams: Mutex<Streams>,
    next_id: AtomicU64,
    limits: StreamLimits,
    telemetry: Arc<Telemetry>,
}

/// How many streams there may be, and how long they may be silent or stuck.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// In all.
    pub streams: usize,
    /// Of one address, or of one IPv6 network of 64 bits.
    pub per_address: usize,
    /// Of one token, its sessions and tickets included.
    pub per_token: usize,
    /// A WebSocket client that sent nothing for this long, pings notwithstanding, is gone.
    pub idle_ms: i64,
    /// A client whose socket has been full for this long is ended: it would hold its place and
    /// the kernel's buffers for ever.
    pub write_ms: i64,
}

impl StreamLimits {
    /// Those of the settings.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let millis =
            |time: std::time::Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Self {
            streams: settings.max_connections,
            per_address: settings.max_connections_per_address,
            per_token: settings.max_connections_per_token,
            idle_ms: millis(settings.idle_timeout),
            write_ms: millis(settings.write_timeout),
        }
    }
}

#[derive(Debug, Default)]
struct Streams {
    admitted: usize,
    per_address: HashMap<IpAddr, usize>,
    per_token: HashMap<TokenId, usize>,
    viewers: HashMap<u64, Registered>,
}

#[derive(Debug)]
struct Registered {
    viewer: Weak<Viewer>,
    kind: StreamKind,
    /// What the stream ends with.
    credential: Credential,
}

/// Permission to be a stream; dropping it gives the place back.
#[derive(Debug)]
pub struct Admission {
    registry: Arc<Registry>,
    address: IpAddr,
    credential: Credential,
    /// The socket's place among the open files, once it is a stream's.
    file: Option<OwnedSemaphorePermit>,
    /// Names the stream in logs and in the registry.
    pub id: u64,
}

/// All places are taken; which, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Of the server.
    Server(usize),
    /// Of this client's address.
    Address(usize),
    /// Of this client's token.
    Token(usize),
}

impl Registry {
    /// Room for as many streams as `limits` says.
    #[must_use]
    pub fn new(limits: StreamLimits, telemetry: Arc<Telemetry>) -> Arc<Self> {
        Arc::new(Self {
            streams: Mutex::default(),
            next_id: AtomicU64::new(1),
            limits,
            telemetry,
        })
    }

    /// Takes a place for a stream from `address` that ends with `credential`.
    ///
    /// # Errors
    /// [`Full`] when as many streams are open as there may be; counted.
    pub fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        credential: Credential,
    ) -> Result<Admission, Full> {
        let mut streams = self.streams.lock();
        self.find_place(&streams, address, credential)
            .map_err(|(full, limit)| {
                self.telemetry.count_limit(limit);
                full
            })?;
        streams.admitted += 1;
        *streams.per_address.entry(network_of(address)).or_default() += 1;
        if let Some(token) = credential.token {
            *streams.per_token.entry(token).or_default() += 1;
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Ok(Admission {
            registry: Arc::clone(self),
            address,
            credential,
            file: None,
            id,
        })
    }

    fn find_place(
        &self,
        streams: &Streams,
        address: IpAddr,
        credential: Credential,
    ) -> Result<(), (Full, Limit)> {
        let StreamLimits {
            streams: max,
            per_address,
            per_token,
            ..
        } = self.limits;
        let of_address = streams.per_address.get(&network_of(address));
        let of_token = credential
            .token
            .and_then(|token| streams.per_token.get(&token));
        if streams.admitted >= max {
            return Err((Full::Server(max), Limit::Connections));
        }
        if of_address.is_some_and(|open| *open >= per_address) {
            return Err((Full::Address(per_address), Limit::ConnectionsPerAddress));
        }
        if of_token.is_some_and(|open| *open >= per_token) {
            return Err((Full::Token(per_token), Limit::ConnectionsPerToken));
        }
        Ok(())
    }

    /// Streams open with each token that has some, those of its sessions included.
    #[must_use]
    pub fn streams_per_token(&self) -> HashMap<TokenId, usize> {
        self.streams.lock().per_token.clone()
    }

    /// Ends the streams whose credential is one `of` these: WebSockets with 1008 and `why`, event
    /// streams as such. Returns how many there were.
    pub fn end_streams(&self, why: &str, of: impl Fn(&Credential) -> bool) -> usize {
        let ended: Vec<Arc<Viewer>> = self
            .streams
            .lock()
            .viewers
            .values()
            .filter(|stream| of(&stream.credential))
            .filter_map(|stream| stream.viewer.upgrade())
            .collect();
        for viewer in &ended {
            end_stream(viewer, why);
        }
        ended.len()
    }

    /// Streams open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.streams.lock().admitted
    }

    /// The most there may be.
    #[must_use]
    pub fn max(&self) -> usize {
        self.limits.streams
    }

    fn all(&self) -> Vec<Arc<Viewer>> {
        self.streams
            .lock()
            .viewers
            .values()
            .filter_map(|stream| stream.viewer.upgrade())
            .collect()
    }

    /// Keeps the deadlines; called about once a second.
    pub fn sweep(&self, now_ms: i64) {
        let heartbeat = std::cell::OnceCell::new();
        for viewer in self.all() {
            if viewer.lingered(now_ms) {
                viewer.abort("closed by the server");
            } else if viewer.finishing() {
                // Its last bytes are said; what is left is for it to close.
            } else if viewer
                .blocked_for_ms(now_ms)
                .is_some_and(|ms| ms > self.limits.write_ms)
            {
                self.telemetry.count_limit(Limit::WriteDeadline);
                end_late(
                    &viewer,
                    &format!("nothing was read for {} s", self.limits.write_ms / 1000),
                    "client did not read before the write deadline",
                );
            } else if matches!(viewer.wire, Wire::WebSocket(_)) {
                self.sweep_web_socket(&viewer, now_ms);
            } else if viewer.kind == StreamKind::SseAlerts
                && due(&viewer, now_ms, HEARTBEAT_MS - HEARTBEAT_EARLY_MS)
            {
                let event: &Bytes = heartbeat.get_or_init(|| sse::heartbeat(now_ms));
                viewer.reply(sse::frame(event, viewer.wire));
            }
        }
    }

    fn sweep_web_socket(&self, viewer: &Arc<Viewer>, now_ms: i64) {
        let silent_ms = viewer.silent_for_ms(now_ms);
        let ping_after_ms = PING_AFTER_MS.min(self.limits.idle_ms / 2);
        if silent_ms > self.limits.idle_ms {
            self.telemetry.count_limit(Limit::IdleDeadline);
            end_late(
                viewer,
                &format!("no ping was answered for {} s", self.limits.idle_ms / 1000),
                "client did not answer pings",
            );
        } else if silent_ms >= ping_after_ms && due(viewer, now_ms, ping_after_ms) {
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
                Wire::WebSocket(_) => viewer.finish(ws::close(
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

/// A client past a deadline: whoever comes back to life within the linger time is told. An event
/// stream has no words for it, and its client comes back by itself.
fn end_late(viewer: &Viewer, reason: &str, why: &'static str) {
    match viewer.wire {
        Wire::WebSocket(_) => viewer.finish_as(ws::close(CloseCode::TryAgain, reason), why),
        Wire::SseChunked | Wire::SsePlain => viewer.abort(why),
    }
}

fn end_stream(viewer: &Viewer, why: &str) {
    match viewer.wire {
        Wire::WebSocket(_) => viewer.finish(ws::close(CloseCode::Policy, why)),
        wire => viewer.finish(sse::last(REFUSED_RETRY_MS, wire)),
    }
}

impl Admission {
    /// Holds the socket's place among the open files for as long as the stream's.
    pub(super) fn keep_file(&mut self, file: Option<OwnedSemaphorePermit>) {
        self.file = file;
    }

    /// What the stream ends with.
    #[must_use]
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Ends a stream whose credential ended while it was being opened, when nobody could see it
    /// yet who looked for streams to end.
    pub fn refuse(&self, viewer: &Viewer, why: &str) {
        end_stream(viewer, why);
    }

    /// Puts the viewer where deadlines are kept.
    pub fn register(&self, viewer: &Arc<Viewer>) {
        self.registry.streams.lock().viewers.insert(
            self.id,
            Registered {
                viewer: Arc::downgrade(viewer),
                kind: viewer.kind,
                credential: self.credential,
            },
        );
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
        // Here, and not where the end is logged: a task that panics comes here only.
        if let Some(ended) = streams.viewers.remove(&self.id) {
            self.registry.telemetry.count_closed(ended.kind);
        }
        take_one(&mut streams.per_address, &network_of(self.address));
        if let Some(token) = &self.credential.token {
            take_one(&mut streams.per_token, token);
        }
    }
}

fn take_one<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
