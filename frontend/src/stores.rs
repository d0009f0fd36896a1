//! What the page knows, apart from how it is drawn. Each store is cheap to clone (every reduce
//! clones it) and compares by a revision; everything costly is computed in the reducer, once.

pub mod alert;
pub mod connection;
pub mod latency;
pub mod stats;
pub mod view;
