//! All incidents, by tenant, and what bounds them. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use pulseboard_alerting::AlertEvent;
use pulseboard_engine::DEFAULT_TENANT;
use pulseboard_notify::Fingerprint;
use pulseboard_shared::{AlertState, Labels};
use uuid::Uuid;

use super::entry::{Entry, Incident, Saying, cut};

/// Incidents of one tenant. Larger: more history, and more memory. Past it the oldest that are over
/// go.
pub const INCIDENTS_MAX: usize = 10_000;

/// Bytes of all incidents of one tenant: a few KiB for each of [`INCIDENTS_MAX`], likewise.
const TENANT_BYTES_MAX: usize = 32 << 20;

/// Bytes of all incidents of all tenants; past it whoever has most loses its oldest.
const BYTES_MAX: usize = 64 << 20;

/// A week.
pub const WEEK_MS: i64 = 7 * 86_400_000;

/// What is held.
#[derive(Debug)]
pub struct Book {
    tenants: HashMap<Arc<str>, Tenant>,
    bytes: usize,
    bytes_max: usize,
    tenant_bytes_max: usize,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            tenants: HashMap::new(),
            bytes: 0,
            bytes_max: BYTES_MAX,
            tenant_bytes_max: TENANT_BYTES_MAX,
        }
    }
}

#[derive(Debug, Default)]
struct Tenant {
    /// By identity, which sorts by time. Shared with those who read.
    all: BTreeMap<Uuid, Arc<Incident>>,
    /// The newest of each set of labels.
    newest: HashMap<Fingerprint, Uuid>,
    bytes: usize,
}

/// What a change was, to be written down. It is moved once, and at once.
#[allow(
    clippy::large_enum_variant,
    reason = "most are the large one, and none is kept"
)]
#[derive(Debug, PartialEq)]
pub enum Change {
    /// A new incident, or one whose labels are others now.
    Began(Arc<Incident>),
    /// One more entry of one.
    Added {
        /// Whose.
        id: Uuid,
        /// What happened.
        entry: Entry,
        /// What it says of the whole.
        saying: Option<Saying>,
    },
}

/// Whose an event is: the server's own are kept with the default tenant's.
#[must_use]
pub fn keeper_of(event: &AlertEvent) -> &str {
    event.tenant.as_deref().unwrap_or(DEFAULT_TENANT)
}

impl Book {
    /// Takes an alert under its own labels, see [`Book::take_as`].
    #[cfg(test)]
    pub fn take(&mut self, event: &AlertEvent) -> Option<Change> {
        self.take_as(event, super::entry::labels_of(event))
    }

    /// Takes an alert that is known to whoever is told under these labels; what is to be written
    /// down of it.
    pub fn take_as(&mut self, event: &AlertEvent, labels: Labels) -> Option<Change> {
        let tenant = keeper_of(event);
        let id = event.alert.incident;
        match self.get(tenant, id) {
            Some(known) => {
                let is_over = !known.is_firing() && event.alert.state == AlertState::Resolved;
                if is_over || known.is_known(event) {
                    return None;
                }
                let (entry, saying) = known.next(event);
                if known.labels == labels {
                    return self.add(tenant, id, entry, saying);
                }
                let mut incident = Incident::clone(known);
                incident.is_known_by(labels);
                incident.add(entry, saying);
                let incident = Arc::new(incident);
                self.put(tenant, Arc::clone(&incident));
                Some(Change::Began(incident))
            }
            // The end of what nobody knows says nothing to anybody.
            None if event.alert.state == AlertState::Resolved => None,
            None => {
                let incident = Arc::new(Incident::new(event, labels));
                self.put(tenant, Arc::clone(&incident));
                Some(Change::Began(incident))
            }
        }
    }

    /// Adds an entry to one that is there.
    pub fn add(
        &mut self,
        tenant: &str,
        id: Uuid,
        mut entry: Entry,
        saying: Option<Saying>,
    ) -> Option<Change> {
        entry.text = entry.text.map(|text| cut(&text));
        let held = self.tenants.get_mut(tenant)?;
        let incident = held.all.get_mut(&id)?;
        let before = incident.bytes();
        Arc::make_mut(incident).add(entry.clone(), saying.clone());
        let after = incident.bytes();
        held.bytes = held.bytes + after - before;
        self.bytes = self.bytes + after - before;
        self.hold_bytes_of(tenant);
        self.hold_bytes();
        Some(Change::Added { id, entry, saying })
    }

    /// Puts one in, in the place of the one of its identity.
    pub fn put(&mut self, tenant: &str, incident: Arc<Incident>) {
        let name = match self.tenants.get_key_value(tenant) {
            Some((name, _)) => Arc::clone(name),
            None => tenant.into(),
        };
        let held = self.tenants.entry(name).or_default();
        let bytes = incident.bytes();
        let newest = held
            .newest
            .entry(incident.fingerprint)
            .or_insert(incident.id);
        *newest = incident.id.max(*newest);
        if let Some(old) = held.all.insert(incident.id, incident) {
            held.bytes -= old.bytes();
            self.bytes -= old.bytes();
            if held
                .all
                .get(&old.id)
                .is_some_and(|one| one.fingerprint != old.fingerprint)
                && held.newest.get(&old.fingerprint) == Some(&old.id)
            {
                held.newest.remove(&old.fingerprint);
            }
        }
        held.bytes += bytes;
        self.bytes += bytes;
        if held.all.len() > INCIDENTS_MAX {
            self.bytes -= held.let_oldest_go();
        }
        self.hold_bytes_of(tenant);
        self.hold_bytes();
    }

    fn hold_bytes_of(&mut self, tenant: &str) {
        let Some(held) = self.tenants.get_mut(tenant) else {
            return;
        };
        while held.bytes > self.tenant_bytes_max && held.all.len() > 1 {
            self.bytes -= held.let_oldest_go();
        }
    }

    fn hold_bytes(&mut self) {
        while self.bytes > self.bytes_max {
            let most = self.tenants.values_mut().max_by_key(|held| held.bytes);
            let Some(most) = most.filter(|held| held.all.len() > 1) else {
                return;
            };
            self.bytes -= most.let_oldest_go();
        }
        // Looked at only where there is something to be found: tenants are few.
        if self.tenants.len() > 1 {
            self.tenants.retain(|_, held| !held.all.is_empty());
        }
    }

    /// One of a tenant's own.
    #[must_use]
    pub fn get(&self, tenant: &str, id: Uuid) -> Option<&Arc<Incident>> {
        self.tenants.get(tenant)?.all.get(&id)
    }

    /// One that a tenant may see: its own, or one of the server's as others see it.
    #[must_use]
    pub fn see(&self, tenant: &str, id: Uuid) -> Option<Arc<Incident>> {
        if let Some(own) = self.get(tenant, id) {
            return Some(Arc::clone(own));
        }
        let servers = self.get(DEFAULT_TENANT, id)?;
        servers
            .is_servers
            .then(|| Arc::new(servers.without_people()))
    }

    /// The newest of a set of labels.
    #[must_use]
    pub fn newest_of(&self, tenant: &str, fingerprint: Fingerprint) -> Option<&Arc<Incident>> {
        let held = self.tenants.get(tenant)?;
        held.all.get(held.newest.get(&fingerprint)?)
    }

    /// Those that a tenant may see, oldest first; those of the server come apart.
    #[must_use]
    pub fn seen_by(&self, tenant: &str) -> (Vec<Arc<Incident>>, Vec<Arc<Incident>>) {
        let of = |name: &str| {
            self.tenants
                .get(name)
                .map(|held| held.all.values().cloned())
        };
        let own = of(tenant).into_iter().flatten().collect();
        let servers = match tenant == DEFAULT_TENANT {
            true => Vec::new(),
            false => {
                let theirs = of(DEFAULT_TENANT).into_iter().flatten();
                theirs.filter(|incident| incident.is_servers).collect()
            }
        };
        (own, servers)
    }

    /// Those that go on, with whose they are.
    pub fn firing(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Incident>)> {
        let all = self.all();
        all.filter(|(_, incident)| incident.is_firing())
    }

    /// All, with whose they are.
    pub fn all(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Incident>)> {
        let tenants = self.tenants.iter();
        tenants.flat_map(|(name, held)| held.all.values().map(move |incident| (name, incident)))
    }

    /// How many there are, and about how many bytes they take.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let count = self.tenants.values().map(|held| held.all.len()).sum();
        (count, self.bytes)
    }
}

impl Tenant {
    /// The oldest that is over, or else the oldest; how many bytes are free by that.
    fn let_oldest_go(&mut self) -> usize {
        let over = self.all.values().find(|incident| !incident.is_firing());
        let Some(id) = over.or(self.all.values().next()).map(|one| one.id) else {
            return 0;
        };
        let Some(gone) = self.all.remove(&id) else {
            return 0;
        };
        if self.newest.get(&gone.fingerprint) == Some(&id) {
            self.newest.remove(&gone.fingerprint);
        }
        let bytes = gone.bytes();
        self.bytes -= bytes;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use pulseboard_alerting::new_id;

    use super::{super::entry::tests::event, *};

    #[test]
    fn tenants_see_their_own_and_what_the_server_has() {
        let mut book = Book::default();
        let ids = [1, 2, 3].map(new_id);
        for (id, tenant) in ids.into_iter().zip([None, Some("a"), Some("b")]) {
            book.take(&event(tenant, id, 5, AlertState::Firing));
        }
        let seen = |tenant| {
            let (own, servers) = book.seen_by(tenant);
            let all = own.iter().chain(&servers);
            let mut all: Vec<Uuid> = all.map(|incident| incident.id).collect();
            all.sort();
            all
        };
        assert_eq!(seen("a"), [ids[0], ids[1]]);
        assert_eq!(seen("b"), [ids[0], ids[2]]);
        assert_eq!(seen(DEFAULT_TENANT), [ids[0]]);
        assert!(book.see("a", ids[2]).is_none());
        assert!(book.see("a", ids[0]).is_some());
        assert!(book.get("a", ids[0]).is_none(), "not its own");
    }

    #[test]
    fn past_the_bounds_the_oldest_that_are_over_go() {
        let mut book = Book::default();
        let first = new_id(1);
        book.take(&event(Some("a"), first, 1, AlertState::Firing));
        for at_ms in 2..=i64::try_from(INCIDENTS_MAX).expect("small") + 10 {
            let id = new_id(at_ms);
            book.take(&event(Some("a"), id, at_ms, AlertState::Firing));
            book.take(&event(Some("a"), id, at_ms, AlertState::Resolved));
        }
        assert_eq!(book.size().0, INCIDENTS_MAX);
        assert!(book.get("a", first).is_some(), "it goes on");

        let mut book = Book {
            bytes_max: 20_000,
            ..Book::default()
        };
        let small = new_id(1);
        book.take(&event(Some("small"), small, 1, AlertState::Firing));
        for at_ms in 2..500 {
            book.take(&event(
                Some("big"),
                new_id(at_ms),
                at_ms,
                AlertState::Firing,
            ));
        }
        assert!(book.size().1 <= 20_000);
        assert!(book.get("small", small).is_some(), "it has little");

        let mut book = Book {
            tenant_bytes_max: 20_000,
            ..Book::default()
        };
        for at_ms in 1..500 {
            for tenant in ["one", "other"] {
                book.take(&event(
                    Some(tenant),
                    new_id(at_ms),
                    at_ms,
                    AlertState::Firing,
                ));
            }
        }
        for tenant in ["one", "other"] {
            assert!(book.tenants[tenant].bytes <= 20_000, "{tenant}");
            assert!(book.tenants[tenant].bytes > 10_000, "{tenant}");
        }
    }

    #[test]
    fn an_end_comes_once_and_only_of_what_began() {
        let mut book = Book::default();
        let id = new_id(1);
        assert_eq!(book.take(&event(None, id, 1, AlertState::Resolved)), None);
        assert!(book.take(&event(None, id, 1, AlertState::Firing)).is_some());
        assert!(
            book.take(&event(None, id, 2, AlertState::Resolved))
                .is_some()
        );
        assert_eq!(book.take(&event(None, id, 3, AlertState::Resolved)), None);
    }
}
