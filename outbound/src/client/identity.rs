//! Who the client says it is, in the headers of each request.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    Error, Secret,
    config::{Authorization, ClientConfig},
    secret::SecretFile,
};

/// A secret in the configuration or in a file.
#[derive(Debug)]
enum Source {
    Text(Secret),
    File(SecretFile),
}

impl Source {
    fn of(text: Option<&Secret>, file: Option<&std::path::PathBuf>) -> Self {
        match file {
            Some(path) => Self::File(SecretFile::new(path.clone())),
            None => Self::Text(text.cloned().unwrap_or_default()),
        }
    }

    fn get(&self) -> Result<Secret, Error> {
        match self {
            Self::Text(secret) => Ok(secret.clone()),
            Self::File(file) => file.get(),
        }
    }
}

#[derive(Debug)]
enum Authority {
    Nobody,
    Basic { name: Source, password: Source },
    Other { kind: String, credentials: Source },
}

/// What goes into each request to the host that was asked first.
#[derive(Debug)]
pub(super) struct Identity {
    authority: Authority,
    headers: Vec<(HeaderName, Source)>,
}

impl Identity {
    pub(super) fn new(config: &ClientConfig) -> Result<Self, Error> {
        let bearer = || Authorization {
            credentials: config.bearer_token.clone(),
            credentials_file: config.bearer_token_file.clone(),
            ..Authorization::default()
        };
        let old = config.bearer_token.is_some() || config.bearer_token_file.is_some();
        let authority = if let Some(auth) = &config.basic_auth {
            let name = Secret::new(auth.username.clone());
            Authority::Basic {
                name: Source::of(Some(&name), auth.username_file.as_ref()),
                password: Source::of(auth.password.as_ref(), auth.password_file.as_ref()),
            }
        } else if let Some(other) = config.authorization.clone().or_else(|| old.then(bearer)) {
            Authority::Other {
                credentials: Source::of(
                    other.credentials.as_ref(),
                    other.credentials_file.as_ref(),
                ),
                kind: other.kind,
            }
        } else {
            Authority::Nobody
        };
        let mut headers = Vec::new();
        for (name, values) in &config.http_headers {
            let header: HeaderName = name
                .parse()
                .map_err(|_error| Error::Config(format!("http_headers: {name:?} is no header")))?;
            let texts = values.values.iter().map(|text| Secret::new(text.clone()));
            let texts = texts.chain(values.secrets.iter().cloned());
            headers.extend(texts.map(|text| (header.clone(), Source::Text(text))));
            let files = values.files.iter();
            headers.extend(files.map(|path| (header.clone(), Source::of(None, Some(path)))));
        }
        Ok(Self { authority, headers })
    }

    pub(super) fn add_to(&self, headers: &mut HeaderMap) -> Result<(), Error> {
        let authorization = match &self.authority {
            Authority::Nobody => None,
            Authority::Basic { name, password } => {
                Some(basic(name.get()?.reveal(), password.get()?.reveal()).ok_or("basic_auth"))
            }
            Authority::Other { kind, credentials } => {
                let text = format!("{} {}", kind.trim(), credentials.get()?.reveal());
                Some(sensitive(&text).ok_or("authorization"))
            }
        };
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.map_err(unsendable)?);
        }
        for (name, source) in &self.headers {
            let value = sensitive(source.get()?.reveal()).ok_or(name.as_str());
            headers.append(name.clone(), value.map_err(unsendable)?);
        }
        Ok(())
    }
}

fn unsendable(what: &str) -> Error {
    Error::Config(format!("{what}: it has characters that no header may have"))
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Name and password as RFC 7617 has them.
pub(super) fn basic(name: &str, password: &str) -> Option<HeaderValue> {
    sensitive(&format!(
        "Basic {}",
        BASE64.encode(format!("{name}:{password}"))
    ))
}
