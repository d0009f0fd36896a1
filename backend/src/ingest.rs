//! From a body to samples that are safe: unpack, parse, append, wait for the disk.
//!
//! Bodies are bounded one by one (`MAX_BODY_BYTES`) and all together (four times that, of which
//! each caller has a share); a parser is a pure function of [`pulseboard_ingest`].
//!
//! What a body becomes is some ten times larger than its lines where they are short. So lines are
//! taken in pieces of a megabyte while the rest of the body is still being read. A document (JSON,
//! protobuf) is taken as a whole or not at all: those that become much ([`HUGE_FROM_BYTES`]) wait for
//! one another, so that there is never more than one of them in memory.
//!
//! Only a short body that is not packed is worked on where it was read. All others wait for a turn
//! on a thread that may block: those that turn out to be small have turns of their own, so that
//! none of them waits for a large one, and turns go round among callers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use pulseboard_engine::{Engine, Persistence, Tenant, tenant::TENANTS_MAX};
use pulseboard_history::log::LogError;
use pulseboard_ingest::{
    BodyError,
    decompress::{Coding, UnpackError, Unpacker},
    detect::BodyFormat,
    otlp::{DeltaTotals, Points},
    remote_write::Written,
};
use pulseboard_series::{
    Batch, Reason,
    batch::{Outlet, Refused as RefusedLine},
    limits::{BATCH_BYTES_MAX, REFUSED_KEPT_MAX},
};
use tokio::runtime::Handle;

use crate::{
    base::{
        clock::Clock,
        telemetry::{Limit, Telemetry},
    },
    questions::lane::{Lane, Queue, Turn},
    shares::{CallerKeys, Refused, Scope, Share, ShareLimits, Shares},
};

/// Series of one tenant whose senders report differences; those of further ones are refused.
const DELTA_SERIES_MAX: usize = 100_000;

/// The same of all tenants; where there are so many, no tenant gets further ones.
const DELTA_SERIES_ALL_MAX: usize = 1_000_000;

/// Larger bodies, and all that are packed, are worked on by a thread that may block; others take
/// less than the way there. Larger: what a worker does for one client is felt by others.
const INLINE_BYTES_MAX: usize = 16 * 1024;

/// What makes a body a small one, unpacked.
const SMALL_BYTES_MAX: usize = 1 << 20;

/// A body waits so long for its turn.
const TURN_DEADLINE: Duration = Duration::from_secs(30);

/// Bytes of samples that a byte of a body may become: the labels of an Influx line or a histogram
/// are repeated for each of its series. Larger: a small body can fill more memory. Smaller: one
/// with long labels and many fields is refused in part.
const BATCH_RATIO_MAX: usize = 256;

/// What any body's samples may take.
const BATCH_BYTES_MIN: usize = 8 << 20;

/// The same of a body of any size: what the shortest lines become, whose time and value are wider
/// than their text.
const LINE_RATIO: usize = 16;

/// A document that becomes more than this, with what it is made of on the way, waits until no other
/// such one is worked on. Larger: more memory for each that has a turn. Smaller: more of them wait.
const HUGE_FROM_BYTES: usize = 16 << 20;
const _: () = assert!(HUGE_FROM_BYTES > BATCH_BYTES_MIN);

/// Buffers kept for the next body, and the largest that is worth it.
const SPARE_BUFFERS_MAX: usize = 16;
const SPARE_BUFFER_BYTES_MAX: usize = 4 << 20;

/// Seconds after which a sender may try again.
pub const RETRY_AFTER_S: u32 = 2;

/// Place of that code in [`Reason::CODES`].
const UNSUPPORTED: usize = Reason::CODES.len() - 1;
const _: () = assert!(matches!(
    Reason::CODES[UNSUPPORTED].as_bytes(),
    b"unsupported"
));

/// What bodies share.
#[derive(Debug)]
pub struct Ingest {
    engine: Arc<Engine>,
    clock: Clock,
    telemetry: Arc<Telemetry>,
    /// Turns of small bodies, as many as there are cores.
    small: Arc<Lane>,
    /// Turns of large bodies, as many as there are cores, since each may take as much memory as a
    /// batch may have.
    large: Arc<Lane>,
    /// Bytes of bodies, packed and unpacked, and who has them.
    bytes: Arc<Shares>,
    /// The turn of the one document that becomes much.
    huge: Arc<Lane>,
    /// Tenants that have a place among all, and who made them.
    tenants: Arc<Shares>,
    spare_buffers: Mutex<Vec<Buffers>>,
    body_bytes_max: usize,
    /// Series of all tenants whose senders report differences, as last counted.
    delta_series: AtomicUsize,
}

/// Why nothing of a body was taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IngestError {
    /// It is not what it is sent as.
    #[error("{0}")]
    Malformed(String),
    /// It is packed in a way that is not known.
    #[error("{0}")]
    UnknownCoding(String),
    /// It is too large, packed or unpacked.
    #[error("{0}")]
    TooLarge(String),
    /// There is no memory left for bodies, for all or for this caller.
    #[error("there is no memory left for bodies now; try again ({0})")]
    NoMemory(Refused),
    /// The same while it was unpacked.
    #[error("{0}")]
    Budget(String),
    /// It waited too long for its turn.
    #[error("too many bodies wait; try again")]
    Busy,
    /// Ours to mend; the log says what.
    #[error("something went wrong here; the server's log says what")]
    Panicked,
}

/// What is kept with each tenant that something is sent for.
#[derive(Debug)]
struct OfTenant {
    /// The place among all tenants, for whoever sent first.
    place: Mutex<Option<Share>>,
    deltas: Mutex<DeltaTotals>,
}

/// What one body is worked on with.
#[derive(Debug, Default)]
struct Buffers {
    batch: Batch,
    unpacker: Unpacker,
    unpacked: Vec<u8>,
}

/// What became of a body.
#[derive(Debug)]
pub struct IngestOutcome<T> {
    /// What the parser said besides, less what the engine refused.
    pub said: T,
    /// Samples taken.
    pub accepted: u64,
    /// The first lines refused.
    pub refused: Vec<RefusedLine>,
    /// All lines refused.
    pub refused_total: u64,
    /// Of these, such as their format allows and nobody keeps: texts among an Influx line's
    /// fields. Their senders cannot leave them away, and send the rest again when told so.
    pub unsupported: u64,
    /// Why the samples are in memory alone, where they are.
    pub not_durable: Option<LogError>,
}

/// What a parser says of a body.
pub trait ParseReport: Send + 'static {
    /// Whether a body may be taken in pieces: nothing that is found wrong at its end undoes what
    /// stands before, and nothing is said of rows that have been taken.
    const IN_PIECES: bool;

    /// Whether its parser holds a lock that others of its tenant wait for: then it must not wait
    /// for its turn to be huge, and is to be sent again.
    const IS_LOCKED: bool = false;

    /// The engine refused these rows of the batch, which come in no order.
    fn reject_rows(&mut self, batch: &Batch, rows: &[u32]);
}

impl ParseReport for () {
    const IN_PIECES: bool = true;

    fn reject_rows(&mut self, _: &Batch, _: &[u32]) {}
}

impl ParseReport for BodyFormat {
    const IN_PIECES: bool = true;

    fn reject_rows(&mut self, _: &Batch, _: &[u32]) {}
}

impl ParseReport for Written {
    const IN_PIECES: bool = false;

    fn reject_rows(&mut self, _: &Batch, rows: &[u32]) {
        Self::reject_rows(self, rows);
    }
}

impl ParseReport for Points {
    const IN_PIECES: bool = false;
    // Of the tenant's differences: [`Ingest::with_deltas`].
    const IS_LOCKED: bool = true;

    fn reject_rows(&mut self, batch: &Batch, rows: &[u32]) {
        Self::reject_rows(self, batch, rows);
    }
}

impl Ingest {
    /// Nothing in work.
    #[must_use]
    pub fn new(
        body_bytes_max: usize,
        engine: &Arc<Engine>,
        clock: Clock,
        telemetry: &Arc<Telemetry>,
    ) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let counted_as = |scope| match scope {
            Scope::All => Limit::BodyBudget,
            _ => Limit::BodyShare,
        };
        let limits = ShareLimits {
            client: usize::MAX,
            ..ShareLimits::of(body_bytes_max.saturating_mul(4))
        };
        let telemetry = || Arc::clone(telemetry);
        Arc::new(Self {
            engine: Arc::clone(engine),
            clock,
            telemetry: telemetry(),
            small: Lane::new(cores),
            large: Lane::new(cores),
            bytes: Shares::new("bytes of bodies", counted_as, limits, telemetry()),
            huge: Lane::new(1),
            tenants: Shares::new(
                "tenants made",
                |_| Limit::Tenants,
                ShareLimits::of(TENANTS_MAX),
                telemetry(),
            ),
            spare_buffers: Mutex::default(),
            body_bytes_max,
            delta_series: AtomicUsize::new(0),
        })
    }

    /// Has `parse` work with a tenant's running totals of what its senders report as differences.
    /// There is room for so many series of each tenant, and no tenant takes more than a quarter of
    /// what is left of the room for all.
    pub fn with_deltas<T>(&self, tenant: &Tenant, parse: impl FnOnce(&mut DeltaTotals) -> T) -> T {
        let Some(of) = of_tenant(tenant) else {
            return parse(&mut DeltaTotals::new(0));
        };
        let mut totals = of.deltas.lock();
        let before = totals.len();
        let left = DELTA_SERIES_ALL_MAX.saturating_sub(self.delta_series.load(Ordering::Relaxed));
        totals.set_series_max(DELTA_SERIES_MAX.min(before + left / 4));
        let parsed = parse(&mut totals);
        let more = totals.len().saturating_sub(before);
        self.delta_series.fetch_add(more, Ordering::Relaxed);
        parsed
    }

    /// Forgets totals that nothing was added to since the last call; called now and then.
    pub fn forget_idle(&self) {
        self.count_deltas(DeltaTotals::forget_idle);
    }

    /// Counts the series of all tenants whose senders report differences anew; called every few
    /// seconds, since those of tenants that were never made or have gone are there no longer.
    pub fn recount(&self) {
        self.count_deltas(|_| 0);
    }

    fn count_deltas(&self, first: impl Fn(&mut DeltaTotals) -> usize) {
        let mut series = 0;
        for tenant in self.engine.tenants() {
            if let Some(of) = of_tenant(&tenant) {
                let mut deltas = of.deltas.lock();
                first(&mut deltas);
                series += deltas.len();
            }
        }
        self.delta_series.store(series, Ordering::Relaxed);
    }

    /// What a body is read into at most, in bytes, packed or not.
    #[must_use]
    pub fn body_bytes_max(&self) -> usize {
        self.body_bytes_max
    }

    /// Room for a body that is about to be read; it grows with what is.
    ///
    /// # Errors
    /// There is no memory left for bodies, for all or for this caller.
    pub fn begin_body(&self, keys: &CallerKeys) -> Result<Share, IngestError> {
        self.bytes.acquire(keys, 0).map_err(IngestError::NoMemory)
    }

    /// The body is larger than any may be; counted.
    pub fn too_large(&self) -> IngestError {
        self.telemetry.count_limit(Limit::BodyBytes);
        IngestError::TooLarge(format!(
            "the body is larger than {} bytes",
            self.body_bytes_max
        ))
    }

    /// A share of all tenants' places for who sends the first samples of one, kept as long as the
    /// tenant is. A tenant that the caller's token names (`is_bound`) has a place in any case.
    ///
    /// # Errors
    /// The caller made too many.
    pub fn find_place(
        &self,
        tenant: &Tenant,
        keys: &CallerKeys,
        is_bound: bool,
    ) -> Result<(), Refused> {
        if tenant.is_listed() {
            return Ok(());
        }
        if is_bound {
            self.engine.keep_tenant(&tenant.name);
            return Ok(());
        }
        let Some(of) = of_tenant(tenant) else {
            return Ok(());
        };
        let mut place = of.place.lock();
        if place.is_none() {
            // Its own name is new, so there is nothing to share within it.
            let keys = CallerKeys {
                tenant: None,
                ..keys.clone()
            };
            *place = Some(self.tenants.acquire(&keys, 1)?);
        }
        Ok(())
    }

    /// Has `parse` make a batch of a body, appends that and waits until it is safe.
    ///
    /// # Errors
    /// Everything that takes nothing of the body.
    pub async fn append<T: ParseReport>(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        keys: &CallerKeys,
        packed: Packed,
        parse: impl FnOnce(&[u8], &mut Batch) -> Result<T, BodyError> + Send + 'static,
    ) -> Result<IngestOutcome<T>, IngestError> {
        let Packed {
            bytes: packed,
            coding,
            share,
        } = packed;
        let mut body = Body {
            packed,
            coding,
            share,
            buffers: self.take_buffers(),
            is_unpacked: false,
        };
        let (said, taken) = if coding == Coding::Identity && body.packed.len() <= INLINE_BYTES_MAX {
            self.work(tenant, None, body, parse)?
        } else {
            let queue = Queue::of(keys);
            if coding != Coding::Identity && body.packed.len() <= SMALL_BYTES_MAX {
                let turn = turn(&self.small, queue).await?;
                let ingest = Arc::clone(self);
                body = self
                    .blocking(turn, move || {
                        body.unpack(&ingest, SMALL_BYTES_MAX).map(|()| body)
                    })
                    .await??;
            }
            let is_small = body
                .bytes()
                .is_some_and(|bytes| bytes.len() <= SMALL_BYTES_MAX);
            let lane = if is_small { &self.small } else { &self.large };
            let turn = turn(lane, queue).await?;
            let (ingest, tenant) = (Arc::clone(self), Arc::clone(tenant));
            self.blocking(turn, move || ingest.work(&tenant, Some(queue), body, parse))
                .await??
        };
        let mut not_durable = None;
        for persistence in taken.persistence {
            not_durable = not_durable.or(self.wait(persistence).await);
        }
        Ok(IngestOutcome {
            said,
            accepted: taken.accepted,
            refused: taken.refused,
            refused_total: taken.refused_total,
            unsupported: taken.unsupported,
            not_durable,
        })
    }

    /// Waits until samples are safe; why they are not, where they are not.
    pub async fn wait(&self, persistence: Persistence) -> Option<LogError> {
        let error = match persistence {
            Persistence::InMemory => return None,
            Persistence::Pending(ticket) => ticket.wait().await.err(),
            Persistence::NotDurable(error) => Some(error),
        };
        if error.is_some() {
            self.telemetry.count_limit(Limit::Storage);
        }
        error
    }

    /// Runs `work` on a thread that may block. The turn is held until the work ends, also when its
    /// request has gone.
    async fn blocking<T: Send + 'static>(
        &self,
        turn: Turn,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, IngestError> {
        let worked = tokio::task::spawn_blocking(move || {
            let worked = work();
            drop(turn);
            worked
        });
        worked.await.map_err(|error| {
            self.telemetry.panics.inc();
            tracing::error!(%error, "work on a body panicked");
            IngestError::Panicked
        })
    }

    fn work<T: ParseReport>(
        &self,
        tenant: &Arc<Tenant>,
        queue: Option<Queue>,
        mut body: Body,
        parse: impl FnOnce(&[u8], &mut Batch) -> Result<T, BodyError>,
    ) -> Result<(T, Taken), IngestError> {
        body.unpack(self, usize::MAX)?;
        let Body {
            packed,
            coding,
            mut buffers,
            share,
            ..
        } = body;
        let bytes = match coding {
            Coding::Identity => packed.as_slice(),
            _ => buffers.unpacked.as_slice(),
        };
        let batch = &mut buffers.batch;
        batch.clear();
        batch.set_bytes_max(batch_bytes_max(bytes.len(), T::IN_PIECES));
        let taker = Taker {
            engine: Arc::clone(&self.engine),
            tenant: Arc::clone(tenant),
            clock: self.clock.clone(),
            huge: Arc::clone(&self.huge),
            queue: queue.filter(|_| !T::IS_LOCKED),
            reserved: 0,
            turn: None,
            taken: Arc::default(),
        };
        let taken = Arc::clone(&taker.taken);
        batch.open(Box::new(taker), T::IN_PIECES);
        let parsed = parse(bytes, batch);
        let mut said = parsed.map_err(|error| IngestError::Malformed(error.to_string()))?;
        let mut taken = std::mem::take(&mut *taken.lock());
        if batch.is_out_of_room() {
            return Err(IngestError::Busy);
        }
        let appended = taken.append(&self.engine, tenant, batch, &self.clock);
        if !appended.is_empty() {
            said.reject_rows(batch, &appended);
        }
        self.give_back(buffers);
        drop(share);
        Ok((said, taken))
    }

    /// What a body that cannot be unpacked is refused with; counted where it is too large.
    pub fn unpack_error(&self, error: &UnpackError) -> IngestError {
        let detail = error.to_string();
        match error {
            UnpackError::UnknownCoding(_) => IngestError::UnknownCoding(detail),
            UnpackError::TooLarge { .. } => {
                self.telemetry.count_limit(Limit::BodyBytes);
                IngestError::TooLarge(detail)
            }
            UnpackError::Budget => IngestError::Budget(detail),
            UnpackError::Broken { .. } => IngestError::Malformed(detail),
        }
    }

    fn take_buffers(&self) -> Buffers {
        self.spare_buffers.lock().pop().unwrap_or_default()
    }

    fn give_back(&self, mut buffers: Buffers) {
        buffers.batch.close();
        buffers.batch.clear();
        let is_small = buffers.unpacked.capacity() <= SPARE_BUFFER_BYTES_MAX
            && buffers.batch.capacity_bytes() <= SPARE_BUFFER_BYTES_MAX;
        let mut spare_buffers = self.spare_buffers.lock();
        if is_small && spare_buffers.len() < SPARE_BUFFERS_MAX {
            spare_buffers.push(buffers);
        }
    }
}

/// What the samples of a body of so many bytes may take, in all pieces that it is taken in.
fn batch_bytes_max(body_bytes: usize, in_pieces: bool) -> usize {
    let ratio = body_bytes.saturating_mul(BATCH_RATIO_MAX);
    let most = ratio.clamp(BATCH_BYTES_MIN, BATCH_BYTES_MAX);
    match in_pieces {
        true => most.max(body_bytes.saturating_mul(LINE_RATIO)),
        false => most,
    }
}

/// What has been taken of a body.
#[derive(Debug, Default)]
struct Taken {
    accepted: u64,
    /// The first lines refused; pieces come in the order of the body.
    refused: Vec<RefusedLine>,
    refused_total: u64,
    unsupported: u64,
    /// Of each piece.
    persistence: Vec<Persistence>,
    /// One moment for all samples that have none of their own, Unix milliseconds.
    now_ms: Option<i64>,
}

impl Taken {
    /// Appends a batch; the rows that the engine refused.
    fn append(
        &mut self,
        engine: &Engine,
        tenant: &Arc<Tenant>,
        batch: &Batch,
        clock: &Clock,
    ) -> Vec<u32> {
        let now_ms = *self.now_ms.get_or_insert_with(|| clock.now_ms());
        let appended = engine.append(tenant, batch, now_ms);
        self.accepted += appended.accepted;
        self.refused_total += appended.refused_total;
        self.unsupported += appended.refused_by_code[UNSUPPORTED];
        let room = REFUSED_KEPT_MAX.saturating_sub(self.refused.len());
        self.refused.extend(appended.refused.into_iter().take(room));
        if !matches!(appended.persistence, Persistence::InMemory) {
            self.persistence.push(appended.persistence);
        }
        appended.refused_rows
    }
}

/// Gives a batch its memory, and takes the pieces of a body.
#[derive(Debug)]
struct Taker {
    engine: Arc<Engine>,
    tenant: Arc<Tenant>,
    clock: Clock,
    huge: Arc<Lane>,
    /// Where it waits for its turn to be huge; `None` where it may not wait.
    queue: Option<Queue>,
    /// Bytes that the batch asked for.
    reserved: usize,
    turn: Option<Turn>,
    taken: Arc<Mutex<Taken>>,
}

impl Outlet for Taker {
    fn reserve(&mut self, bytes: usize) -> bool {
        self.reserved += bytes;
        if self.reserved <= HUGE_FROM_BYTES || self.turn.is_some() {
            return true;
        }
        self.turn = match self.queue {
            Some(queue) => Handle::current().block_on(turn(&self.huge, queue)).ok(),
            None => self.huge.try_enter(),
        };
        self.turn.is_some()
    }

    fn take(&mut self, batch: &Batch) {
        let mut taken = self.taken.lock();
        taken.append(&self.engine, &self.tenant, batch, &self.clock);
        self.reserved = 0;
        self.turn = None;
    }
}

/// What is kept with a tenant; always there, since nobody else keeps anything with one.
fn of_tenant(tenant: &Tenant) -> Option<Arc<OfTenant>> {
    tenant.attached(|| OfTenant {
        place: Mutex::default(),
        deltas: Mutex::new(DeltaTotals::new(DELTA_SERIES_MAX)),
    })
}

/// A body as it was read, with the memory that it was given.
#[derive(Debug)]
pub struct Packed {
    /// As it came.
    pub bytes: Vec<u8>,
    /// How it is packed.
    pub coding: Coding,
    /// What it takes of all bodies' memory.
    pub share: Share,
}

/// A body on its way, with the memory that it was given.
struct Body {
    packed: Vec<u8>,
    coding: Coding,
    share: Share,
    buffers: Buffers,
    is_unpacked: bool,
}

impl Body {
    /// What there is to parse, if it is unpacked.
    fn bytes(&self) -> Option<&[u8]> {
        match self.coding {
            Coding::Identity => Some(&self.packed),
            _ => self.is_unpacked.then_some(&*self.buffers.unpacked),
        }
    }

    /// Unpacks it, unless that was done. A body of more than `enough` bytes stays as it is where
    /// `enough` is less than what is accepted.
    fn unpack(&mut self, ingest: &Ingest, enough: usize) -> Result<(), IngestError> {
        if self.bytes().is_some() {
            return Ok(());
        }
        let limit = ingest.body_bytes_max;
        let Buffers {
            unpacker, unpacked, ..
        } = &mut self.buffers;
        let before = self.share.count();
        let mut refusal = None;
        let charge = |bytes| match self.share.grow(bytes) {
            Ok(()) => true,
            Err(refused) => {
                refusal = Some(refused);
                false
            }
        };
        let done = unpacker.unpack(
            self.coding,
            &self.packed,
            enough.min(limit),
            unpacked,
            charge,
        );
        match (done, refusal) {
            (Ok(()), _) => {
                self.is_unpacked = true;
                Ok(())
            }
            (Err(UnpackError::TooLarge { .. }), _) if enough < limit => {
                self.share.shrink(self.share.count() - before);
                Ok(())
            }
            (_, Some(refused)) => Err(IngestError::NoMemory(refused)),
            (Err(error), None) => Err(ingest.unpack_error(&error)),
        }
    }
}

/// Waits for a turn at a lane.
async fn turn(lane: &Arc<Lane>, queue: Queue) -> Result<Turn, IngestError> {
    let turn = tokio::time::timeout(TURN_DEADLINE, lane.enter(queue)).await;
    turn.map_err(|_late| IngestError::Busy)
}

#[cfg(test)]
mod tests {
    use pulseboard_engine::EngineOptions;
    use pulseboard_ingest::{detect, otlp};

    use super::*;

    fn keys(address: u8) -> CallerKeys {
        CallerKeys {
            client: None,
            address: Some(std::net::IpAddr::from([192, 0, 2, address])),
            token: None,
            tenant: Some("t".into()),
        }
    }

    async fn push(
        ingest: &Arc<Ingest>,
        address: u8,
        body: String,
    ) -> Result<(u64, u64), IngestError> {
        let tenant = ingest.engine.tenant("t").expect("a tenant");
        let share = ingest.begin_body(&keys(address))?;
        let packed = Packed {
            bytes: body.into_bytes(),
            coding: Coding::Identity,
            share,
        };
        let keys = keys(address);
        let taken = ingest.append(&tenant, &keys, packed, detect::push);
        let taken = taken.await?;
        Ok((taken.accepted, taken.refused_total))
    }

    /// Lines need no memory beside themselves. Documents that become much wait for one another, and
    /// nobody else waits for them.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_document_at_a_time_becomes_much() {
        let telemetry = Arc::new(Telemetry::default());
        let engine = Arc::new(Engine::new(EngineOptions::default(), None));
        let ingest = Ingest::new(32 << 20, &engine, Clock::manual(1_000_000), &telemetry);
        let document = |count: usize| format!("[{}{{\"a\":1}}]", "{\"a\":1},".repeat(count - 1));
        let held = ingest.huge.enter(Queue::of(&keys(9))).await;
        let huge = {
            let (ingest, body) = (Arc::clone(&ingest), document(400_000));
            tokio::spawn(async move { push(&ingest, 1, body).await.ok() })
        };
        while !ingest.huge.is_crowded() {
            tokio::task::yield_now().await;
        }
        let small = push(&ingest, 3, document(20_000)).await;
        assert_eq!(small.ok(), Some((20_000, 0)));
        let lines = push(&ingest, 1, "a 1\n".repeat(500_000)).await;
        assert_eq!(lines.ok(), Some((500_000, 0)));
        assert!(!huge.is_finished(), "there is one already");
        drop(held);
        assert_eq!(huge.await.ok(), Some(Some((400_000, 0))), "in its turn");
        assert_eq!(ingest.bytes.taken(), 0);
    }

    /// OTLP is parsed under its tenant's lock of differences, which small bodies take on a thread
    /// that serves: nobody waits while holding it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nobody_waits_for_a_turn_under_a_lock() {
        let telemetry = Arc::new(Telemetry::default());
        let engine = Arc::new(Engine::new(EngineOptions::default(), None));
        let ingest = Ingest::new(32 << 20, &engine, Clock::manual(1_000_000), &telemetry);
        let tenant = engine.tenant("t").expect("a tenant");
        let metric = "{\"name\":\"a\",\"gauge\":{\"dataPoints\":[{\"asDouble\":1}]}},";
        let body = |count: usize| {
            let mut metrics = metric.repeat(count);
            metrics.pop();
            format!("{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"metrics\":[{metrics}]}}]}}]}}")
        };
        let send = async |count: usize| {
            let packed = Packed {
                bytes: body(count).into_bytes(),
                coding: Coding::Identity,
                share: ingest.begin_body(&keys(1)).expect("room"),
            };
            let (worker, owner) = (Arc::clone(&ingest), Arc::clone(&tenant));
            let caller = keys(1);
            let taken = ingest.append(&tenant, &caller, packed, move |body, batch| {
                worker.with_deltas(&owner, |totals| {
                    otlp::parse(otlp::Encoding::Json, body, totals, &|_| None, batch)
                })
            });
            taken.await.map(|taken| taken.accepted)
        };
        let held = ingest.huge.enter(Queue::of(&keys(9))).await;
        let mut refused = std::pin::pin!(send(90_000));
        let refused = loop {
            tokio::select! {
                refused = &mut refused => break refused,
                () = tokio::task::yield_now() => {
                    assert!(!ingest.huge.is_crowded(), "it waits, and holds the lock");
                }
            }
        };
        assert!(matches!(refused, Err(IngestError::Busy)), "{refused:?}");
        assert_eq!(send(10).await.ok(), Some(10), "others go on");
        drop(held);
        assert_eq!(send(90_000).await.ok(), Some(90_000), "sent again");
    }

    #[test]
    fn no_line_is_refused_for_being_short() {
        let line = "a 1\n";
        let row = 48 + 4;
        for lines in [1, 1 << 10, 1 << 20, 8 << 20] {
            assert!(batch_bytes_max(lines * line.len(), true) > lines * row);
        }
    }
}
