//! Who is calling and what they may do (CONTRACT section 9).
//!
//! | a caller shows | where | lives until | kept in |
//! |---|---|---|---|
//! | a token | `Authorization` (`Bearer`, `Token`, or `Basic` with it as password) | it is withdrawn | [`token`] |
//! | a session cookie | `Cookie`, from `POST /api/login` | logout, 12 h, its token's end | [`session`] |
//! | a ticket | `?ticket=` of a stream, from `POST /api/tickets` | first use, 30 s | [`ticket`] |
//! | an admin link | `POST /api/login`, for a session | first use, 10 min | [`link`] |
//! | nothing | – | – | `ANONYMOUS_ROLE`, for [`direct`] callers |
//!
//! The first of these that a request has is what counts. Rights are checked where something is
//! done, by the `require_…` functions; a stream also ends when the credential it was opened with
//! does. [`guard`] slows those who guess. **Invariant**: of secrets only digests are kept, and
//! none is logged.

pub mod caller;
pub mod direct;
pub mod guard;
pub mod link;
pub mod peer;
pub mod secret;
pub mod session;
pub mod ticket;
pub mod token;

use std::{
    borrow::Cow,
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use parking_lot::Mutex;
use pulseboard_shared::Role;
use salvo::{
    Depot, Request,
    http::{HeaderMap, Method, StatusCode, header},
};
use serde::Serialize;

pub use self::caller::{
    Caller, Credential, caller, caller_or_nobody, client_address, require_administer,
    require_operate, require_read, require_write,
};
use self::{
    caller::{Identity, Nobody},
    direct::is_direct,
    guard::{Blocked, Guard},
    link::Links,
    peer::Arrival,
    secret::{Digest, new_secret},
    session::{SESSIONS_MAX, Sessions},
    ticket::{PER_ADDRESS_MAX, TICKETS_MAX, Tickets},
    token::{Entry, Grant, MakeError, TokenId, TokenSource, Tokens},
};
use super::origin::Verdict;
use crate::{
    clock::Clock,
    error::AppError,
    settings::Settings,
    stream::registry::Registry,
    telemetry::{Limit, Telemetry},
};

/// The cookie of a session.
pub const COOKIE: &str = "pulseboard_session";

/// Tokens, sessions and tickets, and the streams that end with them.
#[derive(Debug)]
pub struct Access {
    /// As in the settings; `None` for the rule of [`Self::anonymous`].
    anonymous: Option<Role>,
    /// Where the server listens.
    bound: SocketAddr,
    links: Links,
    tokens: Tokens,
    /// Leaf locks; held for a look-up or a change, never together.
    sessions: Mutex<Sessions>,
    tickets: Mutex<Tickets>,
    guard: Mutex<Guard>,
    registry: Arc<Registry>,
    clock: Clock,
    telemetry: Arc<Telemetry>,
}

/// A session that was just opened.
#[derive(Debug)]
pub struct Login {
    /// The cookie's value; told once.
    pub secret: String,
    /// What the session's token allows.
    pub grant: Grant,
}

/// A token, as admins see it.
#[derive(Debug, Serialize)]
pub struct TokenInfo {
    /// Its name.
    pub id: String,
    /// What it allows.
    pub role: Role,
    /// The tenant it is confined to.
    pub tenant: Option<String>,
    /// Where it comes from.
    pub source: TokenSource,
    /// Browser sessions opened with it.
    pub sessions: usize,
    /// Streams open with it, those of its sessions included.
    pub streams: usize,
}

impl Access {
    /// Takes the tokens out of the settings, where their secrets are no longer needed, and adds
    /// what `folder` holds. `link`: the secret of the admin link that the start prints.
    ///
    /// # Errors
    /// The stored tokens are there and cannot be read.
    pub fn new(
        settings: &mut Settings,
        link: Option<&str>,
        folder: Option<&Path>,
        registry: Arc<Registry>,
        clock: Clock,
        telemetry: Arc<Telemetry>,
    ) -> io::Result<Self> {
        let from_settings = std::mem::take(&mut settings.tokens);
        Ok(Self {
            anonymous: settings.anonymous_role,
            bound: settings.bind_addr,
            links: Links::new(link, folder, clock.now_ms()),
            tokens: Tokens::load(from_settings, folder)?,
            sessions: Mutex::new(Sessions::new(SESSIONS_MAX)),
            tickets: Mutex::new(Tickets::new(TICKETS_MAX, PER_ADDRESS_MAX)),
            guard: Mutex::new(Guard::new(guard::ADDRESSES_MAX)),
            registry,
            clock,
            telemetry,
        })
    }

    /// Finds out who is calling, for [`caller()`] and for the stream that may come of it.
    ///
    /// # Errors
    /// 403 for a request that would change something, with nothing but a cookie to its name.
    pub fn identify(
        &self,
        request: &mut Request,
        depot: &mut Depot,
        verdict: &Verdict,
    ) -> Result<(), AppError> {
        let caller = self.find_caller(request, verdict)?;
        match &caller {
            Ok(caller) => {
                request.extensions_mut().insert(caller.credential);
            }
            Err(_) => {
                depot.insert_typed(Nobody(self.anonymous(request, verdict)));
            }
        }
        depot.insert_typed(Identity(caller));
        Ok(())
    }

    /// The outer error refuses the request; the inner one is for doors that ask who is calling.
    fn find_caller(
        &self,
        request: &Request,
        verdict: &Verdict,
    ) -> Result<Result<Caller, AppError>, AppError> {
        let headers = request.headers();
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let Some(token) = value.to_str().ok().and_then(shown_token) else {
                return Ok(Err(AppError::unauthorized(
                    "the Authorization header is not of the form \"Bearer TOKEN\", \"Token TOKEN\", or Basic with the token as password",
                )));
            };
            return Ok(self.caller_of_token(&token, client_address(request)));
        }
        if let Some(ticket) = ticket_of(request) {
            return Ok(self.caller_of_ticket(&ticket, client_address(request)));
        }
        if let Some(caller) = self.caller_of_cookie(headers, verdict) {
            refuse_forgery(request, verdict)?;
            return Ok(Ok(caller));
        }
        Ok(Ok(self.anonymous(request, verdict)))
    }

    /// Who somebody is that shows nothing: never an admin, whatever is set.
    fn anonymous(&self, request: &Request, verdict: &Verdict) -> Caller {
        let role = match self.anonymous {
            Some(Role::Admin) => Role::Operator,
            Some(role) => role,
            None => {
                let direct = is_direct(
                    self.bound,
                    request.extensions().get::<Arrival>(),
                    request.version(),
                    request.headers(),
                    verdict,
                );
                if direct { Role::Operator } else { Role::Viewer }
            }
        };
        Caller {
            role,
            tenant: None,
            known: false,
            credential: Credential::default(),
        }
    }

    /// A token that is valid works also where guessers sit behind the same address: clients that
    /// run there must not suffer for them.
    fn caller_of_token(&self, secret: &str, address: IpAddr) -> Result<Caller, AppError> {
        let Some(entry) = self.tokens.find(secret) else {
            self.count_failure(address)?;
            return Err(AppError::unauthorized("this token is not known here"));
        };
        Ok(Caller {
            role: entry.grant.role,
            tenant: entry.grant.tenant,
            known: true,
            credential: Credential {
                token: Some(entry.id),
                session: None,
            },
        })
    }

    fn caller_of_ticket(&self, secret: &str, address: IpAddr) -> Result<Caller, AppError> {
        let redeemed = self
            .tickets
            .lock()
            .redeem(&Digest::of(secret), self.clock.steady_ms());
        let Some(caller) = redeemed else {
            self.count_failure(address)?;
            return Err(AppError::unauthorized(
                "this ticket is not known, was used, or is older than 30 s; POST /api/tickets makes another",
            ));
        };
        self.check_standing(&caller.credential).map_err(|ended| {
            AppError::unauthorized(format!("this ticket ended with its {ended}"))
        })?;
        Ok(caller)
    }

    /// A cookie that is none of ours (any more) is as good as none: browsers keep sending it.
    /// From a page that may not bring cookies along it does not count.
    fn caller_of_cookie(&self, headers: &HeaderMap, verdict: &Verdict) -> Option<Caller> {
        let cookies_count = match verdict {
            Verdict::Same => true,
            Verdict::Allowed { credentials, .. } => *credentials,
            Verdict::Foreign => false,
        };
        if !cookies_count {
            return None;
        }
        let now_ms = self.clock.steady_ms();
        let sessions = self.sessions.lock();
        let session = session_cookies(headers)
            .find_map(|secret| sessions.find(&Digest::of(secret), now_ms))?;
        Some(Caller {
            role: session.grant.role,
            tenant: session.grant.tenant.clone(),
            known: true,
            credential: Credential {
                token: session.token,
                session: Some(session.id),
            },
        })
    }

    fn count_failure(&self, address: IpAddr) -> Result<(), AppError> {
        let now_ms = self.clock.steady_ms();
        let (counted, blocked_now) = {
            let mut guard = self.guard.lock();
            let counted = guard.fail(address, now_ms);
            (counted, guard.check(address, now_ms).is_err())
        };
        match counted {
            Ok(()) => {
                if blocked_now {
                    tracing::warn!(client.address = %address, "{} wrong tokens in a minute from {address}; more of them have to wait", guard::FAILURES_MAX);
                }
                Ok(())
            }
            Err(blocked) => Err(self.slow_down(blocked)),
        }
    }

    fn slow_down(&self, blocked: Blocked) -> AppError {
        self.telemetry.count_limit(Limit::LoginRate);
        AppError::too_many(
            format!(
                "more than {} wrong tokens within a minute came from this address",
                guard::FAILURES_MAX
            ),
            blocked.retry_after_s(),
        )
    }

    /// Opens a session with a token.
    ///
    /// # Errors
    /// 401 for a token that is not known; 429 after too many of them, then also for one that is.
    pub fn login(&self, secret: &str, address: IpAddr) -> Result<Login, AppError> {
        let now_ms = self.clock.steady_ms();
        let checked = self.guard.lock().check(address, now_ms);
        checked.map_err(|blocked| self.slow_down(blocked))?;
        let Some(entry) = self.tokens.find(secret) else {
            self.count_failure(address)?;
            tracing::info!(client.address = %address, "login from {address} with a token that is not known");
            return Err(AppError::unauthorized("this token is not known here"));
        };
        let login = self.open_session(Some(entry.id), entry.grant)?;
        // Withdrawn since it was looked up: whoever withdrew may have looked for sessions before
        // this one was there.
        if self.tokens.get(entry.id).is_none() {
            self.sessions.lock().remove_of(entry.id);
            return Err(AppError::unauthorized("this token is not known here"));
        }
        tracing::info!(client.address = %address, token.id = %entry.id, "login from {address} as {}", login.grant.role);
        Ok(login)
    }

    /// Opens an admin's session with a link that the start or `pulseboard admin-link` printed. May
    /// wait for the disk. A link is 256 random bits, so showing a wrong one is no guess.
    ///
    /// # Errors
    /// 401 for one that is none, or was used, or is too old.
    pub fn login_with_link(&self, secret: &str, address: IpAddr) -> Result<Login, AppError> {
        if !self.links.redeem(secret, self.clock.now_ms()) {
            tracing::warn!(client.address = %address, "login from {address} with an admin link that does not work");
            return Err(AppError::unauthorized(
                "this admin link is not known, was used, or is older than ten minutes; `pulseboard admin-link` prints another",
            ));
        }
        let grant = Grant {
            role: Role::Admin,
            tenant: None,
        };
        let login = self.open_session(None, grant)?;
        tracing::info!(client.address = %address, "login from {address} as admin with an admin link");
        Ok(login)
    }

    fn open_session(&self, token: Option<TokenId>, grant: Grant) -> Result<Login, AppError> {
        let secret = made(new_secret())?;
        let gone = self.sessions.lock().open(
            Digest::of(&secret),
            token,
            grant.clone(),
            self.clock.now_ms(),
        );
        if let Some(gone) = gone {
            self.telemetry.count_limit(Limit::Sessions);
            self.end_streams("session ended for newer ones", |credential| {
                credential.session == Some(gone)
            });
        }
        Ok(Login { secret, grant })
    }

    /// Ends the session of this request's cookie, if it has one, and its streams.
    pub fn logout(&self, headers: &HeaderMap) {
        let now_ms = self.clock.steady_ms();
        for secret in session_cookies(headers) {
            let ended = {
                let mut sessions = self.sessions.lock();
                let id = sessions
                    .find(&Digest::of(secret), now_ms)
                    .map(|session| session.id);
                id.filter(|id| sessions.remove(*id))
            };
            if let Some(id) = ended {
                self.end_streams("logged out", |credential| credential.session == Some(id));
            }
        }
    }

    /// Makes a ticket that stands for `caller`.
    ///
    /// # Errors
    /// 429 when this address has too many that it did not use.
    pub fn issue_ticket(&self, caller: &Caller, address: IpAddr) -> Result<String, AppError> {
        let secret = made(new_secret())?;
        let issued = self.tickets.lock().issue(
            Digest::of(&secret),
            caller.clone(),
            guard::network_of(address),
            self.clock.steady_ms(),
        );
        issued.map_err(|flood| {
            self.telemetry.count_limit(Limit::Tickets);
            AppError::too_many(
                format!("this address has {PER_ADDRESS_MAX} tickets that it did not use"),
                u32::try_from(flood.retry_after_ms / 1000).unwrap_or(30),
            )
        })?;
        Ok(secret)
    }

    /// All tokens, as an admin of `tenant` may see them: those of that tenant, or every one.
    #[must_use]
    pub fn list_tokens(&self, tenant: Option<&str>) -> Vec<TokenInfo> {
        let sessions = self.sessions.lock().counts();
        let streams = self.registry.streams_per_token();
        self.tokens
            .list()
            .into_iter()
            .filter(|entry| may_see(entry, tenant))
            .map(|entry| TokenInfo {
                id: entry.id.to_string(),
                role: entry.grant.role,
                tenant: entry.grant.tenant,
                source: entry.source,
                sessions: sessions.get(&entry.id).copied().unwrap_or_default(),
                streams: streams.get(&entry.id).copied().unwrap_or_default(),
            })
            .collect()
    }

    /// Makes a token. Blocks on the disk.
    ///
    /// # Errors
    /// 409 when there are too many, 500 when it could not be stored; nothing has changed then.
    pub fn make_token(&self, grant: Grant) -> Result<(TokenId, String), AppError> {
        let role = grant.role;
        match self.tokens.make(grant) {
            Ok((id, secret)) => {
                tracing::info!(token.id = %id, "token {id} made with the role {role}");
                Ok((id, secret))
            }
            Err(error @ MakeError::TooMany) => {
                Err(AppError::new(StatusCode::CONFLICT, error.to_string()))
            }
            Err(error) => {
                tracing::error!(%error, "a token could not be made");
                Err(AppError::internal())
            }
        }
    }

    /// Withdraws a token for an admin of `tenant`: what was opened with it ends at once. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// 404 for an unknown name. 500 when the withdrawal holds but could not be stored, so that a
    /// restart would undo it.
    pub fn withdraw_token(&self, id: TokenId, tenant: Option<&str>) -> Result<(), AppError> {
        let visible = self
            .tokens
            .get(id)
            .is_some_and(|entry| may_see(&entry, tenant));
        if !visible || !self.tokens.withdraw(id) {
            return Err(AppError::not_found(format!("there is no token {id}")));
        }
        self.sessions.lock().remove_of(id);
        let ended = self.end_streams("token withdrawn", |credential| credential.token == Some(id));
        tracing::info!(token.id = %id, streams.ended = ended, "token {id} withdrawn");
        self.tokens.store().map_err(|error| {
            tracing::error!(token.id = %id, %error, "token {id} is withdrawn, but that could not be stored and ends with a restart");
            AppError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the token is withdrawn, but this could not be stored: a restart would make it valid again",
            )
        })
    }

    /// Whether what a stream was opened with still stands.
    ///
    /// # Errors
    /// What ended, in words for the client.
    pub fn check_standing(&self, credential: &Credential) -> Result<(), &'static str> {
        if let Some(session) = credential.session
            && !self
                .sessions
                .lock()
                .goes_on(session, self.clock.steady_ms())
        {
            return Err("session ended");
        }
        match credential.token {
            Some(token) if self.tokens.get(token).is_none() => Err("token withdrawn"),
            _ => Ok(()),
        }
    }

    /// Ends what is too old; called about once a second.
    pub fn sweep(&self, now_ms: i64) {
        let expired = self.sessions.lock().expire(now_ms);
        if !expired.is_empty() {
            self.end_streams("session expired", |credential| {
                credential
                    .session
                    .is_some_and(|session| expired.binary_search(&session).is_ok())
            });
        }
        self.tickets.lock().expire(now_ms);
        self.guard.lock().expire(now_ms);
    }

    fn end_streams(&self, why: &'static str, of: impl Fn(&Credential) -> bool) -> usize {
        self.registry.end_streams(why, of)
    }
}

/// An admin who is confined to a tenant sees nothing of the others'.
fn may_see(entry: &Entry, tenant: Option<&str>) -> bool {
    tenant.is_none() || entry.grant.tenant.as_deref() == tenant
}

fn made(secret: Result<String, getrandom::Error>) -> Result<String, AppError> {
    secret.map_err(|error| {
        tracing::error!(%error, "the system gave no random numbers");
        AppError::internal()
    })
}

/// The token of an `Authorization` header: `Bearer TOKEN` (RFC 6750), `Token TOKEN` as clients of
/// Influx 2 send it, or `Basic` (RFC 7617) with any name and the token as password, as those of
/// Influx 1 and whatever knows nothing else do. In a URL (`?u=…&p=…`) no token is taken: it would
/// be in logs along the way.
fn shown_token(value: &str) -> Option<Cow<'_, str>> {
    let (scheme, shown) = value.split_once(' ')?;
    let shown = shown.trim();
    if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token") {
        return Some(Cow::Borrowed(shown));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64_STANDARD.decode(shown).ok()?).ok()?;
    let (_name, password) = pair.split_once(':')?;
    Some(Cow::Owned(password.to_owned()))
}

/// The ticket of a request that opens a stream. Elsewhere the parameter means nothing, so that a
/// link with a ticket in it opens no page and uses nothing up.
fn ticket_of(request: &Request) -> Option<String> {
    let path = request.uri().path();
    let socket = (path == "/ws" || path.starts_with("/ws/"))
        && request.headers().contains_key(header::UPGRADE);
    let events = path.starts_with("/events/") || path.ends_with("/stream");
    if *request.method() == Method::GET && (socket || events) {
        request.query::<String>("ticket")
    } else {
        None
    }
}

/// The values of our cookie. There can be several: another server on this host may have set one
/// for a longer path.
fn session_cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}

/// A browser sends cookies along with whatever makes it send a request, so a request that changes
/// something must show that a page of ours or an allowed one made it: by its `Origin`, or by a
/// content type that other pages cannot send unasked (OWASP ASVS 3.5.2).
fn refuse_forgery(request: &Request, verdict: &Verdict) -> Result<(), AppError> {
    let reads = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    let headers = request.headers();
    let from_known_page = headers.contains_key(header::ORIGIN) && *verdict != Verdict::Foreign;
    if reads || from_known_page || has_json(headers) {
        return Ok(());
    }
    Err(AppError::forbidden(
        "with a session cookie, a request that changes something needs \"Content-Type: application/json\" or an allowed Origin",
    ))
}

fn has_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use salvo::http::HeaderValue;

    use super::*;

    #[test]
    fn cookies_are_found_among_others() {
        let mut headers = HeaderMap::new();
        for value in [
            "a=b; pulseboard_session=one",
            "pulseboard_session=two;xpulseboard_session=three",
            "pulseboard_session",
        ] {
            headers.append(header::COOKIE, HeaderValue::from_static(value));
        }
        assert_eq!(
            session_cookies(&headers).collect::<Vec<_>>(),
            ["one", "two"]
        );
    }

    #[test]
    fn only_json_itself_is_json() {
        let has = |value| {
            has_json(&HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                HeaderValue::from_static(value),
            )]))
        };
        assert!(has("application/json") && has("Application/JSON; charset=utf-8"));
        for other in [
            "text/plain",
            "text/plain; application/json",
            "application/jsonx",
            "",
        ] {
            assert!(!has(other), "{other:?}");
        }
    }

    #[test]
    fn tokens_are_shown_in_three_ways() {
        for value in [
            "Bearer  abc ",
            "bearer abc",
            "Token abc",
            "Basic bmFtZTphYmM=",
        ] {
            assert_eq!(shown_token(value).as_deref(), Some("abc"), "{value:?}");
        }
        // A password may have colons in it.
        assert_eq!(shown_token("Basic bjphOmI=").as_deref(), Some("a:b"));
        for other in [
            "abc",
            "Basic abc",
            "Basic bmFtZQ==",
            "Bearer",
            "Digest abc",
            "",
        ] {
            assert_eq!(shown_token(other), None, "{other:?}");
        }
    }
}
