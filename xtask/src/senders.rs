//! `test-senders`: what people have sends to the real server, and what it sent is read back.
//!
//! The clients come from PyPI into an environment below `target`; Prometheus and collectd are used
//! where they are installed. What cannot be had is left out, and the reason is said. It needs a
//! network, so it is no part of `test`.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::UdpSocket,
    process::{Child, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::shell;

/// Clients from PyPI.
const CLIENTS: &[&str] = &[
    "opentelemetry-sdk==1.45.2",
    "opentelemetry-exporter-otlp-proto-http==1.45.2",
    "influxdb-client==1.50.0",
    "influxdb==5.3.2",
    "statsd==4.0.1",
    "datadog==0.56.0",
];

/// The senders' token: some of them must have one.
const TOKEN: &str = "senders-token-1";

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    crate::nothing(arguments)?;
    let python = shell::find("python3").context("python3 is not on the PATH")?;
    let folder = shell::target().join("senders");
    fs::create_dir_all(&folder)?;
    let environment = folder.join("venv");
    let mut command = shell::command(&python);
    shell::run(command.args(["-m", "venv"]).arg(&environment))?;
    let python = environment.join("bin/python");
    let mut install = shell::command(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    if let Err(error) = shell::run(install.args(CLIENTS)) {
        println!("some clients cannot be had and are left out: {error:#}");
    }
    let mut build = shell::cargo();
    shell::run(build.args(["build", "--package", "pulseboard"]))?;

    let data = folder.join("data");
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    let statsd_port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let server = Server::start(&data, statsd_port, &folder)?;
    let mut send = shell::command(&python);
    send.arg(shell::root().join("xtask/senders/send.py")).args([
        &server.url,
        &statsd_port.to_string(),
        TOKEN,
    ]);
    shell::run(&mut send)
}

/// The server that they send to; it ends with this.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(data: &std::path::Path, statsd_port: u16, folder: &std::path::Path) -> Result<Self> {
        let program = shell::target()
            .join("debug")
            .join(format!("pulseboard{}", std::env::consts::EXE_SUFFIX));
        let mut command = shell::command(&program);
        command
            .env("STATSD_ADDR", format!("127.0.0.1:{statsd_port}"))
            .env("AUTH_TOKENS", format!("{TOKEN}=admin"))
            .env("ANONYMOUS_ROLE", "none")
            .env("RUST_LOG", "info")
            .args(["--bind", "127.0.0.1:0", "--source", "none", "--data-dir"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.join("server.log"))?);
        let mut child = command
            .spawn()
            .with_context(|| format!("`{}` could not be started", shell::describe(&command)))?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("its output is not ours")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let mut server = Self {
            child,
            url: String::new(),
        };
        let Some(at) = line.find("http://") else {
            bail!("the server said {line:?} instead of its address");
        };
        server.url = line[at..].trim().trim_end_matches('/').to_owned();
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What it holds is not looked at again.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
