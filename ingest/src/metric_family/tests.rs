//! Families as clients in Go push them.

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::testing::{described, refusals, rows};

/// The messages as the format's definition has them.
mod model {
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct MetricFamily {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) help: String,
        #[prost(int32, tag = "3")]
        pub(super) kind: i32,
        #[prost(message, repeated, tag = "4")]
        pub(super) metric: Vec<Metric>,
        #[prost(string, tag = "5")]
        pub(super) unit: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Metric {
        #[prost(message, repeated, tag = "1")]
        pub(super) label: Vec<Pair>,
        #[prost(message, optional, tag = "2")]
        pub(super) gauge: Option<Single>,
        #[prost(message, optional, tag = "3")]
        pub(super) counter: Option<Single>,
        #[prost(message, optional, tag = "4")]
        pub(super) summary: Option<Summary>,
        #[prost(message, optional, tag = "5")]
        pub(super) untyped: Option<Single>,
        #[prost(int64, optional, tag = "6")]
        pub(super) timestamp_ms: Option<i64>,
        #[prost(message, optional, tag = "7")]
        pub(super) histogram: Option<Histogram>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Pair {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) value: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Single {
        #[prost(double, tag = "1")]
        pub(super) value: f64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Summary {
        #[prost(uint64, tag = "1")]
        pub(super) count: u64,
        #[prost(double, tag = "2")]
        pub(super) sum: f64,
        #[prost(message, repeated, tag = "3")]
        pub(super) quantile: Vec<Quantile>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Quantile {
        #[prost(double, tag = "1")]
        pub(super) quantile: f64,
        #[prost(double, tag = "2")]
        pub(super) value: f64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Histogram {
        #[prost(uint64, tag = "1")]
        pub(super) count: u64,
        #[prost(double, tag = "2")]
        pub(super) sum: f64,
        #[prost(message, repeated, tag = "3")]
        pub(super) bucket: Vec<Bucket>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Bucket {
        #[prost(uint64, tag = "1")]
        pub(super) cumulative_count: u64,
        #[prost(double, tag = "2")]
        pub(super) upper_bound: f64,
    }
}

use model::{Bucket, Metric, MetricFamily, Pair, Quantile, Single};

fn read(families: &[MetricFamily]) -> Batch {
    let body: Vec<u8> = families
        .iter()
        .flat_map(Message::encode_length_delimited_to_vec)
        .collect();
    let mut batch = Batch::new();
    parse(&body, &mut batch).expect("families");
    batch
}

fn family(name: &str, kind: i32, metric: Metric) -> MetricFamily {
    MetricFamily {
        name: name.to_owned(),
        help: "Help.".to_owned(),
        kind,
        metric: vec![metric],
        unit: String::new(),
    }
}

fn labels(pairs: &[(&str, &str)]) -> Vec<Pair> {
    let pair = |(name, value): &(&str, &str)| Pair {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    };
    pairs.iter().map(pair).collect()
}

#[test]
fn each_type_becomes_its_series() {
    let single = |value| Some(Single { value });
    let batch = read(&[
        family(
            "hits_total",
            0,
            Metric {
                label: labels(&[("code", "200")]),
                counter: single(3.0),
                ..Metric::default()
            },
        ),
        family(
            "temp",
            1,
            Metric {
                gauge: single(-1.5),
                timestamp_ms: Some(17),
                ..Metric::default()
            },
        ),
        family(
            "took",
            2,
            Metric {
                summary: Some(model::Summary {
                    count: 4,
                    sum: 2.5,
                    quantile: vec![Quantile {
                        quantile: 0.5,
                        value: 0.25,
                    }],
                }),
                ..Metric::default()
            },
        ),
        family(
            "any",
            3,
            Metric {
                untyped: single(f64::INFINITY),
                ..Metric::default()
            },
        ),
        family(
            "size",
            4,
            Metric {
                label: labels(&[("a", "b")]),
                histogram: Some(model::Histogram {
                    count: 3,
                    sum: 9.0,
                    bucket: vec![Bucket {
                        cumulative_count: 2,
                        upper_bound: 5.0,
                    }],
                }),
                ..Metric::default()
            },
        ),
        family(
            "wrong",
            1,
            Metric {
                counter: single(1.0),
                ..Metric::default()
            },
        ),
    ]);
    assert_eq!(
        rows(&batch),
        [
            "1 hits_total{code=\"200\"} 3",
            "2 temp -1.5 @17",
            "3 took{quantile=\"0.5\"} 0.25",
            "3 took_count 4",
            "3 took_sum 2.5",
            "4 any inf",
            "5 size_bucket{a=\"b\",le=\"5\"} 2",
            "5 size_bucket{a=\"b\",le=\"+Inf\"} 3",
            "5 size_count{a=\"b\"} 3",
            "5 size_sum{a=\"b\"} 9",
        ]
    );
    let kinds: Vec<Kind> = described(&batch)
        .into_iter()
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(kinds[..2], [Kind::Counter, Kind::Gauge]);
    assert_eq!(kinds[5], Kind::Unknown);
    assert_eq!(
        refusals(&batch),
        ["6 the metric has no value of its family's type"]
    );
}

#[test]
fn what_breaks_off_leaves_nothing() {
    let single = Some(Single { value: 1.0 });
    let whole = family(
        "a",
        1,
        Metric {
            gauge: single,
            ..Metric::default()
        },
    )
    .encode_length_delimited_to_vec();
    let mut batch = Batch::new();
    for end in 1..whole.len() {
        assert!(parse(&whole[..end], &mut batch).is_err());
        assert!(batch.is_empty());
    }
    assert_eq!(parse(&[], &mut batch), Ok(()));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_an_error(body in prop::collection::vec(any::<u8>(), 0..120)) {
        let mut batch = Batch::new();
        if parse(&body, &mut batch).is_err() {
            prop_assert!(batch.is_empty());
        }
    }
}
