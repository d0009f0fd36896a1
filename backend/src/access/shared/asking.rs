//! Asking the other servers: bounded in time, and not at all while they are known to be away.

use std::sync::Arc;

use pulseboard_bus::{Bus, BusError, Cluster as Common};

use crate::{
    base::error::AppError,
    cluster::{Cluster, Standing},
};

/// Seconds after which somebody may ask again for what cannot be found out now.
const RETRY_AFTER_S: u32 = 2;

/// The way to the other servers.
#[derive(Clone, Debug)]
pub struct Asking(Arc<Cluster>);

impl Asking {
    /// Over this bus.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self(cluster)
    }

    /// What is asked, where there is somebody to answer.
    ///
    /// # Errors
    /// They are away.
    pub fn common(&self) -> Result<&Common, BusError> {
        match self.0.standing() {
            Standing::Joined => Ok(self.0.common()),
            Standing::Joining => Err(BusError::Away("not connected yet".into())),
            Standing::Alone => Err(BusError::Away("this server is alone".into())),
        }
    }

    /// What feeds go over.
    #[must_use]
    pub fn bus(&self) -> &Arc<dyn Bus> {
        self.0.bus()
    }

    /// Grows whenever writes may have been lost that somebody has seen, and sometimes else.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.0.figures().reconnects.get()
    }
}

/// What a caller is told of something that only all servers together can do.
#[must_use]
pub fn unavailable(what: &str, error: &BusError) -> AppError {
    tracing::debug!(%error, "{what}");
    AppError::unavailable(
        format!("{what}: the other servers cannot be reached at the moment"),
        RETRY_AFTER_S,
    )
}
