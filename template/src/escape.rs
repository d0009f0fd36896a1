//! Text made harmless where it goes: HTML, JavaScript, addresses, JSON.

use std::fmt::Write;

/// `text/template`'s `html`.
pub(crate) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for one in text.chars() {
        match one {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => out.push('\u{fffd}'),
            one => out.push(one),
        }
    }
    out
}

/// `html/template` in text and in a quoted attribute. What is escaped already is escaped again
/// only if `again`.
pub(crate) fn markup(text: &str, again: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for one in text.chars() {
        match one {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '+' => out.push_str("&#43;"),
            '&' if again => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => out.push('\u{fffd}'),
            one => out.push(one),
        }
    }
    out
}

/// `html/template` in an attribute without quotes.
pub(crate) fn unquoted(text: &str, again: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for one in text.chars() {
        match one {
            '\0' => out.push_str("&#xfffd;"),
            '&' if again => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | ' ' | '"' | '\'' | '+' | '=' | '`' => {
                out.push_str("&#");
                out.push_str(&u32::from(one).to_string());
                out.push(';');
            }
            one => out.push(one),
        }
    }
    out
}

/// Markup without its tags, for an attribute's value.
pub(crate) fn without_tags(markup: &str) -> String {
    let mut out = String::new();
    let mut rest = markup;
    while let Some(open) = rest.find('<') {
        let is_tag = rest[open + 1..]
            .starts_with(|next: char| next.is_ascii_alphabetic() || matches!(next, '/' | '!'));
        if !is_tag {
            out.push_str(&rest[..=open]);
            rest = &rest[open + 1..];
            continue;
        }
        out.push_str(&rest[..open]);
        rest = rest[open..]
            .find('>')
            .map_or("", |close| &rest[open + close + 1..]);
    }
    out + rest
}

/// `text/template`'s `js`: within a quoted text of JavaScript.
pub(crate) fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for one in text.chars() {
        match one {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' => out.push_str("\\u003C"),
            '>' => out.push_str("\\u003E"),
            '&' => out.push_str("\\u0026"),
            '=' => out.push_str("\\u003D"),
            one if one < ' ' || one == '\u{7f}' => hexadecimal(one, &mut out),
            one if one >= '\u{80}' && (one.is_control() || (one.is_whitespace())) => {
                hexadecimal(one, &mut out);
            }
            one => out.push(one),
        }
    }
    out
}

/// `html/template` within a quoted text of JavaScript.
pub(crate) fn js_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for one in text.chars() {
        match one {
            '\0' => out.push_str("\\u0000"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{b}' => out.push_str("\\u000b"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '"' => out.push_str("\\u0022"),
            '`' => out.push_str("\\u0060"),
            '&' => out.push_str("\\u0026"),
            '\'' => out.push_str("\\u0027"),
            '+' => out.push_str("\\u002b"),
            '/' => out.push_str("\\/"),
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '\\' => out.push_str("\\\\"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            one => out.push(one),
        }
    }
    out
}

fn hexadecimal(one: char, out: &mut String) {
    // Writing to a text does not fail.
    let _written = write!(out, "\\u{:04X}", u32::from(one));
}

/// Go's `url.QueryEscape`.
pub(crate) fn query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            byte => percent(byte, &mut out, true),
        }
    }
    out
}

/// Go's `url.QueryUnescape`.
pub(crate) fn query_read(text: &str) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = rest.get(..2).and_then(|digits| {
                    let digits = std::str::from_utf8(digits).ok()?;
                    let is_number = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                    u8::from_str_radix(digits, 16).ok().filter(|_| is_number)
                });
                let Some(byte) = digits else {
                    let shown = &rest[..rest.len().min(2)];
                    return Err(format!(
                        "invalid URL escape \"%{}\"",
                        String::from_utf8_lossy(shown)
                    ));
                };
                out.push(byte);
                rest = &rest[2..];
            }
            byte => out.push(*byte),
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn percent(byte: u8, out: &mut String, upper: bool) {
    let _written = if upper {
        write!(out, "%{byte:02X}")
    } else {
        write!(out, "%{byte:02x}")
    };
}

/// `html/template` in an address: what is no part of one is escaped; what divides one only if it
/// is a value of the query (`strict`).
pub(crate) fn address(text: &str, strict: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let bytes = text.as_bytes();
    for (index, byte) in bytes.iter().enumerate() {
        let is_escape = || {
            bytes
                .get(index + 1..index + 3)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        };
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(*byte));
            }
            b'!' | b'#' | b'$' | b'&' | b'*' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'?'
            | b'@' | b'[' | b']'
                if !strict =>
            {
                out.push(char::from(*byte));
            }
            b'%' if !strict && is_escape() => out.push('%'),
            byte => percent(*byte, &mut out, false),
        }
    }
    out
}

/// Whether an address begins with a scheme that runs nothing, or with none.
pub(crate) fn is_safe_address(text: &str) -> bool {
    match text.split_once(':') {
        Some((scheme, _)) if !scheme.contains('/') => ["http", "https", "mailto"]
            .iter()
            .any(|safe| scheme.eq_ignore_ascii_case(safe)),
        _ => true,
    }
}

/// A text in JSON as Go writes it, with `<`, `>` and `&` escaped.
pub(crate) fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for one in text.chars() {
        match one {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _written = write!(out, "\\u{:04x}", u32::from(one));
            }
            one if one < ' ' => {
                let _written = write!(out, "\\u{:04x}", u32::from(one));
            }
            one => out.push(one),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_as_in_go() {
        assert_eq!(
            html("<a href='x'>\"&\0+"),
            "&lt;a href=&#39;x&#39;&gt;&#34;&amp;\u{fffd}+"
        );
        assert_eq!(markup("a+b & <i>", true), "a&#43;b &amp; &lt;i&gt;");
        assert_eq!(unquoted("a b=`c`", true), "a&#32;b&#61;&#96;c&#96;");
        assert_eq!(
            js("it's <b> = \\ \"\n"),
            "it\\'s \\u003Cb\\u003E \\u003D \\\\ \\\"\\u000A"
        );
        assert_eq!(
            js_string("</script>'+x"),
            "\\u003c\\/script\\u003e\\u0027\\u002bx"
        );
        assert_eq!(query("a b&c=d/é~"), "a+b%26c%3Dd%2F%C3%A9~");
        assert_eq!(query_read("a+b%26%C3%A9"), Ok("a b&é".to_owned()));
        assert_eq!(
            query_read("100%"),
            Err("invalid URL escape \"%\"".to_owned())
        );
        assert_eq!(
            query_read("%zz1"),
            Err("invalid URL escape \"%zz\"".to_owned())
        );
        assert_eq!(
            address("/a b?x=\"y\"&z=%20%", false),
            "/a%20b?x=%22y%22&z=%20%25"
        );
        assert_eq!(address("a&b=c", true), "a%26b%3dc");
        assert_eq!(json("a\"<\n\u{1}é"), "\"a\\\"\\u003c\\n\\u0001é\"");
        assert_eq!(without_tags("a <b>c</b> 1 < 2 <!-- x -->d"), "a c 1 < 2 d");
    }

    #[test]
    fn only_schemes_that_run_nothing_are_safe() {
        for safe in [
            "http://a",
            "HTTPS://a",
            "mailto:a",
            "/a:b",
            "a/b:c",
            "#x",
            "",
        ] {
            assert!(is_safe_address(safe), "{safe}");
        }
        for unsafe_one in [
            "javascript:alert(1)",
            " javascript:x",
            "data:text/html,x",
            "vbscript:x",
        ] {
            assert!(!is_safe_address(unsafe_one), "{unsafe_one}");
        }
    }
}
