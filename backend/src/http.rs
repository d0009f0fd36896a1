//! The HTTP face: routes, who may do what, what every answer carries, and the page.

pub mod app;
pub mod assets;
pub mod body;
pub mod caller;
pub mod compress;
pub mod counted;
pub mod direct;
pub mod docs;
pub mod error;
pub mod event_stream;
pub mod handshake;
pub mod identify;
pub mod if_match;
pub mod ingest;
pub mod origin;
pub mod path;
pub mod pieces;
pub mod query;
pub mod routes;
pub mod session;
pub mod shown;
pub mod tenant;
pub mod via;
