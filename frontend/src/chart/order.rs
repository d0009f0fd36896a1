//! Sorting, once for all of the page: the standard library's is made anew for each type that is
//! sorted, at two kilobytes of the first load each.

/// Sorts by the first figure of each, in the total order of floats; what is equal stays in its
/// order. Quick where long stretches are in order already, as they are where lines lie one behind
/// the other.
pub fn by_first(pairs: &mut Vec<(f64, f64)>) {
    let count = pairs.len();
    let mut width = 1;
    let mut merged = pairs.clone();
    while width < count {
        for start in (0..count).step_by(2 * width) {
            let middle = (start + width).min(count);
            let end = (start + 2 * width).min(count);
            let is_before = |one: usize, other: usize| {
                let (one, other): (f64, f64) = (pairs[one].0, pairs[other].0);
                one.total_cmp(&other).is_le()
            };
            if middle == end || is_before(middle - 1, middle) {
                merged[start..end].copy_from_slice(&pairs[start..end]);
                continue;
            }
            let (mut left, mut right) = (start, middle);
            for slot in &mut merged[start..end] {
                let next = if right == end || (left < middle && is_before(left, right)) {
                    &mut left
                } else {
                    &mut right
                };
                *slot = pairs[*next];
                *next += 1;
            }
        }
        std::mem::swap(pairs, &mut merged);
        width *= 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sorts_as_the_standard_library_does(
            firsts in proptest::collection::vec(
                prop_oneof![(-3_i8..3).prop_map(f64::from), any::<f64>()],
                0..300,
            ),
        ) {
            let mut places = 0.0;
            let mut pairs: Vec<(f64, f64)> = Vec::new();
            for first in firsts {
                pairs.push((first, places));
                places += 1.0;
            }
            let mut expected = pairs.clone();
            expected.sort_by(|one, other| one.0.total_cmp(&other.0));
            by_first(&mut pairs);
            let bits = |pairs: &[(f64, f64)]| -> Vec<(u64, u64)> {
                pairs.iter().map(|pair| (pair.0.to_bits(), pair.1.to_bits())).collect()
            };
            prop_assert_eq!(bits(&pairs), bits(&expected));
        }
    }
}
