//! Which pages may use this server from a browser: one rule for CORS, WebSockets and requests
//! that change something (WHATWG Fetch §3.3; OWASP ASVS 4.4.2).

use salvo::http::{HeaderMap, HeaderValue, header};

use super::via::Via;
use crate::{base::address::split_host, settings::Origins};

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
pub fn judge(headers: &HeaderMap, via: &Via, allowed: &Origins) -> Verdict {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return Verdict::Same;
    };
    // No browser sends two, and nobody can say which of them counts.
    if origins.next().is_some() {
        return Verdict::Foreign;
    }
    if is_own(headers, via, origin) {
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

/// Whether the origin is one that this request itself was sent to: by the scheme that the client
/// used, and by the name and port of `Host` or of what a trusted proxy says that the client asked
/// for. The scheme is what such a proxy says, else what was spoken with us.
fn is_own(headers: &HeaderMap, via: &Via, origin: &HeaderValue) -> bool {
    let Some((scheme, authority)) = origin.to_str().ok().and_then(|text| text.split_once("://"))
    else {
        return false;
    };
    let is = |name: &str, port: Option<u16>| {
        let own = if name.contains(':') {
            format!("[{name}]")
        } else {
            name.to_owned()
        };
        let own = match port {
            Some(port) if port != own_port(scheme) => format!("{own}:{port}"),
            _ => own,
        };
        authority.eq_ignore_ascii_case(&own)
    };
    if scheme != via.scheme() {
        return false;
    }
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    [host, via.host.as_deref()]
        .into_iter()
        .flatten()
        .filter_map(split_host)
        .any(|(name, port)| is(name, port) || via.port.is_some_and(|port| is(name, Some(port))))
}

/// The port that browsers leave out of an origin of this scheme.
fn own_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

/// Why a foreign page is refused, with what to set where it seems to be this server's own behind a
/// proxy that does not tell the whole of its address.
#[must_use]
pub fn refusal(headers: &HeaderMap, via: &Via) -> String {
    const REFUSED: &str =
        "pages of this origin may not use this server; ALLOWED_ORIGINS lists who may";
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let origin = text(header::ORIGIN).and_then(|origin| origin.split_once("://"));
    let (Some((scheme, authority)), Some(host)) = (origin, text(header::HOST)) else {
        return REFUSED.to_owned();
    };
    let (Some((name, port)), Some((own, _))) = (split_host(authority), split_host(host)) else {
        return REFUSED.to_owned();
    };
    if !via.trusted && !name.eq_ignore_ascii_case(own) {
        return REFUSED.to_owned();
    }
    let port = port.unwrap_or_else(|| own_port(scheme));
    let trust = if via.trusted {
        String::new()
    } else {
        format!(
            ", and TRUSTED_PROXIES has to name the proxy ({})",
            via.client
        )
    };
    format!(
        "{REFUSED}. If this is the server's own page behind a proxy, the proxy has to send \
         X-Forwarded-Host: {name}, X-Forwarded-Port: {port} and X-Forwarded-Proto: {scheme}{trust}"
    )
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    /// Behind a proxy that is trusted.
    fn judge(headers: &HeaderMap, allowed: &Origins) -> Verdict {
        let proxy = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let inner = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        let via = Via::of(proxy, false, headers, &[proxy.into(), inner.into()]);
        super::judge(headers, &via, allowed)
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: header::HeaderName = name.parse().expect("a name");
            headers.append(name, HeaderValue::try_from(*value).expect("a value"));
        }
        headers
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

    #[test]
    fn nobody_but_a_trusted_proxy_says_how_a_client_came() {
        let own = headers(&[
            ("host", "m.test"),
            ("origin", "https://m.test"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "m.test"),
        ]);
        let stranger = Via::of(IpAddr::V4(Ipv4Addr::LOCALHOST), false, &own, &[]);
        assert_eq!(
            super::judge(&own, &stranger, &Origins::SameOrigin),
            Verdict::Foreign
        );
        let said = refusal(&own, &stranger);
        for part in ["X-Forwarded-Proto: https", "TRUSTED_PROXIES", "127.0.0.1"] {
            assert!(said.contains(part), "{said}");
        }
        let evil = headers(&[("host", "m.test"), ("origin", "https://evil.test")]);
        assert!(!refusal(&evil, &stranger).contains("TRUSTED"));
    }

    #[test]
    fn a_proxy_on_a_port_of_its_own_says_which() {
        let judged = |pairs: &[(&str, &str)]| judge(&headers(pairs), &Origins::SameOrigin);
        let (host, origin) = (("host", "m.test"), ("origin", "http://m.test:8080"));
        assert_eq!(judged(&[host, origin]), Verdict::Foreign);
        for told in [
            ("x-forwarded-port", "8080"),
            ("x-forwarded-host", "m.test:8080"),
            ("forwarded", "host=\"m.test:8080\""),
        ] {
            assert_eq!(judged(&[host, origin, told]), Verdict::Same, "{told:?}");
        }
        let inside = ("host", "127.0.0.1:3000");
        let all = [
            inside,
            ("origin", "https://m.test"),
            ("x-forwarded-host", "m.test"),
            ("x-forwarded-port", "443"),
            ("x-forwarded-proto", "https"),
        ];
        assert_eq!(judged(&all), Verdict::Same);
        let said = refusal(
            &headers(&[host, origin]),
            &Via::straight(IpAddr::V4(Ipv4Addr::LOCALHOST), false),
        );
        assert!(said.contains("X-Forwarded-Port: 8080"), "{said}");
        // Names and addresses of IPv6 as they are written in both.
        for (host, origin) in [
            ("[::1]:3000", "http://[::1]:3000"),
            ("[::1]", "http://[::1]"),
        ] {
            assert_eq!(judged(&[("host", host), ("origin", origin)]), Verdict::Same);
        }
    }

    #[test]
    fn two_origins_are_none() {
        let mut two = headers(&[("host", "m.test"), ("origin", "http://m.test")]);
        two.append("origin", HeaderValue::from_static("http://m.test"));
        assert_eq!(judge(&two, &Origins::Any), Verdict::Foreign);
    }
}
