//! A proxy that cuts, holds and drops connections.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mode {
    /// Nothing goes through, and nobody is told.
    is_held: bool,
    /// Nothing goes through this connection, counted from 0.
    held_one: Option<usize>,
    /// New connections are refused.
    is_cut: bool,
    /// Connections that were made before it grew end.
    drops: u64,
}

/// Stands before a server.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    to: Arc<AtomicU16>,
    mode: Arc<watch::Sender<Mode>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let own = listener.local_addr().expect("an address").port();
        let mode = Arc::new(watch::Sender::new(Mode {
            is_held: false,
            held_one: None,
            is_cut: false,
            drops: 0,
        }));
        let to = Arc::new(AtomicU16::new(port));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&to), Arc::clone(&mode)));
        Self {
            port: own,
            to,
            mode,
            accepting,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on new connections lead to another server.
    pub(crate) fn point_to(&self, port: u16) {
        self.to.store(port, Ordering::Release);
    }

    /// Nothing goes through any more, and no connection ends.
    pub(crate) fn hold(&self) {
        self.mode.send_modify(|mode| mode.is_held = true);
    }

    /// Nothing goes through this connection any more, and it does not end.
    pub(crate) fn hold_one(&self, number: usize) {
        self.mode.send_modify(|mode| mode.held_one = Some(number));
    }

    /// All connections end; new ones may be made.
    pub(crate) fn drop_all(&self) {
        self.mode.send_modify(|mode| mode.drops += 1);
    }

    /// All connections end, and no new one is taken.
    pub(crate) fn cut(&self) {
        self.mode.send_modify(|mode| {
            mode.is_cut = true;
            mode.drops += 1;
        });
    }

    /// Everything is well again.
    pub(crate) fn heal(&self) {
        self.mode.send_modify(|mode| {
            mode.is_cut = false;
            mode.is_held = false;
            mode.held_one = None;
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, to: Arc<AtomicU16>, mode: Arc<watch::Sender<Mode>>) {
    for number in 0.. {
        let Ok((client, _)) = listener.accept().await else {
            return;
        };
        if mode.borrow().is_cut {
            continue;
        }
        let to = SocketAddr::from(([127, 0, 0, 1], to.load(Ordering::Acquire)));
        let Ok(server) = TcpStream::connect(to).await else {
            continue;
        };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::spawn(pump(number, from_client, to_server, mode.subscribe()));
        tokio::spawn(pump(number, from_server, to_client, mode.subscribe()));
    }
}

async fn pump(
    number: usize,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
) {
    let drops = mode.borrow().drops;
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let count = tokio::select! {
            read = from.read(&mut bytes) => match read {
                Ok(0) | Err(_) => return,
                Ok(count) => count,
            },
            dropped = mode.wait_for(|mode| mode.drops != drops) => {
                drop(dropped);
                return;
            }
        };
        // Held bytes wait here until they may go, or the connection is dropped.
        let may_go = |mode: &Mode| !mode.is_held && mode.held_one != Some(number);
        let is_dropped = match mode
            .wait_for(|mode| may_go(mode) || mode.drops != drops)
            .await
        {
            Ok(mode) => mode.drops != drops,
            Err(_) => true,
        };
        if is_dropped || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
