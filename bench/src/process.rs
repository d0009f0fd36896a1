//! What `/proc` says about a server: processor time and memory, of all its processes.

use std::{fs, path::Path};

/// A server's processes: the one that was started, and its children.
#[derive(Clone, Debug)]
pub struct Server {
    pids: Vec<u32>,
}

impl Server {
    /// The process `pid` and its children of now.
    #[must_use]
    pub fn new(pid: u32) -> Self {
        let mut pids = vec![pid];
        let mut index = 0;
        while let Some(pid) = pids.get(index).copied() {
            index += 1;
            for thread in entries(&format!("/proc/{pid}/task")) {
                let children = format!("/proc/{pid}/task/{thread}/children");
                let children = fs::read_to_string(children).unwrap_or_default();
                pids.extend(children.split_whitespace().flat_map(str::parse::<u32>));
            }
        }
        Self { pids }
    }

    /// Processor time of all threads so far, user and system, in microseconds. Taken from the
    /// scheduler's nanoseconds; `stat` counts in hundredths of a second, which is as much as a
    /// thousand deliveries take.
    #[must_use]
    pub fn cpu_us(&self) -> u64 {
        let threads = self.pids.iter().flat_map(|pid| {
            entries(&format!("/proc/{pid}/task"))
                .into_iter()
                .map(move |thread| format!("/proc/{pid}/task/{thread}/schedstat"))
        });
        let nanos: u64 = threads
            .filter_map(|path| {
                let text = fs::read_to_string(path).ok()?;
                text.split_whitespace().next()?.parse::<u64>().ok()
            })
            .sum();
        nanos / 1_000
    }

    /// Processor time so far, threads that have ended included, in microseconds; it counts in
    /// hundredths of a second, so measure for some seconds.
    #[must_use]
    pub fn cpu_ticks_us(&self) -> u64 {
        /// `sysconf(_SC_CLK_TCK)` of every Linux that this runs on.
        const TICK_US: u64 = 10_000;
        let ticks: u64 = self
            .pids
            .iter()
            .filter_map(|pid| ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
            .sum();
        ticks * TICK_US
    }

    /// Resident memory in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.pids
            .iter()
            .filter_map(|pid| {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
                number_after(&status, "VmRSS:")
            })
            .sum::<u64>()
            * 1024
    }
}

impl Server {
    /// The most that was resident at once so far, in bytes.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        self.pids
            .iter()
            .filter_map(|pid| {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
                number_after(&status, "VmHWM:")
            })
            .sum::<u64>()
            * 1024
    }
}

/// Memory that the kernel holds for all TCP sockets of this machine, in bytes.
#[must_use]
pub fn kernel_tcp_bytes() -> u64 {
    /// Pages of every Linux that this runs on.
    const PAGE_BYTES: u64 = 4096;
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    text.lines()
        .find(|line| line.starts_with("TCP:"))
        .and_then(|line| number_after(line, " mem "))
        .unwrap_or(0)
        * PAGE_BYTES
}

/// User and system time in a process's `stat`, behind the name, which may have spaces in it.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut number = || fields.next()?.parse::<u64>().ok();
    Some(number()? + number()?)
}

fn number_after(text: &str, label: &str) -> Option<u64> {
    let (_, rest) = text.split_once(label)?;
    rest.split_whitespace().next()?.parse().ok()
}

fn entries(folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(Path::new(folder)) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_time_and_memory() {
        let server = Server::new(std::process::id());
        assert!(server.cpu_us() > 0);
        assert!(server.resident_bytes() > 0);
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 30 12 13";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(number_after("TCP: inuse 5 mem 12", " mem "), Some(12));
    }
}
