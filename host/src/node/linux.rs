//! Linux: `/proc` and `/sys`.
//!
//! ```text
//!   each moment ── processors, memory, disks, networks, load ─────────────────┐
//!   each 5 s ───── what seldom changes: interfaces, names, long tables ──kept─┼──> Sink
//!   a thread ───── what may hang: file systems, sensors ─────────────────kept─┘
//! ```

mod collectors;
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

use self::{collectors::timed, files::Files};
use super::slow::Slow;
use crate::metric::{Kept, Metric, Sink};

/// How often what seldom changes is read.
const LASTING_PERIOD: Duration = Duration::from_secs(5);

/// Sensors take longer to answer than file systems, and change more slowly.
const SENSORS_PERIOD: Duration = Duration::from_secs(5);

/// Reads what each of these collectors reads, one after the other.
macro_rules! read_by {
    ($files:ident, $told:ident, $sink:ident: $($collector:literal $read:path),+ $(,)?) => {
        $(timed($collector, $told.as_deref_mut(), $sink, |sink| $read($files, sink));)+
    };
}

/// What is kept between readings.
#[derive(Debug)]
pub(super) struct Machine {
    files: Files,
    processors: cpu::Processors,
    /// What seldom changes, and when it was read.
    lasting: (Kept, Option<Instant>),
    /// How reading went when that was read: told each moment, it would cost as much as it says.
    collectors: Kept,
    slow: Slow,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self::below(Path::new("/"))
    }

    /// A machine whose files are in a folder.
    fn below(root: &Path) -> Self {
        let mut files = Files::below(root);
        let (mut sensors, mut collectors) = (Kept::default(), Kept::default());
        let mut read_at = None;
        let slow = Slow::start(move |found| {
            let is_due = is_due(&mut read_at, SENSORS_PERIOD);
            let mut told = begun(&mut collectors, is_due);
            timed("filesystem", told.as_deref_mut(), found, |sink| {
                filesystems::read(&mut files, sink);
            });
            if is_due {
                sensors.clear();
                timed("hwmon", told, &mut sensors, |sink| {
                    sensors::read(&mut files, sink);
                });
            }
            sensors.give(found);
            collectors.give(found);
        });
        Self {
            files: Files::below(root),
            processors: cpu::Processors::default(),
            lasting: Default::default(),
            collectors: Kept::default(),
            slow,
        }
    }

    /// Gives a sample of each series.
    pub(super) fn read(&mut self, sink: &mut impl Sink) {
        let Self {
            files,
            processors,
            lasting: (lasting, read_at),
            collectors,
            slow,
        } = self;
        let is_due = is_due(read_at, LASTING_PERIOD);
        let mut told = begun(collectors, is_due);
        if is_due {
            lasting.clear();
            read_by! { files, told, lasting:
                "uname" system::names, "os" system::release, "selinux" system::selinux,
                "netclass" network::classes, "arp" sockets::neighbours,
                "udp_queues" sockets::queues, "conntrack" sockets::connections,
            }
            system::clocks(files, lasting);
            disks::info(files, lasting);
        }
        timed("cpu", told.as_deref_mut(), sink, |sink| {
            processors.read(files, sink);
        });
        read_by! { files, told, sink:
            "schedstat" cpu::scheduled, "pressure" cpu::pressure,
            "meminfo" memory::memory, "vmstat" memory::paging,
            "diskstats" disks::counters, "netdev" network::counters,
            "netstat" sockets::protocols, "sockstat" sockets::sockets,
            "softnet" sockets::softnet, "time" system::time, "loadavg" system::load,
            "filefd" system::descriptors, "entropy" system::entropy,
        }
        lasting.give(sink);
        collectors.give(sink);
        slow.give(sink);
    }
}

/// Where how reading goes is told, where it is to be told this time.
fn begun(collectors: &mut Kept, is_due: bool) -> Option<&mut Kept> {
    if !is_due {
        return None;
    }
    collectors.clear();
    Some(collectors)
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
        collectors::metrics().collect(),
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
