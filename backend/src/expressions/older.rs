//! Series whose beginning the archive has, and whose end the engine.

use std::cell::RefCell;

use crate::archive::Archive;

/// Where samples are that the engine has not.
#[derive(Debug)]
pub(super) struct Older<'a> {
    pub(super) archive: &'a Archive,
    /// The engine has all from here on.
    pub(super) before_ms: i64,
    /// Bytes that were held when the evaluation began.
    pub(super) held: usize,
    /// Why the archive's part is not there.
    pub(super) missing: RefCell<Option<String>>,
}

/// Two series' samples as one's, in the order of time; of two of one time the newer's stays.
pub(super) fn joined(older: &[(i64, f64)], newer: &[(i64, f64)]) -> Vec<(i64, f64)> {
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
