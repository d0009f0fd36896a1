//! One alert that was sent.

use std::sync::Arc;

use pulseboard_shared::{Alert, Labels};
use serde::{Deserialize, Serialize};

/// The label that names an alert's rule, as Prometheus has it.
pub const ALERTNAME: &str = "alertname";

/// The label that says how bad it is.
pub const SEVERITY: &str = "severity";

/// An alert that was sent and whose it is (`None`: the server's own, everybody's).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertEvent {
    /// The tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Arc<str>>,
    /// What was sent.
    pub alert: Alert,
    /// What only an alert of a rule that is an expression has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Arc<Detail>>,
}

/// Where an alert comes from, and what its rule has to say of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// The rule's id, as `/api/rules` has it.
    pub rule_id: String,
    /// The expression that it asks.
    pub expr: String,
    /// The annotations, templates filled in.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub annotations: Labels,
}

impl AlertEvent {
    /// Whether a caller of this tenant may see it.
    #[must_use]
    pub fn is_for(&self, tenant: &str) -> bool {
        self.tenant.as_deref().is_none_or(|own| own == tenant)
    }

    /// About so many bytes of texts it has.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of = |labels: &Labels| -> usize {
            let texts = labels.iter();
            texts.map(|(name, text)| name.len() + text.len()).sum()
        };
        let detail = self.detail.as_deref();
        let said = detail.map_or(0, |detail| detail.expr.len() + of(&detail.annotations));
        self.alert.message.len() + self.alert.rule.len() + of(&self.alert.labels) + said
    }

    /// All labels that name the alert among others: the series' and the rule's, and its name. Only
    /// a built-in rule, which has no labels of its own, says here how bad it is: an alert of
    /// another one is known by the labels that it has, as in Prometheus.
    #[must_use]
    pub fn labels(&self) -> Labels {
        let mut labels = self.alert.labels.clone();
        labels.insert(ALERTNAME.to_owned(), self.alert.rule.clone());
        if self.detail.is_none() {
            labels
                .entry(SEVERITY.to_owned())
                .or_insert_with(|| self.alert.severity.as_str().to_owned());
        }
        labels
    }

    /// The annotations; of a rule without any, the line for people.
    #[must_use]
    pub fn annotations(&self) -> Labels {
        match &self.detail {
            Some(detail) => detail.annotations.clone(),
            None => Labels::from([("summary".to_owned(), self.alert.message.clone())]),
        }
    }
}
