//! The machine as a whole: name, load, time, limits of the kernel.

use super::files::Files;
use crate::metric::{Metric, Sink, gauge};

static LOAD: [Metric; 3] = [
    gauge(
        "node_load1",
        "Tasks that ran or waited, a mean of the last minute.",
    ),
    gauge("node_load5", "As node_load1, of five minutes."),
    gauge("node_load15", "As node_load1, of a quarter of an hour."),
];
static TIME: Metric = gauge("node_time_seconds", "The machine's clock, in Unix seconds.");
static FILES: [Metric; 2] = [
    gauge("node_filefd_allocated", "File descriptors in use."),
    gauge("node_filefd_maximum", "File descriptors that there can be."),
];
static NUMBERS: [(&str, Metric); 2] = [
    (
        "proc/sys/kernel/random/entropy_avail",
        gauge(
            "node_entropy_available_bits",
            "Bits of randomness that the kernel has.",
        ),
    ),
    (
        "proc/sys/kernel/random/poolsize",
        gauge(
            "node_entropy_pool_size_bits",
            "Bits of randomness that it can have.",
        ),
    ),
];
static UNAME: Metric = gauge(
    "node_uname_info",
    "Names of machine, kernel and architecture; always 1.",
);
static OS: Metric = gauge("node_os_info", "What /etc/os-release says; always 1.");
static OS_VERSION: Metric = gauge("node_os_version", "Version of the system, as a number.");
static SELINUX: Metric = gauge("node_selinux_enabled", "Whether SELinux is there.");
static CLOCKS: Metric = gauge(
    "node_time_clocksource_available_info",
    "Clocks that the kernel could go by; always 1.",
);
static CLOCK: Metric = gauge(
    "node_time_clocksource_current_info",
    "The clock that the kernel goes by; always 1.",
);

/// What is told by this module.
pub(super) fn metrics() -> impl Iterator<Item = &'static Metric> {
    let single = [&TIME, &UNAME, &OS, &OS_VERSION, &SELINUX, &CLOCKS, &CLOCK];
    LOAD.iter()
        .chain(&FILES)
        .chain(NUMBERS.iter().map(|(_, metric)| metric))
        .chain(single)
}

/// What the clock shows.
pub(super) fn time(_: &mut Files, sink: &mut impl Sink) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    sink.plain(&TIME, now.map_or(0.0, |now| now.as_secs_f64()));
}

/// `/proc/loadavg`.
pub(super) fn load(files: &mut Files, sink: &mut impl Sink) {
    if let Some(text) = files.line("proc/loadavg") {
        figures(sink, &LOAD, text.split_ascii_whitespace());
    }
}

/// `/proc/sys/fs/file-nr`.
pub(super) fn descriptors(files: &mut Files, sink: &mut impl Sink) {
    if let Some(text) = files.line("proc/sys/fs/file-nr") {
        // In between: those that are allocated and not used, 0 for two decades now.
        let words = text.split_ascii_whitespace().enumerate();
        let words = words.filter_map(|(at, word)| (at != 1).then_some(word));
        figures(sink, &FILES, words);
    }
}

/// Randomness that the kernel has.
pub(super) fn entropy(files: &mut Files, sink: &mut impl Sink) {
    for (path, metric) in &NUMBERS {
        if let Some(number) = files.number(path) {
            sink.plain(metric, number);
        }
    }
}

fn figures<'a>(sink: &mut impl Sink, metrics: &[Metric], words: impl Iterator<Item = &'a str>) {
    for (metric, word) in metrics.iter().zip(words) {
        if let Ok(number) = word.parse() {
            sink.plain(metric, number);
        }
    }
}

/// What machine and kernel are called.
pub(super) fn names(_: &mut Files, sink: &mut impl Sink) {
    let names = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let labels = [
        ("domainname", text(names.domainname())),
        ("machine", text(names.machine())),
        ("nodename", text(names.nodename())),
        ("release", text(names.release())),
        ("sysname", text(names.sysname())),
        ("version", text(names.version())),
    ];
    sink.put(&UNAME, &labels, 1.0);
}

/// Whether SELinux is there.
pub(super) fn selinux(files: &mut Files, sink: &mut impl Sink) {
    let is_there = files.path("sys/fs/selinux/enforce").exists();
    sink.plain(&SELINUX, f64::from(u8::from(is_there)));
}

/// Clocks that the kernel knows.
pub(super) fn clocks(files: &mut Files, sink: &mut impl Sink) {
    for device in files.names("sys/devices/system/clocksource") {
        let Some(number) = device.strip_prefix("clocksource") else {
            continue;
        };
        let folder = format!("sys/devices/system/clocksource/{device}");
        for (file, metric) in [("available", &CLOCKS), ("current", &CLOCK)] {
            let clocks = files.line(&format!("{folder}/{file}_clocksource"));
            for clock in clocks.unwrap_or_default().split_ascii_whitespace() {
                sink.put(metric, &[("clocksource", clock), ("device", number)], 1.0);
            }
        }
    }
}

/// `/etc/os-release`: lines such as `PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"`.
pub(super) fn release(files: &mut Files, sink: &mut impl Sink) {
    const KEYS: [&str; 12] = [
        "BUILD_ID",
        "ID",
        "ID_LIKE",
        "IMAGE_ID",
        "IMAGE_VERSION",
        "NAME",
        "PRETTY_NAME",
        "VARIANT",
        "VARIANT_ID",
        "VERSION",
        "VERSION_CODENAME",
        "VERSION_ID",
    ];
    let text = match files.read("etc/os-release") {
        Some(text) => text.to_owned(),
        None => match files.read("usr/lib/os-release") {
            Some(text) => text.to_owned(),
            None => return,
        },
    };
    let value = |key: &str| {
        let assigned = |line: &str| {
            let value = line.trim().strip_prefix(key)?.strip_prefix('=')?;
            Some(value.trim_matches(['"', '\'']).to_owned())
        };
        text.lines().find_map(assigned).unwrap_or_default()
    };
    let values = KEYS.map(|key| (key.to_ascii_lowercase(), value(key)));
    let labels: Vec<(&str, &str)> = values
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    sink.put(&OS, &labels, 1.0);
    // `22.04` is one; of `9.2.1` the first two parts are.
    let version = value("VERSION_ID");
    let number = version.split('.').take(2).collect::<Vec<_>>().join(".");
    if let Ok(number) = number.parse() {
        let labels = ["ID", "ID_LIKE", "NAME"].map(|key| (key.to_ascii_lowercase(), value(key)));
        let labels = labels.each_ref().map(|(k, v)| (k.as_str(), v.as_str()));
        sink.put(&OS_VERSION, &labels, number);
    }
}
