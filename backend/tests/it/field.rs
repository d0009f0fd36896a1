//! What real clients and machines do: what was sent is kept for what it is, once, in its place,
//! under its own name, whatever the clock does meanwhile.

use serde_json::{Value, json};

use crate::{
    agents::{write_request, write_request_v2},
    support::{START_MS, TestServer, problem},
};

async fn post(server: &TestServer, path: &str, body: impl Into<String>) -> reqwest::Response {
    server
        .request(reqwest::Method::POST, path)
        .body(body.into())
        .send()
        .await
        .expect("an answer")
}

/// The answer to a selector, or to any other value of a query's one parameter.
async fn ask(server: &TestServer, path: &str, selector: &str) -> Value {
    let answer = server
        .request(reqwest::Method::GET, path)
        .query(&[("match", selector)])
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200, "{path} {selector}");
    answer.json().await.expect("JSON")
}

/// The one series of a selector.
async fn one(server: &TestServer, selector: &str) -> Value {
    let list = ask(server, "/api/series", selector).await;
    assert_eq!(list["matched"], 1, "{selector}: {list}");
    list["series"][0].clone()
}

#[tokio::test]
async fn any_text_is_a_name_at_every_door_and_in_every_selector() {
    let server = TestServer::start().await;
    let bodies = [
        ("/push", "{\"my metric\",\"my label\"=\"x\"} 1\n"),
        ("/push", "{\"name\":\"json name\",\"value\":2}"),
        ("/write?db=a", "in\\ flux,a\\ tag=b 1st=3"),
        ("/push", "{\"a\\\"b\\\\c\\nd\"} 4\n"),
    ];
    for (path, body) in bodies {
        assert!(
            post(&server, path, body).await.status().is_success(),
            "{body}"
        );
    }
    let otlp = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{
        "name": "otel name", "gauge": {"dataPoints": [{"asDouble": 5.0}]}
    }]}]}]});
    let answer = server
        .request(reqwest::Method::POST, "/v1/metrics")
        .json(&otlp)
        .send();
    assert_eq!(answer.await.expect("an answer").status(), 200);
    for (selector, key, last) in [
        ("{\"my metric\"}", "{\"my metric\",\"my label\"=\"x\"}", 1.0),
        (
            "{\"my label\"=~\"x|y\"}",
            "{\"my metric\",\"my label\"=\"x\"}",
            1.0,
        ),
        ("{__name__=\"json name\"}", "{\"json name\"}", 2.0),
        (
            "{\"in flux_1st\",\"a tag\"=\"b\"}",
            "{\"in flux_1st\",\"a tag\"=\"b\"}",
            3.0,
        ),
        ("{\"otel name\"}", "{\"otel name\"}", 5.0),
        ("{\"a\\\"b\\\\c\\nd\"}", "{\"a\\\"b\\\\c\\nd\"}", 4.0),
    ] {
        let found = one(&server, selector).await;
        assert_eq!((&found["key"], &found["last"]), (&json!(key), &json!(last)));
        // A key is the selector of just its series, for ranges as well.
        assert_eq!(one(&server, key).await["key"], key);
        let range = ask(&server, "/api/range", key).await;
        assert_eq!(range["series"][0]["key"], key);
        assert_eq!(range["series"][0]["points"][0][1], last);
    }
    let tracked = json!({"type": "my type", "value": 1});
    let answer = post(&server, "/metrics/track", tracked.to_string()).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(one(&server, "{\"my type_count\"}").await["last"], 1.0);
    server.stop().await;
}

/// The same name with a dot and a blank is one series, whoever sends it.
#[tokio::test]
async fn one_name_has_one_fate_at_every_endpoint() {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let server = TestServer::start_with(|settings| settings.statsd_addr = Some(address)).await;
    let name = "http.requests total";
    let labels = [("__name__", name), ("path.of", "a b")];
    let (v1, v2) = (
        "application/x-protobuf",
        "application/x-protobuf;proto=io.prometheus.write.v2.Request",
    );
    let otlp = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{
        "name": name, "gauge": {"dataPoints": [{"asDouble": 7.0}]}
    }]}]}]});
    let import = json!({"metric": {"__name__": name}, "values": [7], "timestamps": [START_MS]});
    let datadog =
        json!({"series": [{"metric": name, "points": [[START_MS / 1_000, 7]], "type": "gauge"}]});
    let bodies: [(&str, &str, &str, Vec<u8>); 9] = [
        (
            "text",
            "/push",
            "text/plain",
            format!("{{\"{name}\"}} 7").into(),
        ),
        (
            "json",
            "/push",
            "application/json",
            json!({"name": name, "value": 7}).to_string().into(),
        ),
        (
            "flux",
            "/write",
            "text/plain",
            "http.requests\\ total value=7".into(),
        ),
        (
            "v1",
            "/api/v1/write",
            v1,
            write_request(&labels, 7.0, START_MS),
        ),
        (
            "v2",
            "/api/v1/write",
            v2,
            write_request_v2(name, 7.0, START_MS),
        ),
        (
            "otlp",
            "/v1/metrics",
            "application/json",
            otlp.to_string().into(),
        ),
        (
            "import",
            "/api/v1/import",
            "application/json",
            import.to_string().into(),
        ),
        (
            "group",
            "/metrics/job/a",
            "text/plain",
            format!("{{\"{name}\"}} 7\n").into(),
        ),
        (
            "datadog",
            "/datadog/api/v1/series",
            "application/json",
            datadog.to_string().into(),
        ),
    ];
    for (tenant, path, kind, body) in bodies {
        let mut request = server
            .request(reqwest::Method::POST, path)
            .header("x-tenant-id", tenant)
            .header("content-type", kind);
        if path == "/api/v1/write" {
            request = request.header("content-encoding", "snappy");
        }
        let answer = request.body(body).send().await.expect("an answer");
        assert!(
            answer.status().is_success(),
            "{tenant}: {}",
            answer.status()
        );
        let asked = server
            .request(reqwest::Method::GET, "/api/series")
            .query(&[("tenant", tenant), ("match", &format!("{{\"{name}\"}}"))]);
        let list: Value = asked
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        assert_eq!(list["matched"], 1, "{tenant}: {list}");
        assert_eq!(list["series"][0]["last"], 7.0, "{tenant}: {list}");
    }
    let by_label = server
        .request(reqwest::Method::GET, "/api/series")
        .query(&[("tenant", "v1"), ("match", "{\"path.of\"=~\"a.b\"}")]);
    let list: Value = by_label
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(list["matched"], 1, "{list}");
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket
        .send_to(format!("{name}:7|g\n").as_bytes(), address)
        .expect("sent");
    server
        .eventually("the line is read", async || {
            server.own_metric("pulseboard_statsd_lines_total").await == 1
        })
        .await;
    server.clock.advance(std::time::Duration::from_secs(10));
    server
        .eventually("it has its name", async || {
            let list = ask(&server, "/api/series", &format!("{{\"{name}\"}}")).await;
            list["series"][0]["last"] == 7.0
        })
        .await;
    server.stop().await;
}

#[tokio::test]
async fn no_line_of_a_text_becomes_a_sample() {
    let server = TestServer::start().await;
    let body = "applog,host=web1 message=\"failed for row:\ncpu_usage value=99999\nretrying\",duration_ms=12i\n";
    for (path, tenant) in [
        ("/write?db=a", "one"),
        ("/api/v2/write?bucket=b", "two"),
        ("/push", "three"),
    ] {
        let answer = server
            .request(reqwest::Method::POST, path)
            .header("x-tenant-id", tenant)
            .body(body)
            .send()
            .await
            .expect("an answer");
        assert!(answer.status().is_success(), "{path}");
        let list = server.json(&format!("/api/series?tenant={tenant}")).await;
        assert_eq!(list["total"], 1, "{path}: {list}");
        assert_eq!(
            list["series"][0]["key"], "applog_duration_ms{host=\"web1\"}",
            "{path}"
        );
        assert_eq!(list["series"][0]["last"], 12.0);
    }
    server.stop().await;
}

#[tokio::test]
async fn infinities_and_nan_are_shown_for_what_they_are() {
    let server = TestServer::start().await;
    let at = |second: i64| START_MS - 10_000 + second * 1_000;
    let body = format!(
        "up +Inf {}\nup 1 {}\nup -Inf {}\nodd NaN {}\n{{\"name\":\"said\",\"value\":\"-Inf\"}}\n",
        at(0),
        at(1),
        at(2),
        at(0)
    );
    let answer = post(&server, "/push", body).await;
    assert_eq!(answer.json::<Value>().await.expect("JSON")["accepted"], 5);
    assert_eq!(one(&server, "up").await["last"], "-Inf");
    assert_eq!(one(&server, "odd").await["last"], "NaN");
    assert_eq!(one(&server, "said").await["last"], "-Inf");
    let range = server
        .json("/api/range?match=up&step=1s&start=-1m&agg=avg")
        .await;
    assert_eq!(
        range["series"][0]["points"],
        json!([
            [at(0), "+Inf", "+Inf", "+Inf"],
            [at(1), 1.0, 1.0, 1.0],
            [at(2), "-Inf", "-Inf", "-Inf"],
        ])
    );
    let windows = server.json("/api/windows?match=up").await;
    let minute = &windows[0]["windows"][0];
    assert_eq!(
        (
            &minute["count"],
            &minute["min"],
            &minute["avg"],
            &minute["max"]
        ),
        (&json!(3), &json!("-Inf"), &json!("NaN"), &json!("+Inf"))
    );
    assert_eq!(
        (&minute["p50"], &minute["p99"]),
        (&json!(1.0), &json!("+Inf"))
    );
    let best = server.json("/api/windows?match=up&topk=1").await;
    assert_eq!(best["series"][0]["windows"][0]["max"], "+Inf");
    let range = server.json("/api/range?match=odd&step=1s&start=-1m").await;
    assert_eq!(
        range["series"][0]["points"],
        json!([[at(0), "NaN", "NaN", "NaN"]])
    );
    server.stop().await;
}

#[tokio::test]
async fn what_the_server_measures_nobody_else_writes_to() {
    let mut server = TestServer::start().await;
    server.tick(40.0).await;
    for body in [
        "cpu_usage 5",
        "cpu_core_usage{core=\"0\"} 5",
        "{\"cpu_usage\":5}",
        "avg_latency 5",
    ] {
        let refused = problem(post(&server, "/push", body).await, 400).await;
        let reason = refused["refused"][0]["reason"].as_str().expect("a reason");
        assert!(reason.contains("measures"), "{reason}");
    }
    let answer = post(&server, "/write?db=a", "cpu usage=5").await;
    assert_eq!(answer.status(), 400);
    let body = json!({"type": "x", "value": 1}).to_string();
    assert_eq!(
        post(&server, "/metrics/track", body).await.status(),
        200,
        "another type"
    );
    // With labels of its own, and of another tenant, the name is free.
    assert_eq!(
        post(&server, "/push", "cpu_usage{host=\"a\"} 5")
            .await
            .status(),
        200
    );
    assert_eq!(
        post(&server, "/push?tenant=red", "cpu_usage 5")
            .await
            .status(),
        200
    );
    let own = ask(&server, "/api/range", "cpu_usage{host=\"\"}").await;
    let points = own["series"][0]["points"].as_array().expect("points");
    assert!(points.iter().all(|point| point[1] == 40.0), "{own}");
    server.stop().await;
}

#[tokio::test]
async fn what_is_ahead_is_marked_and_is_not_the_last() {
    let server = TestServer::start().await;
    let ahead_ms = START_MS + 300_000;
    let body = format!("a 1 {START_MS}\na 9 {ahead_ms}\nb 7 {ahead_ms}\n");
    assert_eq!(post(&server, "/push", body).await.status(), 200);
    let a = one(&server, "a").await;
    assert_eq!(
        (&a["last"], &a["last_ms"], &a["ahead_ms"]),
        (&json!(1.0), &json!(START_MS), &json!(300_000))
    );
    let b = one(&server, "b").await;
    assert_eq!(
        (&b["last"], &b["last_ms"], &b["ahead_ms"]),
        (&Value::Null, &json!(ahead_ms), &json!(300_000))
    );
    let late = post(&server, "/push", format!("c 1 {}", START_MS + 600_001)).await;
    problem(late, 400).await;
    // Its time has come.
    server
        .clock
        .advance(std::time::Duration::from_millis(300_000));
    let a = one(&server, "a").await;
    assert_eq!((&a["last"], &a["ahead_ms"]), (&json!(9.0), &Value::Null));
    server.stop().await;
}

/// A sender whose clock was ahead, and a restart at the right time: what lies ahead is not the
/// newest there either, nor for who opens a stream of it.
#[tokio::test]
async fn what_is_ahead_is_marked_after_a_restart_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = pulseboard::settings::DataDir::Path(folder.path().to_owned());
    let server = TestServer::start_with(|settings| settings.data_dir = data_dir.clone()).await;
    let ahead_ms = START_MS + 300_000;
    let body = format!("a 1 {START_MS}\na 9 {ahead_ms}\nb 7 {ahead_ms}\n");
    assert_eq!(post(&server, "/push", body).await.status(), 200);
    server.stop().await;
    let server =
        TestServer::start_at(START_MS + 5_000, |settings| settings.data_dir = data_dir).await;
    let a = one(&server, "a").await;
    assert_eq!(
        (&a["last"], &a["last_ms"], &a["ahead_ms"]),
        (&json!(1.0), &json!(START_MS), &json!(295_000))
    );
    let b = one(&server, "b").await;
    assert_eq!(
        (&b["last"], &b["ahead_ms"]),
        (&Value::Null, &json!(295_000))
    );
    server.clock.advance(std::time::Duration::from_secs(295));
    let a = one(&server, "a").await;
    assert_eq!((&a["last"], &a["ahead_ms"]), (&json!(9.0), &Value::Null));
    server.stop().await;
}

#[tokio::test]
async fn a_clock_that_is_set_is_followed_at_once() {
    const HOUR_MS: i64 = 3_600_000;
    let mut server = TestServer::start().await;
    server.tick(1.0).await;
    server.tick(2.0).await;
    assert_eq!(post(&server, "/push", "a 1").await.status(), 200);
    server.clock.set_by(-HOUR_MS);
    let now_ms = server.clock.now_ms();
    server
        .eventually("a tick comes at once", async || {
            server.own_metric("pulseboard_ticks_total").await == 3
        })
        .await;
    assert_eq!(
        server
            .own_metric("pulseboard_clock_steps_total{direction=\"back\"}")
            .await,
        1
    );
    assert_eq!(server.get("/readyz").await.status(), 200);
    let a = one(&server, "a").await;
    assert_eq!(
        (&a["last"], &a["state"], &a["ahead_ms"]),
        (&Value::Null, &json!("stopped"), &json!(HOUR_MS))
    );
    // Samples are judged by the clock as it is.
    let pushed = post(&server, "/push", format!("a 5 {now_ms}")).await;
    assert_eq!(pushed.status(), 200);
    let a = one(&server, "a").await;
    assert_eq!(
        (&a["last"], &a["last_ms"], &a["state"]),
        (&json!(5.0), &json!(now_ms), &json!("live"))
    );
    problem(
        post(&server, "/push", format!("a 6 {}", now_ms + HOUR_MS)).await,
        400,
    )
    .await;
    // One tick an interval from here on, at the new time; offsets go on.
    server.clock.advance(std::time::Duration::from_secs(1));
    server
        .eventually("the next tick", async || {
            server.own_metric("pulseboard_ticks_total").await == 4
        })
        .await;
    let since = server.json("/api/metrics/since").await;
    assert_eq!(since["offset"], 4);
    let newest = since["data"].as_array().and_then(|data| data.last());
    let expected = pulseboard_shared::Timestamp::from_millis(now_ms + 1_000);
    assert_eq!(
        newest.map(|sample| &sample["timestamp"]),
        Some(&json!(expected))
    );
    assert_eq!(server.own_metric("pulseboard_ticks_skipped_total").await, 0);
    server.stop().await;
}

#[tokio::test]
async fn differences_are_counted_once_and_in_order() {
    let server = TestServer::start().await;
    let base_ns = (START_MS - 60_000) * 1_000_000;
    let send = async |name: &str, from_s: i64, to_s: i64| {
        let body = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{
            "name": name,
            "sum": {"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [{
                "startTimeUnixNano": (base_ns + from_s * 1_000_000_000).to_string(),
                "timeUnixNano": (base_ns + to_s * 1_000_000_000).to_string(),
                "asDouble": 5.0
            }]}
        }]}]}]});
        let answer = server
            .request(reqwest::Method::POST, "/v1/metrics")
            .json(&body)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.json::<Value>().await.expect("JSON")
    };
    let values = async |name: &str| {
        let range = server
            .json(&format!(
                "/api/range?match={name}&step=1s&start=-2m&agg=last"
            ))
            .await;
        let points = range["series"][0]["points"].as_array().cloned();
        points
            .unwrap_or_default()
            .iter()
            .map(|point| point[1].as_f64().expect("a number"))
            .collect::<Vec<_>>()
    };
    for (from_s, to_s) in [(0, 10), (10, 20), (20, 30), (0, 10)] {
        assert_eq!(send("again", from_s, to_s).await, json!({}));
    }
    assert_eq!(values("again").await, [5.0, 10.0, 15.0]);
    for (from_s, to_s, is_late) in [
        (0, 10, false),
        (20, 30, false),
        (10, 20, true),
        (30, 40, false),
    ] {
        let answer = send("order", from_s, to_s).await;
        let rejected = &answer["partialSuccess"]["rejectedDataPoints"];
        assert_eq!(!rejected.is_null(), is_late, "{answer}");
        if is_late {
            let reason = answer["partialSuccess"]["errorMessage"].as_str();
            assert!(reason.is_some_and(|reason| reason.contains("counted up to")));
        }
    }
    assert_eq!(values("order").await, [5.0, 10.0, 15.0]);
    server.stop().await;
}

#[tokio::test]
async fn influx_clients_find_what_they_name() {
    let server = TestServer::start().await;
    let ping = server.get("/ping").await;
    assert_eq!(ping.status(), 204);
    let version = ping.headers()["x-influxdb-version"].to_str();
    assert!(version.is_ok_and(|version| version.starts_with("1.8")));
    let verbose = server.json("/ping?verbose=true").await;
    assert!(verbose["version"].is_string());
    for (path, status) in [
        ("/health", "pass"),
        ("/ready", "ready"),
        ("/api/v2/ready", "ready"),
    ] {
        assert_eq!(server.json(path).await["status"], status);
    }
    assert_eq!(server.get("/api/v2/ping").await.status(), 204);
    assert_eq!(server.json("/api/v2/setup").await["allowed"], false);
    let databases = json!({"results": [{"statement_id": 0, "series": [
        {"name": "databases", "columns": ["name"], "values": [["pulseboard"], ["telegraf"]]}
    ]}]});
    let asked = server
        .json("/query?q=SHOW+DATABASES&db=telegraf&epoch=ns")
        .await;
    assert_eq!(asked, databases);
    let form = server
        .request(reqwest::Method::POST, "/query")
        .body("q=SHOW+DATABASES&db=telegraf")
        .send()
        .await
        .expect("an answer");
    assert_eq!(form.json::<Value>().await.expect("JSON"), databases);
    let both = server
        .json("/query?q=CREATE+DATABASE+%22my+db%22;+SHOW+RETENTION+POLICIES+ON+%22my+db%22")
        .await;
    assert_eq!(both["results"][0], json!({"statement_id": 0}));
    assert_eq!(
        both["results"][1]["series"][0]["values"],
        json!([["autogen", "0s", "168h0m0s", 1, true]])
    );
    let refused = server.get("/query?q=SELECT+*+FROM+cpu").await;
    assert_eq!(refused.status(), 400);
    assert!(refused.json::<Value>().await.expect("JSON")["error"].is_string());
    let buckets = server.json("/api/v2/buckets?name=mine").await;
    assert_eq!(buckets["buckets"][0]["name"], "mine");
    let orgs = server.json("/api/v2/orgs?org=us").await;
    assert_eq!(orgs["orgs"][0]["name"], "us");
    assert_eq!(buckets["buckets"][0]["orgID"], orgs["orgs"][0]["id"]);
    let made = server
        .request(reqwest::Method::POST, "/api/v2/buckets")
        .json(&json!({"name": "mine", "orgID": "1", "retentionRules": []}))
        .send()
        .await
        .expect("an answer");
    assert_eq!(made.status(), 201);
    server.stop().await;
}
