//! Links that make a browser admin, at all servers: whichever the browser is sent to. Redis has the
//! digest of each that works, from whichever server has it, and of each that was used, which is
//! what makes two who show the same one at two servers one after another.
//!
//! While the others are away a server takes those of its own that it has told nobody of.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use pulseboard_bus::{BusError, Space};
use tokio::sync::Mutex;

use super::{asking::Asking, turns::Turns};
use crate::{
    access::{
        link::{LIFETIME_MS, Links},
        secret::Digest,
    },
    base::clock::Clock,
    cluster::within,
};

/// What Redis says of one: that it is there.
const THERE: &[u8] = b"1";

/// The links of all servers.
#[derive(Debug)]
pub struct SharedLinks {
    asking: Asking,
    /// This server's own.
    links: Arc<Links>,
    turns: Arc<Turns>,
    clock: Clock,
    /// Of its own those that were told, or may have been: from then on they are all servers'. Held
    /// while that is done, and while one is used that was not.
    told: Mutex<BTreeMap<Digest, Told>>,
}

#[derive(Debug)]
struct Told {
    /// Redis has it for sure.
    is_there: bool,
}

impl SharedLinks {
    /// Nothing is told yet.
    #[must_use]
    pub fn new(asking: Asking, links: Arc<Links>, turns: Arc<Turns>, clock: Clock) -> Self {
        Self {
            asking,
            links,
            turns,
            clock,
            told: Mutex::default(),
        }
    }

    /// Has all servers know of the links that this one has, and of those no longer that another one
    /// has taken the place of. Called a few times in a second.
    ///
    /// # Errors
    /// They are away.
    pub async fn follow(&self) -> Result<(), BusError> {
        let common = self.asking.common()?;
        let mut told = self.told.lock().await;
        let now_ms = self.clock.now_ms();
        let known = self.here(move |links| links.known(now_ms)).await;
        let gone = told
            .keys()
            .filter(|one| !known.iter().any(|(known, _)| known == *one));
        for digest in gone.copied().collect::<Vec<_>>() {
            within(common.forget(Space::Link, &String::from(digest))).await?;
            told.remove(&digest);
        }
        for (digest, expires_ms) in known {
            let one = told.entry(digest).or_insert(Told { is_there: false });
            if one.is_there {
                // Where it was used elsewhere, this server would take it after a restart, alone.
                let used = within(common.look(Space::Link, &used(&digest))).await?;
                if used.is_some() {
                    self.here(move |links| links.forget(&digest)).await;
                }
                continue;
            }
            let left_ms = (expires_ms - now_ms).clamp(1, LIFETIME_MS);
            let left = Duration::from_millis(left_ms.unsigned_abs());
            within(common.keep(Space::Link, &String::from(digest), THERE, left)).await?;
            one.is_there = true;
        }
        Ok(())
    }

    /// Uses a link up, whichever server has it; whether it is one. For somebody at this address.
    ///
    /// # Errors
    /// That cannot be found out now; it may be used up.
    pub async fn redeem(&self, shown: Digest, address: IpAddr) -> Result<bool, BusError> {
        let now_ms = self.clock.now_ms();
        let is_here = self.here(move |links| links.has(&shown, now_ms)).await;
        if is_here {
            let told = self.told.lock().await;
            if self.asking.common().is_err() && !told.contains_key(&shown) {
                return Ok(self.here(move |links| links.redeem(&shown, now_ms)).await);
            }
        }
        let common = self.asking.common()?;
        let _turn = self.turns.take(address)?;
        if !is_here
            && within(common.look(Space::Link, &String::from(shown)))
                .await?
                .is_none()
        {
            return Ok(false);
        }
        let kept = Duration::from_millis(LIFETIME_MS.unsigned_abs());
        let used = used(&shown);
        let is_first = within(common.keep_new(Space::Link, &used, THERE, kept)).await?;
        self.here(move |links| links.forget(&shown)).await;
        Ok(is_first)
    }

    /// What this server has; may wait for the disk.
    async fn here<T: Default + Send + 'static>(
        &self,
        look: impl FnOnce(&Links) -> T + Send + 'static,
    ) -> T {
        let links = Arc::clone(&self.links);
        let looked = tokio::task::spawn_blocking(move || look(&links)).await;
        looked.unwrap_or_else(|error| {
            tracing::error!(%error, "looking for admin links broke off");
            T::default()
        })
    }
}

/// Under which name Redis says that one was used.
fn used(link: &Digest) -> String {
    format!("used:{}", String::from(*link))
}
