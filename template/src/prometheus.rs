//! Templates of alerting rules: data and functions as Prometheus 3 has them.

use std::collections::BTreeMap;

use crate::{Error, Limits};

/// One element of what a query found.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// With `__name__`, if it has one.
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// Who answers `query`.
pub trait Query {
    /// The vector at the time of the evaluation; a scalar is one sample without labels.
    ///
    /// # Errors
    /// Why there is no answer.
    fn query(&mut self, expression: &str) -> Result<Vec<Sample>, String>;
}

/// Where nothing can be asked: `query` is an error.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoQuery;

impl Query for NoQuery {
    fn query(&mut self, _: &str) -> Result<Vec<Sample>, String> {
        Err("there is nothing to query here".to_owned())
    }
}

/// What `.Labels`, `$labels`, `.Value`, `$value`, `.ExternalLabels` and `.ExternalURL` are.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    pub labels: &'a BTreeMap<String, String>,
    pub value: f64,
    pub external_labels: &'a BTreeMap<String, String>,
    pub external_url: &'a str,
    /// Of the evaluation: `now`.
    pub now_ms: i64,
}

/// A label or an annotation of an alerting rule.
///
/// # Errors
/// The text cannot be read, failed while it ran, or went past a limit.
pub fn expand(
    text: &str,
    data: &Data<'_>,
    query: &mut dyn Query,
    limits: Limits,
) -> Result<String, Error> {
    let _ = (data, query, limits);
    Err(Error::at("", text, 0, ""))
}

/// Whether a text can be read, and names only functions and variables that there are.
///
/// # Errors
/// What is wrong with it.
pub fn check(text: &str) -> Result<(), Error> {
    Err(Error::at("", text, 0, ""))
}
