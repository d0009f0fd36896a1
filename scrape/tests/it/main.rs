//! The file, relabelling, and targets that are scraped on loopback.

mod clusters;
mod config;
mod exporter;
mod find;
mod relabel;
mod scraping;
mod targets;
