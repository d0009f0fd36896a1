//! Who the client is and whom it believes. The fields are those of `<http_config>` in Prometheus'
//! and Alertmanager's files, and are read from them as they are.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use http::HeaderName;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};

use crate::{Error, Guard, Secret};

/// Everything about a client but whom it asks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientConfig {
    /// Name and password in each request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// Any other kind of `Authorization`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// The older spelling of `authorization` with type `Bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<Secret>,
    /// Likewise, from a file that is read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<PathBuf>,
    /// Certificates.
    #[serde(skip_serializing_if = "TlsConfig::is_default")]
    pub tls_config: TlsConfig,
    /// Whether an answer that leads on is followed, ten times at most. What is secret in a request
    /// goes to the first host alone.
    pub follow_redirects: bool,
    /// Kept as it is: everything is asked by HTTP/1.1.
    pub enable_http2: bool,
    /// An HTTP proxy, `http://[name:password@]host:port`; `https` goes through it by `CONNECT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_url: Option<Secret>,
    /// Hosts that are asked without the proxy: names, `.domain` endings and `*`, comma-separated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_proxy: Option<String>,
    /// Further headers of each request.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub http_headers: BTreeMap<String, HeaderValues>,
    /// Everything is asked over this socket, whatever host the address names.
    #[serde(skip)]
    pub unix_socket: Option<PathBuf>,
    /// Which addresses may be connected to; all where there is none.
    #[serde(skip)]
    pub guard: Option<Guard>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            basic_auth: None,
            authorization: None,
            bearer_token: None,
            bearer_token_file: None,
            tls_config: TlsConfig::default(),
            follow_redirects: true,
            enable_http2: true,
            proxy_url: None,
            no_proxy: None,
            http_headers: BTreeMap::new(),
            unix_socket: None,
            guard: None,
        }
    }
}

/// `basic_auth`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BasicAuth {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

/// `authorization`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authorization {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
}

impl Default for Authorization {
    fn default() -> Self {
        Self {
            kind: "Bearer".to_owned(),
            credentials: None,
            credentials_file: None,
        }
    }
}

/// `tls_config`. Certificates and keys are PEM, in the file or in place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The name that the certificate must have, in place of the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Anybody is believed.
    pub insecure_skip_verify: bool,
    /// This one certificate (DER) is believed and no other, whatever names it has.
    #[serde(skip)]
    pub only: Option<Vec<u8>>,
    /// `TLS12` or `TLS13`; older versions are not spoken, and `TLS10` and `TLS11` mean `TLS12`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_version: Option<String>,
}

impl TlsConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The versions that are spoken: 2 is TLS 1.2.
    ///
    /// # Errors
    /// One is none, or none is left.
    pub(crate) fn minor_versions(&self) -> Result<RangeInclusive<u8>, Error> {
        let number = |name: &Option<String>, otherwise: u8| match name.as_deref() {
            None => Ok(otherwise),
            Some("TLS10" | "TLS11" | "TLS12") => Ok(2),
            Some("TLS13") => Ok(3),
            Some(other) => Err(Error::Config(format!(
                "tls_config: {other:?} is no version of TLS; TLS12 and TLS13 are"
            ))),
        };
        let (min, max) = (number(&self.min_version, 2)?, number(&self.max_version, 3)?);
        match min <= max {
            true => Ok(min..=max),
            false => Err(Error::Config(
                "tls_config: min_version is above max_version".to_owned(),
            )),
        }
    }

    /// The name that the certificate must have, where one is given.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn expected_name(&self) -> Result<Option<ServerName<'static>>, Error> {
        // As Go takes it: an empty one is none.
        let name = self.server_name.as_ref().filter(|name| !name.is_empty());
        name.map(|name| {
            ServerName::try_from(name.clone()).map_err(|_error| {
                Error::Config(format!("tls_config: {name:?} is no name of a server"))
            })
        })
        .transpose()
    }
}

/// The values of one header of `http_headers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderValues {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PathBuf>,
}

impl ClientConfig {
    /// Makes paths that are relative ones below `folder`, that of the configuration's file.
    pub fn resolve(&mut self, folder: &Path) {
        let mut paths: Vec<&mut PathBuf> = Vec::new();
        if let Some(auth) = &mut self.basic_auth {
            paths.extend(&mut auth.username_file);
            paths.extend(&mut auth.password_file);
        }
        if let Some(authorization) = &mut self.authorization {
            paths.extend(&mut authorization.credentials_file);
        }
        paths.extend(&mut self.bearer_token_file);
        paths.extend(&mut self.tls_config.ca_file);
        paths.extend(&mut self.tls_config.cert_file);
        paths.extend(&mut self.tls_config.key_file);
        for header in self.http_headers.values_mut() {
            paths.extend(&mut header.files);
        }
        for path in paths {
            // `join` leaves an absolute path as it is
            *path = folder.join(&*path);
        }
    }

    /// What contradicts itself, or cannot be whatever files there are.
    ///
    /// # Errors
    /// Two ways to say who the client is, or half of one; a version of TLS, a server's name, a
    /// header or a proxy's address that is none.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |text: &str| Err(Error::Config(text.to_owned()));
        let ways = [
            self.basic_auth.is_some(),
            self.authorization.is_some(),
            self.bearer_token.is_some(),
            self.bearer_token_file.is_some(),
        ];
        if ways.iter().filter(|way| **way).count() > 1 {
            return wrong(
                "at most one of basic_auth, authorization, bearer_token and bearer_token_file may be given",
            );
        }
        if let Some(auth) = &self.basic_auth {
            if !auth.username.is_empty() && auth.username_file.is_some() {
                return wrong("at most one of username and username_file may be given");
            }
            if auth.password.is_some() && auth.password_file.is_some() {
                return wrong("at most one of password and password_file may be given");
            }
        }
        if let Some(authorization) = &self.authorization {
            if authorization.credentials.is_some() && authorization.credentials_file.is_some() {
                return wrong("at most one of credentials and credentials_file may be given");
            }
            if authorization.kind.trim().eq_ignore_ascii_case("basic") {
                return wrong("authorization cannot be of type \"basic\", use basic_auth for it");
            }
        }
        let tls = &self.tls_config;
        let pairs = [
            (tls.ca.is_some(), tls.ca_file.is_some(), "ca"),
            (tls.cert.is_some(), tls.cert_file.is_some(), "cert"),
            (tls.key.is_some(), tls.key_file.is_some(), "key"),
        ];
        if let Some((.., name)) = pairs.iter().find(|(a, b, _)| *a && *b) {
            return Err(Error::Config(format!(
                "tls_config: at most one of {name} and {name}_file may be given"
            )));
        }
        let [_, cert, key] = pairs.map(|(a, b, _)| a || b);
        if cert != key {
            return wrong("tls_config: a certificate needs its key, and a key its certificate");
        }
        tls.minor_versions()?;
        tls.expected_name()?;
        for name in self.http_headers.keys() {
            name.parse::<HeaderName>()
                .map_err(|_error| Error::Config(format!("http_headers: {name:?} is no header")))?;
        }
        let proxy = self.proxy_url.as_ref().map(Secret::reveal);
        if let Some(proxy) = proxy.filter(|proxy| !proxy.is_empty()) {
            url::Url::parse(proxy).map_err(|error| Error::Config(format!("proxy_url: {error}")))?;
        }
        Ok(())
    }
}
