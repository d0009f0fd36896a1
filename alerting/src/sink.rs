//! Who hears of alerts.

use crate::AlertEvent;

/// Hears of every alert that is sent, in one order. It is called under a lock that those wait for
/// who ask which alerts are active: it takes the event and returns; whatever takes long (a disk, a
/// mail server) has a bounded queue and a task of its own.
pub trait AlertSink: Send + Sync {
    /// One alert was sent: an incident began, goes on, or ended. `offset` numbers the events, each
    /// one more than the last, across restarts.
    fn publish(&self, offset: u64, event: &AlertEvent);

    /// The same of one whose way to the other servers of the service is not this sink's to see to:
    /// they have it.
    fn publish_sent(&self, offset: u64, event: &AlertEvent) {
        self.publish(offset, event);
    }

    /// Another server of the same service sent one. Nothing to those who tell others what is sent
    /// here.
    fn hear(&self, offset: u64, event: &AlertEvent) {
        let _nothing_to_us = (offset, event);
    }
}
