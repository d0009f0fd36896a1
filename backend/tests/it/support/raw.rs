//! Sockets whose every byte the test chooses, and whose buffers it keeps small.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::{PATIENCE, TestServer};

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const FIN: u8 = 0x80;

/// The headers of an upgrade, without the end of the head.
pub(crate) const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A frame with this first byte, masked as clients must.
pub(crate) fn masked(head: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
    let mut bytes = vec![head];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => bytes.push(0x80 | length),
        (_, Ok(length)) => {
            bytes.push(0x80 | 126);
            bytes.extend(length.to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

/// A connection whose receive buffer is as small as the kernel allows.
pub(crate) struct Raw(pub(crate) TcpStream);

impl TestServer {
    /// Connects, and sends a request for `path` with these headers. Nothing is read.
    pub(crate) async fn raw(&self, path: &str, headers: &str) -> Raw {
        let mut raw = self.raw_connection().await;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n",
            self.address
        );
        raw.send(request.as_bytes()).await;
        raw
    }

    /// Opens a WebSocket and reads the answer's head.
    pub(crate) async fn raw_ws(&self, path: &str) -> Raw {
        let mut raw = self.raw(path, UPGRADE).await;
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        raw
    }

    pub(crate) async fn raw_connection(&self) -> Raw {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4_096).expect("a small buffer");
        Raw(socket.connect(self.address).await.expect("connected"))
    }
}

impl Raw {
    /// Sends as much as the server takes: it may have closed already, and what it answered is
    /// what counts.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        drop(self.0.write_all(bytes).await);
    }

    /// The head of the answer.
    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.byte().await.expect("a head"));
        }
        String::from_utf8(head).expect("text")
    }

    async fn byte(&mut self) -> std::io::Result<u8> {
        tokio::time::timeout(PATIENCE, self.0.read_u8())
            .await
            .expect("a byte in time")
    }

    /// The next WebSocket frame's first byte and payload; `None` at the end.
    pub(crate) async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        tokio::time::timeout(PATIENCE, async {
            let head = self.0.read_u8().await.ok()?;
            let length = match self.0.read_u8().await.ok()? {
                126 => u64::from(self.0.read_u16().await.ok()?),
                127 => self.0.read_u64().await.ok()?,
                length => u64::from(length),
            };
            let mut payload = vec![0; usize::try_from(length).ok()?];
            self.0.read_exact(&mut payload).await.ok()?;
            Some((head, payload))
        })
        .await
        .expect("a frame in time")
    }

    /// The next frame that is no ping of the server's.
    pub(crate) async fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            let frame = self.frame().await?;
            if frame.0 != FIN | PING {
                return Some(frame);
            }
        }
    }

    /// The next chunk of a chunked body; `None` at its end or the connection's.
    pub(crate) async fn chunk(&mut self) -> Option<String> {
        let mut size = String::new();
        while !size.ends_with("\r\n") {
            size.push(char::from(self.byte().await.ok()?));
        }
        let size = usize::from_str_radix(size.trim_end(), 16).expect("a size");
        let mut chunk = vec![0; size + 2];
        tokio::time::timeout(PATIENCE, self.0.read_exact(&mut chunk))
            .await
            .expect("a chunk in time")
            .ok()?;
        chunk.truncate(size);
        (size > 0).then(|| String::from_utf8(chunk).expect("UTF-8"))
    }

    /// All that comes until the server closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let reading = self.0.read_to_end(&mut rest);
        // A reset after the answer is an end, too.
        drop(
            tokio::time::timeout(PATIENCE, reading)
                .await
                .expect("an end in time"),
        );
        rest
    }

    /// Reads on until the server closes the WebSocket: the code, `None` where the connection just
    /// ended.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        while let Some((head, payload)) = self.frame().await {
            if head == FIN | CLOSE {
                return Some(u16::from_be_bytes([*payload.first()?, *payload.get(1)?]));
            }
        }
        None
    }
}
