//! What people make that holds somebody back from being told: silences, maintenance windows and
//! acknowledgements. Where several servers are one, each is a document that all of them have, and a
//! tenant's manager follows those; where there is one server they are in the tenant's state alone.

use std::sync::atomic::Ordering;

use pulseboard_notify::{Ack, Silence, Window};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Notifying, Tenant,
    people_made::{Made, Untold},
};
use crate::base::documents::{DocumentError, Expected, Revision};

impl Notifying {
    /// Has all servers know what somebody made, or took away (`None`), whatever there is. Where
    /// that cannot be, it is not so here either. Blocks.
    pub(super) fn put_people<T: Serialize>(
        &self,
        tenant: &Tenant,
        made: Made,
        id: &str,
        what: Option<&T>,
    ) -> Result<(), Untold> {
        let put = self.put_read(tenant, made, id, Expected::Any, what);
        put.map_err(|error| Untold(error.to_string()))
    }

    /// The same where what all servers have is what is expected.
    pub(super) fn put_read<T: Serialize>(
        &self,
        tenant: &Tenant,
        made: Made,
        id: &str,
        expected: Expected,
        what: Option<&T>,
    ) -> Result<(), DocumentError> {
        if self.alike.is_none() {
            return Ok(());
        }
        let name = made.document(&tenant.name, id);
        let put = match what {
            Some(what) => self.documents.put(&name, expected, what).map(drop),
            None => self.documents.delete(&name, expected).map(drop),
        };
        put.inspect_err(|_error| self.follow_people(tenant))
    }

    /// An acknowledgement has ended by itself, or with its incident. Somebody may have taken the
    /// next one in hand meanwhile: that stands.
    pub(super) fn forget_ack(&self, tenant: &str, ended: &Ack) {
        if self.alike.is_none() {
            return;
        }
        let name = Made::Acks.document(tenant, &ended.fingerprint.to_string());
        let known = self.documents.get::<Ack>(&name);
        let Some((read, _)) = known.filter(|(_, known)| known == ended) else {
            return;
        };
        match self.documents.delete(&name, Expected::Revision(read)) {
            Ok(_) | Err(DocumentError::Conflict { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, tenant, "an acknowledgement that has ended is still known");
            }
        }
    }

    fn people<T: DeserializeOwned>(&self, made: Made, tenant: &str) -> Vec<T> {
        let all = self.people_read(made, tenant).into_iter();
        all.map(|(_, what)| what).collect()
    }

    fn people_read<T: DeserializeOwned>(&self, made: Made, tenant: &str) -> Vec<(Revision, T)> {
        let names = self.documents.list(&made.document(tenant, ""));
        let all = names.into_iter();
        all.filter_map(|(name, _)| self.documents.get::<T>(&name))
            .collect()
    }

    /// Has a tenant's manager know what people made at any server, and nothing else of the kind.
    pub(super) fn follow_people(&self, tenant: &Tenant) {
        if self.alike.is_none() || !self.knows_people.load(Ordering::Relaxed) {
            return;
        }
        let now_ms = self.clock.now_ms();
        let silences: Vec<Silence> = self.people(Made::Silences, &tenant.name);
        let windows: Vec<Window> = self.people(Made::Windows, &tenant.name);
        let mut acks: Vec<Ack> = self.people(Made::Acks, &tenant.name);
        acks.retain(|ack| ack.until_ms.is_none_or(|until_ms| now_ms < until_ms));
        let mut state = tenant.state.lock();
        state.manager_mut().take_people(silences, windows, acks);
    }

    /// The service has nothing yet: what people made here is brought in. Blocks.
    pub(super) fn bring_people(&self) {
        for tenant in self.all() {
            let kept = tenant.state.lock().keep();
            tenant.state.lock().change();
            let (silences, windows, acks) = kept.people();
            for silence in silences {
                self.bring(&tenant, Made::Silences, &silence.id, silence);
            }
            for window in windows {
                self.bring(&tenant, Made::Windows, &window.id, window);
            }
            for ack in acks {
                self.bring(&tenant, Made::Acks, &ack.fingerprint.to_string(), ack);
            }
        }
    }

    fn bring<T: Serialize>(&self, tenant: &Tenant, made: Made, id: &str, what: &T) {
        let name = made.document(&tenant.name, id);
        match self.documents.put(&name, Expected::New, what) {
            Ok(_) | Err(DocumentError::Conflict { .. }) => {}
            Err(error) => tracing::error!(%error, name, "the other servers are not told of it"),
        }
    }

    /// What a tenant's manager has let go of, since it was over long ago, is no document any more.
    pub(super) fn tidy(&self, tenant: &Tenant) {
        let steady_ms = self.clock.steady_ms();
        let tidied_ms = tenant.tidied_ms.load(Ordering::Relaxed);
        if self.alike.is_none() || steady_ms - tidied_ms < TIDIED_MS {
            return;
        }
        tenant.tidied_ms.store(steady_ms, Ordering::Relaxed);
        let has = |made: Made| {
            !self
                .documents
                .list(&made.document(&tenant.name, ""))
                .is_empty()
        };
        if !has(Made::Silences) && !has(Made::Windows) {
            return;
        }
        let now_ms = self.clock.now_ms();
        let mut gone: Vec<(Made, String, Revision)> = Vec::new();
        for (read, window) in self.people_read::<Window>(Made::Windows, &tenant.name) {
            if window.until_ms.is_some_and(|until_ms| until_ms <= now_ms) {
                gone.push((Made::Windows, window.id, read));
            }
        }
        for (read, silence) in self.people_read::<Silence>(Made::Silences, &tenant.name) {
            if silence.ends_at_ms.saturating_add(SILENCES_LISTED_MS) <= now_ms {
                gone.push((Made::Silences, silence.id, read));
            }
        }
        for (made, id, read) in gone {
            let name = made.document(&tenant.name, &id);
            if let Err(error) = self.documents.delete(&name, Expected::Revision(read)) {
                tracing::debug!(%error, name, "what is over is still known");
            }
        }
    }
}

/// How often that is looked for.
const TIDIED_MS: i64 = 60_000;

/// A silence that has expired is still listed for so long, as Alertmanager does.
const SILENCES_LISTED_MS: i64 = 120 * 3_600_000;
