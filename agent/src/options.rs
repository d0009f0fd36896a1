//! What an agent is started with.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use pulseboard_scrape::Config;

use crate::buffer::Limits;

/// Where local applications are listened to; loopback addresses alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// StatsD and DogStatsD, UDP.
    pub statsd: Option<SocketAddr>,
    /// OpenTelemetry over HTTP.
    pub otlp: Option<SocketAddr>,
    /// OpenTelemetry over gRPC.
    pub otlp_grpc: Option<SocketAddr>,
}

/// What an agent is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The hub, such as `https://hub.example.org:3000`; `/api/v1/write` is added.
    pub to: String,
    /// What it is shown.
    pub token: Option<String>,
    /// A file with that, read again when it changes.
    pub token_file: Option<PathBuf>,
    /// Who signs the hub's certificate, in place of those that this machine believes; read again
    /// when it changes.
    pub ca_file: Option<PathBuf>,
    /// The tenant, for a token that is bound to none.
    pub tenant: Option<String>,
    /// What this machine is called in the label `instance`.
    pub instance: String,
    /// Time between two moments.
    pub interval: Duration,
    /// What to scrape at first, and which labels all that is sent gets.
    pub scrape: Option<Config>,
    /// Where local applications are listened to.
    pub local: Local,
    /// Where the log is; the caller has locked it.
    pub folder: PathBuf,
    /// How much is kept for a hub that is away.
    pub limits: Limits,
}
