//! What servers of one service have alike, kept so: documents and states of others are taken in,
//! what they say of alerts is heard, and alerts of hosts that are gone end.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pulseboard_alerting::{AlertEvent, new_id};
use pulseboard_engine::DEFAULT_TENANT;
use pulseboard_shared::{AlertState, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    cluster::{
        Standing,
        alike::{Alike, Role},
        voice::Said,
    },
};

/// How often it is looked what others have changed.
const LOOK: Duration = Duration::from_millis(200);

/// What is taken in at once.
const HEARD_AT_ONCE: usize = 256;

/// So long after a server was last seen, alerts of its host end.
const GONE_MS: i64 = 15_000;

/// Takes in what others have changed, until the server stops.
pub async fn keep_alike(app: Arc<App>, stopping: CancellationToken) {
    let mut gone = BTreeMap::new();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let is_joined =
            |cluster: &Arc<crate::cluster::Cluster>| cluster.standing() == Standing::Joined;
        if !app.cluster.as_ref().is_some_and(is_joined) {
            gone.clear();
            continue;
        }
        if let Err(error) = app.catch_up().await {
            tracing::debug!(error, "what other servers have changed is not known yet");
            continue;
        }
        end_of_hosts(&app, &mut gone);
    }
}

/// Hears what others say of alerts, until the server stops.
pub async fn hear_alerts(app: Arc<App>, alike: Arc<Alike>, stopping: CancellationToken) {
    alike.voice().listen();
    loop {
        let heard = tokio::select! {
            () = stopping.cancelled() => return,
            heard = alike.voice().hear(HEARD_AT_ONCE) => heard,
        };
        let taking = Arc::clone(&app);
        let taken = tokio::task::spawn_blocking(move || {
            for said in heard {
                match said {
                    // After a start what was said before it is read once more.
                    Said::Event(event) if taking.incidents.has(&event) => {}
                    Said::Event(event) => taking.alerts.manager().hear(*event),
                    Said::Entry {
                        tenant,
                        incident,
                        entry,
                    } => taking.incidents.hear_entry(&tenant, incident, &entry),
                    Said::Posted {
                        tenant,
                        at_ms,
                        alerts,
                    } => taking.notifying.hear_posted(&tenant, at_ms, alerts),
                }
            }
        });
        if let Err(error) = taken.await {
            tracing::error!(%error, "taking in what others say of alerts panicked");
        }
    }
}

/// A host's own alerts end by its own word; of one that is gone, by that of whoever looks after the
/// default tenant.
fn end_of_hosts(app: &App, gone: &mut BTreeMap<String, i64>) {
    let (Some(alike), Some(cluster)) = (&app.alike, &app.cluster) else {
        return;
    };
    if !matches!(alike.role(DEFAULT_TENANT), Role::Ours(_)) {
        gone.clear();
        return;
    }
    let (now_ms, steady_ms) = (app.clock.now_ms(), app.clock.steady_ms());
    let view = cluster.view();
    let host = |event: &AlertEvent| {
        let is_hosts = event.tenant.is_none() && event.detail.is_none();
        event
            .alert
            .labels
            .get("instance")
            .filter(|_| is_hosts)
            .cloned()
    };
    let events = app.alerts.manager().events(DEFAULT_TENANT);
    let is_there = |name: &str| view.live.iter().any(|member| member.instance == *name);
    gone.retain(|name, _| !is_there(name));
    for event in events {
        let Some(name) = host(&event).filter(|name| !is_there(name)) else {
            continue;
        };
        let since_ms = *gone.entry(name).or_insert(steady_ms);
        if steady_ms - since_ms < GONE_MS {
            continue;
        }
        let mut ended = event;
        ended.alert.id = new_id(now_ms);
        ended.alert.state = AlertState::Resolved;
        ended.alert.timestamp = Timestamp::from_millis(now_ms);
        app.alerts.manager().tell(ended);
    }
}
