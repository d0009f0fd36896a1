//! Settings that are taken, and that their owner should know something about. Said at each start.

use pulseboard_shared::Role;

use super::{Origins, Settings};

/// Characters below which a token can be guessed by trying.
const TOKEN_CHARS_MIN: usize = 20;

/// What to say of these settings; no secret is in it.
#[must_use]
pub fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(role @ (Role::Writer | Role::Operator | Role::Admin)) = settings.anonymous_role {
        if settings.allowed_origins == Origins::Any {
            warnings.push(format!(
                "ANONYMOUS_ROLE={role} with ALLOWED_ORIGINS=*: every web page that anybody opens who can reach this server is {role} here; name the origins, or leave ANONYMOUS_ROLE at auto or viewer"
            ));
        }
        if !settings.bind_addr.ip().to_canonical().is_loopback() {
            warnings.push(format!(
                "ANONYMOUS_ROLE={role} on {}: everybody who can reach this address is {role} without a token; give AUTH_TOKENS and leave ANONYMOUS_ROLE at auto or viewer",
                settings.bind_addr
            ));
        }
    }
    // By their place: even the name of a token that can be guessed would tell who guessed right.
    let short: Vec<String> = (1..)
        .zip(&settings.tokens)
        .filter(|(_, token)| token.secret.len() < TOKEN_CHARS_MIN)
        .map(|(place, _)| place.to_string())
        .collect();
    if !short.is_empty() {
        warnings.push(format!(
            "AUTH_TOKENS: entry {} is shorter than {TOKEN_CHARS_MIN} characters and can be guessed; a good one is what `openssl rand -hex 32` prints",
            short.join(", ")
        ));
    }
    if let Some(path) = &settings.readable_tokens {
        warnings.push(format!(
            "{} has tokens in it, and others on this machine may read it; chmod 600",
            path.display()
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Token;

    #[test]
    fn short_tokens_are_said_and_not_told() {
        let token = |secret: &str| Token {
            secret: secret.to_owned(),
            role: Role::Viewer,
            tenant: None,
        };
        let long = "0123456789abcdef0123";
        let said = |tokens| {
            warnings(&Settings {
                tokens,
                ..Settings::default()
            })
        };
        assert!(said(vec![token(long)]).is_empty());
        let said = said(vec![token("hunter2"), token(long), token(&long[1..])]);
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("entry 1, 3 ") && !said[0].contains("hunter2"));
    }

    #[test]
    fn a_role_for_everybody_is_said_where_everybody_can_come() {
        let said = |role, origins, address: &str| {
            warnings(&Settings {
                anonymous_role: role,
                allowed_origins: origins,
                bind_addr: address.parse().expect("an address"),
                ..Settings::default()
            })
            .len()
        };
        let (here, all) = ("127.0.0.1:3000", "0.0.0.0:3000");
        assert_eq!(said(None, Origins::Any, all), 0);
        assert_eq!(said(Some(Role::Viewer), Origins::Any, all), 0);
        for role in [Role::Writer, Role::Operator] {
            assert_eq!(said(Some(role), Origins::SameOrigin, here), 0);
            assert_eq!(said(Some(role), Origins::SameOrigin, "[::1]:1"), 0);
            assert_eq!(said(Some(role), Origins::Any, here), 1);
            assert_eq!(said(Some(role), Origins::SameOrigin, all), 1);
            assert_eq!(said(Some(role), Origins::Any, all), 2);
        }
    }
}
