//! Asking the other servers what they have counted.

use std::sync::Arc;

use pulseboard_bus::BusError;

use super::TenantItems;
use crate::cluster::{Cluster, within};

/// Bytes that are read on the thread that heard them.
const AT_ONCE_MAX: usize = 65_536;

/// The hash of a tenant with what each server counted.
pub const COUNTED: &str = "items";

/// Hears of one tenant what other servers counted, where there are some.
///
/// # Errors
/// They are away; what was heard before counts.
pub async fn hear(
    cluster: &Cluster,
    name: &str,
    tenant: &Arc<TenantItems>,
) -> Result<(), BusError> {
    if tenant.together().is_none() {
        return Ok(());
    }
    let all = within(cluster.common().fields(name, COUNTED)).await?;
    let (tenant, instance) = (Arc::clone(tenant), cluster.instance().to_owned());
    let bytes: usize = all.iter().map(|(_, text)| text.len()).sum();
    let take_in = move || {
        let all = all.iter().map(|(field, text)| (&**field, &**text));
        if let Some(together) = tenant.together() {
            together.lock().hear(all, &instance);
        }
    };
    // Many names take a while to read.
    if bytes <= AT_ONCE_MAX {
        take_in();
    } else if let Err(error) = tokio::task::spawn_blocking(take_in).await {
        tracing::error!(%error, "reading what others counted broke off");
    }
    Ok(())
}
