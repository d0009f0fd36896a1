//! Silences, as Alertmanager has them: pending, active, expired, and forgotten a while after that.

use std::collections::BTreeMap;

use pulseboard_shared::Labels;
use serde::{Deserialize, Serialize};

use crate::matcher::{Matcher, Matchers};

/// An expired one is still listed for so long.
const RETENTION_MS: i64 = 120 * 3_600_000;

/// There are at most so many, expired ones included.
const SILENCES_MAX: usize = 10_000;

/// A comment, and who wrote it, are at most so long.
pub(crate) const TEXT_BYTES_MAX: usize = 8 * 1024;

/// What matches, from when to when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    pub id: String,
    pub matchers: Matchers,
    pub starts_at_ms: i64,
    pub ends_at_ms: i64,
    pub updated_at_ms: i64,
    pub created_by: String,
    pub comment: String,
}

/// Where a silence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SilenceState {
    Active,
    Pending,
    Expired,
}

impl Silence {
    /// Where it stands at a time.
    #[must_use]
    pub fn state(&self, now_ms: i64) -> SilenceState {
        if now_ms < self.starts_at_ms {
            SilenceState::Pending
        } else if now_ms < self.ends_at_ms {
            SilenceState::Active
        } else {
            SilenceState::Expired
        }
    }
}

/// What was asked for cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// A 404.
    #[error("silence not found")]
    NotFound,
    /// A 400, in words.
    #[error("{0}")]
    Invalid(String),
}

/// All silences of one tenant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Silences {
    all: BTreeMap<String, Silence>,
    /// Grows with each change.
    version: u64,
}

impl Silences {
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Silence> {
        self.all.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Silence> {
        self.all.values()
    }

    /// Those that could silence these labels now or later.
    pub(crate) fn matching(&self, now_ms: i64, labels: &Labels) -> Vec<String> {
        let alive = self.all.values();
        alive
            .filter(|silence| silence.state(now_ms) != SilenceState::Expired)
            .filter(|silence| silence.matchers.matches(labels))
            .map(|silence| silence.id.clone())
            .collect()
    }

    pub(crate) fn is_active(&self, now_ms: i64, id: &str) -> bool {
        let silence = self.all.get(id);
        silence.is_some_and(|silence| silence.state(now_ms) == SilenceState::Active)
    }

    /// Makes one, or changes the one of that identity: in its place where that takes nothing back,
    /// else the old one expires and a new one with `new_id` stands for it. Returns the identity.
    pub(crate) fn set(
        &mut self,
        now_ms: i64,
        mut silence: Silence,
        new_id: String,
    ) -> Result<String, SilenceError> {
        check(&silence)?;
        if silence.starts_at_ms >= silence.ends_at_ms {
            return Err(SilenceError::Invalid(
                "failed to create silence: start time must be before end time".to_owned(),
            ));
        }
        if silence.ends_at_ms < now_ms {
            return Err(SilenceError::Invalid(
                "failed to create silence: end time can't be in the past".to_owned(),
            ));
        }
        self.forget(now_ms);
        silence.updated_at_ms = now_ms;
        if !silence.id.is_empty() {
            let old = self.all.get(&silence.id);
            let old = old.ok_or(SilenceError::NotFound)?;
            if can_update(old, &silence, now_ms) {
                let id = silence.id.clone();
                self.put(silence);
                return Ok(id);
            }
        }
        if self.all.len() >= SILENCES_MAX {
            return Err(SilenceError::Invalid(format!(
                "there are {SILENCES_MAX} silences, which is all that are kept"
            )));
        }
        if let Some(old) = self.all.get(&silence.id)
            && old.state(now_ms) != SilenceState::Expired
        {
            let id = old.id.clone();
            self.expire(now_ms, &id)?;
        }
        silence.id = new_id;
        silence.starts_at_ms = silence.starts_at_ms.max(now_ms);
        let id = silence.id.clone();
        self.put(silence);
        Ok(id)
    }

    fn put(&mut self, silence: Silence) {
        self.version += 1;
        self.all.insert(silence.id.clone(), silence);
    }

    /// Ends one now; one that has ended stays as it is.
    pub(crate) fn expire(&mut self, now_ms: i64, id: &str) -> Result<(), SilenceError> {
        let silence = self.all.get_mut(id).ok_or(SilenceError::NotFound)?;
        match silence.state(now_ms) {
            SilenceState::Expired => return Ok(()),
            SilenceState::Active => {}
            SilenceState::Pending => silence.starts_at_ms = now_ms,
        }
        silence.ends_at_ms = now_ms;
        silence.updated_at_ms = now_ms;
        self.version += 1;
        Ok(())
    }

    /// Lets those go that expired long ago.
    pub(crate) fn forget(&mut self, now_ms: i64) {
        self.all
            .retain(|_, silence| silence.ends_at_ms.saturating_add(RETENTION_MS) > now_ms);
    }

    pub(crate) fn keep(&self) -> Vec<Silence> {
        self.all.values().cloned().collect()
    }

    pub(crate) fn restore(&mut self, kept: Vec<Silence>) {
        self.all = kept
            .into_iter()
            .take(SILENCES_MAX)
            .map(|silence| (silence.id.clone(), silence))
            .collect();
        self.version += 1;
    }
}

/// What no silence may be.
fn check(silence: &Silence) -> Result<(), SilenceError> {
    let invalid = |what: &str| Err(SilenceError::Invalid(what.to_owned()));
    let matchers = &silence.matchers.0;
    if matchers.is_empty() {
        return invalid("silence invalid: at least one matcher required");
    }
    check_matchers(&silence.matchers).map_err(SilenceError::Invalid)?;
    for (what, text) in [
        ("comment", &silence.comment),
        ("createdBy", &silence.created_by),
    ] {
        if text.len() > TEXT_BYTES_MAX {
            return Err(SilenceError::Invalid(format!(
                "silence invalid: {what} is longer than {TEXT_BYTES_MAX} bytes"
            )));
        }
    }
    Ok(())
}

/// Whether matchers would silence everything.
pub(crate) fn check_matchers(matchers: &Matchers) -> Result<(), String> {
    let count = matchers.0.len();
    if count > crate::matcher::MATCHERS_MAX {
        return Err(format!(
            "silence invalid: {count} matchers, at most {} are taken",
            crate::matcher::MATCHERS_MAX
        ));
    }
    // As Alertmanager counts it: what asks for another value is never such a one.
    let matches_empty =
        |matcher: &Matcher| matcher.operator().is_equal() && matcher.matches_value("");
    match matchers.0.iter().all(matches_empty) {
        true => {
            Err("silence invalid: at least one matcher must not match the empty string".to_owned())
        }
        false => Ok(()),
    }
}

/// Whether the new one can stand in the place of the old without taking back what has been.
fn can_update(old: &Silence, new: &Silence, now_ms: i64) -> bool {
    if old.matchers != new.matchers {
        return false;
    }
    match old.state(now_ms) {
        SilenceState::Active => {
            old.starts_at_ms.div_euclid(1000) == new.starts_at_ms.div_euclid(1000)
                && new.ends_at_ms >= now_ms
        }
        SilenceState::Pending => new.starts_at_ms >= now_ms,
        SilenceState::Expired => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{labels::of, matcher::parse};

    fn silence(matchers: &str, starts_at_ms: i64, ends_at_ms: i64) -> Silence {
        Silence {
            id: String::new(),
            matchers: Matchers(parse(matchers).expect(matchers)),
            starts_at_ms,
            ends_at_ms,
            updated_at_ms: 0,
            created_by: "me".to_owned(),
            comment: "because".to_owned(),
        }
    }

    fn set(all: &mut Silences, now_ms: i64, silence: Silence, id: &str) -> Result<String, String> {
        all.set(now_ms, silence, id.to_owned())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn it_is_pending_then_active_then_expired_then_gone() {
        let mut all = Silences::default();
        assert_eq!(
            set(&mut all, 1000, silence("a=b", 2000, 3000), "s"),
            Ok("s".to_owned())
        );
        let state = |all: &Silences, now: i64| all.get("s").map(|silence| silence.state(now));
        assert_eq!(state(&all, 1999), Some(SilenceState::Pending));
        assert_eq!(state(&all, 2000), Some(SilenceState::Active));
        assert_eq!(state(&all, 3000), Some(SilenceState::Expired));
        assert_eq!(all.matching(1000, &of(&[("a", "b")])), ["s"]);
        assert!(all.matching(3000, &of(&[("a", "b")])).is_empty());
        assert!(!all.is_active(1999, "s") && all.is_active(2000, "s"));
        all.forget(3000 + RETENTION_MS - 1);
        assert!(all.get("s").is_some());
        all.forget(3000 + RETENTION_MS);
        assert!(all.get("s").is_none());
    }

    #[test]
    fn what_began_before_begins_now() {
        let mut all = Silences::default();
        set(&mut all, 1000, silence("a=b", 0, 3000), "s").expect("taken");
        assert_eq!(all.get("s").map(|silence| silence.starts_at_ms), Some(1000));
    }

    #[test]
    fn a_change_is_made_in_place_unless_it_takes_something_back() {
        let base = || {
            let mut all = Silences::default();
            set(&mut all, 1000, silence("a=b", 1000, 100_000), "s").expect("taken");
            all
        };
        let change = |matchers: &str, start: i64, end: i64| Silence {
            id: "s".to_owned(),
            ..silence(matchers, start, end)
        };
        // a longer end, and a shorter one that has not been
        for end in [200_000, 6000] {
            let mut all = base();
            let changed = set(&mut all, 5000, change("a=b", 1000, end), "n");
            assert_eq!(changed, Ok("s".to_owned()));
            assert_eq!(
                all.get("s").map(|one| (one.ends_at_ms, one.updated_at_ms)),
                Some((end, 5000))
            );
        }
        // other matchers, another start: the old one expires
        for (matchers, start) in [("a=c", 1000), ("a=b", 3000)] {
            let mut all = base();
            let changed = set(&mut all, 5000, change(matchers, start, 200_000), "n");
            assert_eq!(changed, Ok("n".to_owned()));
            assert_eq!(all.get("s").map(|one| one.ends_at_ms), Some(5000));
            assert_eq!(all.get("n").map(|one| one.starts_at_ms), Some(5000));
        }
        // an expired one stays as it is
        let mut all = base();
        let changed = set(&mut all, 150_000, change("a=b", 1000, 200_000), "n");
        assert_eq!(changed, Ok("n".to_owned()));
        assert_eq!(all.get("s").map(|one| one.ends_at_ms), Some(100_000));
        // a pending one may be moved, not into the past
        let mut all = Silences::default();
        set(&mut all, 0, silence("a=b", 50_000, 100_000), "s").expect("taken");
        let changed = set(&mut all, 1000, change("a=b", 20_000, 90_000), "n");
        assert_eq!(changed, Ok("s".to_owned()));
        let changed = set(&mut all, 2000, change("a=b", 1000, 90_000), "n");
        assert_eq!(changed, Ok("n".to_owned()));
        assert_eq!(
            all.get("s").map(|one| (one.starts_at_ms, one.ends_at_ms)),
            Some((2000, 2000))
        );
        let nobody = Silence {
            id: "x".to_owned(),
            ..silence("a=b", 0, 90_000)
        };
        assert_eq!(
            set(&mut all, 0, nobody, "n"),
            Err("silence not found".to_owned())
        );
    }

    #[test]
    fn what_cannot_be_is_refused_in_alertmanagers_words() {
        let mut all = Silences::default();
        for (wrong, silence) in [
            (
                "silence invalid: at least one matcher required",
                silence("", 0, 9000),
            ),
            (
                "silence invalid: at least one matcher must not match the empty string",
                silence("a=~.*,d=", 0, 9000),
            ),
            (
                "failed to create silence: start time must be before end time",
                silence("a=b", 9000, 9000),
            ),
            (
                "failed to create silence: end time can't be in the past",
                silence("a=b", 0, 900),
            ),
            (
                "silence invalid: comment is longer than 8192 bytes",
                Silence {
                    comment: "x".repeat(TEXT_BYTES_MAX + 1),
                    ..silence("a=b", 0, 9000)
                },
            ),
        ] {
            assert_eq!(set(&mut all, 1000, silence, "n"), Err(wrong.to_owned()));
        }
        assert_eq!(all.iter().count(), 0);
    }

    #[test]
    fn it_is_ended_once() {
        let mut all = Silences::default();
        set(&mut all, 0, silence("a=b", 0, 9000), "s").expect("taken");
        assert_eq!(all.expire(1000, "s"), Ok(()));
        assert_eq!(
            all.expire(1000, "s").map_err(|error| error.to_string()),
            Ok(())
        );
        assert_eq!(all.expire(1000, "x"), Err(SilenceError::NotFound));
    }

    #[test]
    fn there_is_a_bound() {
        let mut all = Silences::default();
        for number in 0..SILENCES_MAX {
            set(&mut all, 0, silence("a=b", 0, 9000), &number.to_string()).expect("taken");
        }
        let told = set(&mut all, 0, silence("a=b", 0, 9000), "more").expect_err("full");
        assert!(told.contains("10000 silences"), "{told}");
    }
}
