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
    session::Sessions,
    token::{TokenId, Tokens},
};
use crate::base::clock::Clock;

/// The open streams, as whoever withdraws a credential sees them.
pub trait Streams: fmt::Debug + Send + Sync {
    /// Ends those whose credential is meant; returns how many.
    fn end(&self, why: &str, of: &dyn Fn(&Credential) -> bool) -> usize;

    /// How many there are of each token, those of its sessions and tickets included.
    fn count_by_token(&self) -> HashMap<TokenId, usize>;
}

/// Tokens, sessions and streams of this server.
#[derive(Debug)]
pub struct Held {
    /// All tokens that are valid.
    pub tokens: Tokens,
    /// A leaf lock; held for a look-up or a change.
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
