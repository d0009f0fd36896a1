//! How far the ingest log was taken in, and sent: one small file beside the history, replaced as a
//! whole. It may be older than the history, and then some is taken in or sent once more, which
//! changes nothing; it is never newer.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{access::secret::Digest, base::data_dir::INGEST_LOG};

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// Own frames up to this number are with Redis.
    pub sent: u64,
    /// Frames in segments of the history's log before this one are not this server's own.
    #[serde(default)]
    pub own_from: u32,
    /// The history has samples that were never in the ingest log of today: from before there was
    /// one, or before Redis lost it.
    #[serde(default)]
    pub more: bool,
    /// When the copy was asked for that the history is of, Unix milliseconds; 0 for none. What
    /// there was in a log that Redis had lost by then came with it.
    #[serde(default)]
    pub copied_ms: i64,
    /// Epoch and offset of what was taken in last, by partition.
    pub taken: BTreeMap<usize, (u64, u64)>,
}

fn file(folder: &Path) -> PathBuf {
    folder.join(INGEST_LOG)
}

impl Places {
    /// What is said in a data folder; `None` where nothing that can be read is.
    #[must_use]
    pub fn read(folder: &Path) -> Option<Self> {
        let text = match fs::read(file(folder)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, "how far samples of other servers were taken in cannot be read");
                return None;
            }
        };
        let read = serde_json::from_slice(&text);
        read.inspect_err(|error| {
            tracing::warn!(%error, "how far samples of other servers were taken in cannot be read");
        })
        .ok()
    }

    /// Nothing is said any more: what comes from now on is in no ingest log, as what is there when
    /// one is begun. Blocks.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn forget(folder: &Path) -> io::Result<()> {
        match fs::remove_file(file(folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The same for servers that have taken in the same, and for no others.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut text = String::new();
        for (part, (epoch, offset)) in self.taken.iter().filter(|(_, place)| place.1 > 0) {
            // Writing into a text does not fail.
            let _always = write!(text, "{part}:{epoch}:{offset},");
        }
        String::from(Digest::of(&text))
    }

    /// Says it in a data folder. Blocks.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let file = file(folder);
        let part = file.with_extension("new");
        fs::write(&part, serde_json::to_vec(self).map_err(io::Error::other)?)?;
        fs::rename(&part, &file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Places::read(folder.path()), None);
        let places = Places {
            sent: 7,
            own_from: 2,
            more: true,
            copied_ms: 5,
            taken: [(3, (1_700_000_000_000, 12))].into(),
        };
        places.write(folder.path()).expect("written");
        assert_eq!(Places::read(folder.path()), Some(places));
        fs::write(file(folder.path()), "{").expect("written");
        assert_eq!(Places::read(folder.path()), None);
        Places::forget(folder.path()).expect("gone");
        Places::forget(folder.path()).expect("gone already");
        assert!(!file(folder.path()).exists());
    }
}
