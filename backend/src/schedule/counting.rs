//! What servers count together: tracked items, and errors of the last minute.

use std::{collections::HashMap, sync::Arc, time::Duration};

use pulseboard_bus::{BusError, Spread};
use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    cluster::{Cluster, Standing, within},
    tracking::{
        TenantItems,
        hearing::{COUNTED, hear},
        together::Together,
    },
};

/// How often what was counted is told.
const EVERY: Duration = Duration::from_millis(200);
/// How often what others counted is heard, in these.
const HEARD_EACH: u32 = 5;
/// Tenants that are told of, and heard of, at once; of more, each in its turn.
const TENANTS_EACH: usize = 64;
/// Names that are told at once.
const NAMES_EACH: usize = 250;
/// What figures of errors are told as.
const ERRORS: &str = "errors";

/// Tells the others what was counted here, and hears what they counted, until the server stops; the
/// last that was counted is told then.
pub async fn keep_counting(app: Arc<App>, cluster: Arc<Cluster>, stopping: CancellationToken) {
    let work = cluster.bus().leases().work(ERRORS, Spread::One);
    let mut counting = Counting {
        app,
        cluster,
        epoch: 0,
        turn: 0,
    };
    for round in 0_u32.. {
        let stops = tokio::select! {
            () = stopping.cancelled() => true,
            () = tokio::time::sleep(EVERY) => false,
        };
        let hears = round % HEARD_EACH == 0;
        let cluster = &counting.cluster;
        // Another that is called as this one is says what that has counted.
        if cluster.standing() == Standing::Joined && cluster.readiness().is_ok() {
            if let Err(error) = counting.round(hears).await {
                tracing::debug!(%error, "what was counted is told later");
            }
            if hears {
                let tells = work.token_of_one().is_some();
                if let Err(error) = counting.errors(tells).await {
                    tracing::debug!(%error, "errors at other servers are not heard");
                }
            }
        } else {
            // Each tells of its own.
            let manager = counting.app.alerts.manager();
            manager.set_errors_elsewhere(HashMap::new(), true);
        }
        if stops {
            return;
        }
    }
}

struct Counting {
    app: Arc<App>,
    cluster: Arc<Cluster>,
    /// How often connections were made anew: what was told may be lost.
    epoch: u64,
    turn: usize,
}

impl Counting {
    async fn round(&mut self, hears: bool) -> Result<(), BusError> {
        let mut tenants = self.app.tracked.tenants();
        let epoch = self.cluster.figures().reconnects.get();
        if epoch != self.epoch {
            for (_, tenant) in &tenants {
                if let Some(together) = tenant.together() {
                    let names = tenant.names();
                    together.lock().tell_again(names.iter());
                }
            }
            self.epoch = epoch;
        }
        tenants.retain(|(_, tenant)| {
            let together = tenant.together();
            let is_behind = together.is_some_and(|together| together.lock().is_behind());
            is_behind || hears && tenant.clients() > 0
        });
        if tenants.len() > TENANTS_EACH {
            self.turn = (self.turn + TENANTS_EACH) % tenants.len();
            tenants.rotate_left(self.turn);
            tenants.truncate(TENANTS_EACH);
        }
        for (name, tenant) in tenants {
            let Some(together) = tenant.together() else {
                continue;
            };
            let has_joined = together.lock().has_joined();
            if !has_joined || hears && tenant.clients() > 0 {
                hear(&self.cluster, &name, &tenant).await?;
            }
            self.tell(&name, &tenant).await?;
        }
        Ok(())
    }

    async fn tell(&self, name: &str, tenant: &TenantItems) -> Result<(), BusError> {
        let Some(together) = tenant.together() else {
            return Ok(());
        };
        let names = together.lock().take_changed(NAMES_EACH);
        let own = tenant.as_told(&names).into_iter();
        let instance = self.cluster.instance();
        let fields: Vec<(String, Vec<u8>)> = own
            .map(|(name, text)| (Together::field(&name, instance), text))
            .collect();
        let put = within(self.cluster.common().put_fields(name, COUNTED, &fields)).await;
        put.inspect_err(|_away| together.lock().not_told(names))
    }

    async fn errors(&self, tells: bool) -> Result<(), BusError> {
        let manager = self.app.alerts.manager();
        let own = manager.errors().into_iter();
        let own: Vec<(String, u64)> = own
            .map(|(tenant, count)| (tenant.to_string(), count))
            .collect();
        let others = within(self.cluster.common().tell(ERRORS, &own)).await?;
        let sums = others.sums.into_iter();
        let sums = sums.map(|(tenant, count)| (Arc::from(tenant), count));
        manager.set_errors_elsewhere(sums.collect(), tells);
        Ok(())
    }
}
