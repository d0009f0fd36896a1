//! Keys as text without an allocation each, and searching in them.

use std::cell::RefCell;

use memchr::memmem::Finder;
use pulseboard_series::KeyRef;

use crate::engine::Glance;

/// Appends `name{label="value",…}`: what [`KeyRef`] displays, in a fraction of the time.
pub(crate) fn write_key(key: KeyRef<'_>, into: &mut String) {
    into.push_str(key.name());
    write_labels(key.labels(), into);
}

/// Appends `{label="value",…}`; nothing where there are no labels.
pub(crate) fn write_labels<'a>(
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    into: &mut String,
) {
    let mut is_open = false;
    for (label, value) in labels {
        into.push(if is_open { ',' } else { '{' });
        is_open = true;
        into.push_str(label);
        into.push_str("=\"");
        if value
            .bytes()
            .any(|byte| matches!(byte, b'\\' | b'"' | b'\n'))
        {
            for character in value.chars() {
                match character {
                    '\\' => into.push_str("\\\\"),
                    '"' => into.push_str("\\\""),
                    '\n' => into.push_str("\\n"),
                    other => into.push(other),
                }
            }
        } else {
            into.push_str(value);
        }
        into.push('"');
    }
    if is_open {
        into.push('}');
    }
}

/// Words that must all be in a key, in whatever case.
pub(crate) struct Search {
    words: Vec<Finder<'static>>,
    /// The key that is searched, as text in lower case.
    text: RefCell<String>,
}

impl Search {
    pub(crate) fn new(text: &str) -> Self {
        let words = text.split_whitespace();
        let lower = words.map(str::to_lowercase);
        Self {
            words: lower.map(|word| Finder::new(&word).into_owned()).collect(),
            text: RefCell::default(),
        }
    }

    /// What a metric's name says of all its series.
    pub(crate) fn glance(&self, name: &str) -> Glance {
        let name = name.to_lowercase();
        if self
            .words
            .iter()
            .all(|word| word.find(name.as_bytes()).is_some())
        {
            Glance::All
        } else {
            Glance::Look
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
        let cases: [(&str, &[(&str, &str)]); 4] = [
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
            assert_eq!(Search::new(text).takes(key), is_there, "{text}");
        }
        assert_eq!(
            Search::new("quest HTTP").glance("Http_Requests"),
            Glance::All
        );
        assert_eq!(
            Search::new("http api").glance("Http_Requests"),
            Glance::Look
        );
    }
}
