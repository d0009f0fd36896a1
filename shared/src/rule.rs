//! The rules that are there without configuration: the server evaluates them, the page draws
//! their thresholds.

use crate::{BuiltIn, Severity};

/// Fires while the newest value of a built-in metric is above a threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DefaultRule {
    /// Names the rule in alerts.
    pub name: &'static str,
    /// What is compared.
    pub metric: BuiltIn,
    /// Fires above this, in the metric's unit; at it, it does not.
    pub above: f64,
    /// How bad it is.
    pub severity: Severity,
}

/// One rule a metric at most.
pub const DEFAULT_RULES: [DefaultRule; 3] = [
    DefaultRule {
        name: "cpu_high",
        metric: BuiltIn::Cpu,
        above: 90.0,
        severity: Severity::Critical,
    },
    DefaultRule {
        name: "memory_high",
        metric: BuiltIn::Memory,
        above: 85.0,
        severity: Severity::Warning,
    },
    DefaultRule {
        name: "latency_high",
        metric: BuiltIn::Latency,
        above: 80.0,
        severity: Severity::Warning,
    },
];

impl DefaultRule {
    /// The rule that watches `metric`, if there is one.
    #[must_use]
    pub fn of(metric: BuiltIn) -> Option<Self> {
        DEFAULT_RULES.into_iter().find(|rule| rule.metric == metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_has_one_rule_at_most() {
        for metric in crate::BUILT_IN {
            let rules = DEFAULT_RULES
                .iter()
                .filter(|rule| rule.metric == metric)
                .count();
            assert_eq!(rules, usize::from(metric != BuiltIn::Requests));
        }
        assert_eq!(
            DefaultRule::of(BuiltIn::Cpu).map(|rule| rule.above),
            Some(90.0)
        );
    }
}
