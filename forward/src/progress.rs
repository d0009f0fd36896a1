//! How far each lane is done, in a small file beside the log; and in another one how far it is
//! released, with the receiver's run that took what is held.
//!
//! ```text
//! file = slot slot
//! slot = generation u64 │ u64 for each lane (and one for the run) │ crc32 u32      76 (84) bytes
//! ```
//!
//! The slots are written in turn, so that one is whole whatever happens. Nothing is synced: after a
//! power cut some samples are sent again.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use crate::record::LANES;

/// The first number of each lane that is not done.
pub(crate) const SENT: &str = "sent";

/// The first number of each lane that is not released, and the receiver's run.
pub(crate) const HELD: &str = "held";

const fn slot_bytes(numbers: usize) -> usize {
    8 + 8 * numbers + 4
}

/// A number for each lane.
pub(crate) type Places = [u64; LANES];

/// [`SENT`].
pub(crate) type Progress = Numbers<LANES>;

/// [`HELD`].
pub(crate) type Held = Numbers<{ LANES + 1 }>;

/// A file of so many numbers.
#[derive(Debug)]
pub(crate) struct Numbers<const COUNT: usize> {
    file: File,
    generation: u64,
}

impl<const COUNT: usize> Numbers<COUNT> {
    /// Opens the file in `folder`; all are 0 where there is none, or none that can be read.
    pub(crate) fn open(folder: &Path, name: &str) -> io::Result<(Self, [u64; COUNT])> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join(name))?;
        let mut bytes = Vec::new();
        (&mut file)
            .take(2 * slot_bytes(COUNT) as u64)
            .read_to_end(&mut bytes)?;
        let newest = bytes
            .chunks_exact(slot_bytes(COUNT))
            .filter_map(read::<COUNT>)
            .max_by_key(|(generation, _)| *generation);
        let (generation, numbers) = newest.unwrap_or((0, [0; COUNT]));
        Ok((Self { file, generation }, numbers))
    }

    /// Writes it down.
    pub(crate) fn save(&mut self, numbers: &[u64; COUNT]) -> io::Result<()> {
        self.generation += 1;
        let mut slot = self.generation.to_le_bytes().to_vec();
        for number in numbers {
            slot.extend_from_slice(&number.to_le_bytes());
        }
        slot.extend_from_slice(&crc32fast::hash(&slot).to_le_bytes());
        let at = self.generation % 2 * slot_bytes(COUNT) as u64;
        self.file.seek(SeekFrom::Start(at))?;
        self.file.write_all(&slot)
    }
}

fn read<const COUNT: usize>(slot: &[u8]) -> Option<(u64, [u64; COUNT])> {
    let (body, crc) = slot.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (generation, rest) = body.split_first_chunk()?;
    let mut numbers = [0; COUNT];
    for (number, bytes) in numbers.iter_mut().zip(rest.as_chunks().0) {
        *number = u64::from_le_bytes(*bytes);
    }
    Some((u64::from_le_bytes(*generation), numbers))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_newest_whole_slot_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut progress, places) = Progress::open(folder.path(), SENT).expect("opened");
        assert_eq!(places, Places::default());
        for number in 1..=3_u64 {
            let places: Places = std::array::from_fn(|lane| number * 100 + lane as u64);
            progress.save(&places).expect("written");
        }
        let read = |what: &str| Progress::open(folder.path(), SENT).expect(what).1;
        assert_eq!(read("whole")[..2], [300, 301]);
        let file = folder.path().join(SENT);
        let mut bytes = fs::read(&file).expect("there");
        // The third stands in the second slot.
        bytes[slot_bytes(LANES) + 9] ^= 1;
        fs::write(&file, &bytes).expect("written");
        assert_eq!(read("one is damaged")[..2], [200, 201]);
        fs::write(&file, b"short").expect("written");
        assert_eq!(read("all is damaged"), Places::default());
    }
}
