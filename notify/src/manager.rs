//! One tenant's Alertmanager: what comes in, what is to be done, and when to ask again.

mod flush;
mod read;
mod state;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use pulseboard_receivers::{
    Notification,
    config::{self as receivers, WayName},
};
use pulseboard_shared::Labels;
use serde::{Deserialize, Serialize};

use crate::{
    ack::{Ack, Acks},
    alerts::{Alert, AlertLimits, Alerts, PostedAlert, accept},
    budget::{BudgetOptions, Budgets},
    config::Config,
    flap::{FlapOptions, Flaps},
    group::{Cause, Group, Member, WayState},
    inhibit::Inhibition,
    interval::TimeInterval,
    labels::{self, Fingerprint},
    log::Log,
    reason::Reason,
    route::Routes,
    silence::Silences,
    way::Way,
    window::Windows,
};

/// What lies back is looked for that often.
const SWEEP_MS: i64 = 60_000;

/// A clock that goes back by more than this was set.
const STEP_MS: i64 = 2000;

/// What is not Alertmanager's own configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Stands in notifications.
    pub external_url: String,
    /// Of alerts that are posted, and as many again of rules of this server.
    pub limits: AlertLimits,
    /// There are at most so many groups of alerts that are posted.
    pub groups_max: usize,
    /// For each way out of a receiver; `None`: nothing is held back.
    pub budget: Option<BudgetOptions>,
    /// `None`: an alert that comes and goes is told each time.
    pub flap: Option<FlapOptions>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            external_url: String::new(),
            limits: AlertLimits::default(),
            groups_max: 20_000,
            budget: Some(BudgetOptions::default()),
            flap: Some(FlapOptions::default()),
        }
    }
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// Alerts were posted; with their end where they are over.
    Alerts(Vec<PostedAlert>),
    /// Rules of this server gave them: they have a room of their own, which nobody who posts takes.
    Own(Vec<PostedAlert>),
    /// The notification of this key was delivered.
    Sent { key: String },
    /// It was given up, or is not in the outbox: the group's next flush says anew what it said.
    Failed { key: String },
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Into the outbox. Its end is said with [`Input::Sent`] or [`Input::Failed`].
    Notify(Box<Delivery>),
    /// Into the incident's timeline.
    NotSent(NotSent),
    /// An alert was not taken.
    Refused(Refused),
    /// An acknowledgement ended by itself or with its incident.
    AckEnded(Ack),
    /// Nothing is known of this alert any more.
    Forgotten(Fingerprint),
}

/// A notification and the way that it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub way: Way,
    pub cause: Cause,
    pub notification: Notification,
}

/// One alert that somebody was not told of, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotSent {
    /// Unix ms.
    pub at_ms: i64,
    pub fingerprint: Fingerprint,
    pub receiver: String,
    /// `None`: none of the receiver's ways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<WayName>,
    pub group_key: String,
    pub reason: Reason,
    /// Whether a reason of this kind was the last that was given, too.
    pub again: bool,
}

/// One alert that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub labels: Labels,
    /// In words; the text of a 400 or a 429.
    pub why: String,
    /// There is no room for it now; else it cannot be at all.
    pub is_full: bool,
    /// A rule of this server gave it.
    pub is_own: bool,
}

type GroupId = u64;

/// One way out of a receiver.
#[derive(Clone, Debug)]
struct WayOut {
    way: Way,
    sends_resolved: bool,
    /// A webhook: it is told of all alerts, as far as it does not say otherwise.
    is_for_programs: bool,
}

/// One tenant's alerts, groups and silences.
#[derive(Debug)]
pub struct Manager {
    tenant: Arc<str>,
    options: Options,
    config: Arc<Config>,
    routes: Routes,
    /// By the receiver's name.
    ways: HashMap<String, Arc<[WayOut]>>,
    intervals: BTreeMap<String, Vec<TimeInterval>>,
    alerts: Alerts,
    inhibition: Inhibition,
    silences: Silences,
    windows: Windows,
    acks: Acks,
    flaps: Flaps,
    budgets: Budgets,
    log: Log,
    groups: BTreeMap<GroupId, Group>,
    /// By route and labels.
    index: HashMap<(usize, Labels), GroupId>,
    by_key: HashMap<String, Vec<GroupId>>,
    last_group: GroupId,
    /// When something is to be done about which group.
    due: BTreeSet<(i64, GroupId)>,
    /// Groups whose notification the budget holds back.
    held: BTreeMap<Way, Held>,
    next_sweep_ms: Option<i64>,
    last_now_ms: Option<i64>,
}

/// What waits for a digest.
#[derive(Clone, Debug)]
struct Held {
    due_ms: i64,
    since_ms: i64,
    groups: BTreeSet<GroupId>,
}

fn routes_of(config: &Config) -> Routes {
    let root = config.route.clone().unwrap_or_default();
    let beside = config.beside.as_ref();
    Routes::new(&root, beside.map(|receiver| receiver.name.as_str()))
}

impl Manager {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(tenant: Arc<str>, config: Arc<Config>, options: Options) -> Self {
        let mut manager = Self {
            tenant,
            routes: routes_of(&config),
            ways: HashMap::new(),
            intervals: BTreeMap::new(),
            alerts: Alerts::new(options.limits),
            inhibition: Inhibition::default(),
            silences: Silences::default(),
            windows: Windows::default(),
            acks: Acks::default(),
            flaps: Flaps::new(options.flap),
            budgets: Budgets::new(options.budget),
            log: Log::default(),
            groups: BTreeMap::new(),
            index: HashMap::new(),
            by_key: HashMap::new(),
            last_group: 0,
            due: BTreeSet::new(),
            held: BTreeMap::new(),
            next_sweep_ms: None,
            last_now_ms: None,
            options,
            config,
        };
        manager.take_config();
        manager
    }

    /// The configuration that it follows.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// What it was made with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    fn take_config(&mut self) {
        let config = Arc::clone(&self.config);
        self.routes = routes_of(&config);
        self.ways = config
            .all_receivers()
            .map(|receiver| {
                let ways = receiver.ways().into_iter().map(|(name, way)| WayOut {
                    way: Way {
                        receiver: receiver.name.clone(),
                        name,
                    },
                    sends_resolved: way.sends_resolved(),
                    is_for_programs: matches!(way, receivers::Way::Webhook(_)),
                });
                (receiver.name.clone(), ways.collect())
            })
            .collect();
        self.intervals = config
            .intervals()
            .map(|(name, intervals)| (name.to_owned(), intervals.to_vec()))
            .collect();
        self.inhibition = Inhibition::new(&config.inhibit_rules);
        for alert in self.alerts.iter() {
            self.inhibition.put(alert);
        }
    }

    /// Follows another configuration from now on. Groups are made again from the alerts that are
    /// known, and wait again; what was told before is still known.
    pub fn set_config(&mut self, now_ms: i64, config: Arc<Config>) -> Vec<Action> {
        self.follow(now_ms);
        self.config = config;
        self.take_config();
        self.groups.clear();
        self.index.clear();
        self.by_key.clear();
        self.due.clear();
        self.held.clear();
        let mut actions = Vec::new();
        for alert in self.sorted_alerts() {
            self.regroup(now_ms, &alert, &mut actions);
        }
        self.run_due(now_ms, &mut actions);
        actions
    }

    fn sorted_alerts(&self) -> Vec<Arc<Alert>> {
        let mut alerts: Vec<Arc<Alert>> = self.alerts.iter().cloned().collect();
        alerts.sort_by_key(|alert| alert.fingerprint);
        alerts
    }

    /// Takes what happens at a time, and does what is due by then.
    pub fn handle(&mut self, now_ms: i64, input: Input) -> Vec<Action> {
        self.follow(now_ms);
        let mut actions = Vec::new();
        match input {
            Input::Tick => {}
            Input::Alerts(posted) => {
                for alert in posted {
                    self.put(now_ms, alert, false, &mut actions);
                }
            }
            Input::Own(given) => {
                for alert in given {
                    self.put(now_ms, alert, true, &mut actions);
                }
            }
            Input::Sent { key } => self.settle(now_ms, &key, true),
            Input::Failed { key } => self.settle(now_ms, &key, false),
        }
        self.run_due(now_ms, &mut actions);
        actions
    }

    /// When [`Input::Tick`] is to be said, if nothing else happens before; Unix ms.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<i64> {
        let groups = self.due.first().map(|(due, _)| *due);
        let held = self.held.values().map(|held| held.due_ms).min();
        let acks = self.acks.iter().filter_map(|ack| {
            let over = self.alerts.get(ack.fingerprint)?.ends_at_ms;
            Some(ack.until_ms.map_or(over, |until| until.min(over)))
        });
        let all = groups.into_iter().chain(held).chain(acks);
        all.chain(self.next_sweep_ms).min()
    }

    /// Keys of what is on its way: neither sent nor failed yet.
    #[must_use]
    pub fn in_flight(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.log.in_flight().map(str::to_owned).collect();
        keys.sort();
        keys
    }

    /// A clock that was set back takes what waits with it: nobody waits for an hour for what was
    /// due in a minute.
    fn follow(&mut self, now_ms: i64) {
        let last = self.last_now_ms.replace(now_ms).unwrap_or(now_ms);
        let back = last.saturating_sub(now_ms);
        if back <= STEP_MS {
            // what jitters does not go back
            self.last_now_ms = Some(last.max(now_ms));
            return;
        }
        self.budgets.shift(back);
        self.flaps.shift(back);
        self.log.shift(back);
        for held in self.held.values_mut() {
            held.due_ms -= back;
            held.since_ms -= back;
        }
        if let Some(sweep) = &mut self.next_sweep_ms {
            *sweep -= back;
        }
        self.due.clear();
        for (id, group) in &mut self.groups {
            group.next_flush_ms -= back;
            if let Some(since) = &mut group.empty_since_ms {
                *since -= back;
            }
            self.due.insert((group.due_ms(), *id));
        }
    }

    fn put(&mut self, now_ms: i64, posted: PostedAlert, is_own: bool, actions: &mut Vec<Action>) {
        let labels = posted.labels.clone();
        let resolve_timeout = self.config.global.resolve_timeout.as_millis();
        let resolve_timeout = i64::try_from(resolve_timeout).unwrap_or(i64::MAX);
        let mut is_full = false;
        let taken = accept(posted, now_ms, resolve_timeout).and_then(|mut alert| {
            alert.is_own = is_own;
            let before = self.alerts.get(alert.fingerprint).cloned();
            is_full = true;
            let alert = self.alerts.put(alert, now_ms)?;
            Ok((before, alert))
        });
        let (before, alert) = match taken {
            Ok(taken) => taken,
            Err(why) => {
                actions.push(Action::Refused(Refused {
                    labels,
                    why,
                    is_full,
                    is_own,
                }));
                return;
            }
        };
        let fingerprint = alert.fingerprint;
        if let Some(before) = before
            && before.is_over(now_ms)
        {
            // it may have ended by itself, which nobody said
            self.flaps
                .observe(fingerprint, false, before.ends_at_ms.min(now_ms));
            if let Some(ack) = self.acks.remove(fingerprint) {
                actions.push(Action::AckEnded(ack));
            }
        }
        self.flaps
            .observe(fingerprint, !alert.is_over(now_ms), now_ms);
        self.inhibition.put(&alert);
        self.next_sweep_ms
            .get_or_insert(now_ms.saturating_add(SWEEP_MS));
        self.regroup(now_ms, &alert, actions);
    }

    /// Puts an alert into each group that it belongs to.
    fn regroup(&mut self, now_ms: i64, alert: &Arc<Alert>, actions: &mut Vec<Action>) {
        for number in self.routes.matching(&alert.labels) {
            let Some(route) = self.routes.get(number) else {
                continue;
            };
            let options = &route.options;
            let group_labels = options.group_by.of(&alert.labels);
            let place = (number, group_labels);
            // What is posted leaves as many groups to the rules as there may be alerts of theirs.
            let kept = match alert.is_own {
                true => self.options.limits.count,
                false => 0,
            };
            let groups_max = self.options.groups_max.saturating_add(kept);
            let id = match self.index.get(&place) {
                Some(id) => *id,
                None if self.groups.len() >= groups_max => {
                    actions.push(Action::Refused(Refused {
                        labels: alert.labels.clone(),
                        why: format!("there are {groups_max} groups, which is all that are kept"),
                        is_full: true,
                        is_own: alert.is_own,
                    }));
                    continue;
                }
                None => {
                    self.last_group += 1;
                    let id = self.last_group;
                    let key = format!("{}:{}", route.key, labels::print(&place.1));
                    let ways = self
                        .ways
                        .get(&options.receiver)
                        .map_or(0, |ways| ways.len());
                    let group = Group {
                        route: number,
                        labels: place.1.clone(),
                        key: key.clone(),
                        next_flush_ms: now_ms.saturating_add(options.group_wait_ms),
                        has_flushed: false,
                        empty_since_ms: None,
                        members: BTreeMap::new(),
                        ways: vec![WayState::default(); ways],
                    };
                    self.due.insert((group.due_ms(), id));
                    self.groups.insert(id, group);
                    self.index.insert(place, id);
                    self.by_key.entry(key).or_default().push(id);
                    id
                }
            };
            let Some(group) = self.groups.get_mut(&id) else {
                continue;
            };
            self.due.remove(&(group.due_ms(), id));
            group.empty_since_ms = None;
            let is_late = alert.starts_at_ms.saturating_add(options.group_wait_ms) < now_ms;
            if !group.has_flushed && is_late {
                group.next_flush_ms = now_ms;
            }
            let until_ms = group.next_flush_ms;
            let mut is_new = true;
            let member = group
                .members
                .entry(alert.fingerprint)
                .and_modify(|member| {
                    is_new = member.alert.is_over(now_ms) && !alert.is_over(now_ms);
                    if is_new {
                        // An incident of its own, and what was said was of the one before.
                        member.said.clear();
                    }
                    member.alert = Arc::clone(alert);
                    member.settled.clear();
                })
                .or_insert_with(|| Member {
                    alert: Arc::clone(alert),
                    settled: BTreeSet::new(),
                    said: BTreeMap::new(),
                });
            if is_new && until_ms > now_ms && !alert.is_over(now_ms) {
                let reason = Reason::Waiting { until_ms };
                member.said.insert(None, reason.kind());
                actions.push(Action::NotSent(NotSent {
                    at_ms: now_ms,
                    fingerprint: alert.fingerprint,
                    receiver: options.receiver.clone(),
                    way: None,
                    group_key: group.key.clone(),
                    reason,
                    again: false,
                }));
            }
            self.due.insert((group.due_ms(), id));
        }
    }

    /// A delivery came to its end.
    fn settle(&mut self, now_ms: i64, key: &str, has_arrived: bool) {
        for ((group_key, way), in_flight) in self.log.settle(key, has_arrived, now_ms) {
            let ids = self.by_key.get(&group_key).cloned().unwrap_or_default();
            for id in ids {
                let Some(number) = self.way_number(id, &way) else {
                    continue;
                };
                let Some(group) = self.groups.get_mut(&id) else {
                    continue;
                };
                self.due.remove(&(group.due_ms(), id));
                if has_arrived {
                    for (fingerprint, updated_at_ms) in &in_flight.over {
                        if let Some(member) = group.members.get_mut(fingerprint)
                            && member.alert.updated_at_ms == *updated_at_ms
                        {
                            member.settled.insert(number);
                        }
                    }
                }
                let next_ms = group.next_flush_ms;
                if let Some(state) = group.ways.get_mut(number) {
                    let was_blocked = std::mem::take(&mut state.is_blocked);
                    state.waits_until_ms = (!has_arrived).then_some(next_ms);
                    if was_blocked && has_arrived {
                        group.next_flush_ms = now_ms;
                    }
                }
                let flaps = &self.flaps;
                group.let_go(now_ms, |alert| {
                    !alert.is_over(now_ms) || flaps.calm_at(alert.fingerprint, now_ms).is_some()
                });
                self.due.insert((group.due_ms(), id));
            }
        }
    }

    fn way_number(&self, id: GroupId, way: &Way) -> Option<usize> {
        let route = self.routes.get(self.groups.get(&id)?.route)?;
        let ways = self.ways.get(&route.options.receiver)?;
        ways.iter().position(|one| one.way == *way)
    }

    fn run_due(&mut self, now_ms: i64, actions: &mut Vec<Action>) {
        self.end_acks(now_ms, actions);
        if self.next_sweep_ms.is_some_and(|sweep| sweep <= now_ms) {
            self.sweep(now_ms, actions);
        }
        self.run_digests(now_ms, actions);
        while let Some((due, id)) = self.due.first().copied()
            && due <= now_ms
        {
            self.due.pop_first();
            self.run_group(now_ms, id, actions);
        }
    }

    fn end_acks(&mut self, now_ms: i64, actions: &mut Vec<Action>) {
        let alerts = &self.alerts;
        let ended = self
            .acks
            .end(now_ms, |fingerprint| alerts.is_over(fingerprint, now_ms));
        actions.extend(ended.into_iter().map(Action::AckEnded));
    }

    /// Lets go what lies back.
    fn sweep(&mut self, now_ms: i64, actions: &mut Vec<Action>) {
        self.silences.forget(now_ms);
        self.windows.forget(now_ms);
        self.budgets.forget(now_ms);
        for key in self.log.lost(now_ms) {
            self.settle(now_ms, &key, false);
        }
        self.log.forget(now_ms);
        let flaps = &self.flaps;
        let gone = self
            .alerts
            .forget(now_ms, |one| flaps.calm_at(one, now_ms).is_some());
        for alert in gone {
            self.inhibition.remove(&alert);
            self.flaps.forget(alert.fingerprint);
            actions.push(Action::Forgotten(alert.fingerprint));
        }
        let is_empty = self.alerts.iter().next().is_none();
        self.next_sweep_ms = (!is_empty).then(|| now_ms.saturating_add(SWEEP_MS));
    }

    /// Flushes a group, or lets it go.
    fn run_group(&mut self, now_ms: i64, id: GroupId, actions: &mut Vec<Action>) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        if group.next_flush_ms <= now_ms {
            let scheduled_ms = group.next_flush_ms;
            let route = self.routes.get(group.route);
            let interval = route.map_or(SWEEP_MS, |route| route.options.group_interval_ms);
            group.next_flush_ms = now_ms.saturating_add(interval.max(1));
            group.has_flushed = true;
            self.flush(now_ms, scheduled_ms, id, actions);
        }
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        if group.due_ms() <= now_ms && group.members.is_empty() {
            self.drop_group(id);
            return;
        }
        self.due.insert((group.due_ms(), id));
    }

    fn drop_group(&mut self, id: GroupId) {
        let Some(group) = self.groups.remove(&id) else {
            return;
        };
        self.index.remove(&(group.route, group.labels));
        if let Some(ids) = self.by_key.get_mut(&group.key) {
            ids.retain(|one| *one != id);
            if ids.is_empty() {
                self.by_key.remove(&group.key);
            }
        }
        for held in self.held.values_mut() {
            held.groups.remove(&id);
        }
        self.held.retain(|_, held| !held.groups.is_empty());
    }
}
