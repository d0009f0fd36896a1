//! What several makers have in common.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::notification::Notification;

/// Who names no tenant is of this one.
const DEFAULT_TENANT: &str = "default";

/// What a group is known by at those who keep incidents: 64 hexadecimal digits, Alertmanager's for
/// the same group, so that who comes from there closes what was opened there. Only the default
/// tenant's: others' groups are their own, also where two share an account.
pub(super) fn group_hash(notification: &Notification) -> String {
    hash_of(&notification.tenant, &notification.group_key)
}

fn hash_of(tenant: &str, group_key: &str) -> String {
    let mut hash = Sha256::new();
    if tenant != DEFAULT_TENANT {
        hash.update(tenant.as_bytes());
        hash.update([0]);
    }
    hash.update(group_key.as_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_alertmanagers_key_and_other_tenants_have_their_own() {
        let group = r#"{}/{kind="all"}:{alertname="alpha beta", host="h2", kind="all"}"#;
        let of = |tenant: &str| hash_of(tenant, group);
        // As Alertmanager 0.25 tells PagerDuty.
        let key = "630a50ac22c4515bc598e9a181a9cf68dcef17380ef46d1bf9eb1083ca41c1b3";
        assert_eq!(of("default"), key);
        assert_ne!(of("shop"), key);
    }
}
