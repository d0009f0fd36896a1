//! What API v2 answers, and what it changes beside alerts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Manager;
use crate::{
    ack::{Ack, AckError},
    alerts::Alert,
    api::{
        AlertFilter, AlertGroup, AlertState, AlertStatus, DateTime, GettableAlert, GettableSilence,
        PostableSilence, Receiver,
    },
    labels::{Fingerprint, order, told_order},
    matcher::{self, Matcher},
    reason::Reason,
    silence::{Silence, SilenceError, SilenceState},
    window::{Window, Windows},
};

impl Manager {
    /// `GET /api/v2/alerts`, by fingerprint.
    #[must_use]
    pub fn alerts(&self, now_ms: i64, filter: &AlertFilter) -> Vec<GettableAlert> {
        let mut alerts: Vec<GettableAlert> = self
            .alerts
            .iter()
            .filter(|alert| !alert.is_over(now_ms))
            .filter_map(|alert| {
                let routes = self.routes.matching(&alert.labels);
                let receivers: Vec<&str> = routes
                    .iter()
                    .filter_map(|route| self.routes.get(*route))
                    .map(|route| route.options.receiver.as_str())
                    .collect();
                if !receivers.iter().any(|name| filter.takes_receiver(name)) {
                    return None;
                }
                let status = self.status(now_ms, alert, &routes);
                filter
                    .takes(&alert.labels, &status)
                    .then(|| gettable(alert, status, receivers))
            })
            .collect();
        alerts.sort_by_key(|alert| alert.fingerprint);
        alerts
    }

    /// One alert, whether it is over or not.
    #[must_use]
    pub fn alert(&self, now_ms: i64, fingerprint: Fingerprint) -> Option<GettableAlert> {
        let alert = self.alerts.get(fingerprint)?;
        let routes = self.routes.matching(&alert.labels);
        let receivers = routes
            .iter()
            .filter_map(|route| self.routes.get(*route))
            .map(|route| route.options.receiver.as_str())
            .collect();
        Some(gettable(
            alert,
            self.status(now_ms, alert, &routes),
            receivers,
        ))
    }

    /// `GET /api/v2/alerts/groups`, by labels and receiver.
    #[must_use]
    pub fn groups(&self, now_ms: i64, filter: &AlertFilter) -> Vec<AlertGroup> {
        let mut receivers: BTreeMap<Fingerprint, BTreeSet<&str>> = BTreeMap::new();
        let mut found = Vec::new();
        for group in self.groups.values() {
            let Some(route) = self.routes.get(group.route) else {
                continue;
            };
            let receiver = route.options.receiver.as_str();
            if !filter.takes_receiver(receiver) {
                continue;
            }
            let mut members = Vec::new();
            for member in group.members.values() {
                let alert = &member.alert;
                if alert.is_over(now_ms) {
                    continue;
                }
                let status = self.status(now_ms, alert, &[group.route]);
                if filter.takes(&alert.labels, &status) {
                    let names = receivers.entry(alert.fingerprint).or_default();
                    names.insert(receiver);
                    members.push((alert, status));
                }
            }
            if !members.is_empty() {
                members.sort_by(|(left, _), (right, _)| told_order(&left.labels, &right.labels));
                found.push((group, receiver, members));
            }
        }
        found.sort_by(|(left, left_name, _), (right, right_name, _)| {
            order(&left.labels, &right.labels).then_with(|| left_name.cmp(right_name))
        });
        let groups = found
            .into_iter()
            .map(|(group, receiver, members)| AlertGroup {
                alerts: members
                    .into_iter()
                    .map(|(alert, status)| {
                        let names = receivers.get(&alert.fingerprint);
                        let names = names.into_iter().flatten().copied().collect();
                        gettable(alert, status, names)
                    })
                    .collect(),
                labels: group.labels.clone(),
                receiver: Receiver {
                    name: receiver.to_owned(),
                },
            });
        groups.collect()
    }

    fn status(&self, now_ms: i64, alert: &Arc<Alert>, routes: &[usize]) -> AlertStatus {
        let mut silenced_by = self.silenced_by(now_ms, alert);
        silenced_by.extend(self.windows.matching(now_ms, &alert.labels));
        let inhibited_by: Vec<String> = self
            .inhibition
            .by(now_ms, &alert.labels)
            .iter()
            .map(ToString::to_string)
            .collect();
        let muted = routes
            .iter()
            .filter_map(|route| self.muted_by_time(now_ms, *route));
        let muted_by: BTreeSet<String> = muted
            .flat_map(|reason| match reason {
                Reason::Muted { intervals } | Reason::OutsideHours { intervals } => intervals,
                _ => Vec::new(),
            })
            .collect();
        let state = match silenced_by.is_empty() && inhibited_by.is_empty() {
            true if routes.is_empty() => AlertState::Unprocessed,
            true => AlertState::Active,
            false => AlertState::Suppressed,
        };
        AlertStatus {
            inhibited_by,
            muted_by: muted_by.into_iter().collect(),
            silenced_by,
            state,
        }
    }

    /// `GET /api/v2/receivers`.
    #[must_use]
    pub fn receivers(&self) -> Vec<Receiver> {
        self.config
            .all_receivers()
            .map(|receiver| Receiver {
                name: receiver.name.clone(),
            })
            .collect()
    }

    /// `GET /api/v2/silences`: active ones, the next to end first; pending ones, the next to begin
    /// first; expired ones, the last to end first.
    #[must_use]
    pub fn silences(&self, now_ms: i64, filter: &[Matcher]) -> Vec<GettableSilence> {
        let mut silences: Vec<_> = self
            .silences
            .iter()
            .filter(|silence| {
                let named = silence.matchers.0.iter();
                let labels = named
                    .map(|matcher| (matcher.name().to_owned(), matcher.value().to_owned()))
                    .collect();
                matcher::filter_matches(filter, &labels)
            })
            .collect();
        silences.sort_by_key(|silence| match silence.state(now_ms) {
            SilenceState::Active => (SilenceState::Active, silence.ends_at_ms, &silence.id),
            SilenceState::Pending => (SilenceState::Pending, silence.starts_at_ms, &silence.id),
            SilenceState::Expired => (SilenceState::Expired, -silence.ends_at_ms, &silence.id),
        });
        let silences = silences.into_iter();
        silences
            .map(|silence| GettableSilence::new(silence, now_ms))
            .collect()
    }

    /// `GET /api/v2/silence/{id}`.
    #[must_use]
    pub fn silence(&self, now_ms: i64, id: &str) -> Option<GettableSilence> {
        let silence = self.silences.get(id)?;
        Some(GettableSilence::new(silence, now_ms))
    }

    /// `POST /api/v2/silences`: makes one, or changes the one of that identity. `new_id` is a fresh
    /// UUID. Returns the identity.
    ///
    /// # Errors
    /// [`SilenceError::NotFound`] is a 404, the rest a 400 whose text is a JSON string.
    pub fn set_silence(
        &mut self,
        now_ms: i64,
        silence: PostableSilence,
        new_id: String,
    ) -> Result<String, SilenceError> {
        self.silences.set(now_ms, silence.into_silence()?, new_id)
    }

    /// A silence as it is kept.
    #[must_use]
    pub fn kept_silence(&self, id: &str) -> Option<&Silence> {
        self.silences.get(id)
    }

    /// Puts these silences, windows and acknowledgements in the place of all that are known: where
    /// several servers are one, people make them at any of them.
    pub fn take_people(&mut self, silences: Vec<Silence>, windows: Vec<Window>, acks: Vec<Ack>) {
        self.silences.restore(silences);
        self.windows = Windows::default();
        for window in windows {
            // one that is no longer taken is not kept
            drop(self.windows.set(window));
        }
        self.acks.restore(acks);
    }

    /// `DELETE /api/v2/silence/{id}`; one that expired before stays as it is.
    ///
    /// # Errors
    /// There is none (404).
    pub fn expire_silence(&mut self, now_ms: i64, id: &str) -> Result<(), SilenceError> {
        self.silences.expire(now_ms, id)
    }

    /// Somebody takes an incident in hand, or takes it over.
    ///
    /// # Errors
    /// No such alert fires (404), or the text or the end cannot be (400).
    pub fn acknowledge(&mut self, now_ms: i64, ack: Ack) -> Result<(), AckError> {
        let is_flapping = self.flaps.calm_at(ack.fingerprint, now_ms).is_some();
        if self.alerts.is_over(ack.fingerprint, now_ms) && !is_flapping {
            return Err(AckError::NotFiring);
        }
        self.acks.set(now_ms, ack)
    }

    /// Nobody has it in hand any more.
    pub fn unacknowledge(&mut self, fingerprint: Fingerprint) -> Option<Ack> {
        self.acks.remove(fingerprint)
    }

    /// All acknowledgements that stand.
    pub fn acks(&self) -> impl Iterator<Item = &Ack> {
        self.acks.iter()
    }

    /// Makes a maintenance window, or puts it in the place of the one of that identity.
    ///
    /// # Errors
    /// It cannot be, or there are too many; in words.
    pub fn set_window(&mut self, now_ms: i64, window: Window) -> Result<(), String> {
        self.windows.forget(now_ms);
        self.windows.set(window)
    }

    /// Whether there was one.
    pub fn remove_window(&mut self, id: &str) -> bool {
        self.windows.remove(id)
    }

    /// All maintenance windows, by identity.
    pub fn windows(&self) -> impl Iterator<Item = &Window> {
        self.windows.iter()
    }
}

fn gettable(alert: &Alert, status: AlertStatus, receivers: Vec<&str>) -> GettableAlert {
    let receivers = receivers.into_iter().map(|name| Receiver {
        name: name.to_owned(),
    });
    GettableAlert {
        annotations: alert.annotations.clone(),
        ends_at: DateTime(alert.ends_at_ms),
        fingerprint: alert.fingerprint,
        receivers: receivers.collect(),
        starts_at: DateTime(alert.starts_at_ms),
        status,
        updated_at: DateTime(alert.updated_at_ms),
        generator_url: alert.generator_url.clone(),
        labels: alert.labels.clone(),
    }
}
