//! Finds the primaries and keeps a session with each.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep};

use crate::{
    check, dial,
    error::ConnectError,
    hub::{ALL, Hub, Node},
    session,
    settings::{Server, Servers},
};

/// Between two tries to connect, at first and at most.
const SOONEST: Duration = Duration::from_millis(50);
const LATEST: Duration = Duration::from_secs(2);
/// A connection that lasted for so long was a good one.
const GOOD: Duration = Duration::from_secs(5);

/// Waits longer each time, and never as long as another server does.
struct Backoff(Duration);

impl Backoff {
    fn new() -> Self {
        Self(SOONEST)
    }

    async fn wait(&mut self) {
        let most = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let least = u64::try_from(SOONEST.as_millis()).unwrap_or_default();
        sleep(Duration::from_millis(fastrand::u64(
            least..=most.max(least),
        )))
        .await;
        self.0 = (self.0 * 2).min(LATEST);
    }
}

/// Looks whether the Redis that is named will do, once.
///
/// # Errors
/// It will not, or cannot be reached.
pub(crate) async fn try_once(hub: &Hub) -> Result<(), ConnectError> {
    let mut tasks = JoinSet::new();
    let server = primary(hub).await?;
    let connection = dial::connect(&hub.settings, &server, None, &mut tasks).await?;
    check::check(hub, &server, &connection, ALL).await.map(drop)
}

/// Keeps connected, for ever.
pub(crate) async fn keep(hub: &Arc<Hub>) -> std::convert::Infallible {
    let node = Arc::new(Node::default());
    let mut backoff = Backoff::new();
    let mut told = String::new();
    loop {
        let began = Instant::now();
        let ended = match primary(hub).await {
            Ok(server) => session::run(hub, &node, &server, ALL).await,
            Err(error) => error,
        };
        hub.look(Some(ended.to_string().into()));
        hub.figures.reconnects.add(1);
        if began.elapsed() > GOOD {
            backoff = Backoff::new();
            told.clear();
        }
        // Said once, however often it is tried.
        let text = ended.to_string();
        if text != told {
            tracing::warn!(reason = %text, "not connected to Redis; this server goes on alone until it is");
            told = text;
        }
        backoff.wait().await;
    }
}

/// Where the primary is.
async fn primary(hub: &Hub) -> Result<Server, ConnectError> {
    match &hub.settings.address.servers {
        Servers::Single(server) => Ok(server.clone()),
        Servers::Sentinel { .. } | Servers::Cluster(_) => {
            Err(crate::error::BusError::away("not yet").into())
        }
    }
}
