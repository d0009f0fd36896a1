//! Sessions of browsers: who a cookie stands for, and until when. Pure; time is told.

use std::collections::{BTreeMap, HashMap};

use super::{
    secret::Digest,
    token::{Grant, TokenId},
};

/// How long a session lasts: a working day. It is not prolonged by use, so a stolen cookie ends.
pub const LIFETIME_MS: i64 = 12 * 60 * 60 * 1000;
/// Sessions at once; past it the oldest goes, since a login must not fail for others' sake.
pub const SESSIONS_MAX: usize = 10_000;

/// Names a session without telling its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its name; they grow.
    pub id: SessionId,
    /// The token it was opened with; `None` for an admin link.
    pub token: Option<TokenId>,
    /// What it allows.
    pub grant: Grant,
    expires_ms: i64,
}

/// All sessions, at most a given number.
#[derive(Debug)]
pub struct Sessions {
    by_secret: HashMap<Digest, Session>,
    /// The same, oldest first.
    by_age: BTreeMap<SessionId, Digest>,
    ids: u64,
    max: usize,
}

impl Sessions {
    /// Room for `max`.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            by_secret: HashMap::new(),
            by_age: BTreeMap::new(),
            ids: 0,
            max,
        }
    }

    /// Opens one whose cookie has this digest; returns the session that had to go for it.
    pub fn open(
        &mut self,
        secret: Digest,
        token: Option<TokenId>,
        grant: Grant,
        now_ms: i64,
    ) -> Option<SessionId> {
        let gone = if self.by_age.len() >= self.max {
            self.by_age.first_key_value().map(|(id, _)| *id)
        } else {
            None
        };
        if let Some(id) = gone {
            self.remove(id);
        }
        self.ids += 1;
        let id = SessionId(self.ids);
        let session = Session {
            id,
            token,
            grant,
            expires_ms: now_ms + LIFETIME_MS,
        };
        self.by_secret.insert(secret, session);
        self.by_age.insert(id, secret);
        gone
    }

    /// The session of this cookie, unless it has expired.
    #[must_use]
    pub fn find(&self, secret: &Digest, now_ms: i64) -> Option<&Session> {
        self.by_secret
            .get(secret)
            .filter(|session| now_ms < session.expires_ms)
    }

    /// Whether this session goes on.
    #[must_use]
    pub fn goes_on(&self, id: SessionId, now_ms: i64) -> bool {
        self.by_age
            .get(&id)
            .is_some_and(|secret| self.find(secret, now_ms).is_some())
    }

    /// Ends a session; whether there was one.
    pub fn remove(&mut self, id: SessionId) -> bool {
        match self.by_age.remove(&id) {
            Some(secret) => self.by_secret.remove(&secret).is_some(),
            None => false,
        }
    }

    /// Ends those that were opened with this token.
    pub fn remove_of(&mut self, token: TokenId) {
        self.by_secret
            .retain(|_, session| session.token != Some(token));
        self.forget_removed();
    }

    /// Ends those whose time is over, and says which they were, sorted.
    pub fn expire(&mut self, now_ms: i64) -> Vec<SessionId> {
        let expired: Vec<SessionId> = self
            .by_age
            .iter()
            // They all last equally long, so the oldest expire first.
            .take_while(|(_, secret)| self.find(secret, now_ms).is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in &expired {
            self.remove(*id);
        }
        expired
    }

    /// How many were opened with each token that opened some.
    #[must_use]
    pub fn counts(&self) -> HashMap<TokenId, usize> {
        let mut counts = HashMap::new();
        for token in self.by_secret.values().filter_map(|session| session.token) {
            *counts.entry(token).or_default() += 1;
        }
        counts
    }

    fn forget_removed(&mut self) {
        let known = &self.by_secret;
        self.by_age.retain(|_, secret| known.contains_key(secret));
    }
}

#[cfg(test)]
mod tests {
    use pulseboard_shared::Role;

    use super::*;

    fn open(sessions: &mut Sessions, secret: &str, now_ms: i64) -> Option<SessionId> {
        let grant = Grant {
            role: Role::Viewer,
            tenant: None,
        };
        sessions.open(Digest::of(secret), Some(token(secret)), grant, now_ms)
    }

    fn token(secret: &str) -> TokenId {
        TokenId::of(&Digest::of(&secret[..1]))
    }

    fn id(sessions: &Sessions, secret: &str) -> Option<SessionId> {
        sessions
            .find(&Digest::of(secret), 0)
            .map(|session| session.id)
    }

    #[test]
    fn a_session_ends_when_its_time_is_over() {
        let mut sessions = Sessions::new(10);
        open(&mut sessions, "a", 0);
        open(&mut sessions, "b", 5);
        let (a, b) = (id(&sessions, "a"), id(&sessions, "b"));
        let find = |sessions: &Sessions, secret, now_ms| {
            sessions.find(&Digest::of(secret), now_ms).is_some()
        };
        assert!(find(&sessions, "a", LIFETIME_MS - 1));
        assert!(
            !find(&sessions, "a", LIFETIME_MS),
            "not even before a sweep"
        );
        assert!(a.is_some_and(|a| !sessions.goes_on(a, LIFETIME_MS)));
        assert_eq!(sessions.expire(LIFETIME_MS), Vec::from_iter(a));
        assert_eq!(sessions.expire(LIFETIME_MS + 5), Vec::from_iter(b));
        assert_eq!(sessions.expire(LIFETIME_MS + 5), []);
    }

    #[test]
    fn past_the_bound_the_oldest_goes() {
        let mut sessions = Sessions::new(2);
        assert_eq!(open(&mut sessions, "a", 0), None);
        let a = id(&sessions, "a");
        assert_eq!(open(&mut sessions, "b", 0), None);
        assert_eq!(open(&mut sessions, "c", 0), a);
        assert!(id(&sessions, "a").is_none());
        assert!(id(&sessions, "b").is_some() && id(&sessions, "c").is_some());
    }

    #[test]
    fn a_withdrawn_token_takes_its_sessions_along() {
        let mut sessions = Sessions::new(10);
        for secret in ["a1", "b1", "a2"] {
            open(&mut sessions, secret, 0);
        }
        assert_eq!(sessions.counts().get(&token("a")), Some(&2));
        sessions.remove_of(token("a"));
        assert_eq!(sessions.counts().get(&token("a")), None);
        assert_eq!((sessions.by_secret.len(), sessions.by_age.len()), (1, 1));
        assert!(id(&sessions, "b1").is_some());
    }
}
