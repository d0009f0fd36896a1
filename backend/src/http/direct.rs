//! Who comes to this server directly and not through a proxy or another site's page: the only
//! callers that may do more than read without a token.
//!
//! Every condition is needed, since none alone is enough: a proxy may keep quiet about itself and
//! rewrite `Host`, a page may come by a name that was rebound to this address, and another user of
//! this machine may send whatever headers they like.

use std::net::{IpAddr, SocketAddr};

use salvo::http::{HeaderMap, Version, header};

use crate::{access::peer::Arrival, base::address::split_host, http::origin::Verdict};

/// Whether a request comes from a client of this machine's owner that talks to us and nobody else.
pub(crate) fn is_direct(
    bound: SocketAddr,
    arrival: Option<&Arrival>,
    version: Version,
    headers: &HeaderMap,
    verdict: &Verdict,
) -> bool {
    let Some(arrival) = arrival else {
        return false;
    };
    bound.ip().to_canonical().is_loopback()
        && arrival.peer.is_loopback()
        && version == Version::HTTP_11
        && !arrival.absolute
        && comes_by_loopback_name(headers, bound.port(), arrival.tls)
        && !passed_through(headers)
        && is_of_this_site(headers, verdict)
        // Last, because the system is asked for it.
        && arrival.peer.is_ours()
}

/// Whether the one `Host` is a loopback name or address with our port.
fn comes_by_loopback_name(headers: &HeaderMap, port: u16, tls: bool) -> bool {
    let usual = if tls { 443 } else { 80 };
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    hosts.next().is_none()
        && host
            .and_then(split_host)
            .is_some_and(|(name, given)| is_loopback_name(name) && given.unwrap_or(usual) == port)
}

/// Whether a name can only mean this machine (RFC 6761 §6.3 for `localhost`).
pub(crate) fn is_loopback_name(name: &str) -> bool {
    if let Ok(address) = name.parse::<IpAddr>() {
        return address.to_canonical().is_loopback();
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Beginnings of what balancers and content networks add to a request, each under its maker's name.
const MAKERS: [&str; 14] = [
    "akamai-",
    "ali-",
    "cdn-",
    "cf-",
    "fastly-",
    "fly-",
    "incap-",
    "x-amz",
    "x-appengine-",
    "x-arr-",
    "x-azure-",
    "x-envoy-",
    "x-nf-",
    "x-vercel-",
];

/// Whether a header says that somebody stands between: one that RFC 9110 or 7239 defines, one that
/// carries a client's address, or one of a maker of such things.
fn passed_through(headers: &HeaderMap) -> bool {
    // Names are lower case here, however they were sent.
    headers.keys().map(header::HeaderName::as_str).any(|name| {
        let ends = |with: &str| {
            name.strip_suffix(with)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with(['-', '_', 't', 'r']))
        };
        name.contains("forward")
            || name == "via"
            // `X-Real-IP`, `True-Client-IP`, `X-Azure-ClientIP`, `X-User-Ip`, `Remote-Addr`.
            || ends("ip")
            || ends("addr")
            || ends("address")
            || MAKERS.iter().any(|maker| name.starts_with(maker))
    })
}

/// Whether no page of another site sent this, or one that is listed by name.
fn is_of_this_site(headers: &HeaderMap, verdict: &Verdict) -> bool {
    let listed = match verdict {
        Verdict::Same => true,
        // Under `*` nobody is listed by name.
        Verdict::Allowed { credentials, .. } => *credentials,
        Verdict::Foreign => false,
    };
    let mut sites = headers.get_all("sec-fetch-site").iter();
    listed && sites.all(|site| [&b"same-origin"[..], b"none"].contains(&site.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use salvo::http::{HeaderName, HeaderValue};

    use super::*;
    use crate::{
        access::peer::Peer,
        http::{origin::judge, via::Via},
        settings::Origins,
    };

    /// A connection of this process to itself, so that the system knows whose it is.
    struct Here {
        bound: SocketAddr,
        arrival: Arrival,
        _held: (std::net::TcpListener, std::net::TcpStream),
    }

    impl Here {
        fn new() -> Self {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            let bound = listener.local_addr().expect("bound");
            let client = std::net::TcpStream::connect(bound).expect("connected");
            let remote = client.local_addr().expect("bound");
            Self {
                bound,
                arrival: Arrival {
                    peer: Arc::new(Peer::new(remote, bound)),
                    absolute: false,
                    tls: false,
                },
                _held: (listener, client),
            }
        }

        fn headers(&self, more: &[(&str, &str)]) -> HeaderMap {
            let mut headers = HeaderMap::new();
            let host = HeaderValue::try_from(format!("localhost:{}", self.bound.port()));
            headers.insert(header::HOST, host.expect("a host"));
            for (name, value) in more {
                let name: HeaderName = name.parse().expect("a name");
                let value = HeaderValue::try_from(*value).expect("a value");
                if name == header::HOST {
                    headers.insert(name, value);
                } else {
                    headers.append(name, value);
                }
            }
            headers
        }

        fn direct(&self, allowed: &Origins, more: &[(&str, &str)]) -> bool {
            let headers = self.headers(more);
            let verdict = judge(
                &headers,
                &Via::straight([127, 0, 0, 1].into(), false),
                allowed,
            );
            is_direct(
                self.bound,
                Some(&self.arrival),
                Version::HTTP_11,
                &headers,
                &verdict,
            )
        }
    }

    #[test]
    fn who_comes_directly() {
        let here = Here::new();
        let port = here.bound.port();
        let same = Origins::SameOrigin;
        assert!(here.direct(&same, &[]));
        for host in [
            format!("127.0.0.1:{port}"),
            format!("127.9.9.9:{port}"),
            format!("[::1]:{port}"),
            format!("[::ffff:127.0.0.1]:{port}"),
            format!("LOCALHOST:{port}"),
            format!("localhost.:{port}"),
            format!("board.localhost:{port}"),
        ] {
            assert!(here.direct(&same, &[("host", &host)]), "{host}");
        }
        let own = format!("http://localhost:{port}");
        for more in [
            ("origin", own.as_str()),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
            ("x-tenant-id", "shop"),
        ] {
            assert!(here.direct(&same, &[more]), "{more:?}");
        }
        let listed = Origins::List(vec!["https://app.example.org".to_owned()]);
        let page = [("origin", "https://app.example.org")];
        assert!(here.direct(&listed, &page));
        assert!(!here.direct(&same, &page));
    }

    #[test]
    fn who_does_not() {
        let here = Here::new();
        let port = here.bound.port();
        let same = Origins::SameOrigin;
        for host in [
            "".to_owned(),
            "localhost".to_owned(),
            "localhost:1".to_owned(),
            format!("localhost:+{port}"),
            format!("localhost:{port}:{port}"),
            format!("localhost:{port}, evil.test"),
            format!("evil.test:{port}"),
            format!("localhost.evil.test:{port}"),
            format!("127.0.0.1.evil.test:{port}"),
            format!("127.1:{port}"),
            format!("0.0.0.0:{port}"),
            format!("[::]:{port}"),
            format!("[::1:{port}"),
            format!("[localhost]:{port}"),
            format!("user@localhost:{port}"),
            format!("10.0.0.1:{port}"),
        ] {
            assert!(!here.direct(&same, &[("host", &host)]), "{host:?}");
        }
        for more in [
            ("forwarded", "for=192.0.2.1"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded", "1"),
            ("X_Forwarded_For", "1"),
            ("x-original-forwarded-for", ""),
            ("via", "1.1 proxy"),
            ("x-real-ip", "127.0.0.1"),
            ("true-client-ip", "127.0.0.1"),
            ("client-ip", "127.0.0.1"),
            ("x-cluster-client-ip", "127.0.0.1"),
            ("cf-connecting-ip", "127.0.0.1"),
            ("x-azure-clientip", "127.0.0.1"),
            ("x-proxyuser-ip", "127.0.0.1"),
            ("x-appengine-user-ip", "127.0.0.1"),
            ("x-envoy-external-address", "127.0.0.1"),
            ("x-envoy-attempt-count", "1"),
            ("x-amzn-trace-id", "1"),
            ("x_real_ip", "127.0.0.1"),
            ("x-remote-addr", "127.0.0.1"),
            ("cdn-loop", "x"),
            ("CF-Ray", "1"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "same-origin, cross-site"),
            ("origin", "null"),
            ("origin", "https://evil.test"),
            ("origin", "http://localhost:1"),
        ] {
            assert!(!here.direct(&same, &[more]), "{more:?}");
            assert!(!here.direct(&Origins::Any, &[more]), "{more:?}");
        }
        let own = format!("http://localhost:{port}");
        for twice in [
            [("origin", own.as_str()), ("origin", "https://evil.test")],
            [("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
        ] {
            assert!(!here.direct(&same, &twice), "{twice:?}");
        }
        assert!(here.direct(&Origins::Any, &[("origin", &own)]));

        let headers = here.headers(&[]);
        let direct =
            |bound, arrival, version| is_direct(bound, arrival, version, &headers, &Verdict::Same);
        let arrival = Some(&here.arrival);
        assert!(direct(here.bound, arrival, Version::HTTP_11));
        assert!(!direct(here.bound, arrival, Version::HTTP_10));
        assert!(!direct(here.bound, None, Version::HTTP_11));
        let public = SocketAddr::from(([0, 0, 0, 0], port));
        assert!(!direct(public, arrival, Version::HTTP_11));
        let absolute = Arrival {
            absolute: true,
            ..here.arrival.clone()
        };
        assert!(!direct(here.bound, Some(&absolute), Version::HTTP_11));
        let from_afar = Arrival {
            peer: Arc::new(Peer::new(SocketAddr::from(([192, 0, 2, 1], 9)), here.bound)),
            absolute: false,
            tls: false,
        };
        assert!(!direct(here.bound, Some(&from_afar), Version::HTTP_11));
    }
}
