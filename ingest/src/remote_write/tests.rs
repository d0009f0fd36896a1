//! Tests of [`super`], with messages that prost writes from types of their own.

use proptest::prelude::*;
use prost::Message;
use pulseboard_series::{Kind, STALE_MARKER_BITS};

use super::*;
use crate::testing::{described, refusals, rows};

/// `prometheus.WriteRequest` and what it consists of.
mod one {
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        pub(super) timeseries: Vec<TimeSeries>,
        #[prost(message, repeated, tag = "3")]
        pub(super) metadata: Vec<Metadata>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        pub(super) labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        pub(super) samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(super) exemplars: Vec<Sample>,
        #[prost(message, repeated, tag = "4")]
        pub(super) histograms: Vec<Histogram>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Label {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) value: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Sample {
        #[prost(double, tag = "1")]
        pub(super) value: f64,
        #[prost(int64, tag = "2")]
        pub(super) timestamp: i64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Metadata {
        #[prost(int32, tag = "1")]
        pub(super) metric_type: i32,
        #[prost(string, tag = "2")]
        pub(super) family: String,
        #[prost(string, tag = "4")]
        pub(super) help: String,
        #[prost(string, tag = "5")]
        pub(super) unit: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Span {
        #[prost(sint32, tag = "1")]
        pub(super) offset: i32,
        #[prost(uint32, tag = "2")]
        pub(super) length: u32,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Histogram {
        #[prost(uint64, tag = "1")]
        pub(super) count: u64,
        #[prost(double, tag = "3")]
        pub(super) sum: f64,
        #[prost(sint32, tag = "4")]
        pub(super) schema: i32,
        #[prost(double, tag = "5")]
        pub(super) zero_threshold: f64,
        #[prost(uint64, tag = "6")]
        pub(super) zero_count: u64,
        #[prost(message, repeated, tag = "8")]
        pub(super) negative_spans: Vec<Span>,
        #[prost(sint64, repeated, tag = "9")]
        pub(super) negative_deltas: Vec<i64>,
        #[prost(message, repeated, tag = "11")]
        pub(super) positive_spans: Vec<Span>,
        #[prost(sint64, repeated, tag = "12")]
        pub(super) positive_deltas: Vec<i64>,
        #[prost(int64, tag = "15")]
        pub(super) timestamp: i64,
        #[prost(double, repeated, tag = "16")]
        pub(super) custom_values: Vec<f64>,
    }
}

/// `io.prometheus.write.v2.Request` and what it consists of.
mod two {
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Request {
        #[prost(string, repeated, tag = "4")]
        pub(super) symbols: Vec<String>,
        #[prost(message, repeated, tag = "5")]
        pub(super) timeseries: Vec<TimeSeries>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct TimeSeries {
        #[prost(uint32, repeated, tag = "1")]
        pub(super) labels_refs: Vec<u32>,
        #[prost(message, repeated, tag = "2")]
        pub(super) samples: Vec<super::one::Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(super) histograms: Vec<super::one::Histogram>,
        #[prost(message, optional, tag = "5")]
        pub(super) metadata: Option<Metadata>,
        #[prost(int64, tag = "6")]
        pub(super) created_timestamp: i64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Metadata {
        #[prost(int32, tag = "1")]
        pub(super) metric_type: i32,
        #[prost(uint32, tag = "3")]
        pub(super) help_ref: u32,
        #[prost(uint32, tag = "4")]
        pub(super) unit_ref: u32,
    }
}

fn series(labels: &[(&str, &str)], samples: &[(f64, i64)]) -> one::TimeSeries {
    one::TimeSeries {
        labels: labels
            .iter()
            .map(|(name, value)| one::Label {
                name: (*name).to_owned(),
                value: (*value).to_owned(),
            })
            .collect(),
        samples: samples
            .iter()
            .map(|&(value, timestamp)| one::Sample { value, timestamp })
            .collect(),
        ..one::TimeSeries::default()
    }
}

fn read_one(timeseries: Vec<one::TimeSeries>) -> (Batch, Written) {
    let request = one::WriteRequest {
        timeseries,
        metadata: Vec::new(),
    };
    let mut batch = Batch::new();
    let written = parse(Version::V1, &request.encode_to_vec(), &mut batch);
    (batch, written.expect("a message"))
}

/// The same series as version 2.0 has them.
fn as_two(series: &[one::TimeSeries]) -> two::Request {
    let mut symbols = vec![String::new()];
    let mut symbol = |text: &str| {
        let known = symbols.iter().position(|known| known == text);
        let at = known.unwrap_or_else(|| {
            symbols.push(text.to_owned());
            symbols.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    };
    let timeseries = series
        .iter()
        .map(|series| two::TimeSeries {
            labels_refs: series
                .labels
                .iter()
                .flat_map(|label| [symbol(&label.name), symbol(&label.value)])
                .collect(),
            samples: series.samples.clone(),
            histograms: series.histograms.clone(),
            metadata: None,
            created_timestamp: 5,
        })
        .collect();
    two::Request {
        symbols,
        timeseries,
    }
}

#[test]
fn samples_are_read_and_bad_series_refused() {
    let stale = f64::from_bits(STALE_MARKER_BITS);
    let (batch, written) = read_one(vec![
        series(
            &[("__name__", "up"), ("job", "a")],
            &[(1.0, 1000), (stale, 2000)],
        ),
        series(&[("job", "a")], &[(1.0, 1000)]),
        series(
            &[("__name__", "my metric"), ("", "a")],
            &[(1.0, 1000), (2.0, 2000)],
        ),
        series(&[("a", "1"), ("__name__", "x_total")], &[(f64::NAN, -5)]),
        series(&[("__name__", "n"), ("a", "1"), ("a", "2")], &[(1.0, 1000)]),
        series(&[("__name__", "empty")], &[]),
        series(&[("__name__", "my metric"), ("a b", "c")], &[(5.0, 1000)]),
    ]);
    assert_eq!(
        rows(&batch),
        [
            "1 up{job=\"a\"} 1 @1000",
            "1 up{job=\"a\"} NaN @2000",
            "4 x_total{a=\"1\"} NaN @-5",
            "7 {\"my metric\",\"a b\"=\"c\"} 5 @1000",
        ]
    );
    assert_eq!(batch.rows()[1].value.to_bits(), STALE_MARKER_BITS);
    assert_eq!(described(&batch)[2].0, Kind::Counter);
    let refusals = refusals(&batch);
    assert_eq!(refusals[0], "2 the label `__name__` is missing");
    assert_eq!(refusals[1], "3 a label has no name");
    assert_eq!(refusals[2], "5 label \"a\" is there twice");
    assert_eq!(refusals.len(), 3);
    assert_eq!(written.samples, 4);
    assert_eq!(
        written.headers()[0],
        ("X-Prometheus-Remote-Write-Samples-Written", 4)
    );
}

#[test]
fn two_has_symbols_and_metadata() {
    let mut request = as_two(&[
        series(&[("__name__", "req_seconds"), ("job", "a")], &[(1.5, 1000)]),
        series(&[("__name__", "b")], &[(2.0, 1000)]),
        series(&[("__name__", "c")], &[(3.0, 1000)]),
        series(&[("__name__", "d")], &[(4.0, 1000)]),
    ]);
    request.symbols.push("s".to_owned());
    request.timeseries[0].metadata = Some(two::Metadata {
        metric_type: 1,
        help_ref: 0,
        unit_ref: u32::try_from(request.symbols.len() - 1).unwrap_or(0),
    });
    request.timeseries[1].labels_refs.push(99);
    request.timeseries[2].labels_refs.push(0);
    let mut batch = Batch::new();
    let written = parse(Version::V2, &request.encode_to_vec(), &mut batch);
    assert_eq!(written.map(|written| written.samples), Ok(2));
    assert_eq!(
        rows(&batch),
        ["1 req_seconds{job=\"a\"} 1.5 @1000", "4 d 4 @1000"]
    );
    assert_eq!(described(&batch)[0], (Kind::Counter, "s".to_owned()));
    assert_eq!(
        refusals(&batch),
        [
            "2 symbol 99 is named, but there are 9",
            "3 a label has no value"
        ]
    );
}

#[test]
fn native_histograms_become_buckets() {
    let span = |offset, length| one::Span { offset, length };
    let mut with = series(&[("__name__", "h"), ("a", "b")], &[]);
    with.histograms = vec![
        one::Histogram {
            count: 12,
            sum: 30.5,
            schema: 0,
            zero_threshold: 0.001,
            zero_count: 2,
            negative_spans: vec![span(1, 1)],
            negative_deltas: vec![1],
            positive_spans: vec![span(0, 2), span(1, 1)],
            positive_deltas: vec![2, 1, 1],
            timestamp: 7,
            ..one::Histogram::default()
        },
        one::Histogram {
            count: 6,
            sum: 3.0,
            schema: -53,
            positive_spans: vec![span(0, 3)],
            positive_deltas: vec![1, 1, 1],
            custom_values: vec![0.5, 5.0],
            timestamp: 8,
            ..one::Histogram::default()
        },
        // Nothing in the first bucket and in the one before that of `+Inf`.
        one::Histogram {
            count: 5,
            sum: 3.0,
            schema: -53,
            positive_spans: vec![span(1, 1), span(1, 1)],
            positive_deltas: vec![2, 1],
            custom_values: vec![0.5, 5.0, 50.0],
            timestamp: 8,
            ..one::Histogram::default()
        },
        one::Histogram {
            sum: f64::from_bits(STALE_MARKER_BITS),
            timestamp: 9,
            ..one::Histogram::default()
        },
        one::Histogram {
            positive_spans: vec![span(0, u32::MAX)],
            ..one::Histogram::default()
        },
        one::Histogram {
            schema: 9,
            ..one::Histogram::default()
        },
    ];
    let (batch, written) = read_one(vec![with.clone()]);
    assert_eq!(
        rows(&batch),
        [
            "1 h_bucket{a=\"b\",le=\"-2\"} 0 @7",
            "1 h_bucket{a=\"b\",le=\"-1\"} 1 @7",
            "1 h_bucket{a=\"b\",le=\"-0.001\"} 1 @7",
            "1 h_bucket{a=\"b\",le=\"0.001\"} 3 @7",
            "1 h_bucket{a=\"b\",le=\"0.5\"} 3 @7",
            "1 h_bucket{a=\"b\",le=\"1\"} 5 @7",
            "1 h_bucket{a=\"b\",le=\"2\"} 8 @7",
            "1 h_bucket{a=\"b\",le=\"4\"} 8 @7",
            "1 h_bucket{a=\"b\",le=\"8\"} 12 @7",
            "1 h_bucket{a=\"b\",le=\"+Inf\"} 12 @7",
            "1 h_count{a=\"b\"} 12 @7",
            "1 h_sum{a=\"b\"} 30.5 @7",
            "1 h_bucket{a=\"b\",le=\"0.5\"} 1 @8",
            "1 h_bucket{a=\"b\",le=\"5\"} 3 @8",
            "1 h_bucket{a=\"b\",le=\"+Inf\"} 6 @8",
            "1 h_count{a=\"b\"} 6 @8",
            "1 h_sum{a=\"b\"} 3 @8",
            "1 h_bucket{a=\"b\",le=\"0.5\"} 0 @8",
            "1 h_bucket{a=\"b\",le=\"5\"} 2 @8",
            "1 h_bucket{a=\"b\",le=\"50\"} 2 @8",
            "1 h_bucket{a=\"b\",le=\"+Inf\"} 5 @8",
            "1 h_count{a=\"b\"} 5 @8",
            "1 h_sum{a=\"b\"} 3 @8",
            "1 h_count{a=\"b\"} NaN @9",
            "1 h_sum{a=\"b\"} NaN @9",
        ]
    );
    assert_eq!(
        refusals(&batch),
        [
            "1 the histogram's spans do not fit its buckets",
            "1 histograms of schema 9 are not known; -4 to 8 and -53 are",
        ]
    );
    assert_eq!((written.samples, written.histograms), (0, 4));
    let mut again = Batch::new();
    let written = parse(Version::V2, &as_two(&[with]).encode_to_vec(), &mut again);
    assert_eq!(written.map(|written| written.histograms), Ok(4));
    assert_eq!(rows(&again), rows(&batch));
}

#[test]
fn metadata_comes_by_itself() {
    let request = one::WriteRequest {
        timeseries: Vec::new(),
        metadata: vec![one::Metadata {
            metric_type: 3,
            family: "latency_seconds".to_owned(),
            help: "how long".to_owned(),
            unit: "s".to_owned(),
        }],
    };
    let mut found = Vec::new();
    let read = metadata(&request.encode_to_vec(), |told| {
        let texts = [told.family, told.kind, told.help, told.unit];
        found.push(texts.map(str::to_owned));
    });
    assert_eq!(read, Ok(()));
    assert_eq!(found, [["latency_seconds", "histogram", "how long", "s"]]);
}

#[test]
fn content_types_name_the_version() {
    for (value, version) in [
        ("application/x-protobuf", Some(Version::V1)),
        (
            "application/x-protobuf;proto=prometheus.WriteRequest",
            Some(Version::V1),
        ),
        (
            "Application/x-protobuf; proto=\"io.prometheus.write.v2.Request\"",
            Some(Version::V2),
        ),
        ("application/x-protobuf;proto=other", None),
        ("application/json", None),
        ("", None),
    ] {
        assert_eq!(Version::from_content_type(value), version, "{value}");
    }
}

#[test]
fn a_broken_message_is_an_error_and_leaves_nothing() {
    let request = one::WriteRequest {
        timeseries: vec![series(&[("__name__", "up")], &[(1.0, 1000)]); 2],
        metadata: Vec::new(),
    };
    let message = request.encode_to_vec();
    let mut batch = Batch::new();
    let broken = parse(Version::V1, &message[..message.len() - 1], &mut batch);
    assert_eq!(
        broken.map_err(|error| error.to_string()),
        Err(
            "the body is not a remote write 1.0 request: it ends in the middle of a field"
                .to_owned()
        )
    );
    assert!(batch.is_empty());
}

fn any_series() -> impl Strategy<Value = one::TimeSeries> {
    (
        prop::collection::btree_map("[a-z]{1,3}", "\\PC{1,5}", 0..5),
        "[a-z]{1,5}",
        prop::collection::vec((any::<u64>(), i64::MIN + 1..), 1..4),
    )
        .prop_map(|(labels, name, samples)| {
            let mut all = vec![("__name__", name.as_str())];
            all.extend(
                labels
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str())),
            );
            let samples: Vec<_> = samples
                .iter()
                .map(|(bits, at_ms)| (f64::from_bits(*bits), *at_ms))
                .collect();
            series(&all, &samples)
        })
}

proptest! {
    #[test]
    fn written_messages_read_back(all in prop::collection::vec(any_series(), 0..5)) {
        let (batch, written) = read_one(all.clone());
        prop_assert_eq!(batch.refused(), []);
        prop_assert_eq!(written.samples as usize, batch.rows().len());
        let mut found = batch.rows().iter();
        for (series, line) in all.iter().zip(1..) {
            for sample in &series.samples {
                let row = found.next().expect("a row for each sample");
                prop_assert_eq!((row.line, row.at_ms, row.value.to_bits()), (line, sample.timestamp, sample.value.to_bits()));
                let key = batch.key(row);
                let labels: Vec<_> = key.labels().collect();
                let expected: Vec<_> = series.labels[1..].iter().map(|label| (label.name.as_str(), label.value.as_str())).collect();
                prop_assert_eq!(labels, expected);
                prop_assert_eq!(key.name(), &series.labels[0].value);
            }
        }
        let mut again = Batch::new();
        prop_assert_eq!(parse(Version::V2, &as_two(&all).encode_to_vec(), &mut again), Ok(written));
        prop_assert_eq!(rows(&again), rows(&batch));
    }

    /// Wherever a message is changed: what prost can read, we can; and the samples are as many.
    #[test]
    fn we_read_what_prost_reads(
        all in prop::collection::vec(any_series(), 1..3),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let request = one::WriteRequest { timeseries: all.clone(), metadata: Vec::new() };
        for (version, mut message) in [
            (Version::V1, request.encode_to_vec()),
            (Version::V2, as_two(&all).encode_to_vec()),
        ] {
            for (at, byte) in &changes {
                let at = at.index(message.len());
                message[at] = *byte;
            }
            let mut batch = Batch::new();
            let ours = parse(version, &message, &mut batch);
            let prosts = match version {
                Version::V1 => one::WriteRequest::decode(&*message).map(|request| {
                    request.timeseries.iter().map(|series| series.samples.len()).sum::<usize>()
                }),
                Version::V2 => two::Request::decode(&*message).map(|request| {
                    request.timeseries.iter().map(|series| series.samples.len()).sum()
                }),
            };
            if let Ok(samples) = prosts {
                // Groups, which prost skips, are an error here.
                if let Ok(written) = ours {
                    prop_assert!(written.samples as usize <= samples);
                    if batch.refused_total() == 0 {
                        prop_assert_eq!(written.samples as usize, samples);
                    }
                } else {
                    prop_assert!(ours.is_err_and(|error| error.to_string().contains("unknown type")));
                }
            }
        }
    }

    /// What goes the plain way is what the other one makes of it, wherever a message is changed.
    #[test]
    fn the_plain_way_leads_to_the_same(
        mut series in any_series(),
        odd in prop::option::of(("[_a-z:]{0,10}", "[a-zé]{0,3}", any::<prop::sample::Index>())),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2),
    ) {
        if let Some((name, value, at)) = odd {
            series.labels.insert(at.index(series.labels.len() + 1), one::Label { name, value });
        }
        let mut message = series.encode_to_vec();
        for (at, byte) in &changes {
            let at = at.index(message.len());
            message[at] = *byte;
        }
        let mut plain = Batch::new();
        if let Some(samples) = v1::plain_series(3, &message, &mut plain) {
            let (mut any, mut written) = (Batch::new(), Written::default());
            let read = v1::any_series(3, &message, &mut series::Labels::default(), &mut written, &mut any);
            prop_assert_eq!(read, Ok(()));
            prop_assert_eq!(written.samples, samples);
            prop_assert_eq!(any.refused(), []);
            prop_assert_eq!(rows(&any), rows(&plain));
            prop_assert_eq!(described(&any), described(&plain));
        }
    }

    #[test]
    fn any_bytes_are_read_or_not(message in prop::collection::vec(any::<u8>(), 0..100)) {
        for version in [Version::V1, Version::V2] {
            let mut batch = Batch::new();
            if parse(version, &message, &mut batch).is_err() {
                prop_assert!(batch.is_empty());
            }
        }
        drop(metadata(&message, |_| {}));
    }
}
