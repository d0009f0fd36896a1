//! The real process, killed with SIGKILL while samples come in, started again on the same folder,
//! and asked for every sample that it had acknowledged.
//!
//! `CRASH_ROUNDS` is how often each test kills it (default 12; a hundred takes about a minute).
//! The test of a full disk mounts a small tmpfs, which needs the right to; without it it says so
//! and passes.
#![cfg(unix)]

mod agent;
mod backup;
mod damage;
mod full_disk;
mod kill;
mod notifying;
mod recorder;
mod remote_write;
mod senders;
mod server;
mod storm;
mod trouble;
