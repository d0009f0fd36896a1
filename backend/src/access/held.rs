//! What this server holds of who may come in: tokens, sessions, and the streams that end with them.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;

use super::{
    caller::Credential,
    secret::Digest,
    session::{Confirmed, Gone, Sessions},
    token::{Grant, TokenId, Tokens},
};
use crate::base::clock::Clock;

/// The open streams, as whoever withdraws a credential sees them.
pub trait Streams: fmt::Debug + Send + Sync {
    /// Ends those whose credential is meant; returns how many.
    fn end(&self, why: &str, of: &dyn Fn(&Credential) -> bool) -> usize;

    /// How many there are of each token, those of its sessions and tickets included.
    fn count_by_token(&self) -> HashMap<TokenId, usize>;
}

/// A session is over, or what it was opened with is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over;

/// Tokens, sessions and streams of this server.
#[derive(Debug)]
pub struct Held {
    /// All tokens that are valid.
    pub tokens: Tokens,
    /// Held for a look-up or a change; whether what a session was opened with still stands is
    /// looked up meanwhile, and nothing else.
    pub sessions: Mutex<Sessions>,
    /// A token is, or was since the start, bound to a tenant.
    confines: AtomicBool,
    streams: Arc<dyn Streams>,
    /// The one clock.
    pub clock: Clock,
}

impl Held {
    /// These tokens, and no session yet.
    #[must_use]
    pub fn new(
        tokens: Tokens,
        sessions: Sessions,
        streams: Arc<dyn Streams>,
        clock: Clock,
    ) -> Self {
        let held = Self {
            tokens,
            sessions: Mutex::new(sessions),
            confines: AtomicBool::new(false),
            streams,
            clock,
        };
        held.look_for_bound();
        held
    }

    /// Whether a token is, or was since the start, bound to a tenant.
    #[must_use]
    pub fn confines(&self) -> bool {
        self.confines.load(Ordering::Relaxed)
    }

    /// From here on one is.
    pub fn confine(&self) {
        self.confines.store(true, Ordering::Relaxed);
    }

    /// Looks whether one is that came from elsewhere.
    pub fn look_for_bound(&self) {
        let tokens = self.tokens.list();
        if tokens.iter().any(|entry| entry.grant.tenant.is_some()) {
            self.confine();
        }
    }

    /// Ends the streams whose credential is meant; returns how many.
    pub fn end_streams(&self, why: &'static str, of: impl Fn(&Credential) -> bool) -> usize {
        self.streams.end(why, &of)
    }

    /// How many streams there are of each token.
    #[must_use]
    pub fn streams_by_token(&self) -> HashMap<TokenId, usize> {
        self.streams.count_by_token()
    }

    /// Takes in a session that another server has opened, unless it is over by now. Whoever ends
    /// one, or withdraws its token, has that be known first and then ends what is here, so that
    /// none comes in behind them.
    ///
    /// # Errors
    /// It is over.
    pub fn adopt(
        &self,
        secret: Digest,
        (token, grant): (Option<TokenId>, Grant),
        expires_ms: i64,
        confirmed: Confirmed,
        has_ended: impl FnOnce() -> bool,
    ) -> Result<Option<Gone>, Over> {
        let mut sessions = self.sessions.lock();
        if has_ended() || token.is_some_and(|token| self.tokens.get(token).is_none()) {
            return Err(Over);
        }
        Ok(sessions.adopt(secret, (token, grant), expires_ms, confirmed))
    }

    /// Ends what was opened with a token that is valid no longer; how many streams.
    pub fn end_token(&self, id: TokenId) -> usize {
        self.sessions.lock().remove_of(id);
        self.end_streams("token withdrawn", |credential| credential.token == Some(id))
    }

    /// Ends a session and its streams; whether there was one.
    pub fn end_session(&self, secret: &Digest, why: &'static str) -> bool {
        let ended = self.sessions.lock().remove_secret(secret);
        if let Some(id) = ended {
            self.end_streams(why, |credential| credential.session == Some(id));
        }
        ended.is_some()
    }
}

#[cfg(test)]
mod tests {
    use pulseboard_shared::Role;

    use super::*;
    use crate::{access::session::SESSIONS_MAX, base::documents::Documents, settings::Token};

    #[derive(Debug)]
    struct Nobody;

    impl Streams for Nobody {
        fn end(&self, _: &str, _: &dyn Fn(&Credential) -> bool) -> usize {
            0
        }

        fn count_by_token(&self) -> HashMap<TokenId, usize> {
            HashMap::new()
        }
    }

    #[test]
    fn a_session_that_ends_while_it_is_looked_for_does_not_come_back() {
        let token = Token {
            secret: "viewer".to_owned(),
            role: Role::Viewer,
            tenant: None,
        };
        let tokens = Tokens::load(vec![token], Arc::new(Documents::in_memory())).expect("none");
        let entry = tokens.find("viewer").expect("known");
        let sessions = Sessions::new(SESSIONS_MAX);
        let held = Held::new(tokens, sessions, Arc::new(Nobody), Clock::manual(0));
        let confirmed = Confirmed { at_ms: 0, epoch: 0 };
        let adopt = |secret: &str, has_ended: bool| {
            let of = (Some(entry.id), entry.grant.clone());
            held.adopt(Digest::of(secret), of, 1_000, confirmed, || has_ended)
        };
        let is_open = |secret: &str| held.sessions.lock().find(&Digest::of(secret), 0).is_some();
        // Somebody logs out after Redis has said that it is there.
        assert_eq!(adopt("one", true), Err(Over));
        assert!(!is_open("one"));
        assert_eq!(adopt("one", false), Ok(None));
        assert!(is_open("one"));
        // Likewise the token is withdrawn.
        assert_eq!(
            held.tokens.withdraw(entry.id, true),
            crate::access::token::Withdrawn::Gone
        );
        held.end_token(entry.id);
        assert_eq!(adopt("one", false), Err(Over));
        assert_eq!(adopt("other", false), Err(Over));
        assert!(!is_open("one") && !is_open("other"));
    }
}
