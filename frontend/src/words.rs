//! The page's vocabulary: what a thing is called, everywhere, in one table.
//!
//! A word stands here if it is said in more than one place, or if another place could come to say
//! it otherwise. Figures, units and times are in [`crate::format`]: a figure and its unit have a
//! space between them, thousands are parted by a thin place and not by commas.

/// A stretch of a chart for which the server has nothing.
pub const NO_DATA: &str = "no data";
/// A stretch that has been asked for.
pub const LOADING: &str = "loading";
/// A stretch that was asked for in vain.
pub const NOT_LOADED: &str = "not loaded";
