//! Expressions over time of which samples are gone: rollups answer, and the answer says so.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use crate::support::{START_MS, TestServer};

const HOUR_MS: i64 = 3_600_000;

async fn ask(server: &TestServer, tenant: &str, query: &str, at_ms: i64) -> Value {
    let time = format!("{}.{:03}", at_ms / 1000, at_ms % 1000);
    let answer = server
        .request(Method::GET, "/api/v1/query")
        .header("x-tenant-id", tenant)
        .query(&[("query", query), ("time", &time)])
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200, "{query}");
    answer.json().await.expect("JSON")
}

fn value(answer: &Value) -> f64 {
    let value = answer["data"]["result"][0]["value"][1].as_str();
    value
        .unwrap_or_else(|| panic!("no value in {answer}"))
        .parse()
        .expect("a number")
}

#[tokio::test]
async fn expressions_are_answered_from_rollups_where_samples_are_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start_in(START_MS, folder.path()).await;
    let hour_ms = (START_MS - 5 * HOUR_MS).div_euclid(HOUR_MS) * HOUR_MS;
    // Four hours of a counter that begins again now and then; blue counts twice as fast.
    for (tenant, by) in [("red", 3), ("blue", 6)] {
        let mut body = String::new();
        let mut count = 0;
        for number in 0..4 * 720 {
            count = if number % 500 == 499 { by } else { count + by };
            let at_ms = hour_ms + 2_500 + number * 5_000;
            body.push_str(&format!("jobs_total{{host=\"a\"}} {count} {at_ms}\n"));
        }
        server.push(tenant, body).await;
    }
    let at_ms = hour_ms + 3 * HOUR_MS;
    let exact = ask(&server, "red", "increase(jobs_total[1h])", at_ms).await;
    assert!(exact.get("infos").is_none(), "{exact}");
    server.stop().await;

    // Two and a half days later.
    let server = TestServer::start_in(START_MS + 60 * HOUR_MS, folder.path()).await;
    server
        .eventually("the samples are gone", async || {
            server.clock.advance(Duration::from_secs(5));
            let answer = ask(&server, "red", "jobs_total", at_ms).await;
            answer.get("infos").is_some()
        })
        .await;
    for (tenant, by) in [("red", 3.0), ("blue", 6.0)] {
        let grown = ask(&server, tenant, "increase(jobs_total[1h])", at_ms).await;
        let expected = 720.0 * by;
        assert!(
            (value(&grown) - expected).abs() < expected / 100.0,
            "{grown}"
        );
        let info = grown["infos"][0].as_str().unwrap_or_default();
        assert!(info.contains("are kept as rollups of 10s"), "{grown}");
        let rate = ask(&server, tenant, "sum(rate(jobs_total[2h]))", at_ms).await;
        assert!((value(&rate) - by / 5.0).abs() < 0.01, "{rate}");
        // A value that was there: that of the last sample before.
        let now = ask(&server, tenant, "jobs_total", at_ms).await;
        assert_eq!(value(&now), 161.0 * by, "{now}");
        // Windows of whole buckets are exact, and nothing is said.
        for (function, expected) in [("count", 720.0), ("max", 500.0 * by), ("min", by)] {
            let query = format!("{function}_over_time(jobs_total[1h])");
            let told = ask(&server, tenant, &query, at_ms - 1).await;
            assert_eq!(value(&told), expected, "{query}: {told}");
            assert!(told.get("infos").is_none(), "{told}");
        }
    }
    server.stop().await;
}
