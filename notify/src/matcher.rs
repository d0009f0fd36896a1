//! Matchers of labels: `a="b"`, `a!="b"`, `a=~"b.*"`, `a!~"b.*"`, alone or in a list with or
//! without braces. Patterns match the whole value; a label that is not there has the empty value.

use std::fmt;

use pulseboard_shared::{Labels, pattern::translated};
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::labels::{is_classic_name, quote};

/// A list has at most so many.
pub const MATCHERS_MAX: usize = 64;

/// The text of one list is at most so long.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;

/// A compiled pattern may take so much memory, and so much more for each of its bytes: as much as
/// alternatives of plain texts do.
const PATTERN_BYTES_MAX: usize = 256 * 1024;
const PATTERN_BYTES_A_BYTE: usize = 64;

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Match,
    /// `!~`
    NotMatch,
}

impl Operator {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Match => "=~",
            Self::NotMatch => "!~",
        }
    }

    /// Whether the value is a pattern.
    #[must_use]
    pub fn is_regex(self) -> bool {
        matches!(self, Self::Match | Self::NotMatch)
    }

    /// Whether it asks for the value, not for another.
    #[must_use]
    pub fn is_equal(self) -> bool {
        matches!(self, Self::Equal | Self::Match)
    }

    /// As API v2 has it: `isRegex` and `isEqual`.
    #[must_use]
    pub fn from_flags(is_regex: bool, is_equal: bool) -> Self {
        match (is_regex, is_equal) {
            (false, true) => Self::Equal,
            (false, false) => Self::NotEqual,
            (true, true) => Self::Match,
            (true, false) => Self::NotMatch,
        }
    }
}

/// One condition on one label.
#[derive(Clone, Debug)]
pub struct Matcher {
    name: String,
    operator: Operator,
    value: String,
    pattern: Option<Regex>,
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.operator, &self.value) == (&other.name, other.operator, &other.value)
    }
}

impl Eq for Matcher {}

/// Why a text is no matcher, or none that is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MatcherError(pub String);

impl Matcher {
    /// A condition.
    ///
    /// # Errors
    /// The name is empty, or the value is no pattern, or one that takes too much memory.
    pub fn new(name: &str, operator: Operator, value: &str) -> Result<Self, MatcherError> {
        if name.is_empty() {
            return Err(MatcherError("invalid label name \"\"".to_owned()));
        }
        if name.len() + value.len() > TEXT_BYTES_MAX {
            return Err(MatcherError(format!(
                "a matcher is longer than {TEXT_BYTES_MAX} bytes"
            )));
        }
        let pattern = match operator.is_regex() {
            true => Some(compile(value)?),
            false => None,
        };
        Ok(Self {
            name: name.to_owned(),
            operator,
            value: value.to_owned(),
            pattern,
        })
    }

    /// The label's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How the value is compared.
    #[must_use]
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// The value or pattern.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a value meets it.
    #[must_use]
    pub fn matches_value(&self, value: &str) -> bool {
        let is_it = match &self.pattern {
            Some(pattern) => pattern.is_match(value),
            None => self.value == value,
        };
        is_it == self.operator.is_equal()
    }

    /// Whether labels meet it.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matches_value(labels.get(&self.name).map_or("", String::as_str))
    }
}

/// One of Go's, anchored at both ends; the dot does not match a line break.
fn compile(pattern: &str) -> Result<Regex, MatcherError> {
    let translated = translated(pattern).map_err(|why| {
        MatcherError(format!(
            "invalid regular expression {}: {why}",
            quote(pattern)
        ))
    })?;
    let most = PATTERN_BYTES_MAX + PATTERN_BYTES_A_BYTE * pattern.len();
    RegexBuilder::new(&format!("^(?:{translated})$"))
        .size_limit(most)
        .dfa_size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|error| {
            MatcherError(match error {
                regex::Error::CompiledTooBig(_) => format!(
                    "the pattern {} takes more than {most} bytes",
                    quote(&pattern.chars().take(64).collect::<String>())
                ),
                // the library draws the place over several lines; the last says what is wrong
                error => {
                    let text = error.to_string();
                    let last = text.lines().last().unwrap_or_default();
                    let last = last.trim().trim_start_matches("error: ");
                    format!("invalid regular expression {}: {last}", quote(pattern))
                }
            })
        })
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, .. } = self;
        let value = quote(value);
        match is_classic_name(name) {
            true => write!(f, "{name}{}{value}", self.operator.as_str()),
            false => write!(f, "{}{}{value}", quote(name), self.operator.as_str()),
        }
    }
}

impl Serialize for Matcher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Matcher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_one(&text).map_err(D::Error::custom)
    }
}

/// Conditions that all have to be met. None are met by everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Matchers(pub Vec<Matcher>);

impl Matchers {
    /// Whether labels meet all.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|matcher| matcher.matches(labels))
    }

    /// By name, value and operator, as Alertmanager has them in its routes.
    pub fn sort(&mut self) {
        self.0.sort_by(|left, right| {
            let key = |matcher: &Matcher| {
                let operator = matcher.operator;
                (matcher.name.clone(), matcher.value.clone(), operator)
            };
            key(left).cmp(&key(right))
        });
    }
}

impl fmt::Display for Matchers {
    /// `{a="b",c=~"d"}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (number, matcher) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str(",")?;
            }
            write!(f, "{matcher}")?;
        }
        f.write_str("}")
    }
}

/// Whether labels meet what a caller of the API filters by: as [`Matchers::matches`], but a matcher
/// of the empty value asks whether the label is there.
#[must_use]
pub fn filter_matches(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| {
        let value = labels.get(&matcher.name);
        let is_there = value.is_some();
        matcher.value.is_empty() && is_there != matcher.operator.is_equal()
            || matcher.matches_value(value.map_or("", String::as_str))
    })
}

/// Reads one matcher.
///
/// # Errors
/// It is none, or there are several.
pub fn parse_one(text: &str) -> Result<Matcher, MatcherError> {
    let mut matchers = parse(text)?;
    match (matchers.pop(), matchers.is_empty()) {
        (Some(matcher), true) => Ok(matcher),
        (None, _) => Err(MatcherError("a matcher is expected".to_owned())),
        _ => Err(MatcherError(format!(
            "{} are several matchers where one is expected",
            quote(text)
        ))),
    }
}

/// Reads what a caller of the API filters by: one matcher, in whose value without quotes there may
/// be commas and whatever else, as classic matchers have it; or a list.
///
/// # Errors
/// It is neither.
pub fn parse_filter(text: &str) -> Result<Vec<Matcher>, MatcherError> {
    let read = parse(text);
    match &read {
        Ok(matchers) if matchers.len() == 1 => read,
        _ => match classic(text).filter(|_| text.len() <= TEXT_BYTES_MAX) {
            Some(matcher) => Ok(vec![matcher?]),
            None => read,
        },
    }
}

/// One matcher whose value is all that follows the operator; `None` where quotes say where it ends.
fn classic(text: &str) -> Option<Result<Matcher, MatcherError>> {
    let text = text.trim();
    let end = text.find(|char: char| "!=~ \t".contains(char))?;
    let (name, rest) = text.split_at_checked(end)?;
    let rest = rest.trim_start();
    let operators = [
        Operator::Match,
        Operator::NotEqual,
        Operator::NotMatch,
        Operator::Equal,
    ];
    let mut found = operators
        .into_iter()
        .filter_map(|operator| Some((operator, rest.strip_prefix(operator.as_str())?)));
    let (operator, value) = found.next()?;
    let is_one = is_classic_name(name) && !value.contains(['"', '\\']);
    is_one.then(|| Matcher::new(name, operator, value.trim()))
}

/// Reads a list: matchers between commas, in braces or not. Values may be without quotes; names may
/// be in quotes. A comma at the end is allowed.
///
/// # Errors
/// It is none; in words, with the place in bytes.
pub fn parse(text: &str) -> Result<Vec<Matcher>, MatcherError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(MatcherError(format!(
            "matchers are longer than {TEXT_BYTES_MAX} bytes"
        )));
    }
    Reader { text, at: 0 }.list()
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn list(mut self) -> Result<Vec<Matcher>, MatcherError> {
        self.space();
        let is_braced = self.take('{');
        let mut matchers = Vec::new();
        loop {
            self.space();
            if is_braced && self.take('}') {
                self.space();
                break;
            }
            if self.rest().is_empty() {
                if is_braced {
                    return Err(self.wrong("the closing brace is missing"));
                }
                break;
            }
            matchers.push(self.matcher()?);
            if matchers.len() > MATCHERS_MAX {
                return Err(MatcherError(format!("more than {MATCHERS_MAX} matchers")));
            }
            self.space();
            if self.take(',') {
                continue;
            }
            if is_braced && self.rest().starts_with('}') || self.rest().is_empty() {
                continue;
            }
            return Err(self.wrong("a comma is expected between matchers"));
        }
        if !self.rest().is_empty() {
            return Err(self.wrong("nothing is expected after the closing brace"));
        }
        Ok(matchers)
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, char: char) -> bool {
        let is_there = self.rest().starts_with(char);
        if is_there {
            self.at += char.len_utf8();
        }
        is_there
    }

    fn wrong(&self, what: &str) -> MatcherError {
        MatcherError(format!(
            "bad matcher format: {}: {what} at byte {}",
            quote(&self.text.chars().take(200).collect::<String>()),
            self.at
        ))
    }

    fn matcher(&mut self) -> Result<Matcher, MatcherError> {
        let name = match self.rest().starts_with('"') {
            true => self.quoted()?,
            false => self.bare(|char| "!=~,{}\"'`\\".contains(char) || char.is_whitespace()),
        };
        if name.is_empty() {
            return Err(self.wrong("a label's name is expected"));
        }
        self.space();
        let operators = [
            Operator::Match,
            Operator::NotEqual,
            Operator::NotMatch,
            Operator::Equal,
        ];
        let mut operators = operators.into_iter();
        let found = operators.find(|operator| self.rest().starts_with(operator.as_str()));
        let Some(operator) = found else {
            return Err(self.wrong("one of =, !=, =~ and !~ is expected"));
        };
        self.at += operator.as_str().len();
        self.space();
        let value = match self.rest().starts_with('"') {
            true => self.quoted()?,
            // A pattern may have braces and what else there is; a comma ends it, and a brace that
            // closes the list.
            false => self.bare_value()?,
        };
        Matcher::new(&name, operator, &value)
    }

    fn bare(&mut self, ends: impl Fn(char) -> bool) -> String {
        let rest = self.rest();
        let end = rest.find(ends).unwrap_or(rest.len());
        let text = rest.get(..end).unwrap_or_default().to_owned();
        self.at += end;
        text
    }

    fn bare_value(&mut self) -> Result<String, MatcherError> {
        let is_braced = self.text.trim_start().starts_with('{');
        let mut depth = 0_usize;
        let mut end = self.rest().len();
        for (at, char) in self.rest().char_indices() {
            match char {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                '}' if is_braced => {
                    end = at;
                    break;
                }
                ',' if depth == 0 => {
                    end = at;
                    break;
                }
                '"' => {
                    self.at += at;
                    return Err(self.wrong("a quote stands within a value that has none"));
                }
                _ => {}
            }
        }
        let text = self.rest().get(..end).unwrap_or_default();
        let value = text.trim_end().to_owned();
        self.at += end;
        Ok(value)
    }

    /// A text in double quotes. `\"`, `\\`, `\n`, `\t` and `\r` are what they stand for; another
    /// character after a backslash keeps it, since patterns are full of them.
    fn quoted(&mut self) -> Result<String, MatcherError> {
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    self.at += at + 1;
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, char @ ('"' | '\\'))) => text.push(char),
                    Some((_, char)) => {
                        text.push('\\');
                        text.push(char);
                    }
                    None => break,
                },
                char => text.push(char),
            }
        }
        Err(self.wrong("a quote is not closed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::of;

    fn printed(text: &str) -> Result<Vec<String>, String> {
        parse(text)
            .map(|all| all.iter().map(ToString::to_string).collect())
            .map_err(|error| error.0)
    }

    #[test]
    fn matchers_are_read_in_each_way_that_they_are_written() {
        for (text, expected) in [
            (r#"a="b""#, &[r#"a="b""#][..]),
            ("a=b", &[r#"a="b""#]),
            (" a = b ", &[r#"a="b""#]),
            (r#"{a="b",c!="d"}"#, &[r#"a="b""#, r#"c!="d""#]),
            (r#"{a="b",c!="d",}"#, &[r#"a="b""#, r#"c!="d""#]),
            (r#"a=~"b.*", c!~d|e"#, &[r#"a=~"b.*""#, r#"c!~"d|e""#]),
            ("", &[]),
            ("{}", &[]),
            ("a=", &[r#"a="""#]),
            (r#"{a=}"#, &[r#"a="""#]),
            (r#""é b"=~"x""#, &[r#""é b"=~"x""#]),
            ("größe=1", &[r#""größe"="1""#]),
            (r#"a=~"\d+""#, &[r#"a=~"\\d+""#]),
            (r#"a="x\"y\\z\n""#, &[r#"a="x\"y\\z\n""#]),
            (r#"a=~b{1,2}"#, &[r#"a=~"b{1,2}""#]),
            (r#"{a=~b{1,2},c=d}"#, &[r#"a=~"b{1,2}""#, r#"c="d""#]),
            (r#"a="b,c}""#, &[r#"a="b,c}""#]),
            (r#"a=b c"#, &[r#"a="b c""#]),
        ] {
            assert_eq!(
                printed(text),
                Ok(expected.iter().map(|text| (*text).to_owned()).collect()),
                "{text}"
            );
        }
    }

    #[test]
    fn patterns_are_those_of_go() {
        for (pattern, value, is_met) in [
            (r"\\d", "٣", false),
            (r"\\Qa.b\\E", "a.b", true),
            ("{x}", "{x}", true),
            (r"\\p{Greek}\\101", "ωA", true),
            ("[a&&b]", "&", true),
        ] {
            let text = format!(r#"{{a=~"{pattern}"}}"#);
            let matchers = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(matchers[0].matches_value(value), is_met, "{text}");
        }
    }

    #[test]
    fn what_is_no_matcher_is_refused_with_its_place() {
        for (text, wrong) in [
            ("a", "one of =, !=, =~ and !~ is expected at byte 1"),
            ("=b", "a label's name is expected at byte 0"),
            (r#"a="b"#, "a quote is not closed at byte 2"),
            (r#"{a="b""#, "the closing brace is missing at byte 6"),
            (
                r#"a="b" c="d""#,
                "a comma is expected between matchers at byte 6",
            ),
            (
                r#"{a="b"} x"#,
                "nothing is expected after the closing brace",
            ),
            (
                r#"a=~"(""#,
                "invalid regular expression \"(\": unclosed group",
            ),
            (r#"a=b"c"#, "a quote stands within a value that has none"),
            (",", "a label's name is expected"),
        ] {
            let told = printed(text).expect_err(text);
            assert!(told.contains(wrong), "{text}: {told}");
        }
        let long = "a".repeat(TEXT_BYTES_MAX + 1);
        assert!(printed(&long).expect_err("long").contains("16384 bytes"));
        let many = "a=b,".repeat(MATCHERS_MAX + 1);
        assert!(printed(&many).expect_err("many").contains("64 matchers"));
        let wide = r#"a=~"((\\w{100}){100}){100}""#;
        let told = printed(wide).expect_err("wide");
        assert!(told.contains("takes more than 263"), "{told}");
        // As many texts as a list of matchers can name.
        let texts: Vec<String> = (0..2_000).map(|one| format!("n{one:05}")).collect();
        let texts = format!("a=~\"{}\"", texts.join("|"));
        assert!(parse(&texts).is_ok());
    }

    #[test]
    fn a_pattern_matches_the_whole_value_and_a_missing_label_is_empty() {
        let labels = of(&[("a", "bc")]);
        for (text, is_met) in [
            ("a=bc", true),
            ("a=~b", false),
            ("a=~b.", true),
            ("a=~b|bc", true),
            ("a!~b", true),
            ("a!~bc", false),
            ("x=", true),
            ("x!=", false),
            ("x!=y", true),
            ("x=~.*", true),
            ("x=~.+", false),
            ("a=bc,x=y", false),
        ] {
            let matchers = Matchers(parse(text).expect(text));
            assert_eq!(matchers.matches(&labels), is_met, "{text}");
        }
    }

    #[test]
    fn a_filter_of_the_empty_value_asks_whether_the_label_is_there() {
        let labels = of(&[("a", "b")]);
        for (text, passes) in [
            ("a=", false),
            ("x=", true),
            ("a!=", true),
            ("x!=", false),
            ("a=b", true),
            ("a=~c", false),
        ] {
            let matchers = parse(text).expect(text);
            assert_eq!(filter_matches(&matchers, &labels), passes, "{text}");
        }
    }

    #[test]
    fn they_are_text_in_a_document() {
        let matchers = Matchers(parse(r#"{b=~"x\\d",a!="1"}"#).expect("a list"));
        let text = serde_json::to_string(&matchers).expect("text");
        assert_eq!(
            serde_json::from_str::<Matchers>(&text).expect("the same"),
            matchers
        );
        let mut sorted = matchers;
        sorted.sort();
        assert_eq!(sorted.to_string(), r#"{a!="1",b=~"x\\d"}"#);
    }
}
