//! Memory: `/proc/meminfo` and `/proc/vmstat`.

use pulseboard_series::Kind;

use super::files::Files;
use crate::metric::Sink;

/// What the names of `/proc/meminfo`'s lines begin with here.
pub(super) const MEMORY: &str = "node_memory_";
/// What the names of `/proc/vmstat`'s lines begin with here.
pub(super) const PAGING: &str = "node_vmstat_";

/// `/proc/meminfo`: `MemTotal:  24684092 kB` is `node_memory_MemTotal_bytes`, `Active(anon)` is
/// `Active_anon`; what has no unit is a plain number.
pub(super) fn memory(files: &mut Files, sink: &mut impl Sink) {
    let Some(text) = files.read("proc/meminfo") else {
        return;
    };
    for line in text.lines() {
        let Some((name, rest)) = line.split_once(':') else {
            continue;
        };
        let mut words = rest.split_ascii_whitespace();
        let Some(value) = words.next().and_then(|word| word.parse::<f64>().ok()) else {
            continue;
        };
        let (part, kind) = match name.strip_suffix(')').and_then(|name| name.split_once('(')) {
            Some((part, kind)) => (part, kind),
            None => (name, ""),
        };
        let dash = if kind.is_empty() { "" } else { "_" };
        let (unit, scale) = match words.next() {
            Some("kB") => ("_bytes", 1024.0),
            _ => ("", 1.0),
        };
        let pieces = [MEMORY, part, dash, kind, unit];
        sink.sample(&pieces, Kind::Gauge, &[("", ""); 0], value * scale);
    }
}

/// `/proc/vmstat`: how pages come and go, out of some 190 lines.
pub(super) fn paging(files: &mut Files, sink: &mut impl Sink) {
    let Some(text) = files.read("proc/vmstat") else {
        return;
    };
    for line in text.lines().filter(|line| is_told(line)) {
        if let Some((name, number)) = line.split_once(' ')
            && let Ok(number) = number.trim().parse::<f64>()
        {
            sink.sample(&[PAGING, name], Kind::Unknown, &[("", ""); 0], number);
        }
    }
}

fn is_told(line: &str) -> bool {
    line.starts_with("oom_kill")
        || line.starts_with("pgpg")
        || line.starts_with("pswp")
        || line.starts_with("pg") && line.contains("fault")
}
