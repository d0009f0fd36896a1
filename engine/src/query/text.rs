//! Searching in keys, without an allocation for each.

use std::cell::RefCell;

use memchr::memmem::Finder;
use pulseboard_series::{KeyRef, key::write_key};

use super::error::{QueryError, SEARCH_BYTES_MAX, WORDS_MAX};
use crate::selector::NameFilter;

/// Words that must all be in a key, in whatever case.
pub(crate) struct Search {
    words: Vec<Finder<'static>>,
    /// The key that is searched, as text in lower case.
    text: RefCell<String>,
}

impl Search {
    pub(crate) fn new(text: &str) -> Result<Self, QueryError> {
        let words = text.split_whitespace();
        if text.len() > SEARCH_BYTES_MAX || words.clone().nth(WORDS_MAX).is_some() {
            return Err(QueryError::Search);
        }
        let lower = words.map(str::to_lowercase);
        Ok(Self {
            words: lower.map(|word| Finder::new(&word).into_owned()).collect(),
            text: RefCell::default(),
        })
    }

    /// What a metric's name says of all its series.
    pub(crate) fn name_filter(&self, name: &str) -> NameFilter {
        let name = name.to_lowercase();
        if self
            .words
            .iter()
            .all(|word| word.find(name.as_bytes()).is_some())
        {
            NameFilter::All
        } else {
            NameFilter::PerSeries
        }
    }

    /// Whether all words are in the key.
    pub(crate) fn takes(&self, key: KeyRef<'_>) -> bool {
        if self.words.is_empty() {
            return true;
        }
        let mut text = self.text.borrow_mut();
        text.clear();
        write_key(key, &mut text);
        if text.is_ascii() {
            text.make_ascii_lowercase();
        } else {
            *text = text.to_lowercase();
        }
        self.words
            .iter()
            .all(|word| word.find(text.as_bytes()).is_some())
    }
}

#[cfg(test)]
mod tests {
    use pulseboard_series::Batch;

    use super::*;

    fn search(text: &str) -> Search {
        Search::new(text).expect("few words")
    }

    #[test]
    fn a_search_has_few_words() {
        let words = |count: usize| "a ".repeat(count);
        assert!(Search::new(&words(WORDS_MAX)).is_ok());
        assert!(Search::new(&words(WORDS_MAX + 1)).is_err());
        assert!(Search::new(&"a".repeat(SEARCH_BYTES_MAX + 1)).is_err());
    }

    fn batch(name: &str, labels: &[(&str, &str)]) -> Batch {
        let mut batch = Batch::new();
        let built = batch.begin(&[name]).and_then(|()| {
            for (label, value) in labels {
                batch.label(label, value)?;
            }
            batch.finish(1, None, 0.0)
        });
        assert_eq!(built, Ok(()));
        batch
    }

    #[test]
    fn a_key_is_written_as_it_is_displayed() {
        let cases: [(&str, &[(&str, &str)]); 5] = [
            ("my metric", &[("my label", "x")]),
            ("plain", &[]),
            ("http", &[("code", "200"), ("job", "api")]),
            ("odd", &[("path", "a\\b\"c\nd"), ("größe", "ü")]),
            ("größe", &[("a", "b")]),
        ];
        for (name, labels) in cases {
            let batch = batch(name, labels);
            let key = batch.key(&batch.rows()[0]);
            let mut text = String::new();
            write_key(key, &mut text);
            assert_eq!(text, key.to_string());
        }
    }

    #[test]
    fn all_words_are_sought_in_any_case() {
        let batch = batch("Http_Requests", &[("größe", "ÄB"), ("job", "api")]);
        let key = batch.key(&batch.rows()[0]);
        for (text, is_there) in [
            ("", true),
            ("  ", true),
            ("http API", true),
            ("GRÖSSE", false),
            ("GRÖßE äb", true),
            ("job=\"ap", true),
            ("http none", false),
        ] {
            assert_eq!(search(text).takes(key), is_there, "{text}");
        }
        assert_eq!(
            search("quest HTTP").name_filter("Http_Requests"),
            NameFilter::All
        );
        assert_eq!(
            search("http api").name_filter("Http_Requests"),
            NameFilter::PerSeries
        );
    }
}
