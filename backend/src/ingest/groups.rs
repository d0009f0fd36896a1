//! Which series were pushed to which group (`/metrics/job/JOB{/LABEL/VALUE}`), so that a later push
//! ends those that it does not name.
//!
//! It is in memory and bounded, for all and for each caller; where there is no room a tenant's
//! group that was pushed to longest ago is forgotten. Series of a group that nobody knows any more
//! (after a restart, too) end like any other that nothing comes for.
//!
//! What a push ends is remembered until its samples are safe: a push that is sent again ends it
//! again.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use pulseboard_ingest::push_group::Grouping;
use pulseboard_series::{Batch, KeyRef, STALE_MARKER_BITS};

use crate::shares::{CallerKeys, Share, Shares};

/// What one series takes beside its key.
const MEMBER_BYTES: usize = 64;

/// What a push does to what its group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// Ends all series that it does not name.
    Replace,
    /// Ends those of the metrics that it names.
    Merge,
    /// Ends all.
    Delete,
}

/// A push whose samples are not safe yet; see [`Groups::confirm`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending(u64);

/// The groups of one tenant.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by: HashMap<Grouping, Group>,
    /// Grows with each push.
    pushes: u64,
}

#[derive(Debug)]
struct Group {
    members: HashSet<Box<[u8]>>,
    /// No members any more, and whether that is safe is not known.
    ending: HashSet<Box<[u8]>>,
    /// The number of the newest push.
    pushed: u64,
    /// What it takes of all groups' memory.
    _share: Share,
}

impl Groups {
    /// Takes note of a push, and adds to its batch the end of the series that it ends. `room`: all
    /// groups' memory.
    pub(super) fn push(
        &mut self,
        grouping: &Grouping,
        push: Push,
        (room, keys): (&Arc<Shares>, &CallerKeys),
        batch: &mut Batch,
    ) -> Pending {
        self.pushes += 1;
        let (mut members, mut ending) = match self.by.remove(grouping) {
            Some(group) => (group.members, group.ending),
            None => Default::default(),
        };
        let named: HashSet<Box<[u8]>> = batch
            .rows()
            .iter()
            .map(|row| batch.key(row).as_bytes().into())
            .collect();
        match push {
            Push::Replace | Push::Delete => ending.extend(members.drain()),
            Push::Merge => {
                let rows = batch.rows().iter();
                let names: HashSet<&str> = rows.map(|row| batch.key(row).name()).collect();
                let is_replaced = |key: &[u8]| names.contains(KeyRef::new(key).name());
                ending.extend(members.extract_if(|key| is_replaced(key)));
            }
        }
        ending.retain(|key| !named.contains(key));
        members.extend(named);
        for key in &ending {
            write_end(KeyRef::new(key), batch);
        }
        if !members.is_empty() || !ending.is_empty() {
            let keys_bytes = members.iter().chain(&ending);
            let keys_bytes = keys_bytes.map(|key| key.len() + MEMBER_BYTES);
            let bytes = grouping.bytes() + keys_bytes.sum::<usize>();
            if let Some(share) = self.find_room(bytes, room, keys) {
                let group = Group {
                    members,
                    ending,
                    pushed: self.pushes,
                    _share: share,
                };
                self.by.insert(grouping.clone(), group);
            }
        }
        Pending(self.pushes)
    }

    /// Room for a group; others are forgotten for it, the one pushed to longest ago first.
    fn find_room(&mut self, bytes: usize, room: &Arc<Shares>, keys: &CallerKeys) -> Option<Share> {
        loop {
            if let Ok(share) = room.acquire(keys, bytes) {
                return Some(share);
            }
            let oldest = self.by.iter().min_by_key(|(_, group)| group.pushed);
            let oldest = oldest.map(|(grouping, _)| grouping.clone())?;
            self.by.remove(&oldest);
        }
    }

    /// The samples of a push are safe: what it ended is over, unless a newer push has taken that
    /// on.
    pub(super) fn confirm(&mut self, grouping: &Grouping, pending: Pending) {
        let Some(group) = self.by.get_mut(grouping) else {
            return;
        };
        if group.pushed == pending.0 {
            group.ending.clear();
            if group.members.is_empty() {
                self.by.remove(grouping);
            }
        }
    }
}

/// Adds the marker that says that a series has ended.
fn write_end(key: KeyRef<'_>, batch: &mut Batch) {
    let written = batch.begin(&[key.name()]).and_then(|()| {
        for (name, value) in key.labels() {
            batch.label(name, value)?;
        }
        batch.finish(1, None, f64::from_bits(STALE_MARKER_BITS))
    });
    // It was a row before: all that can be wrong is that there is no room now.
    if let Err(reason) = written {
        batch.refuse(1, reason);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::{base::telemetry::Limit, shares::ShareLimits};

    fn keys() -> CallerKeys {
        CallerKeys {
            client: None,
            address: Some(IpAddr::from([192, 0, 2, 1])),
            token: None,
            tenant: Some("t".into()),
        }
    }

    fn room(all: usize) -> Arc<Shares> {
        let limits = ShareLimits {
            client: usize::MAX,
            address: usize::MAX,
            token: usize::MAX,
            tenant: usize::MAX,
            all,
            kept_sixteenths: 0,
        };
        let counted_as = |_| Limit::PushGroups;
        Shares::new("bytes of groups", counted_as, limits, Arc::default())
    }

    fn batch(names: &[&str]) -> Batch {
        let mut batch = Batch::new();
        for name in names {
            let (name, label) = name.split_once('/').unwrap_or((name, ""));
            batch.begin(&[name]).expect("a name");
            batch.label("l", label).expect("a label");
            batch.finish(1, None, 1.0).expect("a row");
        }
        batch
    }

    /// Names of the series that a push ended.
    fn ended(groups: &mut Groups, room: &Arc<Shares>, push: Push, names: &[&str]) -> Vec<String> {
        let grouping = Grouping::of_path("job/a").expect("a group");
        let (ended, _) = pushed(groups, room, &grouping, push, names);
        ended
    }

    fn pushed(
        groups: &mut Groups,
        room: &Arc<Shares>,
        grouping: &Grouping,
        push: Push,
        names: &[&str],
    ) -> (Vec<String>, Pending) {
        let mut batch = batch(names);
        let pending = groups.push(grouping, push, (room, &keys()), &mut batch);
        let ends = batch.rows()[names.len()..].iter();
        let mut ended: Vec<String> = ends
            .map(|row| {
                assert!(pulseboard_series::is_stale_marker(row.value));
                batch.key(row).to_string()
            })
            .collect();
        ended.sort();
        (ended, pending)
    }

    #[test]
    fn each_way_to_push_ends_its_own() {
        let (mut groups, room) = (Groups::default(), room(1 << 20));
        let grouping = Grouping::of_path("job/a").expect("a group");
        let mut push = |push, names: &[&str]| {
            let (ended, pending) = pushed(&mut groups, &room, &grouping, push, names);
            groups.confirm(&grouping, pending);
            ended
        };
        assert!(push(Push::Replace, &["a/1", "a/2", "b"]).is_empty());
        assert_eq!(push(Push::Merge, &["a/2", "a/3", "c"]), ["a{l=\"1\"}"]);
        assert_eq!(push(Push::Replace, &["a/2", "c"]), ["a{l=\"3\"}", "b"]);
        assert_eq!(push(Push::Delete, &[]), ["a{l=\"2\"}", "c"]);
        assert!(push(Push::Delete, &[]).is_empty());
        assert!(groups.by.is_empty());
        assert_eq!(room.taken(), 0, "nothing is kept of it");
    }

    #[test]
    fn what_is_not_safe_is_ended_again() {
        let (mut groups, room) = (Groups::default(), room(1 << 20));
        assert!(ended(&mut groups, &room, Push::Replace, &["a", "b"]).is_empty());
        assert_eq!(ended(&mut groups, &room, Push::Replace, &["a"]), ["b"]);
        assert_eq!(ended(&mut groups, &room, Push::Replace, &["a"]), ["b"]);
        // One that is there again is not ended.
        assert!(ended(&mut groups, &room, Push::Replace, &["a", "b"]).is_empty());
    }

    #[test]
    fn groups_are_forgotten_where_there_is_no_room() {
        let (mut groups, room) = (Groups::default(), room(2_000));
        for number in 0..100 {
            let grouping = Grouping::of_path(&format!("job/{number}")).expect("a group");
            pushed(&mut groups, &room, &grouping, Push::Replace, &["a", "b"]);
            assert!(room.taken() <= 2_000);
            assert!(groups.by.contains_key(&grouping));
        }
        assert!((2..50).contains(&groups.by.len()));
    }
}
