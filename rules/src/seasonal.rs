//! A band of what is usual at a time of the week.

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

/// The band at `start_ms` and every `step_ms` up to `end_ms`; times of which too little is known are
/// left out. `samples` are in the order of time and reach back as far as there are some.
#[must_use]
pub fn band(
    samples: &[(i64, f64)],
    (start_ms, end_ms, step_ms): (i64, i64, i64),
    season: &Season,
) -> Vec<Usual> {
    let _ = (samples, start_ms, end_ms, step_ms, season);
    todo!()
}
