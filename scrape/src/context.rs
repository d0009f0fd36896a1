//! What scrapes share: all of them, and those of one job.

use std::sync::{Arc, atomic::AtomicUsize};

use parking_lot::Mutex;
use pulseboard_outbound::{Bodies, Client, HeaderValue};
use tokio::sync::Semaphore;

use crate::{
    exposition::{Buffers, Shape},
    metadata::Texts,
    sink::{Sink, Turns, WallClock},
};

/// Of who names no `body_size_limit`.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Buffers that wait for the next scrape, and the largest that does.
const SPARE_BUFFERS_MAX: usize = 8;
const SPARE_BUFFER_BYTES_MAX: usize = 1 << 20;
/// What all scrapes share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) clock: WallClock,
    pub(crate) turns: Turns,
    pub(crate) texts: Texts,
    /// Memory of bodies that are read or wait for their turn.
    pub(crate) bodies: Bodies,
    /// Turns of large bodies.
    pub(crate) large: Semaphore,
    spare: Mutex<Vec<Buffers>>,
}

impl Context {
    pub(crate) fn new(sink: Arc<dyn Sink>, clock: WallClock, turns: Turns) -> Self {
        Self {
            sink,
            clock,
            turns,
            texts: Texts::default(),
            bodies: Bodies::default(),
            large: Semaphore::new(2),
            spare: Mutex::default(),
        }
    }

    pub(crate) fn take_buffers(&self) -> Buffers {
        self.spare.lock().pop().unwrap_or_default()
    }

    pub(crate) fn give_back(&self, mut buffers: Buffers) {
        buffers.clear();
        let mut spare = self.spare.lock();
        if spare.len() < SPARE_BUFFERS_MAX && buffers.capacity_bytes() <= SPARE_BUFFER_BYTES_MAX {
            spare.push(buffers);
        }
    }
}

/// How a job's targets are scraped.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) client: Client,
    pub(crate) accept: HeaderValue,
    pub(crate) is_packed: bool,
    pub(crate) body_bytes_max: usize,
    pub(crate) shape: Shape,
    pub(crate) target_limit: u64,
    /// Targets that were found; too many are scraped by nobody.
    pub(crate) found: AtomicUsize,
}

impl Job {
    pub(crate) fn body_limit(limit: u64) -> usize {
        match usize::try_from(limit) {
            Ok(0) | Err(_) => BODY_BYTES_MAX,
            Ok(limit) => limit,
        }
    }
}
