//! An archive: a store that speaks Prometheus' protocols (VictoriaMetrics, Prometheus, Mimir,
//! Thanos) keeps what the own history does not.
//!
//! ```text
//! every tenant's samples ──write──▶ forward's queue ──remote write──▶ store
//!                                     │ held, and sent again when the store was started anew
//!                                     └──────────────runs─────────── /metrics
//! a question ──read──▶ remote read, or a query of the selector ─────▶ store
//!                        └ what comes back is looked at: whose is it?
//! ```
//!
//! **A store is not trusted.** Its 2xx is no safety: VictoriaMetrics lost seven seconds of samples
//! that it had answered with 204 when it was killed. What it answers may be somebody else's: each
//! series says whose it is in a label that is written and asked for here, whatever else says it
//! ([`Way`]), and one that says another tenant, or none, is dropped and counted.
//!
//! | module | what it is |
//! |---|---|
//! | [`way`] | how the store is told whose samples they are |
//! | [`mod@write`] | what is sent, held and sent again |
//! | `runs` | which run of the store answers |
//! | [`read`] | what it is asked |
//! | `answer` | what its answers say |

mod answer;
pub mod read;
mod runs;
pub mod way;
pub mod write;

pub use self::{
    answer::{Labels, Looked, Sample, Unreadable},
    read::{Matcher, Missing, Op, Reader, Stretch},
    way::Way,
};

/// The label that says whose a series is.
pub const TENANT_LABEL: &str = "tenant";
