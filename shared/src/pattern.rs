//! Patterns as Prometheus reads them: RE2's syntax as Go has it (pkg.go.dev/regexp/syntax), made into
//! what the crate `regex` reads. Most say the same in both.
//!
//! What differs: a `{` that repeats nothing, a `[` within a class, `&&`, `--` and `~~` stand for
//! themselves in Go; `\d`, `\s`, `\w` and `\b` are ASCII there; `\Q…\E` quotes; and what is repeated
//! may not be repeated again.

use std::{iter::Peekable, str::Chars};

/// A pattern of Go's in the syntax of the crate `regex`; what is wrong in both is left as it is.
///
/// # Errors
/// It is wrong in Go alone.
pub fn translated(pattern: &str) -> Result<String, String> {
    let mut translation = Translation {
        rest: pattern.chars().peekable(),
        made: String::with_capacity(pattern.len()),
    };
    translation.run()?;
    Ok(translation.made)
}

struct Translation<'a> {
    rest: Peekable<Chars<'a>>,
    made: String,
}

impl Translation<'_> {
    fn run(&mut self) -> Result<(), String> {
        // Whether what was read last repeats what is before it.
        let mut repeats = false;
        while let Some(one) = self.rest.next() {
            let repetition = match one {
                '*' | '+' | '?' => Some(one.to_string()),
                '{' => self.counted(),
                _ => None,
            };
            if let Some(mut repetition) = repetition {
                // A question mark makes it take little; it is no repetition of its own.
                if let Some(lazy) = self.rest.next_if_eq(&'?') {
                    repetition.push(lazy);
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
                '\\' => self.escape(false),
                '[' => self.class(),
                '{' => self.made.push_str("\\{"),
                '(' => {
                    self.made.push('(');
                    // The question mark of a group repeats nothing.
                    self.made.extend(self.rest.next_if_eq(&'?'));
                }
                one => self.made.push(one),
            }
        }
        Ok(())
    }

    /// `{2}`, `{2,}` or `{2,3}`, whose brace was read; nothing is taken where it is none.
    fn counted(&mut self) -> Option<String> {
        let ahead: String = self.rest.clone().take_while(|one| *one != '}').collect();
        let is_number =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_count = match ahead.split_once(',') {
            None => is_number(&ahead),
            Some((least, "")) => is_number(least),
            Some((least, most)) => is_number(least) && is_number(most),
        };
        // The brace that closes is there, too.
        let is_closed = self.rest.clone().nth(ahead.chars().count()) == Some('}');
        (is_count && is_closed).then(|| {
            for _ in 0..=ahead.chars().count() {
                self.rest.next();
            }
            format!("{{{ahead}}}")
        })
    }

    /// What follows a backslash.
    fn escape(&mut self, in_class: bool) {
        let Some(one) = self.rest.next() else {
            self.made.push('\\');
            return;
        };
        let class = match one.to_ascii_lowercase() {
            'd' => Some("0-9"),
            's' => Some(r"\t\n\x0C\r "),
            'w' => Some("0-9A-Za-z_"),
            _ => None,
        };
        match (class, one) {
            (Some(members), 'd' | 's' | 'w') if in_class => self.made.push_str(members),
            (Some(members), 'd' | 's' | 'w') => self.made.push_str(&format!("[{members}]")),
            (Some(members), _) => self.made.push_str(&format!("[^{members}]")),
            (None, 'Q') if !in_class => self.quotation(),
            (None, 'b') if !in_class => self.made.push_str(r"(?-u:\b)"),
            // Ends of words to the other library.
            (None, '<' | '>') => self.made.push(one),
            (None, one) => {
                self.made.push('\\');
                self.made.push(one);
            }
        }
    }

    /// `\Q` was read: all up to `\E` stands for itself.
    fn quotation(&mut self) {
        let mut text = String::new();
        while let Some(one) = self.rest.next() {
            if one == '\\' && self.rest.next_if_eq(&'E').is_some() {
                break;
            }
            text.push(one);
        }
        for one in text.chars() {
            if one.is_ascii_punctuation() && !matches!(one, '<' | '>') {
                self.made.push('\\');
            }
            self.made.push(one);
        }
    }

    /// A class whose bracket was read, up to the one that closes it.
    fn class(&mut self) {
        self.made.push('[');
        self.made.extend(self.rest.next_if_eq(&'^'));
        let (mut is_first, mut after_minus) = (true, false);
        while let Some(one) = self.rest.next() {
            let was_minus = std::mem::take(&mut after_minus);
            match one {
                ']' if !is_first => {
                    self.made.push(']');
                    return;
                }
                '\\' => self.escape(true),
                '[' if self.rest.peek() == Some(&':') => self.named(),
                '-' if is_first || was_minus => self.made.push_str("\\-"),
                '-' => {
                    after_minus = true;
                    self.made.push('-');
                }
                ']' | '[' | '&' | '~' => {
                    self.made.push('\\');
                    self.made.push(one);
                }
                one => self.made.push(one),
            }
            is_first = false;
        }
    }

    /// `[:alpha:]`, or a bracket that stands for itself.
    fn named(&mut self) {
        let ahead: String = self.rest.clone().skip(1).take(9).collect();
        let name = ahead.split_once(":]").map(|(name, _)| name);
        let is_name = |name: &str| {
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'^')
        };
        match name.filter(|name| is_name(name)) {
            None => self.made.push_str("\\["),
            Some(name) => {
                for _ in 0..name.len() + 3 {
                    self.rest.next();
                }
                self.made.push_str(&format!("[:{name}:]"));
            }
        }
    }
}
