//! Texts of labels that many series have in common: each is there once, as long as it comes again
//! before another one needs its place.

use std::{
    hash::{BuildHasher, Hasher},
    sync::Arc,
};

use foldhash::fast::RandomState;

use crate::labels::{Label, Labels, NAME};

/// Texts that are remembered: at first, and each time there were that many. Fewer: more series have
/// their own. A place takes 16 bytes. Powers of two.
const PLACES: [usize; 3] = [32, 256, 8_192];

/// Longer texts are each series' own: few have them in common.
const SHARED_BYTES_MAX: usize = 256;

/// What a text takes beside its bytes.
const TEXT_BYTES: usize = 32;

/// Makes labels of what series are called.
#[derive(Debug, Default)]
pub struct Texts {
    hashes: RandomState,
    /// By hash; made with the first text.
    places: Box<[Option<Arc<str>>]>,
    /// Texts that were not there.
    missed: usize,
    /// Of the series that is being made.
    labels: Vec<Label>,
    /// Those of the one before, which has the same names mostly, and some of the same values.
    last: Labels,
}

/// Labels, and what that changed.
#[derive(Debug)]
pub struct Made {
    /// What names the series.
    pub labels: Labels,
    /// Bytes of texts that were not there before.
    pub taken: usize,
    /// Bytes of texts that nobody has any more.
    pub freed: usize,
}

impl Texts {
    /// The labels of a series, its metric's name among them. Cheapest where they come in order.
    pub fn labels<'a>(
        &mut self,
        name: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Made {
        let (mut taken, mut freed) = (0, 0);
        let mut all = std::mem::take(&mut self.labels);
        let last = std::mem::take(&mut self.last);
        let mut share = |text: &str, before: Option<&Arc<str>>| {
            if let Some(before) = before.filter(|before| ***before == *text) {
                return Arc::clone(before);
            }
            let (text, took, let_go) = self.share(text);
            (taken, freed) = (taken + took, freed + let_go);
            text
        };
        let mut push = |label: &str, value: &str| {
            let before = last.shared().get(all.len());
            let label = share(label, before.map(|before| &before.0));
            let value = share(value, before.map(|before| &before.1));
            all.push((label, value));
        };
        let mut name = (!name.is_empty()).then_some(name);
        for (label, value) in labels {
            if let Some(name) = name.take_if(|_| label > NAME) {
                push(NAME, name);
            }
            push(label, value);
        }
        if let Some(name) = name {
            push(NAME, name);
        }
        let labels = Labels::take(&mut all);
        self.labels = all;
        self.last = labels.clone();
        Made {
            labels,
            taken,
            freed,
        }
    }

    /// The text, the bytes that it takes if it is new, and those of what had its place and nobody
    /// has.
    fn share(&mut self, text: &str) -> (Arc<str>, usize, usize) {
        if text.len() > SHARED_BYTES_MAX {
            return (Arc::from(text), TEXT_BYTES + text.len(), 0);
        }
        if self.missed >= self.places.len() {
            self.make_room();
        }
        let at = self.place_of(text);
        let Some(place) = self.places.get_mut(at) else {
            return (Arc::from(text), TEXT_BYTES + text.len(), 0);
        };
        if let Some(known) = place
            && **known == *text
        {
            return (Arc::clone(known), 0, 0);
        }
        self.missed += 1;
        let new: Arc<str> = Arc::from(text);
        let before = place.replace(Arc::clone(&new));
        // Where series have it, it is still there.
        let alone = before.filter(|before| Arc::strong_count(before) == 1);
        let freed = alone.map_or(0, |before| TEXT_BYTES + before.len());
        (new, TEXT_BYTES + text.len(), freed)
    }

    fn place_of(&self, text: &str) -> usize {
        let mut hasher = self.hashes.build_hasher();
        hasher.write(text.as_bytes());
        // There is a power of two of them.
        hasher.finish() as usize & self.places.len().saturating_sub(1)
    }

    /// A question of few series has few places.
    fn make_room(&mut self) {
        let more = PLACES.into_iter().find(|count| *count > self.places.len());
        let Some(count) = more else { return };
        let known = std::mem::replace(&mut self.places, vec![None; count].into());
        for text in known.into_iter().flatten() {
            let at = self.place_of(&text);
            if let Some(place) = self.places.get_mut(at) {
                *place = Some(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES_MOST: usize = PLACES[PLACES.len() - 1];

    fn all(labels: &Labels) -> Vec<(&str, &str)> {
        labels.iter().collect()
    }

    #[test]
    fn labels_are_as_they_would_be_alone() {
        let mut texts = Texts::default();
        let cases: [(&str, &[(&str, &str)]); 5] = [
            ("up", &[("job", "a"), ("zone", "b")]),
            ("up", &[("A", "1"), ("zone", "b")]),
            ("up", &[]),
            ("", &[("zone", "b"), ("job", "a")]),
            ("", &[("empty", "")]),
        ];
        for (name, labels) in cases {
            let own = |text: &str| -> Arc<str> { Arc::from(text) };
            let named = [(NAME, name)].into_iter().filter(|_| !name.is_empty());
            let expected: Labels = named
                .chain(labels.iter().copied())
                .map(|(label, value)| (own(label), own(value)))
                .collect();
            let made = texts.labels(name, labels.iter().copied());
            assert_eq!(all(&made.labels), all(&expected));
        }
    }

    #[test]
    fn what_comes_again_is_there_once_and_what_nobody_has_goes() {
        let mut texts = Texts::default();
        fn label(value: &str) -> impl Iterator<Item = (&str, &str)> {
            [("job", value)].into_iter()
        }
        let first = texts.labels("up", label("a"));
        assert!(first.taken > 4 * TEXT_BYTES && first.freed == 0);
        let again = texts.labels("up", label("a"));
        assert_eq!((again.taken, again.freed), (0, 0));
        let long = "x".repeat(SHARED_BYTES_MAX + 1);
        for _ in 0..2 {
            let made = texts.labels("up", label(&long));
            assert_eq!(made.taken, TEXT_BYTES + long.len());
            let again = texts.labels("up", label(&long));
            assert_eq!(again.taken, 0, "the one before has it");
            texts.labels("up", label("a"));
        }
        // Many more than there are places.
        let (mut taken, mut freed) = (0, 0);
        for number in 0..4 * PLACES_MOST {
            let value = number.to_string();
            let made = texts.labels("up", label(&value));
            (taken, freed) = (taken + made.taken, freed + made.freed);
        }
        assert!(taken > 4 * PLACES_MOST * TEXT_BYTES);
        assert!(taken - freed <= PLACES_MOST * (TEXT_BYTES + 16));
    }
}
