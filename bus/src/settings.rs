//! Which Redis, and who we are there.

use std::{fmt, path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;
use pulseboard_outbound::Secret;

use crate::key::KeptByKind;

const DEFAULT_PORT: u16 = 6_379;
const DEFAULT_SENTINEL_PORT: u16 = 26_379;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Server {
    /// A name or an address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// How the primary is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Servers {
    /// It is always this one.
    Single(Server),
    /// Sentinels know which it is.
    Sentinel {
        /// Any of them.
        sentinels: Vec<Server>,
        /// What they call it.
        name: String,
    },
    /// Several, each with some of the hash slots.
    Cluster(Vec<Server>),
}

/// `REDIS_URL`, read. It shows no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Where.
    pub servers: Servers,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// A user of Redis' access lists.
    pub username: Option<String>,
    /// The password, where the address has one.
    pub password: Option<Secret>,
}

impl Address {
    /// Host and port of the first server that is named.
    #[must_use]
    pub fn first(&self) -> Option<(&str, u16)> {
        let first = match &self.servers {
            Servers::Single(server) => Some(server),
            Servers::Sentinel { sentinels, .. } => sentinels.first(),
            Servers::Cluster(servers) => servers.first(),
        };
        first.map(|server| (server.host.as_str(), server.port))
    }
}

/// What is wrong with an address. It says nothing of what may be a password.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AddressError {
    /// It begins with none of ours.
    #[error(
        "it has to begin with redis://, rediss://, redis-sentinel://, rediss-sentinel://, redis-cluster:// or rediss-cluster://"
    )]
    Scheme,
    /// There is nobody to ask.
    #[error("it names no server")]
    NoServer,
    /// One of several is not `HOST` or `HOST:PORT`.
    #[error("its server {0} is not HOST or HOST:PORT")]
    Server(usize),
    /// Only one may be named.
    #[error("it names several servers, which redis-sentinel:// and redis-cluster:// may")]
    Several,
    /// Sentinels know primaries by names.
    #[error("it says no name behind the sentinels: redis-sentinel://HOST,HOST/NAME")]
    NoName,
    /// Data lies in database 0, since a cluster has no other.
    #[error("only database 0 is used; leave the path away, and use REDIS_PREFIX to share a Redis")]
    Database,
    /// Parameters are not known.
    #[error("parameters (?…) and fragments (#…) mean nothing here")]
    Parameters,
    /// User or password are not text.
    #[error("user or password are not percent-encoded UTF-8")]
    Encoding,
}

/// The part of an address that says who is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Single,
    Sentinel,
    Cluster,
}

impl std::str::FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Scheme)?;
        let (way, tls) = match scheme.to_ascii_lowercase().as_str() {
            "redis" => (Way::Single, false),
            "rediss" => (Way::Single, true),
            "redis-sentinel" => (Way::Sentinel, false),
            "rediss-sentinel" => (Way::Sentinel, true),
            "redis-cluster" => (Way::Cluster, false),
            "rediss-cluster" => (Way::Cluster, true),
            _ => return Err(AddressError::Scheme),
        };
        // A password may have any of these as they are, so who is asked begins behind the last `@`.
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        if place.contains(['?', '#']) {
            return Err(AddressError::Parameters);
        }
        let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
        let (username, password) = credentials(user.unwrap_or_default())?;
        Ok(Self {
            servers: servers(way, hosts, path)?,
            tls,
            username,
            password: password.map(Secret::new),
        })
    }
}

fn credentials(text: &str) -> Result<(Option<String>, Option<String>), AddressError> {
    let decoded = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some(text.into_owned())),
        Err(_) => Err(AddressError::Encoding),
    };
    let (username, password) = text.split_once(':').unwrap_or((text, ""));
    Ok((decoded(username)?, decoded(password)?))
}

fn servers(way: Way, hosts: &str, path: &str) -> Result<Servers, AddressError> {
    let port = match way {
        Way::Sentinel => DEFAULT_SENTINEL_PORT,
        Way::Single | Way::Cluster => DEFAULT_PORT,
    };
    if hosts.is_empty() {
        return Err(AddressError::NoServer);
    }
    let mut found = Vec::new();
    for (index, host) in hosts.split(',').enumerate() {
        found.push(server(host.trim(), port).ok_or(AddressError::Server(index + 1))?);
    }
    match way {
        Way::Sentinel => {
            let name = percent_decode_str(path.trim_end_matches('/'));
            let name = name
                .decode_utf8()
                .map_err(|_error| AddressError::Encoding)?;
            match name.is_empty() {
                true => Err(AddressError::NoName),
                false => Ok(Servers::Sentinel {
                    sentinels: found,
                    name: name.into_owned(),
                }),
            }
        }
        _ if !matches!(path, "" | "0" | "0/") => Err(AddressError::Database),
        Way::Cluster => Ok(Servers::Cluster(found)),
        Way::Single => match (found.len(), found.pop()) {
            (1, Some(server)) => Ok(Servers::Single(server)),
            _ => Err(AddressError::Several),
        },
    }
}

/// `HOST`, `HOST:PORT`, `[ADDRESS]`, `[ADDRESS]:PORT`.
pub(crate) fn server(text: &str, port: u16) -> Option<Server> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']')? {
            (host, "") => (host, port),
            (host, rest) => (host, rest.strip_prefix(':')?.parse().ok()?),
        },
        None => match text.split_once(':') {
            Some((host, number)) => (host, number.parse().ok()?),
            None => (text, port),
        },
    };
    let is_host = |host: &str| !host.is_empty() && !host.contains(char::is_whitespace);
    (is_host(host) && port != 0).then(|| Server {
        host: host.to_owned(),
        port,
    })
}

/// Everything that [`Redis`](crate::Redis) is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `REDIS_URL`.
    pub address: Address,
    /// The password, from `REDIS_PASSWORD_FILE`; goes before that of the address.
    pub password: Option<Secret>,
    /// A certificate that is believed, in place of those that the machine believes.
    pub ca_file: Option<PathBuf>,
    /// `REDIS_PREFIX`.
    pub prefix: String,
    /// `INSTANCE`: what this server is called.
    pub instance: String,
    /// Where others reach it, as it is shown to the admin; may be empty.
    pub address_shown: String,
    /// Its version, as it is shown to the admin.
    pub version: String,
    /// What Redis keeps of feeds.
    pub kept: KeptByKind,
    /// Without Redis for so long a server is alone, and says so.
    pub alone_after: Duration,
}

impl Settings {
    /// With what is usual for everything else.
    #[must_use]
    pub fn new(address: Address, instance: impl Into<String>) -> Self {
        Self {
            address,
            password: None,
            ca_file: None,
            prefix: "pb".to_owned(),
            instance: instance.into(),
            address_shown: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kept: KeptByKind::default(),
            alone_after: Duration::from_secs(3),
        }
    }

    pub(crate) fn password(&self) -> Option<&Secret> {
        self.password.as_ref().or(self.address.password.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Address, AddressError> {
        text.parse()
    }

    fn at(host: &str, port: u16) -> Server {
        Server {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn the_four_forms_are_read() {
        let plain = read("redis://cache").expect("an address");
        assert_eq!(plain.servers, Servers::Single(at("cache", 6_379)));
        assert!(!plain.tls);
        let tls = read("rediss://user:p%40ss:w@[::1]:7000/0").expect("an address");
        assert_eq!(tls.servers, Servers::Single(at("::1", 7_000)));
        assert!(tls.tls);
        assert_eq!(tls.username.as_deref(), Some("user"));
        assert_eq!(tls.password.as_ref().map(Secret::reveal), Some("p@ss:w"));
        let sentinel = read("redis-sentinel://:secret@a,b:1,c/main").expect("an address");
        let sentinels = vec![at("a", 26_379), at("b", 1), at("c", 26_379)];
        let name = "main".to_owned();
        assert_eq!(sentinel.servers, Servers::Sentinel { sentinels, name });
        let cluster = read("redis-cluster://a:7001,b:7002").expect("an address");
        let servers = vec![at("a", 7_001), at("b", 7_002)];
        assert_eq!(cluster.servers, Servers::Cluster(servers));
    }

    #[test]
    fn a_password_is_never_shown() {
        let address = read("redis://u:hunter2@cache").expect("an address");
        let settings = Settings::new(address, "a");
        assert!(!format!("{settings:?}").contains("hunter2"));
        // Not in what is said of an address that is none, either.
        for wrong in [
            "redis://:hunter2@:x",
            "redis://:hunter2@a,b",
            "http://:hunter2@a",
        ] {
            let error = read(wrong).expect_err("no address");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_reason() {
        for (text, error) in [
            ("cache:6379", AddressError::Scheme),
            ("http://cache", AddressError::Scheme),
            ("redis://", AddressError::NoServer),
            ("redis://a,b", AddressError::Several),
            ("redis://a/3", AddressError::Database),
            ("redis://a?protocol=3", AddressError::Parameters),
            ("redis-sentinel://a,b", AddressError::NoName),
            ("redis-cluster://a,,b", AddressError::Server(2)),
            ("redis-cluster://a:99999", AddressError::Server(1)),
            ("redis://%ff@a", AddressError::Encoding),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
    }
}
