//! REST: a file a URL, each handler a few lines over the modules that know.

pub mod alerts;
pub mod body;
pub mod health;
pub mod influx;
pub mod ingested;
pub mod login;
pub mod metrics;
pub mod otlp;
pub mod prometheus;
pub mod push;
pub mod rooms;
pub mod series;
pub mod stats;
pub mod tickets;
pub mod tokens;
pub mod track;
