//! Patterns of PromQL, in the syntax that Go has.

use foldhash::HashSet;
pub use pulseboard_shared::pattern::translated;
use pulseboard_shared::pattern::words;

/// What a pattern may compile to, and so much more for each of its bytes: as many as alternatives
/// of plain texts take. All patterns of an expression are no longer than that.
const COMPILED_BYTES_MAX: usize = 256 << 10;
const COMPILED_BYTES_A_BYTE: usize = 64;

/// Whether texts are what a pattern says, all of each.
#[derive(Clone, Debug)]
pub enum Fits {
    /// One of these: alternatives of plain texts, as a dashboard's chosen values are. They need no
    /// automaton, which would take some thirty times their length.
    Words(HashSet<String>),
    /// Of any other pattern.
    Regex(regex::Regex),
}

impl Fits {
    /// Reads a pattern.
    ///
    /// # Errors
    /// It is no pattern, or too large a one; in words.
    pub fn new(pattern: &str) -> Result<Self, String> {
        match words(&translated(pattern)?) {
            Some(words) => Ok(Self::Words(words.into_iter().collect())),
            None => regex(pattern).map(Self::Regex),
        }
    }

    /// Whether a text is so.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Words(words) => words.contains(text),
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

/// A pattern as PromQL means it: anchored at both ends, `.` takes line ends too; bounded in what
/// it compiles to.
///
/// # Errors
/// It is no pattern, or too large a one; in words.
pub fn regex(pattern: &str) -> Result<regex::Regex, String> {
    let translated = translated(pattern)?;
    regex::RegexBuilder::new(&format!("^(?s:{translated})$"))
        .size_limit(COMPILED_BYTES_MAX + COMPILED_BYTES_A_BYTE * pattern.len())
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .nest_limit(64)
        .build()
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, takes, leaves) in [
            ("a.*|b", &["a", "ab\n", "b"][..], &["cb", ""][..]),
            ("{a}", &["{a}"], &["a"]),
            ("a{2}{", &["aa{"], &["aa"]),
            ("a{,2}", &["a{,2}"], &["a", "aa"]),
            ("a{2,}b{1,2}?", &["aab", "aaabb"], &["ab"]),
            ("[[a]", &["[", "a"], &["b"]),
            ("[a&&b~~]+", &["a&b~"], &["c"]),
            ("[+--]", &["+", ",", "-"], &["."]),
            ("[-a]", &["-", "a"], &["b"]),
            ("[]a]", &["]", "a"], &["b"]),
            ("[[:alpha:]_[]", &["x", "_", "["], &["1", ":"]),
            ("\\d+", &["12"], &["٣"]),
            ("[\\d_]\\W", &["1-", "_é"], &["1a", "٣-"]),
            ("\\w\\s\\S", &["a b"], &["é b", "a\u{a0}b"]),
            ("\\Qa.b\\E.", &["a.bc"], &["axbc"]),
            ("\\<a\\>", &["<a>"], &["a"]),
            ("(?i:A)(?P<n>b)??", &["a", "ab"], &["b"]),
            ("a\\b-", &["a-"], &["a"]),
            ("a\\Bb", &["ab"], &["a", "b"]),
            ("é\\Bé", &["éé"], &["é"]),
            ("\\pL+", &["aéß"], &["1", ""]),
            ("\\p{L}\\P{L}", &["a1"], &["aa"]),
            ("\\p{Greek}\\p{^Greek}", &["ωa"], &["ωω", "aω"]),
            ("[\\p{Lu}\\P{L}]\\p{Lu}", &["AA", "1A"], &["aA", "Aa"]),
            ("[^\\pL\\d]", &["-"], &["a", "1"]),
            ("\\p{Any}\\p{Zs}\\p{C}", &["a \t"], &["aa\t", "a a"]),
            ("\\p{Cs}|\\P{^Cs}", &[], &["", "a"]),
            ("\\x41\\x{42}\\x{1F600}", &["AB😀"], &["AB"]),
            ("\\101\\0\\07\\1234", &["A\0\u{7}S4"], &["A"]),
            ("[\\101-\\x43\\x{2D}]", &["A", "B", "C", "-"], &["D"]),
            ("\\x2e\\x2A\\050\\_\\ \\n", &[".*(_ \n"], &["a"]),
            ("(?i)A(?P<n>b)(?<m>c)(?-i:d)", &["abCd"], &["abcD"]),
            ("(?)(?sms:a.)b(?U)c*", &["a\nb", "a\nbcc"], &["ab"]),
            ("a{1000}|b{01}|c{1,}", &["b{01}", "cc"], &["b", "a"]),
            ("[a-]-[-b]", &["--b", "a--"], &["b-b"]),
            ("[[:^digit:]][[:]", &["a[", "-:"], &["1:", "aa"]),
        ] {
            let regex = regex(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            for text in takes {
                assert!(regex.is_match(text), "{pattern} takes {text:?}");
            }
            for text in leaves {
                assert!(!regex.is_match(text), "{pattern} leaves {text:?}");
            }
        }
        for pattern in [
            "a**",
            "a+*",
            "a{2}{3}",
            "a*?*",
            "*",
            "(",
            "[a",
            "a)",
            "\\",
            "a)(b",
            "a{2,1}",
            "a{1001}",
            "\\1",
            "\\8",
            "\\q",
            "\\u0041",
            "\\U00000041",
            "\\x4",
            "\\x{}",
            "\\x{41",
            "\\x{110000}",
            "\\x+1",
            "\\E",
            "\\Z",
            "\\C",
            "\\é",
            "[\\Qa\\E]",
            "[\\b]",
            "\\p",
            "\\p{L",
            "\\pX",
            "\\p{}",
            "\\p{Alphabetic}",
            "\\p{Script=Greek}",
            "\\p{Cn}",
            "[[:foo:]]",
            "[z-a]",
            "[a-\\d]",
            "(?x)a",
            "(?u)a",
            "(?-u)a",
            "(?R)a",
            "(?-)a",
            "(?i--s)a",
            "(?=a)",
            "(?<=a)",
            "(?<!a)",
            "(?#a)",
            "(?P<>a)",
            "(?P<a",
            "(?P=a)",
            "(?",
            "(?i",
        ] {
            assert!(regex(pattern).is_err(), "{pattern}");
        }
    }
}
