//! A proxy of the kind that breaks live connections: it passes plain requests and refuses what it
//! does not understand.

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

/// Longest head of a request that is waited for.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A proxy on a port of its own. Gone when dropped, with all its connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    accepting: AbortHandle,
}

impl Proxy {
    /// A proxy before a port of this machine that refuses every request whose head contains one
    /// of these, such as `Upgrade: websocket`.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn before(port: u16, refused: &[&'static str]) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let own_port = listener.local_addr()?.port();
        let refused = refused.to_vec();
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(relay(near, port, refused.clone()));
            }
        })
        .abort_handle();
        Ok(Self {
            port: own_port,
            accepting,
        })
    }

    /// The origin that leads through it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One connection for one request: the next one is looked at anew.
async fn relay(mut near: TcpStream, port: u16, refused: Vec<&'static str>) {
    let mut head = Vec::new();
    let end = loop {
        let mut buffer = [0; 4096];
        let Ok(read @ 1..) = near.read(&mut buffer).await else {
            return;
        };
        head.extend_from_slice(&buffer[..read]);
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if head.len() > HEAD_BYTES_MAX {
            return;
        }
    };
    let (lines, body) = head.split_at(end);
    let text = String::from_utf8_lossy(lines);
    if refused.iter().any(|part| text.contains(part)) {
        let answer = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        // A browser that has gone needs no answer.
        near.write_all(answer.as_bytes()).await.ok();
        return;
    }
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    let upgrades = text.contains("Upgrade: ");
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| upgrades || !line.to_ascii_lowercase().starts_with("connection:"))
        .collect();
    let mut request = lines.join("\r\n").into_bytes();
    if !upgrades {
        request.extend_from_slice(b"\r\nConnection: close");
    }
    request.extend_from_slice(body);
    if far.write_all(&request).await.is_ok() {
        // Either side may simply go.
        copy_bidirectional(&mut near, &mut far).await.ok();
    }
}
