//! Between the outbox, which knows receivers, and the manager, which tells one way of a receiver at
//! a time: in the outbox a receiver is called by its name and the way's.

use std::sync::Arc;

use pulseboard_notify::{Delivery, Way};
use pulseboard_receivers::{
    Courier, Notification, Outcome,
    config::WayName,
    outbox::{Deliver, Trying},
};

/// Stands between the two names; no name has it.
const BETWEEN: char = '\u{1f}';

/// A notification as the outbox is to have it.
#[must_use]
pub(super) fn packed(delivery: Delivery) -> Notification {
    let Delivery {
        way,
        mut notification,
        ..
    } = delivery;
    notification.receiver = name_of(&way);
    notification
}

/// How the outbox calls a way.
#[must_use]
pub(super) fn name_of(way: &Way) -> String {
    format!("{}{BETWEEN}{}", way.receiver, way.name.0)
}

/// The way by which the outbox calls a receiver.
#[must_use]
pub(super) fn way_of(receiver: &str) -> Way {
    let (receiver, name) = split(receiver);
    Way {
        receiver: receiver.to_owned(),
        name: WayName(name.to_owned()),
    }
}

fn split(receiver: &str) -> (&str, &str) {
    receiver.rsplit_once(BETWEEN).unwrap_or((receiver, ""))
}

/// Who carries what the outbox holds.
#[derive(Debug)]
pub(super) struct Carrier {
    pub(super) courier: Courier,
    /// Whether a tenant's people are told by this server.
    pub(super) tells: Tells,
}

/// See [`Carrier::tells`].
pub(super) struct Tells(pub(super) Box<dyn Fn(&str) -> bool + Send + Sync>);

impl std::fmt::Debug for Tells {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tells")
    }
}

impl Deliver for Carrier {
    fn ways(&self, tenant: &str, receiver: &str) -> Option<Vec<(WayName, bool)>> {
        let (receiver, name) = split(receiver);
        let ways = self.courier.ways(tenant, receiver)?.into_iter();
        // Whether it is told that alerts are over was decided before it came here.
        let one = ways.filter(|(way, _)| way.0 == name);
        Some(one.map(|(way, _)| (way, true)).collect())
    }

    fn deliver(&self, notification: Arc<Notification>, way: WayName) -> Trying {
        // Right before each try: of several servers another one may have gone on with it.
        if !(self.tells.0)(&notification.tenant) {
            return Box::pin(async { Outcome::Left });
        }
        let mut unpacked = (*notification).clone();
        unpacked.receiver = split(&notification.receiver).0.to_owned();
        self.courier.deliver(Arc::new(unpacked), way)
    }
}
