//! How a connection begins: at once, or with the handshake of TLS where `TLS_CERT` is given.
//!
//! A handshake costs a signature, and some kilobytes until it is done. So each address has some at
//! once and some in a second, further ones wait without being read ([`super::handshakes`]), each
//! has its time, and none is done by who accepts. Who has sent nothing has none.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use salvo::http::{HeaderValue, header};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsAcceptor;

use super::{
    connections::HEAD_DEADLINE, finish::set_date, handshakes::Handshakes, transport::Transport,
};
use crate::{
    app::App,
    base::{error::AppError, telemetry::Limit},
    http::{error::Render as _, via},
    stream::takeover::encode_head,
};

/// A handshake has to be done within this time.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Handshakes at once. What arrives of one is at most 64 KiB before it is done.
const HANDSHAKES_MAX: usize = 2_048;
/// Of one address.
const PER_ADDRESS_MAX: usize = 128;
/// What every handshake begins with (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 0x16;
/// How long one who is told something outside of HTTP may take to read it.
const SAY_DEADLINE: Duration = Duration::from_secs(1);

/// The way in of one listener.
pub(super) struct Doors {
    acceptor: Option<TlsAcceptor>,
    handshakes: Arc<Handshakes>,
}

impl Doors {
    /// For a listener that speaks these protocols over TLS; plain ones where there is none.
    pub(super) fn new(app: &App, protocols: &[&[u8]]) -> Self {
        let certificate = app.certificate.as_ref();
        Self {
            acceptor: certificate.map(|certificate| certificate.acceptor(protocols)),
            handshakes: Handshakes::new(HANDSHAKES_MAX, PER_ADDRESS_MAX),
        }
    }

    pub(super) fn speak_tls(&self) -> bool {
        self.acceptor.is_some()
    }

    /// Does the handshake; `None` of a connection that began otherwise, too slowly, or while the
    /// server stops.
    pub(super) async fn open(
        &self,
        app: &App,
        stream: TcpStream,
        remote: SocketAddr,
    ) -> Option<Transport> {
        if !self.speak_tls() {
            return Some(Transport::Plain(stream));
        }
        // Apart, so that who speaks plainly needs no room for it.
        let passing = Box::pin(self.pass(app, stream, remote));
        tokio::select! {
            opened = passing => opened,
            () = app.stopping.cancelled() => None,
        }
    }

    /// The same, whether the server stops or not.
    pub(super) async fn pass(
        &self,
        app: &App,
        stream: TcpStream,
        remote: SocketAddr,
    ) -> Option<Transport> {
        let Some(acceptor) = &self.acceptor else {
            return Some(Transport::Plain(stream));
        };
        let opening = async {
            let mut first = [0];
            let peeked = timeout(HANDSHAKE_DEADLINE, stream.peek(&mut first));
            // Gone before it said anything?
            if !matches!(peeked.await.ok()?, Ok(1..)) {
                return Some(None);
            }
            let [first] = first;
            let waiting = async {
                if first == HANDSHAKE_RECORD && is_paced(app, remote.ip()) {
                    self.handshakes.pace(remote.ip()).await;
                }
                self.handshakes.take(remote.ip()).await
            };
            let _turn = timeout(HEAD_DEADLINE, waiting).await.ok()?;
            let shaking = shake_hands(app, acceptor, (first, stream), remote);
            timeout(HANDSHAKE_DEADLINE, shaking).await.ok()
        };
        opening.await.unwrap_or_else(|| {
            app.telemetry.count_limit(Limit::HandshakeDeadline);
            tracing::debug!(client.address = %remote.ip(), "a handshake was not done in time");
            None
        })
    }
}

/// Whether an address stands for one client: not this machine, where a proxy may be, and no proxy
/// that is known as one.
fn is_paced(app: &App, address: IpAddr) -> bool {
    let address = address.to_canonical();
    !address.is_loopback() && !via::trusts(&app.settings.trusted_proxies, address)
}

async fn shake_hands(
    app: &App,
    acceptor: &TlsAcceptor,
    (first, stream): (u8, TcpStream),
    remote: SocketAddr,
) -> Option<Transport> {
    if first != HANDSHAKE_RECORD {
        tracing::debug!(client.address = %remote.ip(), "a connection began without TLS");
        if first.is_ascii_alphabetic() {
            let refusal = AppError::bad_request(
                "this port speaks TLS, and this request came without: ask by https://",
            );
            say(stream, &refusal, app.clock.now_ms()).await;
        }
        return None;
    }
    match acceptor.accept(stream).await {
        Ok(tls) => Some(Transport::Tls(Box::new(tls))),
        Err(error) => {
            tracing::debug!(client.address = %remote.ip(), %error, "a handshake failed");
            None
        }
    }
}

/// Says one thing in clear text, whatever was asked, and closes. The client's bytes are read and
/// let go, since closing a socket with unread bytes resets it, and the answer with it.
pub(super) async fn say(stream: TcpStream, said: &AppError, now_ms: i64) {
    let mut response = salvo::Response::new();
    said.clone().render(&mut response);
    let salvo::http::ResBody::Once(body) = response.take_body() else {
        return;
    };
    let headers = response.headers_mut();
    set_date(headers, now_ms);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let status = response.status_code.unwrap_or_default();
    let answer = [encode_head(status, response.headers()), body].concat();
    let answering = async {
        stream.writable().await?;
        // The socket is new: an answer this short fits.
        stream.try_write(&answer)?;
        socket2::SockRef::from(&stream).shutdown(std::net::Shutdown::Write)?;
        let mut read = [0; 1024];
        loop {
            stream.readable().await?;
            match stream.try_read(&mut read) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    };
    // Gone before the answer, or slow with it: it is closed in any case.
    drop(timeout(SAY_DEADLINE, answering).await);
}
