//! A server under measurement, pinned to one core, and what loads it, pinned to another: what the
//! benches share.

use std::{
    fs::{self, File},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{flags::Flags, shell};

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

/// What is told alike to every bench that pins its programs.
pub(crate) struct Setup {
    pub(crate) pins: Pins,
    /// Whether the programs are built first.
    pub(crate) builds: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            pins: Pins::default(),
            builds: true,
        }
    }
}

impl Setup {
    /// Takes a flag that is not the bench's own.
    ///
    /// # Errors
    /// It is nobody's, or its value is wrong.
    pub(crate) fn take(&mut self, flag: &str, flags: &mut Flags<'_>) -> Result<()> {
        match flag {
            "--cores" => self.pins.set_cores(flags.value()?),
            "--priority" => {
                self.pins.priority = true;
                Ok(())
            }
            "--no-build" => {
                self.builds = false;
                Ok(())
            }
            _ => flags.refuse(),
        }
    }

    /// Looks at the machine, and builds what is measured.
    ///
    /// # Errors
    /// This is no Linux, `taskset` is missing, or something does not compile.
    pub(crate) fn prepare(&self) -> Result<()> {
        is_linux()?;
        if shell::find("taskset").is_none() {
            bail!(
                "taskset, which pins a program to a core, is not on the PATH (package util-linux)"
            );
        }
        if self.builds {
            build()?;
        }
        Ok(())
    }
}

/// Every bench reads `/proc`.
///
/// # Errors
/// This is no Linux.
pub(crate) fn is_linux() -> Result<()> {
    match cfg!(target_os = "linux") {
        true => Ok(()),
        false => bail!("this bench reads /proc: it runs on Linux only"),
    }
}

/// Builds the server and the programs of `bench/` as they are measured. One after the other: built
/// together they would share the features of what both need, and the server that is measured would
/// be another than the one that people have.
///
/// # Errors
/// They do not compile.
pub(crate) fn build() -> Result<()> {
    for package in ["pulseboard", "pulseboard-bench"] {
        shell::run(shell::cargo().args(["build", "--release", "--package", package]))?;
    }
    Ok(())
}

/// A program of `bench/`.
pub(crate) fn program(name: &str) -> PathBuf {
    shell::target().join("release").join(name)
}

/// The middle one of some figures, the greater of two; NaN where there are none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// An address of this machine that nothing listens at.
///
/// # Errors
/// There is none.
pub(crate) fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// A new folder below `target`; what was there is removed.
///
/// # Errors
/// It cannot be made.
pub(crate) fn fresh_folder(name: impl AsRef<Path>) -> Result<PathBuf> {
    let folder = shell::target().join(name);
    shell::remove(&folder)?;
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// What a program of `bench/` prints.
///
/// # Errors
/// It fails, or prints something else.
pub(crate) fn report(client: &mut Command) -> Result<Value> {
    let said = shell::output(client)?;
    serde_json::from_str(&said).with_context(|| {
        let name = shell::describe(client);
        format!("`{name}` printed no report")
    })
}

/// A number of a report by its JSON pointer; NaN where it has none.
pub(crate) fn number(report: &Value, pointer: &str) -> f64 {
    let number = report.pointer(pointer).and_then(Value::as_f64);
    number.unwrap_or(f64::NAN)
}

/// VictoriaMetrics with its data in `folder`.
///
/// # Errors
/// It is not installed.
pub(crate) fn victoria(pins: &Pins, address: &str, folder: &Path) -> Result<Command> {
    let program = shell::find("victoria-metrics");
    let program = program.context("install the Debian package victoria-metrics to have it")?;
    let mut command = pins.server(&program);
    command
        .arg(format!("-httpListenAddr={address}"))
        .arg(format!("-storageDataPath={}", folder.display()))
        .args(["-retentionPeriod=1y", "-search.latencyOffset=0s"]);
    Ok(command)
}

/// The server; it never outlives the measurement.
pub(crate) struct Server {
    child: Child,
    address: String,
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
        let mut server = Self {
            child,
            address: address.to_owned(),
        };
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

    /// `client`, told where the server is and which process it is.
    pub(crate) fn aimed_at(&self, mut client: Command) -> Command {
        client
            .args(["--address", &self.address])
            .args(["--pid", &self.id().to_string()]);
        client
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
