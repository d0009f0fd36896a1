//! `GET /api/series`, `/api/range` and `/api/windows`, each with two tenants.

use pulseboard_shared::Role;
use serde_json::{Value, json};

use crate::support::{START_MS, TestServer, problem, token};

#[tokio::test]
async fn series_are_listed_searched_and_paged_for_their_tenant_alone() {
    let server = TestServer::start().await;
    server.push("red",
        "# TYPE http_requests counter\nhttp_requests{job=\"api\",code=\"200\"} 7\nhttp_requests{job=\"web\",code=\"200\"} 9\nqueue_depth 42\n"
            .to_owned(),
    )
    .await;
    server.push("blue", "secret_metric 1".to_owned()).await;
    let keys = async |query: &str| -> Vec<String> {
        let list = server
            .json(&format!("/api/series?tenant=red&{query}"))
            .await;
        let series = list["series"].as_array().expect("a list");
        series
            .iter()
            .map(|one| one["key"].as_str().expect("a key").to_owned())
            .collect()
    };
    assert_eq!(
        keys("").await,
        [
            r#"http_requests{code="200",job="api"}"#,
            r#"http_requests{code="200",job="web"}"#,
            "queue_depth"
        ]
    );
    assert_eq!(keys("search=API").await.len(), 1);
    assert_eq!(
        keys("search=http%20web").await,
        [r#"http_requests{code="200",job="web"}"#]
    );
    assert_eq!(
        keys("match=http_requests%7Bjob%3D~%22a.%2B%22%7D")
            .await
            .len(),
        1
    );
    let page = server.json("/api/series?tenant=red&limit=2").await;
    assert_eq!((&page["total"], &page["matched"]), (&json!(3), &json!(3)));
    let next = page["next"].as_str().expect("there is more");
    let rest = server
        .request(reqwest::Method::GET, "/api/series")
        .query(&[("tenant", "red"), ("after", next)])
        .send()
        .await
        .expect("an answer");
    let rest: Value = rest.json().await.expect("JSON");
    assert_eq!(rest["series"][0]["key"], "queue_depth");
    let one = &server
        .json("/api/series?tenant=red&match=queue_depth&spark=10")
        .await["series"][0];
    assert_eq!(
        (&one["last"], &one["last_ms"], &one["state"]),
        (&json!(42.0), &json!(START_MS), &json!("live"))
    );
    assert_eq!(one["spark"].as_array().map(Vec::len), Some(10));
    assert_eq!(one["spark"][9], 42.0);
    let red = server
        .get("/api/series?tenant=red")
        .await
        .text()
        .await
        .expect("text");
    assert!(!red.contains("secret_metric"));
    server.push("red", "a_new_one 1".to_owned()).await;
    assert_eq!(keys("order=newest&limit=1").await, ["a_new_one"]);
    assert_eq!(keys("order=newest").await.len(), 4);
    problem(server.get("/api/series?order=age").await, 400).await;
    problem(server.get("/api/series?match=a%7B").await, 400).await;
    problem(server.get("/api/series?limit=x").await, 400).await;
    server.stop().await;
}

#[tokio::test]
async fn the_hosts_own_series_are_there_and_marked() {
    let mut server = TestServer::start().await;
    server.tick(40.0).await;
    server.push("default", "queue_depth 42".to_owned()).await;
    let list = server.json("/api/series").await;
    for one in list["series"].as_array().expect("a list") {
        let is_own = one["key"] != "queue_depth";
        assert_eq!(one["own"].as_bool().unwrap_or_default(), is_own, "{one}");
    }
    let cpu = server.json("/api/series?match=cpu_usage").await;
    assert_eq!(
        (&cpu["series"][0]["last"], &cpu["series"][0]["unit"]),
        (&json!(40.0), &json!("%"))
    );
    server.stop().await;
}

#[tokio::test]
async fn the_past_of_the_four_is_every_viewers_and_nothing_else_is() {
    let mut server = TestServer::start_with(|settings| {
        settings.tokens = vec![token(
            "a-long-enough-token-of-red",
            Role::Viewer,
            Some("red"),
        )];
    })
    .await;
    for cpu in [10.0, 20.0, 30.0] {
        server.tick(cpu).await;
    }
    server
        .push("default", "cpu_usage{host=\"b\"} 99\n".to_owned())
        .await;
    let ask = async |query: &str| {
        server
            .request(reqwest::Method::GET, &format!("/api/range?{query}"))
            .bearer_auth("a-long-enough-token-of-red")
            .send()
            .await
            .expect("an answer")
    };
    let answer = ask("own=true&start=-1m&step=1s").await;
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.expect("JSON");
    let series: Vec<_> = answer["series"]
        .as_array()
        .expect("a list")
        .iter()
        .collect();
    let keys: Vec<_> = series
        .iter()
        .filter_map(|one| one["key"].as_str())
        .collect();
    assert_eq!(
        keys,
        [
            "avg_latency",
            "cpu_usage",
            "memory_usage",
            "requests_per_sec"
        ]
    );
    let cpu: Vec<_> = series[1]["points"]
        .as_array()
        .expect("points")
        .iter()
        .map(|point| point[1].as_f64())
        .collect();
    assert_eq!(cpu, [Some(10.0), Some(20.0), Some(30.0)]);
    let other: Value = ask("match=cpu_usage&start=-1m")
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(other["series"], json!([]), "red has no such series");
    problem(ask("own=true&match=cpu_usage").await, 400).await;
    problem(ask("own=perhaps").await, 400).await;
    server.stop().await;
}

#[tokio::test]
async fn a_range_has_minimum_and_maximum_and_says_where_it_is_from() {
    let server = TestServer::start().await;
    let lines: String = (0..60)
        .map(|second| {
            format!(
                "load{{host=\"{}\"}} {second} {}\n",
                ["a", "b"][second as usize % 2],
                START_MS - 60_000 + second * 1000
            )
        })
        .collect();
    server.push("red", lines).await;
    server
        .push(
            "blue",
            format!("load{{host=\"c\"}} 1000 {}\n", START_MS - 1000),
        )
        .await;
    let from = START_MS - 60_000;
    let answer = server
        .json(&format!(
            "/api/range?tenant=red&match=load&start={from}&end={START_MS}&step=30s"
        ))
        .await;
    assert_eq!(answer["step_ms"], 30_000);
    assert_eq!(answer["stretches"][0]["resolution"], "raw");
    let series = answer["series"].as_array().expect("a list");
    assert_eq!(series.len(), 2);
    assert_eq!(series[0]["labels"], json!({"host": "a"}));
    assert_eq!(
        series[0]["points"],
        json!([[from, 14.0, 0.0, 28.0], [from + 30_000, 44.0, 30.0, 58.0]])
    );
    let grouped = server
        .json(&format!(
            "/api/range?tenant=red&match=load&start={from}&end={START_MS}&step=1m&agg=sum&by="
        ))
        .await;
    assert_eq!(grouped["series"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        grouped["series"][0]["points"][0][1],
        json!((0..60).sum::<i32>() as f64)
    );
    for (query, status) in [
        ("start=1", 400),
        ("match=load&start=x", 400),
        ("match=load&agg=median", 400),
        ("match=load&start=-1h&step=1ms", 422),
        ("match=load&start=5&end=4", 400),
    ] {
        let answer = server.get(&format!("/api/range?tenant=red&{query}")).await;
        problem(answer, status).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn live_windows_have_percentiles() {
    let server = TestServer::start().await;
    let lines: String = (0..100)
        .map(|number| format!("latency {number} {}\n", START_MS - 50_000 + number * 500))
        .collect();
    server.push("red", lines).await;
    let windows = server.json("/api/windows?tenant=red&match=latency").await;
    let minute = &windows[0]["windows"][0];
    assert_eq!(
        (&minute["seconds"], &minute["count"]),
        (&json!(60), &json!(100))
    );
    assert_eq!(
        (&minute["min"], &minute["max"], &minute["avg"]),
        (&json!(0.0), &json!(99.0), &json!(49.5))
    );
    let p99 = minute["p99"].as_f64().expect("a number");
    assert!((97.0..=100.0).contains(&p99), "{p99}");
    assert_eq!(
        server.json("/api/windows?tenant=blue&match=latency").await,
        json!([])
    );
    server.stop().await;
}

/// Whoever asks for much and does not read is given up, and takes nobody's place meanwhile.
#[tokio::test]
async fn a_range_that_nobody_reads_is_given_up() {
    let server = TestServer::start_with(|settings| {
        settings.write_timeout = std::time::Duration::from_secs(1);
    })
    .await;
    for series in 0..60 {
        let lines = (0..5_000).map(|at| {
            let value = f64::from(at * 7 + series) / 3.0;
            format!(
                "wide{{n=\"{series}\"}} {value} {}\n",
                START_MS - 5_000 + i64::from(at)
            )
        });
        server.push("red", lines.collect::<String>()).await;
    }
    let query = format!(
        "tenant=red&match=wide&start={}&end={START_MS}&step=1",
        START_MS - 5_000
    );
    let asker = server.raw(&format!("/api/range?{query}"), "").await;
    let given_up = "pulseboard_limit_hits_total{limit=\"write_deadline\"}";
    server
        .eventually("it is given up", async || {
            server.own_metric(given_up).await == 1
        })
        .await;
    // Who reads has all of it.
    let all = server.json(&format!("/api/range?{query}")).await;
    let series = all["series"].as_array().expect("a list");
    assert_eq!(series.len(), 60);
    assert!(
        series
            .iter()
            .all(|one| one["points"].as_array().map(Vec::len) == Some(5_000))
    );
    drop(asker);
    server.stop().await;
}

#[tokio::test]
async fn of_many_series_the_best_are_told_and_the_rest_is_a_band() {
    let server = TestServer::start().await;
    let lines = (0..20).map(|number| {
        let at_ms = START_MS - 2_000;
        format!("load{{n=\"{number:02}\"}} {number} {at_ms}\n")
    });
    server.push("red", lines.collect::<String>()).await;
    server.push("blue", "load{n=\"x\"} 999".to_owned()).await;
    let ask = async |path: &str, more: &str| -> Value {
        let path = format!("{path}?tenant=red&match=load&{more}");
        server.json(&path).await
    };
    let keys = |answer: &Value| -> Vec<String> {
        let series = answer["series"].as_array().expect("a list");
        let keys = series.iter().map(|one| one["key"].as_str().expect("a key"));
        keys.map(str::to_owned).collect()
    };
    let step = "start=-1m&step=1s";
    let best = ask("/api/range", &format!("{step}&topk=2")).await;
    assert_eq!(keys(&best), [r#"load{n="19"}"#, r#"load{n="18"}"#]);
    assert_eq!(
        best["others"],
        json!({"count": 18, "points": [[START_MS - 2_000, 0.0, 8.5, 17.0]]})
    );
    let least = ask("/api/range", &format!("{step}&topk=1&rank=min")).await;
    assert_eq!(keys(&least), [r#"load{n="00"}"#]);
    let all = ask("/api/range", &format!("{step}&topk=20")).await;
    assert_eq!((keys(&all).len(), &all["others"]), (20, &Value::Null));
    let first = ask("/api/range", &format!("{step}&limit=3")).await;
    assert_eq!(
        keys(&first).last().map(|key| &**key),
        Some(r#"load{n="02"}"#)
    );
    assert_eq!(first["others"], json!({"count": 17}));

    let windows = ask("/api/windows", "topk=2").await;
    assert_eq!(keys(&windows), [r#"load{n="19"}"#, r#"load{n="18"}"#]);
    let hour = &windows["others"]["windows"][2];
    assert_eq!(
        (&windows["others"]["count"], &hour["count"], &hour["max"]),
        (&json!(18), &json!(18), &json!(17.0))
    );
    let first = ask("/api/windows", "limit=1").await;
    assert_eq!(first["others"], json!({"count": 19}));
    let plain = ask("/api/windows", "").await;
    assert_eq!(plain.as_array().map(Vec::len), Some(20), "an array as ever");
    for wrong in ["topk=101", "topk=2&limit=2", "topk=2&rank=best"] {
        let path = format!("/api/range?match=load&{wrong}");
        problem(server.get(&path).await, 400).await;
    }
    server.stop().await;
}
