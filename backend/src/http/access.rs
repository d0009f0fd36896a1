//! Who is calling and what they may do (CONTRACT section 9).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use pulseboard_shared::Role;
use salvo::{
    Depot, Request,
    http::{HeaderMap, header},
};

use crate::{
    error::AppError,
    settings::{Settings, Token},
};

/// Who a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What they may do.
    pub role: Role,
    /// The tenant that their token is bound to, if any.
    pub tenant: Option<String>,
    /// Whether they showed a token; decides between 401 and 403.
    pub known: bool,
}

/// Finds out who is calling.
///
/// # Errors
/// 401 for a token that is not one of ours.
pub fn identify(request: &Request, settings: &Settings) -> Result<Caller, AppError> {
    if let Some(value) = request.headers().get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(bearer_token).ok_or_else(|| {
            AppError::unauthorized("the Authorization header is not of the form \"Bearer TOKEN\"")
        })?;
        let token = find_token(&settings.tokens, token)
            .ok_or_else(|| AppError::unauthorized("this token is not known here"))?;
        return Ok(Caller {
            role: token.role,
            tenant: token.tenant.clone(),
            known: true,
        });
    }
    let role = anonymous_role(settings, request.headers());
    Ok(Caller {
        role,
        tenant: None,
        known: false,
    })
}

fn bearer_token(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// Looks at every token and at all of it, so that the time taken tells nothing.
fn find_token<'a>(tokens: &'a [Token], shown: &str) -> Option<&'a Token> {
    tokens.iter().fold(None, |found, token| {
        if equal_in_constant_time(token.secret.as_bytes(), shown.as_bytes()) {
            Some(token)
        } else {
            found
        }
    })
}

fn equal_in_constant_time(one: &[u8], other: &[u8]) -> bool {
    let mut difference = one.len() ^ other.len();
    for (index, byte) in other.iter().enumerate() {
        let known = one
            .get(index % one.len().max(1))
            .copied()
            .unwrap_or_default();
        difference |= usize::from(std::hint::black_box(known ^ byte));
    }
    difference == 0
}

/// The role of a caller without a token. The loopback default is for direct callers: a proxy's
/// headers, or a host name that was rebound to this address, make a viewer of them.
fn anonymous_role(settings: &Settings, headers: &HeaderMap) -> Role {
    if let Some(role) = settings.anonymous_role {
        return role;
    }
    let direct = !headers.contains_key(header::FORWARDED)
        && !headers
            .keys()
            .any(|name| name.as_str().starts_with("x-forwarded-"))
        && headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .is_some_and(is_loopback_host);
    if settings.bind_addr.ip().is_loopback() && direct {
        Role::Admin
    } else {
        Role::Viewer
    }
}

fn is_loopback_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The address of the other end of the connection.
#[must_use]
pub fn client_address(request: &Request) -> IpAddr {
    match request.remote_addr() {
        salvo::conn::SocketAddr::IPv4(address) => SocketAddr::from(*address).ip(),
        salvo::conn::SocketAddr::IPv6(address) => SocketAddr::from(*address).ip(),
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    }
}

/// The caller found by [`identify`].
///
/// # Errors
/// 500 when nobody looked, which the router rules out.
pub fn caller(depot: &Depot) -> Result<&Caller, AppError> {
    depot
        .get_typed::<Caller>()
        .ok()
        .ok_or_else(AppError::internal)
}

/// Lets those through who may read and stream.
///
/// # Errors
/// 401 without a token, 403 with one that is too weak.
pub fn require_read(depot: &Depot) -> Result<(), AppError> {
    require(depot, Role::reads, "viewer, operator or admin")
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

fn require(depot: &Depot, may: impl Fn(Role) -> bool, needed: &str) -> Result<(), AppError> {
    let caller = caller(depot)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_only_loopback_callers_use() {
        for host in [
            "localhost",
            "LOCALHOST:3000",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]:3000",
            "[::1]",
            "app.localhost:1",
        ] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "127.0.0.1.example.org",
            "localhost.example.org",
            "10.0.0.1:3000",
            "[::2]:1",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }

    #[test]
    fn tokens_are_equal_only_when_whole() {
        assert!(equal_in_constant_time(b"secret", b"secret"));
        for other in ["", "s", "secre", "secrets", "secretsecret", "Secret"] {
            assert!(
                !equal_in_constant_time(b"secret", other.as_bytes()),
                "{other:?}"
            );
        }
        assert!(!equal_in_constant_time(b"", b"x"));
    }
}
