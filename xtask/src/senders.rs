//! `test-senders`: what people have sends to the real server, and what it sent is read back; what
//! people scrape is scraped; an Alertmanager is told of alerts; and who asks a Prometheus asks the
//! server, and a real Prometheus beside it.
//!
//! The clients come from PyPI and npm into folders below `target`, Prometheus with its promtool,
//! Alertmanager, node_exporter and collectd from Debian's packages, unpacked there. What cannot be
//! had is left out, and the reason is said: a machine without a network can still run the other
//! tests.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{BufRead, BufReader},
    net::{TcpListener, UdpSocket},
    path::Path,
    process::{Child, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    debian,
    flags::{self, Flags},
    npm, shell,
};

/// Clients from PyPI.
const CLIENTS: &[&str] = &[
    "opentelemetry-sdk==1.45.2",
    "opentelemetry-exporter-otlp-proto-http==1.45.2",
    "opentelemetry-exporter-otlp-proto-grpc==1.45.2",
    "influxdb-client==1.50.0",
    "influxdb==5.3.2",
    "statsd==4.0.1",
    "datadog==0.56.0",
    "prometheus_client==0.26.0",
    "prometheus-api-client==0.7.2",
];

/// Programs that ask a real Prometheus and the server the same, and compare the answers.
const ASKING: &[&str] = &["clients.py", "grafana.py", "dashboards.py"];

/// The senders' token: some of them must have one.
const TOKEN: &str = "senders-token-1";

/// How many senders' figures came back, and how many did not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

const HELP: &str = "\
cargo xtask test-senders [FLAGS]

  --server FILE         a server that is built already; else it is built without optimisation";

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    if flags::is_help(arguments, HELP) {
        return Ok(());
    }
    let mut server = None;
    let mut flags = Flags::new(arguments, HELP);
    while let Some(flag) = flags.flag() {
        match flag {
            "--server" => server = Some(env::current_dir()?.join(flags.value()?)),
            _ => flags.refuse()?,
        }
    }
    let program = match server {
        Some(server) => server,
        None => {
            let mut build = shell::cargo();
            shell::run(build.args(["build", "--package", "pulseboard"]))?;
            shell::binary("debug")
        }
    };
    match send(&program)? {
        Outcome { failed: 0, .. } => Ok(()),
        Outcome { failed, .. } => bail!("{failed} senders failed; look for them above"),
    }
}

/// Starts the server and has every sender that can be had send to it.
///
/// # Errors
/// There is no Python, or the server does not start. A sender that fails is counted instead.
fn send(server: &Path) -> Result<Outcome> {
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
    let prometheus = program("prometheus", &["prometheus"], "usr/bin/prometheus");
    let collectd = program(
        "collectd",
        &["collectd-core", "libmicrohttpd12", "libprotobuf-c1"],
        "usr/sbin/collectd",
    );

    let node_exporter = program(
        "prometheus-node-exporter",
        &["prometheus-node-exporter"],
        "usr/bin/prometheus-node-exporter",
    );
    let alertmanager = alertmanager();
    let mut said = String::new();
    for (script, other) in [("node.py", &node_exporter), ("alerting.py", &alertmanager)] {
        if other.is_empty() {
            continue;
        }
        let mut compare = shell::command(&python);
        compare
            .arg(shell::root().join("xtask/senders").join(script))
            .arg(server)
            .arg(other);
        said.push_str(&shell::run_and_keep(&mut compare)?.1);
    }
    for script in ASKING {
        said.push_str(&asked(&python, script, server, &prometheus)?);
    }
    // what is to be scraped is known when it runs
    let targets = folder.join("targets.json");
    fs::remove_file(&targets).ok();
    let free_port =
        || -> Result<u16> { Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port()) };
    let receiver_port = free_port()?;
    fs::write(
        folder.join("prometheus.yml"),
        format!(
            "global: {{external_labels: {{site: senders}}}}\n\
             scrape_configs: [{{job_name: scraped, scrape_interval: 1s, file_sd_configs: [{{files: [targets.json]}}]}}]\n\
             remote_write:\n\
             - url: http://127.0.0.1:{receiver_port}/api/v1/write\n  \
               queue_config: {{batch_send_deadline: 200ms, max_backoff: 500ms}}\n  \
               write_relabel_configs: [{{source_labels: [__name__], regex: sent_on, action: keep}}]\n"
        ),
    )?;

    let data = folder.join("data");
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    let statsd_port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let (graphite_port, grpc_port) = (free_port()?, free_port()?);
    let ports = [
        ("STATSD_ADDR", statsd_port),
        ("GRAPHITE_ADDR", graphite_port),
        ("OTLP_GRPC_ADDR", grpc_port),
    ];
    let server = Server::start(server, &data, &ports, &folder)?;
    let mut send = shell::command(&python);
    send.arg(shell::root().join("xtask/senders/send.py"))
        .args([&server.url, &statsd_port.to_string(), TOKEN])
        .env("GRAPHITE_PORT", graphite_port.to_string())
        .env("TARGETS", &targets)
        .env("RECEIVER_PORT", receiver_port.to_string())
        .env("NODE_EXPORTER", node_exporter)
        .env("OTLP_GRPC_PORT", grpc_port.to_string())
        .env("PROMETHEUS", prometheus)
        .env("COLLECTD", collectd);
    let (succeeded, sent) = shell::run_and_keep(&mut send)?;
    said.push_str(&sent);
    let mut outcome = outcome(&said);
    if !succeeded && outcome.failed == 0 {
        outcome.failed = 1;
    }
    Ok(outcome)
}

/// Has one of [`ASKING`] ask; what it said, with a failure where it ended without saying so.
fn asked(python: &Path, script: &str, server: &Path, prometheus: &OsStr) -> Result<String> {
    let mut ask = shell::command(python);
    ask.arg(shell::root().join("xtask/senders").join(script))
        .arg(server)
        // Nothing that Python compiles is left beside the sources.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PROMETHEUS", prometheus)
        .env("PROMTOOL", Path::new(prometheus).with_file_name("promtool"));
    if let Some(node) = shell::find("node") {
        ask.env("NODE", node);
    }
    match npm::PROMETHEUS_QUERY.install() {
        Ok(()) => {
            ask.env("PROMETHEUS_QUERY", npm::PROMETHEUS_QUERY.folder());
        }
        Err(error) => println!("a client cannot be had and is left out: {error:#}"),
    }
    let (succeeded, mut said) = shell::run_and_keep(&mut ask)?;
    if !succeeded && outcome(&said).failed == 0 {
        said.push_str(&format!("\nFAILED {script}: it ended before it was done\n"));
    }
    Ok(said)
}

/// One that is installed, else the one of Debian's `packages`; empty where neither is to be had.
fn program(name: &str, packages: &[&str], path: &str) -> OsString {
    if let Some(installed) = shell::find(name) {
        return installed.into();
    }
    match debian::unpacked(name, packages) {
        Ok(folder) => folder.join(path).into(),
        Err(error) => {
            println!("{name} cannot be had and is left out: {error:#}");
            OsString::new()
        }
    }
}

/// Alertmanager: Debian's looks for its templates at one place alone.
fn alertmanager() -> OsString {
    const NAME: &str = "prometheus-alertmanager";
    const TEMPLATES: &str = "/usr/share/prometheus/alertmanager";
    let found = program(NAME, &[NAME], "usr/bin/prometheus-alertmanager");
    if found.is_empty() || shell::find(NAME).is_some() {
        return found;
    }
    let folder = shell::target().join("debian").join(NAME);
    match debian::started_in(&folder, Path::new(&found), TEMPLATES) {
        Ok(script) => script.into(),
        Err(error) => {
            println!("{NAME} cannot be used and is left out: {error:#}");
            OsString::new()
        }
    }
}

/// Counts the lines in which each sender says how it fared.
pub(crate) fn outcome(said: &str) -> Outcome {
    let lines = |word: &str| said.lines().filter(|line| line.starts_with(word)).count();
    Outcome {
        passed: lines("ok "),
        failed: lines("FAILED "),
    }
}

/// The server that they send to; it ends with this.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(program: &Path, data: &Path, ports: &[(&str, u16)], folder: &Path) -> Result<Self> {
        let mut command = shell::command(program);
        for (setting, port) in ports {
            command.env(setting, format!("127.0.0.1:{port}"));
        }
        command
            .env("AUTH_TOKENS", format!("{TOKEN}=admin"))
            .env("ANONYMOUS_ROLE", "none")
            .env("PROMETHEUS_CONFIG", folder.join("prometheus.yml"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_that_were_left_out_are_not_counted() {
        let said = "ok statsd\n-- collectd is left out: not here\nFAILED influx_1: no\nok otel\n";
        assert_eq!(
            outcome(said),
            Outcome {
                passed: 2,
                failed: 1
            }
        );
    }
}
