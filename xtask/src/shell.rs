//! Running other programs: where things are, what is echoed, and how a failure reads.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result, bail};

/// The top of the workspace.
pub(crate) fn root() -> PathBuf {
    let manifest =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    // `xtask` is a folder directly below the top.
    Path::new(&manifest)
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Where cargo builds; `CARGO_TARGET_DIR` is respected.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Where the pinned tools live.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}

/// The release server that `build` leaves.
pub(crate) fn server_binary() -> PathBuf {
    binary("release")
}

/// The server that was built with a profile.
pub(crate) fn binary(profile: &str) -> PathBuf {
    target()
        .join(profile)
        .join(format!("pulseboard{}", env::consts::EXE_SUFFIX))
}

/// The search path with our own tools first, so that what is pinned here wins.
pub(crate) fn search_path() -> OsString {
    let rest = env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(tools().join("bin")).chain(env::split_paths(&rest));
    env::join_paths(all).unwrap_or(rest)
}

/// The first program of this name on the search path, ours first.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let file = format!("{program}{}", env::consts::EXE_SUFFIX);
    env::split_paths(&search_path())
        .map(|dir| dir.join(&file))
        .find(|path| path.is_file())
}

/// The name of a file, without folders.
pub(crate) fn file_name(file: &Path) -> String {
    file.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Removes a folder that may not be there.
///
/// # Errors
/// It cannot be removed.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", folder.display()))
        }
        _ => Ok(()),
    }
}

/// A command that runs at the top of the workspace with our tools on its path.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).env("PATH", search_path());
    // `cargo run` describes xtask to its children; a nested cargo must not take it for its own.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    command(cargo_program())
}

/// The same, for what has only what others leave of the processor.
pub(crate) fn cargo_last() -> Command {
    last(cargo_program())
}

fn cargo_program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// A command at the lowest priority, where that can be said.
pub(crate) fn last(program: impl AsRef<OsStr>) -> Command {
    let Some(nice) = find("nice") else {
        return command(program);
    };
    let mut command = command(nice);
    command.args(["-n", "19"]).arg(program);
    command
}

/// A command as one would type it, without folders in front of the program.
pub(crate) fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let arguments = command
        .get_args()
        .map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(program)
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Says what runs, runs it, and makes anything but success an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", describe(command));
    let status = command
        .status()
        .with_context(|| format!("`{}` could not be started", describe(command)))?;
    if !status.success() {
        bail!(
            "`{}` failed ({status}); what it said is above",
            describe(command)
        );
    }
    Ok(())
}

/// Says what runs, and whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    println!("$ {}", describe(command));
    let status = command
        .status()
        .with_context(|| format!("`{}` could not be started", describe(command)))?;
    Ok(status.success())
}

/// The trimmed standard output of a quiet command; an error carries what it said on the other.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("`{}` could not be started", describe(command)))?;
    if !output.status.success() {
        bail!(
            "`{}` failed: {}",
            describe(command),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs a command and lets everything through as it comes while keeping a copy, so that a chore
/// can count what a test runner reported. Returns whether it succeeded, and the copy.
pub(crate) fn run_and_keep(command: &mut Command) -> Result<(bool, String)> {
    run_and_hear(command, &|_| {})
}

/// The same, and `hear` is told of each line when it comes.
pub(crate) fn run_and_hear(
    command: &mut Command,
    hear: &(dyn Fn(&str) + Sync),
) -> Result<(bool, String)> {
    println!("$ {}", describe(command));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{}` could not be started", describe(command)))?;
    let stdout = child.stdout.take().context("standard output is piped")?;
    let stderr = child.stderr.take().context("standard error is piped")?;
    let kept = thread::scope(|scope| {
        let errors = scope.spawn(|| echo(stderr, &mut std::io::stderr(), hear));
        let mut kept = echo(stdout, &mut std::io::stdout(), hear);
        kept.push_str(&errors.join().unwrap_or_default());
        kept
    });
    let status = child
        .wait()
        .with_context(|| format!("`{}` was lost", describe(command)))?;
    Ok((status.success(), kept))
}

/// Copies lines as they come; returns them all. A stream that ends in an error ends there.
fn echo(from: impl Read, to: &mut impl Write, hear: &dyn Fn(&str)) -> String {
    let mut kept = String::new();
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        // A closed terminal must not stop the tests that are being counted.
        to.write_all(&line).and_then(|()| to.flush()).ok();
        let text = String::from_utf8_lossy(&line);
        hear(&text);
        kept.push_str(&text);
        line.clear();
    }
    kept
}
