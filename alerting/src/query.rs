//! What rules ask.

use pulseboard_shared::{BuiltIn, Labels};

/// Answers what rules ask, at one moment. A tick is one; whatever else holds values may be.
pub trait Query {
    /// The moment that is asked about, Unix milliseconds.
    fn now_ms(&self) -> i64;

    /// The newest value of a built-in metric in its unit; NaN where it could not be measured,
    /// which neither begins nor ends an incident.
    fn newest(&self, metric: BuiltIn) -> f64;

    /// What tells an incident that begins now from others of the same rule.
    fn labels(&self) -> Labels {
        Labels::new()
    }
}
