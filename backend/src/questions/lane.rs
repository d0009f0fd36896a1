//! Turns at work that takes a while: so many at once, and of those who wait each caller's next in
//! turn, so that one with many bodies holds up nobody but itself.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    net::IpAddr,
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{access::token::TokenId, shares::CallerKeys};

/// Whose turns are counted together: a token's wherever it comes from, else an address'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Queue {
    Token(TokenId),
    Address(Option<IpAddr>),
}

impl Queue {
    pub(crate) fn of(keys: &CallerKeys) -> Self {
        keys.token.map_or(Self::Address(keys.address), Self::Token)
    }
}

/// Turns at one kind of work, so many at once, and those who wait for one.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Leaf lock.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Who has somebody waiting, in the order in which they come next.
    order: VecDeque<Queue>,
    waiting: HashMap<Queue, VecDeque<oneshot::Sender<Turn>>>,
}

/// A turn; dropping it makes it the next one's.
#[derive(Debug)]
pub(crate) struct Turn {
    /// `None` once it has been given on.
    lane: Option<Arc<Lane>>,
}

impl Lane {
    /// So many at once.
    pub(crate) fn new(turns: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                free: turns,
                order: VecDeque::new(),
                waiting: HashMap::new(),
            }),
        })
    }

    /// A turn, where one is free now.
    pub(crate) fn try_enter(self: &Arc<Self>) -> Option<Turn> {
        let mut state = self.state.lock();
        state.free = state.free.checked_sub(1)?;
        drop(state);
        Some(Turn::of(self))
    }

    /// Waits for a turn. Whoever no longer waits is passed over.
    pub(crate) async fn enter(self: &Arc<Self>, queue: Queue) -> Turn {
        let waiting = {
            let mut state = self.state.lock();
            if state.free > 0 {
                state.free -= 1;
                return Turn::of(self);
            }
            let (turn, waiting) = oneshot::channel();
            let others = state.waiting.entry(queue).or_default();
            others.push_back(turn);
            if others.len() == 1 {
                state.order.push_back(queue);
            }
            waiting
        };
        match waiting.await {
            Ok(turn) => turn,
            // A sender is dropped with its turn handed over; for completeness, one out of line.
            Err(_) => Turn { lane: None },
        }
    }

    /// Whether somebody waits for a turn.
    pub(crate) fn is_crowded(&self) -> bool {
        !self.state.lock().order.is_empty()
    }

    fn next(&self) -> Option<oneshot::Sender<Turn>> {
        let mut state = self.state.lock();
        while let Some(queue) = state.order.pop_front() {
            let Some(others) = state.waiting.get_mut(&queue) else {
                continue;
            };
            let next = others.pop_front();
            if others.is_empty() {
                state.waiting.remove(&queue);
            } else {
                state.order.push_back(queue);
            }
            if let Some(next) = next.filter(|next| !next.is_closed()) {
                return Some(next);
            }
        }
        state.free += 1;
        None
    }
}

impl Turn {
    fn of(lane: &Arc<Lane>) -> Self {
        Self {
            lane: Some(Arc::clone(lane)),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(lane) = self.lane.take() else {
            return;
        };
        while let Some(next) = lane.next() {
            match next.send(Self::of(&lane)) {
                Ok(()) => return,
                // Gone at this very moment: the turn is the next one's, and is not dropped here.
                Err(mut unwanted) => unwanted.lane = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, future::BoxFuture};

    use super::*;

    fn queue(last: u8) -> Queue {
        Queue::Address(Some(IpAddr::from([192, 0, 2, last])))
    }

    fn enter(lane: &Arc<Lane>, last: u8) -> BoxFuture<'static, Turn> {
        let lane = Arc::clone(lane);
        async move { lane.enter(queue(last)).await }.boxed()
    }

    #[tokio::test]
    async fn one_with_many_bodies_holds_up_nobody_but_itself() {
        let lane = Lane::new(1);
        let turn = lane.enter(queue(1)).await;
        let mut flood: Vec<_> = (0..100).map(|_| enter(&lane, 1)).collect();
        for one in &mut flood {
            assert!(futures_util::poll!(one).is_pending());
        }
        let mut other = enter(&lane, 2);
        assert!(futures_util::poll!(&mut other).is_pending());
        drop(turn);
        // One of the flood was first, and then it is the other's turn.
        let first = futures_util::poll!(&mut flood[0]);
        assert!(first.is_ready() && futures_util::poll!(&mut other).is_pending());
        drop(first);
        let turn = other.await;
        // Those who have gone are passed over, and nothing is kept of them.
        drop(flood);
        let mut last = enter(&lane, 3);
        assert!(futures_util::poll!(&mut last).is_pending());
        drop(turn);
        drop(last.await);
        let state = lane.state.lock();
        assert_eq!(state.free, 1);
        assert!(state.waiting.is_empty() && state.order.is_empty());
    }

    #[tokio::test]
    async fn a_turn_given_to_somebody_who_went_is_not_lost() {
        let lane = Lane::new(2);
        let turns = (lane.enter(queue(1)).await, lane.enter(queue(1)).await);
        let mut waiting = enter(&lane, 2);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(turns);
        // It has its turn already, and never looked.
        drop(waiting);
        assert_eq!(lane.state.lock().free, 2);
    }
}
