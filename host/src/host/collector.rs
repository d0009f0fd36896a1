//! What is too slow or too risky to read in a tick, read by a thread of its own: network, disks,
//! processes, temperatures. A network file system that hangs, or a sensor that takes its time,
//! then costs figures and not ticks.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use sysinfo::{Components, DiskRefreshKind, Disks, Networks};

use crate::source::{Extra, percent, round};

/// Surveys begin at least this far apart: with a shorter tick rates would be of too few bytes to
/// mean much, and reading them would cost more than all else.
const SURVEY_PERIOD_MIN: Duration = Duration::from_millis(500);

/// Space, processes and temperatures change slowly; between, the last ones are given again.
const SLOW_PERIOD: Duration = Duration::from_secs(10);

/// Interfaces of containers: their names are random, and each would be a series for ever.
const PASSING_INTERFACES: [&str; 4] = ["veth", "cali", "lxc", "tap"];

/// File systems that are none of a disk, or a copy of another's figures.
const UNREAL_FILE_SYSTEMS: [&str; 14] = [
    "autofs",
    "bpf",
    "configfs",
    "debugfs",
    "efivarfs",
    "erofs",
    "fuse.gvfsd-fuse",
    "fuse.portal",
    "fusectl",
    "nsfs",
    "ramfs",
    "securityfs",
    "tmpfs",
    "tracefs",
];

/// The tick's end of the thread. Dropping it ends the thread after what it is doing.
#[derive(Debug)]
pub(super) struct Collector {
    /// One question may wait: a thread that hangs is not asked again and again.
    ask: SyncSender<()>,
    answers: Receiver<Vec<Extra>>,
    asked: Option<Instant>,
}

impl Collector {
    /// Starts the thread, which surveys once right away. Where no thread can be had, there are no
    /// surveys.
    pub(super) fn start() -> Self {
        let (ask, questions) = sync_channel(1);
        let (answer, answers) = sync_channel(1);
        let started = thread::Builder::new()
            .name("host-survey".to_owned())
            .spawn(move || serve(&questions, &answer));
        if let Err(error) = started {
            tracing::warn!(%error, "no thread to survey disks and network with");
        }
        let mut surveyor = Self {
            ask,
            answers,
            asked: None,
        };
        surveyor.ask();
        surveyor
    }

    /// What was found after the last call, empty when that is not finished; and asks for more.
    /// Never waits.
    pub(super) fn take(&mut self) -> Vec<Extra> {
        let found = self.answers.try_recv().unwrap_or_default();
        self.ask();
        found
    }

    fn ask(&mut self) {
        let now = Instant::now();
        let due = self
            .asked
            .is_none_or(|asked| now.duration_since(asked) >= SURVEY_PERIOD_MIN);
        // Refused while the thread is busy, or gone: then there is nothing to wait for either.
        if due && self.ask.try_send(()).is_ok() {
            self.asked = Some(now);
        }
    }
}

/// The thread: answers questions until nobody asks any more.
fn serve(questions: &Receiver<()>, answer: &SyncSender<Vec<Extra>>) {
    let mut survey = Devices::new();
    while questions.recv().is_ok() {
        if answer.send(survey.make(Instant::now())).is_err() {
            break;
        }
    }
}

/// What the thread keeps between surveys, since rates are differences. `None` for what the system
/// does not give.
struct Devices {
    networks: Option<Networks>,
    disks: Option<Disks>,
    components: Option<Components>,
    /// When rates were last read.
    at: Option<Instant>,
    /// The figures that change slowly, and when they were read.
    slow: Option<(Instant, Vec<Extra>)>,
}

impl Devices {
    fn new() -> Self {
        Self {
            networks: Networks::new().ok(),
            disks: Disks::new().ok(),
            components: Components::new().ok(),
            at: None,
            slow: None,
        }
    }

    fn make(&mut self, now: Instant) -> Vec<Extra> {
        let slow_is_due = self
            .slow
            .as_ref()
            .is_none_or(|(at, _)| now.duration_since(*at) >= SLOW_PERIOD);
        if let Some(networks) = &mut self.networks {
            networks.refresh(true);
        }
        if let Some(disks) = &mut self.disks {
            let kind = DiskRefreshKind::nothing().with_io_usage();
            disks.refresh_specifics(
                true,
                if slow_is_due {
                    kind.with_storage()
                } else {
                    kind
                },
            );
        }
        if slow_is_due {
            if let Some(components) = &mut self.components {
                components.refresh(true);
            }
            let slow = self.slow_extras();
            self.slow = Some((now, slow));
        }

        let mut extras = Vec::new();
        // The first refresh has nothing to be a difference to.
        if let Some(at) = self.at.replace(now) {
            self.rates(now.duration_since(at), &mut extras);
        }
        extras.extend(self.slow.iter().flat_map(|(_, slow)| slow).cloned());
        extras
    }

    /// Bytes a second since the last survey, by interface and by device, sorted by name.
    fn rates(&self, elapsed: Duration, extras: &mut Vec<Extra>) {
        let seconds = elapsed.as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let rate = |bytes: u64| (bytes as f64 / seconds).round();

        let interfaces: BTreeMap<String, _> = self
            .networks
            .iter()
            .flat_map(|networks| networks.iter())
            .map(|(name, data)| (name.to_string_lossy().into_owned(), data))
            .filter(|(name, _)| interface_is_lasting(name))
            .collect();
        for (name, data) in interfaces {
            for (metric, bytes) in [
                ("network_receive", data.received()),
                ("network_transmit", data.transmitted()),
            ] {
                extras.push(Extra::labelled(
                    metric,
                    "B/s",
                    "interface",
                    name.clone(),
                    rate(bytes),
                ));
            }
        }

        // Several mounts of a device repeat its figures. A device that never moved a byte is one
        // that the system does not count.
        let devices: BTreeMap<String, _> = self
            .disks
            .iter()
            .flat_map(|disks| disks.iter())
            .map(|disk| (device_name(&disk.name().to_string_lossy()), disk.usage()))
            .filter(|(_, usage)| usage.total_read_bytes + usage.total_written_bytes > 0)
            .collect();
        for (name, usage) in devices {
            for (metric, bytes) in [
                ("disk_read", usage.read_bytes),
                ("disk_write", usage.written_bytes),
            ] {
                extras.push(Extra::labelled(
                    metric,
                    "B/s",
                    "device",
                    name.clone(),
                    rate(bytes),
                ));
            }
        }
    }

    fn slow_extras(&self) -> Vec<Extra> {
        let mut extras = Vec::new();
        if let Some(count) = process_count() {
            extras.push(Extra::plain("process_count", "", count as f64));
        }

        let mounts = self
            .disks
            .iter()
            .flat_map(|disks| disks.iter())
            .map(|disk| Mount {
                device: disk.name().to_string_lossy().into_owned(),
                path: disk.mount_point().to_string_lossy().into_owned(),
                file_system: disk.file_system().to_string_lossy().into_owned(),
                bytes_total: disk.total_space(),
                bytes_free: disk.available_space(),
            });
        // A container's single files are mounts of their own.
        for mount in real_mounts(mounts.filter(|mount| Path::new(&mount.path).is_dir())) {
            let used = mount.bytes_total.saturating_sub(mount.bytes_free) as f64;
            if let Some(share) = percent(used, mount.bytes_total as f64) {
                extras.push(Extra::labelled(
                    "disk_usage",
                    "%",
                    "mount",
                    mount.path,
                    share,
                ));
            }
        }

        let temperatures = self
            .components
            .iter()
            .flat_map(|components| components.iter())
            .filter_map(|component| {
                let degrees = component
                    .temperature()
                    .filter(|degrees| degrees.is_finite())?;
                Some((component.label().trim().to_owned(), f64::from(degrees)))
            });
        for (sensor, degrees) in named_once(temperatures) {
            extras.push(Extra::labelled(
                "temperature",
                "°C",
                "sensor",
                sensor,
                round(degrees, 10.0),
            ));
        }
        extras
    }
}

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    device: String,
    path: String,
    file_system: String,
    bytes_total: u64,
    bytes_free: u64,
}

/// The file systems that are disks, each device once (at its shortest path), sorted by path.
fn real_mounts(mounts: impl Iterator<Item = Mount>) -> Vec<Mount> {
    let mut real: Vec<Mount> = mounts
        .filter(|mount| {
            let unreal = UNREAL_FILE_SYSTEMS.contains(&mount.file_system.as_str())
                // Layers of containers repeat the disk below, but for the one we stand on.
                || (mount.file_system == "overlay" && mount.path != "/");
            mount.bytes_total > 0 && !unreal
        })
        .collect();
    real.sort_by(|a, b| (a.path.len(), &a.path).cmp(&(b.path.len(), &b.path)));
    let mut devices = HashSet::new();
    let mut paths = HashSet::new();
    real.retain(|mount| devices.insert(mount.device.clone()) && paths.insert(mount.path.clone()));
    real.sort_by(|a, b| a.path.cmp(&b.path));
    real
}

/// Sorted by name, with ` #2`, ` #3` … behind a name that is there again.
fn named_once(items: impl Iterator<Item = (String, f64)>) -> Vec<(String, f64)> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut named: Vec<(String, f64)> = items
        .map(|(name, value)| {
            let count = seen.entry(name.clone()).or_default();
            *count += 1;
            match *count {
                1 => (name, value),
                count => (format!("{name} #{count}"), value),
            }
        })
        .collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    named
}

/// Whether an interface is one of the machine's own: neither the loopback nor a container's.
fn interface_is_lasting(name: &str) -> bool {
    let loopback = name == "lo" || name == "lo0";
    !loopback
        && !PASSING_INTERFACES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// `/dev/sda1` as `sda1`.
fn device_name(path: &str) -> String {
    path.strip_prefix("/dev/").unwrap_or(path).to_owned()
}

/// How many processes there are: on Linux the folders of `/proc` that are numbers, which is
/// hundreds of times cheaper than asking for each process what it is.
#[cfg(target_os = "linux")]
fn process_count() -> Option<usize> {
    let entries = std::fs::read_dir("/proc").ok()?;
    Some(
        entries
            .flatten()
            .filter(|entry| {
                entry
                    .file_name()
                    .as_encoded_bytes()
                    .iter()
                    .all(u8::is_ascii_digit)
            })
            .count(),
    )
}

/// How many processes there are.
#[cfg(not(target_os = "linux"))]
fn process_count() -> Option<usize> {
    let mut system = sysinfo::System::new().ok()?;
    Some(system.refresh_processes_specifics(
        sysinfo::ProcessesToUpdate::All,
        true,
        sysinfo::ProcessRefreshKind::nothing(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(device: &str, path: &str, file_system: &str, bytes_total: u64) -> Mount {
        Mount {
            device: device.to_owned(),
            path: path.to_owned(),
            file_system: file_system.to_owned(),
            bytes_total,
            bytes_free: 0,
        }
    }

    #[test]
    fn only_disks_are_kept_and_each_once() {
        let mounts = [
            mount("tmpfs", "/tmp", "tmpfs", 9),
            mount("/dev/sda1", "/var/lib/bind", "ext4", 9),
            mount("/dev/sda1", "/", "ext4", 9),
            mount("/dev/sdb1", "/home", "xfs", 9),
            mount("/dev/sdc1", "/empty", "vfat", 0),
            mount("overlay", "/var/lib/docker/overlay2/x/merged", "overlay", 9),
        ];
        let paths: Vec<String> = real_mounts(mounts.into_iter())
            .into_iter()
            .map(|mount| mount.path)
            .collect();
        assert_eq!(paths, ["/", "/home"]);
        let container = [mount("overlay", "/", "overlay", 9)];
        assert_eq!(real_mounts(container.into_iter()).len(), 1);
    }

    #[test]
    fn passing_interfaces_are_no_series() {
        for (name, expect) in [
            ("eth0", true),
            ("wlan0", true),
            ("docker0", true),
            ("lo", false),
            ("veth12ab", false),
        ] {
            assert_eq!(interface_is_lasting(name), expect, "{name}");
        }
    }

    #[test]
    fn sensors_of_one_name_are_numbered() {
        let items = [("b", 1.0), ("a", 2.0), ("b", 3.0)].map(|(n, v)| (n.to_owned(), v));
        let names: Vec<String> = named_once(items.into_iter())
            .into_iter()
            .map(|i| i.0)
            .collect();
        assert_eq!(names, ["a", "b", "b #2"]);
    }

    #[test]
    fn rates_come_with_the_second_survey() {
        let mut survey = Devices::new();
        let start = Instant::now();
        let first = survey.make(start);
        assert!(first.iter().all(|extra| extra.unit != "B/s"), "{first:?}");
        let second = survey.make(start + Duration::from_secs(1));
        assert!(second.len() >= first.len(), "the slow ones are given again");
        assert!(second.iter().all(|extra| extra.value.is_finite()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn processes_are_counted() {
        assert!(process_count().is_some_and(|count| count > 0));
    }
}
