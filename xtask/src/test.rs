//! `test`: everything that must hold before a change is right, from formatting to a browser.
//!
//! All steps run even when an early one failed; only what cannot work without a failed step is left
//! out, and counted as failed. What needs a program that is not to be had here is left out, too; it
//! is said, and counted apart.
//!
//! Two cores are not left idle: the page and the tests are compiled side by side, and what only the
//! compilers say is asked for at the lowest priority while tests run.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock},
};

use anyhow::{Context, Result, bail};

use crate::{
    background::{Background, Priority},
    browser::{self, Browser},
    cluster::{self, Programs},
    lints, npm, page,
    report::{Counts, Report, check, count, count_and_hear},
    senders, shell, tidy, tools,
};

/// What a browser test waits for one test at most before it calls it stuck, in seconds.
const PAGE_TEST_TIMEOUT_S: &str = "60";

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    crate::arguments::nothing(arguments)?;
    let mut report = Report::default();
    report.step("formatting", || {
        check(shell::cargo().args(["fmt", "--all", "--check"]))
    });
    // Before anything else is compiled: they share the folder in which they are.
    report.step("tools", || tools::for_page().map(|()| Counts::ONE_PASSED));
    let nextest = tools::nextest();
    let programs = Programs::fetch();
    report.without.clone_from(&programs.missing);

    let page = Background::begin("page", &[], Priority::Same);
    let is_compiled = report.step("server and tests compiled", || {
        check(native_tests(nextest, &programs).arg("--no-run"))
    });
    // The server's tests look at the page.
    let page = report.step("page", || succeeded(page?));
    if page {
        report.step("first load", || {
            page::first_load_is_small().map(|()| Counts::ONE_PASSED)
        });
    }
    // The one that the tests were built with: another profile's would be compiled for minutes more.
    let server: Option<PathBuf> = (page && is_compiled).then(|| shell::binary("debug"));
    let linting = OnceLock::new();
    let lint = || {
        linting.get_or_init(|| Mutex::new(Some(Background::begin("lints", &[], Priority::Lowest))));
    };
    report.step("unit and integration tests", || {
        let mut tests = native_tests(nextest, &programs);
        count_and_hear(tests.arg("--no-fail-fast"), &|line| {
            // Before it runs tests cargo has the folder that both compile into for itself; who had
            // it first would keep the other waiting.
            if line.contains("Starting ") || line.contains("Running ") {
                lint();
            }
        })
    });
    lint();
    report.step("lints and documentation", || {
        let begun = linting.get().and_then(|begun| begun.lock().ok()?.take());
        counted(begun.context("they are waited for once")??)
    });
    // They wait for each other more than they work.
    let sending = server.as_deref().map(|server| {
        let flags = [Path::new("--server"), server];
        Background::begin("test-senders", &flags, Priority::Same)
    });
    report.step("house rules", || {
        tidy::check(server.as_deref()).map(|()| Counts::ONE_PASSED)
    });
    let browser = browser::ready();
    match &browser {
        Ok(browser) => {
            report.step("page tests in a browser", || {
                count(&mut page_tests(browser))
            });
        }
        Err(error) => report.left_out("page tests in a browser", &format!("{error:#}")),
    }
    match (browser, &server) {
        (Ok(browser), Some(server)) => {
            report.step("end to end", || {
                count(&mut end_to_end(nextest, &browser, server))
            });
        }
        (Ok(_), None) => report.left_out("end to end", "there is no server to test"),
        (Err(error), _) => report.left_out("end to end", &format!("{error:#}")),
    }
    match sending {
        Some(sending) => {
            report.step("what people have sends to it", || sent(sending?));
        }
        None => report.left_out("what people have sends to it", "there is no server to test"),
    }
    // By themselves: they measure how long people wait.
    match &server {
        Some(server) => {
            report.step("several servers", || {
                let mut command = cluster::tests(nextest, true, false, None);
                programs.tell(command.env("PULSEBOARD_BIN", server));
                count(&mut command)
            });
        }
        None => report.left_out("several servers", "there is no server to test"),
    }
    report.finish()
}

/// A chore that either succeeds or does not.
fn succeeded(chore: Background) -> Result<Counts> {
    let (succeeded, _) = chore.end()?;
    Ok(match succeeded {
        true => Counts::ONE_PASSED,
        false => Counts::ONE_FAILED,
    })
}

/// A chore that counts its steps in its last line.
fn counted(chore: Background) -> Result<Counts> {
    let (succeeded, said) = chore.end()?;
    match Counts::told(&said) {
        Some(counts) if succeeded == (counts.failed == 0) => Ok(counts),
        _ => bail!("what it counted is not what came of it"),
    }
}

/// `test-senders`: each sender that can be had is a test.
fn sent(sending: Background) -> Result<Counts> {
    let (succeeded, said) = sending.end()?;
    let senders::Outcome { passed, failed } = senders::outcome(&said);
    if passed + failed == 0 {
        println!("WARNING: real senders are NOT tried, since none could be had");
    }
    let failed = failed.max(usize::from(!succeeded));
    Ok(Counts { passed, failed })
}

/// A program of the end-to-end tests' crate; its own arguments follow.
pub(crate) fn end_to_end_program(name: &str) -> Command {
    let mut command = shell::cargo();
    command.args(["run", "--package", "pulseboard-e2e", "--bin", name, "--"]);
    command
}

/// The same build for all native steps: another choice of packages would unify other features
/// and compile half of the dependencies again. Which tests run is the runner's choice, and whether
/// they run at all the caller's: nextest takes no `--no-fail-fast` where nothing runs.
fn native_tests(nextest: bool, programs: &Programs) -> Command {
    let mut command = shell::cargo();
    if nextest {
        command.args(["nextest", "run", "--workspace"]);
    } else {
        let tests = [
            "test",
            "--workspace",
            "--exclude",
            "pulseboard-e2e",
            "--exclude",
            "pulseboard-cluster-tests",
            "--lib",
            "--bins",
            "--tests",
        ];
        command.args(tests);
    }
    // Our answers are compared with a real Prometheus', and servers are tried behind real proxies
    // and over a real Redis; a test that is told of none says so and passes.
    programs.tell(&mut command);
    command
}

fn page_tests(browser: &Browser) -> Command {
    let mut command = lints::page_tests();
    command
        .env("CHROMEDRIVER", &browser.driver)
        .env("WASM_BINDGEN_TEST_TIMEOUT", PAGE_TEST_TIMEOUT_S);
    command
}

fn end_to_end(nextest: bool, browser: &Browser, server: &Path) -> Command {
    let mut command = shell::cargo();
    if nextest {
        command.args([
            "nextest",
            "run",
            "--workspace",
            "--profile",
            "e2e",
            "--no-fail-fast",
        ]);
    } else {
        // More browsers at a time than this and they wait for each other on a small machine.
        command.args([
            "test",
            "--package",
            "pulseboard-e2e",
            "--no-fail-fast",
            "--",
            "--test-threads",
            "2",
        ]);
    }
    end_to_end_environment(&mut command, browser, server);
    command
}

/// Tells the browser tests where everything is.
pub(crate) fn end_to_end_environment<'a>(
    command: &'a mut Command,
    browser: &Browser,
    server: &Path,
) -> &'a mut Command {
    command
        .env("PULSEBOARD_BIN", server)
        .env("PULSEBOARD_PAGE", page::dist())
        .env("CHROMIUM", &browser.chromium)
        .env("CHROMEDRIVER", &browser.driver)
        // Errors here are sentences; where they were made is not what a reader looks for.
        .env("RUST_LIB_BACKTRACE", "0");
    match npm::AXE.install() {
        Ok(()) => {
            command.env("AXE_CORE", npm::AXE.folder().join("axe.min.js"));
        }
        Err(error) => {
            println!(
                "WARNING: accessibility is NOT checked, since axe-core could not be had from npm ({error:#})"
            );
            command.env("AXE_CORE", "none");
        }
    }
    command
}
