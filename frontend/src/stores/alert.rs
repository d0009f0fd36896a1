//! Alerts as the reader follows them: one entry an incident, however often it is sent.
//!
//! An incident begins (`firing`), goes on (`firing` again, newer value), and ends (`resolved`).
//! Its entry stays until the reader dismisses it, and as long as a critical one is listed, it is
//! among the number of critical ones, over or not. A dismissed incident does not come back with its
//! next sending, unless it has become worse.

use std::{collections::VecDeque, rc::Rc};

use pulseboard_shared::{Alert, AlertState, Severity, limits::ALERTS_SHOWN_MAX};
use uuid::Uuid;
use yewdux::store::Store;

use super::{shared::Shared, view::Page};

/// Dismissed incidents remembered: the oldest is forgotten, and could come back if it were
/// still firing after that many others.
const DISMISSED_MAX: usize = 500;

/// Incidents that are known to go on; more are not counted.
pub const ONGOING_MAX: usize = 1_000;

/// How an incident stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncidentState {
    /// The condition holds.
    Firing,
    /// It ended.
    Resolved,
    /// It ended while this page could not hear of it.
    EndedUnheard,
}

/// One incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Names it.
    pub incident: Uuid,
    /// The newest sending's words.
    pub message: Rc<str>,
    /// The newest sending's severity.
    pub severity: Severity,
    /// When it began, Unix milliseconds.
    pub started_ms: i64,
    /// When it was last heard of.
    pub heard_ms: i64,
    /// Sendings while firing.
    pub times: u32,
    /// Firing, or over.
    pub state: IncidentState,
}

impl Entry {
    /// It still holds, as far as is known.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.state == IncidentState::Firing
    }

    /// Where the page tells more of it: the part of the address behind and with its `#`.
    #[must_use]
    pub fn hash(&self) -> String {
        [Page::Alerts.hash(), "/", &self.incident.to_string()].concat()
    }

    /// From its beginning until it was last heard of.
    #[must_use]
    pub const fn lasted_ms(&self) -> i64 {
        self.heard_ms - self.started_ms
    }
}

/// One entry for each incident, until the reader dismisses it.
#[derive(Clone, Debug, Default, Store)]
pub struct AlertStore {
    /// Firing ones first, then the newest first; at most [`ALERTS_SHOWN_MAX`].
    entries: Shared<Vec<Rc<Entry>>>,
    dismissed: Rc<VecDeque<(Uuid, Severity)>>,
    /// Incidents that go on, listed or not; at most [`ONGOING_MAX`].
    ongoing: Rc<Vec<Uuid>>,
    firing: usize,
    critical: usize,
    /// Incidents that began as critical ones or became so, ever; what is announced.
    critical_ever: u64,
    /// `None` until the first attempt has succeeded or failed.
    listening: Option<bool>,
    revision: u64,
}

impl PartialEq for AlertStore {
    fn eq(&self, other: &Self) -> bool {
        self.revision == other.revision
    }
}

impl AlertStore {
    /// The server sent this.
    pub fn apply(&mut self, alert: &Alert) {
        let is_over = |entry: &Rc<Entry>| {
            entry.incident == alert.incident && entry.state == IncidentState::Resolved
        };
        // A stream that resumes may repeat how it began.
        let goes_on = alert.state == AlertState::Firing && !self.entries.iter().any(is_over);
        self.count(alert.incident, goes_on);
        let dismissed = self
            .dismissed
            .iter()
            .any(|(incident, severity)| *incident == alert.incident && *severity >= alert.severity);
        if dismissed {
            return;
        }
        let heard_ms = alert.timestamp.as_millis();
        let entries = self.entries.make_mut();
        let held = entries
            .iter_mut()
            .find(|entry| entry.incident == alert.incident);
        let was_critical = held
            .as_ref()
            .is_some_and(|entry| entry.severity == Severity::Critical);
        match (held, alert.state) {
            (Some(entry), state) => {
                // A stream that resumes may repeat; only what is newer counts.
                if heard_ms < entry.heard_ms || entry.state == IncidentState::Resolved {
                    return;
                }
                let repeated = heard_ms == entry.heard_ms && state == AlertState::Firing;
                if repeated && entry.is_firing() {
                    return;
                }
                let entry = Rc::make_mut(entry);
                entry.heard_ms = heard_ms;
                match state {
                    AlertState::Firing => {
                        entry.times += 1;
                        entry.message = alert.message.as_str().into();
                        entry.severity = alert.severity;
                        entry.state = IncidentState::Firing;
                    }
                    AlertState::Resolved => entry.state = IncidentState::Resolved,
                }
            }
            (None, AlertState::Firing) => entries.push(Rc::new(Entry {
                incident: alert.incident,
                message: alert.message.as_str().into(),
                severity: alert.severity,
                started_ms: alert.started.as_millis().min(heard_ms),
                heard_ms,
                times: 1,
                state: IncidentState::Firing,
            })),
            // The end of something that this page never saw begin: nor shall it, should older
            // news of it still be on the way.
            (None, AlertState::Resolved) => {
                self.remember_dismissed([(alert.incident, Severity::Critical)]);
                return;
            }
        }
        if alert.severity == Severity::Critical
            && alert.state == AlertState::Firing
            && !was_critical
        {
            self.critical_ever += 1;
        }
        self.settle();
    }

    /// An incident goes on, or no longer.
    fn count(&mut self, incident: Uuid, goes_on: bool) {
        let known = self.ongoing.iter().position(|known| *known == incident);
        match known {
            None if goes_on && self.ongoing.len() < ONGOING_MAX => {
                Rc::make_mut(&mut self.ongoing).push(incident);
            }
            Some(place) if !goes_on => drop(Rc::make_mut(&mut self.ongoing).swap_remove(place)),
            _ => return,
        }
        self.revision += 1;
    }

    /// The reader has seen it.
    pub fn dismiss(&mut self, incident: Uuid) {
        let entries = self.entries.make_mut();
        if let Some(index) = entries.iter().position(|entry| entry.incident == incident) {
            let entry = entries.remove(index);
            self.remember_dismissed([(entry.incident, entry.severity)]);
            self.settle();
        }
    }

    /// The reader has seen all.
    pub fn clear(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        self.remember_dismissed(entries.iter().map(|entry| (entry.incident, entry.severity)));
        self.settle();
    }

    /// The server says that exactly `active` go on. What was firing when it was `asked`, and is
    /// not among them, ended unheard; what this page has not heard of began unheard.
    pub fn reconcile(&mut self, asked: &[Uuid], active: &[Alert]) {
        for entry in self.entries.make_mut() {
            let goes_on = active.iter().any(|alert| alert.incident == entry.incident);
            if entry.is_firing() && asked.contains(&entry.incident) && !goes_on {
                Rc::make_mut(entry).state = IncidentState::EndedUnheard;
            }
        }
        self.settle();
        let is_active = |incident: &Uuid| active.iter().any(|alert| alert.incident == *incident);
        Rc::make_mut(&mut self.ongoing)
            .retain(|incident| !asked.contains(incident) || is_active(incident));
        for alert in active {
            self.apply(alert);
        }
    }

    /// Incidents going on, as far as this page knows.
    #[must_use]
    pub fn firing_incidents(&self) -> Vec<Uuid> {
        self.ongoing.to_vec()
    }

    /// Whether the page hears of alerts at present.
    pub const fn set_listening(&mut self, listening: bool) {
        if !matches!(self.listening, Some(known) if known == listening) {
            self.listening = Some(listening);
            self.revision += 1;
        }
    }

    fn remember_dismissed(&mut self, incidents: impl IntoIterator<Item = (Uuid, Severity)>) {
        let dismissed = Rc::make_mut(&mut self.dismissed);
        dismissed.extend(incidents);
        let excess = dismissed.len().saturating_sub(DISMISSED_MAX);
        dismissed.drain(..excess);
    }

    /// Puts order, bound and counts right after a change.
    fn settle(&mut self) {
        let place_of = |entry: &Entry| {
            (
                !entry.is_firing(),
                std::cmp::Reverse(entry.started_ms),
                entry.incident,
            )
        };
        let entries = self.entries.make_mut();
        // Each into its place: they are few, and a general sort is kilobytes of the page.
        for entry in std::mem::take(entries) {
            let place = entries.partition_point(|other| place_of(other) <= place_of(&entry));
            entries.insert(place, entry);
        }
        entries.truncate(ALERTS_SHOWN_MAX);
        self.firing = entries.iter().filter(|entry| entry.is_firing()).count();
        self.critical = entries
            .iter()
            .filter(|entry| entry.severity == Severity::Critical)
            .count();
        self.revision += 1;
    }

    /// What is listed, in the order of the list.
    #[must_use]
    pub fn select_entries(&self) -> Shared<Vec<Rc<Entry>>> {
        self.entries.clone()
    }

    /// Critical incidents that are listed.
    #[must_use]
    pub const fn select_critical(&self) -> usize {
        self.critical
    }

    /// Incidents going on now, those that were dismissed among them.
    #[must_use]
    pub fn select_ongoing(&self) -> usize {
        self.ongoing.len()
    }

    /// Grows with everything that is heard.
    #[must_use]
    pub const fn select_revision(&self) -> u64 {
        self.revision
    }

    /// Incidents of the list that go on.
    #[must_use]
    pub const fn select_firing(&self) -> usize {
        self.firing
    }

    /// Incidents that ever became critical; grows when there is something to announce.
    #[must_use]
    pub const fn select_critical_ever(&self) -> u64 {
        self.critical_ever
    }

    /// Whether the page hears of alerts at present; `None` until that is known.
    #[must_use]
    pub const fn select_listening(&self) -> Option<bool> {
        self.listening
    }
}

/// `entries` in the order of `places`; those that have no place follow as they are.
#[must_use]
pub fn in_places(entries: &[Rc<Entry>], places: &[Uuid]) -> Vec<Rc<Entry>> {
    let placed = places
        .iter()
        .filter_map(|place| entries.iter().find(|entry| entry.incident == *place));
    let others = entries
        .iter()
        .filter(|entry| !places.contains(&entry.incident));
    placed.chain(others).cloned().collect()
}

#[cfg(test)]
mod tests {
    use pulseboard_shared::{Labels, Timestamp};
    use yewdux::{Context, Dispatch};

    use super::*;

    fn alert(incident: u128, at_ms: i64, severity: Severity, state: AlertState) -> Alert {
        Alert {
            id: Uuid::from_u128(incident << 64 | u128::from(at_ms.unsigned_abs())),
            message: format!("CPU usage critical: {at_ms}.0%"),
            severity,
            timestamp: Timestamp::from_millis(at_ms),
            incident: Uuid::from_u128(incident),
            rule: "cpu_high".into(),
            state,
            value: 93.4,
            threshold: 90.0,
            started: Timestamp::from_millis(1),
            labels: Labels::new(),
        }
    }

    fn firing(incident: u128, at_ms: i64) -> Alert {
        alert(incident, at_ms, Severity::Critical, AlertState::Firing)
    }

    fn resolved(incident: u128, at_ms: i64) -> Alert {
        alert(incident, at_ms, Severity::Critical, AlertState::Resolved)
    }

    /// The store after these alerts, sent through yewdux as on the page.
    fn after(alerts: &[Alert]) -> AlertStore {
        let dispatch = Dispatch::<AlertStore>::new(&Context::new());
        for alert in alerts {
            dispatch.reduce_mut(|store| store.apply(alert));
        }
        AlertStore::clone(&dispatch.get())
    }

    #[test]
    fn one_entry_an_incident() {
        let store = after(&[firing(7, 1_000), firing(7, 11_000), firing(7, 21_000)]);
        let entries = store.select_entries();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].times, 3);
        assert_eq!(entries[0].lasted_ms(), 20_999);
        assert_eq!(&*entries[0].message, "CPU usage critical: 21000.0%");
        assert_eq!(
            (store.select_critical(), store.select_critical_ever()),
            (1, 1)
        );
    }

    #[test]
    fn repeats_after_a_resume_do_not_count() {
        let store = after(&[
            firing(7, 1_000),
            firing(7, 11_000),
            firing(7, 1_000),
            firing(7, 11_000),
        ]);
        assert_eq!(store.select_entries()[0].times, 2);
    }

    #[test]
    fn a_resolved_incident_stays_listed_and_counted_until_it_is_dismissed() {
        let store = after(&[firing(7, 1_000), resolved(7, 5_000), firing(7, 1_000)]);
        assert_eq!(store.select_entries()[0].state, IncidentState::Resolved);
        assert_eq!(store.select_critical(), 1, "as many as are listed");
        assert_eq!(store.select_firing(), 0);
        assert_eq!(store.select_entries().len(), 1);
        let mut dismissed = store;
        dismissed.dismiss(Uuid::from_u128(7));
        assert_eq!(dismissed.select_critical(), 0);
        assert_eq!(after(&[resolved(8, 5_000)]).select_entries().len(), 0);
    }

    #[test]
    fn a_dismissed_incident_stays_away_unless_it_gets_worse() {
        let warning = |at_ms| alert(7, at_ms, Severity::Warning, AlertState::Firing);
        let mut store = after(&[warning(1_000)]);
        store.dismiss(Uuid::from_u128(7));
        store.apply(&warning(2_000));
        assert_eq!(store.select_entries().len(), 0);
        store.apply(&firing(7, 3_000));
        assert_eq!(store.select_entries().len(), 1);
        store.clear();
        store.apply(&firing(7, 4_000));
        assert_eq!(
            (store.select_entries().len(), store.select_critical()),
            (0, 0)
        );
    }

    #[test]
    fn holds_the_newest_fifty_and_firing_ones_first() {
        let mut alerts: Vec<Alert> = (1..=60)
            .map(|incident| {
                let mut alert = firing(incident, 1_000);
                alert.started = Timestamp::from_millis(i64::try_from(incident).expect("small"));
                alert
            })
            .collect();
        alerts.push(resolved(60, 2_000));
        let store = after(&alerts);
        let entries = store.select_entries();
        assert_eq!(entries.len(), ALERTS_SHOWN_MAX);
        assert_eq!(entries[0].incident, Uuid::from_u128(59));
        assert_eq!(entries.last().map(|entry| entry.is_firing()), Some(false));
        assert_eq!(store.select_firing(), ALERTS_SHOWN_MAX - 1);
    }

    #[test]
    fn a_list_that_is_pointed_at_keeps_its_order() {
        let mut store = after(&[firing(7, 1_000), firing(8, 1_000), firing(9, 1_000)]);
        let order = |store: &AlertStore, places: &[Uuid]| -> Vec<u128> {
            let entries = in_places(&store.select_entries(), places);
            entries
                .iter()
                .map(|entry| entry.incident.as_u128())
                .collect()
        };
        let places = [8, 7, 9].map(Uuid::from_u128);
        assert_eq!(order(&store, &places), [8, 7, 9]);
        store.apply(&resolved(8, 2_000));
        store.dismiss(Uuid::from_u128(7));
        store.apply(&firing(6, 3_000));
        assert_eq!(order(&store, &places), [8, 9, 6], "what is new comes below");
        assert_eq!(
            order(&store, &[]),
            [6, 9, 8],
            "nobody points at it any more"
        );
    }

    #[test]
    fn what_was_dismissed_still_goes_on() {
        let mut store = after(&[firing(7, 1_000), firing(8, 1_000), firing(7, 2_000)]);
        store.clear();
        assert_eq!((store.select_firing(), store.select_ongoing()), (0, 2));
        store.apply(&resolved(7, 3_000));
        assert_eq!(store.select_ongoing(), 1);
        let asked = store.firing_incidents();
        store.reconcile(&asked, &[firing(9, 3_500)]);
        assert_eq!(store.select_ongoing(), 1, "8 ended unheard, and 9 began");
    }

    #[test]
    fn a_page_that_was_away_learns_what_goes_on() {
        let mut store = after(&[firing(7, 1_000), firing(8, 1_000)]);
        let asked = store.firing_incidents();
        // Begins while the answer is on its way, so the answer does not know of it.
        store.apply(&firing(9, 2_000));
        store.reconcile(&asked, &[firing(8, 1_000), firing(10, 1_500)]);
        let entries = store.select_entries();
        let state = |incident: u128| {
            let id = Uuid::from_u128(incident);
            entries
                .iter()
                .find(|entry| entry.incident == id)
                .map(|entry| entry.state)
        };
        assert_eq!(state(7), Some(IncidentState::EndedUnheard));
        for incident in [8, 9, 10] {
            assert_eq!(state(incident), Some(IncidentState::Firing), "{incident}");
        }
        assert_eq!(
            store.select_critical(),
            4,
            "what ended unheard is listed, too"
        );
    }

    #[test]
    fn an_end_that_overtakes_the_answer_is_the_end() {
        let mut store = after(&[resolved(7, 2_000)]);
        store.reconcile(&[], &[firing(7, 1_000)]);
        assert_eq!(store.select_entries().len(), 0);
    }
}
