//! How a connection is made: straight, through a proxy, or to a Unix socket. TLS comes on top.

use std::{
    future::Future,
    io,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderValue, Uri, uri::Scheme};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector, proxy::Tunnel},
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::guard::{Guard, Resolver};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Makes the connection below TLS.
#[derive(Clone, Debug)]
pub(crate) struct Dialler {
    tcp: HttpConnector<Resolver>,
    proxy: Option<Proxy>,
    unix_socket: Option<PathBuf>,
    guard: Option<Guard>,
}

/// An HTTP proxy and who is asked without it.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    pub(crate) at: Uri,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) without: Vec<String>,
}

impl Proxy {
    fn is_for(&self, to: &Uri) -> bool {
        let host = to.host().unwrap_or_default();
        !self.without.iter().any(|rule| {
            let name = rule.trim_start_matches('.');
            rule == "*"
                || host.eq_ignore_ascii_case(name)
                || host.len() > name.len()
                    && host.is_char_boundary(host.len() - name.len())
                    && host[host.len() - name.len()..].eq_ignore_ascii_case(name)
                    && host.as_bytes()[host.len() - name.len() - 1] == b'.'
        })
    }

    /// What a plain request says to the proxy; one through a tunnel says it to the tunnel alone.
    pub(crate) fn header_for(&self, to: &Uri) -> Option<&HeaderValue> {
        let plain = to.scheme() == Some(&Scheme::HTTP);
        self.authorization
            .as_ref()
            .filter(|_| plain && self.is_for(to))
    }
}

impl Dialler {
    pub(crate) fn new(
        proxy: Option<Proxy>,
        unix_socket: Option<PathBuf>,
        guard: Option<Guard>,
    ) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver::new(guard));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Self {
            tcp,
            proxy,
            unix_socket,
            guard,
        }
    }

    async fn dial(mut self, to: Uri) -> Result<Socket, BoxError> {
        #[cfg(unix)]
        if let Some(path) = &self.unix_socket {
            let stream = tokio::net::UnixStream::connect(path).await?;
            return Ok(Socket::Unix(TokioIo::new(stream)));
        }
        #[cfg(not(unix))]
        if self.unix_socket.is_some() {
            return Err("there are no Unix sockets on this system".into());
        }
        let proxy = self.proxy.take().filter(|proxy| proxy.is_for(&to));
        // What is an address already asks no resolver.
        if let Some(guard) = &self.guard {
            guard.check_host(to.host().unwrap_or_default())?;
            let between = proxy.as_ref().and_then(|proxy| proxy.at.host());
            guard.check_host(between.unwrap_or_default())?;
        }
        match proxy {
            None => Ok(Socket::Tcp(self.tcp.call(to).await?)),
            Some(proxy) if to.scheme() == Some(&Scheme::HTTPS) => {
                let mut tunnel = Tunnel::new(proxy.at, self.tcp);
                if let Some(authorization) = proxy.authorization {
                    tunnel = tunnel.with_auth(authorization);
                }
                Ok(Socket::Tcp(tunnel.call(to).await?))
            }
            Some(proxy) => Ok(Socket::Proxied(self.tcp.call(proxy.at).await?)),
        }
    }
}

impl Service<Uri> for Dialler {
    type Response = Socket;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Socket, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        Box::pin(self.clone().dial(to))
    }
}

/// A connection as it was made.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TokioIo<TcpStream>),
    /// To a proxy that wants to be told the whole address.
    Proxied(TokioIo<TcpStream>),
    #[cfg(unix)]
    Unix(TokioIo<tokio::net::UnixStream>),
}

/// Does the same with whichever stream it is.
macro_rules! with_stream {
    ($socket:expr, $stream:ident => $done:expr) => {
        match $socket.get_mut() {
            Socket::Tcp($stream) | Socket::Proxied($stream) => {
                let $stream = Pin::new($stream);
                $done
            }
            #[cfg(unix)]
            Socket::Unix($stream) => {
                let $stream = Pin::new($stream);
                $done
            }
        }
    };
}

impl Read for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        with_stream!(self, stream => stream.poll_read(context, buffer))
    }
}

impl Write for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        with_stream!(self, stream => stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_stream!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_stream!(self, stream => stream.poll_shutdown(context))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        with_stream!(self, stream => stream.poll_write_vectored(context, parts))
    }
}

impl Connection for Socket {
    fn connected(&self) -> Connected {
        Connected::new().proxy(matches!(self, Self::Proxied(_)))
    }
}
