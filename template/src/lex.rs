//! Templates in pieces: text, and the tokens of actions.

use std::sync::Arc;

use crate::value::Value;

#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) at: usize,
    pub(crate) end: usize,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Between actions; never empty.
    Text(Arc<str>),
    /// `{{`
    Open,
    /// `}}`
    Close,
    Space,
    Declare,
    Assign,
    Pipe,
    Comma,
    LeftParenthesis,
    RightParenthesis,
    Dot,
    /// `.Name`, without its dot.
    Field(Arc<str>),
    /// `$name`, with its `$`.
    Variable(Arc<str>),
    Constant(Value),
    /// A word: a function, or what begins a construct.
    Word(Arc<str>),
    End,
}

/// What is wrong, and the byte where.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) at: usize,
    pub(crate) message: String,
}

impl Wrong {
    pub(crate) fn new(at: usize, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
        }
    }
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// All tokens of a template; the last is [`Kind::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, Wrong> {
    let mut lexer = Lexer {
        text,
        at: 0,
        tokens: Vec::new(),
    };
    let mut trims_left = false;
    while let Some(found) = text[lexer.at..].find("{{") {
        let open = lexer.at + found;
        let marked = open + 2;
        let trims_before =
            text[marked..].starts_with('-') && text[marked + 1..].starts_with(SPACES);
        lexer.text_until(open, trims_left, trims_before);
        let mut inside = marked;
        if trims_before {
            inside += 2;
        }
        // After a trim marker, space may stand before the comment.
        let comment = if trims_before {
            let rest = text[inside..].trim_start_matches(SPACES);
            (text.len() - rest.len(), rest.starts_with("/*"))
        } else {
            (inside, text[inside..].starts_with("/*"))
        };
        if comment.1 {
            trims_left = lexer.comment(open, comment.0)?;
            continue;
        }
        lexer.push(open, marked, Kind::Open);
        lexer.at = inside;
        trims_left = lexer.action(open)?;
    }
    lexer.text_until(text.len(), trims_left, false);
    lexer.push(text.len(), text.len(), Kind::End);
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn push(&mut self, at: usize, end: usize, kind: Kind) {
        self.tokens.push(Token { at, end, kind });
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn text_until(&mut self, end: usize, trims_left: bool, trims_right: bool) {
        let mut text = &self.text[self.at..end];
        if trims_left {
            text = text.trim_start_matches(SPACES);
        }
        let start = end - text.len();
        if trims_right {
            text = text.trim_end_matches(SPACES);
        }
        if !text.is_empty() {
            let text = Arc::from(text);
            self.push(start, end, Kind::Text(text));
        }
        self.at = end;
    }

    /// `}}` or ` -}}` here: its length and whether it trims what follows.
    fn close(&self) -> Option<(usize, bool)> {
        let rest = self.rest();
        if rest.starts_with(SPACES) && rest[1..].starts_with("-}}") {
            return Some((4, true));
        }
        rest.starts_with("}}").then_some((2, false))
    }

    /// A comment whose `{{` stands at `open`. Gives back whether it trims what follows.
    fn comment(&mut self, open: usize, start: usize) -> Result<bool, Wrong> {
        let Some(length) = self.text[start..].find("*/") else {
            return Err(Wrong::new(open, "unclosed comment"));
        };
        self.at = start + length + 2;
        match self.close() {
            Some((length, trims)) => {
                self.at += length;
                Ok(trims)
            }
            None => Err(Wrong::new(self.at, "comment ends before closing delimiter")),
        }
    }

    /// The tokens of an action up to its `}}`. Gives back whether it trims what follows.
    fn action(&mut self, open: usize) -> Result<bool, Wrong> {
        let mut parentheses = 0_usize;
        loop {
            if let Some((length, trims)) = self.close() {
                if parentheses > 0 {
                    return Err(Wrong::new(self.at, "unclosed left paren"));
                }
                self.push(self.at, self.at + length, Kind::Close);
                self.at += length;
                return Ok(trims);
            }
            let start = self.at;
            let Some(first) = self.rest().chars().next() else {
                return Err(Wrong::new(open, "unclosed action"));
            };
            let kind = match first {
                ' ' | '\t' | '\r' | '\n' => {
                    // A space that belongs to ` -}}` stays.
                    while self.rest().starts_with(SPACES) && self.close().is_none() {
                        self.at += 1;
                    }
                    Kind::Space
                }
                '=' => self.one(Kind::Assign, 1),
                ':' if self.rest().starts_with(":=") => self.one(Kind::Declare, 2),
                ':' => return Err(Wrong::new(start, "expected :=")),
                '|' => self.one(Kind::Pipe, 1),
                ',' => self.one(Kind::Comma, 1),
                '(' => {
                    parentheses += 1;
                    self.one(Kind::LeftParenthesis, 1)
                }
                ')' if parentheses == 0 => {
                    return Err(Wrong::new(start, "unexpected right paren"));
                }
                ')' => {
                    parentheses -= 1;
                    self.one(Kind::RightParenthesis, 1)
                }
                '"' => Kind::Constant(Value::from(self.quoted('"')?)),
                '`' => self.raw()?,
                '\'' => self.character()?,
                '$' => {
                    let end = self.name_end(start + 1);
                    self.at = end;
                    self.ends_word("variable")?;
                    Kind::Variable(self.text[start..end].into())
                }
                '.' if !self.rest()[1..].starts_with(|next: char| next.is_ascii_digit()) => {
                    let end = self.name_end(start + 1);
                    self.at = end;
                    if end == start + 1 {
                        self.ends_word("dot")?;
                        Kind::Dot
                    } else {
                        self.ends_word("field")?;
                        Kind::Field(self.text[start + 1..end].into())
                    }
                }
                '0'..='9' | '+' | '-' | '.' => Kind::Constant(self.number()?),
                first if first == '_' || first.is_alphanumeric() => {
                    let end = self.name_end(start);
                    self.at = end;
                    self.ends_word("word")?;
                    match &self.text[start..end] {
                        "true" => Kind::Constant(Value::Bool(true)),
                        "false" => Kind::Constant(Value::Bool(false)),
                        word => Kind::Word(word.into()),
                    }
                }
                other => {
                    return Err(Wrong::new(
                        start,
                        format!("unrecognized character in action: {}", shown(other)),
                    ));
                }
            };
            self.push(start, self.at, kind);
        }
    }

    fn one(&mut self, kind: Kind, length: usize) -> Kind {
        self.at += length;
        kind
    }

    fn name_end(&self, start: usize) -> usize {
        self.text[start..]
            .find(|one: char| one != '_' && !one.is_alphanumeric())
            .map_or(self.text.len(), |length| start + length)
    }

    /// What may follow a name, so that `a$b` is none.
    fn ends_word(&self, what: &str) -> Result<(), Wrong> {
        match self.rest().chars().next() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | '=' | ')' | '(') => {
                Ok(())
            }
            Some('}') if self.rest().starts_with("}}") => Ok(()),
            Some(other) => Err(Wrong::new(
                self.at,
                format!("bad character {} after a {what}", shown(other)),
            )),
        }
    }

    /// An interpreted text, whose quote stands here.
    fn quoted(&mut self, quote: char) -> Result<String, Wrong> {
        let start = self.at;
        let mut at = start + 1;
        let mut made: Vec<u8> = Vec::new();
        while let Some(one) = self.text[at..].chars().next() {
            match one {
                '\n' => break,
                '\\' => {
                    let (bytes, length) = escape(&self.text[at + 1..], quote)
                        .ok_or_else(|| Wrong::new(at, "invalid syntax in an escape"))?;
                    made.extend(bytes);
                    at += 1 + length;
                }
                one => {
                    at += one.len_utf8();
                    if one == quote {
                        self.at = at;
                        return Ok(String::from_utf8_lossy(&made).into_owned());
                    }
                    made.extend(one.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
        let what = if quote == '"' {
            "quoted string"
        } else {
            "character constant"
        };
        Err(Wrong::new(start, format!("unterminated {what}")))
    }

    fn raw(&mut self) -> Result<Kind, Wrong> {
        let start = self.at;
        let Some(length) = self.text[start + 1..].find('`') else {
            return Err(Wrong::new(start, "unterminated raw quoted string"));
        };
        self.at = start + length + 2;
        // Go leaves out carriage returns.
        let text = self.text[start + 1..start + 1 + length].replace('\r', "");
        Ok(Kind::Constant(Value::from(text)))
    }

    fn character(&mut self) -> Result<Kind, Wrong> {
        let start = self.at;
        let text = self.quoted('\'')?;
        let mut all = text.chars();
        match (all.next(), all.next()) {
            (Some(one), None) => Ok(Kind::Constant(Value::Int(i64::from(u32::from(one))))),
            _ => Err(Wrong::new(
                start,
                format!(
                    "malformed character constant: {}",
                    &self.text[start..self.at]
                ),
            )),
        }
    }

    fn number(&mut self) -> Result<Value, Wrong> {
        let start = self.at;
        let signed = usize::from(self.rest().starts_with(['+', '-']));
        let body = &self.text[start + signed..];
        let is_hexadecimal = body.starts_with("0x") || body.starts_with("0X");
        let mut previous = ' ';
        let length = body
            .find(|one: char| {
                let is_sign = matches!(one, '+' | '-')
                    && (matches!(previous, 'p' | 'P')
                        || (matches!(previous, 'e' | 'E') && !is_hexadecimal));
                previous = one;
                !(one.is_alphanumeric() || one == '_' || one == '.' || is_sign)
            })
            .unwrap_or(body.len());
        self.at = start + signed + length;
        let literal = &self.text[start..self.at];
        constant(literal).map_err(|message| Wrong::new(start, message))
    }
}

fn shown(one: char) -> String {
    format!("U+{:04X} {one:?}", u32::from(one))
}

/// The bytes of an escape after its backslash, and how long it is.
fn escape(rest: &str, quote: char) -> Option<(Vec<u8>, usize)> {
    let first = rest.chars().next()?;
    let simple = |byte: u8| Some((vec![byte], 1));
    match first {
        'a' => simple(7),
        'b' => simple(8),
        'f' => simple(12),
        'n' => simple(b'\n'),
        'r' => simple(b'\r'),
        't' => simple(b'\t'),
        'v' => simple(11),
        '\\' => simple(b'\\'),
        '\'' | '"' if first == quote => simple(if first == '"' { b'"' } else { b'\'' }),
        'x' => {
            let byte = u8::from_str_radix(hexadecimal(rest, 2)?, 16).ok()?;
            Some((vec![byte], 3))
        }
        'u' | 'U' => {
            let count = if first == 'u' { 4 } else { 8 };
            let number = u32::from_str_radix(hexadecimal(rest, count)?, 16).ok()?;
            let one = char::from_u32(number)?;
            Some((one.to_string().into_bytes(), count + 1))
        }
        '0'..='7' => {
            let digits = rest.get(..3)?;
            digits
                .bytes()
                .all(|digit| (b'0'..=b'7').contains(&digit))
                .then_some(())?;
            let byte = u8::from_str_radix(digits, 8).ok()?;
            Some((vec![byte], 3))
        }
        _ => None,
    }
}

fn hexadecimal(rest: &str, count: usize) -> Option<&str> {
    rest.get(1..=count)
        .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// A number's literal: what has a point or an exponent is a float.
fn constant(literal: &str) -> Result<Value, String> {
    let bad = || format!("bad number syntax: {literal:?}");
    let (negative, body) = match literal.as_bytes().first() {
        Some(b'-') => (true, &literal[1..]),
        Some(b'+') => (false, &literal[1..]),
        _ => (false, literal),
    };
    let lower = body.to_ascii_lowercase();
    if lower.ends_with('i') && !lower.starts_with("0x") {
        return Err(format!("complex numbers are not supported: {literal:?}"));
    }
    // Underscores stand between digits, or after what begins a number.
    let bytes = lower.as_bytes();
    let misplaced = bytes.iter().enumerate().any(|(index, byte)| {
        *byte == b'_'
            && !(index > 0
                && bytes[index - 1].is_ascii_alphanumeric()
                && bytes.get(index + 1).is_some_and(u8::is_ascii_alphanumeric))
    });
    // Only a number that says its base may have them.
    let has_base = lower.starts_with("0x") || lower.starts_with("0b") || lower.starts_with('0');
    if misplaced || (lower.contains('_') && !has_base && lower.contains(['e', '.'])) {
        return Err(bad());
    }
    let plain = lower.replace('_', "");
    let (radix, digits) = match plain.as_bytes() {
        [b'0', b'x', ..] => (16, &plain[2..]),
        [b'0', b'o', ..] => (8, &plain[2..]),
        [b'0', b'b', ..] => (2, &plain[2..]),
        [b'0', rest @ ..] if !rest.is_empty() && rest.iter().all(u8::is_ascii_digit) => {
            (8, &plain[1..])
        }
        _ => (10, plain.as_str()),
    };
    let is_float = plain.contains('.')
        || (radix == 10 && plain.contains('e'))
        || (radix == 16 && plain.contains('p'));
    if is_float {
        let number = crate::number::parse_float(&plain)
            .filter(|_| plain.starts_with(|first: char| first.is_ascii_digit() || first == '.'))
            .ok_or_else(bad)?;
        return Ok(Value::Float(if negative { -number } else { number }));
    }
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(bad());
    }
    let size = u64::from_str_radix(digits, radix)
        .map_err(|_error| format!("integer overflow: {literal}"))?;
    let number = if negative {
        0_i64.checked_sub_unsigned(size)
    } else {
        i64::try_from(size).ok()
    };
    number
        .map(Value::Int)
        .ok_or_else(|| format!("integer overflow: {literal}"))
}
