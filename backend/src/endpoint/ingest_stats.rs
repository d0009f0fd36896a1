//! `GET /api/ingest`: what a tenant sent and what of it was refused, and how safe it is.

use std::collections::BTreeMap;

use pulseboard_series::Reason;
use salvo::{Depot, Request, handler, writing::Json};
use serde::Serialize;

use crate::{
    base::error::AppError,
    http::{self, caller, ingest::engine_tenant},
    refusals::Refusal,
};

/// Counts since the start.
#[derive(Debug, Serialize)]
struct Ingested {
    tenant: String,
    /// Samples taken.
    accepted: u64,
    /// Of these, samples that replaced another value for the same time.
    replaced: u64,
    /// Samples not taken, by reason; reasons that did not occur are left out.
    refused: BTreeMap<&'static str, u64>,
    /// The last of them, newest first; see [`crate::refusals`].
    refusals: Vec<Refusal>,
    /// Series in memory now.
    series: u64,
    /// What else is doubtful of what comes in: two agents that have one name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// What is wrong with the disk now.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
    /// What was found damaged at the start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    complaints: Vec<String>,
}

/// Counts of the caller's tenant.
#[handler]
pub async fn get_ingested(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<impl Serialize + use<>>, AppError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    let tenant = engine_tenant(&app, request, depot)?;
    // Paths and what the system says are the server's own.
    let caller = caller::caller(depot)?;
    let sees_server = caller.role.operates() && caller.tenant.is_none();
    let counts = tenant.counts();
    let refused = Reason::CODES.into_iter().zip(counts.refused);
    Ok(Json(Ingested {
        tenant: tenant.name.to_string(),
        accepted: counts.accepted,
        replaced: counts.replaced,
        refused: refused.filter(|(_, count)| *count > 0).collect(),
        refusals: app.refusals.of(&tenant.name),
        series: counts.series,
        warnings: app.agents.warnings(&tenant.name, app.clock.now_ms()),
        warning: app.storage.warning().map(|warning| match sees_server {
            true => warning,
            false => "the disk takes nothing; the server's operators are told why".to_owned(),
        }),
        complaints: match sees_server {
            true => app.storage.complaints().to_vec(),
            false => Vec::new(),
        },
    }))
}
