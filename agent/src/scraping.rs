//! What the agent scrapes, and what local applications send: samples under the names and labels
//! that a Prometheus with the same file would give them, but with this machine's name in
//! `instance`.

use std::sync::Arc;

use parking_lot::Mutex;
use pulseboard_history::log::{LogError, Ticket};
use pulseboard_scrape::{Config, Handed, Manager, NotTaken, Sink};
use pulseboard_series::{Batch, Reason, Row, batch::Refused, limits::REFUSED_KEPT_MAX};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

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

/// Scrapes by this from now on, and says what of it an agent does not do.
pub(crate) fn apply(manager: &Arc<Manager>, config: &Config, live: &Live) {
    live.set_external(&config.global.external_labels);
    let mut warnings = manager.apply(config);
    warnings.extend(not_ours(config));
    for warning in warnings {
        tracing::warn!("--scrape-config: {warning}");
    }
}

/// Goes on by each configuration that comes, until the agent stops.
pub(crate) async fn follow(
    manager: Option<Arc<Manager>>,
    mut configs: mpsc::Receiver<Config>,
    live: Arc<Live>,
    stopping: CancellationToken,
) {
    while let Some(Some(config)) = stopping.run_until_cancelled(configs.recv()).await {
        if let Some(manager) = &manager {
            apply(manager, &config, &live);
            tracing::info!("the scrape configuration was read again");
        }
    }
}

/// What a server does by the file and an agent does not, in words.
fn not_ours(config: &Config) -> Vec<String> {
    [
        (
            !config.remote_write.is_empty(),
            "remote_write is not used by an agent: everything goes to its hub (--to)",
        ),
        (
            !config.rule_files.is_empty(),
            "rule_files are not evaluated by an agent: its hub may have them",
        ),
    ]
    .into_iter()
    .filter(|(is_there, _)| *is_there)
    .map(|(_, warning)| warning.to_owned())
    .collect()
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_an_agent_does_not_do_is_said() {
        let read = |text: &str| {
            let config = pulseboard_scrape::config::parse(text, Path::new("prometheus.yml"));
            not_ours(&config.expect(text))
        };
        assert_eq!(
            read("scrape_configs: [{job_name: a}]\n"),
            Vec::<String>::new()
        );
        let said = read("rule_files: [a.yml]\nremote_write: [{url: 'http://a/'}]\n");
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("remote_write") && said[1].starts_with("rule_files"));
    }
}
