//! A real server on a port of its own, acted on through its public endpoints. One file an endpoint; the
//! vocabulary is in `support`.

mod access;
mod agents;
mod alerts;
mod chat;
mod conformance;
mod cost;
mod cuts;
mod datadog;
mod direct;
mod docs;
mod endpoints;
mod examples;
mod field;
mod follow;
mod graphite;
mod health;
mod hostile;
mod late;
mod limits;
mod login;
mod metrics;
mod node;
mod operator;
mod origin;
mod own_metrics;
mod prom;
mod push;
mod push_group;
mod requests;
mod restart;
mod rooms;
mod scraping;
mod series;
mod shares;
mod shutdown;
mod slow;
mod stats;
mod support;
mod tickets;
mod tokens;
mod track;
mod transfer;

mod watch;
mod ws_metrics;
