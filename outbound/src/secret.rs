//! Passwords and tokens: never printed, and read anew from their file when it changes.

use std::{
    borrow::Cow,
    fmt, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize, Serializer};

use crate::Error;

/// What is shown in place of a secret.
pub const HIDDEN: &str = "<secret>";
/// A file with a secret is a line; what is longer is something else.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// A text that is not for eyes: printed and serialised as `<secret>`.
#[derive(Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A secret of this text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the wire.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Serialises an address with `xxxxx` in place of its password, as Prometheus tells addresses.
///
/// # Errors
/// Those of the serializer.
pub fn without_password<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hide_password(url))
}

/// As [`without_password`] for several addresses.
///
/// # Errors
/// Those of the serializer.
pub fn without_passwords<S: Serializer>(urls: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(urls.iter().map(|url| hide_password(url)))
}

/// A text that may be an address, or have one in it, as it may be shown: as [`hide_password`] where
/// it says `://`, and else as it is.
#[must_use]
pub fn hide_in_text(text: &str) -> Cow<'_, str> {
    match text.contains("://") {
        true => hide_password(text),
        false => Cow::Borrowed(text),
    }
}

/// An address as it may be shown: `xxxxx` in place of the password in it, if there is one, and of
/// those of addresses that it asks about (`?target=http://…`).
#[must_use]
pub fn hide_password(url: &str) -> Cow<'_, str> {
    let hidden = hide_own_password(url);
    let Some((before, question)) = hidden.split_once('?') else {
        return hidden;
    };
    let parts = question.split('&').map(|part| {
        let mut pairs = url::form_urlencoded::parse(part.as_bytes());
        let (name, value) = pairs.next()?;
        let shown = hide_own_password(&value);
        let is_secret = value.contains("://") && *shown != *value;
        is_secret.then(|| {
            let mut pair = url::form_urlencoded::Serializer::new(String::new());
            pair.append_pair(&name, &shown);
            Cow::Owned(pair.finish())
        })
    });
    let parts: Vec<Option<Cow<'_, str>>> = parts.collect();
    if parts.iter().all(Option::is_none) {
        return hidden;
    }
    let told = question.split('&').zip(parts);
    let told: Vec<Cow<'_, str>> = told
        .map(|(part, shown)| shown.unwrap_or(Cow::Borrowed(part)))
        .collect();
    Cow::Owned(format!("{before}?{}", told.join("&")))
}

fn hide_own_password(url: &str) -> Cow<'_, str> {
    let start = url.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = url.split_at(start);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((who, host)) => match who.split_once(':') {
            Some((name, _)) => Cow::Owned(format!("{scheme}{name}:xxxxx@{host}{path}")),
            None => Cow::Borrowed(url),
        },
        None => Cow::Borrowed(url),
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

/// When a file was changed, and how long it is: another stamp is another content.
pub(crate) type Stamp = (Option<SystemTime>, u64);

/// The stamp of a file; of one that is not there that of an empty one.
pub(crate) fn stamp(path: &Path) -> Stamp {
    fs::metadata(path).map_or((None, 0), |data| (data.modified().ok(), data.len()))
}

/// Reads a file of at most 64 KiB.
///
/// # Errors
/// It cannot be read or is larger; the text names it.
pub(crate) fn read_small(path: &Path) -> Result<Vec<u8>, Error> {
    let told = |error: io::Error| Error::Config(format!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    fs::File::open(path)
        .map_err(told)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(told)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Error::Config(format!(
            "{}: larger than {MAX_FILE_BYTES} bytes",
            path.display()
        )));
    }
    Ok(bytes)
}

/// The secret that a file of at most 64 KiB holds, without the white space around it.
///
/// # Errors
/// The file cannot be read, is larger, or is no text; told with its name.
pub fn read_file(path: &Path) -> Result<Secret, Error> {
    let bytes = read_small(path)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| Error::Config(format!("{}: {error}", path.display())))?;
    Ok(Secret::new(text.trim()))
}

/// A secret that is the content of a file, without the white space around it.
#[derive(Debug)]
pub(crate) struct SecretFile {
    path: PathBuf,
    read: Mutex<Option<(Stamp, Secret)>>,
}

impl SecretFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            read: Mutex::new(None),
        }
    }

    /// What the file says now. It is looked at each time and read when it has changed.
    pub(crate) fn get(&self) -> Result<Secret, Error> {
        let now = stamp(&self.path);
        let mut read = self.read.lock();
        if let Some((then, secret)) = &*read
            && *then == now
        {
            return Ok(secret.clone());
        }
        let secret = read_file(&self.path)?;
        *read = Some((now, secret.clone()));
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_address_is_not_shown() {
        for (address, shown) in [
            ("http://host:1/a?b=c#d", "http://host:1/a?b=c#d"),
            ("http://me:hunter2@host/a@b:c", "http://me:xxxxx@host/a@b:c"),
            ("me:hunter2@host:9100", "me:xxxxx@host:9100"),
            ("http://:p@ss@[::1]:1", "http://:xxxxx@[::1]:1"),
            ("http://token@host/", "http://token@host/"),
            (
                "http://a:b@probe:1/?x=1&target=http%3A%2F%2Fme%3Ahunter2%40host%2F&module=a+b",
                "http://a:xxxxx@probe:1/?x=1&target=http%3A%2F%2Fme%3Axxxxx%40host%2F&module=a+b",
            ),
            ("http://h/?who=a:b@c&d", "http://h/?who=a:b@c&d"),
        ] {
            assert_eq!(hide_password(address), shown);
        }
        assert_eq!(hide_in_text("team:a@example.org"), "team:a@example.org");
        assert_eq!(hide_in_text("https://a:b@c"), "https://a:xxxxx@c");
    }
}
