//! The app that serves a request.

use std::sync::Arc;

use salvo::Depot;

use crate::{app::App, base::error::AppError};

/// The app that serves this request.
///
/// # Errors
/// 500 outside the server's own frame, which the router rules out.
pub fn app(depot: &Depot) -> Result<Arc<App>, AppError> {
    borrowed(depot).cloned()
}

/// The same, for as long as the request is looked at.
///
/// # Errors
/// As [`app`].
pub(super) fn borrowed(depot: &Depot) -> Result<&Arc<App>, AppError> {
    depot
        .get_typed::<Arc<App>>()
        .ok()
        .ok_or_else(AppError::internal)
}
