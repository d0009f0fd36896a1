//! What stands between an alert and its receivers: routes, groups and their waits, silences,
//! inhibition, times. Pure: no clock, no I/O, no threads; times are the caller's, Unix ms.
//!
//! # How it is driven
//! One [`Manager`] is one tenant's Alertmanager. Its owner has one task that does three things:
//!
//! 1. Whatever happens goes into [`Manager::handle`]: alerts that were posted or that rules gave
//!    ([`Input::Alerts`]), what became of a delivery ([`Input::Sent`], [`Input::Failed`]), or that
//!    time has passed ([`Input::Tick`]).
//! 2. The [`Action`]s that come back are carried out in their order. [`Action::Notify`] goes into
//!    the outbox, on disk before anything else; [`Action::NotSent`] into the incident's timeline.
//!    Each `Notify` is answered by exactly one `Sent` or `Failed` with its key, however late: until
//!    then nothing more goes to that way about that group, which is what keeps a resolved one
//!    behind its firing.
//! 3. It sleeps until [`Manager::next_due_ms`] and says [`Input::Tick`].
//!
//! Silences, acknowledgements and maintenance windows are methods ([`Manager::set_silence`],
//! [`Manager::expire_silence`], [`Manager::acknowledge`], [`Manager::set_window`] …); they change
//! what the next flush does and cause no action by themselves. What `/api/v2` answers are methods
//! that only read ([`Manager::alerts`], [`Manager::groups`], [`Manager::silences`],
//! [`Manager::receivers`], [`api::AlertmanagerStatus`]).
//!
//! [`Manager::keep`] gives the state for a document, [`Manager::restore`] goes on with it. The key
//! of a notification is made of what it says and of what was said before, so a flush that is done
//! again after a kill gives the same key. After a restore the owner compares
//! [`Manager::in_flight`] with its outbox and says `Failed` for each key that is not there.
//!
//! [`Manager::set_config`] takes another configuration: groups are made again from the alerts, as
//! Alertmanager does, and the notification log stays.

mod ack;
mod alerts;
pub mod api;
mod budget;
pub mod config;
mod flap;
mod group;
mod inhibit;
pub mod interval;
mod keep;
mod labels;
mod log;
mod manager;
pub mod matcher;
mod reason;
mod route;
mod silence;
mod way;
mod window;

pub use ack::{Ack, AckError};
pub use alerts::{AlertLimits, PostedAlert, check_posted};
pub use budget::BudgetOptions;
pub use flap::FlapOptions;
pub use group::Cause;
pub use keep::Keep;
pub use labels::{Fingerprint, ParseFingerprintError};
pub use manager::{Action, Delivery, Input, Manager, NotSent, Options, Refused};
pub use reason::Reason;
pub use route::{GroupBy, Route, RouteOptions, Routes};
pub use silence::{Silence, SilenceError, SilenceState};
pub use way::Way;
pub use window::Window;
