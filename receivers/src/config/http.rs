//! `http_config`: who asks and whom it believes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use pulseboard_outbound::{
    ClientConfig, Secret,
    config::{Authorization, BasicAuth, HeaderValues, TlsConfig},
};
use serde::{Deserialize, Serialize};

/// The fields of `<http_config>`. `follow_redirects` is read and never done: no receiver's answer
/// leads on. `oauth2`, `proxy_from_environment` and `proxy_connect_header` are read and told as
/// what is not there ([`HttpConfig::missing`]).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    #[serde(skip_serializing)]
    pub oauth2: Option<yaml_serde::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<TlsConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follow_redirects: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_http2: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_url: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_proxy: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub proxy_from_environment: bool,
    #[serde(skip_serializing)]
    pub proxy_connect_header: Option<yaml_serde::Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub http_headers: BTreeMap<String, HeaderValues>,
}

impl HttpConfig {
    /// What the HTTP client is told. It follows nowhere.
    #[must_use]
    pub fn client(&self) -> ClientConfig {
        ClientConfig {
            basic_auth: self.basic_auth.clone(),
            authorization: self.authorization.clone(),
            bearer_token: self.bearer_token.clone(),
            bearer_token_file: self.bearer_token_file.clone(),
            tls_config: self.tls_config.clone().unwrap_or_default(),
            follow_redirects: false,
            enable_http2: false,
            proxy_url: self.proxy_url.clone(),
            no_proxy: self.no_proxy.clone(),
            http_headers: self.http_headers.clone(),
            ..ClientConfig::default()
        }
    }

    /// Makes relative paths ones below `folder`.
    pub fn resolve(&mut self, folder: &Path) {
        let mut client = self.client();
        client.resolve(folder);
        self.basic_auth = client.basic_auth;
        self.authorization = client.authorization;
        self.bearer_token_file = client.bearer_token_file;
        self.tls_config = self.tls_config.take().map(|_| client.tls_config);
        self.http_headers = client.http_headers;
    }

    /// What contradicts itself.
    ///
    /// # Errors
    /// As [`ClientConfig::check`], as text.
    pub fn check(&self) -> Result<(), String> {
        self.client()
            .check()
            .map_err(|error| format!("http_config: {error}"))
    }

    /// Fields that ask for what is not there.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        [
            (self.oauth2.is_some(), "oauth2"),
            (self.proxy_from_environment, "proxy_from_environment"),
            (self.proxy_connect_header.is_some(), "proxy_connect_header"),
        ]
        .into_iter()
        .filter_map(|(is_there, name)| is_there.then_some(name))
        .collect()
    }
}

/// Makes relative paths of certificates ones below `folder`.
pub(super) fn resolve_tls(tls: &mut Option<TlsConfig>, folder: &Path) {
    if let Some(tls) = tls {
        super::fields::below(folder, &mut tls.ca_file);
        super::fields::below(folder, &mut tls.cert_file);
        super::fields::below(folder, &mut tls.key_file);
    }
}
