//! What `test` and `lints` tell of their steps: all run even when an early one failed, so that one
//! run tells everything. The last line adds up all counts; a step that is not itself a test runner
//! counts as one.

use std::{
    fmt,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::shell;

/// How many passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl Counts {
    pub(crate) const ONE_PASSED: Self = Self {
        passed: 1,
        failed: 0,
    };
    pub(crate) const ONE_FAILED: Self = Self {
        passed: 0,
        failed: 1,
    };

    /// What a report says in its last line but errors, which is what [`fmt::Display`] writes.
    pub(crate) fn told(said: &str) -> Option<Self> {
        let counts = |line: &str| {
            let (passed, rest) = line.split_once(" passed, ")?;
            let failed = rest.strip_suffix(" failed")?;
            Some(Self {
                passed: passed.parse().ok()?,
                failed: failed.parse().ok()?,
            })
        };
        said.lines().rev().find_map(counts)
    }

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
pub(crate) struct Report {
    steps: Vec<Step>,
    /// Programs that are not to be had, with the reasons: tests that need them are left out.
    pub(crate) without: Vec<String>,
}

struct Step {
    name: &'static str,
    counts: Counts,
    took: Duration,
    /// Why it failed, where the output above does not say.
    problem: Option<String>,
}

impl Report {
    /// Runs one step; whether it succeeded. One that is done elsewhere is told with the time for
    /// which somebody waited for it here.
    pub(crate) fn step(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Result<Counts>,
    ) -> bool {
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
    pub(crate) fn left_out(&mut self, name: &'static str, why: &str) {
        println!("\n=== {name}\nleft out: {why}");
        self.steps.push(Step {
            name,
            counts: Counts::ONE_FAILED,
            took: Duration::ZERO,
            problem: Some(format!("left out: {why}")),
        });
    }

    pub(crate) fn finish(self) -> Result<()> {
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

/// A command that either succeeds or does not.
pub(crate) fn check(command: &mut Command) -> Result<Counts> {
    shell::run(command).map(|()| Counts::ONE_PASSED)
}

/// A test runner; what it counted. One that fails without a failed test (it did not compile, or
/// was ended) is one failure.
pub(crate) fn count(command: &mut Command) -> Result<Counts> {
    count_and_hear(command, &|_| {})
}

/// The same, and `hear` is told of each line when it comes.
pub(crate) fn count_and_hear(
    command: &mut Command,
    hear: &(dyn Fn(&str) + Sync),
) -> Result<Counts> {
    let (succeeded, said) = shell::run_and_hear(command, hear)?;
    let mut counts = counts_in(&said);
    if !succeeded && counts.failed == 0 {
        counts.failed = 1;
    }
    Ok(counts)
}

/// Adds up what test runners report: `12 tests run: 11 passed, 1 failed` of nextest, and
/// `test result: ok. 3 passed; 0 failed` of the standard harness and of the one for browsers. Where
/// nextest counts, the standard harness does too, of each test that failed.
fn counts_in(said: &str) -> Counts {
    let mut all = Counts::default();
    let lines: Vec<String> = said.lines().map(without_colours).collect();
    let is_nextests = |line: &String| line.contains("Summary [") && line.contains("run:");
    let by_nextest = lines.iter().any(is_nextests);
    for line in &lines {
        let is_total = match by_nextest {
            true => is_nextests(line),
            false => line.contains("test result:"),
        };
        if !is_total {
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
    fn what_a_report_counted_is_read_from_its_last_line() {
        let counts = Counts {
            passed: 12,
            failed: 3,
        };
        let said = format!(
            "1 passed, 0 failed\n\n=== Summary\n  ok  1 passed, 0 failed\n\n{counts}\n\nerror: 3 failed\n"
        );
        assert_eq!(Counts::told(&said), Some(counts));
        assert_eq!(Counts::told("it did not come so far\n"), None);
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
        // What the harness of a test that failed says of it is in what nextest counts.
        check(
            "test result: FAILED. 0 passed; 1 failed; 0 ignored\n\
             Summary [ 0.1s] 3 tests run: 2 passed, 1 failed, 0 skipped",
            2,
            1,
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
