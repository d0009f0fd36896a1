//! What a control group says of itself (kernel: Documentation/admin-guide/cgroup-v2.rst).

use std::{borrow::Cow, fs::File, io::Read, path::Path};

use pulseboard_series::Kind;

use crate::metric::{Metric, Sink, counter, gauge};

/// Bytes of one file that are read at most.
const FILE_BYTES_MAX: u64 = 256 << 10;

static CPU: Metric = counter(
    "container_cpu_usage_seconds_total",
    "Processor time that it used.",
);
/// Lines of `cpu.stat`, and what makes them seconds.
static CPU_STAT: [(&str, Metric, f64); 5] = [
    (
        "user_usec",
        counter(
            "container_cpu_user_seconds_total",
            "Of it, in programs themselves.",
        ),
        1e-6,
    ),
    (
        "system_usec",
        counter(
            "container_cpu_system_seconds_total",
            "Of it, in the kernel.",
        ),
        1e-6,
    ),
    (
        "nr_periods",
        counter(
            "container_cpu_cfs_periods_total",
            "Periods for which it has a limit.",
        ),
        1.0,
    ),
    (
        "nr_throttled",
        counter(
            "container_cpu_cfs_throttled_periods_total",
            "Of them, those in which it was held at its limit.",
        ),
        1.0,
    ),
    (
        "throttled_usec",
        counter(
            "container_cpu_cfs_throttled_seconds_total",
            "Time that it was held.",
        ),
        1e-6,
    ),
];
static MEMORY: Metric = gauge(
    "container_memory_usage_bytes",
    "Memory that it has, files that are cached for it too.",
);
static WORKING_SET: Metric = gauge(
    "container_memory_working_set_bytes",
    "Memory that it has, without files that were not looked at lately.",
);
static LIMIT: Metric = gauge(
    "container_spec_memory_limit_bytes",
    "Memory that it may have; 0 where there is no limit.",
);
/// Lines of `memory.stat`.
static MEMORY_STAT: [(&str, Metric); 3] = [
    (
        "anon",
        gauge("container_memory_rss", "Memory of programs themselves."),
    ),
    (
        "file",
        gauge("container_memory_cache", "Memory of files that are cached."),
    ),
    (
        "file_mapped",
        gauge("container_memory_mapped_file", "Memory of files in use."),
    ),
];
static SWAP: Metric = gauge("container_memory_swap", "Memory that is on disk.");
/// Entries of a device's line of `io.stat`.
static IO: [(&str, Metric); 4] = [
    (
        "rbytes",
        counter("container_fs_reads_bytes_total", "Bytes read."),
    ),
    (
        "wbytes",
        counter("container_fs_writes_bytes_total", "Bytes written."),
    ),
    ("rios", counter("container_fs_reads_total", "Reads.")),
    ("wios", counter("container_fs_writes_total", "Writes.")),
];
static THREADS: Metric = gauge("container_threads", "Threads that it has.");
static THREADS_MAX: Metric = gauge(
    "container_threads_max",
    "Threads that it may have; 0 where there is no limit.",
);
static SEEN: Metric = gauge(
    "container_last_seen",
    "When it was measured, in Unix seconds.",
);

/// How a metric of these grows and what it says; `None` for one that is not of these.
#[must_use]
pub fn describe(name: &str) -> Option<(Kind, Cow<'static, str>)> {
    let single = [
        &CPU,
        &MEMORY,
        &WORKING_SET,
        &LIMIT,
        &SWAP,
        &THREADS,
        &THREADS_MAX,
        &SEEN,
    ];
    let mut all = single
        .into_iter()
        .chain(CPU_STAT.iter().map(|(_, metric, _)| metric))
        .chain(MEMORY_STAT.iter().chain(&IO).map(|(_, metric)| metric));
    let metric = all.find(|metric| metric.name == name)?;
    Some((metric.kind, metric.help.into()))
}

/// All that the group in `folder` says, with these labels. `text` is a buffer.
pub(super) fn read(
    folder: &Path,
    labels: &[(&str, &str); 3],
    text: &mut String,
    sink: &mut impl Sink,
) {
    let mut file = |name: &str| -> Option<String> {
        text.clear();
        let file = File::open(folder.join(name)).ok()?;
        file.take(FILE_BYTES_MAX).read_to_string(text).ok()?;
        Some(text.clone())
    };
    let number = |text: Option<String>| text?.trim().parse::<f64>().ok();
    let Some(cpu) = file("cpu.stat") else {
        // It has gone.
        return;
    };
    let with = |label: &'static str, value: &'static str| {
        let [id, image, name] = *labels;
        [(label, value), id, image, name]
    };
    if let Some(micros) = line(&cpu, "usage_usec") {
        sink.put(&CPU, &with("cpu", "total"), micros / 1e6);
    }
    for (word, metric, scale) in &CPU_STAT {
        if let Some(value) = line(&cpu, word) {
            sink.put(metric, labels, value * scale);
        }
    }
    let memory = number(file("memory.current"));
    let stat = file("memory.stat").unwrap_or_default();
    if let Some(bytes) = memory {
        sink.put(&MEMORY, labels, bytes);
        let inactive = line(&stat, "inactive_file").unwrap_or_default();
        sink.put(&WORKING_SET, labels, (bytes - inactive).max(0.0));
        // `max` is no limit.
        let limit = number(file("memory.max")).unwrap_or_default();
        sink.put(&LIMIT, labels, limit);
    }
    for (word, metric) in &MEMORY_STAT {
        if let Some(bytes) = line(&stat, word) {
            sink.put(metric, labels, bytes);
        }
    }
    if let Some(bytes) = number(file("memory.swap.current")) {
        sink.put(&SWAP, labels, bytes);
    }
    for device in file("io.stat").unwrap_or_default().lines() {
        let Some((device, entries)) = device.split_once(' ') else {
            continue;
        };
        let [id, image, name] = *labels;
        let labels = [("device", device), id, image, name];
        for (word, metric) in &IO {
            let entries = entries.split_ascii_whitespace();
            let mut entries = entries.filter_map(|entry| entry.split_once('='));
            let value = entries.find(|(name, _)| name == word);
            if let Some(value) = value.and_then(|(_, value)| value.parse().ok()) {
                sink.put(metric, &labels, value);
            }
        }
    }
    if let Some(threads) = number(file("pids.current")) {
        sink.put(&THREADS, labels, threads);
        let most = number(file("pids.max")).unwrap_or_default();
        sink.put(&THREADS_MAX, labels, most);
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0.0, |now| now.as_secs_f64().floor());
    sink.put(&SEEN, labels, now);
}

/// The number of a line such as `usage_usec 4711`.
fn line(text: &str, word: &str) -> Option<f64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let (_, value) = lines.find(|(name, _)| *name == word)?;
    value.parse().ok()
}
