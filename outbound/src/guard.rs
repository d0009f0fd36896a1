//! Which addresses may be connected to, where strangers say whom to ask. A name is resolved once,
//! and what was looked at is what is connected to. Addresses that only this machine's network knows
//! how to answer (link-local ones, those where clouds tell machines who they are) are never asked;
//! private ones only where a setting says so.

use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    vec,
};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

/// What may be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// Also this machine and private networks.
    pub allow_private: bool,
}

/// Why an address is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Never, whatever is allowed.
    Never,
    /// Unless private addresses are allowed.
    Private,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "its address is link-local or one that only machines ask",
            Self::Private => "its address is a private one, which is not allowed here",
        })
    }
}

impl StdError for Refusal {}

/// Where clouds tell machines who they are, beside link-local addresses: Alibaba, Azure, Oracle.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// Likewise Amazon and Google.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

impl Guard {
    /// Whether this address may be connected to.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, address: IpAddr) -> Result<(), Refusal> {
        let refusal = match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        };
        match refusal {
            None => Ok(()),
            Some(Refusal::Private) if self.allow_private => Ok(()),
            Some(refusal) => Err(refusal),
        }
    }

    /// As [`Guard::check`] where the host of an address is an address; a name passes, and is looked
    /// at when it is resolved.
    ///
    /// # Errors
    /// Why it may not be connected to.
    pub fn check_host(&self, host: &str) -> Result<(), Refusal> {
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        match bare.unwrap_or(host).parse() {
            Ok(address) => self.check(address),
            Err(_) => Ok(()),
        }
    }

    /// Those of the addresses of a name that may be connected to.
    ///
    /// # Errors
    /// None may: why the last of them may not. Or there is none.
    pub fn among(
        &self,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) -> io::Result<Vec<SocketAddr>> {
        let mut allowed = Vec::new();
        let mut refusal = None;
        for address in addresses {
            match self.check(address.ip()) {
                Ok(()) => allowed.push(address),
                Err(why) => refusal = Some(why),
            }
        }
        match refusal {
            Some(refusal) if allowed.is_empty() => {
                Err(io::Error::new(io::ErrorKind::PermissionDenied, refusal))
            }
            _ => Ok(allowed),
        }
    }
}

fn of_v4(address: Ipv4Addr) -> Option<Refusal> {
    let [a, b, c, _] = address.octets();
    if address.is_link_local()
        || METADATA_V4.contains(&address)
        || address.is_multicast()
        || address.is_broadcast()
    {
        return Some(Refusal::Never);
    }
    let is_private = address.is_private()
        || address.is_loopback()
        || address.is_documentation()
        // "this host", which leads to it
        || a == 0
        // carriers' own
        || (a == 100 && (64..128).contains(&b))
        // protocols' own, measuring
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
        // for later use
        || a >= 240;
    is_private.then_some(Refusal::Private)
}

fn of_v6(address: Ipv6Addr) -> Option<Refusal> {
    let parts = address.segments();
    if address.is_unicast_link_local() || address.is_multicast() || METADATA_V6.contains(&address) {
        return Some(Refusal::Never);
    }
    if address.is_loopback() || address.is_unspecified() {
        return Some(Refusal::Private);
    }
    let within = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        of_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        // `::ffff:a.b.c.d`, `::a.b.c.d`, and what translators make of it
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => within(high, low),
        // 6to4 has it in front, Teredo at its end and turned over
        [0x2002, high, low, ..] => within(high, low),
        [0x2001, 0, .., high, low] => within(!high, !low),
        // translators of this network alone
        [0x64, 0xff9b, 1, ..] => Some(Refusal::Private),
        // unique local, site-local, documentation
        [first, second, ..]
            if first & 0xfe00 == 0xfc00
                || first & 0xffc0 == 0xfec0
                || (first == 0x2001 && second == 0xdb8) =>
        {
            Some(Refusal::Private)
        }
        _ => None,
    }
}

/// Whether this was refused by a [`Guard`].
pub(crate) fn refused(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if error.is::<Refusal>() || inner.is_some_and(|inner| inner.is::<Refusal>()) {
            return true;
        }
        next = error.source();
    }
    false
}

/// Resolves names, and hands on only what may be connected to.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    names: GaiResolver,
    guard: Option<Guard>,
}

impl Resolver {
    pub(crate) fn new(guard: Option<Guard>) -> Self {
        Self {
            names: GaiResolver::new(),
            guard,
        }
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.names.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = self.names.call(name);
        let guard = self.guard;
        Box::pin(async move {
            let found = found.await?;
            let allowed = match guard {
                Some(guard) => guard.among(found)?,
                None => found.collect(),
            };
            Ok(allowed.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_stranger_may_have_asked_is_refused_in_every_form() {
        let strict = Guard::default();
        let open = Guard {
            allow_private: true,
        };
        for text in [
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "2001:0:1:2:3:4:5601:5601",
            "fe80::1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd20:ce::254",
            "255.255.255.255",
            "224.0.0.1",
            "ff02::1",
        ] {
            let address: IpAddr = text.parse().expect(text);
            assert_eq!(open.check(address), Err(Refusal::Never), "{text}");
            assert_eq!(strict.check(address), Err(Refusal::Never), "{text}");
        }
        for text in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "198.18.0.1",
            "240.0.0.1",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:0a00:0001::",
            "fc00::1",
            "fd12:3456::1",
            "fec0::1",
        ] {
            let address: IpAddr = text.parse().expect(text);
            assert_eq!(strict.check(address), Err(Refusal::Private), "{text}");
            assert_eq!(open.check(address), Ok(()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
        ] {
            let address: IpAddr = text.parse().expect(text);
            assert_eq!(strict.check(address), Ok(()), "{text}");
        }
    }

    #[test]
    fn of_a_names_addresses_only_those_are_left_that_may_be_asked() {
        let all = ["1.1.1.1:80", "169.254.169.254:80", "10.0.0.1:80"];
        let all: Vec<SocketAddr> = all.map(|text| text.parse().expect("one")).to_vec();
        let strict = Guard::default();
        assert_eq!(strict.among(all.clone()).expect("one"), all[..1]);
        let error = strict.among(all[1..].to_vec()).expect_err("none is left");
        assert!(refused(&error), "{error}");
        assert_eq!(strict.among([]).expect("nobody to refuse"), []);
        assert!(strict.check_host("[::ffff:169.254.169.254]").is_err());
        assert!(strict.check_host("metadata.google.internal").is_ok());
    }
}
