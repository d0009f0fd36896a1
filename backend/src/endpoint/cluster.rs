//! `GET /api/cluster`: the servers that are one service, as this one knows them.

use std::{collections::BTreeMap, sync::Arc};

use salvo::{Depot, handler, writing::Json};
use serde::Serialize;

use crate::{
    app::App,
    base::error::AppError,
    cluster::{Cluster, Standing},
    http::{self, caller},
};

/// What is known of the service.
#[derive(Debug, Serialize)]
struct Service {
    /// What this server is called.
    instance: String,
    /// `single`, or how several share the work.
    mode: &'static str,
    state: &'static str,
    /// Since when it is alone, Unix milliseconds, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    alone_since_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Arc<str>>,
    /// How often what Redis holds was gone on with by another lineage of it.
    generation: i64,
    /// Series that several of them have, where each has what came in at it; a guess where there
    /// are many.
    #[serde(skip_serializing_if = "Option::is_none")]
    series_at_several: Option<u64>,
    /// Those that live, oldest first.
    members: Vec<Listed>,
}

/// One server.
#[derive(Debug, Default, Serialize)]
struct Listed {
    instance: String,
    /// Names this run of it.
    id: String,
    address: String,
    version: String,
    /// Versions of frames that it reads.
    bus: [u32; 2],
    /// Streams that are open there.
    viewers: u64,
    joined_ms: i64,
    /// How long a message to itself takes.
    lag_ms: f64,
    ready: bool,
    /// What it does for all: kinds of work, and how many leases of each it holds.
    leases: BTreeMap<String, usize>,
    /// Whether it is the one that answers.
    this: bool,
}

/// Lists the members.
#[handler]
pub async fn get_cluster(depot: &mut Depot) -> Result<Json<impl Serialize + use<>>, AppError> {
    caller::require_administer(depot)?;
    caller::require_server(depot, "the servers are the whole service's")?;
    let app = http::app::app(depot)?;
    Ok(Json(match &app.cluster {
        Some(cluster) => {
            let several = match &app.elsewhere {
                Some(elsewhere) => elsewhere.at_several().await,
                None => None,
            };
            service(&app, cluster, several)
        }
        None => single(&app),
    }))
}

fn service(app: &App, cluster: &Cluster, series_at_several: Option<u64>) -> Service {
    let alone = cluster.alone_since();
    let own = cluster.member();
    let view = cluster.view();
    let members = view.live.iter().map(|member| Listed {
        instance: member.instance.clone(),
        address: member.address.clone(),
        version: member.version.clone(),
        bus: [member.bus_min, member.bus_max],
        viewers: member.viewers,
        joined_ms: member.joined_ms,
        lag_ms: member.lag_us as f64 / 1e3,
        ready: member.ready,
        leases: member.leases.clone(),
        this: *member.id == **own,
        id: member.id.clone(),
    });
    Service {
        instance: cluster.instance().to_owned(),
        mode: app.settings.cluster_mode.name(),
        state: match cluster.standing() {
            Standing::Joining => "joining",
            Standing::Joined => "joined",
            Standing::Alone => "alone",
        },
        alone_since_ms: alone.as_ref().map(|(since_ms, _)| *since_ms),
        reason: alone.map(|(_, why)| why),
        generation: cluster.figures().generation.get(),
        series_at_several,
        members: members.collect(),
    }
}

fn single(app: &App) -> Service {
    let instance = app.settings.instance.clone();
    Service {
        mode: "single",
        state: "joined",
        alone_since_ms: None,
        reason: None,
        generation: 0,
        series_at_several: None,
        members: vec![Listed {
            instance: instance.clone(),
            id: instance.clone(),
            address: app.settings.external_address(),
            version: crate::settings::version(),
            viewers: app.registry.open() as u64,
            joined_ms: app.clock.now_ms() - app.uptime_seconds() * 1_000,
            ready: app.is_ready(),
            this: true,
            ..Listed::default()
        }],
        instance,
    }
}
