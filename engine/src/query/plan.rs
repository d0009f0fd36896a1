//! Which resolution each stretch of a range is read from.
//!
//! ```text
//! step 1 min      │1h│ 5m (all that is left) │ 1m ………………… │ 10s …… │ raw ……… now
//!                 finer tiers deleted by age    rolled up to here ┘        │
//!                                                            sealed to here ┘
//! ```
//!
//! The coarsest tier whose buckets fit into the step, as far as it is rolled up; finer ones and
//! raw samples behind that; where retention has taken all that fit, the finest that still exists.

use std::ops::Range;

use pulseboard_history::{Snapshot, Tier};
use pulseboard_shared::protocol::series::Stretch;

/// A stretch and its resolution; `None` is raw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
    pub(super) tier: Option<Tier>,
}

/// What there is of the past.
#[derive(Clone, Debug)]
pub(super) struct Past {
    /// By [`Tier::ALL`]: where the tier is complete.
    covered: [Range<i64>; 4],
    /// Since when there are raw samples.
    raw_since_ms: i64,
    /// Since when none have been given up.
    raw_floor_ms: i64,
    /// Where the history has raw samples.
    pub(super) raw: Option<Range<i64>>,
}

impl Past {
    /// What there is of a tenant's.
    pub(super) fn of(snapshot: &Snapshot, tenant: &str) -> Self {
        let covered = Tier::ALL.map(|tier| snapshot.covered(tier, tenant));
        // Without raw chunks all raw samples are newer than what is rolled up.
        let rolled_ms = covered.iter().map(|range| range.end).max();
        let raw_since_ms = snapshot.raw_since(tenant).or(rolled_ms).unwrap_or(i64::MIN);
        let raw = snapshot.raw_since(tenant).zip(snapshot.raw_until());
        Self {
            covered,
            raw_since_ms,
            raw_floor_ms: snapshot.raw_floor_ms(tenant),
            raw: raw.map(|(since_ms, until_ms)| since_ms..until_ms),
        }
    }

    fn covers(&self, tier: Tier, at_ms: i64) -> bool {
        Tier::ALL
            .iter()
            .zip(&self.covered)
            .any(|(known, range)| *known == tier && range.contains(&at_ms))
    }

    fn choose(&self, step_ms: i64, at_ms: i64) -> Option<Tier> {
        let is_there = |tier: &Tier| self.covers(*tier, at_ms);
        let mut coarsest_first = Tier::ALL.iter().rev().copied();
        let fitting = coarsest_first.find(|tier| fits(*tier, step_ms) && is_there(tier));
        if fitting.is_some() || at_ms >= self.raw_since_ms {
            return fitting;
        }
        Tier::ALL.iter().copied().find(is_there)
    }

    /// Whether all raw samples from this moment on are there, in the history or in memory.
    pub(super) fn has_raw(&self, at_ms: i64) -> bool {
        at_ms >= self.raw_floor_ms
    }

    /// The pieces of `from_ms..to_ms`, oldest first, without a gap: samples where none was given
    /// up, and before that the finest rollups that there are.
    pub(super) fn finest(&self, from_ms: i64, to_ms: i64) -> Vec<Piece> {
        let raw_ms = self.raw_floor_ms.clamp(from_ms, to_ms.max(from_ms));
        let mut bounds: Vec<i64> = self
            .covered
            .iter()
            .flat_map(|range| [range.start, range.end])
            .filter(|bound| *bound > from_ms && *bound < raw_ms)
            .chain([from_ms, raw_ms])
            .collect();
        bounds.sort_unstable();
        let mut pieces: Vec<Piece> = Vec::new();
        let ranges = bounds.windows(2).map(|pair| (pair[0], pair[1]));
        for (from_ms, to_ms) in ranges.chain([(raw_ms, to_ms)]) {
            let is_rolled = to_ms <= raw_ms;
            let mut finest_first = Tier::ALL.iter().copied().filter(|_| is_rolled);
            let tier = finest_first.find(|tier| self.covers(*tier, from_ms));
            match pieces.last_mut() {
                _ if from_ms >= to_ms => {}
                Some(last) if last.tier == tier => last.to_ms = to_ms,
                _ => pieces.push(Piece {
                    from_ms,
                    to_ms,
                    tier,
                }),
            }
        }
        pieces
    }

    /// The pieces of `from_ms..to_ms`, oldest first, without a gap.
    pub(super) fn plan(&self, step_ms: i64, from_ms: i64, to_ms: i64) -> Vec<Piece> {
        let mut bounds: Vec<i64> = self
            .covered
            .iter()
            .flat_map(|range| [range.start, range.end])
            .chain([self.raw_since_ms])
            .filter(|bound| *bound > from_ms && *bound < to_ms)
            .chain([from_ms, to_ms])
            .collect();
        bounds.sort_unstable();
        bounds.dedup();
        let mut pieces: Vec<Piece> = Vec::new();
        for pair in bounds.windows(2) {
            let tier = self.choose(step_ms, pair[0]);
            match pieces.last_mut() {
                Some(last) if last.tier == tier => last.to_ms = pair[1],
                _ => pieces.push(Piece {
                    from_ms: pair[0],
                    to_ms: pair[1],
                    tier,
                }),
            }
        }
        pieces
    }
}

/// Whether a step can be put together from buckets: of a whole number of them, or of so many that
/// one at its edge (counted in the step that it begins in) makes no difference that one sees.
fn fits(tier: Tier, step_ms: i64) -> bool {
    let bucket_ms = tier.bucket_ms();
    step_ms >= bucket_ms && (step_ms % bucket_ms == 0 || step_ms / bucket_ms >= 20)
}

/// As the answer names it.
pub(super) fn resolution(tier: Option<Tier>) -> &'static str {
    match tier {
        None => "raw",
        Some(Tier::TenSeconds) => "10s",
        Some(Tier::Minute) => "1m",
        Some(Tier::FiveMinutes) => "5m",
        Some(Tier::Hour) => "1h",
    }
}

/// The pieces as the answer names them, as far as they are in `start_ms..end_ms`.
pub(super) fn stretches(pieces: &[Piece], start_ms: i64, end_ms: i64) -> Vec<Stretch> {
    let clipped = pieces.iter().map(|piece| Stretch {
        from_ms: piece.from_ms.max(start_ms),
        to_ms: piece.to_ms.min(end_ms),
        resolution: resolution(piece.tier).to_owned(),
    });
    clipped
        .filter(|stretch| stretch.from_ms < stretch.to_ms)
        .collect()
}

/// The shortest agreeable step of at least `step_ms`, in milliseconds: one that people count in,
/// and that buckets fit into.
pub(super) fn agreeable_step(step_ms: i64) -> i64 {
    const SECOND: i64 = 1_000;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const STEPS: [i64; 36] = [
        1,
        2,
        5,
        10,
        20,
        50,
        100,
        200,
        500,
        SECOND,
        2 * SECOND,
        3 * SECOND,
        5 * SECOND,
        10 * SECOND,
        20 * SECOND,
        30 * SECOND,
        MINUTE,
        90 * SECOND,
        2 * MINUTE,
        3 * MINUTE,
        5 * MINUTE,
        10 * MINUTE,
        15 * MINUTE,
        20 * MINUTE,
        30 * MINUTE,
        45 * MINUTE,
        HOUR,
        90 * MINUTE,
        2 * HOUR,
        3 * HOUR,
        4 * HOUR,
        6 * HOUR,
        8 * HOUR,
        12 * HOUR,
        DAY,
        2 * DAY,
    ];
    let index = STEPS.partition_point(|known| *known < step_ms);
    STEPS
        .get(index)
        .copied()
        .unwrap_or_else(|| (step_ms + DAY - 1) / DAY * DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn past() -> Past {
        Past {
            covered: [
                80 * HOUR..99 * HOUR,
                60 * HOUR..96 * HOUR,
                24 * HOUR..96 * HOUR,
                0..0,
            ],
            raw_since_ms: 90 * HOUR,
            raw_floor_ms: 90 * HOUR,
            raw: Some(90 * HOUR..99 * HOUR),
        }
    }

    fn plan(step_ms: i64) -> Vec<(i64, &'static str)> {
        let pieces = past().plan(step_ms, 0, 100 * HOUR);
        assert_eq!(pieces.first().map(|piece| piece.from_ms), Some(0));
        assert_eq!(pieces.last().map(|piece| piece.to_ms), Some(100 * HOUR));
        assert!(
            pieces
                .windows(2)
                .all(|pair| pair[0].to_ms == pair[1].from_ms)
        );
        let named = pieces.iter();
        named
            .map(|piece| (piece.from_ms / HOUR, resolution(piece.tier)))
            .collect()
    }

    #[test]
    fn each_stretch_comes_from_the_coarsest_that_fits() {
        assert_eq!(
            plan(60_000),
            [(0, "raw"), (24, "5m"), (60, "1m"), (96, "10s"), (99, "raw")]
        );
        assert_eq!(
            plan(10_000),
            [(0, "raw"), (24, "5m"), (60, "1m"), (80, "10s"), (99, "raw")]
        );
        assert_eq!(
            plan(1_000),
            [(0, "raw"), (24, "5m"), (60, "1m"), (80, "10s"), (90, "raw")]
        );
        assert_eq!(
            plan(HOUR),
            [(0, "raw"), (24, "5m"), (96, "10s"), (99, "raw")]
        );
    }

    #[test]
    fn where_samples_are_gone_the_finest_rollups_stand_for_them() {
        let finest = |from_ms: i64, to_ms: i64| {
            let pieces = past().finest(from_ms, to_ms);
            assert_eq!(pieces.first().map(|piece| piece.from_ms), Some(from_ms));
            assert_eq!(pieces.last().map(|piece| piece.to_ms), Some(to_ms));
            let named = pieces.iter();
            named
                .map(|piece| (piece.from_ms / HOUR, resolution(piece.tier)))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            finest(0, 100 * HOUR),
            [(0, "raw"), (24, "5m"), (60, "1m"), (80, "10s"), (90, "raw")]
        );
        assert_eq!(finest(85 * HOUR, 86 * HOUR), [(85, "10s")]);
        assert_eq!(finest(91 * HOUR, 99 * HOUR), [(91, "raw")]);
    }

    #[test]
    fn steps_fit_exactly_or_very_often() {
        for (step_ms, tier) in [
            (15_000, None),
            (90_000, Some(Tier::TenSeconds)),
            (86_400, None),
            (259_000, Some(Tier::TenSeconds)),
            (3 * HOUR, Some(Tier::Hour)),
        ] {
            let mut coarsest_first = Tier::ALL.iter().rev().copied();
            assert_eq!(coarsest_first.find(|tier| fits(*tier, step_ms)), tier);
        }
    }

    #[test]
    fn agreeable_steps_are_never_shorter() {
        for (asked, step) in [
            (1, 1),
            (3, 5),
            (8_640, 10_000),
            (60_000, 60_000),
            (86_400, 90_000),
            (25 * HOUR, 48 * HOUR),
            (49 * HOUR, 72 * HOUR),
        ] {
            assert_eq!(agreeable_step(asked), step);
        }
    }
}
