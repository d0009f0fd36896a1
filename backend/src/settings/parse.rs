//! From a setting's text to its type. Pure, but for names that [`address`] asks the system for.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use pulseboard_archive::Way;
use pulseboard_bus::Address;
use pulseboard_shared::Role;

use super::{
    error::Rejected,
    value::{
        AlertsAlone, ClusterMode, DataDir, Durability, HostName, Hosts, LogFormat, NotifyBudget,
        Origins, SourceKind, Token,
    },
};
use crate::base::address::split_host;

/// Characters of a refused value that a message shows; the rest is left out.
const SHOWN_CHARS_MAX: usize = 100;

/// Characters of a tenant's name.
const TENANT_CHARS_MAX: usize = 64;

/// Characters of what a machine is called.
const INSTANCE_CHARS_MAX: usize = 200;

/// Characters of what keys in Redis begin with.
const REDIS_PREFIX_CHARS_MAX: usize = 32;

/// Characters of a room's name.
const ROOM_NAME_CHARS_MAX: usize = 128;

type Parsed<T> = Result<T, Rejected>;

/// `127.0.0.1:3000`, `[::1]:3000`, or a name and a port, which the system resolves; of several
/// addresses IPv4 is taken first, so that `localhost` is what most tools mean by it.
pub(super) fn address(text: &str) -> Parsed<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let Some((host, _port)) = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()) else {
        return Err(Rejected::Value);
    };
    // Without this, `::1:3000` would be asked of the resolver as the name `::1`.
    if host.contains(':') {
        return Err(Rejected::Value);
    }
    let Ok(addresses) = text.to_socket_addrs() else {
        return Err(Rejected::Value);
    };
    addresses
        .min_by_key(SocketAddr::is_ipv6)
        .ok_or(Rejected::Value)
}

/// The name of a source.
pub(super) fn source(text: &str) -> Parsed<SourceKind> {
    match text {
        "host" => Ok(SourceKind::Host),
        "simulator" => Ok(SourceKind::Simulator),
        "none" => Ok(SourceKind::None),
        _ => Err(Rejected::Value),
    }
}

/// A whole number from `MIN` to `MAX`.
fn number<const MIN: u64, const MAX: u64>(text: &str) -> Parsed<u64> {
    text.parse()
        .ok()
        .filter(|number| (MIN..=MAX).contains(number))
        .ok_or(Rejected::Value)
}

/// A whole number from `MIN` to `MAX`.
pub(super) fn whole<const MIN: u64, const MAX: u64>(text: &str) -> Parsed<usize> {
    usize::try_from(number::<MIN, MAX>(text)?)
        .ok()
        .ok_or(Rejected::Value)
}

/// The same, where 32 bits are wide enough.
pub(super) fn whole_u32<const MIN: u64, const MAX: u64>(text: &str) -> Parsed<u32> {
    u32::try_from(number::<MIN, MAX>(text)?)
        .ok()
        .ok_or(Rejected::Value)
}

/// Milliseconds from `MIN` to `MAX`.
pub(super) fn millis<const MIN: u64, const MAX: u64>(text: &str) -> Parsed<Duration> {
    number::<MIN, MAX>(text).map(Duration::from_millis)
}

/// Seconds from `MIN` to `MAX`.
pub(super) fn seconds<const MIN: u64, const MAX: u64>(text: &str) -> Parsed<Duration> {
    number::<MIN, MAX>(text).map(Duration::from_secs)
}

/// A whole number of hours within the bounds.
pub(super) fn hours<const MIN: u64, const MAX: u64>(text: &str) -> Parsed<Duration> {
    number::<MIN, MAX>(text).map(|hours| Duration::from_secs(hours * 3_600))
}

/// A whole number of days within the bounds.
pub(super) fn days<const MIN: u64, const MAX: u64>(text: &str) -> Parsed<Duration> {
    number::<MIN, MAX>(text).map(|days| Duration::from_secs(days * 86_400))
}

/// `off`, or where Redis is. What is wrong with an address is said without its password.
pub(super) fn redis(text: &str) -> Parsed<Option<Address>> {
    if text == "off" {
        return Ok(None);
    }
    let address = text.parse::<Address>();
    let refuse = |error| Rejected::Part(format!("its value (of which is to be said: {error})"));
    address.map(Some).map_err(refuse)
}

/// What all keys in Redis begin with.
pub(super) fn redis_prefix(text: &str) -> Parsed<String> {
    let is_fit = (1..=REDIS_PREFIX_CHARS_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    is_fit.then(|| text.to_owned()).ok_or(Rejected::Value)
}

/// How several servers share the work.
pub(super) fn cluster_mode(text: &str) -> Parsed<ClusterMode> {
    match text {
        "replicated" => Ok(ClusterMode::Replicated),
        "sharded" => Ok(ClusterMode::Sharded),
        _ => Err(Rejected::Value),
    }
}

/// Of which alerts people are told without the other servers.
pub(super) fn alerts_alone(text: &str) -> Parsed<AlertsAlone> {
    match text {
        "own" => Ok(AlertsAlone::Own),
        "all" => Ok(AlertsAlone::All),
        _ => Err(Rejected::Value),
    }
}

/// A machine's name; `hostname` is the one that it has.
pub(super) fn instance(text: &str) -> Parsed<String> {
    let name = match text {
        "hostname" => sysinfo::System::host_name().unwrap_or_else(|_| "localhost".to_owned()),
        name => name.to_owned(),
    };
    let is_fit = (1..=INSTANCE_CHARS_MAX).contains(&name.chars().count())
        && !name.chars().any(char::is_control);
    is_fit.then_some(name).ok_or(Rejected::Value)
}

/// `on` or `off`.
pub(super) fn switch(text: &str) -> Parsed<bool> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(Rejected::Value),
    }
}

/// What an answer promises.
pub(super) fn durability(text: &str) -> Parsed<Durability> {
    match text {
        "fsync" => Ok(Durability::Fsync),
        "write" => Ok(Durability::Write),
        "memory" => Ok(Durability::Memory),
        _ => Err(Rejected::Value),
    }
}

/// An address, or none.
pub(super) fn address_or_off(text: &str) -> Parsed<Option<SocketAddr>> {
    match text {
        "off" => Ok(None),
        text => address(text).map(Some),
    }
}

/// A file, or none.
pub(super) fn file(text: &str) -> Parsed<Option<PathBuf>> {
    match text {
        "off" => Ok(None),
        "" => Err(Rejected::Value),
        path if path.contains('\0') => Err(Rejected::Value),
        path => Ok(Some(PathBuf::from(path))),
    }
}

/// A folder, or `memory`.
pub(super) fn data_dir(text: &str) -> Parsed<DataDir> {
    match text {
        "" => Err(Rejected::Value),
        "memory" => Ok(DataDir::Memory),
        // The system takes no path with a zero in it.
        path if path.contains('\0') => Err(Rejected::Value),
        path => Ok(DataDir::Path(PathBuf::from(path))),
    }
}

/// `same-origin`, `*`, or a list. One `*` in a list allows any, as it does alone.
pub(super) fn origins(text: &str) -> Parsed<Origins> {
    if text == "same-origin" {
        return Ok(Origins::SameOrigin);
    }
    let mut listed = Vec::new();
    let mut any = false;
    for part in parts(text) {
        if part == "*" {
            any = true;
        } else {
            listed.push(normalise_origin(part).ok_or_else(|| Rejected::Part(quote(part)))?);
        }
    }
    listed.sort();
    listed.dedup();
    match (any, listed.is_empty()) {
        (true, _) => Ok(Origins::Any),
        (false, false) => Ok(Origins::List(listed)),
        (false, true) => Err(Rejected::Value),
    }
}

/// `scheme://host[:port]` as browsers send it: lower case, without the scheme's own port and
/// without a path (one closing slash is forgiven). `None` for everything else, `null` included,
/// which any sandboxed page can send.
#[must_use]
pub fn normalise_origin(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://")?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let scheme_is_valid = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c));
    if !scheme_is_valid {
        return None;
    }

    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        let port = match rest {
            "" => None,
            rest => Some(rest.strip_prefix(':')?),
        };
        (format!("[{address}]"), port)
    } else {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        let host_is_valid = !host.is_empty()
            && host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
        if !host_is_valid {
            return None;
        }
        (host.to_owned(), port)
    };

    let port = match port {
        None => None,
        Some(digits) => Some(
            digits
                .parse::<u16>()
                .ok()
                .filter(|port| *port > 0 && digits.bytes().all(|digit| digit.is_ascii_digit()))?,
        ),
    };
    Some(match (scheme, port) {
        ("http", Some(80)) | ("https", Some(443)) | (_, None) => format!("{scheme}://{host}"),
        (_, Some(port)) => format!("{scheme}://{host}:{port}"),
    })
}

/// Addresses and networks. Bits of a network's address that it does not have are forgiven.
pub(super) fn networks(text: &str) -> Parsed<Vec<IpNet>> {
    let network = |part: &str| {
        let network = part.parse().or_else(|_| part.parse().map(IpAddr::into));
        let network: IpNet = network.ok()?;
        // Addresses of IPv4 that IPv6 sockets see are told as what they are.
        let network = match network {
            IpNet::V6(mapped) if mapped.prefix_len() >= 96 => {
                match mapped.addr().to_ipv4_mapped() {
                    Some(address) => {
                        IpNet::new(IpAddr::V4(address), mapped.prefix_len() - 96).ok()?
                    }
                    None => network,
                }
            }
            network => network,
        };
        Some(network.trunc())
    };
    if text == "none" {
        return Ok(Vec::new());
    }
    parts(text)
        .map(|part| network(part).ok_or_else(|| Rejected::Part(quote(part))))
        .collect()
}

/// `any`, or names with or without a port.
pub(super) fn hosts(text: &str) -> Parsed<Hosts> {
    if text == "any" {
        return Ok(Hosts::Any);
    }
    let host = |part: &str| {
        let (name, port) = split_host(part)?;
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let is_name = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        let is_valid = !name.is_empty() && (is_name || name.parse::<Ipv6Addr>().is_ok());
        (is_valid && port != Some(0)).then_some(HostName { name, port })
    };
    let listed: Vec<HostName> = parts(text)
        .map(|part| host(part).ok_or_else(|| Rejected::Part(quote(part))))
        .collect::<Parsed<_>>()?;
    if listed.is_empty() {
        return Err(Rejected::Value);
    }
    Ok(Hosts::List(listed))
}

/// `none`, or patterns of paths.
pub(super) fn globs(text: &str) -> Parsed<Vec<String>> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let listed: Vec<String> = parts(text)
        .map(|part| match glob::Pattern::new(part) {
            Ok(_) if !part.contains('\0') => Ok(part.to_owned()),
            _ => Err(Rejected::Part(quote(part))),
        })
        .collect::<Parsed<_>>()?;
    if listed.is_empty() {
        return Err(Rejected::Value);
    }
    Ok(listed)
}

/// `off`, or an address of HTTP, without the slash at its end.
pub(super) fn url_or_off(text: &str) -> Parsed<Option<String>> {
    if text == "off" {
        return Ok(None);
    }
    let url = url::Url::parse(text).map_err(|_none| Rejected::Value)?;
    if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none() {
        return Err(Rejected::Value);
    }
    Ok(Some(text.trim_end_matches('/').to_owned()))
}

/// How the archive is told whose samples they are.
pub(super) fn archive_tenant(text: &str) -> Parsed<Way> {
    text.parse().map_err(|_none| Rejected::Value)
}

/// `auto`, `off`, or so many notifications an hour.
pub(super) fn budget(text: &str) -> Parsed<NotifyBudget> {
    match text {
        "auto" => Ok(NotifyBudget::Auto),
        "off" => Ok(NotifyBudget::Off),
        count => whole::<1, 100_000>(count).map(NotifyBudget::PerHour),
    }
}

/// A tenant's name.
pub(super) fn tenant(text: &str) -> Parsed<String> {
    let is_name = tenant_is_valid(text);
    is_name.then(|| text.to_owned()).ok_or(Rejected::Value)
}

/// Names of tenants; none is that nobody without a token speaks for any.
pub(super) fn tenants(text: &str) -> Parsed<Vec<String>> {
    parts(text)
        .map(|part| {
            tenant_is_valid(part)
                .then(|| part.to_owned())
                .ok_or_else(|| Rejected::Part(quote(part)))
        })
        .collect()
}

/// A role's name, or `auto` for the default rule. Nobody in particular can be `admin`.
pub(super) fn anonymous_role(text: &str) -> Parsed<Option<Role>> {
    match text {
        "auto" => Ok(None),
        "admin" => Err(Rejected::Value),
        name => name.parse().ok().map(Some).ok_or(Rejected::Value),
    }
}

/// `token=role[@tenant]`, with commas between; empty for none. What is refused is named by its
/// place, counted from 1, because even a malformed entry may hold a secret.
pub(super) fn tokens(text: &str) -> Parsed<Vec<Token>> {
    let mut tokens: Vec<Token> = Vec::new();
    if text == "none" {
        return Ok(tokens);
    }
    for (index, part) in parts(text).enumerate() {
        let place = index + 1;
        let token = token(part).ok_or_else(|| Rejected::Part(format!("entry {place}")))?;
        if tokens.iter().any(|earlier| earlier.secret == token.secret) {
            return Err(Rejected::Part(format!(
                "entry {place}, an earlier token again,"
            )));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

/// One `token=role[@tenant]`. The last `=` divides, since Base64 ends with some.
fn token(text: &str) -> Option<Token> {
    let (secret, grant) = text.rsplit_once('=')?;
    let (role, tenant) = match grant.split_once('@') {
        Some((role, tenant)) => (role, Some(tenant)),
        None => (grant, None),
    };
    let secret_is_valid = !secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_graphic());
    if !secret_is_valid || tenant.is_some_and(|tenant| !tenant_is_valid(tenant)) {
        return None;
    }
    Some(Token {
        secret: secret.to_owned(),
        role: role.parse().ok()?,
        tenant: tenant.map(ToOwned::to_owned),
    })
}

/// Whether `name` can be a tenant's: 1 to 64 characters `A-Z a-z 0-9 _ . -`.
#[must_use]
pub fn tenant_is_valid(name: &str) -> bool {
    (1..=TENANT_CHARS_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Whether `name` can be a room's: 1 to 128 characters `A-Z a-z 0-9 _ . : / -`.
#[must_use]
pub fn room_name_is_valid(name: &str) -> bool {
    (1..=ROOM_NAME_CHARS_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.:/-".contains(&byte))
}

/// The name of a log format.
pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(Rejected::Value),
    }
}

/// The parts of a list, trimmed; a comma too many is forgiven.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

/// `text` in quotes on one line, shortened to what a person reads.
pub(super) fn quote(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_taken() {
        assert_eq!(address("0.0.0.0:0"), Ok(SocketAddr::from(([0; 4], 0))));
        assert_eq!(address("[::1]:80").map(|a| a.is_ipv6()), Ok(true));
        assert!(address("localhost:3000").is_ok_and(|a| a.ip().is_loopback() && a.port() == 3000));
        for text in [
            "",
            "3000",
            ":3000",
            "127.0.0.1",
            "::1:3000",
            "localhost:70000",
        ] {
            assert_eq!(address(text), Err(Rejected::Value), "{text:?}");
        }
    }

    #[test]
    fn numbers_hold_their_bounds() {
        assert_eq!(whole::<1, 10>("1"), Ok(1));
        assert_eq!(whole::<1, 10>("10"), Ok(10));
        for text in ["0", "11", "-1", "1.5", "1e1", "", "99999999999999999999"] {
            assert_eq!(whole::<1, 10>(text), Err(Rejected::Value), "{text:?}");
        }
    }

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        for (text, expect) in [
            ("HTTPS://Example.ORG", Some("https://example.org")),
            ("https://example.org/", Some("https://example.org")),
            ("https://example.org:443", Some("https://example.org")),
            ("http://example.org:443", Some("http://example.org:443")),
            ("http://localhost:08080", Some("http://localhost:8080")),
            ("http://[0:0::1]:80", Some("http://[::1]")),
            ("tauri://localhost", Some("tauri://localhost")),
            ("null", None),
            ("example.org", None),
            ("https://", None),
            ("https://a/b", None),
            ("https://a:0", None),
            ("https://a:", None),
            ("https://a:+1", None),
            ("https://me@a", None),
            ("https://[::1", None),
            ("https://[::1]x", None),
            ("1://a", None),
        ] {
            assert_eq!(normalise_origin(text).as_deref(), expect, "{text:?}");
        }
    }

    #[test]
    fn origin_lists() {
        assert_eq!(origins("same-origin"), Ok(Origins::SameOrigin));
        assert_eq!(origins("*"), Ok(Origins::Any));
        assert_eq!(origins("https://a, *"), Ok(Origins::Any));
        assert_eq!(
            origins(" https://b:443 ,http://a,https://B"),
            Ok(Origins::List(vec!["http://a".into(), "https://b".into()]))
        );
        assert_eq!(
            origins("https://a,b"),
            Err(Rejected::Part("\"b\"".to_owned()))
        );
        assert_eq!(origins(","), Err(Rejected::Value));
    }

    #[test]
    fn networks_are_addresses_with_or_without_a_length() {
        let parsed = networks("127.0.0.1, 10.1.2.3/8,::1,fd00::/8, ::ffff:192.0.2.1");
        let texts: Vec<String> = parsed
            .expect("all are fine")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            texts,
            [
                "127.0.0.1/32",
                "10.0.0.0/8",
                "::1/128",
                "fd00::/8",
                "192.0.2.1/32"
            ]
        );
        assert_eq!(networks(""), Ok(Vec::new()));
        for text in ["proxy", "10.0.0.0/33", "10.0.0/8", "127.0.0.1:80", "*"] {
            assert_eq!(networks(text), Err(Rejected::Part(quote(text))), "{text}");
        }
    }

    #[test]
    fn hosts_are_names_with_or_without_a_port() {
        let host = |name: &str, port| HostName {
            name: name.to_owned(),
            port,
        };
        assert_eq!(hosts("any"), Ok(Hosts::Any));
        assert_eq!(
            hosts("Board.Example.org., b:8443,[2001:db8::1]:80, 192.0.2.1"),
            Ok(Hosts::List(vec![
                host("board.example.org", None),
                host("b", Some(8443)),
                host("2001:db8::1", Some(80)),
                host("192.0.2.1", None)
            ]))
        );
        for text in [
            "https://b",
            "b/",
            "b:x",
            "b:0",
            "*",
            "b:70000",
            "a b",
            ":80",
        ] {
            assert_eq!(hosts(text), Err(Rejected::Part(quote(text))), "{text}");
        }
        assert_eq!(hosts(","), Err(Rejected::Value));
    }

    #[test]
    fn tokens_are_split_at_their_last_equals_sign() {
        let parsed = tokens("a==operator@team-1, b=viewer,").expect("both are fine");
        assert_eq!(parsed[0].secret, "a=");
        assert_eq!(parsed[0].role, Role::Operator);
        assert_eq!(parsed[0].tenant.as_deref(), Some("team-1"));
        assert_eq!(parsed[1].tenant, None);
        assert_eq!(tokens(""), Ok(Vec::new()));
        assert_eq!(tokens("none"), Ok(Vec::new()));
        let long = format!("a=viewer@{}", "t".repeat(65));
        for text in [
            "a",
            "none,a=viewer",
            "=viewer",
            "a=boss",
            "a=viewer@",
            "a=viewer@x y",
            "a b=viewer",
            &long,
        ] {
            assert_eq!(
                tokens(text),
                Err(Rejected::Part("entry 1".to_owned())),
                "{text:?}"
            );
        }
        assert!(
            matches!(tokens("a=viewer,a=admin"), Err(Rejected::Part(part)) if part.contains("entry 2"))
        );
    }

    #[test]
    fn a_refused_value_is_shown_on_one_short_line() {
        assert_eq!(quote("a\nb"), r#""a\nb""#);
        let shown = quote(&"ä".repeat(1000));
        assert_eq!(shown.chars().count(), SHOWN_CHARS_MAX + 3);
    }
}
