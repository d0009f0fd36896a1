//! Series and checks as the agent submits them, and its messages as its definition has them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::testing::{described, refusals, rows};
use pulseboard_series::Kind;

/// The messages as the agent's definition has them.
mod model {
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Payload {
        #[prost(message, repeated, tag = "1")]
        pub(super) series: Vec<Series>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Series {
        #[prost(message, repeated, tag = "1")]
        pub(super) resources: Vec<Resource>,
        #[prost(string, tag = "2")]
        pub(super) metric: String,
        #[prost(string, repeated, tag = "3")]
        pub(super) tags: Vec<String>,
        #[prost(message, repeated, tag = "4")]
        pub(super) points: Vec<Point>,
        #[prost(int32, tag = "5")]
        pub(super) kind: i32,
        #[prost(string, tag = "6")]
        pub(super) unit: String,
        #[prost(string, tag = "7")]
        pub(super) source_type_name: String,
        #[prost(int64, tag = "8")]
        pub(super) interval: i64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Resource {
        #[prost(string, tag = "1")]
        pub(super) kind: String,
        #[prost(string, tag = "2")]
        pub(super) name: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Point {
        #[prost(double, tag = "1")]
        pub(super) value: f64,
        #[prost(int64, tag = "2")]
        pub(super) timestamp: i64,
    }
}

fn read(encoding: Encoding, body: &[u8], totals: &mut DeltaTotals) -> Batch {
    let mut batch = Batch::new();
    series(encoding, body, totals, &|_| None, &mut batch).expect("series");
    batch
}

fn read_json(body: &str) -> Batch {
    let mut totals = DeltaTotals::new(100);
    read(Encoding::Json, body.as_bytes(), &mut totals)
}

#[test]
fn version_1_is_read() {
    let batch = read_json(
        r#"{"series": [
            {"metric": "system.load.1", "points": [[1795204862, 0.5], [1795204872.9, 1]],
             "type": "gauge", "host": "web1", "tags": ["env:prod", "canary"], "interval": null},
            {"metric": "hits", "points": [[1795204862, 3]], "type": "rate", "interval": 10,
             "device": "sda", "unknown": {"a": [1]}},
            {"metric": "plain", "points": [[1, 2]]}
        ], "more": true}"#,
    );
    assert_eq!(
        rows(&batch),
        [
            "1 system.load.1{canary=\"true\",env=\"prod\",host=\"web1\"} 0.5 @1795204862000",
            "1 system.load.1{canary=\"true\",env=\"prod\",host=\"web1\"} 1 @1795204872900",
            "2 hits{device=\"sda\"} 3 @1795204862000",
            "3 plain 2 @1000",
        ]
    );
}

#[test]
fn a_number_past_the_largest_double_loses_only_its_point() {
    let mut totals = DeltaTotals::new(100);
    let body = r#"{"series": [
        {"metric": "c", "type": "count", "interval": 1, "points": [[1,1],[2,1],[3,1],[4,1],[5,1],[6,1]]},
        {"metric": "a", "points": [[1, 1], [2, 1e400], [1e400, 3], [4, 4]]},
        {"metric": "b", "points": [[1, 1]], "interval": 1e400},
        {"metric": "d", "points": [{"timestamp": 1, "value": -1e999}, {"timestamp": 2, "value": 2}],
         "metadata": [1e999]}]}"#;
    let batch = read(Encoding::Json, body.as_bytes(), &mut totals);
    let rows = rows(&batch);
    // Those that were read before are counted once.
    assert_eq!(rows.len(), 9, "{rows:?}");
    assert_eq!(rows[5], "1 c 6 @6000");
    assert_eq!(rows[6..], ["2 a 1 @1000", "2 a 4 @4000", "4 d 2 @2000"]);
    let refused = batch.refused().iter();
    let refused = refused.map(|refused| (refused.line, refused.reason.to_string()));
    let refused: Vec<(u32, bool)> = refused
        .map(|(line, why)| (line, why.contains("past the largest double")))
        .collect();
    assert_eq!(refused, [(2, true), (2, true), (3, true), (4, true)]);

    let mut batch = Batch::new();
    let body = r#"[{"check": "a", "status": 0, "timestamp": 1},
        {"check": "b", "status": 1, "timestamp": 1e400}, {"check": "c", "status": 2}]"#;
    checks(body.as_bytes(), &mut batch).expect("checks");
    assert_eq!(self::rows(&batch), ["1 a 0 @1000", "3 c 2"]);
    assert_eq!(batch.refused().len(), 1);
}

#[test]
fn both_forms_of_version_2_say_the_same() {
    let json = read_json(
        r#"{"series": [{"metric": "a.b", "type": 3, "unit": "byte",
            "points": [{"timestamp": 17, "value": 1.5}],
            "resources": [{"type": "host", "name": "h"}, {"type": "other", "name": "x"}],
            "tags": ["k:v:w"], "metadata": {"origin": {"product": 1}}}]}"#,
    );
    let resource = |kind: &str, name: &str| model::Resource {
        kind: kind.to_owned(),
        name: name.to_owned(),
    };
    let payload = model::Payload {
        series: vec![model::Series {
            resources: vec![resource("host", "h"), resource("other", "x")],
            metric: "a.b".to_owned(),
            tags: vec!["k:v:w".to_owned()],
            points: vec![model::Point {
                value: 1.5,
                timestamp: 17,
            }],
            kind: 3,
            unit: "byte".to_owned(),
            ..model::Series::default()
        }],
    };
    let mut totals = DeltaTotals::new(0);
    let protobuf = read(Encoding::Protobuf, &payload.encode_to_vec(), &mut totals);
    assert_eq!(rows(&json), ["1 a.b{host=\"h\",k=\"v:w\"} 1.5 @17000"]);
    assert_eq!(rows(&protobuf), rows(&json));
    assert_eq!(described(&protobuf), [(Kind::Gauge, "byte".to_owned())]);
    assert_eq!(described(&json), described(&protobuf));
}

#[test]
fn counts_add_up_and_count_once() {
    let mut totals = DeltaTotals::new(10);
    let body = |at: i64, value: f64| {
        format!(
            "{{\"series\":[{{\"metric\":\"hits\",\"type\":\"count\",\"interval\":10,\
             \"points\":[[{at},{value}]]}}]}}"
        )
    };
    let mut take = |at, value| {
        let batch = read(Encoding::Json, body(at, value).as_bytes(), &mut totals);
        (rows(&batch), refusals(&batch), described(&batch))
    };
    let (first, _, kinds) = take(100, 3.0);
    assert_eq!(first, ["1 hits 3 @100000"]);
    assert_eq!(kinds, [(Kind::Counter, String::new())]);
    assert_eq!(take(110, 4.0).0, ["1 hits 7 @110000"]);
    assert_eq!(take(110, 4.0).0, ["1 hits 7 @110000"], "it was sent again");
    let (late, why, _) = take(95, 1.0);
    assert!(late.is_empty() && why.len() == 1, "{why:?}");
    let (fell, why, _) = take(130, -1.0);
    assert!(fell.is_empty());
    assert_eq!(why, ["1 a count of -1; a count is never less than 0"]);
    // In any order within one body, and without an interval.
    let batch =
        read_json(r#"{"series": [{"metric": "n", "type": 1, "points": [[20, 2], [10, 1]]}]}"#);
    assert_eq!(rows(&batch), ["1 n 1 @10000", "1 n 3 @20000"]);
}

#[test]
fn tags_become_labels_once_each() {
    let batch = read_json(
        r#"{"series": [
            {"metric": "a", "points": [[1, 1]], "host": "h",
             "tags": ["host:other", "s:b", "s:a", "s:a", "", "empty:", "device:d"]},
            {"metric": "b", "points": [[1, 1]], "tags": null, "host": ""},
            {"metric": "c", "points": [[1, 1]], "tags": ["__name__:x"]},
            {"metric": "", "points": [[1, 1]]},
            {"metric": "d", "points": []}
        ]}"#,
    );
    assert_eq!(
        rows(&batch),
        [
            "1 a{device=\"d\",host=\"h\",s=\"a,b\"} 1 @1000",
            "2 b 1 @1000",
        ]
    );
    assert_eq!(
        refusals(&batch),
        [
            "3 \"__name__\" cannot be a label: it stands for the metric's name",
            "4 there is no metric name",
            "5 the series has no points",
        ]
    );
}

/// What a collector built from an empty variable or a gap loses as little as can be.
#[test]
fn a_tag_without_a_name_and_a_point_without_a_value_lose_nothing_else() {
    let batch = read_json(
        r#"{"series": [
            {"metric": "a", "points": [[1, 1]], "tags": [":x", ":", "", null, "::k:v", "x"]},
            {"metric": "b", "points": [[1, null], [2, 2], null, [null, 3]]},
            {"metric": "c", "points": [{"timestamp": 1, "value": null}, {"timestamp": 2, "value": 2}]},
            {"metric": "d", "points": [[1, null]]}
        ]}"#,
    );
    assert_eq!(
        rows(&batch),
        [
            "1 a{k=\"v\",x=\"true\"} 1 @1000",
            "2 b 2 @2000",
            "3 c 2 @2000",
        ]
    );
    let expected = [2, 2, 2, 3, 4].map(|line| format!("{line} a point has no value"));
    assert_eq!(refusals(&batch), expected);

    let payload = model::Payload {
        series: vec![model::Series {
            metric: "a".to_owned(),
            tags: vec![":x".to_owned(), ":".to_owned()],
            points: vec![model::Point {
                value: 1.0,
                timestamp: 1,
            }],
            ..model::Series::default()
        }],
    };
    let mut totals = DeltaTotals::new(0);
    let batch = read(Encoding::Protobuf, &payload.encode_to_vec(), &mut totals);
    assert_eq!(rows(&batch), ["1 a{x=\"true\"} 1 @1000"]);
    let mut batch = Batch::new();
    let check = br#"{"check": "a", "status": 0, "timestamp": 1, "tags": [":x", null, ":"]}"#;
    checks(check, &mut batch).expect("a check");
    assert_eq!(rows(&batch), ["1 a{x=\"true\"} 0 @1000"]);
}

#[test]
fn checks_are_series_of_their_status() {
    let mut batch = Batch::new();
    let one = r#"{"check": "app.ok", "host_name": "h", "status": 2, "tags": ["env:prod"],
                  "message": "no answer", "timestamp": 17}"#;
    checks(one.as_bytes(), &mut batch).expect("a check");
    checks(
        format!("[{one}, {{\"check\":\"b\",\"status\":9}}]").as_bytes(),
        &mut batch,
    )
    .expect("checks");
    let first = "1 app.ok{env=\"prod\",host=\"h\"} 2 @17000";
    assert_eq!(rows(&batch), [first, first]);
    assert_eq!(refusals(&batch), ["2 status 9; a check has 0, 1, 2 or 3"]);
}

#[test]
fn what_is_no_request_leaves_nothing() {
    for body in [
        "",
        "[]",
        "{}",
        "{\"series\":{}}",
        "{\"series\":[{\"metric\":\"a\",\"points\":[[1,1]]}",
        "{\"series\":[{\"metric\":\"a\",\"points\":[[1,1]]}]}x",
        "{\"series\":[{\"metric\":\"a\",\"points\":[[1,1,1]]}]}",
        "{\"series\":[{\"metric\":\"a\",\"points\":[[1]]}]}",
        "{\"series\":[{\"metric\":\"a\",\"points\":[{\"value\":1}]}]}",
        "{\"series\":[{\"metric\":\"a\",\"points\":[[1,1]],\"type\":\"histogram\"}]}",
        "{\"series\":[{\"points\":[[1,1]]}]}",
    ] {
        let mut batch = Batch::new();
        let mut totals = DeltaTotals::new(10);
        let read = series(
            Encoding::Json,
            body.as_bytes(),
            &mut totals,
            &|_| None,
            &mut batch,
        );
        assert!(read.is_err(), "{body}");
        assert!(batch.is_empty(), "{body}");
    }
    let mut batch = Batch::new();
    for body in ["", "[{}]", "{\"check\":\"a\"}", "1"] {
        assert!(checks(body.as_bytes(), &mut batch).is_err() && batch.is_empty());
    }
}

#[test]
fn memory_for_a_long_body_is_asked_for() {
    #[derive(Debug)]
    struct None;
    impl pulseboard_series::batch::Outlet for None {
        fn reserve(&mut self, _: usize) -> bool {
            false
        }
        fn take(&mut self, _: &Batch) {}
    }
    let tags = "\"a\",".repeat(BODY_BYTES_FREE);
    let body =
        format!("{{\"series\":[{{\"metric\":\"a\",\"points\":[[1,1]],\"tags\":[{tags}\"a\"]}}]}}");
    let mut batch = Batch::new();
    batch.open(Box::new(None), false);
    let mut totals = DeltaTotals::new(10);
    let read = series(
        Encoding::Json,
        body.as_bytes(),
        &mut totals,
        &|_| Option::None,
        &mut batch,
    );
    assert_eq!(read, Ok(()));
    assert!(batch.is_out_of_room() && batch.rows().is_empty());
}

proptest! {
    /// What version 2 writes in protobuf comes back.
    #[test]
    fn protobuf_comes_back(
        metric in "[a-z][a-z0-9._]{0,30}",
        tags in prop::collection::btree_map("[a-z]{1,8}", "[a-zA-Z0-9./:]{1,12}", 0..5),
        value in prop::num::f64::NORMAL,
        timestamp in 0_i64..4_000_000_000,
    ) {
        let payload = model::Payload {
            series: vec![model::Series {
                metric: metric.clone(),
                tags: tags.iter().map(|(name, value)| format!("{name}:{value}")).collect(),
                points: vec![model::Point { value, timestamp }],
                ..model::Series::default()
            }],
        };
        let mut totals = DeltaTotals::new(0);
        let batch = read(Encoding::Protobuf, &payload.encode_to_vec(), &mut totals);
        let row = &batch.rows()[0];
        let key = batch.key(row);
        prop_assert_eq!(key.name(), metric);
        let labels: BTreeMap<_, _> =
            key.labels().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        prop_assert_eq!(labels, tags);
        prop_assert_eq!((row.value.to_bits(), row.at_ms), (value.to_bits(), timestamp * 1000));
    }

    #[test]
    fn any_bytes_are_read_or_an_error(
        body in prop::collection::vec(any::<u8>(), 0..120),
        is_json in any::<bool>(),
    ) {
        let encoding = if is_json { Encoding::Json } else { Encoding::Protobuf };
        let mut batch = Batch::new();
        let mut totals = DeltaTotals::new(10);
        if series(encoding, &body, &mut totals, &|_| None, &mut batch).is_err() {
            prop_assert!(batch.is_empty());
        }
    }
}
