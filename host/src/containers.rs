//! Containers of this machine under cadvisor's names, from their control groups (cgroup v2) read
//! directly: `container_cpu_usage_seconds_total{name,id,image}` and the like.
//!
//! A control group is a container's where its name has a container's id in it (64 hexadecimal
//! digits), as Docker, Podman, containerd and CRI-O name them. What it is called is for the caller
//! to ask and to put into [`Containers::names`]; until then it is the first twelve digits.

mod figures;
mod find;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::RwLock;
use pulseboard_series::Batch;

use self::find::Found;
use crate::metric::Rows;
pub use figures::describe;

/// The `job` of these series.
pub const JOB: &str = "cadvisor";

/// How often containers that came and went are looked for.
const FIND_PERIOD: Duration = Duration::from_secs(2);

/// What a container is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Such as `web`.
    pub name: String,
    /// Such as `nginx:1.27`.
    pub image: String,
}

/// Names by containers' ids, in full.
pub type Names = HashMap<String, Named>;

/// Reads containers' figures; nothing where there are none, or no cgroup v2.
#[derive(Debug)]
pub struct Containers {
    /// Where control groups are shown; `None` where they are not.
    root: Option<PathBuf>,
    /// Labels that every series has.
    target: [(&'static str, String); 2],
    names: Arc<RwLock<Names>>,
    found: Vec<Found>,
    found_at: Option<Instant>,
    text: String,
}

impl Containers {
    /// A reader whose series have `instance` for a label, and [`JOB`].
    #[must_use]
    pub fn new(instance: &str) -> Self {
        // Unified, or beside the older groups.
        let places = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        let root = places.map(Path::new).into_iter();
        let mut root = root.filter(|root| root.join("cgroup.controllers").exists());
        Self::below(root.next().map(Path::to_owned), instance)
    }

    fn below(root: Option<PathBuf>, instance: &str) -> Self {
        Self {
            root,
            target: [("instance", instance.to_owned()), ("job", JOB.to_owned())],
            names: Arc::default(),
            found: Vec::new(),
            found_at: None,
            text: String::new(),
        }
    }

    /// What containers are called, for somebody who asks for it to fill in.
    #[must_use]
    pub fn names(&self) -> Arc<RwLock<Names>> {
        Arc::clone(&self.names)
    }

    /// Reads all of them and writes a sample of each series at `at_ms` (Unix milliseconds).
    pub fn read(&mut self, batch: &mut Batch, at_ms: i64) {
        let Some(root) = &self.root else {
            return;
        };
        let now = Instant::now();
        let is_due = |at: Instant| now.duration_since(at) >= FIND_PERIOD;
        if self.found_at.is_none_or(is_due) {
            self.found_at = Some(now);
            self.found = find::containers(root);
        }
        let rows = &mut Rows {
            batch,
            at_ms,
            target: &self.target,
        };
        let names = self.names.read();
        for found in &self.found {
            let named = names.get(&found.id).cloned().unwrap_or_default();
            let name = match &*named.name {
                "" => found.id.get(..12).unwrap_or(&found.id),
                name => name,
            };
            let labels = [
                ("id", &*found.path),
                ("image", &named.image),
                ("name", name),
            ];
            figures::read(
                &root.join(found.path.trim_start_matches('/')),
                &labels,
                &mut self.text,
                rows,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn group(root: &Path, path: &str, files: &[(&str, &str)]) {
        let folder = root.join(path);
        fs::create_dir_all(&folder).expect("a folder");
        for (name, text) in files {
            fs::write(folder.join(name), text).expect("a file");
        }
    }

    fn figures(containers: &mut Containers) -> BTreeMap<String, f64> {
        let mut batch = Batch::new();
        containers.read(&mut batch, 1_000);
        let rows = batch.rows().iter();
        let found: BTreeMap<String, f64> = rows
            .map(|row| (batch.key(row).to_string(), row.value))
            .collect();
        assert_eq!(found.len(), batch.rows().len(), "each series once");
        for row in batch.rows() {
            let name = batch.key(row).name();
            let (kind, _) = describe(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(kind, batch.description(row).0, "{name}");
        }
        found
    }

    #[test]
    fn a_container_comes_out_under_cadvisors_names() {
        let root = tempfile::tempdir().expect("a folder");
        group(
            root.path(),
            &format!("system.slice/docker-{ID}.scope"),
            &[
                (
                    "cpu.stat",
                    "usage_usec 2500000\nuser_usec 1500000\nsystem_usec 1000000\nnr_periods 4\nnr_throttled 1\nthrottled_usec 500000\n",
                ),
                ("memory.current", "1000000\n"),
                ("memory.max", "2000000\n"),
                (
                    "memory.stat",
                    "anon 600000\nfile 300000\ninactive_file 250000\n",
                ),
                (
                    "io.stat",
                    "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n",
                ),
                ("pids.current", "7\n"),
                ("pids.max", "max\n"),
            ],
        );
        group(
            root.path(),
            "system.slice/ssh.service",
            &[("memory.current", "5\n")],
        );
        let mut containers = Containers::below(Some(root.path().to_owned()), "a");
        let found = figures(&mut containers);
        let key = |metric: &str, more: &str, name: &str| {
            format!("{metric}{{{more}id=\"/system.slice/docker-{ID}.scope\",{name}}}")
        };
        let plain = |metric: &str| {
            key(
                metric,
                "",
                "instance=\"a\",job=\"cadvisor\",name=\"0123456789ab\"",
            )
        };
        for (metric, value) in [
            ("container_cpu_user_seconds_total", 1.5),
            ("container_cpu_system_seconds_total", 1.0),
            ("container_cpu_cfs_throttled_seconds_total", 0.5),
            ("container_memory_usage_bytes", 1e6),
            ("container_memory_working_set_bytes", 750_000.0),
            ("container_memory_rss", 600_000.0),
            ("container_memory_cache", 300_000.0),
            ("container_spec_memory_limit_bytes", 2e6),
            ("container_threads", 7.0),
        ] {
            assert_eq!(found.get(&plain(metric)), Some(&value), "{metric}");
        }
        let cpu = key(
            "container_cpu_usage_seconds_total",
            "cpu=\"total\",",
            "instance=\"a\",job=\"cadvisor\",name=\"0123456789ab\"",
        );
        assert_eq!(found.get(&cpu), Some(&2.5), "{found:?}");
        let io = key(
            "container_fs_writes_bytes_total",
            "device=\"8:0\",",
            "instance=\"a\",job=\"cadvisor\",name=\"0123456789ab\"",
        );
        assert_eq!(found.get(&io), Some(&8192.0));
        assert!(!found.keys().any(|key| key.contains("ssh")));

        let named = Named {
            name: "web".to_owned(),
            image: "nginx:1".to_owned(),
        };
        containers.names().write().insert(ID.to_owned(), named);
        let found = figures(&mut containers);
        assert!(
            found
                .keys()
                .all(|key| key.contains("image=\"nginx:1\"") && key.contains("name=\"web\""))
        );
    }

    #[test]
    fn a_machine_without_containers_has_no_figures() {
        let root = tempfile::tempdir().expect("a folder");
        assert!(figures(&mut Containers::below(Some(root.path().to_owned()), "a")).is_empty());
        assert!(figures(&mut Containers::below(None, "a")).is_empty());
    }
}
