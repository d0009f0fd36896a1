//! Systems other than Linux: what `sysinfo` gives, under the names that Linux has for it.

use std::{
    borrow::Cow,
    time::{SystemTime, UNIX_EPOCH},
};

use pulseboard_series::Kind;
use sysinfo::{Disks, Networks, System};

use super::{passing::is_passing, slow::Slow};
use crate::metric::{Metric, Sink, counter, gauge};

static LOAD: [Metric; 3] = [
    gauge(
        "node_load1",
        "Tasks that ran or waited, a mean of the last minute.",
    ),
    gauge("node_load5", "As node_load1, of five minutes."),
    gauge("node_load15", "As node_load1, of a quarter of an hour."),
];
static TIME: Metric = gauge("node_time_seconds", "The machine's clock, in Unix seconds.");
static BOOT: Metric = gauge(
    "node_boot_time_seconds",
    "When the machine started, in Unix seconds.",
);
static UNAME: Metric = gauge(
    "node_uname_info",
    "Names of machine, kernel and architecture; always 1.",
);
static MEMORY: [Metric; 5] = [
    gauge("node_memory_MemTotal_bytes", "Bytes of memory."),
    gauge(
        "node_memory_MemAvailable_bytes",
        "Bytes that programs can still have.",
    ),
    gauge("node_memory_MemFree_bytes", "Bytes that nobody uses."),
    gauge("node_memory_SwapTotal_bytes", "Bytes of swap space."),
    gauge(
        "node_memory_SwapFree_bytes",
        "Bytes of it that nobody uses.",
    ),
];
static NETWORK: [Metric; 6] = [
    counter("node_network_receive_bytes_total", "Bytes received."),
    counter("node_network_receive_packets_total", "Packets received."),
    counter(
        "node_network_receive_errs_total",
        "Packets that came broken.",
    ),
    counter("node_network_transmit_bytes_total", "Bytes sent."),
    counter("node_network_transmit_packets_total", "Packets sent."),
    counter(
        "node_network_transmit_errs_total",
        "Packets that could not be sent.",
    ),
];
static SPACE: [Metric; 2] = [
    gauge("node_filesystem_size_bytes", "Bytes that it has."),
    gauge(
        "node_filesystem_avail_bytes",
        "Bytes that are free for who is not root.",
    ),
];

/// What is kept between readings. `None` for what the system does not give.
#[derive(Debug)]
pub(super) struct Machine {
    system: Option<System>,
    networks: Option<Networks>,
    slow: Slow,
}

impl Machine {
    pub(super) fn new() -> Self {
        let mut disks = Disks::new().ok();
        Self {
            system: System::new().ok(),
            networks: Networks::new().ok(),
            slow: Slow::start(move |found| {
                let Some(disks) = &mut disks else {
                    return;
                };
                disks.refresh(true);
                for disk in disks.iter() {
                    let labels = [
                        ("device", disk.name()),
                        ("fstype", disk.file_system()),
                        ("mountpoint", disk.mount_point().as_os_str()),
                    ];
                    let labels = labels.map(|(label, text)| (label, text.to_string_lossy()));
                    let bytes = [disk.total_space(), disk.available_space()];
                    for (metric, bytes) in SPACE.iter().zip(bytes) {
                        found.put(metric, &labels, bytes as f64);
                    }
                }
            }),
        }
    }

    /// Gives a sample of each series.
    pub(super) fn read(&mut self, sink: &mut impl Sink) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        sink.plain(&TIME, now.map_or(0.0, |now| now.as_secs_f64()));
        if let Ok(load) = System::load_average() {
            for (metric, load) in LOAD.iter().zip([load.one, load.five, load.fifteen]) {
                sink.plain(metric, load);
            }
        }
        if let Ok(seconds) = System::boot_time() {
            sink.plain(&BOOT, seconds as f64);
        }
        let labels = [
            ("machine", Ok(std::env::consts::ARCH.to_owned())),
            ("nodename", System::host_name()),
            ("release", System::kernel_version()),
            ("sysname", System::name()),
        ];
        let labels = labels.map(|(label, text)| (label, text.unwrap_or_default()));
        sink.put(&UNAME, &labels, 1.0);
        if let Some(system) = &mut self.system {
            system.refresh_memory();
            let bytes = [
                system.total_memory(),
                system.available_memory(),
                system.free_memory(),
                system.total_swap(),
                system.free_swap(),
            ];
            for (metric, bytes) in MEMORY.iter().zip(bytes) {
                sink.plain(metric, bytes as f64);
            }
        }
        if let Some(networks) = &mut self.networks {
            networks.refresh(true);
            for (name, data) in networks.iter() {
                let name = name.to_string_lossy();
                if is_passing(&name) {
                    continue;
                }
                let counts = [
                    data.total_received(),
                    data.total_packets_received(),
                    data.total_errors_on_received(),
                    data.total_transmitted(),
                    data.total_packets_transmitted(),
                    data.total_errors_on_transmitted(),
                ];
                for (metric, count) in NETWORK.iter().zip(counts) {
                    sink.put(metric, &[("device", &name)], count as f64);
                }
            }
        }
        self.slow.give(sink);
    }
}

/// See [`crate::node::describe`].
pub(super) fn describe(name: &str) -> Option<(Kind, Cow<'static, str>)> {
    let mut all = [&TIME, &BOOT, &UNAME]
        .into_iter()
        .chain(&LOAD)
        .chain(&MEMORY)
        .chain(&NETWORK)
        .chain(&SPACE);
    let metric = all.find(|metric| metric.name == name)?;
    Some((metric.kind, metric.help.into()))
}

#[cfg(test)]
mod tests {
    use pulseboard_series::Batch;

    use super::*;
    use crate::metric::Rows;

    #[test]
    fn what_is_told_is_described() {
        let mut batch = Batch::new();
        Machine::new().read(&mut Rows {
            batch: &mut batch,
            at_ms: 1_000,
            target: &[],
        });
        assert!(batch.rows().len() > 10, "{}", batch.rows().len());
        for row in batch.rows() {
            let name = batch.key(row).name();
            assert!(describe(name).is_some(), "{name}");
        }
    }
}
