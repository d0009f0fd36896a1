//! Prometheus' HTTP API, each with two tenants: what a client of Prometheus, Grafana or `promtool`
//! sends, and what they read.

use pulseboard_shared::Role;
use serde_json::{Value, json};

use crate::support::{START_MS, TestServer, problem, token};

const START_S: i64 = START_MS / 1000;

/// A counter that grows by one a second over the last minute, in red alone.
async fn server() -> TestServer {
    let server = TestServer::start().await;
    let lines = |name: &str, slope: i64| -> String {
        (0..=60)
            .map(|second| {
                let at_ms = START_MS - 60_000 + second * 1000;
                format!("{name} {} {at_ms}\n", second * slope)
            })
            .collect()
    };
    server
        .push("red", &lines("requests_total{job=\"api\",code=\"200\"}", 1))
        .await;
    server
        .push("red", &lines("requests_total{job=\"web\",code=\"500\"}", 2))
        .await;
    server.push("red", "{\"odd name\",\"a.b\"=\"c\"} 7").await;
    server.push("blue", "secret_metric{job=\"hidden\"} 1").await;
    server
}

async fn get(server: &TestServer, path: &str, query: &[(&str, &str)]) -> (u16, Value) {
    let answer = server
        .request(reqwest::Method::GET, path)
        .header("x-scope-orgid", "red")
        .query(query)
        .send()
        .await
        .expect("an answer");
    let status = answer.status().as_u16();
    (status, answer.json().await.expect("JSON"))
}

/// Of the caller's tenant: how many others have is nothing to them.
#[tokio::test]
async fn a_tenant_is_told_how_many_series_it_has_itself() {
    let server = server().await;
    for (tenant, series) in [("red", 3), ("blue", 1), ("green", 0)] {
        let path = format!("/api/v1/status/tsdb?tenant={tenant}");
        let answer = server.json(&path).await;
        assert_eq!(answer["data"]["headStats"]["numSeries"], series, "{tenant}");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_expression_is_answered_as_prometheus_answers_it() {
    let server = server().await;
    let now = START_S.to_string();
    let (status, answer) = get(
        &server,
        "/api/v1/query",
        &[
            ("query", "sum by (job) (rate(requests_total[30s]))"),
            ("time", &now),
        ],
    )
    .await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        answer,
        json!({"status": "success", "data": {"resultType": "vector", "result": [
            {"metric": {"job": "api"}, "value": [START_S, "1"]},
            {"metric": {"job": "web"}, "value": [START_S, "2"]},
        ]}})
    );
    // What Grafana asks to see whether a data source works.
    let (_, answer) = get(&server, "/api/v1/query", &[("query", "1+1"), ("time", "4")]).await;
    assert_eq!(
        answer["data"],
        json!({"resultType": "scalar", "result": [4, "2"]})
    );
    let (_, answer) = get(
        &server,
        "/api/v1/query",
        &[("query", "\"a\""), ("time", "4.5")],
    )
    .await;
    assert_eq!(
        answer["data"],
        json!({"resultType": "string", "result": [4.5, "a"]})
    );
    let (_, answer) = get(
        &server,
        "/api/v1/query",
        &[("query", "requests_total{job=\"api\"}[2s]"), ("time", &now)],
    )
    .await;
    assert_eq!(
        answer["data"]["result"][0]["values"],
        json!([[START_S - 1, "59"], [START_S, "60"]])
    );
    let (_, answer) = get(
        &server,
        "/api/v1/query",
        &[("query", "{\"odd name\"}"), ("time", &now)],
    )
    .await;
    assert_eq!(
        answer["data"]["result"][0]["metric"],
        json!({"__name__": "odd name", "a.b": "c"})
    );
    server.stop().await;
}

/// What is likely not meant is said beside the answer, with its place.
#[tokio::test]
async fn what_is_to_be_said_besides_is_said() {
    let server = server().await;
    let now = START_S.to_string();
    let query = "quantile(2, rate({\"odd name\"}[5m]))";
    let (status, answer) = get(
        &server,
        "/api/v1/query",
        &[("query", query), ("time", &now)],
    )
    .await;
    assert_eq!((status, &answer["status"]), (200, &json!("success")));
    assert_eq!(
        answer["warnings"],
        json!(["PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"])
    );
    let (_, answer) = get(&server, "/api/v1/query", &[("query", "up"), ("time", &now)]).await;
    assert!(answer.get("warnings").is_none() && answer.get("infos").is_none());
    server.stop().await;
}

#[tokio::test]
async fn a_range_is_answered_to_a_form_too() {
    let server = server().await;
    let form = [
        ("query", "requests_total > 100".to_owned()),
        ("start", format!("{}.000", START_S - 60)),
        ("end", START_S.to_string()),
        ("step", "5s".to_owned()),
    ];
    let body: String = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&form)
        .finish();
    let answer = server
        .request(reqwest::Method::POST, "/api/v1/query_range?tenant=red")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(
        answer["data"],
        json!({"resultType": "matrix", "result": [{
            "metric": {"__name__": "requests_total", "job": "web", "code": "500"},
            "values": [[START_S - 5, "110"], [START_S, "120"]],
        }]})
    );
    server.stop().await;
}

/// `curl -d` and `curl -F`: what the form says holds before what the address says.
#[tokio::test]
async fn a_form_of_any_kind_holds_before_the_address() {
    let server = server().await;
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let parts = format!("{}{}--b--\r\n", part("query", "2"), part("time", "5"));
    for (kind, body) in [
        (
            "application/x-www-form-urlencoded",
            "query=2&time=5".to_owned(),
        ),
        (
            "Application/X-WWW-Form-URLencoded ; charset=utf-8",
            "query=2&time=5".to_owned(),
        ),
        ("multipart/form-data; boundary=b", parts.clone()),
        ("multipart/form-data; boundary=\"b\"", parts),
    ] {
        let ask = server
            .request(reqwest::Method::POST, "/api/v1/query?query=1&time=4")
            .header("content-type", kind)
            .body(body);
        let answer: Value = ask
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        assert_eq!(
            answer["data"]["result"],
            json!([5, "2"]),
            "{kind}: {answer}"
        );
    }
    for (kind, body) in [
        ("multipart/form-data", "--b--"),
        ("multipart/form-data; boundary=b", "query=2"),
        ("multipart/form-data; boundary=b", "--b\r\n\r\n"),
    ] {
        let ask = server
            .request(reqwest::Method::POST, "/api/v1/query?query=1")
            .header("content-type", kind)
            .body(body);
        let answer = ask.send().await.expect("an answer");
        assert_eq!(answer.status(), 400, "{kind}");
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer["errorType"], "bad_data", "{kind}");
    }
    server.stop().await;
}

/// What needs more memory than one caller may ever have is not asked again later: it says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_needs_more_memory_than_its_caller_may_have_is_refused_for_good() {
    let server = server().await;
    let later = (START_S + 5_500).to_string();
    for query in [
        "count_over_time(vector(1)[11h:1ms])",
        "max_over_time(requests_total[90m:1ms])",
    ] {
        let asked = [("query", query), ("time", &later), ("lookback_delta", "2h")];
        let (status, answer) = get(&server, "/api/v1/query", &asked).await;
        assert_eq!((status, &answer["errorType"]), (422, &json!("execution")));
        let error = answer["error"].as_str().expect("text");
        assert!(
            error.contains("more memory than the 67108864 bytes"),
            "{error}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn names_are_those_of_the_tenant() {
    let server = server().await;
    let (_, answer) = get(&server, "/api/v1/labels", &[]).await;
    assert_eq!(answer["data"], json!(["__name__", "a.b", "code", "job"]));
    let (_, answer) = get(&server, "/api/v1/label/job/values", &[]).await;
    assert_eq!(answer["data"], json!(["api", "web"]));
    for name in ["%ff", "a%C3", "%C0%AF"] {
        let path = format!("/api/v1/label/{name}/values");
        let (status, answer) = get(&server, &path, &[]).await;
        assert_eq!((status, &answer["errorType"]), (400, &json!("bad_data")));
    }
    let (_, answer) = get(&server, "/api/v1/label/%C3%A4/values", &[]).await;
    assert_eq!(answer["data"], json!([]));
    let (_, answer) = get(&server, "/api/v1/label/U__a_2e_b/values", &[]).await;
    assert_eq!(answer["data"], json!(["c"]));
    let (_, answer) = get(
        &server,
        "/api/v1/label/__name__/values",
        &[("match[]", "requests_total{job=~\"a.*\"}")],
    )
    .await;
    assert_eq!(answer["data"], json!(["requests_total"]));
    let (_, answer) = get(
        &server,
        "/api/v1/series",
        &[
            ("match[]", "{job=\"web\"}"),
            // promtool's: ten thousand hours around now.
            ("start", "-35000000"),
            ("end", "+292277025-08-18T07:12:54.999999999Z"),
        ],
    )
    .await;
    assert_eq!(
        answer["status"], "error",
        "a plus is a space in a query: {answer}"
    );
    let (_, answer) = get(
        &server,
        "/api/v1/series",
        &[
            ("match[]", "{job=\"web\"}"),
            ("match[]", "requests_total"),
            ("start", "-292273086-05-16T16:47:06Z"),
            ("end", "292277025-08-18T07:12:54.999999999Z"),
            ("limit", "1"),
        ],
    )
    .await;
    assert_eq!(
        answer,
        json!({"status": "success",
            "data": [{"__name__": "requests_total", "code": "200", "job": "api"}],
            "warnings": ["results truncated due to limit"]})
    );
    let (status, answer) = get(&server, "/api/v1/series", &[]).await;
    assert_eq!(
        (status, &answer["error"]),
        (400, &json!("no match[] parameter provided"))
    );
    // Nobody said anything of it.
    let (_, answer) = get(&server, "/api/v1/metadata", &[("metric", "requests_total")]).await;
    assert_eq!(answer["data"], json!({}), "{answer}");
    server.stop().await;
}

/// Types are known of what is pushed, each metric once.
#[tokio::test]
async fn what_senders_say_of_their_metrics_is_told() {
    let server = TestServer::start().await;
    server
        .push(
            "red",
            "# TYPE jobs counter\njobs{a=\"1\"} 1\njobs{a=\"2\"} 1\n# TYPE depth gauge\ndepth 4\n\
             # HELP took How long.\n# TYPE took histogram\n# UNIT took s\ntook_bucket{le=\"1\"} 1\ntook_bucket{le=\"+Inf\"} 2\n\
             took_count 2\ntook_sum 3\n# TYPE size summary\nsize{quantile=\"0.5\"} 1\n\
             size_count 1\nsize_sum 1\n# TYPE bare summary\nbare_count 1\nbare_sum 1\nplain 1\n",
        )
        .await;
    let (_, answer) = get(&server, "/api/v1/metadata", &[]).await;
    let told = answer["data"].as_object().expect("an object");
    let types: Vec<(&str, &Value)> = told
        .iter()
        .map(|(name, told)| (name.as_str(), &told[0]["type"]))
        .collect();
    assert_eq!(
        types,
        [
            ("bare", &json!("summary")),
            ("depth", &json!("gauge")),
            ("jobs", &json!("counter")),
            ("size", &json!("summary")),
            ("took", &json!("histogram")),
        ]
    );
    let (_, one) = get(&server, "/api/v1/metadata", &[("metric", "took")]).await;
    let took = json!([{"type": "histogram", "help": "How long.", "unit": "s"}]);
    assert_eq!(one["data"], json!({"took": took}));
    // A Pushgateway's clients say it, too.
    let pushed = server
        .request(reqwest::Method::PUT, "/metrics/job/batch")
        .header("x-scope-orgid", "red")
        .body("# HELP last_run When it ran.\n# TYPE last_run gauge\nlast_run 5\n")
        .send()
        .await
        .expect("an answer");
    assert_eq!(pushed.status(), 200);
    let (_, one) = get(&server, "/api/v1/metadata", &[("metric", "last_run")]).await;
    let last_run = json!([{"type": "gauge", "help": "When it ran.", "unit": ""}]);
    assert_eq!(one["data"], json!({"last_run": last_run}));
    // No metric at all is 0 here, and less is all of them.
    for (limit, some) in [("0", false), ("-1", true), ("1", true)] {
        let (status, told) = get(&server, "/api/v1/metadata", &[("limit", limit)]).await;
        assert_eq!(status, 200, "{told}");
        assert_eq!(told["data"] != json!({}), some, "{limit}");
    }
    let (status, told) = get(&server, "/api/v1/metadata", &[("limit", "x")]).await;
    assert_eq!(
        (status, &told["error"]),
        (400, &json!("limit must be a number"))
    );
    let (_, others) = get(&server, "/api/v1/metadata", &[("metric", "took_sum")]).await;
    assert_eq!(others["data"], json!({}));
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_said_in_the_words_that_clients_know() {
    let server = server().await;
    let range = |query: &'static str, step: &'static str| {
        [
            ("query", query),
            ("start", "0"),
            ("end", "100000"),
            ("step", step),
        ]
    };
    for (path, query, status, kind, error) in [
        (
            "/api/v1/query",
            vec![],
            400,
            "bad_data",
            "invalid parameter \"query\"",
        ),
        (
            "/api/v1/query",
            vec![("query", "sum(")],
            400,
            "bad_data",
            "invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis",
        ),
        (
            "/api/v1/query",
            vec![("query", "up"), ("time", "yesterday")],
            400,
            "bad_data",
            "invalid parameter \"time\": cannot parse \"yesterday\" to a valid timestamp",
        ),
        (
            "/api/v1/query_range",
            range("up", "1").to_vec(),
            400,
            "bad_data",
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
        (
            "/api/v1/query_range",
            range("up", "0").to_vec(),
            400,
            "bad_data",
            "invalid parameter \"step\": zero or negative",
        ),
        (
            "/api/v1/query_range",
            range("up[5m]", "100").to_vec(),
            400,
            "bad_data",
            "invalid parameter \"query\": invalid expression type \"range vector\"",
        ),
        (
            "/api/v1/query",
            vec![("query", "topk(NaN, requests_total)")],
            422,
            "execution",
            "Parameter value is NaN",
        ),
        (
            "/api/v1/label/x/values",
            vec![("match[]", "{")],
            400,
            "bad_data",
            "invalid parameter \"match[]\": 1:2: parse error",
        ),
    ] {
        let (said, answer) = get(&server, path, &query).await;
        assert_eq!(said, status, "{path} {query:?}: {answer}");
        assert_eq!(
            (&answer["status"], &answer["errorType"]),
            (&json!("error"), &json!(kind))
        );
        let text = answer["error"].as_str().unwrap_or_default();
        assert!(text.starts_with(error), "{path} {query:?}: {text}");
    }
    server.stop().await;
}

/// One question has a bound of samples and of time, whoever asks it.
#[tokio::test]
async fn a_question_is_bounded() {
    let server = TestServer::start_with(|settings| settings.query_max_samples = 50).await;
    let lines: String = (0..60)
        .map(|second| format!("x {second} {}\n", START_MS - second * 1000))
        .collect();
    server.push("red", &lines).await;
    let now = START_S.to_string();
    let (status, answer) = get(
        &server,
        "/api/v1/query",
        &[("query", "count_over_time(x[5m])"), ("time", &now)],
    )
    .await;
    assert_eq!(
        (status, &answer["errorType"]),
        (422, &json!("execution")),
        "{answer}"
    );
    let (status, _) = get(
        &server,
        "/api/v1/query",
        &[("query", "count_over_time(x[10s])"), ("time", &now)],
    )
    .await;
    assert_eq!(status, 200);
    // An instant selector loads one sample a step, of all that its look-back reaches.
    let start = (START_S - 59).to_string();
    for (step, status) in [("2", 200), ("1", 422)] {
        let (said, answer) = get(
            &server,
            "/api/v1/query_range",
            &[
                ("query", "x"),
                ("start", &start),
                ("end", &now),
                ("step", step),
            ],
        )
        .await;
        assert_eq!(said, status, "{answer}");
    }
    let (status, answer) = get(&server, "/api/v1/query", &[("query", "x"), ("time", &now)]).await;
    assert_eq!(status, 200, "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn numbers_are_written_as_prometheus_writes_them() {
    let server = server().await;
    for (number, value) in [
        ("1e21", "1e+21"),
        ("-1e300", "-1e+300"),
        ("1e20", "100000000000000000000"),
        ("1e-6", "0.000001"),
        ("1e-7", "1e-07"),
        ("5e-324", "5e-324"),
        ("0/0", "NaN"),
        ("-1/0", "-Inf"),
    ] {
        let vector = format!("vector({number})");
        let asked = [("query", vector.as_str()), ("time", "10")];
        let (_, answer) = get(&server, "/api/v1/query", &asked).await;
        assert_eq!(answer["data"]["result"][0]["value"], json!([10, value]));
        let asked = [
            ("query", number),
            ("start", "10"),
            ("end", "10"),
            ("step", "1"),
        ];
        let (_, answer) = get(&server, "/api/v1/query_range", &asked).await;
        assert_eq!(answer["data"]["result"][0]["values"], json!([[10, value]]));
    }
    // A scalar has no exponent.
    let asked = [("query", "1e21"), ("time", "10")];
    let (_, answer) = get(&server, "/api/v1/query", &asked).await;
    assert_eq!(
        answer["data"]["result"],
        json!([10, "1000000000000000000000"])
    );
    server.stop().await;
}

#[tokio::test]
async fn times_are_read_as_prometheus_reads_them() {
    let server = server().await;
    for (time, at) in [
        ("1795962840.0005", json!(1_795_962_840)),
        ("1795962840.0006", json!(1_795_962_840.001)),
        ("-1.5", json!(-1.5)),
        ("1.7e9", json!(1_700_000_000)),
        ("2026-11-29T14:34:00.25Z", json!(1_795_962_840.25)),
        ("2026-11-29T16:34:00+02:00", json!(1_795_962_840)),
    ] {
        let asked = [("query", "vector(1)"), ("time", time)];
        let (status, answer) = get(&server, "/api/v1/query", &asked).await;
        assert_eq!(status, 200, "{time}: {answer}");
        assert_eq!(answer["data"]["result"][0]["value"][0], at, "{time}");
    }
    for time in [
        "now",
        "NaN",
        "2026-11-29T14:34:00",
        "2026-11-29 14:34:00Z",
        "2026-11-29t14:34:00z",
    ] {
        for (path, name) in [
            ("/api/v1/query", "time"),
            ("/api/v1/query_exemplars", "start"),
            ("/api/v1/labels", "end"),
        ] {
            let asked = [("query", "vector(1)"), (name, time)];
            let (status, answer) = get(&server, path, &asked).await;
            assert_eq!((status, &answer["errorType"]), (400, &json!("bad_data")));
            let error = answer["error"].as_str().expect("an error");
            assert!(error.contains(name) && error.contains(time), "{error}");
        }
    }
    // What ends before it begins is wrong for samples alone.
    for (path, status) in [
        ("/api/v1/query_exemplars", 400),
        ("/api/v1/series", 200),
        ("/api/v1/labels", 200),
        ("/api/v1/label/job/values", 200),
    ] {
        let asked = [
            ("query", "x"),
            ("match[]", "missing"),
            ("start", "20"),
            ("end", "10"),
        ];
        let (said, answer) = get(&server, path, &asked).await;
        assert_eq!(said, status, "{path}: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_may_be_said_with_a_question_is_heard() {
    let server = server().await;
    let now = START_S.to_string();
    let range = [("start", &*now), ("end", &*now), ("step", "1")];
    for (path, times) in [
        ("/api/v1/query", &[("time", &*now)][..]),
        ("/api/v1/query_range", &range),
    ] {
        let asked = |name, value| {
            let mut asked = vec![("query", "requests_total"), (name, value)];
            asked.extend_from_slice(times);
            asked
        };
        for timeout in ["0", "-1", "0ms"] {
            let (status, answer) = get(&server, path, &asked("timeout", timeout)).await;
            assert_eq!((status, &answer["errorType"]), (503, &json!("timeout")));
        }
        let (status, plain) = get(&server, path, &asked("timeout", "10s")).await;
        assert_eq!(status, 200, "{plain}");
        assert!(plain["data"].get("stats").is_none(), "{plain}");
        let (_, answer) = get(&server, path, &asked("stats", "all")).await;
        assert_eq!(answer["data"]["result"], plain["data"]["result"]);
        let stats = &answer["data"]["stats"];
        for name in [
            "evalTotalTime",
            "resultSortTime",
            "queryPreparationTime",
            "innerEvalTime",
            "execQueueTime",
            "execTotalTime",
        ] {
            assert!(stats["timings"][name].as_f64() >= Some(0.0), "{stats}");
        }
        // Two series at one time, however many samples the look-back reaches.
        assert_eq!(
            stats["samples"],
            json!({"totalQueryableSamples": 2, "peakSamples": 2})
        );
    }
    // No expression is one that says where it is missing.
    for query in [&[("query", "")][..], &[]] {
        let (status, answer) = get(&server, "/api/v1/query", query).await;
        assert_eq!(status, 400);
        let error = "invalid parameter \"query\": 1:1: parse error: no expression found in input";
        assert_eq!(answer["error"], error);
    }
    let answer = server.get("/api/v1/query?query=1").await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    let answer = server.get("/api/v1/query?query=(").await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    server.stop().await;
}

#[tokio::test]
async fn a_tenant_is_told_of_its_own_series_alone_how_many_there_are() {
    let server = server().await;
    let (_, answer) = get(&server, "/api/v1/status/tsdb", &[]).await;
    let data = &answer["data"];
    assert_eq!(data["headStats"]["numSeries"], 3, "{answer}");
    assert_eq!(data["headStats"]["numLabelPairs"], 7, "{answer}");
    assert_eq!(
        data["seriesCountByMetricName"],
        json!([{"name": "requests_total", "value": 2}, {"name": "odd name", "value": 1}])
    );
    assert_eq!(
        data["labelValueCountByLabelName"][0],
        json!({"name": "__name__", "value": 2})
    );
    assert_eq!(
        data["memoryInBytesByLabelName"][0],
        json!({"name": "__name__", "value": 22})
    );
    assert_eq!(
        data["seriesCountByLabelValuePair"][0],
        json!({"name": "__name__=requests_total", "value": 2})
    );
    let (_, answer) = get(&server, "/api/v1/status/tsdb", &[("limit", "1")]).await;
    let told = answer["data"]["seriesCountByLabelValuePair"].as_array();
    assert_eq!(told.map(Vec::len), Some(1), "{answer}");
    let (status, _) = get(&server, "/api/v1/status/tsdb", &[("limit", "x")]).await;
    assert_eq!(status, 400);
    server.stop().await;
}

#[tokio::test]
async fn who_may_not_read_may_not_ask() {
    let server = TestServer::start_with(|settings| {
        settings.tokens = vec![
            token("writerwriterwriterwriter", Role::Writer, None),
            token("redredredredredredredred", Role::Viewer, Some("red")),
        ];
    })
    .await;
    for path in [
        "/api/v1/query?query=1",
        "/api/v1/query_range?query=1&start=0&end=1&step=1",
        "/api/v1/query_exemplars?query=x",
        "/api/v1/format_query?query=1",
        "/api/v1/parse_query?query=1",
        "/api/v1/series?match[]=x",
        "/api/v1/labels",
        "/api/v1/label/job/values",
        "/api/v1/metadata",
        "/api/v1/status/buildinfo",
        "/api/v1/status/runtimeinfo",
        "/api/v1/status/flags",
        "/api/v1/status/config",
        "/api/v1/status/tsdb",
    ] {
        let asked = |token: &'static str, tenant: &'static str| {
            server
                .request(reqwest::Method::GET, path)
                .bearer_auth(token)
                .header("x-tenant-id", tenant)
                .send()
        };
        let answer = asked("writerwriterwriterwriter", "red").await;
        problem(answer.expect("an answer"), 403).await;
        let answer = asked("redredredredredredredred", "red").await;
        assert_eq!(answer.expect("an answer").status(), 200, "{path}");
        if !path.contains("status")
            && !path.contains("exemplars")
            && !path.contains("_query?query=1")
        {
            let answer = asked("redredredredredredredred", "blue").await;
            problem(answer.expect("an answer"), 403).await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn who_looks_before_asking_finds_what_it_looks_for() {
    let mut server = TestServer::start().await;
    let ready = server.get("/-/ready").await;
    let known = server.get("/readyz").await;
    assert_eq!(ready.status(), known.status(), "before the first tick");
    server.tick(1.0).await;
    let build = server.json("/api/v1/status/buildinfo").await;
    assert_eq!(build["status"], "success");
    assert!(build["data"].get("features").is_none(), "not Mimir");
    for path in ["/-/healthy", "/-/ready"] {
        let answer = server.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
    }
    let exemplars = server
        .json("/api/v1/query_exemplars?query=test&start=1700000000000&end=1700000001000")
        .await;
    assert_eq!(exemplars, json!({"status": "success", "data": []}));
    let pretty = server.json("/api/v1/format_query?query=sum(x)by(a)").await;
    assert_eq!(pretty["data"], "sum by (a) (x)");
    let tree = server.json("/api/v1/parse_query?query=sum(x)by(a)").await;
    assert_eq!(tree["data"]["type"], "aggregation");
    assert_eq!(tree["data"]["expr"]["name"], "x");
    server.stop().await;
}

#[tokio::test]
async fn a_link_of_an_alert_leads_to_explore() {
    let server = TestServer::start().await;
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client");
    for (link, location) in [
        (
            "/graph?g0.expr=rate%28a%5B1m%5D%29+%3E+1&g0.tab=1&g1.expr=b&x=y",
            "/#/explore?expr=rate%28a%5B1m%5D%29+%3E+1&expr=b",
        ),
        (
            "/graph/?g0.expr=up&g0.tab=0&g0.range_input=2h&g1.range_input=5m",
            "/#/explore?expr=up&range=2h",
        ),
        (
            "/graph?g0.expr=up&g0.range_input=soon%0d%0a",
            "/#/explore?expr=up",
        ),
        ("/alerts", "/#/alerts"),
        ("/alerts/", "/#/alerts"),
    ] {
        let answer = client.get(server.url(link)).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 302, "{link}");
        assert_eq!(answer.headers()["location"], location, "{link}");
    }
    server.stop().await;
}

#[tokio::test]
async fn which_server_this_is_is_told_at_both_of_its_paths() {
    let server = TestServer::start().await;
    let build = server.json("/api/v1/status/buildinfo").await;
    assert_eq!(server.json("/version").await, build["data"]);
    assert_eq!(build["data"]["version"], "3.0.0");
    server.stop().await;
}

#[tokio::test]
async fn rules_and_what_fires_are_told_as_prometheus_tells_them() {
    let mut server = TestServer::start().await;
    let (status, answer) = get(&server, "/api/v1/alerts", &[]).await;
    assert_eq!((status, &answer["data"]["alerts"]), (200, &json!([])));
    server.tick(93.4).await;
    let (_, answer) = get(&server, "/api/v1/alerts", &[]).await;
    let alert = &answer["data"]["alerts"][0];
    assert_eq!(
        alert["labels"],
        json!({"alertname": "cpu_high", "severity": "critical"})
    );
    assert_eq!(alert["annotations"]["summary"], "CPU usage critical: 93.4%");
    assert_eq!(
        (&alert["state"], &alert["value"]),
        (&json!("firing"), &json!("9.34e+01"))
    );

    let (_, answer) = get(&server, "/api/v1/rules", &[("type", "alert")]).await;
    let group = &answer["data"]["groups"][0];
    assert_eq!(group["name"], "pulseboard");
    let rules = group["rules"].as_array().expect("rules");
    let states: Vec<_> = rules
        .iter()
        .map(|rule| (rule["name"].as_str(), rule["state"].as_str()))
        .collect();
    assert_eq!(
        states,
        [
            (Some("cpu_high"), Some("firing")),
            (Some("memory_high"), Some("inactive")),
            (Some("latency_high"), Some("inactive")),
            (Some("error_rate"), Some("inactive")),
        ]
    );
    assert_eq!(rules[0]["query"], "cpu_usage > 90");
    assert_eq!(rules[0]["alerts"][0], *alert);
    for (name, value, groups) in [
        ("type", "record", 0),
        ("rule_name[]", "cpu_high", 1),
        ("rule_group[]", "mine", 0),
        ("file[]", "rules.yml", 0),
    ] {
        let (_, answer) = get(&server, "/api/v1/rules", &[(name, value)]).await;
        let told = answer["data"]["groups"].as_array().map(Vec::len);
        assert_eq!(told, Some(groups), "{name}={value}");
    }
    let (status, answer) = get(&server, "/api/v1/rules", &[("type", "x")]).await;
    assert_eq!((status, &answer["errorType"]), (400, &json!("bad_data")));
    server.stop().await;
}
