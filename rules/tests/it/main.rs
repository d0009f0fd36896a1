//! Rules as a user meets them, beside `promtool` where there is one.
#![allow(clippy::unwrap_used, reason = "tests")]

mod file;
mod group;
mod machine;
mod promtool;
mod rehearse;
mod support;
mod unit_test;
mod week;
