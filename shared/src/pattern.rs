//! Patterns as Prometheus reads them: RE2's syntax as Go has it (pkg.go.dev/regexp/syntax), made
//! into what the crate `regex` reads. Most say the same in both.
//!
//! What differs: a `{` that repeats nothing, a `[` within a class, `&&`, `--` and `~~` stand for
//! themselves in Go; `\d`, `\s`, `\w` and `\b` are ASCII there; `\Q…\E` quotes; `\101` is a
//! character by its octal number; `\p{…}` names a script or a category alone; and what is repeated
//! may not be repeated again. What the other library has beyond Go (`(?x)`, `(?u)`, `\u`,
//! `\b{start}`) is refused.
//!
//! All takes time in proportion to the pattern's length.

/// What `{…}` may say at most, as in Go.
const REPEATED_MAX: u32 = 1_000;

/// Categories of characters. Others of the other library's are none in Go, or are other characters.
const CATEGORIES: [&str; 37] = [
    "C", "Cc", "Cf", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N",
    "Nd", "Nl", "No", "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So",
    "Z", "Zl", "Zp", "Zs", "Any",
];

/// Classes such as `[:alpha:]`.
const NAMED: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// A pattern of Go's in the syntax of the crate `regex`; some of what is wrong in both is left as
/// it is.
///
/// # Errors
/// It is wrong in Go.
pub fn translated(pattern: &str) -> Result<String, String> {
    let mut translation = Translation {
        last_named: pattern.rfind(":]").map(|at| pattern.len() - at),
        rest: pattern,
        made: String::with_capacity(pattern.len()),
        depth: 0,
    };
    translation.run()?;
    Ok(translation.made)
}

/// The texts of `one|two|three`, or of `(one|two)`, where each of them stands for itself; of a
/// pattern that is [`translated`].
#[must_use]
pub fn words(translated: &str) -> Option<Vec<String>> {
    let inner = translated
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
        .map(|rest| rest.strip_prefix("?:").unwrap_or(rest))
        .filter(|rest| !rest.ends_with('\\'))
        .unwrap_or(translated);
    let mut words = Vec::new();
    let mut word = String::new();
    let mut rest = inner.chars();
    while let Some(one) = rest.next() {
        match one {
            '|' => words.push(std::mem::take(&mut word)),
            // What follows is a letter where it means something else.
            '\\' => word.push(rest.next().filter(char::is_ascii_punctuation)?),
            '.' | '+' | '*' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' => return None,
            one => word.push(one),
        }
    }
    words.push(word);
    Some(words)
}

struct Translation<'a> {
    rest: &'a str,
    made: String,
    /// Groups that are open.
    depth: usize,
    /// How long the rest is where the last name of a class ends.
    last_named: Option<usize>,
}

type Translated<T> = Result<T, String>;

impl<'a> Translation<'a> {
    fn take(&mut self) -> Option<char> {
        let one = self.rest.chars().next()?;
        self.rest = self.rest.get(one.len_utf8()..).unwrap_or_default();
        Some(one)
    }

    fn take_if(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// As many as are so.
    fn take_while(&mut self, is_so: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|one| !is_so(one));
        let (taken, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn run(&mut self) -> Translated<()> {
        // Whether what was read last repeats what is before it.
        let mut repeats = false;
        while let Some(one) = self.take() {
            let repetition = match one {
                '*' | '+' | '?' => Some(one.to_string()),
                '{' => self.counted()?,
                _ => None,
            };
            if let Some(mut repetition) = repetition {
                // A question mark makes it take little; it is no repetition of its own.
                if self.take_if("?") {
                    repetition.push('?');
                }
                if repeats {
                    return Err(format!(
                        "invalid nested repetition operator: `{repetition}`"
                    ));
                }
                self.made.push_str(&repetition);
                repeats = true;
                continue;
            }
            repeats = false;
            match one {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '{' => self.made.push_str("\\{"),
                '(' => self.group()?,
                ')' => {
                    // By itself it would close what anchors the pattern.
                    self.depth = self.depth.checked_sub(1).ok_or("unexpected ): `)`")?;
                    self.made.push(')');
                }
                one => self.made.push(one),
            }
        }
        Ok(())
    }

    /// `{2}`, `{2,}` or `{2,3}`, whose brace was read; nothing is taken where it is none.
    fn counted(&mut self) -> Translated<Option<String>> {
        let before = self.rest;
        let inside = self.take_while(|one| one.is_ascii_digit() || one == ',');
        let is_number = |text: &str| {
            let is_whole = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            is_whole && (text.len() == 1 || !text.starts_with('0'))
        };
        let (least, most) = inside.split_once(',').unwrap_or((inside, inside));
        let is_count = is_number(least) && (most.is_empty() || is_number(most));
        if !is_count || !self.take_if("}") {
            self.rest = before;
            return Ok(None);
        }
        let number = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
        let is_taken = number(least) <= REPEATED_MAX
            && (most.is_empty() || (number(least)..=REPEATED_MAX).contains(&number(most)));
        match is_taken {
            true => Ok(Some(format!("{{{inside}}}"))),
            false => Err(format!("invalid repeat count: `{{{inside}}}`")),
        }
    }

    /// A group whose bracket was read, up to what is in it.
    fn group(&mut self) -> Translated<()> {
        self.depth += 1;
        if !self.take_if("?") {
            self.made.push('(');
            return Ok(());
        }
        let is_named = self.take_if("P<") || {
            let is_look = self.rest.starts_with("<=") || self.rest.starts_with("<!");
            !is_look && self.take_if("<")
        };
        if is_named {
            let name = self.take_while(|one| one.is_ascii_alphanumeric() || one == '_');
            if name.is_empty() || !self.take_if(">") {
                return Err(format!("invalid named capture: `(?P<{name}`"));
            }
            self.made.push_str(&format!("(?P<{name}>"));
            return Ok(());
        }
        let flags = self.take_while(|one| matches!(one, 'i' | 'm' | 's' | 'U' | '-'));
        let is_written = match flags.split_once('-') {
            Some((_, off)) => !off.is_empty() && !off.contains('-'),
            None => true,
        };
        let end = self.take();
        match end {
            Some(')') if is_written => {
                self.depth -= 1;
                // None at all say nothing.
                self.made.push_str(&match flags {
                    "" => "(?:)".to_owned(),
                    flags => format!("(?{})", distinct(flags)),
                });
                Ok(())
            }
            Some(':') if is_written => {
                self.made.push_str(&format!("(?{}:", distinct(flags)));
                Ok(())
            }
            end => {
                let end = end.map(String::from).unwrap_or_default();
                Err(format!(
                    "invalid or unsupported Perl syntax: `(?{flags}{end}`"
                ))
            }
        }
    }

    /// What follows a backslash outside of a class.
    fn escape(&mut self) -> Translated<()> {
        match self.rest.chars().next() {
            Some('Q') => {
                self.take();
                let (text, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
                self.rest = rest;
                text.chars().for_each(|one| self.literal(one));
                return Ok(());
            }
            Some(one @ ('A' | 'z')) => {
                self.take();
                self.made.extend(['\\', one]);
                return Ok(());
            }
            Some(one @ ('b' | 'B')) => {
                self.take();
                self.made.push_str(&format!(r"(?-u:\{one})"));
                return Ok(());
            }
            _ => {}
        }
        if let Some(members) = self.members()? {
            self.made.push_str(&members.bracketed());
            return Ok(());
        }
        let one = self.escaped()?;
        self.literal(one);
        Ok(())
    }

    /// `\d`, `\pL` and the like, whose backslash was read.
    fn members(&mut self) -> Translated<Option<Members>> {
        let Some(one) = self.rest.chars().next() else {
            return Ok(None);
        };
        let ascii = match one.to_ascii_lowercase() {
            'd' => "0-9",
            's' => r"\t\n\x0C\r ",
            'w' => "0-9A-Za-z_",
            'p' => {
                self.take();
                return self.unicode(one == 'P').map(Some);
            }
            _ => return Ok(None),
        };
        self.take();
        Ok(Some(Members {
            of: ascii.to_owned(),
            is_negated: one.is_ascii_uppercase(),
        }))
    }

    /// `{Greek}`, `{^Lu}` or `L`, before which stood `\p` or `\P`.
    fn unicode(&mut self, is_negated: bool) -> Translated<Members> {
        let wrong = |name: &str| format!("invalid character class range: `\\p{name}`");
        let name = match self.take_if("{") {
            true => {
                let found = self.rest.split_once('}');
                let (name, rest) = found.ok_or_else(|| wrong("{"))?;
                self.rest = rest;
                name.to_owned()
            }
            false => self.take().map(String::from).ok_or_else(|| wrong(""))?,
        };
        let (plain, is_negated) = match name.strip_prefix('^') {
            Some(plain) => (plain, !is_negated),
            None => (name.as_str(), is_negated),
        };
        let of = match plain {
            // Without what is assigned to nothing.
            "C" => r"\p{Cc}\p{Cf}\p{Co}".to_owned(),
            // Halves of characters, of which a text has none.
            "Cs" => {
                return Ok(Members {
                    of: r"\x{0}-\x{10FFFF}".to_owned(),
                    is_negated: !is_negated,
                });
            }
            plain if CATEGORIES.contains(&plain) => format!("\\p{{{plain}}}"),
            plain => {
                let is_name = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
                if plain.len() < 2 || !plain.bytes().all(is_name) {
                    return Err(wrong(&format!("{{{name}}}")));
                }
                format!("\\p{{sc={plain}}}")
            }
        };
        Ok(Members { of, is_negated })
    }

    /// The one character that is meant by what follows a backslash.
    fn escaped(&mut self) -> Translated<char> {
        let Some(one) = self.take() else {
            return Err("trailing backslash at end of expression: ``".to_owned());
        };
        let wrong = || format!("invalid escape sequence: `\\{one}`");
        match one {
            'a' => Ok('\x07'),
            'f' => Ok('\x0C'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'v' => Ok('\x0B'),
            'x' => {
                let digits = match self.take_if("{") {
                    true => {
                        let digits = self.take_while(|one| one.is_ascii_hexdigit());
                        match self.take_if("}") {
                            true => digits,
                            false => "",
                        }
                    }
                    false => {
                        let two = self.rest.get(..2).unwrap_or_default();
                        self.rest = self.rest.get(two.len()..).unwrap_or_default();
                        // A sign is no digit.
                        two.strip_prefix('+').map_or(two, |_| "")
                    }
                };
                let number = u32::from_str_radix(digits, 16).map_err(|_no_number| wrong())?;
                char::from_u32(number).ok_or_else(wrong)
            }
            // One digit alone would stand for what a group has taken, but for 0.
            '0'..='7' => {
                let mut number = one.to_digit(8).unwrap_or_default();
                let next = |rest: &str| rest.chars().next().and_then(|digit| digit.to_digit(8));
                if one != '0' && next(self.rest).is_none() {
                    return Err(wrong());
                }
                for _ in 0..2 {
                    let Some(digit) = next(self.rest) else { break };
                    self.take();
                    number = number * 8 + digit;
                }
                char::from_u32(number).ok_or_else(wrong)
            }
            one if one.is_ascii() && !one.is_ascii_alphanumeric() => Ok(one),
            _ => Err(wrong()),
        }
    }

    /// A character that stands for itself.
    fn literal(&mut self, one: char) {
        match one {
            '<' | '>' => self.made.push(one),
            one if one.is_ascii_punctuation() => self.made.extend(['\\', one]),
            one if one.is_control() => self.made.push_str(&format!("\\x{{{:X}}}", u32::from(one))),
            one => self.made.push(one),
        }
    }

    /// A class whose bracket was read, up to the one that closes it.
    fn class(&mut self) -> Translated<()> {
        self.made.push('[');
        if self.take_if("^") {
            self.made.push('^');
        }
        let mut is_first = true;
        loop {
            if !is_first && self.take_if("]") {
                self.made.push(']');
                return Ok(());
            }
            is_first = false;
            if self.rest.starts_with("[:") && self.named()? {
                continue;
            }
            if let Some(rest) = self.rest.strip_prefix('\\') {
                let before = std::mem::replace(&mut self.rest, rest);
                if let Some(members) = self.members()? {
                    self.made.push_str(&members.inside());
                    continue;
                }
                self.rest = before;
            }
            let first = self.member()?;
            self.literal(first);
            let mut ahead = self.rest.chars();
            // Before the bracket that closes it a minus stands for itself.
            if ahead.next() != Some('-') || matches!(ahead.next(), None | Some(']')) {
                continue;
            }
            self.take();
            let last = self.member()?;
            if last < first {
                return Err(format!("invalid character class range: `{first}-{last}`"));
            }
            self.made.push('-');
            self.literal(last);
        }
    }

    /// One character of a class.
    fn member(&mut self) -> Translated<char> {
        match self.take() {
            None => Err("missing closing ]: `[`".to_owned()),
            Some('\\') => self.escaped(),
            Some(one) => Ok(one),
        }
    }

    /// `[:alpha:]`; not taken where it is a bracket that stands for itself.
    fn named(&mut self) -> Translated<bool> {
        let ahead = self.rest.get(2..).unwrap_or_default();
        // Looked for only where there is one.
        let is_ended = self.last_named.is_some_and(|last| last <= ahead.len());
        let Some((name, rest)) = ahead.split_once(":]").filter(|_| is_ended) else {
            return Ok(false);
        };
        if !NAMED.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(format!("invalid character class range: `[:{name}:]`"));
        }
        self.made.push_str(&format!("[:{name}:]"));
        self.rest = rest;
        Ok(true)
    }
}

/// Characters of a class that has a name.
struct Members {
    of: String,
    is_negated: bool,
}

impl Members {
    /// Within a class.
    fn inside(self) -> String {
        match self.is_negated {
            true => self.bracketed(),
            false => self.of,
        }
    }

    /// By itself.
    fn bracketed(&self) -> String {
        match self.is_negated {
            true => format!("[^{}]", self.of),
            false => format!("[{}]", self.of),
        }
    }
}

/// Flags once each: the other library takes none twice.
fn distinct(flags: &str) -> String {
    let mut once = String::new();
    for flag in flags.chars() {
        if !once.contains(flag) {
            once.push(flag);
        }
    }
    once
}
