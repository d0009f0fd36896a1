//! What is watched, and how it is said.

use pulseboard_shared::{BuiltIn, Severity};

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
    /// What comes before the value in the message.
    before: &'static str,
    /// What comes after it.
    after: &'static str,
}

impl Rule {
    /// The line for people, the value with one decimal.
    #[must_use]
    pub fn message(&self, value: f64) -> String {
        format!("{}{value:.1}{}", self.before, self.after)
    }
}

/// The rules that are there without configuration (CONTRACT section 2).
#[must_use]
pub fn default_rules() -> [Rule; 3] {
    [
        Rule {
            name: "cpu_high",
            metric: BuiltIn::Cpu,
            above: 90.0,
            severity: Severity::Critical,
            before: "CPU usage critical: ",
            after: "%",
        },
        Rule {
            name: "memory_high",
            metric: BuiltIn::Memory,
            above: 85.0,
            severity: Severity::Warning,
            before: "Memory usage high: ",
            after: "%",
        },
        Rule {
            name: "latency_high",
            metric: BuiltIn::Latency,
            above: 80.0,
            severity: Severity::Warning,
            before: "Latency spike: ",
            after: "ms",
        },
    ]
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
