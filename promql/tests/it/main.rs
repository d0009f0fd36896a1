//! PromQL from the outside: what is understood, what is refused and where, and what comes out.

mod compare;
mod counted;
mod differences;
mod eval;
mod generated;
mod grammar;
mod grown;
mod memory;
mod naive;
mod notes;
mod parse;
mod prometheus;
mod rolled;
mod support;
mod tree;
