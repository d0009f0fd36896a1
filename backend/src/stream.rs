//! Streams: sockets that stay open and are written to by the fan-out.
//!
//! A handler checks the request and *claims* its connection ([`takeover`]); the connection's
//! socket then becomes a [`viewer::Viewer`], and hyper's and salvo's memory for it is given back.

mod outbox;
pub mod pipe;
pub mod registry;
pub mod socket;
pub mod sse_session;
pub mod takeover;
pub mod viewer;
pub mod ws_session;
