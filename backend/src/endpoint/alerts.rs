//! `GET /api/alerts`: the incidents that go on now, for pages that have just been opened.

use pulseboard_shared::Alert;
use salvo::{Depot, Request, handler, writing::Json};

use crate::{
    base::error::AppError,
    http::{self, caller, tenant::tenant},
};

/// The newest sending of each incident that goes on, oldest incident first.
#[handler]
pub async fn list_active_alerts(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Vec<Alert>>, AppError> {
    caller::require_read(depot)?;
    let tenant = tenant(request, depot)?;
    Ok(Json(http::app::app(depot)?.alerts.active(&tenant)))
}
