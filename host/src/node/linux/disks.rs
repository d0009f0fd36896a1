//! Block devices: `/proc/diskstats`, and what udev knows of them.

use super::files::Files;
use crate::metric::{Metric, Sink, counter, gauge};

/// Bytes of a sector in `/proc/diskstats`, whatever the device has.
const SECTOR_BYTES: f64 = 512.0;
/// Its times are in milliseconds.
const MILLIS: f64 = 1.0 / 1000.0;

/// The numbers behind the device's name (kernel: Documentation/admin-guide/iostats.rst), with what
/// makes them bytes and seconds.
static COLUMNS: [(Metric, f64); 17] = [
    (
        counter("node_disk_reads_completed_total", "Reads that ended well."),
        1.0,
    ),
    (
        counter(
            "node_disk_reads_merged_total",
            "Reads that became one with another.",
        ),
        1.0,
    ),
    (
        counter("node_disk_read_bytes_total", "Bytes read."),
        SECTOR_BYTES,
    ),
    (
        counter(
            "node_disk_read_time_seconds_total",
            "Time that reads took, all together.",
        ),
        MILLIS,
    ),
    (
        counter(
            "node_disk_writes_completed_total",
            "Writes that ended well.",
        ),
        1.0,
    ),
    (
        counter(
            "node_disk_writes_merged_total",
            "Writes that became one with another.",
        ),
        1.0,
    ),
    (
        counter("node_disk_written_bytes_total", "Bytes written."),
        SECTOR_BYTES,
    ),
    (
        counter(
            "node_disk_write_time_seconds_total",
            "Time that writes took, all together.",
        ),
        MILLIS,
    ),
    (
        gauge("node_disk_io_now", "Requests that the device works on now."),
        1.0,
    ),
    (
        counter(
            "node_disk_io_time_seconds_total",
            "Time during which the device had something to do.",
        ),
        MILLIS,
    ),
    (
        counter(
            "node_disk_io_time_weighted_seconds_total",
            "That time, counted once for each request.",
        ),
        MILLIS,
    ),
    (
        counter(
            "node_disk_discards_completed_total",
            "Discards that ended well.",
        ),
        1.0,
    ),
    (
        counter(
            "node_disk_discards_merged_total",
            "Discards that became one with another.",
        ),
        1.0,
    ),
    (
        counter("node_disk_discarded_sectors_total", "Sectors discarded."),
        1.0,
    ),
    (
        counter(
            "node_disk_discard_time_seconds_total",
            "Time that discards took, all together.",
        ),
        MILLIS,
    ),
    (
        counter("node_disk_flush_requests_total", "Flushes that ended well."),
        1.0,
    ),
    (
        counter(
            "node_disk_flush_requests_time_seconds_total",
            "Time that flushes took, all together.",
        ),
        MILLIS,
    ),
];
static INFO: Metric = gauge("node_disk_info", "What each block device is; always 1.");

/// Labels of [`INFO`] and the property of udev's database that they are.
const PROPERTIES: [(&str, &str); 5] = [
    ("path", "E:ID_PATH="),
    ("wwn", "E:ID_WWN="),
    ("model", "E:ID_MODEL="),
    ("serial", "E:ID_SERIAL_SHORT="),
    ("revision", "E:ID_REVISION="),
];

/// Devices of one machine that are told, at most.
const DEVICES_MAX: usize = 1_024;

/// What is told by this module.
pub(super) fn metrics() -> impl Iterator<Item = &'static Metric> {
    COLUMNS.iter().map(|(metric, _)| metric).chain([&INFO])
}

/// `/proc/diskstats`; older kernels have fewer columns.
pub(super) fn counters(files: &mut Files, sink: &mut impl Sink) {
    let Some(text) = files.read("proc/diskstats") else {
        return;
    };
    for line in devices(text) {
        let words = &mut line.split_ascii_whitespace();
        let Some(device) = words.nth(2) else {
            continue;
        };
        for ((metric, scale), number) in COLUMNS.iter().zip(words) {
            if let Ok(number) = number.parse::<f64>() {
                sink.put(metric, &[("device", device)], number * scale);
            }
        }
    }
}

/// What each device is.
pub(super) fn info(files: &mut Files, sink: &mut impl Sink) {
    let text = files.read("proc/diskstats").unwrap_or_default().to_owned();
    for line in devices(&text) {
        let mut words = line.split_ascii_whitespace();
        let (Some(major), Some(minor), Some(device)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let known = files.read(&format!("run/udev/data/b{major}:{minor}"));
        let known = known.unwrap_or_default();
        let mut labels = vec![("device", device), ("major", major), ("minor", minor)];
        labels.extend(PROPERTIES.map(|(label, property)| {
            let found = known.lines().find_map(|line| line.strip_prefix(property));
            (label, found.unwrap_or_default())
        }));
        sink.put(&INFO, &labels, 1.0);
    }
}

fn devices(text: &str) -> impl Iterator<Item = &str> {
    let is_told = |line: &&str| {
        let device = line.split_ascii_whitespace().nth(2);
        device.is_some_and(|device| !is_passed_over(device))
    };
    text.lines().filter(is_told).take(DEVICES_MAX)
}

/// Memory that acts as a disk, and partitions of disks: `ram0`, `loop3`, `sda1`, `nvme0n1p2`.
fn is_passed_over(device: &str) -> bool {
    let stem = device.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == device.len() {
        return false;
    }
    let is_disk = ["hd", "sd", "vd", "xvd"].iter().any(|disk| {
        let letter = stem.strip_prefix(disk);
        letter.is_some_and(|letter| letter.len() == 1 && letter.is_ascii())
    });
    matches!(stem, "ram" | "loop" | "fd") || is_disk || is_nvme_partition(stem)
}

/// `nvme0n1p`.
fn is_nvme_partition(stem: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts = stem.strip_prefix("nvme").and_then(|rest| {
        let (controller, rest) = rest.split_once('n')?;
        Some((controller, rest.strip_suffix('p')?))
    });
    parts.is_some_and(|(controller, space)| is_number(controller) && is_number(space))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_told_and_their_partitions_are_not() {
        for device in [
            "sda",
            "vda",
            "nvme0n1",
            "dm-0",
            "md127",
            "sr0",
            "mmcblk0p1",
            "zram0",
            "sdaa1",
        ] {
            assert!(!is_passed_over(device), "{device}");
        }
        for device in [
            "sda1",
            "vdb12",
            "xvda1",
            "nvme0n1p1",
            "nvme10n2p15",
            "loop0",
            "ram1",
            "fd0",
        ] {
            assert!(is_passed_over(device), "{device}");
        }
    }
}
