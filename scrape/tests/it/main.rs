//! The file, relabelling, and targets that are scraped on loopback.

mod config;
mod exporter;
mod find;
mod relabel;
mod scraping;
mod targets;
