//! The state machine of one alerting rule, evaluation by evaluation, as Prometheus has it.
//!
//! ```text
//!            holds            for `for`
//! inactive ─────────▶ pending ─────────▶ firing ──▶ inactive, kept 15 minutes to be said
//!                        │                  │    does not hold, for `keep_firing_for`
//!                        ▼ does not hold    ▼
//! ```
//!
//! [`Machine::step`] is given what the rule's expressions came to, at one time. The same machine
//! runs in a group, in a rehearsal and in a unit test.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pulseboard_promql::{Labels, labels::Label};
use serde::{Deserialize, Serialize};

use crate::{
    condition::{Held, Sight},
    rule::Rule,
    spec::Missing,
};

/// What is over is kept for so long, so that it is said even where a message is lost.
pub const RESOLVED_KEPT_MS: i64 = 15 * 60_000;

/// Series that a rule with `missing: alert` remembers, each for [`KNOWN_MS`].
pub const KNOWN_MAX: usize = 10_000;

/// How long a series is missed that does not come back.
pub const KNOWN_MS: i64 = 7 * 86_400_000;

/// Labels and annotations of one alert, in bytes.
pub const ALERT_BYTES_MAX: usize = 256 << 10;

/// Labels and annotations of all alerts of one rule at one evaluation, in bytes; and as much again
/// of those that hold no more.
pub const ALERTS_BYTES_MAX: usize = 16 << 20;

/// Annotations of an alert, by name.
pub type Annotations = Arc<BTreeMap<String, String>>;

/// What an alert is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Over, or not begun.
    #[default]
    Inactive,
    /// Holds, not yet for long enough.
    Pending,
    /// Fires.
    Firing,
}

impl State {
    /// As `ALERTS` and the API say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// One alert of a rule. Cheap to copy.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Those of its series, of the rule, and `alertname`: what it is known by.
    pub labels: Labels,
    /// Rendered at the last evaluation at which it held.
    pub annotations: Annotations,
    /// The series that it comes from.
    pub source: Labels,
    /// What it is.
    pub state: State,
    /// Of the last evaluation; NaN where its series is missing and that is the alert.
    pub value: f64,
    /// Since when it has held.
    pub active_at_ms: i64,
    /// Since when it fires, or fired.
    pub fired_at_ms: Option<i64>,
    /// When it was over.
    pub resolved_at_ms: Option<i64>,
    /// Since when it fires only by `keep_firing_for`.
    pub keep_firing_since_ms: Option<i64>,
    /// When [`Machine::due`] gave it last.
    pub last_sent_at_ms: Option<i64>,
    /// Until when whoever was told may believe it.
    pub valid_until_ms: Option<i64>,
}

impl Alert {
    /// FNV-1a over its labels, as an Alertmanager names it; 16 lower-case hex digits as text.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        fingerprint(&self.labels)
    }

    /// Whether it is to be sent: it fires and was not said for `resend_delay_ms`, or it is over and
    /// that was not said.
    #[must_use]
    pub fn needs_sending(&self, at_ms: i64, resend_delay_ms: i64) -> bool {
        if self.state == State::Pending {
            return false;
        }
        let Some(sent_ms) = self.last_sent_at_ms else {
            return true;
        };
        // By a clock that was set back nobody knows how long ago it was.
        self.resolved_at_ms.is_some_and(|at| at > sent_ms)
            || sent_ms.saturating_add(resend_delay_ms) < at_ms
            || sent_ms > at_ms
    }
}

/// FNV-1a 64 over names and values, each followed by 255: `LabelSet.Fingerprint` of Prometheus.
#[must_use]
pub fn fingerprint(labels: &Labels) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |byte: u8| {
        hash ^= u64::from(byte);
        hash = hash.wrapping_mul(0x0100_0000_01b3);
    };
    for (name, value) in labels.iter() {
        for text in [name, value] {
            text.bytes().for_each(&mut add);
            add(0xff);
        }
    }
    hash
}

/// What happened to an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// It holds, and waits for its `for`.
    Pending,
    /// It fires.
    Firing,
    /// It fired and is over.
    Resolved,
    /// It was pending and is over, or the rule had more alerts than its group's limit and all are
    /// gone.
    Dropped,
}

/// An alert that became something else, as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What happened.
    pub event: Event,
    /// The alert.
    pub alert: Alert,
}

/// What a rule's expressions came to.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Of `expr`; a scalar is one series without labels.
    pub vector: Vec<(Labels, f64)>,
    /// Of [`Rule::subject`]; not looked at where the rule has none.
    pub subject: Vec<(Labels, f64)>,
    /// Of [`Rule::clear`], likewise.
    pub cleared: Vec<Labels>,
}

/// Makes labels and annotations of a series: the rule's templates.
pub trait Expand {
    /// Labels, with those of the rule and `alertname` and without the metric's name.
    fn labels(&mut self, rule: &Rule, source: &Labels, value: f64) -> Labels;

    /// Annotations.
    fn annotations(&mut self, rule: &Rule, source: &Labels, value: f64) -> Annotations;

    /// Why nothing more is made: time is over, or nobody waits any more. What is made then is no
    /// alert of anybody's.
    fn ended(&self) -> Option<&str> {
        None
    }
}

/// The alerts of one rule.
#[derive(Clone, Debug)]
pub struct Machine {
    pub(crate) active: BTreeMap<Labels, Alert>,
    /// Series that were there, and when last; of a rule with `missing: alert`.
    pub(crate) known: BTreeMap<Labels, i64>,
    /// What labels and annotations may take: [`ALERTS_BYTES_MAX`], or less where others have much.
    pub(crate) bytes_max: usize,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            active: BTreeMap::new(),
            known: BTreeMap::new(),
            bytes_max: ALERTS_BYTES_MAX,
        }
    }
}

fn bytes_of(labels: &Labels, annotations: &Annotations) -> usize {
    let annotations = annotations.iter();
    let annotations = annotations.map(|(name, text)| name.len() + text.len());
    labels.whole_bytes() + annotations.sum::<usize>()
}

fn too_large(bytes_max: usize) -> String {
    format!("labels and annotations of this rule's alerts take more than {bytes_max} bytes")
}

struct Found {
    annotations: Annotations,
    source: Labels,
    value: f64,
    is_frozen: bool,
}

impl Machine {
    /// No alerts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All alerts in the order of their labels; those that are over for as long as they are kept.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.active.values()
    }

    /// What labels and annotations of all its alerts take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let alerts = self.active.values();
        alerts
            .map(|alert| bytes_of(&alert.labels, &alert.annotations))
            .sum()
    }

    /// One evaluation.
    ///
    /// # Errors
    /// Two series have the same labels once the rule's are added, or time is over
    /// ([`Expand::ended`]), and nothing has changed; or there are more alerts than `limit` (0: any
    /// number), and all are gone. In Prometheus' words.
    pub fn step(
        &mut self,
        rule: &Rule,
        at_ms: i64,
        seen: Seen,
        limit: usize,
        expand: &mut dyn Expand,
    ) -> Result<Vec<Change>, (String, Vec<Change>)> {
        let mut found = BTreeMap::new();
        let held = self.held(rule, at_ms, &seen);
        let vector = seen.vector.into_iter().map(|(source, value)| {
            let held = Held {
                value,
                is_frozen: false,
            };
            (source, held)
        });
        let mut bytes = 0;
        for (source, Held { value, is_frozen }) in vector.chain(held) {
            let labels = expand.labels(rule, &source, value);
            let annotations = expand.annotations(rule, &source, value);
            if let Some(why) = expand.ended() {
                return Err((why.to_owned(), Vec::new()));
            }
            let own = bytes_of(&labels, &annotations);
            bytes += own;
            if own > ALERT_BYTES_MAX {
                let why = format!(
                    "labels and annotations of an alert take {own} bytes, of at most {ALERT_BYTES_MAX}"
                );
                return Err((why, Vec::new()));
            }
            if bytes > self.bytes_max {
                return Err((too_large(self.bytes_max), Vec::new()));
            }
            let one = Found {
                annotations,
                source,
                value,
                is_frozen,
            };
            if found.insert(labels, one).is_some() {
                return Err((
                    "vector contains metrics with the same labelset after applying alert labels"
                        .to_owned(),
                    Vec::new(),
                ));
            }
        }
        if !self.has_room(&found) {
            return Err((too_large(self.bytes_max), Vec::new()));
        }
        let changes = self.advance(rule, at_ms, found);
        let count = self
            .active
            .values()
            .filter(|alert| alert.state != State::Inactive)
            .count();
        if limit > 0 && count > limit {
            let gone = std::mem::take(&mut self.active).into_values();
            let dropped = gone.filter(|alert| alert.state != State::Inactive);
            let dropped = dropped.map(|alert| Change {
                event: Event::Dropped,
                alert,
            });
            return Err((
                format!("exceeded limit of {limit} with {count} alerts"),
                dropped.collect(),
            ));
        }
        Ok(changes)
    }

    /// Sees to it that what does not hold any more takes no more than `bytes_max`: what is
    /// over and was kept to be said once more goes first.
    fn has_room(&mut self, found: &BTreeMap<Labels, Found>) -> bool {
        let bytes = |active: &BTreeMap<Labels, Alert>| -> usize {
            let left = active
                .iter()
                .filter(|(labels, _)| !found.contains_key(*labels));
            left.map(|(labels, alert)| bytes_of(labels, &alert.annotations))
                .sum()
        };
        if bytes(&self.active) <= self.bytes_max {
            return true;
        }
        self.active
            .retain(|_, alert| alert.state != State::Inactive);
        bytes(&self.active) <= self.bytes_max
    }

    fn advance(
        &mut self,
        rule: &Rule,
        at_ms: i64,
        mut found: BTreeMap<Labels, Found>,
    ) -> Vec<Change> {
        let hold_ms = rule.spec().hold.as_millis();
        let keep_ms = rule.spec().keep_firing_for.as_millis();
        let mut changes = Vec::new();
        let mut frozen = BTreeSet::new();
        // What goes on, and what is over.
        self.active.retain(|labels, alert| {
            if alert.state != State::Inactive
                && let Some(one) = found.remove(labels)
            {
                alert.value = one.value;
                if one.is_frozen {
                    frozen.insert(labels.clone());
                } else {
                    alert.annotations = one.annotations;
                }
                alert.source = one.source;
                alert.keep_firing_since_ms = None;
                return true;
            }
            if found.contains_key(labels) {
                // Begins anew, below.
                return false;
            }
            let goes_on = alert.state == State::Firing && keep_ms > 0 && {
                let since_ms = *alert.keep_firing_since_ms.get_or_insert(at_ms);
                at_ms - since_ms < keep_ms
            };
            match alert.state {
                State::Pending => {
                    alert.state = State::Inactive;
                    alert.resolved_at_ms = Some(at_ms);
                    changes.push(Change {
                        event: Event::Dropped,
                        alert: alert.clone(),
                    });
                    false
                }
                State::Firing if goes_on => true,
                State::Firing => {
                    alert.state = State::Inactive;
                    alert.resolved_at_ms = Some(at_ms);
                    changes.push(Change {
                        event: Event::Resolved,
                        alert: alert.clone(),
                    });
                    true
                }
                State::Inactive => alert
                    .resolved_at_ms
                    .is_some_and(|resolved_ms| at_ms - resolved_ms <= RESOLVED_KEPT_MS),
            }
        });
        for (labels, one) in found {
            let alert = Alert {
                labels: labels.clone(),
                annotations: one.annotations,
                source: one.source,
                state: State::Pending,
                value: one.value,
                active_at_ms: at_ms,
                fired_at_ms: None,
                resolved_at_ms: None,
                keep_firing_since_ms: None,
                last_sent_at_ms: None,
                valid_until_ms: None,
            };
            if hold_ms > 0 {
                changes.push(Change {
                    event: Event::Pending,
                    alert: alert.clone(),
                });
            }
            self.active.insert(labels, alert);
        }
        for (labels, alert) in &mut self.active {
            if alert.state == State::Pending
                && at_ms - alert.active_at_ms >= hold_ms
                && !frozen.contains(labels)
            {
                alert.state = State::Firing;
                alert.fired_at_ms = Some(at_ms);
                changes.push(Change {
                    event: Event::Firing,
                    alert: alert.clone(),
                });
            }
        }
        changes
    }

    /// What goes on beside what `expr` holds for: by `clear` and by `missing`.
    fn held(&mut self, rule: &Rule, at_ms: i64, seen: &Seen) -> Vec<(Labels, Held)> {
        let condition = &rule.condition;
        if condition.is_plain() {
            return Vec::new();
        }
        let subject: BTreeMap<Labels, f64> = seen
            .subject
            .iter()
            .filter(|(_, value)| !value.is_nan())
            .map(|(labels, value)| (labels.nameless(), *value))
            .collect();
        let cleared: Vec<Labels> = seen.cleared.iter().map(Labels::nameless).collect();
        let found: BTreeSet<Labels> = seen
            .vector
            .iter()
            .map(|(labels, _)| labels.nameless())
            .collect();
        let sight = |source: &Labels| {
            if condition.subject.is_none() {
                return Sight::Unknown;
            }
            let value = subject.get(source).or_else(|| {
                let mut all = condition
                    .is_loose
                    .then(|| subject.iter())
                    .into_iter()
                    .flatten();
                all.find(|(labels, _)| has_all(labels, source) || has_all(source, labels))
                    .map(|(_, value)| value)
            });
            value.map_or(Sight::Missing, |value| Sight::Value(*value))
        };
        let is_cleared = |source: &Labels| cleared.iter().any(|labels| has_all(source, labels));
        let mut held = Vec::new();
        let mut asked = BTreeSet::new();
        for alert in self.active.values() {
            let source = alert.source.nameless();
            if alert.state == State::Inactive || found.contains(&source) {
                continue;
            }
            let one = condition.held(
                (alert.state == State::Firing, alert.value),
                sight(&source),
                is_cleared(&source),
            );
            if let Some(one) = one {
                held.push((alert.source.clone(), one));
            }
            asked.insert(source);
        }
        if condition.missing == Missing::Alert {
            let nothing = condition.asked_for();
            if !subject.is_empty() {
                // What was said of series that had never been there is over.
                held.retain(|(source, _)| *source != nothing || self.known.contains_key(source));
            }
            self.known.retain(|_, seen_ms| at_ms - *seen_ms <= KNOWN_MS);
            for labels in subject.keys() {
                if self.known.len() < KNOWN_MAX || self.known.contains_key(labels) {
                    self.known.insert(labels.clone(), at_ms);
                }
            }
            let begins = |source: &Labels| {
                !asked.contains(source) && !found.contains(source) && !subject.contains_key(source)
            };
            let missed = Held {
                value: f64::NAN,
                is_frozen: false,
            };
            let gone = self.known.keys().filter(|source| begins(source));
            held.extend(gone.map(|source| (source.clone(), missed)));
            if self.known.is_empty() && begins(&nothing) {
                held.push((nothing, missed));
            }
        }
        held
    }

    /// Everything is over: the rule is switched off, or no more.
    pub fn end(&mut self, at_ms: i64) -> Vec<Change> {
        let mut changes = Vec::new();
        self.known.clear();
        self.active.retain(|_, alert| {
            let event = match alert.state {
                State::Inactive => {
                    return alert
                        .resolved_at_ms
                        .is_some_and(|resolved_ms| at_ms - resolved_ms <= RESOLVED_KEPT_MS);
                }
                State::Pending => Event::Dropped,
                State::Firing => Event::Resolved,
            };
            alert.state = State::Inactive;
            alert.resolved_at_ms = Some(at_ms);
            changes.push(Change {
                event,
                alert: alert.clone(),
            });
            event == Event::Resolved
        });
        changes
    }

    /// The alerts that are to be said now, marked as said: valid until four times the longer of
    /// `interval_ms` and `resend_delay_ms` from now.
    pub fn due(&mut self, at_ms: i64, resend_delay_ms: i64, interval_ms: i64) -> Vec<Alert> {
        let mut due = Vec::new();
        for alert in self.active.values_mut() {
            if alert.needs_sending(at_ms, resend_delay_ms) {
                alert.last_sent_at_ms = Some(at_ms);
                let longer_ms = resend_delay_ms.max(interval_ms);
                alert.valid_until_ms = Some(at_ms.saturating_add(longer_ms.saturating_mul(4)));
                due.push(alert.clone());
            }
        }
        due
    }
}

/// Whether the one has all labels of the other.
fn has_all(one: &Labels, other: &Labels) -> bool {
    other.iter().all(|(name, value)| one.get(name) == value)
}

/// Labels of strings.
pub(crate) fn labels_of<'a>(all: impl IntoIterator<Item = (&'a str, &'a str)>) -> Labels {
    let all = all.into_iter();
    all.map(|(name, value)| -> Label { (Arc::from(name), Arc::from(value)) })
        .collect()
}
