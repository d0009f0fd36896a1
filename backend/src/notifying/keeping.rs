//! What is known of alerts and silences, on disk: read at the start, written when it has changed.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    sync::atomic::Ordering,
    time::Instant,
};

use pulseboard_engine::DEFAULT_TENANT;

use super::{NotKept, Notifying, RETRY_MS, Tenant, name::document_of, state::Kept};
use crate::{base::data_dir, cluster::alike::Term};

/// The state is written this long after it changed, at the earliest, and then so many times as long
/// as it took to write.
const KEEP_AFTER_MS: i64 = 200;
const KEEP_SHARE: i64 = 20;

/// The largest file of a tenant's state that is read.
const STATE_BYTES_MAX: u64 = 256 << 20;

impl Notifying {
    /// Reads what is kept of all tenants.
    pub(super) fn restore(&self) -> io::Result<()> {
        let now_ms = self.clock.now_ms();
        let mut found: BTreeMap<String, Kept> = BTreeMap::new();
        if let Some(folder) = self.states() {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => Some(entries),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            for entry in entries.into_iter().flatten() {
                let path = entry?.path();
                if path.extension().is_none_or(|end| end != "json") {
                    continue;
                }
                match read_state(&path) {
                    Ok(kept) => {
                        found.insert(kept.tenant.clone(), kept);
                    }
                    Err(error) => {
                        tracing::error!(%error, "{} cannot be read and is set aside", path.display());
                        drop(fs::rename(&path, path.with_extension("json.damaged")));
                    }
                }
            }
        }
        found.entry(DEFAULT_TENANT.to_owned()).or_default();
        for (tenant, kept) in found {
            let name: Arc<str> = tenant.as_str().into();
            let (config, templates) = self.config_of(&name);
            self.directory.set(&name, config.all_receivers(), templates);
            let state = self.restored(&name, kept, now_ms);
            self.tenants
                .lock()
                .insert(Arc::clone(&name), Arc::new(Tenant::new(name, state)));
        }
        Ok(())
    }

    fn states(&self) -> Option<PathBuf> {
        let folder = self.folder.as_ref()?;
        Some(folder.join(data_dir::NOTIFYING))
    }

    /// When what has changed is to be written, by the steady clock.
    pub(super) fn keep_due_ms(&self) -> Option<i64> {
        if self.folder.is_none() && self.alike.is_none() {
            return None;
        }
        let keeping = *self.kept.borrow();
        if keeping.asked > keeping.done {
            return Some(self.clock.steady_ms());
        }
        let all = self.all();
        let is_changed = all.iter().any(|tenant| tenant.state.lock().is_changed());
        is_changed.then_some(keeping.next_ms)
    }

    /// Writes what has changed, and forgets tenants of whom nothing is known. Blocks.
    pub fn keep(&self) {
        let began = Instant::now();
        let asked = self.kept.borrow().asked;
        let mut failed = false;
        for tenant in self.all() {
            match self.keep_one(&tenant) {
                Ok(false) => {}
                Ok(true) => self.forget(&tenant),
                Err(error) => {
                    failed = true;
                    self.counters.write_failures.inc();
                    tracing::error!(%error, tenant = &*tenant.name, "what is known of alerts cannot be written");
                }
            }
        }
        let took_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
        let least_ms = if failed { RETRY_MS } else { KEEP_AFTER_MS };
        let pause_ms = took_ms.saturating_mul(KEEP_SHARE).clamp(least_ms, 60_000);
        let next_ms = self.clock.steady_ms() + pause_ms;
        self.kept.send_modify(|keeping| {
            keeping.done = asked;
            keeping.failed = failed;
            keeping.next_ms = next_ms;
        });
    }

    /// Lets a tenant go of whom nothing is known, but for the default one.
    fn forget(&self, tenant: &Arc<Tenant>) {
        if *tenant.name == *DEFAULT_TENANT {
            return;
        }
        let mut tenants = self.tenants.lock();
        // The map's and the caller's: nobody else has it, and nobody gets it now.
        if Arc::strong_count(tenant) == 2 {
            tenants.remove(&tenant.name);
            self.directory.remove(&tenant.name);
        }
    }

    /// Writes one that has changed; whether nothing is known of it any more.
    fn keep_one(&self, tenant: &Tenant) -> io::Result<bool> {
        let _writing = tenant.writing.lock();
        let kept = {
            let mut state = tenant.state.lock();
            if !state.is_changed() {
                return Ok(false);
            }
            state.keep()
        };
        if self.acts(tenant) {
            let bytes = match kept.is_nothing() {
                true => None,
                false => Some(serde_json::to_vec(&kept)?),
            };
            // Where this server no longer acts, what it knew is another's by now.
            if !self.share(tenant, bytes.as_deref()) {
                return Ok(false);
            }
        }
        // What is on the disk is what all servers know, and not what one knows while it is alone.
        if tenant.term.load(Ordering::Relaxed) == Term::OWN.number() {
            return Ok(false);
        }
        let Some(folder) = self.states() else {
            return Ok(false);
        };
        let path = folder.join(format!("{}.json", document_of(&tenant.name)));
        let written = match kept.is_nothing() {
            true => match data_dir::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
            false => write_state(&folder, &path, &kept),
        };
        if written.is_err() {
            tenant.state.lock().change();
        }
        written.map(|()| kept.is_nothing())
    }

    /// Waits until what was done so far outlives the process.
    ///
    /// # Errors
    /// The disk did not take it.
    pub async fn safe(&self) -> Result<(), NotKept> {
        if self.folder.is_none() {
            return Ok(());
        }
        let mut asked = 0;
        self.kept.send_modify(|keeping| {
            keeping.asked += 1;
            asked = keeping.asked;
        });
        let mut kept = self.kept.subscribe();
        self.wake.notify_one();
        match kept.wait_for(|keeping| keeping.done >= asked).await {
            Ok(keeping) if !keeping.failed => Ok(()),
            _ => Err(NotKept),
        }
    }

    /// Ends what is under way, and writes what is known.
    pub async fn close(self: &Arc<Self>, at_most: std::time::Duration) {
        if let Some(started) = self.started.get() {
            started.outbox.close(at_most).await;
        }
        // What is due by now is made again by the next run: it is not in the outbox.
        self.blocking(|last| {
            drop(last.work());
            last.keep();
            last.incidents.write();
        })
        .await;
    }
}

fn read_state(path: &Path) -> io::Result<Kept> {
    let bytes = fs::metadata(path)?.len();
    if bytes > STATE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "{bytes} bytes, of at most {STATE_BYTES_MAX}"
        )));
    }
    let kept: Kept = serde_json::from_slice(&fs::read(path)?)?;
    match kept.tenant.is_empty() {
        true => Err(io::Error::other("it says of no tenant")),
        false => Ok(kept),
    }
}

fn write_state(folder: &Path, path: &Path, kept: &Kept) -> io::Result<()> {
    data_dir::make(folder)?;
    data_dir::replace_file(path, &serde_json::to_vec(kept)?)
}
