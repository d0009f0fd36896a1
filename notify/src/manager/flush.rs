//! A flush: what of a group is told to whom, and why the rest is not; and the digests of what the
//! budget held back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pulseboard_receivers::{AlertStatus, Notification, NotifiedAlert};
use pulseboard_shared::Labels;

use super::{Action, Delivery, GroupId, Held, Manager, NotSent, WayOut};
use crate::{
    alerts::Alert,
    group::{Cause, Decision, Seen, Terms, decide, unsent},
    labels::{Fingerprint, told_order},
    log::{Entry, InFlight, SlotKey},
    reason::Reason,
};

/// What people read has at most so many alerts; the rest is counted.
const READ_MAX: usize = 1000;

/// A notification for a program has all alerts, unless that were more bytes than this: the outbox
/// keeps some of this size for a receiver that is away. The rest is counted.
const NOTIFIED_BYTES_MAX: usize = 6 << 20;

/// Of an alert, beside its texts: names of fields, times and marks.
const ALERT_BYTES: usize = 256;

/// What an alert takes as JSON, in which a character may take six.
fn json_bytes(alert: &Alert) -> usize {
    let of = |text: &str| -> usize {
        let bytes = text.bytes().map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
            0..=0x1f => 6,
            _ => 1,
        });
        bytes.sum()
    };
    let pairs = alert.labels.iter().chain(&alert.annotations);
    let texts: usize = pairs.map(|(name, value)| of(name) + of(value) + 6).sum();
    ALERT_BYTES + texts + of(&alert.generator_url)
}

/// What one way is to be told of one group.
struct Due {
    cause: Cause,
    alerts: Vec<Seen>,
    next: Entry,
    slot: SlotKey,
}

impl Manager {
    /// Tells of a group what is to be told.
    pub(super) fn flush(
        &mut self,
        now_ms: i64,
        scheduled_ms: i64,
        id: GroupId,
        actions: &mut Vec<Action>,
    ) {
        let Some((receiver, ways)) = self.receiver_of(id) else {
            return;
        };
        let seen = self.see(now_ms, id, &receiver, actions);
        if ways.is_empty() {
            for one in &seen {
                self.not_sent(
                    now_ms,
                    id,
                    &receiver,
                    None,
                    one.alert.fingerprint,
                    Reason::NoWay,
                    actions,
                );
                self.settle_member(id, one, 0);
            }
        } else if !seen.is_empty() {
            for (number, way) in ways.iter().enumerate() {
                if self.is_waiting(id, number, now_ms) {
                    continue;
                }
                self.flush_way(now_ms, scheduled_ms, id, &seen, (number, way), actions);
            }
        }
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let flaps = &self.flaps;
        group.let_go(now_ms, |alert| {
            !alert.is_over(now_ms) || flaps.calm_at(alert.fingerprint, now_ms).is_some()
        });
    }

    fn receiver_of(&self, id: GroupId) -> Option<(String, Arc<[WayOut]>)> {
        let route = self.routes.get(self.groups.get(&id)?.route)?;
        let receiver = route.options.receiver.clone();
        let ways = self.ways.get(&receiver).cloned();
        Some((receiver, ways.unwrap_or_else(|| Arc::from([]))))
    }

    /// The members that nothing mutes, in the order in which they are told. Of the others it is
    /// said why, and those that are over are done with.
    fn see(
        &mut self,
        now_ms: i64,
        id: GroupId,
        receiver: &str,
        actions: &mut Vec<Action>,
    ) -> Vec<Seen> {
        let Some(group) = self.groups.get(&id) else {
            return Vec::new();
        };
        let mut members: Vec<Arc<Alert>> = group
            .members
            .values()
            .map(|member| Arc::clone(&member.alert))
            .collect();
        members.sort_by(|left, right| told_order(&left.labels, &right.labels));
        let hours = self.muted_by_time(now_ms, group.route);
        let ways = group.ways.len().max(1);
        let mut seen = Vec::with_capacity(members.len());
        for alert in members {
            let fingerprint = alert.fingerprint;
            let calm_ms = self.flaps.calm_at(fingerprint, now_ms);
            let one = Seen {
                is_firing: !alert.is_over(now_ms) || calm_ms.is_some(),
                calm_ms,
                acked: self
                    .acks
                    .get(now_ms, fingerprint)
                    .map(|ack| (ack.by.clone(), ack.until_ms)),
                alert,
            };
            let muted = self.muted(now_ms, &one.alert).or_else(|| hours.clone());
            let Some(reason) = muted else {
                if let Some(group) = self.groups.get_mut(&id)
                    && let Some(member) = group.members.get_mut(&fingerprint)
                {
                    member.said.remove(&None);
                }
                seen.push(one);
                continue;
            };
            self.not_sent(now_ms, id, receiver, None, fingerprint, reason, actions);
            for number in 0..ways {
                self.settle_member(id, &one, number);
            }
        }
        seen
    }

    /// Why an alert is told to nobody, as far as it is not about the time.
    fn muted(&mut self, now_ms: i64, alert: &Alert) -> Option<Reason> {
        if let Some(by) = self.inhibition.by(now_ms, &alert.labels) {
            return Some(Reason::Inhibited { by });
        }
        let version = self.silences.version();
        if self.alerts.silences(alert.fingerprint, version).is_none() {
            let ids = self.silences.matching(now_ms, &alert.labels);
            self.alerts.set_silences(alert.fingerprint, version, ids);
        }
        let ids = self.silenced_by(now_ms, alert);
        if !ids.is_empty() {
            return Some(Reason::Silenced { ids });
        }
        let ids = self.windows.matching(now_ms, &alert.labels);
        (!ids.is_empty()).then_some(Reason::Maintenance { ids })
    }

    /// Silences that are active for an alert.
    pub(super) fn silenced_by(&self, now_ms: i64, alert: &Alert) -> Vec<String> {
        let known = self
            .alerts
            .silences(alert.fingerprint, self.silences.version());
        let mut ids = match known {
            Some(ids) => ids.to_vec(),
            None => self.silences.matching(now_ms, &alert.labels),
        };
        ids.retain(|id| self.silences.is_active(now_ms, id));
        ids
    }

    /// Why nothing of a route is told at this time.
    pub(super) fn muted_by_time(&self, now_ms: i64, route: usize) -> Option<Reason> {
        let options = &self.routes.get(route)?.options;
        let inside = |names: &[String]| -> Vec<String> {
            let contains = |name: &&String| {
                let intervals = self.intervals.get(*name);
                intervals.is_some_and(|all| all.iter().any(|one| one.contains(now_ms)))
            };
            names.iter().filter(contains).cloned().collect()
        };
        let active = &options.active_time_intervals;
        if !active.is_empty() && inside(active).is_empty() {
            let intervals = active.clone();
            return Some(Reason::OutsideHours { intervals });
        }
        let intervals = inside(&options.mute_time_intervals);
        (!intervals.is_empty()).then_some(Reason::Muted { intervals })
    }

    fn flush_way(
        &mut self,
        now_ms: i64,
        scheduled_ms: i64,
        id: GroupId,
        seen: &[Seen],
        (number, way): (usize, &WayOut),
        actions: &mut Vec<Action>,
    ) {
        let Some((terms, slot_key)) = self.terms(id, way) else {
            return;
        };
        let decision = self.decide(now_ms, id, seen, terms, &slot_key);
        let receiver = way.way.receiver.as_str();
        let mut left_out: BTreeMap<Fingerprint, Reason> = BTreeMap::new();
        match decision {
            Decision::Blocked(key) => {
                if let Some(state) = self.way_state(id, number) {
                    state.is_blocked = true;
                }
                for one in seen {
                    let reason = Reason::Delivering { key: key.clone() };
                    left_out.insert(one.alert.fingerprint, reason);
                }
            }
            Decision::Nothing | Decision::Record(_) => {
                for one in seen {
                    let slot = self.log.get(&slot_key);
                    let reason = unsent(one, slot, terms, now_ms);
                    left_out.insert(one.alert.fingerprint, reason);
                    self.settle_member(id, one, number);
                }
                if let Decision::Record(entry) = decision {
                    self.log.record(slot_key, entry);
                }
                self.release(id, number, way);
            }
            Decision::Send {
                cause,
                alerts,
                next,
            } => {
                let is_critical = seen.iter().any(is_critical);
                if let Some(until_ms) = self.hold(now_ms, id, number, way, is_critical) {
                    for one in seen {
                        let reason = Reason::Budget { until_ms };
                        left_out.insert(one.alert.fingerprint, reason);
                    }
                } else {
                    let sent: BTreeSet<usize> = alerts.iter().copied().collect();
                    for (at, one) in seen.iter().enumerate() {
                        if !sent.contains(&at) {
                            let slot = self.log.get(&slot_key);
                            let reason = unsent(one, slot, terms, now_ms);
                            left_out.insert(one.alert.fingerprint, reason);
                            self.settle_member(id, one, number);
                        }
                    }
                    let due = Due {
                        cause,
                        alerts: sent
                            .into_iter()
                            .filter_map(|at| seen.get(at).cloned())
                            .collect(),
                        next,
                        slot: slot_key,
                    };
                    self.forget_said(id, number, &due.alerts);
                    self.send(now_ms, scheduled_ms, way, vec![due], None, actions);
                }
            }
        }
        for (fingerprint, reason) in left_out {
            let way = Some((number, way));
            self.not_sent(now_ms, id, receiver, way, fingerprint, reason, actions);
        }
    }

    fn terms(&self, id: GroupId, way: &WayOut) -> Option<(Terms, SlotKey)> {
        let group = self.groups.get(&id)?;
        let route = self.routes.get(group.route)?;
        let terms = Terms {
            sends_resolved: way.sends_resolved,
            repeat_ms: route.options.repeat_interval_ms,
        };
        Some((terms, (group.key.clone(), way.way.clone())))
    }

    fn decide(
        &self,
        now_ms: i64,
        id: GroupId,
        seen: &[Seen],
        terms: Terms,
        slot: &SlotKey,
    ) -> Decision {
        let group = self.groups.get(&id);
        decide(seen, self.log.get(slot), terms, now_ms, |one| {
            group.is_some_and(|group| group.members.contains_key(&one))
        })
    }

    fn way_state(&mut self, id: GroupId, number: usize) -> Option<&mut crate::group::WayState> {
        self.groups.get_mut(&id)?.ways.get_mut(number)
    }

    /// Whether a way that did not take the last is to wait for the group's next turn.
    fn is_waiting(&mut self, id: GroupId, number: usize, now_ms: i64) -> bool {
        self.way_state(id, number).is_some_and(|state| {
            state.waits_until_ms = state.waits_until_ms.filter(|until_ms| *until_ms > now_ms);
            state.waits_until_ms.is_some()
        })
    }

    /// A way needs hear no more of one that is over.
    fn settle_member(&mut self, id: GroupId, one: &Seen, number: usize) {
        if one.is_firing {
            return;
        }
        if let Some(group) = self.groups.get_mut(&id)
            && let Some(member) = group.members.get_mut(&one.alert.fingerprint)
        {
            member.settled.insert(number);
        }
    }

    fn forget_said(&mut self, id: GroupId, number: usize, alerts: &[Seen]) {
        if let Some(group) = self.groups.get_mut(&id) {
            for one in alerts {
                if let Some(member) = group.members.get_mut(&one.alert.fingerprint) {
                    member.said.remove(&Some(number));
                }
            }
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "they are the fields of what is said"
    )]
    fn not_sent(
        &mut self,
        now_ms: i64,
        id: GroupId,
        receiver: &str,
        way: Option<(usize, &WayOut)>,
        fingerprint: Fingerprint,
        reason: Reason,
        actions: &mut Vec<Action>,
    ) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let number = way.map(|(number, _)| number);
        let again = group
            .members
            .get_mut(&fingerprint)
            .is_some_and(|member| member.said.insert(number, reason.kind()) == Some(reason.kind()));
        actions.push(Action::NotSent(NotSent {
            at_ms: now_ms,
            fingerprint,
            receiver: receiver.to_owned(),
            way: way.map(|(_, way)| way.way.name.clone()),
            group_key: group.key.clone(),
            reason,
            again,
        }));
    }

    /// Keeps a group for the digest where the budget is used up; until when.
    fn hold(
        &mut self,
        now_ms: i64,
        id: GroupId,
        number: usize,
        way: &WayOut,
        is_critical: bool,
    ) -> Option<i64> {
        let until_ms = self.budgets.full_until(&way.way, is_critical, now_ms)?;
        if let Some(state) = self.way_state(id, number) {
            state.is_held = true;
        }
        let held = self.held.entry(way.way.clone()).or_insert_with(|| Held {
            due_ms: until_ms,
            since_ms: now_ms,
            groups: BTreeSet::new(),
        });
        held.groups.insert(id);
        held.due_ms = held.due_ms.min(until_ms);
        Some(held.due_ms)
    }

    /// A group has nothing more to say to a way, so no digest needs tell of it.
    fn release(&mut self, id: GroupId, number: usize, way: &WayOut) {
        let was_held = self
            .way_state(id, number)
            .is_some_and(|state| std::mem::take(&mut state.is_held));
        if was_held && let Some(held) = self.held.get_mut(&way.way) {
            held.groups.remove(&id);
            if held.groups.is_empty() {
                self.held.remove(&way.way);
            }
        }
    }

    /// Sends the digests of ways that have room again.
    pub(super) fn run_digests(&mut self, now_ms: i64, actions: &mut Vec<Action>) {
        let due = self.held.iter().filter(|(_, held)| held.due_ms <= now_ms);
        let due: Vec<_> = due.map(|(way, _)| way.clone()).collect();
        for way in due {
            if let Some(until_ms) = self.budgets.full_until(&way, false, now_ms) {
                if let Some(held) = self.held.get_mut(&way) {
                    held.due_ms = until_ms;
                }
                continue;
            }
            if let Some(held) = self.held.remove(&way) {
                self.send_digest(now_ms, &way, &held, actions);
            }
        }
    }

    fn send_digest(
        &mut self,
        now_ms: i64,
        way: &crate::way::Way,
        held: &Held,
        actions: &mut Vec<Action>,
    ) {
        let mut all = Vec::new();
        let mut out = None;
        for id in &held.groups {
            let Some(number) = self.way_number(*id, way) else {
                continue;
            };
            let Some((receiver, ways)) = self.receiver_of(*id) else {
                continue;
            };
            let Some(this) = ways.get(number).cloned() else {
                continue;
            };
            if let Some(state) = self.way_state(*id, number) {
                state.is_held = false;
            }
            let seen = self.see(now_ms, *id, &receiver, actions);
            let Some((terms, slot)) = self.terms(*id, &this) else {
                continue;
            };
            match self.decide(now_ms, *id, &seen, terms, &slot) {
                Decision::Send {
                    cause,
                    alerts,
                    next,
                } => {
                    let alerts: Vec<Seen> = alerts
                        .into_iter()
                        .filter_map(|at| seen.get(at).cloned())
                        .collect();
                    self.forget_said(*id, number, &alerts);
                    all.push(Due {
                        cause,
                        alerts,
                        next,
                        slot,
                    });
                }
                Decision::Record(entry) => self.log.record(slot, entry),
                Decision::Blocked(_) | Decision::Nothing => {}
            }
            out = Some(this);
        }
        // groups have other numbers after a restart, and the key is to be the same
        all.sort_by(|left, right| left.slot.cmp(&right.slot));
        let (Some(out), false) = (out, all.is_empty()) else {
            return;
        };
        let groups = all.len();
        let options = self.budgets.options().unwrap_or_default();
        let (most, seconds) = (options.notifications, options.pause_ms() / 1000);
        let note = format!(
            "Digest: what {groups} groups had to say was held back for a while, since this receiver is told {most} times at once at most, and then once in {seconds} seconds."
        );
        self.send(now_ms, held.due_ms, &out, all, Some(note), actions);
    }

    /// Makes one notification of what is due, and notes that it is on its way.
    fn send(
        &mut self,
        now_ms: i64,
        scheduled_ms: i64,
        out: &WayOut,
        due: Vec<Due>,
        digest: Option<String>,
        actions: &mut Vec<Action>,
    ) {
        let is_critical = due.iter().flat_map(|due| &due.alerts).any(is_critical);
        self.budgets.take(&out.way, is_critical, now_ms);
        let key = self.key_of(scheduled_ms, out, &due);
        let cause = match (&digest, due.first()) {
            (None, Some(first)) => first.cause,
            _ => Cause::Digest,
        };
        let mut alerts: BTreeMap<Fingerprint, &Seen> = BTreeMap::new();
        for one in due.iter().flat_map(|due| &due.alerts) {
            alerts.insert(one.alert.fingerprint, one);
        }
        let mut alerts: Vec<&Seen> = alerts.into_values().collect();
        alerts.sort_by(|left, right| told_order(&left.alert.labels, &right.alert.labels));
        let most = match out.is_for_programs {
            true => usize::MAX,
            false => READ_MAX,
        };
        let mut bytes = 0;
        let fits = |one: &&&Seen| {
            bytes += json_bytes(&one.alert);
            bytes <= NOTIFIED_BYTES_MAX
        };
        let kept = alerts.iter().take(most).take_while(fits).count();
        let truncated = alerts.len() - kept;
        alerts.truncate(kept);
        let flapping: Vec<&str> = due
            .iter()
            .flat_map(|due| &due.alerts)
            .filter(|one| one.calm_ms.is_some())
            .map(|one| {
                one.alert
                    .labels
                    .get("alertname")
                    .map_or("an alert", String::as_str)
            })
            .take(10)
            .collect();
        let flapping = match (flapping.as_slice(), self.flaps.options()) {
            ([], _) | (_, None) => None,
            (names, Some(options)) => Some(format!(
                "Flapping: {} changed {} times within {} minutes; nothing more is said until it is calm.",
                names.join(", "),
                options.changes,
                options.within_ms / 60_000
            )),
        };
        let note = match (digest, flapping) {
            (Some(digest), Some(flapping)) => Some(format!("{digest} {flapping}")),
            (digest, flapping) => digest.or(flapping),
        };
        let (group_key, group_labels) = self.group_of(out, &due);
        let notification = Notification {
            key: key.clone(),
            tenant: Arc::clone(&self.tenant),
            receiver: out.way.receiver.clone(),
            group_key,
            group_labels,
            alerts: alerts.into_iter().map(notified).collect(),
            truncated: truncated as u64,
            external_url: self.options.external_url.clone(),
            created_ms: now_ms,
            note,
            page: None,
        };
        for due in due {
            let over = due.alerts.iter().filter(|one| !one.is_firing);
            let in_flight = InFlight {
                key: key.clone(),
                next: due.next,
                over: over
                    .map(|one| (one.alert.fingerprint, one.alert.updated_at_ms))
                    .collect(),
            };
            self.log.send(due.slot, in_flight);
        }
        actions.push(Action::Notify(Box::new(Delivery {
            way: out.way.clone(),
            cause,
            notification,
        })));
    }

    /// The group of one; of several what they have in common.
    fn group_of(&self, out: &WayOut, due: &[Due]) -> (String, Labels) {
        let labels_of = |due: &Due| {
            let ids = self.by_key.get(&due.slot.0)?;
            Some(self.groups.get(ids.first()?)?.labels.clone())
        };
        if let [one] = due {
            return (one.slot.0.clone(), labels_of(one).unwrap_or_default());
        }
        let mut all = due.iter().filter_map(labels_of);
        let mut common = all.next().unwrap_or_default();
        for labels in all {
            common.retain(|name, value| labels.get(name) == Some(value));
        }
        (format!("digest:{}", out.way), common)
    }

    /// The same for what is said again after a restart, another for what is said later: FNV-1a of
    /// 128 bits as a UUID of version 8.
    fn key_of(&self, scheduled_ms: i64, out: &WayOut, due: &[Due]) -> String {
        let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        let mut add = |bytes: &[u8]| {
            for byte in bytes.iter().chain(&[0xff]) {
                hash = (hash ^ u128::from(*byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b);
            }
        };
        add(self.tenant.as_bytes());
        add(out.way.receiver.as_bytes());
        add(out.way.name.0.as_bytes());
        add(&scheduled_ms.to_be_bytes());
        for due in due {
            add(due.slot.0.as_bytes());
            let entry = self.log.get(&due.slot).and_then(|slot| slot.entry.as_ref());
            add(&entry.map_or(0, |entry| entry.at_ms).to_be_bytes());
            for one in &due.alerts {
                add(&one.alert.fingerprint.0.to_be_bytes());
                add(&[u8::from(one.is_firing)]);
            }
        }
        let version = (hash & !(0xf << 76)) | (0x8 << 76);
        let hash = (version & !(0x3 << 62)) | (0x2 << 62);
        let text = format!("{hash:032x}");
        let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
        format!(
            "{}-{}-{}-{}-{}",
            part(0, 8),
            part(8, 12),
            part(12, 16),
            part(16, 20),
            part(20, 32)
        )
    }
}

/// Whether it is on, and as bad as can be by its label.
fn is_critical(one: &Seen) -> bool {
    let severity = one.alert.labels.get("severity");
    one.is_firing
        && one.acked.is_none()
        && severity.is_some_and(|severity| {
            ["critical", "page", "fatal", "emergency"]
                .iter()
                .any(|one| severity.eq_ignore_ascii_case(one))
        })
}

fn notified(one: &Seen) -> NotifiedAlert {
    let alert = &one.alert;
    NotifiedAlert {
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        starts_at_ms: alert.starts_at_ms,
        ends_at_ms: (!one.is_firing).then_some(alert.ends_at_ms),
        generator_url: alert.generator_url.clone(),
        fingerprint: alert.fingerprint.to_string(),
        status: match one.is_firing {
            true => AlertStatus::Firing,
            false => AlertStatus::Resolved,
        },
    }
}
