//! `pulseboard check-rules` and `test-rules`: what they take. They need no settings and no server.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use pulseboard_rules::unit_test::EVALUATIONS_MAX;

const CHECK: &str = "check-rules";
const TEST: &str = "test-rules";

/// What is to be done with files of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulesCommand {
    /// Say what is wrong with them.
    Check(Vec<PathBuf>),
    /// Run the unit tests in them.
    Test(Vec<PathBuf>),
}

fn files() -> Arg {
    Arg::new("file")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .action(ArgAction::Append)
        .num_args(1..)
        .required(true)
}

pub(super) fn commands() -> [Command; 2] {
    [
        Command::new(CHECK)
            .about("Checks rule files as promtool check rules does, same files, exit codes 0 and 1")
            .arg(files().help("Rule files")),
        Command::new(TEST)
            .about("Runs unit tests of rules as promtool test rules does, same files, exit codes 0 and 1")
            .long_about(format!(
                "Runs unit tests of rules as promtool test rules does, same files, exit codes 0 and 1.\n\nA test may need {EVALUATIONS_MAX} evaluations of rules: all rules, at each evaluation_interval up to its last eval_time. One that needs more fails and says so."
            ))
            .arg(files().help("Files with tests, which name the rule files")),
    ]
}

/// What one of them was told.
pub(super) fn arguments(name: &str, matches: &ArgMatches) -> Option<RulesCommand> {
    let make = match name {
        CHECK => RulesCommand::Check,
        TEST => RulesCommand::Test,
        _ => return None,
    };
    let named = matches.get_many::<PathBuf>("file");
    Some(make(
        named.map(|all| all.cloned().collect()).unwrap_or_default(),
    ))
}
