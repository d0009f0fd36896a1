//! Classic histograms: cumulative buckets, told apart by `le`.

use foldhash::HashMap;

use super::Column;
use crate::labels::Labels;

/// How many observations are at most `upper`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    pub(super) upper: f64,
    pub(super) count: f64,
}

/// Differences of counts that are smaller, relatively, are errors of floating point.
const TOLERANCE: f64 = 1e-12;

/// Histograms by the labels that their buckets share, in the order in which they come; series whose
/// `le` is no number are left out and told.
pub(super) fn grouped(
    columns: Vec<Column>,
    tell: impl Fn(&Labels),
) -> Vec<(Labels, Vec<(f64, Column)>)> {
    let mut places: HashMap<Labels, usize> = HashMap::default();
    let mut all: Vec<(Labels, Vec<(f64, Column)>)> = Vec::new();
    for column in columns {
        let Some(upper) = parse_float(column.labels.get("le")) else {
            tell(&column.labels);
            continue;
        };
        let labels = column
            .labels
            .filtered(|name| name != "le" && name != crate::labels::NAME);
        let place = *places.entry(labels.clone()).or_insert_with(|| {
            all.push((labels, Vec::new()));
            all.len() - 1
        });
        if let Some((_, members)) = all.get_mut(place) {
            members.push((upper, column));
        }
    }
    all
}

/// A number as Go reads one.
fn parse_float(text: &str) -> Option<f64> {
    match text {
        "" => None,
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        text => text.parse().ok(),
    }
}

/// Sorted, those of one bound added up, counts that fall made good. Whether there is a last one
/// that takes all.
fn prepare(buckets: &mut Vec<Bucket>) -> bool {
    buckets.sort_by(|one, other| one.upper.total_cmp(&other.upper));
    if buckets
        .last()
        .is_none_or(|last| last.upper != f64::INFINITY)
    {
        return false;
    }
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
    true
}

/// Whether some count was less than the one before it by more than floating point loses.
fn make_monotonic(buckets: &mut [Bucket]) -> bool {
    let Some(mut before) = buckets.first().map(|bucket| bucket.count) else {
        return false;
    };
    let mut fell = false;
    for bucket in buckets.iter_mut().skip(1) {
        let count = bucket.count;
        let difference = (before - count).abs();
        let size = (before.abs() + count.abs()).min(f64::MAX);
        let is_same = count == before
            || (before != 0.0
                && count != 0.0
                && size >= f64::MIN_POSITIVE
                && difference / size < TOLERANCE);
        if is_same || count < before {
            fell |= !is_same;
            bucket.count = before;
        } else {
            before = count;
        }
    }
    fell
}

/// Below which value a share `q` of the observations is, by linear interpolation within a bucket;
/// and whether counts fell.
pub(super) fn quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, bool) {
    if q.is_nan() {
        return (f64::NAN, false);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, false);
    }
    if q > 1.0 {
        return (f64::INFINITY, false);
    }
    if !prepare(buckets) || buckets.len() < 2 {
        return (f64::NAN, false);
    }
    let fell = make_monotonic(buckets);
    (quantile_of(q, buckets), fell)
}

/// The same of buckets that are in order.
fn quantile_of(q: f64, buckets: &[Bucket]) -> f64 {
    let (Some(last), Some(before_last), true) = (
        buckets.last().copied(),
        buckets.len().checked_sub(2).and_then(|at| buckets.get(at)),
        buckets.len() >= 2,
    ) else {
        return f64::NAN;
    };
    if last.count == 0.0 || last.count.is_nan() {
        return f64::NAN;
    }
    let mut rank = q * last.count;
    let place = buckets
        .iter()
        .take(buckets.len() - 1)
        .position(|bucket| bucket.count >= rank);
    let Some(place) = place else {
        return before_last.upper;
    };
    let Some(found) = buckets.get(place).copied() else {
        return f64::NAN;
    };
    let Some(before) = place.checked_sub(1).and_then(|at| buckets.get(at)) else {
        return match found.upper <= 0.0 {
            true => found.upper,
            false => found.upper * (rank / found.count),
        };
    };
    rank -= before.count;
    before.upper + (found.upper - before.upper) * (rank / (found.count - before.count))
}

/// Which share of the observations is between two values.
pub(super) fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if !prepare(buckets) {
        return f64::NAN;
    }
    make_monotonic(buckets);
    let count = buckets.last().map_or(0.0, |last| last.count);
    if count == 0.0 || count.is_nan() || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let (mut lower_rank, mut upper_rank) = (None, None);
    let mut rank = 0.0;
    let mut from = f64::NEG_INFINITY;
    for (index, bucket) in buckets.iter().enumerate() {
        if index == 0 && bucket.upper > 0.0 {
            from = 0.0;
        }
        let within = |value: f64| match from.is_infinite() {
            true => bucket.count,
            false => rank + (bucket.count - rank) * (value - from) / (bucket.upper - from),
        };
        for (value, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_none() && (from == value || (index == 0 && value < from)) {
                *found = Some(rank);
            }
            if found.is_none() && from < value && bucket.upper > value {
                *found = Some(within(value));
            }
        }
        rank = bucket.count;
        from = bucket.upper;
    }
    let lower_rank = lower_rank.unwrap_or(count).min(count);
    let upper_rank = upper_rank.unwrap_or(count).min(count);
    (upper_rank - lower_rank) / count
}
