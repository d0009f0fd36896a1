//! The blocks' file: its tables and their keys.
//!
//! Keys begin with time, so that sealing inserts at the end of the trees and retention deletes
//! at their beginning:
//!
//! ```text
//! raw          (hour, series, sequence) -> chunk      hours since 1970; later sequences win
//! tier_10s …   (block, series)          -> block      blocks since 1970, in the tier's length
//! series       series                   -> definition
//! seen         series                   -> day of its newest sealed sample
//! tally        (level, block)           -> values, bytes, samples     level 0 raw, 1 10 s, …
//! tally_of     (tenant, level, block)   -> bytes
//! floor_of     (tenant, level)          -> first block that has not been given up for others
//! progress     tier                     -> blocks rolled up, series rolled up of the next
//! dirty        (tier, block, series)    -> ()         rolled up before a late sample came
//! tombstones   (series, from, to)       -> whole, level and block that it has been obeyed up to
//! meta         name                     -> number     format, first hour that raw may hold,
//!                                                     how far old blocks have been made anew
//! ```

use redb::{Table, TableDefinition};

use crate::Tier;

pub(crate) type RawKey = (u32, u32, u32);
pub(crate) type BlockKey = (u32, u32);

/// [`RAW`], opened to be written to.
pub(crate) type RawTable<'txn> = Table<'txn, RawKey, &'static [u8]>;
/// A tier's table, opened to be written to.
pub(crate) type TierTable<'txn> = Table<'txn, BlockKey, &'static [u8]>;

pub(crate) const RAW: TableDefinition<'_, RawKey, &[u8]> = TableDefinition::new("raw");
pub(crate) const SERIES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("series");
pub(crate) const SEEN: TableDefinition<'_, u32, u32> = TableDefinition::new("seen");
pub(crate) const TALLY: TableDefinition<'_, (u8, u32), (u64, u64, u64)> =
    TableDefinition::new("tally");
/// What [`TALLY`] says, of one tenant.
pub(crate) const TALLY_OF: TableDefinition<'_, (&str, u8, u32), u64> =
    TableDefinition::new("tally_of");
pub(crate) const FLOOR_OF: TableDefinition<'_, (&str, u8), u32> = TableDefinition::new("floor_of");
pub(crate) const PROGRESS: TableDefinition<'_, u8, (u32, u32)> = TableDefinition::new("progress");
pub(crate) const DIRTY: TableDefinition<'_, (u8, u32, u32), ()> = TableDefinition::new("dirty");
pub(crate) const TOMBSTONES: TableDefinition<'_, (u32, i64, i64), (bool, u8, u32)> =
    TableDefinition::new("tombstones");
pub(crate) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// In [`META`].
pub(crate) const META_FORMAT: &str = "format";
/// In [`META`]: hours below have been given up by retention.
pub(crate) const META_RAW_FLOOR: &str = "raw_floor";
/// In [`META`]: hour << 32 | series that is looked at next for a block that an earlier version
/// wrote and that can be made anew from its samples; [`ALL_ANEW`] where there is no more. Not
/// there: 0.
pub(crate) const META_ANEW: &str = "anew";
pub(crate) const ALL_ANEW: u64 = u64::MAX;
pub(crate) const FORMAT_VERSION: u32 = 1;

/// The table of a tier.
pub(crate) const fn tier_table(tier: Tier) -> TableDefinition<'static, BlockKey, &'static [u8]> {
    TableDefinition::new(match tier {
        Tier::TenSeconds => "tier_10s",
        Tier::Minute => "tier_1m",
        Tier::FiveMinutes => "tier_5m",
        Tier::Hour => "tier_1h",
    })
}

/// Raw, and the tiers.
pub(crate) const LEVELS: usize = 5;

/// What a key takes.
pub(crate) const KEY_BYTES: usize = 12;
