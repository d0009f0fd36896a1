//! Where in a page its text has come to, and what a value has to look like there, as
//! `html/template` sees it (pkg.go.dev/html/template, "Contexts").
//!
//! The text of templates is read as HTML, from its beginning to where a value stands. Values never
//! change where it is: each is escaped so that it cannot.

use crate::{
    escape, json,
    print::{TooLong, print},
    value::Value,
};

/// In place of a value that cannot be harmless where it stands; Go's own word, which people look
/// for.
const REFUSED: &str = "ZgotmplZ";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Text,
    /// After `<` or `</`.
    TagStart,
    TagName,
    Comment,
    Tag,
    AttributeName,
    AfterName,
    BeforeValue,
    Value,
    /// What is within `script`, `style`, `textarea` and `title`.
    Raw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Address,
    Style,
    Script,
    /// A page within an attribute.
    Page,
}

/// Where in a script it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Code,
    /// Until this quote.
    Quoted(char),
    Pattern {
        in_class: bool,
    },
    Line,
    Block,
    /// It holds what is not read here.
    Unknown,
}

/// A page that is being made.
#[derive(Debug)]
pub(crate) struct Page {
    out: String,
    most: usize,
    place: Place,
    /// The tag's name, in lower case; of what is within it when it is [`Place::Raw`].
    element: String,
    closes: bool,
    attribute: String,
    kind: Kind,
    /// Of an attribute; a space when it has none.
    quote: char,
    /// What an address begins with.
    address: String,
    script: Script,
    escaped: bool,
    /// The last character of a script that is no space.
    previous: char,
}

impl Page {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            out: String::new(),
            most,
            place: Place::Text,
            element: String::new(),
            closes: false,
            attribute: String::new(),
            kind: Kind::Plain,
            quote: ' ',
            address: String::new(),
            script: Script::Code,
            escaped: false,
            previous: '\0',
        }
    }

    /// The page.
    ///
    /// # Errors
    /// It ends within something.
    pub(crate) fn done(self) -> Result<String, String> {
        match self.place {
            Place::Text => Ok(self.out),
            // `a <` is text.
            Place::TagStart if self.element.is_empty() => Ok(self.out),
            _ => Err("the page ends within a tag, a comment or a script".to_owned()),
        }
    }

    /// Whether a value here is escaped as one of an address's query.
    pub(crate) fn is_query(&self) -> bool {
        self.place == Place::Value
            && self.kind == Kind::Address
            && self.address.contains(['?', '#'])
    }

    fn push(&mut self, text: &str) -> Result<(), TooLong> {
        if self.out.len() + text.len() > self.most {
            return Err(TooLong);
        }
        self.out.push_str(text);
        Ok(())
    }

    /// Text of the template itself.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), TooLong> {
        let mut at = 0;
        while let Some(one) = text[at..].chars().next() {
            let rest = &text[at..];
            let mut length = one.len_utf8();
            match self.place {
                // Comments are left out.
                Place::Comment => {
                    match rest.find("-->") {
                        Some(end) => {
                            length = end + 3;
                            self.place = Place::Text;
                        }
                        None => length = rest.len(),
                    }
                    at += length;
                    continue;
                }
                Place::Text if rest.starts_with("<!--") => {
                    self.place = Place::Comment;
                    at += 4;
                    continue;
                }
                Place::Text => match rest.find('<') {
                    Some(0) => {
                        self.place = Place::TagStart;
                        self.element.clear();
                        self.closes = false;
                    }
                    Some(until) => length = until,
                    None => length = rest.len(),
                },
                Place::TagStart => self.tag_start(one, rest),
                Place::TagName if one.is_ascii_alphanumeric() || matches!(one, '-' | ':') => {
                    self.element.push(one.to_ascii_lowercase());
                }
                Place::TagName => {
                    self.place = Place::Tag;
                    continue;
                }
                Place::Tag => match one {
                    '>' => self.tag_end(),
                    '/' => {}
                    one if one.is_ascii_whitespace() => {}
                    one => {
                        self.attribute.clear();
                        self.attribute.push(one.to_ascii_lowercase());
                        self.place = Place::AttributeName;
                    }
                },
                Place::AttributeName => match one {
                    '=' => self.value_follows(),
                    '>' | '/' => {
                        self.place = Place::Tag;
                        continue;
                    }
                    one if one.is_ascii_whitespace() => self.place = Place::AfterName,
                    one => self.attribute.push(one.to_ascii_lowercase()),
                },
                Place::AfterName => match one {
                    '=' => self.value_follows(),
                    one if one.is_ascii_whitespace() => {}
                    _ => {
                        self.place = Place::Tag;
                        continue;
                    }
                },
                Place::BeforeValue => match one {
                    '"' | '\'' => self.value_starts(one),
                    '>' => {
                        self.place = Place::Tag;
                        continue;
                    }
                    one if one.is_ascii_whitespace() => {}
                    _ => {
                        self.value_starts(' ');
                        continue;
                    }
                },
                Place::Value => {
                    if self.value_ends(one) {
                        // What ends a value without quotes belongs to the tag.
                        self.place = Place::Tag;
                        if self.quote == ' ' {
                            continue;
                        }
                    } else {
                        length = self.value_text(one, rest);
                    }
                }
                Place::Raw => {
                    let ends = rest
                        .strip_prefix("</")
                        .and_then(|tag| tag.get(..self.element.len()))
                        .is_some_and(|name| name.eq_ignore_ascii_case(&self.element));
                    if ends {
                        self.place = Place::TagStart;
                        self.element.clear();
                    } else if self.element == "script" {
                        self.script_text(one, rest);
                    }
                }
            }
            self.push(&text[at..at + length])?;
            at += length;
        }
        Ok(())
    }

    fn tag_start(&mut self, one: char, rest: &str) {
        match one {
            '/' if !self.closes => self.closes = true,
            one if one.is_ascii_alphabetic() => {
                self.element.push(one.to_ascii_lowercase());
                self.place = Place::TagName;
            }
            '!' | '?' => {
                // `<!DOCTYPE html>` has no attributes that anybody fills in.
                let _ = rest;
                self.place = Place::Tag;
            }
            _ => self.place = Place::Text,
        }
    }

    fn tag_end(&mut self) {
        let is_raw = matches!(
            self.element.as_str(),
            "script" | "style" | "textarea" | "title"
        );
        self.place = if is_raw && !self.closes {
            Place::Raw
        } else {
            Place::Text
        };
        self.closes = false;
        self.script = Script::Code;
        self.escaped = false;
        self.previous = '\0';
    }

    fn value_follows(&mut self) {
        self.place = Place::BeforeValue;
        self.kind = kind(&self.attribute);
    }

    fn value_starts(&mut self, quote: char) {
        self.place = Place::Value;
        self.quote = quote;
        self.address.clear();
        self.script = Script::Code;
        self.escaped = false;
        self.previous = '\0';
    }

    fn value_ends(&self, one: char) -> bool {
        match self.quote {
            ' ' => one == '>' || one.is_ascii_whitespace(),
            quote => one == quote,
        }
    }

    /// Text in an attribute's value. Gives back how much of it was read.
    fn value_text(&mut self, one: char, rest: &str) -> usize {
        match self.kind {
            Kind::Address => self.address.push(one),
            Kind::Script if one == '&' => {
                // What a reference stands for is what the script has there.
                let known = [
                    ("&quot;", '"'),
                    ("&#34;", '"'),
                    ("&#39;", '\''),
                    ("&apos;", '\''),
                    ("&amp;", '&'),
                    ("&lt;", '<'),
                    ("&gt;", '>'),
                ];
                match known.iter().find(|(name, _)| rest.starts_with(name)) {
                    Some((name, stands)) => {
                        self.script_text(*stands, "");
                        return name.len();
                    }
                    None => self.script = Script::Unknown,
                }
            }
            Kind::Script => self.script_text(one, rest),
            Kind::Plain | Kind::Style | Kind::Page => {}
        }
        one.len_utf8()
    }

    fn script_text(&mut self, one: char, rest: &str) {
        let follows = rest.chars().nth(1);
        if std::mem::take(&mut self.escaped) {
            return;
        }
        match self.script {
            Script::Code => match one {
                '"' | '\'' | '`' => self.script = Script::Quoted(one),
                '/' if follows == Some('/') => self.script = Script::Line,
                '/' if follows == Some('*') => {
                    self.script = Script::Block;
                    self.previous = ' ';
                }
                // A slash after an operator begins a pattern, after a value it divides.
                '/' if "\0(,=:[!&|?{};+-*%~^<>".contains(self.previous) => {
                    self.script = Script::Pattern { in_class: false };
                }
                _ => {}
            },
            Script::Quoted(quote) => match one {
                '\\' => self.escaped = true,
                one if one == quote => self.script = Script::Code,
                _ => {}
            },
            Script::Pattern { in_class } => match one {
                '\\' => self.escaped = true,
                '[' => self.script = Script::Pattern { in_class: true },
                ']' => self.script = Script::Pattern { in_class: false },
                '/' if !in_class => self.script = Script::Code,
                _ => {}
            },
            Script::Line if one == '\n' => self.script = Script::Code,
            Script::Block if one == '/' && self.previous == '*' => self.script = Script::Code,
            Script::Line | Script::Block | Script::Unknown => {}
        }
        if !one.is_whitespace() {
            self.previous = one;
        }
    }

    /// A value, escaped for where it stands.
    ///
    /// # Errors
    /// None can be safe there, or the page is too long.
    pub(crate) fn value(&mut self, value: &Value) -> Result<(), String> {
        if self.place == Place::BeforeValue {
            self.value_starts(' ');
        }
        let most = self.most;
        let text = || match value {
            Value::Nil => Ok(String::new()),
            value => print(std::slice::from_ref(value), most),
        };
        let is_safe = matches!(value, Value::Safe(_));
        let made = match self.place {
            Place::Comment => return Ok(()),
            Place::Text if is_safe => text()?,
            Place::Text => escape::markup(&text()?, true),
            Place::TagStart => return Err("a value stands where a tag's name begins".to_owned()),
            Place::TagName | Place::Tag | Place::AttributeName | Place::AfterName => {
                let name = text()?;
                if self.place == Place::AfterName {
                    self.place = Place::Tag;
                }
                let is_plain = !name.is_empty()
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
                    && kind(&name) == Kind::Plain;
                let name = if is_plain { name } else { REFUSED.to_owned() };
                match self.place {
                    Place::TagName => self.element.push_str(&name.to_ascii_lowercase()),
                    _ => {
                        if self.place == Place::Tag {
                            self.attribute.clear();
                        }
                        self.attribute.push_str(&name.to_ascii_lowercase());
                        self.place = Place::AttributeName;
                    }
                }
                name
            }
            Place::BeforeValue => return Ok(()),
            Place::Value => {
                let (text, again) = match self.kind {
                    Kind::Plain if is_safe => (escape::without_tags(&text()?), false),
                    Kind::Plain => (text()?, true),
                    Kind::Page if is_safe => (text()?, true),
                    Kind::Page => (escape::markup(&text()?, true), true),
                    Kind::Address => (
                        self.address(&text()?, matches!(value, Value::SafeUrl(_))),
                        true,
                    ),
                    Kind::Style => (style(text()?), true),
                    Kind::Script => (self.script(value)?, true),
                };
                match self.quote {
                    ' ' if text.is_empty() => REFUSED.to_owned(),
                    ' ' => escape::unquoted(&text, again),
                    _ => escape::markup(&text, again),
                }
            }
            Place::Raw => match self.element.as_str() {
                "script" => self.script(value)?,
                "style" => style(text()?),
                _ => escape::markup(&text()?, !is_safe),
            },
        };
        Ok(self.push(&made)?)
    }

    /// A value in an address: a scheme that runs something is refused, what is no address escaped.
    fn address(&mut self, text: &str, is_safe: bool) -> String {
        let in_query = self.address.contains(['?', '#']);
        if in_query {
            return escape::address(text, true);
        }
        let whole = format!("{}{text}", self.address);
        let made = if is_safe || escape::is_safe_address(&whole) {
            escape::address(text, false)
        } else {
            format!("#{REFUSED}")
        };
        // What the next value stands after.
        self.address.push_str(&made);
        made
    }

    /// A value in a script: JSON, or text within quotes.
    fn script(&mut self, value: &Value) -> Result<String, String> {
        match self.script {
            Script::Code => {
                self.previous = 'x';
                let made = match json::json(value, self.most) {
                    Ok(made) => made,
                    Err(why) if why.contains("unsupported value") => "null".to_owned(),
                    Err(why) => return Err(why),
                };
                let is_word =
                    |one: Option<char>| one.is_some_and(|one| one.is_ascii_alphanumeric());
                let (before, after) = (is_word(made.chars().next()), is_word(made.chars().last()));
                Ok(format!(
                    "{}{made}{}",
                    if before { " " } else { "" },
                    if after { " " } else { "" }
                ))
            }
            Script::Quoted('`') => {
                Err("a value stands in a template literal of a script".to_owned())
            }
            Script::Quoted(_) => Ok(escape::js_string(&print(
                std::slice::from_ref(value),
                self.most,
            )?)),
            Script::Line | Script::Block => Ok(String::new()),
            Script::Pattern { .. } => Err("a value stands in a script's pattern".to_owned()),
            Script::Unknown => {
                Err("a value stands in a script that cannot be read here".to_owned())
            }
        }
    }
}

/// A value in a style: words, numbers, colours; anything that could be more is refused.
fn style(text: String) -> String {
    let letters: String = text
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|one| one.to_ascii_lowercase())
        .collect();
    let is_harmful = text.contains([
        '\0', '"', '\'', '(', ')', '/', ';', '@', '[', '\\', ']', '`', '{', '}', '<', '>', ':', '&',
    ]) || text.contains("--")
        || letters.contains("expression")
        || letters.contains("mozbinding");
    if is_harmful { REFUSED.to_owned() } else { text }
}

/// What an attribute's value is, by its name.
fn kind(attribute: &str) -> Kind {
    let name = attribute.strip_prefix("data-").unwrap_or(attribute);
    let name = match name.split_once(':') {
        Some(("xmlns", _)) => return Kind::Address,
        Some((_, local)) => local,
        None => name,
    };
    match name {
        "action" | "archive" | "background" | "cite" | "classid" | "codebase" | "data"
        | "formaction" | "href" | "icon" | "longdesc" | "manifest" | "poster" | "profile"
        | "src" | "srcset" | "usemap" | "xmlns" | "ping" => Kind::Address,
        "style" => Kind::Style,
        "srcdoc" => Kind::Page,
        name if name.starts_with("on") => Kind::Script,
        name if name.contains("src") || name.contains("uri") || name.contains("url") => {
            Kind::Address
        }
        _ => Kind::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page of text and values in turn.
    fn page(parts: &[&str], value: &Value) -> Result<String, String> {
        let mut page = Page::new(1000);
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                page.value(value)?;
            }
            page.text(part).map_err(|_error| "too long".to_owned())?;
        }
        page.done()
    }

    #[test]
    fn values_are_escaped_for_where_they_stand() {
        let evil = Value::from("<b>\"O'Reilly\" & co</b>");
        for (parts, expected) in [
            (
                &["<p>", "</p>"][..],
                "<p>&lt;b&gt;&#34;O&#39;Reilly&#34; &amp; co&lt;/b&gt;</p>",
            ),
            (
                &["<p title=\"", "\">"],
                "<p title=\"&lt;b&gt;&#34;O&#39;Reilly&#34; &amp; co&lt;/b&gt;\">",
            ),
            (
                &["<p title=", ">x"],
                "<p title=&lt;b&gt;&#34;O&#39;Reilly&#34;&#32;&amp;&#32;co&lt;/b&gt;>x",
            ),
            (
                &["<a href=\"/s?q=", "\">"],
                "<a href=\"/s?q=%3cb%3e%22O%27Reilly%22%20%26%20co%3c%2fb%3e\">",
            ),
            (
                &["<a href='", "'>"],
                "<a href='%3cb%3e%22O%27Reilly%22%20&amp;%20co%3c/b%3e'>",
            ),
            (
                &["<script>var x = ", ";</script>"],
                "<script>var x = \"\\u003cb\\u003e\\\"O'Reilly\\\" \\u0026 co\\u003c/b\\u003e\";</script>",
            ),
            (
                &["<script>var x = '", "';</script>"],
                "<script>var x = '\\u003cb\\u003e\\u0022O\\u0027Reilly\\u0022 \\u0026 co\\u003c\\/b\\u003e';</script>",
            ),
            (
                &["<style>p { color: ", " }</style>"],
                "<style>p { color: ZgotmplZ }</style>",
            ),
            (
                &["<p style=\"color:", "\">"],
                "<p style=\"color:ZgotmplZ\">",
            ),
            (
                &["<textarea>", "</textarea>"],
                "<textarea>&lt;b&gt;&#34;O&#39;Reilly&#34; &amp; co&lt;/b&gt;</textarea>",
            ),
            (&["a<!-- ", " -->b"], "ab"),
            (&["<p ", "=\"1\">"], "<p ZgotmplZ=\"1\">"),
            (
                &["1 < 2 ", ""],
                "1 < 2 &lt;b&gt;&#34;O&#39;Reilly&#34; &amp; co&lt;/b&gt;",
            ),
        ] {
            assert_eq!(page(parts, &evil).as_deref(), Ok(expected), "{parts:?}");
        }
    }

    #[test]
    fn no_address_runs_anything() {
        let script = Value::from("javascript:alert(1)");
        for (parts, expected) in [
            (&["<a href=\"", "\">"][..], "<a href=\"#ZgotmplZ\">"),
            (&["<a href=", ">"], "<a href=#ZgotmplZ>"),
            (&["<img data-src='", "'>"], "<img data-src='#ZgotmplZ'>"),
            (
                &["<a href=\"/x/", "\">"],
                "<a href=\"/x/javascript:alert%281%29\">",
            ),
            (
                &["<a href=\"?", "\">"],
                "<a href=\"?javascript%3aalert%281%29\">",
            ),
        ] {
            assert_eq!(page(parts, &script).as_deref(), Ok(expected), "{parts:?}");
        }
        // In two parts, too.
        assert_eq!(
            page(&["<a href=\"java", "\">"], &"script:x".into()).as_deref(),
            Ok("<a href=\"java#ZgotmplZ\">")
        );
        assert_eq!(
            page(&["<a href=\"", "\">"], &"https://a.b/c?d=e&f=g h".into()).as_deref(),
            Ok("<a href=\"https://a.b/c?d=e&amp;f=g%20h\">")
        );
        assert_eq!(
            page(&["<a href=\"", "\">"], &Value::SafeUrl("tel:1".into())).as_deref(),
            Ok("<a href=\"tel:1\">")
        );
    }

    #[test]
    fn what_is_marked_safe_stays_markup_only_in_text() {
        let safe = Value::Safe("<b>1 & 2</b>".into());
        assert_eq!(
            page(&["<p>", "</p>"], &safe).as_deref(),
            Ok("<p><b>1 & 2</b></p>")
        );
        assert_eq!(
            page(&["<p title=\"", "\">"], &safe).as_deref(),
            Ok("<p title=\"1 & 2\">")
        );
        assert_eq!(
            page(&["<script>x = ", "</script>"], &safe).as_deref(),
            Ok("<script>x = \"\\u003cb\\u003e1 \\u0026 2\\u003c/b\\u003e\"</script>")
        );
    }

    #[test]
    fn scripts_are_read_up_to_the_value() {
        let evil = Value::from("+alert(1)+");
        for (parts, expected) in [
            (
                &["<a onclick=\"f(&quot;", "&quot;)\">"][..],
                "<a onclick=\"f(&quot;\\u002balert(1)\\u002b&quot;)\">",
            ),
            (
                &["<a onclick=\"f(", ")\">"],
                "<a onclick=\"f(&#34;&#43;alert(1)&#43;&#34;)\">",
            ),
            (
                &["<script>// it's\nx = ", "</script>"],
                "<script>// it's\nx = \"+alert(1)+\"</script>",
            ),
            (
                &["<script>/* ' */ x = ", "</script>"],
                "<script>/* ' */ x = \"+alert(1)+\"</script>",
            ),
            (
                &["<script>x = /'/; y = ", "</script>"],
                "<script>x = /'/; y = \"+alert(1)+\"</script>",
            ),
            (
                &["<script>x = 'it\\'s", "'</script>"],
                "<script>x = 'it\\'s\\u002balert(1)\\u002b'</script>",
            ),
            (&["<script>// ", "\n</script>"], "<script>// \n</script>"),
        ] {
            assert_eq!(page(parts, &evil).as_deref(), Ok(expected), "{parts:?}");
        }
        assert_eq!(
            page(&["<script>x = ", "</script>"], &1.into()).as_deref(),
            Ok("<script>x =  1 </script>")
        );
        for parts in [
            &["<script>x = `", "`</script>"][..],
            &["<script>x = /", "/</script>"],
            &["<a onclick=\"f(&#x22;", "\">"],
            &["<", ">"],
            &["<p title=\"", ""],
            &["<script>", ""],
        ] {
            assert!(page(parts, &evil).is_err(), "{parts:?}");
        }
    }
}
