//! `bench page`: what opening the page costs and keeping it open, beside an older revision, in one
//! run. The older one is checked out into a work tree of git below `target` and built there once;
//! what is measured, and how, is in `e2e/src/bin/page_bench.rs`.

use anyhow::{Context, Result, bail};

use crate::{browser, build, revision, shell};

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
        candidates.push((revision.clone(), revision::server(revision, builds)?));
    }
    candidates.push(("this tree".to_owned(), shell::server_binary()));
    let mut command = crate::test::end_to_end_program("page_bench");
    command.args(flags);
    for (name, program) in candidates {
        let mut candidate = std::ffi::OsString::from(format!("{name}="));
        candidate.push(program);
        command.arg(candidate);
    }
    shell::run(crate::test::end_to_end_environment(&mut command, &browser))
}
