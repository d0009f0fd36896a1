//! Samples in the order of time.

/// Sorts by time; of equal times the one that stood last is kept. O(n) where that is so already.
pub fn sort_last_wins(samples: &mut Vec<(i64, f64)>) {
    if samples.is_sorted_by(|one, next| one.0 < next.0) {
        return;
    }
    samples.sort_by_key(|&(at_ms, _)| at_ms);
    samples.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            kept.1 = later.1;
        }
        same
    });
}
