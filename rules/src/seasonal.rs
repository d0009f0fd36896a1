//! A band of what is usual at a time of the week.
//!
//! At a time, what lies within a window around the same time of the days and weeks before is put
//! together: its median, and to each side the median of how far the values lie from it, times 1.4826
//! (so that it is a standard deviation where they are spread normally) and times the width that is
//! asked for. One outage of an hour a week ago moves neither.

/// Values of one window that count: of more, so many at equal distances.
const WINDOW_VALUES: usize = 32;

/// Windows with values that there must be.
const WINDOWS_MIN: usize = 3;

/// Times at which one band is made.
pub const STEPS_MAX: usize = 50_000;

const DAY_MS: i64 = 86_400_000;

/// From the median of distances to a standard deviation.
const NORMAL: f64 = 1.4826;

/// A band is at least this part of the median wide: what never changes may still flicker.
const PART_MIN: f64 = 0.005;

/// How a band is made.
#[derive(Clone, Copy, Debug)]
pub struct Season {
    /// How many of the days before are looked at.
    pub days: usize,
    /// How many of the weeks before.
    pub weeks: usize,
    /// What lies within this of the same time counts too.
    pub window_ms: i64,
    /// How many deviations the band reaches to each side.
    pub width: f64,
}

impl Default for Season {
    fn default() -> Self {
        Self {
            days: 7,
            weeks: 4,
            window_ms: 15 * 60_000,
            width: 3.0,
        }
    }
}

impl Season {
    /// How far back samples are looked at.
    #[must_use]
    pub fn reach_ms(&self) -> i64 {
        self.anchors().last().copied().unwrap_or_default() + self.window_ms
    }

    /// How long ago each of the same times is, in order.
    fn anchors(&self) -> Vec<i64> {
        let days = (1..=self.days.min(366)).map(|day| day as i64 * DAY_MS);
        let weeks = (1..=self.weeks.min(104)).map(|week| week as i64 * 7 * DAY_MS);
        let mut anchors: Vec<i64> = days.chain(weeks).collect();
        anchors.sort_unstable();
        anchors.dedup();
        anchors
    }
}

/// What is usual at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usual {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Below it is not usual.
    pub low: f64,
    /// Above it is not.
    pub high: f64,
}

/// The band at `start_ms` and every `step_ms` up to `end_ms`, at most [`STEPS_MAX`] times; times of
/// which too little is known are left out. `samples` are in the order of time and reach back as far as
/// [`Season::reach_ms`]; what is no finite number does not count.
#[must_use]
pub fn band(
    samples: &[(i64, f64)],
    (start_ms, end_ms, step_ms): (i64, i64, i64),
    season: &Season,
) -> Vec<Usual> {
    if step_ms <= 0 || end_ms < start_ms {
        return Vec::new();
    }
    let anchors = season.anchors();
    let steps = usize::try_from((end_ms - start_ms) / step_ms).unwrap_or(usize::MAX);
    let mut values = Vec::with_capacity(anchors.len() * WINDOW_VALUES);
    let mut usual = Vec::new();
    for step in 0..=steps.min(STEPS_MAX - 1) {
        let at_ms = start_ms + step_ms * step as i64;
        values.clear();
        let windows = anchors
            .iter()
            .filter(|anchor| gather(samples, at_ms - **anchor, season.window_ms, &mut values))
            .count();
        if windows < WINDOWS_MIN.min(anchors.len()).max(1) {
            continue;
        }
        let Some(middle) = median(&mut values) else {
            continue;
        };
        for value in &mut values {
            *value = (*value - middle).abs();
        }
        let spread = median(&mut values).unwrap_or_default() * NORMAL;
        let reach = spread.max(middle.abs() * PART_MIN) * season.width;
        usual.push(Usual {
            at_ms,
            low: middle - reach,
            high: middle + reach,
        });
    }
    usual
}

/// Adds the values around a time; whether there are some.
fn gather(samples: &[(i64, f64)], at_ms: i64, window_ms: i64, values: &mut Vec<f64>) -> bool {
    let from = samples.partition_point(|(time, _)| *time < at_ms - window_ms);
    let to = samples.partition_point(|(time, _)| *time <= at_ms + window_ms);
    let window = samples.get(from..to).unwrap_or_default();
    let every = window.len().div_ceil(WINDOW_VALUES).max(1);
    let before = values.len();
    let finite = window.iter().step_by(every).map(|(_, value)| *value);
    values.extend(finite.filter(|value| value.is_finite()));
    values.len() > before
}

/// The one in the middle, or what lies between the two there.
fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    let is_even = values.len().is_multiple_of(2);
    if values.is_empty() {
        return None;
    }
    let (below, at, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let at = *at;
    match is_even {
        false => Some(at),
        true => {
            let other = below.iter().copied().max_by(f64::total_cmp)?;
            Some(other + (at - other) / 2.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    /// Four weeks of a wave with a day's length, a sample each minute.
    fn wave() -> Vec<(i64, f64)> {
        (0..28 * 24 * 60)
            .map(|minute| {
                let phase = (minute % 1440) as f64 / 1440.0 * std::f64::consts::TAU;
                let noise = ((minute * 7919) % 13) as f64 - 6.0;
                (minute * MINUTE, 100.0 + 50.0 * phase.sin() + noise)
            })
            .collect()
    }

    #[test]
    fn what_is_usual_follows_the_time_of_day() {
        let samples = wave();
        let start_ms = 28 * DAY_MS;
        let band = band(
            &samples,
            (start_ms, start_ms + DAY_MS - 1, 3_600_000),
            &Season::default(),
        );
        assert_eq!(band.len(), 24);
        for usual in &band {
            let phase = (usual.at_ms % DAY_MS) as f64 / DAY_MS as f64 * std::f64::consts::TAU;
            let value = 100.0 + 50.0 * phase.sin();
            assert!(usual.low < value && value < usual.high, "{usual:?} {value}");
            assert!(usual.high - usual.low < 60.0, "{usual:?}");
        }
        let noon = &band[6];
        assert!(noon.low > 120.0, "at the height of the wave: {noon:?}");
    }

    #[test]
    fn an_outage_moves_nothing_and_too_little_says_nothing() {
        let mut samples = wave();
        let start_ms = 28 * DAY_MS;
        let times = (start_ms, start_ms, 1);
        let before = band(&samples, times, &Season::default());
        for (at_ms, value) in &mut samples {
            if (*at_ms - 27 * DAY_MS).abs() < 3_600_000 {
                *value = 0.0;
            }
        }
        let after = band(&samples, times, &Season::default());
        assert!(
            (before[0].low - after[0].low).abs() < 5.0,
            "{before:?} {after:?}"
        );

        let two_days: Vec<_> = samples.split_off(26 * 1440);
        assert!(band(&two_days, times, &Season::default()).is_empty());
        assert!(band(&[], times, &Season::default()).is_empty());
        assert!(band(&two_days, (5, 4, 1), &Season::default()).is_empty());
    }

    #[test]
    fn what_never_changes_has_a_band_too() {
        let flat: Vec<(i64, f64)> = (0..28 * 24).map(|hour| (hour * 3_600_000, 200.0)).collect();
        let start_ms = 28 * DAY_MS;
        let band = band(&flat, (start_ms, start_ms, 1), &Season::default());
        assert_eq!((band[0].low, band[0].high), (197.0, 203.0));
    }
}
