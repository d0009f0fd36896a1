//! Processes as `/proc` has them: one file each.

use std::{
    fs::{self, File},
    io::Read,
    time::Duration,
};

use super::found::Found;

/// Ticks of the kernel's clock a second as it is shown to programs.
const TICKS_PER_SECOND: u64 = 100;

/// More than a line of `/proc/PID/stat` has.
const LINE_BYTES_MAX: u64 = 4_096;

#[derive(Debug)]
pub(super) struct Machine {
    page_bytes: u64,
    line: Vec<u8>,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self {
            page_bytes: rustix::param::page_size() as u64,
            line: Vec::new(),
        }
    }

    /// At most `max`; those that end meanwhile are not there.
    pub(super) fn read(&mut self, found: &mut Vec<Found>, max: usize) {
        let Ok(entries) = fs::read_dir("/proc") else {
            return;
        };
        let pids = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        for pid in pids.take(max) {
            self.line.clear();
            let read = File::open(format!("/proc/{pid}/stat"))
                .and_then(|file| file.take(LINE_BYTES_MAX).read_to_end(&mut self.line));
            if read.is_ok() {
                let line = String::from_utf8_lossy(&self.line);
                found.extend(process(pid, &line, self.page_bytes));
            }
        }
    }
}

/// `42 (some name) S 1 …` (proc_pid_stat(5)); the name may have anything in it, parentheses too.
fn process(pid: u32, line: &str, page_bytes: u64) -> Option<Found> {
    let (_, rest) = line.split_once('(')?;
    let (name, rest) = rest.rsplit_once(')')?;
    // From the third field on.
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = field(14)? + field(15)?;
    Some(Found {
        pid,
        began: field(22)?,
        name: name.to_owned(),
        cpu: Duration::from_millis(ticks * (1_000 / TICKS_PER_SECOND)),
        memory_bytes: field(24)? * page_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_parentheses_and_spaces() {
        let line = "42 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 3 0 777 1000 12 99";
        let found = process(42, line, 4096).expect("a process");
        assert_eq!(
            (found.pid, found.began, &*found.name),
            (42, 777, "a) b (c)")
        );
        assert_eq!(found.cpu, Duration::from_secs(2));
        assert_eq!(found.memory_bytes, 12 * 4096);
        assert!(process(42, "42 (a) S 1", 4096).is_none());
    }
}
