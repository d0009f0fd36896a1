//! A server under measurement, pinned to one core, and what loads it, pinned to another: what
//! `bench fan-out` and `bench ingest` share.

use std::{
    fs::{self, File},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::shell;

/// How long a server may take until it accepts connections.
const START_DEADLINE: Duration = Duration::from_secs(20);
/// How long a server may take to end in order before it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// Which core is whose, and what is done about others on the machine.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    pub(crate) server: String,
    pub(crate) client: String,
    /// Runs both with `nice -n -15`, which needs the right to.
    pub(crate) priority: bool,
}

impl Default for Pins {
    fn default() -> Self {
        Self {
            server: "0".to_owned(),
            client: "1".to_owned(),
            priority: false,
        }
    }
}

impl Pins {
    /// Reads the value of `--cores`, such as `0,1`.
    ///
    /// # Errors
    /// It is not two numbers.
    pub(crate) fn set_cores(&mut self, cores: &str) -> Result<()> {
        let (server, client) = cores
            .split_once(',')
            .context("--cores needs two numbers, such as 0,1")?;
        self.server = server.to_owned();
        self.client = client.to_owned();
        Ok(())
    }

    /// `program` on the server's core.
    pub(crate) fn server(&self, program: &Path) -> Command {
        self.pinned(&self.server, program)
    }

    /// `program` on the client's core.
    pub(crate) fn client(&self, program: &Path) -> Command {
        self.pinned(&self.client, program)
    }

    fn pinned(&self, core: &str, program: &Path) -> Command {
        let mut command = if self.priority {
            let mut command = shell::command("nice");
            command.args(["-n", "-15", "taskset"]);
            command
        } else {
            shell::command("taskset")
        };
        command.args(["--cpu-list", core]).arg(program);
        command
    }
}

/// Says what is missing on this machine for any of it.
///
/// # Errors
/// This is no Linux, or there is no `taskset`.
pub(crate) fn is_possible() -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("this bench pins processes and reads /proc: it runs on Linux only");
    }
    if shell::find("taskset").is_none() {
        bail!("taskset, which pins a program to a core, is not on the PATH (package util-linux)");
    }
    Ok(())
}

/// Builds the server and the programs of `bench/` as they are measured.
///
/// # Errors
/// They do not compile.
pub(crate) fn build() -> Result<()> {
    let mut build = shell::cargo();
    build.args(["build", "--release", "--package", "pulseboard"]);
    shell::run(build.args(["--package", "pulseboard-bench"]))
}

/// A program of `bench/`.
pub(crate) fn program(name: &str) -> PathBuf {
    shell::target().join("release").join(name)
}

/// The server; it never outlives the measurement.
pub(crate) struct Server {
    child: Child,
}

impl Server {
    /// Starts it and waits until it listens at `address`. What it says goes to `log`.
    ///
    /// # Errors
    /// It cannot be started, ends by itself, or does not listen in time.
    pub(crate) fn start(mut command: Command, address: &str, log: &Path) -> Result<Self> {
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder)?;
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log)?)
            .spawn()
            .with_context(|| format!("`{}` could not be started", shell::describe(&command)))?;
        let mut server = Self { child };
        let deadline = Instant::now() + START_DEADLINE;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("it ended by itself ({status}); see {}", log.display());
            }
            if Instant::now() > deadline {
                bail!("it did not listen within {START_DEADLINE:?}");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and makes it end where it does not.
    ///
    /// # Errors
    /// It cannot be ended.
    pub(crate) fn stop(&mut self) -> Result<()> {
        #[cfg(unix)]
        if let Ok(pid) = i32::try_from(self.child.id()) {
            use nix::{sys::signal, unistd::Pid};
            // It may have ended already, which is as well.
            signal::kill(Pid::from_raw(pid), signal::Signal::SIGTERM).ok();
        }
        let deadline = Instant::now() + STOP_DEADLINE;
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing more can be done about one that cannot be ended.
        self.stop().ok();
    }
}
