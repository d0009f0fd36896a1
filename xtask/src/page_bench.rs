//! `bench page`: what opening the page costs and keeping it open, beside an older revision, in one
//! run. The older one is checked out into a work tree of git below `target` and built there once;
//! what is measured, and how, is in `e2e/src/bin/page_bench.rs`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::{browser, build, shell};

/// The page as it was before its first figures were in the HTML.
const AGAINST: &str = "32b1cfb";

const HELP: &str = "\
cargo xtask bench page [FLAGS]

  --against REV         the revision to measure beside this tree        (32b1cfb)
  --alone               measure this tree only
  --rounds N            fresh browsers for each page                    (7)
  --data S              seconds of data before the busy page is seen    (300)
  --no-build            take the release programs as they are";

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    let (mut against, mut builds, mut flags) = (Some(AGAINST.to_owned()), true, Vec::new());
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .with_context(|| format!("{word} needs a value"))
        };
        match word.as_str() {
            "help" => {
                println!("{HELP}");
                return Ok(());
            }
            "--against" => against = Some(value()?.clone()),
            "--alone" => against = None,
            "--no-build" => builds = false,
            "--rounds" | "--data" => flags.push(format!("{word}={}", value()?)),
            _ => bail!("{word:?} is no flag of `bench page`\n\n{HELP}"),
        }
    }
    let browser = browser::ready()?;
    if builds {
        build::everything()?;
    }
    let mut candidates = Vec::new();
    if let Some(revision) = &against {
        candidates.push((revision.clone(), older(revision, builds)?));
    }
    candidates.push(("this tree".to_owned(), shell::server_binary()));
    let mut command = shell::cargo();
    command.args([
        "run",
        "--package",
        "pulseboard-e2e",
        "--bin",
        "page_bench",
        "--",
    ]);
    command.args(flags);
    for (name, program) in candidates {
        let mut candidate = std::ffi::OsString::from(format!("{name}="));
        candidate.push(program);
        command.arg(candidate);
    }
    shell::run(crate::test::end_to_end_environment(&mut command, &browser))
}

/// The release server of an older revision, which is built where it is not there yet.
fn older(revision: &str, builds: bool) -> Result<PathBuf> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    if revision.starts_with('-') || !revision.bytes().all(known) {
        bail!("{revision:?} is no revision");
    }
    let commit = shell::output(shell::command("git").args([
        "rev-parse",
        "--verify",
        &format!("{revision}^{{commit}}"),
    ]))?;
    let folder = shell::target().join("bench-page").join(&commit);
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
