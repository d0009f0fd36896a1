//! Where a source tells what it finds.

use std::fmt;

use crate::target::Group;

/// Told all that a source finds, each time that it has looked.
pub(crate) struct Publish(Box<dyn Fn(Result<Vec<Group>, String>) + Send + Sync>);

impl Publish {
    pub(crate) fn new(
        publish: impl Fn(Result<Vec<Group>, String>) + Send + Sync + 'static,
    ) -> Self {
        Self(Box::new(publish))
    }

    pub(super) fn found(&self, found: Result<Vec<Group>, String>) {
        (self.0)(found);
    }
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Publish")
    }
}
