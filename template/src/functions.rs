//! What a template may call, and how much it may do.

use crate::value::Value;

/// The functions of one rendering beside Go's own.
pub trait Functions {
    /// `None`: there is no such function.
    fn call(&mut self, name: &str, arguments: &[Value]) -> Option<Result<Value, String>>;

    /// Whether a template may name it. A name that is not here is refused before anything runs.
    fn has(&self, name: &str) -> bool;

    /// What a call takes of [`Limits::steps`], beside one for each 64 bytes of text among its
    /// arguments.
    fn cost(&self, name: &str, arguments: &[Value]) -> u64 {
        let _ = (name, arguments);
        1
    }
}

/// Only Go's own functions.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFunctions;

impl Functions for NoFunctions {
    fn call(&mut self, _: &str, _: &[Value]) -> Option<Result<Value, String>> {
        None
    }

    fn has(&self, _: &str) -> bool {
        false
    }
}

/// How much one rendering may do before it ends with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Nodes that are visited, arguments, values that are printed.
    pub steps: u64,
    /// Of the text that comes out, and of each text in between.
    pub output_bytes: usize,
    /// Of constructs and of `template` calls within each other.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            steps: 100_000,
            output_bytes: 64 * 1024,
            depth: 100,
        }
    }
}
