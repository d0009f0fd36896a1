//! Every series' newest samples in memory.
//!
//! | module | what it is |
//! |---|---|
//! | [`window`] | one series' newest samples: packed blocks and an open head |
//! | [`selector`] | names series by metric name and label matchers |

pub mod selector;
pub mod window;
