//! A connection that speaks something else than HTTP, such as mail: to an address that was looked
//! at, with TLS at once or when it is asked for.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, lookup_host},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{Error, Guard, config::TlsConfig, guard::refused, tls::client_config};

/// The connection. Whoever uses it has a deadline of their own around everything.
#[derive(Debug)]
pub enum Plain {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Plain {
    /// Connects to `host:port`, whose name is resolved once.
    ///
    /// # Errors
    /// There is no such name, it may not be asked, or nobody answers there.
    pub async fn connect(host: &str, port: u16, guard: Guard) -> Result<Self, Error> {
        let to = || format!("{host}:{port}");
        let told = |error: io::Error| match refused(&error) {
            true => Error::Forbidden {
                to: to(),
                why: error.to_string(),
            },
            false => Error::Connect {
                to: to(),
                why: error.to_string(),
            },
        };
        let found = lookup_host((host, port)).await.map_err(told)?;
        let allowed = guard.among(found).map_err(told)?;
        let stream = TcpStream::connect(&*allowed).await.map_err(told)?;
        stream.set_nodelay(true).map_err(told)?;
        Ok(Self::Tcp(stream))
    }

    /// Goes on with TLS, and believes whom `config` says; `host` is whose certificate it has to be.
    ///
    /// # Errors
    /// The configuration cannot be used, or the other side is not believed.
    pub async fn secure(self, host: &str, config: &TlsConfig) -> Result<Self, Error> {
        let Self::Tcp(stream) = self else {
            return Ok(self);
        };
        let told = |why: String| Error::Connect {
            to: host.to_owned(),
            why,
        };
        let name = match config.expected_name()? {
            Some(name) => name,
            None => {
                ServerName::try_from(host.to_owned()).map_err(|error| told(error.to_string()))?
            }
        };
        let connector = TlsConnector::from(Arc::new(client_config(config)?));
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|error| told(error.to_string()))?;
        Ok(Self::Tls(Box::new(stream)))
    }

    /// Whether nobody between can read it.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

/// Does the same with whichever stream it is.
macro_rules! with_stream {
    ($plain:expr, $stream:ident => $done:expr) => {
        match $plain.get_mut() {
            Plain::Tcp($stream) => {
                let $stream = Pin::new($stream);
                $done
            }
            Plain::Tls($stream) => {
                let $stream = Pin::new($stream.as_mut());
                $done
            }
        }
    };
}

impl AsyncRead for Plain {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        with_stream!(self, stream => stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Plain {
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
}
