//! What all viewers got: of one place there is one content, whoever was told and by whom.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use parking_lot::Mutex;

/// Shared by all viewers of a test.
#[derive(Clone, Debug, Default)]
pub struct Notes(Arc<Mutex<HashMap<Place, Note>>>);

/// A feed's name, an epoch and an offset.
type Place = (String, String, u64);

/// A digest of what somebody got there, and who.
#[derive(Debug)]
struct Note {
    digest: u64,
    by: String,
}

impl Notes {
    /// Writes down what somebody got at a place.
    ///
    /// # Errors
    /// Somebody else got something else there; says who and where.
    pub fn note(
        &self,
        (feed, epoch, offset): (&str, &str, u64),
        content: &str,
        by: &str,
    ) -> Result<(), String> {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let digest = hasher.finish();
        let mut notes = self.0.lock();
        let place = (feed.to_owned(), epoch.to_owned(), offset);
        let known = notes.entry(place).or_insert_with(|| Note {
            digest,
            by: by.to_owned(),
        });
        if known.digest == digest {
            return Ok(());
        }
        Err(format!(
            "{by} and {} have different contents at {offset} of {feed} under epoch {epoch}",
            known.by
        ))
    }

    /// Places that somebody got something at.
    #[must_use]
    pub fn places(&self) -> usize {
        self.0.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_has_one_content() {
        let notes = Notes::default();
        assert_eq!(notes.note(("tick", "1", 5), "x", "a"), Ok(()));
        assert_eq!(notes.note(("tick", "1", 5), "x", "b"), Ok(()));
        assert_eq!(notes.note(("tick", "2", 5), "y", "b"), Ok(()));
        let told = notes.note(("tick", "1", 5), "y", "b").expect_err("another");
        assert!(told.starts_with("b and a have"), "{told}");
        assert_eq!(notes.places(), 2);
    }
}
