//! What a tier is built from: raw chunks or the next finer tier, block by block and series by
//! series.

use redb::{ReadableTable, WriteTransaction};

use crate::{
    RAW_BLOCK_MS, Tier,
    tables::{RAW, RawTable, TierTable, tier_table},
};

/// What a tier is built from.
pub(super) enum Source<'txn> {
    Raw(RawTable<'txn>),
    Tier(Tier, TierTable<'txn>),
}

impl<'txn> Source<'txn> {
    pub(super) fn open(txn: &'txn WriteTransaction, tier: Tier) -> Result<Self, redb::Error> {
        Ok(match tier.finer() {
            None => Self::Raw(txn.open_table(RAW)?),
            Some(finer) => Self::Tier(finer, txn.open_table(tier_table(finer))?),
        })
    }

    pub(super) fn block_ms(&self) -> i64 {
        match self {
            Self::Raw(_) => RAW_BLOCK_MS,
            Self::Tier(tier, _) => tier.block_ms(),
        }
    }

    /// The first block from `block` on that holds anything.
    pub(super) fn next_block(&self, block: u32) -> Result<Option<u32>, redb::Error> {
        Ok(match self {
            Self::Raw(raw) => {
                let row = raw.range((block, 0, 0)..)?.next().transpose()?;
                row.map(|(key, _)| key.value().0)
            }
            Self::Tier(_, table) => {
                let row = table.range((block, 0)..)?.next().transpose()?;
                row.map(|(key, _)| key.value().0)
            }
        })
    }

    /// The first series from `series` on that `block` holds.
    pub(super) fn next_series(&self, block: u32, series: u32) -> Result<Option<u32>, redb::Error> {
        Ok(match self {
            Self::Raw(raw) => {
                let range = (block, series, 0)..=(block, u32::MAX, u32::MAX);
                raw.range(range)?
                    .next()
                    .transpose()?
                    .map(|(key, _)| key.value().1)
            }
            Self::Tier(_, table) => {
                let range = (block, series)..=(block, u32::MAX);
                table
                    .range(range)?
                    .next()
                    .transpose()?
                    .map(|(key, _)| key.value().1)
            }
        })
    }
}
