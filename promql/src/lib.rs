//! PromQL: parsed with positions, checked, printed, and evaluated over a [`Storage`] that is given.
//! Pure: no clock, no I/O, no threads.
//!
//! ```text
//! text ──lex──▶ tokens ──parse──▶ tree, checked ──eval──▶ columns, one number a step ──▶ Answer
//!                                   │                       ▲
//!                                   └──print──▶ text        └── Storage: samples of a stretch
//! ```
//!
//! The semantics are those of Prometheus 3: ranges and look-back are open to the left. Everything
//! that is stable there is here; what is experimental is refused by name
//! ([`functions::EXPERIMENTAL`]).
//!
//! | module | what it is |
//! |---|---|
//! | [`mod@parse`] | operator precedence, bounded length and depth; errors with line and column |
//! | [`pattern`] | patterns as Go reads them |
//! | [`ast`], [`functions`] | the tree, and what each function takes |
//! | [`mod@print`] | the tree as text: one line, or pretty |
//! | [`storage`] | where samples come from, and who says whether to go on |
//! | [`tree`] | the tree as JSON |
//! | [`notes`] | warnings and infos beside an answer |
//! | [`eval`] | the evaluation, series by series in columns |
//! | [`labels`] | what names a series |
//! | `rollup` | what functions see in rollups, where samples are gone |
//! | `types` | scalar, vector, matrix, string |

pub mod ast;
pub mod error;
pub mod eval;
pub mod functions;
pub mod labels;
mod lex;
pub mod notes;
pub mod parse;
pub mod pattern;
pub mod print;
mod rollup;
pub mod storage;
pub mod texts;
pub mod tree;
mod types;

pub use ast::Expr;
pub use error::{ParseError, Span};
pub use eval::{Answer, Options, instant, range};
pub use labels::Labels;
pub use notes::Notes;
pub use parse::{parse, parse_any_selector, parse_selector};
pub use storage::{EvalError, Guard, Named, Rolled, Rollup, Samples, Storage};
pub use texts::Texts;

/// Milliseconds of a duration such as `1h30m`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<i64> {
    lex::duration(text)
}
