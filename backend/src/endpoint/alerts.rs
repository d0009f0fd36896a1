//! `GET /api/alerts`: the incidents that go on now, for pages that have just been opened.

use pulseboard_shared::{Alert, Labels};
use salvo::{Depot, Request, handler, writing::Json};
use serde::Serialize;

use super::incidents::{ShownAck, said_of};
use crate::{
    base::error::AppError,
    http::{self, caller, tenant::tenant},
};

/// An alert with what is known of its incident besides.
#[derive(Serialize)]
struct Active {
    #[serde(flatten)]
    alert: Alert,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    annotations: Labels,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged: Option<ShownAck>,
}

/// The newest sending of each incident that goes on, oldest incident first.
#[handler]
pub async fn list_active_alerts(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Vec<Active>>, AppError> {
    caller::require_read(depot)?;
    let tenant = tenant(request, depot)?;
    let app = http::app::app(depot)?;
    let alerts = app.alerts.active(&tenant);
    let mut said = said_of(&app, &tenant, alerts.iter().map(|alert| alert.incident));
    let active = alerts.into_iter().map(|alert| {
        let (annotations, acknowledged) = said.remove(&alert.incident).unwrap_or_default();
        Active {
            alert,
            annotations,
            acknowledged,
        }
    });
    Ok(Json(active.collect()))
}
