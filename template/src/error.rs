//! What is wrong with a template, and where.

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
        Self {
            name: name.to_owned(),
            line,
            column,
            message: message.into(),
        }
    }
}
