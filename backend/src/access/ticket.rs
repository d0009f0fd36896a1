//! Tickets: who opens a stream from where neither a header nor a cookie can come along (a page
//! on another origin). Each works once and soon. Pure; time is told.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use super::{caller::Caller, secret::Digest};

/// How long a ticket may be used.
pub const LIFETIME_MS: i64 = 30_000;
/// Tickets at once; past it the oldest goes: it has had its time, and one flood cannot keep
/// others from theirs.
pub const TICKETS_MAX: usize = 20_000;
/// Unused tickets of one address at once; past it: 429. Pages use theirs at once, so even a proxy
/// that stands for thousands stays below.
pub const PER_ADDRESS_MAX: usize = 1_000;
/// The same where several servers are one: tickets that were used at another still count here until
/// their time is over.
pub const PER_ADDRESS_SHARED_MAX: usize = 10_000;

#[derive(Debug)]
struct Ticket {
    /// `None`: any server may be shown it, so that they are asked.
    caller: Option<Caller>,
    address: IpAddr,
    number: u64,
    expires_ms: i64,
}

/// One address has too many unused tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flood {
    /// When the oldest of them ends.
    pub retry_after_ms: i64,
}

/// All tickets that can be used.
#[derive(Debug)]
pub struct Tickets {
    by_secret: HashMap<Digest, Ticket>,
    /// The same, oldest first.
    by_age: BTreeMap<u64, Digest>,
    per_address: HashMap<IpAddr, usize>,
    numbers: u64,
    max: usize,
    per_address_max: usize,
}

impl Tickets {
    /// Room for `max`, of one address for `per_address_max`.
    #[must_use]
    pub fn new(max: usize, per_address_max: usize) -> Self {
        Self {
            by_secret: HashMap::new(),
            by_age: BTreeMap::new(),
            per_address: HashMap::new(),
            numbers: 0,
            max,
            per_address_max,
        }
    }

    /// Takes a ticket in that stands for `caller`; without one it is counted, and another place
    /// knows for whom it stands.
    ///
    /// # Errors
    /// [`Flood`]; nothing was taken in.
    pub fn issue(
        &mut self,
        secret: Digest,
        caller: impl Into<Option<Caller>>,
        address: IpAddr,
        now_ms: i64,
    ) -> Result<(), Flood> {
        self.expire(now_ms);
        if self.per_address.get(&address).copied().unwrap_or_default() >= self.per_address_max {
            return Err(Flood {
                retry_after_ms: LIFETIME_MS,
            });
        }
        if self.by_age.len() >= self.max
            && let Some((_, oldest)) = self.by_age.first_key_value()
        {
            let oldest = *oldest;
            self.remove(&oldest);
        }
        self.numbers += 1;
        self.by_age.insert(self.numbers, secret);
        *self.per_address.entry(address).or_default() += 1;
        let ticket = Ticket {
            caller: caller.into(),
            address,
            number: self.numbers,
            expires_ms: now_ms + LIFETIME_MS,
        };
        self.by_secret.insert(secret, ticket);
        Ok(())
    }

    /// Uses a ticket up; `None` for one that is unknown, used or expired.
    pub fn redeem(&mut self, secret: &Digest, now_ms: i64) -> Option<Caller> {
        self.remove(secret)
            .filter(|ticket| now_ms < ticket.expires_ms)
            .and_then(|ticket| ticket.caller)
    }

    /// Whether this server alone knows for whom it stands.
    #[must_use]
    pub fn knows(&self, secret: &Digest) -> bool {
        let known = self.by_secret.get(secret);
        known.is_some_and(|ticket| ticket.caller.is_some())
    }

    /// Unused tickets of one address that there may be.
    #[must_use]
    pub fn per_address_max(&self) -> usize {
        self.per_address_max
    }

    /// Drops those whose time is over.
    pub fn expire(&mut self, now_ms: i64) {
        while let Some((_, oldest)) = self.by_age.first_key_value() {
            let oldest = *oldest;
            let over = self
                .by_secret
                .get(&oldest)
                .is_none_or(|ticket| now_ms >= ticket.expires_ms);
            if !over {
                return;
            }
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, secret: &Digest) -> Option<Ticket> {
        let ticket = self.by_secret.remove(secret)?;
        self.by_age.remove(&ticket.number);
        if let Some(count) = self.per_address.get_mut(&ticket.address) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&ticket.address);
            }
        }
        Some(ticket)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulseboard_shared::Role;

    use super::*;
    use crate::access::Credential;

    #[derive(Clone, Copy, Debug)]
    enum Doing {
        Issue(u8),
        Redeem(prop::sample::Index),
        Expire,
    }

    fn doing() -> impl Strategy<Value = Doing> {
        prop_oneof![
            6 => (0..4_u8).prop_map(Doing::Issue),
            4 => any::<prop::sample::Index>().prop_map(Doing::Redeem),
            1 => Just(Doing::Expire),
        ]
    }

    proptest! {
        /// In whatever order tickets are made, used and run out: each works at most once, for whom
        /// it was made and in its time; there are never too many, in all and of one address; and
        /// nothing of those that are gone is kept.
        #[test]
        fn no_order_uses_a_ticket_twice_or_gets_past_a_bound(
            (max, per_address_max) in (1_usize..12, 1_usize..8),
            doings in prop::collection::vec((0..LIFETIME_MS / 6, doing()), 0..120),
        ) {
            let mut tickets = Tickets::new(max, per_address_max);
            // All that were ever made, oldest first, with their end; and those that may be used.
            let mut made: Vec<(u8, i64)> = Vec::new();
            let mut usable: Vec<usize> = Vec::new();
            let mut now_ms = 0;
            for (step_ms, doing) in doings {
                now_ms += step_ms;
                match doing {
                    Doing::Issue(from) => {
                        usable.retain(|number| now_ms < made[*number].1);
                        let of = usable.iter().filter(|number| made[**number].0 == from);
                        let may = of.count() < per_address_max;
                        let number = made.len();
                        let caller = Caller {
                            role: Role::Viewer,
                            tenant: Some(number.to_string()),
                            known: true,
                            credential: Credential::default(),
                        };
                        let secret = Digest::of(&number.to_string());
                        let address = IpAddr::from([192, 0, 2, from]);
                        let issued = tickets.issue(secret, caller, address, now_ms);
                        prop_assert_eq!(issued.is_ok(), may);
                        if may {
                            if usable.len() >= max {
                                usable.remove(0);
                            }
                            usable.push(number);
                            made.push((from, now_ms + LIFETIME_MS));
                        }
                    }
                    Doing::Redeem(_) if made.is_empty() => {}
                    Doing::Redeem(index) => {
                        let number = index.index(made.len());
                        let at = usable.iter().position(|one| *one == number);
                        let stands = at.is_some() && now_ms < made[number].1;
                        let redeemed = tickets.redeem(&Digest::of(&number.to_string()), now_ms);
                        let expected = stands.then(|| number.to_string());
                        prop_assert_eq!(redeemed.and_then(|caller| caller.tenant), expected);
                        at.map(|at| usable.remove(at));
                    }
                    Doing::Expire => {
                        tickets.expire(now_ms);
                        usable.retain(|number| now_ms < made[*number].1);
                    }
                }
                prop_assert!(usable.len() <= max);
                prop_assert_eq!(tickets.by_secret.len(), usable.len());
                prop_assert_eq!(tickets.by_age.len(), usable.len());
                let mut of: HashMap<IpAddr, usize> = HashMap::new();
                for number in &usable {
                    *of.entry(IpAddr::from([192, 0, 2, made[*number].0])).or_default() += 1;
                }
                prop_assert!(of.values().all(|count| *count <= per_address_max));
                prop_assert_eq!(&tickets.per_address, &of);
            }
        }
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    fn issue(tickets: &mut Tickets, secret: &str, address: IpAddr, now_ms: i64) -> bool {
        let caller = Caller {
            role: Role::Viewer,
            tenant: None,
            known: true,
            credential: Credential::default(),
        };
        tickets
            .issue(Digest::of(secret), caller, address, now_ms)
            .is_ok()
    }

    fn works(tickets: &mut Tickets, secret: &str, now_ms: i64) -> bool {
        tickets.redeem(&Digest::of(secret), now_ms).is_some()
    }

    #[test]
    fn a_ticket_works_once_and_for_its_time() {
        let mut tickets = Tickets::new(10, 10);
        for secret in ["a", "b"] {
            assert!(issue(&mut tickets, secret, HERE, 0));
        }
        assert!(works(&mut tickets, "a", LIFETIME_MS - 1));
        assert!(!works(&mut tickets, "a", LIFETIME_MS - 1));
        assert!(!works(&mut tickets, "b", LIFETIME_MS));
        assert!(!works(&mut tickets, "c", 0));
        assert!(tickets.by_age.is_empty() && tickets.per_address.is_empty());
    }

    #[test]
    fn one_address_has_a_bound_and_all_together_too() {
        let mut tickets = Tickets::new(3, 2);
        assert!(issue(&mut tickets, "a", HERE, 0));
        assert!(issue(&mut tickets, "b", HERE, 1));
        assert!(!issue(&mut tickets, "c", HERE, 2));
        assert!(issue(&mut tickets, "d", THERE, 2));
        assert!(issue(&mut tickets, "e", THERE, 2), "the oldest goes");
        assert!(!works(&mut tickets, "a", 3) && works(&mut tickets, "b", 3));
        assert!(issue(&mut tickets, "c", HERE, LIFETIME_MS + 2));
        assert_eq!(tickets.by_secret.len(), 1, "the others' time is over");
    }
}
