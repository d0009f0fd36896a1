//! The HTTP client for everything that the product asks of others: targets, discovery, receivers,
//! hubs. HTTP/1.1 over TCP, TLS or a Unix socket, through a proxy where one is named.
//!
//! Everything is bounded: a request has a deadline, an answer a number of bytes, a redirect a
//! number of hops, and connections that wait for their next request a number and an age. What goes
//! wrong is told in words, with what and where ([`Error`]).
//!
//! | module | what it is |
//! |---|---|
//! | [`config`] | who the client is, whom it believes; the field names of Prometheus' files |
//! | [`bodies`] | memory that bodies share while they are read |
//! | [`client`] | requests, redirects, answers |
//! | [`reader`] | an answer that is read as it comes |
//! | [`secret`] | what is never printed, and files that are read again when they change |
//! | [`guard`] | which addresses may be connected to |
//! | [`plain`] | a connection that speaks something else than HTTP, with TLS once it is asked for |
//! | `tls` | certificates and roots |
//! | `dial` | how a connection is made |
//! | `gzip` | unpacking within a bound |

pub mod bodies;
pub mod client;
pub mod config;
mod dial;
mod error;
pub mod guard;
mod gzip;
pub mod plain;
pub mod reader;
pub mod secret;
mod tls;

pub use bodies::Bodies;
pub use client::{Answer, Client, check_address};
pub use config::ClientConfig;
pub use error::Error;
pub use guard::Guard;
pub use http::{HeaderMap, HeaderName, HeaderValue, header};
pub use reader::Reader;
pub use secret::Secret;
