//! How far each lane is done, in a small file beside the log.
//!
//! ```text
//! file = slot slot
//! slot = generation u64 │ first number not done, u64 for each lane │ crc32 u32      76 bytes
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

const FILE: &str = "sent";
const SLOT_BYTES: usize = 8 + 8 * LANES + 4;

/// The first number of each lane that is not done.
pub(crate) type Places = [u64; LANES];

/// The file.
#[derive(Debug)]
pub(crate) struct Progress {
    file: File,
    generation: u64,
}

impl Progress {
    /// Opens the file in `folder`; nothing is done where there is none, or none that can be read.
    pub(crate) fn open(folder: &Path) -> io::Result<(Self, Places)> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join(FILE))?;
        let mut bytes = Vec::new();
        (&mut file)
            .take(2 * SLOT_BYTES as u64)
            .read_to_end(&mut bytes)?;
        let newest = bytes
            .chunks_exact(SLOT_BYTES)
            .filter_map(read)
            .max_by_key(|(generation, _)| *generation);
        let (generation, places) = newest.unwrap_or_default();
        Ok((Self { file, generation }, places))
    }

    /// Writes it down.
    pub(crate) fn save(&mut self, places: &Places) -> io::Result<()> {
        self.generation += 1;
        let mut slot = self.generation.to_le_bytes().to_vec();
        for place in places {
            slot.extend_from_slice(&place.to_le_bytes());
        }
        slot.extend_from_slice(&crc32fast::hash(&slot).to_le_bytes());
        let at = self.generation % 2 * SLOT_BYTES as u64;
        self.file.seek(SeekFrom::Start(at))?;
        self.file.write_all(&slot)
    }
}

fn read(slot: &[u8]) -> Option<(u64, Places)> {
    let (body, crc) = slot.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (generation, rest) = body.split_first_chunk()?;
    let mut places = Places::default();
    for (place, bytes) in places.iter_mut().zip(rest.as_chunks().0) {
        *place = u64::from_le_bytes(*bytes);
    }
    Some((u64::from_le_bytes(*generation), places))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_newest_whole_slot_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut progress, places) = Progress::open(folder.path()).expect("opened");
        assert_eq!(places, Places::default());
        for number in 1..=3_u64 {
            let places: Places = std::array::from_fn(|lane| number * 100 + lane as u64);
            progress.save(&places).expect("written");
        }
        let read = |what: &str| Progress::open(folder.path()).expect(what).1;
        assert_eq!(read("whole")[..2], [300, 301]);
        let file = folder.path().join(FILE);
        let mut bytes = fs::read(&file).expect("there");
        // The third stands in the second slot.
        bytes[SLOT_BYTES + 9] ^= 1;
        fs::write(&file, &bytes).expect("written");
        assert_eq!(read("one is damaged")[..2], [200, 201]);
        fs::write(&file, b"short").expect("written");
        assert_eq!(read("all is damaged"), Places::default());
    }
}
