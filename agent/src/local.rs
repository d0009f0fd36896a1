//! What applications on this machine send to the agent, put into its log like the rest: StatsD, and
//! OpenTelemetry over HTTP and gRPC. Loopback alone: nobody is asked who they are.
//!
//! | file | what it is |
//! |---|---|
//! | `statsd` | datagrams, added up |
//! | `otlp` | requests and calls, answered when they are in the log |

mod otlp;
mod statsd;

use std::{net::SocketAddr, sync::Arc};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{error::AgentError, options::Local, scraping::Scraped};

/// Where local applications are listened to; taken before anything runs.
#[derive(Debug)]
pub(crate) struct Doors {
    statsd: Option<tokio::net::UdpSocket>,
    http: Option<tokio::net::TcpListener>,
    grpc: Option<tokio::net::TcpListener>,
}

impl Doors {
    pub(crate) fn open(local: Local) -> Result<Self, AgentError> {
        let told = |name: &'static str| {
            move |error: std::io::Error| AgentError::Listen {
                name,
                why: error.to_string(),
            }
        };
        let all = [
            ("--local-statsd", local.statsd),
            ("--local-otlp", local.otlp),
            ("--local-otlp-grpc", local.otlp_grpc),
        ];
        for (name, address) in all {
            if let Some(address) = address
                && !address.ip().to_canonical().is_loopback()
            {
                return Err(AgentError::Listen {
                    name,
                    why: format!(
                        "{address} is no loopback address; nobody is asked who they are there, so it is for applications on this machine alone"
                    ),
                });
            }
        }
        let udp = |address: SocketAddr| {
            let socket = std::net::UdpSocket::bind(address)?;
            socket.set_nonblocking(true)?;
            tokio::net::UdpSocket::from_std(socket)
        };
        let tcp = |address: SocketAddr| {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            tokio::net::TcpListener::from_std(listener)
        };
        Ok(Self {
            statsd: local
                .statsd
                .map(udp)
                .transpose()
                .map_err(told("--local-statsd"))?,
            http: local
                .otlp
                .map(tcp)
                .transpose()
                .map_err(told("--local-otlp"))?,
            grpc: local
                .otlp_grpc
                .map(tcp)
                .transpose()
                .map_err(told("--local-otlp-grpc"))?,
        })
    }

    /// Listens until the agent stops.
    pub(crate) fn serve(self, sink: &Arc<Scraped>, tasks: &TaskTracker, stop: &CancellationToken) {
        if let Some(socket) = self.statsd {
            tasks.spawn(statsd::run(Arc::clone(sink), socket, stop.clone()));
        }
        if self.http.is_none() && self.grpc.is_none() {
            return;
        }
        let otlp = otlp::Taking::new(sink);
        if let Some(listener) = self.http {
            tasks.spawn(otlp::run(Arc::clone(&otlp), listener, false, stop.clone()));
        }
        if let Some(listener) = self.grpc {
            tasks.spawn(otlp::run(otlp, listener, true, stop.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
