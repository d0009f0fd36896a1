//! The history through its public endpoint, against naive models; one file a verb.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod compact;
mod crash;
mod lifecycle;
mod recover;
mod retain;
mod rollup;
mod seal;
mod support;
