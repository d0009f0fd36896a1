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
//! does. [`guard`] slows those who guess. Where several servers are one service, tokens, sessions,
//! tickets and links are theirs together ([`shared`]): what has to be asked for is asked for before
//! ([`Access::learn`]), and everything else here is as on one server. **Invariant**: of secrets
//! only digests are kept, and none is logged.

pub mod caller;
pub mod guard;
pub mod held;
pub mod link;
pub mod peer;
pub mod secret;
pub mod session;
pub mod shared;
pub mod ticket;
pub mod token;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
};

use http::StatusCode;
use parking_lot::Mutex;
use pulseboard_bus::Others;
use pulseboard_shared::Role;
use serde::Serialize;
use tokio::sync::Notify;

pub use self::{
    caller::{Caller, Credential},
    held::Streams,
};
use self::{
    guard::{Blocked, Elsewhere, Guard},
    held::Held,
    link::Links,
    secret::{Digest, new_secret},
    session::{SESSIONS_MAX, Sessions},
    shared::{Redeemed, Shared, unavailable},
    ticket::{PER_ADDRESS_MAX, PER_ADDRESS_SHARED_MAX, TICKETS_MAX, Tickets},
    token::{Entry, Given, Grant, MakeError, TokenId, TokenSource, Tokens, Withdrawn},
};
use crate::{
    base::{
        address,
        clock::Clock,
        documents::Documents,
        error::AppError,
        telemetry::{Limit, Telemetry},
    },
    cluster::Cluster,
    settings::Settings,
};

/// Tokens, sessions and tickets, and the streams that end with them.
#[derive(Debug)]
pub struct Access {
    /// As in the settings; `None` for the rule of [`Self::anonymous`].
    anonymous: Option<Role>,
    /// Where the server listens.
    bound: SocketAddr,
    links: Arc<Links>,
    /// Tenants of callers without a token, once a token is bound to one.
    anonymous_tenants: Vec<String>,
    held: Arc<Held>,
    /// Leaf locks; held for a look-up or a change, never together.
    tickets: Mutex<Tickets>,
    guard: Mutex<Guard>,
    /// Somebody guessed, of which other servers are to hear.
    guessed: Notify,
    /// Where several servers are one.
    shared: Option<Shared>,
    clock: Clock,
    telemetry: Arc<Telemetry>,
}

/// What a request shows that other servers may know more of.
#[derive(Debug)]
pub enum Shown {
    /// A stream's ticket.
    Ticket(String),
    /// Digests of what may be sessions' cookies.
    Sessions(Vec<Digest>),
}

/// What was learnt of it.
#[derive(Debug, Default)]
pub struct Learnt {
    /// Who the ticket stands for.
    pub ticket: Option<Result<Caller, AppError>>,
    /// Whether the cookies are somebody's cannot be found out now.
    pub unclear: Option<AppError>,
}

/// Cookies of one request that are looked at.
pub const COOKIES_MAX: usize = 16;
/// Addresses that failed of which the others are told.
const TOLD_MAX: usize = 1_000;
/// What figures of failures, and of tokens that were right, are called.
const FAILED: &str = "f:";
const KNOWN: &str = "k:";

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
    /// With the tokens `given` by the settings, and what `documents` hold. `link`: the secret of
    /// the admin link that the start prints.
    ///
    /// # Errors
    /// The stored tokens are there and cannot be read.
    pub fn new(
        settings: &Settings,
        (given, link): (Given, Option<&str>),
        documents: Arc<Documents>,
        folder: Option<&Path>,
        streams: Arc<dyn Streams>,
        (clock, telemetry): (Clock, Arc<Telemetry>),
        cluster: Option<&Arc<Cluster>>,
    ) -> io::Result<Self> {
        let bound = given.tenants().next().is_some();
        let tokens = Tokens::load(given, documents)?;
        let sessions = Sessions::new(SESSIONS_MAX);
        let held = Arc::new(Held::new(tokens, sessions, streams, clock.clone()));
        if bound {
            held.confine();
        }
        let links = Arc::new(Links::new(link, folder, clock.now_ms()));
        let shared = cluster
            .map(|cluster| Shared::new(Arc::clone(cluster), Arc::clone(&held), Arc::clone(&links)));
        let per_address = match shared.is_some() {
            true => PER_ADDRESS_SHARED_MAX,
            false => PER_ADDRESS_MAX,
        };
        Ok(Self {
            anonymous: settings.anonymous_role,
            bound: settings.bind_addr,
            links,
            anonymous_tenants: settings.anonymous_tenants.clone(),
            held,
            shared,
            tickets: Mutex::new(Tickets::new(TICKETS_MAX, per_address)),
            guard: Mutex::new(Guard::new(guard::ADDRESSES_MAX)),
            guessed: Notify::new(),
            clock,
            telemetry,
        })
    }

    /// Whether any token is known.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        !self.held.tokens.is_empty()
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
        let sessions = self.held.sessions.lock();
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
        self.held.confines().then_some(&*self.anonymous_tenants)
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
        let found = shown.find_map(|secret| self.held.tokens.find(secret));
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
                self.guessed.notify_one();
                counted.map_err(|blocked| self.slow_down(blocked))?;
                if is_last {
                    tracing::warn!(client.address = %address, "{} wrong tokens in a minute from {address}; more of them have to wait", guard::FAILURES_MAX);
                }
                Err(AppError::unauthorized("this token is not known here"))
            }
        }
    }

    /// Whether somebody at this address may show a secret that no token is: it has not guessed
    /// too often.
    ///
    /// # Errors
    /// 429 where it has.
    pub fn may_guess(&self, address: IpAddr) -> Result<(), AppError> {
        let checked = self.guard.lock().check(address, self.clock.steady_ms());
        checked.map_err(|blocked| self.slow_down(blocked))
    }

    /// What was shown from this address was wrong.
    pub fn has_guessed(&self, address: IpAddr) {
        // Whoever has to wait already is not counted again.
        let _counted = self.guard.lock().fail(address, self.clock.steady_ms());
        self.guessed.notify_one();
    }

    /// Whether several servers are one, and more is to be found out of them.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Finds out of the other servers what they know of what a request shows, in half a second at
    /// the most. Sessions are then known as others are; a ticket is used up. Each address has so
    /// many questions under way.
    pub async fn learn(&self, shown: Shown, address: IpAddr) -> Learnt {
        let Some(shared) = &self.shared else {
            return Learnt::default();
        };
        match shown {
            Shown::Ticket(secret) => Learnt {
                ticket: Some(
                    self.redeem_anywhere(shared, &Digest::of(&secret), address)
                        .await,
                ),
                unclear: None,
            },
            Shown::Sessions(secrets) => Learnt {
                ticket: None,
                unclear: shared
                    .visits
                    .learn(&secrets, address)
                    .await
                    .map_err(|error| unavailable("who is asking cannot be found out", &error))
                    .err(),
            },
        }
    }

    async fn redeem_anywhere(
        &self,
        shared: &Shared,
        secret: &Digest,
        address: IpAddr,
    ) -> Result<Caller, AppError> {
        if self.tickets.lock().knows(secret) {
            return self.redeem_here(secret);
        }
        match shared.visits.redeem(secret, address).await {
            Ok(Redeemed::For(caller)) => {
                let counted = self.clock.steady_ms();
                // It is no longer one that was not used.
                let _nobody_here = self.tickets.lock().redeem(secret, counted);
                self.still_stands(caller)
            }
            Ok(Redeemed::Nobody) => Err(unknown_ticket()),
            Ok(Redeemed::Ended) => {
                Err(AppError::unauthorized("this ticket ended with its session"))
            }
            Err(error) => Err(unavailable("this ticket cannot be looked for", &error)),
        }
    }

    fn redeem_here(&self, secret: &Digest) -> Result<Caller, AppError> {
        let redeemed = self.tickets.lock().redeem(secret, self.clock.steady_ms());
        self.still_stands(redeemed.ok_or_else(unknown_ticket)?)
    }

    fn still_stands(&self, caller: Caller) -> Result<Caller, AppError> {
        self.check_standing(&caller.credential).map_err(|ended| {
            AppError::unauthorized(format!("this ticket ended with its {ended}"))
        })?;
        Ok(caller)
    }

    /// A ticket is 256 random bits and a browser's event stream repeats its address by itself, so
    /// a wrong one is no guess.
    ///
    /// # Errors
    /// 401 for one that is not known, was used, is too old, or whose credential ended.
    pub fn caller_of_ticket(&self, secret: &str) -> Result<Caller, AppError> {
        self.redeem_here(&Digest::of(secret))
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
    pub async fn login(&self, secret: &str, address: IpAddr) -> Result<Login, AppError> {
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
        let login = self.open_session(Some(entry.id), entry.grant).await?;
        // Withdrawn since it was looked up: whoever withdrew may have looked for sessions before
        // this one was there.
        if self.held.tokens.get(entry.id).is_none() {
            self.held.sessions.lock().remove_of(entry.id);
            return Err(AppError::unauthorized("this token is not known here"));
        }
        tracing::info!(client.address = %address, token.id = %entry.id, "login from {address} as {}", login.grant.role);
        Ok(login)
    }

    /// Opens an admin's session with a link that the start or `pulseboard admin-link` printed. A
    /// link is 256 random bits, so showing a wrong one is no guess.
    ///
    /// # Errors
    /// 401 for one that is none, or was used, or is too old; 503 where the other servers would have
    /// to be asked and cannot be.
    pub async fn login_with_link(&self, secret: &str, address: IpAddr) -> Result<Login, AppError> {
        if !self.redeem_link(Digest::of(secret), address).await? {
            tracing::warn!(client.address = %address, "login from {address} with an admin link that does not work");
            return Err(AppError::unauthorized(
                "this admin link is not known, was used, or is older than ten minutes; `pulseboard admin-link` prints another",
            ));
        }
        let grant = Grant {
            role: Role::Admin,
            tenant: None,
        };
        let login = self.open_session(None, grant).await?;
        tracing::info!(client.address = %address, "login from {address} as admin with an admin link");
        Ok(login)
    }

    async fn redeem_link(&self, shown: Digest, address: IpAddr) -> Result<bool, AppError> {
        if let Some(shared) = &self.shared {
            let redeemed = shared.links.redeem(shown, address).await;
            return redeemed
                .map_err(|error| unavailable("this admin link cannot be looked for", &error));
        }
        let (links, now_ms) = (Arc::clone(&self.links), self.clock.now_ms());
        // It may wait for the disk.
        let redeemed = tokio::task::spawn_blocking(move || links.redeem(&shown, now_ms));
        redeemed.await.map_err(broke_off)
    }

    async fn open_session(&self, token: Option<TokenId>, grant: Grant) -> Result<Login, AppError> {
        let secret = made(new_secret())?;
        let digest = Digest::of(&secret);
        let now_ms = self.clock.steady_ms();
        let (gone, opened) = {
            let mut sessions = self.held.sessions.lock();
            let gone = sessions.open(digest, token, grant.clone(), now_ms);
            (gone, sessions.find(&digest, now_ms).cloned())
        };
        if let Some(gone) = gone {
            self.telemetry.count_limit(Limit::Sessions);
            self.held
                .end_streams("session ended for newer ones", |credential| {
                    credential.session == Some(gone.id)
                });
            if let Some(shared) = &self.shared {
                shared.visits.note_ended(gone.secret);
                // Somebody may have looked for it meanwhile.
                self.held
                    .end_session(&gone.secret, "session ended for newer ones");
                shared.visits.end(gone.secret).await;
            }
        }
        if let Some(shared) = &self.shared
            && let Some(opened) = opened
            && let Err(error) = shared.visits.keep(digest, &opened).await
        {
            tracing::warn!(%error, "a session is this server's alone, since the others cannot be reached");
        }
        Ok(Login { secret, grant })
    }

    /// Ends the sessions that these secrets name, and their streams; for somebody at this address.
    pub async fn logout(&self, shown: Vec<Digest>, address: IpAddr) {
        // Another server may know one; where that cannot be asked for, it may be told.
        let may_be_elsewhere = match &self.shared {
            Some(shared) => shared.visits.learn(&shown, address).await.is_err(),
            None => false,
        };
        for secret in shown {
            let now_ms = self.clock.steady_ms();
            let is_open = {
                let sessions = self.held.sessions.lock();
                sessions.find(&secret, now_ms).is_some()
            };
            if !is_open && !may_be_elsewhere {
                continue;
            }
            if let Some(shared) = &self.shared {
                // Before it is ended: who looks for it at the moment does not bring it back.
                shared.visits.note_ended(secret);
            }
            self.held.end_session(&secret, "logged out");
            if let Some(shared) = &self.shared {
                shared.visits.end(secret).await;
            }
        }
    }

    /// Makes a ticket that stands for `caller`.
    ///
    /// # Errors
    /// 429 when this address has too many that it did not use.
    pub async fn issue_ticket(&self, caller: &Caller, address: IpAddr) -> Result<String, AppError> {
        if let Some(shared) = &self.shared {
            let secret = made(new_secret())?;
            let digest = Digest::of(&secret);
            self.take_ticket_in(digest, None, address)?;
            match shared.visits.keep_ticket(&digest, caller).await {
                Ok(()) => return Ok(secret),
                // Whether they have it is not known: another one is for here.
                Err(error) => tracing::debug!(%error, "a ticket is this server's alone"),
            }
        }
        let secret = made(new_secret())?;
        self.take_ticket_in(Digest::of(&secret), Some(caller.clone()), address)?;
        Ok(secret)
    }

    fn take_ticket_in(
        &self,
        digest: Digest,
        caller: Option<Caller>,
        address: IpAddr,
    ) -> Result<(), AppError> {
        let network = address::network_of(address);
        let mut tickets = self.tickets.lock();
        let issued = tickets.issue(digest, caller, network, self.clock.steady_ms());
        let max = tickets.per_address_max();
        drop(tickets);
        issued.map_err(|flood| {
            self.telemetry.count_limit(Limit::Tickets);
            AppError::too_many(
                format!("this address has {max} tickets that it did not use"),
                u32::try_from(flood.retry_after_ms / 1000).unwrap_or(30),
            )
        })
    }

    /// All tokens, as an admin of `tenant` may see them: those of that tenant, or every one.
    #[must_use]
    pub fn list_tokens(&self, tenant: Option<&str>) -> Vec<TokenInfo> {
        let sessions = self.held.sessions.lock().counts();
        let streams = self.held.streams_by_token();
        self.held
            .tokens
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

    /// Makes a token; known to all servers where there are several.
    ///
    /// # Errors
    /// 409 when there are too many, 500 when it could not be stored; nothing has changed then. 503
    /// where the other servers cannot be reached.
    pub async fn make_token(self: &Arc<Self>, grant: Grant) -> Result<(TokenId, String), AppError> {
        let role = grant.role;
        let made = match &self.shared {
            Some(shared) => shared.tokens.make(grant).await,
            None => {
                let this = Arc::clone(self);
                // It waits for the disk.
                let made = tokio::task::spawn_blocking(move || this.make_here(grant));
                made.await.map_err(broke_off)?
            }
        };
        made.inspect(|(id, _)| {
            tracing::info!(token.id = %id, "token {id} made with the role {role}");
        })
    }

    fn make_here(&self, grant: Grant) -> Result<(TokenId, String), AppError> {
        let is_bound = grant.tenant.is_some();
        match self.held.tokens.make(grant) {
            Ok(made) => {
                if is_bound {
                    self.held.confine();
                }
                Ok(made)
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

    /// Withdraws a token for an admin of `tenant`: what was opened with it ends at once, on all
    /// servers. The last admin's of all tenants only goes with `force`, since nobody could make
    /// another then.
    ///
    /// # Errors
    /// 404 for an unknown name, 409 for the last admin's. 500 when the withdrawal holds but could
    /// not be stored, so that a restart would undo it. 503 where the other servers cannot be
    /// reached.
    pub async fn withdraw_token(
        self: &Arc<Self>,
        id: TokenId,
        tenant: Option<String>,
        force: bool,
    ) -> Result<(), AppError> {
        match &self.shared {
            Some(shared) => {
                let may = |entry: &Entry| may_see(entry, tenant.as_deref());
                let refused = |why| not_withdrawn(id, why);
                shared.tokens.withdraw(id, force, may, refused).await?;
                tracing::info!(token.id = %id, "token {id} withdrawn");
                Ok(())
            }
            None => {
                let this = Arc::clone(self);
                // It waits for the disk.
                let withdrawn = tokio::task::spawn_blocking(move || {
                    this.withdraw_here(id, tenant.as_deref(), force)
                });
                withdrawn.await.map_err(broke_off)?
            }
        }
    }

    fn withdraw_here(
        &self,
        id: TokenId,
        tenant: Option<&str>,
        force: bool,
    ) -> Result<(), AppError> {
        let tokens = &self.held.tokens;
        let visible = tokens.get(id).is_some_and(|entry| may_see(&entry, tenant));
        let withdrawn = match visible {
            true => tokens.withdraw(id, force),
            false => Withdrawn::Unknown,
        };
        if withdrawn != Withdrawn::Gone {
            return Err(not_withdrawn(id, withdrawn));
        }
        let ended = self.held.end_token(id);
        tracing::info!(token.id = %id, streams.ended = ended, "token {id} withdrawn");
        tokens.store().map_err(|error| {
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
                .held
                .sessions
                .lock()
                .goes_on(session, self.clock.steady_ms())
        {
            return Err("session ended");
        }
        match credential.token {
            Some(token) if self.held.tokens.get(token).is_none() => Err("token withdrawn"),
            _ => Ok(()),
        }
    }

    /// Ends what is too old; called about once a second.
    pub fn sweep(&self, now_ms: i64) {
        let expired = self.held.sessions.lock().expire(now_ms);
        if !expired.is_empty() {
            self.held.end_streams("session expired", |credential| {
                credential
                    .session
                    .is_some_and(|session| expired.binary_search(&session).is_ok())
            });
        }
        self.tickets.lock().expire(now_ms);
        self.guard.lock().expire(now_ms);
    }

    // What other servers are to know, and know.

    /// Where several servers are one: what of those who may come in is theirs.
    #[must_use]
    pub fn shared(&self) -> Option<&Shared> {
        self.shared.as_ref()
    }

    /// Returns when somebody has guessed since this was asked last.
    pub async fn guessed(&self) {
        self.guessed.notified().await;
    }

    /// Who guessed here, as figures for the other servers.
    #[must_use]
    pub fn guesses(&self) -> Vec<(String, u64)> {
        let seen = self.guard.lock().seen(self.clock.steady_ms(), TOLD_MAX);
        let failures = seen.failures.iter();
        let failures = failures.map(|(network, count)| (format!("{FAILED}{network}"), *count));
        let known = seen.known.iter();
        let known = known.map(|(network, token)| (format!("{KNOWN}{network}:{token}"), 1));
        failures
            .chain(known)
            .map(|(name, count)| (name, count as u64))
            .collect()
    }

    /// Who guessed at the others, from here on.
    pub fn hear_guesses(&self, others: &Others) {
        let mut elsewhere = Elsewhere::default();
        for (name, count) in &others.sums {
            if let Some(network) = name.strip_prefix(FAILED)
                && let Ok(network) = network.parse()
            {
                let count = usize::try_from(*count).unwrap_or(usize::MAX);
                elsewhere.failures.insert(network, count);
            } else if let Some(pair) = name.strip_prefix(KNOWN)
                && let Some((network, token)) = pair.rsplit_once(':')
                && let (Ok(network), Ok(token)) = (network.parse(), token.parse())
            {
                elsewhere.known.insert((network, token));
            }
        }
        self.guard.lock().set_elsewhere(elsewhere);
    }
}

fn unknown_ticket() -> AppError {
    AppError::unauthorized(
        "this ticket is not known, was used, or is older than 30 s; POST /api/tickets makes another",
    )
}

fn not_withdrawn(id: TokenId, why: Withdrawn) -> AppError {
    match why {
        Withdrawn::LastAdmin => AppError::new(
            StatusCode::CONFLICT,
            format!(
                "{id} is the last token of an admin who is bound to no tenant; make another first, or ask with ?force"
            ),
        ),
        Withdrawn::Unknown | Withdrawn::Gone => {
            AppError::not_found(format!("there is no token {id}"))
        }
    }
}

fn broke_off(error: tokio::task::JoinError) -> AppError {
    tracing::error!(%error, "work for a request broke off");
    AppError::internal()
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
