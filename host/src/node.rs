//! This machine's figures under the names and labels of Prometheus' node_exporter, so that what
//! people have for it works without it.
//!
//! On Linux from `/proc` and `/sys` directly ([`linux`]), elsewhere what there is of them in
//! `sysinfo`. Interfaces of containers (`veth…`) are left out: their names are random, and each
//! would leave thirty series behind.

#[cfg(any(test, not(target_os = "linux")))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;
mod passing;
mod slow;

use std::borrow::Cow;

use pulseboard_series::{Batch, Kind};

#[cfg(not(target_os = "linux"))]
use self::elsewhere as machine;
#[cfg(target_os = "linux")]
use self::linux as machine;
use crate::metric::{Metric, Rows, Sink as _, gauge};

/// The `job` of these series: the one that node_exporter's own dashboards and rules look for.
pub const JOB: &str = "node";

/// Who tells these figures, where dashboards look for node_exporter's version.
static BUILD: Metric = gauge(
    "node_exporter_build_info",
    "What tells these figures: Pulseboard, in this version; always 1.",
);

/// The labels of [`BUILD`], as Go calls systems and processors.
const BUILD_LABELS: [(&str, &str); 4] = [
    (
        "goarch",
        match std::env::consts::ARCH.as_bytes() {
            b"x86_64" => "amd64",
            b"aarch64" => "arm64",
            _ => std::env::consts::ARCH,
        },
    ),
    (
        "goos",
        match std::env::consts::OS.as_bytes() {
            b"macos" => "darwin",
            _ => std::env::consts::OS,
        },
    ),
    (
        "revision",
        match option_env!("PULSEBOARD_COMMIT") {
            Some(commit) => commit,
            None => "unknown",
        },
    ),
    ("version", env!("CARGO_PKG_VERSION")),
];

/// Reads this machine's figures; see the module.
#[derive(Debug)]
pub struct Node {
    /// Labels that every series has.
    target: [(&'static str, String); 2],
    machine: machine::Machine,
}

impl Node {
    /// A reader whose series have `instance` for a label, and [`JOB`].
    #[must_use]
    pub fn new(instance: &str) -> Self {
        Self::of(machine::Machine::new(), instance)
    }

    fn of(machine: machine::Machine, instance: &str) -> Self {
        Self {
            target: [("instance", instance.to_owned()), ("job", JOB.to_owned())],
            machine,
        }
    }

    /// Reads everything and writes a sample of each series at `at_ms` (Unix milliseconds). Takes
    /// about a millisecond, and never waits for a device.
    pub fn read(&mut self, batch: &mut Batch, at_ms: i64) {
        let mut rows = Rows {
            batch,
            at_ms,
            target: &self.target,
        };
        rows.put(&BUILD, &BUILD_LABELS, 1.0);
        self.machine.read(&mut rows);
    }
}

/// How a metric of these grows and what it says; `None` for one that is not of these.
#[must_use]
pub fn describe(name: &str) -> Option<(Kind, Cow<'static, str>)> {
    match name == BUILD.name {
        true => Some((BUILD.kind, BUILD.help.into())),
        false => machine::describe(name),
    }
}
