//! Discovery: files and documents.

use std::fs;

use crate::exporter::{Exporter, start};

#[tokio::test]
async fn files_are_read_again_when_they_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (
        Exporter::start(Some("a 1\n")).await,
        Exporter::start(Some("a 2\n")).await,
    );
    let write = |name: &str, text: String| {
        fs::write(folder.path().join(name), text).expect("written");
    };
    write(
        "one.yml",
        format!("- targets: ['{}']\n  labels: {{zone: x}}\n", one.address),
    );
    let scraped = start();
    scraped.apply_in(
        folder.path(),
        "scrape_configs:\n  - job_name: found\n    scrape_interval: 100ms\n    file_sd_configs: [{files: ['*.yml', '*.json'], refresh_interval: 100ms}]\n",
    );
    let row = |exporter: &Exporter, value: &str| {
        let zone = if value.starts_with('1') || value == "end" {
            ",zone=\"x\""
        } else {
            ""
        };
        format!(
            "a{{instance=\"{}\",job=\"found\"{zone}}} {value}",
            exporter.address
        )
    };
    scraped.sink.until_row(&row(&one, "1")).await;
    let found = scraped.manager.snapshot(None).active[0]
        .endpoint
        .discovered
        .clone();
    assert!(found.get("__meta_filepath").ends_with("/one.yml"));
    // a further file
    write(
        "two.json",
        format!(r#"[{{"targets":["{}"]}}]"#, two.address),
    );
    scraped.sink.until_row(&row(&two, "2")).await;
    // a broken one keeps what it said, and is told
    write("one.yml", "targets: {\n".to_owned());
    loop {
        let problems = scraped.manager.snapshot(None).problems;
        if problems
            .get("found")
            .is_some_and(|told| told[0].contains("one.yml"))
        {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(scraped.manager.snapshot(None).active.len(), 2);
    fs::remove_file(folder.path().join("one.yml")).expect("removed");
    scraped.sink.until_row(&row(&one, "end")).await;
    assert_eq!(scraped.manager.snapshot(None).active.len(), 1);
}

#[tokio::test]
async fn an_address_answers_with_groups() {
    let exporter = Exporter::start(Some("a 1\n")).await;
    let groups = Exporter::start(None).await;
    groups.say_json(&format!(
        r#"[{{"targets":["{}"],"labels":{{"zone":"x","__meta_more":"y"}}}}]"#,
        exporter.address
    ));
    let scraped = start();
    scraped.apply(&format!(
        "scrape_configs:\n  - job_name: found\n    scrape_interval: 100ms\n    http_sd_configs: [{{url: 'http://{}/groups', refresh_interval: 100ms}}]\n",
        groups.address
    ));
    let labels = format!(
        "{{instance=\"{}\",job=\"found\",zone=\"x\"}}",
        exporter.address
    );
    scraped.sink.until_row(&format!("a{labels} 1")).await;
    let asked = groups.asked.lock().clone();
    assert!(
        asked.contains("x-prometheus-refresh-interval-seconds: 0.1\r\n"),
        "{asked}"
    );
    // what is no list keeps what was found
    groups.say_json("{}");
    loop {
        let snapshot = scraped.manager.snapshot(None);
        assert_eq!(snapshot.active.len(), 1);
        if snapshot.problems.contains_key("found") {
            break;
        }
        tokio::task::yield_now().await;
    }
    groups.say_json("[]");
    scraped.sink.until_row(&format!("a{labels} end")).await;
    assert!(scraped.manager.snapshot(None).problems.is_empty());
}

#[tokio::test]
async fn addresses_of_a_name() {
    let exporter = Exporter::start(Some("a 1\n")).await;
    let (_, port) = exporter.address.rsplit_once(':').expect("a port");
    let scraped = start();
    scraped.apply(&format!(
        "scrape_configs:\n  - job_name: found\n    scrape_interval: 100ms\n    dns_sd_configs: [{{names: [localhost], type: A, port: {port}}}]\n    relabel_configs: [{{source_labels: [__meta_dns_name], target_label: name}}]\n"
    ));
    let labels = format!(
        "{{instance=\"{}\",job=\"found\",name=\"localhost\"}}",
        exporter.address
    );
    scraped.sink.until_row(&format!("a{labels} 1")).await;
}

#[tokio::test]
async fn the_jobs_of_a_file_run_beside_one_that_cannot() {
    let exporter = Exporter::start(Some("a 1\n")).await;
    let scraped = start();
    let warnings = scraped.apply(&format!(
        "scrape_configs:\n  - job_name: cloud\n    ec2_sd_configs: [{{region: x}}]\n  - job_name: broken\n    tls_config: {{ca_file: /nowhere/ca}}\n  - job_name: works\n    scrape_interval: 100ms\n    static_configs: [{{targets: ['{}']}}]\n",
        exporter.address
    ));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("\"cloud\"") && warnings[1].contains("/nowhere/ca"));
    let labels = format!("{{instance=\"{}\",job=\"works\"}}", exporter.address);
    scraped.sink.until_row(&format!("a{labels} 1")).await;
    let problems = scraped.manager.snapshot(None).problems;
    assert!(problems["cloud"][0].contains("ec2_sd_configs"));
}
