//! What somebody who drives the crate notices.

mod beside;
mod drive;
mod rules;
mod storm;
mod week;
