//! The command line: one flag per entry of the table, `--config`, the subcommands, and the texts of
//! `--help` and `--version`.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use clap::{Arg, ArgMatches, Command, error::ErrorKind, value_parser};

mod agent;
mod commands;
mod rules;

pub use agent::AgentArguments;
pub use commands::{Connection, DataCommand};
pub use rules::RulesCommand;

use super::{Spec, error::SettingsError, table, version};

/// The flag that names the file.
pub(super) const CONFIG_FLAG: &str = "config";
/// The environment variable that names the file.
pub(super) const CONFIG_ENV: &str = "CONFIG_FILE";

/// Settings stand below this in `--help`, behind what a subcommand alone takes.
const SETTINGS: &str = "Settings";

const CHECK_CONFIG: &str = "check-config";
const ADMIN_LINK: &str = "admin-link";
const AGENT: &str = "agent";

/// What the command line turned out to be.
#[derive(Debug)]
pub(super) enum Parsed {
    /// A text to print, asked for by `--help` or `--version`.
    Text(String),
    /// Something that needs no settings.
    Rules(RulesCommand),
    /// Values for settings.
    Line(Box<Line>),
}

/// What the command line gives.
#[derive(Debug)]
pub(super) struct Line {
    /// `--config`.
    pub(super) config: Option<PathBuf>,
    /// Flags that were given, by name without dashes, to their texts.
    pub(super) flags: BTreeMap<&'static str, String>,
    /// What is to be done with them.
    pub(super) task: Task,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) enum Task {
    /// To serve.
    Run,
    /// `check-config`.
    CheckConfig,
    /// `admin-link`.
    AdminLink,
    /// `agent`.
    Agent(AgentArguments),
    /// `export`, `import`, `backup`, `restore`.
    Data(DataCommand),
}

/// Reads `args`, which begin with the program's name. A flag given twice: the last one holds, so
/// that a wrapper's flags can be overruled.
pub(super) fn read(args: impl Iterator<Item = OsString>) -> Result<Parsed, SettingsError> {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                    Ok(Parsed::Text(error.render().to_string()))
                }
                _ => Err(SettingsError::Usage(one_line(&error.render().to_string()))),
            };
        }
    };
    // Flags may stand before or behind the subcommand, whose matches then have them all.
    let matches = match matches.subcommand() {
        Some((CHECK_CONFIG, inner)) => (inner, Task::CheckConfig),
        Some((ADMIN_LINK, inner)) => (inner, Task::AdminLink),
        Some((AGENT, inner)) => (inner, Task::Agent(agent::arguments(inner))),
        Some((name, inner)) if let Some(command) = rules::arguments(name, inner) => {
            return Ok(Parsed::Rules(command));
        }
        Some((name, inner)) => {
            let task = commands::arguments(name, inner).map_or(Task::Run, Task::Data);
            (inner, task)
        }
        None => (&matches, Task::Run),
    };
    Ok(Parsed::Line(Box::new(line(matches.0, matches.1))))
}

fn line(matches: &ArgMatches, task: Task) -> Line {
    Line {
        config: matches.get_one::<PathBuf>(CONFIG_FLAG).cloned(),
        flags: table()
            .filter_map(|spec| spec.flag)
            .filter_map(|flag| Some((flag, matches.get_one::<String>(flag)?.clone())))
            .collect(),
        task,
    }
}

fn command() -> Command {
    let config = Arg::new(CONFIG_FLAG)
        .long(CONFIG_FLAG)
        .value_name(CONFIG_ENV)
        .help(format!(
            "File with settings, in TOML; config.example.toml shows every key [env: {CONFIG_ENV}]"
        ))
        .help_heading(SETTINGS)
        .value_parser(value_parser!(PathBuf))
        .global(true);
    Command::new("pulseboard")
        .about("Live metrics dashboard: one binary, the page inside")
        .version(version())
        .after_help(footer())
        .args_override_self(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new(CHECK_CONFIG)
                .about("Checks the settings and the files they name, without starting"),
        )
        .subcommand(Command::new(ADMIN_LINK).about(
            "Prints a link that logs a browser in as admin on the server that runs on this DATA_DIR. It works once, within ten minutes",
        ))
        .subcommand(agent::command(AGENT))
        .subcommands(commands::commands())
        .subcommands(rules::commands())
        .arg(config)
        .args(table().filter_map(|spec| Some(flag(spec, spec.flag?))))
}

fn flag(spec: &Spec, name: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(spec.env)
        .help(format!("{} {}", spec.help_line(), names(spec)))
        .long_help(format!(
            "{}\nTakes {}.\n{}",
            spec.help_line(),
            spec.accepts,
            names(spec)
        ))
        .help_heading(SETTINGS)
        // A negative number is for the setting to refuse, by name, and not an unknown flag.
        .allow_negative_numbers(true)
        .global(true)
}

/// The names and the default behind a help text.
fn names(spec: &Spec) -> String {
    format!(
        "[env: {}] [key: {}] [default: {}]",
        spec.env, spec.key, spec.default
    )
}

/// What `--help` says below the flags: the settings that have none, and which place wins.
fn footer() -> String {
    let mut text = String::from("Without a flag, because the list of processes would show it:\n");
    for spec in table().filter(|spec| spec.flag.is_none()) {
        text.push_str(&format!(
            "      {}  {} {}\n",
            spec.env,
            spec.help_line(),
            names(spec)
        ));
    }
    text.push_str("\nA flag beats the environment, which beats the file, which beats the default.");
    text
}

/// The message of a usage error without the paragraphs on usage that follow it.
fn one_line(rendered: &str) -> String {
    let lines: Vec<&str> = rendered
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let text = lines.join("; ");
    text.strip_prefix("error: ").unwrap_or(&text).to_owned()
}
