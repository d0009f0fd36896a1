//! What queries leave behind for the next ones.

use parking_lot::Mutex;

use super::{past::numbers::Past, sketch::Minutes};

/// One for each engine.
#[derive(Debug, Default)]
pub(crate) struct QueryCache {
    /// Numbers of all series that were ever defined. Held while definitions are read.
    pub(super) past: Mutex<Past>,
    /// Sketches of closed minutes. Leaf lock, held to take or put one series' sketches.
    pub(super) minutes: Mutex<Minutes>,
}
