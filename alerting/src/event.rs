//! One alert that was sent.

use std::sync::Arc;

use pulseboard_shared::Alert;
use serde::{Deserialize, Serialize};

/// An alert that was sent and whose it is (`None`: the server's own, everybody's).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertEvent {
    /// The tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Arc<str>>,
    /// What was sent.
    pub alert: Alert,
}

impl AlertEvent {
    /// Whether a caller of this tenant may see it.
    #[must_use]
    pub fn is_for(&self, tenant: &str) -> bool {
        self.tenant.as_deref().is_none_or(|own| own == tenant)
    }
}
