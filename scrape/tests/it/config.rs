//! `prometheus.yml`: what is read, filled in, refused and printed.

use std::{fs, path::Path};

use pulseboard_scrape::config::{Config, Period, load, parse};

fn read(text: &str) -> Result<Config, String> {
    parse(text, Path::new("/etc/p/prometheus.yml")).map_err(|error| error.to_string())
}

/// Most of what people's files have, comments for lists included.
const USUAL: &str = r#"
global:
  scrape_interval: 15s # often
  evaluation_interval: 15s
  external_labels:
    monitor: 'one'
    shard: 2
alerting:
  alertmanagers:
    - static_configs:
        - targets:
          # - alertmanager:9093
rule_files:
  # - "first_rules.yml"
scrape_configs:
  - job_name: "prometheus"
    static_configs:
      - targets: ["localhost:9090"]
        labels: {app: prometheus, tier: 1}
  - job_name: blackbox
    metrics_path: /probe
    scrape_interval: 5s
    params:
      module: [http_2xx]
    file_sd_configs:
      - files: [targets/*.yml]
    relabel_configs:
      - source_labels: [__address__]
        target_label: __param_target
      - target_label: __address__
        replacement: localhost:9115
    basic_auth:
      username: me
      password: hunter2
    tls_config:
      ca_file: ca.pem
      insecure_skip_verify: true
remote_write:
  - url: http://other:9090/api/v1/write
    bearer_token: hunter2
    write_relabel_configs:
      - source_labels: [__name__]
        regex: go_.*
        action: drop
"#;

#[test]
fn a_usual_file_is_read_and_filled_in() {
    let config = read(USUAL).expect("a configuration");
    let [own, probe] = config.scrape_configs.as_slice() else {
        panic!("two jobs");
    };
    assert_eq!(own.scrape_interval, Period::from_secs(15));
    assert_eq!(own.scrape_timeout, Period::from_secs(10));
    assert_eq!(own.metrics_path, "/metrics");
    assert_eq!(own.static_configs[0].labels["tier"], "1");
    assert_eq!(probe.scrape_timeout, Period::from_secs(5));
    assert_eq!(config.global.external_labels["shard"], "2");
    assert!(config.rule_files.is_empty());
    assert_eq!(config.warnings(), Vec::<String>::new());
    let client = probe.client(&config.folder);
    assert_eq!(
        client.tls_config.ca_file.as_deref(),
        Some(Path::new("/etc/p/ca.pem"))
    );
}

#[test]
fn it_is_printed_without_secrets_and_read_again_the_same() {
    let config = read(USUAL).expect("a configuration");
    let yaml = config.to_yaml();
    assert!(!yaml.contains("hunter2"), "{yaml}");
    assert!(yaml.contains("password: <secret>"), "{yaml}");
    assert!(yaml.contains("scrape_timeout: 10s"), "{yaml}");
    let again = read(&yaml).expect("what was printed is a configuration");
    assert_eq!(again.to_yaml(), yaml);
}

/// A password that is part of an address is one, too.
#[test]
fn addresses_are_printed_without_their_passwords() {
    let config = read(
        "scrape_configs:\n- job_name: a\n  http_sd_configs: [{url: 'http://me:hunter2@sd:80/t?a=b@c'}, {url: 'http://sd/t@u:v'}]\nremote_write:\n- url: https://me:hunt%40er2@far/write\n",
    );
    let yaml = config.expect("a configuration").to_yaml();
    assert!(!yaml.contains("hunt"), "{yaml}");
    for address in [
        "http://me:xxxxx@sd:80/t?a=b@c",
        "http://sd/t@u:v",
        "https://me:xxxxx@far/write",
    ] {
        assert!(yaml.contains(address), "{address} in {yaml}");
    }
}

#[test]
fn what_cannot_be_is_told_with_its_line() {
    for (text, words) in [
        (
            "scrape_configs:\n  - job_name: a\n    scrape_intervall: 5s\n",
            "/etc/p/prometheus.yml:3:5: scrape_configs[0]: unknown field `scrape_intervall`",
        ),
        (
            "scrape_configs:\n  - job_name: a\n    tls_config:\n      ca: x\n      cafile: y\n",
            ":5:7: scrape_configs[0].tls_config: unknown field `cafile`",
        ),
        (
            "global:\n  scrape_interval: 5 s\n",
            ":2:20: global.scrape_interval: \"5 s\" is no duration such as 15s",
        ),
        (
            "scrape_configs:\n- job_name: a\n  metrics_path: /b\n  body_size_limit: 5 MB\n",
            ":4:20: scrape_configs[0].body_size_limit: \"5 MB\" is no size such as 10MB",
        ),
        (
            "global:\n  scrape_interval: 5s\n  scrape_interval: 5s\n",
            ":3:3: global: duplicate field `scrape_interval`",
        ),
        (
            "scrape_configs:\n- job_name: a\n  static_configs:\n  - labels:\n      b: c\n      b: d\n",
            ":6:7: scrape_configs[0].static_configs[0].labels: duplicate field `b`",
        ),
        (
            "scrape_configs:\n- job_name: a\n  static_configs:\n  - targets: [b]\n  -\n",
            ".static_configs[1]: invalid type",
        ),
        (
            "scrape_configs:\n- job_name: a\n  static_configs:\n  - targets: ['']\n",
            ":3:3: job \"a\": static_configs: \"\" is not host and port",
        ),
        (
            "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - target_label: b\n  - regex: (\n    target_label: b\n",
            ":5:12: scrape_configs[0].relabel_configs[1].regex: \"(\" is no pattern",
        ),
        (
            "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - target_label: b\n  - action: hashmod\n    target_label: b\n",
            ":5:5: scrape_configs[0].relabel_configs[1]: hashmod needs a modulus",
        ),
        (
            "scrape_configs:\n- job_name: a\n- job_name: b\n- metrics_path: /x\n  job_name: a\n",
            "/etc/p/prometheus.yml:5:3: two jobs are called \"a\"",
        ),
        (
            "scrape_configs:\n- job_name: a\n- job_name: b\n  scrape_interval: 1s\n  scrape_timeout: 2s\n",
            ":5:3: job \"b\": scrape_timeout 2s is longer",
        ),
        (
            "scrape_configs:\n- job_name: a\n  bearer_token: b\n  basic_auth: {username: c}\n",
            ":2:3: job \"a\": at most one of basic_auth",
        ),
        (
            "scrape_configs:\n- job_name: a\n  scheme: ftp\n",
            ":3:3: job \"a\": scheme \"ftp\"",
        ),
        (
            "scrape_configs:\n- job_name: a\n  dns_sd_configs: [{names: [b], type: A}]\n",
            ":3:3: job \"a\": dns_sd_configs: all types but SRV need a port",
        ),
        (
            "scrape_configs:\n- job_name: a\n  file_sd_configs: [{files: [b.txt]}]\n",
            ":3:3: job \"a\": file_sd_configs: \"b.txt\" is no .json",
        ),
        (
            "global:\n  scrape_timeout: 2m\n",
            ":2:3: global: scrape_timeout 2m is longer",
        ),
        ("rule_files:\n- a.yml\n- a/*/b.yml\n", ":3:3: rule_files: "),
        (
            "remote_write:\n- url: http://a\n- name: b\n  url: ftp://b\n",
            ":4:3: remote_write \"b\": url: ",
        ),
        (
            "scrape_configs:\n- job_name: a\n  tls_config: {min_version: TLS99}\n",
            ":3:3: job \"a\": tls_config: \"TLS99\" is no version of TLS",
        ),
        (
            "scrape_configs:\n- job_name: a\n  proxy_url: '::'\n",
            ":3:3: job \"a\": proxy_url: ",
        ),
        (
            "scrape_configs:\n- job_name: a\n  http_sd_configs: [{url: 'http:///x'}]\n",
            ":3:3: job \"a\": http_sd_configs: \"http:///x\" cannot be asked: it names no host",
        ),
        (
            "scrape_configs: [{job_name: a, http_sd_configs: [{url: 'http://b', tls_config: {max_version: TLS9}}]}]",
            "http_sd_configs: tls_config: \"TLS9\" is no version",
        ),
        (
            "global: [",
            "/etc/p/prometheus.yml:1:9: global: invalid type",
        ),
        (
            "scrape_configs:\n  - metrics_path: /x\n",
            "missing field `job_name`",
        ),
        (
            "scrape_configs: [{job_name: a, file_sd_configs: [{files: []}]}]",
            "job \"a\": file_sd_configs: files is empty",
        ),
        (
            "scrape_configs: [{job_name: a, file_sd_configs: [{files: [b.json, 'c/*/d.yml']}]}]",
            "\"c/*/d.yml\" is no .json",
        ),
        (
            "scrape_configs: [{job_name: a, file_sd_configs: [{files: [b.txt]}]}]",
            "\"b.txt\" is no .json",
        ),
        (
            "scrape_configs: [{job_name: a, http_sd_configs: [{url: b/c}]}]",
            "http_sd_configs: \"b/c\": relative URL without a base",
        ),
        (
            "scrape_configs: [{job_name: a, http_sd_configs: [{url: 'ftp://b/c'}]}]",
            "http_sd_configs: \"ftp://b/c\" is no address of http or https",
        ),
        (
            "scrape_configs: [{job_name: a, dns_sd_configs: [{names: []}]}]",
            "dns_sd_configs: names is empty",
        ),
        (
            "scrape_configs: [{job_name: a, dns_sd_configs: [{names: [b], type: A}]}]",
            "all types but SRV need a port",
        ),
        (
            "scrape_configs: [{job_name: a, static_configs: [{targets: ['http://b/c']}]}]",
            "job \"a\": static_configs: \"http://b/c\" is not host and port",
        ),
        (
            "rule_files: ['a/*/b.yml']",
            "rule_files: \"a/*/b.yml\" has a * in a folder's name",
        ),
        (
            "scrape_configs: [{job_name: a}, {job_name: a}]",
            "two jobs are called \"a\"",
        ),
        (
            "scrape_configs: [{job_name: a, scrape_interval: 1s, scrape_timeout: 2s}]",
            "job \"a\": scrape_timeout 2s is longer than scrape_interval 1s",
        ),
        (
            "scrape_configs: [{job_name: a, scrape_interval: 99ms}]",
            "shorter than 100ms",
        ),
        (
            "scrape_configs: [{job_name: a, scheme: ftp}]",
            "neither http nor https",
        ),
        (
            "scrape_configs: [{job_name: a, bearer_token: b, basic_auth: {username: c}}]",
            "at most one of basic_auth",
        ),
        (
            "scrape_configs: [{job_name: a, relabel_configs: [{regex: '(', target_label: b}]}]",
            "is no pattern",
        ),
        (
            "scrape_configs: [{job_name: a, relabel_configs: [{action: keepall}]}]",
            "\"keepall\" is no action",
        ),
        (
            "scrape_configs: [{job_name: a, relabel_configs: [{action: hashmod, target_label: b}]}]",
            "hashmod needs a modulus",
        ),
        (
            "scrape_configs: [{job_name: a, relabel_configs: [{action: labeldrop, regex: b, target_label: c}]}]",
            "labeldrop takes a regex and nothing else",
        ),
    ] {
        let error = read(text).expect_err(text);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_discovery_that_is_not_there_is_a_warning() {
    let config = read(
        "scrape_configs:\n  - job_name: cloud\n    ec2_sd_configs: [{region: x}]\n  - job_name: b\n",
    )
    .expect("a configuration");
    let warnings = config.warnings();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("\"cloud\"") && warnings[0].contains("ec2_sd_configs"));
}

#[test]
fn pages_may_be_targets_where_they_are_relabelled() {
    let probed = "scrape_configs:\n- job_name: a\n  static_configs: [{targets: ['https://b/c']}]\n  relabel_configs:\n  - {source_labels: [__address__], target_label: __param_target}\n";
    read(probed).expect("a configuration");
}

#[test]
fn a_file_of_comments_says_nothing() {
    assert_eq!(
        read("# nothing\n").expect("a configuration").to_yaml(),
        read("").expect("a configuration").to_yaml()
    );
}

#[test]
fn jobs_may_stand_in_further_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let main = folder.path().join("prometheus.yml");
    fs::write(&main, "scrape_config_files: [more/*.yml]\n").expect("written");
    fs::create_dir(folder.path().join("more")).expect("made");
    let job = "scrape_configs: [{job_name: further, scrape_interval: 3s}]\n";
    fs::write(folder.path().join("more/one.yml"), job).expect("written");
    let config = load(&main).expect("a configuration");
    assert_eq!(
        config.scrape_configs[0].scrape_timeout,
        Period::from_secs(3)
    );
    // The same name again, in a file of its own.
    let again = "scrape_configs:\n- job_name: other\n- job_name: further\n";
    fs::write(folder.path().join("more/two.yml"), again).expect("written");
    let error = load(&main).expect_err("a name twice").to_string();
    assert!(
        error.contains("two.yml:3:3: two jobs are called \"further\""),
        "{error}"
    );
    fs::write(folder.path().join("more/two.yml"), "\njobs: []\n").expect("written");
    let error = load(&main).expect_err("an unknown field").to_string();
    assert!(
        error.contains("two.yml:2:1: unknown field `jobs`"),
        "{error}"
    );
}

#[test]
fn what_is_not_used_is_said_and_what_cannot_be_sent_is_refused() {
    let text = "rule_files: [a.yml]\nalerting: {alertmanagers: [{ec2_sd_configs: [{}]}]}\nremote_write:\n- {url: 'http://a/w', sigv4: {region: x}}\n- {url: 'http://me:secret@b/w?key=secret', oauth2: {client_id: x}}\n";
    let warnings = read(text).expect("a configuration").warnings();
    let said = |what: &str| warnings.iter().filter(|one| one.contains(what)).count();
    for what in ["alerting", "sigv4", "oauth2", "http://b/w"] {
        assert_eq!(said(what), 1, "{what}: {warnings:?}");
    }
    assert_eq!(
        said("rule_files"),
        0,
        "their rules are evaluated: {warnings:?}"
    );
    for (section, words) in [
        (
            "{api_version: v1}",
            ":2:20: alerting: api_version \"v1\" is not v2",
        ),
        ("{scheme: ftp}", "scheme \"ftp\" is neither"),
        ("{timeout: 0s}", "timeout is 0"),
        (
            "{static_configs: [{targets: ['a/b']}]}",
            "\"a/b\" is not host and port",
        ),
        ("{file_sd_configs: [{files: []}]}", "files is empty"),
    ] {
        let text = format!("alerting:\n  alertmanagers: [{section}]\n");
        let error = read(&text).expect_err(section).to_string();
        assert!(error.contains(words), "{section}: {error}");
    }
    assert_eq!(said("secret"), 0, "{warnings:?}");
    for (receiver, words) in [
        ("{url: ''}", "url is empty"),
        ("{url: 'ftp://a'}", "ftp is neither http nor https"),
        ("{url: 'nothing'}", "url: "),
        (
            "{url: 'http://a', protobuf_message: v3}",
            "\"v3\" is neither",
        ),
        (
            "{url: 'http://a', headers: {Content-Type: x}}",
            "\"Content-Type\" cannot be set",
        ),
        (
            "{url: 'http://a', queue_config: {max_shards: 0}}",
            "max_shards is 0",
        ),
        (
            "{url: 'http://a', queue_config: {min_backoff: 9s}}",
            "min_backoff 9s is longer",
        ),
        (
            "{url: 'http://a', name: x}, {url: 'http://b', name: x}",
            "two remote_write are called \"x\"",
        ),
        (
            "{url: 'http://a', basic_auth: {username: a}, bearer_token: b}",
            "remote_write \"http://a/\": ",
        ),
    ] {
        let error = read(&format!("remote_write: [{receiver}]")).expect_err(receiver);
        assert!(error.contains(words), "{receiver}: {error}");
    }
}

/// As Prometheus takes it: a key with nothing behind it, `~` or `null` is one that is not there.
#[test]
fn a_null_says_nothing_wherever_it_stands() {
    let sections = [
        (
            "",
            "",
            "global runtime alerting rule_files scrape_config_files scrape_configs storage tracing otlp remote_write remote_read",
        ),
        (
            "global:\n",
            "  ",
            "scrape_interval scrape_timeout scrape_protocols evaluation_interval rule_query_offset external_labels query_log_file body_size_limit sample_limit label_limit label_name_length_limit label_value_length_limit target_limit keep_dropped_targets",
        ),
        (
            "scrape_configs:\n- job_name: a\n",
            "  ",
            "honor_labels honor_timestamps track_timestamps_staleness params scrape_interval scrape_timeout scrape_protocols metrics_path scheme enable_compression body_size_limit sample_limit label_limit target_limit keep_dropped_targets relabel_configs metric_relabel_configs basic_auth authorization tls_config bearer_token bearer_token_file follow_redirects enable_http2 proxy_url no_proxy http_headers static_configs file_sd_configs http_sd_configs dns_sd_configs kubernetes_sd_configs docker_sd_configs consul_sd_configs ec2_sd_configs",
        ),
        (
            "scrape_configs:\n- job_name: a\n  tls_config:\n    insecure_skip_verify: true\n",
            "    ",
            "ca ca_file cert cert_file key key_file server_name min_version max_version",
        ),
        (
            "scrape_configs:\n- job_name: a\n  static_configs:\n  - targets: [b:1]\n",
            "    ",
            "labels",
        ),
        (
            "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - target_label: b\n",
            "    ",
            "source_labels separator regex modulus replacement action",
        ),
        (
            "scrape_configs:\n- job_name: a\n  params:\n    y: [z]\n",
            "    ",
            "x",
        ),
        (
            "scrape_configs:\n- job_name: a\n  file_sd_configs:\n  - files: [b.json]\n",
            "    ",
            "refresh_interval",
        ),
        (
            "scrape_configs:\n- job_name: a\n  dns_sd_configs:\n  - names: [b]\n",
            "    ",
            "type port refresh_interval",
        ),
        (
            "scrape_configs:\n- job_name: a\n  kubernetes_sd_configs:\n  - role: pod\n",
            "    ",
            "api_server namespaces selectors",
        ),
        (
            "remote_write:\n- url: http://b/\n",
            "  ",
            "name remote_timeout headers write_relabel_configs send_exemplars queue_config metadata_config",
        ),
        (
            "remote_write:\n- url: http://b/\n  queue_config:\n    capacity: 5\n",
            "    ",
            "max_shards min_backoff max_samples_per_send batch_send_deadline",
        ),
        (
            "alerting:\n  alertmanagers:\n  - scheme: http\n",
            "    ",
            "path_prefix timeout api_version static_configs relabel_configs",
        ),
    ];
    for (before, indent, keys) in sections {
        // A section with nothing else in it is a null by itself.
        let plain = read(before).expect(before).to_yaml();
        for null in ["", " ~", " null"] {
            let mut all = before.to_owned();
            for key in keys.split(' ') {
                let text = format!("{before}{indent}{key}:{null}\n");
                assert_eq!(read(&text).expect(&text).to_yaml(), plain, "{text}");
                all.push_str(&format!("{indent}{key}:{null}\n"));
            }
            assert_eq!(read(&all).expect(&all).to_yaml(), plain, "{all}");
        }
    }
    let labels = read("global: {external_labels: {a: ~, b: c}}").expect("labels");
    assert_eq!(
        labels.global.external_labels,
        [("b".to_owned(), "c".to_owned())].into()
    );
    // What has to be there, or is no key at all, is no better for being null.
    for (text, words) in [
        (
            "scrape_configs:\n- job_name: ~\n",
            ":2:3: scrape_configs[0]: missing field `job_name`",
        ),
        (
            "scrape_configs:\n- job_name: a\n  scrape_intervall: ~\n",
            ":3:3: scrape_configs[0]: unknown field `scrape_intervall`",
        ),
        (
            "scrape_configs:\n- job_name: a\n  params: ~\n  relabel_configs:\n  - {target_label: b, regexp: ~}\n",
            ":5:23: scrape_configs[0].relabel_configs[0]: unknown field `regexp`",
        ),
        (
            "scrape_configs:\n- job_name: a\n  params: ~\n  scrape_interval: 5 s\n",
            ":4:20: scrape_configs[0].scrape_interval: \"5 s\" is no duration",
        ),
    ] {
        let error = read(text).expect_err(text);
        assert!(error.contains(words), "{error}");
    }
}

/// As Prometheus has it: who scrapes often waits no longer, and a job takes that from `global`.
#[test]
fn times_that_are_not_said_are_those_of_global() {
    let jobs = "scrape_configs: [{job_name: a, scrape_interval: 2s}, {job_name: b}, {job_name: c, scrape_interval: 500ms}]";
    for (global, own, times) in [
        ("{scrape_interval: 1s}", "1s", ["1s", "1s", "500ms"]),
        ("{scrape_interval: 15s}", "10s", ["2s", "10s", "500ms"]),
        ("{scrape_interval: 0s}", "10s", ["2s", "10s", "500ms"]),
        (
            "{scrape_interval: 15s, scrape_timeout: 12s}",
            "12s",
            ["2s", "12s", "500ms"],
        ),
        ("{scrape_timeout: 1s}", "1s", ["1s", "1s", "500ms"]),
        ("~", "10s", ["2s", "10s", "500ms"]),
    ] {
        let config = read(&format!("global: {global}\n{jobs}\n")).expect(global);
        let told = config.scrape_configs.iter();
        let told: Vec<_> = told.map(|job| job.scrape_timeout.to_string()).collect();
        assert_eq!(told, times, "{global}");
        assert_eq!(config.global.scrape_timeout.to_string(), own, "{global}");
        let printed = config.to_yaml();
        let printed = printed.split_once("alerting").expect("sections").0;
        assert!(
            printed.contains(&format!("scrape_timeout: {own}")),
            "{printed}"
        );
        assert!(!printed.contains("interval: 0s"), "{printed}");
    }
}
