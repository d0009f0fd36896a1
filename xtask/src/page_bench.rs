//! `bench page`: what opening the page costs and keeping it open, beside an older revision, in one
//! run. The older one is checked out into a work tree of git below `target` and built there once;
//! what is measured, and how, is in `e2e/src/bin/page_bench.rs`.

use anyhow::Result;

use crate::{
    browser, build,
    flags::{self, Flags},
    revision, shell,
};

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
    if flags::is_help(arguments, HELP) {
        return Ok(());
    }
    let (mut against, mut builds, mut passed_on) = (Some(AGAINST.to_owned()), true, Vec::new());
    let mut flags = Flags::new(arguments, HELP);
    while let Some(flag) = flags.flag() {
        match flag {
            "--against" => against = Some(flags.value()?.to_owned()),
            "--alone" => against = None,
            "--no-build" => builds = false,
            "--rounds" | "--data" => {
                passed_on.push(format!("{flag}={}", flags.count::<u64>()?));
            }
            _ => flags.refuse()?,
        }
    }
    let browser = browser::ready()?;
    if builds {
        build::everything()?;
    }
    let candidates = revision::beside(against.as_deref(), builds)?;
    let mut command = crate::test::end_to_end_program("page_bench");
    command.args(passed_on);
    for (name, program) in candidates {
        let mut candidate = std::ffi::OsString::from(format!("{name}="));
        candidate.push(program);
        command.arg(candidate);
    }
    let server = shell::server_binary();
    shell::run(crate::test::end_to_end_environment(
        &mut command,
        &browser,
        &server,
    ))
}
