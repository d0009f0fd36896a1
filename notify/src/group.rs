//! One group of alerts on one route, and what is to be told of it to one way: Alertmanager's
//! deduplication, with acknowledgements and flapping. Pure decisions; [`crate::Manager`] acts on
//! them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pulseboard_shared::Labels;

use crate::{
    alerts::Alert,
    labels::Fingerprint,
    log::{Entry, Slot},
    reason::Reason,
};

/// Alerts of one route that have the group's labels in common.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) route: usize,
    pub(crate) labels: Labels,
    /// `{}/{severity="page"}:{alertname="Down"}`.
    pub(crate) key: String,
    pub(crate) next_flush_ms: i64,
    pub(crate) has_flushed: bool,
    /// Since when nothing is in it.
    pub(crate) empty_since_ms: Option<i64>,
    pub(crate) members: BTreeMap<Fingerprint, Member>,
    /// By the number of the receiver's way.
    pub(crate) ways: Vec<WayState>,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) alert: Arc<Alert>,
    /// The ways that need hear no more of it, once it is over.
    pub(crate) settled: BTreeSet<usize>,
    /// Why it was not sent last, for all ways (`None`) or one.
    pub(crate) said: BTreeMap<Option<usize>, &'static str>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct WayState {
    /// The budget was used up; the digest tells of it.
    pub(crate) is_held: bool,
    /// It had something to say while the last was on its way.
    pub(crate) is_blocked: bool,
    /// The last did not arrive, for good: it is told again at the group's next turn, and not when
    /// another way has a reason to be told sooner.
    pub(crate) waits_until_ms: Option<i64>,
}

/// An empty group is let go after so long, as Alertmanager looks for such ones twice a minute.
pub(crate) const EMPTY_MS: i64 = 30_000;

impl Group {
    /// When something is to be done about it.
    pub(crate) fn due_ms(&self) -> i64 {
        let gone = self
            .empty_since_ms
            .map(|since| since.saturating_add(EMPTY_MS));
        gone.map_or(self.next_flush_ms, |gone| gone.min(self.next_flush_ms))
    }

    /// Lets go those that are over and that no way needs hear of.
    pub(crate) fn let_go(&mut self, now_ms: i64, is_firing: impl Fn(&Alert) -> bool) {
        let ways = self.ways.len();
        self.members
            .retain(|_, member| is_firing(&member.alert) || member.settled.len() < ways.max(1));
        match self.members.is_empty() {
            true => self.empty_since_ms = self.empty_since_ms.or(Some(now_ms)),
            false => self.empty_since_ms = None,
        }
    }
}

/// A member at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) alert: Arc<Alert>,
    /// One that flaps counts as firing until it is calm.
    pub(crate) is_firing: bool,
    /// When it is calm.
    pub(crate) calm_ms: Option<i64>,
    /// Who has it in hand, and until when.
    pub(crate) acked: Option<(String, Option<i64>)>,
}

/// What made it necessary to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// An alert fires that was not told of.
    Firing,
    /// One that was told of is over.
    Resolved,
    /// One comes and goes.
    Flapping,
    /// `repeat_interval` is over.
    Repeat,
    /// What the budget held back.
    Digest,
}

/// What is to be told to one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The one of this key has to arrive first.
    Blocked(String),
    /// These, by their numbers, and what is written when they have arrived.
    Send {
        cause: Cause,
        alerts: Vec<usize>,
        next: Entry,
    },
    /// Nothing is sent, and this is written.
    Record(Entry),
    Nothing,
}

/// Of one way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) sends_resolved: bool,
    pub(crate) repeat_ms: i64,
}

/// Decides what one way is to be told about those of a group that nothing mutes.
pub(crate) fn decide(
    seen: &[Seen],
    slot: Option<&Slot>,
    terms: Terms,
    now_ms: i64,
    is_member: impl Fn(Fingerprint) -> bool,
) -> Decision {
    let none = Entry::default();
    let entry = slot.and_then(|slot| slot.entry.as_ref());
    let told = entry.unwrap_or(&none);
    let of = |firing: bool| {
        let those = seen.iter().filter(move |one| one.is_firing == firing);
        those.map(|one| one.alert.fingerprint)
    };
    let firing: BTreeSet<Fingerprint> = of(true).collect();
    let resolved: BTreeSet<Fingerprint> = of(false).collect();
    let flapping: BTreeSet<Fingerprint> = seen
        .iter()
        .filter(|one| one.calm_ms.is_some())
        .map(|one| one.alert.fingerprint)
        .collect();
    let over: BTreeSet<Fingerprint> = resolved.intersection(&told.told).copied().collect();
    let mut open = seen
        .iter()
        .filter(|one| one.is_firing && one.acked.is_none())
        .map(|one| one.alert.fingerprint)
        .peekable();
    let has_open = open.peek().is_some();
    let cause = if open.any(|one| !told.firing.contains(&one)) {
        Some(Cause::Firing)
    } else if !flapping.is_subset(&told.flapping) && has_open {
        Some(Cause::Flapping)
    } else if firing.is_empty() {
        // whatever the way wants to hear, the log has to know that nothing fires
        (entry.is_some() && !told.firing.is_empty()).then_some(Cause::Resolved)
    } else if terms.sends_resolved && !over.is_empty() {
        Some(Cause::Resolved)
    } else if has_open && entry.is_some() && told.at_ms <= now_ms - terms.repeat_ms {
        Some(Cause::Repeat)
    } else {
        None
    };
    let Some(cause) = cause else {
        return Decision::Nothing;
    };
    if let Some(in_flight) = slot.and_then(|slot| slot.in_flight.as_ref()) {
        return Decision::Blocked(in_flight.key.clone());
    }
    // Whoever has one in hand hears no more of it. Where the rest is over it is told all the same,
    // so that nobody takes the whole group to be over.
    let leaves_acked = cause != Cause::Resolved;
    let is_told = |one: &Seen| one.is_firing && !(leaves_acked && one.acked.is_some());
    let alerts: Vec<usize> = (0..)
        .zip(seen)
        .filter(|(_, one)| {
            let is_over = terms.sends_resolved && over.contains(&one.alert.fingerprint);
            is_told(one) || is_over
        })
        .map(|(number, _)| number)
        .collect();
    // One that is in hand and was never told of is new to all when it is in hand no more.
    let known = |one: &&Seen| is_told(one) || told.firing.contains(&one.alert.fingerprint);
    let firing: BTreeSet<Fingerprint> = seen
        .iter()
        .filter(|one| one.is_firing)
        .filter(known)
        .map(|one| one.alert.fingerprint)
        .collect();
    let mut next = Entry::at(now_ms, terms.repeat_ms);
    next.told = told.told.union(&firing).copied().collect();
    next.told
        .retain(|one| !resolved.contains(one) && is_member(*one));
    next.firing = firing;
    next.resolved = resolved;
    next.flapping = flapping;
    match alerts.is_empty() {
        true => Decision::Record(next),
        false => Decision::Send {
            cause,
            alerts,
            next,
        },
    }
}

/// Why one that nothing mutes is not told of to a way, when nothing is or without it.
pub(crate) fn unsent(one: &Seen, slot: Option<&Slot>, terms: Terms, now_ms: i64) -> Reason {
    let entry = slot.and_then(|slot| slot.entry.as_ref());
    if !one.is_firing {
        let was_told = entry.is_some_and(|entry| {
            let fingerprint = one.alert.fingerprint;
            entry.told.contains(&fingerprint) || entry.resolved.contains(&fingerprint)
        });
        return match was_told && !terms.sends_resolved {
            true => Reason::ResolvedUnwanted,
            false => Reason::Untold,
        };
    }
    if let Some((by, until_ms)) = &one.acked {
        return Reason::Acknowledged {
            by: by.clone(),
            until_ms: *until_ms,
        };
    }
    if let Some(calm_ms) = one.calm_ms {
        return Reason::Flapping { calm_ms };
    }
    let at_ms = entry.map_or(now_ms, |entry| entry.at_ms);
    Reason::Repeat {
        due_ms: at_ms.saturating_add(terms.repeat_ms),
    }
}
