//! All open streams: how many there may be, and the deadlines that they keep.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_bus::BusError;
use pulseboard_feed::wire::{
    Framing, sse,
    ws::{self, CloseCode},
};
use tokio::sync::OwnedSemaphorePermit;

use super::viewer::Viewer;
use crate::{
    access::{Credential, Streams, token::TokenId},
    base::telemetry::{Limit, StreamKind, Telemetry},
    cluster::{Cluster, Standing},
    settings::Settings,
    shares::{CallerKeys, CommonLimits, Scope, Share, ShareLimits, Shares},
};

/// A WebSocket client that sent nothing for this long is asked whether it is there; sooner where
/// the idle timeout is short.
const PING_AFTER_MS: i64 = 25_000;
/// Event streams that end because their credential did: when to try again, which then fails
/// unless somebody logged in.
const REFUSED_RETRY_MS: u64 = 5_000;
/// Alert streams carry a heartbeat this often.
const HEARTBEAT_MS: i64 = 30_000;
/// How much too early a heartbeat may be. Without this, one that is due a moment after a sweep
/// would wait for the next, and a stream that was just opened for up to 31 s.
const HEARTBEAT_EARLY_MS: i64 = 500;

/// Open streams and their limits.
#[derive(Debug)]
pub struct Registry {
    /// Leaf lock; held for an insertion, a removal, or to copy the list for a sweep.
    viewers: Mutex<HashMap<u64, Registered>>,
    places: Arc<Shares>,
    next_id: AtomicU64,
    limits: StreamLimits,
    telemetry: Arc<Telemetry>,
    /// Where several servers are one.
    others: Option<Others>,
}

/// The other servers, as far as limits of addresses and tokens go that hold for all together.
#[derive(Debug)]
struct Others {
    cluster: Arc<Cluster>,
    /// Held while ours are told or asked for: what was told last is what they know.
    telling: tokio::sync::Mutex<()>,
}

/// What figures of streams are told as, beside what else is.
pub const FIGURES: &str = "limits";
/// How long somebody waits until it is known what the others have.
const ASKING: Duration = Duration::from_millis(500);

/// How many streams there may be, and how long they may be silent or stuck.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// In all.
    pub streams: usize,
    /// Of one address, or of one IPv6 network of 64 bits; less where that would leave nothing to
    /// others.
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
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Self {
            streams: settings.max_connections,
            per_address: settings.max_connections_per_address,
            per_token: settings.max_connections_per_token,
            idle_ms: millis(settings.idle_timeout),
            write_ms: millis(settings.write_timeout),
        }
    }
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
    _place: Share,
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
    /// Those that are left are for others than this one.
    Share(Scope, usize),
}

/// From so many places on, nobody gets all of them.
const SHARED_FROM: usize = 16;

/// What each may have of the places: one tenant leaves a sixteenth to the others, one address an
/// eighth, and one token, or those of one address without any, three sixteenths.
fn shares_of(limits: &StreamLimits) -> ShareLimits {
    let all = limits.streams;
    let left = |sixteenths: usize| {
        if all < SHARED_FROM {
            return all;
        }
        all - (all / 16).saturating_mul(sixteenths)
    };
    ShareLimits {
        client: usize::MAX,
        token: left(3).min(limits.per_token),
        address: left(2).min(limits.per_address),
        tenant: left(1),
        all,
        kept_sixteenths: 1,
    }
}

/// What all servers together have of the places of one address or token: what is set, where that is
/// less than a server has in all; else it is no limit of anybody's.
fn common_of(limits: &StreamLimits) -> CommonLimits {
    let common = |limit: usize| (limit < limits.streams).then_some(limit);
    CommonLimits {
        address: common(limits.per_address),
        token: common(limits.per_token),
    }
}

impl Registry {
    /// Room for as many streams as `limits` says; of one address and token also at the other
    /// servers together, where there are some.
    #[must_use]
    pub fn new(
        limits: StreamLimits,
        telemetry: Arc<Telemetry>,
        cluster: Option<Arc<Cluster>>,
    ) -> Arc<Self> {
        let counted_as = |scope| match scope {
            Scope::Address | Scope::NoToken => Limit::ConnectionsPerAddress,
            Scope::Token => Limit::ConnectionsPerToken,
            Scope::Tenant => Limit::ConnectionsPerTenant,
            Scope::Client | Scope::All | Scope::Kept => Limit::Connections,
        };
        let telemetry_of = Arc::clone(&telemetry);
        Arc::new(Self {
            viewers: Mutex::default(),
            places: Shares::common(
                ("streams", counted_as),
                shares_of(&limits),
                cluster.as_ref().map(|_| common_of(&limits)),
                telemetry_of,
            ),
            others: cluster.map(|cluster| Others {
                cluster,
                telling: tokio::sync::Mutex::default(),
            }),
            next_id: AtomicU64::new(1),
            limits,
            telemetry,
        })
    }

    /// Asks the other servers where it is not known well enough here whether one more stream of
    /// this caller would be too many. Where they do not answer, what is known here counts.
    pub async fn ask_others(&self, keys: &CallerKeys) {
        let Some(others) = &self.others else {
            return;
        };
        if self.places.asked(keys, 1).is_empty() {
            return;
        }
        let asking = async {
            let _telling = others.telling.lock().await;
            // Whoever asked before may have been given enough for all.
            let asked = self.places.asked(keys, 1);
            if asked.is_empty() || others.cluster.standing() != Standing::Joined {
                return Ok(());
            }
            let common = others.cluster.common();
            let granted = common.ask_for(FIGURES, &asked).await?;
            self.places.granted(&asked, &granted);
            Ok::<(), BusError>(())
        };
        match tokio::time::timeout(ASKING, asking).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "what is known here counts"),
            Err(_elapsed) => tracing::debug!("the others do not say what they have"),
        }
    }

    /// Tells the other servers what there is here, with `more` figures, and hears what they have.
    /// `None` where there are none that can be reached: then only what is here counts.
    ///
    /// # Errors
    /// They did not answer; what was heard before counts on.
    pub async fn tell_others(
        &self,
        more: Vec<(String, u64)>,
    ) -> Result<Option<pulseboard_bus::Others>, BusError> {
        let Some(others) = &self.others else {
            return Ok(None);
        };
        if others.cluster.standing() != Standing::Joined {
            self.places.forget_others();
            return Ok(None);
        }
        let telling = async {
            let _telling = others.telling.lock().await;
            let own = self.places.told();
            let said: Vec<(String, u64)> = own.iter().cloned().chain(more).collect();
            let heard = others.cluster.common().tell(FIGURES, &said).await?;
            self.places.hear(&own, &heard);
            Ok(Some(heard))
        };
        match tokio::time::timeout(ASKING, telling).await {
            Ok(heard) => heard,
            Err(_elapsed) => Err(BusError::Away("no answer within half a second".into())),
        }
    }

    /// Takes a place for a stream of somebody at `address` that ends with `credential`.
    ///
    /// # Errors
    /// [`Full`] when as many streams are open as there may be; counted.
    pub fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        keys: &CallerKeys,
        credential: Credential,
    ) -> Result<Admission, Full> {
        let place = self.places.acquire(keys, 1).map_err(|refused| {
            let max = refused.max;
            match refused.scope {
                Scope::Address if max == self.limits.per_address => Full::Address(max),
                Scope::Token if max == self.limits.per_token => Full::Token(max),
                Scope::All => Full::Server(max),
                scope => Full::Share(scope, max),
            }
        })?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Ok(Admission {
            registry: Arc::clone(self),
            address,
            credential,
            _place: place,
            file: None,
            id,
        })
    }

    /// Streams open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.places.taken()
    }

    /// The most there may be.
    #[must_use]
    pub fn max(&self) -> usize {
        self.limits.streams
    }

    fn all(&self) -> Vec<Arc<Viewer>> {
        self.viewers
            .lock()
            .values()
            .filter_map(|stream| stream.viewer.upgrade())
            .collect()
    }

    /// Keeps the deadlines; called about once a second.
    pub fn sweep(&self, steady_ms: i64, now_ms: i64) {
        let heartbeat = std::cell::OnceCell::new();
        for viewer in self.all() {
            if viewer.lingered(steady_ms) {
                viewer.abort("closed by the server");
            } else if viewer.finishing() {
                // Its last bytes are said; what is left is for it to close.
            } else if viewer
                .blocked_for_ms(steady_ms)
                .is_some_and(|ms| ms > self.limits.write_ms)
            {
                self.telemetry.count_limit(Limit::WriteDeadline);
                end_late(
                    &viewer,
                    &format!("nothing was read for {} s", self.limits.write_ms / 1000),
                    "client did not read before the write deadline",
                );
            } else if matches!(viewer.wire, Framing::WebSocket(_)) {
                self.sweep_web_socket(&viewer, steady_ms);
            } else if viewer.kind == StreamKind::SseAlerts
                && due(&viewer, steady_ms, HEARTBEAT_MS - HEARTBEAT_EARLY_MS)
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
            tell_restart(&viewer, 500, spread_ms);
        }
    }

    /// Tells one part of so many of the viewers, those that came first, that they are to come back
    /// soon: there are other servers for them.
    pub fn tell_part_to_move(&self, parts: usize, spread_ms: u64) {
        let mut open = self.all();
        open.retain(|viewer| !viewer.finishing());
        open.sort_unstable_by_key(|viewer| viewer.id);
        let count = open.len().div_ceil(parts.max(1));
        for viewer in open.iter().take(count) {
            tell_restart(viewer, 0, spread_ms);
        }
    }

    /// Ends every stream that is still open.
    pub fn abort_all(&self) {
        for viewer in self.all() {
            viewer.abort("server stopped");
        }
    }
}

impl Streams for Registry {
    /// Streams open with each token that has some, those of its sessions included.
    fn count_by_token(&self) -> HashMap<TokenId, usize> {
        self.places.taken_per_token()
    }

    /// Ends the streams whose credential is one `of` these: WebSockets with 1008 and `why`, event
    /// streams as such. Returns how many there were.
    fn end(&self, why: &str, of: &dyn Fn(&Credential) -> bool) -> usize {
        let ended: Vec<Arc<Viewer>> = self
            .viewers
            .lock()
            .values()
            .filter(|stream| of(&stream.credential))
            .filter_map(|stream| stream.viewer.upgrade())
            .collect();
        for viewer in &ended {
            end_stream(viewer, why);
        }
        ended.len()
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
        Framing::WebSocket(_) => viewer.finish_as(ws::close(CloseCode::TryAgain, reason), why),
        Framing::SseChunked | Framing::SsePlain => viewer.abort(why),
    }
}

/// The server stops: a viewer is to come back `after_ms` from now at the earliest, and within
/// `spread_ms` of that.
fn tell_restart(viewer: &Viewer, after_ms: u64, spread_ms: u64) {
    // Ids grow by one; the golden ratio spreads neighbours evenly (Knuth, TAOCP 6.4).
    let moment = viewer.id.wrapping_mul(0x9E37_79B9_7F4A_7C15) % spread_ms.max(1);
    let retry_ms = after_ms + moment;
    match viewer.wire {
        Framing::WebSocket(_) => viewer.finish(ws::close(
            CloseCode::Restart,
            &format!("server is stopping; retry_ms={retry_ms}"),
        )),
        wire => viewer.finish(sse::last(retry_ms, wire)),
    }
}

fn end_stream(viewer: &Viewer, why: &str) {
    match viewer.wire {
        Framing::WebSocket(_) => viewer.finish(ws::close(CloseCode::Policy, why)),
        wire => viewer.finish(sse::last(REFUSED_RETRY_MS, wire)),
    }
}

impl Admission {
    /// Holds the socket's place among the open files for as long as the stream's.
    pub(crate) fn keep_file(&mut self, file: Option<OwnedSemaphorePermit>) {
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
        self.registry.viewers.lock().insert(
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
        // Here, and not where the end is logged: a task that panics comes here only.
        if let Some(ended) = self.registry.viewers.lock().remove(&self.id) {
            self.registry.telemetry.count_closed(ended.kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(streams: usize) -> StreamLimits {
        StreamLimits {
            streams,
            per_address: 20_000,
            per_token: 20_000,
            idle_ms: 1_000,
            write_ms: 1_000,
        }
    }

    #[test]
    fn one_address_leaves_places_to_others_and_few_places_are_for_whoever_comes() {
        let of = |streams| {
            let of = shares_of(&limits(streams));
            [of.token, of.address, of.tenant, of.all]
        };
        assert_eq!(of(20_000), [16_250, 17_500, 18_750, 20_000]);
        assert_eq!(of(16), [13, 14, 15, 16]);
        assert_eq!(of(15), [15; 4]);
        assert_eq!(of(1), [1; 4]);

        let telemetry = Arc::new(Telemetry::default());
        let registry = Registry::new(limits(32), telemetry, None);
        let admit = |last: u8| {
            let address = IpAddr::from([192, 0, 2, last]);
            let keys = CallerKeys {
                client: None,
                address: Some(address),
                token: None,
                tenant: Some("default".into()),
            };
            registry.admit(address, &keys, Credential::default())
        };
        let one: Vec<_> = std::iter::from_fn(|| admit(1).ok()).collect();
        assert_eq!(one.len(), 26);
        assert_eq!(admit(1).err(), Some(Full::Share(Scope::NoToken, 26)));
        let others: Vec<_> = (2..6).map(|last| admit(last).expect("a place")).collect();
        drop((one, others));
        assert_eq!(registry.open(), 0);
    }
}
