//! Stops those who guess tokens: failures are counted per client address, and past a number of
//! them in a minute only tokens that were right from that address before are looked at, so that a
//! guess that is right is not told from one that is wrong. Pure; time is told.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::IpAddr,
};

use super::token::TokenId;
use crate::base::address::network_of;

/// Failures within [`WINDOW_MS`] that an address is allowed.
pub const FAILURES_MAX: usize = 10;
/// How long a failure counts.
pub const WINDOW_MS: i64 = 60_000;
/// Addresses remembered; past it the one whose last failure is the longest ago is forgotten.
pub const ADDRESSES_MAX: usize = 10_000;
/// Tokens remembered of an address.
const KNOWN_MAX: usize = 16;
/// How long after its last use.
const KNOWN_MS: i64 = 24 * 60 * 60 * 1000;

/// An address has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Until when, from now.
    pub retry_after_ms: i64,
}

impl Blocked {
    /// For `Retry-After`, rounded up.
    #[must_use]
    pub fn retry_after_s(self) -> u32 {
        u32::try_from((self.retry_after_ms + 999) / 1000)
            .unwrap_or(60)
            .max(1)
    }
}

/// Who failed how often.
#[derive(Debug)]
pub struct Guard {
    /// Times of each address's newest failures, oldest first, at most [`FAILURES_MAX`].
    failures: HashMap<IpAddr, VecDeque<i64>>,
    max: usize,
    /// Tokens that were right from each address.
    known: HashMap<IpAddr, Known>,
    elsewhere: Elsewhere,
}

/// What other servers have seen, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// Failures of the last minute.
    pub failures: HashMap<IpAddr, usize>,
    /// Tokens that were right from an address.
    pub known: HashSet<(IpAddr, TokenId)>,
}

/// Tokens that were right from an address, newest last.
#[derive(Debug, Default)]
struct Known {
    tokens: VecDeque<TokenId>,
    used_ms: i64,
}

impl Guard {
    /// Remembers up to `max` addresses.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            failures: HashMap::new(),
            max,
            known: HashMap::new(),
            elsewhere: Elsewhere::default(),
        }
    }

    /// What other servers have seen, from here on.
    pub fn set_elsewhere(&mut self, elsewhere: Elsewhere) {
        self.elsewhere = elsewhere;
    }

    /// What others are to know: how often each address failed in the last minute, of those that did
    /// so most at most `max`, and which tokens were right from those that failed anywhere.
    #[must_use]
    pub fn seen(&self, now_ms: i64, max: usize) -> Elsewhere {
        let mut failures: Vec<(IpAddr, usize)> = self
            .failures
            .iter()
            .map(|(network, times)| (*network, of_window(times, now_ms)))
            .filter(|(_, count)| *count > 0)
            .collect();
        failures.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        failures.truncate(max);
        let failures: HashMap<IpAddr, usize> = failures.into_iter().collect();
        let both = failures.keys().chain(self.elsewhere.failures.keys());
        let known = both.filter_map(|network| Some((*network, self.known.get(network)?)));
        let known = known
            .flat_map(|(network, known)| known.tokens.iter().map(move |token| (network, *token)));
        Elsewhere {
            known: known.take(max).collect(),
            failures,
        }
    }

    /// Whether this address may try.
    ///
    /// # Errors
    /// It has to wait.
    pub fn check(&self, address: IpAddr, now_ms: i64) -> Result<(), Blocked> {
        let network = network_of(address);
        let failures = self.failures.get(&network);
        if let Some(elsewhere) = self.elsewhere.failures.get(&network) {
            let here = failures.map_or(0, |times| of_window(times, now_ms));
            if here + elsewhere >= FAILURES_MAX {
                // When the others' began is not known; after this they are over.
                return Err(Blocked {
                    retry_after_ms: WINDOW_MS,
                });
            }
        }
        let Some(failures) = failures else {
            return Ok(());
        };
        match failures.front() {
            Some(oldest) if failures.len() >= FAILURES_MAX && now_ms < oldest + WINDOW_MS => {
                Err(Blocked {
                    retry_after_ms: oldest + WINDOW_MS - now_ms,
                })
            }
            _ => Ok(()),
        }
    }

    /// Counts a failure of this address. One that has to wait is not counted again, so the wait
    /// ends also for who keeps trying.
    ///
    /// # Errors
    /// The address had to wait already.
    pub fn fail(&mut self, address: IpAddr, now_ms: i64) -> Result<(), Blocked> {
        self.check(address, now_ms)?;
        let network = network_of(address);
        if !self.failures.contains_key(&network) && self.failures.len() >= self.max {
            self.make_room(now_ms);
        }
        let failures = self.failures.entry(network).or_default();
        if failures.len() >= FAILURES_MAX {
            failures.pop_front();
        }
        failures.push_back(now_ms);
        Ok(())
    }

    /// Whether this token was right from this address before.
    #[must_use]
    pub fn knows(&self, address: IpAddr, token: TokenId) -> bool {
        let network = network_of(address);
        self.known
            .get(&network)
            .is_some_and(|known| known.tokens.contains(&token))
            || self.elsewhere.known.contains(&(network, token))
    }

    /// This token was right from this address.
    pub fn remember(&mut self, address: IpAddr, token: TokenId, now_ms: i64) {
        let network = network_of(address);
        if !self.known.contains_key(&network) && self.known.len() >= self.max {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.used_ms);
            if let Some(network) = oldest.map(|(network, _)| *network) {
                self.known.remove(&network);
            }
        }
        let known = self.known.entry(network).or_default();
        known.used_ms = now_ms;
        if known.tokens.contains(&token) {
            return;
        }
        if known.tokens.len() >= KNOWN_MAX {
            known.tokens.pop_front();
        }
        known.tokens.push_back(token);
    }

    /// Forgets failures that no longer count, and tokens that were not used for long.
    pub fn expire(&mut self, now_ms: i64) {
        self.known
            .retain(|_, known| now_ms < known.used_ms + KNOWN_MS);
        self.failures.retain(|_, failures| {
            failures
                .back()
                .is_some_and(|newest| now_ms < newest + WINDOW_MS)
        });
    }

    fn make_room(&mut self, now_ms: i64) {
        self.expire(now_ms);
        if self.failures.len() >= self.max {
            let oldest = self
                .failures
                .iter()
                .min_by_key(|(_, failures)| failures.back().copied())
                .map(|(network, _)| *network);
            if let Some(network) = oldest {
                self.failures.remove(&network);
            }
        }
    }
}

/// How many of these times are within the last minute.
fn of_window(times: &VecDeque<i64>, now_ms: i64) -> usize {
    let is_in = |time: &&i64| now_ms < **time + WINDOW_MS;
    times.iter().filter(is_in).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access::secret::Digest;

    #[derive(Clone, Copy, Debug)]
    enum Doing {
        Fail(u8),
        Remember(u8, u8),
        Expire,
    }

    fn doing(addresses: u8) -> impl Strategy<Value = Doing> {
        prop_oneof![
            8 => (0..addresses).prop_map(Doing::Fail),
            3 => (0..addresses, 0..20_u8).prop_map(|(from, token)| Doing::Remember(from, token)),
            1 => Just(Doing::Expire),
        ]
    }

    /// Hours, seconds and no time at all between two attempts.
    fn step_ms() -> impl Strategy<Value = i64> {
        prop_oneof![
            4 => Just(0),
            8 => 0..8_000_i64,
            2 => 50_000..70_000_i64,
            1 => 0..2 * KNOWN_MS,
        ]
    }

    fn one_of(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    proptest! {
        /// In whatever order many addresses try: each has ten guesses in any minute, no more and no
        /// fewer, and is told when it has the next one.
        #[test]
        fn an_address_has_its_guesses_and_no_more(
            doings in prop::collection::vec((step_ms(), doing(4)), 0..200),
        ) {
            let mut guard = Guard::new(4);
            let mut counted: [Vec<i64>; 4] = Default::default();
            let mut now_ms = 0;
            for (step_ms, doing) in doings {
                now_ms += step_ms;
                match doing {
                    Doing::Fail(from) => {
                        let of = &mut counted[usize::from(from)];
                        let recent = of.iter().filter(|at_ms| now_ms < **at_ms + WINDOW_MS);
                        let may = recent.count() < FAILURES_MAX;
                        let failed = guard.fail(one_of(from), now_ms);
                        prop_assert_eq!(failed.is_ok(), may);
                        match failed {
                            Ok(()) => of.push(now_ms),
                            Err(Blocked { retry_after_ms }) => {
                                prop_assert!((1..=WINDOW_MS).contains(&retry_after_ms));
                                let then_ms = now_ms + retry_after_ms;
                                prop_assert!(guard.check(one_of(from), then_ms - 1).is_err());
                                prop_assert!(guard.check(one_of(from), then_ms).is_ok());
                            }
                        }
                    }
                    Doing::Remember(from, token) => {
                        let token = TokenId::of(&Digest::of(&token.to_string()));
                        guard.remember(one_of(from), token, now_ms);
                        prop_assert!(guard.knows(one_of(from), token));
                    }
                    Doing::Expire => guard.expire(now_ms),
                }
            }
        }

        /// However many addresses try and are right: what is kept of them is bounded, the newest is
        /// among it, and all of it ends.
        #[test]
        fn what_is_kept_of_addresses_is_bounded(
            max in 1_usize..6,
            doings in prop::collection::vec((step_ms(), doing(20)), 0..200),
        ) {
            let mut guard = Guard::new(max);
            let mut now_ms = 0;
            for (step_ms, doing) in doings {
                now_ms += step_ms;
                match doing {
                    Doing::Fail(from) => {
                        let counted = guard.fail(one_of(from), now_ms).is_ok();
                        prop_assert!(!counted || guard.failures.contains_key(&one_of(from)));
                    }
                    Doing::Remember(from, token) => {
                        let token = TokenId::of(&Digest::of(&token.to_string()));
                        guard.remember(one_of(from), token, now_ms);
                        prop_assert!(guard.knows(one_of(from), token));
                    }
                    Doing::Expire => guard.expire(now_ms),
                }
                prop_assert!(guard.failures.len() <= max && guard.known.len() <= max);
                for failures in guard.failures.values() {
                    prop_assert!((1..=FAILURES_MAX).contains(&failures.len()));
                }
                for known in guard.known.values() {
                    prop_assert!((1..=KNOWN_MAX).contains(&known.tokens.len()));
                }
            }
            guard.expire(now_ms + KNOWN_MS);
            prop_assert!(guard.failures.is_empty() && guard.known.is_empty());
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_eleventh_failure_in_a_minute_has_to_wait() {
        let mut guard = Guard::new(10);
        let (here, there) = (address("192.0.2.1"), address("192.0.2.2"));
        for failure in 0..10 {
            assert_eq!(guard.fail(here, failure * 1000), Ok(()));
        }
        let blocked = Err(Blocked {
            retry_after_ms: 50_500,
        });
        assert_eq!(guard.check(here, 9_500), blocked);
        assert_eq!(guard.fail(here, 9_500), blocked);
        assert_eq!(blocked.map_err(Blocked::retry_after_s), Err(51));
        assert_eq!(guard.check(there, 9_500), Ok(()));
        // The first failure is a minute old: one more try, and the second one still counts.
        assert_eq!(guard.fail(here, 60_000), Ok(()));
        assert!(guard.check(here, 60_000).is_err());
        guard.expire(119_999);
        assert!(guard.failures.contains_key(&here));
        guard.expire(120_000);
        assert!(guard.failures.is_empty());
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_newest() {
        let mut guard = Guard::new(2);
        for (second, text) in ["192.0.2.1", "192.0.2.2", "192.0.2.3"].iter().enumerate() {
            assert_eq!(guard.fail(address(text), second as i64), Ok(()));
        }
        assert_eq!(guard.failures.len(), 2);
        assert!(!guard.failures.contains_key(&address("192.0.2.1")));
    }

    #[test]
    fn tokens_that_were_right_are_remembered_within_bounds() {
        let mut guard = Guard::new(2);
        let token = |number: u8| TokenId::of(&Digest::of(&number.to_string()));
        let (here, there) = (address("2001:db8::1"), address("192.0.2.2"));
        for number in 0..17 {
            guard.remember(here, token(number), 0);
        }
        assert!(guard.knows(address("2001:db8::2"), token(16)));
        assert!(!guard.knows(here, token(0)), "only so many");
        assert!(!guard.knows(there, token(16)));
        guard.remember(there, token(1), 1);
        guard.remember(address("192.0.2.3"), token(1), 2);
        assert!(!guard.knows(here, token(16)), "the longest unused goes");
        guard.expire(KNOWN_MS + 1);
        assert!(!guard.knows(there, token(1)));
    }

    #[test]
    fn a_customer_of_ipv6_is_one_client() {
        assert_eq!(
            network_of(address("2001:db8:1:2:3::4")),
            network_of(address("2001:db8:1:2::9"))
        );
        assert_ne!(
            network_of(address("2001:db8:1:2::")),
            network_of(address("2001:db8:1:3::"))
        );
        assert_eq!(
            network_of(address("::ffff:192.0.2.1")),
            address("192.0.2.1")
        );
    }

    #[test]
    fn guesses_elsewhere_count_and_who_is_known_elsewhere_is_let_in() {
        let address = one_of(1);
        let token = |name: &str| TokenId::of(&Digest::of(name));
        let mut guard = Guard::new(10);
        guard.remember(address, token("own"), 0);
        for _ in 0..4 {
            assert_eq!(guard.fail(address, 1_000), Ok(()));
        }
        let seen = guard.seen(2_000, 10);
        assert_eq!(seen.failures, HashMap::from([(address, 4)]));
        assert_eq!(seen.known, HashSet::from([(address, token("own"))]));
        assert!(guard.seen(61_000, 10).failures.is_empty(), "it is over");
        guard.set_elsewhere(Elsewhere {
            failures: HashMap::from([(address, 6), (one_of(2), 10)]),
            known: HashSet::from([(address, token("other"))]),
        });
        let blocked = Err(Blocked {
            retry_after_ms: WINDOW_MS,
        });
        assert_eq!(guard.check(address, 2_000), blocked);
        assert_eq!(guard.check(one_of(2), 2_000), blocked);
        assert_eq!(guard.check(one_of(3), 2_000), Ok(()));
        assert_eq!(guard.check(address, 61_000), Ok(()), "ours are over");
        for (name, known) in [("own", true), ("other", true), ("none", false)] {
            assert_eq!(guard.knows(address, token(name)), known);
        }
        guard.set_elsewhere(Elsewhere::default());
        assert_eq!(guard.check(address, 2_000), Ok(()));
    }
}
