//! What of the built-in rules was written last as `ALERTS` and `ALERTS_FOR_STATE`.

use std::{collections::BTreeMap, sync::Arc};

use pulseboard_shared::Severity;

/// Whose series they are, and what their alert is known by.
pub(super) type Key = (Arc<str>, &'static str, Severity);

/// What fired then, and since when, so that what is over gets its stale markers.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) ticks: BTreeMap<Key, i64>,
    pub(super) errors: BTreeMap<Key, i64>,
}
