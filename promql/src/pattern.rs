//! Patterns of PromQL, in the syntax that Go has.

pub use pulseboard_shared::pattern::translated;

/// A pattern as PromQL means it: anchored at both ends, `.` takes line ends too; bounded in what
/// it compiles to.
///
/// # Errors
/// It is no pattern, or too large a one; in words.
pub fn regex(pattern: &str) -> Result<regex::Regex, String> {
    let translated = translated(pattern)?;
    regex::RegexBuilder::new(&format!("^(?s:{translated})$"))
        .size_limit(256 << 10)
        .dfa_size_limit(256 << 10)
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
        ] {
            let regex = regex(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            for text in takes {
                assert!(regex.is_match(text), "{pattern} takes {text:?}");
            }
            for text in leaves {
                assert!(!regex.is_match(text), "{pattern} leaves {text:?}");
            }
        }
        for pattern in ["a**", "a+*", "a{2}{3}", "a*?*", "*", "(", "[a", "a)", "\\"] {
            assert!(regex(pattern).is_err(), "{pattern}");
        }
    }
}
