//! The network between a replica and Redis: cut, held, mended.

use std::sync::Arc;

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// Nothing goes through, and no connection ends.
    is_held: bool,
    /// Nothing goes through this connection, counted from 0.
    held_one: Option<usize>,
    /// New connections end at once.
    is_cut: bool,
    /// Connections that were made before it grew end.
    drops: u64,
    /// Connections so far.
    made: usize,
}

/// Stands before a port of this machine. Gone when dropped.
#[derive(Debug)]
pub struct Link {
    port: u16,
    weather: Arc<watch::Sender<Weather>>,
    accepting: JoinHandle<()>,
}

impl Link {
    /// One before this port.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn before(port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let own = listener.local_addr()?.port();
        let weather = Arc::new(watch::Sender::new(Weather::default()));
        let accepting = tokio::spawn(accept(listener, port, Arc::clone(&weather)));
        Ok(Self {
            port: own,
            weather,
            accepting,
        })
    }

    /// What the replica behind it is told.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// All connections end, and no new one is taken.
    pub fn cut(&self) {
        self.weather.send_modify(|weather| {
            weather.is_cut = true;
            weather.drops += 1;
        });
    }

    /// Nothing goes through any more, and nobody is told.
    pub fn hold(&self) {
        self.weather.send_modify(|weather| weather.is_held = true);
    }

    /// The same for the newest connection alone, which is the one that messages come over: a
    /// replica first connects for its commands, and then for those.
    pub fn hold_newest(&self) {
        self.weather
            .send_modify(|weather| weather.held_one = Some(weather.made.saturating_sub(1)));
    }

    /// Everything goes through again; what was held goes first.
    pub fn mend(&self) {
        self.weather.send_modify(|weather| {
            weather.is_cut = false;
            weather.is_held = false;
            weather.held_one = None;
        });
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, to: u16, weather: Arc<watch::Sender<Weather>>) {
    while let Ok((near, _)) = listener.accept().await {
        if weather.borrow().is_cut {
            continue;
        }
        let Ok(far) = TcpStream::connect(("127.0.0.1", to)).await else {
            continue;
        };
        let mut number = 0;
        weather.send_modify(|weather| {
            number = weather.made;
            weather.made += 1;
        });
        let (from_near, to_near) = near.into_split();
        let (from_far, to_far) = far.into_split();
        tokio::spawn(pump(number, from_near, to_far, weather.subscribe()));
        tokio::spawn(pump(number, from_far, to_near, weather.subscribe()));
    }
}

async fn pump(
    number: usize,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
) {
    let drops = weather.borrow().drops;
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let count = tokio::select! {
            read = from.read(&mut bytes) => match read {
                Ok(0) | Err(_) => return,
                Ok(count) => count,
            },
            changed = weather.wait_for(|weather| weather.drops != drops) => {
                drop(changed);
                return;
            }
        };
        // Held bytes wait here until they may go, or the connection ends.
        let may_go = |weather: &Weather| !weather.is_held && weather.held_one != Some(number);
        let is_dropped = match weather
            .wait_for(|weather| may_go(weather) || weather.drops != drops)
            .await
        {
            Ok(weather) => weather.drops != drops,
            Err(_) => true,
        };
        if is_dropped || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
