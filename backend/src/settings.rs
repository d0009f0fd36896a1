//! Every setting, once: the table below makes [`Settings`], its defaults, the flags, the
//! environment variables, the keys of the file, `--help` and the words of every refusal.
//!
//! ```text
//!   flag  >  environment  >  file  >  default        the first that is given wins
//!     └──────────┴──────────┴──────> text ──parse──> one typed field
//! ```
//!
//! To add a setting, add one entry to the table, to `config.example.toml`, which a test compares
//! with it, and to the README, where `cargo xtask tidy` looks for its names. Parsing lives in
//! [`parse`], the types of values in [`value`], flags in [`cli`], the file in [`mod@file`];
//! [`mod@load`] puts them together. Nothing here reads the process's environment or arguments by
//! itself.

mod cli;
mod error;
mod file;
mod load;
mod parse;
mod value;
mod warnings;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use pulseboard_archive::Way;
use pulseboard_bus::Address;
use pulseboard_shared::Role;

pub use self::{
    cli::{AgentArguments, Connection, DataCommand, RulesCommand},
    error::{Origin, SettingsError},
    load::{Launch, load},
    parse::{normalise_origin, room_name_is_valid, tenant_is_valid},
    value::{
        AlertsAlone, ClusterMode, DataDir, Durability, HostName, Hosts, LogFormat, NotifyBudget,
        Origins, RoomSettings, SourceKind, Token,
    },
    warnings::warnings,
};
use error::Rejected;

/// Makes [`Settings`], its defaults and the table out of one list. The doc comment of an entry is
/// also its help text, so it is one plain sentence without markup.
macro_rules! settings {
    ($(
        $(#[doc = $help:literal])+
        $field:ident: $type:ty {
            env: $env:literal,
            flag: $flag:expr,
            key: $key:literal,
            default: $default:literal,
            form: $form:expr,
            parse: $parse:expr,
            accepts: $accepts:literal $(,)?
        }
    )+) => {
        /// What the server was started with: every value is one that it can work with.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Settings {
            $($(#[doc = $help])+ pub $field: $type,)+
            /// The file that gave tokens, where others than its owner may read it.
            pub readable_tokens: Option<PathBuf>,
            /// Rooms with a least role, typed events or subscriptions of their own, by name; only
            /// the file can give them.
            pub rooms: BTreeMap<String, RoomSettings>,
        }

        impl Default for Settings {
            /// What holds when nothing is given, as `--help` says it.
            fn default() -> Self {
                Self {
                    $($field: $parse($default).expect("the table accepts its own defaults"),)+
                    readable_tokens: None,
                    rooms: BTreeMap::new(),
                }
            }
        }

        static TABLE: &[Spec] = &[$(
            Spec {
                env: $env,
                flag: $flag,
                key: $key,
                default: $default,
                help: concat!($($help),+),
                form: $form,
                accepts: $accepts,
                apply: |settings, text| {
                    settings.$field = $parse(text)?;
                    Ok(())
                },
            },
        )+];
    };
}

settings! {
    /// Where to listen.
    bind_addr: SocketAddr {
        env: "BIND_ADDR",
        flag: Some("bind"),
        key: "bind_addr",
        default: "127.0.0.1:3000",
        form: ValueKind::Single,
        parse: parse::address,
        accepts: "an address and a port, such as 127.0.0.1:3000, [::]:3000 or localhost:3000",
    }
    /// The certificate that the server shows, with those that signed it (PEM). With it BIND_ADDR
    /// and OTLP_GRPC_ADDR speak TLS alone. It is read again when it changes.
    tls_cert: Option<PathBuf> {
        env: "TLS_CERT",
        flag: Some("tls-cert"),
        key: "tls_cert",
        default: "off",
        form: ValueKind::Single,
        parse: parse::file,
        accepts: "off, or the path of a file",
    }
    /// The private key of TLS_CERT (PEM). It is read again when it changes.
    tls_key: Option<PathBuf> {
        env: "TLS_KEY",
        flag: Some("tls-key"),
        key: "tls_key",
        default: "off",
        form: ValueKind::Single,
        parse: parse::file,
        accepts: "off, or the path of a file",
    }
    /// How long browsers that have come by TLS are told to come by nothing else, in seconds
    /// (Strict-Transport-Security). 0 tells them nothing.
    tls_hsts: Duration {
        env: "TLS_HSTS_SEC",
        flag: Some("tls-hsts-sec"),
        key: "tls_hsts_sec",
        default: "0",
        form: ValueKind::Single,
        parse: parse::seconds::<0, 63_072_000>,
        accepts: "a whole number of seconds from 0 to 63072000",
    }
    /// Where the built-in figures come from: this machine, made-up ones, or nowhere.
    metric_source: SourceKind {
        env: "METRIC_SOURCE",
        flag: Some("source"),
        key: "metric_source",
        default: "host",
        form: ValueKind::Single,
        parse: parse::source,
        accepts: "host, simulator or none",
    }
    /// Time between two ticks of the built-in source, in milliseconds.
    metric_interval: Duration {
        env: "METRIC_INTERVAL_MS",
        flag: Some("metric-interval-ms"),
        key: "metric_interval_ms",
        default: "1000",
        form: ValueKind::Single,
        parse: parse::millis::<1, 3_600_000>,
        accepts: "a whole number of milliseconds from 1 to 3600000",
    }
    /// This machine's name in the label instance of its figures; hostname takes the machine's
    /// own.
    instance: String {
        env: "INSTANCE",
        flag: Some("instance"),
        key: "instance",
        default: "hostname",
        form: ValueKind::Single,
        parse: parse::instance,
        accepts: "hostname, or a name of 1 to 200 characters without control characters",
    }
    /// The Redis through which several servers are one service; off is one server. A password may
    /// stand in it, or in the file that REDIS_PASSWORD_FILE names.
    redis_url: Option<Address> {
        env: "REDIS_URL",
        flag: Some("redis"),
        key: "redis_url",
        default: "off",
        form: ValueKind::Secrets,
        parse: parse::redis,
        accepts: "off, redis://HOST:PORT, rediss://HOST:PORT, redis-sentinel://HOST,HOST/NAME or \
            redis-cluster://HOST,HOST, each with USER:PASSWORD@ before the first host where needed",
    }
    /// File with the password for Redis; off is without one, or with that of REDIS_URL.
    redis_password_file: Option<PathBuf> {
        env: "REDIS_PASSWORD_FILE",
        flag: Some("redis-password-file"),
        key: "redis_password_file",
        default: "off",
        form: ValueKind::Single,
        parse: parse::file,
        accepts: "off, or the path of a file",
    }
    /// What all keys in Redis begin with, so that several services can share one.
    redis_prefix: String {
        env: "REDIS_PREFIX",
        flag: Some("redis-prefix"),
        key: "redis_prefix",
        default: "pb",
        form: ValueKind::Single,
        parse: parse::redis_prefix,
        accepts: "1 to 32 characters A-Z a-z 0-9 _ . -",
    }
    /// What Redis holds of samples on their way to all servers, in bytes; one that was away for
    /// longer copies the history of another.
    ingest_buffer_bytes: usize {
        env: "INGEST_BUFFER_BYTES",
        flag: Some("ingest-buffer-bytes"),
        key: "ingest_buffer_bytes",
        default: "268435456",
        form: ValueKind::Single,
        parse: parse::whole::<1_048_576, 1_099_511_627_776>,
        accepts: "a whole number of bytes from 1048576 to 1099511627776",
    }
    /// How several servers share samples: replicated has every server keep all of them; sharded has
    /// each keep what came in at it, and the archive (ARCHIVE_WRITE_URL, ARCHIVE_READ_URL) all.
    cluster_mode: ClusterMode {
        env: "CLUSTER_MODE",
        flag: Some("cluster-mode"),
        key: "cluster_mode",
        default: "replicated",
        form: ValueKind::Single,
        parse: parse::cluster_mode,
        accepts: "replicated or sharded",
    }
    /// With several servers, a server that is told to stop sends its viewers to the others over
    /// this time, in seconds, while it answers /readyz with 503 and everything else as before.
    drain: Duration {
        env: "DRAIN_SEC",
        flag: Some("drain-sec"),
        key: "drain_sec",
        default: "5",
        form: ValueKind::Single,
        parse: parse::seconds::<0, 8>,
        accepts: "a whole number of seconds from 0 to 8",
    }
    /// Of which alerts people are told by a server that cannot reach the others: own, those of its
    /// own host, or all, by each server that is alone.
    alerts_alone: AlertsAlone {
        env: "ALERTS_ALONE",
        flag: Some("alerts-alone"),
        key: "alerts_alone",
        default: "own",
        form: ValueKind::Single,
        parse: parse::alerts_alone,
        accepts: "own or all",
    }
    /// Whether this machine's figures also have the names of Prometheus' node_exporter, with
    /// METRIC_SOURCE=host.
    node_metrics: bool {
        env: "NODE_METRICS",
        flag: Some("node-metrics"),
        key: "node_metrics",
        default: "on",
        form: ValueKind::Single,
        parse: parse::switch,
        accepts: "on or off",
    }
    /// While a rule keeps firing, its alert is repeated no more often than this, in seconds.
    alert_check: Duration {
        env: "ALERT_CHECK_SEC",
        flag: Some("alert-check-sec"),
        key: "alert_check_sec",
        default: "10",
        form: ValueKind::Single,
        parse: parse::seconds::<1, 86_400>,
        accepts: "a whole number of seconds from 1 to 86400",
    }
    /// Number of ticks in the rolling window.
    window_size: usize {
        env: "WINDOW_SIZE",
        flag: Some("window-size"),
        key: "window_size",
        default: "60",
        form: ValueKind::Single,
        parse: parse::whole::<1, 100_000>,
        accepts: "a whole number from 1 to 100000",
    }
    /// Folder of all that outlives a restart; memory keeps nothing on disk.
    data_dir: DataDir {
        env: "DATA_DIR",
        flag: Some("data-dir"),
        key: "data_dir",
        default: "./data",
        form: ValueKind::Single,
        parse: parse::data_dir,
        accepts: "the path of a folder, or memory",
    }
    /// Origins of other pages that may use the API, WebSockets and event streams from a
    /// browser; * allows any, without credentials.
    allowed_origins: Origins {
        env: "ALLOWED_ORIGINS",
        flag: Some("allowed-origins"),
        key: "allowed_origins",
        default: "same-origin",
        form: ValueKind::List,
        parse: parse::origins,
        accepts: "same-origin, *, or origins such as https://board.example.org:8443 with commas between",
    }
    /// Role of a caller without a token. With auto it is operator for a caller that connects
    /// directly to a loopback address, and viewer for all others.
    anonymous_role: Option<Role> {
        env: "ANONYMOUS_ROLE",
        flag: Some("anonymous-role"),
        key: "anonymous_role",
        default: "auto",
        form: ValueKind::Single,
        parse: parse::anonymous_role,
        accepts: "auto, none, viewer, writer or operator; nobody is admin without a token or an \
            admin link, which the start and pulseboard admin-link print",
    }
    /// Proxies whose X-Forwarded-For, -Proto, -Host, -Port and Forwarded headers are believed.
    trusted_proxies: Vec<IpNet> {
        env: "TRUSTED_PROXIES",
        flag: Some("trusted-proxies"),
        key: "trusted_proxies",
        default: "none",
        form: ValueKind::List,
        parse: parse::networks,
        accepts: "none, or addresses and networks such as 127.0.0.1, 10.0.0.0/8 or fd00::/8, with commas between",
    }
    /// Names that the Host header of a request may have, with or without a port. Loopback names
    /// are always allowed.
    allowed_hosts: Hosts {
        env: "ALLOWED_HOSTS",
        flag: Some("allowed-hosts"),
        key: "allowed_hosts",
        default: "any",
        form: ValueKind::List,
        parse: parse::hosts,
        accepts: "any, or names such as board.example.org or board.example.org:8443 with commas between",
    }
    /// Tenants that callers without a token may use as soon as any token is bound to a tenant.
    anonymous_tenants: Vec<String> {
        env: "ANONYMOUS_TENANTS",
        flag: Some("anonymous-tenants"),
        key: "anonymous_tenants",
        default: "default",
        form: ValueKind::List,
        parse: parse::tenants,
        accepts: "tenants with commas between, each of 1 to 64 characters A-Z a-z 0-9 _ . -",
    }
    /// Tokens and what they allow, each token=role or token=role@tenant.
    tokens: Vec<Token> {
        env: "AUTH_TOKENS",
        // A flag would show in the machine's list of processes.
        flag: None,
        key: "tokens",
        default: "none",
        form: ValueKind::Secrets,
        parse: parse::tokens,
        accepts: "none, or token=role or token=role@tenant with commas between: a token once, of visible \
            ASCII without commas; a role of none, viewer, writer, operator, admin; a tenant of 1 to \
            64 characters A-Z a-z 0-9 _ . -",
    }
    /// WebSocket and event-stream connections at once. Further ones are answered 503.
    max_connections: usize {
        env: "MAX_CONNECTIONS",
        flag: Some("max-connections"),
        key: "max_connections",
        default: "20000",
        form: ValueKind::Single,
        parse: parse::whole::<1, 10_000_000>,
        accepts: "a whole number from 1 to 10000000",
    }
    /// How many of these one client address may have. Further ones are answered 429. The
    /// default is the number of all, since a proxy is one address.
    max_connections_per_address: usize {
        env: "MAX_CONNECTIONS_PER_ADDRESS",
        flag: Some("max-connections-per-address"),
        key: "max_connections_per_address",
        default: "20000",
        form: ValueKind::Single,
        parse: parse::whole::<1, 10_000_000>,
        accepts: "a whole number from 1 to 10000000",
    }
    /// How many of these one token may have, its sessions and tickets included. Further ones
    /// are answered 429.
    max_connections_per_token: usize {
        env: "MAX_CONNECTIONS_PER_TOKEN",
        flag: Some("max-connections-per-token"),
        key: "max_connections_per_token",
        default: "20000",
        form: ValueKind::Single,
        parse: parse::whole::<1, 10_000_000>,
        accepts: "a whole number from 1 to 10000000",
    }
    /// Processor time that one question may take, in seconds. After that it is answered 503.
    query_timeout: Duration {
        env: "QUERY_TIMEOUT_SEC",
        flag: Some("query-timeout-sec"),
        key: "query_timeout_sec",
        default: "30",
        form: ValueKind::Single,
        parse: parse::seconds::<1, 3_600>,
        accepts: "a whole number of seconds from 1 to 3600",
    }
    /// Samples that one question may load. One that needs more is answered 422.
    query_max_samples: usize {
        env: "QUERY_MAX_SAMPLES",
        flag: Some("query-max-samples"),
        key: "query_max_samples",
        default: "50000000",
        form: ValueKind::Single,
        parse: parse::whole::<1_000, 1_000_000_000_000>,
        accepts: "a whole number from 1000 to 1000000000000",
    }
    /// A WebSocket client from which nothing comes for this long, not even an answer to a ping,
    /// is disconnected; in seconds.
    idle_timeout: Duration {
        env: "IDLE_TIMEOUT_SEC",
        flag: Some("idle-timeout-sec"),
        key: "idle_timeout_sec",
        default: "60",
        form: ValueKind::Single,
        parse: parse::seconds::<5, 86_400>,
        accepts: "a whole number of seconds from 5 to 86400",
    }
    /// A streaming client that reads nothing for this long is disconnected; in seconds.
    write_timeout: Duration {
        env: "WRITE_TIMEOUT_SEC",
        flag: Some("write-timeout-sec"),
        key: "write_timeout_sec",
        default: "30",
        form: ValueKind::Single,
        parse: parse::seconds::<1, 3_600>,
        accepts: "a whole number of seconds from 1 to 3600",
    }
    /// Series of one tenant. Samples of further series are refused and counted.
    max_series: usize {
        env: "MAX_SERIES",
        flag: Some("max-series"),
        key: "max_series",
        default: "1000000",
        form: ValueKind::Single,
        parse: parse::whole::<1, 1_000_000_000>,
        accepts: "a whole number from 1 to 1000000000",
    }
    /// What a sample outlives once it is acknowledged: fsync a power cut, write the end of the
    /// process, memory nothing.
    durability: Durability {
        env: "DURABILITY",
        flag: Some("durability"),
        key: "durability",
        default: "fsync",
        form: ValueKind::Single,
        parse: parse::durability,
        accepts: "fsync, write or memory",
    }
    /// How long samples of every series stay in memory, in seconds.
    series_window: Duration {
        env: "SERIES_WINDOW_SEC",
        flag: Some("series-window-sec"),
        key: "series_window_sec",
        default: "900",
        form: ValueKind::Single,
        parse: parse::seconds::<60, 86_400>,
        accepts: "a whole number of seconds from 60 to 86400",
    }
    /// Memory for all series, in bytes. Where it runs short, series stay in memory for a
    /// shorter time, and then new series are refused.
    series_memory_bytes: usize {
        env: "SERIES_MEMORY_BYTES",
        flag: Some("series-memory-bytes"),
        key: "series_memory_bytes",
        default: "2147483648",
        form: ValueKind::Single,
        parse: parse::whole::<1_048_576, 1_099_511_627_776>,
        accepts: "a whole number of bytes from 1048576 to 1099511627776",
    }
    /// A series without new samples leaves lists and memory after this many seconds. Its
    /// history stays.
    series_ttl: Duration {
        env: "SERIES_TTL_SEC",
        flag: Some("series-ttl-sec"),
        key: "series_ttl_sec",
        default: "3600",
        form: ValueKind::Single,
        parse: parse::seconds::<10, 31_536_000>,
        accepts: "a whole number of seconds from 10 to 31536000",
    }
    /// How long samples at full resolution are kept on disk, in hours.
    keep_raw: Duration {
        env: "KEEP_RAW_HOURS",
        flag: Some("keep-raw-hours"),
        key: "keep_raw_hours",
        default: "48",
        form: ValueKind::Single,
        parse: parse::hours::<1, 876_000>,
        accepts: "a whole number of hours from 1 to 876000",
    }
    /// How long rollups of 10 seconds are kept, in days.
    keep_10s: Duration {
        env: "KEEP_10S_DAYS",
        flag: Some("keep-10s-days"),
        key: "keep_10s_days",
        default: "7",
        form: ValueKind::Single,
        parse: parse::days::<1, 36_500>,
        accepts: "a whole number of days from 1 to 36500",
    }
    /// How long rollups of a minute are kept, in days.
    keep_1m: Duration {
        env: "KEEP_1M_DAYS",
        flag: Some("keep-1m-days"),
        key: "keep_1m_days",
        default: "30",
        form: ValueKind::Single,
        parse: parse::days::<1, 36_500>,
        accepts: "a whole number of days from 1 to 36500",
    }
    /// How long rollups of five minutes are kept, in days.
    keep_5m: Duration {
        env: "KEEP_5M_DAYS",
        flag: Some("keep-5m-days"),
        key: "keep_5m_days",
        default: "180",
        form: ValueKind::Single,
        parse: parse::days::<1, 36_500>,
        accepts: "a whole number of days from 1 to 36500",
    }
    /// How long rollups of an hour are kept, in days.
    keep_1h: Duration {
        env: "KEEP_1H_DAYS",
        flag: Some("keep-1h-days"),
        key: "keep_1h_days",
        default: "730",
        form: ValueKind::Single,
        parse: parse::days::<1, 36_500>,
        accepts: "a whole number of days from 1 to 36500",
    }
    /// Disk space of the history, in bytes. Where it is used up, the tenant that is furthest
    /// above an equal share loses its oldest samples of the finest resolution.
    history_max_bytes: usize {
        env: "HISTORY_MAX_BYTES",
        flag: Some("history-max-bytes"),
        key: "history_max_bytes",
        default: "10737418240",
        form: ValueKind::Single,
        parse: parse::whole::<1_048_576, 1_125_899_906_842_624>,
        accepts: "a whole number of bytes from 1048576 to 1125899906842624",
    }
    /// Where to listen for StatsD datagrams; off does not listen.
    statsd_addr: Option<SocketAddr> {
        env: "STATSD_ADDR",
        flag: Some("statsd"),
        key: "statsd_addr",
        default: "off",
        form: ValueKind::Single,
        parse: parse::address_or_off,
        accepts: "off, or an address and a port, such as 127.0.0.1:8125",
    }
    /// Where to listen for OpenTelemetry metrics over gRPC; off does not listen.
    otlp_grpc_addr: Option<SocketAddr> {
        env: "OTLP_GRPC_ADDR",
        flag: Some("otlp-grpc"),
        key: "otlp_grpc_addr",
        default: "off",
        form: ValueKind::Single,
        parse: parse::address_or_off,
        accepts: "off, or an address and a port, such as 127.0.0.1:4317",
    }
    /// Where to listen for Graphite's plaintext protocol, over TCP and UDP; off does not
    /// listen.
    graphite_addr: Option<SocketAddr> {
        env: "GRAPHITE_ADDR",
        flag: Some("graphite"),
        key: "graphite_addr",
        default: "off",
        form: ValueKind::Single,
        parse: parse::address_or_off,
        accepts: "off, or an address and a port, such as 127.0.0.1:2003",
    }
    /// A prometheus.yml whose targets are scraped. It is read again on SIGHUP and POST
    /// /-/reload; off is no file.
    prometheus_config: Option<PathBuf> {
        env: "PROMETHEUS_CONFIG",
        flag: Some("prometheus-config"),
        key: "prometheus_config",
        default: "off",
        form: ValueKind::Single,
        parse: parse::file,
        accepts: "off, or the path of a file",
    }
    /// Globs of rule files in Prometheus' format, beside those of PROMETHEUS_CONFIG; a folder
    /// stands for the files in it that end in .yml, .yaml, .rules or .json. They are read
    /// again on SIGHUP and POST /-/reload; none is no file.
    rule_files: Vec<String> {
        env: "RULE_FILES",
        flag: Some("rule-files"),
        key: "rule_files",
        default: "none",
        form: ValueKind::List,
        parse: parse::globs,
        accepts: "none, or paths of files or folders with commas between, in which * and ? stand for any text and any character",
    }
    /// How often rules are evaluated whose group names no interval, in milliseconds, where
    /// PROMETHEUS_CONFIG names none either.
    rule_interval: Duration {
        env: "RULE_INTERVAL_MS",
        flag: Some("rule-interval-ms"),
        key: "rule_interval_ms",
        default: "15000",
        form: ValueKind::Single,
        parse: parse::millis::<100, 86_400_000>,
        accepts: "a whole number from 100 to 86400000",
    }
    /// An alertmanager.yml that says who is notified of what. It is read again on SIGHUP and POST
    /// /-/reload; off is no file.
    alertmanager_config: Option<PathBuf> {
        env: "ALERTMANAGER_CONFIG",
        flag: Some("alertmanager-config"),
        key: "alertmanager_config",
        default: "off",
        form: ValueKind::Single,
        parse: parse::file,
        accepts: "off, or the path of a file",
    }
    /// The address under which people reach this server, for links in notifications; off is the one
    /// that it listens at.
    external_url: Option<String> {
        env: "EXTERNAL_URL",
        flag: Some("external-url"),
        key: "external_url",
        default: "off",
        form: ValueKind::Single,
        parse: parse::url_or_off,
        accepts: "off, or an address such as https://pulse.example.com/board",
    }
    /// Whether notifications may go to private and loopback addresses.
    notify_private: bool {
        env: "NOTIFY_PRIVATE",
        flag: Some("notify-private"),
        key: "notify_private",
        default: "off",
        form: ValueKind::Single,
        parse: parse::switch,
        accepts: "on or off",
    }
    /// How many notifications one way out of a receiver gets at once and in an hour; what is more
    /// comes in digests, within minutes. auto is 30, and off for the receivers of
    /// ALERTMANAGER_CONFIG.
    notify_budget: NotifyBudget {
        env: "NOTIFY_BUDGET",
        flag: Some("notify-budget"),
        key: "notify_budget",
        default: "auto",
        form: ValueKind::Single,
        parse: parse::budget,
        accepts: "auto, off, or a whole number from 1 to 100000",
    }
    /// An address that is called every minute while rules are evaluated and notifications are
    /// delivered, so that somebody else notices when they are not; off calls nobody.
    heartbeat_url: Option<String> {
        env: "HEARTBEAT_URL",
        flag: Some("heartbeat-url"),
        key: "heartbeat_url",
        default: "off",
        form: ValueKind::Single,
        parse: parse::url_or_off,
        accepts: "off, or an address such as https://hc.example.com/ping/1",
    }
    /// The tenant whose samples are sent on by remote_write of PROMETHEUS_CONFIG.
    remote_write_tenant: String {
        env: "REMOTE_WRITE_TENANT",
        flag: Some("remote-write-tenant"),
        key: "remote_write_tenant",
        default: "default",
        form: ValueKind::Single,
        parse: parse::tenant,
        accepts: "a tenant of 1 to 64 characters A-Z a-z 0-9 _ . -",
    }
    /// How long samples are kept for a receiver of remote_write that cannot be reached, in
    /// hours.
    remote_write_buffer_age: Duration {
        env: "REMOTE_WRITE_BUFFER_HOURS",
        flag: Some("remote-write-buffer-hours"),
        key: "remote_write_buffer_hours",
        default: "24",
        form: ValueKind::Single,
        parse: parse::hours::<1, 876_000>,
        accepts: "a whole number of hours from 1 to 876000",
    }
    /// Disk space for what waits for one receiver of remote_write, in bytes. Where it is used
    /// up, the oldest is dropped.
    remote_write_buffer_bytes: usize {
        env: "REMOTE_WRITE_BUFFER_BYTES",
        flag: Some("remote-write-buffer-bytes"),
        key: "remote_write_buffer_bytes",
        default: "1073741824",
        form: ValueKind::Single,
        parse: parse::whole::<1_048_576, 1_099_511_627_776>,
        accepts: "a whole number of bytes from 1048576 to 1099511627776",
    }
    /// Address of remote write of a store that gets the samples of all tenants: VictoriaMetrics,
    /// Prometheus, Mimir, Thanos; off is none. A password may stand in it.
    archive_write_url: Option<String> {
        env: "ARCHIVE_WRITE_URL",
        flag: Some("archive-write-url"),
        key: "archive_write_url",
        default: "off",
        form: ValueKind::Secrets,
        parse: parse::url_or_off,
        accepts: "off, or an address such as http://127.0.0.1:8428/api/v1/write",
    }
    /// Address below which that store has the API of Prometheus, which is asked for what the own
    /// history has no samples of; off asks nobody. A password may stand in it.
    archive_read_url: Option<String> {
        env: "ARCHIVE_READ_URL",
        flag: Some("archive-read-url"),
        key: "archive_read_url",
        default: "off",
        form: ValueKind::Secrets,
        parse: parse::url_or_off,
        accepts: "off, or an address such as http://127.0.0.1:8428",
    }
    /// How that store is told whose samples they are, beside the label tenant that they all have:
    /// label is by that alone, header:NAME by a header of each request, path by {tenant} in the
    /// addresses.
    archive_tenant: Way {
        env: "ARCHIVE_TENANT",
        flag: Some("archive-tenant"),
        key: "archive_tenant",
        default: "label",
        form: ValueKind::Single,
        parse: parse::archive_tenant,
        accepts: "label, header:NAME such as header:X-Scope-OrgID, or path",
    }
    /// How long samples that the archive took are held, in seconds; it gets them again when it was
    /// started anew, since it may have lost them.
    archive_hold: Duration {
        env: "ARCHIVE_HOLD_SEC",
        flag: Some("archive-hold-sec"),
        key: "archive_hold_sec",
        default: "300",
        form: ValueKind::Single,
        parse: parse::seconds::<1, 86_400>,
        accepts: "a whole number of seconds from 1 to 86400",
    }
    /// Size of a pushed body after decompression, in bytes. A larger one is answered 413.
    max_body_bytes: usize {
        env: "MAX_BODY_BYTES",
        flag: Some("max-body-bytes"),
        key: "max_body_bytes",
        default: "33554432",
        form: ValueKind::Single,
        parse: parse::whole::<1, 1_073_741_824>,
        accepts: "a whole number of bytes from 1 to 1073741824",
    }
    /// Size of one WebSocket message from a client, in bytes. A larger one closes the
    /// connection with 1009.
    max_message_bytes: usize {
        env: "MAX_MESSAGE_BYTES",
        flag: Some("max-message-bytes"),
        key: "max_message_bytes",
        default: "65536",
        form: ValueKind::Single,
        parse: parse::whole::<1, 67_108_864>,
        accepts: "a whole number of bytes from 1 to 67108864",
    }
    /// Messages a second of one WebSocket client. More of them over some seconds close the
    /// connection with 1013.
    max_messages_per_sec: u32 {
        env: "MAX_MESSAGES_PER_SEC",
        flag: Some("max-messages-per-sec"),
        key: "max_messages_per_sec",
        default: "1000",
        form: ValueKind::Single,
        parse: parse::whole_u32::<1, 1_000_000>,
        accepts: "a whole number from 1 to 1000000",
    }
    /// Rooms that one WebSocket client may be in at once. Joining a further one is answered
    /// with an error message.
    max_rooms_per_client: usize {
        env: "MAX_ROOMS_PER_CLIENT",
        flag: Some("max-rooms-per-client"),
        key: "max_rooms_per_client",
        default: "100",
        form: ValueKind::Single,
        parse: parse::whole::<1, 1_024>,
        accepts: "a whole number from 1 to 1024",
    }
    /// Shape of the log lines on standard error; their level is RUST_LOG's.
    log_format: LogFormat {
        env: "LOG_FORMAT",
        flag: Some("log-format"),
        key: "log_format",
        default: "text",
        form: ValueKind::Single,
        parse: parse::log_format,
        accepts: "text or json",
    }
}

/// One setting: its names, its default and how it is read. See [`table`].
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The environment variable, and the name in messages.
    pub env: &'static str,
    /// The flag without its dashes; `None` when only the environment and the file have it.
    pub flag: Option<&'static str>,
    /// The key of the file.
    pub key: &'static str,
    /// The text that is parsed when nothing is given.
    pub default: &'static str,
    /// What the setting is for, one sentence.
    pub help: &'static str,
    /// What values are taken, in words.
    pub accepts: &'static str,
    /// How the value is shaped.
    pub form: ValueKind,
    /// Parses a text into the field of this setting.
    apply: fn(&mut Settings, &str) -> Result<(), Rejected>,
}

/// The files of `TLS_CERT` and `TLS_KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, with those that signed it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How a setting's value is shaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// One value.
    Single,
    /// Several with commas between; the file may give an array.
    List,
    /// A list that is never shown.
    Secrets,
}

impl Settings {
    /// The address under which people reach this server.
    #[must_use]
    pub fn external_address(&self) -> String {
        let own = || format!("{}://{}", self.scheme(), self.bind_addr);
        self.external_url.clone().unwrap_or_else(own)
    }

    /// The scheme that the server itself speaks.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match self.tls_cert {
            Some(_) => "https",
            None => "http",
        }
    }

    /// The certificate and its key; `None` where TLS is not spoken.
    ///
    /// # Errors
    /// One is named without the other.
    pub fn tls_files(&self) -> Result<Option<TlsFiles>, String> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Ok(Some(TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
            })),
            (None, None) => Ok(None),
            (Some(certificate), None) => Err(format!(
                "TLS_CERT={} needs TLS_KEY, the file of its private key",
                certificate.display()
            )),
            (None, Some(key)) => Err(format!(
                "TLS_KEY={} needs TLS_CERT, the file of its certificate",
                key.display()
            )),
        }
    }
}

/// All settings, in the order of `--help`.
pub fn table() -> impl Iterator<Item = &'static Spec> {
    TABLE.iter()
}

/// What this build calls itself: `0.1.0`, with the commit when it was made from one.
#[must_use]
pub fn version() -> String {
    match option_env!("PULSEBOARD_COMMIT") {
        Some(commit) => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
        None => env!("CARGO_PKG_VERSION").to_owned(),
    }
}

impl Spec {
    /// Parses `text` into its field of `settings`, which stays as it was when it is refused.
    fn set(
        &self,
        settings: &mut Settings,
        text: &str,
        origin: Origin,
    ) -> Result<(), SettingsError> {
        (self.apply)(settings, text).map_err(|rejected| {
            let shown = match rejected {
                Rejected::Part(part) => part,
                Rejected::Value if self.form == ValueKind::Secrets => "its value".to_owned(),
                Rejected::Value => parse::quote(text),
            };
            self.refuse(shown, origin)
        })
    }

    /// The error that says `shown` is nothing this setting takes.
    fn refuse(&self, shown: String, origin: Origin) -> SettingsError {
        SettingsError::Value {
            setting: self.env,
            shown,
            origin,
            accepts: self.accepts,
        }
    }

    /// The help text without the spaces that doc comments begin with.
    fn help_line(&self) -> &'static str {
        self.help.trim()
    }
}

#[cfg(test)]
mod tests;
