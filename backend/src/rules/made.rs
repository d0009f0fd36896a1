//! Rules that are made while the server runs: a document each.

use std::{collections::BTreeMap, sync::Arc};

use pulseboard_rules::{GroupSpec, Period, Problem, RuleSpec, group::Defaults};
use serde::{Deserialize, Serialize};

use super::wanted::{BUILT_IN_GROUP, GroupId, Source, Wanted};
use crate::base::documents::{DocumentError, Documents};

/// Rules that are made, of all tenants.
pub const MADE_MAX: usize = 2_000;

/// Of one tenant.
const OF_TENANT_MAX: usize = 500;

/// The shortest `every` that is not each tick.
const EVERY_MIN_MS: i64 = 100;

/// The longest.
const EVERY_MAX_MS: i64 = 86_400_000;

const FOLDER: &str = "rules/";

/// The group of a rule that names none.
const GROUP: &str = "rules";

/// A rule that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Made {
    /// Its id, which is in its document's name.
    #[serde(skip)]
    pub id: String,
    /// Whose it is.
    pub tenant: Arc<str>,
    /// As it is written.
    pub spec: RuleSpec,
    /// When it was made or changed last.
    pub made_ms: i64,
}

/// Why a rule is not made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// What is wrong with its fields.
    #[error("the rule is not in order")]
    Fields(Vec<Problem>),
    /// There are as many as there may be.
    #[error("there are as many rules as there may be ({0})")]
    TooMany(usize),
    /// There is none of this id.
    #[error("there is no such rule")]
    Unknown,
    /// Somebody changed it meanwhile, or the disk refuses.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// The document that a rule is in.
pub(super) fn document(id: &str) -> String {
    format!("{FOLDER}{id}")
}

/// All rules that were made, but for those that are built in and were changed.
pub(super) fn all(
    documents: &Documents,
    is_built_in: impl Fn(&str) -> bool,
) -> BTreeMap<String, Made> {
    let names = documents.list(FOLDER).into_iter();
    let read = names.filter_map(|(name, _)| {
        let id = name.strip_prefix(FOLDER)?.to_owned();
        if is_built_in(&id) {
            return None;
        }
        let (_, made) = documents.get::<Made>(&name)?;
        Some((id.clone(), Made { id, ..made }))
    });
    read.collect()
}

/// Whether a rule is in order.
pub(super) fn check(spec: &RuleSpec) -> Result<(), MakeError> {
    let mut problems = spec.problems();
    if let Some(every) = &spec.every {
        let every_ms = every.as_millis();
        if every_ms != 0 && !(EVERY_MIN_MS..=EVERY_MAX_MS).contains(&every_ms) {
            problems.push(Problem {
                field: "every".to_owned(),
                what: "0s for each tick, or from 100ms to 1d".to_owned(),
            });
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(MakeError::Fields(problems)),
    }
}

/// Whether there is room for one more.
pub(super) fn room(all: usize, of_tenant: usize) -> Result<(), MakeError> {
    match (all < MADE_MAX, of_tenant < OF_TENANT_MAX) {
        (false, _) => Err(MakeError::TooMany(MADE_MAX)),
        (_, false) => Err(MakeError::TooMany(OF_TENANT_MAX)),
        _ => Ok(()),
    }
}

impl Made {
    /// The group that it is alone in, so that a slow one holds up no other.
    pub(super) fn wanted(&self, defaults: Defaults) -> Wanted {
        wanted(
            &self.id,
            Arc::clone(&self.tenant),
            &self.spec,
            (Source::Made, defaults),
        )
    }
}

/// A rule alone as a group.
pub(super) fn wanted(
    id: &str,
    tenant: Arc<str>,
    spec: &RuleSpec,
    (source, defaults): (Source, Defaults),
) -> Wanted {
    let name = match (spec.group.as_str(), source) {
        (_, Source::BuiltIn) => BUILT_IN_GROUP,
        ("", _) => GROUP,
        (name, _) => name,
    };
    let mut rule = spec.clone();
    rule.group.clear();
    rule.every = None;
    Wanted {
        id: GroupId {
            tenant,
            file: format!("made/{id}"),
            name: name.to_owned(),
        },
        source,
        spec: GroupSpec {
            name: name.to_owned(),
            interval: Some(
                spec.every
                    .unwrap_or_else(|| Period::from_millis(defaults.interval_ms)),
            ),
            rules: vec![rule],
            ..GroupSpec::default()
        },
        defaults,
        rule_ids: vec![id.to_owned()],
    }
}
