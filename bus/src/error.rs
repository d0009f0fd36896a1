//! What may go wrong between us and Redis.

use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerError, ServerErrorKind};

/// Why something could not be done with the others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Redis cannot be reached; it is worth trying again.
    #[error("Redis cannot be reached: {0}")]
    Away(Arc<str>),
    /// Redis was reached and did not do it.
    #[error("Redis refuses: {0}")]
    Refused(Arc<str>),
    /// What it answered is not what we know.
    #[error("Redis answered something unknown to {0}")]
    Odd(&'static str),
}

impl BusError {
    pub(crate) fn away(why: impl Into<Arc<str>>) -> Self {
        Self::Away(why.into())
    }

    /// Whether the connection is of no use any more.
    pub(crate) fn is_away(&self) -> bool {
        matches!(self, Self::Away(_))
    }
}

/// Why this Redis is not used, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Too old.
    #[error("Redis at {server} is version {version}; 7.0 or newer is needed")]
    Version {
        /// Where.
        server: String,
        /// What it says.
        version: String,
    },
    /// It would forget what it must not.
    #[error(
        "Redis at {server} has maxmemory-policy {policy}, which forgets what is still needed; set it to noeviction"
    )]
    Eviction {
        /// Where.
        server: String,
        /// What it says.
        policy: String,
    },
    /// Another version of ours has written there.
    #[error(
        "Redis at {server} holds data of format {format} under this prefix, and this version knows {ours}"
    )]
    Format {
        /// Where.
        server: String,
        /// What it says.
        format: String,
        /// What we know.
        ours: u32,
    },
    /// It is a part of a cluster.
    #[error("Redis at {server} is part of a cluster; name it as redis-cluster://")]
    Cluster {
        /// Where.
        server: String,
    },
    /// It is none.
    #[error("Redis at {server} is no part of a cluster; name it as redis://")]
    NoCluster {
        /// Where.
        server: String,
    },
    /// User and password do not open it, or open too little.
    #[error("Redis at {server} refuses us: {why}")]
    Denied {
        /// Where.
        server: String,
        /// What it says.
        why: String,
    },
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers as one should; it is worth trying again.
    #[error(transparent)]
    Away(#[from] BusError),
    /// Somebody has to change something.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// Codes after which a server is looked for anew.
const LEFT: [ServerErrorKind; 7] = [
    ServerErrorKind::ReadOnly,
    ServerErrorKind::BusyLoading,
    ServerErrorKind::ClusterDown,
    ServerErrorKind::MasterDown,
    ServerErrorKind::Moved,
    ServerErrorKind::Ask,
    ServerErrorKind::TryAgain,
];

/// What a server's own words mean.
pub(crate) fn of_server(error: &ServerError) -> BusError {
    let text: Arc<str> = match error.details() {
        Some(details) => format!("{} {details}", error.code()).into(),
        None => error.code().into(),
    };
    match error.kind() {
        Some(kind) if LEFT.contains(&kind) => BusError::Away(text),
        _ => BusError::Refused(text),
    }
}

pub(crate) fn is_unknown_script(error: &ServerError) -> bool {
    error.kind() == Some(ServerErrorKind::NoScript)
}

/// What the crate's word for a broken connection means.
pub(crate) fn of_connection(error: &RedisError) -> BusError {
    match error.kind() {
        ErrorKind::Server(_) | ErrorKind::Extension => {
            let text = error.to_string();
            BusError::Refused(text.into())
        }
        _ => BusError::Away(error.to_string().into()),
    }
}
