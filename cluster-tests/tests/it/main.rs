//! What several servers promise, a file a promise. Everything is real and on this machine: the
//! built server, Redis or Valkey, sentinels, haproxy and nginx.
//!
//! | file | what happens |
//! |---|---|
//! | `killed` | a server is killed under its viewers, again and again |
//! | `failover` | the primary of a Redis with sentinels is killed |
//! | `parted` | Redis cannot be reached: connections end, or nothing comes over them |
//! | `upgraded` | one server after the other is stopped and started again |
//! | `balanced` | every request and every stream comes to any server |
//! | `slots`, `full`, `random` | a Redis Cluster, a Redis that is full, half an hour of anything |
//!
//! Those of the last line run with `cargo xtask test-cluster --all` alone.
#![cfg(unix)]

mod balanced;
mod failover;
mod full;
mod killed;
mod parted;
mod random;
mod slots;
mod upgraded;

use std::time::Duration;

/// Long enough for anything that is not itself measured.
const SOON: Duration = Duration::from_secs(15);
