//! This machine's real figures.
//!
//! ```text
//!   tick ── CPU, memory, load, uptime: from memory of the kernel, read here, well under 1 ms
//!     └──> asks the surveyor's thread for disks, network, processes, temperatures, and takes
//!          what it found after the last tick; a device that hangs makes gaps and no late ticks
//! ```
//!
//! In a container with limits CPU and memory are shares of what the container may use, see
//! [`cgroup`]. Figures that the system does not give are left out.

mod cgroup;
mod collector;

use std::time::Instant;

use sysinfo::System;

use self::{cgroup::Limits, collector::Collector};
use crate::source::{EXTRAS_MAX, Extra, Reading, Source, Traffic, percent, round};

/// The source of this machine's figures.
#[derive(Debug)]
pub struct Host {
    /// `None` when the system gives nothing at all. Reused, because CPU usage is the difference
    /// to its last refresh.
    system: Option<System>,
    /// Of the control group this process is in; read once, as containers keep theirs.
    limits: Limits,
    /// The group's CPU time at the last reading, and when that was; by the machine's clock, since
    /// the kernel counts by it too.
    cpu_time: Option<(cgroup::CpuTime, Instant)>,
    /// The last figure of a limited container, for ticks that come too soon for a new one.
    cpu_limited: f64,
    surveyor: Collector,
    /// Whether the log said that some series are left out.
    cut_off: bool,
}

impl Host {
    /// Takes the first measurement that CPU usage is a difference to. Never fails: what the system
    /// does not give is missing in the readings.
    #[must_use]
    pub fn new() -> Self {
        let mut system = System::new()
            .inspect_err(|error| tracing::warn!(%error, "this machine gives no figures"))
            .ok();
        if let Some(system) = &mut system {
            system.refresh_cpu_usage();
            system.refresh_memory();
        }
        let limits = system.as_ref().map_or_else(Limits::default, |system| {
            Limits::read(system.total_memory(), system.cpus().len())
        });
        Self {
            cpu_time: limits.cpu_time().map(|time| (time, Instant::now())),
            limits,
            system,
            cpu_limited: 0.0,
            surveyor: Collector::start(),
            cut_off: false,
        }
    }

    /// Percent of the CPU time that this machine or container may use.
    fn cpu(&mut self) -> f64 {
        let now = Instant::now();
        if let Some((earlier, at)) = self.cpu_time {
            let elapsed = now.duration_since(at);
            if elapsed >= sysinfo::MINIMUM_CPU_UPDATE_INTERVAL
                && let Some(time) = self.limits.cpu_time()
            {
                self.cpu_time = Some((time, now));
                self.cpu_limited = self.limits.cpu_percent(earlier, time, elapsed);
            }
            return self.cpu_limited;
        }
        self.system.as_ref().map_or(f64::NAN, |system| {
            percent(f64::from(system.global_cpu_usage()), 100.0).unwrap_or(f64::NAN)
        })
    }

    /// Percent of the memory that this machine or container has.
    fn memory(&self) -> f64 {
        memory_of(&self.limits, self.system.as_ref())
    }

    /// What is quick to read beside the four.
    fn extras(&self, extras: &mut Vec<Extra>) {
        if let Ok(load) = System::load_average() {
            for (period, value) in [("1m", load.one), ("5m", load.five), ("15m", load.fifteen)] {
                extras.push(Extra::labelled(
                    "load_average",
                    "",
                    "period",
                    period,
                    round(value, 100.0),
                ));
            }
        }
        if let Ok(seconds) = System::uptime() {
            extras.push(Extra::plain("uptime_seconds", "s", seconds as f64));
        }
        let Some(system) = &self.system else { return };
        if let Some(share) = percent(system.used_swap() as f64, system.total_swap() as f64) {
            extras.push(Extra::plain("swap_usage", "%", share));
        }
        for (core, cpu) in system.cpus().iter().enumerate() {
            if let Some(share) = percent(f64::from(cpu.usage()), 100.0) {
                extras.push(Extra::labelled(
                    "cpu_core_usage",
                    "%",
                    "core",
                    core.to_string(),
                    share,
                ));
            }
        }
    }
}

/// Percent of the memory that this machine or container has, for who needs nothing else; NaN where
/// the system does not tell.
#[must_use]
pub fn memory_now() -> f64 {
    let mut system = System::new().ok();
    if let Some(system) = &mut system {
        system.refresh_memory();
    }
    let limits = system.as_ref().map_or_else(Limits::default, |system| {
        Limits::read(system.total_memory(), system.cpus().len())
    });
    memory_of(&limits, system.as_ref())
}

/// How many processors this machine or container may use, and how many bytes of memory: what its
/// shares are shares of. One of nothing where the system does not tell.
#[must_use]
pub fn size() -> (f64, f64) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut system = System::new().ok();
    if let Some(system) = &mut system {
        system.refresh_memory();
    }
    let limits = system.as_ref().map_or_else(Limits::default, |system| {
        Limits::read(system.total_memory(), system.cpus().len())
    });
    let memory = match (limits.memory(), &system) {
        (Some((_, most)), _) => most,
        (None, Some(system)) => system.total_memory(),
        (None, None) => 1,
    };
    (cores as f64, memory as f64)
}

fn memory_of(limits: &Limits, system: Option<&System>) -> f64 {
    let share = match (limits.memory(), system) {
        (Some((used, most)), _) => percent(used as f64, most as f64),
        (None, Some(system)) => percent(system.used_memory() as f64, system.total_memory() as f64),
        (None, None) => None,
    };
    share.unwrap_or(f64::NAN)
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Source for Host {
    fn read(&mut self, traffic: Traffic) -> Reading {
        if let Some(system) = &mut self.system {
            system.refresh_cpu_usage();
            system.refresh_memory();
        }
        let mut extras = vec![Extra::errors_per_sec(traffic.errors_per_sec())];
        self.extras(&mut extras);
        extras.extend(self.surveyor.take());
        extras.retain(|extra| extra.value.is_finite());
        if extras.len() > EXTRAS_MAX && !self.cut_off {
            self.cut_off = true;
            tracing::warn!(
                series.count = extras.len(),
                series.max = EXTRAS_MAX,
                "this machine has more series than are kept; the last are left out"
            );
        }
        extras.truncate(EXTRAS_MAX);
        Reading {
            cpu: self.cpu(),
            memory: self.memory(),
            requests: traffic.requests_per_sec(),
            latency: traffic.latency_ms_mean(),
            extras,
            totals: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use super::*;

    #[test]
    fn this_machine_gives_figures_at_once() {
        let mut host = Host::new();
        let reading = host.read(Traffic {
            requests: 10,
            errors: 2,
            latency_sum: Duration::from_millis(50),
            elapsed: Duration::from_secs(1),
        });
        assert!((0.0..=100.0).contains(&reading.cpu), "{reading:?}");
        assert!(
            reading.memory > 0.0 && reading.memory <= 100.0,
            "{reading:?}"
        );
        assert_eq!((reading.requests, reading.latency), (10.0, 5.0));
        assert_eq!(reading.totals, None);
        assert_eq!(reading.extras[0], Extra::errors_per_sec(2.0));
        let of = |name| {
            reading
                .extras
                .iter()
                .filter(move |extra| extra.name == name)
        };
        assert_eq!(of("load_average").count(), 3);
        assert!(of("cpu_core_usage").count() > 0);
        assert!(of("uptime_seconds").all(|extra| extra.value > 0.0));
    }

    #[test]
    fn each_series_is_there_once() {
        let mut host = Host::new();
        // Whether or not the surveyor has answered yet, no series may be there twice.
        for _ in 0..3 {
            let reading = host.read(Traffic::default());
            let series: BTreeSet<_> = reading
                .extras
                .iter()
                .map(|extra| (&extra.name, &extra.labels))
                .collect();
            assert_eq!(series.len(), reading.extras.len());
        }
    }
}
