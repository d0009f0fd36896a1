//! `GET /api/stats`: average, extremes and count of the four built-in metrics over the window.

use pulseboard_shared::StatsReport;
use salvo::{Depot, handler, writing::Json};

use crate::{
    base::error::AppError,
    http::{self, caller},
};

/// The statistics over the window; all zero before the first tick.
#[handler]
pub async fn get_stats(depot: &mut Depot) -> Result<Json<StatsReport>, AppError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    Ok(Json(app.live.with_window(|window| window.stats())))
}
