//! How what a parser writes gets its memory, and reaches the engine piece by piece.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use pulseboard_engine::{Engine, Persistence, Tenant};
use pulseboard_history::log::Ticket;
use pulseboard_series::{
    Batch, Reason,
    batch::{Outlet, Refused as RefusedLine},
    limits::{BATCH_BYTES_MAX, REFUSED_KEPT_MAX},
};
use tokio::runtime::Handle;

use super::{error::IngestError, late_room::LateRoom};
use crate::{
    base::clock::Clock,
    questions::lane::{Lane, Queue, Turn},
};

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

/// Place of that code in [`Reason::CODES`].
const UNSUPPORTED: usize = Reason::CODES.len() - 1;
const _: () = assert!(matches!(
    Reason::CODES[UNSUPPORTED].as_bytes(),
    b"unsupported"
));

/// What the samples of a body of so many bytes may take, in all pieces that it is taken in.
pub(super) fn batch_bytes_max(body_bytes: usize, in_pieces: bool) -> usize {
    let ratio = body_bytes.saturating_mul(BATCH_RATIO_MAX);
    let most = ratio.clamp(BATCH_BYTES_MIN, BATCH_BYTES_MAX);
    match in_pieces {
        true => most.max(body_bytes.saturating_mul(LINE_RATIO)),
        false => most,
    }
}

/// What has been taken of a body.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) accepted: u64,
    /// The first lines refused; pieces come in the order of the body.
    pub(super) refused: Vec<RefusedLine>,
    pub(super) refused_total: u64,
    pub(super) unsupported: u64,
    /// Of each piece.
    pub(super) persistence: Vec<Persistence>,
    /// Likewise, of who sends it on.
    pub(super) onward: Vec<Ticket>,
    /// One moment for all samples that have none of their own, Unix milliseconds.
    now_ms: Option<i64>,
}

impl Taken {
    /// Appends a batch; the rows that the engine refused.
    pub(super) fn append(
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
        self.onward.extend(appended.onward);
        appended.refused_rows
    }
}

/// Gives a batch its memory, and takes the pieces of a body.
#[derive(Debug)]
pub(super) struct Taker {
    engine: Arc<Engine>,
    tenant: Arc<Tenant>,
    clock: Clock,
    huge: Arc<Lane>,
    late: Arc<LateRoom>,
    /// Where it waits for its turn to be huge; `None` where it may not wait.
    queue: Option<Queue>,
    /// Bytes that the batch asked for.
    reserved: usize,
    turn: Option<Turn>,
    taken: Arc<Mutex<Taken>>,
}

impl Taker {
    /// Nothing taken of the body of `tenant` yet. `queue`: where it waits when it becomes much;
    /// `None` where it may not wait.
    pub(super) fn new(
        engine: &Arc<Engine>,
        tenant: &Arc<Tenant>,
        clock: &Clock,
        (huge, late): (&Arc<Lane>, &Arc<LateRoom>),
        queue: Option<Queue>,
    ) -> Self {
        Self {
            engine: Arc::clone(engine),
            tenant: Arc::clone(tenant),
            clock: clock.clone(),
            huge: Arc::clone(huge),
            late: Arc::clone(late),
            queue,
            reserved: 0,
            turn: None,
            taken: Arc::default(),
        }
    }

    /// What has been taken so far, which goes on growing.
    pub(super) fn taken(&self) -> Arc<Mutex<Taken>> {
        Arc::clone(&self.taken)
    }
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
        drop(taken);
        self.reserved = 0;
        self.turn = None;
        self.late.look();
        if self.queue.is_some() {
            // What has been taken is taken; where there is no room for long, the rest is taken,
            // too.
            let room = self.late.wait(&self.tenant, self.clock.now_ms());
            Handle::current().block_on(room);
        }
    }
}

/// Waits for a turn at a lane.
pub(super) async fn turn(lane: &Arc<Lane>, queue: Queue) -> Result<Turn, IngestError> {
    let turn = tokio::time::timeout(TURN_DEADLINE, lane.enter(queue)).await;
    turn.map_err(|_late| IngestError::Busy)
}
