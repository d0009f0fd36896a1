//! `GET /api/stats`: average, extremes and count of the four built-in metrics over the window.

use pulseboard_shared::StatsReport;
use salvo::{Depot, handler, writing::Json};

use crate::http;
use crate::{access, app::App, base::error::AppError};

/// The statistics over the window; all zero before the first tick.
#[handler]
pub async fn get_stats(depot: &mut Depot) -> Result<Json<StatsReport>, AppError> {
    access::require_read(depot)?;
    let app = http::app::app(depot)?;
    Ok(Json(app.live.with_window(|window| window.stats())))
}
