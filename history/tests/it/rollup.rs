//! Rollups against a naive model, in one go and after late samples.

use proptest::prelude::*;
use pulseboard_history::Tier;

use crate::support::{
    HOUR, Model, START, buckets, maintain, model_buckets, open, same_buckets, seal,
};

/// A blocks' file as it was before resets were kept, packed: seven hours by the second of a counter
/// (series 1) that begins again at zero every 37 samples, the same in thirds (2), and a gauge by
/// the quarter of an hour (3), all rolled up.
const OLD_BLOCKS: &[u8] = include_bytes!("blocks-without-resets.redb.gz");

/// Samples of 12 days, so that the coarsest tier has one block.
fn days(seed: u64) -> Vec<(i64, f64)> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut at_ms = START;
    let mut samples = Vec::new();
    while at_ms < START + 12 * 24 * HOUR {
        at_ms += random.i64(1..240_000);
        if random.u8(..) == 0 {
            at_ms += random.i64(0..10 * HOUR);
        }
        let value = match random.u8(..) {
            0 => f64::NAN,
            1 => f64::from_bits(0x7ff0_0000_0000_0002),
            2..40 => random.f64() * 1e6,
            _ => f64::from(random.i32(-1000..1000)) / 10.0,
        };
        samples.push((at_ms, value));
    }
    samples
}

#[test]
fn every_tier_equals_the_naive_one() {
    let dir = tempfile::tempdir().unwrap();
    let (history, ..) = open(dir.path());
    let samples = days(1);
    seal(
        &history,
        &[(1, samples.clone()), (2, vec![(START + 5, 1.5)])],
    );
    let now_ms = START + 12 * 24 * HOUR + HOUR;
    // Without retention's part: 48 h of raw samples would be all that stays.
    for end_day in 1..=12 {
        history
            .maintain(START, START + end_day * 24 * HOUR, std::time::Duration::MAX)
            .unwrap();
    }
    let model: Model = samples.iter().copied().collect();
    let snapshot = history.snapshot().unwrap();
    for (tier, days) in Tier::ALL.into_iter().zip([12, 12, 12, 10]) {
        let end_ms = START + days * 24 * HOUR;
        assert_eq!(snapshot.rolled_through(tier), end_ms, "{tier:?}");
        assert_eq!(snapshot.covered(tier, "acme"), START..end_ms, "{tier:?}");
        let expected = model_buckets(&model, tier, end_ms);
        let found = buckets(&history, tier, 1);
        assert!(
            same_buckets(&found, &expected),
            "{tier:?}: {} {}",
            found.len(),
            expected.len()
        );
        assert_eq!(buckets(&history, tier, 2).len(), 1);
    }
    maintain(&history, now_ms);
    let expected = model_buckets(&model, Tier::Hour, START + 10 * 24 * HOUR);
    assert!(
        same_buckets(&buckets(&history, Tier::Hour, 1), &expected),
        "retention keeps it"
    );
}

#[test]
fn a_series_of_staleness_markers_has_no_buckets() {
    let dir = tempfile::tempdir().unwrap();
    let (history, ..) = open(dir.path());
    seal(
        &history,
        &[(1, vec![(START, f64::NAN), (START + 1, f64::NAN)])],
    );
    maintain(&history, START + 8 * HOUR);
    assert_eq!(buckets(&history, Tier::TenSeconds, 1), []);
    assert_eq!(
        history.snapshot().unwrap().rolled_through(Tier::TenSeconds),
        START + 7 * HOUR
    );
}

/// What was counted between two moments, wherever the counter began again at zero, is what buckets
/// of any length say.
#[test]
fn a_counter_grows_by_the_same_in_every_tier() {
    let dir = tempfile::tempdir().unwrap();
    let (history, ..) = open(dir.path());
    let mut random = fastrand::Rng::with_seed(7);
    let (mut value, mut grown) = (0.0, 0.0);
    let mut samples = vec![(START, value)];
    for second in 1..24 * HOUR / 1000 {
        let by = f64::from(random.u16(..));
        let next = if random.u8(..) < 40 { by } else { value + by };
        // One that begins again above what it showed looks as if it had gone on.
        grown += if next < value { next } else { next - value };
        value = next;
        samples.push((START + second * 1000, value));
    }
    seal(&history, &[(1, samples)]);
    maintain(&history, START + 25 * HOUR);
    for tier in [Tier::TenSeconds, Tier::Minute, Tier::FiveMinutes] {
        let found = buckets(&history, tier, 1);
        let within: f64 = found.iter().map(|bucket| bucket.increase()).sum();
        let between: f64 = found
            .windows(2)
            .map(|pair| match pair[1].first < pair[0].last {
                true => pair[1].first,
                false => pair[1].first - pair[0].last,
            })
            .sum();
        assert_eq!(within + between, grown, "{tier:?}");
    }
}

/// What an earlier version wrote is read, with resets as far as they follow from the rest, and made
/// anew from the samples, once.
#[test]
fn old_blocks_are_read_and_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = std::fs::File::create(dir.path().join("blocks.redb")).unwrap();
    std::io::copy(&mut flate2::read::GzDecoder::new(OLD_BLOCKS), &mut file).unwrap();
    drop(file);
    let (history, sink, _) = open(dir.path());
    assert_eq!(sink.definitions.len(), 3);
    let counter: Model = (0..7 * HOUR / 1000)
        .map(|second| (START + second * 1000, (second % 37) as f64))
        .collect();
    let thirds: Model = counter
        .iter()
        .map(|(at, value)| (*at, value / 3.0))
        .collect();
    let gauge: Model = (0..28)
        .map(|quarter| (START + quarter * HOUR / 4, (quarter % 3) as f64))
        .collect();
    let series = [(1, &counter), (2, &thirds), (3, &gauge)];
    for (id, model) in series {
        // No more than once in ten seconds.
        let expected = model_buckets(model, Tier::TenSeconds, START + 7 * HOUR);
        assert!(same_buckets(
            &buckets(&history, Tier::TenSeconds, id),
            &expected
        ));
        let expected = model_buckets(model, Tier::Minute, START + 6 * HOUR);
        let found = buckets(&history, Tier::Minute, id);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert!(found.resets <= expected.resets);
            assert_eq!(found.resets, expected.least_resets());
        }
    }
    maintain(&history, START + 8 * HOUR);
    let all_are_right = |history: &_| {
        for (id, model) in series {
            for (tier, hours) in [(Tier::TenSeconds, 7), (Tier::Minute, 6)] {
                let expected = model_buckets(model, tier, START + hours * HOUR);
                assert!(
                    same_buckets(&buckets(history, tier, id), &expected),
                    "{tier:?} {id}"
                );
            }
        }
    };
    all_are_right(&history);
    history.close();
    drop(history);
    let (history, ..) = open(dir.path());
    let again = maintain(&history, START + 8 * HOUR);
    assert_eq!(again.rolled, 0, "that was all");
    all_are_right(&history);
}

#[test]
fn a_decimal_series_has_decimal_sums() {
    let dir = tempfile::tempdir().unwrap();
    let (history, ..) = open(dir.path());
    let samples: Vec<_> = (0..36_000).map(|tick| (START + tick * 100, 0.1)).collect();
    seal(&history, &[(1, samples)]);
    maintain(&history, START + 2 * HOUR);
    let found = buckets(&history, Tier::TenSeconds, 1);
    assert!(
        found
            .iter()
            .all(|bucket| bucket.count == 100 && bucket.sum == 10.0)
    );
    // Seven constant columns.
    assert!(
        history.stats().levels[1].bytes < 120,
        "{:?}",
        history.stats().levels[1]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Samples that come after their hours, six-hour blocks and days were rolled up are in all
    /// of them afterwards.
    #[test]
    fn late_samples_are_rolled_up_again(
        seed in any::<u64>(),
        late in prop::collection::vec((0..26 * HOUR, -1000..1000_i64), 1..30),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (history, ..) = open(dir.path());
        let mut samples = days(seed);
        samples.retain(|sample| sample.0 < START + 26 * HOUR);
        let mut model: Model = samples.iter().copied().collect();
        seal(&history, &[(1, samples)]);
        let now_ms = START + 27 * HOUR;
        maintain(&history, now_ms);
        for (index, &(offset, value)) in late.iter().enumerate() {
            let sample = (START + offset, value as f64 / 10.0);
            model.insert(sample.0, sample.1);
            seal(&history, &[(1, vec![sample])]);
            if index % 3 == 0 {
                maintain(&history, now_ms);
            }
        }
        maintain(&history, now_ms);
        for (tier, hours) in [(Tier::TenSeconds, 26), (Tier::Minute, 24), (Tier::FiveMinutes, 24)] {
            let expected = model_buckets(&model, tier, START + hours * HOUR);
            prop_assert!(same_buckets(&buckets(&history, tier, 1), &expected), "{:?}", tier);
        }
    }
}
