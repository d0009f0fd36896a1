//! Processors: `/proc/stat`, `/proc/schedstat`, `/proc/pressure`.

use super::files::Files;
use crate::metric::{Metric, Sink, counter, gauge};

/// Ticks of the kernel's clock a second as it is shown to programs, the same on every architecture
/// that Rust's standard library knows.
const TICKS_PER_SECOND: f64 = 100.0;

/// The columns of a processor's line that are times of their own.
const MODES: [&str; 8] = [
    "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal",
];

/// The two behind them, which `user` and `nice` have in them too.
const GUEST_MODES: [&str; 2] = ["user", "nice"];

/// A time that steps back by fewer ticks than this is the kernel's inexactness (idle and iowait
/// are estimates) and is held; by more, the processor was taken away and is back.
const STEP_BACK_MAX: u64 = 300;

pub(super) static SECONDS: Metric = counter(
    "node_cpu_seconds_total",
    "Time that each processor spent in each mode.",
);
static GUEST: Metric = counter(
    "node_cpu_guest_seconds_total",
    "Time that each processor ran virtual machines; user and nice have it in them too.",
);
pub(super) static ONCE: [(&str, Metric); 6] = [
    (
        "ctxt",
        counter(
            "node_context_switches_total",
            "Times that a processor changed from one task to another.",
        ),
    ),
    (
        "btime",
        gauge(
            "node_boot_time_seconds",
            "When the machine started, in Unix seconds.",
        ),
    ),
    (
        "processes",
        counter("node_forks_total", "Processes and threads made."),
    ),
    (
        "procs_running",
        gauge("node_procs_running", "Tasks that run or could."),
    ),
    (
        "procs_blocked",
        gauge("node_procs_blocked", "Tasks that wait for a device."),
    ),
    ("intr", counter("node_intr_total", "Interrupts served.")),
];
static SCHEDULED: [Metric; 3] = [
    counter(
        "node_schedstat_running_seconds_total",
        "Time that tasks ran on each processor.",
    ),
    counter(
        "node_schedstat_waiting_seconds_total",
        "Time that tasks waited for each processor.",
    ),
    counter(
        "node_schedstat_timeslices_total",
        "Turns that tasks had on each processor.",
    ),
];
/// Resource, what `some` says, what `full` says.
static PRESSURE: [(&str, Option<Metric>, Option<Metric>); 4] = [
    (
        "cpu",
        Some(counter(
            "node_pressure_cpu_waiting_seconds_total",
            "Time that some task waited for a processor.",
        )),
        None,
    ),
    (
        "memory",
        Some(counter(
            "node_pressure_memory_waiting_seconds_total",
            "Time that some task waited for memory.",
        )),
        Some(counter(
            "node_pressure_memory_stalled_seconds_total",
            "Time that every task waited for memory.",
        )),
    ),
    (
        "io",
        Some(counter(
            "node_pressure_io_waiting_seconds_total",
            "Time that some task waited for a device.",
        )),
        Some(counter(
            "node_pressure_io_stalled_seconds_total",
            "Time that every task waited for a device.",
        )),
    ),
    (
        "irq",
        None,
        Some(counter(
            "node_pressure_irq_stalled_seconds_total",
            "Time that every task waited for interrupts to be served.",
        )),
    ),
];

/// What is told by this module.
pub(super) fn metrics() -> impl Iterator<Item = &'static Metric> {
    let pressure = PRESSURE.iter().flat_map(|(_, some, full)| [some, full]);
    [&SECONDS, &GUEST]
        .into_iter()
        .chain(ONCE.iter().map(|(_, metric)| metric))
        .chain(&SCHEDULED)
        .chain(pressure.flatten())
}

/// What is kept between readings: times that must not step back.
#[derive(Debug, Default)]
pub(super) struct Processors {
    ticks: Vec<[u64; MODES.len() + GUEST_MODES.len()]>,
}

impl Processors {
    /// `/proc/stat`.
    pub(super) fn read(&mut self, files: &mut Files, sink: &mut impl Sink) {
        let Some(text) = files.read("proc/stat") else {
            return;
        };
        let mut guests = Vec::new();
        for line in text.lines() {
            let Some((word, rest)) = line.split_once(' ') else {
                continue;
            };
            let mut numbers = rest.split_ascii_whitespace();
            if let Some(cpu) = word.strip_prefix("cpu") {
                // The first line is the sum of the others.
                let Ok(number) = cpu.parse::<usize>() else {
                    continue;
                };
                let ticks = self.held(number, numbers);
                for (mode, ticks) in MODES.iter().zip(ticks) {
                    let seconds = ticks as f64 / TICKS_PER_SECOND;
                    sink.put(&SECONDS, &[("cpu", cpu), ("mode", mode)], seconds);
                }
                guests.push((cpu, [ticks[MODES.len()], ticks[MODES.len() + 1]]));
            } else if let Some((_, metric)) = ONCE.iter().find(|(name, _)| *name == word)
                && let Some(value) = numbers.next().and_then(|number| number.parse().ok())
            {
                sink.plain(metric, value);
            }
        }
        for (cpu, ticks) in guests {
            for (mode, ticks) in GUEST_MODES.iter().zip(ticks) {
                let seconds = ticks as f64 / TICKS_PER_SECOND;
                sink.put(&GUEST, &[("cpu", cpu), ("mode", mode)], seconds);
            }
        }
    }

    fn held<'a>(
        &mut self,
        number: usize,
        numbers: impl Iterator<Item = &'a str>,
    ) -> [u64; MODES.len() + GUEST_MODES.len()] {
        // More processors than any machine has: not kept, but still told.
        const PROCESSORS_MAX: usize = 8_192;
        if number < PROCESSORS_MAX && self.ticks.len() <= number {
            self.ticks.resize(number + 1, Default::default());
        }
        let mut now = [0; MODES.len() + GUEST_MODES.len()];
        for (ticks, number) in now.iter_mut().zip(numbers) {
            *ticks = number.parse().unwrap_or_default();
        }
        if let Some(known) = self.ticks.get_mut(number) {
            for (known, now) in known.iter_mut().zip(&mut now) {
                if *known > *now && *known - *now < STEP_BACK_MAX {
                    *now = *known;
                }
            }
            *known = now;
        }
        now
    }
}

/// `/proc/schedstat`: nanoseconds.
pub(super) fn scheduled(files: &mut Files, sink: &mut impl Sink) {
    let Some(text) = files.read("proc/schedstat") else {
        return;
    };
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(cpu) = words.next().and_then(|word| word.strip_prefix("cpu")) else {
            continue;
        };
        for (metric, (number, scale)) in SCHEDULED.iter().zip(words.skip(6).zip([1e9, 1e9, 1.0])) {
            if let Ok(number) = number.parse::<f64>() {
                sink.put(metric, &[("cpu", cpu)], number / scale);
            }
        }
    }
}

/// `/proc/pressure`: lines such as `some avg10=0.00 avg60=0.00 avg300=0.00 total=4711`, in
/// microseconds.
pub(super) fn pressure(files: &mut Files, sink: &mut impl Sink) {
    for (resource, some, full) in &PRESSURE {
        let Some(text) = files.read(&format!("proc/pressure/{resource}")) else {
            continue;
        };
        for (word, metric) in [("some", some), ("full", full)] {
            let line = text.lines().find(|line| line.starts_with(word));
            let total = line.and_then(|line| line.rsplit_once("total=")?.1.parse::<f64>().ok());
            if let (Some(metric), Some(micros)) = (metric, total) {
                sink.plain(metric, micros / 1e6);
            }
        }
    }
}
