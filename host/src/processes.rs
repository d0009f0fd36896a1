//! The processes that use most: the top ten by CPU and by memory, each of the last five minutes.
//!
//! Names and numbers alone: what stands on a command line may be a secret.

#[cfg(any(test, not(target_os = "linux")))]
mod elsewhere;
mod found;
#[cfg(target_os = "linux")]
mod linux;

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

#[cfg(not(target_os = "linux"))]
use self::elsewhere as machine;
use self::found::Found;
#[cfg(target_os = "linux")]
use self::linux as machine;
use crate::source::round;

/// How often they are to be read. Shorter: it takes some milliseconds, more on a machine of
/// thousands of processes. Longer: what runs for a moment is not seen.
pub const PERIOD: Duration = Duration::from_secs(5);

/// Readings that are kept: five minutes of them.
const READINGS_MAX: usize = 60;

/// Processes told of each kind.
const TOP: usize = 10;

/// Processes that are looked at, at most.
const PROCESSES_MAX: usize = 100_000;

/// One process at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name, without path and arguments.
    pub name: String,
    /// Percent of one processor since the reading before, in steps of 0.1; 100 for each one that
    /// it kept busy.
    pub cpu_percent: f64,
    /// Bytes of memory that are its own or shared, and not on disk (resident set).
    pub memory_bytes: u64,
}

/// The processes of one moment that used most.
#[derive(Clone, Debug, PartialEq)]
pub struct Top {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// How many processes there were.
    pub count: usize,
    /// By CPU, most first; those that used none are left out.
    pub cpu: Vec<Process>,
    /// By memory, most first.
    pub memory: Vec<Process>,
}

/// Reads them.
#[derive(Debug)]
pub struct Processes {
    machine: machine::Machine,
    /// Processor time of each at the last reading.
    before: HashMap<(u32, u64), Duration>,
    read_at: Option<Instant>,
}

impl Processes {
    /// Nothing is read yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            machine: machine::Machine::new(),
            before: HashMap::new(),
            read_at: None,
        }
    }

    /// Reads all processes; some ten microseconds each. The first reading has nothing that CPU
    /// could be a difference to, so its list by CPU is empty.
    pub fn read(&mut self, at_ms: i64) -> Top {
        let now = Instant::now();
        let elapsed = self.read_at.replace(now).map(|at| now.duration_since(at));
        let mut found = Vec::new();
        self.machine.read(&mut found, PROCESSES_MAX);
        self.take(at_ms, elapsed, found)
    }

    fn take(&mut self, at_ms: i64, elapsed: Option<Duration>, found: Vec<Found>) -> Top {
        let count = found.len();
        let mut now = HashMap::with_capacity(count);
        let mut all = Vec::with_capacity(count);
        for process in found {
            let key = (process.pid, process.began);
            // One that began meanwhile has used all of it since.
            let before = self.before.get(&key).copied().unwrap_or_default();
            let share = elapsed.filter(|elapsed| !elapsed.is_zero()).map(|elapsed| {
                let used = process.cpu.saturating_sub(before).as_secs_f64();
                round(used / elapsed.as_secs_f64() * 100.0, 10.0)
            });
            now.insert(key, process.cpu);
            all.push(Process {
                pid: process.pid,
                name: process.name,
                cpu_percent: share.unwrap_or_default(),
                memory_bytes: process.memory_bytes,
            });
        }
        self.before = now;
        let cpu = top(&mut all, |a, b| a.cpu_percent.total_cmp(&b.cpu_percent));
        let memory = top(&mut all, |a, b| a.memory_bytes.cmp(&b.memory_bytes));
        let used = cpu.into_iter().filter(|process| process.cpu_percent > 0.0);
        Top {
            at_ms,
            count,
            cpu: used.collect(),
            memory,
        }
    }
}

/// What was read in the last five minutes.
#[derive(Debug, Default)]
pub struct Recent(VecDeque<Top>);

impl Recent {
    /// Keeps a reading; the oldest goes for it.
    pub fn push(&mut self, top: Top) {
        if self.0.len() == READINGS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(top);
    }

    /// What is kept, oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Top> {
        self.0.iter()
    }
}

impl Default for Processes {
    fn default() -> Self {
        Self::new()
    }
}

/// The greatest, greatest first; of equal ones the lower number first.
fn top(
    all: &mut [Process],
    compare: impl Fn(&Process, &Process) -> std::cmp::Ordering,
) -> Vec<Process> {
    let order = |a: &Process, b: &Process| compare(b, a).then(a.pid.cmp(&b.pid));
    if all.len() > TOP {
        all.select_nth_unstable_by(TOP, order);
    }
    let mut top = all[..all.len().min(TOP)].to_vec();
    top.sort_by(order);
    top
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pid: u32, began: u64, cpu_ms: u64, memory_bytes: u64) -> Found {
        Found {
            pid,
            began,
            name: format!("p{pid}"),
            cpu: Duration::from_millis(cpu_ms),
            memory_bytes,
        }
    }

    #[test]
    fn those_that_use_most_come_first_and_five_minutes_are_kept() {
        let mut processes = Processes::new();
        let at = |seconds: u64| {
            (0..30).map(move |pid| {
                found(
                    pid,
                    1,
                    seconds * u64::from(pid) * 10,
                    1_000 - u64::from(pid),
                )
            })
        };
        let first = processes.take(0, None, at(0).collect());
        assert_eq!(
            (first.cpu.len(), first.memory.len(), first.count),
            (0, 10, 30)
        );
        let second = processes.take(5_000, Some(Duration::from_secs(5)), at(5).collect());
        let pids: Vec<u32> = second.cpu.iter().map(|process| process.pid).collect();
        assert_eq!(pids, (20..30).rev().collect::<Vec<_>>());
        assert_eq!(second.cpu[0].cpu_percent, 29.0);
        assert_eq!(second.memory[0].pid, 0);
        let mut recent = Recent::default();
        for at_ms in 0..100 {
            recent.push(processes.take(at_ms, Some(PERIOD), Vec::new()));
        }
        let kept: Vec<i64> = recent.iter().map(|top| top.at_ms).collect();
        assert_eq!(kept, (40..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_number_that_is_given_again_is_another_process() {
        let mut processes = Processes::new();
        processes.take(0, None, vec![found(7, 1, 900_000, 1)]);
        let top = processes.take(
            5_000,
            Some(Duration::from_secs(5)),
            vec![found(7, 2, 500, 1)],
        );
        assert_eq!(top.cpu[0].cpu_percent, 10.0);
    }

    #[test]
    fn this_process_is_one_of_them() {
        let mut machine = machine::Machine::new();
        let mut found = Vec::new();
        machine.read(&mut found, PROCESSES_MAX);
        let own = found.iter().find(|found| found.pid == std::process::id());
        let own = own.expect("this process is there");
        assert!(own.memory_bytes > 0 && !own.name.is_empty(), "{own:?}");
        let mut few = Vec::new();
        elsewhere::Machine::new().read(&mut few, 3);
        assert!((1..=3).contains(&few.len()));
    }
}
