//! An HTTP/1.1 client that costs little: one connection, one request at a time.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// An answer must be there in this time.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// One connection that is kept.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    line: String,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("{address:?}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
        Ok(Self {
            stream: BufReader::with_capacity(64 * 1024, stream),
            line: String::new(),
        })
    }

    /// Sends a whole request, head and body, and reads the answer into `body`; its status.
    ///
    /// # Errors
    /// The connection broke, or the answer is not HTTP.
    pub fn ask(&mut self, request: &[u8], body: &mut Vec<u8>) -> Result<u16> {
        body.clear();
        self.stream.get_mut().write_all(request)?;
        let head = self.line()?;
        let status: u16 = head
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .with_context(|| format!("{head:?} is no status line"))?;
        let mut length = 0;
        let mut is_chunked = false;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            is_chunked |= line == "transfer-encoding: chunked";
        }
        if !is_chunked {
            self.read(length, body)?;
            return Ok(status);
        }
        loop {
            let size = u64::from_str_radix(self.line()?.trim(), 16)?;
            self.read(size, body)?;
            self.line()?;
            if size == 0 {
                return Ok(status);
            }
        }
    }

    fn line(&mut self) -> Result<&str> {
        self.line.clear();
        if self.stream.read_line(&mut self.line)? == 0 {
            bail!("the server closed the connection");
        }
        Ok(self.line.trim_end())
    }

    fn read(&mut self, length: u64, body: &mut Vec<u8>) -> Result<()> {
        let read = (&mut self.stream).take(length).read_to_end(body)?;
        if read as u64 != length {
            bail!("an answer broke off");
        }
        Ok(())
    }
}

/// A whole POST. `host` is the address that is called: a server believes who calls it by another
/// name less.
#[must_use]
pub fn post(host: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    let mut request = head.into_bytes();
    request.extend_from_slice(body);
    request
}

/// A whole GET, as [`post`] has it.
#[must_use]
pub fn get(host: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}
