//! Who of several servers tells a tenant's people: the one that has the lease of its partition. It
//! is fed with what happens, and writes what it knows before anybody is told; the others have what
//! it wrote. Whoever comes after it goes on from there: what was on its way is sent again with the
//! same key, and what happened meanwhile is looked up.
//!
//! A server that reaches nobody tells of its own host (`ALERTS_ALONE=own`), or of everything.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering},
};

use pulseboard_alerting::AlertEvent;
use pulseboard_bus::shelf::THING_BYTES_MAX;
use pulseboard_engine::DEFAULT_TENANT;
use pulseboard_notify::{PostedAlert, Refused, check_posted};
use pulseboard_receivers::outbox::{DELIVERIES, Delivery as Line};

use super::{
    NotPosted, Notifying, Tenant, Untold,
    name::{document_of, tenant_of},
    passed::is_new,
    people_made::FOLDERS,
    state::{Kept, State},
};
use crate::cluster::{
    alike::{Alike, Changed, Held, Role, Term, Wrote},
    voice::check_size,
};

/// The states of tenants.
const STATES: &str = "notify/";

/// The label that says whose figures they are.
const INSTANCE: &str = "instance";

fn state_name(tenant: &str) -> String {
    format!("{STATES}{}", document_of(tenant))
}

impl Notifying {
    /// Whether this server tells the people of a tenant now.
    pub(super) fn acts(&self, tenant: &Tenant) -> bool {
        let Some(alike) = &self.alike else {
            return true;
        };
        let term = Term::of(tenant.term.load(Ordering::Relaxed));
        match alike.role(&tenant.name) {
            Role::Ours(now) => now == term,
            Role::Own => term == Term::OWN,
            Role::Theirs => false,
        }
    }

    /// The same by name.
    pub(super) fn tells(&self, tenant: &str) -> bool {
        if self.alike.is_none() {
            return true;
        }
        let Some(tenant) = self.known(tenant) else {
            return false;
        };
        let acts = self.acts(&tenant);
        if !acts {
            // What is not sent now is sent when it is this server's again, however soon that is.
            tenant.term.store(Term::NONE.number(), Ordering::Relaxed);
        }
        acts
    }

    /// Whether what happens to a tenant's alerts is to be looked at here.
    pub(super) fn listens(&self, tenant: &str) -> bool {
        let role = self.alike.as_ref().map(|alike| alike.role(tenant));
        match role {
            None | Some(Role::Ours(_)) => true,
            Some(Role::Own) => *tenant == *DEFAULT_TENANT,
            Some(Role::Theirs) => false,
        }
    }

    /// Whether an alert is one that this server tells of as it stands now.
    pub(super) fn looks_after(&self, event: &AlertEvent) -> bool {
        let Some(alike) = &self.alike else {
            return true;
        };
        if alike.role(DEFAULT_TENANT) != Role::Own {
            return true;
        }
        let instance = event.alert.labels.get(INSTANCE);
        event.tenant.is_none()
            && event.detail.is_none()
            && instance.is_none_or(|instance| *instance == *alike.instance())
    }

    /// Takes over tenants that are this server's to look after from now on, and lets others go.
    /// Blocks.
    pub(super) fn take_roles(&self, now_ms: i64) {
        for tenant in self.all() {
            self.take_role(&tenant, now_ms);
        }
    }

    /// Likewise one; whether it is looked after here now.
    pub(super) fn take_role(&self, tenant: &Tenant, now_ms: i64) -> bool {
        let Some(alike) = &self.alike else {
            return true;
        };
        let is_ours = |term| alike.role(&tenant.name) == Role::Ours(term);
        if is_ours(Term::of(tenant.term.load(Ordering::Relaxed))) {
            return true;
        }
        // One finds it out at a time: what one has taken in is not to be what was before.
        let _taking = tenant.taking.lock();
        let term = Term::of(tenant.term.load(Ordering::Relaxed));
        match alike.role(&tenant.name) {
            Role::Ours(now) if now == term => true,
            Role::Ours(_) => match alike.claim(&tenant.name) {
                Some(term) => {
                    self.take_over(alike, tenant, term, now_ms);
                    true
                }
                None => false,
            },
            Role::Own if *tenant.name == *DEFAULT_TENANT => {
                if term != Term::OWN {
                    self.look_after_own(tenant, now_ms);
                }
                true
            }
            Role::Own | Role::Theirs => {
                if term != Term::NONE {
                    self.let_go(alike, tenant, now_ms);
                }
                false
            }
        }
    }

    fn take_over(&self, alike: &Alike, tenant: &Tenant, term: Term, now_ms: i64) {
        let was_own = tenant.term.load(Ordering::Relaxed) == Term::OWN.number();
        if was_own {
            tenant.seen.store(0, Ordering::Relaxed);
        }
        if let Some(held) = alike.state(&state_name(&tenant.name)) {
            self.take_state(tenant, &held, now_ms);
        }
        self.follow_people(tenant);
        tenant.state.lock().resend(now_ms);
        // The one before may have been killed with it. What it knows already is no news.
        let passed = self.passed.lock().take(now_ms, &tenant.name);
        if !passed.is_empty() {
            drop(self.take_posted(tenant, now_ms, passed));
        }
        tenant.term.store(term.number(), Ordering::Relaxed);
        self.settle_told(now_ms, |name| *name == *tenant.name);
        // What happened while nobody looked.
        self.queue.lock().is_short = true;
        tracing::info!(tenant = &*tenant.name, "this server tells of alerts now");
    }

    /// Nobody can be reached: what others found is no longer known, and this host's alerts are told
    /// of here.
    fn look_after_own(&self, tenant: &Tenant, now_ms: i64) {
        let mut state = tenant.state.lock();
        let kept = state.keep().without_alerts();
        *state = self.restored(&tenant.name, kept, now_ms);
        drop(state);
        tenant.term.store(Term::OWN.number(), Ordering::Relaxed);
        self.queue.lock().is_short = true;
    }

    fn let_go(&self, alike: &Alike, tenant: &Tenant, now_ms: i64) {
        tenant.term.store(Term::NONE.number(), Ordering::Relaxed);
        let mut state = tenant.state.lock();
        drop((state.take_to_send(), state.take_effects()));
        drop(state);
        tenant.seen.store(0, Ordering::Relaxed);
        if let Some(held) = alike.state(&state_name(&tenant.name)) {
            self.take_state(tenant, &held, now_ms);
        }
    }

    pub(super) fn restored(&self, tenant: &Arc<str>, kept: Kept, now_ms: i64) -> State {
        let (config, _) = self.config_of(tenant);
        let options = self.options(tenant);
        let mut state = State::restore(Arc::clone(tenant), config, options, kept, now_ms);
        if self.alike.is_some() {
            state.keep_notifications();
            state.change();
        }
        state
    }

    /// Has a tenant be as another server says, unless that is known here.
    fn take_state(&self, tenant: &Tenant, held: &Held, now_ms: i64) {
        if tenant.seen.swap(held.revision, Ordering::Relaxed) == held.revision {
            return;
        }
        match serde_json::from_slice::<Kept>(&held.bytes) {
            Ok(kept) => {
                let restored = self.restored(&tenant.name, kept, now_ms);
                *tenant.state.lock() = restored;
                self.follow_people(tenant);
            }
            Err(error) => {
                tracing::error!(%error, tenant = &*tenant.name, "what is known of alerts cannot be read");
            }
        }
    }

    /// Whether what people made at other servers has been taken in.
    #[must_use]
    pub fn knows_people(&self) -> bool {
        self.knows_people.load(Ordering::Relaxed)
    }

    /// Goes on by what other servers made, changed or removed, and shows what those know that act.
    /// Blocks for the disk.
    pub fn follow(&self, alike: &Alike, changed: &Changed) {
        if changed.is_new {
            self.bring_people();
        }
        let is_first = !self.knows_people.swap(true, Ordering::Relaxed);
        let is_of = |kinds: &[&str]| {
            let mut names = changed.documents.iter();
            names.any(|name| kinds.iter().any(|kind| name.starts_with(kind)))
        };
        let now_ms = self.clock.now_ms();
        for name in changed
            .states
            .iter()
            .filter(|name| name.starts_with(STATES))
        {
            let Some(held) = alike.state(name) else {
                continue;
            };
            let of = serde_json::from_slice::<Of>(&held.bytes);
            let Some(tenant) = of.ok().and_then(|of| self.tenant_of_rules(&of.tenant).ok()) else {
                continue;
            };
            if !self.acts(&tenant) {
                self.take_state(&tenant, &held, now_ms);
            }
        }
        if is_first || is_of(&FOLDERS) {
            // Also those of whom nothing else is known here.
            let names = FOLDERS.iter().flat_map(|kind| self.documents.list(kind));
            let tenants: BTreeSet<String> = names
                .filter_map(|(name, _)| tenant_of(name.split('/').nth(1)?))
                .collect();
            for tenant in tenants {
                drop(self.tenant_of_rules(&tenant));
            }
            for tenant in self.all() {
                self.follow_people(&tenant);
            }
        }
        if is_of(&["receivers/", "browsers/", crate::base::documents::PUSH_KEY]) {
            let _changing = self.changing.lock();
            self.browsers.look_anew();
            for tenant in self.all() {
                let (config, templates) = self.config_of(&tenant.name);
                let is_same = *tenant.state.lock().manager().config() == config;
                if !is_same {
                    self.use_config(&tenant, config, templates);
                }
            }
        }
        self.wake.notify_one();
    }

    /// Writes what is known of a tenant, for the others to have; whether this server still acts for
    /// it. Blocks.
    pub(super) fn share(&self, tenant: &Tenant, kept: Option<&[u8]>) -> bool {
        let Some(alike) = &self.alike else {
            return true;
        };
        if !self.acts(tenant) {
            return false;
        }
        let term = Term::of(tenant.term.load(Ordering::Relaxed));
        if term == Term::OWN {
            return true;
        }
        let name = state_name(&tenant.name);
        let is_too_large = kept.is_some_and(|kept| kept.len() > THING_BYTES_MAX);
        if is_too_large {
            tracing::error!(
                tenant = &*tenant.name,
                "there are too many alerts for the other servers to know; people are told all the same"
            );
            return alike.write((&tenant.name, term), None, &[]) != Wrote::NotOurs;
        }
        match alike.write((&tenant.name, term), Some((&name, kept)), &[]) {
            Wrote::Told | Wrote::Alone => {
                if let Some(held) = alike.state(&name) {
                    tenant.seen.store(held.revision, Ordering::Relaxed);
                }
                true
            }
            Wrote::NotOurs => {
                self.let_go(alike, tenant, self.clock.now_ms());
                false
            }
        }
    }

    /// Alerts that somebody sent to this server, which is one of several: taken where it acts for
    /// the tenant, else passed on to the one that does. What is refused here is at any of them.
    pub(super) fn post_to_all(
        &self,
        alike: &Alike,
        name: &str,
        alerts: Vec<PostedAlert>,
    ) -> Result<Vec<Refused>, NotPosted> {
        let now_ms = self.clock.now_ms();
        let (alerts, mut refused) = self.checked(name, now_ms, alerts);
        if self.listens(name) {
            let tenant = self.tenant(name)?;
            if self.take_role(&tenant, now_ms) {
                let not_taken = self.take_posted(&tenant, now_ms, alerts.clone());
                alike.tell_posted(name, now_ms, alerts);
                refused.extend(not_taken);
                return Ok(refused);
            }
        }
        if alerts.is_empty() {
            return Ok(refused);
        }
        // Whoever acts for it next may be this server, which does not hear what it says itself.
        self.passed
            .lock()
            .keep(now_ms, &name.into(), alerts.clone());
        let passed = alike.pass_on(name, now_ms, alerts);
        passed.map_err(|why| NotPosted::Untold(Untold(why)))?;
        if self.listens(name) {
            // It is by now, and may have taken over before that was kept.
            let tenant = self.tenant(name)?;
            if self.take_role(&tenant, now_ms) {
                let kept = self.passed.lock().take(now_ms, name);
                refused.extend(self.take_posted(&tenant, now_ms, kept));
            }
        }
        Ok(refused)
    }

    /// Alerts that may be posted whatever is known of others, and those that may not.
    fn checked(
        &self,
        tenant: &str,
        now_ms: i64,
        alerts: Vec<PostedAlert>,
    ) -> (Vec<PostedAlert>, Vec<Refused>) {
        let (config, _) = self.config_of(tenant);
        let timeout = config.global.resolve_timeout.as_millis();
        let timeout_ms = i64::try_from(timeout).unwrap_or(i64::MAX);
        let (mut good, mut refused) = (Vec::with_capacity(alerts.len()), Vec::new());
        for alert in alerts {
            let checked =
                check_posted(&alert, now_ms, timeout_ms).and_then(|()| check_size(&alert));
            match checked {
                Ok(()) => good.push(alert),
                Err(why) => refused.push(Refused {
                    labels: alert.labels,
                    why,
                    is_full: false,
                    is_own: false,
                }),
            }
        }
        (good, refused)
    }

    /// Alerts that somebody posted at another server, at this time of its clock. Blocks.
    pub fn hear_posted(&self, name: &Arc<str>, at_ms: i64, alerts: Vec<PostedAlert>) {
        let now_ms = self.clock.now_ms();
        // Whoever joins reads what was said long ago.
        if !is_new(at_ms, now_ms) {
            return;
        }
        if self.listens(name) {
            match self.tenant(name) {
                Ok(tenant) if self.take_role(&tenant, now_ms) => {
                    let refused = self.take_posted(&tenant, now_ms, alerts).len();
                    if refused > 0 {
                        tracing::warn!(
                            refused,
                            tenant = &**name,
                            "alerts that were posted at another server are not taken"
                        );
                    }
                    return;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, tenant = &**name, "alerts that were posted at another server are not taken");
                    return;
                }
            }
        }
        self.passed.lock().keep(now_ms, name, alerts);
    }

    /// What became of notifications, whichever server sent them, newest first.
    pub(super) fn with_lines_of_others(&self, tenant: &str, own: Vec<Line>) -> Vec<Line> {
        let known = self.known(tenant).filter(|_| self.alike.is_some());
        let Some(known) = known else {
            return own;
        };
        let key = |line: &Line| (line.key.clone(), line.receiver.clone(), line.way.clone());
        let mut lines: HashMap<_, Line> = HashMap::new();
        for line in own.into_iter().chain(known.state.lock().lines().cloned()) {
            let key = key(&line);
            let is_newer = lines.get(&key).is_none_or(|one| one.at_ms <= line.at_ms);
            if is_newer {
                lines.insert(key, line);
            }
        }
        let mut lines: Vec<Line> = lines.into_values().collect();
        lines.sort_by_key(|line| std::cmp::Reverse((line.created_ms, line.at_ms)));
        lines.truncate(DELIVERIES);
        lines
    }
}

/// Whose a state is.
#[derive(serde::Deserialize)]
struct Of {
    tenant: String,
}
