//! `test`: everything that must hold before a change is right, from formatting to a browser.
//!
//! All steps run even when an early one failed, so that one run tells everything; only what
//! cannot work without a failed step is left out, and counted as failed. What needs a program that
//! is not to be had here is left out, too; it is said, and counted apart. The last line adds up all
//! counts; a step that is not itself a test runner counts as one.

use std::{
    env, fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{
    browser::{self, Browser},
    cluster::{self, Programs},
    npm, page, senders, shell, tidy, tools,
};

/// What a browser test waits for one test at most before it calls it stuck, in seconds.
const PAGE_TEST_TIMEOUT_S: &str = "60";

/// How many passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
}

impl Counts {
    const ONE_PASSED: Self = Self {
        passed: 1,
        failed: 0,
    };
    const ONE_FAILED: Self = Self {
        passed: 0,
        failed: 1,
    };

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// The steps that have run, in order.
#[derive(Default)]
struct Report {
    steps: Vec<Step>,
    /// Programs that are not to be had, with the reasons: tests that need them are left out.
    without: Vec<String>,
}

struct Step {
    name: &'static str,
    counts: Counts,
    took: Duration,
    /// Why it failed, where the output above does not say.
    problem: Option<String>,
}

impl Report {
    /// Runs one step; whether it succeeded.
    fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<Counts>) -> bool {
        println!("\n=== {name}");
        let started = Instant::now();
        let (counts, problem) = match work() {
            Ok(counts) => (counts, None),
            Err(error) => {
                println!("error: {error:#}");
                (Counts::ONE_FAILED, Some(format!("{error:#}")))
            }
        };
        self.steps.push(Step {
            name,
            counts,
            took: started.elapsed(),
            problem,
        });
        counts.failed == 0
    }

    /// Notes a step that had no chance.
    fn left_out(&mut self, name: &'static str, why: &str) {
        println!("\n=== {name}\nleft out: {why}");
        self.steps.push(Step {
            name,
            counts: Counts::ONE_FAILED,
            took: Duration::ZERO,
            problem: Some(format!("left out: {why}")),
        });
    }

    fn finish(self) -> Result<()> {
        let mut all = Counts::default();
        println!("\n=== Summary");
        for step in &self.steps {
            all.add(step.counts);
            let verdict = if step.counts.failed == 0 {
                "ok    "
            } else {
                "FAILED"
            };
            println!(
                "  {verdict} {:<26} {:>4} s   {}",
                step.name,
                step.took.as_secs(),
                step.counts
            );
            if let Some(problem) = &step.problem {
                println!("         {problem}");
            }
        }
        for missing in &self.without {
            println!("  left out: what needs it, since {missing}");
        }
        match self.without.len() {
            0 => println!("\n{all}"),
            without => println!("\n{all}, {without} programs left out"),
        }
        if all.failed > 0 {
            bail!("{} failed; look for it above", all.failed);
        }
        Ok(())
    }
}

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    crate::arguments::nothing(arguments)?;
    let mut report = Report::default();
    report.step("formatting", || {
        check(shell::cargo().args(["fmt", "--all", "--check"]))
    });
    // Early, since the server's tests look at the page that is compiled into it.
    let page = report.step("page", || page::build().map(|()| Counts::ONE_PASSED));
    if page {
        report.step("first load", || {
            page::first_load_is_small().map(|()| Counts::ONE_PASSED)
        });
    }
    let nextest = tools::nextest();
    let programs = Programs::fetch();
    report.without.clone_from(&programs.missing);
    report.step("unit and integration tests", || {
        count(native_tests(nextest, &programs).arg("--no-fail-fast"))
    });
    // The one that the tests above were built with: another profile's would be compiled for minutes
    // more.
    let mut server = None;
    if page {
        report.step("server", || {
            check(native_tests(nextest, &programs).arg("--no-run"))?;
            server = Some(shell::binary("debug"));
            Ok(Counts::ONE_PASSED)
        });
    }
    // They wait for each other more than they work, and meanwhile there is something to compile.
    let sending = server.as_deref().map(Sending::begin);
    report.step("lints", || check(&mut lints()));
    report.step("lints in WebAssembly", || {
        let lint = |package: &[&str]| {
            let mut command = shell::cargo();
            command.args(["clippy", "--target", "wasm32-unknown-unknown"]);
            check(command.args(package).args(["--", "-D", "warnings"]))
        };
        // Unit tests run natively, and some need what a browser does not give, so they are not
        // looked at here; the files in `tests/` are the ones that run in a browser.
        lint(&["--package", "pulseboard-shared", "--lib"])?;
        lint(&[
            "--package",
            "pulseboard-frontend",
            "--features",
            "split",
            "--lib",
            "--bins",
            "--test",
            "*",
        ])
    });
    report.step("documentation", || {
        check(
            shell::cargo()
                .args([
                    "doc",
                    "--workspace",
                    "--no-deps",
                    "--document-private-items",
                ])
                // These documents are for those who work here, and so have the private items too.
                .env(
                    "RUSTDOCFLAGS",
                    "-D warnings -A rustdoc::private-intra-doc-links",
                ),
        )
    });
    report.step("documentation tests", || {
        count(shell::cargo().args(["test", "--workspace", "--doc", "--no-fail-fast"]))
    });
    report.step("house rules", || {
        tidy::check(server.as_deref()).map(|()| Counts::ONE_PASSED)
    });
    match sending {
        Some(sending) => {
            report.step("what people have sends to it", || sending?.end());
        }
        None => report.left_out("what people have sends to it", "there is no server to test"),
    }
    let browser = browser::ready();
    match &browser {
        Ok(browser) => {
            report.step("page tests in a browser", || {
                count(&mut page_tests(browser))
            });
        }
        Err(error) => report.left_out("page tests in a browser", &format!("{error:#}")),
    }
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
    match (browser, &server) {
        (Ok(browser), Some(server)) => {
            report.step("end to end", || {
                count(&mut end_to_end(nextest, &browser, server))
            });
        }
        (Ok(_), None) => report.left_out("end to end", "there is no server to test"),
        (Err(error), _) => report.left_out("end to end", &format!("{error:#}")),
    }
    report.finish()
}

/// `test-senders` of a server that is built, while something else is done. Each sender that can be
/// had is a test.
struct Sending {
    child: Child,
    /// What it says: between what else is said nobody would find it.
    log: PathBuf,
}

impl Sending {
    fn begin(server: &Path) -> Result<Self> {
        let log = shell::target().join("senders.log");
        let said = File::create(&log)?;
        let mut command = shell::command(env::current_exe()?);
        command.arg("test-senders").arg("--server").arg(server);
        println!("$ {} > {}", shell::describe(&command), log.display());
        let child = command.stdout(said.try_clone()?).stderr(said).spawn()?;
        Ok(Self { child, log })
    }

    fn end(mut self) -> Result<Counts> {
        let succeeded = self.child.wait()?.success();
        let said = String::from_utf8_lossy(&fs::read(&self.log)?).into_owned();
        println!("{said}");
        let senders::Outcome { passed, failed } = senders::outcome(&said);
        if passed + failed == 0 {
            println!("WARNING: real senders are NOT tried, since none could be had");
        }
        let failed = failed.max(usize::from(!succeeded));
        Ok(Counts { passed, failed })
    }
}

impl Drop for Sending {
    /// One that is not waited for is ended.
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A command that either succeeds or does not.
fn check(command: &mut Command) -> Result<Counts> {
    shell::run(command).map(|()| Counts::ONE_PASSED)
}

/// A test runner; what it counted. One that fails without a failed test (it did not compile, or
/// was ended) is one failure.
fn count(command: &mut Command) -> Result<Counts> {
    let (succeeded, said) = shell::run_and_keep(command)?;
    let mut counts = counts_in(&said);
    if !succeeded && counts.failed == 0 {
        counts.failed = 1;
    }
    Ok(counts)
}

/// The lints of everything that is compiled natively.
pub(crate) fn lints() -> Command {
    let mut command = shell::cargo();
    command.args(["clippy", "--workspace", "--all-targets"]);
    command.args(["--", "-D", "warnings"]);
    command
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
    let mut command = shell::cargo();
    command
        .args([
            "test",
            "--package",
            "pulseboard-frontend",
            "--tests",
            "--no-fail-fast",
        ])
        .args(["--target", "wasm32-unknown-unknown"])
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

/// Adds up what test runners report: `12 tests run: 11 passed, 1 failed` of nextest, and
/// `test result: ok. 3 passed; 0 failed` of the standard harness and of the one for browsers.
fn counts_in(said: &str) -> Counts {
    let mut all = Counts::default();
    for line in said.lines().map(without_colours) {
        let nextest = line.contains("Summary [") && line.contains("run:");
        if !nextest && !line.contains("test result:") {
            continue;
        }
        let number_before = |word: &str| -> usize {
            let words: Vec<&str> = line
                .split(|c: char| !c.is_alphanumeric())
                .filter(|part| !part.is_empty())
                .collect();
            words
                .windows(2)
                .filter(|pair| pair[1] == word)
                .filter_map(|pair| pair[0].parse::<usize>().ok())
                .sum()
        };
        let failed = number_before("failed") + number_before("timed") + number_before("exec");
        all.add(Counts {
            passed: number_before("passed"),
            failed,
        });
    }
    all
}

/// A line without the escape sequences that colour it.
fn without_colours(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(said: &str, passed: usize, failed: usize) {
        assert_eq!(counts_in(said), Counts { passed, failed }, "{said}");
    }

    #[test]
    fn what_runners_report_is_added_up() {
        check("", 0, 0);
        check(
            "     Summary [   0.027s] 8 tests run: 8 passed, 0 skipped",
            8,
            0,
        );
        check(
            "     Summary [   1.5s] 8 tests run: 5 passed (1 slow), 2 failed, 1 timed out, 3 skipped",
            5,
            3,
        );
        check(
            "     Summary [   1.5s] 3/8 tests run: 1 passed, 1 failed, 1 exec failed, 0 skipped",
            1,
            2,
        );
        check(
            "test result: ok. 3 passed; 0 failed; 0 ignored\n\
             test result: FAILED. 1 passed; 2 failed; 0 ignored; finished in 0.07s",
            4,
            2,
        );
        check(
            "\u{1b}[32mtest result\u{1b}[0m: ok. \u{1b}[1m3\u{1b}[0m passed; 0 failed",
            3,
            0,
        );
        check(
            "     \u{1b}[32;1mSummary\u{1b}[0m [ 0.1s] 2 tests run: \u{1b}[1m2\u{1b}[0m passed",
            2,
            0,
        );
    }
}
