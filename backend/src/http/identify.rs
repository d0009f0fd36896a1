//! Finds out who is calling, from what a request shows. The credentials
//! themselves are [`crate::access`]'s.

use pulseboard_shared::Role;
use salvo::{
    Depot, Request,
    http::{HeaderMap, Version},
};
use std::net::SocketAddr;

use super::{
    caller::{Identity, Nobody, client_address},
    direct::is_direct,
    origin::Verdict,
    shown::{self, refuse_forgery},
};
use crate::{
    access::{Access, Caller, Credential, Learnt, Shown, peer::Arrival},
    base::error::AppError,
};

/// Finds out who is calling, for [`super::caller::caller`] and for the stream that may come of it.
///
/// # Errors
/// 403 for a request that would change something, with nothing but a cookie to its name.
pub async fn identify(
    access: &Access,
    request: &mut Request,
    depot: &mut Depot,
    verdict: &Verdict,
) -> Result<(), AppError> {
    let learnt = match to_learn(access, request, verdict) {
        Some(shown) => access.learn(shown, client_address(request)).await,
        None => Learnt::default(),
    };
    let caller = find_caller(access, request, verdict, learnt)?;
    match &caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller.credential);
        }
        Err(_) => {
            depot.insert_typed(Nobody(anonymous(access, request, verdict)));
        }
    }
    depot.insert_typed(Identity(caller));
    Ok(())
}

/// What of a request other servers may know more of; nothing where there are none.
fn to_learn(access: &Access, request: &Request, verdict: &Verdict) -> Option<Shown> {
    if !access.is_shared() {
        return None;
    }
    if access.has_tokens() && !matches!(shown::tokens(request), Ok(None)) {
        return None;
    }
    if let Some(ticket) = shown::ticket(request) {
        return Some(Shown::Ticket(ticket));
    }
    let sessions = match cookies_count(verdict) {
        true => shown::session_digests(request),
        false => Vec::new(),
    };
    (!sessions.is_empty()).then_some(Shown::Sessions(sessions))
}

/// From a page that may not bring cookies along they do not count.
fn cookies_count(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Same => true,
        Verdict::Allowed { credentials, .. } => *credentials,
        Verdict::Foreign => false,
    }
}

/// The outer error refuses the request; the inner one is for endpoints that ask who is calling.
fn find_caller(
    access: &Access,
    request: &Request,
    verdict: &Verdict,
    learnt: Learnt,
) -> Result<Result<Caller, AppError>, AppError> {
    // Where there are no tokens, what clients send by default is passed over and not refused.
    if access.has_tokens() {
        match shown::tokens(request) {
            Ok(Some(tokens)) => {
                let tokens = tokens.iter().map(AsRef::as_ref);
                return Ok(access.caller_of_token(tokens, client_address(request)));
            }
            Ok(None) => {}
            Err(why) => return Ok(Err(AppError::unauthorized(why))),
        }
    }
    if let Some(ticket) = shown::ticket(request) {
        let learnt = learnt.ticket;
        return Ok(learnt.unwrap_or_else(|| access.caller_of_ticket(&ticket)));
    }
    if cookies_count(verdict) {
        if let Some(caller) = access.caller_of_session(shown::session_cookies(request)) {
            refuse_forgery(request, verdict)?;
            return Ok(Ok(caller));
        }
        if let Some(unclear) = learnt.unclear {
            return Ok(Err(unclear));
        }
    }
    Ok(Ok(anonymous(access, request, verdict)))
}

/// Who calls over gRPC: by the token in the metadata, else by where they come from. Cookies and
/// tickets are not looked at, since no browser speaks this. `bound`: where that is listened to;
/// `headers`: with `Host` for the authority.
///
/// # Errors
/// 401 or 429 for a token that is not known.
pub(crate) fn identify_grpc(
    access: &Access,
    bound: SocketAddr,
    arrival: &Arrival,
    headers: &HeaderMap,
) -> Result<Caller, AppError> {
    if access.has_tokens()
        && let Some(tokens) = shown::authorization(headers).map_err(AppError::unauthorized)?
    {
        let tokens = tokens.iter().map(AsRef::as_ref);
        return access.caller_of_token(tokens, arrival.peer.remote.ip());
    }
    // HTTP/2 is what the protocol is made of here, and says nothing of who stands between.
    let version = Version::HTTP_11;
    let of_direct = || is_direct(bound, Some(arrival), version, headers, &Verdict::Same);
    Ok(nobody(access, of_direct))
}

/// Who somebody is that shows nothing: never an admin, whatever is set.
fn anonymous(access: &Access, request: &Request, verdict: &Verdict) -> Caller {
    nobody(access, || {
        is_direct(
            access.bound(),
            request.extensions().get::<Arrival>(),
            request.version(),
            request.headers(),
            verdict,
        )
    })
}

fn nobody(access: &Access, is_direct: impl FnOnce() -> bool) -> Caller {
    let role = match access.anonymous_role() {
        Some(Role::Admin) => Role::Operator,
        Some(role) => role,
        None if is_direct() => Role::Operator,
        None => Role::Viewer,
    };
    Caller {
        role,
        tenant: None,
        known: false,
        credential: Credential::default(),
    }
}
