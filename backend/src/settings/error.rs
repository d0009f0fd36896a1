//! Why the server cannot start as asked, and where what is wrong was given.

use std::{fmt, io, path::PathBuf};

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The flag of this name, without dashes.
    Flag(&'static str),
    /// The environment variable of this name.
    Environment(&'static str),
    /// A key of the file.
    File {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag --{name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File { path, key } => write!(f, "file {path:?} key {key}"),
        }
    }
}

/// Why the server cannot start as asked. Its text is one line for a person and shows no secret;
/// the process ends with code 2.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The command line cannot be read.
    #[error("{0}; see --help")]
    Usage(String),
    /// The setting does not take this value.
    #[error("{setting}: {shown} ({origin}) is not accepted; it takes {accepts}")]
    Value {
        /// The setting's name.
        setting: &'static str,
        /// The value or the part of it that is wrong, quoted; a secret's place instead of it.
        shown: String,
        /// Where it was given.
        origin: Origin,
        /// What is accepted, in words.
        accepts: &'static str,
    },
    /// The file cannot be read.
    #[error("CONFIG_FILE: {path:?} ({origin}) cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where its name was given.
        origin: Origin,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("file {path:?} line {line}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser said.
        message: String,
    },
    /// The file has a key that no setting has.
    #[error("file {path:?}: unknown key {key:?}{hint}; accepted are {accepted}")]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key as written.
        key: String,
        /// A guess at what was meant, or nothing.
        hint: String,
        /// All keys, with commas between.
        accepted: String,
    },
    /// The file's rooms are wrong.
    #[error("file {path:?} key {key}: {message}")]
    Room {
        /// The file.
        path: PathBuf,
        /// The key, such as `rooms.deploys`.
        key: String,
        /// What is wrong and what is accepted.
        message: String,
    },
}

/// A parser's refusal; the table knows the rest of the message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rejected {
    /// The whole value is wrong.
    Value,
    /// This part of a list is wrong: the words to show for it.
    Part(String),
}
