//! What is wrong with a template, and where.

use crate::print::quoted;

/// A template that cannot be read, or that failed while it was rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template{}:{line}:{column}: {message}", shown(.name))]
pub struct Error {
    /// Of the template; empty for a text that has none.
    pub name: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// In Go's words where people know them.
    pub message: String,
    /// Bytes before it in its line.
    before: usize,
    /// The template that ran, and what of it did; of one that was read.
    executing: Option<(String, String)>,
}

fn shown(name: &str) -> String {
    if name.is_empty() {
        String::new()
    } else {
        format!(": {name}")
    }
}

/// Where a byte of a text stands: line and column, both from 1.
pub(crate) fn place(text: &str, at: usize) -> (usize, usize) {
    let mut end = at.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().count() + 1)
}

impl Error {
    /// An error at a byte of a text.
    pub(crate) fn at(name: &str, text: &str, at: usize, message: impl Into<String>) -> Self {
        let (line, column) = place(text, at);
        let start = text.get(..at).and_then(|text| text.rfind('\n'));
        Self {
            name: name.to_owned(),
            line,
            column,
            message: message.into(),
            before: at - start.map_or(0, |newline| newline + 1),
            executing: None,
        }
    }

    pub(crate) fn executing(self, name: &str, what: String) -> Self {
        Self {
            executing: Some((name.to_owned(), what)),
            ..self
        }
    }

    /// As Go says it of a template that is called `name` and has `more` bytes in front of its first
    /// line.
    #[must_use]
    pub fn as_go(&self, name: &str, more: usize) -> String {
        let (line, message) = (self.line, &self.message);
        let Some((inner, what)) = &self.executing else {
            return format!("template: {name}:{line}: {message}");
        };
        let before = self.before + if line == 1 { more } else { 0 };
        let inner = match inner.as_str() {
            "" => name,
            inner => inner,
        };
        let inner = quoted(inner, '"', false);
        match what.as_str() {
            "" => format!("template: {name}:{line}:{before}: executing {inner}: {message}"),
            what => {
                format!(
                    "template: {name}:{line}:{before}: executing {inner} at <{what}>: {message}"
                )
            }
        }
    }
}
