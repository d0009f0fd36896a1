//! Mounted file systems: `/proc/1/mounts` and what each says of itself. Asking one may hang (a
//! server that is gone), so this is for a thread that may.

use std::{collections::HashSet, ffi::OsString, os::unix::ffi::OsStringExt};

use super::files::Files;
use crate::metric::{Metric, Sink, gauge};

static SIZE: Metric = gauge("node_filesystem_size_bytes", "Bytes that it has.");
static FREE: Metric = gauge("node_filesystem_free_bytes", "Bytes that are free.");
static AVAIL: Metric = gauge(
    "node_filesystem_avail_bytes",
    "Bytes that are free for who is not root.",
);
static NODES: Metric = gauge("node_filesystem_files", "Files (inodes) that it can have.");
static NODES_FREE: Metric = gauge(
    "node_filesystem_files_free",
    "Files (inodes) that can still be made.",
);
static READ_ONLY: Metric = gauge(
    "node_filesystem_readonly",
    "Whether nothing can be written to it.",
);
static ERROR: Metric = gauge(
    "node_filesystem_device_error",
    "Whether it did not say how large it is.",
);

/// What is told by this module.
pub(super) fn metrics() -> impl Iterator<Item = &'static Metric> {
    [
        &SIZE,
        &FREE,
        &AVAIL,
        &NODES,
        &NODES_FREE,
        &READ_ONLY,
        &ERROR,
    ]
    .into_iter()
}

/// Mounts of one machine that are told, at most.
const MOUNTS_MAX: usize = 1_000;

/// What is mounted there (or in there) is no disk of the machine's, or a copy of one's figures.
const PLACES_PASSED_OVER: [&str; 3] = ["/dev", "/proc", "/sys"];
/// As those, but only what is further inside.
const INSIDES_PASSED_OVER: [&str; 3] = [
    "/run/credentials/",
    "/var/lib/docker/",
    "/var/lib/containers/storage/",
];

const TYPES_PASSED_OVER: [&str; 26] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "erofs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
    "efivarfs",
];

/// Asks each file system.
pub(super) fn read(files: &mut Files, sink: &mut impl Sink) {
    let text = match files.read("proc/1/mounts") {
        Some(text) => text.to_owned(),
        // Another's is not always to be read.
        None => files.read("proc/mounts").unwrap_or_default().to_owned(),
    };
    let mut seen = HashSet::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(device), Some(mount), Some(kind)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let path = unescaped(mount);
        let point = String::from_utf8_lossy(&path).into_owned();
        let device = String::from_utf8_lossy(&unescaped(device)).into_owned();
        if TYPES_PASSED_OVER.contains(&kind)
            || is_passed_over(&point)
            || seen.len() >= MOUNTS_MAX
            || !seen.insert((device.clone(), point.clone()))
        {
            continue;
        }
        let labels = [
            ("device", &*device),
            ("fstype", kind),
            ("mountpoint", &point),
        ];
        let is_read_only = words
            .next()
            .is_some_and(|options| options.split(',').any(|option| option == "ro"));
        sink.put(&READ_ONLY, &labels, f64::from(u8::from(is_read_only)));
        let figures = rustix::fs::statvfs(OsString::from_vec(path));
        sink.put(&ERROR, &labels, f64::from(u8::from(figures.is_err())));
        let Ok(figures) = figures else {
            continue;
        };
        let bytes = |blocks: u64| blocks as f64 * figures.f_frsize as f64;
        sink.put(&SIZE, &labels, bytes(figures.f_blocks));
        sink.put(&FREE, &labels, bytes(figures.f_bfree));
        sink.put(&AVAIL, &labels, bytes(figures.f_bavail));
        sink.put(&NODES, &labels, figures.f_files as f64);
        sink.put(&NODES_FREE, &labels, figures.f_ffree as f64);
    }
}

fn is_passed_over(point: &str) -> bool {
    let within = |place: &&str| {
        let rest = point.strip_prefix(*place);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let inside = |place: &&str| point.len() > place.len() && point.starts_with(*place);
    PLACES_PASSED_OVER.iter().any(within) || INSIDES_PASSED_OVER.iter().any(inside)
}

/// Spaces and the like stand there as `\040` (fstab(5)).
fn unescaped(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut plain = Vec::with_capacity(rest.len());
    while let Some((&byte, behind)) = rest.split_first() {
        let code = behind
            .first_chunk()
            .filter(|_| byte == b'\\')
            .and_then(octal);
        plain.push(code.unwrap_or(byte));
        rest = behind.get(3..).filter(|_| code.is_some()).unwrap_or(behind);
    }
    plain
}

fn octal(digits: &[u8; 3]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok()?;
    u8::from_str_radix(text, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_told_and_what_the_kernel_shows_is_not() {
        for point in ["/", "/home", "/run/user/1000", "/device", "/var/lib/docker"] {
            assert!(!is_passed_over(point), "{point}");
        }
        for point in [
            "/dev/shm",
            "/proc",
            "/sys/fs/bpf",
            "/var/lib/docker/overlay2/x",
        ] {
            assert!(is_passed_over(point), "{point}");
        }
    }

    #[test]
    fn spaces_in_paths_are_spaces() {
        assert_eq!(unescaped(r"/mnt/my\040disk\134"), b"/mnt/my disk\\");
        assert_eq!(unescaped(r"/a\9\04"), br"/a\9\04");
    }
}
