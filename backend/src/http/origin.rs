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
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return Verdict::Same;
    };
    // No browser sends two, and nobody can say which of them counts.
    if origins.next().is_some() {
        return Verdict::Foreign;
    }
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
                    own_scheme == scheme
                        && own_host.eq_ignore_ascii_case(without_own_port(scheme, host))
                })
        }
        _ => false,
    }
}

/// `Host` without the port that its scheme has anyway: browsers leave it out of origins, and some
/// proxies write it here.
fn without_own_port<'a>(scheme: &str, host: &'a str) -> &'a str {
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return host,
    };
    host.strip_suffix(port).unwrap_or(host)
}

/// How the client reached this server, or the proxy before it: `https` or `http`. As proxies say
/// it in `X-Forwarded-Proto`, or in `Forwarded` (RFC 7239 §5.4).
#[must_use]
pub fn scheme(headers: &HeaderMap) -> &str {
    // Several proxies in a row each add theirs; the first is the one the client saw.
    let first = |name: &str| headers.get(name)?.to_str().ok()?.split(',').next();
    first("x-forwarded-proto")
        .or_else(|| {
            first("forwarded")?.split(';').find_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                name.trim()
                    .eq_ignore_ascii_case("proto")
                    .then(|| value.trim().trim_matches('"'))
            })
        })
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
        for (forwarded, host) in [
            (
                "for=192.0.2.1;proto=https, for=10.0.0.1;proto=http",
                "m.test",
            ),
            ("Proto=\"https\";for=\"[2001:db8::1]\"", "m.test:443"),
        ] {
            let own = headers(&[
                ("host", host),
                ("origin", "https://m.test"),
                ("forwarded", forwarded),
            ]);
            assert_eq!(judge(&own, &Origins::SameOrigin), Verdict::Same, "{host}");
        }
    }

    #[test]
    fn the_port_that_a_scheme_has_anyway_makes_no_other_origin() {
        let judged = |host, origin| {
            judge(
                &headers(&[("host", host), ("origin", origin)]),
                &Origins::SameOrigin,
            )
        };
        assert_eq!(judged("m.test:80", "http://m.test"), Verdict::Same);
        for (host, origin) in [
            ("m.test:443", "http://m.test"),
            ("m.test:8080", "http://m.test"),
            ("m.test", "http://m.test:8080"),
        ] {
            assert_eq!(judged(host, origin), Verdict::Foreign, "{host} {origin}");
        }
    }
}
