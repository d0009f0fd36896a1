//! What several makers have in common.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::notification::Notification;

/// What a group is known by at those who keep incidents: 64 hexadecimal digits. A tenant's groups
/// are its own, also where two share an account there.
pub(super) fn group_hash(notification: &Notification) -> String {
    let mut hash = Sha256::new();
    hash.update(notification.tenant.as_bytes());
    hash.update([0]);
    hash.update(notification.group_key.as_bytes());
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Puts a text that is not empty.
pub(super) fn put(map: &mut Map<String, Value>, name: &str, text: impl AsRef<str>) {
    let text = text.as_ref();
    if !text.is_empty() {
        map.insert(name.to_owned(), text.into());
    }
}
