//! Who may do a handshake of TLS now, and how often: so many at once of all and of each address,
//! the last part of all for addresses that have few; and of each address so many in a second, since
//! each costs a signature. Whoever may not waits, addresses in turn.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

use crate::{base::address::network_of, shares::little_of};

/// What is kept of all for addresses that have few handshakes under way.
const KEPT_SIXTEENTHS: usize = 4;

/// Of one address in a second, once it has had [`AT_ONCE`] in a row.
const EACH_SECOND: u32 = 128;
/// As many pages as may come back to one address after a restart.
const AT_ONCE: u32 = 512;

/// Who has how many handshakes under way.
pub(super) struct Handshakes {
    all_max: usize,
    per_address_max: usize,
    /// Leaf lock.
    book: Mutex<Book>,
    /// Until when what each address has begun would last at its rate; those whose time is over are
    /// let go as others come. Leaf lock.
    paid: Mutex<HashMap<IpAddr, Instant>>,
}

#[derive(Default)]
struct Book {
    under_way: usize,
    /// Of addresses that have some, or wait.
    per_address: HashMap<IpAddr, Own>,
    /// Addresses that wait, in turn; each once.
    turns: VecDeque<IpAddr>,
}

#[derive(Default)]
struct Own {
    under_way: usize,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// The right to one; dropping it gives it on.
pub(super) struct Turn {
    network: IpAddr,
    handshakes: Arc<Handshakes>,
}

impl Handshakes {
    pub(super) fn new(all_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self {
            all_max,
            per_address_max,
            book: Mutex::default(),
            paid: Mutex::default(),
        })
    }

    /// Waits until an address has begun no more than its rate allows. May be given up.
    pub(super) async fn pace(&self, address: IpAddr) {
        let from = self.begin(network_of(address), Instant::now());
        if let Some(from) = from {
            sleep_until(from).await;
        }
    }

    /// Counts one; when it may begin, where that is not now.
    fn begin(&self, network: IpAddr, now: Instant) -> Option<Instant> {
        const EACH: Duration = Duration::from_nanos(1_000_000_000 / EACH_SECOND as u64);
        let mut paid = self.paid.lock();
        // Not each time: there is one for each address of the last seconds.
        if paid.len() == paid.capacity() {
            paid.retain(|_, until| *until > now);
        }
        let until = paid.entry(network).or_insert(now);
        *until = (*until).max(now) + EACH;
        until.checked_sub(EACH * AT_ONCE).filter(|from| *from > now)
    }

    /// Waits for a turn. May be given up.
    pub(super) async fn take(self: &Arc<Self>, address: IpAddr) -> Option<Turn> {
        let network = network_of(address);
        let waiting = {
            let mut book = self.book.lock();
            let has_others = book.per_address.get(&network).is_some_and(Own::waits);
            if !has_others && self.may(&book, network) {
                book.under_way += 1;
                book.per_address.entry(network).or_default().under_way += 1;
                return Some(self.turn(network));
            }
            let (give, waiting) = oneshot::channel();
            let own = book.per_address.entry(network).or_default();
            let is_first = !own.waits();
            own.waiting.push_back(give);
            if is_first {
                book.turns.push_back(network);
            }
            waiting
        };
        waiting.await.ok()
    }

    fn turn(self: &Arc<Self>, network: IpAddr) -> Turn {
        Turn {
            network,
            handshakes: Arc::clone(self),
        }
    }

    /// Whether one more of this address may begin.
    fn may(&self, book: &Book, network: IpAddr) -> bool {
        let left = self.all_max.saturating_sub(book.under_way);
        let little = little_of(self.all_max, KEPT_SIXTEENTHS, left);
        let max = little.map_or(self.per_address_max, |little| {
            little.min(self.per_address_max)
        });
        let own = book.per_address.get(&network);
        left > 0 && own.map_or(0, |own| own.under_way) < max
    }

    /// One has ended: whoever may now has its turn. Those that nobody waits for any more come back.
    fn give(self: &Arc<Self>, network: IpAddr) {
        // Of those who gave up in this very moment: dropped behind the lock, which gives them on.
        let mut untaken = Vec::new();
        let mut book = self.book.lock();
        book.under_way -= 1;
        if let Some(own) = book.per_address.get_mut(&network) {
            own.under_way -= 1;
        }
        book.forget(network);
        for _ in 0..book.turns.len() {
            if book.under_way >= self.all_max {
                break;
            }
            let Some(next) = book.turns.pop_front() else {
                break;
            };
            let may = self.may(&book, next);
            let Some(own) = book.per_address.get_mut(&next) else {
                continue;
            };
            // Those who have given up stand for nobody.
            own.waiting.retain(|waiting| !waiting.is_closed());
            if may && let Some(waiting) = own.waiting.pop_front() {
                own.under_way += 1;
                book.under_way += 1;
                untaken.extend(waiting.send(self.turn(next)).err());
            }
            if book.per_address.get(&next).is_some_and(Own::waits) {
                book.turns.push_back(next);
            }
            book.forget(next);
        }
        drop(book);
    }
}

impl Own {
    fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl Book {
    /// Lets an address go that has nothing and waits for nothing.
    fn forget(&mut self, network: IpAddr) {
        let own = self.per_address.get(&network);
        if own.is_some_and(|own| own.under_way == 0 && !own.waits()) {
            self.per_address.remove(&network);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let handshakes = Arc::clone(&self.handshakes);
        handshakes.give(self.network);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, poll};

    use super::*;

    fn address(number: u8) -> IpAddr {
        [10, 0, 0, number].into()
    }

    fn is_empty(handshakes: &Handshakes) -> bool {
        let book = handshakes.book.lock();
        book.under_way == 0 && book.per_address.is_empty() && book.turns.is_empty()
    }

    #[tokio::test]
    async fn an_address_waits_for_its_own_handshakes_and_not_for_others() {
        let handshakes = Handshakes::new(3, 2);
        let (one, other) = (address(1), address(2));
        let first = handshakes.take(one).await.expect("a turn");
        let second = handshakes.take(one).await.expect("a turn");
        let mut third = Box::pin(handshakes.take(one));
        assert!(poll!(&mut third).is_pending());
        let others = handshakes.take(other).now_or_never().flatten();
        assert!(others.is_some(), "there is one left");
        drop(second);
        let third = third.now_or_never().flatten();
        assert!(third.is_some());
        drop((first, others, third));
        assert!(is_empty(&handshakes), "nothing is kept");
    }

    #[tokio::test]
    async fn who_gives_up_leaves_nothing() {
        let handshakes = Handshakes::new(1, 1);
        let turn = handshakes.take(address(1)).await.expect("a turn");
        let mut waiting = Box::pin(handshakes.take(address(1)));
        assert!(poll!(&mut waiting).is_pending());
        let mut given = Box::pin(handshakes.take(address(2)));
        assert!(poll!(&mut given).is_pending());
        drop(waiting);
        drop(turn);
        // It was given a turn that it does not come for.
        drop(given);
        assert!(is_empty(&handshakes));
        let turn = handshakes.take(address(1)).now_or_never().flatten();
        assert!(turn.is_some());
    }

    #[tokio::test]
    async fn addresses_that_take_much_leave_something_to_those_who_have_little() {
        let handshakes = Handshakes::new(2_048, 128);
        let mut turns = Vec::new();
        let mut waiting = Vec::new();
        for number in 0..40 {
            for _ in 0..200 {
                let mut turn = Box::pin(handshakes.take(address(number)));
                match poll!(&mut turn) {
                    std::task::Poll::Ready(turn) => turns.push(turn),
                    std::task::Poll::Pending => {
                        waiting.push(turn);
                        break;
                    }
                }
            }
        }
        assert!(turns.len() > 1_536, "{}", turns.len());
        for number in 100..120 {
            let turn = handshakes.take(address(number)).now_or_never().flatten();
            turns.push(Some(turn.expect("one")));
        }
        drop((turns, waiting));
        assert!(is_empty(&handshakes));
    }

    #[tokio::test]
    async fn those_who_wait_have_their_turns_one_address_after_the_other() {
        let handshakes = Handshakes::new(1, 1);
        let turn = handshakes.take(address(1)).await.expect("a turn");
        let mut waiting = Vec::new();
        for number in [1, 1, 2] {
            let mut one = Box::pin(handshakes.take(address(number)));
            assert!(poll!(&mut one).is_pending());
            waiting.push(one);
        }
        drop(turn);
        let first = waiting.remove(0).now_or_never().flatten();
        drop(first.expect("a turn"));
        let other = waiting.pop().and_then(FutureExt::now_or_never).flatten();
        drop(other.expect("the other address is next"));
        let last = waiting.pop().and_then(FutureExt::now_or_never).flatten();
        drop(last.expect("and then the first again"));
        assert!(is_empty(&handshakes));
    }

    #[test]
    fn an_address_has_so_many_in_a_second() {
        let handshakes = Handshakes::new(1, 1);
        let (one, other) = (address(1), address(2));
        let now = Instant::now();
        for _ in 0..AT_ONCE {
            assert_eq!(handshakes.begin(one, now), None);
        }
        let mut from = now;
        for _ in 0..EACH_SECOND {
            from = handshakes.begin(one, now).expect("it waits");
        }
        let second = Duration::from_secs(1);
        let off = (now + second).max(from) - (now + second).min(from);
        assert!(off < Duration::from_millis(1), "{off:?}");
        assert_eq!(handshakes.begin(other, now), None, "that is its own");
        // What it has begun is over after a while, and let go.
        let later = now + Duration::from_secs(60);
        assert_eq!(handshakes.begin(one, later), None);
        for number in 0..=255 {
            let network = [10, 1, 0, number].into();
            assert_eq!(handshakes.begin(network, later), None);
        }
        assert!(!handshakes.paid.lock().contains_key(&other));
    }
}
