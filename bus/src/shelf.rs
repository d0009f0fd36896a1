//! Shelves: named texts that all servers have a copy of. Each has a revision, each change a larger
//! one than all before it on its shelf, and never smaller than the clock; so a copy asks for what
//! changed after the newest revision that it has, and no revision is given twice though writes be
//! lost.
//!
//! Whoever does something for all writes with the token of its lease ([`Fence`]): once somebody
//! has shown a newer one, what comes with an older one is refused. What is to be told of a change
//! ([`Shelve::tell`]) is told with it or not at all; whoever had no answer asks again with the same
//! [`Shelve::once`], and is told what became of it.
//!
//! What is gone is known by its revision, too, the newest [`GONE_MAX`] of it: who was away learns
//! that it is gone, and does not bring it back. After a loss of writes whoever knows of one that
//! was lost says so ([`Change::Bring`], [`Change::Bury`]), and a newer word that is there holds.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    cluster::Cluster, error::BusError, key::FeedKey, route::Partition, scripts::Name, value,
};

/// Things on one shelf.
pub const THINGS_MAX: usize = 20_000;
/// Bytes of one of them.
pub const THING_BYTES_MAX: usize = 16 << 20;
/// Of what is gone so much is known; of what went before, that it may have been there.
pub const GONE_MAX: usize = 10_000;
/// A change is known to be made for so long: longer than anybody asks for it again.
const ONCE_KEPT: Duration = Duration::from_mins(1);
/// What is asked for at once.
const PAGE: usize = 512;
const PAGE_BYTES: usize = 4 << 20;

/// With which token of which partition's lease somebody acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Whose lease.
    pub partition: Partition,
    /// As [`crate::Work::token`] gave it.
    pub token: u64,
}

/// What becomes of a thing.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// It says this.
    Set(&'a [u8]),
    /// It is gone.
    Remove,
    /// It says this, with a revision that it was given before Redis lost it; done where Redis
    /// knows no newer one. It is given another one where something else has a newer one.
    Bring(&'a [u8], u64),
    /// Likewise, it was gone.
    Bury(u64),
}

/// A change of a shelf.
#[derive(Clone, Copy, Debug)]
pub struct Shelve<'a> {
    /// Which thing, and what becomes of it; `None` shows the token and tells.
    pub thing: Option<(&'a str, Change<'a>)>,
    /// The revision that was read, 0 for none; `None`: whichever.
    pub read: Option<u64>,
    /// Who does it, where that is one server for all.
    pub fence: Option<Fence>,
    /// Names this change, where it may be asked for again: it is made once.
    pub once: Option<u64>,
    /// Feeds of the service itself (tenant `""`, one kind), and what is appended to them.
    pub tell: &'a [(&'a FeedKey, Bytes)],
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelved {
    /// It is done; the thing's revision now.
    Done(u64),
    /// It has this revision, 0 where there is none; nothing was done.
    Other(u64),
    /// Somebody with a newer token is at work; nothing was done.
    Outdated,
    /// There are [`THINGS_MAX`].
    Full,
}

/// A thing that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    /// Which.
    pub name: String,
    /// Its revision.
    pub revision: u64,
    /// What it says; `None`: it is gone.
    pub bytes: Option<Bytes>,
}

/// What changed on a shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Whose data it is: of another one some may be lost that were there.
    pub lineage: String,
    /// The newest revision on the shelf; 0 where nothing was ever put there.
    pub newest: u64,
    /// The oldest change first. Where the last one is older than `newest` there are more.
    pub things: Vec<Thing>,
}

impl Cluster {
    fn shelf_keys(&self, shelf: &str) -> [String; 3] {
        let own = |what: &str| self.hub.keys.own(&format!("{what}:{shelf}"));
        [own("shelf"), own("shelfv"), own("shelfg")]
    }

    /// Changes a thing on a shelf.
    ///
    /// # Errors
    /// Redis is away or refuses; whether it was done is seen by looking.
    pub async fn shelve(&self, shelf: &str, shelve: Shelve<'_>) -> Result<Shelved, BusError> {
        let of = "a shelf";
        let hub = &self.hub;
        let mut feeds: Vec<&FeedKey> = Vec::new();
        for (feed, _) in shelve.tell {
            if !feed.tenant.is_empty() {
                let why = "a shelf is told of on feeds of the service itself";
                return Err(BusError::Refused(why.into()));
            }
            if !feeds.contains(feed) {
                feeds.push(feed);
            }
        }
        let (name, change) = shelve.thing.unwrap_or(("", Change::Remove));
        let (what, bytes, brought): (&str, &[u8], u64) = match change {
            Change::Set(bytes) => ("set", bytes, 0),
            Change::Remove => ("del", b"", 0),
            Change::Bring(bytes, revision) => ("bring", bytes, revision),
            Change::Bury(revision) => ("bury", b"", revision),
        };
        if bytes.len() > THING_BYTES_MAX {
            let why = format!("{} bytes, of at most {THING_BYTES_MAX}", bytes.len());
            return Err(BusError::Refused(why.into()));
        }
        let own = Partition::of("");
        let once = shelve.once.unwrap_or_default();
        let once_kept = shelve.once.map_or(0, |_| ONCE_KEPT.as_millis());
        let mut command = Name::Shelve.command(6 + 2 * feeds.len());
        let [things, revisions, gone] = self.shelf_keys(shelf);
        command
            .arg(things)
            .arg(revisions)
            .arg(hub.keys.own("fence"))
            .arg(hub.keys.generation(own))
            .arg(gone)
            .arg(hub.keys.own(&format!("once:{}:{once}", hub.member)));
        for feed in &feeds {
            let keys = hub.keys.feed(feed);
            command.arg(keys.stream).arg(keys.meta);
        }
        let kept = feeds.first().map(|feed| hub.settings.kept.of(feed.kind));
        let read = shelve.read.map(|read| read.to_string());
        let (whose, token) = shelve.fence.map_or((String::new(), 0), |fence| {
            (fence.partition.number().to_string(), fence.token)
        });
        command
            .arg(hub.lineage(own).as_deref().unwrap_or_default())
            .arg(name)
            .arg(read.unwrap_or_default())
            .arg(what)
            .arg(bytes)
            .arg(brought)
            .arg(whose)
            .arg(token)
            .arg(THINGS_MAX)
            .arg(GONE_MAX)
            .arg(once_kept.to_string())
            .arg(kept.map_or(0, |kept| kept.frames))
            .arg(kept.map_or(0, |kept| kept.time.as_secs().max(1)));
        for (feed, frame) in shelve.tell {
            let number = feeds.iter().position(|one| one == feed).unwrap_or_default();
            command.arg(number + 1).arg(&frame[..]);
        }
        let answer = hub.ask(own, command).await?;
        let mut answer = value::list(answer, of)?.into_iter();
        let outcome: u8 = value::number(value::next(&mut answer, of)?, of)?;
        let revision = value::number(value::next(&mut answer, of)?, of)?;
        Ok(match outcome {
            0 => Shelved::Other(revision),
            1 => Shelved::Done(revision),
            2 => Shelved::Outdated,
            _ => Shelved::Full,
        })
    }

    /// What changed on a shelf after a revision; 0: everything that lies there, and what is known
    /// to be gone.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn shelf(&self, shelf: &str, after: u64) -> Result<Changes, BusError> {
        let of = "a shelf's changes";
        let mut command = Name::Shelved.command(2);
        let [things, revisions, _] = self.shelf_keys(shelf);
        command.arg(things).arg(revisions);
        command.arg(after).arg(PAGE).arg(PAGE_BYTES);
        let answer = self.hub.ask(Partition::of(""), command).await?;
        let mut answer = value::list(answer, of)?.into_iter();
        let lineage = value::text(value::next(&mut answer, of)?, of)?;
        let newest = value::number(value::next(&mut answer, of)?, of)?;
        let mut things = Vec::new();
        while let Some(name) = answer.next() {
            let name = value::text(name, of)?;
            let revision = value::number(value::next(&mut answer, of)?, of)?;
            let said = value::bytes(value::next(&mut answer, of)?, of)?;
            things.push(Thing {
                name,
                revision,
                bytes: said.starts_with(b"1").then(|| said.slice(1..)),
            });
        }
        Ok(Changes {
            lineage,
            newest,
            things,
        })
    }
}
