//! Series in memory.
