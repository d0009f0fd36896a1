//! Linux: `/proc` and `/sys`.
//!
//! ```text
//!   each moment ── processors, memory, disks, networks, load ─────────────────┐
//!   each 5 s ───── what seldom changes: interfaces, names, long tables ──kept─┼──> Sink
//!   a thread ───── what may hang: file systems, sensors ─────────────────kept─┘
//! ```

mod cpu;
mod disks;
mod files;
mod filesystems;
mod memory;
mod network;
mod sensors;
mod sockets;
mod system;

use std::{
    borrow::Cow,
    path::Path,
    time::{Duration, Instant},
};

use pulseboard_series::Kind;

use self::files::Files;
use super::slow::Slow;
use crate::metric::{Kept, Metric, Sink};

/// How often what seldom changes is read.
const LASTING_PERIOD: Duration = Duration::from_secs(5);

/// Sensors take longer to answer than file systems, and change more slowly.
const SENSORS_PERIOD: Duration = Duration::from_secs(5);

/// What is kept between readings.
#[derive(Debug)]
pub(super) struct Machine {
    files: Files,
    processors: cpu::Processors,
    /// What seldom changes, and when it was read.
    lasting: (Kept, Option<Instant>),
    slow: Slow,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self::below(Path::new("/"))
    }

    /// A machine whose files are in a folder.
    fn below(root: &Path) -> Self {
        let mut files = Files::below(root);
        let mut sensors: (Kept, Option<Instant>) = Default::default();
        let slow = Slow::start(move |found| {
            filesystems::read(&mut files, found);
            if is_due(&mut sensors.1, SENSORS_PERIOD) {
                sensors.0.clear();
                sensors::read(&mut files, &mut sensors.0);
            }
            sensors.0.give(found);
        });
        Self {
            files: Files::below(root),
            processors: cpu::Processors::default(),
            lasting: Default::default(),
            slow,
        }
    }

    /// Gives a sample of each series.
    pub(super) fn read(&mut self, sink: &mut impl Sink) {
        let files = &mut self.files;
        let (lasting, read_at) = &mut self.lasting;
        if is_due(read_at, LASTING_PERIOD) {
            lasting.clear();
            system::lasting(files, lasting);
            network::classes(files, lasting);
            sockets::tables(files, lasting);
            disks::info(files, lasting);
        }
        self.processors.read(files, sink);
        cpu::scheduled(files, sink);
        cpu::pressure(files, sink);
        memory::memory(files, sink);
        memory::paging(files, sink);
        disks::counters(files, sink);
        network::counters(files, sink);
        sockets::protocols(files, sink);
        sockets::sockets(files, sink);
        sockets::softnet(files, sink);
        system::moment(files, sink);
        lasting.give(sink);
        self.slow.give(sink);
    }
}

/// Whether `period` has passed since this was true last.
fn is_due(last: &mut Option<Instant>, period: Duration) -> bool {
    let now = Instant::now();
    let due = last.is_none_or(|last| now.duration_since(last) >= period);
    if due {
        *last = Some(now);
    }
    due
}

/// See [`crate::node::describe`].
pub(super) fn describe(name: &str) -> Option<(Kind, Cow<'static, str>)> {
    let fixed = [
        cpu::metrics().collect::<Vec<&Metric>>(),
        disks::metrics().collect(),
        filesystems::metrics().collect(),
        network::metrics().collect(),
        sensors::metrics().collect(),
        sockets::metrics().collect(),
        system::metrics().collect(),
    ];
    if let Some(metric) = fixed.iter().flatten().find(|metric| metric.name == name) {
        return Some((metric.kind, metric.help.into()));
    }
    let families = [
        (memory::MEMORY, Kind::Gauge, "of /proc/meminfo"),
        (memory::PAGING, Kind::Unknown, "of /proc/vmstat"),
        (
            sockets::PROTOCOLS,
            Kind::Unknown,
            "of /proc/net/netstat, snmp or snmp6",
        ),
        (sockets::SOCKETS, Kind::Gauge, "of /proc/net/sockstat"),
        (
            sensors::CHIPS,
            Kind::Gauge,
            "of a sensor in /sys/class/hwmon",
        ),
        (
            sensors::SUPPLIES,
            Kind::Gauge,
            "of a power supply in /sys/class/power_supply",
        ),
    ];
    families.into_iter().find_map(|(prefix, kind, place)| {
        let figure = name.strip_prefix(prefix)?;
        Some((kind, format!("Figure {figure} {place}.").into()))
    })
}

#[cfg(test)]
mod tests;
