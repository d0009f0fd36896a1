//! Rule files: read as strictly as Prometheus reads them, with all their errors, and written.
use crate::rule::GroupSpec;

pub use crate::write::write;

/// A file that is in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleFile {
    /// Its groups, in order.
    pub groups: Vec<GroupSpec>,
    /// What is said of it besides.
    pub warnings: Vec<String>,
}

/// One thing that is wrong: `FILE:LINE:COLUMN: what`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {what}")]
pub struct FileError {
    /// As it was given.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// With the group and the rule.
    pub what: String,
}

/// Reads the text of a rule file, or of one or several `PrometheusRule`s of Kubernetes.
///
/// # Errors
/// All that is wrong with it (at most [`ERRORS_MAX`]), in the order of the file.
pub fn parse(file: &str, text: &str) -> Result<RuleFile, Vec<FileError>> {
    let _ = (file, text);
    todo!()
}
