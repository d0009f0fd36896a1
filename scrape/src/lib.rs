//! Scraping: `prometheus.yml` as it stands, its targets found, relabelled and scraped.
//!
//! ```text
//! file ──config──▶ jobs ──discovery──▶ groups ──target──▶ targets ──scheduler──▶ due
//!                                    (tasks)   (relabel)                          │
//!                 Sink ◀── batch ◀── relabel, labels, limits ◀── parse ◀── GET ◀──┘
//! ```
//!
//! Samples leave through a [`Sink`]. Nothing here knows where they go, and nothing serves HTTP.
//!
//! | module | what it is |
//! |---|---|
//! | [`config`] | the file: strict, with lines, printed without secrets |
//! | [`relabel`], [`labels`] | rules over sets of labels; pure |
//! | [`discovery`] | where targets are: a task for each section of the file |
//! | [`target`] | from what was found to what is scraped; pure |
//! | [`manager`] | jobs and their targets; what a reload keeps |
//! | [`alertmanagers`] | who is to be told of alerts, found like targets |
//! | `finding` | a section of the file that finds something, while it looks |
//! | `scheduler`, `times` | one clock for all targets |
//! | `active`, `own` | a target that is scraped: what is known of it, and which series tell it |
//! | `scrape` | one scrape of one target |
//! | `exposition` | from a body to rows with the target's labels, within the job's limits; pure |
//! | `tracked` | which series a target had, so that those that end are marked; pure |
//! | [`metadata`] | types and helps, each text once for all targets that say the same |

mod active;
pub mod alertmanagers;
pub mod config;
mod context;
pub mod discovery;
mod exposition;
mod finding;
pub mod labels;
pub mod manager;
pub mod metadata;
mod own;
pub mod relabel;
mod scheduler;
mod scrape;
mod sink;
pub mod target;
mod times;
mod tracked;

pub use active::{Health, Status};
pub use alertmanagers::Alertmanagers;
pub use config::Config;
pub use labels::LabelSet;
pub use manager::{Manager, Snapshot, TargetView};
pub use sink::{Handed, NotTaken, Sink, Turns, WallClock};
