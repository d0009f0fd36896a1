//! The bus against a real Redis, which each test starts for itself; where there is no
//! `redis-server`, tests say so and are left out.

mod cluster;
mod failover;
mod feeds;
mod proxy;
mod slots;
mod support;
mod tls;
mod trouble;
