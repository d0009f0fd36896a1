//! Sessions and tickets of all servers: in Redis by the digest of their secret, and for half a
//! minute in the memory of whoever has looked for one.
//!
//! A session that was seen goes on from memory while the others are away. What Redis does not have
//! is over, unless what it holds may have been lost since it was seen there: then it is put back.
//! Whoever hears that a session is over takes it out of Redis, too, so that one that was put back
//! in the same moment does not stay.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use pulseboard_bus::{BusError, Space};
use pulseboard_shared::Role;
use serde::{Deserialize, Serialize};

use super::{
    asking::Asking,
    news::{self, Heard},
    table::TokenTable,
    turns::Turns,
};
use crate::{
    access::{
        caller::{Caller, Credential},
        held::Held,
        secret::Digest,
        session::{Confirmed, Knows, LIFETIME_MS, PER_TOKEN_MAX, Session},
        ticket,
        token::{Grant, TokenId},
    },
    base::json::json_text,
    cluster::within,
};

/// How long what was looked for is believed.
const CACHED_MS: i64 = 30_000;
/// Sessions that are looked for again at once.
const CONFIRMED_AT_ONCE: usize = 512;
/// Secrets that stand for nothing, remembered for as long as others are believed.
const ABSENT_MAX: usize = 10_000;
/// Sessions that ended here and of which the others are to hear when they can; past it the oldest
/// are forgotten.
const UNTOLD_MAX: usize = 1_000;
/// Of these taken out at once.
const UNTOLD_AT_ONCE: usize = 200;
/// So long after connections were made anew, what is missing may be put back by who knows it.
const SETTLES_MS: i64 = 5_000;
/// How long one that was told may have to be told again: what was told may be lost.
const TOLD_KEPT_MS: i64 = 600_000;

/// A session as Redis has it.
#[derive(Debug, Serialize, Deserialize)]
struct StoredSession {
    token: Option<String>,
    #[serde(flatten)]
    grant: Grant,
    /// Unix milliseconds.
    ends_ms: i64,
}

/// A ticket as Redis has it.
#[derive(Debug, Serialize, Deserialize)]
struct StoredTicket {
    role: Role,
    tenant: Option<String>,
    known: bool,
    token: Option<String>,
    /// The digest of its session's secret: what a session is called is another thing on each
    /// server.
    session: Option<Digest>,
}

/// Sessions and tickets of all servers.
#[derive(Debug)]
pub struct Visits {
    asking: Asking,
    held: Arc<Held>,
    table: Arc<TokenTable>,
    heard: Arc<Heard>,
    turns: Arc<Turns>,
    /// Leaf lock.
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    absent: HashMap<Digest, i64>,
    untold: VecDeque<Digest>,
    /// What was told, when, and under which epoch.
    told: VecDeque<(Digest, i64)>,
    /// See [`Asking::epoch`]; of what was told.
    epoch: u64,
    /// The same of what was looked for, and since when; `None` before anything was.
    looked_under: Option<(u64, i64)>,
}

/// What a ticket stands for.
#[derive(Debug)]
pub enum Redeemed {
    /// Somebody.
    For(Caller),
    /// Nobody: it is not known, or was used.
    Nobody,
    /// Somebody whose session has ended.
    Ended,
}

impl Visits {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(
        asking: Asking,
        held: Arc<Held>,
        table: Arc<TokenTable>,
        heard: Arc<Heard>,
        turns: Arc<Turns>,
    ) -> Self {
        Self {
            asking,
            held,
            table,
            heard,
            turns,
            notes: Mutex::default(),
        }
    }

    fn now_confirmed(&self, epoch: u64) -> Confirmed {
        Confirmed {
            at_ms: self.held.clock.steady_ms(),
            epoch,
        }
    }

    // Sessions.

    /// Finds out about the sessions of these secrets, as one question, so that this server knows
    /// those that there are; for somebody at this address.
    ///
    /// # Errors
    /// That cannot be found out now, and nothing is known from before.
    pub async fn learn(&self, secrets: &[Digest], address: IpAddr) -> Result<(), BusError> {
        let due = self.unsure(secrets);
        let is_known_once = due.iter().all(|(_, knows)| *knows == Knows::Once);
        if due.is_empty() {
            return Ok(());
        }
        let looked = match self.turns.take(address) {
            Ok(_turn) => self.look(&due).await,
            Err(error) => Err(error),
        };
        match looked {
            Err(_away) if is_known_once => Ok(()),
            other => other,
        }
    }

    /// Which of these have to be looked for, and what is known of them.
    fn unsure(&self, secrets: &[Digest]) -> Vec<(Digest, Knows)> {
        let now_ms = self.held.clock.steady_ms();
        let mut due: Vec<(Digest, Knows)> = Vec::new();
        for secret in secrets {
            let knows = {
                let sessions = self.held.sessions.lock();
                sessions.knows(secret, now_ms, CACHED_MS)
            };
            let is_sure = knows == Knows::Yes
                || self.heard.has_ended(secret)
                || self.is_absent(secret, now_ms);
            if !is_sure && !due.iter().any(|(known, _)| known == secret) {
                due.push((*secret, knows));
            }
        }
        due
    }

    async fn look(&self, due: &[(Digest, Knows)]) -> Result<(), BusError> {
        let common = self.asking.common()?;
        let epoch = self.asking.epoch();
        let digests: Vec<String> = due.iter().map(|(one, _)| String::from(*one)).collect();
        let found = within(common.look_all(Space::Session, &digests)).await?;
        let mut unclear = Ok(());
        for ((secret, knows), found) in due.iter().zip(found) {
            let taken_in = match found {
                Some(found) => {
                    self.found(*secret, &found, epoch).await;
                    Ok(())
                }
                None => self.is_missing(*secret, epoch).await,
            };
            if taken_in.is_err() && *knows != Knows::Once {
                unclear = taken_in;
            }
        }
        unclear
    }

    /// Redis has a session.
    async fn found(&self, secret: Digest, found: &[u8], epoch: u64) {
        let Ok(stored) = serde_json::from_slice::<StoredSession>(found) else {
            tracing::warn!("a session of another version is passed over");
            return;
        };
        let token = match stored.token.as_deref().map(str::parse::<TokenId>) {
            None => None,
            Some(Ok(token)) => Some(token),
            Some(Err(_not_hex)) => return,
        };
        let now_ms = self.held.clock.steady_ms();
        if let Some(token) = token
            && !self.is_valid(token).await
        {
            self.note_absent(secret, now_ms);
            return;
        }
        let left_ms = stored.ends_ms - self.held.clock.now_ms();
        let left_ms = left_ms.clamp(0, LIFETIME_MS);
        // It may have ended, or its token, while all this was found out.
        let adopted = self.held.adopt(
            secret,
            (token, stored.grant),
            now_ms + left_ms,
            self.now_confirmed(epoch),
            || self.heard.has_ended(&secret),
        );
        if let Ok(Some(gone)) = adopted {
            // It is no more in memory, and its streams would not be ended with it.
            self.held
                .end_streams("session is looked for anew", |credential| {
                    credential.session == Some(gone.id)
                });
        }
    }

    /// Whether a token is valid; one that was made just now may not have been heard of.
    async fn is_valid(&self, token: TokenId) -> bool {
        if self.held.tokens.get(token).is_some() {
            return true;
        }
        if let Err(error) = within(self.table.follow(false)).await {
            tracing::debug!(%error, "tokens of other servers may be missing");
        }
        self.held.tokens.get(token).is_some()
    }

    /// Redis does not have a session: it is over, or it was lost.
    ///
    /// # Errors
    /// It is not known here, and whoever knows it may not have put it back yet.
    async fn is_missing(&self, secret: Digest, epoch: u64) -> Result<(), BusError> {
        let now_ms = self.held.clock.steady_ms();
        let known = self.held.sessions.lock().find(&secret, now_ms).cloned();
        let Some(session) = known else {
            if !self.has_settled(epoch, now_ms) {
                return Err(BusError::Away("sessions are being put back".into()));
            }
            self.note_absent(secret, now_ms);
            return Ok(());
        };
        let was_there = session
            .confirmed()
            .is_some_and(|confirmed| confirmed.epoch == epoch);
        if was_there || self.heard.has_ended(&secret) {
            self.held.end_session(&secret, "session ended");
            return Ok(());
        }
        if let Err(error) = self.keep(secret, &session).await {
            tracing::debug!(%error, "a session that was lost is put back later");
        }
        Ok(())
    }

    fn has_settled(&self, epoch: u64, now_ms: i64) -> bool {
        let mut notes = self.notes.lock();
        let (known, since_ms) = *notes
            .looked_under
            .get_or_insert((epoch, now_ms - SETTLES_MS));
        if known != epoch {
            notes.looked_under = Some((epoch, now_ms));
            return false;
        }
        now_ms >= since_ms + SETTLES_MS
    }

    fn is_absent(&self, secret: &Digest, now_ms: i64) -> bool {
        let notes = self.notes.lock();
        notes
            .absent
            .get(secret)
            .is_some_and(|until_ms| now_ms < *until_ms)
    }

    fn note_absent(&self, secret: Digest, now_ms: i64) {
        let mut notes = self.notes.lock();
        if notes.absent.len() >= ABSENT_MAX {
            notes.absent.retain(|_, until_ms| now_ms < *until_ms);
        }
        if notes.absent.len() < ABSENT_MAX {
            notes.absent.insert(secret, now_ms + CACHED_MS);
        }
    }

    /// Has all servers know a session that is open here.
    ///
    /// # Errors
    /// They are away: it is this server's alone.
    pub async fn keep(&self, secret: Digest, session: &Session) -> Result<(), BusError> {
        let common = self.asking.common()?;
        let epoch = self.asking.epoch();
        let left_ms = session.expires_ms() - self.held.clock.steady_ms();
        let kept = Duration::from_millis(u64::try_from(left_ms).unwrap_or_default().max(1));
        let stored = StoredSession {
            token: session.token.map(|token| token.to_string()),
            grant: session.grant.clone(),
            ends_ms: self.held.clock.now_ms() + left_ms,
        };
        let list = stored.token.clone().unwrap_or_default();
        let digest = String::from(secret);
        let text = json_text(&stored);
        let gone = common.keep_of(
            (Space::Session, &digest),
            text.as_bytes(),
            kept,
            (&list, PER_TOKEN_MAX),
        );
        let gone = within(gone).await?;
        let confirmed = self.now_confirmed(epoch);
        self.held.sessions.lock().confirm(&secret, confirmed);
        if self.heard.has_ended(&secret) {
            // In the same moment: whoever ended it may have been before us.
            within(common.forget_all(Space::Session, std::slice::from_ref(&digest))).await?;
        }
        let gone: Vec<Digest> = gone.iter().filter_map(|gone| gone.parse().ok()).collect();
        if !gone.is_empty() {
            for secret in &gone {
                self.heard.remember_ended(*secret);
                self.held
                    .end_session(secret, "session ended for newer ones");
            }
            news::tell_ended(&self.asking, &gone);
        }
        Ok(())
    }

    /// A session is over: from here on it does not come in again, whoever still says that it is
    /// there. What there is of it here is ended after this.
    pub fn note_ended(&self, secret: Digest) {
        self.heard.remember_ended(secret);
    }

    /// A session is over on all servers: at once where they can be reached, else when they can.
    pub async fn end(&self, secret: Digest) {
        self.heard.remember_ended(secret);
        {
            let mut notes = self.notes.lock();
            notes.untold.push_back(secret);
            if notes.untold.len() > UNTOLD_MAX {
                notes.untold.pop_front();
            }
        }
        self.tell_ended().await;
    }

    async fn tell_ended(&self) {
        let Ok(common) = self.asking.common() else {
            return;
        };
        let now_ms = self.held.clock.steady_ms();
        let part: Vec<Digest> = {
            let mut notes = self.notes.lock();
            let epoch = self.asking.epoch();
            if notes.epoch != epoch {
                // What was told may be lost.
                notes.epoch = epoch;
                let again: Vec<Digest> = notes.told.drain(..).map(|(secret, _)| secret).collect();
                notes.untold.extend(again);
            }
            while notes
                .told
                .front()
                .is_some_and(|(_, at_ms)| now_ms > at_ms + TOLD_KEPT_MS)
            {
                notes.told.pop_front();
            }
            let count = notes.untold.len().min(UNTOLD_AT_ONCE);
            notes.untold.drain(..count).collect()
        };
        if part.is_empty() {
            return;
        }
        let digests: Vec<String> = part.iter().map(|secret| String::from(*secret)).collect();
        match within(common.forget_all(Space::Session, &digests)).await {
            Ok(()) => {
                news::tell_ended(&self.asking, &part);
                let mut notes = self.notes.lock();
                notes.told.extend(part.into_iter().map(|one| (one, now_ms)));
                while notes.told.len() > UNTOLD_MAX {
                    notes.told.pop_front();
                }
            }
            Err(error) => {
                tracing::debug!(%error, "that sessions ended is told later");
                let mut notes = self.notes.lock();
                for secret in part.into_iter().rev() {
                    notes.untold.push_front(secret);
                }
                notes.untold.truncate(UNTOLD_MAX);
            }
        }
    }

    /// Ends here what has ended elsewhere.
    pub async fn end_heard(&self) {
        let ended = self.heard.take_ended();
        let were_here: Vec<String> = ended
            .iter()
            .filter(|secret| self.held.end_session(secret, "logged out"))
            .map(|secret| String::from(*secret))
            .collect();
        let Ok(common) = self.asking.common() else {
            return;
        };
        // This server may have put one back while it ended.
        for part in were_here.chunks(CONFIRMED_AT_ONCE) {
            if let Err(error) = within(common.forget_all(Space::Session, part)).await {
                tracing::debug!(%error, "sessions that ended are looked for later");
            }
        }
    }

    /// Looks for sessions again that were not for a while, and tells what could not be told.
    ///
    /// # Errors
    /// The others are away.
    pub async fn confirm(&self) -> Result<(), BusError> {
        self.tell_ended().await;
        let common = self.asking.common()?;
        let epoch = self.asking.epoch();
        let now_ms = self.held.clock.steady_ms();
        // When it changed is to be known before somebody asks.
        let _settled = self.has_settled(epoch, now_ms);
        let due = {
            let sessions = self.held.sessions.lock();
            sessions.to_confirm(now_ms, CACHED_MS, CONFIRMED_AT_ONCE)
        };
        if due.is_empty() {
            return Ok(());
        }
        let digests: Vec<String> = due.iter().map(|(one, _)| String::from(*one)).collect();
        let found = within(common.look_all(Space::Session, &digests)).await?;
        let mut missing = HashSet::new();
        {
            let confirmed = self.now_confirmed(epoch);
            let mut sessions = self.held.sessions.lock();
            for ((secret, _), found) in due.iter().zip(found) {
                match found {
                    Some(_) => sessions.confirm(secret, confirmed),
                    None => drop(missing.insert(*secret)),
                }
            }
        }
        for secret in missing {
            self.is_missing(secret, epoch).await?;
        }
        Ok(())
    }

    // Tickets.

    /// Has all servers know a ticket.
    ///
    /// # Errors
    /// They are away.
    pub async fn keep_ticket(&self, secret: &Digest, caller: &Caller) -> Result<(), BusError> {
        let common = self.asking.common()?;
        let session = caller.credential.session;
        let stored = StoredTicket {
            role: caller.role,
            tenant: caller.tenant.clone(),
            known: caller.known,
            token: caller.credential.token.map(|token| token.to_string()),
            session: session.and_then(|id| self.held.sessions.lock().secret_of(id)),
        };
        let kept = Duration::from_millis(ticket::LIFETIME_MS.unsigned_abs());
        let digest = String::from(*secret);
        let text = json_text(&stored);
        let new = common.keep_new(Space::Ticket, &digest, text.as_bytes(), kept);
        match within(new).await? {
            true => Ok(()),
            // Of 256 random bits there are no two alike.
            false => Err(BusError::Odd("a ticket")),
        }
    }

    /// Uses a ticket up, whichever server made it.
    ///
    /// # Errors
    /// The others are away, or too many of this address ask.
    pub async fn redeem(&self, secret: &Digest, address: IpAddr) -> Result<Redeemed, BusError> {
        let common = self.asking.common()?;
        let _turn = self.turns.take(address)?;
        let digest = String::from(*secret);
        let Some(found) = within(common.take(Space::Ticket, &digest)).await? else {
            return Ok(Redeemed::Nobody);
        };
        let Ok(stored) = serde_json::from_slice::<StoredTicket>(&found) else {
            return Ok(Redeemed::Nobody);
        };
        let token = match stored.token.as_deref().map(str::parse::<TokenId>) {
            None => None,
            Some(Ok(token)) => Some(token),
            Some(Err(_not_hex)) => return Ok(Redeemed::Nobody),
        };
        if let Some(token) = token {
            // Asked for what was just made; whether it is valid is looked at by who redeems.
            let _is_valid = self.is_valid(token).await;
        }
        let session = match stored.session {
            None => None,
            Some(secret) => {
                let due = self.unsure(&[secret]);
                let is_known_once = due.iter().all(|(_, knows)| *knows == Knows::Once);
                if !due.is_empty()
                    && let Err(error) = self.look(&due).await
                    && !is_known_once
                {
                    return Err(error);
                }
                let now_ms = self.held.clock.steady_ms();
                let sessions = self.held.sessions.lock();
                match sessions.find(&secret, now_ms) {
                    Some(session) => Some(session.id),
                    None => return Ok(Redeemed::Ended),
                }
            }
        };
        Ok(Redeemed::For(Caller {
            role: stored.role,
            tenant: stored.tenant,
            known: stored.known,
            credential: Credential { token, session },
        }))
    }
}
