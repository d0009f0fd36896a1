//! From a body to samples that are safe: unpack, parse, append, wait for the disk.
//!
//! Bodies are bounded one by one (`MAX_BODY_BYTES`) and all together (four times that, of which
//! each caller has a share); a parser is a pure function of [`pulseboard_ingest`].
//!
//! What a body becomes is some ten times larger than its lines where they are short. So lines are
//! taken in pieces of a megabyte while the rest of the body is still being read. A document (JSON,
//! protobuf) is taken as a whole or not at all: those that become much (`HUGE_FROM_BYTES` in
//! `taker`) wait for one another, so that there is never more than one of them in memory.
//!
//! A short body is tried where it was read, unpacked too: one of some hundred lines is done sooner
//! than another thread has it. Where more comes of it than [`Batch::begin_trial`] allows, and with
//! all others, it waits for a turn on a thread that may block: those that turn out to be small have
//! turns of their own, so that none of them waits for a large one, and turns go round among
//! callers.
//!
//! Bodies that add to their tenant's totals ([`ParseReport::IS_LOCKED`]) follow one another, and
//! wait for that while they have neither thread nor turn: a large one holds up its own tenant
//! alone.

mod body;
mod error;
mod groups;
mod late_room;
mod report;
mod taker;
mod tenants;

use std::sync::Arc;

use parking_lot::Mutex;
use pulseboard_engine::{Engine, Persistence, Tenant};
use pulseboard_history::log::{LogError, Ticket};
use pulseboard_ingest::{
    BodyError,
    decompress::{Coding, UnpackError},
};
use pulseboard_series::{Batch, batch::Refused as RefusedLine};

use crate::{
    base::{
        clock::Clock,
        telemetry::{Limit, Telemetry},
    },
    questions::lane::{Lane, Queue},
    shares::{CallerKeys, Scope, Share, ShareLimits, Shares},
};

pub use self::{
    body::Packed,
    error::IngestError,
    groups::{Pending, Push},
    report::{Adding, ParseReport},
    tenants::Tenants,
};

use self::{
    body::{Body, Buffers, Failed},
    late_room::LateRoom,
    taker::{Taken, Taker, batch_bytes_max, turn},
};

/// Larger bodies, packed or not, are not even tried where they were read. Larger: what a worker
/// does for one client is felt by others. Smaller: bodies of five hundred samples go to another
/// thread and back, which costs a tenth of what they cost.
const INLINE_BYTES_MAX: usize = 128 * 1024;

/// What makes a body a small one, unpacked.
const SMALL_BYTES_MAX: usize = 1 << 20;

/// Buffers kept for the next body, and the largest that is worth it.
const SPARE_BUFFERS_MAX: usize = 16;
const SPARE_BUFFER_BYTES_MAX: usize = 4 << 20;

/// Seconds after which a sender may try again.
pub const RETRY_AFTER_S: u32 = 2;

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
    /// Who back-fills waits here.
    pub late: Arc<LateRoom>,
    /// What is kept with each tenant.
    pub tenants: Tenants,
    spare_buffers: Mutex<Vec<Buffers>>,
    body_bytes_max: usize,
}

/// Where a body is worked on.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Where it was read: as a trial.
    Reader,
    /// On a thread that may block, for who waits in this queue.
    Thread(Queue),
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
            late: Arc::new(LateRoom::new(engine)),
            tenants: Tenants::new(engine, &telemetry()),
            spare_buffers: Mutex::default(),
            body_bytes_max,
        })
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

    /// Has `parse` make a batch of a body, appends that and waits until it is safe.
    ///
    /// # Errors
    /// Everything that takes nothing of the body.
    pub async fn append<T: ParseReport>(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        keys: &CallerKeys,
        packed: Packed,
        parse: impl Fn(&[u8], &mut Batch) -> Result<T, BodyError> + Send + 'static,
    ) -> Result<IngestOutcome<T>, IngestError> {
        if !self.late.wait(tenant, self.clock.now_ms()).await {
            return Err(IngestError::Busy);
        }
        let coding = packed.coding;
        let mut body = Body::new(packed, self.take_buffers());
        let mut done = None;
        if !T::IS_LOCKED && body.packed.len() <= INLINE_BYTES_MAX {
            self.unpack(&mut body, INLINE_BYTES_MAX)?;
            if body.bytes().is_some() {
                done = self.work(tenant, Place::Reader, &mut body, &parse)?;
            }
        }
        let (said, taken) = if let Some(done) = done {
            done
        } else {
            let queue = Queue::of(keys);
            if coding != Coding::Identity && body.packed.len() <= SMALL_BYTES_MAX {
                let turn = turn(&self.small, queue).await?;
                let ingest = Arc::clone(self);
                body = self
                    .blocking(turn, move || {
                        ingest.unpack(&mut body, SMALL_BYTES_MAX).map(|()| body)
                    })
                    .await??;
            }
            // Before there is a turn or a thread, which nobody needs who waits for others.
            let adding = match Tenants::adding(tenant).filter(|_| T::IS_LOCKED) {
                Some(adding) => Some(turn(&adding, queue).await?),
                None => None,
            };
            let is_small = body
                .bytes()
                .is_some_and(|bytes| bytes.len() <= SMALL_BYTES_MAX);
            let lane = if is_small { &self.small } else { &self.large };
            let turns = (turn(lane, queue).await?, adding);
            let (ingest, tenant) = (Arc::clone(self), Arc::clone(tenant));
            let done = self.blocking(turns, move || {
                ingest.work(&tenant, Place::Thread(queue), &mut body, &parse)
            });
            // Only who tries gives up.
            done.await??.ok_or(IngestError::Busy)?
        };
        let mut not_durable = None;
        for persistence in taken.persistence {
            not_durable = not_durable.or(self.wait(persistence, &[]).await);
        }
        wait_onward(&taken.onward).await;
        Ok(IngestOutcome {
            said,
            accepted: taken.accepted,
            refused: taken.refused,
            refused_total: taken.refused_total,
            unsupported: taken.unsupported,
            not_durable,
        })
    }

    /// Waits until samples are safe, also with who sends them on; why they are not, where they are
    /// not.
    pub async fn wait(&self, persistence: Persistence, onward: &[Ticket]) -> Option<LogError> {
        wait_onward(onward).await;
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

    /// Runs `work` on a thread that may block. The turns are held until the work ends, also when
    /// its request has gone.
    async fn blocking<T: Send + 'static>(
        &self,
        turns: impl Send + 'static,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, IngestError> {
        let worked = tokio::task::spawn_blocking(move || {
            let worked = work();
            drop(turns);
            worked
        });
        worked.await.map_err(|error| {
            self.telemetry.panics.inc();
            tracing::error!(%error, "work on a body panicked");
            IngestError::Panicked
        })
    }

    /// Takes a body in; `None` where it was tried and is too much for that.
    fn work<T: ParseReport>(
        &self,
        tenant: &Arc<Tenant>,
        place: Place,
        body: &mut Body,
        parse: impl Fn(&[u8], &mut Batch) -> Result<T, BodyError>,
    ) -> Result<Option<(T, Taken)>, IngestError> {
        self.unpack(body, usize::MAX)?;
        let Body {
            packed,
            coding,
            buffers,
            ..
        } = body;
        let bytes = match coding {
            Coding::Identity => packed.as_slice(),
            _ => buffers.unpacked.as_slice(),
        };
        let batch = &mut buffers.batch;
        batch.clear();
        batch.set_bytes_max(batch_bytes_max(bytes.len(), T::IN_PIECES));
        let mut taken = Taken::default();
        let parsed;
        match place {
            // Nothing is taken or asked for before it is done.
            Place::Reader => {
                batch.begin_trial();
                parsed = parse(bytes, batch);
                batch.close();
                if batch.is_given_up() {
                    batch.clear();
                    return Ok(None);
                }
            }
            Place::Thread(queue) => {
                let queue = Some(queue).filter(|_| !T::IS_LOCKED);
                let lanes = (&self.huge, &self.late);
                let taker = Taker::new(&self.engine, tenant, &self.clock, lanes, queue);
                let of_pieces = taker.taken();
                batch.open(Box::new(taker), T::IN_PIECES);
                parsed = parse(bytes, batch);
                taken = std::mem::take(&mut *of_pieces.lock());
            }
        }
        let mut said = parsed.map_err(|error| IngestError::Malformed(error.to_string()))?;
        if batch.is_out_of_room() {
            return Err(IngestError::Busy);
        }
        let appended = taken.append(&self.engine, tenant, batch, &self.clock);
        if !appended.is_empty() {
            said.reject_rows(batch, &appended);
        }
        self.late.look();
        self.give_back(std::mem::take(buffers));
        body.share.shrink(usize::MAX);
        Ok(Some((said, taken)))
    }

    /// Has a body unpacked, unless that was done; see [`Body::unpack`].
    fn unpack(&self, body: &mut Body, enough: usize) -> Result<(), IngestError> {
        body.unpack(self.body_bytes_max, enough)
            .map_err(|failed| match failed {
                Failed::NoMemory(refused) => IngestError::NoMemory(refused),
                Failed::Unpack(error) => self.unpack_error(&error),
            })
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

/// Waits until what is sent on outlives the end of the process. Where the disk does not take that,
/// it is counted there: whoever sent it has nothing to mend, and the samples are taken.
async fn wait_onward(tickets: &[Ticket]) {
    for ticket in tickets {
        ticket.wait().await.unwrap_or_default();
    }
}

#[cfg(test)]
mod tests;
