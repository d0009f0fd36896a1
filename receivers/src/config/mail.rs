//! Mail.

use std::{collections::BTreeMap, path::PathBuf};

use pulseboard_outbound::{Secret, config::TlsConfig};
use serde::{Deserialize, Serialize};

use super::fields::{Absent, Check, named, one_at_most};

/// `email_configs`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmailConfig {
    pub send_resolved: bool,
    /// Addresses with commas between them; a template.
    pub to: String,
    /// A template; the global one where there is none.
    pub from: String,
    /// Who we say we are; the global one where there is none.
    pub hello: String,
    /// `host:port`; the global one where there is none.
    pub smarthost: String,
    pub auth_username: String,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub auth_password: Option<Secret>,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub auth_password_file: Option<PathBuf>,
    /// For CRAM-MD5.
    #[serde(skip_serializing_if = "Absent::absent")]
    pub auth_secret: Option<Secret>,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub auth_secret_file: Option<PathBuf>,
    pub auth_identity: String,
    /// Templates; `Subject`, `From` and `To` take the place of ours.
    #[serde(skip_serializing_if = "Absent::absent")]
    pub headers: BTreeMap<String, String>,
    pub html: String,
    pub text: String,
    /// Whether nothing is sent without TLS; the global one where there is none.
    #[serde(skip_serializing_if = "Absent::absent")]
    pub require_tls: Option<bool>,
    /// Whether TLS begins with the connection; where there is none, on port 465.
    #[serde(skip_serializing_if = "Absent::absent")]
    pub force_implicit_tls: Option<bool>,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub tls_config: Option<TlsConfig>,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub threading: Option<Threading>,
}

/// Whether mails of one group are one thread.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Threading {
    pub enabled: bool,
    /// `daily`: a thread of its own each day; `none`.
    pub thread_by_date: String,
}

impl Default for Threading {
    fn default() -> Self {
        Self {
            enabled: false,
            thread_by_date: "daily".to_owned(),
        }
    }
}

impl Default for EmailConfig {
    fn default() -> Self {
        Self {
            send_resolved: false,
            to: String::new(),
            from: String::new(),
            hello: String::new(),
            smarthost: String::new(),
            auth_username: String::new(),
            auth_password: None,
            auth_password_file: None,
            auth_secret: None,
            auth_secret_file: None,
            auth_identity: String::new(),
            headers: BTreeMap::new(),
            html: named("email.default.html"),
            text: String::new(),
            require_tls: None,
            force_implicit_tls: None,
            tls_config: None,
            threading: None,
        }
    }
}

/// Whether this is `host:port`.
pub(super) fn host_and_port(name: &str, text: &str) -> Result<(), String> {
    match split(text) {
        Some(_) => Ok(()),
        None => Err(format!("{name}: {text:?} is no host:port")),
    }
}

/// Host and port of `host:port` and `[::1]:port`.
pub(crate) fn split(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    // As there: who names no host means this one.
    let host = bare.unwrap_or(if host.is_empty() { "localhost" } else { host });
    let is_one = !host.is_empty() && (bare.is_some() || !host.contains(':'));
    // As Go knows them by name.
    let port = match port {
        "smtp" => 25,
        "submission" => 587,
        "submissions" | "smtps" => 465,
        number => number.parse().ok()?,
    };
    is_one.then_some((host, port))
}

impl Check for EmailConfig {
    fn check(&mut self) -> Result<(), String> {
        if self.to.trim().is_empty() {
            return Err("to must be given".to_owned());
        }
        if !self.smarthost.is_empty() {
            host_and_port("smarthost", &self.smarthost)?;
        }
        one_at_most(
            "auth_password",
            self.auth_password.as_ref(),
            self.auth_password_file.as_ref(),
        )?;
        one_at_most(
            "auth_secret",
            self.auth_secret.as_ref(),
            self.auth_secret_file.as_ref(),
        )?;
        let mut headers = BTreeMap::new();
        for (name, value) in std::mem::take(&mut self.headers) {
            let canonical = canonical(&name);
            if !name
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b':')
                || name.is_empty()
            {
                return Err(format!("headers: {name:?} is no name of a header"));
            }
            if headers.insert(canonical.clone(), value).is_some() {
                return Err(format!("headers: {canonical} stands there twice"));
            }
        }
        self.headers = headers;
        match self
            .threading
            .as_ref()
            .map(|how| how.thread_by_date.as_str())
        {
            None | Some("daily" | "none") => Ok(()),
            Some(_) => Err("threading: thread_by_date is neither daily nor none".to_owned()),
        }
    }
}

/// `x-my-header` as `X-My-Header`.
fn canonical(name: &str) -> String {
    let mut starts = true;
    name.chars()
        .map(|letter| {
            let told = match starts {
                true => letter.to_ascii_uppercase(),
                false => letter.to_ascii_lowercase(),
            };
            starts = letter == '-';
            told
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_its_port() {
        assert_eq!(
            split("mail.example.org:587"),
            Some(("mail.example.org", 587))
        );
        assert_eq!(split("[::1]:25"), Some(("::1", 25)));
        assert_eq!(split(":25"), Some(("localhost", 25)));
        assert_eq!(split("mail:submissions"), Some(("mail", 465)));
        for text in ["", "mail", "[]:25", "::1:25", "mail:", "mail:99999"] {
            assert_eq!(split(text), None, "{text}");
        }
        assert_eq!(canonical("x-MY-header"), "X-My-Header");
    }
}
