//! Who the server takes a caller for, as the page is told.

use pulseboard_shared::Role;
use salvo::Depot;
use serde::Serialize;

use super::caller;
use crate::base::error::AppError;

/// Who the server takes the caller for.
#[derive(Debug, PartialEq, Serialize)]
pub struct SessionInfo {
    role: Role,
    tenant: Option<String>,
    /// Whether no token, cookie or ticket of theirs is known.
    anonymous: bool,
    /// Whether they can read nothing until they log in.
    login_needed: bool,
}

/// Who the server takes the caller for.
///
/// # Errors
/// There is no server around the request.
pub fn session_of(depot: &Depot) -> Result<SessionInfo, AppError> {
    let caller = caller::caller_or_nobody(depot)?.clone();
    Ok(SessionInfo {
        role: caller.role,
        tenant: caller.tenant,
        anonymous: !caller.known,
        login_needed: !caller.role.reads(),
    })
}
