//! Targets on loopback: their samples, what is told of them, how their series end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use pulseboard_scrape::Turns;
use tokio::time::Instant;

use crate::exporter::{Exporter, start, start_among};

/// A job that asks as often as may be.
fn quick(name: &str, address: &str, more: &str) -> String {
    format!(
        "  - job_name: {name}\n    scrape_interval: 100ms\n    static_configs: [{{targets: ['{address}']}}]\n{more}"
    )
}

fn jobs(jobs: &[String]) -> String {
    format!("scrape_configs:\n{}", jobs.concat())
}

#[tokio::test]
async fn samples_come_with_what_is_told_of_the_target() {
    let exporter = Exporter::start(Some("a 1\nb{x=\"y\"} 2.5\n")).await;
    let scraped = start();
    let address = &exporter.address;
    scraped.apply(&jobs(&[quick("node", address, "    params: {m: [n]}\n")]));
    let labels = format!("instance=\"{address}\",job=\"node\"");
    for row in [
        format!("a{{{labels}}} 1"),
        format!("b{{{labels},x=\"y\"}} 2.5"),
        format!("up{{{labels}}} 1"),
        format!("scrape_samples_scraped{{{labels}}} 2"),
        format!("scrape_samples_post_metric_relabeling{{{labels}}} 2"),
        format!("scrape_series_added{{{labels}}} 2"),
        // the second scrape adds nothing
        format!("scrape_series_added{{{labels}}} 0"),
    ] {
        scraped.sink.until_row(&row).await;
    }
    let rows = scraped.sink.rows();
    let a: Vec<i64> = (rows.iter().filter(|(row, _)| row.starts_with("a{")))
        .map(|(_, at)| *at)
        .collect();
    let up: Vec<i64> = (rows.iter().filter(|(row, _)| row.starts_with("up{")))
        .map(|(_, at)| *at)
        .collect();
    assert_eq!(a[0], up[0]);
    let duration = format!("scrape_duration_seconds{{{labels}}} ");
    assert!(rows.iter().any(|(row, _)| row.starts_with(&duration)));
    let asked = exporter.asked.lock().clone();
    assert!(
        asked.starts_with("GET /metrics?m=n HTTP/1.1\r\n"),
        "{asked}"
    );
    assert!(
        asked.contains("x-prometheus-scrape-timeout-seconds: 0.1\r\n"),
        "{asked}"
    );
    assert!(
        asked.contains("accept: application/openmetrics-text;version=1.0.0"),
        "{asked}"
    );
    let snapshot = scraped.manager.snapshot(None);
    let view = &snapshot.active[0];
    assert_eq!(
        (view.pool.as_str(), view.status.health.name()),
        ("node", "up")
    );
    assert_eq!(
        (view.status.scraped, view.status.last_error.as_str()),
        (2, "")
    );
}

#[tokio::test]
async fn what_is_anothers_is_shown_and_neither_scraped_nor_ended() {
    let exporter = Exporter::start(Some("a 1\n")).await;
    let (is_ours, moments) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU32::new(0)),
    );
    let (ours, count) = (Arc::clone(&is_ours), Arc::clone(&moments));
    let scraped = start_among(Turns::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        ours.load(Ordering::Relaxed)
    }));
    let more_moments = async || {
        let before = moments.load(Ordering::Relaxed);
        while moments.load(Ordering::Relaxed) < before + 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    scraped.apply(&jobs(&[quick("node", &exporter.address, "")]));
    more_moments().await;
    assert_eq!(scraped.sink.rows(), [], "it is another's");
    let is_elsewhere = || scraped.manager.snapshot(None).active[0].status.is_elsewhere;
    assert!(is_elsewhere());
    is_ours.store(true, Ordering::Relaxed);
    let labels = format!("instance=\"{}\",job=\"node\"", exporter.address);
    scraped.sink.until_row(&format!("a{{{labels}}} 1")).await;
    assert!(!is_elsewhere());
    is_ours.store(false, Ordering::Relaxed);
    more_moments().await;
    assert!(is_elsewhere());
    // It is no longer found, which whoever scrapes it says.
    scraped.apply(&jobs(&[]));
    let ended = |row: &(String, i64)| row.0.ends_with(" end");
    assert!(!scraped.sink.rows().iter().any(ended));
}

#[tokio::test]
async fn a_series_that_vanishes_ends() {
    let exporter = Exporter::start(Some("a 1\nb 2\n")).await;
    let scraped = start();
    scraped.apply(&jobs(&[quick("node", &exporter.address, "")]));
    let labels = format!("{{instance=\"{}\",job=\"node\"}}", exporter.address);
    scraped.sink.until_row(&format!("b{labels} 2")).await;
    exporter.say("a 3\n");
    scraped.sink.until_row(&format!("b{labels} end")).await;
    scraped.sink.until_row(&format!("a{labels} 3")).await;
    let ended =
        |rows: &[(String, i64)]| rows.iter().filter(|(row, _)| row.ends_with(" end")).count();
    assert_eq!(ended(&scraped.sink.rows()), 1);
    // it comes back
    exporter.say("b 4\n");
    scraped.sink.until_row(&format!("b{labels} 4")).await;
    scraped.sink.until_row(&format!("a{labels} end")).await;
}

#[tokio::test]
async fn a_target_that_fails_ends_its_series_and_says_why() {
    let exporter = Exporter::start(Some("a 1\n")).await;
    let scraped = start();
    scraped.apply(&jobs(&[quick("node", &exporter.address, "")]));
    let labels = format!("{{instance=\"{}\",job=\"node\"}}", exporter.address);
    scraped.sink.until_row(&format!("a{labels} 1")).await;
    for (answer, words) in [
        (
            "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n",
            "answered 500",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\na one\n",
            "line 1",
        ),
    ] {
        scraped.sink.forget();
        exporter.say_raw(answer);
        scraped.sink.until_row(&format!("up{labels} 0")).await;
        let told = scraped.manager.snapshot(None).active[0].status.clone();
        assert!(told.last_error.contains(words), "{}", told.last_error);
        assert_eq!(told.health.name(), "down");
        exporter.say("a 1\n");
        scraped.sink.until_row(&format!("a{labels} end")).await;
        scraped.sink.until_row(&format!("a{labels} 1")).await;
    }
}

/// A certificate that is not there, or that something else is renewing, is no reason to forget a
/// job.
#[tokio::test]
async fn a_job_whose_certificates_are_not_there_is_down_and_comes_back() {
    let exporter = Exporter::start(Some("a 1\n")).await;
    let scraped = start();
    let folder = tempfile::tempdir().expect("a folder");
    let job = quick(
        "node",
        &exporter.address,
        "    tls_config: {ca_file: ca.pem}\n",
    );
    let warnings = scraped.apply_in(folder.path(), &jobs(&[job]));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("job \"node\": ") && warnings[0].contains("ca.pem"));
    let labels = format!("{{instance=\"{}\",job=\"node\"}}", exporter.address);
    scraped.sink.until_row(&format!("up{labels} 0")).await;
    scraped.sink.forget();
    scraped.sink.until_row(&format!("up{labels} 0")).await;
    let told = scraped.manager.snapshot(None).active[0].status.clone();
    assert_eq!(told.health.name(), "down");
    assert!(told.last_error.contains("ca.pem"), "{}", told.last_error);
    let names: Vec<String> = Vec::new();
    let signed = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(ca_file, signed.cert.pem()).expect("written");
    scraped.sink.until_row(&format!("a{labels} 1")).await;
    scraped.sink.until_row(&format!("up{labels} 1")).await;
}

/// What rules made of a target is seen by nobody who does not look at the targets.
#[tokio::test]
async fn a_target_that_cannot_be_scraped_is_logged_once() {
    let log = tempfile::NamedTempFile::new().expect("a file");
    let collector = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(Arc::new(log.reopen().expect("again")))
        .finish();
    let collecting = tracing::subscriber::set_default(collector);
    let scraped = start();
    let folder = tempfile::tempdir().expect("a folder");
    let job = |more: &str| {
        format!(
            "scrape_configs:\n- job_name: a\n  static_configs: [{{targets: ['b:1', 'c:1'{more}]}}]\n  relabel_configs:\n  - {{source_labels: [__address__], regex: 'b.*', target_label: __scheme__, replacement: ftp}}\n  - {{source_labels: [__address__], regex: 'c.*', target_label: __scrape_interval__, replacement: soon}}\n"
        )
    };
    for more in ["", "", ", 'd:1'"] {
        scraped.apply_in(folder.path(), &job(more));
    }
    drop(collecting);
    let log = std::fs::read_to_string(log.path()).expect("text");
    for words in [
        "b:1: scheme \\\"ftp\\\"",
        "c:1: __scrape_interval__ \\\"soon\\\"",
    ] {
        assert_eq!(log.matches(words).count(), 1, "{words}: {log}");
    }
    assert_eq!(scraped.manager.snapshot(None).problems["a"].len(), 2);
}

/// What is longer than anything that is stored: the target is up, as far as Prometheus would know,
/// and yet nobody looks for its samples in vain.
#[tokio::test]
async fn what_is_left_out_of_a_target_is_counted_and_logged_once() {
    let log = tempfile::NamedTempFile::new().expect("a file");
    let collector = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(Arc::new(log.reopen().expect("again")))
        .finish();
    let collecting = tracing::subscriber::set_default(collector);
    let body = format!(
        "ok 1\n{} 2\na{{x=\"{}\"}} 3\nb{{y=\"{}\"}} 4\n",
        "n".repeat(201),
        "v".repeat(1025),
        "v".repeat(1026)
    );
    let exporter = Exporter::start(Some(body.leak())).await;
    let scraped = start();
    let at = &exporter.address;
    scraped.apply(&jobs(&[quick("node", at, "")]));
    let labels = format!("{{instance=\"{at}\",job=\"node\"}}");
    let row = format!("scrape_samples_scraped{labels} 4");
    let often = |rows: &[(String, i64)]| rows.iter().filter(|(told, _)| *told == row).count() >= 3;
    scraped.sink.until(often).await;
    scraped.sink.until_row(&format!("up{labels} 1")).await;
    let status = scraped.manager.snapshot(None).active[0].status.clone();
    assert_eq!((status.refused, status.scraped), (3, 4));
    assert_eq!(status.last_error, "");
    drop(collecting);
    let log = std::fs::read_to_string(log.path()).expect("text");
    for (words, times) in [
        ("job=\"node\"", 2),
        ("the metric's name has 201 bytes", 1),
        ("label \"x\" has 1025 bytes", 1),
    ] {
        assert_eq!(log.matches(words).count(), times, "{words}: {log}");
    }
}

#[tokio::test]
async fn nobody_waits_for_a_target_that_hangs() {
    let hangs = Exporter::start(None).await;
    let works = Exporter::start(Some("a 1\n")).await;
    let scraped = start();
    scraped.apply(&jobs(&[
        quick("hangs", &hangs.address, ""),
        quick("works", &works.address, ""),
    ]));
    let down = format!("up{{instance=\"{}\",job=\"hangs\"}} 0", hangs.address);
    let up = format!("up{{instance=\"{}\",job=\"works\"}} 1", works.address);
    scraped.sink.until_row(&down).await;
    scraped.sink.forget();
    let begun = Instant::now();
    let count = |rows: &[(String, i64)]| rows.iter().filter(|(row, _)| *row == up).count();
    scraped.sink.until(|rows| count(rows) >= 10).await;
    // ten of them at a tenth of a second, on a machine that is busy
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    let told = scraped.manager.snapshot(Some("hangs")).active[0]
        .status
        .clone();
    assert!(
        told.last_error.contains("did not answer in time"),
        "{}",
        told.last_error
    );
}

#[tokio::test]
async fn a_reload_keeps_what_is_the_same_and_ends_what_is_gone() {
    let (one, two) = (
        Exporter::start(Some("a 1\n")).await,
        Exporter::start(Some("b 2\n")).await,
    );
    let scraped = start();
    let both = [
        quick("one", &one.address, ""),
        quick("two", &two.address, ""),
    ];
    scraped.apply(&jobs(&both));
    let of = |exporter: &Exporter, job: &str| {
        format!("{{instance=\"{}\",job=\"{job}\"}}", exporter.address)
    };
    scraped
        .sink
        .until_row(&format!("a{} 1", of(&one, "one")))
        .await;
    scraped
        .sink
        .until_row(&format!("b{} 2", of(&two, "two")))
        .await;
    // the first job gets another timeout and goes on; the second is gone
    let changed = quick("one", &one.address, "    scrape_timeout: 90ms\n");
    scraped.apply(&jobs(&[changed]));
    let rows = scraped.sink.rows();
    for ended in ["b", "up", "scrape_duration_seconds", "scrape_series_added"] {
        let row = format!("{ended}{} end", of(&two, "two"));
        assert!(rows.iter().any(|(text, _)| *text == row), "{row}");
    }
    scraped.sink.forget();
    scraped
        .sink
        .until_row(&format!("a{} 1", of(&one, "one")))
        .await;
    let rows = scraped.sink.rows();
    assert!(rows.iter().all(|(row, _)| !row.contains("job=\"two\"")));
    assert!(rows.iter().all(|(row, _)| !row.ends_with(" end")));
    // it went on: none of its series is new
    let added = format!("scrape_series_added{} 1", of(&one, "one"));
    assert!(rows.iter().all(|(row, _)| *row != added));
    assert_eq!(scraped.manager.pools(), ["one"]);
}

#[tokio::test]
async fn limits_are_told() {
    let exporter = Exporter::start(Some("a 1\nb 2\n")).await;
    let scraped = start();
    let at = &exporter.address;
    for (limit, words) in [
        ("    sample_limit: 1\n", "sample_limit"),
        ("    body_size_limit: 5B\n", "larger than 5 bytes"),
        (
            "    relabel_configs: [{target_label: x, replacement: '1'}]\n    label_limit: 1\n",
            "label_limit",
        ),
    ] {
        scraped.sink.forget();
        scraped.apply(&jobs(&[quick("node", at, limit)]));
        scraped
            .sink
            .until(|rows| {
                rows.iter()
                    .any(|(row, _)| row.starts_with("up{") && row.ends_with(" 0"))
            })
            .await;
        let told = scraped.manager.snapshot(None).active[0].status.clone();
        assert!(told.last_error.contains(words), "{}", told.last_error);
    }
    let targets = format!(
        "  - job_name: many\n    scrape_interval: 100ms\n    target_limit: 1\n    static_configs: [{{targets: ['{at}', 'localhost:1']}}]\n"
    );
    scraped.sink.forget();
    scraped.apply(&jobs(&[targets]));
    scraped
        .sink
        .until_row(&format!("up{{instance=\"{at}\",job=\"many\"}} 0"))
        .await;
    let told = scraped.manager.snapshot(None).active[0].status.clone();
    assert!(
        told.last_error.contains("target_limit"),
        "{}",
        told.last_error
    );
}

#[tokio::test]
async fn what_a_target_says_of_its_metrics_is_kept() {
    let exporter = Exporter::start(Some("# HELP a Some help.\n# TYPE a gauge\na 1\n")).await;
    let scraped = start();
    scraped.apply(&jobs(&[quick("node", &exporter.address, "")]));
    let labels = format!("{{instance=\"{}\",job=\"node\"}}", exporter.address);
    scraped.sink.until_row(&format!("a{labels} 1")).await;
    scraped.sink.forget();
    scraped.sink.until_row(&format!("a{labels} 1")).await;
    let metadata = scraped.manager.snapshot(None).active[0].metadata.clone();
    let metric = metadata.expect("metadata")[0].clone();
    assert_eq!(
        (metric.metric, metric.kind, metric.help),
        ("a".to_owned(), "gauge".to_owned(), "Some help.".to_owned())
    );
}
