//! The client against servers on loopback.

mod bounds;
mod identity;
mod proxy;
mod requests;
mod support;
mod tls;
