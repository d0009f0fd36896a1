//! The alerts of one tenant: merged by fingerprint as Alertmanager does, forgotten a while after
//! they ended.

use std::{collections::HashMap, sync::Arc};

use pulseboard_shared::Labels;
use serde::{Deserialize, Serialize};

use crate::labels::{Fingerprint, quote};

/// One that ended is still known for so long, so that what is said of it again is no news.
const ENDED_KEPT_MS: i64 = 30 * 60_000;

/// Names, values and the address of one alert together.
const ALERT_BYTES_MAX: usize = 64 * 1024;

/// One alert has at most so many labels, and as many annotations.
const LABELS_MAX: usize = 128;

/// An alert as somebody gives it. A time that is not there, or is Go's zero, is filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostedAlert {
    pub labels: Labels,
    pub annotations: Labels,
    /// Unix ms; else now, or its end where that is given.
    pub starts_at_ms: Option<i64>,
    /// Unix ms; else it fires, and is over after `resolve_timeout` unless it is said again.
    pub ends_at_ms: Option<i64>,
    pub generator_url: String,
}

/// An alert as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alert {
    #[serde(rename = "f")]
    pub(crate) fingerprint: Fingerprint,
    #[serde(rename = "l")]
    pub(crate) labels: Labels,
    #[serde(rename = "a", default, skip_serializing_if = "Labels::is_empty")]
    pub(crate) annotations: Labels,
    #[serde(rename = "s")]
    pub(crate) starts_at_ms: i64,
    #[serde(rename = "e")]
    pub(crate) ends_at_ms: i64,
    #[serde(rename = "u")]
    pub(crate) updated_at_ms: i64,
    #[serde(rename = "g", default, skip_serializing_if = "String::is_empty")]
    pub(crate) generator_url: String,
    /// Its end was not said: it is when the last word of it is too old.
    #[serde(rename = "t", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_timeout: bool,
    /// A rule of this server gave it.
    #[serde(rename = "o", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_own: bool,
}

impl Alert {
    pub(crate) fn is_over(&self, now_ms: i64) -> bool {
        self.ends_at_ms <= now_ms
    }

    fn bytes(&self) -> usize {
        bytes_of(&self.labels) + bytes_of(&self.annotations) + self.generator_url.len()
    }

    /// What is known from both; the one that was said later counts.
    fn merge(old: &Self, new: Self, now_ms: i64) -> Self {
        if new.updated_at_ms < old.updated_at_ms {
            return Self::merge(&new, old.clone(), now_ms);
        }
        let mut merged = new;
        merged.starts_at_ms = merged.starts_at_ms.min(old.starts_at_ms);
        let is_later = old.ends_at_ms > merged.ends_at_ms;
        let old_rules = match merged.is_over(now_ms) {
            true => old.is_over(now_ms),
            false => !old.is_timeout,
        };
        if is_later && old_rules {
            merged.ends_at_ms = old.ends_at_ms;
        }
        merged
    }
}

fn bytes_of(labels: &Labels) -> usize {
    labels
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum()
}

/// Times filled in, empty labels left out, and what no alert may be refused.
pub(crate) fn accept(
    posted: PostedAlert,
    now_ms: i64,
    resolve_timeout_ms: i64,
) -> Result<Alert, String> {
    let PostedAlert {
        mut labels,
        annotations,
        starts_at_ms,
        ends_at_ms,
        generator_url,
    } = posted;
    labels.retain(|_, value| !value.is_empty());
    let starts_at_ms = starts_at_ms.or(ends_at_ms).unwrap_or(now_ms);
    let is_timeout = ends_at_ms.is_none();
    let ends_at_ms = ends_at_ms.unwrap_or(now_ms.saturating_add(resolve_timeout_ms));
    if ends_at_ms < starts_at_ms {
        return Err("start time must be before end time".to_owned());
    }
    if labels.is_empty() {
        return Err("at least one label pair required".to_owned());
    }
    for (what, set) in [("label set", &labels), ("annotations", &annotations)] {
        if set.contains_key("") {
            return Err(format!("invalid {what}: invalid name {}", quote("")));
        }
        if set.len() > LABELS_MAX {
            return Err(format!(
                "invalid {what}: {} names, at most {LABELS_MAX} are taken",
                set.len()
            ));
        }
    }
    let alert = Alert {
        fingerprint: Fingerprint::of(&labels),
        labels,
        annotations,
        starts_at_ms,
        ends_at_ms,
        updated_at_ms: now_ms,
        generator_url,
        is_timeout,
        is_own: false,
    };
    match alert.bytes() > ALERT_BYTES_MAX {
        true => Err(format!(
            "an alert of {} bytes, at most {ALERT_BYTES_MAX} are taken",
            alert.bytes()
        )),
        false => Ok(alert),
    }
}

/// Whether an alert may be posted, whatever is known of others.
///
/// # Errors
/// Why not.
pub fn check_posted(
    posted: &PostedAlert,
    now_ms: i64,
    resolve_timeout_ms: i64,
) -> Result<(), String> {
    accept(posted.clone(), now_ms, resolve_timeout_ms).map(drop)
}

/// What is known of one.
#[derive(Clone, Debug)]
struct Known {
    alert: Arc<Alert>,
    /// Silences that match, and when that was looked up.
    silences: (u64, Vec<String>),
}

/// How many alerts there may be, and how many bytes they may have: of those that are posted, and as
/// many again of this server's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertLimits {
    pub count: usize,
    pub bytes: usize,
}

impl Default for AlertLimits {
    fn default() -> Self {
        Self {
            count: 20_000,
            bytes: 64 << 20,
        }
    }
}

/// What alerts of one kind take of what they may have.
#[derive(Clone, Copy, Debug)]
struct Used {
    count: usize,
    bytes: usize,
    limits: AlertLimits,
}

impl Used {
    fn of(limits: AlertLimits) -> Self {
        Self {
            count: 0,
            bytes: 0,
            limits,
        }
    }

    /// Whether there is room for one more in the place of what goes.
    fn takes(&self, bytes: usize, gone: Option<usize>) -> Result<(), String> {
        if gone.is_none() && self.count >= self.limits.count {
            return Err(format!(
                "there are {} alerts, which is all that are kept",
                self.limits.count
            ));
        }
        if self.bytes - gone.unwrap_or(0) + bytes > self.limits.bytes {
            return Err(format!(
                "alerts take {} bytes, which is all that are kept",
                self.limits.bytes
            ));
        }
        Ok(())
    }

    fn add(&mut self, bytes: usize) {
        self.count += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: usize) {
        self.count -= 1;
        self.bytes -= bytes;
    }
}

/// Alerts of this server's rules and those that were posted: what one kind takes is not taken from
/// the other.
#[derive(Clone, Debug)]
pub(crate) struct Alerts {
    all: HashMap<Fingerprint, Known>,
    posted: Used,
    own: Used,
}

impl Alerts {
    /// So many, and so many bytes, of each kind.
    pub(crate) fn new(limits: AlertLimits) -> Self {
        Self {
            all: HashMap::new(),
            posted: Used::of(limits),
            own: Used::of(limits),
        }
    }

    fn used(&mut self, is_own: bool) -> &mut Used {
        match is_own {
            true => &mut self.own,
            false => &mut self.posted,
        }
    }

    pub(crate) fn get(&self, fingerprint: Fingerprint) -> Option<&Arc<Alert>> {
        self.all.get(&fingerprint).map(|known| &known.alert)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Alert>> {
        self.all.values().map(|known| &known.alert)
    }

    pub(crate) fn is_over(&self, fingerprint: Fingerprint, now_ms: i64) -> bool {
        self.get(fingerprint)
            .is_none_or(|alert| alert.is_over(now_ms))
    }

    /// Takes one, merged with what is known; what it is now.
    ///
    /// # Errors
    /// There is no room, in words.
    pub(crate) fn put(&mut self, alert: Alert, now_ms: i64) -> Result<Arc<Alert>, String> {
        let fingerprint = alert.fingerprint;
        let mut alert = alert;
        // Whose it was, and how large.
        let mut old_part = None;
        if let Some(Known { alert: old, .. }) = self.all.get(&fingerprint) {
            old_part = Some((old.is_own, old.bytes()));
            // What a rule says is the rule's, whoever else says it.
            let is_own = alert.is_own || (old.is_own && !old.is_over(now_ms));
            let within = |time: i64| old.starts_at_ms < time && time < old.ends_at_ms;
            if within(alert.ends_at_ms) || within(alert.starts_at_ms) {
                alert = Alert::merge(old, alert, now_ms);
            }
            alert.is_own = is_own;
        }
        let (is_own, bytes) = (alert.is_own, alert.bytes());
        let gone = old_part.filter(|(was_own, _)| *was_own == is_own);
        self.used(is_own)
            .takes(bytes, gone.map(|(_, bytes)| bytes))?;
        if let Some((was_own, old_bytes)) = old_part {
            self.used(was_own).remove(old_bytes);
        }
        self.used(is_own).add(bytes);
        let alert = Arc::new(alert);
        match self.all.get_mut(&fingerprint) {
            Some(known) => known.alert = Arc::clone(&alert),
            None => {
                let known = Known {
                    alert: Arc::clone(&alert),
                    silences: (0, Vec::new()),
                };
                self.all.insert(fingerprint, known);
            }
        }
        Ok(alert)
    }

    /// Silences that were looked up at this version.
    pub(crate) fn silences(&self, fingerprint: Fingerprint, version: u64) -> Option<&[String]> {
        let (at, ids) = &self.all.get(&fingerprint)?.silences;
        (*at == version).then_some(ids)
    }

    pub(crate) fn set_silences(
        &mut self,
        fingerprint: Fingerprint,
        version: u64,
        ids: Vec<String>,
    ) {
        if let Some(known) = self.all.get_mut(&fingerprint) {
            known.silences = (version, ids);
        }
    }

    /// Lets those go that ended a while ago and that nobody needs.
    pub(crate) fn forget(
        &mut self,
        now_ms: i64,
        is_needed: impl Fn(Fingerprint) -> bool,
    ) -> Vec<Arc<Alert>> {
        let mut gone = Vec::new();
        self.all.retain(|fingerprint, known| {
            let ended = known.alert.ends_at_ms;
            let stays = ended.saturating_add(ENDED_KEPT_MS) > now_ms || is_needed(*fingerprint);
            if !stays {
                gone.push(Arc::clone(&known.alert));
            }
            stays
        });
        for alert in &gone {
            self.used(alert.is_own).remove(alert.bytes());
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::of;

    const MINUTE: i64 = 60_000;

    fn posted(starts_at_ms: Option<i64>, ends_at_ms: Option<i64>) -> PostedAlert {
        PostedAlert {
            labels: of(&[("a", "b")]),
            starts_at_ms,
            ends_at_ms,
            ..PostedAlert::default()
        }
    }

    #[test]
    fn times_that_are_not_given_are_filled_in() {
        let times = |starts, ends| {
            let alert = accept(posted(starts, ends), 1000, 500).expect("an alert");
            (alert.starts_at_ms, alert.ends_at_ms, alert.is_timeout)
        };
        assert_eq!(times(None, None), (1000, 1500, true));
        assert_eq!(times(None, Some(700)), (700, 700, false));
        assert_eq!(times(Some(200), None), (200, 1500, true));
        assert_eq!(times(Some(200), Some(700)), (200, 700, false));
    }

    #[test]
    fn what_is_no_alert_is_refused() {
        for (wrong, posted) in [
            (
                "start time must be before end time",
                posted(Some(2), Some(1)),
            ),
            (
                "at least one label pair required",
                PostedAlert {
                    labels: of(&[("a", "")]),
                    ..PostedAlert::default()
                },
            ),
            (
                "invalid annotations: invalid name \"\"",
                PostedAlert {
                    annotations: of(&[("", "x")]),
                    ..posted(None, None)
                },
            ),
            (
                "at most 65536 are taken",
                PostedAlert {
                    generator_url: "x".repeat(ALERT_BYTES_MAX),
                    ..posted(None, None)
                },
            ),
            (
                "at most 128 are taken",
                PostedAlert {
                    labels: (0..=LABELS_MAX)
                        .map(|n| (n.to_string(), "x".to_owned()))
                        .collect(),
                    ..PostedAlert::default()
                },
            ),
        ] {
            let told = accept(posted, 0, 0).expect_err(wrong);
            assert!(told.contains(wrong), "{told}");
        }
    }

    #[test]
    fn what_overlaps_is_merged_and_what_does_not_is_another_incident() {
        let put = |steps: &[(i64, Option<i64>, Option<i64>)]| {
            let mut alerts = Alerts::new(AlertLimits::default());
            let mut last = None;
            for (now, starts, ends) in steps {
                let alert = accept(posted(*starts, *ends), *now, 5 * MINUTE).expect("an alert");
                last = alerts.put(alert, *now).ok();
            }
            last.map(|alert| (alert.starts_at_ms, alert.ends_at_ms))
        };
        // said again later, the first start stays
        assert_eq!(
            put(&[(0, Some(0), None), (MINUTE, Some(MINUTE), None)]),
            Some((0, 6 * MINUTE))
        );
        // an end that was said beats the timeout of a later word
        assert_eq!(
            put(&[
                (0, Some(0), Some(60 * MINUTE)),
                (MINUTE, Some(MINUTE), None)
            ]),
            Some((0, 60 * MINUTE))
        );
        // an explicit end ends it
        assert_eq!(
            put(&[(0, Some(0), None), (MINUTE, Some(0), Some(MINUTE))]),
            Some((0, MINUTE))
        );
        // after its end it begins anew
        assert_eq!(
            put(&[
                (0, Some(0), Some(MINUTE)),
                (2 * MINUTE, Some(2 * MINUTE), None)
            ]),
            Some((2 * MINUTE, 7 * MINUTE))
        );
    }

    #[test]
    fn they_are_bounded_in_number_and_bytes_and_forgotten_after_they_ended() {
        let limits = AlertLimits {
            count: 2,
            bytes: 100,
        };
        let mut alerts = Alerts::new(limits);
        let put = |alerts: &mut Alerts, value: &str| {
            let labels = of(&[("a", value)]);
            let posted = PostedAlert {
                labels,
                ends_at_ms: Some(10),
                ..PostedAlert::default()
            };
            alerts
                .put(accept(posted, 0, 0).expect("an alert"), 0)
                .map(|_| ())
        };
        put(&mut alerts, "1").expect("room");
        let told = put(&mut alerts, &"x".repeat(200)).expect_err("bytes");
        assert!(told.contains("100 bytes"), "{told}");
        put(&mut alerts, "2").expect("room");
        put(&mut alerts, "2").expect("the same");
        let told = put(&mut alerts, "3").expect_err("count");
        assert!(told.contains("2 alerts"), "{told}");
        assert!(alerts.forget(9 + ENDED_KEPT_MS, |_| false).is_empty());
        assert!(alerts.forget(10 + ENDED_KEPT_MS, |_| true).is_empty());
        assert_eq!(alerts.forget(10 + ENDED_KEPT_MS, |_| false).len(), 2);
        assert_eq!((alerts.posted.count, alerts.posted.bytes), (0, 0));
    }

    #[test]
    fn what_is_posted_takes_nothing_from_the_rules_and_what_both_say_is_the_rules() {
        let limits = AlertLimits {
            count: 1,
            bytes: 100,
        };
        let mut alerts = Alerts::new(limits);
        let put = |alerts: &mut Alerts, value: &str, is_own: bool, ends_at_ms: i64| {
            let posted = PostedAlert {
                labels: of(&[("a", value)]),
                starts_at_ms: Some(0),
                ends_at_ms: Some(ends_at_ms),
                ..PostedAlert::default()
            };
            let mut alert = accept(posted, 0, 0).expect("an alert");
            alert.is_own = is_own;
            alerts.put(alert, 0).map(|alert| alert.is_own)
        };
        assert_eq!(put(&mut alerts, "1", false, 10), Ok(false));
        assert!(put(&mut alerts, "2", false, 10).is_err());
        assert_eq!(put(&mut alerts, "2", true, 10), Ok(true));
        assert!(put(&mut alerts, "3", true, 10).is_err());
        assert_eq!(
            put(&mut alerts, "2", false, 20),
            Ok(true),
            "it is the rule's"
        );
        assert_eq!((alerts.posted.count, alerts.own.count), (1, 1));
        // one that was posted first becomes the rule's where that has room
        assert!(put(&mut alerts, "1", true, 10).is_err());
        assert_eq!(alerts.forget(30 + ENDED_KEPT_MS, |_| false).len(), 2);
        assert_eq!(put(&mut alerts, "1", false, 10), Ok(false));
        assert_eq!(put(&mut alerts, "1", true, 10), Ok(true));
        assert_eq!((alerts.posted.count, alerts.own.count), (0, 1));
        assert_eq!((alerts.posted.bytes, alerts.own.bytes), (0, 2));
    }
}
