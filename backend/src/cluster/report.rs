//! What each server measures at a moment, and the service's figures that follow from all of them.
//! Pure.

use pulseboard_host::{Reading, Traffic};
use pulseboard_shared::BUILT_IN;
use serde::{Deserialize, Serialize};

/// What one server measured since the tick before. What it could not measure is missing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Percent of the processors that it may use, and how many these are.
    cpu: Option<f64>,
    cores: f64,
    /// Percent of the memory that it may use, and how many bytes that is.
    memory: Option<f64>,
    memory_bytes: f64,
    /// A second.
    requests: f64,
    errors: f64,
    /// Requests that were answered, and milliseconds that all of them took.
    answered: u64,
    latency_ms: f64,
}

impl Report {
    /// Of a reading of a machine that has so many cores and bytes of memory.
    #[must_use]
    pub fn of(reading: &Reading, traffic: &Traffic, (cores, memory_bytes): (f64, f64)) -> Self {
        let finite = |value: f64| value.is_finite().then_some(value);
        // A source that makes its figures up says what its mean is, and not of what.
        let (answered, latency_ms) = match (reading.totals, finite(reading.latency)) {
            (Some(_), Some(latency)) => (1, latency),
            _ => (traffic.requests, traffic.latency_sum.as_secs_f64() * 1e3),
        };
        let errors = reading.extras.iter();
        let errors = errors
            .filter(|extra| extra.name == "errors_per_sec")
            .map(|extra| extra.value)
            .next();
        Self {
            cpu: finite(reading.cpu),
            cores: cores.max(1.0),
            memory: finite(reading.memory),
            memory_bytes: memory_bytes.max(1.0),
            requests: reading.requests,
            errors: errors.unwrap_or_else(|| traffic.errors_per_sec()),
            answered,
            latency_ms,
        }
    }

    /// As it travels.
    #[must_use]
    pub fn to_text(&self) -> String {
        crate::base::json::json_text(self)
    }

    /// What [`Self::to_text`] wrote; another server may have written it.
    #[must_use]
    pub fn from_text(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

/// The service's four figures, and its errors a second: shares of what all have together, sums of
/// what they did, and the mean over all requests. Of one server, its own.
#[must_use]
pub fn compose(reports: &[Report]) -> ([f64; BUILT_IN.len()], f64) {
    let share = |part: fn(&Report) -> Option<f64>, whole: fn(&Report) -> f64| {
        let measured = reports
            .iter()
            .filter_map(|report| part(report).map(|part| (part, whole(report))));
        let (parts, wholes) = measured.fold((0.0, 0.0), |(parts, wholes), (part, whole)| {
            (parts + part * whole, wholes + whole)
        });
        match wholes > 0.0 {
            true => in_steps((parts / wholes).clamp(0.0, 100.0), 10.0),
            false => f64::NAN,
        }
    };
    let sum = |of: fn(&Report) -> f64| reports.iter().map(of).sum::<f64>();
    let answered: u64 = reports.iter().map(|report| report.answered).sum();
    let latency = match answered {
        0 => f64::NAN,
        answered => in_steps(sum(|report| report.latency_ms) / answered as f64, 100.0),
    };
    let figures = [
        share(|report| report.cpu, |report| report.cores),
        share(|report| report.memory, |report| report.memory_bytes),
        in_steps(sum(|report| report.requests), 10.0),
        latency,
    ];
    (figures, in_steps(sum(|report| report.errors), 10.0))
}

/// As the figures of one machine are.
fn in_steps(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn report(cpu: f64, memory: f64, requests: u64, size: (f64, f64)) -> Report {
        let traffic = Traffic {
            requests,
            errors: requests / 2,
            latency_sum: Duration::from_micros(1_250) * u32::try_from(requests).expect("few"),
            elapsed: Duration::from_secs(1),
        };
        let reading = Reading {
            cpu,
            memory,
            requests: traffic.requests_per_sec(),
            latency: traffic.latency_ms_mean(),
            extras: Vec::new(),
            totals: None,
        };
        Report::of(&reading, &traffic, size)
    }

    proptest! {
        #[test]
        fn of_one_server_the_figures_are_its_own_and_they_travel(
            (cpu, memory) in (0_u32..=1_000, 0_u32..=1_000),
            (requests, cores, bytes) in (0_u64..5_000, 1_u32..128, 1_u64..1 << 40),
        ) {
            let tenth = |tenths: u32| f64::from(tenths) / 10.0;
            let own = report(tenth(cpu), tenth(memory), requests, (cores.into(), bytes as f64));
            let text = own.to_text();
            prop_assert_eq!(Report::from_text(text.as_bytes()), Some(own.clone()));
            let ([all_cpu, all_memory, all_requests, latency], errors) = compose(&[own]);
            prop_assert_eq!((all_cpu, all_memory), (tenth(cpu), tenth(memory)));
            prop_assert_eq!((all_requests, errors), (requests as f64, (requests / 2) as f64));
            prop_assert_eq!(latency.is_nan(), requests == 0);
            prop_assert!(requests == 0 || latency == 1.25);
        }
    }

    #[test]
    fn each_server_counts_for_what_it_has() {
        let reports = [
            report(90.0, 50.0, 10, (1.0, 1e9)),
            report(10.0, 10.0, 0, (3.0, 3e9)),
            // Could not measure, and served.
            report(f64::NAN, f64::NAN, 30, (8.0, 8e9)),
        ];
        let ([cpu, memory, requests, latency], errors) = compose(&reports);
        assert_eq!((cpu, memory), (30.0, 20.0));
        assert_eq!((requests, latency, errors), (40.0, 1.25, 20.0));
    }

    #[test]
    fn what_nobody_measured_is_missing() {
        let ([cpu, memory, requests, latency], errors) = compose(&[]);
        assert!(cpu.is_nan() && memory.is_nan() && latency.is_nan());
        assert_eq!((requests, errors), (0.0, 0.0));
        assert_eq!(Report::from_text(b"{"), None);
    }
}
