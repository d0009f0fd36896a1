//! `kubernetes_sd_configs`: objects of the cluster's API, listed once and then watched.
//!
//! Each kind of object that a role needs is followed by a loop of its own; a change of any of them
//! makes targets anew, a second later at most, so that a cluster in motion costs no more.

mod api;
mod labels;
mod roles;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::sleep};

use self::api::{Api, Kind, Objects};
use super::publish::Publish;
use crate::config::{KubernetesDiscovery, KubernetesRole};

/// Changes are gathered for so long.
const GATHER: Duration = Duration::from_secs(1);

pub(super) async fn run(section: KubernetesDiscovery, folder: PathBuf, publish: Publish) {
    let role = section.role;
    let api = match Api::new(section, &folder) {
        Ok(api) => Arc::new(api),
        Err(error) => return publish.found(Err(error)),
    };
    let objects = Arc::new(Objects::default());
    // ends all of them when this ends
    let mut followers = JoinSet::new();
    for kind in kinds(role) {
        for namespace in api.namespaces(*kind) {
            let (api, objects) = (Arc::clone(&api), Arc::clone(&objects));
            objects.expect();
            followers.spawn(async move { api.follow(*kind, namespace, &objects).await });
        }
    }
    loop {
        objects.changed().await;
        if let Some(problem) = objects.problem() {
            publish.found(Err(problem));
        }
        // half of a cluster would end the other half's series
        if objects.is_complete() {
            publish.found(Ok(objects.with(|all| roles::groups(role, all))));
        }
        sleep(GATHER).await;
    }
}

fn kinds(role: KubernetesRole) -> &'static [Kind] {
    match role {
        KubernetesRole::Node => &[Kind::Node],
        KubernetesRole::Service => &[Kind::Service],
        KubernetesRole::Pod => &[Kind::Pod],
        KubernetesRole::Endpoints => &[Kind::Endpoints, Kind::Service, Kind::Pod],
        KubernetesRole::EndpointSlice => &[Kind::EndpointSlice, Kind::Service, Kind::Pod],
        KubernetesRole::Ingress => &[Kind::Ingress],
    }
}
