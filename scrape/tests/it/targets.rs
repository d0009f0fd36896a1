//! From what was found to what is scraped.

use std::path::Path;

use pulseboard_scrape::{
    LabelSet,
    config::{JobConfig, Period, parse},
    target::{Endpoint, Found, Group, targets},
};

fn job(text: &str) -> JobConfig {
    let text = format!("scrape_configs:\n  - job_name: node\n    {text}\n");
    let config = parse(&text, Path::new("prometheus.yml")).expect("a configuration");
    config.scrape_configs[0].clone()
}

fn found(text: &str, labels: &[(&str, &str)]) -> Found {
    let group = Group {
        targets: vec![labels.iter().copied().collect()],
        labels: LabelSet::new(),
    };
    targets(&job(text), &group).remove(0)
}

fn kept(text: &str, labels: &[(&str, &str)]) -> Endpoint {
    match found(text, labels) {
        Found::Kept(endpoint) => endpoint,
        other => panic!("{other:?}"),
    }
}

fn wrong(text: &str, labels: &[(&str, &str)]) -> String {
    match found(text, labels) {
        Found::Wrong(_, why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_is_enough() {
    let endpoint = kept(
        "scrape_interval: 5s",
        &[("__address__", "a:9100"), ("__meta_x", "y")],
    );
    assert_eq!(endpoint.url, "http://a:9100/metrics");
    let labels: Vec<_> = endpoint.labels.iter().collect();
    assert_eq!(labels, [("instance", "a:9100"), ("job", "node")]);
    assert_eq!(endpoint.discovered.get("__meta_x"), "y");
    assert_eq!(endpoint.discovered.get("__scrape_interval__"), "5s");
    assert_eq!(endpoint.timeout, Period::from_secs(5));
}

/// As Prometheus asks: what is empty is asked for, in the order of names.
#[test]
fn a_parameter_may_be_empty() {
    let params = "params: {module: [x], empty: [''], none: [], more: ['', y]}";
    let asked = |labels: &[(&str, &str)], rules: &str| {
        let mut all = vec![("__address__", "a:9100")];
        all.extend(labels);
        kept(&format!("{params}{rules}"), &all).url
    };
    assert_eq!(
        asked(&[], ""),
        "http://a:9100/metrics?empty=&module=x&more=&more=y"
    );
    assert_eq!(
        asked(&[("__param_between", "z"), ("__param_empty", "e")], ""),
        "http://a:9100/metrics?between=z&empty=&module=x&more=&more=y"
    );
    // what is taken away by a rule is as the file has it, what is written holds
    let rules = "\n    relabel_configs: [{regex: __param_module, action: labeldrop}, {target_label: __param_more, replacement: w}]";
    assert_eq!(
        asked(&[], rules),
        "http://a:9100/metrics?empty=&module=x&more=w&more=y"
    );
}

#[test]
fn labels_say_how_it_is_scraped() {
    let endpoint = kept(
        "params: {module: [http, second], other: [x]}",
        &[
            ("__address__", "a:9100"),
            ("__scheme__", "https"),
            ("__metrics_path__", "probe"),
            ("__param_target", "http://b/?c=d e"),
            ("__scrape_interval__", "200ms"),
            ("__scrape_timeout__", "100ms"),
            ("instance", "mine"),
            ("job", "theirs"),
        ],
    );
    assert_eq!(
        endpoint.url,
        "https://a:9100/probe?module=http&module=second&other=x&target=http%3A%2F%2Fb%2F%3Fc%3Dd+e"
    );
    assert_eq!(endpoint.interval, Period::from_millis(200));
    assert_eq!(endpoint.labels.get("instance"), "mine");
    assert_eq!(endpoint.labels.get("job"), "theirs");
}

#[test]
fn the_idiom_of_the_blackbox_exporter() {
    let endpoint = kept(
        "metrics_path: /probe
    relabel_configs:
      - {source_labels: [__address__], target_label: __param_target}
      - {source_labels: [__param_target], target_label: instance}
      - {target_label: __address__, replacement: 'blackbox:9115'}",
        &[("__address__", "https://example.com")],
    );
    assert_eq!(
        endpoint.url,
        "http://blackbox:9115/probe?target=https%3A%2F%2Fexample.com"
    );
    assert_eq!(endpoint.labels.get("instance"), "https://example.com");
}

#[test]
fn what_cannot_be_scraped_is_told() {
    let at = |more: (&'static str, &'static str)| vec![("__address__", "a:1"), more];
    assert!(wrong("", &[("x", "y")]).contains("no address"));
    assert!(wrong("", &[("__address__", "http://a:1")]).contains("is not host and port"));
    assert!(wrong("", &at(("__scheme__", "ftp"))).contains("neither http nor https"));
    assert!(wrong("", &at(("__scrape_interval__", "soon"))).contains("no duration"));
    assert!(wrong("", &at(("__scrape_timeout__", "2h"))).contains("longer than"));
    let dropped = found(
        "relabel_configs: [{source_labels: [x], regex: z, action: drop}]",
        &at(("x", "z")),
    );
    assert!(matches!(dropped, Found::Dropped(labels) if labels.get("x") == "z"));
}

#[test]
fn a_target_is_the_same_when_only_what_was_found_about_it_changes() {
    let one = kept("", &[("__address__", "a:1"), ("__meta_x", "1")]);
    let two = kept(
        "scrape_interval: 5s",
        &[("__address__", "a:1"), ("__meta_x", "2")],
    );
    let other = kept("", &[("__address__", "a:1"), ("x", "1")]);
    assert_eq!(one.identity, two.identity);
    assert_ne!(one.identity, other.identity);
}
