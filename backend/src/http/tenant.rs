//! Whose series a request is about: its token's tenant, else the one it names, else `default`.

use pulseboard_engine::DEFAULT_TENANT;
use salvo::{Depot, Request};

use super::access;
use crate::{error::AppError, settings::tenant_is_valid};

/// The header that names a tenant; `?tenant=` does the same where no header can be set.
pub const TENANT_HEADER: &str = "x-tenant-id";

/// The tenant of this request. A token that is bound to one speaks for no other.
///
/// # Errors
/// 400 for a name that is none, or two different ones; 403 for one that is not the token's.
pub fn tenant(request: &Request, depot: &Depot) -> Result<String, AppError> {
    let in_header = match request.headers().get(TENANT_HEADER) {
        Some(value) => Some(
            value
                .to_str()
                .map_err(|_not_text| bad_name("header X-Tenant-Id"))?,
        ),
        None => None,
    };
    let in_query = request.query::<&str>("tenant");
    let named = match (in_header, in_query) {
        (Some(header), Some(query)) if header != query => {
            return Err(AppError::bad_request(
                "the header X-Tenant-Id and ?tenant= name different tenants",
            ));
        }
        (Some(header), _) => Some((header, "header X-Tenant-Id")),
        (None, query) => query.map(|query| (query, "query parameter \"tenant\"")),
    };
    if let Some((name, place)) = named
        && !tenant_is_valid(name)
    {
        return Err(bad_name(place));
    }
    let bound = access::caller(depot)?.tenant.as_deref();
    match (bound, named) {
        (Some(bound), Some((named, _))) if named != bound => Err(AppError::forbidden(format!(
            "this token is for the tenant {bound:?} and no other"
        ))),
        (Some(bound), _) => Ok(bound.to_owned()),
        (None, Some((named, _))) => Ok(named.to_owned()),
        (None, None) => Ok(DEFAULT_TENANT.to_owned()),
    }
}

fn bad_name(place: &str) -> AppError {
    AppError::bad_request(format!(
        "{place}: a tenant is called by 1 to 64 characters of A-Z a-z 0-9 _ . -"
    ))
}
