//! The network between a page and its server: a relay that can be cut and stalled.
//!
//! A killed server is one way to lose a connection, and the friendly one. Here the server goes
//! on, so that what a page missed can be told from what never was.

use std::sync::Arc;

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{AbortHandle, JoinSet},
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Bytes pass.
    Whole,
    /// Connections stay open and nothing passes: a laptop that went to sleep, a dead router.
    Stalled,
    /// Connections are closed, and new ones too.
    Cut,
}

/// A relay on a port of its own. Gone when dropped, with all its connections.
#[derive(Debug)]
pub struct Link {
    port: u16,
    state: Arc<watch::Sender<State>>,
    accepting: AbortHandle,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Whole => "Whole",
            Self::Stalled => "Stalled",
            Self::Cut => "Cut",
        })
    }
}

impl Link {
    /// A whole link to a port of this machine.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn to(port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let own_port = listener.local_addr()?.port();
        let state = Arc::new(watch::Sender::new(State::Whole));
        let accepting = tokio::spawn(accept(listener, port, Arc::clone(&state))).abort_handle();
        Ok(Self {
            port: own_port,
            state,
            accepting,
        })
    }

    /// The origin that leads through it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Closes every connection, and lets none live until [`Self::mend`].
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Lets nothing pass until [`Self::mend`], and closes nothing.
    pub fn stall(&self) {
        self.state.send_replace(State::Stalled);
    }

    /// Makes it whole again.
    pub fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Its task owns those of the connections.
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, port: u16, state: Arc<watch::Sender<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(relay(near, port, state.subscribe()));
    }
}

/// One connection; ends when either side does, or when the link is cut.
async fn relay(near: TcpStream, port: u16, mut state: watch::Receiver<State>) {
    if *state.borrow_and_update() == State::Cut {
        return;
    }
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    let (near_reads, near_writes) = near.into_split();
    let (far_reads, far_writes) = far.into_split();
    tokio::select! {
        () = pump(near_reads, far_writes, state.clone()) => {}
        () = pump(far_reads, near_writes, state.clone()) => {}
        _ = state.wait_for(|state| *state == State::Cut) => {}
    }
}

/// One direction.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        // Read before the stall, and not yet through.
        if state
            .wait_for(|state| *state != State::Stalled)
            .await
            .is_err()
        {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
