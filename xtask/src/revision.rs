//! The release server of another revision, for benchmarks that measure two in one run.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::shell;

/// What is measured, by name: the server of an older revision where one is named, and this tree's.
///
/// # Errors
/// As [`server`].
pub(crate) fn beside(against: Option<&str>, builds: bool) -> Result<Vec<(String, PathBuf)>> {
    let mut servers = Vec::new();
    if let Some(revision) = against {
        servers.push((revision.to_owned(), server(revision, builds)?));
    }
    servers.push(("this tree".to_owned(), shell::server_binary()));
    Ok(servers)
}

/// The server of a revision with its page inside, built in a work tree of its own below `target/`
/// where it is not there yet. A commit never changes, so it is built once; without `builds` the
/// path alone is told.
///
/// # Errors
/// Git knows no such revision, or it does not compile.
pub(crate) fn server(revision: &str, builds: bool) -> Result<PathBuf> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    if revision.starts_with('-') || !revision.bytes().all(known) {
        bail!("{revision:?} is no revision");
    }
    let commit = shell::output(shell::command("git").args([
        "rev-parse",
        "--verify",
        &format!("{revision}^{{commit}}"),
    ]))?;
    let folder = shell::target().join("revisions").join(&commit);
    let program = folder
        .join("target/release")
        .join(format!("pulseboard{}", std::env::consts::EXE_SUFFIX));
    if program.is_file() || !builds {
        return Ok(program);
    }
    if !folder.join("Cargo.toml").is_file() {
        let mut command = shell::command("git");
        command.args(["worktree", "add", "--force", "--detach"]);
        shell::run(command.arg(&folder).arg(&commit))?;
    }
    // Its own folder for what it builds, the tools of this one: they are on the path.
    let mut command = shell::cargo();
    command
        .current_dir(&folder)
        .env_remove("CARGO_TARGET_DIR")
        .args(["run", "--package", "xtask", "--", "build"]);
    shell::run(&mut command).with_context(|| format!("{revision} could not be built"))?;
    Ok(program)
}
