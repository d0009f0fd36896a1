//! Groups of several servers: one evaluates a tenant's, the others show what it finds.
//!
//! After an evaluation in which something changed, and each second, whoever evaluates writes how
//! the group is, with the incidents of its alerts, and what is to be said of them in the same step:
//! all servers have both or neither. Whoever evaluates next goes on from there, so nothing fires
//! anew and no pending time is lost.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use pulseboard_alerting::AlertEvent;
use pulseboard_bus::shelf::THING_BYTES_MAX;
use pulseboard_rules::{
    Group,
    keep::{GroupFigures, KeptGroup},
};
use serde::{Deserialize, Serialize};

use super::{Held, Rules, say};
use crate::cluster::alike::{Alike, Held as State, Term, Wrote};

/// How often a group that is as it was is told to the others.
const TOLD_MS: i64 = 900;

/// Incidents of rules that nobody knows end once they were not heard of for so long: what is made
/// at one server is here a moment later.
const STRANGE_MS: i64 = 5_000;

/// A group as its holder tells of it.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    kept: KeptGroup,
    figures: GroupFigures,
    /// The newest event of each of its incidents.
    incidents: Vec<AlertEvent>,
}

/// The right to evaluate a group now.
#[derive(Clone, Copy, Debug)]
pub(super) enum Right {
    /// There are no other servers.
    Only,
    /// Of several, this one.
    Term(Term),
}

impl Held {
    /// What others call its state.
    fn state_name(&self) -> String {
        self.wanted.id.document()
    }
}

impl Rules {
    /// Whether this server is to evaluate a group now. Blocks where it has just become the one.
    pub(super) fn right(&self, held: &Held) -> Option<Right> {
        match &self.alike {
            None => Some(Right::Only),
            Some(alike) => alike.claim(&held.wanted.id.tenant).map(Right::Term),
        }
    }

    /// Goes on where whoever evaluated the group before ended.
    pub(super) fn take_over(&self, held: &Held, group: &mut Group, right: Right, at_ms: i64) {
        let (Right::Term(term), Some(alike)) = (right, &self.alike) else {
            return;
        };
        if held.term.load(Ordering::Relaxed) == term.number() {
            return;
        }
        if let Some(state) = alike.state(&held.state_name()) {
            self.take_state(held, group, &state, at_ms);
            held.is_new.store(false, Ordering::Relaxed);
        }
        // What is known of no incident of these rules is over, unless it is found again.
        let known: HashMap<_, _> = {
            let told = self.alerts.manager().told().into_iter();
            let told = told.filter_map(|event| Some((say::key_of(&event)?, event)));
            told.filter(|((rule, _), _)| held.wanted.rule_ids.contains(rule))
                .collect()
        };
        let incidents = held.incidents.lock();
        let mut orphans = self.orphans.lock();
        orphans.retain(|(rule, _), _| !held.wanted.rule_ids.contains(rule));
        for (key, event) in known {
            if !incidents.contains_key(&key) {
                orphans.insert(key, event);
            }
        }
        drop((incidents, orphans));
        held.evaluated.store(0, Ordering::Relaxed);
        held.term.store(term.number(), Ordering::Relaxed);
    }

    /// Has a group be as another server says, unless that is known here.
    pub(super) fn take_state(&self, held: &Held, group: &mut Group, state: &State, at_ms: i64) {
        if held.seen.swap(state.revision, Ordering::Relaxed) == state.revision {
            return;
        }
        let told: Told = match serde_json::from_slice(&state.bytes) {
            Ok(told) => told,
            Err(error) => {
                tracing::error!(%error, group = group.name(), "how a group of rules is cannot be read");
                return;
            }
        };
        let wanted = &held.wanted;
        // It was in order when it was made.
        let Ok(mut anew) = Group::new(&wanted.id.file, &wanted.spec, wanted.defaults) else {
            return;
        };
        // Whoever evaluates the group writes its stale markers.
        drop(anew.take_back(&told.kept, at_ms));
        anew.take_figures(told.figures);
        *group = anew;
        let incidents = told.incidents.into_iter().filter_map(|event| {
            let key = say::key_of(&event)?;
            Some((key, say::Incident::of(event)))
        });
        *held.incidents.lock() = incidents.collect();
        held.alert_bytes.set(group.alert_bytes());
        held.is_dirty.store(true, Ordering::Relaxed);
        *held.status.lock() = Arc::new(group.status());
    }

    /// Takes in what others say of groups of these states. Blocks.
    pub fn follow_states(&self, alike: &Alike, is_changed: impl Fn(&str) -> bool) {
        let all: Vec<Arc<Held>> = self.groups.lock().by_id.values().cloned().collect();
        let now_ms = self.clock.now_ms();
        for held in all {
            let name = held.state_name();
            if !is_changed(&name) {
                continue;
            }
            let Some(state) = alike.state(&name) else {
                continue;
            };
            // One that is evaluated here is known better here.
            if let Some(mut group) = held.group.try_lock()
                && let Some(group) = group.as_mut()
            {
                self.take_state(&held, group, &state, now_ms);
            }
        }
    }

    /// Tells the others what an evaluation found; where another server has begun to evaluate the
    /// group, nothing of it holds.
    pub(super) fn tell_found(
        &self,
        held: &Held,
        group: &mut Group,
        right: Right,
        (events, has_changed): (Vec<AlertEvent>, bool),
    ) {
        let (Right::Term(term), Some(alike)) = (right, &self.alike) else {
            return;
        };
        let steady_ms = self.clock.steady_ms();
        let is_due = steady_ms - held.told_ms.load(Ordering::Relaxed) >= TOLD_MS;
        if events.is_empty() && !has_changed && !is_due {
            return;
        }
        let told = Told {
            kept: group.kept(),
            figures: group.figures(),
            incidents: {
                let incidents = held.incidents.lock();
                incidents.values().map(say::Incident::event).collect()
            },
        };
        let bytes = match serde_json::to_vec(&told) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(%error, group = group.name(), "how a group of rules is cannot be written");
                return;
            }
        };
        let name = held.state_name();
        let tenant = &held.wanted.id.tenant;
        // So many alerts are evaluated by one server all the same; another one begins anew.
        let is_small = bytes.len() <= THING_BYTES_MAX;
        if !is_small {
            tracing::error!(
                group = group.name(),
                "it has too many alerts for the others to know"
            );
        }
        let state = is_small.then_some((&*name, Some(&*bytes)));
        match alike.write((tenant, term), state, &events) {
            told @ (Wrote::Told | Wrote::Alone) => {
                held.told_ms.store(steady_ms, Ordering::Relaxed);
                if let Some(state) = alike.state(&name) {
                    held.seen.store(state.revision, Ordering::Relaxed);
                }
                for event in events {
                    match told {
                        Wrote::Told => self.alerts.manager().tell_sent(event),
                        _ => self.alerts.manager().tell(event),
                    }
                }
            }
            Wrote::NotOurs => {
                tracing::warn!(
                    group = group.name(),
                    tenant = &**tenant,
                    "another server evaluates this group by now; what was found here does not hold"
                );
                held.term.store(Term::NONE.number(), Ordering::Relaxed);
                held.seen.store(0, Ordering::Relaxed);
                if let Some(state) = alike.state(&name) {
                    self.take_state(held, group, &state, self.clock.now_ms());
                }
            }
        }
    }

    /// Says what became of an alert of a tenant, where that is this server's to say.
    pub(super) fn tell_for(&self, tenant: &str, event: AlertEvent) {
        let Some(alike) = &self.alike else {
            return self.alerts.manager().tell(event);
        };
        let Some(term) = alike.claim(tenant) else {
            return;
        };
        match alike.write((tenant, term), None, std::slice::from_ref(&event)) {
            Wrote::Told => self.alerts.manager().tell_sent(event),
            Wrote::Alone => self.alerts.manager().tell(event),
            Wrote::NotOurs => {}
        }
    }

    /// Whether what rules of a tenant make is this server's to write now.
    pub(super) fn writes_for(&self, tenant: &str) -> bool {
        let alike = self.alike.as_ref();
        alike.is_none_or(|alike| alike.claim(tenant).is_some())
    }

    /// A group is no more: nothing is to be found of it.
    pub(super) fn forget_state(&self, gone: &Held) {
        let Some(alike) = &self.alike else { return };
        let (tenant, name) = (&gone.wanted.id.tenant, gone.state_name());
        if alike.state(&name).is_some()
            && let Some(term) = alike.claim(tenant)
        {
            alike.write((tenant, term), Some((&name, None)), &[]);
        }
    }

    /// Incidents of rules that are gone, which whoever evaluated them did not end. Blocks.
    pub(super) fn end_strange(&self) {
        if self.alike.is_none() {
            return;
        }
        let now_ms = self.clock.now_ms();
        let old = self.alerts.manager().told().into_iter().filter(|event| {
            let heard_ms = event.alert.timestamp.as_millis();
            now_ms - heard_ms > STRANGE_MS
        });
        let strange: Vec<AlertEvent> = {
            let groups = self.groups.lock();
            let held = groups.by_id.values();
            let known: std::collections::HashSet<&String> =
                held.flat_map(|held| &held.wanted.rule_ids).collect();
            old.filter(|event| {
                let rule = event.detail.as_deref().map(|detail| &detail.rule_id);
                rule.is_some_and(|rule| !known.contains(rule) && !say::is_foreign(rule))
            })
            .collect()
        };
        for event in strange {
            // Ways out that fail have no rule: their tenant's notifications end them.
            if crate::notifying::is_ours(&event)
                && let Some(tenant) = event.tenant.clone()
            {
                self.tell_for(&tenant, say::ended(event, now_ms));
            }
        }
    }

    /// Goes on by what others made, changed or removed. Blocks for the disk.
    pub fn follow_documents(&self) {
        let _changing = self.changing.lock();
        {
            let mut groups = self.groups.lock();
            groups.made = super::made::all(&self.documents, super::built_in::is_one);
            for id in groups
                .built_in
                .iter()
                .map(super::BuiltIn::id)
                .collect::<Vec<_>>()
            {
                super::built_in::reset(&mut groups.built_in, id);
            }
            super::built_in::restore(&mut groups.built_in, &self.documents);
        }
        self.apply(false);
    }
}
