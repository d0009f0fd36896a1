//! A body on its way to its parser: its bytes, how they are packed, the memory that they have.

use pulseboard_ingest::decompress::{Coding, UnpackError, Unpacker};
use pulseboard_series::Batch;

use crate::shares::{Refused, Share};

/// A body as it was read, with the memory that it was given.
#[derive(Debug)]
pub struct Packed {
    /// As it came.
    pub bytes: Vec<u8>,
    /// How it is packed.
    pub coding: Coding,
    /// What it takes of all bodies' memory.
    pub share: Share,
}

/// What one body is worked on with.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) batch: Batch,
    pub(super) unpacker: Unpacker,
    pub(super) unpacked: Vec<u8>,
}

/// A body on its way, with the memory that it was given.
pub(super) struct Body {
    pub(super) packed: Vec<u8>,
    pub(super) coding: Coding,
    pub(super) share: Share,
    pub(super) buffers: Buffers,
    is_unpacked: bool,
}

/// Why a body could not be unpacked.
pub(super) enum Failed {
    /// There is no memory left for it.
    NoMemory(Refused),
    /// It is too large, or broken.
    Unpack(UnpackError),
}

impl Body {
    /// As it came, to be worked on with `buffers`.
    pub(super) fn new(packed: Packed, buffers: Buffers) -> Self {
        Self {
            packed: packed.bytes,
            coding: packed.coding,
            share: packed.share,
            buffers,
            is_unpacked: false,
        }
    }

    /// What there is to parse, if it is unpacked.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match self.coding {
            Coding::Identity => Some(&self.packed),
            _ => self.is_unpacked.then_some(&*self.buffers.unpacked),
        }
    }

    /// Unpacks it, unless that was done. A body of more than `enough` bytes stays as it is where
    /// `enough` is less than `limit`, which is accepted.
    pub(super) fn unpack(&mut self, limit: usize, enough: usize) -> Result<(), Failed> {
        if self.bytes().is_some() {
            return Ok(());
        }
        let Buffers {
            unpacker, unpacked, ..
        } = &mut self.buffers;
        let before = self.share.count();
        let mut refusal = None;
        let charge = |bytes| match self.share.grow(bytes) {
            Ok(()) => true,
            Err(refused) => {
                refusal = Some(refused);
                false
            }
        };
        let done = unpacker.unpack(
            self.coding,
            &self.packed,
            enough.min(limit),
            unpacked,
            charge,
        );
        match (done, refusal) {
            (Ok(()), _) => {
                self.is_unpacked = true;
                Ok(())
            }
            (Err(UnpackError::TooLarge { .. }), _) if enough < limit => {
                self.share.shrink(self.share.count() - before);
                Ok(())
            }
            (_, Some(refused)) => Err(Failed::NoMemory(refused)),
            (Err(error), None) => Err(Failed::Unpack(error)),
        }
    }
}
