//! Where taking from a tenant goes on: looking through a block may take several steps.

use std::sync::Arc;

/// What goes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Going {
    pub(crate) level: usize,
    pub(crate) block: u32,
    /// Of this tenant alone; `None`: of all.
    pub(crate) tenant: Option<Arc<str>>,
}

/// How far looking through a block for what is one tenant's has come.
#[derive(Debug)]
pub(crate) struct Sweep {
    pub(crate) going: Going,
    /// Series and sequence of the next value to be looked at.
    pub(crate) from: (u32, u32),
}
