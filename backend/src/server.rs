//! The wiring, and the only place that starts tasks: listener, connections, what every request and
//! answer goes through.

pub mod accept;
mod connections;
mod doors;
mod drain;
mod farewell;
mod finish;
pub mod graphite;
pub mod grpc;
mod handshakes;
#[cfg(unix)]
pub mod hangup;
mod http1;
mod http2;
pub mod middleware;
pub mod run;
pub mod slots;
pub mod statsd;
mod targets;
mod transport;
