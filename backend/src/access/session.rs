//! Sessions of browsers: who a cookie stands for, and until when. Pure; time is told.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    secret::Digest,
    token::{Grant, TokenId},
};

/// How long a session lasts: a working day. It is not prolonged by use, so a stolen cookie ends.
pub const LIFETIME_MS: i64 = 12 * 60 * 60 * 1000;
/// Sessions at once; past it the oldest of the token that has the most goes.
pub const SESSIONS_MAX: usize = 10_000;
/// Of one token (and of all admin links together); past it the oldest of these goes, so that no
/// login ends another's session.
pub const PER_TOKEN_MAX: usize = 100;

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
    /// Where it is all servers': when it was last known to go on.
    shared: Option<Confirmed>,
}

/// When and under which epoch of the servers' feed a session was known to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// By the steady clock.
    pub at_ms: i64,
    /// Of the feed of changes. Under another one what is not there may be lost and not ended.
    pub epoch: u64,
}

/// What is known here of a session of all servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knows {
    /// It goes on, or is this server's alone.
    Yes,
    /// It went on when it was looked for last, which is a while ago.
    Once,
    /// Nothing.
    Nothing,
}

/// A session that was ended for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Its name.
    pub id: SessionId,
    /// What its cookie has.
    pub secret: Digest,
}

/// All sessions, at most a given number.
#[derive(Debug)]
pub struct Sessions {
    by_secret: HashMap<Digest, Session>,
    /// The same, oldest first.
    by_age: BTreeMap<SessionId, Digest>,
    /// The same by token; no set is empty.
    of_token: HashMap<Option<TokenId>, BTreeSet<SessionId>>,
    ids: u64,
    max: usize,
    /// Some have less time left than others that came later.
    is_mixed: bool,
}

impl Session {
    /// Until when, by the steady clock.
    #[must_use]
    pub fn expires_ms(&self) -> i64 {
        self.expires_ms
    }

    /// Where it is all servers': when that was last known.
    #[must_use]
    pub fn confirmed(&self) -> Option<Confirmed> {
        self.shared
    }
}

impl Sessions {
    /// Room for `max`.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            by_secret: HashMap::new(),
            by_age: BTreeMap::new(),
            of_token: HashMap::new(),
            ids: 0,
            max,
            is_mixed: false,
        }
    }

    /// Opens one whose cookie has this digest; returns the session that had to go for it.
    pub fn open(
        &mut self,
        secret: Digest,
        token: Option<TokenId>,
        grant: Grant,
        now_ms: i64,
    ) -> Option<Gone> {
        self.insert(secret, (token, grant), now_ms + LIFETIME_MS, None)
    }

    /// Takes in one that another server has opened, or that is known to go on for so long.
    pub fn adopt(
        &mut self,
        secret: Digest,
        of: (Option<TokenId>, Grant),
        expires_ms: i64,
        confirmed: Confirmed,
    ) -> Option<Gone> {
        if let Some(known) = self.by_secret.get_mut(&secret) {
            known.shared = Some(confirmed);
            return None;
        }
        self.is_mixed = true;
        self.insert(secret, of, expires_ms, Some(confirmed))
    }

    fn insert(
        &mut self,
        secret: Digest,
        (token, grant): (Option<TokenId>, Grant),
        expires_ms: i64,
        shared: Option<Confirmed>,
    ) -> Option<Gone> {
        let of_token = self.of_token.get(&token).map_or(0, BTreeSet::len);
        let gone = if of_token >= PER_TOKEN_MAX {
            self.oldest_of(token)
        } else if self.by_age.len() >= self.max {
            let most = self.of_token.iter().max_by_key(|(_, ids)| ids.len());
            most.and_then(|(token, _)| self.oldest_of(*token))
        } else {
            None
        };
        let gone = gone.and_then(|id| {
            let secret = self.by_age.get(&id).copied()?;
            self.remove(id);
            Some(Gone { id, secret })
        });
        self.ids += 1;
        let id = SessionId(self.ids);
        let session = Session {
            id,
            token,
            grant,
            expires_ms,
            shared,
        };
        self.by_secret.insert(secret, session);
        self.by_age.insert(id, secret);
        self.of_token.entry(token).or_default().insert(id);
        gone
    }

    /// What is known of a session of all servers, that was looked for within `cached_ms`.
    #[must_use]
    pub fn knows(&self, secret: &Digest, now_ms: i64, cached_ms: i64) -> Knows {
        match self.find(secret, now_ms) {
            None => Knows::Nothing,
            Some(session) => match session.shared {
                Some(confirmed) if now_ms >= confirmed.at_ms + cached_ms => Knows::Once,
                _ => Knows::Yes,
            },
        }
    }

    /// All servers know of this one from here on, as of then.
    pub fn confirm(&mut self, secret: &Digest, confirmed: Confirmed) {
        if let Some(session) = self.by_secret.get_mut(secret) {
            session.shared = Some(confirmed);
        }
    }

    /// Up to `count` sessions of all servers that are to be looked for again, those first for which
    /// that is the longest ago.
    #[must_use]
    pub fn to_confirm(&self, now_ms: i64, cached_ms: i64, count: usize) -> Vec<(Digest, Session)> {
        let mut due: Vec<(Digest, Session, i64)> = self
            .by_secret
            .iter()
            .filter_map(|(secret, session)| {
                let at_ms = session.shared?.at_ms;
                (now_ms >= at_ms + cached_ms).then(|| (*secret, session.clone(), at_ms))
            })
            .collect();
        due.sort_by_key(|(_, _, at_ms)| *at_ms);
        due.truncate(count);
        due.into_iter()
            .map(|(secret, session, _)| (secret, session))
            .collect()
    }

    /// What is known is to be looked for again: something may have been missed.
    pub fn doubt(&mut self) {
        for session in self.by_secret.values_mut() {
            if let Some(confirmed) = &mut session.shared {
                confirmed.at_ms = i64::MIN / 2;
            }
        }
    }

    /// What the cookie of this session has.
    #[must_use]
    pub fn secret_of(&self, id: SessionId) -> Option<Digest> {
        self.by_age.get(&id).copied()
    }

    /// Ends the session of this cookie; which it was.
    pub fn remove_secret(&mut self, secret: &Digest) -> Option<SessionId> {
        let id = self.by_secret.get(secret)?.id;
        self.remove(id).then_some(id)
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
            Some(secret) => match self.by_secret.remove(&secret) {
                Some(session) => {
                    self.forget(session.token, id);
                    true
                }
                None => false,
            },
            None => false,
        }
    }

    fn oldest_of(&self, token: Option<TokenId>) -> Option<SessionId> {
        self.of_token.get(&token)?.first().copied()
    }

    fn forget(&mut self, token: Option<TokenId>, id: SessionId) {
        if let Some(sessions) = self.of_token.get_mut(&token) {
            sessions.remove(&id);
            if sessions.is_empty() {
                self.of_token.remove(&token);
            }
        }
    }

    /// Ends those that were opened with this token.
    pub fn remove_of(&mut self, token: TokenId) {
        for id in self.of_token.remove(&Some(token)).unwrap_or_default() {
            if let Some(secret) = self.by_age.remove(&id) {
                self.by_secret.remove(&secret);
            }
        }
    }

    /// Ends those whose time is over, and says which they were, sorted.
    pub fn expire(&mut self, now_ms: i64) -> Vec<SessionId> {
        let is_over = |(_, secret): &(&SessionId, &Digest)| self.find(secret, now_ms).is_none();
        let by_age = self.by_age.iter();
        let expired: Vec<SessionId> = match self.is_mixed {
            true => by_age.filter(is_over).map(|(id, _)| *id).collect(),
            // They all last equally long, so the oldest expire first.
            false => by_age.take_while(is_over).map(|(id, _)| *id).collect(),
        };
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
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulseboard_shared::Role;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Doing {
        /// So many with one token, or with a link.
        Open(Option<u8>, usize),
        Remove(prop::sample::Index),
        RemoveOf(u8),
        Expire,
    }

    fn doing() -> impl Strategy<Value = Doing> {
        let token = || prop::option::weighted(0.9, 0..4_u8);
        prop_oneof![
            8 => token().prop_map(|token| Doing::Open(token, 1)),
            1 => (token(), 0..PER_TOKEN_MAX + 20).prop_map(|(token, count)| Doing::Open(token, count)),
            3 => any::<prop::sample::Index>().prop_map(Doing::Remove),
            1 => (0..4_u8).prop_map(Doing::RemoveOf),
            1 => Just(Doing::Expire),
        ]
    }

    /// What is known of a session beside the table.
    #[derive(Clone, Debug)]
    struct Open {
        secret: Digest,
        id: SessionId,
        token: Option<TokenId>,
        expires_ms: i64,
    }

    proptest! {
        /// In whatever order sessions begin and end: there are never too many, in all and of one
        /// token; who goes for another is the oldest of those who have too many; what has ended
        /// does not come back; and nothing else ends.
        #[test]
        fn no_order_of_beginning_and_ending_gets_past_a_bound(
            max in prop_oneof![1_usize..6, 100..300_usize],
            doings in prop::collection::vec((0..LIFETIME_MS / 8, doing()), 0..60),
        ) {
            let mut sessions = Sessions::new(max);
            let mut open: Vec<Open> = Vec::new();
            let mut ended: Vec<Open> = Vec::new();
            let (mut now_ms, mut number) = (0, 0);
            for (step_ms, doing) in doings {
                now_ms += step_ms;
                match doing {
                    Doing::Open(token, count) => for _ in 0..count {
                        number += 1;
                        let secret = Digest::of(&number.to_string());
                        let token = token.map(|token| TokenId::of(&Digest::of(&token.to_string())));
                        let grant = Grant { role: Role::Viewer, tenant: None };
                        let gone = sessions.open(secret, token, grant, now_ms);
                        let of = |token| open.iter().filter(move |one| one.token == token);
                        let is_full = of(token).count() >= PER_TOKEN_MAX || open.len() >= max;
                        prop_assert_eq!(gone.is_some(), is_full);
                        if let Some(gone) = gone {
                            let at = open.iter().position(|one| one.id == gone.id).expect("it was open");
                            let gone = open[at].clone();
                            prop_assert_eq!(of(gone.token).map(|one| one.id).min(), Some(gone.id));
                            if of(token).count() >= PER_TOKEN_MAX {
                                prop_assert_eq!(gone.token, token);
                            } else {
                                let had = of(gone.token).count();
                                let is_most = open.iter().all(|one| of(one.token).count() <= had);
                                prop_assert!(is_most);
                            }
                            ended.push(open.remove(at));
                        }
                        let id = sessions.find(&secret, now_ms).expect("it is new").id;
                        let expires_ms = now_ms + LIFETIME_MS;
                        open.push(Open { secret, id, token, expires_ms });
                    },
                    Doing::Remove(_) if open.is_empty() => {}
                    Doing::Remove(index) => {
                        let gone = open.remove(index.index(open.len()));
                        prop_assert!(sessions.remove(gone.id) && !sessions.remove(gone.id));
                        ended.push(gone);
                    }
                    Doing::RemoveOf(token) => {
                        let token = TokenId::of(&Digest::of(&token.to_string()));
                        sessions.remove_of(token);
                        ended.extend(open.extract_if(.., |one| one.token == Some(token)));
                    }
                    Doing::Expire => {
                        let over: Vec<Open> =
                            open.extract_if(.., |one| now_ms >= one.expires_ms).collect();
                        let told = sessions.expire(now_ms);
                        prop_assert_eq!(told, over.iter().map(|one| one.id).collect::<Vec<_>>());
                        ended.extend(over);
                    }
                }
                prop_assert!(open.len() <= max);
                prop_assert_eq!(sessions.by_secret.len(), open.len());
                prop_assert_eq!(sessions.by_age.len(), open.len());
                for (token, ids) in &sessions.of_token {
                    prop_assert!((1..=PER_TOKEN_MAX).contains(&ids.len()));
                    let known = open.iter().filter(|one| one.token == *token).map(|one| one.id);
                    prop_assert_eq!(ids.clone(), known.collect::<BTreeSet<_>>());
                }
                for one in &open {
                    let stands = now_ms < one.expires_ms;
                    prop_assert_eq!(sessions.find(&one.secret, now_ms).is_some(), stands);
                    prop_assert_eq!(sessions.goes_on(one.id, now_ms), stands);
                }
                for one in &ended {
                    let is_there = sessions.find(&one.secret, now_ms).is_some();
                    prop_assert!(!is_there && !sessions.goes_on(one.id, now_ms));
                }
            }
        }
    }

    fn open(sessions: &mut Sessions, secret: &str, now_ms: i64) -> Option<SessionId> {
        let grant = Grant {
            role: Role::Viewer,
            tenant: None,
        };
        sessions
            .open(Digest::of(secret), Some(token(secret)), grant, now_ms)
            .map(|gone| gone.id)
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
        assert_eq!(open(&mut sessions, "b", 0), None);
        assert!(open(&mut sessions, "c", 0).is_some());
        assert_eq!(sessions.by_age.len(), 2);
        assert!(id(&sessions, "c").is_some());
    }

    #[test]
    fn a_token_with_many_sessions_ends_its_own_and_nobody_elses() {
        let mut sessions = Sessions::new(10_000);
        open(&mut sessions, "b", 0);
        for number in 0..PER_TOKEN_MAX {
            assert_eq!(open(&mut sessions, &format!("a{number}"), 0), None);
        }
        for number in 0..PER_TOKEN_MAX {
            let oldest = id(&sessions, &format!("a{number}"));
            assert_eq!(open(&mut sessions, &format!("a{number} again"), 0), oldest);
        }
        assert!(id(&sessions, "b").is_some());
        assert_eq!(sessions.by_secret.len(), PER_TOKEN_MAX + 1);
        // Where all together are too many, it is who has the most.
        let mut few = Sessions::new(3);
        for secret in ["b1", "a1", "a2"] {
            open(&mut few, secret, 0);
        }
        let oldest = id(&few, "a1");
        assert_eq!(open(&mut few, "c", 0), oldest);
        assert!(id(&few, "b1").is_some());
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

    #[test]
    fn what_all_servers_know_is_looked_for_again_and_ends_in_its_own_time() {
        let mut sessions = Sessions::new(10);
        let grant = || Grant {
            role: Role::Viewer,
            tenant: None,
        };
        let confirmed = |at_ms| Confirmed { at_ms, epoch: 1 };
        let secret = |name: &str| Digest::of(name);
        assert!(open(&mut sessions, "a1", 0).is_none());
        let of = (Some(token("b")), grant());
        let adopted = sessions.adopt(secret("b1"), of, 5_000, confirmed(0));
        assert_eq!(adopted, None);
        let knows =
            |sessions: &Sessions, name, now_ms| sessions.knows(&secret(name), now_ms, 1_000);
        assert_eq!(
            knows(&sessions, "a1", 90_000),
            Knows::Yes,
            "it is ours alone"
        );
        assert_eq!(knows(&sessions, "b1", 999), Knows::Yes);
        assert_eq!(knows(&sessions, "b1", 1_000), Knows::Once);
        assert_eq!(knows(&sessions, "c1", 0), Knows::Nothing);
        let due = sessions.to_confirm(1_000, 1_000, 10);
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].0, secret("b1"));
        sessions.confirm(&secret("b1"), confirmed(1_000));
        assert_eq!(knows(&sessions, "b1", 1_500), Knows::Yes);
        sessions.doubt();
        assert_eq!(knows(&sessions, "b1", 1_500), Knows::Once);
        // It came later and ends sooner.
        let b1 = id(&sessions, "b1").expect("it goes on");
        assert_eq!(sessions.secret_of(b1), Some(secret("b1")));
        assert_eq!(sessions.expire(5_000), [b1]);
        assert_eq!(sessions.remove_secret(&secret("b1")), None);
        assert!(sessions.remove_secret(&secret("a1")).is_some());
    }
}
