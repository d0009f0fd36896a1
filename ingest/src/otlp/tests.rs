//! Tests of [`super`], with requests that the OpenTelemetry crate writes.

use opentelemetry_proto::tonic::{
    collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse},
    common::v1::{
        AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
    },
    metrics::v1::{self as otel, exponential_histogram_data_point, metric, number_data_point},
    resource::v1::Resource,
};
use proptest::prelude::*;
use prost::Message as _;
use pulseboard_series::{Kind, STALE_MARKER_BITS};

use super::*;
use crate::testing::{described, refusals, rows};

const NS: u64 = 1_795_204_862_345_678_901;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn request(metrics: Vec<otel::Metric>) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest {
        resource_metrics: vec![otel::ResourceMetrics {
            resource: Some(Resource {
                attributes: vec![
                    text("service.name", "shop"),
                    text("service.namespace", "eu"),
                    text("service.instance.id", "i-1"),
                    text("host.name", "a"),
                ],
                ..Resource::default()
            }),
            scope_metrics: vec![otel::ScopeMetrics {
                scope: Some(InstrumentationScope {
                    name: "lib".to_owned(),
                    ..InstrumentationScope::default()
                }),
                metrics,
                ..otel::ScopeMetrics::default()
            }],
            ..otel::ResourceMetrics::default()
        }],
    }
}

fn metric(name: &str, unit: &str, data: metric::Data) -> otel::Metric {
    otel::Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..otel::Metric::default()
    }
}

fn point(value: f64, attributes: Vec<KeyValue>) -> otel::NumberDataPoint {
    otel::NumberDataPoint {
        attributes,
        time_unix_nano: NS,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..otel::NumberDataPoint::default()
    }
}

fn sum(points: Vec<otel::NumberDataPoint>, temporality: i32, is_monotonic: bool) -> metric::Data {
    metric::Data::Sum(otel::Sum {
        data_points: points,
        aggregation_temporality: temporality,
        is_monotonic,
    })
}

/// Reads a request in both encodings, which must give the same; the shared labels are left out.
fn read(request: &ExportMetricsServiceRequest) -> (Batch, Points) {
    let read = |encoding, body: &[u8]| {
        let mut batch = Batch::new();
        let points = parse(
            encoding,
            body,
            &mut DeltaTotals::new(100),
            &|_| None,
            &mut batch,
        );
        (batch, points.expect("a request"))
    };
    let (batch, points) = read(Encoding::Protobuf, &request.encode_to_vec());
    let json = serde_json::to_vec(request).expect("JSON");
    let (again, points_again) = read(Encoding::Json, &json);
    assert_eq!(rows(&again), rows(&batch));
    assert_eq!(refusals(&again), refusals(&batch));
    assert_eq!(described(&again), described(&batch));
    assert_eq!(points_again, points);
    (batch, points)
}

fn short_rows(batch: &Batch) -> Vec<String> {
    rows(batch)
        .iter()
        .map(|row| {
            row.replace("host.name=\"a\",instance=\"i-1\",job=\"eu/shop\"", "…")
                .replace("otel_scope_name=\"lib\"", "…")
                .replace(" @1795204862345", "")
        })
        .collect()
}

#[test]
fn gauges_and_sums_are_read() {
    let mut integer = point(0.0, vec![text("host.name", "b")]);
    integer.value = Some(number_data_point::Value::AsInt(-7));
    integer.time_unix_nano = 0;
    let mut gone = point(1.0, vec![]);
    gone.flags = 1;
    let mut empty = point(1.0, vec![]);
    empty.value = None;
    let gauge = metric::Data::Gauge(otel::Gauge {
        data_points: vec![point(1.5, vec![]), integer, gone, empty],
    });
    let (batch, points) = read(&request(vec![
        metric("g", "By", gauge),
        metric("c", "1", sum(vec![point(2.0, vec![])], 2, true)),
        metric("u", "", sum(vec![point(3.0, vec![])], 2, false)),
        metric("x", "", sum(vec![point(4.0, vec![])], 0, true)),
        metric("my metric", "", sum(vec![point(4.0, vec![])], 2, true)),
        metric("", "", sum(vec![point(4.0, vec![])], 2, true)),
    ]));
    assert_eq!(
        rows(&batch)[..2],
        [
            "1 g{host.name=\"a\",instance=\"i-1\",job=\"eu/shop\",otel_scope_name=\"lib\"} 1.5 @1795204862345",
            "2 g{host.name=\"b\",instance=\"i-1\",job=\"eu/shop\",otel_scope_name=\"lib\"} -7",
        ]
    );
    assert_eq!(batch.rows()[2].value.to_bits(), STALE_MARKER_BITS);
    let described = described(&batch);
    assert_eq!(described[0], (Kind::Gauge, "By".to_owned()));
    assert_eq!(described[3], (Kind::Counter, "1".to_owned()));
    assert_eq!(described[4].0, Kind::Gauge);
    let refusals = refusals(&batch);
    assert_eq!(refusals[0], "4 the data point has no value");
    assert!(
        refusals[1].starts_with("7 aggregation temporality 0"),
        "{refusals:?}"
    );
    assert!(
        refusals[2].starts_with("9 there is no metric name"),
        "{refusals:?}"
    );
    let row = &rows(&batch)[5];
    assert!(row.starts_with("8 {\"my metric\",host.name="), "{row}");
    assert_eq!(
        points,
        Points {
            accepted: 6,
            rejected: 3,
            nameless: 0
        }
    );
}

/// An attribute without a key loses nobody a point; whoever sent it is told.
#[test]
fn an_attribute_without_a_key_is_left_out() {
    let gauge = metric::Data::Gauge(otel::Gauge {
        data_points: vec![
            point(1.0, vec![text("", "x"), text("k", "v")]),
            point(2.0, vec![text("", "")]),
        ],
    });
    let mut request = request(vec![metric("g", "", gauge)]);
    let resource = request.resource_metrics[0].resource.as_mut();
    resource.expect("one").attributes.push(text("", "y"));
    let (batch, points) = read(&request);
    assert_eq!(short_rows(&batch), ["1 g{…,k=\"v\",…} 1", "2 g{…,…} 2"]);
    assert_eq!(
        (points.accepted, points.rejected, points.nameless),
        (2, 0, 3)
    );
    let message = points.message(batch.refused());
    assert_eq!(message, "3 attributes without a key were left out");
}

#[test]
fn attributes_of_any_type_are_texts() {
    let list = Value::ArrayValue(ArrayValue {
        values: vec![
            AnyValue {
                value: Some(Value::StringValue("a\"".to_owned())),
            },
            AnyValue {
                value: Some(Value::IntValue(1)),
            },
            AnyValue {
                value: Some(Value::DoubleValue(0.5)),
            },
        ],
    });
    let map = Value::KvlistValue(KeyValueList {
        values: vec![attribute("k", Value::BoolValue(true))],
    });
    let gauge = metric::Data::Gauge(otel::Gauge {
        data_points: vec![point(
            1.0,
            vec![
                attribute("i", Value::IntValue(-5)),
                attribute("d", Value::DoubleValue(1.5)),
                attribute("b", Value::BoolValue(false)),
                attribute("l", list),
                attribute("m", map),
                attribute("y", Value::BytesValue(vec![1, 2, 255])),
                text("e", ""),
                text("a b", "x"),
            ],
        )],
    });
    let mut request = request(vec![metric("g", "", gauge)]);
    request.resource_metrics[0].resource = None;
    request.resource_metrics[0].scope_metrics[0].scope = None;
    let (batch, _) = read(&request);
    assert_eq!(
        short_rows(&batch),
        [
            r#"1 g{"a b"="x",b="false",d="1.5",i="-5",l="[\"a\\\"\",1,0.5]",m="{\"k\":true}",y="AQL/"} 1"#
        ]
    );
}

#[test]
fn histograms_become_buckets() {
    let histogram = |counts: &[u64], bounds: &[f64]| otel::HistogramDataPoint {
        time_unix_nano: NS,
        count: counts.iter().sum(),
        sum: Some(9.5),
        bucket_counts: counts.to_vec(),
        explicit_bounds: bounds.to_vec(),
        min: Some(0.25),
        max: Some(8.0),
        ..otel::HistogramDataPoint::default()
    };
    let explicit = metric::Data::Histogram(otel::Histogram {
        data_points: vec![
            histogram(&[1, 0, 2], &[0.5, 5.0]),
            histogram(&[1, 2], &[0.5, 5.0]),
            histogram(&[1, 2, 3], &[5.0, 0.5]),
        ],
        aggregation_temporality: 2,
    });
    let exponential = metric::Data::ExponentialHistogram(otel::ExponentialHistogram {
        data_points: vec![otel::ExponentialHistogramDataPoint {
            time_unix_nano: NS,
            count: 6,
            scale: 0,
            zero_count: 1,
            zero_threshold: 0.001,
            positive: Some(exponential_histogram_data_point::Buckets {
                offset: -1,
                bucket_counts: vec![2, 3],
            }),
            ..otel::ExponentialHistogramDataPoint::default()
        }],
        aggregation_temporality: 2,
    });
    let summary = metric::Data::Summary(otel::Summary {
        data_points: vec![otel::SummaryDataPoint {
            time_unix_nano: NS,
            count: 4,
            sum: 10.0,
            quantile_values: vec![otel::summary_data_point::ValueAtQuantile {
                quantile: 0.99,
                value: 7.5,
            }],
            ..otel::SummaryDataPoint::default()
        }],
    });
    let (batch, points) = read(&request(vec![
        metric("h", "s", explicit),
        metric("e", "s", exponential),
        metric("q", "s", summary),
    ]));
    assert_eq!(
        short_rows(&batch),
        [
            "1 h_bucket{…,le=\"0.5\",…} 1",
            "1 h_bucket{…,le=\"5\",…} 1",
            "1 h_bucket{…,le=\"+Inf\",…} 3",
            "1 h_count{…,…} 3",
            "1 h_sum{…,…} 9.5",
            "1 h_min{…,…} 0.25",
            "1 h_max{…,…} 8",
            "4 e_bucket{…,le=\"0.001\",…} 1",
            "4 e_bucket{…,le=\"0.5\",…} 1",
            "4 e_bucket{…,le=\"1\",…} 3",
            "4 e_bucket{…,le=\"2\",…} 6",
            "4 e_bucket{…,le=\"+Inf\",…} 6",
            "4 e_count{…,…} 6",
            "5 q{…,…,quantile=\"0.99\"} 7.5",
            "5 q_count{…,…} 4",
            "5 q_sum{…,…} 10",
        ]
    );
    assert_eq!(
        refusals(&batch),
        [
            "2 2 bucket counts do not fit 2 bounds; there must be one more",
            "3 the bounds are not finite or do not grow",
        ]
    );
    assert_eq!(
        points,
        Points {
            accepted: 3,
            rejected: 2,
            nameless: 0
        }
    );
}

#[test]
fn differences_become_totals() {
    let mut totals = DeltaTotals::new(2);
    let mut send = |value: f64, at: u64, name: &str| {
        let mut delta = point(value, vec![]);
        delta.start_time_unix_nano = NS + at;
        delta.time_unix_nano = NS + at + 1;
        let body = request(vec![metric(name, "", sum(vec![delta], 1, true))]).encode_to_vec();
        let mut batch = Batch::new();
        let points = parse(
            Encoding::Protobuf,
            &body,
            &mut totals,
            &|_| None,
            &mut batch,
        );
        assert!(points.is_ok());
        batch.rows().first().map(|row| row.value)
    };
    assert_eq!(send(2.0, 0, "a"), Some(2.0));
    assert_eq!(send(3.0, 1, "a"), Some(5.0));
    assert_eq!(send(3.0, 1, "a"), Some(5.0));
    assert_eq!(send(1.0, 0, "b"), Some(1.0));
    assert_eq!(send(1.0, 0, "c"), None);
    // A monotonic sum does not fall.
    assert_eq!(send(-1.0, 2, "a"), None);
    assert_eq!(send(1.0, 3, "a"), Some(6.0));
}

/// Differences of one request may come in any order, in one metric or in several, of several
/// resources, and stand there with the numbers that they came with.
#[test]
fn differences_of_one_request_are_put_in_order() {
    let step = |number: u64, value: f64| {
        let mut delta = point(value, vec![]);
        delta.start_time_unix_nano = NS + number * 1_000_000;
        delta.time_unix_nano = NS + (number + 1) * 1_000_000;
        delta
    };
    let of = |numbers: &[u64]| {
        let points = numbers
            .iter()
            .map(|number| step(*number, f64::from(1 << number)));
        metric("a", "", sum(points.collect(), 1, true))
    };
    let values = |batch: &Batch| {
        let mut rows: Vec<(i64, f64)> = batch
            .rows()
            .iter()
            .filter(|row| batch.key(row).name() == "a")
            .map(|row| (row.at_ms, row.value))
            .collect();
        rows.sort_by_key(|row| row.0);
        rows.into_iter().map(|row| row.1).collect::<Vec<_>>()
    };
    let in_order = [1.0, 3.0, 7.0, 15.0];
    let (batch, points) = read(&request(vec![of(&[3, 1, 0, 2])]));
    assert_eq!((values(&batch), points.rejected), (in_order.to_vec(), 0));
    let other = metric("b", "", sum(vec![step(0, 5.0)], 2, true));
    let (batch, points) = read(&request(vec![of(&[2, 0]), other, of(&[3, 1])]));
    assert_eq!((values(&batch), points.rejected), (in_order.to_vec(), 0));
    let lines = batch.rows().iter().map(|row| row.line);
    assert_eq!(lines.collect::<Vec<_>>(), [3, 2, 5, 1, 4]);
    // What a collector puts together: the same resource again and again.
    let mut both = request(vec![of(&[1, 3])]);
    both.resource_metrics
        .extend(request(vec![of(&[0]), of(&[2])]).resource_metrics);
    let (batch, points) = read(&both);
    assert_eq!((values(&batch), points.rejected), (in_order.to_vec(), 0));
    // Of two at one time the second is the same again, and a gap is no reason.
    let (batch, points) = read(&request(vec![of(&[3, 0, 0])]));
    assert_eq!((values(&batch), points.rejected), (vec![1.0, 1.0, 9.0], 0));
}

/// As sums, so histograms.
#[test]
fn histograms_of_one_request_are_put_in_order() {
    let histogram = |number: u64| otel::HistogramDataPoint {
        start_time_unix_nano: NS + number * 1_000_000,
        time_unix_nano: NS + (number + 1) * 1_000_000,
        count: 1 << number,
        sum: Some(1.0),
        bucket_counts: vec![1 << number],
        ..otel::HistogramDataPoint::default()
    };
    let exponential = |number: u64| otel::ExponentialHistogramDataPoint {
        start_time_unix_nano: NS + number * 1_000_000,
        time_unix_nano: NS + (number + 1) * 1_000_000,
        count: 1 << number,
        zero_count: 1 << number,
        ..otel::ExponentialHistogramDataPoint::default()
    };
    let metrics = vec![
        metric(
            "h",
            "",
            metric::Data::Histogram(otel::Histogram {
                data_points: [2, 0, 1].map(histogram).to_vec(),
                aggregation_temporality: 1,
            }),
        ),
        metric(
            "e",
            "",
            metric::Data::ExponentialHistogram(otel::ExponentialHistogram {
                data_points: [2, 0, 1].map(exponential).to_vec(),
                aggregation_temporality: 1,
            }),
        ),
    ];
    let (batch, points) = read(&request(metrics));
    assert_eq!(
        (points.accepted, points.rejected),
        (6, 0),
        "{:?}",
        batch.refused()
    );
    for name in ["h_count", "e_count"] {
        let mut counts: Vec<(i64, f64)> = batch
            .rows()
            .iter()
            .filter(|row| batch.key(row).name() == name)
            .map(|row| (row.at_ms, row.value))
            .collect();
        counts.sort_by_key(|row| row.0);
        let counts: Vec<f64> = counts.into_iter().map(|row| row.1).collect();
        assert_eq!(counts, [1.0, 3.0, 7.0], "{name}");
    }
}

/// The parts of a histogram are placed together, or none is.
#[test]
fn differences_of_histograms_are_counted_once() {
    let mut totals = DeltaTotals::new(100);
    let mut send = |span: (u64, u64)| {
        let point = otel::HistogramDataPoint {
            start_time_unix_nano: NS + span.0,
            time_unix_nano: NS + span.1,
            count: 3,
            sum: Some(4.0),
            bucket_counts: vec![1, 2],
            explicit_bounds: vec![0.5],
            ..Default::default()
        };
        let data = metric::Data::Histogram(otel::Histogram {
            data_points: vec![point],
            aggregation_temporality: 1,
        });
        let body = request(vec![metric("h", "s", data)]).encode_to_vec();
        let mut batch = Batch::new();
        let points = parse(
            Encoding::Protobuf,
            &body,
            &mut totals,
            &|_| None,
            &mut batch,
        );
        let values: Vec<f64> = batch.rows().iter().map(|row| row.value).collect();
        (
            points.map(|points| points.rejected),
            values,
            refusals(&batch),
        )
    };
    assert_eq!(send((0, 10)).1, [1.0, 3.0, 3.0, 4.0]);
    assert_eq!(send((20, 30)).1, [2.0, 6.0, 6.0, 8.0]);
    let late = send((10, 20));
    assert_eq!((late.0, late.1), (Ok(1), vec![]));
    assert!(late.2[0].contains("counted up to"), "{:?}", late.2);
    assert_eq!(send((0, 10)).1, [1.0, 3.0, 3.0, 4.0]);
    assert_eq!(send((30, 40)).1, [3.0, 9.0, 9.0, 12.0]);
}

#[test]
fn differences_of_exponential_histograms_become_totals() {
    let mut totals = DeltaTotals::new(100);
    let mut send = |scale: i32, counts: [u64; 2], at: u64| {
        let buckets = exponential_histogram_data_point::Buckets {
            offset: 0,
            bucket_counts: counts.to_vec(),
        };
        let point = otel::ExponentialHistogramDataPoint {
            start_time_unix_nano: NS + at,
            time_unix_nano: NS + at + 1,
            count: counts.iter().sum::<u64>() + 1,
            sum: Some(10.0),
            scale,
            zero_count: 1,
            positive: Some(buckets),
            ..Default::default()
        };
        let data = metric::Data::ExponentialHistogram(otel::ExponentialHistogram {
            data_points: vec![point],
            aggregation_temporality: 1,
        });
        let body = request(vec![metric("e", "s", data)]).encode_to_vec();
        let mut batch = Batch::new();
        let points = parse(
            Encoding::Protobuf,
            &body,
            &mut totals,
            &|_| None,
            &mut batch,
        );
        let rows = batch.rows().iter().map(|row| {
            let key = batch.key(row);
            let le = key.label("le").map_or(String::new(), |le| format!(" {le}"));
            format!("{}{le} = {}", key.name(), row.value)
        });
        (
            points.map(|points| points.rejected),
            rows.collect::<Vec<_>>(),
        )
    };
    let first = [
        "e_bucket +Inf = 4",
        "e_count = 4",
        "e_sum = 10",
        "e_bucket 0 = 1",
        "e_bucket 1 = 1",
        "e_bucket 2 = 2",
        "e_bucket 4 = 4",
    ];
    assert_eq!(
        send(0, [1, 2], 0),
        (Ok(0), first.map(str::to_owned).to_vec())
    );
    // The same again is a retry.
    assert_eq!(
        send(0, [1, 2], 0),
        (Ok(0), first.map(str::to_owned).to_vec())
    );
    // Bounds of 4 and 16 from now on.
    let second = [
        "e_bucket +Inf = 12",
        "e_count = 12",
        "e_sum = 20",
        "e_bucket 0 = 2",
        "e_bucket 1 = 2",
        "e_bucket 4 = 8",
        "e_bucket 16 = 12",
    ];
    assert_eq!(
        send(-1, [3, 4], 1),
        (Ok(0), second.map(str::to_owned).to_vec())
    );
    assert_eq!(send(i32::MAX, [3, 4], 2).0, Ok(1));
    // One counted before the newest is known, one that was not comes too late.
    assert_eq!(send(0, [1, 2], 0).0, Ok(0));
    assert!(send(-1, [1, 2], 10).1.contains(&"e_count = 16".to_owned()));
    assert_eq!(send(-1, [1, 2], 5).0, Ok(1));
}

#[test]
fn json_of_other_writers_is_read() {
    let body = br#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"a","value":{"arrayValue":{}}},{"key":"n","value":{"intValue":7}}],"more":1},
        "scopeMetrics":[{"metrics":[{"name":"g","gauge":{"dataPoints":[
            {"asDouble":"NaN","timeUnixNano":1795204862345678901},{"asDouble":2},{"asInt":"-3"},{"asInt":4,"attributes":[{"key":"e"}]}]}}]}]}]}"#;
    let mut batch = Batch::new();
    let points = parse(
        Encoding::Json,
        body,
        &mut DeltaTotals::new(1),
        &|_| None,
        &mut batch,
    );
    assert_eq!(
        points,
        Ok(Points {
            accepted: 4,
            rejected: 0,
            nameless: 0
        })
    );
    assert_eq!(
        rows(&batch),
        [
            "1 g{a=\"[]\",n=\"7\"} NaN @1795204862345",
            "2 g{a=\"[]\",n=\"7\"} 2",
            "3 g{a=\"[]\",n=\"7\"} -3",
            "4 g{a=\"[]\",n=\"7\"} 4",
        ]
    );
}

#[test]
fn a_number_past_the_largest_double_loses_only_its_point() {
    let body = br#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"n","value":{"doubleValue":1e400}}]},
        "scopeMetrics":[{"metrics":[
        {"name":"g","gauge":{"dataPoints":[{"asDouble":1},{"asDouble":1e400},{"asDouble":"-1e400"},{"asDouble":2}]}},
        {"name":"h","histogram":{"aggregationTemporality":2,"dataPoints":[
            {"count":1,"sum":1e999,"bucketCounts":[1]},{"count":1,"sum":1,"bucketCounts":[0,1],"explicitBounds":[1e999]}]}},
        {"name":"s","summary":{"dataPoints":[{"count":1,"sum":1,"quantileValues":[{"quantile":0.5,"value":-1e999}]}]}},
        {"name":"e","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{"count":1,"max":1e999}]}}]}]}]}"#;
    let mut batch = Batch::new();
    let mut totals = DeltaTotals::new(1);
    let points = parse(Encoding::Json, body, &mut totals, &|_| None, &mut batch);
    let expected = Points {
        accepted: 2,
        rejected: 6,
        nameless: 0,
    };
    assert_eq!(points, Ok(expected));
    assert_eq!(rows(&batch), ["1 g{n=\"+Inf\"} 1", "4 g{n=\"+Inf\"} 2"]);
    let refused = batch.refused().iter();
    let refused: Vec<u32> = refused
        .filter(|refused| {
            refused
                .reason
                .to_string()
                .contains("past the largest double")
        })
        .map(|refused| refused.line)
        .collect();
    assert_eq!(refused, [2, 3, 5, 6, 7, 8]);
}

#[test]
fn broken_requests_are_errors() {
    let body = request(vec![metric(
        "c",
        "1",
        sum(vec![point(2.0, vec![])], 2, true),
    )])
    .encode_to_vec();
    let mut batch = Batch::new();
    let mut totals = DeltaTotals::new(1);
    for cut in 1..body.len() {
        let cut = parse(
            Encoding::Protobuf,
            &body[..cut],
            &mut totals,
            &|_| None,
            &mut batch,
        );
        assert!(matches!(cut, Err(BodyError::Protobuf { .. })), "{cut:?}");
        assert!(batch.is_empty());
    }
    for (body, line, column) in [
        (&b"{"[..], 1, 1),
        (b"{\"resourceMetrics\":\n 5}", 2, 2),
        (b"[]x", 1, 3),
    ] {
        let read = parse(Encoding::Json, body, &mut totals, &|_| None, &mut batch);
        assert!(
            matches!(read, Err(BodyError::Json { line: l, column: c, .. }) if (l, c) == (line, column)),
            "{read:?}"
        );
    }
    let many = format!("[{}", "{".repeat(JSON_OBJECTS_MAX + 1));
    assert!(
        parse(
            Encoding::Json,
            many.as_bytes(),
            &mut totals,
            &|_| None,
            &mut batch
        )
        .is_err()
    );
}

#[test]
fn answers_are_in_the_encoding_of_the_request() {
    assert_eq!(response(Encoding::Json, 0, ""), b"{}");
    assert_eq!(response(Encoding::Protobuf, 0, ""), b"");
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let body = response(encoding, 3, "why");
        let read = match encoding {
            Encoding::Protobuf => ExportMetricsServiceResponse::decode(&*body).ok(),
            Encoding::Json => {
                let read: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
                let expected = serde_json::json!({
                    "partialSuccess": {"errorMessage": "why", "rejectedDataPoints": "3"}
                });
                assert_eq!(read, Some(expected));
                continue;
            }
        };
        let partial = read.and_then(|read| read.partial_success);
        assert_eq!(partial.map(|partial| partial.rejected_data_points), Some(3));
    }
    assert_eq!(
        status(Encoding::Json, 3, "no"),
        br#"{"code":3,"message":"no"}"#
    );
    assert_eq!(
        status(Encoding::Protobuf, 3, "no"),
        [0x08, 3, 0x12, 2, b'n', b'o']
    );
    assert_eq!(
        Encoding::from_content_type("application/json; charset=utf-8"),
        Some(Encoding::Json)
    );
    assert_eq!(Encoding::from_content_type("text/plain"), None);
}

proptest! {
    /// What the OpenTelemetry crate writes reads back, in both encodings.
    #[test]
    fn written_requests_read_back(
        values in prop::collection::vec(
            (prop::num::f64::NORMAL | prop::num::f64::ZERO, "[a-z]{1,4}", prop::collection::btree_map("[b-f.]{0,2}k", "\\PC{1,4}", 0..4)),
            0..5,
        ),
    ) {
        let metrics = values.iter().map(|(value, name, attributes)| {
            let attributes = attributes.iter().map(|(key, value)| text(key, value)).collect();
            metric(name, "", sum(vec![point(*value, attributes)], 2, true))
        });
        let mut request = request(metrics.collect());
        request.resource_metrics[0].resource = None;
        request.resource_metrics[0].scope_metrics[0].scope = None;
        let (batch, points) = read(&request);
        prop_assert_eq!(batch.refused(), []);
        prop_assert_eq!(points.accepted as usize, values.len());
        for (row, (value, name, attributes)) in batch.rows().iter().zip(&values) {
            prop_assert_eq!(row.value.to_bits(), value.to_bits());
            let key = batch.key(row);
            prop_assert_eq!(key.name(), name);
            for (label, value) in attributes.iter().filter(|(key, _)| !key.starts_with('.')) {
                prop_assert_eq!(key.label(label), Some(value.as_str()));
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_not(
        body in prop::collection::vec(any::<u8>(), 0..100),
        json in "(\\{|\\}|\\[|\\]|:|,|\"resourceMetrics\"|\"scopeMetrics\"|\"metrics\"|\"sum\"|\"dataPoints\"|1|null|\"x\"){0,30}",
    ) {
        for (encoding, body) in [(Encoding::Protobuf, &body[..]), (Encoding::Json, json.as_bytes())] {
            let mut batch = Batch::new();
            if parse(encoding, body, &mut DeltaTotals::new(5), &|_| None, &mut batch).is_err() {
                prop_assert!(batch.is_empty());
            }
        }
    }
}

/// Memory for so many bytes, and who asked for how many.
#[derive(Debug)]
struct Room {
    left: usize,
    asked: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl pulseboard_series::batch::Outlet for Room {
    fn reserve(&mut self, bytes: usize) -> bool {
        self.asked
            .fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    fn take(&mut self, _: &Batch) {}
}

/// A short request can have a point that decodes to much more: empty attributes, or empty values in
/// a list. Memory for it is asked for, and without that it is not decoded.
#[test]
fn a_point_that_becomes_much_asks_for_memory_first() {
    let value = AnyValue { value: None };
    let list = Value::ArrayValue(ArrayValue {
        values: vec![value; 500_000],
    });
    let points = |attributes| {
        metric::Data::Gauge(otel::Gauge {
            data_points: vec![point(1.0, Vec::new()), point(1.0, attributes)],
        })
    };
    for attributes in [
        vec![KeyValue::default(); 500_000],
        vec![attribute("a", list)],
    ] {
        let body = request(vec![metric("m", "", points(attributes))]).encode_to_vec();
        for (left, is_read) in [(usize::MAX, true), (64 << 20, false)] {
            let asked = std::sync::Arc::default();
            let room = Room {
                left,
                asked: std::sync::Arc::clone(&asked),
            };
            let mut batch = Batch::new();
            batch.open(Box::new(room), false);
            let mut totals = DeltaTotals::new(0);
            let read = parse(
                Encoding::Protobuf,
                &body,
                &mut totals,
                &|_| None,
                &mut batch,
            );
            assert!(read.is_ok());
            assert_eq!(!batch.is_out_of_room(), is_read);
            let asked = asked.load(std::sync::atomic::Ordering::Relaxed);
            assert!(asked > 64 << 20, "{asked}");
        }
    }
    // What is usual asks nobody.
    let usual = (0..30).map(|at| text(&format!("a{at}"), &"b".repeat(200)));
    let body = request(vec![metric("m", "", points(usual.collect()))]).encode_to_vec();
    let mut batch = Batch::new();
    let asked = std::sync::Arc::default();
    let room = Room {
        left: 0,
        asked: std::sync::Arc::clone(&asked),
    };
    batch.open(Box::new(room), false);
    let mut totals = DeltaTotals::new(0);
    let read = parse(
        Encoding::Protobuf,
        &body,
        &mut totals,
        &|_| None,
        &mut batch,
    );
    assert_eq!(read.map(|points| points.accepted), Ok(2));
}
