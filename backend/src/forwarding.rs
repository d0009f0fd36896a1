//! What is sent on by `remote_write` of `PROMETHEUS_CONFIG`: one tenant's samples
//! (`REMOTE_WRITE_TENANT`), from wherever they come; and what the archive gets, which is all.

use std::sync::Arc;

use pulseboard_engine::{Engine, Onward};
use pulseboard_forward::{Describe, Forwarding, Limits};
use pulseboard_history::log::Ticket;
use pulseboard_scrape::WallClock;
use pulseboard_series::Batch;

use crate::{
    archive::Archive,
    base::clock::Clock,
    settings::{DataDir, Settings},
};

/// The folder in `DATA_DIR` in which what is to be sent waits.
const FOLDER: &str = "remote_write";

/// Takes one tenant's samples to whom the file names, and all to the archive.
#[derive(Debug)]
struct OfTenant {
    tenant: String,
    forwarding: Arc<Forwarding>,
    archive: Option<Arc<Archive>>,
}

impl Onward for OfTenant {
    fn take(&self, tenant: &str, batch: &Batch, refused: &[u32], now_ms: i64) -> Vec<Ticket> {
        let mut tickets = match tenant == self.tenant {
            true => self.forwarding.take(batch, refused, now_ms),
            false => Vec::new(),
        };
        if let Some(archive) = &self.archive {
            tickets.extend(archive.take(tenant, batch, refused, now_ms));
        }
        tickets
    }
}

/// Whoever is named later gets what comes into the engine; nobody is yet. `describe` says what is
/// known of metrics.
#[must_use]
pub fn begin(
    settings: &Settings,
    engine: &Arc<Engine>,
    clock: Clock,
    describe: Describe,
    archive: Option<Arc<Archive>>,
) -> Arc<Forwarding> {
    let folder = match &settings.data_dir {
        DataDir::Memory => None,
        DataDir::Path(path) => Some(path.join(FOLDER)),
    };
    let limits = Limits {
        age: settings.remote_write_buffer_age,
        bytes: settings.remote_write_buffer_bytes as u64,
    };
    let now = WallClock::new(move || clock.now_ms());
    let forwarding = Arc::new(Forwarding::new(folder, limits, now, describe));
    engine.send_on(Arc::new(OfTenant {
        tenant: settings.remote_write_tenant.clone(),
        forwarding: Arc::clone(&forwarding),
        archive,
    }));
    forwarding
}
