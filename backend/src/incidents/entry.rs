//! What is known of one incident: how it is, and what happened in it.

use std::collections::{BTreeSet, VecDeque};

use pulseboard_alerting::{ALERTNAME, AlertEvent};
use pulseboard_notify::Fingerprint;
use pulseboard_shared::{Alert, AlertState, Labels, Severity, figure};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Entries of one timeline. Larger: more memory for what goes on for days. Smaller: what was said
/// of it is forgotten earlier.
pub const ENTRIES_MAX: usize = 200;

/// The rule identity of alerts that others sent: what they measured is not known.
pub const FROM_OTHERS: &str = "alertmanager";

/// The rule of an alert of others that has no name.
pub const UNNAMED: &str = "(no name)";

/// A message, an annotation, or what is said in an entry, in bytes.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// Annotations of one incident, in bytes. Labels are kept as they are: they are what it is known
/// by.
const ANNOTATION_BYTES_MAX: usize = 16 << 10;

/// Receivers that are named of one incident.
const RECEIVERS_MAX: usize = 64;

/// One firing of one rule, from its beginning to its end and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// As its alerts have it; sorts by its time.
    pub id: Uuid,
    /// Of a rule of the server itself: everybody may see it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_servers: bool,
    /// The rule's name.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// The newest line for people.
    pub message: String,
    /// All labels, the rule's name and how bad it is among them.
    pub labels: Labels,
    /// What the rule says of it.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub annotations: Labels,
    /// The newest value; none where nothing is known of it.
    #[serde(default, with = "figure::option")]
    pub value: Option<f64>,
    /// What it is compared with; none where that is no number.
    #[serde(default, with = "figure::option")]
    pub threshold: Option<f64>,
    /// Unix ms.
    pub started_ms: i64,
    /// Unix ms; none while it goes on.
    pub ended_ms: Option<i64>,
    /// Of the labels, as Alertmanager has it.
    pub fingerprint: Fingerprint,
    /// The rule's identity, where it has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rule_id: String,
    /// What the rule asks, where that is an expression.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub expr: String,
    /// Who has it in hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledged>,
    /// Who was told of it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub receivers: BTreeSet<String>,
    /// How many notifications of it were delivered.
    #[serde(default)]
    pub notified: u64,
    /// Oldest first.
    pub entries: VecDeque<Entry>,
}

/// Somebody has it in hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Who, as far as it is known.
    pub by: String,
    /// What they say of it.
    pub comment: String,
    /// Unix ms.
    pub at_ms: i64,
    /// When it ends though the incident does not; Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
}

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The condition holds, and has to hold for a while.
    Pending,
    /// It began.
    Firing,
    /// It goes on, with another value.
    Value,
    /// It ended.
    Resolved,
    /// Somebody was told.
    Notified,
    /// Somebody was not told, and why.
    NotNotified,
    /// Telling somebody did not work yet.
    Retrying,
    /// Telling somebody did not work.
    Failed,
    /// Somebody took it in hand.
    Acknowledged,
    /// Nobody has it in hand any more.
    Unacknowledged,
    /// Somebody said something.
    Comment,
    /// A silence was made for it.
    Silenced,
    /// It comes and goes.
    Flapping,
}

impl Kind {
    /// As on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Value => "value",
            Self::Resolved => "resolved",
            Self::Notified => "notified",
            Self::NotNotified => "not_notified",
            Self::Retrying => "retrying",
            Self::Failed => "failed",
            Self::Acknowledged => "acknowledged",
            Self::Unacknowledged => "unacknowledged",
            Self::Comment => "comment",
            Self::Silenced => "silenced",
            Self::Flapping => "flapping",
        }
    }

    /// Whether it is about people and not about what was measured: nothing for those who only see
    /// that the server has it.
    #[must_use]
    pub fn is_private(self) -> bool {
        !matches!(
            self,
            Self::Pending | Self::Firing | Self::Value | Self::Resolved | Self::Flapping
        )
    }

    /// Which goes first where there are too many entries.
    fn worth(self) -> u8 {
        match self {
            Self::Value => 0,
            Self::Retrying => 1,
            Self::NotNotified => 2,
            Self::Notified | Self::Failed | Self::Flapping => 3,
            Self::Silenced | Self::Pending | Self::Resolved => 4,
            Self::Comment | Self::Acknowledged | Self::Unacknowledged => 5,
            Self::Firing => 6,
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Unix ms.
    #[serde(rename = "at")]
    pub at_ms: i64,
    /// What kind of thing.
    pub kind: Kind,
    /// That was measured.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "figure::option"
    )]
    pub value: Option<f64>,
    /// Who was told, or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver: Option<String>,
    /// By which of their ways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integration: Option<String>,
    /// Why not, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// How long it holds; Unix ms.
    #[serde(rename = "until", default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
    /// Of the notification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Entry {
    /// One that says nothing else yet.
    #[must_use]
    pub fn new(at_ms: i64, kind: Kind) -> Self {
        Self {
            at_ms,
            kind,
            value: None,
            receiver: None,
            integration: None,
            reason: None,
            by: None,
            text: None,
            until_ms: None,
            key: None,
        }
    }

    fn bytes(&self) -> usize {
        let texts = [
            &self.receiver,
            &self.integration,
            &self.reason,
            &self.by,
            &self.text,
            &self.key,
        ];
        let texts = texts.into_iter().flatten().map(String::len);
        size_of::<Self>() + texts.sum::<usize>()
    }
}

/// What a later alert of an incident says beside its entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saying {
    /// The newest line for people.
    pub message: String,
    /// How bad it is by now.
    pub severity: Severity,
    /// What it is compared with.
    #[serde(default, with = "figure::option")]
    pub threshold: Option<f64>,
    /// What the rule says of it, where that has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Labels>,
}

/// All labels of an alert: of one that others sent just those that it came with, so that it is
/// known by the same ones here and there.
#[must_use]
pub fn labels_of(event: &AlertEvent) -> Labels {
    let detail = event.detail.as_deref();
    if detail.is_none_or(|detail| detail.rule_id != FROM_OTHERS) {
        return event.labels();
    }
    let mut labels = event.alert.labels.clone();
    if event.alert.rule != UNNAMED {
        labels.insert(ALERTNAME.to_owned(), event.alert.rule.clone());
    }
    labels
}

/// What an alert is compared with, where that is a number.
fn limit_of(alert: &Alert) -> Option<f64> {
    (!alert.threshold.is_nan()).then_some(alert.threshold)
}

/// A text, cut where it is longer than anybody reads.
pub(super) fn cut(text: &str) -> String {
    let mut end = TEXT_BYTES_MAX;
    if text.len() <= end {
        return text.to_owned();
    }
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", text.get(..end).unwrap_or_default())
}

/// What an alert's rule says of it, as much as is kept.
fn annotations_of(event: &AlertEvent) -> Labels {
    let mut left = ANNOTATION_BYTES_MAX;
    let all = event.annotations().into_iter();
    let kept = all.map(|(name, text)| (name, cut(&text)));
    kept.take_while(|(name, text)| {
        let bytes = name.len() + text.len();
        let has_room = bytes <= left;
        left = left.saturating_sub(bytes);
        has_room
    })
    .collect()
}

/// Bytes of texts.
fn bytes_of(labels: &Labels) -> usize {
    let texts = labels.iter();
    texts
        .map(|(name, value)| name.len() + value.len() + 2 * size_of::<String>())
        .sum()
}

impl Incident {
    /// As its first alert has it, known under these labels.
    #[must_use]
    pub fn new(event: &AlertEvent, labels: Labels) -> Self {
        let alert = &event.alert;
        let (started_ms, at_ms) = (alert.started.as_millis(), alert.timestamp.as_millis());
        let value = Some(alert.value);
        let mut entries = VecDeque::new();
        let detail = event.detail.as_deref();
        // Of what others sent it is known only since when they say that it is so.
        let is_ours = detail.is_none_or(|detail| detail.rule_id != FROM_OTHERS);
        if is_ours && started_ms < at_ms && alert.state == AlertState::Firing {
            entries.push_back(Entry::new(started_ms, Kind::Pending));
        }
        entries.push_back(Entry {
            value,
            ..Entry::new(at_ms, Kind::Firing)
        });
        Self {
            id: alert.incident,
            is_servers: event.tenant.is_none(),
            rule: alert.rule.clone(),
            severity: alert.severity,
            message: cut(&alert.message),
            fingerprint: Fingerprint::of(&labels),
            labels,
            annotations: annotations_of(event),
            value,
            threshold: limit_of(alert),
            started_ms,
            ended_ms: None,
            rule_id: detail
                .map(|detail| detail.rule_id.clone())
                .unwrap_or_default(),
            expr: detail.map(|detail| detail.expr.clone()).unwrap_or_default(),
            acknowledged: None,
            receivers: BTreeSet::new(),
            notified: 0,
            entries,
        }
    }

    /// It is known under other labels from now on.
    pub fn is_known_by(&mut self, labels: Labels) {
        self.fingerprint = Fingerprint::of(&labels);
        self.labels = labels;
    }

    /// Whether an alert says nothing that is not known: one of others that goes on.
    #[must_use]
    pub fn is_known(&self, event: &AlertEvent) -> bool {
        self.is_firing()
            && event.alert.state == AlertState::Firing
            && self.rule_id == FROM_OTHERS
            && self.message == cut(&event.alert.message)
            && self.annotations == annotations_of(event)
    }

    /// Whether this alert is in its timeline, or was said before it ended.
    #[must_use]
    pub fn has(&self, event: &AlertEvent) -> bool {
        let at_ms = event.alert.timestamp.as_millis();
        let ended_before = self.ended_ms.is_some_and(|ended_ms| at_ms <= ended_ms);
        let is_it = |kind: Kind| match event.alert.state {
            AlertState::Firing => matches!(kind, Kind::Firing | Kind::Value),
            AlertState::Resolved => kind == Kind::Resolved,
        };
        let mut entries = self.entries.iter();
        ended_before || entries.any(|entry| entry.at_ms == at_ms && is_it(entry.kind))
    }

    /// Whether it goes on.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.ended_ms.is_none()
    }

    /// What another alert of this incident adds. What is said at its end is about a value that is
    /// fine again, so what was said before it stays.
    #[must_use]
    pub fn next(&self, event: &AlertEvent) -> (Entry, Option<Saying>) {
        let alert = &event.alert;
        let kind = match alert.state {
            AlertState::Resolved => Kind::Resolved,
            AlertState::Firing if self.is_firing() => Kind::Value,
            AlertState::Firing => Kind::Firing,
        };
        let entry = Entry {
            value: Some(alert.value),
            ..Entry::new(alert.timestamp.as_millis(), kind)
        };
        let annotations = annotations_of(event);
        let saying = Saying {
            message: cut(&alert.message),
            severity: alert.severity,
            threshold: limit_of(alert),
            annotations: (annotations != self.annotations).then_some(annotations),
        };
        (entry, (kind != Kind::Resolved).then_some(saying))
    }

    /// Takes an entry, and what follows from it for the incident as a whole.
    pub fn add(&mut self, entry: Entry, saying: Option<Saying>) {
        if let Some(saying) = saying {
            self.message = saying.message;
            self.severity = saying.severity;
            self.threshold = saying.threshold;
            if let Some(annotations) = saying.annotations {
                self.annotations = annotations;
            }
        }
        match entry.kind {
            Kind::Firing | Kind::Value => {
                self.value = entry.value;
                self.ended_ms = None;
            }
            Kind::Resolved => {
                self.value = entry.value.or(self.value);
                self.ended_ms = Some(entry.at_ms);
            }
            Kind::Notified => {
                self.notified += 1;
                if let Some(receiver) = &entry.receiver
                    && self.receivers.len() < RECEIVERS_MAX
                {
                    self.receivers.insert(receiver.clone());
                }
            }
            Kind::Acknowledged => {
                self.acknowledged = Some(Acknowledged {
                    by: entry.by.clone().unwrap_or_default(),
                    comment: entry.text.clone().unwrap_or_default(),
                    at_ms: entry.at_ms,
                    until_ms: entry.until_ms,
                });
            }
            Kind::Unacknowledged => self.acknowledged = None,
            _ => {}
        }
        // It may be said a moment late: notifications are delivered while others fail.
        let place = self
            .entries
            .iter()
            .rposition(|other| other.at_ms <= entry.at_ms)
            .map_or(0, |before| before + 1);
        self.entries.insert(place, entry);
        if self.entries.len() > ENTRIES_MAX {
            self.let_one_go();
        }
    }

    /// The oldest of what is worth least; the newest stays, whatever it is.
    fn let_one_go(&mut self) {
        let all_but_newest = self.entries.iter().take(self.entries.len() - 1);
        let least = all_but_newest
            .enumerate()
            .min_by_key(|(_, entry)| entry.kind.worth());
        if let Some((place, _)) = least {
            self.entries.remove(place);
        }
    }

    /// About so many bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let acknowledged = self.acknowledged.as_ref();
        size_of::<Self>()
            + bytes_of(&self.labels)
            + bytes_of(&self.annotations)
            + self.rule.len()
            + self.message.len()
            + self.expr.len()
            + self.rule_id.len()
            + acknowledged.map_or(0, |held| held.by.len() + held.comment.len())
            + self.receivers.iter().map(String::len).sum::<usize>()
            + self.entries.iter().map(Entry::bytes).sum::<usize>()
    }

    /// As whoever sees of it that the server has it, and nothing of those who look after it.
    #[must_use]
    pub fn without_people(&self) -> Self {
        let entries = self.entries.iter();
        Self {
            acknowledged: None,
            receivers: BTreeSet::new(),
            notified: 0,
            entries: entries
                .filter(|entry| !entry.kind.is_private())
                .cloned()
                .collect(),
            ..self.clone()
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use pulseboard_alerting::new_id;
    use pulseboard_shared::Timestamp;

    use super::*;

    /// An alert of an incident that began at `started_ms`.
    pub(crate) fn event(
        tenant: Option<&str>,
        id: Uuid,
        at_ms: i64,
        state: AlertState,
    ) -> AlertEvent {
        AlertEvent {
            tenant: tenant.map(Into::into),
            alert: Alert {
                id: new_id(at_ms),
                message: format!("at {at_ms}"),
                severity: Severity::High,
                timestamp: Timestamp::from_millis(at_ms),
                incident: id,
                rule: "queue_full".to_owned(),
                state,
                value: at_ms as f64,
                threshold: f64::NAN,
                started: Timestamp::from_millis(at_ms),
                labels: Labels::from([("queue".to_owned(), "mail".to_owned())]),
            },
            detail: None,
        }
    }

    fn of(event: &AlertEvent) -> Incident {
        Incident::new(event, labels_of(event))
    }

    #[test]
    fn too_many_values_go_before_what_people_said() {
        let id = new_id(1_000);
        let mut incident = of(&event(None, id, 1_000, AlertState::Firing));
        incident.add(
            Entry {
                text: Some("mine".to_owned()),
                ..Entry::new(1_001, Kind::Comment)
            },
            None,
        );
        for at_ms in 2_000..3_000 {
            let (entry, saying) = incident.next(&event(None, id, at_ms, AlertState::Firing));
            assert_eq!(entry.kind, Kind::Value);
            incident.add(entry, saying);
        }
        let (entry, saying) = incident.next(&event(None, id, 3_000, AlertState::Resolved));
        incident.add(entry, saying);
        assert_eq!(incident.entries.len(), ENTRIES_MAX);
        let kinds: Vec<Kind> = incident.entries.iter().map(|entry| entry.kind).collect();
        assert_eq!(kinds[..3], [Kind::Firing, Kind::Comment, Kind::Value]);
        assert_eq!(kinds.last(), Some(&Kind::Resolved));
        assert_eq!(incident.ended_ms, Some(3_000));
        assert_eq!(incident.message, "at 2999", "the last that was not fine");
        let seen = incident.without_people();
        assert!(seen.entries.iter().all(|entry| entry.kind != Kind::Comment));
    }

    #[test]
    fn texts_that_nobody_reads_are_cut() {
        let mut long = event(None, new_id(1), 1, AlertState::Firing);
        long.alert.message = "ä".repeat(TEXT_BYTES_MAX);
        let texts = (0..40).map(|number| (format!("text{number}"), "x".repeat(100_000)));
        long.detail = Some(std::sync::Arc::new(pulseboard_alerting::Detail {
            annotations: texts.collect(),
            ..Default::default()
        }));
        let mut incident = of(&long);
        assert!(incident.message.len() <= TEXT_BYTES_MAX + 3 && incident.message.ends_with('…'));
        assert!(!incident.annotations.is_empty() && incident.bytes() < 64 << 10);
        let (entry, saying) = incident.next(&long);
        assert_eq!(
            saying.as_ref().map(|saying| saying.annotations.is_none()),
            Some(true),
            "it says the same"
        );
        incident.add(entry, saying);
        assert!(incident.bytes() < 64 << 10);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let incident = of(&event(Some("a"), new_id(1), 1, AlertState::Firing));
        let text = serde_json::to_string(&incident).expect("JSON");
        assert!(!text.contains("NaN"), "{text}");
        assert_eq!(
            serde_json::from_str::<Incident>(&text).expect("read"),
            incident
        );
    }
}
