//! `check`: what is worth knowing before each commit, in under a minute when warm: format, lints,
//! house rules, and the tests that start no server. `test` has everything.

use anyhow::Result;

use crate::{lints, shell, tidy, tools};

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    crate::arguments::nothing(arguments)?;
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    shell::run(&mut lints::native())?;
    tidy::check(None)?;
    let mut tests = shell::cargo();
    if tools::has_nextest() {
        tests.args(["nextest", "run", "--workspace", "--lib", "--bins"]);
        tests.args(["--status-level", "fail"]);
    } else {
        tests.args(["test", "--workspace", "--lib", "--bins", "--quiet"]);
    }
    shell::run(&mut tests)?;
    println!("\nready to commit; `cargo xtask test` runs the rest");
    Ok(())
}
