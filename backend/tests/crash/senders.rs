//! Senders of every protocol that remember what was acknowledged.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;

/// Samples in one body.
const BODY: i64 = 7;
/// A sender stops by itself before its samples are more than a question gives out.
const SAMPLES_MAX: i64 = 9_000;

/// The endpoints that take samples with a time of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Push,
    Json,
    Influx,
    Influx2,
    Remote,
    Remote2,
    Otlp,
    Datadog,
}

pub(crate) const ENDPOINTS: [Endpoint; 8] = [
    Endpoint::Push,
    Endpoint::Json,
    Endpoint::Influx,
    Endpoint::Influx2,
    Endpoint::Remote,
    Endpoint::Remote2,
    Endpoint::Otlp,
    Endpoint::Datadog,
];
pub(crate) const TENANTS: [&str; 2] = ["red", "blue"];

/// What one sender did: its samples are one a millisecond from `start_ms` on, and the n-th has the
/// value [`value`].
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) tenant: &'static str,
    pub(crate) name: String,
    pub(crate) start_ms: i64,
    /// Samples acknowledged: the first ones, as a sender waits for each answer.
    pub(crate) acknowledged: i64,
    /// Samples sent.
    pub(crate) sent: i64,
}

/// Never 0, so that a sample that is missing, or there twice, is told from one that is there.
pub(crate) fn value(tenant: &str, number: i64) -> f64 {
    let number = f64::from(i32::try_from(number).expect("few"));
    if tenant == TENANTS[0] {
        number + 1.0
    } else {
        number + 1.5
    }
}

pub(crate) fn metric(endpoint: Endpoint, tenant: &str, round: u32) -> String {
    format!("{endpoint:?}_{tenant}_{round}").to_lowercase()
}

/// Sends body after body until it is told to stop or the server does not answer.
pub(crate) async fn send(
    http: reqwest::Client,
    url: String,
    endpoint: Endpoint,
    tenant: &'static str,
    round: u32,
    start_ms: i64,
    stop: Arc<AtomicBool>,
) -> Sent {
    let mut sent = Sent {
        tenant,
        name: metric(endpoint, tenant, round),
        start_ms,
        acknowledged: 0,
        sent: 0,
    };
    while !stop.load(Ordering::Relaxed) && sent.sent + BODY <= SAMPLES_MAX {
        let numbers = sent.sent..sent.sent + BODY;
        let samples: Vec<(i64, f64)> = numbers
            .map(|number| (start_ms + number, value(tenant, number)))
            .collect();
        let (path, content_type, body) = encode(endpoint, &sent.name, &samples);
        sent.sent += BODY;
        let asked = http
            .post(format!("{url}{path}"))
            .header("x-tenant-id", tenant)
            .header("content-type", content_type)
            .timeout(Duration::from_secs(20))
            .body(body);
        match asked.send().await {
            Ok(answer) if answer.status().is_success() => sent.acknowledged = sent.sent,
            Ok(answer) => panic!("{}: {:?}", answer.status(), answer.text().await),
            Err(_killed) => break,
        }
    }
    sent
}

fn encode(
    endpoint: Endpoint,
    name: &str,
    samples: &[(i64, f64)],
) -> (&'static str, &'static str, Vec<u8>) {
    let lines = |line: &dyn Fn(i64, f64) -> String| -> Vec<u8> {
        let lines = samples.iter().map(|(at_ms, value)| line(*at_ms, *value));
        lines.collect::<String>().into_bytes()
    };
    match endpoint {
        Endpoint::Push => (
            "/push",
            "text/plain",
            lines(&|at_ms, value| format!("{name} {value} {at_ms}\n")),
        ),
        Endpoint::Json => {
            let items: Vec<_> = samples
                .iter()
                .map(|(at_ms, value)| json!({"name": name, "value": value, "timestamp": at_ms}))
                .collect();
            (
                "/push",
                "application/json",
                json!(items).to_string().into_bytes(),
            )
        }
        Endpoint::Datadog => {
            let seconds = |at_ms: i64| at_ms as f64 / 1000.0;
            let points: Vec<_> = samples
                .iter()
                .map(|(at_ms, value)| json!([seconds(*at_ms), value]))
                .collect();
            (
                "/datadog/api/v1/series",
                "application/json",
                json!({"series": [{"metric": name, "points": points}]})
                    .to_string()
                    .into_bytes(),
            )
        }
        Endpoint::Influx | Endpoint::Influx2 => {
            let (measurement, field) = name.split_once('_').expect("two words");
            let path = match endpoint {
                Endpoint::Influx => "/write?precision=ms",
                _ => "/api/v2/write?org=o&bucket=b&precision=ms",
            };
            (
                path,
                "text/plain",
                lines(&|at_ms, value| format!("{measurement} {field}={value} {at_ms}\n")),
            )
        }
        Endpoint::Remote => (
            "/api/v1/write",
            "application/x-protobuf",
            remote_write(name, samples),
        ),
        Endpoint::Remote2 => (
            "/api/v1/write",
            "application/x-protobuf;proto=io.prometheus.write.v2.Request",
            remote_write_2(name, samples),
        ),
        Endpoint::Otlp => {
            let points: Vec<_> = samples
                .iter()
                .map(|(at_ms, value)| {
                    json!({"timeUnixNano": format!("{at_ms}000000"), "asDouble": value})
                })
                .collect();
            let body = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
                {"name": name, "gauge": {"dataPoints": points}}
            ]}]}]});
            (
                "/v1/metrics",
                "application/json",
                body.to_string().into_bytes(),
            )
        }
    }
}

/// A `prometheus.WriteRequest` of one series, snappy around it.
fn remote_write(name: &str, samples: &[(i64, f64)]) -> Vec<u8> {
    let mut series = field(
        1,
        &[field(1, b"__name__"), field(2, name.as_bytes())].concat(),
    );
    put_samples(&mut series, samples);
    packed(&field(1, &series))
}

/// An `io.prometheus.write.v2.Request` of one series, snappy around it.
fn remote_write_2(name: &str, samples: &[(i64, f64)]) -> Vec<u8> {
    // Its labels are numbers of texts, of which the first is empty.
    let mut series = field(1, &[1, 2]);
    put_samples(&mut series, samples);
    let texts = ["", "__name__", name].map(|text| field(4, text.as_bytes()));
    packed(&[texts.concat(), field(5, &series)].concat())
}

/// Samples are the same in both versions.
fn put_samples(series: &mut Vec<u8>, samples: &[(i64, f64)]) {
    for (at_ms, value) in samples {
        let mut sample = vec![0x09];
        sample.extend_from_slice(&value.to_le_bytes());
        sample.push(0x10);
        put_varint(&mut sample, at_ms.unsigned_abs());
        series.extend_from_slice(&field(2, &sample));
    }
}

fn packed(request: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new()
        .compress_vec(request)
        .expect("small")
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    put_varint(&mut field, bytes.len() as u64);
    field.extend_from_slice(bytes);
    field
}

fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// What one sender of tracked items did.
#[derive(Clone, Debug)]
pub(crate) struct Tracked {
    pub(crate) tenant: &'static str,
    pub(crate) acknowledged: u64,
    pub(crate) sent: u64,
}

/// Tracks item after item, each of value 1, until it is told to stop or there is no answer.
pub(crate) async fn track(
    http: reqwest::Client,
    url: String,
    tenant: &'static str,
    stop: Arc<AtomicBool>,
) -> Tracked {
    let mut tracked = Tracked {
        tenant,
        acknowledged: 0,
        sent: 0,
    };
    while !stop.load(Ordering::Relaxed) {
        tracked.sent += 1;
        let asked = http
            .post(format!("{url}/metrics/track"))
            .header("x-tenant-id", tenant)
            .timeout(Duration::from_secs(20))
            .json(&json!({"type": format!("item_{tenant}"), "value": 1}));
        match asked.send().await {
            Ok(answer) if answer.status().is_success() => tracked.acknowledged += 1,
            Ok(answer) => panic!("{}: {:?}", answer.status(), answer.text().await),
            Err(_killed) => break,
        }
    }
    tracked
}
