//! What one sample costs from bytes to a batch, in the forms that agents send; the throughput that
//! is printed is in samples. Bodies of 500 series with six labels, as scrapes and agents have them:
//! names and labels repeat, few differ from line to line. `cargo bench -p pulseboard-ingest`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use pulseboard_ingest::{
    Batch,
    detect::push,
    influx, json,
    remote_write::{self, Version},
    text::{self, Times},
    time::Precision,
};

const SERIES: usize = 500;

const AT_MS: i64 = 1_795_204_862_345;

/// Name, labels and value of series `at`.
fn series(at: usize) -> (&'static str, [(&'static str, String); 6], f64) {
    let labels = [
        ("cluster", "eu-west-1".to_owned()),
        ("instance", format!("10.0.{}.{}:9100", at / 50, at % 50)),
        ("job", "node-exporter".to_owned()),
        ("method", ["GET", "POST", "PUT"][at % 3].to_owned()),
        ("path", format!("/api/v1/items/{}", at % 20)),
        ("status", ["200", "404", "500"][at / 3 % 3].to_owned()),
    ];
    let value = match at % 3 {
        0 => (at * 37) as f64,
        1 => (at * 37) as f64 / 100.0,
        _ => (at as f64).sqrt(),
    };
    ("http_request_duration_seconds", labels, value)
}

fn text_body(is_simple: bool) -> String {
    let mut body = String::from("# TYPE http_request_duration_seconds gauge\n");
    for at in 0..SERIES {
        let (name, labels, value) = series(at);
        if is_simple {
            body += &format!("{name}_{at} {value}\n");
            continue;
        }
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        body += &format!("{name}{{{}}} {value} {AT_MS}\n", labels.join(","));
    }
    body
}

fn influx_body() -> String {
    let mut body = String::new();
    for at in 0..SERIES / 5 {
        let (name, labels, value) = series(at);
        body += name;
        for (name, value) in labels {
            body += &format!(",{name}={value}");
        }
        body += &format!(
            " count={at}i,sum={value},min=0.5,max={}.25,mean=12.125 {AT_MS}000000\n",
            at * 2
        );
    }
    body
}

fn json_body() -> String {
    let items: Vec<_> = (0..SERIES)
        .map(|at| {
            let (name, labels, value) = series(at);
            let labels: serde_json::Map<_, _> = labels
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect();
            serde_json::json!({"name": name, "value": value, "labels": labels, "timestamp": AT_MS})
        })
        .collect();
    serde_json::Value::from(items).to_string()
}

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

fn remote_write_body() -> Vec<u8> {
    let timeseries = (0..SERIES).map(|at| {
        let (name, labels, value) = series(at);
        let name = [("__name__", name.to_owned())];
        TimeSeries {
            labels: name
                .into_iter()
                .chain(labels)
                .map(|(name, value)| Label {
                    name: name.to_owned(),
                    value,
                })
                .collect(),
            samples: vec![Sample {
                value,
                timestamp: AT_MS,
            }],
        }
    });
    WriteRequest {
        timeseries: timeseries.collect(),
    }
    .encode_to_vec()
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(SERIES as u64));
    let mut batch = Batch::new();
    let mut bench = |name: &str, body: &[u8], parse: &dyn Fn(&[u8], &mut Batch)| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                batch.clear();
                parse(black_box(body), &mut batch);
                assert_eq!(batch.rows().len(), SERIES);
            });
        });
    };
    let labelled = text_body(false);
    bench("text", labelled.as_bytes(), &|body, batch| {
        text::parse(body, Times::Milliseconds, batch);
    });
    bench("push/text", labelled.as_bytes(), &|body, batch| {
        drop(push(body, batch));
    });
    bench("push/simple", text_body(true).as_bytes(), &|body, batch| {
        drop(push(body, batch));
    });
    bench("influx", influx_body().as_bytes(), &|body, batch| {
        influx::parse(body, Precision::Nanoseconds, batch);
    });
    bench("json", json_body().as_bytes(), &|body, batch| {
        drop(json::parse(body, batch));
    });
    let message = remote_write_body();
    bench("remote_write", &message, &|body, batch| {
        drop(remote_write::parse(Version::V1, body, batch));
    });
    bench(
        "remote_write/prost decode only",
        &message,
        &|body, batch| {
            let request = WriteRequest::decode(body).unwrap_or_default();
            black_box(&request);
            // As many rows as the bench wants, at next to no cost.
            let first = batch.begin(&["m"]);
            let mut written = first.and_then(|()| batch.finish(1, None, 0.0));
            for _ in 1..SERIES {
                written = written.and_then(|()| batch.push_sample(1, None, 0.0));
            }
            assert_eq!(written, Ok(()));
        },
    );
    group.finish();
}

criterion_group!(parse, benches);
criterion_main!(parse);
