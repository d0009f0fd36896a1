//! How a request came to us: through which trusted proxies, from whom, and by what name and scheme
//! the client asked. `X-Forwarded-For`, `-Proto`, `-Host`, `-Port` and `Forwarded` (RFC 7239) are
//! believed from the proxies that `TRUSTED_PROXIES` names and from nobody else.
//!
//! Each proxy adds to the right of a list, so lists are read from the right for as long as what
//! they name is trusted; the first that is not is the client. What stands left of it anybody could
//! have written.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use salvo::http::HeaderMap;

/// From whom a request came and what it asked for, as far as the proxies on its way are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// Who asks: the other end of the connection, or whom the last trusted proxy names.
    pub client: IpAddr,
    /// The other end is a proxy that is trusted.
    pub trusted: bool,
    /// The client spoke TLS, with us or as a trusted proxy says.
    pub https: bool,
    /// The host that the client asked for, as a trusted proxy says; with its port where it has one.
    pub host: Option<String>,
    /// The port that the client asked at, as a trusted proxy says.
    pub port: Option<u16>,
}

/// What one trusted proxy said.
#[derive(Debug, Default)]
struct Said<'a> {
    proto: Option<&'a str>,
    host: Option<&'a str>,
    port: Option<&'a str>,
}

impl Via {
    /// Of a request that nobody stands in front of.
    #[must_use]
    pub fn straight(peer: IpAddr, tls: bool) -> Self {
        Self {
            client: peer.to_canonical(),
            trusted: false,
            https: tls,
            host: None,
            port: None,
        }
    }

    /// Reads the headers of a request from `peer`; `tls`: it spoke TLS with us.
    #[must_use]
    pub fn of(peer: IpAddr, tls: bool, headers: &HeaderMap, proxies: &[IpNet]) -> Self {
        let straight = Self::straight(peer, tls);
        if !trusts(proxies, straight.client) {
            return straight;
        }
        // Few proxies write both, and what they do not write they pass on as the client sent it:
        // the more common form counts alone.
        let common = ["for", "proto", "host", "port"]
            .iter()
            .any(|name| headers.contains_key(format!("x-forwarded-{name}")));
        let (client, said) = if common {
            let (client, hops) =
                client_of(straight.client, list(headers, "x-forwarded-for"), proxies);
            let told = |name| {
                let values = list(headers, name);
                let at = values.len().saturating_sub(hops);
                values.get(at).copied()
            };
            let said = Said {
                proto: told("x-forwarded-proto"),
                host: told("x-forwarded-host"),
                port: told("x-forwarded-port"),
            };
            (client, said)
        } else {
            let elements = list(headers, "forwarded");
            let nodes = elements
                .iter()
                .map(|element| pair(element, "for").unwrap_or("unknown"))
                .collect();
            let (client, hops) = client_of(straight.client, nodes, proxies);
            let at = elements.len().saturating_sub(hops);
            let said = elements.get(at).map(|element| Said {
                proto: pair(element, "proto"),
                host: pair(element, "host"),
                port: None,
            });
            (client, said.unwrap_or_default())
        };
        Self {
            client,
            trusted: true,
            https: said.proto.map_or(tls, |proto| {
                proto.eq_ignore_ascii_case("https") || proto.eq_ignore_ascii_case("wss")
            }),
            host: said.host.map(str::to_owned),
            port: said.port.and_then(|port| port.parse().ok()),
        }
    }

    /// The scheme that the client used.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }
}

/// Whether this address is one of the proxies.
#[must_use]
pub fn trusts(proxies: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    proxies.iter().any(|network| network.contains(&address))
}

/// The last of `nodes` that is no trusted proxy, and how many proxies have written since: the
/// place, from the right, of what was said about it. A node that is no address hides who it is;
/// then the proxy that wrote it is all that is known.
fn client_of(peer: IpAddr, nodes: Vec<&str>, proxies: &[IpNet]) -> (IpAddr, usize) {
    let mut client = peer;
    let mut hops = 0;
    for node in nodes.iter().rev() {
        hops += 1;
        let Some(address) = address_of(node) else {
            break;
        };
        client = address;
        if !trusts(proxies, address) {
            break;
        }
    }
    (client, hops.max(1))
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
fn address_of(node: &str) -> Option<IpAddr> {
    let bare = node
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(node);
    bare.parse()
        .ok()
        .or_else(|| node.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .map(|address: IpAddr| address.to_canonical())
}

/// The members of a list that several headers may make up, in order; commas in quotes divide
/// nothing.
fn list<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| split(value, ','))
        .map(str::trim)
        .filter(|member| !member.is_empty())
        .collect()
}

fn split(text: &str, by: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |character| {
        quoted ^= character == '"';
        character == by && !quoted
    })
}

/// The value of a parameter of one `Forwarded` element.
fn pair<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    split(element, ';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use salvo::http::{HeaderName, HeaderValue};

    use super::*;

    fn via(peer: &str, pairs: &[(&str, &str)]) -> Via {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: HeaderName = name.parse().expect("a name");
            headers.append(name, HeaderValue::try_from(*value).expect("a value"));
        }
        let proxies: Vec<IpNet> = ["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"]
            .iter()
            .map(|network| network.parse().expect("a network"))
            .collect();
        Via::of(peer.parse().expect("an address"), false, &headers, &proxies)
    }

    fn client(peer: &str, pairs: &[(&str, &str)]) -> String {
        via(peer, pairs).client.to_string()
    }

    #[test]
    fn strangers_are_not_believed() {
        let said = [
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "m.test"),
            ("x-forwarded-port", "8443"),
            ("forwarded", "for=192.0.2.8;proto=https;host=m.test"),
        ];
        let stranger = "198.51.100.1".parse().expect("an address");
        assert_eq!(via("198.51.100.1", &said), Via::straight(stranger, false));
    }

    #[test]
    fn the_client_is_the_last_that_is_not_trusted() {
        for (list, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            // Whatever a client wrote itself stands left of where it comes from.
            ("127.0.0.1, 192.0.2.7", "192.0.2.7"),
            ("192.0.2.7, 10.1.1.1", "192.0.2.7"),
            ("1.1.1.1, 192.0.2.7, 10.1.1.1, 10.2.2.2", "192.0.2.7"),
            ("192.0.2.7:4711", "192.0.2.7"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("10.1.1.1", "10.1.1.1"),
            // Nothing that could be read: the proxy itself is all that is known.
            ("192.0.2.7, unknown", "127.0.0.1"),
            ("192.0.2.7, unknown, 10.1.1.1", "10.1.1.1"),
            ("", "127.0.0.1"),
            (", ,", "127.0.0.1"),
        ] {
            assert_eq!(
                client("127.0.0.1", &[("x-forwarded-for", list)]),
                expected,
                "{list:?}"
            );
        }
        let twice = [
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-for", "192.0.2.8"),
        ];
        assert_eq!(client("::ffff:127.0.0.1", &twice), "192.0.2.8");
        assert_eq!(client("fd00::1", &twice), "192.0.2.8");
        assert_eq!(client("127.0.0.1", &[]), "127.0.0.1");
    }

    #[test]
    fn the_other_form_is_read_where_the_common_one_is_not_there() {
        let element = r#"for="[2001:db8::7]:80";proto=https;host="m.test:8443""#;
        let chained = format!("for=1.1.1.1;host=evil.test, {element}, For=10.1.1.1;Proto=http");
        for header in [element, &chained] {
            let via = via("127.0.0.1", &[("Forwarded", header)]);
            assert_eq!(via.client.to_string(), "2001:db8::7");
            assert_eq!(via.host.as_deref(), Some("m.test:8443"));
            assert!(via.https && via.trusted);
        }
        // What the proxy passed on as it came.
        let both = [("x-forwarded-for", "192.0.2.7"), ("forwarded", element)];
        let via = via("127.0.0.1", &both);
        assert_eq!(
            (via.client.to_string().as_str(), via.https),
            ("192.0.2.7", false)
        );
        assert_eq!(
            client("127.0.0.1", &[("forwarded", "for=_hidden")]),
            "127.0.0.1"
        );
        assert_eq!(
            client("127.0.0.1", &[("forwarded", "proto=https")]),
            "127.0.0.1"
        );
    }

    #[test]
    fn what_is_said_is_the_trusted_proxys() {
        let said = via(
            "127.0.0.1",
            &[
                ("x-forwarded-for", "1.1.1.1, 192.0.2.7"),
                ("x-forwarded-proto", "http, https"),
                ("x-forwarded-host", "evil.test, m.test"),
                ("x-forwarded-port", "1, 8443"),
            ],
        );
        assert_eq!(said.host.as_deref(), Some("m.test"));
        assert_eq!((said.https, said.port), (true, Some(8443)));
        // Two proxies of which the outer one alone speaks of it.
        let outer = via(
            "127.0.0.1",
            &[
                ("x-forwarded-for", "192.0.2.7, 10.1.1.1"),
                ("x-forwarded-proto", "https"),
            ],
        );
        assert!(outer.https);
    }
}
