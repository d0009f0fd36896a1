//! PromQL from the outside: what is understood, what is refused and where, and what comes out.

mod eval;
mod parse;
mod support;
