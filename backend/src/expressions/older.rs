//! Series whose beginning the archive has, and whose end the engine.

use std::{cell::RefCell, sync::Arc};

use pulseboard_engine::{
    Selector,
    query::{self, Counting},
};
use pulseboard_promql::{
    EvalError, Samples,
    ast::Matcher,
    storage::{Each, Hints},
};

use super::{ReadError, TenantSeries, counting, put, selector, spent};
use crate::archive::{Archive, Found, Without};

/// Where samples are that the engine has not.
#[derive(Debug)]
pub(super) struct Older<'a> {
    archive: &'a Archive,
    /// The engine has all from here on.
    pub(super) before_ms: i64,
    /// Bytes that were held when the evaluation began.
    held: usize,
    /// Why the archive's part is not there.
    missing: RefCell<Option<String>>,
}

impl<'a> TenantSeries<'a> {
    /// With what the archive has of the time before the engine's samples, where it can be read.
    #[must_use]
    pub fn with_archive(mut self, archive: Option<&'a Arc<Archive>>) -> Self {
        self.older = archive
            .filter(|archive| archive.is_read())
            .map(|archive| Older {
                archive,
                before_ms: archive.floor_ms(self.engine, self.tenant),
                held: self.cost.held_bytes(),
                missing: RefCell::default(),
            });
        self
    }

    /// Whether an evaluation failed for the archive: the next one does without, and says so.
    pub fn does_without_archive(&mut self) -> bool {
        let why = self.older.as_ref().and_then(|older| older.missing.take());
        let Some((why, older)) = why.zip(self.older.take()) else {
            return false;
        };
        // What was read is read again, and what was made is nobody's.
        self.cost.forget_samples();
        let held = self.cost.held_bytes();
        self.cost.let_go(held.saturating_sub(older.held));
        self.texts.take();
        let before = pulseboard_shared::Timestamp::from_millis(older.before_ms);
        self.warnings.borrow_mut().push(format!(
            "partial: {why}; before {before} there is only what the own history has"
        ));
        true
    }

    /// What is to be said of the answer besides what the evaluation says.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.borrow().clone()
    }

    /// As [`Storage::select_named`](pulseboard_promql::Storage::select_named), of a stretch whose beginning the engine has not.
    pub(super) fn select_both(
        &self,
        older: &Older<'_>,
        matchers: &[Matcher],
        hints: &Hints,
        each: &mut Each<'_>,
    ) -> Result<(), EvalError> {
        let selector = selector(matchers).map_err(EvalError::Execution)?;
        let from_ms = hints.after_ms.saturating_add(1).max(0);
        let to_ms = hints.until_ms.saturating_add(1);
        let counting = counting(hints);
        let asked = older.archive.samples(
            &self.tenant.name,
            matchers,
            (from_ms, to_ms.min(older.before_ms)),
            self.cost,
            counting == Counting::Read,
        );
        let (mut found, bytes) = asked.map_err(|without| match without {
            Without::Spent(why) => spent(why),
            Without::Missing(why) => {
                let error = EvalError::Storage(why.clone());
                older.missing.replace(Some(why));
                error
            }
        })?;
        let read = self.read_both(&selector, (from_ms, to_ms), hints, &mut found, each);
        let handed = read.and_then(|()| {
            let mut part = Samples::default();
            for (labels, samples) in std::mem::take(&mut found) {
                part.clear();
                put(&mut part, &samples);
                each(&labels, &part)?;
            }
            Ok(())
        });
        self.cost.let_go(bytes);
        handed
    }

    /// Hands on what the engine has, each series with what was found of it elsewhere.
    fn read_both(
        &self,
        selector: &Selector,
        stretch: (i64, i64),
        hints: &Hints,
        found: &mut Found,
        each: &mut Each<'_>,
    ) -> Result<(), EvalError> {
        let mut part = Samples::default();
        query::raw(
            self.engine,
            self.tenant,
            selector,
            stretch,
            (self.cost, counting(hints)),
            &mut |key, samples| {
                let labels = self.labels(key, |_| true).map_err(ReadError)?;
                part.clear();
                match found.remove(&labels) {
                    // Nothing is there twice: what came late is in both.
                    Some(older) => put(&mut part, &joined(&older, samples)),
                    None => put(&mut part, samples),
                }
                each(&labels, &part).map_err(ReadError)
            },
        )
        .map_err(|ReadError(error)| error)
    }
}

/// Two series' samples as one's, in the order of time; of two of one time the newer's stays.
fn joined(older: &[(i64, f64)], newer: &[(i64, f64)]) -> Vec<(i64, f64)> {
    let mut all = Vec::with_capacity(older.len() + newer.len());
    let mut newer = newer.iter().peekable();
    for sample in older {
        while let Some(next) = newer.next_if(|next| next.0 < sample.0) {
            all.push(*next);
        }
        if newer.peek().is_none_or(|next| next.0 != sample.0) {
            all.push(*sample);
        }
    }
    all.extend(newer);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_parts_of_a_series_are_one_without_a_seam() {
        let older = [(1, 1.0), (2, 1.0), (4, 1.0), (5, 1.0)];
        let newer = [(0, 2.0), (2, 2.0), (3, 2.0), (5, 2.0), (6, 2.0)];
        let all = [
            (0, 2.0),
            (1, 1.0),
            (2, 2.0),
            (3, 2.0),
            (4, 1.0),
            (5, 2.0),
            (6, 2.0),
        ];
        assert_eq!(joined(&older, &newer), all);
        assert_eq!(joined(&older, &[]), older);
        assert_eq!(joined(&[], &newer), newer);
    }
}
