//! What the tests of several servers are told with: real servers, a real Redis, real balancers
//! before them, and viewers that write down all they get.
//!
//! | word | what it is |
//! |---|---|
//! | [`Replica`] | the built binary at a port of its own; killed, paused, stopped, started again |
//! | [`Redis`], [`Sentinels`], [`RedisCluster`] | what the replicas share, in three forms |
//! | [`Link`] | the network between a replica and Redis: cut, held, mended |
//! | [`Balancer`] | haproxy or nginx as `deploy/` has them |
//! | [`Audience`] | viewers of ticks and members of a room that come back by themselves |
//! | [`Notes`] | what all of them got: of one place there is one content |
//!
//! Each ends what it started when it is dropped, also when a test panics. `cargo xtask test` and
//! `cargo xtask test-cluster` build the server and say in the environment where everything is
//! (see [`programs`]); a program that is not to be had leaves out the tests that need it.
#![cfg(unix)]

mod audience;
mod balancer;
mod link;
mod notes;
pub mod programs;
mod redis;
mod redis_cluster;
mod replica;
mod seen;
mod sentinels;
mod wait;

pub use audience::{Audience, Speaker, Summary};
pub use balancer::Balancer;
pub use link::Link;
pub use notes::Notes;
pub use programs::Engine;
pub use redis::Redis;
pub use redis_cluster::RedisCluster;
pub use replica::{Replica, ask, authorized};
pub use seen::Seen;
pub use sentinels::Sentinels;
pub use wait::{eventually, free_port};

/// Shown by everybody: a balancer's clients come from elsewhere, where nobody is more than a
/// viewer without it.
pub const TOKEN: &str = "cluster-tests-token-0001";
