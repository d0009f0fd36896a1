//! What the server says of whom it takes this page for.

use pulseboard_shared::Role;

use super::{json::Json, wire};

/// The answer of `GET /api/session`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What the page may do.
    pub role: Role,
    /// The tenant that it is confined to.
    pub tenant: Option<String>,
    /// It showed no token that is known.
    pub anonymous: bool,
    /// Nothing can be read without logging in.
    pub login_needed: bool,
}

impl Session {
    /// Reads the answer; `None` when it is another one.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        Self::of(&Json::parse(text)?)
    }

    /// Reads what was parsed as JSON already.
    #[must_use]
    pub fn of(json: &Json) -> Option<Self> {
        let Json::Bool(anonymous) = json.get("anonymous") else {
            return None;
        };
        Some(Self {
            role: wire::role(json)?,
            tenant: json.get("tenant").text().map(str::to_owned),
            anonymous: *anonymous,
            login_needed: json.get("login_needed").is_true(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_servers_answer() {
        let text = r#"{"role":"viewer","tenant":null,"anonymous":true,"login_needed":false}"#;
        let session = Session {
            role: Role::Viewer,
            tenant: None,
            anonymous: true,
            login_needed: false,
        };
        assert_eq!(Session::read(text), Some(session));
    }
}
