//! Whose series a request is about: its token's tenant, else the one it names, else `default`.

use pulseboard_engine::DEFAULT_TENANT;
use salvo::{Depot, Request};

use crate::http;
use crate::http::caller;
use crate::{base::error::AppError, settings::tenant_is_valid};

/// The header that names a tenant; `?tenant=` does the same where no header can be set.
pub const TENANT_HEADER: &str = "x-tenant-id";

/// The tenant of this request. A token that is bound to one speaks for no other.
///
/// # Errors
/// 400 for a name that is none, or two different ones; 403 for one that is not the token's.
pub fn tenant(request: &Request, depot: &Depot) -> Result<String, AppError> {
    let mut in_headers = request.headers().get_all(TENANT_HEADER).iter();
    let in_header = match in_headers.next() {
        Some(_) if in_headers.next().is_some() => {
            return Err(AppError::bad_request(
                "there are several headers X-Tenant-Id",
            ));
        }
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
    let caller = caller::caller(depot)?;
    let bound = caller.tenant.as_deref();
    match (bound, named) {
        (Some(bound), Some((named, _))) if named != bound => Err(AppError::forbidden(format!(
            "this token is for the tenant {bound:?} and no other"
        ))),
        (Some(bound), _) => Ok(bound.to_owned()),
        (None, named) => {
            let named = named.map(|(named, _)| named);
            let app = http::app::app(depot)?;
            match app.access.anonymous_tenants() {
                Some(allowed) if !caller.known => of_anonymous(allowed, named),
                _ => Ok(named.unwrap_or(DEFAULT_TENANT).to_owned()),
            }
        }
    }
}

/// Where tokens are bound to tenants, callers without one speak for those alone that are named for
/// them: for the default one, or the first of them, where they do not say.
fn of_anonymous(allowed: &[String], named: Option<&str>) -> Result<String, AppError> {
    let tenant = match named {
        Some(named) => allowed.iter().find(|tenant| *tenant == named),
        None => allowed
            .iter()
            .find(|tenant| *tenant == DEFAULT_TENANT)
            .or(allowed.first()),
    };
    tenant
        .cloned()
        .ok_or_else(|| AppError::unauthorized("a token that may speak for this tenant is needed"))
}

fn bad_name(place: &str) -> AppError {
    AppError::bad_request(format!(
        "{place}: a tenant is called by 1 to 64 characters of A-Z a-z 0-9 _ . -"
    ))
}
