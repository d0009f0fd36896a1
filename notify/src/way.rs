//! Which way out of which receiver.

use std::fmt;

use pulseboard_receivers::config::WayName;
use serde::{Deserialize, Serialize};

/// One way out of one receiver: `ops`, `slack[0]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Way {
    pub receiver: String,
    /// As [`Receiver::ways`](pulseboard_receivers::config::Receiver::ways) calls it.
    pub name: WayName,
}

impl Way {
    /// A way by its names.
    #[must_use]
    pub fn new(receiver: &str, name: &str) -> Self {
        Self {
            receiver: receiver.to_owned(),
            name: WayName(name.to_owned()),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.receiver, self.name.0)
    }
}
