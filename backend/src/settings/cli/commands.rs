//! `pulseboard export`, `import`, `backup`, `restore` and `ready`: what they take beside the
//! settings.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use pulseboard_outbound::secret::hide_password;

/// Names of the subcommands.
pub(super) const EXPORT: &str = "export";
pub(super) const IMPORT: &str = "import";
pub(super) const BACKUP: &str = "backup";
pub(super) const RESTORE: &str = "restore";
pub(super) const READY: &str = "ready";

/// Which server is asked, and as whom.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// Its address; `None` for the one that runs on `DATA_DIR`.
    pub url: Option<String>,
    /// The token that it is shown.
    pub token: Option<String>,
    /// A file with the token.
    pub token_file: Option<PathBuf>,
    /// The tenant, for a token that is bound to none.
    pub tenant: Option<String>,
    /// Who signs the server's certificate, in place of those that this machine believes.
    pub ca_file: Option<PathBuf>,
}

impl std::fmt::Debug for Connection {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("url", &self.url.as_deref().map(hide_password))
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

/// What is to be done with what is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataCommand {
    /// Write series with their samples.
    Export {
        /// Whom to ask.
        from: Connection,
        /// Selectors of series.
        selectors: Vec<String>,
        /// Times as Prometheus takes them.
        start: Option<String>,
        end: Option<String>,
        /// `json` or `csv`.
        format: String,
        /// Where to; standard output where none is named.
        output: Option<PathBuf>,
    },
    /// Take in lines that were exported.
    Import {
        /// Whom to give them.
        to: Connection,
        /// Where from; standard input where none is named.
        file: Option<PathBuf>,
    },
    /// Copy everything of the server that runs on `DATA_DIR` into one file.
    Backup {
        /// Who makes the copy.
        from: Connection,
        /// The file.
        to: PathBuf,
    },
    /// Say whether a server is ready.
    Ready {
        /// Which.
        asked: Connection,
    },
    /// Make `DATA_DIR` what a file says.
    Restore {
        /// The file.
        from: PathBuf,
    },
}

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn connection(command: Command) -> Command {
    command
        .arg(option(
            "url",
            "URL",
            "The server, such as http://127.0.0.1:3000 [default: the one that runs on DATA_DIR]",
        ))
        .arg(
            option(
                "token",
                "TOKEN",
                "A token of the server. The list of processes shows a flag: PULSEBOARD_TOKEN or --token-file keep it hidden [env: PULSEBOARD_TOKEN]",
            )
            .env("PULSEBOARD_TOKEN")
            .hide_env(true)
            .conflicts_with("token-file"),
        )
        .arg(
            option("token-file", "FILE", "A file with the token")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            option(
                "ca-file",
                "FILE",
                "A file with the certificates (PEM) that are believed in place of this machine's",
            )
            .value_parser(value_parser!(PathBuf)),
        )
}

fn tenant(command: Command) -> Command {
    command.arg(option(
        "tenant",
        "NAME",
        "The tenant whose series they are, for a token that is bound to none",
    ))
}

pub(super) fn commands() -> [Command; 5] {
    let export = Command::new(EXPORT)
        .about("Writes series of a running server with all their samples, as lines of JSON that import reads, or as CSV")
        .arg(
            option("match", "SELECTOR", "Which series, such as up{job=\"node\"}; may be given several times [default: all]")
                .action(ArgAction::Append),
        )
        .arg(option("start", "TIME", "The earliest time of a sample, RFC 3339 or Unix seconds [default: all]"))
        .arg(option("end", "TIME", "The latest time of a sample [default: all]"))
        .arg(
            option("format", "FORMAT", "json or csv [default: json]")
                .value_parser(["json", "csv"])
                .default_value("json")
                .hide_default_value(true)
                .hide_possible_values(true),
        )
        .arg(
            option("output", "FILE", "The file to write; it appears when it is complete [default: standard output]")
                .value_parser(value_parser!(PathBuf)),
        );
    let import = Command::new(IMPORT)
        .about("Sends exported lines to a running server. A sample that it has already is not stored twice")
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .help("The exported lines [default: standard input]")
                .value_parser(value_parser!(PathBuf)),
        );
    let backup = Command::new(BACKUP)
        .about("Copies everything that the server on this DATA_DIR keeps, of all tenants, into one file. The server may be running. Run this as its user")
        .arg(
            option("to", "FILE", "The file to write; it appears when it is complete")
                .value_parser(value_parser!(PathBuf))
                .required(true),
        );
    let restore = Command::new(RESTORE)
        .about("Replaces what is in DATA_DIR by a backup, after the whole file was checked. No server may run on it. What was there stays in DATA_DIR, in a folder replaced-TIME")
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .help("The file that backup wrote")
                .value_parser(value_parser!(PathBuf))
                .required(true),
        );
    let ready = Command::new(READY)
        .about("Asks the server on DATA_DIR whether it is ready, for the probe of a container; exit code 0 if it is");
    [
        connection(ready),
        tenant(connection(export)),
        tenant(connection(import)),
        connection(backup),
        restore,
    ]
}

/// What one of them was told.
pub(super) fn arguments(name: &str, matches: &ArgMatches) -> Option<DataCommand> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    let connection = |has_tenant: bool| Connection {
        url: text("url"),
        token: text("token"),
        token_file: path("token-file"),
        tenant: has_tenant.then(|| text("tenant")).flatten(),
        ca_file: path("ca-file"),
    };
    Some(match name {
        EXPORT => DataCommand::Export {
            from: connection(true),
            selectors: matches
                .get_many::<String>("match")
                .map(|all| all.cloned().collect())
                .unwrap_or_default(),
            start: text("start"),
            end: text("end"),
            format: text("format").unwrap_or_default(),
            output: path("output"),
        },
        IMPORT => DataCommand::Import {
            to: connection(true),
            file: path("file"),
        },
        BACKUP => DataCommand::Backup {
            from: connection(false),
            to: path("to")?,
        },
        READY => DataCommand::Ready {
            asked: connection(false),
        },
        RESTORE => DataCommand::Restore {
            from: path("file")?,
        },
        _ => return None,
    })
}
