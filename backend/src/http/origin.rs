//! Which pages may use this server from a browser: one rule for CORS, WebSockets and requests
//! that change something (WHATWG Fetch §3.3; OWASP ASVS 4.4.2).

use salvo::http::{HeaderMap, HeaderValue, header};

use crate::settings::Origins;

/// What a request's `Origin` header means here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No browser page, or a page of our own.
    Same,
    /// A foreign page that is allowed; what to answer in `Access-Control-Allow-Origin`, and
    /// whether cookies may come along.
    Allowed {
        answer: HeaderValue,
        credentials: bool,
    },
    /// A foreign page that is not.
    Foreign,
}

/// Judges a request by its headers. Origins are compared whole: scheme, host and port.
#[must_use]
pub fn judge(headers: &HeaderMap, allowed: &Origins) -> Verdict {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Verdict::Same;
    };
    if is_own(headers, origin) {
        return Verdict::Same;
    }
    match allowed {
        Origins::Any => Verdict::Allowed {
            answer: HeaderValue::from_static("*"),
            credentials: false,
        },
        Origins::List(list)
            if origin
                .to_str()
                .is_ok_and(|origin| list.iter().any(|known| known == origin)) =>
        {
            Verdict::Allowed {
                answer: origin.clone(),
                credentials: true,
            }
        }
        Origins::List(_) | Origins::SameOrigin => Verdict::Foreign,
    }
}

/// Whether the origin is the one that this request itself was sent to. TLS ends before us, so
/// the scheme is what the proxy says it was, else `http`.
fn is_own(headers: &HeaderMap, origin: &HeaderValue) -> bool {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let scheme = scheme(headers);
    match (origin.to_str(), text(header::HOST)) {
        (Ok(origin), Some(host)) => {
            origin
                .split_once("://")
                .is_some_and(|(own_scheme, own_host)| {
                    own_scheme == scheme && own_host.eq_ignore_ascii_case(host)
                })
        }
        _ => false,
    }
}

/// How the client reached this server, or the proxy before it: `https` or `http`.
#[must_use]
pub fn scheme(headers: &HeaderMap) -> &str {
    headers
        .get("x-forwarded-proto")
        .and_then(|value| value.to_str().ok())
        // Several proxies in a row each add theirs; the first is the one the client saw.
        .and_then(|value| value.split(',').next())
        .map_or("http", str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    header::HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn only_the_whole_origin_counts() {
        let list = Origins::List(vec!["https://app.example.org".into()]);
        let judged = |origin| {
            judge(
                &headers(&[("host", "127.0.0.1:3000"), ("origin", origin)]),
                &list,
            )
        };
        assert_eq!(judged("http://127.0.0.1:3000"), Verdict::Same);
        assert!(matches!(
            judged("https://app.example.org"),
            Verdict::Allowed {
                credentials: true,
                ..
            }
        ));
        for foreign in [
            "null",
            "",
            "http://127.0.0.1",
            "http://127.0.0.1:3001",
            "https://127.0.0.1:3000",
            "http://app.example.org",
            "https://app.example.org:444",
            "https://app.example.org.evil.test",
            "https://evil.test/https://app.example.org",
            "https://xapp.example.org",
        ] {
            assert_eq!(judged(foreign), Verdict::Foreign, "{foreign}");
        }
    }

    #[test]
    fn no_origin_is_no_browser_and_any_never_takes_cookies() {
        assert_eq!(
            judge(&headers(&[("host", "x")]), &Origins::SameOrigin),
            Verdict::Same
        );
        let any = judge(
            &headers(&[("host", "x"), ("origin", "https://a.test")]),
            &Origins::Any,
        );
        assert_eq!(
            any,
            Verdict::Allowed {
                answer: HeaderValue::from_static("*"),
                credentials: false
            }
        );
    }

    #[test]
    fn behind_a_proxy_that_ends_tls_the_scheme_is_the_proxys() {
        let own = headers(&[
            ("host", "m.test"),
            ("origin", "https://m.test"),
            ("x-forwarded-proto", "https"),
        ]);
        assert_eq!(judge(&own, &Origins::SameOrigin), Verdict::Same);
    }
}
