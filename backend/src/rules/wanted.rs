//! Which groups are to be there, and what tells them apart.

use std::{collections::BTreeMap, sync::Arc};

use pulseboard_rules::{GroupSpec, group::Defaults};

/// Rules of all files.
pub const FILE_RULES_MAX: usize = 50_000;

/// Documents with the state of groups.
const STATE: &str = "rules-state/";

/// The group of the built-in rules.
pub const BUILT_IN_GROUP: &str = "pulseboard";

/// FNV-1a, for names and tokens that say which group is meant.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Where a rule comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is there without configuration.
    BuiltIn,
    /// A file.
    File,
    /// Somebody made it while the server ran.
    Made,
}

impl Source {
    /// As `/api/rules` says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BuiltIn => "builtin",
            Self::File => "file",
            Self::Made => "api",
        }
    }
}

/// What tells groups apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct GroupId {
    pub(super) tenant: Arc<str>,
    /// A file's path, or `made/ID`.
    pub(super) file: String,
    pub(super) name: String,
}

impl GroupId {
    /// The document that its state is kept in.
    pub(super) fn document(&self) -> String {
        let name = [&*self.tenant, &self.file, &self.name].join("\u{0}");
        format!("{STATE}{:016x}", hash(name.as_bytes()))
    }
}

/// A group that is to be there.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) id: GroupId,
    pub(super) source: Source,
    pub(super) spec: GroupSpec,
    pub(super) defaults: Defaults,
    /// Of each of its rules.
    pub(super) rule_ids: Vec<String>,
}

/// What comes from `PROMETHEUS_CONFIG`.
#[derive(Clone, Debug, Default)]
pub struct FromConfig {
    /// Globs, as they are to be read: with the file's folder.
    pub globs: Vec<String>,
    /// `evaluation_interval`, milliseconds; `None` without a file.
    pub interval_ms: Option<i64>,
    /// `rule_query_offset`.
    pub query_offset_ms: i64,
    /// `external_labels`.
    pub external_labels: Arc<BTreeMap<String, String>>,
}
