//! What is watched, and how it is said.

use pulseboard_shared::{BuiltIn, Severity, rule::DEFAULT_RULES};

/// Fires while the newest value of a built-in metric is above a threshold.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Names the rule.
    pub name: &'static str,
    /// What is compared.
    pub metric: BuiltIn,
    /// Fires above this, in the metric's unit; at it, it does not.
    pub above: f64,
    /// How bad it is.
    pub severity: Severity,
}

impl Rule {
    /// The line for people, the value with one decimal.
    #[must_use]
    pub fn message(&self, value: f64) -> String {
        match self.metric {
            BuiltIn::Cpu => format!("CPU usage critical: {value:.1}%"),
            BuiltIn::Memory => format!("Memory usage high: {value:.1}%"),
            BuiltIn::Requests => format!("Request rate high: {value:.1} req/s"),
            BuiltIn::Latency => format!("Latency spike: {value:.1}ms"),
        }
    }
}

/// The rules that are there without configuration (CONTRACT section 2); the page draws the same.
#[must_use]
pub fn default_rules() -> [Rule; 3] {
    DEFAULT_RULES.map(|rule| Rule {
        name: rule.name,
        metric: rule.metric,
        above: rule.above,
        severity: rule.severity,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_the_contract_says() {
        let [cpu, memory, latency] = default_rules();
        assert_eq!(cpu.message(93.4), "CPU usage critical: 93.4%");
        assert_eq!(memory.message(85.06), "Memory usage high: 85.1%");
        assert_eq!(latency.message(81.0), "Latency spike: 81.0ms");
    }
}
