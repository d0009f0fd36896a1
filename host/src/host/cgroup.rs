//! What a container may use, by its control group (Linux, version 2 of the interface): a share of
//! the machine's memory and CPU time says little to somebody who has one core of sixty-four.
//!
//! The group of this process and the groups around it can each be limited; the smallest memory
//! limit and the smallest CPU limit below what the machine has are taken, each with the use of the
//! group that it is set on. See the kernel's `Documentation/admin-guide/cgroup-v2.rst`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::source::percent;

/// Where the version 2 hierarchy is mounted, by itself or beside version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// The limits on this process; empty on a machine without any.
#[derive(Debug, Default)]
pub(super) struct Limits {
    memory: Option<MemoryLimit>,
    cpu: Option<CpuLimit>,
}

/// A limit on memory.
#[derive(Debug)]
struct MemoryLimit {
    /// The group it is set on.
    group: PathBuf,
    bytes: u64,
}

/// A limit on CPU time.
#[derive(Debug)]
struct CpuLimit {
    /// The group it is set on.
    group: PathBuf,
    /// Cores' worth of time, such as 1.5.
    cores: f64,
}

/// CPU time that a group used since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CpuTime(Duration);

impl Limits {
    /// The limits that hold on a machine of this many bytes and cores.
    pub(super) fn read(machine_bytes: u64, machine_cores: usize) -> Self {
        let Some(path) = fs::read_to_string("/proc/self/cgroup")
            .ok()
            .and_then(|text| group_path(&text).map(ToOwned::to_owned))
        else {
            return Self::default();
        };
        MOUNTS
            .iter()
            .map(Path::new)
            .find(|mount| mount.join("cgroup.controllers").is_file())
            .map_or_else(Self::default, |mount| {
                Self::read_at(mount, &path, machine_bytes, machine_cores)
            })
    }

    /// The same below `mount`, for the group called `path` (with a leading slash).
    fn read_at(mount: &Path, path: &str, machine_bytes: u64, machine_cores: usize) -> Self {
        let mut limits = Self::default();
        let (mut bytes, mut cores) = (machine_bytes, machine_cores as f64);
        let own = mount.join(path.trim_start_matches('/'));
        // In a container that sees only its own part, the path may lead out of what is mounted.
        let own = if own.is_dir() { own } else { mount.to_owned() };
        for group in own.ancestors().take_while(|group| group.starts_with(mount)) {
            if let Some(limit) = read(group, "memory.max").and_then(|text| memory_max(&text))
                && limit < bytes
            {
                bytes = limit;
                limits.memory = Some(MemoryLimit {
                    group: group.to_owned(),
                    bytes,
                });
            }
            if let Some(limit) = read(group, "cpu.max").and_then(|text| cpu_max(&text))
                && limit < cores
            {
                cores = limit;
                limits.cpu = Some(CpuLimit {
                    group: group.to_owned(),
                    cores,
                });
            }
        }
        limits
    }

    /// Bytes used and bytes allowed; `None` without a limit. File pages that the kernel gives back
    /// when asked are not counted, as container tools do.
    pub(super) fn memory(&self) -> Option<(u64, u64)> {
        let limit = self.memory.as_ref()?;
        let current: u64 = read(&limit.group, "memory.current")?.trim().parse().ok()?;
        let idle = read(&limit.group, "memory.stat")
            .and_then(|text| field(&text, "inactive_file"))
            .unwrap_or(0);
        Some((current.saturating_sub(idle), limit.bytes))
    }

    /// CPU time used so far; `None` without a limit.
    pub(super) fn cpu_time(&self) -> Option<CpuTime> {
        let limit = self.cpu.as_ref()?;
        let micros = field(&read(&limit.group, "cpu.stat")?, "usage_usec")?;
        Some(CpuTime(Duration::from_micros(micros)))
    }

    /// Percent of the allowed CPU time that was used between two times `elapsed` apart.
    pub(super) fn cpu_percent(&self, earlier: CpuTime, later: CpuTime, elapsed: Duration) -> f64 {
        let cores = self.cpu.as_ref().map_or(0.0, |limit| limit.cores);
        let used = later.0.saturating_sub(earlier.0).as_secs_f64();
        percent(used, elapsed.as_secs_f64() * cores).unwrap_or(0.0)
    }
}

fn read(group: &Path, file: &str) -> Option<String> {
    fs::read_to_string(group.join(file)).ok()
}

/// The path of the version 2 group in `/proc/self/cgroup`: the line `0::PATH`.
fn group_path(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// `memory.max`: bytes, or `max` for no limit.
fn memory_max(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `cpu.max` in cores: `QUOTA PERIOD` in microseconds, or `max PERIOD` for no limit.
fn cpu_max(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let quota: f64 = words.next()?.parse().ok()?;
    let period: f64 = words.next()?.parse().ok()?;
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

/// The number behind `name` in a file of `NAME NUMBER` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        (key == name).then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn files_of_the_kernel_are_understood() {
        assert_eq!(group_path("4:memory:/a\n0::/b/c\n"), Some("/b/c"));
        assert_eq!(group_path("4:memory:/a\n"), None);
        assert_eq!(memory_max("1073741824\n"), Some(GIB));
        assert_eq!(memory_max("max\n"), None);
        assert_eq!(cpu_max("150000 100000\n"), Some(1.5));
        assert_eq!(cpu_max("max 100000\n"), None);
        assert_eq!(cpu_max("100000 0\n"), None);
        assert_eq!(cpu_max(""), None);
        let stat = "usage_usec 7000000\nuser_usec 5\nnr_throttled 0\n";
        assert_eq!(field(stat, "usage_usec"), Some(7_000_000));
        assert_eq!(field(stat, "usage"), None);
    }

    /// Makes the group `path` below `mount` with these files.
    fn group(mount: &Path, path: &str, files: &[(&str, &str)]) {
        let folder = mount.join(path);
        fs::create_dir_all(&folder).expect("the folder is made");
        for (name, text) in files {
            fs::write(folder.join(name), text).expect("the file is written");
        }
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_holds() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mount = folder.path();
        group(
            mount,
            "",
            &[("memory.max", "1"), ("cgroup.controllers", "")],
        );
        fs::remove_file(mount.join("memory.max")).expect("the root has no limits");
        let outer = [
            ("memory.max", "1073741824"),
            ("memory.current", "536870912"),
            ("memory.stat", "anon 1\ninactive_file 268435456\n"),
            ("cpu.max", "max 100000"),
        ];
        group(mount, "outer", &outer);
        let inner = [
            ("memory.max", "max"),
            ("cpu.max", "50000 100000"),
            ("cpu.stat", "usage_usec 1500000\n"),
        ];
        group(mount, "outer/inner", &inner);

        let limits = Limits::read_at(mount, "/outer/inner", 8 * GIB, 4);
        assert_eq!(limits.memory(), Some((GIB / 4, GIB)));
        let time = limits.cpu_time().expect("the inner group tells");
        assert_eq!(time, CpuTime(Duration::from_millis(1500)));
        let later = CpuTime(Duration::from_millis(1750));
        // A quarter of a second of the half that one second allows.
        assert_eq!(
            limits.cpu_percent(time, later, Duration::from_secs(1)),
            50.0
        );
        assert_eq!(limits.cpu_percent(later, time, Duration::from_secs(1)), 0.0);
        assert_eq!(limits.cpu_percent(time, later, Duration::ZERO), 0.0);
    }

    #[test]
    fn limits_that_exceed_the_machine_are_none() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = [("memory.max", "17179869184"), ("cpu.max", "800000 100000")];
        group(folder.path(), "", &files);
        let limits = Limits::read_at(folder.path(), "/elsewhere", 8 * GIB, 4);
        assert_eq!(limits.memory(), None);
        assert_eq!(limits.cpu_time(), None);
    }
}
