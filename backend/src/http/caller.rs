//! Who a request comes from, as handlers ask for it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use pulseboard_shared::Role;
use salvo::{Depot, Request};

use super::via::Via;
use crate::{
    access::Caller,
    base::{address::network_of, error::AppError},
    shares::CallerKeys,
};
use std::sync::Arc;

/// What was found out about a request's caller: put into the depot for [`caller`].
#[derive(Clone, Debug)]
pub(super) struct Identity(pub(super) Result<Caller, AppError>);

/// What the caller would be without what they showed: put into the depot where that is not known.
#[derive(Clone, Debug)]
pub(super) struct Nobody(pub(super) Caller);

/// The caller of this request.
///
/// # Errors
/// 401 or 429 for a token or ticket that is not known; endpoints that are open to all do not ask.
/// 500 when nobody looked, which the router rules out.
pub fn caller(depot: &Depot) -> Result<&Caller, AppError> {
    depot
        .get_typed::<Identity>()
        .ok()
        .ok_or_else(AppError::internal)?
        .0
        .as_ref()
        .map_err(Clone::clone)
}

/// The caller of this request, taken for somebody without a token where what they showed is not
/// known; for endpoints that are open to all.
///
/// # Errors
/// 500 when nobody looked, which the router rules out.
pub fn caller_or_nobody(depot: &Depot) -> Result<&Caller, AppError> {
    caller(depot).or_else(|error| match depot.get_typed::<Nobody>() {
        Ok(nobody) => Ok(&nobody.0),
        Err(_) => Err(error),
    })
}

/// Lets those through who may read and stream.
///
/// # Errors
/// 401 without a token, 403 with one that is too weak.
pub fn require_read(depot: &Depot) -> Result<(), AppError> {
    require(depot, Role::reads, "viewer, operator or admin")
}

/// Lets those through who may push metrics.
///
/// # Errors
/// As [`require_read`].
pub fn require_write(depot: &Depot) -> Result<(), AppError> {
    may_write(caller(depot)?)
}

/// Lets those through who may control, publish, acknowledge and silence.
///
/// # Errors
/// As [`require_read`].
pub fn require_operate(depot: &Depot) -> Result<(), AppError> {
    require(depot, Role::operates, "operator or admin")
}

/// Lets those through who may change rules and tokens.
///
/// # Errors
/// As [`require_read`].
pub fn require_administer(depot: &Depot) -> Result<(), AppError> {
    require(depot, Role::administers, "admin")
}

/// Lets those through who are bound to no tenant: what they change is the whole server's. Asked
/// after the role.
///
/// # Errors
/// 403 for whoever is bound to one; `what` says what it is about.
pub fn require_server(depot: &Depot, what: &str) -> Result<(), AppError> {
    match &caller(depot)?.tenant {
        None => Ok(()),
        Some(tenant) => Err(AppError::forbidden(format!(
            "this token is bound to the tenant {tenant:?}; {what}"
        ))),
    }
}

/// As [`require_write`], of a caller who is known already.
///
/// # Errors
/// As [`require_read`].
pub(crate) fn may_write(caller: &Caller) -> Result<(), AppError> {
    check(caller, Role::writes, "writer, operator or admin")
}

fn require(depot: &Depot, may: impl Fn(Role) -> bool, needed: &str) -> Result<(), AppError> {
    check(caller(depot)?, may, needed)
}

fn check(caller: &Caller, may: impl Fn(Role) -> bool, needed: &str) -> Result<(), AppError> {
    match (may(caller.role), caller.known) {
        (true, _) => Ok(()),
        (false, true) => Err(AppError::forbidden(format!(
            "this token has the role {}; needed is {needed}",
            caller.role
        ))),
        (false, false) => Err(AppError::unauthorized(format!(
            "a token with the role {needed} is needed"
        ))),
    }
}

/// The address that counts as the client's: the other end of the connection, or whom a trusted
/// proxy there names.
#[must_use]
pub fn client_address(request: &Request) -> IpAddr {
    match request.extensions().get::<Via>() {
        Some(via) => via.client,
        None => peer_address(request),
    }
}

/// The address of the other end of the connection.
#[must_use]
pub fn peer_address(request: &Request) -> IpAddr {
    match request.remote_addr() {
        salvo::conn::SocketAddr::IPv4(address) => SocketAddr::from(*address).ip(),
        salvo::conn::SocketAddr::IPv6(address) => SocketAddr::from(*address).ip(),
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    }
}

/// Who did something, as far as it is known: for timelines and the log, where a person reads it.
/// Tokens have no names, so it is their role and their identity.
#[must_use]
pub fn actor(request: &Request, depot: &Depot) -> String {
    let address = client_address(request);
    match caller(depot) {
        Ok(caller) => match caller.credential.token {
            Some(token) => format!("{} (token {token})", caller.role),
            None if caller.known => format!("{} at {address}", caller.role),
            None => format!("{} without a token at {address}", caller.role),
        },
        Err(_) => format!("somebody at {address}"),
    }
}

/// Those of a request that speaks for `tenant`.
#[must_use]
pub fn caller_keys(request: &Request, depot: &Depot, tenant: Option<&str>) -> CallerKeys {
    let caller = caller(depot).ok();
    CallerKeys {
        client: None,
        address: Some(network_of(client_address(request))),
        token: caller.and_then(|caller| caller.credential.token),
        tenant: tenant.map(Arc::from),
    }
}
