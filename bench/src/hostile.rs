//! What `cargo xtask bench hostile` attacks with, and the good callers beside it.
//!
//! Attackers and good callers come from different addresses of the loopback network and, where they
//! need one, with different tokens, so that what is shared out by either can be seen. Blocking
//! sockets and threads: a few dozen of them, and what is measured is the server.

pub mod attack;
pub mod good;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Socket, Type};
use tungstenite::{Message, WebSocket};

/// Where attackers come from.
pub const ATTACKERS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Where everybody else comes from.
pub const GOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// Nothing is waited for longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tokens that the server is started with; the attackers' are theirs alone.
pub mod token {
    /// Of the good callers, who read.
    pub const VIEWER: &str = "good-viewer-000000000000";
    /// Of the good callers, who write.
    pub const WRITER: &str = "good-writer-000000000000";
    /// Of attackers that may write.
    pub const ATTACKING_WRITER: &str = "evil-writer-000000000000";
    /// Of attackers that may do nothing.
    pub const ATTACKING_NOBODY: &str = "evil-nobody-000000000000";

    /// As `AUTH_TOKENS` has them.
    #[must_use]
    pub fn setting() -> String {
        format!("{VIEWER}=viewer,{WRITER}=writer,{ATTACKING_WRITER}=writer,{ATTACKING_NOBODY}=none")
    }
}

/// Connects from one of our addresses; `receive` bytes of receive buffer, where that matters.
///
/// # Errors
/// Nobody listens there.
pub fn connect(to: SocketAddr, from: Ipv4Addr, receive: Option<usize>) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if let Some(bytes) = receive {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&to.into(), PATIENCE)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A request's head, with its body's length where it has one.
#[must_use]
pub fn head(method: &str, path: &str, token: Option<&str>, more: &str, body: usize) -> String {
    let authorization = token.map_or(String::new(), |token| {
        format!("Authorization: Bearer {token}\r\n")
    });
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {body}\r\n{authorization}{more}\r\n"
    )
}

/// A connection that is kept, on which one request is asked at a time.
#[derive(Debug)]
pub struct Http {
    stream: BufReader<TcpStream>,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// The session's cookie, where one was set.
    pub cookie: Option<String>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Http {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn open(to: SocketAddr, from: Ipv4Addr) -> Result<Self> {
        Ok(Self {
            stream: BufReader::new(connect(to, from, None)?),
        })
    }

    /// Sends a whole request and reads the answer.
    ///
    /// # Errors
    /// The connection broke, or the answer is not HTTP.
    pub fn ask(&mut self, head: &str, body: &[u8]) -> Result<Answer> {
        let request = [head.as_bytes(), body].concat();
        self.stream.get_mut().write_all(&request)?;
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut answer = Answer {
            status: status.with_context(|| format!("{line:?} is no status line"))?,
            cookie: None,
            body: Vec::new(),
        };
        let (mut length, mut is_chunked) = (0, false);
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').context("a header")?;
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse()?,
                "transfer-encoding" => is_chunked = value.trim() == "chunked",
                "set-cookie" => answer.cookie = value.trim().split(';').next().map(str::to_owned),
                _ => {}
            }
        }
        loop {
            let size = if is_chunked {
                u64::from_str_radix(self.line()?.trim(), 16)?
            } else {
                length
            };
            let stream = (&mut self.stream).take(size);
            let read = { stream }.read_to_end(&mut answer.body)?;
            if read as u64 != size {
                bail!("an answer broke off");
            }
            if !is_chunked {
                return Ok(answer);
            }
            self.line()?;
            if size == 0 {
                return Ok(answer);
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("the server closed the connection");
        }
        Ok(line.trim_end().to_owned())
    }
}

/// Opens a WebSocket.
///
/// # Errors
/// It is refused.
pub fn web_socket(
    to: SocketAddr,
    from: Ipv4Addr,
    path: &str,
    token: Option<&str>,
    receive: Option<usize>,
) -> Result<WebSocket<TcpStream>> {
    let stream = connect(to, from, receive)?;
    let mut request = tungstenite::http::Request::builder()
        .uri(format!("ws://localhost{path}"))
        .header("Host", "localhost")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header(
            "Sec-WebSocket-Key",
            tungstenite::handshake::client::generate_key(),
        );
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let (socket, _) = tungstenite::client(request.body(())?, stream)
        .map_err(|error| anyhow::anyhow!("{path}: {error}"))?;
    Ok(socket)
}

/// Says something.
///
/// # Errors
/// The connection broke.
pub fn say(socket: &mut WebSocket<TcpStream>, text: String) -> Result<()> {
    socket.send(Message::text(text))?;
    Ok(())
}
