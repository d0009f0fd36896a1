//! What holds at every endpoint that takes samples: who is calling comes before anything else, and
//! nothing is pushed onto the series of the server itself.

use std::time::Duration;

use pulseboard::settings::{Origins, SourceKind};
use pulseboard_shared::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    agents::{write_request, write_request_v2, write_requests, write_requests_v2},
    support::{START_MS, TestServer, problem, token},
};

type Headers = &'static [(&'static str, &'static str)];

/// One endpoint, and how it takes one sample of a series without labels.
struct Endpoint {
    path: &'static str,
    headers: Headers,
    body: fn(&str) -> Vec<u8>,
}

const WRITE_V1: Headers = &[
    ("content-type", "application/x-protobuf"),
    ("content-encoding", "snappy"),
];
const WRITE_V2: Headers = &[
    (
        "content-type",
        "application/x-protobuf;proto=io.prometheus.write.v2.Request",
    ),
    ("content-encoding", "snappy"),
];

/// The Influx line protocol puts measurement and field together.
fn influx(name: &str) -> Vec<u8> {
    let (measurement, field) = name.split_once('_').unwrap_or((name, "value"));
    format!("{measurement} {field}=7").into_bytes()
}

fn otlp(name: &str) -> Vec<u8> {
    let metric = json!({"name": name, "gauge": {"dataPoints": [{"asDouble": 7.0}]}});
    let request = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]});
    request.to_string().into_bytes()
}

const ENDPOINTS: [Endpoint; 9] = [
    Endpoint {
        path: "/push",
        headers: &[],
        body: |name| format!("{name} 7\n").into_bytes(),
    },
    Endpoint {
        path: "/push",
        headers: &[],
        body: |name| json!({"name": name, "value": 7}).to_string().into_bytes(),
    },
    Endpoint {
        path: "/push",
        headers: &[],
        body: influx,
    },
    Endpoint {
        path: "/write",
        headers: &[],
        body: influx,
    },
    Endpoint {
        path: "/api/v2/write",
        headers: &[],
        body: influx,
    },
    Endpoint {
        path: "/api/v1/write",
        headers: WRITE_V1,
        body: |name| write_request(&[("__name__", name)], 7.0, START_MS),
    },
    Endpoint {
        path: "/api/v1/write",
        headers: WRITE_V2,
        body: |name| write_request_v2(name, 7.0, START_MS),
    },
    Endpoint {
        path: "/api/v1/import",
        headers: &[],
        body: |name| {
            let metric = json!({"__name__": name});
            json!({"metric": metric, "values": [7], "timestamps": [START_MS]})
                .to_string()
                .into_bytes()
        },
    },
    Endpoint {
        path: "/v1/metrics",
        headers: &[("content-type", "application/json")],
        body: otlp,
    },
];

impl Endpoint {
    async fn send(&self, server: &TestServer, name: &str) -> (u16, String) {
        let mut request = server.request(Method::POST, self.path);
        for (header, value) in self.headers {
            request = request.header(*header, *value);
        }
        let answer = request.body((self.body)(name)).send().await;
        let answer = answer.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.text().await.expect("a text"))
    }

    /// Sends a sample that is to be refused for whose series it is.
    async fn is_refused(&self, server: &TestServer, name: &str) {
        let (status, text) = self.send(server, name).await;
        // OpenTelemetry has a refused point in an answer that is else good.
        let expected = if self.path == "/v1/metrics" { 200 } else { 400 };
        assert_eq!(status, expected, "{} {name}: {text}", self.path);
        assert!(
            text.contains("measures or counts") && text.contains(name),
            "{} {name}: {text}",
            self.path
        );
    }
}

async fn track(server: &TestServer, item: Value) -> reqwest::Response {
    let request = server.request(Method::POST, "/metrics/track");
    request.json(&item).send().await.expect("an answer")
}

async fn last(server: &TestServer, selector: &str) -> Value {
    let request = server.request(Method::GET, "/api/series");
    let list = request.query(&[("match", selector)]).send().await;
    let list: Value = list.expect("an answer").json().await.expect("JSON");
    list["series"][0]["last"].clone()
}

#[tokio::test]
async fn nobody_pushes_onto_the_servers_own_series_whatever_the_source() {
    for source in [SourceKind::Host, SourceKind::None] {
        let server = TestServer::start_with(|settings| settings.metric_source = source).await;
        for endpoint in &ENDPOINTS {
            for name in [
                "cpu_usage",
                "memory_usage",
                "avg_latency",
                "requests_per_sec",
                "errors_per_sec",
                "performance_count",
                "performance_sum",
            ] {
                endpoint.is_refused(&server, name).await;
            }
            // Another name is free.
            let (status, text) = endpoint.send(&server, "queue_depth").await;
            assert!(matches!(status, 200 | 204), "{} {text}", endpoint.path);
        }
        let body = "performance{metric=\"cpu_load\"} 7\nperformance{metric=\"memory_usage\"} 7\n";
        let request = server.request(Method::POST, "/push").body(body);
        let refused = problem(request.send().await.expect("an answer"), 400).await;
        assert_eq!(refused["refusedTotal"], 2);
        server.stop().await;
    }
}

#[tokio::test]
async fn nobody_pushes_onto_the_counts_of_what_is_tracked() {
    let server = TestServer::start().await;
    let item = json!({"type": "page_view", "value": 2.0});
    assert_eq!(track(&server, item.clone()).await.status(), 200);
    for endpoint in &ENDPOINTS {
        for name in ["page_view_count", "page_view_sum"] {
            endpoint.is_refused(&server, name).await;
        }
    }
    assert_eq!(track(&server, item).await.status(), 200);
    assert_eq!(last(&server, "page_view_count").await, 2.0);
    assert_eq!(last(&server, "page_view_sum").await, 4.0);
    // Of another tenant, or with labels of its own, it is another series.
    for (path, body) in [
        ("/push?tenant=red", "page_view_count 5"),
        ("/push", "page_view_count{host=\"a\"} 5"),
    ] {
        let request = server.request(Method::POST, path).body(body);
        assert_eq!(request.send().await.expect("an answer").status(), 200);
    }
    server.stop().await;
}

#[tokio::test]
async fn datagrams_neither() {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let server = TestServer::start_with(|settings| settings.statsd_addr = Some(address)).await;
    let item = json!({"type": "page_view", "value": 2.0});
    assert_eq!(track(&server, item).await.status(), 200);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let lines = b"page_view_count:5|c\ncpu_usage:5|g\nperformance_sum:5|g\n";
    socket.send_to(lines, address).expect("sent");
    server
        .eventually("all lines are read", async || {
            server.own_metric("pulseboard_statsd_lines_total").await == 3
        })
        .await;
    server.clock.advance(Duration::from_secs(10));
    server
        .eventually("they are flushed, and refused", async || {
            let counts = server.json("/api/ingest").await;
            counts["refused"] == json!({"reserved": 3})
        })
        .await;
    assert_eq!(last(&server, "page_view_count").await, 1.0);
    server.stop().await;
}

#[tokio::test]
async fn samples_of_one_request_come_in_any_order() {
    let server = TestServer::start().await;
    let at = |second: i64| START_MS - 60_000 + second * 1_000;
    let lines = |line: &dyn Fn(i64) -> String| [3, 1, 2].map(line).join("\n");
    let json_lines = |second: i64| {
        json!({"name": "lines", "value": second, "timestamp": at(second)}).to_string()
    };
    let series = |second: i64| {
        let time_ns = (at(second) * 1_000_000).to_string();
        json!({"timeUnixNano": time_ns, "asDouble": second})
    };
    let step = |second: i64| {
        let (start_ns, end_ns) = (at(second - 1) * 1_000_000, at(second) * 1_000_000);
        json!({
            "startTimeUnixNano": start_ns.to_string(),
            "timeUnixNano": end_ns.to_string(),
            "asDouble": 1.0,
        })
    };
    let otlp = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "gauge", "gauge": {"dataPoints": [series(3), series(1), series(2)]}},
        {"name": "steps", "sum": {
            "aggregationTemporality": 1, "isMonotonic": true,
            "dataPoints": [step(3), step(1), step(2)],
        }},
    ]}]}]});
    let array =
        [3, 1, 2].map(|second| json!({"name": "array", "value": second, "timestamp": at(second)}));
    let v1 = write_requests("v1", &[3, 1, 2].map(|second| (second as f64, at(second))));
    let v2 = write_requests_v2("v2", &[3, 1, 2].map(|second| (second as f64, at(second))));
    let bodies: [(&str, Headers, Vec<u8>); 9] = [
        (
            "/push",
            &[],
            lines(&|second| format!("text {second} {}", at(second))).into(),
        ),
        ("/push", &[], lines(&json_lines).into()),
        ("/push", &[], json!(array).to_string().into()),
        (
            "/push",
            &[],
            lines(&|second| format!("flux pushed={second} {}000000", at(second))).into(),
        ),
        (
            "/write?precision=ms",
            &[],
            lines(&|second| format!("flux one={second} {}", at(second))).into(),
        ),
        (
            "/api/v2/write?precision=ms",
            &[],
            lines(&|second| format!("flux two={second} {}", at(second))).into(),
        ),
        ("/api/v1/write", WRITE_V1, v1),
        ("/api/v1/write", WRITE_V2, v2),
        (
            "/v1/metrics",
            &[("content-type", "application/json")],
            otlp.to_string().into(),
        ),
    ];
    for (path, headers, body) in bodies {
        let mut request = server.request(Method::POST, path);
        for (header, value) in headers {
            request = request.header(*header, *value);
        }
        let answer = request.body(body).send().await.expect("an answer");
        let (status, text) = (answer.status(), answer.text().await.expect("a text"));
        assert!(
            status.is_success() && !text.contains("rejected"),
            "{path}: {status} {text}"
        );
    }
    for name in [
        "text",
        "lines",
        "array",
        "flux_pushed",
        "flux_one",
        "flux_two",
        "v1",
        "v2",
        "gauge",
        "steps",
    ] {
        let path = format!("/api/range?match={name}&step=1s&start=-2m&agg=last");
        let range = server.json(&path).await;
        let points = range["series"][0]["points"].as_array().expect("points");
        let points: Vec<(i64, f64)> = points
            .iter()
            .filter_map(|point| Some((point[0].as_i64()?, point[1].as_f64()?)))
            .collect();
        assert_eq!(points, [(at(1), 1.0), (at(2), 2.0), (at(3), 3.0)], "{name}");
    }
    assert_eq!(server.json("/api/ingest").await["refused"], json!({}));
    server.stop().await;
}

#[tokio::test]
async fn a_type_whose_counts_are_pushed_is_refused_as_long_as_they_are() {
    let server = TestServer::start().await;
    for endpoint in &ENDPOINTS {
        let (status, text) = endpoint.send(&server, "rpc_count").await;
        assert!(matches!(status, 200 | 204), "{} {text}", endpoint.path);
    }
    let item = json!({"type": "rpc", "value": 1});
    let refused = problem(track(&server, item.clone()).await, 400).await;
    assert_eq!(refused["errors"][0]["pointer"], "/type");
    let detail = refused["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("rpc_count"), "{detail}");
    assert_eq!(last(&server, "rpc_count").await, 7.0);
    // It is still free for who pushes it.
    let (status, _) = ENDPOINTS[0].send(&server, "rpc_sum").await;
    assert_eq!(status, 200);
    // Nobody does any more.
    server.clock.advance(Duration::from_secs(3_600));
    assert_eq!(track(&server, item).await.status(), 200);
    assert_eq!(last(&server, "rpc_count").await, 1.0);
    ENDPOINTS[0].is_refused(&server, "rpc_count").await;
    server.stop().await;
}

#[tokio::test]
async fn what_users_track_as_performance_is_counted_and_the_hosts_own_measures_stay_its_own() {
    let server = TestServer::start().await;
    for metric in ["cpu_load", "page_load"] {
        let item = json!({"type": "performance", "value": 999, "metadata": {"metric": metric}});
        assert_eq!(track(&server, item).await.status(), 200);
    }
    assert_eq!(last(&server, "performance_count").await, 2.0);
    let mine = "performance{metric=\"page_load\"}";
    assert_eq!(last(&server, mine).await, 999.0);
    let hosts = "performance{metric=\"cpu_load\"}";
    assert_eq!(last(&server, hosts).await, Value::Null);
    server.stop().await;
}

#[tokio::test]
async fn both_of_the_hosts_items_are_tracked_whatever_the_source() {
    let server = TestServer::start_with(|settings| settings.metric_source = SourceKind::None).await;
    server.clock.advance(Duration::from_secs(30));
    server
        .eventually("both items are tracked", async || {
            let all = [
                last(&server, "performance{metric=\"cpu_load\"}").await,
                last(&server, "performance{metric=\"memory_usage\"}").await,
            ];
            all.iter().all(|last| last.is_number())
        })
        .await;
    let memory = last(&server, "performance{metric=\"memory_usage\"}").await;
    assert!(
        memory
            .as_f64()
            .is_some_and(|share| share > 0.0 && share <= 100.0),
        "{memory}"
    );
    server.stop().await;
}

#[tokio::test]
async fn what_is_tracked_stays_apart_across_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = pulseboard::settings::DataDir::Path(folder.path().to_owned());
    let server = TestServer::start_with(|settings| settings.data_dir = data_dir.clone()).await;
    let item = json!({"type": "page_view", "value": 2.0});
    assert_eq!(track(&server, item.clone()).await.status(), 200);
    server.stop().await;
    let server =
        TestServer::start_at(START_MS + 5_000, |settings| settings.data_dir = data_dir).await;
    ENDPOINTS[0].is_refused(&server, "page_view_count").await;
    assert_eq!(track(&server, item).await.status(), 200);
    assert_eq!(last(&server, "page_view_count").await, 2.0);
    server.stop().await;
}

#[tokio::test]
async fn a_type_with_characters_that_no_list_can_show_is_refused_with_its_field() {
    let server = TestServer::start().await;
    for name in ["a\u{0}b", "a\nb", "\u{7f}", "\u{85}", "  "] {
        let item = json!({"type": name, "value": 1});
        let refused = problem(track(&server, item).await, 400).await;
        let errors = refused["errors"].as_array().expect("a list");
        assert_eq!(errors.len(), 1, "{name:?}");
        assert_eq!(errors[0]["pointer"], "/type", "{name:?}");
    }
    for name in ["größe", "my type", "a.b-c/d:e"] {
        let item = json!({"type": name, "value": 1});
        assert_eq!(track(&server, item).await.status(), 200, "{name:?}");
    }
    server.stop().await;
}

/// What is wrong with a request, besides who sends it.
const WRONGS: [(&str, &str); 3] = [
    ("content-type", "image/png"),
    ("content-encoding", "rot13"),
    ("content-encoding", "gzip"),
];

const PATHS: [&str; 11] = [
    "/push",
    "/metrics/track",
    "/api/v1/write",
    "/write",
    "/write?precision=fortnights",
    "/api/v2/write",
    "/v1/metrics",
    "/metrics/job/a",
    "/datadog/api/v1/series",
    "/datadog/api/v2/series",
    "/datadog/api/v1/check_run",
];

#[tokio::test]
async fn who_is_calling_comes_before_what_is_sent_at_every_door() {
    let server = TestServer::start_with(|settings| {
        settings.anonymous_role = Some(Role::None);
        settings.tokens = [
            ("reads-of-red-0123456789", Role::Viewer),
            ("writes-of-red-0123456789", Role::Writer),
        ]
        .map(|(secret, role)| token(secret, role, Some("red")))
        .to_vec();
    })
    .await;
    for path in PATHS {
        for (header, value) in WRONGS {
            let send = async |token: Option<&str>, tenant: &str| {
                let request = server.request(Method::POST, path).header(header, value);
                let request = match token {
                    Some(token) => request.bearer_auth(token),
                    None => request,
                };
                let request = request.header("x-tenant-id", tenant);
                let answer = request.body("\u{1}").send().await.expect("an answer");
                answer.status().as_u16()
            };
            let what = format!("{path} {header}: {value}");
            assert_eq!(send(None, "red").await, 401, "{what}, nobody");
            let reader = Some("reads-of-red-0123456789");
            assert_eq!(send(reader, "red").await, 403, "{what}, a reader");
            let writer = Some("writes-of-red-0123456789");
            assert_eq!(send(writer, "blue").await, 403, "{what}, of another tenant");
            assert_eq!(send(writer, "a b").await, 400, "{what}, of no tenant");
            let status = send(writer, "red").await;
            assert!(!matches!(status, 401 | 403), "{what}: {status}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_tenant_is_named_by_either_header_or_the_query_and_by_one_name() {
    let server = TestServer::start().await;
    let push = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = server.request(Method::POST, path);
        for (header, value) in headers {
            request = request.header(*header, *value);
        }
        request.body("a 1").send().await.expect("an answer")
    };
    for (tenant, path, headers) in [
        ("ours", "/push", &[("x-tenant-id", "ours")][..]),
        ("theirs", "/push", &[("X-Scope-OrgID", "theirs")]),
        ("asked", "/push?tenant=asked", &[]),
        (
            "all",
            "/push?tenant=all",
            &[("x-tenant-id", "all"), ("x-scope-orgid", "all")],
        ),
    ] {
        assert_eq!(push(path, headers).await.status(), 200, "{tenant}");
        for query in [
            server.get(&format!("/api/series?tenant={tenant}")).await,
            server
                .request(Method::GET, "/api/series")
                .header("x-scope-orgid", tenant)
                .send()
                .await
                .expect("an answer"),
        ] {
            let list: Value = query.json().await.expect("JSON");
            assert_eq!(
                (&list["tenant"], &list["total"]),
                (&json!(tenant), &json!(1))
            );
        }
    }
    for (path, headers, word) in [
        (
            "/push",
            &[("x-tenant-id", "a"), ("x-scope-orgid", "b")][..],
            "different",
        ),
        ("/push?tenant=a", &[("x-scope-orgid", "b")], "different"),
        ("/push?tenant=a", &[("x-tenant-id", "b")], "different"),
        ("/push?tenant=a&tenant=b", &[], "different"),
        (
            "/push",
            &[("x-scope-orgid", "a"), ("x-scope-orgid", "a")],
            "several",
        ),
        ("/push", &[("x-scope-orgid", "a|b")], "X-Scope-OrgID"),
        ("/push", &[("x-scope-orgid", "")], "X-Scope-OrgID"),
    ] {
        let refused = problem(push(path, headers).await, 400).await;
        let detail = refused["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(word), "{headers:?}: {detail}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_name_its_tenant_either_way() {
    let origin = "https://page.test";
    let server = TestServer::start_with(|settings| {
        settings.allowed_origins = Origins::List(vec![origin.to_owned()]);
    })
    .await;
    let request = server
        .request(Method::OPTIONS, "/push")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "x-scope-orgid");
    let answer = request.send().await.expect("an answer");
    let allowed = answer.headers()["access-control-allow-headers"].to_str();
    let allowed = allowed.expect("a text").to_ascii_lowercase();
    for header in ["x-tenant-id", "x-scope-orgid"] {
        assert!(allowed.contains(header), "{allowed}");
    }
    server.stop().await;
}
