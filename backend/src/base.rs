//! What everybody uses and what uses nobody: the clock, files and documents of the data folder,
//! counters, JSON.

pub mod address;
pub mod aside;
pub mod clock;
pub mod data_dir;
pub mod documents;
pub mod error;
pub mod exposition;
pub mod json;
pub mod task;
pub mod telemetry;
pub mod typed;
