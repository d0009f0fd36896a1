//! Command line, environment and file put together: for each setting the first that gives it.

use std::ffi::OsString;

use super::{
    Settings, ValueKind, cli,
    error::{Origin, SettingsError},
    file, table,
};

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Launch {
    /// Start with these.
    Run(Settings),
    /// `check-config`: these are fine; say so and end.
    CheckConfig(Settings),
    /// `admin-link`: make one for the server that runs with these.
    AdminLink(Settings),
    /// `agent`: measure for a hub, with these.
    Agent(Settings, cli::AgentArguments),
    /// `export`, `import`, `backup` or `restore`, with these.
    Data(Settings, cli::DataCommand),
    /// `check-rules` or `test-rules`, whatever the settings are.
    Rules(cli::RulesCommand),
    /// `--help` or `--version`: print this as it is and end with code 0.
    Text(String),
}

/// Reads the command line (`args` begins with the program's name), the environment through `env`,
/// and the file that they name. An empty variable counts as not set.
///
/// # Errors
/// The first thing that is wrong, in the order command line, file, settings as in [`table()`]. Of a
/// setting that is given in several places only the winning text is looked at.
pub fn load(
    args: impl Iterator<Item = OsString>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Launch, SettingsError> {
    let line = match cli::read(args)? {
        cli::Parsed::Text(text) => return Ok(Launch::Text(text)),
        cli::Parsed::Rules(command) => return Ok(Launch::Rules(command)),
        cli::Parsed::Line(line) => line,
    };
    let variable = |name: &str| env(name).filter(|text| !text.trim().is_empty());

    let named = line
        .config
        .map(|path| (path, Origin::Flag(cli::CONFIG_FLAG)))
        .or_else(|| {
            variable(cli::CONFIG_ENV)
                .map(|path| (path.into(), Origin::Environment(cli::CONFIG_ENV)))
        });
    let mut file = match named {
        Some((path, origin)) => file::read(path, origin)?,
        None => file::File::default(),
    };

    let mut settings = Settings {
        rooms: std::mem::take(&mut file.rooms),
        ..Settings::default()
    };
    for spec in table() {
        let from_flag = spec
            .flag
            .and_then(|flag| Some((line.flags.get(flag)?.clone(), Origin::Flag(flag))));
        let given = from_flag
            .or_else(|| Some((variable(spec.env)?, Origin::Environment(spec.env))))
            .or_else(|| Some((file.take(spec)?, file.origin(spec))));
        if let Some((text, origin)) = given {
            let readable = match (spec.form, &origin) {
                (ValueKind::Secrets, Origin::File { path, .. })
                    if file::is_readable_by_others(path) =>
                {
                    Some(path.clone())
                }
                _ => None,
            };
            spec.set(&mut settings, text.trim(), origin)?;
            if readable.is_some() && !settings.tokens.is_empty() {
                settings.readable_tokens = readable;
            }
        }
    }
    Ok(match line.task {
        cli::Task::Run => Launch::Run(settings),
        cli::Task::CheckConfig => Launch::CheckConfig(settings),
        cli::Task::AdminLink => Launch::AdminLink(settings),
        cli::Task::Agent(arguments) => Launch::Agent(settings, arguments),
        cli::Task::Data(command) => Launch::Data(settings, command),
    })
}
