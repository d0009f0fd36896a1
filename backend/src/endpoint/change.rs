//! What endpoints share that change something of a tenant's which is told of alerts: who asks, for
//! whom, and whether what was done outlives the process.

use std::sync::Arc;

use pulseboard_shared::FieldError;
use salvo::{Depot, Request, http::StatusCode};

use crate::{
    app::App,
    base::{documents::DocumentError, error::AppError},
    http::{self, body::wrong_body, caller, tenant::tenant},
};

/// A change that somebody may make.
pub(super) struct Asked {
    /// The services.
    pub(super) app: Arc<App>,
    /// Whose it is.
    pub(super) tenant: String,
    /// Who asks, for people.
    pub(super) by: String,
}

impl Asked {
    /// By whoever may operate.
    ///
    /// # Errors
    /// As [`caller::require_operate`] and [`tenant`].
    pub(super) fn by_operator(request: &Request, depot: &Depot) -> Result<Self, AppError> {
        caller::require_operate(depot)?;
        Self::of(request, depot)
    }

    /// By whoever may administer.
    ///
    /// # Errors
    /// As [`caller::require_administer`] and [`tenant`].
    pub(super) fn by_admin(request: &Request, depot: &Depot) -> Result<Self, AppError> {
        caller::require_administer(depot)?;
        Self::of(request, depot)
    }

    fn of(request: &Request, depot: &Depot) -> Result<Self, AppError> {
        Ok(Self {
            app: http::app::app(depot)?,
            tenant: tenant(request, depot)?,
            by: caller::actor(request, depot),
        })
    }
}

/// Waits until what was done outlives the process.
///
/// # Errors
/// 507: the disk does not take it.
pub(super) async fn safe(app: &App) -> Result<(), AppError> {
    let kept = app.notifying.safe().await;
    kept.map_err(|error| AppError::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string()))
}

/// Knows what other servers have changed, before something is changed here: who comes with what was
/// read at one of them is not late.
///
/// # Errors
/// 503: they cannot be reached, and would not know of it.
pub(super) async fn caught_up(app: &Arc<App>) -> Result<(), AppError> {
    let done = app.catch_up().await;
    done.map_err(|why| {
        away(format!(
            "nothing can be changed while the other servers are away: {why}"
        ))
    })
}

/// 503: the other servers cannot be told.
pub(super) fn away(detail: impl Into<String>) -> AppError {
    AppError::unavailable(detail, AWAY_S)
}

/// After so many seconds it may be tried again.
const AWAY_S: u32 = 2;

/// A document that was not written; `detail` says so.
pub(super) fn unwritten(error: &DocumentError, detail: String) -> AppError {
    match error {
        DocumentError::Conflict { .. } => AppError::new(StatusCode::CONFLICT, detail),
        DocumentError::Io(_) => AppError::new(StatusCode::INSUFFICIENT_STORAGE, detail),
        DocumentError::Away(_) => away(detail),
        _ => wrong_body(detail),
    }
}

/// 400 for one field of the body.
pub(super) fn wrong_field(pointer: String, detail: String) -> AppError {
    let named = pointer.trim_start_matches('/').replace('/', ".");
    let error = FieldError {
        pointer,
        detail: detail.clone(),
    };
    AppError::bad_request(format!("{named}: {detail}")).with_errors(vec![error])
}
