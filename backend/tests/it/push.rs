//! `POST /push` and the endpoints of agents, each with two tenants.

use pulseboard_shared::Role;
use serde_json::{Value, json};

use crate::support::{START_MS, TestServer, problem, token};

async fn push(server: &TestServer, tenant: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
    server.pushed(tenant, body).await
}

async fn ingested(server: &TestServer, tenant: &str) -> Value {
    server.json(&format!("/api/ingest?tenant={tenant}")).await
}

#[tokio::test]
async fn a_number_past_the_largest_double_loses_its_own_sample_alone() {
    let server = TestServer::start().await;
    let bodies = [
        r#"[{"name":"a","value":1},{"name":"b","value":1e400},{"name":"c","value":3}]"#,
        "{\"name\":\"a\",\"value\":1}\n{\"name\":\"b\",\"value\":-1e400}\n{\"name\":\"c\",\"value\":3}\n",
    ];
    for (body, tenant) in bodies.into_iter().zip(["red", "blue"]) {
        let (status, answer) = push(&server, tenant, body).await;
        assert_eq!((status, &answer["accepted"]), (200, &json!(2)), "{answer}");
        assert_eq!(answer["refused"][0]["line"], 2, "{answer}");
        let reason = answer["refused"][0]["reason"].as_str().expect("a reason");
        assert!(
            reason.contains("\"value\" is a number past the largest double"),
            "{reason}"
        );
        let series = server.json(&format!("/api/series?tenant={tenant}")).await;
        let keys: Vec<_> = series["series"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one["key"].clone())
            .collect();
        assert_eq!(keys, [json!("a"), json!("c")]);
    }
    server.stop().await;
}

#[tokio::test]
async fn the_last_refusals_say_where_why_and_when_to_their_tenant_alone() {
    let server = TestServer::start().await;
    for line in 0..30 {
        push(&server, "red", format!("a 1\nb two{line}\n")).await;
    }
    let answer = server
        .request(
            reqwest::Method::POST,
            "/metrics/track?tenant=red&api_key=secret",
        )
        .json(&json!({"type": "", "value": 1}))
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 400);
    let kept = ingested(&server, "red").await["refusals"].clone();
    let kept = kept.as_array().expect("a list");
    assert_eq!(kept.len(), 20, "the last twenty");
    let tracked = kept.iter().find(|one| one["endpoint"] == "/metrics/track");
    assert!(tracked.is_some(), "{kept:?}");
    let pushed = kept
        .iter()
        .find(|one| one["endpoint"] == "/push")
        .expect("one");
    assert_eq!(
        (&pushed["line"], &pushed["at_ms"], &pushed["sender"]),
        (&json!(2), &json!(START_MS), &json!("127.0.0.1"))
    );
    let reason = pushed["reason"].as_str().expect("a reason");
    assert!(reason.contains("two"), "{reason}");
    assert!(
        !json!(kept).to_string().contains("secret"),
        "a query is not told"
    );
    assert_eq!(ingested(&server, "blue").await["refusals"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn each_form_is_recognised_and_a_bad_line_loses_only_itself() {
    let server = TestServer::start().await;
    for (body, accepted, refused) in [
        ("queue_depth 42", 1, vec![]),
        ("a 1\nb two\n\nc 3\n", 2, vec![2]),
        (
            "# TYPE http_requests counter\nhttp_requests{job=\"api\",code=\"200\"} 7\n",
            1,
            vec![],
        ),
        ("disk,path=/ used=1.5,free=2i\n", 2, vec![]),
        (
            r#"{"name":"temp","value":21.5,"unit":"°C","labels":{"room":"a"}}"#,
            1,
            vec![],
        ),
        (
            r#"[{"name":"x","value":1},{"name":"","value":1},{"name":"y","value":2}]"#,
            2,
            vec![2],
        ),
        (
            "{\"name\":\"x\",\"value\":1}\n{\"name\":\"y\",\"value\":2}\n",
            2,
            vec![],
        ),
    ] {
        let (status, answer) = push(&server, "red", body).await;
        assert_eq!(status, 200, "{body}: {answer}");
        assert_eq!(answer["accepted"], accepted, "{body}: {answer}");
        assert_eq!(answer["refusedTotal"], refused.len(), "{body}: {answer}");
        let lines: Vec<_> = answer["refused"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|refused| refused["line"].as_u64().expect("a line"))
            .collect();
        assert_eq!(lines, refused, "{body}");
        for refused in answer["refused"].as_array().expect("a list") {
            assert!(
                refused["reason"]
                    .as_str()
                    .is_some_and(|reason| reason.len() > 10)
            );
        }
    }
    assert_eq!(ingested(&server, "blue").await["accepted"], 0);
    assert_eq!(ingested(&server, "red").await["accepted"], 11);
    server.stop().await;
}

#[tokio::test]
async fn nothing_accepted_is_400_with_the_same_body_and_says_why() {
    let server = TestServer::start().await;
    // A tenant is made by its first sample; until then nothing is counted in its name.
    push(&server, "red", "good 1\n").await;
    for (body, coding, lines) in [
        ("only words here\n", "identity", vec![1]),
        ("a 1 1000\nb\n", "identity", vec![1, 2]),
        ("", "identity", vec![1]),
        ("{\"name\":", "identity", vec![1]),
        (
            "[{\"name\":\"a\",\"value\":1},\n{\"name\"",
            "identity",
            vec![2],
        ),
        ("{\"name\":\"a\",\"value\":1e999}", "identity", vec![1]),
        ("# a comment\n", "identity", vec![]),
        ("[]", "identity", vec![]),
        ("no gzip", "gzip", vec![]),
    ] {
        let answer = server
            .request(reqwest::Method::POST, "/push")
            .header("x-tenant-id", "red")
            .header("content-encoding", coding)
            .body(body)
            .send()
            .await
            .expect("an answer");
        let answer = problem(answer, 400).await;
        assert_eq!(answer["accepted"], 0, "{body:?}: {answer}");
        assert_eq!(answer["refusedTotal"], lines.len(), "{body:?}: {answer}");
        let named: Vec<_> = answer["refused"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|refused| refused["line"].as_u64().expect("a line"))
            .collect();
        assert_eq!(named, lines, "{body:?}");
    }
    // Each body of which nothing could be read is one of them.
    assert_eq!(
        ingested(&server, "red").await["refused"],
        json!({"malformed": 6, "not_a_number": 1, "too_old": 1})
    );
    server.stop().await;
}

/// Whoever sets up a sender looks there first, and at that time nothing of it was ever taken.
#[tokio::test]
async fn what_is_refused_before_anything_is_taken_is_counted_where_a_tenant_is_named() {
    let secret = "an-operator-of-green-alone";
    let server = TestServer::start_with(|settings| {
        settings.tokens = vec![token(secret, Role::Operator, Some("green"))];
    })
    .await;
    for (tenant, token) in [("default", None), ("green", Some(secret))] {
        let send = async |method, path, body| {
            let mut request = server.request(method, path);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            request.body(body).send().await.expect("an answer")
        };
        for _ in 0..2 {
            let answer = send(reqwest::Method::POST, "/push", "only words here\n").await;
            problem(answer, 400).await;
        }
        let answer = send(reqwest::Method::GET, "/api/ingest", "").await;
        let counted: Value = answer.json().await.expect("JSON");
        assert_eq!(counted["tenant"], tenant);
        assert_eq!(counted["refused"], json!({"not_a_number": 2}), "{tenant}");
    }
    server.stop().await;
}

#[tokio::test]
async fn times_out_of_bounds_are_refused_and_counted() {
    let server = TestServer::start().await;
    let body = format!(
        "a 1 {}\na 2 {}\na 3 {}\na 4 {}\n",
        START_MS - 900_000,
        START_MS - 900_001,
        START_MS + 600_000,
        START_MS + 600_001,
    );
    let (_, answer) = push(&server, "red", body).await;
    assert_eq!(answer["accepted"], 2);
    let reasons = answer["refused"].as_array().expect("a list");
    assert_eq!(
        (&reasons[0]["line"], &reasons[1]["line"]),
        (&json!(2), &json!(4))
    );
    assert!(reasons[0]["reason"].as_str().is_some_and(|reason| {
        reason.contains(&(START_MS - 900_001).to_string())
            && reason.contains(&(START_MS - 900_000).to_string())
    }));
    let counts = ingested(&server, "red").await;
    assert_eq!(counts["refused"], json!({"too_old": 1, "in_future": 1}));
    assert_eq!(ingested(&server, "blue").await["refused"], json!({}));
    let text = server.get("/metrics").await.text().await.expect("text");
    assert!(
        text.contains("pulseboard_ingest_refused_total{tenant=\"red\",reason=\"too_old\"} 1\n"),
        "{text}"
    );
    server.stop().await;
}

#[tokio::test]
async fn packed_bodies_are_unpacked_and_bombs_are_cut_off() {
    let server = TestServer::start_with(|settings| settings.max_body_bytes = 100_000).await;
    let gzip = |bytes: &[u8]| {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).expect("packs");
        encoder.finish().expect("packs")
    };
    let send = |coding: &'static str, body: Vec<u8>| {
        server
            .request(reqwest::Method::POST, "/push")
            .header("content-encoding", coding)
            .body(body)
            .send()
    };
    // What a body is packed with is seen, too, where nothing says so.
    let zstd = zstd::encode_all(&b"c 1\nd 2\n"[..], 1).expect("it packs");
    for packed in [gzip(b"a 1\nb 2\n"), zstd] {
        let answer = send("identity", packed).await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(
            (&answer["accepted"], &answer["refused"]),
            (&json!(2), &json!([]))
        );
    }
    let answer = send("gzip", gzip(b"a 1\nb 2\n")).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let bomb = gzip(&vec![b'\n'; 100_001]);
    assert!(bomb.len() < 1_000);
    for _ in 0..20 {
        problem(send("gzip", bomb.clone()).await.expect("an answer"), 413).await;
    }
    problem(
        send("gzip", b"no gzip".to_vec()).await.expect("an answer"),
        400,
    )
    .await;
    problem(send("br", vec![1]).await.expect("an answer"), 415).await;
    let large = server
        .request(reqwest::Method::POST, "/push")
        .body(vec![b'\n'; 100_001])
        .send()
        .await
        .expect("an answer");
    problem(large, 413).await;
    let answer = send("gzip", gzip(b"a 1\n")).await.expect("an answer");
    assert_eq!(answer.status(), 200, "the budget was given back");
    let twice = server
        .request(reqwest::Method::POST, "/push")
        .header("content-encoding", "gzip")
        .header("content-encoding", "gzip")
        .body(gzip(&gzip(b"a 1\n")));
    problem(twice.send().await.expect("an answer"), 415).await;
    let counts = ingested(&server, "default").await;
    assert_eq!(
        counts["refused"],
        json!({"body_too_large": 21, "malformed": 3})
    );
    assert_eq!(ingested(&server, "red").await["refused"], json!({}));
    server.stop().await;
}

/// Each field repeats its line's labels: 140 KB would become 700 MB.
#[tokio::test]
async fn a_line_that_would_become_thousands_of_times_its_length_is_cut_off() {
    let server = TestServer::start().await;
    let value = "v".repeat(1_000);
    let mut line = "m".to_owned();
    for number in 0..40 {
        line += &format!(",tag{number}={value}");
    }
    line += " a=1";
    for number in 0..16_000 {
        line += &format!(",f{number}=1");
    }
    let (status, answer) = push(&server, "red", line).await;
    assert_eq!(status, 200);
    let accepted = answer["accepted"].as_u64().expect("a count");
    assert!((500..2_000).contains(&accepted), "{accepted}");
    assert_eq!(answer["refusedTotal"], 16_001 - accepted);
    server.stop().await;
}

#[tokio::test]
async fn the_series_limit_refuses_new_ones_and_old_ones_go_on() {
    let server = TestServer::start_with(|settings| settings.max_series = 2).await;
    assert_eq!(push(&server, "red", "a 1\nb 1\n").await.0, 200);
    let (status, answer) = push(&server, "red", "a 2\nc 1\n").await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(1)));
    assert!(
        answer["refused"][0]["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("MAX_SERIES"))
    );
    assert_eq!(
        push(&server, "blue", "a 1\nb 1\n").await.0,
        200,
        "another tenant has its own"
    );
    server.stop().await;
}

#[tokio::test]
async fn the_first_lines_refused_are_named_in_their_order() {
    let server = TestServer::start_with(|settings| settings.max_series = 10).await;
    assert_eq!(push(&server, "red", lines("known", 10)).await.0, 200);
    let body = lines("known", 10) + &lines("new", 500);
    let (status, answer) = push(&server, "red", body).await;
    assert_eq!((status, &answer["refusedTotal"]), (200, &json!(500)));
    let refused = answer["refused"].as_array().expect("a list");
    let named: Vec<u64> = refused
        .iter()
        .filter_map(|line| line["line"].as_u64())
        .collect();
    assert_eq!(named, (11..=110).collect::<Vec<u64>>());
    server.stop().await;
}

fn lines(name: &str, count: u32) -> String {
    (0..count)
        .map(|number| format!("{name}{number} 1\n"))
        .collect()
}

#[tokio::test]
async fn a_viewer_of_one_tenant_is_not_told_of_others_in_the_servers_own_metrics() {
    let server = TestServer::start_with(|settings| {
        settings.anonymous_tenants = vec!["default".to_owned(), "red".to_owned()];
        settings.tokens = vec![token("eyes", Role::Viewer, Some("blue"))];
    })
    .await;
    assert_eq!(push(&server, "red", "a 1").await.0, 200);
    let of = async |token: Option<&str>| {
        let request = server.request(reqwest::Method::GET, "/metrics");
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.expect("an answer");
        answer.text().await.expect("text")
    };
    assert!(
        of(None).await.contains("tenant=\"red\""),
        "an admin sees all"
    );
    let seen = of(Some("eyes")).await;
    assert!(seen.contains("tenant=\"blue\"") && !seen.contains("tenant=\"red\""));
    server.stop().await;
}

#[tokio::test]
async fn influx_clients_find_their_doors() {
    let server = TestServer::start().await;
    let send = |path: &'static str, body: String| {
        server
            .request(reqwest::Method::POST, path)
            .header("x-tenant-id", "red")
            .body(body)
            .send()
    };
    let now_s = START_MS / 1000;
    let answer = send(
        "/write?db=x&precision=s",
        format!("cpu,host=a usage=0.5 {now_s}"),
    )
    .await;
    assert_eq!(answer.expect("an answer").status(), 204);
    let nanos = START_MS * 1_000_000;
    let answer = send(
        "/api/v2/write?bucket=x&org=y",
        format!("cpu,host=b usage=0.5 {nanos}"),
    )
    .await;
    assert_eq!(answer.expect("an answer").status(), 204);
    let answer = send(
        "/api/v2/write?bucket=x",
        format!("cpu usage=1 {nanos}\ncpu usage=\n"),
    )
    .await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), 400);
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(answer["code"], "invalid");
    assert!(
        answer["message"]
            .as_str()
            .is_some_and(|text| text.contains("line 2"))
    );
    // A text among the fields is counted as refused, and no reason to send the rest again.
    let answer = send("/write", format!("host os=\"linux\",up=1i {nanos}")).await;
    assert_eq!(answer.expect("an answer").status(), 204);
    assert_eq!(ingested(&server, "red").await["refused"]["unsupported"], 1);
    problem(
        send("/write?precision=fortnight", "a b=1".to_owned())
            .await
            .expect("an answer"),
        400,
    )
    .await;
    assert_eq!(server.get("/ping").await.status(), 204);
    assert_eq!(ingested(&server, "red").await["accepted"], 4);
    assert_eq!(ingested(&server, "blue").await["accepted"], 0);
    server.stop().await;
}

#[tokio::test]
async fn a_viewer_pushes_nothing_and_a_token_speaks_for_its_tenant_alone() {
    let server = TestServer::start_with(|settings| {
        settings.anonymous_role = Some(Role::None);
        settings.tokens = ["eyes", "hand"]
            .into_iter()
            .zip([Role::Viewer, Role::Writer])
            .map(|(secret, role)| token(secret, role, Some("red")))
            .collect();
    })
    .await;
    let send = |token: &'static str, tenant: &'static str| {
        server
            .request(reqwest::Method::POST, "/push")
            .bearer_auth(token)
            .header("x-tenant-id", tenant)
            .body("a 1")
            .send()
    };
    problem(send("eyes", "red").await.expect("an answer"), 403).await;
    problem(send("hand", "blue").await.expect("an answer"), 403).await;
    problem(send("nobody", "red").await.expect("an answer"), 401).await;
    assert_eq!(send("hand", "red").await.expect("an answer").status(), 200);
    problem(send("hand", "not a tenant").await.expect("an answer"), 400).await;
    server.stop().await;
}

#[tokio::test]
async fn influx_clients_find_what_they_look_for_and_show_their_token_their_way() {
    let server = TestServer::start_with(|settings| {
        settings.anonymous_role = Some(Role::None);
        settings.tokens = vec![token("change-me-agent", Role::Writer, Some("red"))];
    })
    .await;
    let health = server.json("/health").await;
    assert_eq!(health["status"], "pass");
    // Of the name `agent` with that token as password.
    let basic = "Basic YWdlbnQ6Y2hhbmdlLW1lLWFnZW50";
    for (authorization, status) in [
        ("Token change-me-agent", 204),
        ("Bearer change-me-agent", 204),
        (basic, 204),
        ("Token wrong", 401),
        ("Basic wrong", 401),
    ] {
        let answer = server
            .request(reqwest::Method::POST, "/api/v2/write?bucket=b&org=o")
            .header("authorization", authorization)
            .body("disk,path=/ free=2i")
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), status, "{authorization}");
    }
    for (statement, status) in [
        ("CREATE%20DATABASE%20%22telegraf%22", 200),
        ("DROP%20DATABASE%20x", 400),
        ("", 400),
    ] {
        let answer = server
            .request(reqwest::Method::POST, &format!("/query?q={statement}"))
            .header("authorization", basic)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), status, "{statement}");
    }
    let answer = server
        .request(reqwest::Method::POST, "/query")
        .header("authorization", basic)
        .body("q=CREATE+DATABASE+%22telegraf%22")
        .send()
        .await;
    assert_eq!(answer.expect("an answer").status(), 200);
    let answer = server.request(reqwest::Method::POST, "/query?q=CREATE%20DATABASE%20x");
    problem(answer.send().await.expect("an answer"), 401).await;
    server.stop().await;
}
