//! What can go wrong when somebody is asked, in words that name what and where.

use std::error::Error as StdError;

/// Why there is no answer. Its text is shown to people as it is.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The configuration cannot be used: a file that is not there, a certificate that is none.
    #[error("{0}")]
    Config(String),
    /// The address is not one that can be asked.
    #[error("{url:?} cannot be asked: {why}")]
    Url { url: String, why: String },
    /// No connection: refused, no such host, a certificate that is not believed.
    #[error("no connection to {to}: {why}")]
    Connect { to: String, why: String },
    /// The address that it is at is not one that may be asked.
    #[error("{to} may not be asked: {why}")]
    Forbidden { to: String, why: String },
    /// The deadline passed.
    #[error("{to} did not answer in time")]
    TimedOut { to: String },
    /// The connection ended in the middle, or what came is not HTTP.
    #[error("{to} broke off: {why}")]
    Broken { to: String, why: String },
    /// The body is larger than allowed, as it came or unpacked.
    #[error("the answer of {to} is larger than {limit} bytes")]
    TooLarge { to: String, limit: usize },
    /// Others' bodies have all memory that there is for them.
    #[error("there was no memory for the answer of {to} in time: other answers are being read")]
    NoMemory { to: String },
    /// The body is not the gzip that it is said to be.
    #[error("the answer of {to} cannot be unpacked: {why}")]
    Packed { to: String, why: String },
    /// One redirect after the other.
    #[error("{to} leads on more than {limit} times")]
    Redirects { to: String, limit: usize },
}

/// The innermost reason of an error, which is the one that people can act on.
pub(crate) fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
