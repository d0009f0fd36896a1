//! Settings that are taken, and that their owner should know something about. Said at each start.

use pulseboard_shared::Role;

use super::{Origins, Settings};

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
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

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
