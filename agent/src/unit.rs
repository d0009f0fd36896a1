//! The systemd unit that `pulseboard agent --print-unit` prints.

/// The unit for an agent of `program` that sends to `to`.
///
/// It may read everything of the machine and change nothing but its own folder. There is no
/// `ProtectSystem` and no `PrivateTmp`: both show the service file systems that the machine does
/// not have, and those are what it measures.
#[must_use]
pub fn unit(program: &str, to: &str) -> String {
    format!(
        "\
# /etc/systemd/system/pulseboard-agent.service
#
#   useradd --system --shell /usr/sbin/nologin pulseboard-agent
#   install -d -m 700 /etc/pulseboard && install -m 600 /dev/null /etc/pulseboard/agent.token
#   (put the token into that file, then)
#   systemctl daemon-reload && systemctl enable --now pulseboard-agent
#
# For the names of containers: usermod -aG docker pulseboard-agent; note that who may speak to
# Docker may do everything on this machine.

[Unit]
Description=Pulseboard agent
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={program} agent --to {to} --token-file %d/token --instance %H --data-dir %S/pulseboard-agent
LoadCredential=token:/etc/pulseboard/agent.token
User=pulseboard-agent
StateDirectory=pulseboard-agent
StateDirectoryMode=0700
Restart=always
RestartSec=2
Nice=5
MemoryMax=128M
TasksMax=32
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
LockPersonality=yes
MemoryDenyWriteExecute=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
"
    )
}
