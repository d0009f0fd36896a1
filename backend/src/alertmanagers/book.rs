//! Which alerts Alertmanagers are to be told of, and when next. Pure.
//!
//! An alert is known by its labels, as an Alertmanager knows it: one that fires again takes the
//! place of the one that was over.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use pulseboard_alerting::AlertEvent;
use pulseboard_shared::{AlertState, Labels};

/// An alert that goes on, or is over and was not taken by all, is told again so often.
pub(super) const AGAIN_MS: i64 = 60_000;

/// One that is over is told for so long at most.
pub(super) const OVER_MS: i64 = 15 * 60_000;

/// Alerts that are held at once, and bytes of their texts. The rules bound what fires (and who has
/// that many alerts reads none of them); past either what is new is not told, and counted.
const ALERTS_MAX: usize = 20_000;
const BYTES_MAX: usize = 64 << 20;

/// What an alert takes beside its texts.
const ALERT_BYTES: usize = 1_024;

/// An alert, for as long as it fires and somebody has to hear that it is over.
#[derive(Debug)]
struct Held {
    event: Arc<AlertEvent>,
    labels: Arc<Labels>,
    bytes: usize,
    /// By the steady clock.
    due_ms: i64,
    over: Option<Over>,
}

#[derive(Debug)]
struct Over {
    since_ms: i64,
    /// Who has not taken it yet.
    owed: BTreeSet<u64>,
}

/// All of them. Numbers name alerts; one is never used again.
#[derive(Debug, Default)]
pub(super) struct Book {
    held: BTreeMap<u64, Held>,
    by_labels: HashMap<Arc<Labels>, u64>,
    /// Who is to be told.
    lanes: BTreeSet<u64>,
    next: u64,
    bytes: usize,
    /// Alerts for which there was no room.
    pub(super) left_out: u64,
}

/// An alert that is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) number: u64,
    /// Who is to be told; all where it fires.
    pub(super) only: Option<BTreeSet<u64>>,
}

fn bytes_of(event: &AlertEvent, labels: &Labels) -> usize {
    let texts = |labels: &Labels| -> usize {
        labels
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum()
    };
    let detail = event.detail.as_deref();
    let detail = detail.map_or(0, |detail| texts(&detail.annotations) + detail.expr.len());
    // the labels stand in the event, too
    ALERT_BYTES + event.alert.message.len() + 2 * texts(labels) + detail
}

impl Book {
    /// Takes what was published of an alert; whether somebody is to be told at once.
    pub(super) fn hear(&mut self, event: &AlertEvent, now_ms: i64) -> bool {
        let labels = event.labels();
        let known = self.by_labels.get(&labels).copied();
        let is_firing = event.alert.state == AlertState::Firing;
        let bytes = bytes_of(event, &labels);
        if let Some(number) = known
            && let Some(held) = self.held.get_mut(&number)
        {
            let is_same = held.event.alert.incident == event.alert.incident;
            if is_same && is_firing && held.over.is_none() {
                self.bytes = self.bytes - held.bytes + bytes;
                held.bytes = bytes;
                held.event = Arc::new(event.clone());
                return false;
            }
            if is_same && !is_firing && held.over.is_none() {
                held.event = Arc::new(event.clone());
                held.due_ms = now_ms;
                held.over = Some(Over {
                    since_ms: now_ms,
                    owed: self.lanes.clone(),
                });
                if self.lanes.is_empty() {
                    self.forget(number);
                }
                return true;
            }
            // What is over and what goes on under the same labels is another's.
            if !is_firing {
                return false;
            }
            self.forget(number);
        } else if !is_firing {
            // There was no room for it: nobody heard of it.
            return false;
        }
        if self.held.len() >= ALERTS_MAX || self.bytes + bytes > BYTES_MAX {
            self.left_out += 1;
            return false;
        }
        let number = self.next;
        self.next += 1;
        let labels = Arc::new(labels);
        self.by_labels.insert(Arc::clone(&labels), number);
        self.bytes += bytes;
        self.held.insert(
            number,
            Held {
                event: Arc::new(event.clone()),
                labels,
                bytes,
                due_ms: now_ms,
                over: None,
            },
        );
        true
    }

    fn forget(&mut self, number: u64) {
        if let Some(held) = self.held.remove(&number) {
            self.bytes -= held.bytes;
            if self.by_labels.get(&held.labels) == Some(&number) {
                self.by_labels.remove(&held.labels);
            }
        }
    }

    /// What is due, so many at most, and when to look again. What has been over for too long is
    /// forgotten.
    pub(super) fn due(&mut self, now_ms: i64, max: usize) -> (Vec<Due>, Option<i64>) {
        let is_old = |held: &Held| {
            let over = held.over.as_ref();
            over.is_some_and(|over| now_ms - over.since_ms >= OVER_MS)
        };
        let all = self.held.iter();
        let old: Vec<u64> = all
            .filter_map(|(number, held)| is_old(held).then_some(*number))
            .collect();
        old.into_iter().for_each(|number| self.forget(number));
        let mut due = Vec::new();
        let mut next: Option<i64> = None;
        for (number, held) in &mut self.held {
            if held.due_ms <= now_ms && due.len() < max {
                held.due_ms = now_ms + AGAIN_MS;
                due.push(Due {
                    number: *number,
                    only: held.over.as_ref().map(|over| over.owed.clone()),
                });
            }
            next = Some(next.map_or(held.due_ms, |next| next.min(held.due_ms)));
        }
        (due, next)
    }

    /// The newest of an alert, if somebody is still to be told of it.
    pub(super) fn get(&self, number: u64) -> Option<(Arc<AlertEvent>, Arc<Labels>)> {
        let held = self.held.get(&number)?;
        Some((Arc::clone(&held.event), Arc::clone(&held.labels)))
    }

    /// Somebody has taken an alert as it was then.
    pub(super) fn took(&mut self, lane: u64, number: u64, state: AlertState) {
        if state == AlertState::Firing {
            return;
        }
        let Some(over) = self
            .held
            .get_mut(&number)
            .and_then(|held| held.over.as_mut())
        else {
            return;
        };
        over.owed.remove(&lane);
        if over.owed.is_empty() {
            self.forget(number);
        }
    }

    /// Who is to be told from now on. Nobody waits for those who have gone.
    pub(super) fn set_lanes(&mut self, lanes: BTreeSet<u64>) {
        let mut done = Vec::new();
        for (number, held) in &mut self.held {
            if let Some(over) = &mut held.over {
                over.owed.retain(|lane| lanes.contains(lane));
                if over.owed.is_empty() {
                    done.push(*number);
                }
            }
        }
        done.into_iter().for_each(|number| self.forget(number));
        self.lanes = lanes;
    }

    /// All that fires.
    pub(super) fn firing(&self) -> Vec<u64> {
        let all = self.held.iter();
        all.filter_map(|(number, held)| held.over.is_none().then_some(*number))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use pulseboard_alerting::new_id;
    use pulseboard_shared::{Alert, Severity, Timestamp};

    use super::*;

    fn event(rule: &str, state: AlertState) -> AlertEvent {
        AlertEvent {
            tenant: None,
            detail: None,
            alert: Alert {
                id: new_id(0),
                message: String::new(),
                severity: Severity::High,
                timestamp: Timestamp::from_millis(0),
                incident: new_id(0),
                rule: rule.to_owned(),
                state,
                value: 1.0,
                threshold: 0.0,
                started: Timestamp::from_millis(0),
                labels: Labels::new(),
            },
        }
    }

    fn over(event: &AlertEvent) -> AlertEvent {
        let mut event = event.clone();
        event.alert.state = AlertState::Resolved;
        event
    }

    fn numbers(book: &mut Book, now_ms: i64) -> Vec<u64> {
        let (due, _) = book.due(now_ms, 100);
        due.into_iter().map(|due| due.number).collect()
    }

    #[test]
    fn what_fires_is_due_at_once_and_each_minute() {
        let mut book = Book::default();
        let cpu = event("cpu", AlertState::Firing);
        assert!(book.hear(&cpu, 5));
        assert_eq!(book.due(5, 100).1, Some(5 + AGAIN_MS));
        assert!(!book.hear(&cpu, 10_000), "it is said again elsewhere");
        assert_eq!(numbers(&mut book, 5 + AGAIN_MS - 1), Vec::<u64>::new());
        assert_eq!(numbers(&mut book, 5 + AGAIN_MS), [0]);
    }

    #[test]
    fn what_is_over_is_owed_until_each_has_taken_it_or_it_is_old() {
        let mut book = Book::default();
        book.set_lanes([7, 8, 9].into());
        let cpu = event("cpu", AlertState::Firing);
        book.hear(&cpu, 0);
        assert!(book.hear(&over(&cpu), 1_000));
        book.took(7, 0, AlertState::Firing);
        book.took(8, 0, AlertState::Resolved);
        let (due, _) = book.due(1_000, 100);
        assert_eq!(
            due,
            [Due {
                number: 0,
                only: Some([7, 9].into())
            }]
        );
        book.set_lanes([7, 10].into());
        let (due, _) = book.due(1_000 + AGAIN_MS, 100);
        assert_eq!(
            due,
            [Due {
                number: 0,
                only: Some([7].into())
            }]
        );
        assert_eq!(numbers(&mut book, 1_000 + OVER_MS), Vec::<u64>::new());
        assert!(book.get(0).is_none());
        assert_eq!((book.bytes, book.by_labels.len()), (0, 0));
    }

    #[test]
    fn one_that_fires_again_takes_the_place_of_the_one_that_was_over() {
        let mut book = Book::default();
        book.set_lanes([1].into());
        let first = event("cpu", AlertState::Firing);
        book.hear(&first, 0);
        book.hear(&over(&first), 1);
        let second = event("cpu", AlertState::Firing);
        assert!(book.hear(&second, 2));
        assert_eq!(numbers(&mut book, 2), [1]);
        // whoever is late with the end of the first does not end the second
        assert!(!book.hear(&over(&first), 3));
        book.took(1, 0, AlertState::Resolved);
        assert_eq!(book.firing(), [1]);
        book.hear(&over(&second), 4);
        book.took(1, 1, AlertState::Resolved);
        assert_eq!((book.held.len(), book.bytes), (0, 0));
    }

    #[test]
    fn what_finds_no_room_is_counted_and_its_end_is_nobodys() {
        let mut book = Book::default();
        book.set_lanes([1].into());
        for one in 0..ALERTS_MAX {
            assert!(book.hear(&event(&format!("rule{one}"), AlertState::Firing), 0));
        }
        let more = event("more", AlertState::Firing);
        assert!(!book.hear(&more, 0));
        assert!(!book.hear(&over(&more), 0));
        assert_eq!(book.left_out, 1);
        assert_eq!(book.due(0, 10).0.len(), 10);
        let (due, next) = book.due(0, ALERTS_MAX);
        assert_eq!((due.len(), next), (ALERTS_MAX - 10, Some(AGAIN_MS)));
    }
}
