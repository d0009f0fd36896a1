//! What travels between the page and the server: protocols as pure state machines, and the few
//! thin pieces that touch the network. Sockets themselves live in [`crate::hooks`].

pub mod address;
pub mod backoff;
pub mod boot;
pub mod clock;
pub mod config;
pub mod feed;
pub mod fetch;
pub mod json;
pub mod link;
pub mod probe;
pub mod prom;
pub mod refusal;
pub mod rooms;
pub mod series;
pub mod session;
pub mod transport;
pub mod wire;
