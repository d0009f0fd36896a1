//! What templates work with: Go's values, as far as rules and notifications have them.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use crate::time::Moment;

/// A value in a template.
#[derive(Debug, Clone)]
pub enum Value {
    /// Prints `<no value>`.
    Nil,
    Bool(bool),
    /// Go's `int`.
    Int(i64),
    /// Go's `float64`.
    Float(f64),
    Text(Arc<str>),
    /// HTML that [`crate::Set::render_html`] does not escape.
    Safe(Arc<str>),
    /// An address whose scheme is not looked at.
    SafeUrl(Arc<str>),
    List(Arc<[Value]>),
    /// `map[string]any`: a key that is missing is nil.
    Map(Arc<BTreeMap<Arc<str>, Value>>),
    /// `map[string]string`: a key that is missing is the empty text.
    Strings(Arc<BTreeMap<Arc<str>, Arc<str>>>),
    Time(Moment),
    /// Nanoseconds.
    Duration(i64),
    /// What has methods.
    Object(Arc<dyn Object>),
}

/// Something with fields and methods, such as a notification's list of alerts.
#[expect(
    clippy::len_without_is_empty,
    reason = "not everything has a length, and none is not empty"
)]
pub trait Object: Debug + Send + Sync {
    /// `.Name`, and a method without arguments where there is no such field.
    fn field(&self, name: &str) -> Option<Value>;

    /// `.Name arguments`; `None`: no such method.
    fn call(&self, method: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
        let _ = (method, arguments);
        None
    }

    /// What `range` and `index` go through: keys (numbers from 0 for a list) and values. `None`:
    /// neither a list nor a map.
    fn items(&self) -> Option<Vec<(Value, Value)>> {
        None
    }

    /// How many items, for `len`.
    fn len(&self) -> Option<usize> {
        self.items().map(|items| items.len())
    }

    /// `if`: a list or a map is true when it has something, a struct always.
    fn truth(&self) -> bool {
        self.len().is_none_or(|count| count > 0)
    }

    /// As Go prints it with `%v`.
    fn text(&self) -> String;

    /// As Go's `encoding/json` has it.
    fn json(&self) -> String;

    /// Go's name of the type, for messages and `%T`.
    fn type_name(&self) -> &'static str;

    /// What a named number counts, such as a month.
    fn number(&self) -> Option<i64> {
        None
    }
}

impl Value {
    /// A text.
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::Text(Arc::from(text.as_ref()))
    }

    /// Unix milliseconds, in UTC.
    #[must_use]
    pub fn time(ms: i64) -> Self {
        Self::Time(Moment::from_ms(ms))
    }

    /// A list.
    pub fn list(items: impl IntoIterator<Item = Value>) -> Self {
        Self::List(items.into_iter().collect())
    }

    /// Labels and annotations: a map of texts.
    pub fn strings<N: AsRef<str>, T: AsRef<str>>(pairs: impl IntoIterator<Item = (N, T)>) -> Self {
        Self::Strings(Arc::new(
            pairs
                .into_iter()
                .map(|(name, text)| (Arc::from(name.as_ref()), Arc::from(text.as_ref())))
                .collect(),
        ))
    }

    /// A map of anything.
    pub fn map<N: AsRef<str>>(pairs: impl IntoIterator<Item = (N, Value)>) -> Self {
        Self::Map(Arc::new(
            pairs
                .into_iter()
                .map(|(name, value)| (Arc::from(name.as_ref()), value))
                .collect(),
        ))
    }

    /// Something with methods.
    pub fn object(object: impl Object + 'static) -> Self {
        Self::Object(Arc::new(object))
    }

    /// Go's name of the type.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::Safe(_) => "template.HTML",
            Self::SafeUrl(_) => "template.URL",
            Self::List(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
            Self::Strings(_) => "map[string]string",
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
            Self::Object(object) => object.type_name(),
        }
    }

    /// `if`: nil, zero and what is empty are false.
    #[must_use]
    pub fn truth(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(it) => *it,
            Self::Int(it) | Self::Duration(it) => *it != 0,
            Self::Float(it) => *it != 0.0,
            Self::Text(it) | Self::Safe(it) | Self::SafeUrl(it) => !it.is_empty(),
            Self::List(it) => !it.is_empty(),
            Self::Map(it) => !it.is_empty(),
            Self::Strings(it) => !it.is_empty(),
            Self::Time(_) => true,
            Self::Object(it) => it.truth(),
        }
    }

    /// The text, whatever it is marked as.
    #[must_use]
    pub fn as_text(&self) -> Option<&Arc<str>> {
        match self {
            Self::Text(text) | Self::Safe(text) | Self::SafeUrl(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Value {
    fn from(it: bool) -> Self {
        Self::Bool(it)
    }
}
