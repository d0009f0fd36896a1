//! `config.json` beside `index.html`: where the backend is. Read at the start, so that one built
//! page works from any host against any backend.

use super::json::{Json, quote};

/// The file as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Empty for the page's own origin, or an address such as `https://metrics.example.org`.
    pub backend: String,
    /// Whose figures are shown, unless the page's address says otherwise; empty for the
    /// server's choice.
    pub tenant: String,
}

/// Why `config.json` cannot be used; each says what is wrong and how to put it right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The text is not the JSON that is expected.
    Malformed(String),
    /// `backend` is no address.
    BadBackend {
        /// As written.
        backend: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl ConfigError {
    /// What is wrong, one line.
    #[must_use]
    pub fn what(&self) -> String {
        match self {
            Self::Malformed(error) => format!("config.json cannot be read: {error}"),
            Self::BadBackend { backend, why } => {
                format!("In config.json, \"backend\" is {}: {why}", quote(backend))
            }
        }
    }

    /// What is accepted.
    #[must_use]
    pub const fn fix(&self) -> &'static str {
        "Write { \"backend\": \"\" } for a server at this page's own address, else the server's \
         origin, such as { \"backend\": \"https://metrics.example.org\" }. The file lies beside \
         index.html; reload this page after correcting it."
    }
}

impl Config {
    /// Reads the file's text.
    ///
    /// # Errors
    /// [`ConfigError::Malformed`] for anything but an object with the known keys.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let text = text.trim_start_matches('\u{feff}').trim();
        Self::read(&Json::parse(text).unwrap_or_default())
    }

    /// Reads what was parsed as JSON already.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn read(json: &Json) -> Result<Self, ConfigError> {
        let malformed = |why: String| Err(ConfigError::Malformed(why));
        let Json::Object(entries) = json else {
            return malformed("a JSON object is expected".to_owned());
        };
        for (key, value) in entries {
            if !matches!(key.as_str(), "backend" | "tenant") {
                return malformed(format!("{} is not a setting", quote(key)));
            }
            if value.text().is_none() {
                return malformed(format!("{} is not a string", quote(key)));
            }
        }
        Ok(Self {
            backend: json.text_of("backend").to_owned(),
            tenant: json.text_of("tenant").to_owned(),
        })
    }
}

/// Where the backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Scheme, host, port and path, without a slash at the end.
    http: String,
    configured: bool,
    /// Whose figures are asked for, as it stands in a query; empty for the server's choice.
    tenant: String,
}

impl Endpoint {
    /// From the setting and the page's own origin.
    ///
    /// # Errors
    /// [`ConfigError::BadBackend`] for anything but an http or https address without query and
    /// fragment, or a path on the page's own origin.
    pub fn resolve(backend: &str, page_origin: &str) -> Result<Self, ConfigError> {
        let bad = |why| ConfigError::BadBackend {
            backend: backend.to_owned(),
            why,
        };
        let address = backend.trim().trim_end_matches('/');
        if address.is_empty() {
            return Ok(Self {
                http: page_origin.to_owned(),
                configured: false,
                tenant: String::new(),
            });
        }
        if address.contains(['?', '#']) {
            return Err(bad("an address without query and fragment is expected"));
        }
        if address.contains(char::is_whitespace) {
            return Err(bad("an address has no spaces"));
        }
        if address.starts_with("ws://") || address.starts_with("wss://") {
            return Err(bad(
                "http:// or https:// is expected; the WebSocket's address follows from it",
            ));
        }
        if address.starts_with('/') && !address.starts_with("//") {
            return Ok(Self {
                http: format!("{page_origin}{address}"),
                configured: true,
                tenant: String::new(),
            });
        }
        let host = address
            .strip_prefix("http://")
            .or_else(|| address.strip_prefix("https://"))
            .ok_or_else(|| bad("an address begins with http:// or https://"))?;
        let authority = host.split('/').next().unwrap_or_default();
        if authority.is_empty() {
            return Err(bad("the host is missing"));
        }
        if authority.contains('@') {
            return Err(bad("a user name or password does not belong here"));
        }
        Ok(Self {
            http: address.to_owned(),
            configured: true,
            tenant: String::new(),
        })
    }

    /// This server, asked for the figures of a tenant; of the server's choice when it is empty.
    #[must_use]
    pub fn of_tenant(mut self, tenant: &str) -> Self {
        self.tenant = encode_query(tenant);
        self
    }

    /// The address of `path`, which begins with a slash and may have a query.
    #[must_use]
    pub fn http(&self, path: &str) -> String {
        if self.tenant.is_empty() {
            return format!("{}{path}", self.http);
        }
        let mark = if path.contains('?') { '&' } else { '?' };
        format!("{}{path}{mark}tenant={}", self.http, self.tenant)
    }

    /// The WebSocket's address of `path`.
    #[must_use]
    pub fn ws(&self, path: &str) -> String {
        // "http" is the common beginning of both schemes: http -> ws, https -> wss.
        format!("ws{}", &self.http(path)["http".len()..])
    }

    /// As shown to people.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.http
    }

    /// Whether `config.json` names it, as opposed to the page's own origin.
    #[must_use]
    pub const fn configured(&self) -> bool {
        self.configured
    }

    /// Whether the page at `page_origin` came from another origin: cookies do not reach that far.
    #[must_use]
    pub fn is_foreign(&self, page_origin: &str) -> bool {
        !self
            .http
            .strip_prefix(page_origin)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// A browser would block requests to it from a page at `page_origin` as mixed content;
    /// loopback addresses are exempt.
    #[must_use]
    pub fn blocked_as_insecure(&self, page_origin: &str) -> bool {
        let Some(host) = self.http.strip_prefix("http://") else {
            return false;
        };
        let loopback = ["localhost", "127.", "[::1]"]
            .iter()
            .any(|name| host.starts_with(name));
        page_origin.starts_with("https://") && !loopback
    }
}

/// A query value, percent-encoded (RFC 3986 §2.3: all but the unreserved).
#[must_use]
pub fn encode_query(value: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            // Writing to a String cannot fail.
            _ => drop(write!(text, "%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "https://cdn.example.net";

    #[test]
    fn reads_the_file() {
        assert_eq!(
            Config::parse("\u{feff}{ \"backend\": \"https://a.example\" }"),
            Ok(Config {
                backend: "https://a.example".into(),
                tenant: String::new(),
            })
        );
        assert_eq!(Config::parse("{}"), Ok(Config::default()));
        for wrong in [
            "",
            "hello",
            "[]",
            r#"{"backend":1}"#,
            r#"{"backnd":"x"}"#,
            "<html>",
        ] {
            let error = Config::parse(wrong).expect_err(wrong);
            assert!(error.what().starts_with("config.json cannot be read"));
            assert!(error.fix().contains("backend"));
        }
    }

    #[test]
    fn finds_the_backend() {
        for (backend, http, ws) in [
            ("", "https://cdn.example.net/x", "wss://cdn.example.net/x"),
            (
                "http://127.0.0.1:3000",
                "http://127.0.0.1:3000/x",
                "ws://127.0.0.1:3000/x",
            ),
            (
                " https://a.example/pulse/ ",
                "https://a.example/pulse/x",
                "wss://a.example/pulse/x",
            ),
            (
                "/pulse",
                "https://cdn.example.net/pulse/x",
                "wss://cdn.example.net/pulse/x",
            ),
        ] {
            let endpoint = Endpoint::resolve(backend, PAGE).expect(backend);
            assert_eq!(
                (endpoint.http("/x").as_str(), endpoint.ws("/x").as_str()),
                (http, ws)
            );
        }
    }

    #[test]
    fn refuses_what_is_no_address() {
        for wrong in [
            "metrics.example.org",
            "wss://a.example",
            "https://",
            "https://a.example?x=1",
            "https://a b",
            "//a.example",
            "https://user:secret@a.example",
        ] {
            assert!(
                Endpoint::resolve(wrong, PAGE).is_err(),
                "{wrong:?} was taken"
            );
        }
    }

    #[test]
    fn knows_how_far_cookies_reach() {
        for (backend, foreign) in [
            ("", false),
            ("/pulse", false),
            ("https://cdn.example.net/pulse", false),
            ("https://cdn.example.net:8443", true),
            ("https://a.example", true),
            ("http://cdn.example.net", true),
        ] {
            let endpoint = Endpoint::resolve(backend, PAGE).expect(backend);
            assert_eq!(endpoint.is_foreign(PAGE), foreign, "{backend}");
        }
    }

    #[test]
    fn knows_what_browsers_block() {
        for (backend, page, blocked) in [
            ("http://a.example", PAGE, true),
            ("http://127.0.0.1:3000", PAGE, false),
            ("https://a.example", PAGE, false),
            ("http://a.example", "http://b.example", false),
        ] {
            let endpoint = Endpoint::resolve(backend, page).expect(backend);
            assert_eq!(endpoint.blocked_as_insecure(page), blocked, "{backend}");
        }
    }

    #[test]
    fn asks_for_one_tenant() {
        let endpoint = Endpoint::resolve("", PAGE).expect("the page's own");
        let endpoint = endpoint.of_tenant("a&b");
        assert_eq!(
            endpoint.http("/x"),
            "https://cdn.example.net/x?tenant=a%26b"
        );
        assert_eq!(
            endpoint.ws("/x?y=1"),
            "wss://cdn.example.net/x?y=1&tenant=a%26b"
        );
        assert_eq!(
            endpoint.clone().of_tenant("").http("/x"),
            "https://cdn.example.net/x"
        );
        let config = Config::parse(r#"{"tenant":"shop"}"#).map(|config| config.tenant);
        assert_eq!(config.as_deref(), Ok("shop"));
    }

    #[test]
    fn encodes_queries() {
        assert_eq!(encode_query("a-1_Z"), "a-1_Z");
        assert_eq!(encode_query("a b&c=ü"), "a%20b%26c%3D%C3%BC");
    }
}
