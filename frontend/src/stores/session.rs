//! Who the server takes this page for.

use yewdux::store::Store;

use crate::net::session::Session;

/// Who the server takes this page for, and whether it asks for a login.
#[derive(Clone, Debug, Default, PartialEq, Store)]
pub struct SessionStore {
    session: Option<Session>,
    /// The server was asked for the first time, and has answered or will not.
    settled: bool,
    /// Grows when what is known may not hold any more.
    doubts: u64,
    /// Grows when the page is somebody else: streams opened before are not theirs.
    identity: u64,
    /// The reader logged out, and what remains to them is not known yet.
    leaving: bool,
    /// The reader asked for the login.
    asked: bool,
    /// The page came with an admin link that does not work.
    link_refused: bool,
    /// The page was logged in and is no longer, without having asked for that.
    thrown_out: bool,
}

impl SessionStore {
    /// The server said who it takes the page for.
    pub fn learn(&mut self, session: Session) {
        if let Some(before) = &self.session
            && *before != session
        {
            self.identity += 1;
            self.thrown_out = !before.anonymous && session.anonymous;
        }
        if !session.anonymous {
            self.link_refused = false;
            self.asked = false;
            self.thrown_out = false;
        }
        self.session = Some(session);
        self.settled = true;
        self.leaving = false;
    }

    /// The server did not say; the connection's own diagnosis says what is wrong.
    pub const fn learn_nothing(&mut self) {
        self.settled = true;
        self.leaving = false;
    }

    /// Something was refused that should not have been: ask again.
    pub const fn doubt(&mut self) {
        self.doubts += 1;
    }

    /// The reader logged out.
    pub fn log_out(&mut self) {
        self.session = None;
        self.leaving = true;
        self.thrown_out = false;
        self.identity += 1;
        self.doubt();
    }

    /// The page came with an admin link that the server did not take.
    pub const fn refuse_link(&mut self) {
        self.link_refused = true;
        self.asked = true;
    }

    /// The reader wants to log in, or no longer.
    pub const fn ask(&mut self, asked: bool) {
        self.link_refused = false;
        self.asked = asked;
    }

    /// Who the page is; `None` until that is known.
    #[must_use]
    pub const fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Grows when the server is to be asked again.
    #[must_use]
    pub const fn doubts(&self) -> u64 {
        self.doubts
    }

    /// Grows when streams are to be opened anew.
    #[must_use]
    pub const fn identity(&self) -> u64 {
        self.identity
    }

    /// Nothing can be read without logging in.
    #[must_use]
    pub fn login_needed(&self) -> bool {
        self.session
            .as_ref()
            .is_some_and(|session| session.login_needed)
    }

    /// Nothing can be read, or it is not known yet whether anything can after a logout.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.leaving || self.login_needed()
    }

    /// Whether it is known if anything can be read; before that nothing is tried, since it could
    /// only be refused.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.settled
    }

    /// The login is to be shown.
    #[must_use]
    pub fn login_shown(&self) -> bool {
        self.asked || self.login_needed()
    }

    /// Why the login is shown, for the reader.
    #[must_use]
    pub fn login_reason(&self) -> &'static str {
        if self.link_refused {
            "This admin link was used already, or is older than ten minutes; `pulseboard admin-link` on the server prints another."
        } else if self.thrown_out {
            "You are no longer logged in: the session has ended, or its token was withdrawn."
        } else if self.login_needed() {
            "This dashboard is for those who have a token."
        } else {
            "With a token you can do what its role allows."
        }
    }
}

#[cfg(test)]
mod tests {
    use pulseboard_shared::Role;
    use yewdux::{Context, Dispatch};

    use super::*;

    fn session(role: Role, anonymous: bool) -> Session {
        Session {
            role,
            tenant: None,
            anonymous,
            login_needed: !role.reads(),
        }
    }

    #[test]
    fn streams_are_opened_anew_when_somebody_else_is_there() {
        let dispatch = Dispatch::<SessionStore>::new(&Context::new());
        let learn = |role, anonymous| {
            dispatch.reduce_mut(|store| store.learn(session(role, anonymous)));
        };
        assert!(!dispatch.get().is_settled());
        learn(Role::None, true);
        assert!(dispatch.get().is_settled());
        assert_eq!(
            dispatch.get().identity(),
            0,
            "the first answer is no change"
        );
        assert!(dispatch.get().login_shown());
        learn(Role::Operator, false);
        assert_eq!(dispatch.get().identity(), 1);
        assert!(!dispatch.get().login_shown());
        learn(Role::Operator, false);
        assert_eq!(dispatch.get().identity(), 1);
        learn(Role::None, true);
        assert!(dispatch.get().login_reason().contains("no longer"));
        learn(Role::Viewer, false);
        dispatch.reduce_mut(SessionStore::log_out);
        assert!(dispatch.get().is_locked(), "what remains is not known yet");
        learn(Role::Viewer, true);
        assert!(!dispatch.get().is_locked());
        assert!(!dispatch.get().login_reason().contains("no longer"));
    }

    #[test]
    fn a_link_that_does_not_work_is_said_until_somebody_is_in() {
        let mut store = SessionStore::default();
        store.learn(session(Role::Viewer, true));
        assert!(!store.login_shown());
        store.refuse_link();
        assert!(store.login_shown() && store.login_reason().contains("admin-link"));
        store.learn(session(Role::Viewer, true));
        assert!(store.login_shown());
        store.learn(session(Role::Admin, false));
        assert!(!store.login_shown() && !store.login_reason().contains("admin-link"));
    }

    #[test]
    fn a_server_that_does_not_say_is_tried_all_the_same() {
        let mut store = SessionStore::default();
        store.learn_nothing();
        assert!(store.is_settled() && !store.is_locked());
    }
}
