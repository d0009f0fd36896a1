//! Tests of [`super`]: the formats' own examples, what is refused and where, and rendered samples
//! that read back.

use proptest::prelude::*;
use pulseboard_series::KeyRef;

use super::*;
use crate::testing::{described, refusals, rows};

fn read(body: &str) -> Batch {
    let mut batch = Batch::new();
    parse(body.as_bytes(), Times::of(body.as_bytes(), ""), &mut batch);
    batch
}

/// The example of the format's description (Prometheus documentation, "Text format example").
const EXAMPLE: &str = r#"# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9

# Minimalistic line:
metric_without_timestamp_and_labels 12.47

# A weird metric from before the epoch:
something_weird{problem="division by zero"} +Inf -3982045

# A histogram, which has a pretty complex representation in the text format:
# HELP http_request_duration_seconds A histogram of the request duration.
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.05"} 24054
http_request_duration_seconds_bucket{le="+Inf"} 144320
http_request_duration_seconds_sum 53423
http_request_duration_seconds_count 144320

# Finally a summary, which has a complex representation, too:
# HELP rpc_duration_seconds A summary of the RPC duration in seconds.
# TYPE rpc_duration_seconds summary
rpc_duration_seconds{quantile="0.01"} 3102
rpc_duration_seconds_sum 1.7560473e+07
rpc_duration_seconds_count 2693
"#;

#[test]
fn the_example_of_the_format_is_read() {
    let batch = read(EXAMPLE);
    assert_eq!(
        rows(&batch),
        [
            "3 http_requests_total{code=\"200\",method=\"post\"} 1027 @1395066363000",
            "4 http_requests_total{code=\"400\",method=\"post\"} 3 @1395066363000",
            "7 msdos_file_access_time_seconds{error=\"Cannot find file:\\n\\\"FILE.TXT\\\"\",path=\"C:\\\\DIR\\\\FILE.TXT\"} 1458255915",
            "10 metric_without_timestamp_and_labels 12.47",
            "13 something_weird{problem=\"division by zero\"} inf @-3982045",
            "18 http_request_duration_seconds_bucket{le=\"0.05\"} 24054",
            "19 http_request_duration_seconds_bucket{le=\"+Inf\"} 144320",
            "20 http_request_duration_seconds_sum 53423",
            "21 http_request_duration_seconds_count 144320",
            "26 rpc_duration_seconds{quantile=\"0.01\"} 3102",
            "27 rpc_duration_seconds_sum 17560473",
            "28 rpc_duration_seconds_count 2693",
        ]
    );
    assert_eq!(batch.refused(), []);
    let kinds: Vec<_> = described(&batch)
        .into_iter()
        .map(|(kind, _)| kind)
        .collect();
    let [counter, unknown, part] = [Kind::Counter, Kind::Unknown, Kind::Distribution];
    assert_eq!(kinds[..5], [counter, counter, unknown, unknown, unknown]);
    assert!(kinds[5..].iter().all(|kind| *kind == part));
}

#[test]
fn open_metrics_has_seconds_units_and_exemplars() {
    let batch = read(concat!(
        "# TYPE foo_seconds counter\n# UNIT foo_seconds seconds\n",
        "foo_seconds_total 17.0 1520879607.789\nfoo_seconds_created 1520872607.123\n",
        "# TYPE bar histogram\n",
        "bar_bucket{le=\"0.01\"} 0\nbar_bucket{le=\"0.1\"} 8 # {} 0.054\n",
        "bar_bucket{le=\"1\"} 11 1520879607 # {trace_id=\"KOO5S4vxi0o\"} 0.67 1520879607.9\n",
        "# TYPE q gauge\nq -0\n# EOF\n",
    ));
    assert_eq!(
        rows(&batch),
        [
            "3 foo_seconds_total 17 @1520879607789",
            "4 foo_seconds_created 1520872607.123",
            "6 bar_bucket{le=\"0.01\"} 0",
            "7 bar_bucket{le=\"0.1\"} 8",
            "8 bar_bucket{le=\"1\"} 11 @1520879607000",
            "10 q -0",
        ]
    );
    assert_eq!(batch.refused(), []);
    let described = described(&batch);
    assert_eq!(described[0], (Kind::Counter, "seconds".to_owned()));
    assert_eq!(described[1], (Kind::Gauge, "s".to_owned()));
    assert_eq!(described[2], (Kind::Distribution, String::new()));
    assert_eq!(described[5], (Kind::Gauge, String::new()));
}

#[test]
fn blanks_ends_and_commas_do_not_matter() {
    let batch = read(concat!(
        "  a\t1\r\n\tb {x = \"1\" , y=\"2\",}  2\t \r\n",
        "c{} 3\nd{ } 4 5 \ne{,} 6\n   \n\r\nf 7",
    ));
    assert_eq!(
        rows(&batch),
        [
            "1 a 1",
            "2 b{x=\"1\",y=\"2\"} 2",
            "3 c 3",
            "4 d 4 @5",
            "8 f 7"
        ]
    );
    assert_eq!(
        refusals(&batch),
        ["5 column 3: a label's name expected, found ','"]
    );
}

#[test]
fn names_may_be_quoted() {
    let batch = read(concat!(
        "{\"my.metric\"} 1\n{\"my.metric\", \"a.b\"=\"c\"} 2\n{a=\"b\", \"größe\"} 3\n",
        "{a=\"x,\\\"y\",\"n\"} 4\n{a=\"b\"} 5\n{\"a b\"} 6\n# TYPE \"my.metric\" gauge\n{\"my.metric\"} 7\n",
    ));
    assert_eq!(
        rows(&batch),
        [
            "1 my.metric 1",
            "2 my.metric{a.b=\"c\"} 2",
            "3 größe{a=\"b\"} 3",
            "4 n{a=\"x,\\\"y\"} 4",
            "6 {\"a b\"} 6",
            "8 my.metric 7",
        ]
    );
    assert_eq!(described(&batch)[5].0, Kind::Gauge);
    let refusals = refusals(&batch);
    assert!(
        refusals[0].starts_with("5 there is no metric name"),
        "{refusals:?}"
    );
    assert_eq!(refusals.len(), 1);
}

#[test]
fn a_bad_line_loses_only_itself_and_says_why() {
    for (line, reason) in [
        ("a", "there is no value"),
        ("a ", "there is no value"),
        ("a x", "\"x\" is not a number that can be kept"),
        ("a 1e999", "\"1e999\" is not a number that can be kept"),
        (
            "a 1 2 3",
            "column 7: the end of the line expected, found '3'",
        ),
        (
            "a 1 2.5",
            "column 5: a timestamp in whole Unix milliseconds expected, found '2'",
        ),
        ("a{b} 1", "column 4: `=` expected, found '}'"),
        ("a{b=c} 1", "column 5: `\"` expected, found 'c'"),
        (
            "a{b=\"c} 1",
            "a quoted text begins in this line and does not end",
        ),
        (
            "a{b=\"c\"",
            "column 8: `,` or `}` expected, found nothing more",
        ),
        (
            "a{b=\"c\" d=\"e\"} 1",
            "column 9: `,` or `}` expected, found 'd'",
        ),
        ("a{b=\"c\",b=\"d\"} 1", "label \"b\" is there twice"),
        ("a;b 1", "column 2: a blank or `{` expected, found ';'"),
    ] {
        let batch = read(&format!("first 1\n{line}\nlast 2"));
        assert_eq!(rows(&batch), ["1 first 1", "3 last 2"], "{line}");
        let found = refusals(&batch);
        assert_eq!(found.len(), 1, "{line}");
        if line == "a;b 1" {
            assert!(
                found[0].starts_with("2 \"a;b\" is not a metric name"),
                "{found:?}"
            );
        } else {
            assert_eq!(found[0], format!("2 {reason}"));
        }
    }
    let batch = read("9a 1\na{__name__=\"c\"} 1\n<html> 1\n{\"\"} 1\na{\"\"=\"b\"} 1");
    assert!(batch.rows().is_empty());
    assert_eq!(batch.refused_total(), 5);
}

/// As in Prometheus 3: any text, at the one endpoint as at the others.
#[test]
fn any_text_is_a_name() {
    let batch = read(concat!(
        "{\"my metric\"} 1\n",
        "{\"http.requests\",\"my label\"=\"v\",job=\"x\"} 2\n",
        "{\"a\\\\b\\\"c\\nd\"} 3\n",
        "__x{__y=\"z\"} 4\n",
        "# TYPE \"my \\\"odd\\\" one\" counter\n{\"my \\\"odd\\\" one\"} 5\n",
    ));
    assert_eq!(
        rows(&batch),
        [
            "1 {\"my metric\"} 1",
            "2 http.requests{job=\"x\",\"my label\"=\"v\"} 2",
            "3 {\"a\\\\b\\\"c\\nd\"} 3",
            "4 __x{__y=\"z\"} 4",
            "6 {\"my \\\"odd\\\" one\"} 5",
        ]
    );
    assert_eq!(batch.refused(), []);
    assert_eq!(described(&batch)[4].0, Kind::Counter);
}

/// A line break in a quoted text is part of it, and what it says is no sample.
#[test]
fn quotes_come_before_lines() {
    let batch = read(concat!(
        "a{msg=\"failed:\ncpu_usage 99999\nretrying\",host=\"b\"} 1\r\n",
        "{\"my\nmetric 5\",\"l\n6\"=\"x\"} 2\n",
        "h_bucket{le=\"1\"} 3 # {trace=\"t\ncpu_usage 99999\"} 0.5\n",
        "# TYPE \"g\nx 7\" gauge\n",
        "# HELP \"g\nx 8\" text with \" one\n",
        "# HELP h text with \" one\n",
        "i 4 # a remark with \" one\n",
        "last 9\n",
    ));
    assert_eq!(
        rows(&batch),
        [
            "1 a{host=\"b\",msg=\"failed:\\ncpu_usage 99999\\nretrying\"} 1",
            "4 {\"my\\nmetric 5\",\"l\\n6\"=\"x\"} 2",
            "7 h_bucket{le=\"1\"} 3",
            "14 i 4",
            "15 last 9",
        ]
    );
    assert_eq!(batch.refused(), []);
    // What is wrong with such a line is refused once, with all that it says.
    let batch = read("a{msg=\"x\ncpu_usage 1\n\"} nonsense\nlast 9");
    assert_eq!(rows(&batch), ["4 last 9"]);
    assert_eq!(
        refusals(&batch),
        ["1 \"nonsense\" is not a number that can be kept"]
    );
    // Also where a byte of it is no text.
    let mut batch = Batch::new();
    let body = b"a{msg=\"\xff\ncpu_usage 1\n\"} 1\nb{msg=\"c\nd 1\"} 2\nlast 9";
    parse(body, Times::Milliseconds, &mut batch);
    assert_eq!(rows(&batch), ["4 b{msg=\"c\\nd 1\"} 2", "6 last 9"]);
    assert_eq!(refusals(&batch), ["1 column 8: these bytes are not UTF-8"]);
}

#[test]
fn a_line_that_is_not_utf8_is_refused_alone() {
    let mut batch = Batch::new();
    parse(
        b"a 1\nb{c=\"\xff\"} 2\r\nd 3\r\n",
        Times::Milliseconds,
        &mut batch,
    );
    assert_eq!(rows(&batch), ["1 a 1", "3 d 3"]);
    assert_eq!(refusals(&batch), ["2 column 6: these bytes are not UTF-8"]);
}

proptest! {
    /// What a key renders to reads back as the same key, value and time.
    #[test]
    fn rendered_samples_read_back(
        name in "[a-zA-Z_:][a-zA-Z0-9:./-]{0,20}|\\PC{1,8}|[a\"\\\\\n{}, ]{1,6}",
        labels in prop::collection::btree_map("[a-zA-Z][a-zA-Z0-9_]{0,8}|\\PC{1,8}|[a\"\\\\\n{}=, ]{1,6}", "[^\r\n]{1,12}|\\PC{1,4}\n", 0..6),
        bits in any::<u64>(),
        at_ms in prop::option::of(i64::MIN + 1..),
    ) {
        let value = f64::from_bits(bits);
        let mut expected = Batch::new();
        prop_assert_eq!(expected.begin(&[&name]), Ok(()));
        for (label, value) in &labels {
            prop_assert_eq!(expected.label(label, value), Ok(()));
        }
        prop_assert_eq!(expected.finish(1, at_ms, value), Ok(()));
        let row = expected.rows()[0];
        let mut line = format!("{} {value:?}", expected.key(&row));
        if let Some(at_ms) = at_ms {
            line += &format!(" {at_ms}");
        }
        let batch = read(&line);
        prop_assert_eq!(batch.refused(), []);
        let found = batch.rows()[0];
        prop_assert_eq!(batch.key(&found), expected.key(&row));
        prop_assert_eq!((found.at_ms, found.line, found.hash), (row.at_ms, row.line, row.hash));
        prop_assert!(found.value.to_bits() == bits || (found.value.is_nan() && value.is_nan()));
    }

    /// Any text is taken or refused line by line, and every key is whole.
    #[test]
    fn any_text_is_taken_or_refused(body in "([a{}\"=\\\\, #\t1-]|name|le|\n|\r|é|__){0,60}") {
        let batch = read(&body);
        for row in batch.rows() {
            let key = batch.key(row);
            prop_assert_eq!(KeyRef::checked(key.as_bytes()), Some(key));
        }
        prop_assert!(batch.rows().len() as u64 + batch.refused_total() <= body.lines().count() as u64);
    }

    #[test]
    fn any_bytes_are_taken_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut batch = Batch::new();
        parse(&body, Times::of(&body, ""), &mut batch);
    }
}
