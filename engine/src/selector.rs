//! Names series: `name`, `name{label="value",…}`, `{__name__=~"http_.*"}`, `{}` for all. Names and
//! labels that are no plain words stand in quotation marks, as in Prometheus 3:
//! `{"my metric","my label"="value"}`.
//!
//! Matchers are `=`, `!=`, `=~` and `!~`; a label that is not there counts as empty, and patterns
//! are anchored at both ends, as in PromQL. All patterns of one selector together are compiled
//! within [`PATTERN_BYTES_MAX`], and tested in time linear in the text.

use std::{fmt, sync::Arc};

use pulseboard_series::{
    Batch, KeyRef,
    key::{NAME_LABEL, check_name, check_plain_name, is_plain_label, is_plain_name, write_quoted},
};

use crate::pattern::{Pattern, Scratch};

/// Bytes of a selector.
pub const SELECTOR_BYTES_MAX: usize = 4096;

/// Matchers of a selector.
pub const MATCHERS_MAX: usize = 32;

/// Bytes of a selector that is part of an expression: what an expression has of them, however it is
/// quoted.
const EXPRESSION_BYTES_MAX: usize = 128 * 1024;

/// Matchers of a selector that is part of an expression, or of a remote read.
const EXPRESSION_MATCHERS_MAX: usize = 128;

/// Bytes of all its patterns together, compiled.
pub const PATTERN_BYTES_MAX: usize = 64 * 1024;

/// Compiled bytes that make testing a series about as dear as looking at one more.
const PATTERN_BYTES_A_LOOK: usize = 128;

/// Names series by their metric and by matchers of their labels, compiled within
/// [`PATTERN_BYTES_MAX`].
#[derive(Clone, Debug)]
pub struct Selector {
    name: Option<String>,
    matchers: Vec<Matcher>,
}

/// A series' key and its hash.
#[derive(Debug)]
pub(crate) struct WholeKey {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) hash: u64,
    /// How many it has.
    pub(crate) labels: usize,
}

/// What names a metric or one series: `name`, or `name{label="value",…}` with all labels.
#[derive(Debug)]
pub struct NamedSeries {
    pub(crate) name: Box<str>,
    pub(crate) whole: Option<WholeKey>,
}

#[derive(Clone, Debug)]
struct Matcher {
    label: String,
    test: Test,
    is_negated: bool,
}

#[derive(Clone, Debug)]
enum Test {
    Equal(String),
    Pattern(Arc<Pattern>),
}

/// What a metric's name says of its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameFilter {
    /// All are asked for.
    All,
    /// Each must be looked at.
    PerSeries,
}

/// A selector and what it needs to be compared with many series.
#[derive(Debug)]
pub(crate) struct Matching<'a> {
    selector: &'a Selector,
    /// By matcher.
    scratches: Vec<Scratch>,
}

/// What is wrong with a selector, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the selector cannot be read at character {column}: {problem}")]
pub struct SelectorError {
    /// Character, from 1.
    pub column: usize,
    /// What was found and what is accepted.
    pub problem: String,
}

impl Selector {
    /// The selector of everything.
    #[must_use]
    pub fn all() -> Self {
        Self {
            name: None,
            matchers: Vec::new(),
        }
    }

    /// Reads a selector.
    ///
    /// # Errors
    /// It has not the form above, a pattern is none, or it is past a bound; says where.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        Self::read(text, (SELECTOR_BYTES_MAX, MATCHERS_MAX), false)
    }

    /// As [`Selector::parse`], of one that is part of an expression and as long as such a one: a
    /// dashboard's variable with many values is one long pattern. What its patterns take compiled
    /// is bounded all the same.
    ///
    /// # Errors
    /// As [`Selector::parse`].
    pub fn parse_of_expression(text: &str) -> Result<Self, SelectorError> {
        Self::read(text, (EXPRESSION_BYTES_MAX, EXPRESSION_MATCHERS_MAX), false)
    }

    fn read(
        text: &str,
        (bytes_max, matchers_max): (usize, usize),
        is_name: bool,
    ) -> Result<Self, SelectorError> {
        let mut reader = Reader { text, at: 0 };
        if text.len() > bytes_max {
            return Err(reader.error(format!(
                "it has {} bytes; at most {bytes_max} are accepted",
                text.len()
            )));
        }
        reader.skip_space();
        let name = reader.word();
        if !name.is_empty() && check_plain_name(name).is_err() {
            reader.at -= name.len();
            return Err(reader.error(format!(
                "{name:?} is not a metric name; in quotation marks any is: {{\"my metric\"}}"
            )));
        }
        let mut selector = Self {
            name: (!name.is_empty()).then(|| name.to_owned()),
            matchers: Vec::new(),
        };
        reader.skip_space();
        if reader.take('{') {
            selector.read_matchers(&mut reader, matchers_max, is_name)?;
        } else if selector.name.is_none() {
            return Err(reader.error(
                "a metric name or `{` is expected, such as http_requests{job=\"api\"}".to_owned(),
            ));
        }
        reader.skip_space();
        if reader.rest().is_empty() {
            return Ok(selector);
        }
        Err(reader.error("nothing more is expected here".to_owned()))
    }

    fn read_matchers(
        &mut self,
        reader: &mut Reader<'_>,
        matchers_max: usize,
        is_name: bool,
    ) -> Result<(), SelectorError> {
        loop {
            reader.skip_space();
            if reader.take('}') {
                return Ok(());
            }
            if self.matchers.len() == matchers_max {
                return Err(reader.error(format!("more than {matchers_max} matchers")));
            }
            let label_at = reader.at;
            let label = if matches!(reader.rest().chars().next(), Some('"' | '\'')) {
                let quoted = reader.quoted()?;
                reader.skip_space();
                // Without a value it is the metric's name.
                if matches!(reader.rest().chars().next(), Some(',' | '}')) {
                    self.take_name(quoted).map_err(|problem| {
                        reader.at = label_at;
                        reader.error(problem)
                    })?;
                    reader.take(',');
                    continue;
                }
                quoted
            } else {
                reader.word().to_owned()
            };
            if label.is_empty() {
                return Err(reader.error("a label's name or `}` is expected".to_owned()));
            }
            reader.skip_space();
            let operator_at = reader.at;
            let (is_negated, is_pattern) = reader.operator()?;
            if is_name && (is_negated || is_pattern) {
                reader.at = operator_at;
                return Err(reader.error("a series is named with `=` alone".to_owned()));
            }
            reader.skip_space();
            let value_at = reader.at;
            let value = reader.quoted()?;
            // What no metric is called names none, and cannot stand where a name does.
            let names_metric = label == NAME_LABEL && !is_negated && !is_pattern;
            if names_metric && self.name.is_none() && check_name(&value).is_ok() {
                self.name = Some(value);
            } else {
                let test = if is_pattern {
                    let left = PATTERN_BYTES_MAX.saturating_sub(self.compiled_bytes());
                    let pattern = Pattern::compile(&value, left).map_err(|problem| {
                        reader.at = value_at;
                        reader.error(problem)
                    })?;
                    Test::Pattern(pattern)
                } else {
                    Test::Equal(value)
                };
                self.matchers.push(Matcher {
                    label,
                    test,
                    is_negated,
                });
            }
            reader.skip_space();
            if !reader.take(',') && !reader.rest().starts_with('}') {
                return Err(reader.error("`,` or `}` is expected".to_owned()));
            }
        }
    }

    /// The metric's name, quoted between the braces.
    fn take_name(&mut self, name: String) -> Result<(), String> {
        if let Some(there) = &self.name {
            return Err(format!("the metric's name is {there:?} already"));
        }
        check_name(&name).map_err(|reason| reason.to_string())?;
        self.name = Some(name);
        Ok(())
    }

    /// The one metric name that it asks for, if there is one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// How many matchers it has beside the metric's name.
    pub(crate) fn matchers(&self) -> usize {
        self.matchers.len()
    }

    /// Whether there is nothing in it but a metric name, or nothing at all.
    #[must_use]
    pub(crate) fn is_name_alone(&self) -> bool {
        self.matchers.is_empty()
    }

    /// Labels of the matchers `label="value"` and `label=~"one|two"`, without those that a missing
    /// label fits, with their values.
    pub(crate) fn listed_labels(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        let asked = self.matchers.iter();
        let asked = asked.filter(|matcher| !matcher.is_negated && matcher.label != NAME_LABEL);
        asked.filter_map(|matcher| {
            let values = match &matcher.test {
                Test::Equal(value) if !value.is_empty() => vec![value.as_str()],
                Test::Equal(_) => return None,
                Test::Pattern(pattern) => pattern.listed()?.collect(),
            };
            Some((matcher.label.as_str(), values))
        })
    }

    /// The key of the series that has exactly its labels, where it has matchers of the form
    /// `label="text"` alone.
    pub(crate) fn whole_key(&self) -> Option<WholeKey> {
        let name = self.name.as_deref()?;
        let mut batch = Batch::new();
        batch.begin(&[name]).ok()?;
        for matcher in &self.matchers {
            match &matcher.test {
                Test::Equal(text)
                    if !matcher.is_negated && !text.is_empty() && matcher.label != NAME_LABEL =>
                {
                    batch.label(&matcher.label, text).ok()?;
                }
                _ => return None,
            }
        }
        batch.finish(1, None, 0.0).ok()?;
        let row = batch.rows().first()?;
        let key = batch.key(row);
        Some(WholeKey {
            labels: key.labels().count(),
            bytes: key.as_bytes().into(),
            hash: row.hash,
        })
    }

    /// Whether it names this series. For who has few of them; see [`Selector::matching`].
    #[must_use]
    pub fn takes(&self, key: KeyRef<'_>) -> bool {
        self.name.as_deref().is_none_or(|name| name == key.name())
            && self
                .matchers
                .iter()
                .all(|matcher| matcher.takes(key, Pattern::fits))
    }

    /// To be compared with many series.
    pub(crate) fn matching(&self) -> Matching<'_> {
        Matching {
            selector: self,
            scratches: self.matchers.iter().map(|_| Scratch::default()).collect(),
        }
    }

    fn patterns(&self) -> impl Iterator<Item = &Arc<Pattern>> {
        self.matchers
            .iter()
            .filter_map(|matcher| match &matcher.test {
                Test::Pattern(pattern) => Some(pattern),
                Test::Equal(_) => None,
            })
    }

    /// Bytes of its patterns, compiled; equal ones of other selectors are counted there, too,
    /// though they are shared.
    #[must_use]
    pub fn compiled_bytes(&self) -> usize {
        self.patterns().map(|pattern| pattern.bytes()).sum()
    }

    /// Whether there are patterns, so that comparing it with a series may take long.
    #[must_use]
    pub fn has_patterns(&self) -> bool {
        self.patterns().next().is_some()
    }

    /// How dear it is to compare it with a series, in looks at one.
    pub(crate) fn work(&self) -> u32 {
        let bytes = self.compiled_bytes();
        u32::try_from(1 + bytes / PATTERN_BYTES_A_LOOK).unwrap_or(u32::MAX)
    }
}

impl NamedSeries {
    /// Reads a name; never compiles anything.
    ///
    /// # Errors
    /// It is neither a metric's name nor a series' key.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if !text.contains('{') {
            return Ok(Self {
                name: text.into(),
                whole: None,
            });
        }
        let selector = Selector::read(text, (SELECTOR_BYTES_MAX, MATCHERS_MAX), true)?;
        let reader = Reader { text, at: 0 };
        let whole = selector.whole_key();
        Ok(Self {
            name: selector.name.unwrap_or_default().into(),
            whole: Some(whole.ok_or_else(|| {
                reader.error("a series is named with its metric and all its labels".to_owned())
            })?),
        })
    }
}

impl Matching<'_> {
    pub(crate) fn takes(&mut self, key: KeyRef<'_>) -> bool {
        let name = self.selector.name.as_deref();
        if name.is_some_and(|name| name != key.name()) {
            return false;
        }
        let mut all = self.selector.matchers.iter().zip(&mut self.scratches);
        all.all(|(matcher, scratch)| {
            matcher.takes(key, |pattern, text| pattern.fits_with(scratch, text))
        })
    }
}

impl Matcher {
    fn takes(&self, key: KeyRef<'_>, fits: impl FnOnce(&Pattern, &str) -> bool) -> bool {
        let value = if self.label == NAME_LABEL {
            key.name()
        } else {
            key.label(&self.label).unwrap_or_default()
        };
        let fits = match &self.test {
            Test::Equal(wanted) => wanted == value,
            Test::Pattern(pattern) => fits(pattern, value),
        };
        fits != self.is_negated
    }
}

impl fmt::Display for Selector {
    /// As it is read; matchers in the order they were given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref();
        let plain = name.filter(|name| is_plain_name(name));
        if let Some(name) = plain {
            f.write_str(name)?;
            if self.matchers.is_empty() {
                return Ok(());
            }
        }
        let mut text = String::from("{");
        if let Some(name) = name.filter(|_| plain.is_none()) {
            write_quoted(name, &mut text);
        }
        for matcher in &self.matchers {
            if text.len() > 1 {
                text.push(',');
            }
            if is_plain_label(&matcher.label) {
                text.push_str(&matcher.label);
            } else {
                write_quoted(&matcher.label, &mut text);
            }
            let (value, operator) = match (&matcher.test, matcher.is_negated) {
                (Test::Equal(value), false) => (value.as_str(), "="),
                (Test::Equal(value), true) => (value.as_str(), "!="),
                (Test::Pattern(pattern), false) => (pattern.text(), "=~"),
                (Test::Pattern(pattern), true) => (pattern.text(), "!~"),
            };
            text.push_str(operator);
            write_quoted(value, &mut text);
        }
        text.push('}');
        f.write_str(&text)
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error(&self, problem: String) -> SelectorError {
        let before = self.text.get(..self.at).unwrap_or_default();
        SelectorError {
            column: before.chars().count() + 1,
            problem,
        }
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, wanted: char) -> bool {
        let is_there = self.rest().starts_with(wanted);
        if is_there {
            self.at += wanted.len_utf8();
        }
        is_there
    }

    /// Everything up to a character that cannot be part of a name.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest
            .find(|character: char| {
                character.is_whitespace()
                    || matches!(character, '{' | '}' | '=' | '!' | '~' | ',' | '"' | '\'')
            })
            .unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// `(is_negated, is_pattern)`.
    fn operator(&mut self) -> Result<(bool, bool), SelectorError> {
        for (text, meaning) in [
            ("=~", (false, true)),
            ("!~", (true, true)),
            ("!=", (true, false)),
            ("=", (false, false)),
        ] {
            if self.rest().starts_with(text) {
                self.at += text.len();
                return Ok(meaning);
            }
        }
        Err(self.error("`=`, `!=`, `=~` or `!~` is expected".to_owned()))
    }

    fn quoted(&mut self) -> Result<String, SelectorError> {
        let quote = match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => quote,
            _ => return Err(self.error("a value in quotation marks is expected".to_owned())),
        };
        self.at += 1;
        let mut value = String::new();
        let mut characters = self.rest().char_indices();
        while let Some((index, character)) = characters.next() {
            match character {
                '\\' => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, 't')) => value.push('\t'),
                    Some((_, escaped @ ('\\' | '"' | '\''))) => value.push(escaped),
                    // As in a pattern: `\d` stays what it is.
                    Some((_, other)) => value.extend(['\\', other]),
                    None => break,
                },
                end if end == quote => {
                    self.at += index + 1;
                    return Ok(value);
                }
                other => value.push(other),
            }
        }
        Err(self.error("the value's closing quotation mark is missing".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn takes(selector: &str, name: &str, labels: &[(&str, &str)]) -> bool {
        let mut batch = Batch::new();
        let built = batch.begin(&[name]).and_then(|()| {
            for (label, value) in labels {
                batch.label(label, value)?;
            }
            batch.finish(1, None, 0.0)
        });
        assert_eq!(built, Ok(()));
        let selector = Selector::parse(selector);
        assert!(selector.is_ok(), "{selector:?}");
        selector.is_ok_and(|selector| selector.takes(batch.key(&batch.rows()[0])))
    }

    #[test]
    fn matchers_are_those_of_promql() {
        let labels = [("job", "api"), ("code", "200")];
        for (selector, expected) in [
            ("http", true),
            ("other", false),
            ("{}", true),
            ("http{}", true),
            (r#"http{job="api"}"#, true),
            (r#" http { job = "api" , code!="500", } "#, true),
            (r#"http{job="ap"}"#, false),
            (r#"http{job=~"a."}"#, false),
            (r#"http{job=~"a.*|b"}"#, true),
            (r#"http{code!~"5.."}"#, true),
            (r#"http{code=~"\d+"}"#, true),
            (r#"http{missing=""}"#, true),
            (r#"http{missing!=""}"#, false),
            (r#"{__name__="http"}"#, true),
            (r#"{__name__=~"ht.*"}"#, true),
            (r#"{__name__!="http"}"#, false),
            (r"{job='api'}", true),
        ] {
            assert_eq!(takes(selector, "http", &labels), expected, "{selector}");
        }
        for (selector, expected) in [
            (r#"{"my metric"}"#, true),
            (r#"{ 'my metric' , "a b"="c"}"#, true),
            (r#"{"a b"=~"c|d","my metric"}"#, true),
            (r#"{"a b"!="c","my metric"}"#, false),
            (r#"{__name__="my metric"}"#, true),
            (r#"{"my"}"#, false),
        ] {
            assert_eq!(
                takes(selector, "my metric", &[("a b", "c")]),
                expected,
                "{selector}"
            );
        }
        assert!(takes(r#"{"http.requests"}"#, "http.requests", &[]));
        assert!(takes(
            r#"m{path="C:\\dir\n\"x\""}"#,
            "m",
            &[("path", "C:\\dir\n\"x\"")]
        ));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (selector, column) in [
            ("", 1),
            ("1a", 1),
            ("http{", 6),
            ("http{job}", 9),
            ("http{job=api}", 10),
            ("http{job=\"api}", 11),
            ("http{job=~\"(\"}", 11),
            ("http{job=~\"a)|(b\"}", 11),
            ("http{} x", 8),
            ("http{a=\"b\" c=\"d\"}", 12),
            ("http{\"http\"}", 6),
            ("{\"\"}", 2),
            ("{\"a\",\"b\"}", 6),
            ("my metric", 4),
        ] {
            let error = Selector::parse(selector).err();
            assert_eq!(error.map(|error| error.column), Some(column), "{selector}");
        }
        let bomb = format!("{{a=~\"{}\"}}", "(a{1000}){1000}");
        let error = Selector::parse(&bomb).err();
        assert!(error.is_some_and(|error| error.problem.contains("too large")));
    }

    #[test]
    fn a_name_is_a_metric_or_one_series() {
        for text in ["up", "up{job=\"api\"}", "any text", "up{a=\"1\",b=\"2\"}"] {
            assert!(NamedSeries::parse(text).is_ok(), "{text}");
        }
        for (text, problem) in [
            ("up{job=~\"[^a]{150}\"}", "`=` alone"),
            ("up{job!=\"api\"}", "`=` alone"),
            ("{job=\"api\"}", "with its metric"),
            ("up{job=\"\"}", "all its labels"),
            ("up{", "is expected"),
        ] {
            let error = NamedSeries::parse(text).err();
            let error = error.map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn a_selector_reads_back_what_it_writes() {
        for text in [
            "a",
            "{}",
            r#"a{b="c\"\\\n",d!~"e.*"}"#,
            r#"{b!="",__name__=~"x"}"#,
            r#"{"my metric"}"#,
            r#"{"my \"metric","a b"="c",d="e"}"#,
            r#"{__name__=""}"#,
            r#"a{__name__=""}"#,
        ] {
            let once = Selector::parse(text).map(|selector| selector.to_string());
            assert_eq!(once.as_deref(), Ok(text));
        }
    }

    proptest! {
        /// Whatever is accepted stays within its bound, and is read back from what it writes; a
        /// name has no patterns.
        #[test]
        fn whatever_is_accepted_is_written_and_read_back(
            pieces in prop::collection::vec(
                prop_oneof![
                    6 => prop::sample::select(vec![
                        "{", "}", "=", "!=", "=~", "!~", ",", "\"", "'", "\\", " ", "\n", "a",
                        "__name__", "a b", ":", ".", "[^a]", "(a|b)*", ".{9}", "\\d", "\\p{L}", "é",
                        "\u{0}", "1", "\"x\"", "'y'", "\"\"", "{a=\"b\"}", "{__name__=\"\"", "b=~\"c.*\"",
                    ]),
                    1 => Just("\u{1f600}\t"),
                ],
                0..24,
            ),
        ) {
            let text = pieces.concat();
            let named = NamedSeries::parse(&text);
            if let Ok(selector) = Selector::parse(&text) {
                prop_assert!(selector.compiled_bytes() <= PATTERN_BYTES_MAX);
                let written = selector.to_string();
                let again = Selector::parse(&written).map(|again| again.to_string());
                prop_assert_eq!(again.as_ref(), Ok(&written));
                prop_assert!(named.is_err() || !selector.has_patterns());
            }
        }
    }
}
