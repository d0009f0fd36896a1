//! A request that a receiver is sent, before anything is connected to.

use std::fmt;

use pulseboard_outbound::{HeaderMap, HeaderName, HeaderValue, Secret, header};
use serde_json::Value;

use crate::text::secrets_of;

/// A `POST`, or a `PUT` that follows one. Its address and headers may be secret; nothing of it but
/// lengths is printed.
#[derive(Clone)]
pub struct Post {
    pub url: Secret,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// What is never shown, whoever says it.
    pub secrets: Vec<Secret>,
    /// What is put elsewhere once this was taken, in this order; none of them has others.
    pub puts: Vec<Post>,
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post")
            .field("headers", &self.headers.len())
            .field("body", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Post {
    /// JSON to an address.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn json(url: Secret, body: &Value) -> Result<Self, String> {
        let body = serde_json::to_vec(body).map_err(|error| error.to_string())?;
        Ok(Self::bytes(url, "application/json", body))
    }

    /// Anything to an address.
    #[must_use]
    pub fn bytes(url: Secret, kind: &'static str, body: Vec<u8>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        let secrets = secrets_of(url.reveal());
        Self {
            url,
            headers,
            body,
            secrets,
            puts: Vec::new(),
        }
    }

    /// With a header that nobody need hide.
    ///
    /// # Errors
    /// It has characters that no header may have.
    pub fn header(mut self, name: &'static str, value: &str) -> Result<Self, String> {
        let value = HeaderValue::from_str(value)
            .map_err(|_error| format!("{name} would have characters that no header may have"))?;
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }

    /// With a header that is secret: `before` and the secret.
    ///
    /// # Errors
    /// As [`Post::header`].
    pub fn secret_header(
        mut self,
        name: &'static str,
        before: &str,
        secret: &Secret,
    ) -> Result<Self, String> {
        let mut value = HeaderValue::from_str(&format!("{before}{}", secret.reveal()))
            .map_err(|_error| format!("{name} would have characters that no header may have"))?;
        value.set_sensitive(true);
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self.hiding(secret))
    }

    /// With one more secret that is never shown.
    #[must_use]
    pub fn hiding(mut self, secret: &Secret) -> Self {
        self.secrets.push(secret.clone());
        self
    }
}

/// An address with more at its end, with one slash between.
#[must_use]
pub fn join(base: &str, path: &str) -> String {
    format!("{}/{path}", base.trim_end_matches('/'))
}

/// A piece of a path, with everything encoded that could end it.
#[must_use]
pub fn piece(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}
