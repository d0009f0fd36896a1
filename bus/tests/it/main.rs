//! The bus against a real Redis, which each test starts for itself; where there is no `redis-server`,
//! tests say so and are left out.

mod cluster;
mod feeds;
mod proxy;
mod support;
mod trouble;
