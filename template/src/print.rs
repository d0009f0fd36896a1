//! Values in text as Go's `fmt` writes them: `Print`, `Println` and `Printf`.

use crate::{number::float, time::duration, value::Value};

/// A text that has a bound.
#[derive(Debug)]
pub(crate) struct Sink {
    text: String,
    most: usize,
    over: bool,
}

/// A text would be longer than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

impl From<TooLong> for String {
    fn from(_: TooLong) -> Self {
        "the text is too long".to_owned()
    }
}

impl Sink {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            text: String::new(),
            most,
            over: false,
        }
    }

    pub(crate) fn push_str(&mut self, text: &str) {
        if self.over || self.text.len() + text.len() > self.most {
            self.over = true;
        } else {
            self.text.push_str(text);
        }
    }

    pub(crate) fn push(&mut self, one: char) {
        self.push_str(one.encode_utf8(&mut [0; 4]));
    }

    fn fill(&mut self, one: char, count: usize) {
        if self.text.len() + count > self.most {
            self.over = true;
        }
        if !self.over {
            self.text.extend(std::iter::repeat_n(one, count));
        }
    }

    /// Whether nothing more is taken.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    pub(crate) fn done(self) -> Result<String, TooLong> {
        if self.over {
            Err(TooLong)
        } else {
            Ok(self.text)
        }
    }
}

/// `fmt.Sprint`: a space between two of which neither is a text.
pub(crate) fn print(values: &[Value], most: usize) -> Result<String, TooLong> {
    let mut out = Sink::new(most);
    let is_text = |value: &Value| value.as_text().is_some();
    for (index, value) in values.iter().enumerate() {
        if index > 0 && !is_text(value) && !is_text(&values[index - 1]) {
            out.push(' ');
        }
        write(value, &mut out);
    }
    out.done()
}

/// `fmt.Sprintln`.
pub(crate) fn println(values: &[Value], most: usize) -> Result<String, TooLong> {
    let mut out = Sink::new(most);
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        write(value, &mut out);
    }
    out.push('\n');
    out.done()
}

/// `%v`.
pub(crate) fn write(value: &Value, out: &mut Sink) {
    Verb::new('v').write(value, out);
}

/// `fmt.Sprintf`. What does not fit together is said in the text, as Go does.
///
/// # Errors
/// The text is too long.
pub(crate) fn printf(format: &str, values: &[Value], most: usize) -> Result<String, TooLong> {
    let mut out = Sink::new(most);
    let mut arguments = Arguments {
        values,
        next: 0,
        reordered: false,
        bad_index: false,
    };
    let mut rest = format;
    while let Some(percent) = rest.find('%') {
        if out.is_over() {
            break;
        }
        out.push_str(&rest[..percent]);
        rest = directive(&rest[percent + 1..], &mut arguments, &mut out)?;
    }
    out.push_str(rest);
    if !arguments.reordered && arguments.next < values.len() {
        out.push_str("%!(EXTRA ");
        for (index, value) in values[arguments.next..].iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            if matches!(value, Value::Nil) {
                out.push_str("<nil>");
            } else {
                out.push_str(value.type_name());
                out.push('=');
                write(value, &mut out);
            }
        }
        out.push(')');
    }
    out.done()
}

/// What `printf` was given, and how far it is.
struct Arguments<'a> {
    values: &'a [Value],
    next: usize,
    reordered: bool,
    bad_index: bool,
}

impl Arguments<'_> {
    /// `[3]`: the argument that is next.
    fn index<'t>(&mut self, rest: &'t str) -> (&'t str, bool) {
        let Some(inner) = rest.strip_prefix('[') else {
            return (rest, false);
        };
        self.reordered = true;
        let Some((number, after)) = inner.split_once(']') else {
            self.bad_index = true;
            return (inner, false);
        };
        match number.parse::<usize>() {
            Ok(number) if (1..=self.values.len()).contains(&number) => {
                self.next = number - 1;
                (after, true)
            }
            _ => {
                self.bad_index = true;
                (after, true)
            }
        }
    }

    /// `*`: a width or a precision among the arguments.
    fn star(&mut self) -> Option<i64> {
        let value = self.values.get(self.next);
        self.next += usize::from(value.is_some());
        match value {
            Some(Value::Int(number)) if number.abs() <= MOST_WIDE => Some(*number),
            _ => None,
        }
    }
}

/// Go's own bound of widths and precisions.
const MOST_WIDE: i64 = 1_000_000;

/// Decimal digits at the front.
fn number(rest: &str) -> Result<(Option<usize>, &str), TooLong> {
    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
    if length == 0 {
        return Ok((None, rest));
    }
    match rest[..length].parse::<usize>() {
        Ok(number) if number <= 1_000_000 => Ok((Some(number), &rest[length..])),
        _ => Err(TooLong),
    }
}

/// One directive, after its `%`. Gives back what comes after it.
fn directive<'t>(
    mut rest: &'t str,
    arguments: &mut Arguments<'_>,
    out: &mut Sink,
) -> Result<&'t str, TooLong> {
    let mut verb = Verb::new('v');
    arguments.bad_index = false;
    while let Some(flag) = rest.chars().next() {
        match flag {
            '#' => verb.sharp = true,
            '0' => verb.zero = true,
            '+' => verb.plus = true,
            '-' => verb.minus = true,
            ' ' => verb.space = true,
            _ => break,
        }
        rest = &rest[1..];
    }
    let mut after_index;
    (rest, after_index) = arguments.index(rest);
    if let Some(after) = rest.strip_prefix('*') {
        rest = after;
        match arguments.star() {
            None => out.push_str("%!(BADWIDTH)"),
            Some(width) => {
                verb.minus |= width < 0;
                verb.width = usize::try_from(width.unsigned_abs()).ok();
            }
        }
        after_index = false;
    } else {
        let width;
        (width, rest) = number(rest)?;
        verb.width = width;
        if after_index && width.is_some() {
            // "%[3]2d" has its index in the wrong place.
            arguments.bad_index = true;
        }
    }
    if let Some(after) = rest.strip_prefix('.') {
        if after_index {
            arguments.bad_index = true;
        }
        (rest, after_index) = arguments.index(after);
        if let Some(after) = rest.strip_prefix('*') {
            rest = after;
            match arguments.star() {
                Some(precision) if precision >= 0 => {
                    verb.precision = usize::try_from(precision).ok();
                }
                Some(_) => {}
                None => out.push_str("%!(BADPREC)"),
            }
            after_index = false;
        } else {
            let precision;
            (precision, rest) = number(rest)?;
            verb.precision = Some(precision.unwrap_or(0));
        }
    }
    if !after_index {
        (rest, _) = arguments.index(rest);
    }
    let Some(letter) = rest.chars().next() else {
        out.push_str("%!(NOVERB)");
        return Ok(rest);
    };
    rest = &rest[letter.len_utf8()..];
    verb.letter = letter;
    if letter == '%' {
        out.push('%');
    } else if arguments.bad_index {
        out.push_str(&format!("%!{letter}(BADINDEX)"));
    } else if let Some(value) = arguments.values.get(arguments.next) {
        arguments.next += 1;
        verb.write(value, out);
    } else {
        out.push_str(&format!("%!{letter}(MISSING)"));
    }
    Ok(rest)
}

/// A verb and its flags.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "they are Go's five flags")]
struct Verb {
    letter: char,
    width: Option<usize>,
    precision: Option<usize>,
    sharp: bool,
    zero: bool,
    plus: bool,
    minus: bool,
    space: bool,
}

impl Verb {
    fn new(letter: char) -> Self {
        Self {
            letter,
            width: None,
            precision: None,
            sharp: false,
            zero: false,
            plus: false,
            minus: false,
            space: false,
        }
    }

    fn write(&self, value: &Value, out: &mut Sink) {
        if self.letter == 'T' {
            return self.pad(value.type_name(), out);
        }
        self.any(value, 0, out);
    }

    fn any(&self, value: &Value, depth: usize, out: &mut Sink) {
        if out.is_over() {
            return;
        }
        // Deeper values are not made; a bound that holds whatever makes them.
        if depth > 200 {
            out.over = true;
            return;
        }
        match value {
            Value::Nil if self.letter == 'v' => {
                self.pad(
                    if self.sharp {
                        "interface {}(nil)"
                    } else {
                        "<nil>"
                    },
                    out,
                );
            }
            Value::Nil => out.push_str(&format!("%!{}(<nil>)", self.letter)),
            Value::Bool(it) => match self.letter {
                't' | 'v' => self.pad(if *it { "true" } else { "false" }, out),
                _ => self.bad(value, out),
            },
            Value::Int(it) => self.int(*it, value, out),
            Value::Float(it) => self.float(*it, value, out),
            Value::Text(it) | Value::Safe(it) | Value::SafeUrl(it) => self.string(it, value, out),
            Value::Time(it) => match self.letter {
                'v' | 's' | 'q' | 'x' | 'X' => self.string(&it.shown(), value, out),
                _ => self.bad(value, out),
            },
            Value::Duration(it) => match self.letter {
                'v' if self.sharp => self.int(*it, value, out),
                'v' | 's' | 'q' | 'x' | 'X' => self.string(&duration(*it), value, out),
                _ => self.int(*it, value, out),
            },
            Value::List(items) => {
                let (open, between, close) = if self.is_source() {
                    out.push_str(value.type_name());
                    ("{", ", ", "}")
                } else {
                    ("[", " ", "]")
                };
                out.push_str(open);
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push_str(between);
                    }
                    self.any(item, depth + 1, out);
                }
                out.push_str(close);
            }
            Value::Map(items) => {
                self.map(
                    items.iter().map(|(key, item)| (key.as_ref(), item.clone())),
                    value,
                    depth,
                    out,
                );
            }
            Value::Strings(items) => {
                self.map(
                    items
                        .iter()
                        .map(|(key, item)| (key.as_ref(), Value::Text(item.clone()))),
                    value,
                    depth,
                    out,
                );
            }
            Value::Object(object) => match (self.letter, object.number()) {
                ('v' | 's', _) => self.pad(&object.text(), out),
                ('q', _) => self.string(&object.text(), value, out),
                (_, Some(number)) => self.int(number, value, out),
                _ => self.bad(value, out),
            },
        }
    }

    fn is_source(&self) -> bool {
        self.letter == 'v' && self.sharp
    }

    fn map<'a>(
        &self,
        items: impl Iterator<Item = (&'a str, Value)>,
        map: &Value,
        depth: usize,
        out: &mut Sink,
    ) {
        let (open, between, close) = if self.is_source() {
            out.push_str(map.type_name());
            ("{", ", ", "}")
        } else {
            ("map[", " ", "]")
        };
        out.push_str(open);
        for (index, (key, item)) in items.enumerate() {
            if out.is_over() {
                return;
            }
            if index > 0 {
                out.push_str(between);
            }
            self.any(&Value::text(key), depth + 1, out);
            out.push(':');
            self.any(&item, depth + 1, out);
        }
        out.push_str(close);
    }

    /// `%!d(string=text)`; width and precision hold for the value in it.
    fn bad(&self, value: &Value, out: &mut Sink) {
        out.push_str(&format!("%!{}({}=", self.letter, value.type_name()));
        let plain = Self {
            letter: 'v',
            sharp: false,
            ..*self
        };
        plain.any(value, 0, out);
        out.push(')');
    }

    fn pad(&self, text: &str, out: &mut Sink) {
        let missing = self
            .width
            .map_or(0, |width| width.saturating_sub(text.chars().count()));
        if self.minus {
            out.push_str(text);
            out.fill(' ', missing);
        } else {
            out.fill(if self.zero { '0' } else { ' ' }, missing);
            out.push_str(text);
        }
    }

    fn string(&self, text: &str, value: &Value, out: &mut Sink) {
        let cut = || match self.precision {
            None => text,
            Some(most) => text
                .char_indices()
                .nth(most)
                .map_or(text, |(end, _)| &text[..end]),
        };
        match self.letter {
            'v' if self.sharp => self.pad(&quoted(text, '"', false), out),
            'v' | 's' => self.pad(cut(), out),
            'q' if self.sharp
                && !text.contains(['`', '\u{feff}', '\u{7f}'])
                && !text.contains(|one: char| one < ' ' && one != '\t') =>
            {
                self.pad(&format!("`{}`", cut()), out);
            }
            'q' if text.len() > out.most => out.over = true,
            'q' => self.pad(&quoted(cut(), '"', self.plus), out),
            'x' | 'X' => {
                let bytes =
                    &text.as_bytes()[..self.precision.unwrap_or(text.len()).min(text.len())];
                if bytes.len() > out.most {
                    out.over = true;
                    return;
                }
                let upper = self.letter == 'X';
                let prefix = if upper { "0X" } else { "0x" };
                let mut hex = String::new();
                for (index, byte) in bytes.iter().enumerate() {
                    if self.space && index > 0 {
                        hex.push(' ');
                    }
                    if self.sharp && (index == 0 || self.space) {
                        hex.push_str(prefix);
                    }
                    hex.push_str(&if upper {
                        format!("{byte:02X}")
                    } else {
                        format!("{byte:02x}")
                    });
                }
                self.pad(&hex, out);
            }
            _ => self.bad(value, out),
        }
    }

    fn int(&self, number: i64, value: &Value, out: &mut Sink) {
        let size = number.unsigned_abs();
        let character = u32::try_from(number)
            .ok()
            .and_then(char::from_u32)
            .unwrap_or(char::REPLACEMENT_CHARACTER);
        let (digits, prefix) = match self.letter {
            'v' | 'd' => (size.to_string(), ""),
            'b' => (format!("{size:b}"), if self.sharp { "0b" } else { "" }),
            'o' => (format!("{size:o}"), if self.sharp { "0" } else { "" }),
            'O' => (format!("{size:o}"), "0o"),
            'x' => (format!("{size:x}"), if self.sharp { "0x" } else { "" }),
            'X' => (format!("{size:X}"), if self.sharp { "0X" } else { "" }),
            'c' => return self.pad(character.encode_utf8(&mut [0; 4]), out),
            'q' => return self.pad(&quoted(&character.to_string(), '\'', self.plus), out),
            'U' => {
                let mut text = format!("U+{size:04X}");
                if self.sharp {
                    text.push_str(&format!(" '{character}'"));
                }
                return self.pad(&text, out);
            }
            _ => return self.bad(value, out),
        };
        let sign = match (number < 0, self.plus, self.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        let wanted = match (self.precision, self.width) {
            (Some(0), _) if number == 0 => {
                out.fill(' ', self.width.unwrap_or(0));
                return;
            }
            (Some(precision), _) => precision,
            (None, Some(width)) if self.zero && !self.minus => width.saturating_sub(sign.len()),
            _ => 0,
        };
        if wanted > out.most {
            out.over = true;
            return;
        }
        let text = format!("{sign}{prefix}{digits:0>wanted$}");
        Self {
            zero: false,
            ..*self
        }
        .pad(&text, out);
    }

    fn float(&self, number: f64, value: &Value, out: &mut Sink) {
        let (letter, precision) = match self.letter {
            'v' => ('g', self.precision),
            'g' | 'G' | 'x' | 'X' => (self.letter, self.precision),
            'e' | 'E' | 'f' | 'F' => (self.letter, Some(self.precision.unwrap_or(6))),
            _ => return self.bad(value, out),
        };
        if precision.is_some_and(|precision| precision > out.most) {
            out.over = true;
            return;
        }
        let mut text = float(number, letter, precision);
        if !text.starts_with(['+', '-']) {
            text.insert(0, '+');
        }
        if self.space && !self.plus && text.starts_with('+') {
            text.replace_range(..1, " ");
        }
        if !number.is_finite() {
            // Neither is a number that zeros could stand before.
            let text = if number.is_nan() && !self.space && !self.plus {
                &text[1..]
            } else {
                &text
            };
            return Self {
                zero: false,
                ..*self
            }
            .pad(text, out);
        }
        if self.sharp && !self.is_source() && !matches!(letter, 'x' | 'X') {
            text = pointed(&text, letter, precision);
        }
        if self.plus || !text.starts_with('+') {
            if self.zero && !self.minus && self.width.is_some_and(|width| width > text.len()) {
                let (sign, digits) = text.split_at(1);
                out.push_str(sign);
                out.fill('0', self.width.unwrap_or(0) - text.len());
                out.push_str(digits);
                return;
            }
            self.pad(&text, out);
        } else {
            self.pad(&text[1..], out);
        }
    }
}

/// `%#g`: a point always, and zeros at the end up to the precision.
fn pointed(text: &str, letter: char, precision: Option<usize>) -> String {
    let split = text.find(['e', 'E']).unwrap_or(text.len());
    let (mantissa, tail) = text.split_at(split);
    let mut made = mantissa.to_owned();
    if !mantissa.contains('.') {
        made.push('.');
    }
    if matches!(letter, 'g' | 'G') {
        let significant = |text: &str| {
            let digits = text.trim_start_matches(['+', '-', ' ', '0', '.']);
            digits.bytes().filter(u8::is_ascii_digit).count()
        };
        let wanted = precision.unwrap_or(6).max(1);
        let mut have = significant(&made).max(usize::from(made[1..].starts_with('0')));
        while have < wanted {
            made.push('0');
            have += 1;
        }
    }
    made + tail
}

/// `strconv.Quote`; all but ASCII escaped if asked for.
pub(crate) fn quoted(text: &str, quote: char, ascii: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for one in text.chars() {
        match one {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            one if one == quote => {
                out.push('\\');
                out.push(one);
            }
            ' '..='~' => out.push(one),
            one if one < ' ' || one == '\u{7f}' => {
                out.push_str(&format!("\\x{:02x}", u32::from(one)));
            }
            one if !ascii && is_printed(one) => out.push(one),
            one if one <= '\u{ffff}' => out.push_str(&format!("\\u{:04x}", u32::from(one))),
            one => out.push_str(&format!("\\U{:08x}", u32::from(one))),
        }
    }
    out.push(quote);
    out
}

/// Whether a character is more than space or control, as Rust's own escapes see it.
fn is_printed(one: char) -> bool {
    // A mark alone is escaped there, after a letter it is not.
    let probe: String = ['a', one].iter().collect();
    !format!("{probe:?}").contains('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f(format: &str, values: &[Value]) -> String {
        printf(format, values, 1000).unwrap_or_else(|_| "too long".to_owned())
    }

    #[test]
    fn verbs_write_what_they_write_in_go() {
        let text = Value::from("a\"é\n");
        let list = Value::list([1.into(), "x".into(), Value::Nil]);
        let map = Value::strings([("b", "2"), ("a", "1")]);
        for (format, value, expected) in [
            ("%v", 1.into(), "1"),
            ("%d", 42.into(), "42"),
            ("%5d|", 42.into(), "   42|"),
            ("%-5d|", 42.into(), "42   |"),
            ("%05d", Value::Int(-42), "-0042"),
            ("%+d", 42.into(), "+42"),
            ("% d", 42.into(), " 42"),
            ("%.4d", 42.into(), "0042"),
            ("%x", 255.into(), "ff"),
            ("%#X", 255.into(), "0XFF"),
            ("%b", 5.into(), "101"),
            ("%o %[1]O", 8.into(), "10 0o10"),
            ("%c", 0x263a.into(), "☺"),
            ("%q", 39.into(), "'\\''"),
            ("%U", 0x263a.into(), "U+263A"),
            ("%s", 1.into(), "%!s(int=1)"),
            ("%.4s", 1.into(), "%!s(int=0001)"),
            ("%5s", 1.into(), "%!s(int=    1)"),
            ("%f", 1.into(), "%!f(int=1)"),
            ("%d", 1.5.into(), "%!d(float64=1.5)"),
            ("%.2f", 1.005.into(), "1.00"),
            ("%f", 1.5.into(), "1.500000"),
            ("%e", 1234.5.into(), "1.234500e+03"),
            ("%g", 1e6.into(), "1e+06"),
            ("%.4g", 1234.56.into(), "1235"),
            ("%8.2f|", 3.17159.into(), "    3.17|"),
            ("%-8.2f|", 3.17159.into(), "3.17    |"),
            ("%08.2f", Value::Float(-3.17159), "-0003.17"),
            ("%+.1f", 2.25.into(), "+2.2"),
            ("% .1f", 2.25.into(), " 2.2"),
            ("%#g", 1.0.into(), "1.00000"),
            ("%6v|", f64::NAN.into(), "   NaN|"),
            ("%06v|", f64::INFINITY.into(), "  +Inf|"),
            ("%x", 1.5.into(), "0x1.8p+00"),
            ("%t", true.into(), "true"),
            ("%v", false.into(), "false"),
            ("%d", true.into(), "%!d(bool=true)"),
            ("%s", text.clone(), "a\"é\n"),
            ("%q", text.clone(), "\"a\\\"é\\n\""),
            ("%+q", text.clone(), "\"a\\\"\\u00e9\\n\""),
            ("%#q", "a b".into(), "`a b`"),
            ("%x", "hi".into(), "6869"),
            ("% #X", "hi".into(), "0X68 0X69"),
            ("%.1s", "éa".into(), "é"),
            ("%5s|", "é".into(), "    é|"),
            ("%-5s|", "é".into(), "é    |"),
            ("%d", "a".into(), "%!d(string=a)"),
            ("%T", "a".into(), "string"),
            ("%T", 1.5.into(), "float64"),
            ("%v", list.clone(), "[1 x <nil>]"),
            ("%d", list.clone(), "[1 %!d(string=x) %!d(<nil>)]"),
            ("%v", map.clone(), "map[a:1 b:2]"),
            ("%q", map.clone(), "map[\"a\":\"1\" \"b\":\"2\"]"),
            (
                "%#v",
                map.clone(),
                "map[string]string{\"a\":\"1\", \"b\":\"2\"}",
            ),
            ("%#v", list, "[]interface {}{1, \"x\", interface {}(nil)}"),
            ("%v", Value::Nil, "<nil>"),
            ("%s", Value::Nil, "%!s(<nil>)"),
            ("%v", Value::Duration(90_000_000_000), "1m30s"),
            ("%d", Value::Duration(90), "90"),
            ("%v", Value::time(0), "1970-01-01 00:00:00 +0000 UTC"),
            ("100%%", Value::Nil, "100%%!(EXTRA <nil>)"),
            ("%z", 1.into(), "%!z(int=1)"),
            ("%", 1.into(), "%!(NOVERB)%!(EXTRA int=1)"),
            ("%[2]d", 1.into(), "%!d(BADINDEX)"),
            ("%é", 1.into(), "%!é(int=1)"),
        ] {
            assert_eq!(f(format, &[value]), expected, "{format}");
        }
    }

    #[test]
    fn arguments_are_taken_in_turn() {
        assert_eq!(f("%s-%s", &["a".into()]), "a-%!s(MISSING)");
        assert_eq!(
            f("%s", &["a".into(), 2.into(), "c".into()]),
            "a%!(EXTRA int=2, string=c)"
        );
        assert_eq!(f("%[2]s %[1]s", &["a".into(), "b".into()]), "b a");
        assert_eq!(
            f("%*d|%-*d|", &[4.into(), 1.into(), 4.into(), 2.into()]),
            "   1|2   |"
        );
        assert_eq!(f("%.*f", &[2.into(), 1.0.into()]), "1.00");
        assert_eq!(f("%*d", &["x".into(), 1.into()]), "%!(BADWIDTH)1");
        assert_eq!(
            f("%[1]*.[2]*[3]f", &[8.into(), 2.into(), 12.0.into()]),
            "   12.00"
        );
    }

    #[test]
    fn spaces_stand_between_what_is_no_text() {
        let p = |values: &[Value]| print(values, 100).unwrap_or_default();
        assert_eq!(
            p(&[1.into(), 2.into(), "a".into(), 3.into(), 4.5.into()]),
            "1 2a3 4.5"
        );
        assert_eq!(p(&["a".into(), "b".into()]), "ab");
        assert_eq!(p(&[Value::Nil, Value::Nil]), "<nil> <nil>");
        assert_eq!(
            println(&["a".into(), 1.into()], 100),
            Ok("a 1\n".to_owned())
        );
    }

    #[test]
    fn nothing_is_longer_than_its_bound() {
        for (format, value) in [
            ("%1000000000d", Value::Int(1)),
            ("%2000d", Value::Int(1)),
            ("%.2000d", Value::Int(1)),
            ("%02000d", Value::Int(1)),
            ("%.999999f", Value::Float(1.5)),
            ("%.2000g", Value::Float(1.5)),
            ("%02000f", Value::Float(1.5)),
            ("%2000s", Value::from("x")),
            ("%1000001v", Value::Nil),
        ] {
            assert_eq!(printf(format, &[value], 1000), Err(TooLong), "{format}");
        }
        let mut nested = Value::from("x");
        for _ in 0..60 {
            nested = Value::list([nested.clone(), nested]);
        }
        assert_eq!(print(&[nested], 1000), Err(TooLong));
    }
}
