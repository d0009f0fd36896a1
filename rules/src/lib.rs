//! Rules: files in Prometheus' format and rules made while it runs, evaluated over a storage that
//! is given. Pure: no clock, no I/O, no threads. Times are the caller's, Unix milliseconds.
//!
//! ```text
//! text ──file──▶ GroupSpec ──Group::new──▶ Group ──evaluate_rule──▶ Outcome: samples to write,
//!                   ▲                        │ ▲                    alerts that changed or are due
//!        JSON ──────┘                     keep │
//!                                            ▼ │
//!                                     a run before this one
//! ```
//!
//! How a group is driven: at each [`Group::eval_timestamp`] plus a whole number of intervals, for
//! each rule in turn `evaluate_rule(index, at_ms, env)`, and what it gives in [`Outcome::samples`]
//! is written before the next rule is evaluated, which may read it; then
//! [`Group::evaluated`] with how long all of it took. What others read meanwhile is
//! [`Group::status`], a copy that shares its texts.
//!
//! | module | what it is |
//! |---|---|
//! | [`rule`] | a rule as it is written, and as it is evaluated |
//! | [`file`](mod@file) | rule files: read with all their errors, and written |
//! | [`check`](mod@check) | what `promtool check rules` says |
//! | [`state`] | the state machine of one alerting rule |
//! | [`group`] | a group of rules, evaluated over a storage |
//! | [`keep`] | its state across a restart |
//! | [`rehearse`](mod@rehearse) | when a rule would have fired |
//! | [`unit_test`] | what `promtool test rules` says |

pub mod check;
mod condition;
mod env;
mod expand;
pub mod file;
pub mod group;
pub mod keep;
mod memory;
mod notation;
mod period;
pub mod rehearse;
pub mod rule;
mod spec;
pub mod state;
mod template;
pub mod unit_test;
mod write;
mod yaml;

pub use file::{FileError, RuleFile};
pub use group::{Env, Group, GroupStatus, Outcome, RuleStatus, Sample};
pub use period::Period;
pub use rule::{Clear, GroupSpec, Missing, Problem, Rule, RuleSpec};
pub use state::{Alert, Change, Event, State};
