//! What is measured, and how it is said.

use pulseboard_shared::{BuiltIn, Severity, rule::DEFAULT_RULES};

/// What a rule compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// The newest value of a built-in metric.
    Newest(BuiltIn),
    /// How many `error` items a tenant tracked within the last minute.
    ErrorRate,
}

/// Fires while what it watches is above a threshold.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Names the rule.
    pub name: &'static str,
    /// What is compared.
    pub measured: Measured,
    /// Fires above this, in the metric's unit; at it, it does not.
    pub above: f64,
    /// How bad it is.
    pub severity: Severity,
}

impl Rule {
    /// The line for people, the value with one decimal.
    #[must_use]
    pub fn message(&self, value: f64) -> String {
        let metric = match self.measured {
            Measured::Newest(metric) => metric,
            Measured::ErrorRate => return "Error rate exceeded threshold".to_owned(),
        };
        match metric {
            BuiltIn::Cpu => format!("CPU usage critical: {value:.1}%"),
            BuiltIn::Memory => format!("Memory usage high: {value:.1}%"),
            BuiltIn::Requests => format!("Request rate high: {value:.1} req/s"),
            BuiltIn::Latency => format!("Latency spike: {value:.1}ms"),
        }
    }
}

/// The rules that are there without configuration; the page draws the same.
#[must_use]
pub fn default_rules() -> [Rule; 3] {
    DEFAULT_RULES.map(|rule| Rule {
        name: rule.name,
        measured: Measured::Newest(rule.metric),
        above: rule.above,
        severity: rule.severity,
    })
}

/// Fires for a tenant that tracks more than 100 `error` items within a minute.
pub const ERROR_RATE: Rule = Rule {
    name: "error_rate",
    measured: Measured::ErrorRate,
    above: 100.0,
    severity: Severity::Critical,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_clients_know_them() {
        let [cpu, memory, latency] = default_rules();
        assert_eq!(cpu.message(93.4), "CPU usage critical: 93.4%");
        assert_eq!(memory.message(85.06), "Memory usage high: 85.1%");
        assert_eq!(latency.message(81.0), "Latency spike: 81.0ms");
    }
}
