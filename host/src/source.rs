//! What a source gives each tick.

use std::{borrow::Cow, time::Duration};

use pulseboard_shared::Labels;

/// Further series in one [`Reading`]: what comes after these is left out, in the order in which a
/// source lists them, and the log says so once. More would cost every tick and every viewer;
/// less would cut off large machines (one series a core, five a disk or interface).
pub const EXTRAS_MAX: usize = 512;

/// What gives the built-in figures, once a tick.
pub trait Source: Send {
    /// Measures now. It may take some hundred microseconds and never waits for a device, so the
    /// tick's own task can call it. `traffic` is what the server answered since the last call.
    fn read(&mut self, traffic: Traffic) -> Reading;
}

/// What the server answered since the last reading; the sum of all its HTTP requests, without
/// streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests answered.
    pub requests: u64,
    /// Those of them that were answered 5xx.
    pub errors: u64,
    /// Time from request to answer, all together.
    pub latency_sum: Duration,
    /// Time since the last reading.
    pub elapsed: Duration,
}

impl Traffic {
    /// Requests a second; 0 when no time passed.
    #[must_use]
    pub fn requests_per_sec(&self) -> f64 {
        per_sec(self.requests, self.elapsed)
    }

    /// Errors a second; 0 when no time passed.
    #[must_use]
    pub fn errors_per_sec(&self) -> f64 {
        per_sec(self.errors, self.elapsed)
    }

    /// Mean time to answer, in milliseconds; NaN when nothing was asked, for then there is none.
    #[must_use]
    pub fn latency_ms_mean(&self) -> f64 {
        if self.requests == 0 {
            return f64::NAN;
        }
        round(
            self.latency_sum.as_secs_f64() * 1e3 / self.requests as f64,
            100.0,
        )
    }
}

/// One reading of a source: the four built-in figures, and whatever else it measures.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// `cpu_usage` in percent of all that this machine (or container) may use, 0–100 in steps of
    /// 0.1; NaN when the system does not tell.
    pub cpu: f64,
    /// `memory_usage` in percent, 0–100 in steps of 0.1; NaN when the system does not tell.
    pub memory: f64,
    /// `requests_per_sec`, in steps of 0.1.
    pub requests: f64,
    /// `avg_latency` in milliseconds, in steps of 0.01; NaN without requests.
    pub latency: f64,
    /// Further series, at most [`EXTRAS_MAX`], each name with the same labels once. One that could
    /// not be measured is left out and no 0. The first is always `errors_per_sec`.
    pub extras: Vec<Extra>,
    /// Requests and errors that the source made up since the last reading, to be added to the
    /// server's totals; `None` when the server's own count is the truth.
    pub totals: Option<(u64, u64)>,
}

/// One sample of a further series.
#[derive(Clone, Debug, PartialEq)]
pub struct Extra {
    /// The metric's name.
    pub name: Cow<'static, str>,
    /// What the figure counts, such as `B/s`; empty for a plain number.
    pub unit: Cow<'static, str>,
    /// What tells this series from others of its name.
    pub labels: Labels,
    /// The figure, always finite.
    pub value: f64,
}

impl Extra {
    /// A series that is alone under its name.
    pub(crate) fn plain(name: &'static str, unit: &'static str, value: f64) -> Self {
        Self {
            name: name.into(),
            unit: unit.into(),
            labels: Labels::new(),
            value,
        }
    }

    /// One of several series of a name, told apart by one label.
    pub(crate) fn labelled(
        name: &'static str,
        unit: &'static str,
        label: &str,
        text: impl Into<String>,
        value: f64,
    ) -> Self {
        Self {
            labels: Labels::from([(label.to_owned(), text.into())]),
            ..Self::plain(name, unit, value)
        }
    }

    /// The fifth series of every source.
    pub(crate) fn errors_per_sec(value: f64) -> Self {
        Self::plain("errors_per_sec", "err/s", value)
    }
}

/// `count` in `elapsed` as a rate in steps of 0.1 a second; 0 when no time passed.
fn per_sec(count: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() {
        return 0.0;
    }
    round(count as f64 / elapsed.as_secs_f64(), 10.0)
}

/// `value` in steps of 1/`steps`: more digits than a figure is good for only cost space.
pub(crate) fn round(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

/// `part` of `whole` in percent, 0–100 in steps of 0.1; `None` of nothing.
pub(crate) fn percent(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0 && part.is_finite()).then(|| round((part / whole * 100.0).clamp(0.0, 100.0), 10.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_without_time_or_requests_has_no_rate_and_no_latency() {
        let none = Traffic::default();
        assert_eq!(none.requests_per_sec(), 0.0);
        assert_eq!(none.errors_per_sec(), 0.0);
        assert!(none.latency_ms_mean().is_nan(), "nobody waited");
    }

    #[test]
    fn traffic_is_a_rate_and_a_mean() {
        let traffic = Traffic {
            requests: 3,
            errors: 1,
            latency_sum: Duration::from_micros(4_500),
            elapsed: Duration::from_secs(2),
        };
        assert_eq!(traffic.requests_per_sec(), 1.5);
        assert_eq!(traffic.errors_per_sec(), 0.5);
        assert_eq!(traffic.latency_ms_mean(), 1.5);
    }

    #[test]
    fn percent_stays_in_its_range() {
        assert_eq!(percent(1.0, 3.0), Some(33.3));
        assert_eq!(percent(4.0, 3.0), Some(100.0));
        assert_eq!(percent(-1.0, 3.0), Some(0.0));
        assert_eq!(percent(1.0, 0.0), None);
        assert_eq!(percent(f64::NAN, 1.0), None);
    }
}
