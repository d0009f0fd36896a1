//! What the agent scrapes: samples under the names and labels that a Prometheus with the same file
//! would give them, but with this machine's name in `instance`.

use std::sync::Arc;

use parking_lot::Mutex;
use pulseboard_scrape::Sink;
use pulseboard_series::{Batch, Reason, Row};

use crate::{buffer::Buffer, sender::Live};

/// Where a target's own `instance` goes: as with labels of a target that are in the way elsewhere.
const EXPORTED: &str = "exported_instance";

/// Writes what is scraped into the buffer.
#[derive(Debug)]
pub(crate) struct Scraped {
    pub(crate) instance: String,
    pub(crate) buffer: Arc<Mutex<Buffer>>,
    pub(crate) live: Arc<Live>,
}

impl Sink for Scraped {
    fn append(&self, batch: &Batch) -> u64 {
        let mut named = Batch::new();
        let mut refused = 0;
        for row in batch.rows() {
            if let Err(reason) = self.rename(batch, row, &mut named) {
                refused += 1;
                tracing::debug!(%reason, "a sample that was scraped cannot be kept");
            }
        }
        let mut buffer = self.buffer.lock();
        for appended in buffer.scraped(&named) {
            self.live.push(appended);
        }
        refused
    }
}

impl Scraped {
    fn rename(&self, batch: &Batch, row: &Row, named: &mut Batch) -> Result<(), Reason> {
        let key = batch.key(row);
        named.begin(&[key.name()])?;
        for (label, value) in key.labels() {
            match label {
                "instance" if value != self.instance => named.label(EXPORTED, value)?,
                "instance" => {}
                // The target's own name has it.
                EXPORTED if key.label("instance") != Some(&self.instance) => {}
                _ => named.label(label, value)?,
            }
        }
        named.label("instance", &self.instance)?;
        let (kind, unit) = batch.description(row);
        named.describe(kind, unit);
        named.finish(1, Some(row.at_ms), row.value)
    }
}
