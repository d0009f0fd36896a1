//! One tenant's side of notifications: whose alerts go on, what is on its way to whom, and what
//! follows for timelines and for the feed of alerts. No I/O and no clock.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    mem,
    sync::Arc,
};

use pulseboard_alerting::{ALERTNAME, AlertEvent, Detail, SEVERITY, new_id};
use pulseboard_notify::{
    Ack, Action, Cause, Delivery, Fingerprint, Input, Keep, Manager, NotSent, Options, PostedAlert,
    Reason, Refused, Silence, Way, Window, config::Config,
};
use pulseboard_receivers::{Notification, outbox::Delivery as Line};
use pulseboard_shared::{Alert, AlertState, Labels, Severity, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::incidents::entry::{Entry, FROM_OTHERS, Kind, UNNAMED};

/// The rule of an alert that says that notifications fail, and its identity.
pub const NOTIFICATION_FAILED: &str = "notification_failed";

/// Alerts of others that have an incident of their own at once. Notified are all.
const POSTED_MAX: usize = 1_000;

/// What is said of an alert of our own holds until it is said that it is over.
const UNTIL_SAID_MS: i64 = 365 * 86_400_000;

/// Notifications whose outcome all servers know.
const LINES_MAX: usize = 200;

/// Of the alerts of one notification that is on its way, those whose timelines are told.
const TOLD_MAX: usize = 1_000;

/// One tenant's alerts and who is told of them.
#[derive(Debug)]
pub struct State {
    tenant: Arc<str>,
    manager: Manager,
    /// Alerts of rules of our own that go on, with their incidents.
    own: BTreeMap<Fingerprint, Uuid>,
    /// Those of them that found no room, which was said.
    untaken: BTreeSet<Fingerprint>,
    /// Alerts that others sent and that go on.
    posted: BTreeMap<Fingerprint, Posted>,
    /// What is on its way, by key.
    on_way: HashMap<String, OnWay>,
    /// Ways that do not work, with the incident that says so.
    failing: BTreeMap<Way, Failing>,
    /// What the outbox has not got yet.
    to_send: VecDeque<Delivery>,
    /// Whether what is on its way is kept as a whole: another server may have to send it.
    keeps_notifications: bool,
    /// What became of the newest notifications, whichever server sent them; the oldest first.
    /// Empty where there is one server, whose outbox knows.
    lines: VecDeque<Line>,
    effects: Effects,
    is_changed: bool,
}

/// An alert that somebody else sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Posted {
    incident: Uuid,
    labels: Labels,
    annotations: Labels,
    started_ms: i64,
    ends_ms: i64,
    told_ms: i64,
}

/// A notification that is on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OnWay {
    way: Way,
    alerts: Vec<Fingerprint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notification: Option<Box<Notification>>,
}

/// A way that does not work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Failing {
    incident: Uuid,
    started_ms: i64,
    why: String,
}

/// What is to be done elsewhere, in this order.
#[derive(Debug, Default)]
pub struct Effects {
    /// For the feed of alerts; before timelines, which are of incidents that began by these.
    pub alerts: Vec<AlertEvent>,
    /// For the newest incident of each set of labels.
    pub entries: Vec<(Fingerprint, Entry)>,
    /// Acknowledgements that have ended.
    pub acks: Vec<Ack>,
    /// Alerts of others that have no incident, since there are too many.
    pub untold: u64,
    /// Alerts of our own rules that nobody is told of, since there are too many.
    pub untaken: u64,
}

impl Effects {
    /// Whether there is nothing to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.alerts.is_empty() && self.entries.is_empty() && self.untold == 0 && self.untaken == 0
    }
}

/// What outlives a restart.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// Whose it is.
    pub tenant: String,
    keep: Keep,
    own: Vec<(Fingerprint, Uuid)>,
    posted: Vec<(Fingerprint, Posted)>,
    on_way: Vec<(String, OnWay)>,
    failing: Vec<(Way, Failing)>,
    #[serde(skip_serializing_if = "VecDeque::is_empty")]
    lines: VecDeque<Line>,
}

impl Kept {
    /// What a server that is alone goes on with for its own host: what people made, and what was
    /// told.
    #[must_use]
    pub fn without_alerts(self) -> Self {
        Self {
            tenant: self.tenant,
            keep: self.keep.without_alerts(),
            lines: self.lines,
            ..Self::default()
        }
    }

    /// What people made.
    #[must_use]
    pub fn people(&self) -> (&[Silence], &[Window], &[Ack]) {
        self.keep.people()
    }

    /// Whether there is nothing to be kept but the name.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        let nothing = Self {
            tenant: self.tenant.clone(),
            ..Self::default()
        };
        *self == nothing
    }
}

/// How a delivery came out.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// It has arrived.
    Sent,
    /// Nobody was there to be told.
    Nobody,
    /// It did not work yet; how often it was tried.
    Retrying(u32, &'a str),
    /// It did not work.
    Failed(&'a str),
    /// It is not in the outbox: it is made again.
    Lost,
}

impl State {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(tenant: Arc<str>, config: Arc<Config>, options: Options) -> Self {
        let manager = Manager::new(Arc::clone(&tenant), config, options);
        Self::over(tenant, manager)
    }

    fn over(tenant: Arc<str>, manager: Manager) -> Self {
        Self {
            tenant,
            manager,
            own: BTreeMap::new(),
            untaken: BTreeSet::new(),
            posted: BTreeMap::new(),
            on_way: HashMap::new(),
            failing: BTreeMap::new(),
            to_send: VecDeque::new(),
            keeps_notifications: false,
            lines: VecDeque::new(),
            effects: Effects::default(),
            is_changed: false,
        }
    }

    /// Goes on where a run before this one ended.
    #[must_use]
    pub fn restore(
        tenant: Arc<str>,
        config: Arc<Config>,
        options: Options,
        kept: Kept,
        now_ms: i64,
    ) -> Self {
        let manager = Manager::restore(Arc::clone(&tenant), config, options, kept.keep, now_ms);
        Self {
            own: kept.own.into_iter().collect(),
            // Said again when it comes next: who was killed may have kept this, and not its
            // incident.
            posted: kept
                .posted
                .into_iter()
                .map(|(fingerprint, posted)| {
                    let told_ms = i64::MIN;
                    (fingerprint, Posted { told_ms, ..posted })
                })
                .collect(),
            on_way: kept.on_way.into_iter().collect(),
            failing: kept.failing.into_iter().collect(),
            lines: kept.lines,
            ..Self::over(tenant, manager)
        }
    }

    /// What outlives a restart; from now on nothing has changed.
    pub fn keep(&mut self) -> Kept {
        self.is_changed = false;
        let on_way = self.on_way.iter();
        let mut on_way: Vec<(String, OnWay)> = on_way
            .map(|(key, one)| (key.clone(), one.clone()))
            .collect();
        on_way.sort_by(|(one, _), (other, _)| one.cmp(other));
        Kept {
            tenant: self.tenant.to_string(),
            keep: self.manager.keep(),
            own: self.own.iter().map(|(one, id)| (*one, *id)).collect(),
            posted: pairs(&self.posted),
            on_way,
            failing: pairs(&self.failing),
            lines: self.lines.clone(),
        }
    }

    /// From now on what is on its way is kept as a whole, and what became of it.
    pub fn keep_notifications(&mut self) {
        self.keeps_notifications = true;
    }

    /// Goes on where another server ended: what was on its way may not have arrived, and is sent
    /// again with the same key.
    pub fn resend(&mut self, now_ms: i64) {
        for key in self.manager.in_flight() {
            let on_way = self.on_way.get(&key);
            let known = on_way.and_then(|one| Some((&one.way, one.notification.clone()?)));
            match known {
                Some((way, notification)) => self.to_send.push_back(Delivery {
                    way: way.clone(),
                    cause: Cause::Firing,
                    notification: *notification,
                }),
                None => self.settle(now_ms, &key, Outcome::Lost),
            }
        }
    }

    /// Keeps what became of a notification, in the place of what was known of it.
    pub fn log(&mut self, line: &Line) {
        if !self.keeps_notifications {
            return;
        }
        let is_same = |one: &Line| {
            one.key == line.key && one.receiver == line.receiver && one.way == line.way
        };
        self.lines.retain(|one| !is_same(one));
        if self.lines.len() >= LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line.clone());
        self.is_changed = true;
    }

    /// What became of the newest notifications, the oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter()
    }

    /// It is to be kept again.
    pub fn change(&mut self) {
        self.is_changed = true;
    }

    /// Whether something has changed since it was last kept.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// What answers questions.
    #[must_use]
    pub fn manager(&self) -> &Manager {
        &self.manager
    }

    /// What changes silences and acknowledgements.
    pub fn manager_mut(&mut self) -> &mut Manager {
        self.is_changed = true;
        &mut self.manager
    }

    /// Whether a way of a receiver does not work.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        !self.failing.is_empty()
    }

    /// What goes into the outbox next.
    pub fn take_to_send(&mut self) -> VecDeque<Delivery> {
        mem::take(&mut self.to_send)
    }

    /// What is to be done elsewhere.
    pub fn take_effects(&mut self) -> Effects {
        mem::take(&mut self.effects)
    }

    /// When to look again.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<i64> {
        let ends = self.posted.values().map(|posted| posted.ends_ms).min();
        self.manager.next_due_ms().into_iter().chain(ends).min()
    }

    /// Follows another configuration.
    pub fn set_config(&mut self, now_ms: i64, config: Arc<Config>) {
        let ways: BTreeSet<Way> = config
            .all_receivers()
            .flat_map(|receiver| {
                let ways = receiver.ways().into_iter();
                ways.map(|(name, _)| Way {
                    receiver: receiver.name.clone(),
                    name,
                })
            })
            .collect();
        let actions = self.manager.set_config(now_ms, config);
        self.carry_out(now_ms, actions);
        let gone = self.failing.keys().filter(|way| !ways.contains(way));
        for way in gone.cloned().collect::<Vec<_>>() {
            self.works(now_ms, &way);
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ms: i64) {
        let over = self.posted.iter();
        let over: Vec<Fingerprint> = over
            .filter(|(_, posted)| posted.ends_ms <= now_ms)
            .map(|(fingerprint, _)| *fingerprint)
            .collect();
        for fingerprint in over {
            if let Some(posted) = self.posted.remove(&fingerprint) {
                let at_ms = posted.ends_ms;
                self.tell(posted.event(&self.tenant, AlertState::Resolved, at_ms));
            }
        }
        self.handle(now_ms, Input::Tick);
    }

    fn handle(&mut self, now_ms: i64, input: Input) {
        let actions = self.manager.handle(now_ms, input);
        self.carry_out(now_ms, actions);
    }

    /// An alert of a rule of our own began, goes on or ended. `link` leads to what it asks.
    pub fn take_own(&mut self, now_ms: i64, events: &[(AlertEvent, String)]) {
        let mut alerts = Vec::with_capacity(events.len());
        for (event, link) in events {
            let labels = event.labels();
            let fingerprint = Fingerprint::of(&labels);
            let ends_at_ms = match event.alert.state {
                AlertState::Firing => {
                    self.own.insert(fingerprint, event.alert.incident);
                    now_ms.saturating_add(UNTIL_SAID_MS)
                }
                AlertState::Resolved => {
                    let ours = self.own.get(&fingerprint) == Some(&event.alert.incident);
                    if !ours {
                        // Another one of the same labels goes on, or nobody ever heard of it.
                        continue;
                    }
                    self.own.remove(&fingerprint);
                    let was_untaken = self.untaken.remove(&fingerprint);
                    if was_untaken && self.manager.alert(now_ms, fingerprint).is_none() {
                        continue;
                    }
                    event.alert.timestamp.as_millis()
                }
            };
            let started_ms = event.alert.started.as_millis();
            alerts.push(PostedAlert {
                labels,
                annotations: event.annotations(),
                starts_at_ms: Some(started_ms.min(ends_at_ms)),
                ends_at_ms: Some(ends_at_ms),
                generator_url: link.clone(),
            });
        }
        self.give(now_ms, alerts);
    }

    /// Gives alerts of our own to the manager, and says of each once that it found no room.
    fn give(&mut self, now_ms: i64, alerts: Vec<PostedAlert>) {
        if alerts.is_empty() {
            return;
        }
        let given: BTreeSet<Fingerprint> = match self.untaken.is_empty() {
            true => BTreeSet::new(),
            false => alerts
                .iter()
                .map(|one| Fingerprint::of(&one.labels))
                .collect(),
        };
        let actions = self.manager.handle(now_ms, Input::Own(alerts));
        let mut untaken = BTreeMap::new();
        for action in &actions {
            if let Action::Refused(refused) = action
                && refused.is_own
            {
                let mut labels = refused.labels.clone();
                labels.retain(|_, value| !value.is_empty());
                untaken.insert(Fingerprint::of(&labels), refused.why.clone());
            }
        }
        self.untaken
            .retain(|one| !given.contains(one) || untaken.contains_key(one));
        for (fingerprint, why) in untaken {
            if self.own.contains_key(&fingerprint) && self.untaken.insert(fingerprint) {
                self.effects.untaken += 1;
                let entry = Entry {
                    reason: Some("no_room".to_owned()),
                    text: Some(why),
                    ..Entry::new(now_ms, Kind::NotNotified)
                };
                self.say(fingerprint, entry);
            }
        }
        self.carry_out(now_ms, actions);
    }

    /// These alerts of our own rules go on, and no others: those that ended while nobody listened
    /// are over.
    pub fn settle_own(&mut self, now_ms: i64, active: &[(AlertEvent, String)]) {
        let on: BTreeSet<Fingerprint> = active
            .iter()
            .map(|(event, _)| Fingerprint::of(&event.labels()))
            .collect();
        let over: Vec<Fingerprint> = self
            .own
            .keys()
            .filter(|fingerprint| !on.contains(fingerprint))
            .copied()
            .collect();
        let mut ended = Vec::new();
        for fingerprint in over {
            self.own.remove(&fingerprint);
            self.untaken.remove(&fingerprint);
            if let Some(alert) = self.manager.alert(now_ms, fingerprint) {
                ended.push(PostedAlert {
                    labels: alert.labels,
                    annotations: alert.annotations,
                    starts_at_ms: Some(alert.starts_at.0.min(now_ms)),
                    ends_at_ms: Some(now_ms),
                    generator_url: alert.generator_url,
                });
            }
        }
        self.give(now_ms, ended);
        self.take_own(now_ms, active);
    }

    /// What is told of alerts of others and of failing ways, and what this tenant knows of them, is
    /// made one after a restart. `told`: incidents of these two kinds that go on.
    pub fn settle_told(&mut self, now_ms: i64, told: Vec<AlertEvent>) {
        let known: BTreeSet<Uuid> = self
            .posted
            .values()
            .map(|posted| posted.incident)
            .chain(self.failing.values().map(|failing| failing.incident))
            .collect();
        for event in told {
            if known.contains(&event.alert.incident) {
                continue;
            }
            let mut ended = event;
            ended.alert.id = new_id(now_ms);
            ended.alert.state = AlertState::Resolved;
            ended.alert.timestamp = Timestamp::from_millis(now_ms);
            self.tell(ended);
        }
    }

    /// Alerts that somebody else sent. What was refused, and why.
    pub fn take_posted(
        &mut self,
        now_ms: i64,
        repeat_ms: i64,
        alerts: Vec<PostedAlert>,
    ) -> Vec<Refused> {
        let actions = self.manager.handle(now_ms, Input::Alerts(alerts.clone()));
        let refused: Vec<Refused> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Refused(refused) => Some(refused.clone()),
                _ => None,
            })
            .collect();
        let not_taken: BTreeSet<&Labels> = refused.iter().map(|refused| &refused.labels).collect();
        let resolve_timeout = self.manager.config().global.resolve_timeout.as_millis();
        let resolve_timeout_ms = i64::try_from(resolve_timeout).unwrap_or(i64::MAX);
        for alert in alerts {
            if not_taken.contains(&alert.labels) {
                continue;
            }
            self.note_posted(now_ms, repeat_ms, resolve_timeout_ms, alert);
        }
        self.carry_out(now_ms, actions);
        refused
    }

    fn note_posted(
        &mut self,
        now_ms: i64,
        repeat_ms: i64,
        resolve_timeout_ms: i64,
        alert: PostedAlert,
    ) {
        let mut labels = alert.labels;
        labels.retain(|_, value| !value.is_empty());
        let fingerprint = Fingerprint::of(&labels);
        if self.own.contains_key(&fingerprint) {
            return;
        }
        let ends_ms = alert.ends_at_ms;
        let ends_ms = ends_ms.unwrap_or(now_ms.saturating_add(resolve_timeout_ms));
        let is_over = ends_ms <= now_ms;
        if let Some(posted) = self.posted.get_mut(&fingerprint) {
            posted.ends_ms = ends_ms;
            posted.annotations = alert.annotations;
            let event = if is_over {
                let event = posted.event(&self.tenant, AlertState::Resolved, ends_ms);
                self.posted.remove(&fingerprint);
                event
            } else if now_ms.saturating_sub(posted.told_ms) >= repeat_ms {
                posted.told_ms = now_ms;
                posted.event(&self.tenant, AlertState::Firing, now_ms)
            } else {
                return;
            };
            self.tell(event);
            return;
        }
        if is_over {
            return;
        }
        if self.posted.len() >= POSTED_MAX {
            self.effects.untold += 1;
            return;
        }
        let started_ms = alert.starts_at_ms.unwrap_or(now_ms).min(now_ms);
        let posted = Posted {
            incident: new_id(now_ms),
            labels,
            annotations: alert.annotations,
            started_ms,
            ends_ms,
            told_ms: now_ms,
        };
        self.tell(posted.event(&self.tenant, AlertState::Firing, now_ms));
        self.posted.insert(fingerprint, posted);
    }

    fn tell(&mut self, event: AlertEvent) {
        self.is_changed = true;
        self.effects.alerts.push(event);
    }

    fn say(&mut self, fingerprint: Fingerprint, entry: Entry) {
        self.effects.entries.push((fingerprint, entry));
    }

    fn carry_out(&mut self, now_ms: i64, actions: Vec<Action>) {
        // Whatever was done, times and groups have moved.
        self.is_changed = true;
        for action in actions {
            match action {
                Action::Notify(delivery) => {
                    let alerts = delivery.notification.alerts.iter();
                    let alerts = alerts.take(TOLD_MAX);
                    let on_way = OnWay {
                        way: delivery.way.clone(),
                        alerts: alerts
                            .filter_map(|alert| alert.fingerprint.parse().ok())
                            .collect(),
                        notification: self
                            .keeps_notifications
                            .then(|| Box::new(delivery.notification.clone())),
                    };
                    self.on_way
                        .insert(delivery.notification.key.clone(), on_way);
                    self.to_send.push_back(*delivery);
                }
                Action::NotSent(not_sent) if !not_sent.again => {
                    let fingerprint = not_sent.fingerprint;
                    let entry = entry_of(not_sent);
                    self.say(fingerprint, entry);
                }
                Action::AckEnded(ack) => {
                    let entry = Entry {
                        by: Some(ack.by.clone()),
                        text: Some("it ended".to_owned()),
                        ..Entry::new(now_ms, Kind::Unacknowledged)
                    };
                    self.say(ack.fingerprint, entry);
                    self.effects.acks.push(ack);
                }
                Action::NotSent(_) | Action::Refused(_) | Action::Forgotten(_) => {}
            }
        }
    }

    /// Whether there is such a way now.
    fn has(&self, way: &Way) -> bool {
        let mut receivers = self.manager.config().all_receivers();
        let receiver = receivers.find(|receiver| receiver.name == way.receiver);
        receiver.is_some_and(|receiver| receiver.way(&way.name).is_some())
    }

    /// What became of a notification.
    pub fn settle(&mut self, now_ms: i64, key: &str, outcome: Outcome<'_>) {
        let Some(on_way) = self.on_way.get(key).cloned() else {
            // Of a run before this one, which is not known any more.
            match outcome {
                Outcome::Sent | Outcome::Nobody => self.handle(
                    now_ms,
                    Input::Sent {
                        key: key.to_owned(),
                    },
                ),
                Outcome::Failed(_) | Outcome::Lost => {
                    self.handle(
                        now_ms,
                        Input::Failed {
                            key: key.to_owned(),
                        },
                    );
                }
                Outcome::Retrying(..) => {}
            }
            return;
        };
        let way = &on_way.way;
        let entry = |kind: Kind, text: Option<&str>| Entry {
            receiver: Some(way.receiver.clone()),
            integration: Some(way.name.0.clone()),
            key: Some(key.to_owned()),
            text: text.map(str::to_owned),
            ..Entry::new(now_ms, kind)
        };
        let entry = match outcome {
            Outcome::Sent => Some(entry(Kind::Notified, None)),
            Outcome::Nobody => Some(Entry {
                reason: Some("no_receiver".to_owned()),
                ..entry(Kind::NotNotified, Some("the receiver has no way out"))
            }),
            // The first tries, and then ever fewer: a receiver may be away for a day.
            Outcome::Retrying(tries, why) => tries
                .is_power_of_two()
                .then(|| entry(Kind::Retrying, Some(why))),
            Outcome::Failed(why) => Some(entry(Kind::Failed, Some(why))),
            Outcome::Lost => None,
        };
        if let Some(entry) = entry {
            for fingerprint in &on_way.alerts {
                self.say(*fingerprint, entry.clone());
            }
        }
        let key = key.to_owned();
        match outcome {
            Outcome::Retrying(..) => {}
            Outcome::Sent => {
                self.works(now_ms, way);
                self.on_way.remove(&key);
                self.handle(now_ms, Input::Sent { key });
            }
            Outcome::Nobody => {
                self.on_way.remove(&key);
                self.handle(now_ms, Input::Sent { key });
            }
            Outcome::Lost => {
                self.on_way.remove(&key);
                self.handle(now_ms, Input::Failed { key });
            }
            Outcome::Failed(why) => {
                // One that is gone, such as a browser that has unsubscribed, need not work.
                if self.has(way) {
                    self.fails(now_ms, way, why);
                }
                self.on_way.remove(&key);
                self.handle(now_ms, Input::Failed { key });
            }
        }
    }

    /// Keys of what is on its way.
    #[must_use]
    pub fn in_flight(&self) -> Vec<String> {
        self.manager.in_flight()
    }

    fn fails(&mut self, now_ms: i64, way: &Way, why: &str) {
        if self.failing.contains_key(way) {
            return;
        }
        let failing = Failing {
            incident: new_id(now_ms),
            started_ms: now_ms,
            why: why.to_owned(),
        };
        self.tell(failing.event(&self.tenant, way, AlertState::Firing, now_ms));
        self.failing.insert(way.clone(), failing);
    }

    fn works(&mut self, now_ms: i64, way: &Way) {
        if let Some(failing) = self.failing.remove(way) {
            self.tell(failing.event(&self.tenant, way, AlertState::Resolved, now_ms));
        }
    }
}

fn pairs<K: Clone, V: Clone>(map: &BTreeMap<K, V>) -> Vec<(K, V)> {
    let pairs = map.iter();
    pairs
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Why somebody was not told, as a timeline has it.
fn entry_of(not_sent: NotSent) -> Entry {
    let (reason, until_ms) = match &not_sent.reason {
        Reason::Silenced { .. } | Reason::Maintenance { .. } => ("silenced", None),
        Reason::Inhibited { .. } => ("inhibited", None),
        Reason::Muted { .. } | Reason::OutsideHours { .. } => ("outside_hours", None),
        Reason::Acknowledged { until_ms, .. } => ("acknowledged", *until_ms),
        Reason::Waiting { until_ms } => ("grouped", Some(*until_ms)),
        Reason::Repeat { due_ms } => ("repeat", Some(*due_ms)),
        Reason::Budget { until_ms } => ("budget", Some(*until_ms)),
        Reason::Flapping { calm_ms } => ("flapping", Some(*calm_ms)),
        Reason::NoWay => ("no_receiver", None),
        other => (other.kind(), None),
    };
    Entry {
        receiver: Some(not_sent.receiver),
        integration: not_sent.way.map(|way| way.0),
        reason: Some(reason.to_owned()),
        text: Some(not_sent.reason.to_string()),
        until_ms,
        ..Entry::new(not_sent.at_ms, Kind::NotNotified)
    }
}

/// How bad a label says it is.
fn severity_of(labels: &Labels) -> Severity {
    let said = labels.get(SEVERITY).map(|said| said.to_ascii_lowercase());
    match said.as_deref() {
        Some("critical" | "page" | "fatal" | "emergency") => Severity::Critical,
        Some("error" | "high") => Severity::High,
        Some("medium") => Severity::Medium,
        Some("info" | "none" | "low") => Severity::Low,
        _ => Severity::Warning,
    }
}

impl Posted {
    fn event(&self, tenant: &Arc<str>, state: AlertState, at_ms: i64) -> AlertEvent {
        let mut labels = self.labels.clone();
        let rule = labels
            .remove(ALERTNAME)
            .unwrap_or_else(|| UNNAMED.to_owned());
        let said = ["summary", "message", "description"];
        let said = said.iter().find_map(|name| self.annotations.get(*name));
        AlertEvent {
            tenant: Some(Arc::clone(tenant)),
            alert: Alert {
                id: new_id(at_ms),
                message: said.unwrap_or(&rule).clone(),
                severity: severity_of(&labels),
                timestamp: Timestamp::from_millis(at_ms),
                incident: self.incident,
                rule,
                state,
                // What was measured is known to whoever sent it; that it holds is all that is said.
                value: 1.0,
                threshold: 0.0,
                started: Timestamp::from_millis(self.started_ms),
                labels,
            },
            detail: Some(Arc::new(Detail {
                rule_id: FROM_OTHERS.to_owned(),
                expr: String::new(),
                annotations: self.annotations.clone(),
            })),
        }
    }
}

impl Failing {
    fn event(&self, tenant: &Arc<str>, way: &Way, state: AlertState, at_ms: i64) -> AlertEvent {
        let (receiver, integration) = (&way.receiver, &way.name.0);
        let message = format!(
            "Notifications to {receiver} by {integration} fail: {}",
            self.why
        );
        AlertEvent {
            tenant: Some(Arc::clone(tenant)),
            alert: Alert {
                id: new_id(at_ms),
                message: message.clone(),
                severity: Severity::High,
                timestamp: Timestamp::from_millis(at_ms),
                incident: self.incident,
                rule: NOTIFICATION_FAILED.to_owned(),
                state,
                value: 1.0,
                threshold: 0.0,
                started: Timestamp::from_millis(self.started_ms),
                labels: Labels::from([
                    ("receiver".to_owned(), receiver.clone()),
                    ("integration".to_owned(), integration.clone()),
                ]),
            },
            detail: Some(Arc::new(Detail {
                rule_id: NOTIFICATION_FAILED.to_owned(),
                expr: String::new(),
                annotations: Labels::from([("summary".to_owned(), message)]),
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use pulseboard_notify::AlertLimits;

    use super::*;

    fn state(count: usize) -> State {
        let options = Options {
            limits: AlertLimits {
                count,
                bytes: 1 << 20,
            },
            ..Options::default()
        };
        State::new("shop".into(), Arc::default(), options)
    }

    fn of_a_rule(name: &str, incident: u128, state: AlertState) -> (AlertEvent, String) {
        let alert = Alert {
            id: Uuid::from_u128(1),
            message: String::new(),
            severity: Severity::Warning,
            timestamp: Timestamp::from_millis(1_000),
            incident: Uuid::from_u128(incident),
            rule: name.to_owned(),
            state,
            value: 1.0,
            threshold: 0.0,
            started: Timestamp::from_millis(1_000),
            labels: Labels::new(),
        };
        let event = AlertEvent {
            tenant: Some("shop".into()),
            alert,
            detail: Some(Arc::default()),
        };
        (event, String::new())
    }

    fn posted(name: String) -> PostedAlert {
        PostedAlert {
            labels: Labels::from([(ALERTNAME.to_owned(), name)]),
            ends_at_ms: Some(i64::MAX),
            ..PostedAlert::default()
        }
    }

    #[test]
    fn what_others_post_leaves_room_to_the_rules_and_what_finds_none_is_told_once() {
        let mut state = state(2);
        let refused = state.take_posted(0, 0, (0..5).map(|n| posted(n.to_string())).collect());
        assert_eq!(refused.len(), 3);
        assert!(refused.iter().all(|refused| refused.is_full));
        let fires: Vec<_> = ["A", "B", "C"]
            .into_iter()
            .zip(1..)
            .map(|(name, incident)| of_a_rule(name, incident, AlertState::Firing))
            .collect();
        state.take_effects();
        for _ in 0..3 {
            state.take_own(2_000, &fires);
        }
        let known = state.manager().alerts(2_000, &Default::default());
        let names: BTreeSet<&str> = known.iter().map(|one| &*one.labels[ALERTNAME]).collect();
        assert_eq!(names, BTreeSet::from(["0", "1", "A", "B"]));
        let untold = |effects: &Effects| -> Vec<Fingerprint> {
            let entries = effects.entries.iter();
            let without_room =
                entries.filter(|(_, entry)| entry.reason.as_deref() == Some("no_room"));
            without_room.map(|(fingerprint, _)| *fingerprint).collect()
        };
        let effects = state.take_effects();
        assert_eq!(untold(&effects), [Fingerprint::of(&fires[2].0.labels())]);
        assert_eq!(effects.untaken, 1);
        // one goes, and the next word of the other is heard
        state.take_own(3_000, &[of_a_rule("A", 1, AlertState::Resolved)]);
        state.take_own(2_000_000, &[]);
        state.tick(2_000_000);
        state.take_own(2_000_001, &fires[2..]);
        assert!(
            state
                .manager()
                .alert(2_000_001, Fingerprint::of(&fires[2].0.labels()))
                .is_some()
        );
        assert_eq!(state.take_effects().untaken, 0);
        // over before it was heard of, it is nothing
        state.take_own(2_000_002, &[of_a_rule("D", 4, AlertState::Firing)]);
        assert_eq!(state.take_effects().untaken, 1);
        state.take_own(2_000_003, &[of_a_rule("D", 4, AlertState::Resolved)]);
        assert!(state.untaken.is_empty());
    }

    /// Which one has ended is said, so that the next one, made elsewhere in the same moment,
    /// stands.
    #[test]
    fn an_acknowledgement_that_ends_is_told_as_the_one_it_is() {
        let mut state = state(2);
        let fires = of_a_rule("A", 1, AlertState::Firing);
        let fingerprint = Fingerprint::of(&fires.0.labels());
        state.take_own(2_000, &[fires]);
        let ack = Ack {
            fingerprint,
            by: "me".to_owned(),
            comment: "mine".to_owned(),
            at_ms: 2_001,
            until_ms: Some(3_000),
        };
        let taken = state.manager_mut().acknowledge(2_001, ack.clone());
        assert_eq!(taken, Ok(()));
        state.take_effects();
        state.tick(3_001);
        assert_eq!(state.take_effects().acks, [ack]);
    }
}
