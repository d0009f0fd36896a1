//! One question to a name server (RFC 1035, SRV: RFC 2782): over UDP, and over TCP where the answer
//! does not fit.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use crate::config::DnsType;

const CONFIG: &str = "/etc/resolv.conf";
const PORT: u16 = 53;
/// A server is waited for so long, then the next one is asked.
const PATIENCE: Duration = Duration::from_secs(3);
/// Bytes of a datagram that we take (EDNS, RFC 6891).
const DATAGRAM_BYTES: u16 = 4096;
/// A name is no longer, and refers on within the message no more often.
const NAME_BYTES_MAX: usize = 255;
const REFERENCES_MAX: usize = 32;
const SRV: u16 = 33;
const MX: u16 = 15;
const NS: u16 = 2;
const OPT: u16 = 41;
const IN: u16 = 1;
const NO_SUCH_NAME: u8 = 3;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Srv { host: String, port: u16 },
    Host(String),
}

struct Settings {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
}

/// Asks the servers of this machine, one after the other, for a name and then for the name in each
/// of the domains that are searched.
pub(super) async fn ask(name: &str, kind: DnsType) -> Result<Vec<Record>, String> {
    let text = fs::read_to_string(CONFIG).unwrap_or_default();
    let settings = settings(&text);
    let is_whole = name.ends_with('.');
    let bare = name.trim_end_matches('.');
    let mut names = vec![bare.to_owned()];
    if !is_whole {
        names.extend(
            settings
                .search
                .iter()
                .map(|domain| format!("{bare}.{domain}")),
        );
    }
    let mut last = "there is no such name".to_owned();
    for name in names {
        for server in &settings.servers {
            match ask_server(*server, &name, kind).await {
                Ok(Some(records)) => return Ok(records),
                Ok(None) => break,
                Err(error) => last = format!("{server}: {error}"),
            }
        }
    }
    Err(last)
}

fn settings(text: &str) -> Settings {
    let mut settings = Settings {
        servers: Vec::new(),
        search: Vec::new(),
    };
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => {
                let server = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                settings
                    .servers
                    .extend(server.map(|ip| SocketAddr::new(ip, PORT)));
            }
            Some("search" | "domain") => {
                settings.search = words
                    .map(|word| word.trim_end_matches('.').to_owned())
                    .collect();
            }
            _ => {}
        }
    }
    if settings.servers.is_empty() {
        settings.servers.push((Ipv4Addr::LOCALHOST, PORT).into());
    }
    settings
}

/// What one server says; nothing where there is no such name.
async fn ask_server(
    server: SocketAddr,
    name: &str,
    kind: DnsType,
) -> Result<Option<Vec<Record>>, String> {
    let number = match kind {
        DnsType::Srv => SRV,
        DnsType::Mx => MX,
        _ => NS,
    };
    let question = question(name, number).ok_or("this is no name that can be asked for")?;
    let in_time = timeout(PATIENCE, exchange(server, &question)).await;
    let answer = in_time
        .map_err(|_elapsed| "no answer".to_owned())?
        .map_err(|error| error.to_string())?;
    read(&answer, &question, number).ok_or_else(|| "the answer is broken".to_owned())?
}

async fn exchange(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: IpAddr = match server.ip() {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; usize::from(DATAGRAM_BYTES)];
    loop {
        let length = socket.recv(&mut answer).await?;
        // somebody else's answer, or one to an older question
        if length < 12 || answer.get(..2) != question.get(..2) {
            continue;
        }
        answer.truncate(length);
        break;
    }
    let is_cut = answer.get(2).is_some_and(|flags| flags & 0x02 != 0);
    if !is_cut {
        return Ok(answer);
    }
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).unwrap_or(u16::MAX);
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(question).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn question(name: &str, kind: u16) -> Option<Vec<u8>> {
    let id = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), name).to_le_bytes();
    // recursion desired, one question, one additional record
    let mut bytes = vec![id[0], id[1], 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|length| (1..64).contains(length))?;
        bytes.push(length);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&IN.to_be_bytes());
    bytes.push(0);
    bytes.extend_from_slice(&OPT.to_be_bytes());
    bytes.extend_from_slice(&DATAGRAM_BYTES.to_be_bytes());
    bytes.extend_from_slice(&[0; 6]);
    (name.len() <= NAME_BYTES_MAX).then_some(bytes)
}

/// The records of an answer. None: it is broken. Within: an error of the server, or no such name.
fn read(answer: &[u8], question: &[u8], kind: u16) -> Option<Result<Option<Vec<Record>>, String>> {
    let number = |at: usize| Some(u16::from_be_bytes(*answer.get(at..)?.first_chunk()?));
    if answer.get(..2) != question.get(..2) {
        return None;
    }
    match answer.get(3)? & 0x0f {
        0 => {}
        NO_SUCH_NAME => return Some(Ok(None)),
        code => return Some(Err(format!("the server says error {code}"))),
    }
    let (questions, answers) = (number(4)?, number(6)?);
    let mut at = 12;
    for _ in 0..questions {
        at = name(answer, at, None)? + 4;
    }
    let mut records = Vec::new();
    for _ in 0..answers {
        at = name(answer, at, None)?;
        let (found, length) = (number(at)?, usize::from(number(at + 8)?));
        at += 10;
        let mut host = String::new();
        if found == kind && kind == SRV {
            name(answer, at + 6, Some(&mut host))?;
            let port = number(at + 4)?;
            records.push(Record::Srv { host, port });
        } else if found == kind {
            let skipped = if kind == MX { 2 } else { 0 };
            name(answer, at + skipped, Some(&mut host))?;
            records.push(Record::Host(host));
        }
        at += length;
    }
    Some(Ok(Some(records)))
}

/// Reads a name, whose end may stand elsewhere in the message; returns the place behind it.
fn name(message: &[u8], from: usize, mut into: Option<&mut String>) -> Option<usize> {
    let mut at = from;
    let mut end = None;
    let mut references = 0;
    loop {
        let length = *message.get(at)?;
        match length {
            0 => return Some(end.unwrap_or(at + 1)),
            1..=63 => {
                let label = message.get(at + 1..at + 1 + usize::from(length))?;
                if let Some(into) = &mut into {
                    into.push_str(std::str::from_utf8(label).ok()?);
                    into.push('.');
                    if into.len() > NAME_BYTES_MAX {
                        return None;
                    }
                }
                at += 1 + usize::from(length);
            }
            0xc0.. => {
                let low = *message.get(at + 1)?;
                end.get_or_insert(at + 2);
                at = usize::from(length & 0x3f) << 8 | usize::from(low);
                references += 1;
                if references > REFERENCES_MAX {
                    return None;
                }
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer as a server sends it: the name of the record refers back to the question's.
    fn answer(question: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
        let mut bytes = question[..question.len() - 11].to_vec();
        bytes[2] = 0x81;
        bytes[7] = 1;
        bytes[11] = 0;
        bytes.extend_from_slice(&[0xc0, 12]);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        let length = u16::try_from(data.len()).expect("short");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    #[test]
    fn records_are_read() {
        let asked = question("_prom._tcp.example.com", SRV).expect("a name");
        // priority, weight, port 9100, "a" and then "example.com" of the question
        let data = [0, 1, 0, 2, 0x23, 0x8c, 1, b'a', 0xc0, 12 + 6 + 5];
        let whole = answer(&asked, SRV, &data);
        assert_eq!(
            read(&whole, &asked, SRV),
            Some(Ok(Some(vec![Record::Srv {
                host: "a.example.com.".to_owned(),
                port: 9100
            }])))
        );
        for end in 0..whole.len() {
            // cut anywhere it is broken, and never a panic
            assert_ne!(read(&whole[..end], &asked, SRV), Some(Ok(None)), "{end}");
        }
        let asked = question("example.com", MX).expect("a name");
        let whole = answer(&asked, MX, &[0, 10, 2, b'm', b'x', 0xc0, 12]);
        assert_eq!(
            read(&whole, &asked, MX),
            Some(Ok(Some(vec![Record::Host("mx.example.com.".to_owned())])))
        );
    }

    #[test]
    fn a_name_that_refers_to_itself_ends() {
        assert_eq!(name(&[0xc0, 0], 0, None), None);
        assert_eq!(question("a..b", SRV), None);
    }

    #[test]
    fn the_servers_of_this_machine() {
        let read = settings("# x\nnameserver 10.0.0.1\nsearch a.b. c\nnameserver ::1\n");
        assert_eq!(
            read.servers,
            [
                "10.0.0.1:53".parse().expect("an address"),
                "[::1]:53".parse().expect("an address")
            ]
        );
        assert_eq!(read.search, ["a.b", "c"]);
    }
}
