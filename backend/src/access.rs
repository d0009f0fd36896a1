//! Who is calling and what they may do.
//!
//! | a caller shows | where | lives until | kept in |
//! |---|---|---|---|
//! | a token | `Authorization` (`Bearer`, `Token`, or `Basic` with it as password), or where agents put it (`http::shown`) | it is withdrawn | [`token`] |
//! | a session cookie | `Cookie`, from `POST /api/login` | logout, 12 h, its token's end | [`session`] |
//! | a ticket | `?ticket=` of a stream, from `POST /api/tickets` | first use, 30 s | [`ticket`] |
//! | an admin link | `POST /api/login`, for a session | first use, 10 min | [`link`] |
//! | nothing | – | – | `ANONYMOUS_ROLE`, for direct callers (`http::direct`) |
//!
//! The first of these that a request has is what counts. Rights are checked where something is
//! done, by the `require_…` functions; a stream also ends when the credential it was opened with
//! does. [`guard`] slows those who guess. **Invariant**: of secrets only digests are kept, and
//! none is logged.

pub mod caller;
pub mod guard;
pub mod link;
pub mod peer;
pub mod secret;
pub mod session;
pub mod ticket;
pub mod token;

use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::StatusCode;
use parking_lot::Mutex;
use pulseboard_shared::Role;
use serde::Serialize;

pub use self::caller::{Caller, Credential};
use self::{
    guard::{Blocked, Guard},
    link::Links,
    secret::{Digest, new_secret},
    session::{SESSIONS_MAX, Sessions},
    ticket::{PER_ADDRESS_MAX, TICKETS_MAX, Tickets},
    token::{Entry, Grant, MakeError, TokenId, TokenSource, Tokens, Withdrawn},
};
use crate::{
    base::{
        address,
        clock::Clock,
        documents::Documents,
        error::AppError,
        telemetry::{Limit, Telemetry},
    },
    settings::Settings,
};

/// The open streams, as whoever withdraws a credential sees them.
pub trait Streams: fmt::Debug + Send + Sync {
    /// Ends those whose credential is meant; returns how many.
    fn end(&self, why: &str, of: &dyn Fn(&Credential) -> bool) -> usize;

    /// How many there are of each token, those of its sessions and tickets included.
    fn count_by_token(&self) -> HashMap<TokenId, usize>;
}

/// Tokens, sessions and tickets, and the streams that end with them.
#[derive(Debug)]
pub struct Access {
    /// As in the settings; `None` for the rule of [`Self::anonymous`].
    anonymous: Option<Role>,
    /// Where the server listens.
    bound: SocketAddr,
    links: Links,
    /// Tenants of callers without a token, once a token is bound to one.
    anonymous_tenants: Vec<String>,
    /// A token is, or was since the start, bound to a tenant.
    confines: AtomicBool,
    tokens: Tokens,
    /// Leaf locks; held for a look-up or a change, never together.
    sessions: Mutex<Sessions>,
    tickets: Mutex<Tickets>,
    guard: Mutex<Guard>,
    streams: Arc<dyn Streams>,
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
    /// what `documents` hold. `link`: the secret of the admin link that the start prints.
    ///
    /// # Errors
    /// The stored tokens are there and cannot be read.
    pub fn new(
        settings: &mut Settings,
        link: Option<&str>,
        documents: Arc<Documents>,
        folder: Option<&Path>,
        streams: Arc<dyn Streams>,
        clock: Clock,
        telemetry: Arc<Telemetry>,
    ) -> io::Result<Self> {
        let from_settings = std::mem::take(&mut settings.tokens);
        let bound = from_settings.iter().any(|token| token.tenant.is_some());
        let tokens = Tokens::load(from_settings, documents)?;
        let confines = bound
            || tokens
                .list()
                .iter()
                .any(|entry| entry.grant.tenant.is_some());
        Ok(Self {
            anonymous: settings.anonymous_role,
            bound: settings.bind_addr,
            links: Links::new(link, folder, clock.now_ms()),
            anonymous_tenants: settings.anonymous_tenants.clone(),
            confines: AtomicBool::new(confines),
            tokens,
            sessions: Mutex::new(Sessions::new(SESSIONS_MAX)),
            tickets: Mutex::new(Tickets::new(TICKETS_MAX, PER_ADDRESS_MAX)),
            guard: Mutex::new(Guard::new(guard::ADDRESSES_MAX)),
            streams,
            clock,
            telemetry,
        })
    }

    /// Whether any token is known.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// The role of callers without a token as it is set; `None` for the rule that tells direct
    /// callers from others.
    #[must_use]
    pub fn anonymous_role(&self) -> Option<Role> {
        self.anonymous
    }

    /// Where the server listens.
    #[must_use]
    pub fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// Who the first of these tokens that is known stands for.
    ///
    /// # Errors
    /// 401 where none is known; 429 for an address that guesses.
    pub fn caller_of_token<'a>(
        &self,
        shown: impl Iterator<Item = &'a str>,
        address: IpAddr,
    ) -> Result<Caller, AppError> {
        let entry = self.right_token(shown, address)?;
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

    /// Who the one session stands for that these secrets name. What is none of ours (any more) is
    /// passed over: browsers keep sending it. Two sessions are nobody's: it cannot be said which
    /// of them was planted.
    pub fn caller_of_session<'a>(&self, shown: impl Iterator<Item = &'a str>) -> Option<Caller> {
        let now_ms = self.clock.steady_ms();
        let sessions = self.sessions.lock();
        let mut known = shown.filter_map(|secret| sessions.find(&Digest::of(secret), now_ms));
        let session = known.next()?;
        if known.any(|other| other.id != session.id) {
            return None;
        }
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

    /// The tenants that a caller without a token may speak for; `None` for all.
    #[must_use]
    pub fn anonymous_tenants(&self) -> Option<&[String]> {
        self.confines
            .load(Ordering::Relaxed)
            .then_some(&*self.anonymous_tenants)
    }

    /// The token that one of these is. From an address that guesses, only tokens that were right
    /// from there before are taken: a guess that is right is told from one that is wrong by
    /// nothing, and clients that run there do not suffer for the guesser.
    fn right_token<'a>(
        &self,
        mut shown: impl Iterator<Item = &'a str>,
        address: IpAddr,
    ) -> Result<Entry, AppError> {
        let now_ms = self.clock.steady_ms();
        let found = shown.find_map(|secret| self.tokens.find(secret));
        let mut guard = self.guard.lock();
        let checked = guard.check(address, now_ms);
        match (found, checked) {
            (Some(entry), Err(_)) if guard.knows(address, entry.id) => Ok(entry),
            (Some(entry), Ok(())) => {
                guard.remember(address, entry.id, now_ms);
                Ok(entry)
            }
            (_, Err(blocked)) => {
                drop(guard);
                Err(self.slow_down(blocked))
            }
            (None, Ok(())) => {
                // Before another guess is looked at.
                let counted = guard.fail(address, now_ms);
                let is_last = guard.check(address, now_ms).is_err();
                drop(guard);
                counted.map_err(|blocked| self.slow_down(blocked))?;
                if is_last {
                    tracing::warn!(client.address = %address, "{} wrong tokens in a minute from {address}; more of them have to wait", guard::FAILURES_MAX);
                }
                Err(AppError::unauthorized("this token is not known here"))
            }
        }
    }

    /// A ticket is 256 random bits and a browser's event stream repeats its address by itself, so
    /// a wrong one is no guess.
    ///
    /// # Errors
    /// 401 for one that is not known, was used, is too old, or whose credential ended.
    pub fn caller_of_ticket(&self, secret: &str) -> Result<Caller, AppError> {
        let redeemed = self
            .tickets
            .lock()
            .redeem(&Digest::of(secret), self.clock.steady_ms());
        let Some(caller) = redeemed else {
            return Err(AppError::unauthorized(
                "this ticket is not known, was used, or is older than 30 s; POST /api/tickets makes another",
            ));
        };
        self.check_standing(&caller.credential).map_err(|ended| {
            AppError::unauthorized(format!("this ticket ended with its {ended}"))
        })?;
        Ok(caller)
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
    /// 401 for a token that is not known; 429 after too many of them, then also for one that was
    /// not right from this address before; 403 for one of the role `none`.
    pub fn login(&self, secret: &str, address: IpAddr) -> Result<Login, AppError> {
        let entry = self
            .right_token(std::iter::once(secret), address)
            .inspect_err(|error| {
                tracing::warn!(client.address = %address, http.status = error.status().as_u16(), "login from {address} refused");
            })?;
        if entry.grant.role == Role::None {
            return Err(AppError::forbidden(
                "this token has the role none, which opens no session",
            ));
        }
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
            self.clock.steady_ms(),
        );
        if let Some(gone) = gone {
            self.telemetry.count_limit(Limit::Sessions);
            self.end_streams("session ended for newer ones", |credential| {
                credential.session == Some(gone)
            });
        }
        Ok(Login { secret, grant })
    }

    /// Ends the sessions that these secrets name, and their streams.
    pub fn logout<'a>(&self, shown: impl Iterator<Item = &'a str>) {
        let now_ms = self.clock.steady_ms();
        for secret in shown {
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
            address::network_of(address),
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
        let streams = self.streams.count_by_token();
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
        let (role, is_bound) = (grant.role, grant.tenant.is_some());
        match self.tokens.make(grant) {
            Ok((id, secret)) => {
                if is_bound {
                    self.confines.store(true, Ordering::Relaxed);
                }
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

    /// Withdraws a token for an admin of `tenant`: what was opened with it ends at once. The last
    /// admin's of all tenants only goes with `force`, since nobody could make another then. Blocks
    /// on the disk.
    ///
    /// # Errors
    /// 404 for an unknown name, 409 for the last admin's. 500 when the withdrawal holds but could
    /// not be stored, so that a restart would undo it.
    pub fn withdraw_token(
        &self,
        id: TokenId,
        tenant: Option<&str>,
        force: bool,
    ) -> Result<(), AppError> {
        let visible = self
            .tokens
            .get(id)
            .is_some_and(|entry| may_see(&entry, tenant));
        let withdrawn = match visible {
            true => self.tokens.withdraw(id, force),
            false => Withdrawn::Unknown,
        };
        match withdrawn {
            Withdrawn::Gone => {}
            Withdrawn::Unknown => {
                return Err(AppError::not_found(format!("there is no token {id}")));
            }
            Withdrawn::LastAdmin => {
                return Err(AppError::new(
                    StatusCode::CONFLICT,
                    format!(
                        "{id} is the last token of an admin who is bound to no tenant; make another first, or ask with ?force"
                    ),
                ));
            }
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
        self.streams.end(why, &of)
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
