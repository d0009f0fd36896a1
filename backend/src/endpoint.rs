//! REST: a file a subject, each handler a few lines over the modules that know.

pub mod alertmanager;
pub mod alerts;
pub mod browsers;
mod change;
pub mod datadog;
pub mod health;
pub mod incidents;
pub mod influx;
pub mod ingest_stats;
pub mod login;
pub mod maintenance;
pub mod metrics;
pub mod otlp;
pub mod own_metrics;
pub mod processes;
pub mod prom;
pub mod push;
pub mod push_group;
pub mod receivers;
pub mod rooms;
pub mod rules;
pub mod series;
pub mod stats;
pub mod stream;
pub mod tickets;
pub mod tokens;
pub mod track;
