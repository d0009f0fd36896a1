//! `dev`: the server and `trunk serve` side by side, both rebuilt as one edits.
//!
//! Trunk watches and reloads the page; the server's sources are watched here. A change that does
//! not compile leaves the old server running. Where one of the two ends by itself, so does the
//! other, and the reason is said.

use std::{
    fs,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, bail};

use crate::{page, shell, tools};

/// The address of `trunk serve`, as Trunk.toml has it.
const PAGE: &str = "http://127.0.0.1:8080";

/// How often files and processes are looked at: soon enough to feel immediate, and no load.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// How long a process may take to end in order before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the server is compiled from.
const SERVER_SOURCES: &[&str] = &["Cargo.lock", "Cargo.toml", "backend", "shared"];

static STOP: AtomicBool = AtomicBool::new(false);

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    let flags = crate::arguments::passed_on(arguments)?;
    tools::for_page()?;
    shell::run(&mut server_build()).context("the server could not be built")?;
    ctrlc::set_handler(|| STOP.store(true, Ordering::SeqCst))
        .context("Ctrl-C cannot be watched")?;
    let mut seen = newest_change();
    let mut server = start_server(flags)?;
    let mut trunk = Process::start(
        "trunk serve",
        page::trunk()
            .args(["serve", "--dist"])
            .arg(shell::target().join("dev-page")),
    )?;
    println!("\nThe page will be at {PAGE}; Ctrl-C ends both\n");
    while !STOP.load(Ordering::SeqCst) {
        thread::sleep(LOOK_EVERY);
        if let Some(status) = trunk.ended()? {
            bail!("trunk serve ended by itself ({status}), so the server was ended too");
        }
        if let Some(status) = server.ended()? {
            bail!("the server ended by itself ({status}), so trunk serve was ended too");
        }
        let change = newest_change();
        if change != seen {
            seen = change;
            if rebuild_server()? {
                server.stop()?;
                server = start_server(flags)?;
            } else if !STOP.load(Ordering::SeqCst) {
                println!("The server does not compile; the old one keeps running");
            }
        }
    }
    println!("\nending both");
    trunk.stop()?;
    server.stop()
}

/// Without the page inside: Trunk serves it, and a change to it must not rebuild the server.
fn server_build() -> Command {
    let mut command = shell::cargo();
    command.args(["build", "--package", "pulseboard", "--no-default-features"]);
    command
}

/// Builds the server anew; whether that succeeded. Ctrl-C ends the build, too.
fn rebuild_server() -> Result<bool> {
    let mut build = Process::start("the build", &mut server_build())?;
    while !STOP.load(Ordering::SeqCst) {
        if let Some(status) = build.ended()? {
            return Ok(status.success());
        }
        thread::sleep(LOOK_EVERY);
    }
    build.stop()?;
    Ok(false)
}

fn start_server(flags: &[String]) -> Result<Process> {
    let program = shell::target()
        .join("debug")
        .join(format!("pulseboard{}", std::env::consts::EXE_SUFFIX));
    // Trunk stands between as a proxy, and the server would otherwise treat the developer as a
    // stranger from another origin. To be admin there is the link that the server prints: its
    // cookie counts for every port of the machine.
    let ours = [
        "--anonymous-role",
        "operator",
        "--allowed-origins",
        PAGE,
        // A role for everybody must not be had by a name that was rebound to this machine.
        "--allowed-hosts",
        "localhost",
    ];
    Process::start("the server", shell::command(program).args(ours).args(flags))
}

/// The newest modification of any of the server's sources.
fn newest_change() -> Option<SystemTime> {
    fn newest(path: &Path) -> Option<SystemTime> {
        if path.is_dir() {
            return fs::read_dir(path)
                .ok()?
                .filter_map(|entry| newest(&entry.ok()?.path()))
                .max();
        }
        fs::metadata(path).ok()?.modified().ok()
    }
    SERVER_SOURCES
        .iter()
        .filter_map(|source| newest(&shell::root().join(source)))
        .max()
}

/// A child that is ended with us, whatever happens.
struct Process {
    name: &'static str,
    child: Child,
}

impl Process {
    /// Starts it in a group of its own: Ctrl-C then reaches only us, and ending the group ends
    /// also what the process itself has started.
    fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        println!("$ {}", shell::describe(command));
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("{name} could not be started"))?;
        Ok(Self { name, child })
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("{} was lost", self.name))
    }

    /// Asks it to end, waits, and kills it where asking did not help.
    fn stop(&mut self) -> Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        self.ask_to_end();
        let deadline = Instant::now() + PATIENCE;
        while self.ended()?.is_none() {
            if Instant::now() > deadline {
                println!("{} does not end; killing it", self.name);
                self.child.kill()?;
                self.child.wait()?;
                break;
            }
            thread::sleep(LOOK_EVERY / 10);
        }
        Ok(())
    }

    #[cfg(unix)]
    fn ask_to_end(&self) {
        use nix::{sys::signal, unistd::Pid};

        let group = i32::try_from(self.child.id()).map(Pid::from_raw);
        // It may have ended this very moment, which is what is wanted.
        group
            .map(|group| signal::killpg(group, signal::Signal::SIGTERM).ok())
            .ok();
    }

    #[cfg(not(unix))]
    fn ask_to_end(&mut self) {
        self.child.kill().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error:#}");
        }
    }
}
