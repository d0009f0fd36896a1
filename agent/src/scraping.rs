//! What the agent scrapes, and what local applications send: samples under the names and labels that a Prometheus with the same file
//! would give them, but with this machine's name in `instance`.

use std::sync::Arc;

use parking_lot::Mutex;
use pulseboard_history::log::{LogError, Ticket};
use pulseboard_scrape::{Handed, NotTaken, Sink};
use pulseboard_series::{Batch, Reason, Row, batch::Refused, limits::REFUSED_KEPT_MAX};

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
    fn append(&self, handed: Handed<'_>) -> NotTaken {
        let (named, refused) = self.named(handed.batch, 0);
        let mut buffer = self.buffer.lock();
        for appended in buffer.scraped(&named) {
            self.live.push(appended);
        }
        refused
    }
}

impl Scraped {
    /// Takes what a local application sent; rows without a time are of `now_ms`. They have outlived
    /// the end of the process when the tickets say so.
    pub(crate) fn take(&self, batch: &Batch, now_ms: i64) -> Vec<Result<Ticket, LogError>> {
        let (named, refused) = self.named(batch, now_ms);
        if let Some(first) = refused.first.first() {
            tracing::debug!(reason = %first.reason, "a sample cannot be kept");
        }
        let mut buffer = self.buffer.lock();
        let appended = buffer.scraped(&named).into_iter();
        appended
            .map(|appended| {
                let written = appended.written.clone();
                self.live.push(appended);
                written
            })
            .collect()
    }

    /// The rows with this machine's name, and which of them cannot be kept, those among them that
    /// the batch left out before. All of these are counted.
    fn named(&self, batch: &Batch, now_ms: i64) -> (Batch, NotTaken) {
        let mut named = Batch::new();
        let mut refused = NotTaken {
            total: batch.refused_total(),
            first: batch.refused().to_vec(),
        };
        for row in batch.rows() {
            if let Err(reason) = self.rename(batch, row, now_ms, &mut named) {
                refused.total += 1;
                if refused.first.len() < REFUSED_KEPT_MAX {
                    let line = row.line;
                    refused.first.push(Refused { line, reason });
                }
            }
        }
        self.live.count_refused(refused.total);
        (named, refused)
    }

    fn rename(
        &self,
        batch: &Batch,
        row: &Row,
        now_ms: i64,
        named: &mut Batch,
    ) -> Result<(), Reason> {
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
        let at_ms = if row.at_ms == Row::NOW {
            now_ms
        } else {
            row.at_ms
        };
        named.finish(1, Some(at_ms), row.value)
    }
}
