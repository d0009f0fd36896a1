//! A server that has missed more than Redis holds gets the history of another one: whole, and with
//! the places in the ingest log that it goes up to.
//!
//! Whoever asks leaves the digest of a ticket in Redis, which only members can, and shows the
//! ticket; whoever is asked takes it from there, so it is good for one copy. What comes is unpacked
//! beside the own history, and takes its place while the server begins anew, without the process
//! ending ([`copy::adopt`]).

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use pulseboard_bus::{BusError, Member, Space};
use pulseboard_outbound::{Client, ClientConfig};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    copy::{self, Unpacking},
    outgoing::Outgoing,
};
use crate::{
    access::secret::{Digest, new_secret},
    base::clock::Clock,
    cluster::Cluster,
};

/// The header that shows a ticket.
pub const TICKET: &str = "x-pulseboard-ticket";
/// Where a copy is asked for.
pub const PATH: &str = "internal/history";

/// A ticket is good for so long; whoever is asked first makes the copy, and answers then.
const TICKET_KEPT: Duration = Duration::from_secs(60);
/// Making the copy may take so long, and so may a piece of it.
const HEAD_WITHIN: Duration = Duration::from_secs(600);
const PIECE_WITHIN: Duration = Duration::from_secs(60);

/// Between two looks for somebody who has it.
const AGAIN: Duration = Duration::from_millis(500);
/// How often it is looked whether what a copy took the place of is old.
const TIDIED_EVERY: Duration = Duration::from_secs(3_600);
/// Where nobody has it for so long, it is done without.
const GIVEN_UP: Duration = Duration::from_secs(60);

/// Whether a copy is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Need {
    /// No.
    #[default]
    Nothing,
    /// Yes.
    Copy,
    /// It was, and nobody had one.
    Without,
}

/// The same, for who finds it out and who gets it.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    need: Mutex<Need>,
    /// How far this server was when Redis lost the log; see [`Member::reached`]. Leaf lock.
    reached: Mutex<String>,
    changed: Notify,
}

impl Wanted {
    pub(super) fn want(&self) {
        let mut need = self.need.lock();
        if *need == Need::Nothing {
            *need = Need::Copy;
            self.changed.notify_one();
        }
    }

    /// Redis has lost the log when this server was so far.
    pub(super) fn reached(&self, digest: &str) {
        digest.clone_into(&mut self.reached.lock());
    }

    pub(super) fn need(&self) -> Need {
        *self.need.lock()
    }

    /// What was found out last is dealt with.
    pub(super) fn done(&self) {
        *self.need.lock() = Need::Nothing;
    }
}

/// Why somebody gave no copy.
#[derive(Debug, thiserror::Error)]
enum NoCopy {
    #[error("this machine has no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Outbound(#[from] pulseboard_outbound::Error),
    #[error("it answers {0}")]
    Answered(u16),
    #[error("{0}")]
    Disk(#[from] io::Error),
    #[error("unpacking it panicked")]
    Panicked,
    #[error("what was taken in here meanwhile has not reached the others")]
    Unsent,
}

/// Gets copies.
pub(super) struct Joining {
    pub(super) cluster: Arc<Cluster>,
    pub(super) outgoing: Arc<Outgoing>,
    pub(super) clock: Clock,
    pub(super) wanted: Arc<Wanted>,
    pub(super) folder: PathBuf,
    /// A copy may have so many bytes.
    pub(super) bytes_max: u64,
    /// This server has what was never in the log: only who has it, too, may give a copy.
    pub(super) more: bool,
    /// Cancelled when a copy lies ready.
    pub(super) again: CancellationToken,
}

impl Joining {
    /// Gets one when it is needed, until `stopping`.
    pub(super) async fn run(self, stopping: CancellationToken) {
        let joined = async {
            loop {
                self.wanted.changed.notified().await;
                if self.join().await {
                    self.again.cancel();
                    return;
                }
                tracing::info!("nobody has what this server may have missed; it goes on");
                *self.wanted.need.lock() = Need::Without;
            }
        };
        tokio::select! {
            () = stopping.cancelled() => {}
            () = joined => {}
            never = self.tidy() => match never {},
        }
    }

    /// Removes what a copy took the place of, in its time.
    async fn tidy(&self) -> std::convert::Infallible {
        loop {
            sleep(TIDIED_EVERY).await;
            let folder = self.folder.clone();
            let tidied = tokio::task::spawn_blocking(move || copy::forget_replaced(&folder)).await;
            if let Ok(Err(error)) = tidied {
                tracing::warn!(%error, "the history that a copy took the place of cannot be removed");
            }
        }
    }

    /// Whether this server had all that another one had when Redis lost the log.
    fn has_what(&self, member: &Member) -> bool {
        let reached = self.wanted.reached.lock();
        !reached.is_empty() && *reached == member.reached
    }

    /// Whether somebody gave one, which lies ready.
    async fn join(&self) -> bool {
        let mut since = Instant::now();
        let mut told = String::new();
        loop {
            if !self.outgoing.is_connected() {
                since = Instant::now();
                sleep(AGAIN).await;
                continue;
            }
            let view = self.cluster.view();
            let me = self.cluster.member();
            let others: Vec<&Member> = view.live.iter().filter(|one| *one.id != **me).collect();
            let ready = others
                .iter()
                .filter(|one| one.ready && !one.peer.is_empty() && (one.more || !self.more));
            for member in ready {
                if self.has_what(member) {
                    return false;
                }
                match self.copy_of(member).await {
                    Ok(()) => return true,
                    Err(why) => {
                        let why = format!("{}: {why}", member.instance);
                        if why != told {
                            tracing::warn!(reason = %why, "the history of another server cannot be copied");
                            told = why;
                        }
                    }
                }
            }
            let is_first = others.iter().all(|one| one.id.as_str() > &**me);
            let is_nobody_ready = others.iter().all(|one| !one.ready);
            // Of several that all wait for each other the first goes on.
            let is_over = view.heard.is_some() && is_nobody_ready && is_first;
            if is_over || since.elapsed() > GIVEN_UP {
                return false;
            }
            sleep(AGAIN).await;
        }
    }

    async fn copy_of(&self, member: &Member) -> Result<(), NoCopy> {
        let ticket = new_secret()?;
        let asked_ms = self.clock.now_ms();
        let common = self.cluster.common();
        let digest = String::from(Digest::of(&ticket));
        common
            .keep_new(Space::Copy, &digest, b"1", TICKET_KEPT)
            .await?;
        let client = Client::new(&ClientConfig::default())?;
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(&ticket) {
            headers.insert(HeaderName::from_static(TICKET), value);
        }
        let url = format!("{}/{PATH}", member.peer);
        tracing::info!(from = %member.instance, "the history of another server is copied");
        let mut reader = client
            .open(&url, &headers, Instant::now() + HEAD_WITHIN)
            .await?;
        if reader.status != 200 {
            return Err(NoCopy::Answered(reader.status));
        }
        let (folder, bytes_max) = (self.folder.clone(), self.bytes_max);
        let begun = tokio::task::spawn_blocking(move || Unpacking::begin(&folder, bytes_max));
        let mut unpacking = begun.await.map_err(|_panicked| NoCopy::Panicked)??;
        while let Some(piece) = reader.chunk(Instant::now() + PIECE_WITHIN).await? {
            let taken =
                tokio::task::spawn_blocking(move || unpacking.take(&piece).map(|()| unpacking));
            unpacking = taken.await.map_err(|_panicked| NoCopy::Panicked)??;
            self.cluster.say_behind(Some(format!(
                "behind: more was missed than Redis holds; the history of {} is copied, {} bytes so far",
                member.instance,
                unpacking.bytes()
            )));
        }
        // What was taken in here and is with nobody else stays here until it is.
        let since = Instant::now();
        while !self.outgoing.is_all_sent() {
            if since.elapsed() > GIVEN_UP {
                return Err(NoCopy::Unsent);
            }
            sleep(Duration::from_millis(20)).await;
        }
        let ended = tokio::task::spawn_blocking(move || unpacking.end(asked_ms));
        ended.await.map_err(|_panicked| NoCopy::Panicked)??;
        Ok(())
    }
}
