//! `/api/v1/admin/tsdb/…`: what an admin has done to what is kept: deleting series, having the disk
//! rid of them, copying all of it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use pulseboard_engine::{DeleteError, query::QueryError};
use salvo::{Depot, Request, Response, handler, http::StatusCode};
use serde_json::json;

use super::{
    answer::{ApiError, send, success},
    asking::Asking,
};
use crate::{
    base::error::AppError,
    expressions::{selector, selector_text},
    http::{self, caller},
    ingest_log::DeleteFailed,
    questions::{Finished, Working},
    settings::DataDir,
    storage::snapshot::SnapshotError,
};

/// Blocks are written anew for so long before anybody is asked whether to go on.
const CLEAN_AT_ONCE: Duration = Duration::from_millis(100);

impl From<DeleteError> for ApiError {
    fn from(error: DeleteError) -> Self {
        match error {
            DeleteError::Query(error) => error.into(),
            error => Self::App(AppError::new(
                StatusCode::INSUFFICIENT_STORAGE,
                error.to_string(),
            )),
        }
    }
}

impl From<DeleteFailed> for ApiError {
    fn from(error: DeleteFailed) -> Self {
        let status = match error {
            DeleteFailed::TooLarge => return Self::BadData(error.to_string()),
            DeleteFailed::Away => StatusCode::SERVICE_UNAVAILABLE,
            DeleteFailed::Here(_) => StatusCode::INSUFFICIENT_STORAGE,
        };
        Self::App(AppError::new(status, error.to_string()))
    }
}

/// Deletes series, or a stretch of them.
#[handler]
pub async fn delete_series(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let done = work(request, depot, |asking, working| {
        let selectors = asking.params.selectors()?;
        if selectors.is_empty() {
            let error = "no match[] parameter provided".to_owned();
            return Err(ApiError::BadData(error));
        }
        let (start_ms, end_ms) = asking.params.span()?;
        let stretch = (start_ms.unwrap_or(0), end_ms.unwrap_or(i64::MAX));
        let now_ms = asking.app.clock.now_ms();
        if asking.app.elsewhere.is_some() {
            let why = "with CLUSTER_MODE=sharded every server has a part of the samples and the archive has all: they are deleted in the archive, and go from here with KEEP_RAW_HOURS";
            let status = StatusCode::NOT_IMPLEMENTED;
            return Err(ApiError::App(AppError::new(status, why.to_owned())));
        }
        let series = match &asking.app.ingest_log {
            Some(log) => {
                let texts = selectors.iter().map(|one| {
                    // What is too large is found out before anybody is told.
                    selector(&one.matchers).and_then(|_| selector_text(&one.matchers))
                });
                let texts: Result<Vec<String>, String> = texts.collect();
                let texts = texts.map_err(ApiError::BadData)?;
                log.delete(&asking.tenant.name, texts, stretch, now_ms)?
            }
            None => {
                let mut series = 0;
                for one in &selectors {
                    let selector = selector(&one.matchers).map_err(ApiError::BadData)?;
                    let engine = &asking.app.storage.engine;
                    let cost = &working.cost;
                    series += engine.delete(&asking.tenant, &selector, stretch, now_ms, cost)?;
                }
                series
            }
        };
        tracing::info!(
            tenant = %asking.tenant.name,
            series,
            start_ms,
            end_ms,
            "series were deleted"
        );
        Ok(())
    });
    answer(response, done.await);
}

/// Takes what is deleted out of the blocks now.
#[handler]
pub async fn clean_tombstones(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let done = work(request, depot, |asking, working| {
        let engine = &asking.app.storage.engine;
        loop {
            let is_done = engine.clean_tombstones(CLEAN_AT_ONCE);
            if is_done.map_err(DeleteError::from)? {
                return Ok(());
            }
            working.cost.check().map_err(QueryError::from)?;
        }
    });
    answer(response, done.await);
}

async fn work(
    request: &mut Request,
    depot: &mut Depot,
    work: impl FnOnce(&Asking, &Working) -> Result<(), ApiError> + Send + 'static,
) -> Result<Finished, ApiError> {
    caller::require_administer(depot)?;
    let asking = Asking::begin(request, depot).await?;
    asking
        .work(|asking, working| work(asking, working).map(|()| Finished::Uncounted(Bytes::new())))
        .await
}

fn answer(response: &mut Response, done: Result<Finished, ApiError>) {
    match done {
        Ok(_) => {
            response.status_code(StatusCode::NO_CONTENT);
        }
        Err(error) => send(response, Err(error)),
    }
}

/// Copies everything that is kept into a folder of its own, of all tenants, while the server goes
/// on.
#[handler]
pub async fn snapshot(depot: &mut Depot, response: &mut Response) {
    let answered = answer_snapshot(depot).await;
    send(response, answered);
}

async fn answer_snapshot(depot: &Depot) -> Result<Finished, ApiError> {
    caller::require_administer(depot)?;
    caller::require_server(depot, "a copy has the series of all tenants")?;
    let app = http::app::app(depot)?;
    let taking = Arc::clone(&app);
    let taken = tokio::task::spawn_blocking(move || match &taking.settings.data_dir {
        DataDir::Path(folder) => taking.storage.snapshot(folder, taking.clock.now_ms()),
        DataDir::Memory => Err(SnapshotError::Memory),
    });
    let taken = taken.await.map_err(|_panicked| AppError::internal())?;
    let name = taken.map_err(|error| {
        let status = match error {
            SnapshotError::Memory | SnapshotError::TooMany(_) => StatusCode::CONFLICT,
            SnapshotError::Busy => StatusCode::SERVICE_UNAVAILABLE,
            SnapshotError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        AppError::new(status, error.to_string())
    })?;
    Ok(success(&json!({"name": name})))
}
