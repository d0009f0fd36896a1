//! Who may have how much of something that there is a bound of: rooms, watches, names, questions,
//! bytes of bodies, places for streams.
//!
//! What is taken counts for everybody whom the caller is part of: its connection, its address (of
//! IPv6 the 64 bits that one customer has), its token, its tenant, and all. Each of these has a
//! limit, the wider the larger, so that none of them can use up what is there for the rest of what
//! is around it. Callers without a token count as one token at each address. What is taken is a
//! [`Share`]; dropping it gives it back.
//!
//! Many callers together could still take all. So the last part of what a tenant and all have
//! ([`ShareLimits::kept_sixteenths`]) is for those who have little: the less is left, the less may
//! somebody have who gets some of it, as the square of what is left. Who has nothing finds
//! something as long as there are not thousands of addresses that take.
//!
//! **Invariant**: a count that is zero is not kept, so there are at most four counts for each share
//! that is out.

use std::{collections::HashMap, fmt, net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use pulseboard_bus::{Asked, Granted, Others};
use tokio::sync::Notify;

use crate::{
    access::token::TokenId,
    base::{
        error::AppError,
        telemetry::{Limit, Telemetry},
    },
};

/// Seconds after which somebody who found a share used up may ask again.
const RETRY_AFTER_S: u32 = 2;

/// One bounded thing and who has how much of it.
pub struct Shares {
    /// What it is in texts, in the plural: `rooms`.
    what: &'static str,
    limits: ShareLimits,
    /// What a refusal is counted as.
    counted_as: fn(Scope) -> Limit,
    telemetry: Arc<Telemetry>,
    /// Leaf lock, held for a few look-ups.
    taken: Mutex<Taken>,
    /// Told whenever something was given back.
    given_back: Arc<Notify>,
}

/// How much each may have; [`usize::MAX`] where only others count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareLimits {
    /// One connection.
    pub client: usize,
    /// One address, or IPv6 network of 64 bits.
    pub address: usize,
    /// One token, with its sessions and tickets; or all callers of one address that show none.
    pub token: usize,
    /// One tenant.
    pub tenant: usize,
    /// All together.
    pub all: usize,
    /// Sixteenths of what a tenant and all may have that are kept for those who have little.
    pub kept_sixteenths: usize,
}

/// Limits that hold for all servers of a service together; `None` where each has its own alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommonLimits {
    /// As [`ShareLimits::address`].
    pub address: Option<usize>,
    /// As [`ShareLimits::token`].
    pub token: Option<usize>,
}

/// Whom a share counts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallerKeys {
    /// Names the connection, where what is taken lives as long as one.
    pub client: Option<u64>,
    /// As [`network_of`](crate::base::address::network_of) makes it; `None`: the server itself.
    pub address: Option<IpAddr>,
    /// `None` for who shows none.
    pub token: Option<TokenId>,
    /// `None` for what is no tenant's.
    pub tenant: Option<Arc<str>>,
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// See [`ShareLimits::client`].
    Client,
    /// See [`ShareLimits::address`].
    Address,
    /// See [`ShareLimits::token`].
    Token,
    /// The same, of callers without one.
    NoToken,
    /// See [`ShareLimits::tenant`].
    Tenant,
    /// See [`ShareLimits::all`].
    All,
    /// See [`ShareLimits::kept_sixteenths`]; the limit is what one may have who gets some of it.
    Kept,
}

impl Scope {
    /// Whose limit it is, in words.
    #[must_use]
    pub fn whose(self) -> &'static str {
        match self {
            Self::Client => "one connection",
            Self::Address => "one address",
            Self::Token => "one token",
            Self::NoToken => "those without a token at one address",
            Self::Tenant => "one tenant",
            Self::All => "all together",
            Self::Kept => "one caller",
        }
    }
}

/// There was no more; whose limit was reached, the narrowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What there is no more of.
    pub what: &'static str,
    /// Whose limit it is.
    pub scope: Scope,
    /// The limit.
    pub max: usize,
}

/// What somebody has; dropping it gives it back.
pub struct Share {
    shares: Arc<Shares>,
    keys: CallerKeys,
    count: usize,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by: HashMap<Key, usize>,
    /// Where several servers have it together.
    beyond: Option<Box<Beyond>>,
}

/// What other servers have, and what they know of this one.
#[derive(Debug)]
struct Beyond {
    limits: CommonLimits,
    /// How many of them live.
    others: usize,
    by: HashMap<Key, usize>,
    /// What they were told last.
    told: HashMap<Key, usize>,
}

/// Of a common limit a server takes so small a part, shared out among all, without asking.
const UNASKED_PART: usize = 16;
/// What is less than this part of a limit is not told.
const UNTOLD_PART: usize = 64;
/// Callers that the others are told of; of more, those that have most.
const TOLD_MAX: usize = 4_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Client(u64),
    Address(IpAddr),
    Token(TokenId),
    NoToken(IpAddr),
    Tenant(Arc<str>),
}

impl ShareLimits {
    /// A connection may have an eighth of `all`, a token a half, an address five eighths, a tenant
    /// seven eighths; each at least one. A quarter is kept for those who have little.
    #[must_use]
    pub const fn of(all: usize) -> Self {
        Self {
            client: eighths(all, 1),
            token: eighths(all, 4),
            address: eighths(all, 5),
            tenant: eighths(all, 7),
            all,
            kept_sixteenths: 4,
        }
    }

    /// The same with another limit of one connection.
    #[must_use]
    pub const fn each_client(self, client: usize) -> Self {
        Self { client, ..self }
    }
}

/// Of fewer than so many nothing is kept for anybody.
const KEPT_FROM: usize = 64;

/// What part of all one may have who gets some of what is kept, while nothing of that is taken.
const LITTLE_PART: usize = 128;

/// How much somebody may have, with what is taken now, where so much is `left` then of `max`;
/// `None` where that does not matter yet.
#[must_use]
pub fn little_of(max: usize, kept_sixteenths: usize, left: usize) -> Option<usize> {
    let kept = max / 16 * kept_sixteenths;
    if max < KEPT_FROM || left >= kept {
        return None;
    }
    let square = |count: usize| (count as u128).pow(2);
    let little = (max / LITTLE_PART) as u128 * square(left) / square(kept).max(1);
    Some(usize::try_from(little).unwrap_or(usize::MAX).max(1))
}

/// So many eighths of `all`, at least one.
#[must_use]
pub const fn eighths(all: usize, count: usize) -> usize {
    let part = all / 8 * count + all % 8 * count / 8;
    if part == 0 { 1 } else { part }
}

impl CallerKeys {
    /// The same for the connection of this number.
    #[must_use]
    pub fn on(self, client: u64) -> Self {
        Self {
            client: Some(client),
            ..self
        }
    }

    /// The caller itself, wherever it is connected.
    fn own(&self) -> Option<Key> {
        let mut each = self.each();
        let own = each.find(|(scope, _)| matches!(scope, Scope::Token | Scope::NoToken));
        own.map(|(_, key)| key)
    }

    fn each(&self) -> impl Iterator<Item = (Scope, Key)> {
        let client = self.client.map(Key::Client).map(|key| (Scope::Client, key));
        let address = self.address.map(Key::Address);
        let address = address.map(|key| (Scope::Address, key));
        let token = match self.token {
            Some(token) => Some((Scope::Token, Key::Token(token))),
            None => self.address.map(|key| (Scope::NoToken, Key::NoToken(key))),
        };
        let tenant = self.tenant.clone().map(Key::Tenant);
        let tenant = tenant.map(|key| (Scope::Tenant, key));
        [client, token, address, tenant].into_iter().flatten()
    }
}

impl Shares {
    /// Nothing taken. `what`: what there is so much of, in the plural; `counted_as`: as what
    /// refusals are counted.
    #[must_use]
    pub fn new(
        what: &'static str,
        counted_as: fn(Scope) -> Limit,
        limits: ShareLimits,
        telemetry: Arc<Telemetry>,
    ) -> Arc<Self> {
        Self::common((what, counted_as), limits, None, telemetry)
    }

    /// As [`Self::new`], of which callers may have so much at all servers together.
    #[must_use]
    pub fn common(
        (what, counted_as): (&'static str, fn(Scope) -> Limit),
        limits: ShareLimits,
        common: Option<CommonLimits>,
        telemetry: Arc<Telemetry>,
    ) -> Arc<Self> {
        let beyond = common.map(|limits| {
            Box::new(Beyond {
                limits,
                others: 0,
                by: HashMap::new(),
                told: HashMap::new(),
            })
        });
        Arc::new(Self {
            what,
            limits,
            counted_as,
            telemetry,
            taken: Mutex::new(Taken {
                beyond,
                ..Taken::default()
            }),
            given_back: Arc::default(),
        })
    }

    // Among several servers.

    /// What is to be asked for before a caller takes so much more: where others know of so little
    /// of what is taken here that all of them together could take too much.
    #[must_use]
    pub fn asked(&self, keys: &CallerKeys, count: usize) -> Vec<Asked> {
        let taken = self.taken.lock();
        let Some(beyond) = taken.beyond.as_ref().filter(|beyond| beyond.others > 0) else {
            return Vec::new();
        };
        let asked = keys.each().filter_map(|(scope, key)| {
            let max = beyond.limits.of_scope(scope)?;
            let has = taken.by.get(&key).copied().unwrap_or_default();
            let told = beyond.told.get(&key).copied().unwrap_or_default();
            let unasked = (max / (UNASKED_PART * (beyond.others + 1))).max(1);
            (has + count > told + unasked).then(|| Asked {
                name: key.told_as().unwrap_or_default(),
                has: has as u64,
                wants: count.max(unasked / 2) as u64,
                max: max as u64,
            })
        });
        asked.collect()
    }

    /// What the others say to what was asked.
    pub fn granted(&self, asked: &[Asked], granted: &[Granted]) {
        let mut taken = self.taken.lock();
        let Some(beyond) = &mut taken.beyond else {
            return;
        };
        for (asked, granted) in asked.iter().zip(granted) {
            if let Some(key) = Key::of_told(&asked.name) {
                let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
                let told = count(asked.has.saturating_add(granted.taken));
                beyond.told.insert(key.clone(), told);
                beyond.by.insert(key, count(granted.others));
            }
        }
    }

    /// What the others are to be told.
    #[must_use]
    pub fn told(&self) -> Vec<(String, u64)> {
        let taken = self.taken.lock();
        let Some(beyond) = &taken.beyond else {
            return Vec::new();
        };
        let counts = taken.by.iter().filter_map(|(key, count)| {
            let max = beyond.limits.of_scope(key.scope())?;
            let is_much = *count >= (max / UNTOLD_PART).max(1);
            is_much.then(|| Some((key.told_as()?, *count as u64)))?
        });
        let mut told: Vec<(String, u64)> = counts.collect();
        if told.len() > TOLD_MAX {
            told.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            told.truncate(TOLD_MAX);
        }
        told
    }

    /// The others were told this, and this is what they have.
    pub fn hear(&self, told: &[(String, u64)], others: &Others) {
        let read = |(name, count): (&String, &u64)| {
            let count = usize::try_from(*count).unwrap_or(usize::MAX);
            Some((Key::of_told(name)?, count))
        };
        let mut taken = self.taken.lock();
        if let Some(beyond) = &mut taken.beyond {
            beyond.others = others.members;
            beyond.by = others.sums.iter().filter_map(read).collect();
            let told = told.iter().map(|(name, count)| (name, count));
            beyond.told = told.filter_map(read).collect();
        }
    }

    /// There are no others that can be reached: what is taken here counts alone.
    pub fn forget_others(&self) {
        let mut taken = self.taken.lock();
        if let Some(beyond) = &mut taken.beyond {
            beyond.others = 0;
            beyond.by.clear();
            beyond.told.clear();
        }
    }

    /// Takes `count` for a caller.
    ///
    /// # Errors
    /// Somebody whom it is part of would have too much; counted, and nothing is taken.
    pub fn acquire(self: &Arc<Self>, keys: &CallerKeys, count: usize) -> Result<Share, Refused> {
        self.take(keys, count)?;
        Ok(Share {
            shares: Arc::clone(self),
            keys: keys.clone(),
            count,
        })
    }

    fn take(&self, keys: &CallerKeys, count: usize) -> Result<(), Refused> {
        let taken = self.try_take(keys, count);
        taken.inspect_err(|refused| self.telemetry.count_limit((self.counted_as)(refused.scope)))
    }

    /// As [`Shares::take`], of which nobody hears where there is no more.
    fn try_take(&self, keys: &CallerKeys, count: usize) -> Result<(), Refused> {
        // Nobody ever has more than there is, so nothing is always to be had.
        if count == 0 {
            return Ok(());
        }
        let mut taken = self.taken.lock();
        if let Some(refused) = self.refusal(&taken, keys, count) {
            return Err(refused);
        }
        taken.all += count;
        for (_, key) in keys.each() {
            *taken.by.entry(key).or_default() += count;
        }
        Ok(())
    }

    /// Why a caller cannot have so much more beside what is taken.
    fn refusal(&self, taken: &Taken, keys: &CallerKeys, count: usize) -> Option<Refused> {
        let full = keys.each().find_map(|(scope, key)| {
            let max = self.limits.of_scope(scope);
            let has = taken.by.get(&key).copied().unwrap_or_default();
            // A limit that is not below that of all is nobody's share.
            (max < self.limits.all && is_past(has, count, max)).then_some((scope, max))
        });
        let all = self.limits.all;
        let full = full.or(is_past(taken.all, count, all).then_some((Scope::All, all)));
        let full = full.or_else(|| taken.is_past_common(keys, count));
        let full = full.or_else(|| self.is_kept(taken, keys, count));
        full.map(|(scope, max)| Refused {
            what: self.what,
            scope,
            max,
        })
    }

    /// Why a caller can never have so much, also where nobody else has anything; nothing is taken
    /// or counted.
    #[must_use]
    pub fn never_fits(&self, keys: &CallerKeys, count: usize) -> Option<Refused> {
        self.refusal(&Taken::default(), keys, count)
    }

    /// Whether a caller could take so much more now; nothing is taken or counted.
    #[must_use]
    pub fn has_room(&self, keys: &CallerKeys, count: usize) -> bool {
        self.refusal(&self.taken.lock(), keys, count).is_none()
    }

    /// When something is given back, from now on.
    pub fn given_back(&self) -> impl Future<Output = ()> + use<> {
        Arc::clone(&self.given_back).notified_owned()
    }

    /// Whether what is left is for those who have less than this one would have.
    fn is_kept(&self, taken: &Taken, keys: &CallerKeys, count: usize) -> Option<(Scope, usize)> {
        let has = |key: &Key| taken.by.get(key).copied().unwrap_or_default();
        let has_then = has(&keys.own()?) + count;
        let tenant = keys.tenant.clone().map(Key::Tenant);
        let tenant = tenant.map(|key| (self.limits.tenant.min(self.limits.all), has(&key)));
        let wide = tenant.into_iter().chain([(self.limits.all, taken.all)]);
        wide.filter_map(|(max, taken)| {
            let left = max.saturating_sub(taken + count);
            little_of(max, self.limits.kept_sixteenths, left)
        })
        .find(|little| has_then > *little && count > 0)
        .map(|little| (Scope::Kept, little))
    }

    fn give_back(&self, keys: &CallerKeys, count: usize) {
        if count == 0 {
            return;
        }
        let mut taken = self.taken.lock();
        taken.all -= count;
        for (_, key) in keys.each() {
            if let Some(has) = taken.by.get_mut(&key) {
                *has -= count;
                if *has == 0 {
                    taken.by.remove(&key);
                }
            }
        }
        drop(taken);
        self.given_back.notify_waiters();
    }

    /// How much each token has that has any, with what others say that they have.
    #[must_use]
    pub fn taken_per_token(&self) -> HashMap<TokenId, usize> {
        let taken = self.taken.lock();
        let beyond = taken.beyond.iter().flat_map(|beyond| &beyond.by);
        let mut tokens = HashMap::new();
        for (key, count) in taken.by.iter().chain(beyond) {
            if let Key::Token(token) = key {
                *tokens.entry(*token).or_default() += *count;
            }
        }
        tokens
    }

    /// How much a caller has, by its token or at its address.
    #[must_use]
    pub fn taken_by(&self, keys: &CallerKeys) -> usize {
        let own = keys.own();
        let taken = self.taken.lock();
        own.and_then(|own| taken.by.get(&own).copied())
            .unwrap_or_default()
    }

    /// How much is taken in all.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.lock().all
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> ShareLimits {
        self.limits
    }
}

impl Taken {
    /// Which limit of all servers a caller would be past.
    fn is_past_common(&self, keys: &CallerKeys, count: usize) -> Option<(Scope, usize)> {
        let beyond = self.beyond.as_ref()?;
        keys.each().find_map(|(scope, key)| {
            let max = beyond.limits.of_scope(scope)?;
            let here = self.by.get(&key).copied().unwrap_or_default();
            let there = beyond.by.get(&key).copied().unwrap_or_default();
            is_past(here.saturating_add(there), count, max).then_some((scope, max))
        })
    }
}

impl CommonLimits {
    fn of_scope(&self, scope: Scope) -> Option<usize> {
        match scope {
            Scope::Address => self.address,
            Scope::Token | Scope::NoToken => self.token,
            Scope::Client | Scope::Tenant | Scope::All | Scope::Kept => None,
        }
    }
}

impl Key {
    fn scope(&self) -> Scope {
        match self {
            Self::Client(_) => Scope::Client,
            Self::Address(_) => Scope::Address,
            Self::Token(_) => Scope::Token,
            Self::NoToken(_) => Scope::NoToken,
            Self::Tenant(_) => Scope::Tenant,
        }
    }

    /// What it is called among servers, if it is any thing of theirs.
    fn told_as(&self) -> Option<String> {
        match self {
            Self::Address(network) => Some(format!("a:{network}")),
            Self::Token(token) => Some(format!("t:{token}")),
            Self::NoToken(network) => Some(format!("n:{network}")),
            Self::Client(_) | Self::Tenant(_) => None,
        }
    }

    fn of_told(name: &str) -> Option<Self> {
        let (kind, name) = name.split_once(':')?;
        match kind {
            "a" => name.parse().ok().map(Self::Address),
            "t" => name.parse().ok().map(Self::Token),
            "n" => name.parse().ok().map(Self::NoToken),
            _ => None,
        }
    }
}

fn is_past(has: usize, more: usize, max: usize) -> bool {
    has.checked_add(more).is_none_or(|sum| sum > max)
}

impl ShareLimits {
    fn of_scope(&self, scope: Scope) -> usize {
        match scope {
            Scope::Client => self.client,
            Scope::Address => self.address,
            Scope::Token | Scope::NoToken => self.token,
            Scope::Tenant => self.tenant,
            Scope::All | Scope::Kept => self.all,
        }
    }
}

impl Share {
    /// Takes so much more.
    ///
    /// # Errors
    /// As [`Shares::acquire`]; what it has stays.
    pub fn grow(&mut self, more: usize) -> Result<(), Refused> {
        self.shares.take(&self.keys, more)?;
        self.count += more;
        Ok(())
    }

    /// Takes `ahead` more where there is as much, else `more`, which is less.
    ///
    /// # Errors
    /// As [`Share::grow`].
    pub fn grow_ahead(&mut self, more: usize, ahead: usize) -> Result<(), Refused> {
        if ahead > more && self.shares.try_take(&self.keys, ahead).is_ok() {
            self.count += ahead;
            return Ok(());
        }
        self.grow(more)
    }

    /// Gives so much back, at most what it has.
    pub fn shrink(&mut self, less: usize) {
        let less = less.min(self.count);
        self.count -= less;
        self.shares.give_back(&self.keys, less);
    }

    /// A share of so much of it, at most all; the rest stays.
    #[must_use]
    pub fn split(&mut self, count: usize) -> Self {
        let count = count.min(self.count);
        self.count -= count;
        Self {
            shares: Arc::clone(&self.shares),
            keys: self.keys.clone(),
            count,
        }
    }

    /// How much it is.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink(self.count);
    }
}

impl Refused {
    /// For a request: 503 where all is taken, 429 where the caller has too much of it.
    #[must_use]
    pub fn into_error(self) -> AppError {
        match self.scope {
            Scope::All | Scope::Kept => AppError::unavailable(self.to_string(), RETRY_AFTER_S),
            _ => AppError::too_many(self.to_string(), RETRY_AFTER_S),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, scope, max } = self;
        match scope {
            Scope::All => write!(f, "Too many {what}: at most {max} at once"),
            Scope::Kept => write!(
                f,
                "Too many {what}: nearly all are taken, and the rest is for those who have at most \
                 {max}"
            ),
            _ => {
                let whose = scope.whose();
                write!(f, "Too many {what}: at most {max} of {whose} at once")
            }
        }
    }
}

impl std::error::Error for Refused {}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shares")
            .field("what", &self.what)
            .field("limits", &self.limits)
            .field("taken", &self.taken())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share")
            .field("count", &self.count)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::access::secret::Digest;

    const LIMITS: ShareLimits = ShareLimits {
        client: 2,
        token: 4,
        address: 5,
        tenant: 6,
        all: 8,
        kept_sixteenths: 0,
    };

    fn shares(limits: ShareLimits) -> (Arc<Shares>, Arc<Telemetry>) {
        let telemetry = Arc::new(Telemetry::default());
        let shares = Shares::new("rooms", |_| Limit::Rooms, limits, Arc::clone(&telemetry));
        (shares, telemetry)
    }

    fn keys(client: u64, address: u8, token: &str, tenant: &str) -> CallerKeys {
        CallerKeys {
            client: Some(client),
            address: Some(IpAddr::from([192, 0, 2, address])),
            token: (!token.is_empty()).then(|| TokenId::of(&Digest::of(token))),
            tenant: Some(tenant.into()),
        }
    }

    fn refused(scope: Scope, max: usize) -> Refused {
        Refused {
            what: "rooms",
            scope,
            max,
        }
    }

    #[test]
    fn each_has_a_limit_and_leaves_something_to_the_others() {
        let (shares, telemetry) = shares(LIMITS);
        let take = |keys: &CallerKeys, count| shares.acquire(keys, count);
        let first = take(&keys(1, 1, "a", "x"), 2).expect("its share");
        let more = take(&keys(1, 1, "a", "x"), 1);
        assert_eq!(more.err(), Some(refused(Scope::Client, 2)));
        let second = take(&keys(2, 1, "a", "x"), 2).expect("another connection");
        let more = take(&keys(3, 2, "a", "y"), 1);
        assert_eq!(more.err(), Some(refused(Scope::Token, 4)));
        let third = take(&keys(4, 1, "", "x"), 1).expect("without a token");
        let more = take(&keys(5, 1, "b", "y"), 1);
        assert_eq!(more.err(), Some(refused(Scope::Address, 5)));
        let fourth = take(&keys(6, 2, "b", "x"), 1).expect("another address");
        let more = take(&keys(7, 3, "c", "x"), 1);
        assert_eq!(more.err(), Some(refused(Scope::Tenant, 6)));
        let fifth = take(&keys(8, 3, "", "y"), 2).expect("another tenant");
        let more = take(&keys(9, 4, "", "z"), 1).expect_err("nothing is left");
        assert_eq!(more, refused(Scope::All, 8));
        assert_eq!(
            (more.to_string(), more.into_error().status().as_u16()),
            ("Too many rooms: at most 8 at once".to_owned(), 503)
        );
        assert_eq!(
            refused(Scope::Token, 5).into_error().status().as_u16(),
            429,
            "others may have some"
        );
        let text = telemetry.text();
        assert!(text.contains("pulseboard_limit_hits_total{limit=\"rooms\"} 5\n"));
        drop((first, second, third, fourth, fifth));
        assert_eq!(shares.taken(), 0);
        assert!(shares.taken.lock().by.is_empty(), "nothing is kept");
    }

    #[test]
    fn a_share_grows_and_shrinks_and_a_refusal_takes_nothing() {
        let (shares, _) = shares(LIMITS);
        let mut share = shares.acquire(&keys(1, 1, "a", "x"), 0).expect("nothing");
        assert!(shares.taken.lock().by.is_empty());
        assert_eq!(share.grow(2), Ok(()));
        assert_eq!(share.grow(usize::MAX), Err(refused(Scope::Client, 2)));
        assert_eq!((share.count(), shares.taken()), (2, 2));
        share.shrink(1);
        assert_eq!((share.count(), shares.taken()), (1, 1));
        let part = share.split(9);
        assert_eq!((share.count(), part.count(), shares.taken()), (0, 1, 1));
        drop(std::mem::replace(&mut share, part));
        share.shrink(9);
        assert_eq!((share.count(), shares.taken()), (0, 0));
        assert!(shares.taken.lock().by.is_empty());
    }

    #[test]
    fn those_without_a_token_leave_some_of_their_address_to_those_with_one() {
        let (shares, _) = shares(LIMITS);
        let held: Vec<_> = (0..2)
            .map(|client| shares.acquire(&keys(client, 1, "", "x"), 2).expect("some"))
            .collect();
        let more = shares.acquire(&keys(3, 1, "", "x"), 1);
        assert_eq!(more.err(), Some(refused(Scope::NoToken, 4)));
        drop(shares.acquire(&keys(4, 1, "a", "x"), 1).expect("with one"));
        drop(shares.acquire(&keys(5, 2, "", "x"), 1).expect("elsewhere"));
        drop(held);
    }

    #[test]
    fn what_never_fits_is_told_from_what_does_not_fit_now() {
        let (shares, telemetry) = shares(LIMITS);
        let (one, other) = (keys(1, 1, "a", "x"), keys(2, 2, "b", "x"));
        let held = shares.acquire(&one, 2).expect("its share");
        assert_eq!(shares.never_fits(&one, 2), None, "all that it may have");
        assert_eq!(shares.never_fits(&one, 3), Some(refused(Scope::Client, 2)));
        let elsewhere = CallerKeys {
            client: None,
            ..one.clone()
        };
        assert_eq!(
            shares.never_fits(&elsewhere, 5),
            Some(refused(Scope::Token, 4))
        );
        assert!(!shares.has_room(&one, 1) && shares.has_room(&other, 2));
        let counted = "pulseboard_limit_hits_total{limit=\"rooms\"} 0\n";
        assert!(telemetry.text().contains(counted), "not counted");
        // Told when something is given back, also where nobody has looked yet.
        let given_back = shares.given_back();
        drop(held);
        assert!(given_back.now_or_never().is_some() && shares.has_room(&one, 2));
    }

    #[test]
    fn where_one_may_have_all_it_is_all_that_is_taken() {
        let (shares, _) = shares(ShareLimits {
            client: 1,
            token: 1,
            address: 1,
            tenant: 1,
            all: 1,
            kept_sixteenths: 4,
        });
        let held = shares.acquire(&keys(1, 1, "a", "x"), 1).expect("the one");
        let more = shares.acquire(&keys(1, 1, "a", "x"), 1);
        assert_eq!(more.err(), Some(refused(Scope::All, 1)));
        drop(held);
    }

    /// However greedy many are, from whatever addresses: who has nothing still gets something, and
    /// one caller alone has all of its share.
    #[test]
    fn the_last_part_is_for_those_who_have_little() {
        for (all, greedy) in [(1_024, 60), (10_000, 250), (128 << 20, 250)] {
            let (shares, _) = shares(ShareLimits::of(all));
            let of = ShareLimits::of(all);
            let step = (all / 1_024 / 64).max(1);
            let mut held = Vec::new();
            for address in 0..greedy {
                let mut share = shares
                    .acquire(&keys(u64::from(address), address, "", "x"), 0)
                    .expect("nothing");
                let mut more = all;
                while more >= step {
                    match share.grow(more.min(of.client.saturating_sub(share.count()))) {
                        Ok(()) if share.count() < of.client => {}
                        _ => more /= 2,
                    }
                }
                held.push(share);
            }
            assert!(shares.taken() > all / 2);
            let good = shares.acquire(&keys(999, 251, "", "x"), step);
            assert!(good.is_ok(), "of {all} {:?}", good.err());
            let elsewhere = shares.acquire(&keys(998, 252, "", "y"), step);
            assert!(elsewhere.is_ok(), "of {all} {:?}", elsewhere.err());
            let much = shares.acquire(&keys(999, 251, "", "y"), all / 16);
            assert_eq!(much.err().map(|refused| refused.scope), Some(Scope::Kept));
        }
        let (shares, _) = shares(ShareLimits::of(1_024).each_client(1_024));
        let half = shares.acquire(&keys(1, 1, "a", "x"), 512);
        assert!(half.is_ok(), "alone it has what one may have");
    }

    #[test]
    fn the_wider_the_larger() {
        for all in 1..100 {
            let of = ShareLimits::of(all);
            let widening = [of.client, of.token, of.address, of.tenant, of.all];
            assert!(widening.is_sorted() && of.client >= 1, "{of:?}");
            assert!(all < 8 || of.tenant < of.all, "{of:?}");
        }
        let limits = ShareLimits::of(32);
        assert_eq!(
            [limits.client, limits.token, limits.address, limits.tenant],
            [4, 16, 20, 28]
        );
        assert_eq!(eighths(usize::MAX, 8), usize::MAX);
    }

    /// Whatever is taken and given back in whatever order: nobody has more than the limits say, a
    /// refusal is always right, and in the end nothing is kept.
    #[test]
    fn no_order_of_taking_and_giving_back_gets_past_a_limit() {
        let mut random = fastrand::Rng::with_seed(14);
        for _ in 0..200 {
            let (shares, _) = shares(LIMITS);
            let mut held: Vec<Share> = Vec::new();
            for _ in 0..100 {
                match random.u8(..4) {
                    0 if !held.is_empty() => drop(held.swap_remove(random.usize(..held.len()))),
                    1 if !held.is_empty() => {
                        let index = random.usize(..held.len());
                        let (before, more) = (held[index].count(), random.usize(..3));
                        let grown = held[index].grow(more).map_or(0, |()| more);
                        assert_eq!(held[index].count(), before + grown);
                    }
                    _ => {
                        let token = ["", "a", "b"][random.usize(..3)];
                        let tenant = ["x", "y"][random.usize(..2)];
                        let keys = keys(random.u64(..4), random.u8(..3), token, tenant);
                        let count = random.usize(..4);
                        let sum = |is_one: &dyn Fn(&CallerKeys) -> bool| {
                            let of = held.iter().filter(|share| is_one(&share.keys));
                            of.map(Share::count).sum::<usize>() + count
                        };
                        let fits = sum(&|other| other.client == keys.client) <= LIMITS.client
                            && sum(&|other| other.address == keys.address) <= LIMITS.address
                            && sum(&|other| {
                                other.token == keys.token
                                    && (keys.token.is_some() || other.address == keys.address)
                            }) <= LIMITS.token
                            && sum(&|other| other.tenant == keys.tenant) <= LIMITS.tenant
                            && sum(&|_| true) <= LIMITS.all;
                        let share = shares.acquire(&keys, count);
                        assert_eq!(share.is_ok(), fits, "{keys:?} {count} {held:?}");
                        held.extend(share);
                    }
                }
                assert_eq!(shares.taken(), held.iter().map(Share::count).sum::<usize>());
                assert!(shares.taken.lock().by.len() <= 4 * held.len());
            }
            held.clear();
            assert!(shares.taken.lock().by.is_empty());
        }
    }

    #[test]
    fn servers_together_keep_a_limit_and_ask_when_they_are_near_it() {
        let limits = ShareLimits {
            client: usize::MAX,
            token: 1_000,
            address: 1_000,
            tenant: 1_000,
            all: 1_000,
            kept_sixteenths: 0,
        };
        let common = CommonLimits {
            address: None,
            token: Some(100),
        };
        let of = || {
            Shares::common(
                ("streams", |_| Limit::Rooms),
                limits,
                Some(common),
                Arc::default(),
            )
        };
        let (here, there) = (of(), of());
        let caller = keys(1, 1, "t", "a");
        let name = format!("t:{}", caller.token.expect("a token"));
        let hears = |one: &Shares, count: u64| {
            let sums = HashMap::from([(name.clone(), count)]);
            one.hear(&one.told(), &Others { members: 1, sums });
        };
        // Alone nobody asks, and it is a limit all the same.
        let held: Vec<Share> = (0..60)
            .map(|_| here.acquire(&caller, 1).expect("room"))
            .collect();
        assert!(here.asked(&caller, 1).is_empty());
        assert_eq!(here.told(), [(name.clone(), 60)]);
        hears(&here, 0);
        hears(&there, 60);
        // A 32nd of it is taken without asking.
        let mut others: Vec<Share> = Vec::new();
        while there.asked(&caller, 1).is_empty() {
            others.push(there.acquire(&caller, 1).expect("room"));
        }
        assert_eq!(others.len(), 3);
        let asked = there.asked(&caller, 1);
        assert_eq!((asked[0].has, asked[0].wants, asked[0].max), (3, 1, 100));
        let granted = |others, taken| [Granted { others, taken }];
        there.granted(&asked, &granted(60, 30));
        assert!(there.asked(&caller, 27).is_empty(), "it was given them");
        others.extend((0..37).map(|_| there.acquire(&caller, 1).expect("room")));
        let full = refused(Scope::Token, 100);
        assert_eq!(
            there
                .acquire(&caller, 1)
                .err()
                .map(|refused| (refused.scope, refused.max)),
            Some((full.scope, full.max))
        );
        assert!(
            there.acquire(&keys(1, 1, "u", "a"), 1).is_ok(),
            "others have their own"
        );
        // Who is no more has nothing, and nobody is asked who is not there.
        hears(&there, 0);
        assert!(there.acquire(&caller, 1).is_ok());
        there.forget_others();
        assert!(there.asked(&caller, 50).is_empty());
        drop((held, others));
        assert!(here.told().is_empty());
    }
}
