//! `POST /-/reload`: the files of the settings are read again, as on SIGHUP.

use salvo::{Depot, Response, handler, http::StatusCode};

use crate::{
    base::error::AppError,
    http::{self, caller, error::Render},
};

/// Reads the files of the settings again.
#[handler]
pub async fn reload(depot: &mut Depot, response: &mut Response) {
    match reloaded(depot).await {
        Ok(()) => {
            response.status_code(StatusCode::OK);
        }
        Err(error) => error.render(response),
    }
}

async fn reloaded(depot: &Depot) -> Result<(), AppError> {
    caller::require_administer(depot)?;
    caller::require_server(
        depot,
        "what is scraped and who is notified is the whole server's",
    )?;
    let app = http::app::app(depot)?;
    let read = tokio::task::spawn_blocking(move || app.reload()).await;
    match read.map_err(|_panicked| AppError::internal())? {
        Ok(true) => Ok(()),
        Ok(false) => Err(AppError::new(
            StatusCode::CONFLICT,
            "there is no PROMETHEUS_CONFIG, ALERTMANAGER_CONFIG or RULE_FILES to be read again",
        )),
        Err(error) => Err(AppError::new(StatusCode::INTERNAL_SERVER_ERROR, error)),
    }
}
