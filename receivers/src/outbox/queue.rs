//! What waits: bounded, in lanes by receiver and way, in order by group. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use pulseboard_history::log::Ticket;
use tokio::sync::{Notify, Semaphore};

use super::delivery::{Delivery, DeliveryState};
use crate::{config::WayName, notification::Notification};

/// Tries at the same time in one lane, each of another group.
const LANE_TRIES: usize = 4;

/// A way out of one receiver of one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LaneKey {
    pub(super) tenant: Arc<str>,
    pub(super) receiver: String,
    pub(super) way: WayName,
}

/// A notification with ways to go.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) notification: Arc<Notification>,
    bytes: usize,
    /// When it is on disk; of one that is in memory only nothing.
    pub(super) ticket: Option<Ticket>,
    pub(super) open: BTreeMap<WayName, Try>,
}

/// How far one way is.
#[derive(Clone, Debug, Default)]
pub(super) struct Try {
    pub(super) tries: u32,
    pub(super) next_ms: i64,
    pub(super) why: Option<String>,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) permits: Arc<Semaphore>,
    /// Told when what waits is to be tried at once.
    pub(super) hurry: Arc<Notify>,
    groups: HashMap<String, BTreeSet<u64>>,
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct Queue {
    bounds: Bounds,
    pub(super) next_number: u64,
    kept: BTreeMap<u64, Kept>,
    bytes: usize,
    keys: HashSet<(Arc<str>, String, String)>,
    /// Notifications that wait, by receiver, and by tenant under no name.
    waiting: HashMap<(Arc<str>, String), usize>,
    lanes: HashMap<LaneKey, Lane>,
}

/// A lane's group that somebody has to look after from now on.
pub(super) type Begun = (LaneKey, String);

impl Queue {
    pub(super) fn new(bounds: Bounds, next_number: u64) -> Self {
        Self {
            bounds,
            next_number,
            kept: BTreeMap::new(),
            bytes: 0,
            keys: HashSet::new(),
            waiting: HashMap::new(),
            lanes: HashMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, number: u64) -> Option<&Kept> {
        self.kept.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Kept> {
        self.kept.get_mut(&number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Kept)> {
        self.kept.iter().map(|(number, kept)| (*number, kept))
    }

    pub(super) fn lane(&self, key: &LaneKey) -> Option<&Lane> {
        self.lanes.get(key)
    }

    /// Whether it waits already.
    pub(super) fn knows(&self, notification: &Notification) -> bool {
        self.keys.contains(&key_of(notification))
    }

    /// Whether one more has room. A receiver has a quarter of all and a tenant half: one that
    /// hangs takes nobody's place.
    ///
    /// # Errors
    /// Which bound it is, in words.
    pub(super) fn has_room(&self, notification: &Notification, bytes: usize) -> Result<(), String> {
        let Bounds {
            count,
            bytes: most_bytes,
        } = self.bounds;
        if self.kept.len() >= count {
            return Err(format!("{count} notifications wait, and no more may"));
        }
        if self.bytes + bytes > most_bytes {
            return Err(format!(
                "notifications of {} bytes wait, and {most_bytes} are the limit",
                self.bytes
            ));
        }
        for (at, most, whose) in [
            (receiver_of(notification), count / 4, "this receiver"),
            (tenant_of(notification), count / 2, "this tenant"),
        ] {
            let most = most.max(1);
            if self
                .waiting
                .get(&at)
                .is_some_and(|waiting| *waiting >= most)
            {
                return Err(format!(
                    "{most} notifications for {whose} wait, and no more may"
                ));
            }
        }
        Ok(())
    }

    /// Takes one; whoever calls has looked whether it has room. Groups that nobody looks after yet
    /// are returned.
    pub(super) fn add(
        &mut self,
        number: u64,
        notification: Arc<Notification>,
        bytes: usize,
        ticket: Option<Ticket>,
        ways: Vec<(WayName, Try)>,
    ) -> Vec<Begun> {
        let mut begun = Vec::new();
        for (way, _) in &ways {
            let key = lane_of(&notification, way);
            let lane = self.lanes.entry(key.clone()).or_insert_with(|| Lane {
                permits: Arc::new(Semaphore::new(LANE_TRIES)),
                hurry: Arc::new(Notify::new()),
                groups: HashMap::new(),
            });
            let group = &notification.group_key;
            // One that is empty is looked after still: whoever does has not come back for the next.
            if !lane.groups.contains_key(group) {
                begun.push((key, group.clone()));
            }
            let numbers = lane.groups.entry(group.clone()).or_default();
            numbers.insert(number);
        }
        self.bytes += bytes;
        self.keys.insert(key_of(&notification));
        for at in [receiver_of(&notification), tenant_of(&notification)] {
            *self.waiting.entry(at).or_default() += 1;
        }
        let kept = Kept {
            notification,
            bytes,
            ticket,
            open: ways.into_iter().collect(),
        };
        self.kept.insert(number, kept);
        self.next_number = self.next_number.max(number + 1);
        begun
    }

    /// The first of a group; where there is none, nobody looks after it from now on.
    pub(super) fn head(&mut self, key: &LaneKey, group: &str) -> Option<u64> {
        let lane = self.lanes.get_mut(key)?;
        let first = lane.groups.get(group).and_then(BTreeSet::first).copied();
        if first.is_none() {
            lane.groups.remove(group);
            if lane.groups.is_empty() {
                self.lanes.remove(key);
            }
        }
        first
    }

    /// A way was gone or given up.
    pub(super) fn done(&mut self, key: &LaneKey, group: &str, number: u64) {
        if let Some(lane) = self.lanes.get_mut(key)
            && let Some(numbers) = lane.groups.get_mut(group)
        {
            numbers.remove(&number);
        }
        let Some(kept) = self.kept.get_mut(&number) else {
            return;
        };
        kept.open.remove(&key.way);
        if kept.open.is_empty()
            && let Some(kept) = self.kept.remove(&number)
        {
            self.bytes -= kept.bytes;
            self.keys.remove(&key_of(&kept.notification));
            for at in [
                receiver_of(&kept.notification),
                tenant_of(&kept.notification),
            ] {
                if let Some(count) = self.waiting.get_mut(&at) {
                    *count -= 1;
                    if *count == 0 {
                        self.waiting.remove(&at);
                    }
                }
            }
        }
    }

    /// Everything for a receiver is due at once.
    pub(super) fn hurry(&mut self, tenant: &str, receiver: &str) {
        for kept in self.kept.values_mut() {
            let notification = &kept.notification;
            if &*notification.tenant == tenant && notification.receiver == receiver {
                for one in kept.open.values_mut() {
                    one.next_ms = 0;
                }
            }
        }
        for (key, lane) in &self.lanes {
            if &*key.tenant == tenant && key.receiver == receiver {
                lane.hurry.notify_waiters();
            }
        }
    }

    /// What a tenant's notifications wait for, the oldest first.
    pub(super) fn lines(&self, tenant: &str) -> Vec<Delivery> {
        let mut lines = Vec::new();
        for (number, kept) in self.iter() {
            if &*kept.notification.tenant != tenant {
                continue;
            }
            for (way, one) in &kept.open {
                let mut line = Delivery::of(number, way, &kept.notification);
                if one.tries > 0 {
                    line.state = DeliveryState::Retrying;
                    line.tries = one.tries;
                    line.next_ms = Some(one.next_ms);
                    line.error.clone_from(&one.why);
                }
                lines.push(line);
            }
        }
        lines
    }
}

fn key_of(notification: &Notification) -> (Arc<str>, String, String) {
    (
        Arc::clone(&notification.tenant),
        notification.receiver.clone(),
        notification.key.clone(),
    )
}

fn receiver_of(notification: &Notification) -> (Arc<str>, String) {
    (
        Arc::clone(&notification.tenant),
        notification.receiver.clone(),
    )
}

/// No receiver has no name.
fn tenant_of(notification: &Notification) -> (Arc<str>, String) {
    (Arc::clone(&notification.tenant), String::new())
}

pub(super) fn lane_of(notification: &Notification, way: &WayName) -> LaneKey {
    LaneKey {
        tenant: Arc::clone(&notification.tenant),
        receiver: notification.receiver.clone(),
        way: way.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(key: &str) -> Arc<Notification> {
        Arc::new(Notification {
            key: key.to_owned(),
            tenant: "default".into(),
            receiver: "a".to_owned(),
            group_key: "g".to_owned(),
            group_labels: BTreeMap::new(),
            alerts: Vec::new(),
            truncated: 0,
            external_url: String::new(),
            created_ms: 0,
            note: None,
            page: None,
        })
    }

    #[test]
    fn a_group_has_one_who_looks_after_it() {
        let bounds = Bounds {
            count: 10,
            bytes: 1000,
        };
        let mut queue = Queue::new(bounds, 1);
        let way = WayName("webhook[0]".to_owned());
        let add = |queue: &mut Queue, number: u64| {
            let ways = vec![(way.clone(), Try::default())];
            let one = notification(&number.to_string());
            queue.add(number, one, 1, None, ways).len()
        };
        assert_eq!(add(&mut queue, 1), 1);
        let lane = lane_of(&notification("1"), &WayName("webhook[0]".to_owned()));
        assert_eq!(queue.head(&lane, "g"), Some(1));
        queue.done(&lane, "g", 1);
        // Whoever sent the first writes down that it went, and comes back for this one.
        assert_eq!(add(&mut queue, 2), 0);
        assert_eq!(queue.head(&lane, "g"), Some(2));
        queue.done(&lane, "g", 2);
        assert_eq!(queue.head(&lane, "g"), None);
        assert_eq!(add(&mut queue, 3), 1, "nobody does any more");
        assert_eq!((queue.len(), queue.bytes()), (1, 1));
    }
}
