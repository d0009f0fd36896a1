//! Go's `text/template` and `html/template`, bounded in steps, bytes and depth: what rules and
//! notifications say. Pure: no clock, no I/O.
//!
//! [`Set`] holds named templates and renders a text with them. What a text may call beside the
//! functions that Go has by itself comes through [`Functions`]; [`prometheus`] and
//! [`alertmanager`] are the two sets of functions and data that people write templates for.

pub mod alertmanager;
mod builtin;
mod error;
mod escape;
mod exec;
mod functions;
mod html;
mod json;
mod kit;
mod lex;
mod methods;
mod number;
mod parse;
mod print;
pub mod prometheus;
mod set;
mod shown;
pub mod time;
mod tree;
mod value;

pub use error::Error;
pub use functions::{Functions, Limits, NoFunctions};
pub use set::Set;
pub use value::{Object, Value};
