//! The texts of a rule that are templates, before anything is rendered.

use pulseboard_template::prometheus;

/// The label that names the rule.
pub(crate) const ALERT_NAME: &str = "alertname";

/// Whether there is something in a text that is rendered.
pub(crate) fn is_template(text: &str) -> bool {
    text.contains("{{")
}

/// Whether a text of the rule `alert` can be rendered.
///
/// # Errors
/// What is wrong with it, as Go says it.
pub(crate) fn check(alert: &str, text: &str) -> Result<(), String> {
    if !is_template(text) {
        return Ok(());
    }
    prometheus::check(text).map_err(|error| prometheus::said(&error, &format!("__alert_{alert}")))
}
