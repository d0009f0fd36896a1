//! Groups as YAML.
use crate::rule::GroupSpec;

/// A rule file of these groups, as `promtool check rules` takes it. What a rule has beyond
/// Prometheus' is left out, and a comment above the rule says so.
#[must_use]
pub fn write(groups: &[GroupSpec]) -> String {
    let _ = groups;
    todo!()
}
