//! `screenshots`: takes the pictures that the README shows, from the real page.

use anyhow::Result;

use crate::{browser, build, shell};

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    crate::arguments::nothing(arguments)?;
    let browser = browser::ready()?;
    build::everything()?;
    let mut command = crate::test::end_to_end_program("screenshots");
    command.arg(shell::root().join("docs").join("screenshots"));
    let server = shell::server_binary();
    shell::run(crate::test::end_to_end_environment(
        &mut command,
        &browser,
        &server,
    ))
}
