//! Notifications on their way to people: what each receiver is sent, what its answers mean, and the
//! outbox that nothing is lost from.
//!
//! How it is driven: receivers are read and settled ([`config`]), and stand by tenant in a
//! [`Directory`]. A [`Courier`] of that and a [`Sender`] is who an [`Outbox`] sends with. Whoever
//! decides that somebody is told makes a [`Notification`] with a key of its own and hands it to
//! [`Outbox::put`]; what becomes of it comes back as [`outbox::Event`]s and stands in
//! [`Outbox::deliveries`].
//!
//! | module | what it is |
//! |---|---|
//! | [`config`] | receivers as `alertmanager.yml` has them |
//! | [`way`] | what each maker is sent, and what its answers mean |
//! | [`render`] | the texts of one notification |
//! | [`text`] | texts cut to what is taken, without what is secret |
//! | [`outbox`] | on disk, at least once, in order |
//! | [`heartbeat`] | the dead man's switch |
//! | `send`, `smtp` | one try |
//! | `courier` | who the outbox sends with; tests |

pub mod config;
mod courier;
pub mod heartbeat;
mod notification;
pub mod outbox;
pub mod outcome;
pub mod post;
pub mod render;
mod send;
mod smtp;
pub mod text;
pub mod way;

pub use courier::{Courier, Tested, sample, test};
pub use heartbeat::Heartbeat;
pub use notification::{AlertStatus, Notification, NotifiedAlert, fingerprint};
pub use outbox::{Outbox, OutboxOptions};
pub use outcome::Outcome;
pub use send::{DEADLINE, Directory, Sender, Ways};
pub use way::webpush;
