//! Why an expression is not understood, and where.

use std::fmt;

/// Bytes of an expression from one place to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// Behind the last one.
    pub end: usize,
}

impl Span {
    /// An empty one.
    pub(crate) const fn at(start: usize) -> Self {
        Self { start, end: start }
    }

    /// Where it begins in a text: line and column in bytes, each from 1.
    pub(crate) fn line_and_column(self, text: &str) -> (usize, usize) {
        let before = text.as_bytes().get(..self.start).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let line_start = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        (line, before.len() - line_start + 1)
    }

    /// From the beginning of one to the end of another.
    #[must_use]
    pub fn to(self, end: Self) -> Self {
        Self {
            start: self.start,
            end: end.end,
        }
    }
}

/// What is wrong with an expression. Reads as Prometheus says it: `1:5: parse error: …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 1.
    pub column: usize,
    /// The bytes that are meant.
    pub span: Span,
    /// What is wrong.
    pub what: String,
}

impl ParseError {
    pub(crate) fn new(text: &str, span: Span, what: impl Into<String>) -> Self {
        let (line, column) = span.line_and_column(text);
        Self {
            line,
            column,
            span,
            what: what.into(),
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: parse error: {}",
            self.line, self.column, self.what
        )
    }
}

impl std::error::Error for ParseError {}
