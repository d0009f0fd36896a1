//! The other end of a connection, and whose process it is where the system tells.
//!
//! On Linux the kernel is asked for the one socket that the peer holds (`sock_diag(7)`), which
//! costs the same however many sockets there are. Where it does not answer that, the tables in
//! `/proc/net` say it. The answer is kept for as long as the connection lasts.

use std::{net::SocketAddr, sync::OnceLock};

/// The two ends of a connection.
#[derive(Debug)]
pub struct Peer {
    /// Their end.
    pub remote: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
    ours: OnceLock<bool>,
}

impl Peer {
    /// Of a connection that was just accepted.
    #[must_use]
    pub fn new(remote: SocketAddr, local: SocketAddr) -> Self {
        Self {
            remote,
            local,
            ours: OnceLock::new(),
        }
    }

    /// Whether the connection came from this machine to this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.remote.ip().to_canonical().is_loopback()
    }

    /// Whether the process at the other end is our own user's or root's. Asked of the system once
    /// a connection; on systems that do not tell, every process of this machine counts.
    pub fn is_ours(&self) -> bool {
        *self.ours.get_or_init(|| owner::is_ours(self))
    }
}

/// How a request arrived; put into its extensions.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The connection.
    pub peer: std::sync::Arc<Peer>,
    /// The target was a whole URL, which is how a proxy is asked and not a server
    /// (RFC 9112 §3.2.2).
    pub absolute: bool,
    /// TLS ends here.
    pub tls: bool,
}

#[cfg(not(target_os = "linux"))]
mod owner {
    pub(super) fn is_ours(_: &super::Peer) -> bool {
        true
    }
}

#[cfg(target_os = "linux")]
mod owner {
    use std::{
        fs::File,
        io::{self, BufRead, BufReader, Read, Write},
        net::{IpAddr, SocketAddr},
        time::Duration,
    };

    use socket2::{Domain, Protocol, Socket, Type};

    use super::Peer;

    const AF_NETLINK: i32 = 16;
    const NETLINK_SOCK_DIAG: i32 = 4;
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NLM_F_REQUEST: u16 = 1;
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    const IPPROTO_TCP: u8 = 6;
    /// `TCP_ESTABLISHED`. In every later state the socket may be closed already, and then says
    /// that it is root's.
    const ESTABLISHED: u8 = 1;
    const HEADER_BYTES: usize = 16;
    const REQUEST_BYTES: usize = HEADER_BYTES + 56;
    /// Of a `nlmsghdr` with an `inet_diag_msg`.
    const ANSWER_BYTES: usize = HEADER_BYTES + 72;
    const PATIENCE: Duration = Duration::from_millis(200);
    const ROOT: u32 = 0;

    /// The socket at the other end, as the system describes it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Found {
        pub(super) state: u8,
        pub(super) user: u32,
        /// 0 for a socket that no process holds any more.
        pub(super) inode: u32,
    }

    pub(super) fn is_ours(peer: &Peer) -> bool {
        let (remote, local) = (canonical(peer.remote), canonical(peer.local));
        let found = by_netlink(remote, local).or_else(|_| by_table(remote, local));
        match found {
            Ok(found) => belongs(found, rustix::process::geteuid().as_raw()),
            Err(error) => {
                tracing::debug!(%error, "nobody knows whose process a local connection is");
                false
            }
        }
    }

    pub(super) fn belongs(found: Found, us: u32) -> bool {
        found.state == ESTABLISHED && found.inode != 0 && (found.user == us || found.user == ROOT)
    }

    fn canonical(address: SocketAddr) -> SocketAddr {
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    /// Asks for the socket that is bound to `remote` and connected to `local`.
    pub(super) fn by_netlink(remote: SocketAddr, local: SocketAddr) -> io::Result<Found> {
        let mut socket = Socket::new(
            Domain::from(AF_NETLINK),
            Type::RAW,
            Some(Protocol::from(NETLINK_SOCK_DIAG)),
        )?;
        socket.set_read_timeout(Some(PATIENCE))?;
        // A netlink socket that is connected to nobody talks to the kernel.
        socket.write_all(&question(remote, local)?)?;
        let mut answer = [0; 512];
        let length = socket.read(&mut answer)?;
        let message = answer.get(..length).unwrap_or_default();
        if u16_at(message, 4) != Some(SOCK_DIAG_BY_FAMILY) || message.len() < ANSWER_BYTES {
            return Err(io::Error::other("the kernel does not know this socket"));
        }
        // The ports and addresses: it may also have found a listener of that port.
        let asked = question(remote, local)?;
        if message.get(HEADER_BYTES + 4..HEADER_BYTES + 40) != asked.get(24..60) {
            return Err(io::Error::other("the kernel told of another socket"));
        }
        let number = |at| u32_at(message, at).ok_or(io::ErrorKind::UnexpectedEof);
        Ok(Found {
            state: message.get(HEADER_BYTES + 1).copied().unwrap_or_default(),
            user: number(HEADER_BYTES + 64)?,
            inode: number(HEADER_BYTES + 68)?,
        })
    }

    /// A `nlmsghdr` with an `inet_diag_req_v2`.
    fn question(remote: SocketAddr, local: SocketAddr) -> io::Result<[u8; REQUEST_BYTES]> {
        let family = match (remote.ip(), local.ip()) {
            (IpAddr::V4(_), IpAddr::V4(_)) => AF_INET,
            (IpAddr::V6(_), IpAddr::V6(_)) => AF_INET6,
            _ => return Err(io::Error::other("two families of addresses")),
        };
        let mut bytes = Vec::with_capacity(REQUEST_BYTES);
        bytes.extend_from_slice(&(REQUEST_BYTES as u32).to_ne_bytes());
        bytes.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        bytes.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&[family, IPPROTO_TCP, 0, 0]);
        bytes.extend_from_slice(&u32::MAX.to_ne_bytes());
        for port in [remote.port(), local.port()] {
            bytes.extend_from_slice(&port.to_be_bytes());
        }
        for address in [remote.ip(), local.ip()] {
            let mut padded = [0; 16];
            match address {
                IpAddr::V4(address) => padded[..4].copy_from_slice(&address.octets()),
                IpAddr::V6(address) => padded = address.octets(),
            }
            bytes.extend_from_slice(&padded);
        }
        // Any interface, any cookie.
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&[0xff; 8]);
        bytes
            .try_into()
            .map_err(|_wrong_length: Vec<u8>| io::Error::other("a question of the wrong length"))
    }

    fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
        Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
    }

    fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
    }

    /// Looks through the table of all TCP sockets.
    pub(super) fn by_table(remote: SocketAddr, local: SocketAddr) -> io::Result<Found> {
        // A socket of IPv6 may hold mapped addresses of IPv4.
        for (file, mapped) in [("/proc/net/tcp", false), ("/proc/net/tcp6", true)] {
            let wanted = (in_table(remote, mapped), in_table(local, mapped));
            let Ok(table) = File::open(file) else {
                continue;
            };
            for line in BufReader::new(table).lines().skip(1) {
                if let Some(found) = row(&line?, (&wanted.0, &wanted.1)) {
                    return Ok(found);
                }
            }
        }
        Err(io::Error::other("no table has this socket"))
    }

    /// The socket of a row, where it is the one between these two.
    fn row(line: &str, (remote, local): (&str, &str)) -> Option<Found> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        if fields.next()? != remote || fields.next()? != local {
            return None;
        }
        let state = u8::from_str_radix(fields.next()?, 16).ok()?;
        let user = fields.nth(3)?.parse().ok()?;
        let inode = fields.nth(1)?.parse().ok()?;
        Some(Found { state, user, inode })
    }

    /// An address as the tables write it: words of 32 bits in the machine's order, in hex.
    fn in_table(address: SocketAddr, mapped: bool) -> String {
        let octets = match address.ip() {
            IpAddr::V4(address) if mapped => address.to_ipv6_mapped().octets().to_vec(),
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let words: String = octets
            .chunks_exact(4)
            .filter_map(|word| word.first_chunk())
            .map(|word| format!("{:08X}", u32::from_ne_bytes(*word)))
            .collect();
        format!("{words}:{:04X}", address.port())
    }

    #[cfg(test)]
    mod tests {
        use std::net::{TcpListener, TcpStream};

        use super::*;

        #[test]
        fn the_owner_of_a_connection_is_found_in_both_ways() {
            let us = rustix::process::geteuid().as_raw();
            for bound in ["127.0.0.1:0", "[::1]:0"] {
                let Ok(listener) = TcpListener::bind(bound) else {
                    continue;
                };
                let local = listener.local_addr().expect("bound");
                let client = TcpStream::connect(local).expect("connected");
                let remote = client.local_addr().expect("bound");
                let by_table = by_table(remote, local).expect("it is in the table");
                assert_eq!((by_table.state, by_table.user), (ESTABLISHED, us));
                assert!(belongs(by_table, us));
                // Not every kernel has it.
                if let Ok(by_netlink) = by_netlink(remote, local) {
                    assert_eq!(by_netlink, by_table);
                }
                assert!(is_ours(&Peer::new(remote, local)));
                // A port that nobody is connected from.
                assert!(!is_ours(&Peer::new(local, local)));
            }
        }

        #[test]
        fn a_mapped_client_is_found() {
            let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
            let local = listener.local_addr().expect("bound");
            let mapped = SocketAddr::from(([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1], local.port()));
            let Ok(client) = TcpStream::connect(mapped) else {
                return;
            };
            let (_accepted, remote) = listener.accept().expect("accepted");
            assert!(is_ours(&Peer::new(remote, local)), "{client:?}");
            assert!(by_table(canonical(remote), local).is_ok());
        }

        #[test]
        fn what_is_closed_or_anothers_is_not_ours() {
            let found = |state, user, inode| Found { state, user, inode };
            assert!(belongs(found(ESTABLISHED, 1000, 7), 1000));
            assert!(belongs(found(ESTABLISHED, 0, 7), 1000));
            assert!(!belongs(found(ESTABLISHED, 1001, 7), 1000));
            assert!(!belongs(found(ESTABLISHED, 1000, 7), 0));
            // TIME_WAIT and orphans say user 0.
            assert!(!belongs(found(6, 0, 0), 1000));
            assert!(!belongs(found(5, 0, 0), 1000));
            assert!(!belongs(found(10, 1000, 7), 1000));
        }

        #[test]
        fn rows_are_read() {
            let line = "   1: 0100007F:88AE 0100007F:0BB8 01 00000000:00000000 00:00000000 00000000  1001        0 33271 1 0000";
            assert_eq!(
                row(line, ("0100007F:88AE", "0100007F:0BB8")),
                Some(Found {
                    state: 1,
                    user: 1001,
                    inode: 33271
                })
            );
            assert_eq!(row(line, ("0100007F:0BB8", "0100007F:88AE")), None);
            assert_eq!(row("", ("", "")), None);
        }
    }
}
