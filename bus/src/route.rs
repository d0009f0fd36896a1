//! Where something lies: 64 partitions for ever, by tenant, and what keys are called.
//!
//! A partition is one hash slot, by a tag that was computed beforehand, so that what a tenant has
//! is changed by one script, and moving to Redis Cluster renames nothing. The tags' slots lie in
//! the middle of 64 equal stretches of slots; numbers as tags would leave some servers without any.

use std::sync::{Arc, LazyLock};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use xxhash_rust::xxh3::xxh3_64;

use crate::key::{FeedKey, Kind};

/// Partitions, also on a single Redis.
pub const PARTITIONS: usize = 64;

/// Hash slots of Redis Cluster.
pub(crate) const SLOTS: u16 = 16_384;

/// The number in each partition's tag: `p99`, `p3210`, …
#[rustfmt::skip]
const TAGS: [u16; PARTITIONS] = [
    99, 3210, 16832, 17936, 2204, 3300, 5653, 1108, 11985, 10881, 4859, 5870, 7096, 306, 12067, 13163,
    16901, 17805, 87, 3323, 12599, 4749, 2337, 3233, 4847, 4294, 7198, 325, 5280, 4384, 7088, 235,
    2062, 3166, 5518, 1243, 2172, 8469, 1980, 1353, 10009, 160, 12201, 13305, 6837, 7933, 12311, 13215,
    5506, 16189, 2151, 3055, 5416, 16099, 2041, 3145, 12332, 1690, 15648, 3498, 12222, 18739, 6904, 7800,
];

/// One of the 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(u8);

impl Partition {
    /// Where a tenant's things lie; `""` is the service itself.
    #[must_use]
    pub fn of(tenant: &str) -> Self {
        let number = xxh3_64(tenant.as_bytes()) % PARTITIONS as u64;
        Self(u8::try_from(number).unwrap_or_default())
    }

    /// By its number; `None` from 64 on.
    #[must_use]
    pub fn new(number: usize) -> Option<Self> {
        let number = u8::try_from(number).ok()?;
        (usize::from(number) < PARTITIONS).then_some(Self(number))
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..PARTITIONS).filter_map(Self::new)
    }

    /// From 0 to 63.
    #[must_use]
    pub fn number(self) -> usize {
        usize::from(self.0)
    }

    /// The feed of this kind that each partition has one of, whoever's tenants are in it.
    #[must_use]
    pub fn feed(self, kind: Kind) -> FeedKey {
        // A feed lies where its tenant does; so it is named as one that would lie here.
        static NAMES: LazyLock<Vec<Arc<str>>> = LazyLock::new(|| {
            let name_of = |partition| {
                let mut names = (0_u32..).map(|number| number.to_string());
                names.find(|name| Partition::of(name) == partition)
            };
            let names = Partition::all().filter_map(name_of);
            names.map(Arc::from).collect()
        });
        let name = NAMES.get(self.number()).cloned().unwrap_or_default();
        FeedKey::new(kind, name, "all")
    }

    fn tag(self) -> u16 {
        TAGS.get(self.number()).copied().unwrap_or_default()
    }

    /// Its hash slot in Redis Cluster.
    pub(crate) fn slot(self) -> u16 {
        slot_of(format!("p{}", self.tag()).as_bytes())
    }
}

/// What `CLUSTER KEYSLOT` says of a tag: CRC-16 (XMODEM) of it, modulo the slots.
fn slot_of(tag: &[u8]) -> u16 {
    let crc = tag.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ 0x1021,
        })
    });
    crc % SLOTS
}

/// What stays as it is in a part of a key: no `:` that would end it, no brace that would be a tag.
const IN_KEYS: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Keys of one service in a Redis that others may use, too.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: Box<str>,
}

/// The keys of a feed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FeedKeys {
    /// Frames; the name of its channel, too.
    pub(crate) stream: String,
    /// Epoch, offset, what was published last by whom.
    pub(crate) meta: String,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    /// A key in a partition.
    fn at(&self, partition: Partition, rest: &str) -> String {
        format!("{}:{{p{}}}:{rest}", self.prefix, partition.tag())
    }

    /// Lineage and generation of a partition.
    pub(crate) fn generation(&self, partition: Partition) -> String {
        self.at(partition, "g")
    }

    pub(crate) fn feed(&self, feed: &FeedKey) -> FeedKeys {
        let partition = Partition::of(&feed.tenant);
        let name = format!(
            "{}:{}:{}",
            feed.kind.name(),
            encoded(&feed.tenant),
            encoded(&feed.id)
        );
        FeedKeys {
            stream: self.at(partition, &format!("f:{name}")),
            meta: self.at(partition, &format!("m:{name}")),
        }
    }

    /// A lease of a partition.
    pub(crate) fn lease(&self, partition: Partition, name: &str) -> String {
        self.at(partition, &format!("lease:{}", encoded(name)))
    }

    /// Something that a partition has one of, such as `wt`.
    pub(crate) fn of_partition(&self, partition: Partition, what: &str) -> String {
        self.at(partition, what)
    }

    /// Something that a tenant has one of, such as `trk`.
    pub(crate) fn tenant(&self, tenant: &str, what: &str) -> String {
        let partition = Partition::of(tenant);
        self.at(partition, &format!("{what}:{}", encoded(tenant)))
    }

    /// Something that a tenant has many of.
    pub(crate) fn item(&self, tenant: &str, what: &str, name: &str) -> String {
        let partition = Partition::of(tenant);
        let (tenant, name) = (encoded(tenant), encoded(name));
        self.at(partition, &format!("{what}:{tenant}:{name}"))
    }

    /// Something of the service itself, such as `members`.
    pub(crate) fn own(&self, what: &str) -> String {
        self.at(Partition::of(""), what)
    }

    /// What a server sends itself through the partition, to see whether it hears.
    pub(crate) fn probe(&self, partition: Partition, member: &str) -> String {
        self.at(partition, &format!("probe:{}", encoded(member)))
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, IN_KEYS).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn slots_are_those_that_redis_says() {
        // From `CLUSTER KEYSLOT`.
        assert_eq!(slot_of(b"123456789"), 12_739);
        assert_eq!(slot_of(b"foo"), 12_182);
    }

    #[test]
    fn every_server_of_a_cluster_has_about_as_many_partitions() {
        for servers in 1..=16_usize {
            let mut held = vec![0_usize; servers];
            for partition in Partition::all() {
                let server = usize::from(partition.slot()) * servers / usize::from(SLOTS);
                held[server] += 1;
            }
            let (least, most) = (held.iter().min(), held.iter().max());
            let (least, most) = (*least.expect("one"), *most.expect("one"));
            assert!(most - least <= 2, "{servers} servers: {held:?}");
        }
        let slots: BTreeSet<u16> = Partition::all().map(Partition::slot).collect();
        assert_eq!(slots.len(), PARTITIONS);
    }

    #[test]
    fn tenants_are_spread_and_stay_where_they_are() {
        assert_eq!(Partition::of(""), Partition::of(""));
        let places: BTreeSet<usize> = (0..2_000)
            .map(|number| Partition::of(&format!("tenant-{number}")).number())
            .collect();
        assert_eq!(places.len(), PARTITIONS);
        assert_eq!(Partition::new(64), None);
    }

    #[test]
    fn each_partition_has_its_own_feed_of_all() {
        for partition in Partition::all() {
            let feed = partition.feed(Kind::Ingest);
            assert_eq!(Partition::of(&feed.tenant), partition);
        }
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_a_key() {
        let keys = Keys::new("pb");
        let feed = |tenant: &str, id: &str| keys.feed(&FeedKey::new(Kind::Room, tenant, id)).stream;
        assert_ne!(feed("a:b", "c"), feed("a", "b:c"));
        assert_ne!(feed("a%3Ab", "c"), feed("a:b", "c"));
        let odd = feed("{x}", "}{*\r\n");
        assert_eq!(odd.matches(['{', '}']).count(), 2, "{odd}");
        assert!(odd.is_ascii() && !odd.contains(['\r', '\n', '*', ' ']));
        let own = keys.feed(&FeedKey::own(Kind::Tick));
        assert!(own.stream.ends_with("}:f:tick::"), "{}", own.stream);
    }
}
