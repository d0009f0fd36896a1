//! What a request shows to be known: tokens in headers and where agents put them, tickets, cookies.
//! Nothing here is logged.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use salvo::{
    Request,
    http::{HeaderMap, Method, header},
};

use super::routes::{self, Kind};
use crate::{
    access::{COOKIES_MAX, secret::Digest},
    base::error::AppError,
    http::{origin::Verdict, via::Via},
};

/// The cookie of a session.
const COOKIE: &str = "pulseboard_session";
/// The same where the client spoke TLS: browsers take a cookie of this prefix only from the very
/// host, over TLS and for all paths (RFC 6265bis §4.1.3.2), so no neighbour can plant one.
const SECURE_COOKIE: &str = "__Host-pulseboard_session";

/// The name of a session's cookie for a client that came this way.
#[must_use]
pub const fn cookie_name(https: bool) -> &'static str {
    if https { SECURE_COOKIE } else { COOKIE }
}

/// What may be a token, in the order in which it is tried; `None` where nothing was shown.
///
/// # Errors
/// Something was shown that can be none; the words say what is taken.
pub(crate) fn tokens(request: &Request) -> Result<Option<Vec<Cow<'_, str>>>, &'static str> {
    let headers = request.headers();
    if let Some(tokens) = authorization(headers)? {
        return Ok(Some(tokens));
    }
    let path = request.uri().path();
    if path.starts_with("/datadog/") {
        let header = headers.get("dd-api-key").and_then(|key| key.to_str().ok());
        let key = header.or_else(|| request.query::<&str>("api_key"));
        return Ok(key.map(|key| vec![Cow::Owned(key.to_owned())]));
    }
    // As clients of Influx 1 do it. Elsewhere a token in a URL would be in logs along the way for
    // no need.
    if matches!(path, "/write" | "/query" | "/ping") {
        let password = request.query::<String>("p");
        let password = password.filter(|password| !password.is_empty());
        return Ok(password.map(|password| vec![Cow::Owned(password)]));
    }
    Ok(None)
}

/// What the one `Authorization` may mean; `None` where there is none.
///
/// # Errors
/// As [`tokens`].
pub(crate) fn authorization(
    headers: &HeaderMap,
) -> Result<Option<Vec<Cow<'_, str>>>, &'static str> {
    const FORMS: &str = "the Authorization header is not of the form \"Bearer TOKEN\", \"Token TOKEN\", \"Token NAME:TOKEN\", or Basic with the token as password";
    let mut shown = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = shown.next() else {
        return Ok(None);
    };
    if shown.next().is_some() {
        return Err("there are several Authorization headers");
    }
    let tokens = value.to_str().ok().and_then(of_header);
    tokens.map(Some).ok_or(FORMS)
}

/// The tokens that a value of `Authorization` may mean: `Bearer TOKEN` (RFC 6750), `Token TOKEN` as
/// clients of Influx 2 send it, `Token NAME:TOKEN` as those of Influx 1 do, or `Basic` (RFC 7617)
/// with any name and the token as password, as whatever knows nothing else does.
fn of_header(value: &str) -> Option<Vec<Cow<'_, str>>> {
    let (scheme, shown) = value.split_once(' ')?;
    let shown = shown.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(vec![Cow::Borrowed(shown)]);
    }
    if scheme.eq_ignore_ascii_case("token") {
        let behind_name = shown.split_once(':').map(|(_, token)| Cow::Borrowed(token));
        return Some(
            [Some(Cow::Borrowed(shown)), behind_name]
                .into_iter()
                .flatten()
                .collect(),
        );
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64_STANDARD.decode(shown).ok()?).ok()?;
    let (_name, password) = pair.split_once(':')?;
    Some(vec![Cow::Owned(password.to_owned())])
}

/// Whether a request opens a stream.
#[must_use]
pub fn opens_stream(request: &Request) -> bool {
    *request.method() == Method::GET
        && match routes::kind(request.uri().path()) {
            // Without an upgrade it is a question how to open one.
            Some(Kind::Socket) => request.headers().contains_key(header::UPGRADE),
            Some(Kind::Events) => true,
            Some(Kind::Answer) | None => false,
        }
}

/// The ticket of a request that opens a stream. Elsewhere the parameter means nothing, so that a
/// link with a ticket in it opens no page and uses nothing up.
pub(crate) fn ticket(request: &Request) -> Option<String> {
    if opens_stream(request) {
        request.query::<String>("ticket")
    } else {
        None
    }
}

/// The values of our cookie. There can be several: a server on a neighbouring name, or under
/// another path of this host, can set one that is sent here, too.
pub(crate) fn session_cookies(request: &Request) -> impl Iterator<Item = &str> {
    let https = request
        .extensions()
        .get::<Via>()
        .is_some_and(|via| via.https);
    cookies(request.headers(), cookie_name(https))
}

/// Digests of the values of our cookie, of as many as are looked at.
#[must_use]
pub(crate) fn session_digests(request: &Request) -> Vec<Digest> {
    let shown = session_cookies(request).take(COOKIES_MAX);
    shown.map(Digest::of).collect()
}

fn cookies<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(move |(known, _)| *known == name)
        .map(|(_, value)| value)
}

/// A browser sends cookies along with whatever makes it send a request, so a request that changes
/// something must show that a page of ours or an allowed one made it: by its `Origin`, or by a
/// content type that other pages cannot send unasked (OWASP ASVS 3.5.2).
pub(crate) fn refuse_forgery(request: &Request, verdict: &Verdict) -> Result<(), AppError> {
    let reads = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    let headers = request.headers();
    let from_known_page = headers.contains_key(header::ORIGIN) && *verdict != Verdict::Foreign;
    if reads || from_known_page || has_json(headers) {
        return Ok(());
    }
    Err(AppError::forbidden(
        "with a session cookie, a request that changes something needs \"Content-Type: application/json\" or an allowed Origin",
    ))
}

fn has_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use salvo::http::HeaderValue;

    use super::*;

    #[test]
    fn cookies_are_found_among_others() {
        let mut headers = HeaderMap::new();
        for value in [
            "a=b; pulseboard_session=one",
            "pulseboard_session=two;xpulseboard_session=three; __Host-pulseboard_session=four",
            "pulseboard_session",
        ] {
            headers.append(header::COOKIE, HeaderValue::from_static(value));
        }
        let found = |https| cookies(&headers, cookie_name(https)).collect::<Vec<_>>();
        assert_eq!(found(false), ["one", "two"]);
        assert_eq!(found(true), ["four"]);
    }

    #[test]
    fn only_json_itself_is_json() {
        let has = |value| {
            has_json(&HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                HeaderValue::from_static(value),
            )]))
        };
        assert!(has("application/json") && has("Application/JSON; charset=utf-8"));
        for other in [
            "text/plain",
            "text/plain; application/json",
            "application/jsonx",
            "",
        ] {
            assert!(!has(other), "{other:?}");
        }
    }

    #[test]
    fn tokens_are_shown_in_four_ways() {
        for value in [
            "Bearer  abc ",
            "bearer abc",
            "Token abc",
            "Basic bmFtZTphYmM=",
        ] {
            assert_eq!(of_header(value), Some(vec!["abc".into()]), "{value:?}");
        }
        // A token may have a colon in it, and so may a password.
        assert_eq!(
            of_header("Token name:a:b"),
            Some(vec!["name:a:b".into(), "a:b".into()])
        );
        assert_eq!(of_header("Basic bjphOmI="), Some(vec!["a:b".into()]));
        assert_eq!(of_header("Bearer name:abc"), Some(vec!["name:abc".into()]));
        for other in [
            "abc",
            "Basic abc",
            "Basic bmFtZQ==",
            "Bearer",
            "Digest abc",
            "",
        ] {
            assert_eq!(of_header(other), None, "{other:?}");
        }
    }
}
