//! Answers that are made now, of each caller in the order in which they were begun.
//!
//! Many large answers that are made at once would each have a part of the room that their caller
//! has, and none enough to get done. So the first of them waits where there is no room, for as long
//! as there are others that may give theirs back, and the others do not wait: they are refused.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::questions::lane::Queue;

/// The answers that are made now, by caller. **Invariant**: a caller of whom nothing is made is not
/// kept.
#[derive(Debug, Default)]
pub(super) struct Making {
    /// Leaf lock.
    state: Mutex<State>,
    /// Told whenever one has ended.
    ended: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    of: HashMap<Queue, BTreeSet<u64>>,
}

/// One answer's place; left when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    making: Arc<Making>,
    queue: Queue,
    number: u64,
}

impl Making {
    /// The last place of this caller's.
    pub(super) fn begin(self: &Arc<Self>, queue: Queue) -> Place {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.of.entry(queue).or_default().insert(number);
        Place {
            making: Arc::clone(self),
            queue,
            number,
        }
    }
}

impl Place {
    /// For the first of a caller's that is not its only one: when another answer has ended, from
    /// now on.
    pub(super) fn others_end(&self) -> Option<impl Future<Output = ()> + use<>> {
        let ended = Arc::clone(&self.making.ended).notified_owned();
        let state = self.making.state.lock();
        let places = state.of.get(&self.queue)?;
        let is_first = places.first() == Some(&self.number);
        (is_first && places.len() > 1).then_some(ended)
    }

    /// Whether it is the first of its caller's.
    pub(super) fn is_first(&self) -> bool {
        let state = self.making.state.lock();
        let places = state.of.get(&self.queue);
        places.is_some_and(|places| places.first() == Some(&self.number))
    }

    /// The answer is made, or is not going to be.
    pub(super) fn leave(&self) {
        let mut state = self.making.state.lock();
        if let Some(places) = state.of.get_mut(&self.queue) {
            places.remove(&self.number);
            if places.is_empty() {
                state.of.remove(&self.queue);
            }
        }
        drop(state);
        self.making.ended.notify_waiters();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures_util::FutureExt as _;

    use super::*;

    fn queue(last: u8) -> Queue {
        Queue::Address(Some(IpAddr::from([192, 0, 2, last])))
    }

    #[test]
    fn the_first_of_a_callers_waits_for_the_others_and_they_do_not() {
        let making = Arc::<Making>::default();
        let first = making.begin(queue(1));
        let stranger = making.begin(queue(2));
        assert!(first.others_end().is_none(), "there is nobody to wait for");
        assert!(first.is_first() && stranger.is_first());
        let (second, third) = (making.begin(queue(1)), making.begin(queue(1)));
        assert!(second.others_end().is_none() && third.others_end().is_none());
        let ended = first.others_end().expect("two others");
        // Whatever ends after that is told, also if nobody has looked yet.
        drop(second);
        assert!(ended.now_or_never().is_some());
        let ended = first.others_end().expect("one other");
        assert!(ended.now_or_never().is_none());
        assert!(!third.is_first());
        drop(first);
        assert!(third.is_first());
        assert!(third.others_end().is_none());
        drop((third, stranger));
        assert!(making.state.lock().of.is_empty());
    }
}
