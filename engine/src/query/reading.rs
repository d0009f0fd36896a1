//! How series are read for an expression: at what cost, in which order, and what of each.

use super::reader::Counting;
use crate::cost::Cost;

/// In which order series come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Of their keys as text.
    Key,
    /// As they lie in memory, which is faster where they are many.
    Any,
}

/// What is asked for of each series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All samples of the stretch.
    All,
    /// The newest, with or without those before it.
    Newest,
}

/// How series are read for an expression.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// What it may cost.
    pub cost: &'a Cost,
    /// Which samples count.
    pub counting: Counting,
    /// In which order series come.
    pub order: Order,
    /// What of each is read.
    pub wanted: Wanted,
}
