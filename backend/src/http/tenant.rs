//! Whose series a request is about: its token's tenant, else the one it names, else `default`.

use std::{fmt, sync::Arc};

use pulseboard_engine::DEFAULT_TENANT;
use salvo::{
    Depot, Request,
    http::{HeaderMap, HeaderName},
};

use super::{app, caller};
use crate::{
    access::{Access, Caller},
    app::App,
    base::error::AppError,
    settings::tenant_is_valid,
};

/// The headers that name a tenant, ours and the one that agents of Prometheus' family send, as they
/// are looked for and as they are shown.
static TENANT_HEADERS: [(HeaderName, &str); 2] = [
    (HeaderName::from_static("x-tenant-id"), "X-Tenant-Id"),
    (HeaderName::from_static("x-scope-orgid"), "X-Scope-OrgID"),
];

/// Where a request names a tenant.
#[derive(Clone, Copy, Debug)]
enum Place {
    Header(&'static str),
    /// Where no header can be set.
    Query,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "the header {name}"),
            Self::Query => f.write_str("?tenant="),
        }
    }
}

/// The tenant of this request. Whoever names one in several places names the same one in all of
/// them: which of two was meant, nobody can know. A token that is bound to one speaks for no other.
///
/// # Errors
/// 400 for a name that is none, or two different ones; 403 for one that is not the token's.
pub fn tenant(request: &Request, depot: &Depot) -> Result<String, AppError> {
    borrowed(request, depot).map(str::to_owned)
}

/// The services, and the tenant of this request, for who may read.
///
/// # Errors
/// 401 and 403 for who may not; as [`tenant`].
pub fn reading(request: &Request, depot: &Depot) -> Result<(Arc<App>, String), AppError> {
    caller::require_read(depot)?;
    Ok((app::app(depot)?, tenant(request, depot)?))
}

/// The same as [`tenant`], for as long as the request is looked at: every body of samples asks for
/// it, and costs no memory by that.
///
/// # Errors
/// As [`tenant`].
pub fn borrowed<'a>(request: &'a Request, depot: &'a Depot) -> Result<&'a str, AppError> {
    let in_query = request.queries().get_vec("tenant").into_iter().flatten();
    let named = named(request.headers(), in_query.map(String::as_str))?;
    tenant_of(&app::borrowed(depot)?.access, caller::caller(depot)?, named)
}

/// The same of a request that has headers alone.
///
/// # Errors
/// As [`tenant`].
pub(crate) fn tenant_in_headers<'a>(
    access: &'a Access,
    caller: &'a Caller,
    headers: &'a HeaderMap,
) -> Result<&'a str, AppError> {
    tenant_of(access, caller, named(headers, std::iter::empty())?)
}

fn tenant_of<'a>(
    access: &'a Access,
    caller: &'a Caller,
    named: Option<&'a str>,
) -> Result<&'a str, AppError> {
    let bound = caller.tenant.as_deref();
    match (bound, named) {
        (Some(bound), Some(named)) if named != bound => Err(AppError::forbidden(format!(
            "this token is for the tenant {bound:?} and no other"
        ))),
        (Some(bound), _) => Ok(bound),
        (None, named) => match access.anonymous_tenants() {
            Some(allowed) if !caller.known => of_anonymous(allowed, named),
            _ => Ok(named.unwrap_or(DEFAULT_TENANT)),
        },
    }
}

/// The tenant that a request names, in one place or in several that agree.
fn named<'a>(
    headers: &'a HeaderMap,
    in_query: impl Iterator<Item = &'a str>,
) -> Result<Option<&'a str>, AppError> {
    let mut first: Option<(Place, &'a str)> = None;
    let mut take = |place: Place, name: &'a str| {
        if !tenant_is_valid(name) {
            return Err(bad_name(place));
        }
        match first {
            Some((before, known)) if known != name => Err(AppError::bad_request(format!(
                "{before} and {place} name different tenants"
            ))),
            Some(_) => Ok(()),
            None => {
                first = Some((place, name));
                Ok(())
            }
        }
    };
    for (header, shown) in &TENANT_HEADERS {
        let mut values = headers.get_all(header).iter();
        let Some(value) = values.next() else { continue };
        if values.next().is_some() {
            return Err(AppError::bad_request(format!(
                "there are several headers {shown}"
            )));
        }
        let place = Place::Header(shown);
        let name = value.to_str().map_err(|_not_text| bad_name(place))?;
        take(place, name)?;
    }
    for name in in_query {
        take(Place::Query, name)?;
    }
    Ok(first.map(|(_, name)| name))
}

/// Where tokens are bound to tenants, callers without one speak for those alone that are named for
/// them: for the default one, or the first of them, where they do not say.
fn of_anonymous<'a>(allowed: &'a [String], named: Option<&str>) -> Result<&'a str, AppError> {
    let tenant = match named {
        Some(named) => allowed.iter().find(|tenant| *tenant == named),
        None => allowed
            .iter()
            .find(|tenant| *tenant == DEFAULT_TENANT)
            .or(allowed.first()),
    };
    tenant
        .map(String::as_str)
        .ok_or_else(|| AppError::unauthorized("a token that may speak for this tenant is needed"))
}

fn bad_name(place: Place) -> AppError {
    AppError::bad_request(format!(
        "{place}: a tenant's name has 1 to 64 characters of A-Z a-z 0-9 _ . -"
    ))
}
