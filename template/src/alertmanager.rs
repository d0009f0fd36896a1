//! Templates of notifications: data, functions and default templates as Alertmanager has them.

use std::collections::BTreeMap;

use crate::{Error, Limits, Set};

/// An alert of a notification.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// `false`: resolved.
    pub firing: bool,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub starts_at_ms: i64,
    /// `None`: Go's zero time.
    pub ends_at_ms: Option<i64>,
    pub generator_url: String,
    /// 16 hexadecimal digits.
    pub fingerprint: String,
}

/// What `.` is in a notification's templates.
#[derive(Debug, Clone, PartialEq)]
pub struct Data {
    pub receiver: String,
    pub firing: bool,
    pub alerts: Vec<Alert>,
    pub group_labels: BTreeMap<String, String>,
    pub common_labels: BTreeMap<String, String>,
    pub common_annotations: BTreeMap<String, String>,
    pub external_url: String,
    pub group_key: String,
    /// Alerts of the group that are not among `alerts`.
    pub truncated_alerts: u64,
}

impl Data {
    /// A notification of these alerts: firing while one of them is, with what all have in common.
    #[must_use]
    pub fn new(
        receiver: &str,
        group_labels: BTreeMap<String, String>,
        alerts: Vec<Alert>,
        external_url: &str,
    ) -> Self {
        let common = |of: fn(&Alert) -> &BTreeMap<String, String>| {
            let mut kept = alerts.first().map(of).cloned().unwrap_or_default();
            for alert in alerts.iter().skip(1) {
                kept.retain(|name, value| of(alert).get(name) == Some(value));
            }
            kept
        };
        Self {
            receiver: receiver.to_owned(),
            firing: alerts.iter().any(|alert| alert.firing),
            common_labels: common(|alert| &alert.labels),
            common_annotations: common(|alert| &alert.annotations),
            alerts,
            group_labels,
            external_url: external_url.to_owned(),
            group_key: String::new(),
            truncated_alerts: 0,
        }
    }
}

/// The default templates, and what people's files add to them or define anew.
#[derive(Debug, Clone)]
pub struct Templates {
    set: Set,
}

impl Default for Templates {
    fn default() -> Self {
        Self::new()
    }
}

impl Templates {
    /// The default templates.
    #[must_use]
    pub fn new() -> Self {
        Self { set: Set::new() }
    }

    /// Takes a file of templates.
    ///
    /// # Errors
    /// What is wrong with it; nothing of it is taken then.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), Error> {
        let _ = &self.set;
        Err(Error::at(name, text, 0, ""))
    }

    /// Whether there is a template of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.set.has(name)
    }

    /// Whether a receiver's text can be read, and calls only functions that there are.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, text: &str) -> Result<(), Error> {
        Err(Error::at("", text, 0, ""))
    }

    /// Ready to render the texts of one notification. `now_ms` is what `since` counts to.
    #[must_use]
    pub fn with(&self, data: &Data, now_ms: i64, limits: Limits) -> Rendering<'_> {
        let _ = (data, now_ms);
        Rendering {
            templates: self,
            limits,
        }
    }
}

/// The texts of one notification.
#[derive(Debug)]
pub struct Rendering<'a> {
    templates: &'a Templates,
    limits: Limits,
}

impl Rendering<'_> {
    /// As `text/template` does: what is sent to chats, subjects, JSON.
    ///
    /// # Errors
    /// The text cannot be read, failed while it ran, or went past a limit.
    pub fn text(&self, text: &str) -> Result<String, Error> {
        let _ = (&self.templates, self.limits);
        Err(Error::at("", text, 0, ""))
    }

    /// As `html/template` does: the body of a mail.
    ///
    /// # Errors
    /// As [`Self::text`], and a value stands where none can be safe.
    pub fn html(&self, text: &str) -> Result<String, Error> {
        self.text(text)
    }
}
