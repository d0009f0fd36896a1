//! A rule and a group as they are written, in a file or in JSON.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, Visitor},
};

use crate::period::Period;

/// Bytes of a name, a label's text or an annotation.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Labels or annotations of one rule.
pub const TEXTS_MAX: usize = 100;

/// What ends a firing.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Clear {
    /// The threshold for the way back.
    Number(f64),
    /// An expression.
    Expr(String),
}

impl<'de> Deserialize<'de> for Clear {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Clear;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an expression, or the threshold for the way back as a number")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Clear, E> {
                Ok(Clear::Expr(text.to_owned()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Clear, E> {
                Ok(Clear::Number(number))
            }

            #[expect(clippy::cast_precision_loss, reason = "samples are doubles")]
            fn visit_i64<E: Error>(self, number: i64) -> Result<Clear, E> {
                Ok(Clear::Number(number as f64))
            }

            #[expect(clippy::cast_precision_loss, reason = "samples are doubles")]
            fn visit_u64<E: Error>(self, number: u64) -> Result<Clear, E> {
                Ok(Clear::Number(number as f64))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// What to do where a series is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// It stays what it is.
    Keep,
    /// It is over.
    #[default]
    Resolve,
    /// That is an alert.
    Alert,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_true(value: &bool) -> bool {
    *value
}

fn yes() -> bool {
    true
}

/// A rule as it is written in JSON, and, without the last five fields, in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// The alert's name; one of this and `record`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub alert: String,
    /// The name of the series that is recorded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub record: String,
    /// PromQL.
    pub expr: String,
    /// How long it holds before it fires.
    #[serde(default, rename = "for", skip_serializing_if = "Period::is_zero")]
    pub hold: Period,
    /// How long a firing goes on after it held last.
    #[serde(default, skip_serializing_if = "Period::is_zero")]
    pub keep_firing_for: Period,
    /// Added to those of the series; an alert's are templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Its group's name; only in JSON, where rules stand alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Its group's interval, 0 for each tick; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Period>,
    /// What ends a firing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear: Option<Clear>,
    /// What to do where a series is missing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub missing: Missing,
    /// Whether it is evaluated.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub enabled: bool,
}

impl Default for RuleSpec {
    fn default() -> Self {
        Self {
            alert: String::new(),
            record: String::new(),
            expr: String::new(),
            hold: Period::default(),
            keep_firing_for: Period::default(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            group: String::new(),
            every: None,
            clear: None,
            missing: Missing::default(),
            enabled: true,
        }
    }
}

impl RuleSpec {
    /// The alert's or the recorded series' name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self.alert.is_empty() {
            true => &self.record,
            false => &self.alert,
        }
    }
}

/// A group as it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSpec {
    /// Unique within its file.
    pub name: String,
    /// Where it is not said, that of the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Period>,
    /// How much earlier than the evaluation its expressions look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_offset: Option<Period>,
    /// Alerts or series that each of its rules may have; 0 for any number.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limit: i64,
    /// Added to each rule that does not set them itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Evaluated one after the other.
    #[serde(default)]
    pub rules: Vec<RuleSpec>,
}

/// One thing that is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct Problem {
    /// The field, such as `expr` or `labels.severity`.
    pub field: String,
    /// What is wrong, in Prometheus' words where it says it too.
    pub what: String,
}

impl Problem {
    pub(crate) fn new(field: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            what: what.into(),
        }
    }
}

/// Whether a label can be called so: a letter or `_`, then those and digits.
#[must_use]
pub fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a metric can be called so: as a label, and `:`.
#[must_use]
pub fn is_metric_name(name: &str) -> bool {
    is_label_name(&name.replace(':', "_"))
}
