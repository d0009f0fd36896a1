//! Settings as a whole: precedence, the words of refusals, and the texts that must agree with the
//! table.

use std::{collections::BTreeSet, ffi::OsString, fs, path::PathBuf};

use super::*;

/// Loads with this command line (without the program's name), environment and file text.
fn load_with(
    args: &[&str],
    env: &[(&str, &str)],
    file: Option<&str>,
) -> Result<Launch, SettingsError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("pulseboard.toml");
    let mut line: Vec<OsString> = vec!["pulseboard".into()];
    if let Some(text) = file {
        fs::write(&path, text).expect("the file is written");
        line.extend(["--config".into(), path.into_os_string()]);
    }
    line.extend(args.iter().map(OsString::from));
    let env = |name: &str| {
        env.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, text)| (*text).to_owned())
    };
    load(line.into_iter(), &env)
}

fn run(args: &[&str], env: &[(&str, &str)], file: Option<&str>) -> Settings {
    match load_with(args, env, file) {
        Ok(Launch::Run(settings)) => settings,
        other => panic!("expected to run, got {other:?}"),
    }
}

/// The message of a refusal, which is one line.
fn refusal(args: &[&str], env: &[(&str, &str)], file: Option<&str>) -> String {
    let message = load_with(args, env, file)
        .expect_err("expected a refusal")
        .to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    message
}

fn text(args: &[&str]) -> String {
    match load_with(args, &[], None) {
        Ok(Launch::Text(text)) => text,
        other => panic!("expected a text, got {other:?}"),
    }
}

#[test]
fn defaults_are_what_the_readme_says() {
    let settings = run(&[], &[], None);
    assert_eq!(settings, Settings::default());
    assert_eq!(settings.bind_addr, SocketAddr::from(([127, 0, 0, 1], 3000)));
    assert_eq!(settings.metric_source, SourceKind::Host);
    assert_eq!(settings.metric_interval, Duration::from_secs(1));
    assert_eq!(settings.alert_check, Duration::from_secs(10));
    assert_eq!(settings.window_size, 60);
    assert_eq!(settings.data_dir, DataDir::Path("./data".into()));
    assert_eq!(settings.allowed_origins, Origins::SameOrigin);
    assert_eq!(settings.anonymous_role, None);
    assert_eq!(settings.tokens, []);
    assert_eq!(settings.max_connections, 20_000);
    assert_eq!(settings.max_series, 1_000_000);
    assert_eq!(settings.max_body_bytes, 32 << 20);
    assert_eq!(settings.max_message_bytes, 64 << 10);
    assert_eq!(settings.log_format, LogFormat::Text);
}

#[test]
fn a_flag_beats_the_environment_beats_the_file() {
    let file = Some("window_size = 3\nmax_series = 3\nmax_connections = 3");
    let env = [("WINDOW_SIZE", "2"), ("MAX_SERIES", "2")];
    let settings = run(&["--window-size", "1"], &env, file);
    assert_eq!(settings.window_size, 1);
    assert_eq!(settings.max_series, 2);
    assert_eq!(settings.max_connections, 3);
}

#[test]
fn an_empty_variable_is_not_set() {
    let settings = run(&[], &[("WINDOW_SIZE", ""), ("CONFIG_FILE", " ")], None);
    assert_eq!(settings.window_size, 60);
}

#[test]
fn the_last_of_two_flags_holds() {
    assert_eq!(
        run(&["--window-size=1", "--window-size=2"], &[], None).window_size,
        2
    );
}

#[test]
fn check_config_takes_flags_on_both_sides() {
    for args in [
        ["check-config", "--window-size", "7"],
        ["--window-size", "7", "check-config"],
    ] {
        match load_with(&args, &[], None) {
            Ok(Launch::CheckConfig(settings)) => assert_eq!(settings.window_size, 7),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_refusal_names_setting_value_place_and_what_is_accepted() {
    assert_eq!(
        refusal(&["--source", "moon"], &[], None),
        "METRIC_SOURCE: \"moon\" (flag --source) is not accepted; it takes host, simulator or none"
    );
    assert_eq!(
        refusal(&[], &[("WINDOW_SIZE", "0")], None),
        "WINDOW_SIZE: \"0\" (environment WINDOW_SIZE) is not accepted; it takes a whole number \
         from 1 to 100000"
    );
    let message = refusal(&[], &[], Some("log_format = \"xml\""));
    assert!(
        message.starts_with("LOG_FORMAT: \"xml\" (file \""),
        "{message}"
    );
    assert!(
        message.contains("pulseboard.toml\" key log_format)"),
        "{message}"
    );
    let message = refusal(&["--alert-check-sec", "-5"], &[], None);
    assert!(message.starts_with("ALERT_CHECK_SEC: \"-5\""), "{message}");
    let message = refusal(&[], &[], Some("window_size = 1.5"));
    assert!(message.starts_with("WINDOW_SIZE: \"1.5\""), "{message}");
}

#[test]
fn every_bound_is_refused_from_one_past_it() {
    for (env, least, most) in [
        ("METRIC_INTERVAL_MS", 1_u64, 3_600_000_u64),
        ("ALERT_CHECK_SEC", 1, 86_400),
        ("WINDOW_SIZE", 1, 100_000),
        ("MAX_CONNECTIONS", 1, 10_000_000),
        ("MAX_SERIES", 1, 1_000_000_000),
        ("MAX_BODY_BYTES", 1, 1 << 30),
        ("MAX_MESSAGE_BYTES", 1, 64 << 20),
    ] {
        for number in [least, most] {
            run(&[], &[(env, &number.to_string())], None);
        }
        for number in [least - 1, most + 1] {
            let message = refusal(&[], &[(env, &number.to_string())], None);
            assert!(
                message.contains(&format!("from {least} to {most}")),
                "{message}"
            );
        }
    }
}

#[test]
fn a_secret_is_never_shown() {
    let file = "tokens = [\"hush=viewer\", \"hush-hush=king\"]";
    for message in [
        refusal(&[], &[("AUTH_TOKENS", "hush=viewer,hush-hush")], None),
        refusal(&[], &[], Some(file)),
        refusal(&[], &[], Some("tokens = { hush = \"viewer\" }")),
    ] {
        assert!(!message.contains("hush"), "{message}");
        assert!(message.starts_with("AUTH_TOKENS: "), "{message}");
    }
    let settings = run(&[], &[("AUTH_TOKENS", "hush=viewer@a")], None);
    assert!(!format!("{settings:?}").contains("hush"));
}

#[test]
fn lists_may_be_arrays_in_the_file() {
    let file = "tokens = [\"a=viewer\", \"b=writer@t\"]\nallowed_origins = [\"https://a\"]";
    let settings = run(&[], &[], Some(file));
    assert_eq!(settings.tokens.len(), 2);
    assert_eq!(
        settings.allowed_origins,
        Origins::List(vec!["https://a".into()])
    );
    assert_eq!(run(&[], &[], Some("tokens = \"a=viewer\"")).tokens.len(), 1);
}

#[test]
fn an_unknown_key_is_named_with_what_was_meant() {
    let message = refusal(&[], &[], Some("bind_adr = \"x\""));
    assert!(
        message.contains("unknown key \"bind_adr\", did you mean \"bind_addr\"?"),
        "{message}"
    );
    assert!(message.contains("metric_source"), "{message}");
    let message = refusal(&[], &[], Some("AUTH_TOKENS = \"x\""));
    assert!(message.contains("did you mean \"tokens\"?"), "{message}");
    let message = refusal(&[], &[], Some("colour = 1"));
    assert!(!message.contains("did you mean"), "{message}");
}

#[test]
fn a_file_that_is_absent_or_no_toml_is_refused() {
    let message = refusal(&["--config", "/nowhere/p.toml"], &[], None);
    assert!(
        message.starts_with("CONFIG_FILE: \"/nowhere/p.toml\" (flag --config) cannot be read: "),
        "{message}"
    );
    let message = refusal(&[], &[("CONFIG_FILE", "/nowhere/p.toml")], None);
    assert!(message.contains("(environment CONFIG_FILE)"), "{message}");
    let message = refusal(&[], &[], Some("window_size = 1\nlog_format = text"));
    assert!(message.contains(" line 2: "), "{message}");
}

#[test]
fn a_number_that_toml_cannot_hold_is_told_with_its_setting() {
    let large = "# so often\nmetric_interval_ms = 99999999999999999999 # ms\n";
    let message = refusal(&[], &[], Some(large));
    assert!(
        message.starts_with("METRIC_INTERVAL_MS: \"99999999999999999999\" (file \"")
            && message.contains("key metric_interval_ms) is not accepted; it takes "),
        "{message}"
    );
    let message = refusal(
        &[],
        &[],
        Some("window_size = 1\ntokens = 99999999999999999999"),
    );
    assert!(
        message.starts_with("AUTH_TOKENS: its value (") && !message.contains("9999"),
        "{message}"
    );
}

#[test]
fn rooms_come_from_the_file() {
    let file = r#"
        [rooms."team:deploys"]
        min_role = "operator"
        description = "What is being shipped"
        default_subscriptions = ["deploy:done"]
        [rooms."team:deploys".events]
        "deploy:begun" = {}
        "deploy:done" = { type = "object", required = ["version"], maxProperties = 3 }
        "deploy:text" = '{"type": "string"}'
        [rooms.dashboard]
        min_role = "viewer"
    "#;
    let rooms = run(&[], &[], Some(file)).rooms;
    let room = &rooms["team:deploys"];
    assert_eq!(room.min_role, Some(Role::Operator));
    assert_eq!(room.description, "What is being shipped");
    assert_eq!(room.default_subscriptions, ["deploy:done"]);
    assert_eq!(room.events["deploy:begun"], serde_json::json!({}));
    assert_eq!(
        room.events["deploy:done"],
        serde_json::json!({"type": "object", "required": ["version"], "maxProperties": 3})
    );
    assert_eq!(
        room.events["deploy:text"],
        serde_json::json!({"type": "string"})
    );
    assert_eq!(rooms["dashboard"].events.len(), 0);
}

#[test]
fn wrong_rooms_are_refused_by_name() {
    for (file, expect) in [
        ("rooms = 1", "key rooms: "),
        ("[rooms.\"a b\"]", "key rooms.a b: a room's name is"),
        (
            "[rooms.a]\nmin_role = \"king\"",
            "key rooms.a: unknown variant `king`",
        ),
        (
            "[rooms.a]\nrole = \"viewer\"",
            "key rooms.a: unknown field `role`",
        ),
        ("[rooms.a.events]\nx = 1", "key rooms.a: event \"x\" takes"),
        (
            "[rooms.a.events]\nx = \"{\"",
            "key rooms.a: event \"x\" takes",
        ),
    ] {
        let message = refusal(&[], &[], Some(file));
        assert!(message.contains(expect), "{message}");
    }
}

#[test]
fn usage_errors_are_one_line() {
    let message = refusal(&["--bnd", "x"], &[], None);
    assert!(
        message.starts_with("unexpected argument '--bnd' found"),
        "{message}"
    );
    assert!(message.contains("'--bind'"), "{message}");
    assert!(refusal(&["--bind"], &[], None).contains("--bind"));
    assert!(refusal(&["serve"], &[], None).contains("serve"));
}

#[test]
fn help_lists_every_setting() {
    for help in [
        text(&["--help"]),
        text(&["-h"]),
        text(&["check-config", "--help"]),
    ] {
        for spec in table() {
            let Some(flag) = spec.flag else { continue };
            let default = spec.default;
            for part in [
                format!("--{flag} <{}>", spec.env),
                format!("[env: {}]", spec.env),
                format!("[default: {default}]"),
                spec.help_line().to_owned(),
            ] {
                assert!(help.contains(&part), "{part} in\n{help}");
            }
        }
        assert!(help.contains("--config <CONFIG_FILE>"));
    }
    assert!(text(&["--help"]).contains("AUTH_TOKENS"));
}

/// What is shown as a default can be given.
#[test]
fn each_default_that_is_shown_is_taken() {
    for spec in table() {
        let help = text(&["--help"]);
        let (_, shown) = help
            .split_once(&format!("[env: {}]", spec.env))
            .or_else(|| help.split_once(&format!("\n      {}  ", spec.env)))
            .expect(spec.env);
        let (_, shown) = shown.split_once("[default: ").expect(spec.env);
        let (shown, _) = shown.split_once(']').expect(spec.env);
        let settings = run(&[], &[(spec.env, shown)], None);
        assert_eq!(settings, Settings::default(), "{}={shown}", spec.env);
    }
    // A file's tokens can be set aside.
    let tokens = Some("tokens = [\"hush-hush-hush-hush=viewer\"]");
    assert_eq!(run(&[], &[], tokens).tokens.len(), 1);
    assert_eq!(run(&[], &[("AUTH_TOKENS", "none")], tokens).tokens, []);
}

#[test]
fn what_a_subcommand_alone_takes_stands_before_the_settings() {
    let own = [
        ("agent", "--buffer-mib <MIB>"),
        ("export", "--tenant <NAME>"),
        ("backup", "--to <FILE>"),
    ];
    for (name, option) in own {
        let help = text(&[name, "--help"]);
        let (own, settings) = help.split_once("\nSettings:").expect("two parts");
        assert!(own.contains(option), "{option} in\n{own}");
        assert!(!own.contains("--bind"), "{own}");
        assert!(settings.contains("--bind <BIND_ADDR>"), "{settings}");
    }
}

#[test]
fn version_begins_with_the_package_s() {
    let text = text(&["--version"]);
    assert!(
        text.starts_with(concat!("pulseboard ", env!("CARGO_PKG_VERSION"))),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn names_in_the_table_are_unique_and_follow_the_rule() {
    let mut seen = BTreeSet::new();
    let mut flags = BTreeSet::new();
    for spec in table() {
        assert!(
            seen.insert(spec.env) && seen.insert(spec.key),
            "{}",
            spec.env
        );
        if let Some(flag) = spec.flag {
            assert!(flags.insert(flag) && flag != cli::CONFIG_FLAG, "{flag}");
        }
        assert!(spec.key == spec.env.to_lowercase() || spec.form == ValueKind::Secrets);
        assert!(!spec.help_line().contains("  "), "{}", spec.help);
    }
}

/// Every key stands in the example, commented out with its default; uncommented it is taken.
#[test]
fn the_example_file_shows_every_key_and_is_taken() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../config.example.toml");
    let example = fs::read_to_string(path).expect("the example is beside the manifest");
    assert_eq!(run(&[], &[], Some(&example)), Settings::default());

    // Prose has a space behind its #, settings have none.
    let uncommented: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let settings = run(&[], &[], Some(&uncommented));
    let file = file::parse("example".into(), &uncommented).expect("it was just taken");
    let mut file = file;
    for spec in table() {
        assert!(
            file.take(spec).is_some(),
            "{} is not in the example",
            spec.key
        );
    }
    assert!(!settings.rooms.is_empty());
    let rest = Settings {
        tokens: Vec::new(),
        // Whether others may read it is the machine's business.
        readable_tokens: None,
        rooms: BTreeMap::new(),
        ..settings
    };
    assert_eq!(rest, Settings::default(), "the example shows the defaults");
}

#[cfg(unix)]
#[test]
fn a_file_of_tokens_that_others_may_read_is_noticed() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("pulseboard.toml");
    let noticed = |text: &str, mode| {
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changed");
        let args = ["pulseboard", "--config", path.to_str().expect("text")];
        match load(args.into_iter().map(Into::into), &|_| None) {
            Ok(Launch::Run(settings)) => settings.readable_tokens.is_some(),
            other => panic!("{other:?}"),
        }
    };
    let tokens = "tokens = [\"0123456789abcdef0123=viewer\"]\n";
    assert!(noticed(tokens, 0o644) && noticed(tokens, 0o640));
    assert!(!noticed(tokens, 0o600));
    assert!(!noticed("window_size = 60\n", 0o644) && !noticed("tokens = []\n", 0o644));
}

#[test]
fn where_redis_is_is_read_and_its_password_is_never_said() {
    let settings = run(
        &["--redis", "redis://:hunter2@cache:7000"],
        &[
            ("DRAIN_SEC", "0"),
            ("REDIS_PREFIX", "a.b-c"),
            ("INGEST_BUFFER_BYTES", "1048576"),
            ("ALERTS_ALONE", "all"),
        ],
        None,
    );
    assert!(settings.redis_url.is_some());
    assert_eq!(
        (&*settings.redis_prefix, settings.drain.as_secs()),
        ("a.b-c", 0)
    );
    assert!(!format!("{settings:?}").contains("hunter2"));
    for (env, value, said) in [
        (
            "REDIS_URL",
            "redis://:hunter2@a,b",
            "it names several servers",
        ),
        ("REDIS_URL", "hunter2", "it has to begin with redis://"),
        ("CLUSTER_MODE", "both", "replicated or sharded"),
        ("DRAIN_SEC", "9", "from 0 to 8"),
        ("ALERTS_ALONE", "some", "own or all"),
        ("REDIS_PREFIX", "a:b", "1 to 32 characters"),
        ("INGEST_BUFFER_BYTES", "1000", "a whole number of bytes"),
    ] {
        let message = refusal(&[], &[(env, value)], None);
        assert!(message.contains(said), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}
