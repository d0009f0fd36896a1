//! Labels tell series of one name apart: `disk_used{mount="/"}`.

use std::collections::BTreeMap;

/// Label names to values, sorted by name so that equal sets are equal texts.
pub type Labels = BTreeMap<String, String>;
