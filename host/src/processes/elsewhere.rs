//! Processes as `sysinfo` has them.

use std::time::Duration;

use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

use super::found::Found;

#[derive(Debug)]
pub(super) struct Machine {
    /// `None` when the system gives nothing at all.
    system: Option<System>,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self {
            system: System::new().ok(),
        }
    }

    /// At most `max`.
    pub(super) fn read(&mut self, found: &mut Vec<Found>, max: usize) {
        let Some(system) = &mut self.system else {
            return;
        };
        let kind = ProcessRefreshKind::nothing().with_cpu().with_memory();
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
        for (pid, process) in system.processes().iter().take(max) {
            found.push(Found {
                pid: pid.as_u32(),
                began: process.start_time(),
                name: process.name().to_string_lossy().into_owned(),
                cpu: Duration::from_millis(process.accumulated_cpu_time()),
                memory_bytes: process.memory(),
            });
        }
    }
}
