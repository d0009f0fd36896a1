//! The servers that are measured: how each is had, started and addressed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::setting::{PAYLOAD_BYTES, Setting, WINDOW};
use crate::{
    flags::Named,
    measured::{Pins, program},
    npm, shell,
};

/// The peer from npm.
const WS: npm::Package = npm::Package {
    name: "ws",
    version: "8.23.0",
};

/// Where distributions put nginx's modules.
const NCHAN: &[&str] = &[
    "/usr/lib/nginx/modules/ngx_nchan_module.so",
    "/usr/lib64/nginx/modules/ngx_nchan_module.so",
];

/// The floor's payloads: with these its frames are as long as Pulseboard's ticks of four metrics,
/// so that both write the same bytes. The table shows whether that still holds.
const FLOOR_BYTES: [(&str, usize); 2] = [("ws", 468), ("sse", 486)];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    Floor,
    Pulseboard,
    Nchan,
    Node,
}

impl Named for Peer {
    const ALL: &'static [(Self, &'static str)] = &[
        (Self::Floor, "floor"),
        (Self::Pulseboard, "pulseboard"),
        (Self::Nchan, "nchan"),
        (Self::Node, "node"),
    ];
}

impl Peer {
    /// What viewers open.
    pub(super) fn path(self, transport: &str) -> String {
        match self {
            Self::Floor | Self::Node | Self::Nchan => format!("/{transport}"),
            Self::Pulseboard if transport == "ws" => "/ws/metrics".to_owned(),
            Self::Pulseboard => "/events/metrics".to_owned(),
        }
    }

    /// Sees to it that it can be started.
    ///
    /// # Errors
    /// It is not installed; the text says what to install.
    pub(super) fn prepare(self) -> Result<()> {
        match self {
            Self::Floor | Self::Pulseboard => Ok(()),
            Self::Nchan => {
                nginx()?;
                nchan().map(drop)
            }
            Self::Node => {
                shell::find("node").context("node is not on the PATH")?;
                WS.install()
            }
        }
    }

    /// What starts it for `setting`, listening at `address`, with its files in `folder`.
    ///
    /// # Errors
    /// It has gone, or its configuration cannot be written.
    pub(super) fn command(
        self,
        pins: &Pins,
        setting: &Setting,
        address: &str,
        folder: &Path,
    ) -> Result<Command> {
        Ok(match self {
            Self::Floor => {
                let bytes = FLOOR_BYTES
                    .iter()
                    .find(|(transport, _)| *transport == setting.transport)
                    .map_or(PAYLOAD_BYTES, |(_, bytes)| *bytes);
                let mut command = pins.server(&program("fan_out_floor"));
                command
                    .args(["--bind", address, "--transport", &setting.transport])
                    .args(["--rate", &setting.rate.to_string()])
                    .args(["--bytes", &bytes.to_string()]);
                command
            }
            Self::Pulseboard => {
                let interval_ms = setting.interval_ms.unwrap_or(1_000 / setting.rate);
                let mut command = pins.server(&shell::server_binary());
                command
                    .env("RUST_LOG", "warn")
                    .env("MAX_CONNECTIONS", "15000")
                    .current_dir(folder)
                    .args(["--bind", address, "--source", "simulator"])
                    .args(["--data-dir", "memory"])
                    .args(["--window-size", &WINDOW.to_string()])
                    .args(["--metric-interval-ms", &interval_ms.to_string()]);
                command
            }
            Self::Nchan => {
                let file = folder.join("nginx.conf");
                fs::write(&file, nginx_conf(folder, address)?)?;
                let mut command = pins.server(&nginx()?);
                command.arg("-p").arg(folder).arg("-c").arg(&file);
                command
            }
            Self::Node => {
                let node = shell::find("node").context("node is not on the PATH")?;
                let mut command = pins.server(&node);
                command
                    .arg(shell::root().join("bench/peers/node.cjs"))
                    .arg(WS.folder())
                    .arg(address.rsplit(':').next().unwrap_or_default())
                    .arg(setting.rate.to_string())
                    .arg(PAYLOAD_BYTES.to_string());
                command
            }
        })
    }
}

fn nginx() -> Result<PathBuf> {
    // Distributions keep it where only root's path looks.
    shell::find("nginx")
        .or_else(|| Some(PathBuf::from("/usr/sbin/nginx")).filter(|path| path.is_file()))
        .context("nginx is not installed (Debian: nginx-light libnginx-mod-nchan)")
}

fn nchan() -> Result<&'static str> {
    NCHAN
        .iter()
        .copied()
        .find(|path| Path::new(path).is_file())
        .context("nginx's nchan module is not installed (Debian: libnginx-mod-nchan)")
}

/// One worker without access log; channels in shared memory, as packaged.
fn nginx_conf(folder: &Path, address: &str) -> Result<String> {
    let folder = folder.display();
    let module = nchan()?;
    Ok(format!(
        "load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
user root;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log crit;
events {{ worker_connections 19000; }}
http {{
  access_log off;
  tcp_nodelay on;
  client_body_buffer_size 128k;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen {address} backlog=4096;
    keepalive_requests 1000000;
    location = /publish {{ nchan_publisher; nchan_channel_id bench; nchan_message_buffer_length 10; }}
    location = /ws {{ nchan_subscriber websocket; nchan_channel_id bench; nchan_subscriber_first_message newest; }}
    location = /sse {{ nchan_subscriber eventsource; nchan_channel_id bench; nchan_subscriber_first_message newest; }}
  }}
}}
"
    ))
}
