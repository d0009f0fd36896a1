//! From text to tokens, each with its place.

use crate::error::{ParseError, Span};

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A name: of a metric, a label, a function or a keyword.
    Word(String),
    /// A number.
    Number(f64),
    /// A duration, such as `1h30m`, in milliseconds.
    Duration(i64),
    /// A text, without its quotation marks and escapes.
    Text(String),
    /// `(`, `)`, `{`, `}`, `[`, `]`, `,`, `:` and `@`.
    Mark(u8),
    /// `+ - * / % ^ == != > < >= <=`.
    Operator(&'static str),
    /// `=`, `!=`, `=~`, `!~` inside braces; `=` and `~` ones elsewhere are errors of the parser.
    Match(&'static str),
    /// The end of the text.
    End,
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}

impl Kind {
    /// What the token is called in an error.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Word(word) => format!("identifier {word:?}"),
            Self::Number(number) => format!("number {number}"),
            Self::Duration(ms) => format!("duration \"{}\"", crate::print::duration(*ms)),
            Self::Text(text) => format!("string {text:?}"),
            Self::Mark(mark) => format!("{:?}", char::from(*mark).to_string()),
            Self::Operator(operator) | Self::Match(operator) => format!("{operator:?}"),
            Self::End => "end of input".to_owned(),
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    tokens: Vec<Token>,
    /// Open `(`, `[` and `{`.
    open: Vec<u8>,
}

/// All tokens of a text, the last one [`Kind::End`].
///
/// # Errors
/// A character that no token begins with, a text without its end, a bad escape, number or duration,
/// or brackets that do not fit each other.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, ParseError> {
    let mut lexer = Lexer {
        text,
        bytes: text.as_bytes(),
        at: 0,
        tokens: Vec::new(),
        open: Vec::new(),
    };
    lexer.run()?;
    Ok(lexer.tokens)
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

impl Lexer<'_> {
    fn error(&self, start: usize, end: usize, what: impl Into<String>) -> ParseError {
        ParseError::new(self.text, Span { start, end }, what)
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn push(&mut self, kind: Kind, start: usize) {
        let end = self.at;
        self.tokens.push(Token {
            kind,
            span: Span { start, end },
        });
    }

    fn in_braces(&self) -> bool {
        self.open.last() == Some(&b'{')
    }

    fn run(&mut self) -> Result<(), ParseError> {
        while let Some(byte) = self.peek(0) {
            let start = self.at;
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                b'#' => {
                    while self.peek(0).is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                b'"' | b'\'' | b'`' => self.quoted(byte)?,
                b'(' | b'[' | b'{' => {
                    if self.in_braces() {
                        return Err(self.error(
                            start,
                            start + 1,
                            format!("unexpected character inside braces: '{}'", char::from(byte)),
                        ));
                    }
                    self.at += 1;
                    self.open.push(byte);
                    self.push(Kind::Mark(byte), start);
                }
                b')' | b']' | b'}' => self.close(byte)?,
                b',' | b'@' => {
                    self.at += 1;
                    self.push(Kind::Mark(byte), start);
                }
                b':' if self.open.last() == Some(&b'[') => {
                    self.at += 1;
                    self.push(Kind::Mark(byte), start);
                }
                b'0'..=b'9' => self.number()?,
                b'.' if self.peek(1).is_some_and(|next| next.is_ascii_digit()) => self.number()?,
                byte if is_word_start(byte) || byte == b':' => self.word(),
                _ => self.operator()?,
            }
        }
        if let Some(mark) = self.open.last() {
            let what = match mark {
                b'(' => "unclosed left parenthesis",
                b'[' => "unclosed left bracket",
                _ => "unexpected end of input inside braces",
            };
            return Err(self.error(self.at, self.at, what));
        }
        let end = self.at;
        self.push(Kind::End, end);
        Ok(())
    }

    fn close(&mut self, byte: u8) -> Result<(), ParseError> {
        let start = self.at;
        if self.in_braces() && byte != b'}' {
            let what = format!("unexpected character inside braces: '{}'", char::from(byte));
            return Err(self.error(start, start + 1, what));
        }
        let opens = match byte {
            b')' => b'(',
            b']' => b'[',
            _ => b'{',
        };
        match self.open.pop() {
            Some(open) if open == opens => {}
            _ => {
                let (start, what) = match byte {
                    // As there, where it has been read by then.
                    b')' => (start + 1, "unexpected right parenthesis ')'"),
                    b']' => (start, "unexpected right bracket ']'"),
                    _ => (start, "unexpected character: '}'"),
                };
                return Err(self.error(start, self.at + 1, what));
            }
        }
        self.at += 1;
        self.push(Kind::Mark(byte), start);
        Ok(())
    }

    fn word(&mut self) {
        let start = self.at;
        let in_braces = self.in_braces();
        while self.peek(0).is_some_and(|byte| {
            is_word_start(byte) || byte.is_ascii_digit() || (byte == b':' && !in_braces)
        }) {
            self.at += 1;
        }
        if self.at == start {
            // A colon where none may be; the parser says so.
            self.at += 1;
        }
        let word = self.text.get(start..self.at).unwrap_or_default().to_owned();
        let kind = match word.to_ascii_lowercase().as_str() {
            "inf" if !in_braces => Kind::Number(f64::INFINITY),
            "nan" if !in_braces => Kind::Number(f64::NAN),
            _ => Kind::Word(word),
        };
        self.push(kind, start);
    }

    /// A number or a duration.
    fn number(&mut self) -> Result<(), ParseError> {
        let start = self.at;
        if self.peek(0) == Some(b'0') && matches!(self.peek(1), Some(b'x' | b'X')) {
            self.at += 2;
            while self
                .peek(0)
                .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            {
                self.at += 1;
            }
            let digits = self.text.get(start + 2..self.at).unwrap_or_default();
            let digits: String = digits.chars().filter(|digit| *digit != '_').collect();
            // As there: what 64 bits with a sign do not hold is none.
            let Ok(number) = i64::from_str_radix(&digits, 16) else {
                return Err(self.bad_number(start));
            };
            self.push(Kind::Number(number as f64), start);
            return Ok(());
        }
        let digits = |lexer: &mut Self| {
            while lexer
                .peek(0)
                .is_some_and(|byte| byte.is_ascii_digit() || byte == b'_')
            {
                lexer.at += 1;
            }
        };
        digits(self);
        if self.peek(0) == Some(b'.') {
            self.at += 1;
            digits(self);
        }
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.peek(1), Some(b'+' | b'-')));
            if self
                .peek(1 + sign)
                .is_some_and(|byte| byte.is_ascii_digit())
            {
                self.at += 1 + sign;
                digits(self);
            }
        }
        if self
            .peek(0)
            .is_some_and(|byte| is_word_start(byte) || byte.is_ascii_digit())
        {
            while self
                .peek(0)
                .is_some_and(|byte| is_word_start(byte) || byte.is_ascii_digit())
            {
                self.at += 1;
            }
            let text = self.text.get(start..self.at).unwrap_or_default();
            let Some(ms) = duration(text) else {
                return Err(self.bad_number(start));
            };
            self.push(Kind::Duration(ms), start);
            return Ok(());
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        let text: String = text.chars().filter(|one| *one != '_').collect();
        // A whole number that begins with 0 is octal where it can be, as in Go.
        let octal = text
            .strip_prefix('0')
            .and_then(|digits| i64::from_str_radix(digits, 8).ok());
        match octal.map_or_else(|| text.parse::<f64>(), |octal| Ok(octal as f64)) {
            Ok(number) if number.is_finite() => self.push(Kind::Number(number), start),
            Ok(_) => {
                let what = format!("error parsing number: {text:?} is out of range");
                return Err(self.error(start, self.at, what));
            }
            Err(_) => return Err(self.bad_number(start)),
        }
        Ok(())
    }

    fn bad_number(&self, start: usize) -> ParseError {
        let text = self.text.get(start..self.at).unwrap_or_default();
        self.error(
            start,
            self.at,
            format!("bad number or duration syntax: {text:?}"),
        )
    }

    fn quoted(&mut self, mark: u8) -> Result<(), ParseError> {
        let start = self.at;
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let Some(byte) = self.peek(0) else {
                return Err(self.error(start, self.at, "unterminated quoted string"));
            };
            self.at += 1;
            match byte {
                _ if byte == mark => break,
                b'\n' if mark != b'`' => {
                    return Err(self.error(start, self.at, "unterminated quoted string"));
                }
                b'\\' if mark != b'`' => self.escape(mark, &mut bytes)?,
                _ => bytes.push(byte),
            }
        }
        let Ok(text) = String::from_utf8(bytes) else {
            return Err(self.error(start, self.at, "a string that is not UTF-8"));
        };
        self.push(Kind::Text(text), start);
        Ok(())
    }

    /// An escape as in Go (The Go Programming Language Specification, "Rune literals").
    fn escape(&mut self, mark: u8, bytes: &mut Vec<u8>) -> Result<(), ParseError> {
        let start = self.at - 1;
        let unknown = |lexer: &Self| {
            lexer.error(
                start,
                (lexer.at + 1).min(lexer.bytes.len()),
                "unknown escape sequence",
            )
        };
        let Some(byte) = self.peek(0) else {
            return Err(self.error(start, self.at, "escape sequence not terminated"));
        };
        let plain = match byte {
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'\\' => b'\\',
            _ if byte == mark => mark,
            b'x' | b'u' | b'U' | b'0'..=b'7' => {
                let (skip, length, radix) = match byte {
                    b'x' => (1, 2, 16),
                    b'u' => (1, 4, 16),
                    b'U' => (1, 8, 16),
                    _ => (0, 3, 8),
                };
                let from = self.at + skip;
                let number = self
                    .text
                    .get(from..from + length)
                    .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
                    .and_then(|digits| u32::from_str_radix(digits, radix).ok());
                let Some(number) = number else {
                    return Err(unknown(self));
                };
                self.at = from + length;
                if matches!(byte, b'u' | b'U') {
                    let Some(one) = char::from_u32(number) else {
                        return Err(self.error(
                            start,
                            self.at,
                            "escape sequence is an invalid Unicode code point",
                        ));
                    };
                    bytes.extend_from_slice(one.encode_utf8(&mut [0; 4]).as_bytes());
                } else {
                    let Ok(one) = u8::try_from(number) else {
                        return Err(unknown(self));
                    };
                    bytes.push(one);
                }
                return Ok(());
            }
            _ => return Err(unknown(self)),
        };
        self.at += 1;
        bytes.push(plain);
        Ok(())
    }

    fn operator(&mut self) -> Result<(), ParseError> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        if self.in_braces() {
            for one in ["!=", "!~", "=~", "="] {
                if rest.starts_with(one.as_bytes()) {
                    self.at += one.len();
                    self.push(Kind::Match(one), start);
                    return Ok(());
                }
            }
        } else {
            const OPERATORS: [&str; 13] = [
                "==", "!=", ">=", "<=", "=~", "!~", "+", "-", "*", "/", "%", "^", ">",
            ];
            for one in OPERATORS.into_iter().chain(["<"]) {
                if rest.starts_with(one.as_bytes()) {
                    self.at += one.len();
                    self.push(Kind::Operator(one), start);
                    return Ok(());
                }
            }
        }
        let one = self
            .text
            .get(start..)
            .and_then(|rest| rest.chars().next())
            .unwrap_or('?');
        let place = match self.in_braces() {
            true => "unexpected character inside braces",
            false => "unexpected character",
        };
        Err(self.error(start, start + one.len_utf8(), format!("{place}: '{one}'")))
    }
}

/// Milliseconds of a duration as Prometheus writes it (`1h30m`, `90s`, `100ms`): units fall, each
/// at most once.
pub(crate) fn duration(text: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    let mut rest = text;
    let mut from = 0;
    let mut sum = 0_i64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = rest.get(..letters)?;
        let place = UNITS.iter().position(|(name, _)| *name == unit)?;
        if place < from {
            return None;
        }
        from = place + 1;
        sum = sum.checked_add(number.checked_mul(UNITS.get(place)?.1)?)?;
        rest = rest.get(letters..)?;
    }
    // As in Prometheus, whose durations are 64 bits of nanoseconds.
    (!text.is_empty() && sum <= i64::MAX / 1_000_000).then_some(sum)
}
