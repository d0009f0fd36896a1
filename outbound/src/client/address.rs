//! Addresses: which can be asked, where they lead, what of them is shown.

use http::{HeaderValue, Method, Uri, header};
use url::Url;

use super::identity;
use crate::{Error, dial::Proxy, error::innermost, secret::hide_password};

pub(super) fn read_url(text: &str) -> Result<Url, Error> {
    let wrong = |why: String| Error::Url {
        url: hide_password(text).into_owned(),
        why,
    };
    let url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        other => Err(wrong(format!("it is {other}, and not http or https"))),
    }
}

/// Whether an address can be asked, as a person means it: one of http or https that names its host.
///
/// # Errors
/// It is none; told without its password.
pub fn check_address(text: &str) -> Result<(), Error> {
    read_url(text)?;
    // The rules for browsers take the first word of `http:///a` and of `http:a` for a host.
    let after = text.split_once("://").map_or("", |(_, after)| after);
    match after.starts_with(|first: char| !matches!(first, '/' | '\\')) {
        true => Ok(()),
        false => Err(Error::Url {
            url: hide_password(text).into_owned(),
            why: "it names no host".to_owned(),
        }),
    }
}

/// Where an answer leads on to.
pub(super) fn leads_to<B>(method: &Method, at: &Url, answer: &http::Response<B>) -> Option<Url> {
    let follow = match answer.status().as_u16() {
        307 | 308 => true,
        301..=303 => method == Method::GET,
        _ => false,
    };
    let location = answer.headers().get(header::LOCATION)?.to_str().ok()?;
    let next = at.join(location).ok()?;
    (follow && matches!(next.scheme(), "http" | "https")).then_some(next)
}

/// Whether both are the same host, port and scheme: who may see a secret.
pub(super) fn same_host(a: &Url, b: &Url) -> bool {
    a.origin() == b.origin()
}

/// An address for people: without name, password and question.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // an address that cannot have them has none
    url.set_username("").unwrap_or_default();
    url.set_password(None).unwrap_or_default();
    url.set_query(None);
    url.to_string()
}

pub(super) fn without_user(uri: Uri) -> Uri {
    let Some(authority) = uri.authority() else {
        return uri;
    };
    let Some((_, host)) = authority.as_str().rsplit_once('@') else {
        return uri;
    };
    let Ok(authority) = host.parse() else {
        return uri;
    };
    let mut parts = uri.clone().into_parts();
    parts.authority = Some(authority);
    Uri::from_parts(parts).unwrap_or(uri)
}

/// `name:password@` of an address as a header.
pub(super) fn credentials(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let plain = |text: &str| {
        let text = format!("x={text}").replace('+', "%2B");
        let mut pairs = url::form_urlencoded::parse(text.as_bytes());
        pairs.next().map(|(_, value)| value.into_owned())
    };
    let name = plain(url.username())?;
    let password = plain(url.password().unwrap_or_default())?;
    identity::basic(&name, &password)
}

pub(super) fn proxy(text: &str, without: &str) -> Result<Proxy, Error> {
    let wrong = |why: &str| Error::Config(format!("proxy_url: {why}"));
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if url.scheme() != "http" {
        return Err(wrong("only proxies at http:// are used"));
    }
    let at: Uri = url
        .as_str()
        .parse()
        .map_err(|error| wrong(&innermost(&error)))?;
    Ok(Proxy {
        authorization: credentials(&url),
        at: without_user(at),
        without: without
            .split(',')
            .map(|rule| rule.trim().to_owned())
            .filter(|rule| !rule.is_empty())
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_its_host() {
        for address in [
            "http://host",
            "HTTPS://me:secret@host:3000/a?b",
            "http://[::1]:1",
        ] {
            check_address(address).expect(address);
        }
        for (address, why) in [
            ("host", "relative URL without a base"),
            ("host:3000", "it is host, and not http or https"),
            ("ftp://host", "it is ftp, and not http or https"),
            ("http://", "empty host"),
            ("http:///a", "it names no host"),
            ("http:a", "it names no host"),
        ] {
            let error = check_address(address).expect_err(address).to_string();
            assert_eq!(error, format!("{address:?} cannot be asked: {why}"));
        }
    }

    #[test]
    fn an_address_that_cannot_be_asked_is_told_without_its_password() {
        for address in ["ftp://me:hunter2@host", "http://me:hunter2@ho st/"] {
            let error = read_url(address).expect_err("it cannot be asked");
            let told = error.to_string();
            assert!(
                !told.contains("hunter2") && told.contains("me:xxxxx@"),
                "{told}"
            );
        }
    }
}
