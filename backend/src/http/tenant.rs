//! Whose series a request is about: its token's tenant, else the one it names, else `default`.

use pulseboard_engine::DEFAULT_TENANT;
use salvo::{Depot, Request, http::HeaderMap};

use crate::{
    access::{Access, Caller},
    base::error::AppError,
    http::{self, caller},
    settings::tenant_is_valid,
};

/// The headers that name a tenant, ours and the one that agents of Prometheus' family send;
/// `?tenant=` does the same where no header can be set.
const TENANT_HEADERS: [(&str, &str); 2] = [
    ("x-tenant-id", "X-Tenant-Id"),
    ("x-scope-orgid", "X-Scope-OrgID"),
];

/// The tenant of this request. Whoever names one in several places names the same one in all of
/// them: which of two was meant, nobody can know. A token that is bound to one speaks for no other.
///
/// # Errors
/// 400 for a name that is none, or two different ones; 403 for one that is not the token's.
pub fn tenant(request: &Request, depot: &Depot) -> Result<String, AppError> {
    let in_query = request.queries().get_vec("tenant").into_iter().flatten();
    let named = named(request.headers(), in_query.map(String::as_str))?;
    let app = http::app::app(depot)?;
    tenant_of(&app.access, caller::caller(depot)?, named)
}

/// The same of a request that has headers alone.
///
/// # Errors
/// As [`tenant`].
pub(crate) fn tenant_in_headers(
    access: &Access,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<String, AppError> {
    tenant_of(access, caller, named(headers, std::iter::empty())?)
}

fn tenant_of(access: &Access, caller: &Caller, named: Option<&str>) -> Result<String, AppError> {
    let bound = caller.tenant.as_deref();
    match (bound, named) {
        (Some(bound), Some(named)) if named != bound => Err(AppError::forbidden(format!(
            "this token is for the tenant {bound:?} and no other"
        ))),
        (Some(bound), _) => Ok(bound.to_owned()),
        (None, named) => match access.anonymous_tenants() {
            Some(allowed) if !caller.known => of_anonymous(allowed, named),
            _ => Ok(named.unwrap_or(DEFAULT_TENANT).to_owned()),
        },
    }
}

/// The tenant that a request names, in one place or in several that agree.
fn named<'a>(
    headers: &'a HeaderMap,
    in_query: impl Iterator<Item = &'a str>,
) -> Result<Option<&'a str>, AppError> {
    let mut places: Vec<(String, &str)> = Vec::new();
    for (header, shown) in TENANT_HEADERS {
        let mut values = headers.get_all(header).iter();
        let Some(value) = values.next() else { continue };
        if values.next().is_some() {
            return Err(AppError::bad_request(format!(
                "there are several headers {shown}"
            )));
        }
        let place = format!("the header {shown}");
        match value.to_str() {
            Ok(name) => places.push((place, name)),
            Err(_not_text) => return Err(bad_name(&place)),
        }
    }
    places.extend(in_query.map(|name| ("?tenant=".to_owned(), name)));
    if let Some((place, _)) = places.iter().find(|(_, name)| !tenant_is_valid(name)) {
        return Err(bad_name(place));
    }
    let Some((first, name)) = places.first() else {
        return Ok(None);
    };
    match places.iter().find(|(_, other)| other != name) {
        None => Ok(Some(name)),
        Some((place, _)) => Err(AppError::bad_request(format!(
            "{first} and {place} name different tenants"
        ))),
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
        "{place}: a tenant's name has 1 to 64 characters of A-Z a-z 0-9 _ . -"
    ))
}
