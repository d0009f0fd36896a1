//! `lints`: what the compilers say of everything: lints natively and in WebAssembly, documentation,
//! and the examples in it. The page's tests are compiled too, so that they can begin at once.
//!
//! `test` has it done at the lowest priority while tests run, which wait for each other for a third
//! of their time.

use std::process::Command;

use anyhow::Result;

use crate::{
    report::{Counts, Report, check, count},
    shell,
};

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    crate::arguments::nothing(arguments)?;
    let mut report = Report::default();
    report.step("lints", || check(&mut native()));
    report.step("lints in WebAssembly", || {
        // Unit tests run natively, and some need what a browser does not give, so they are not
        // looked at here; the files in `tests/` are the ones that run in a browser.
        check(&mut in_browser(&[
            "--package",
            "pulseboard-shared",
            "--lib",
        ]))?;
        check(&mut in_browser(&[
            "--package",
            "pulseboard-frontend",
            "--features",
            "split",
            "--lib",
            "--bins",
            "--test",
            "*",
        ]))
    });
    report.step("documentation", || check(&mut documentation()));
    report.step("documentation tests", || {
        count(shell::cargo().args(["test", "--workspace", "--doc", "--no-fail-fast"]))
    });
    report.step("page tests compiled", || {
        shell::run(page_tests().arg("--no-run"))?;
        Ok(Counts::ONE_PASSED)
    });
    report.finish()
}

/// The lints of everything that is compiled natively.
pub(crate) fn native() -> Command {
    let mut command = shell::cargo();
    command.args(["clippy", "--workspace", "--all-targets"]);
    command.args(["--", "-D", "warnings"]);
    command
}

fn in_browser(package: &[&str]) -> Command {
    let mut command = shell::cargo();
    command.args(["clippy", "--target", "wasm32-unknown-unknown"]);
    command.args(package).args(["--", "-D", "warnings"]);
    command
}

fn documentation() -> Command {
    let mut command = shell::cargo();
    command.args([
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ]);
    // With examples, so that others' crates have the features that they were looked at with for the
    // lints: with others they would be compiled once more.
    command.args(["--lib", "--bins", "--examples"]);
    // These documents are for those who work here, and so have the private items too.
    command.env(
        "RUSTDOCFLAGS",
        "-D warnings -A rustdoc::private-intra-doc-links",
    );
    command
}

/// The tests of the page that run in a browser.
pub(crate) fn page_tests() -> Command {
    let mut command = shell::cargo();
    command.args(["test", "--package", "pulseboard-frontend", "--tests"]);
    command.args(["--no-fail-fast", "--target", "wasm32-unknown-unknown"]);
    command
}
