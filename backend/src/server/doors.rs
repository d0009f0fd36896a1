//! How a connection begins: at once, or with the handshake of TLS where `TLS_CERT` is given.
//!
//! A handshake costs a signature, and some kilobytes until it is done. So each address has some at
//! once, further ones wait without being read, each has its time, and none is done by who accepts.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use salvo::http::{HeaderValue, header};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{connections::HEAD_DEADLINE, finish::set_date, transport::Transport};
use crate::{
    app::App,
    base::{address::network_of, error::AppError, telemetry::Limit},
    http::error::Render as _,
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
    handshakes: Handshakes,
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
        tokio::select! {
            opened = self.pass(app, stream, remote) => opened,
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
            let waiting = self.handshakes.take(remote.ip());
            let _turn = timeout(HEAD_DEADLINE, waiting).await.ok()?;
            timeout(
                HANDSHAKE_DEADLINE,
                shake_hands(app, acceptor, stream, remote),
            )
            .await
            .ok()
        };
        opening.await.unwrap_or_else(|| {
            app.telemetry.count_limit(Limit::HandshakeDeadline);
            tracing::debug!(client.address = %remote.ip(), "a handshake was not done in time");
            None
        })
    }
}

async fn shake_hands(
    app: &App,
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    remote: SocketAddr,
) -> Option<Transport> {
    let mut first = [0];
    // Gone before it said anything.
    if stream.peek(&mut first).await.ok()? == 0 {
        return None;
    }
    let [first] = first;
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

/// Who has how many handshakes under way. Who finds all taken waits, its address's first.
struct Handshakes {
    all: Arc<Semaphore>,
    per_address_max: usize,
    /// Leaf lock; held for a look-up. An entry is there as long as somebody has a handshake or
    /// waits.
    per_address: Arc<Mutex<HashMap<IpAddr, Weak<Semaphore>>>>,
}

/// The right to one; dropping it gives it on.
struct Turn {
    /// Given back in the order of declaration.
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
    _entry: Entry,
}

/// Keeps an address's entry.
struct Entry {
    network: IpAddr,
    own: Option<Arc<Semaphore>>,
    per_address: Arc<Mutex<HashMap<IpAddr, Weak<Semaphore>>>>,
}

impl Handshakes {
    fn new(all: usize, per_address_max: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all)),
            per_address_max,
            per_address: Arc::default(),
        }
    }

    /// Waits for a turn. May be given up.
    async fn take(&self, address: IpAddr) -> Option<Turn> {
        let (entry, own) = self.enter(network_of(address));
        // Neither is ever closed.
        let own = own.acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn {
            _all: all,
            _own: own,
            _entry: entry,
        })
    }

    fn enter(&self, network: IpAddr) -> (Entry, Arc<Semaphore>) {
        let mut per_address = self.per_address.lock();
        let known = per_address.get(&network).and_then(Weak::upgrade);
        let own = known.unwrap_or_else(|| {
            let own = Arc::new(Semaphore::new(self.per_address_max));
            per_address.insert(network, Arc::downgrade(&own));
            own
        });
        let entry = Entry {
            network,
            own: Some(Arc::clone(&own)),
            per_address: Arc::clone(&self.per_address),
        };
        (entry, own)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut per_address = self.per_address.lock();
        // The last one takes the entry away.
        drop(self.own.take());
        let is_last = per_address
            .get(&self.network)
            .is_some_and(|own| own.strong_count() == 0);
        if is_last {
            per_address.remove(&self.network);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, poll};

    use super::*;

    #[tokio::test]
    async fn an_address_waits_for_its_own_handshakes_and_not_for_others() {
        let handshakes = Handshakes::new(3, 2);
        let (one, other) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let first = handshakes.take(one).await.expect("a turn");
        let second = handshakes.take(one).await.expect("a turn");
        let mut third = Box::pin(handshakes.take(one));
        assert!(poll!(&mut third).is_pending());
        let others = handshakes.take(other).now_or_never().flatten();
        assert!(others.is_some(), "there is one left");
        drop(second);
        assert!(third.now_or_never().flatten().is_some());
        drop((first, others));
        assert!(handshakes.per_address.lock().is_empty(), "nothing is kept");
        assert_eq!(handshakes.all.available_permits(), 3);
    }

    #[tokio::test]
    async fn who_gives_up_leaves_nothing() {
        let handshakes = Handshakes::new(1, 1);
        let address = [10, 0, 0, 1].into();
        let turn = handshakes.take(address).await.expect("a turn");
        let mut waiting = Box::pin(handshakes.take(address));
        assert!(poll!(&mut waiting).is_pending());
        drop(waiting);
        drop(turn);
        assert!(handshakes.per_address.lock().is_empty());
        assert!(handshakes.take(address).now_or_never().flatten().is_some());
    }
}
