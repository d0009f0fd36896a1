//! A browser for the tests: Chromium and the driver that steers it.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::shell;

/// Both halves, found or installed.
pub(crate) struct Browser {
    pub(crate) chromium: PathBuf,
    pub(crate) driver: PathBuf,
}

/// Finds Chromium and its driver, and installs Debian's packages where that is possible.
///
/// # Errors
/// They are missing and cannot be installed; the text says by hand how.
pub(crate) fn ready() -> Result<Browser> {
    if let Some(browser) = find() {
        return Ok(browser);
    }
    println!("The browser tests need Chromium and its driver; installing them");
    if let Err(error) = install() {
        bail!(
            "the browser tests need `chromium` and `chromedriver` on the PATH, and they could not be installed ({error:#}). \
             On Debian: `apt-get install chromium chromium-driver`; elsewhere install Chromium and the \
             chromedriver of the same version, or name them in CHROMIUM and CHROMEDRIVER"
        );
    }
    match find() {
        Some(browser) => Ok(browser),
        None => bail!(
            "the packages were installed, and `chromium` or `chromedriver` is still not on the PATH"
        ),
    }
}

fn find() -> Option<Browser> {
    let named = |variable: &str| {
        std::env::var_os(variable)
            .map(PathBuf::from)
            .filter(|path| path.is_file())
    };
    let chromium = named("CHROMIUM").or_else(|| {
        [
            "chromium",
            "chromium-browser",
            "google-chrome-stable",
            "google-chrome",
        ]
        .into_iter()
        .find_map(shell::find)
    });
    let driver = named("CHROMEDRIVER").or_else(|| shell::find("chromedriver"));
    Some(Browser {
        chromium: chromium?,
        driver: driver?,
    })
}

fn install() -> Result<()> {
    let Some(apt) = shell::find("apt-get") else {
        bail!("there is no apt-get here")
    };
    let root = shell::output(shell::command("id").arg("-u"))? == "0";
    // `-n` never asks: tests that wait for a password would hang unseen.
    if !root && shell::output(shell::command("sudo").args(["-n", "true"])).is_err() {
        bail!("this is not root, and sudo wants a password");
    }
    let privileged = || {
        if root {
            return shell::command(&apt);
        }
        let mut command = shell::command("sudo");
        command.arg("-n").arg(&apt);
        command
    };
    let packages = [
        "install",
        "--yes",
        "--no-install-recommends",
        "chromium",
        "chromium-driver",
    ];
    // A fresh machine has no package lists; one with old lists may ask for files long gone.
    if shell::run(
        privileged()
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
    .is_ok()
    {
        return Ok(());
    }
    shell::run(privileged().arg("update"))?;
    shell::run(
        privileged()
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}
