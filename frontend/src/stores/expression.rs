//! What of an expression in PromQL the page has to know by itself: what the reader is about to type
//! where the caret is, whether it is no more than the name of a series, and which place an error of
//! the server is about. Everything else about the language is the server's.

/// What could stand where the caret is; `from` is where it begins, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing that could be offered.
    Nothing,
    /// The name of a series or of a function.
    Name { from: usize },
    /// The name of a label, of the series called `series` if that is known.
    Label { from: usize, series: String },
    /// A value of `label`; the quotation mark before it is there.
    Value {
        from: usize,
        label: String,
        series: String,
    },
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'.')
}

/// The word that ends at `end`, and where it begins.
fn word_before(text: &str, end: usize) -> (usize, &str) {
    let bytes = text.as_bytes();
    let length = bytes[..end].iter().rev().take_while(|byte| is_word(**byte));
    let from = end - length.count();
    (from, &text[from..end])
}

/// What the reader is about to type at `caret`, in bytes.
#[must_use]
pub fn wanted(text: &str, caret: usize) -> Wanted {
    let Some(before) = text.get(..caret) else {
        return Wanted::Nothing;
    };
    let bytes = before.as_bytes();
    let mut quote: Option<(u8, usize)> = None;
    // Where braces, brackets and lists of labels were opened, and what the latter belong to.
    let (mut brace, mut bracket, mut grouping) = (None, false, false);
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (quote, *byte) {
            (Some((mark, _)), b'\\') if mark != b'`' => at += 1,
            (Some((mark, _)), byte) if byte == mark => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'' | b'`') => quote = Some((*byte, at + 1)),
            (None, b'{') => brace = Some(at),
            (None, b'}') => brace = None,
            (None, b'[') => bracket = true,
            (None, b']') => bracket = false,
            (None, b'(') => {
                let end = before[..at].trim_end().len();
                let (_, word) = word_before(before, end);
                grouping = matches!(
                    word,
                    "by" | "without" | "on" | "ignoring" | "group_left" | "group_right"
                );
            }
            (None, b')') => grouping = false,
            (None, b'#') => {
                let line = before[at..].find('\n');
                match line {
                    Some(length) => at += length,
                    None => return Wanted::Nothing,
                }
            }
            (None, _) => {}
        }
        at += 1;
    }
    let series = |open: usize| {
        word_before(before, before[..open].trim_end().len())
            .1
            .to_owned()
    };
    match (quote, brace) {
        (Some((_, from)), Some(open)) => {
            let before_it = before[..from - 1].trim_end();
            let operator = before_it.trim_end_matches(['=', '!', '~']).trim_end();
            if operator.len() == before_it.len() {
                return Wanted::Nothing;
            }
            Wanted::Value {
                from,
                label: word_before(before, operator.len()).1.to_owned(),
                series: series(open),
            }
        }
        (Some(_), None) => Wanted::Nothing,
        (None, Some(open)) => {
            let (from, _) = word_before(before, caret);
            match before[..from].trim_end().as_bytes().last() {
                Some(b'{' | b',') => Wanted::Label {
                    from,
                    series: series(open),
                },
                _ => Wanted::Nothing,
            }
        }
        (None, None) if bracket => Wanted::Nothing,
        (None, None) if grouping => Wanted::Label {
            from: word_before(before, caret).0,
            series: grouped_series(text),
        },
        (None, None) => match word_before(before, caret) {
            (_, word) if word.is_empty() || word.as_bytes()[0].is_ascii_digit() => Wanted::Nothing,
            (from, _) => Wanted::Name { from },
        },
    }
}

/// The name before the first brace or bracket of an expression: what labels are grouped of, as a
/// rule.
fn grouped_series(text: &str) -> String {
    let end = text.find(['{', '[']).unwrap_or(0);
    word_before(text, text[..end].trim_end().len()).1.to_owned()
}

/// The selector, of an expression that is nothing else: a name, labels in braces, or both.
#[must_use]
pub fn bare_selector(text: &str) -> Option<&str> {
    let text = text.trim();
    let name = text.bytes().take_while(|byte| is_word(*byte)).count();
    let rest = text[name..].trim_start();
    let starts_well = name == 0 || !text.as_bytes()[0].is_ascii_digit();
    let is_number = matches!(
        text[..name].to_ascii_lowercase().as_str(),
        "nan" | "inf" | "infinity"
    );
    if !starts_well || is_number || text.is_empty() {
        return None;
    }
    if rest.is_empty() {
        return Some(text);
    }
    if !rest.starts_with('{') {
        return None;
    }
    let mut quote = None;
    let mut bytes = rest.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match (quote, byte) {
            (Some(mark), b'\\') if mark != b'`' => drop(bytes.next()),
            (Some(mark), byte) if byte == mark => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'' | b'`') => quote = Some(byte),
            (None, b'}') => return (at + 1 == rest.len()).then_some(text),
            (None, _) => {}
        }
    }
    None
}

/// Which part of `text` an error is about that says `LINE:COLUMN: parse error: …`, in bytes: the
/// word that begins there, or one character. The end of the text is its last character.
#[must_use]
pub fn place_of_error(error: &str, text: &str) -> Option<(usize, usize)> {
    let before = &error[..error.find(": parse error")?];
    let place = before.rsplit(' ').next()?;
    let (line, column) = place.split_once(':')?;
    let (line, column): (usize, usize) = (line.parse().ok()?, column.parse().ok()?);
    let mut begins = 0;
    for _ in 1..line {
        begins += text[begins..].find('\n')? + 1;
    }
    let line = text[begins..].split('\n').next()?;
    let skipped: usize = line
        .chars()
        .take(column.max(1) - 1)
        .map(char::len_utf8)
        .sum();
    let mut from = begins + skipped;
    if from >= text.trim_end().len() {
        from = text.trim_end().char_indices().last()?.0;
    }
    let word = text[from..].bytes().take_while(|byte| is_word(*byte));
    let first = text[from..].chars().next()?.len_utf8();
    Some((from, from + word.count().max(first)))
}

/// What is wrong in the words of the server, without the place that is underlined.
#[must_use]
pub fn what_is_wrong(error: &str) -> &str {
    let plain = error.split_once("parse error: ").map(|(_, what)| what);
    plain.unwrap_or(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_caret(text: &str) -> Wanted {
        let caret = text.find('|').expect("a caret");
        wanted(&text.replace('|', ""), caret)
    }

    fn value(from: usize, label: &str, series: &str) -> Wanted {
        Wanted::Value {
            from,
            label: label.into(),
            series: series.into(),
        }
    }

    fn label(from: usize, series: &str) -> Wanted {
        Wanted::Label {
            from,
            series: series.into(),
        }
    }

    #[test]
    fn knows_what_is_about_to_be_typed() {
        for (text, expected) in [
            ("", Wanted::Nothing),
            ("ra|", Wanted::Name { from: 0 }),
            ("rate(node_c|pu)", Wanted::Name { from: 5 }),
            ("rate(up[5|", Wanted::Nothing),
            ("up + 1|", Wanted::Nothing),
            ("up{|", label(3, "up")),
            ("up{jo|b", label(3, "up")),
            ("up {a=\"b\", jo|", label(11, "up")),
            ("up{job|=\"a\"}", label(3, "up")),
            ("up{job=|", Wanted::Nothing),
            ("up{job=\"no|", value(8, "job", "up")),
            ("up{job=~'no|de'}", value(9, "job", "up")),
            ("{job!=\"|\"}", value(7, "job", "")),
            ("up{a=\"\\\"}{\", b=\"|", value(16, "b", "up")),
            ("sum by (in|) (rate(up{a=\"1\"}[5m]))", label(8, "up")),
            ("sum by (a) (u|", Wanted::Name { from: 12 }),
            ("label_replace(up, \"x|", Wanted::Nothing),
            ("up # not|e", Wanted::Nothing),
            ("up # note\n+ do|", Wanted::Name { from: 12 }),
        ] {
            if text.is_empty() {
                assert_eq!(wanted("", 0), expected);
            } else {
                assert_eq!(at_caret(text), expected, "{text}");
            }
        }
        assert_eq!(wanted("ü", 1), Wanted::Nothing, "inside a character");
    }

    #[test]
    fn a_selector_alone_is_told_from_everything_else() {
        for text in [
            "up",
            " up ",
            "up{a=\"}\"}",
            "{__name__=~\"a.*\"}",
            "up {a='\\'}'}",
        ] {
            assert_eq!(bare_selector(text), Some(text.trim()), "{text}");
        }
        for text in [
            "",
            "up[5m]",
            "up{a=\"1\"} offset 5m",
            "rate(up[5m])",
            "up + up",
            "1",
            "NaN",
            "up{a=\"1\"",
            "sum by (a) (up)",
            "\"text\"",
        ] {
            assert_eq!(bare_selector(text), None, "{text}");
        }
    }

    #[test]
    fn an_error_has_a_place() {
        let place = |error: &str, text: &str| {
            place_of_error(error, text).map(|(from, to)| text[from..to].to_owned())
        };
        let error = "invalid parameter \"query\": 1:5: parse error: unexpected <by>";
        assert_eq!(place(error, "sum by").as_deref(), Some("by"));
        assert_eq!(what_is_wrong(error), "unexpected <by>");
        assert_eq!(place(error, "ü+ü ?x").as_deref(), Some("?"));
        assert_eq!(
            place("1:99: parse error: end", "rate(").as_deref(),
            Some("(")
        );
        assert_eq!(
            place("2:3: parse error: x", "up\n+ foo").as_deref(),
            Some("foo")
        );
        assert_eq!(place("9:1: parse error: x", "up"), None);
        assert_eq!(place("1:1: parse error: x", ""), None);
        assert_eq!(place("query timed out", "up"), None);
    }
}
