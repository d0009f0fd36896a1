//! `pulseboard agent`: what it takes beside the settings of a server.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, builder::ValueParser, value_parser};
use pulseboard_agent::Local;

/// What only an agent is told.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentArguments {
    /// The hub.
    pub to: String,
    /// The token that the hub is shown.
    pub token: Option<String>,
    /// A file with the token.
    pub token_file: Option<PathBuf>,
    /// Who signs the hub's certificate, in place of those that this machine believes.
    pub ca_file: Option<PathBuf>,
    /// The tenant, for a token that is bound to none.
    pub tenant: Option<String>,
    /// A `prometheus.yml`.
    pub scrape_config: Option<PathBuf>,
    /// Where local applications are listened to.
    pub local: Local,
    /// Hours that are kept for a hub that is away.
    pub buffer_hours: u64,
    /// Mebibytes on disk that they may take.
    pub buffer_mib: u64,
    /// Print the unit and end.
    pub print_unit: bool,
}

impl std::fmt::Debug for AgentArguments {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentArguments")
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

pub(super) fn command(name: &'static str) -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new(name)
        .about("Measures this machine, scrapes its targets and sends everything to a hub. Of the settings it uses instance, data-dir (its folder agent), metric-interval-ms and log-format")
        .arg(
            option("to", "URL", "The hub, such as https://hub.example.org:3000 [env: AGENT_TO]")
                .env("AGENT_TO")
                .hide_env(true)
                .required(true),
        )
        .arg(
            option(
                "token",
                "TOKEN",
                "A token with the role writer. The list of processes shows a flag: AGENT_TOKEN or --token-file keep it hidden [env: AGENT_TOKEN]",
            )
            .env("AGENT_TOKEN")
            .hide_env(true)
            .conflicts_with("token-file"),
        )
        .arg(
            option("token-file", "FILE", "A file with the token, read again when it changes")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            option(
                "ca-file",
                "FILE",
                "A file with the certificates (PEM) that are believed of the hub in place of this machine's, read again when it changes",
            )
            .value_parser(value_parser!(PathBuf)),
        )
        .arg(option(
            "tenant",
            "NAME",
            "The tenant whose series they are, for a token that is bound to none",
        ))
        .arg(
            option(
                "scrape-config",
                "FILE",
                "A prometheus.yml whose scrape_configs are scraped here",
            )
            .value_parser(value_parser!(PathBuf)),
        )
        .arg(listen("local-statsd", "Where to listen for StatsD datagrams of applications on this machine, such as 127.0.0.1:8125"))
        .arg(listen("local-otlp", "Where to listen for OpenTelemetry metrics of applications on this machine over HTTP, such as 127.0.0.1:4318"))
        .arg(listen("local-otlp-grpc", "Where to listen for the same over gRPC, such as 127.0.0.1:4317"))
        .arg(bounded(
            option("buffer-hours", "HOURS", "How many hours of samples are kept while the hub cannot be reached [default: 24]"),
            "24",
            1..=876_000,
        ))
        .arg(bounded(
            option("buffer-mib", "MIB", "Disk space for them, in MiB; beyond it the oldest are dropped [default: 1024]"),
            "1024",
            1..=1_048_576,
        ))
        .arg(
            Arg::new("print-unit")
                .long("print-unit")
                .action(ArgAction::SetTrue)
                .help("Prints a systemd unit for this agent, without starting"),
        )
}

fn listen(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("ADDRESS")
        .help(help)
        .value_parser(value_parser!(SocketAddr))
}

fn bounded(argument: Arg, default: &'static str, range: std::ops::RangeInclusive<u64>) -> Arg {
    let parser = ValueParser::from(value_parser!(u64).range(range));
    argument
        .default_value(default)
        .hide_default_value(true)
        .value_parser(parser)
}

pub(super) fn arguments(matches: &ArgMatches) -> AgentArguments {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    let address = |name: &str| matches.get_one::<SocketAddr>(name).copied();
    let number = |name: &str| matches.get_one::<u64>(name).copied().unwrap_or_default();
    AgentArguments {
        to: text("to").unwrap_or_default(),
        token: text("token"),
        token_file: path("token-file"),
        ca_file: path("ca-file"),
        tenant: text("tenant"),
        scrape_config: path("scrape-config"),
        local: Local {
            statsd: address("local-statsd"),
            otlp: address("local-otlp"),
            otlp_grpc: address("local-otlp-grpc"),
        },
        buffer_hours: number("buffer-hours"),
        buffer_mib: number("buffer-mib"),
        print_unit: matches.get_flag("print-unit"),
    }
}
