//! The server that is asked, and as whom.

use std::{fs, time::Duration};

use pulseboard::{
    access::link,
    base::{
        clock::Clock,
        data_dir::{self, Served},
    },
    settings::{Connection, DataDir, Settings},
};
use pulseboard_outbound::{
    Answer, Client, ClientConfig, HeaderMap, HeaderName, HeaderValue, Reader, check_address,
    header, secret::hide_password,
};
use tokio::time::Instant;

/// An answer to a small question.
const ANSWER_BYTES: usize = 1 << 20;

/// A server that is silent for so long is given up; a copy of much takes minutes.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// A server that takes longer to say whether it is ready is not.
const READY_PATIENCE: Duration = Duration::from_secs(3);

/// Who is asked.
pub(super) struct Asked {
    client: Client,
    url: String,
    headers: HeaderMap,
}

impl Asked {
    /// The server that is named, or the one that runs on `DATA_DIR`.
    pub(super) fn new(settings: &Settings, connection: &Connection) -> Result<Self, String> {
        let mut config = ClientConfig::default();
        config.tls_config.ca_file.clone_from(&connection.ca_file);
        let url = match &connection.url {
            Some(url) => {
                check_address(url).map_err(|error| {
                    format!("--url: {error}; it takes the server's address, such as http://127.0.0.1:3000")
                })?;
                url.trim_end_matches('/').to_owned()
            }
            None => {
                let folder = match &settings.data_dir {
                    DataDir::Path(folder) => Some(folder),
                    DataDir::Memory => None,
                };
                let said = folder.and_then(|folder| data_dir::said_address(folder));
                let served = said.unwrap_or_else(|| Served {
                    address: settings.bind_addr,
                    tls: settings.tls_cert.is_some(),
                });
                // It is asked by an address, for which its certificate need not be; which one it is
                // stands in a folder that is its owner's alone.
                if connection.ca_file.is_none() && served.tls {
                    let shown = folder.and_then(|folder| data_dir::said_certificate(folder));
                    config.tls_config.only = shown;
                }
                format!("{}://{}", served.scheme(), served.address)
            }
        };
        let client = Client::new(&config).map_err(|error| error.to_string())?;
        let mut headers = HeaderMap::new();
        let token = match (&connection.token, &connection.token_file) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(file)) => {
                let text = fs::read_to_string(file);
                let text =
                    text.map_err(|error| format!("--token-file {}: {error}", file.display()));
                Some(text?.trim().to_owned())
            }
            (None, None) => None,
        };
        if let Some(token) = token {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value = value.map_err(|_error| "the token cannot be sent".to_owned())?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        if let Some(tenant) = &connection.tenant {
            let value = HeaderValue::from_str(tenant)
                .map_err(|_error| format!("{tenant:?} is no name of a tenant"))?;
            headers.insert(HeaderName::from_static("x-tenant-id"), value);
        }
        Ok(Self {
            client,
            url,
            headers,
        })
    }

    /// Becomes admin by a link that is left in the server's folder, unless there is a token.
    pub(super) async fn become_admin(&mut self, settings: &Settings) -> Result<(), String> {
        if self.headers.contains_key(header::AUTHORIZATION) {
            return Ok(());
        }
        let DataDir::Path(folder) = &settings.data_dir else {
            return Err("DATA_DIR=memory: nothing is kept there".to_owned());
        };
        let secret = link::leave(folder, Clock::system().now_ms()).map_err(|error| {
            format!(
                "DATA_DIR={}: {error}; run this as the server's user, or give a token of an admin",
                folder.display()
            )
        })?;
        let body = format!("{{\"admin_link\":\"{secret}\"}}");
        let answer = self
            .post("/api/login", "application/json", body.into())
            .await?;
        let cookies = answer.headers.get_all(header::SET_COOKIE).iter();
        let cookie = cookies
            .filter_map(|cookie| cookie.to_str().ok()?.split(';').next())
            .next()
            .and_then(|cookie| HeaderValue::from_str(cookie).ok())
            .ok_or("the server opens no session")?;
        self.headers.insert(header::COOKIE, cookie);
        Ok(())
    }

    /// Posts a body; an answer that is not 2xx is an error in its words.
    pub(super) async fn post(
        &self,
        path: &str,
        content_type: &'static str,
        body: bytes::Bytes,
    ) -> Result<Answer, String> {
        let answer = self.try_post(path, content_type, body).await?;
        if answer.is_success() {
            Ok(answer)
        } else {
            Err(format!(
                "{}{path}: {}",
                hide_password(&self.url),
                told(&answer)
            ))
        }
    }

    /// Posts a body; whatever the answer is.
    pub(super) async fn try_post(
        &self,
        path: &str,
        content_type: &'static str,
        body: bytes::Bytes,
    ) -> Result<Answer, String> {
        let mut headers = self.headers.clone();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        let url = format!("{}{path}", self.url);
        let deadline = Instant::now() + PATIENCE;
        let answer = self
            .client
            .post(&url, &headers, body, deadline, ANSWER_BYTES);
        answer.await.map_err(|error| error.to_string())
    }

    /// Whether the server is ready; why not, where it is not.
    pub(super) async fn is_ready(&self) -> Result<(), String> {
        let url = format!("{}/readyz", self.url);
        let deadline = Instant::now() + READY_PATIENCE;
        let answer = self.client.get(&url, &self.headers, deadline, ANSWER_BYTES);
        let answer = answer.await.map_err(|error| error.to_string())?;
        match answer.is_success() {
            true => Ok(()),
            false => Err(format!("{}: {}", hide_password(&url), told(&answer))),
        }
    }

    /// Asks for what is read as it comes.
    pub(super) async fn open(&self, path: &str) -> Result<Reader, String> {
        let url = format!("{}{path}", self.url);
        let deadline = Instant::now() + PATIENCE;
        let reader = self.client.open(&url, &self.headers, deadline).await;
        reader.map_err(|error| error.to_string())
    }
}

/// What an answer says, in words.
pub(super) fn told(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let said = serde_json::from_str::<serde_json::Value>(&text).ok();
    let said = said.as_ref().and_then(|said| {
        let detail = said.get("detail").or_else(|| said.get("error"))?;
        detail.as_str()
    });
    let said: String = said.unwrap_or(&text).chars().take(500).collect();
    format!("{} {}", answer.status, said.trim())
}
