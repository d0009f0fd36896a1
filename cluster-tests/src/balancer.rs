//! haproxy and nginx before several servers, as `deploy/` has them but for where they listen and
//! whom they ask.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::{Replica, ask, eventually, free_port, programs};

const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// How many servers the files of `deploy/` name.
const NAMED: usize = 3;

/// A balancer. Ended when dropped.
#[derive(Debug)]
pub struct Balancer {
    port: u16,
    child: Child,
    _folder: TempDir,
}

impl Balancer {
    /// `deploy/haproxy.cfg`; in turn instead of by load where that is wanted. `None` where there
    /// is no haproxy.
    ///
    /// # Errors
    /// It does not start, or the file is not what this knows how to fill in.
    pub async fn haproxy(replicas: &[Replica], in_turn: bool) -> Result<Option<Self>> {
        let Some(program) = programs::wanted("HAPROXY", "haproxy") else {
            return Ok(None);
        };
        let port = free_port()?;
        let mut text = replaced(
            &programs::deployed("haproxy.cfg")?,
            "bind :8080\n",
            &format!("bind 127.0.0.1:{port}\n"),
        )?;
        for number in 1..=NAMED {
            let line = format!("    server pulseboard-{number} pulseboard-{number}:3000\n");
            let own = replicas
                .get(number - 1)
                .map_or_else(String::new, |replica| {
                    format!("    server pulseboard-{number} {}\n", replica.address())
                });
            text = replaced(&text, &line, &own)?;
        }
        if in_turn {
            text = replaced(&text, "balance leastconn", "balance roundrobin")?;
        }
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, text)?;
        let mut command = Command::new(program);
        command.arg("-db").arg("-f").arg(&file);
        Self::start(command, port, folder).await.map(Some)
    }

    /// `deploy/nginx.conf`, likewise.
    ///
    /// # Errors
    /// As [`Self::haproxy`].
    pub async fn nginx(replicas: &[Replica], in_turn: bool) -> Result<Option<Self>> {
        let Some(program) = programs::wanted("PULSEBOARD_NGINX", "nginx") else {
            return Ok(None);
        };
        let port = free_port()?;
        let text = programs::deployed("nginx.conf")?;
        let text = replaced(&text, "listen 8080;", &format!("listen 127.0.0.1:{port};"))?;
        let servers = replicas.iter().map(|replica| {
            format!(
                "server {} max_fails=1 fail_timeout=2s;\n",
                replica.address()
            )
        });
        let servers: String = servers.collect();
        let mut text = replaced(
            &text,
            "server 127.0.0.1:3000 max_fails=1 fail_timeout=2s;\n",
            &servers,
        )?;
        if in_turn {
            text = replaced(&text, "least_conn;", "")?;
        }
        let folder = tempfile::tempdir()?;
        // Its workers are somebody else where root starts it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
        let base = folder.path().display().to_string();
        let user = match rustix::process::geteuid().is_root() {
            true => "user nobody nogroup;",
            false => "",
        };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {base}/{kind};\n"))
            .collect();
        let file = folder.path().join("nginx.conf");
        fs::write(
            &file,
            format!(
                "{user} daemon off; worker_processes 1; pid {base}/pid; error_log {base}/error.log;\n\
                 events {{ worker_connections 4096; }}\n\
                 http {{ access_log off; {temporary}\n{text} }}\n"
            ),
        )?;
        let mut command = Command::new(program);
        command
            .arg("-p")
            .arg(folder.path())
            .arg("-e")
            .arg(folder.path().join("error.log"))
            .arg("-c")
            .arg(&file);
        Self::start(command, port, folder).await.map(Some)
    }

    async fn start(mut command: Command, port: u16, folder: TempDir) -> Result<Self> {
        let program = command.get_program().to_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{} starts", Path::new(&program).display()))?;
        let balancer = Self {
            port,
            child,
            _folder: folder,
        };
        let address = balancer.address();
        eventually("the balancer answers", ANSWERS_WITHIN, async || {
            Ok(ask(&address, "/healthz").await?.status() == 200)
        })
        .await?;
        Ok(balancer)
    }

    /// Where viewers come to, with its port.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // Killed, nginx would leave its workers behind. It may have ended by itself.
        if let Some(id) = Pid::from_raw(self.child.id().cast_signed()) {
            rustix::process::kill_process(id, Signal::TERM).ok();
        }
        drop(self.child.wait());
    }
}

/// `text` with the one place that says `old` changed.
fn replaced(text: &str, old: &str, new: &str) -> Result<String> {
    ensure!(
        text.matches(old).count() == 1,
        "a file of deploy/ no longer says {old:?} once, which these tests fill in"
    );
    Ok(text.replace(old, new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_deploy_can_be_filled_in() {
        let haproxy = programs::deployed("haproxy.cfg").expect("it is there");
        for place in ["bind :8080\n", "balance leastconn", " pulseboard-3:3000\n"] {
            assert!(replaced(&haproxy, place, "").is_ok(), "{place}");
        }
        let nginx = programs::deployed("nginx.conf").expect("it is there");
        for place in [
            "listen 8080;",
            "least_conn;",
            "server 127.0.0.1:3000 max_fails=1",
        ] {
            assert!(replaced(&nginx, place, "").is_ok(), "{place}");
        }
        assert!(replaced("a a", "a", "b").is_err());
    }
}
