//! Retention by age and by size, and series that expire.

use std::time::Duration;

use pulseboard_history::{Definition, HistoryOptions, Retention, SeriesId, Tier};

use crate::support::{HOUR, START, buckets, definition, maintain, open, open_with, raw, seal};

fn minutes(hours: i64) -> Vec<(i64, f64)> {
    let mut random = fastrand::Rng::with_seed(3);
    (0..hours * 60)
        .map(|minute| (START + minute * 60_000, random.f64()))
        .collect()
}

#[test]
fn ages_are_kept_per_tier_and_nothing_goes_before_it_is_rolled_up() {
    let dir = tempfile::tempdir().unwrap();
    let (history, ..) = open(dir.path());
    seal(&history, &[(1, minutes(72))]);
    // Long after all retention but the coarsest's; nothing is final yet, so nothing may go.
    let now_ms = START + 200 * 24 * HOUR;
    let progress = history.maintain(now_ms, START, Duration::MAX).unwrap();
    assert_eq!(
        (progress.removed, raw(&history, 1, 0, i64::MAX).len()),
        (0, 72 * 60)
    );

    maintain(&history, now_ms);
    assert_eq!(raw(&history, 1, 0, i64::MAX), []);
    for tier in [Tier::TenSeconds, Tier::Minute, Tier::FiveMinutes] {
        assert_eq!(buckets(&history, tier, 1), [], "{tier:?}");
    }
    let hours = buckets(&history, Tier::Hour, 1);
    assert_eq!(
        hours.iter().map(|bucket| bucket.count).sum::<u64>(),
        72 * 60
    );
    let stats = history.stats();
    assert_eq!(
        (
            stats.levels[0].values,
            stats.levels[0].bytes,
            stats.levels[0].samples
        ),
        (0, 0, 0)
    );
    assert_eq!(stats.levels[4].samples, 72);

    // What comes for a deleted hour is refused and counted: its rollup is final.
    let report = seal(&history, &[(1, vec![(START, 5.0), (now_ms, 6.0)])]);
    assert_eq!((report.samples, report.too_old), (1, 1));
    maintain(&history, now_ms + HOUR);
    assert_eq!(buckets(&history, Tier::Hour, 1), hours);
}

#[test]
fn beyond_the_total_size_the_oldest_of_the_finest_goes_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = HistoryOptions::default();
    let day = Duration::from_secs(86_400);
    options.retention = Retention {
        raw: 999 * day,
        tiers: [999 * day; 4],
        bytes_max: Some(60_000),
    };
    let (history, ..) = open_with(dir.path(), options);
    seal(&history, &[(1, minutes(72))]);
    let now_ms = START + 73 * HOUR;
    maintain(&history, now_ms);
    assert!(history.stats().blocks_bytes <= 60_000);
    let left = raw(&history, 1, 0, i64::MAX);
    assert!(
        left.is_empty() || left.last() == minutes(72).last(),
        "the newest stay longest"
    );
    assert!(!buckets(&history, Tier::FiveMinutes, 1).is_empty());
    // Reopened, the bookkeeping is the same.
    let before = history.stats();
    drop(history);
    let (history, ..) = open(dir.path());
    assert_eq!(history.stats().levels, before.levels);
}

#[test]
fn a_series_without_data_is_reported_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (history, ..) = open(dir.path());
    for id in [1, 2] {
        drop(history.append_definition(&definition(id)).unwrap());
    }
    seal(&history, &[(1, minutes(2)), (2, minutes(2))]);
    assert_eq!(maintain(&history, START + 4 * HOUR).expired, []);
    let now_ms = START + 900 * 24 * HOUR;
    seal(&history, &[(2, vec![(now_ms, 1.0)])]);
    assert_eq!(maintain(&history, now_ms + HOUR).expired, [SeriesId(1)]);
    history.forget(&[SeriesId(1)]).unwrap();
    let last = history.rotate_wal().unwrap();
    history.release_wal(last - 1).unwrap();
    drop(history);
    let (history, sink, _) = open(dir.path());
    assert_eq!(sink.definitions, [definition(2)]);
    assert_eq!(history.stats().series, 1);
}

#[test]
fn a_tenant_with_much_shortens_its_own_history_and_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let day = Duration::from_secs(86_400);
    let options = |bytes_max| HistoryOptions {
        retention: Retention {
            raw: 999 * day,
            tiers: [999 * day; 4],
            bytes_max,
        },
        ..HistoryOptions::default()
    };
    let (history, ..) = open_with(dir.path(), options(None));
    let ids: Vec<u32> = (1..=11).collect();
    for &id in &ids {
        let tenant = if id == 6 { "quiet" } else { "noisy" };
        let definition = Definition {
            tenant: tenant.into(),
            ..definition(id)
        };
        drop(history.append_definition(&definition).unwrap());
    }
    let parts: Vec<_> = ids.iter().map(|&id| (id, minutes(72))).collect();
    seal(&history, &parts);
    let now_ms = START + 73 * HOUR;
    let maintain = |history: &pulseboard_history::History| {
        let kept = history.maintain(now_ms, now_ms - HOUR / 4, Duration::MAX);
        assert!(!kept.unwrap().more);
    };
    maintain(&history);
    let bytes = history.stats().blocks_bytes;
    let quiet = history.bytes_by_tenant()["quiet"];
    drop(history);

    // Less than what the one with much has, and more than twice what the other has.
    let (history, ..) = open_with(dir.path(), options(Some(bytes / 2)));
    assert!(quiet * 4 < bytes / 2);
    maintain(&history);
    let by_tenant = history.bytes_by_tenant();
    assert_eq!(by_tenant["quiet"], quiet, "nothing is taken of it");
    let stats = history.stats();
    assert!(stats.blocks_bytes <= bytes / 2);
    assert!(
        stats.blocks_bytes > bytes / 2 - bytes / 20,
        "and not more than is needed"
    );
    assert_eq!(by_tenant.values().sum::<u64>(), stats.blocks_bytes);
    assert_eq!(raw(&history, 6, 0, i64::MAX), minutes(72));
    let left = raw(&history, 1, 0, i64::MAX);
    assert!(
        left.len() < 72 * 60 && minutes(72).ends_with(&left),
        "the oldest first"
    );

    // Each is told what there is of its own.
    let snapshot = history.snapshot().unwrap();
    assert_eq!(snapshot.raw_since("quiet"), Some(START));
    assert!(
        snapshot
            .raw_since("noisy")
            .is_none_or(|since| { since > START && left.iter().all(|&(at_ms, _)| at_ms >= since) })
    );
    drop(snapshot);

    // What comes for an hour that was given up is refused, to whom it was; after a restart, too.
    drop(history);
    let (history, ..) = open_with(dir.path(), options(Some(bytes / 2)));
    assert_eq!(history.bytes_by_tenant(), by_tenant);
    let late = |id| seal(&history, &[(id, vec![(START + 1, 5.0)])]);
    assert_eq!((late(1).too_old, late(6).too_old), (1, 0));
}
