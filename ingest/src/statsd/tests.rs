//! Tests of [`super`].

use proptest::prelude::*;
use pulseboard_series::Kind;

use super::*;
use crate::testing::{described, refusals, rows};

fn flushed(aggregator: &mut Aggregator) -> Vec<String> {
    flushed_at(aggregator, 0)
}

fn flushed_at(aggregator: &mut Aggregator, now_ms: i64) -> Vec<String> {
    let mut batch = Batch::new();
    aggregator.flush(now_ms, &mut batch);
    assert_eq!(batch.refused(), []);
    let mut rows = rows(&batch);
    rows.sort();
    rows
}

fn take(aggregator: &mut Aggregator, datagram_text: &str) -> Vec<String> {
    let mut batch = Batch::new();
    datagram(datagram_text.as_bytes(), aggregator, &mut batch);
    assert!(batch.rows().is_empty());
    refusals(&batch)
}

#[test]
fn each_type_adds_up_in_its_way() {
    let mut aggregator = Aggregator::new(100);
    let none: [&str; 0] = [];
    assert_eq!(
        take(
            &mut aggregator,
            concat!(
                "gorets:1|c\ngorets:2|c|@0.1\n",
                "page.views:1:2:3|c|#env:prod,canary|c:83c0a99c0a54|e:in-1|card:low\n",
                "gaugor:333|g\ngaugor:-10|g\ngaugor:+4|g\n",
                "uniques:765|s\nuniques:a:b|s\nuniques:765|s\r\n",
                "glork:320|ms\nglork:100:200|ms\nglork:100|ms|@0.5\n\n",
            ),
        ),
        none
    );
    assert_eq!(
        flushed(&mut aggregator),
        [
            "0 gaugor 327",
            "0 glork_count 5",
            "0 glork_max 320",
            "0 glork_min 100",
            "0 glork_sum 820",
            "0 glork{quantile=\"0.5\"} 100",
            "0 glork{quantile=\"0.95\"} 320",
            "0 glork{quantile=\"0.99\"} 320",
            "0 gorets 21",
            "0 page.views{canary=\"true\",env=\"prod\"} 6",
            "0 uniques 2",
        ]
    );
    assert_eq!(take(&mut aggregator, "gorets:1|c\nglork:5|ms"), none);
    let rows = flushed(&mut aggregator);
    assert!(rows.contains(&"0 gorets 22".to_owned()), "{rows:?}");
    assert!(rows.contains(&"0 glork_count 6".to_owned()), "{rows:?}");
    assert!(rows.contains(&"0 glork_min 5".to_owned()), "{rows:?}");
    assert!(rows.contains(&"0 uniques 0".to_owned()), "{rows:?}");
    assert!(rows.contains(&"0 gaugor 327".to_owned()), "{rows:?}");
}

#[test]
fn kinds_and_units_are_described() {
    let mut aggregator = Aggregator::new(100);
    take(&mut aggregator, "t:5|ms");
    let mut batch = Batch::new();
    aggregator.flush(0, &mut batch);
    let described = described(&batch);
    assert_eq!(described[0], (Kind::Distribution, "ms".to_owned()));
    assert_eq!(described[5], (Kind::Distribution, String::new()));
    assert_eq!(described[6], (Kind::Distribution, "ms".to_owned()));
}

/// As in what Datadog's agent submits.
#[test]
fn values_of_a_tag_that_is_there_several_times_are_joined() {
    let mut aggregator = Aggregator::new(100);
    let none: [&str; 0] = [];
    let lines = "a:1|c|#s:b,x,s:a,s:b\na:1|c|#x,s:a,s:b,:x\n";
    assert_eq!(take(&mut aggregator, lines), none);
    assert_eq!(flushed(&mut aggregator), ["0 a{s=\"a,b\",x=\"true\"} 2"]);
}

/// What is built from an empty variable loses no sample.
#[test]
fn a_tag_without_a_name_is_its_value() {
    let mut aggregator = Aggregator::new(100);
    let none: [&str; 0] = [];
    let lines = "a:1|c|#:x\na:1|c|#,\na:1|c|#:,::\na:1|c|#env:prod,:,::y:z,\na:1|c|#\n";
    assert_eq!(take(&mut aggregator, lines), none);
    assert_eq!(
        flushed(&mut aggregator),
        ["0 a 3", "0 a{env=\"prod\",y=\"z\"} 1", "0 a{x=\"true\"} 1"]
    );
}

#[test]
fn wrong_lines_are_refused_alone() {
    let mut aggregator = Aggregator::new(3);
    assert_eq!(
        take(
            &mut aggregator,
            concat!(
                "a:1|c\nb\nb:1\nb:x|c\nb:1|z\nb:1|c|@2\nb:1|c|@0\nb:NaN|g\n_e{1,1}:a|b\n_sc|n|0\n",
                "a:1|g\nb:1:x|c\nb:1|c|#__name__:1\n:1|c\nc c:1|c\n",
            ),
        ),
        [
            "2 \"b\": `name:value|type` expected",
            "3 \"b:1\": `|` and a type expected",
            "4 \"x\" is not a number that can be kept",
            "5 \"b:1|z\": the type is none of c, m, g, ms, h, d, s",
            "6 \"b:1|c|@2\": the rate is not above 0 and at most 1",
            "7 \"b:1|c|@0\": the rate is not above 0 and at most 1",
            "8 \"NaN\" is not a number that can be kept",
            "9 events and service checks are not kept",
            "10 events and service checks are not kept",
            "11 \"a\" with these tags is a counter already",
            "12 \"x\" is not a number that can be kept",
            "13 \"__name__\" cannot be a label: it stands for the metric's name",
            "14 there is no metric name",
        ]
    );
    assert_eq!(
        take(&mut aggregator, "d:1|c\ne:1|c"),
        ["2 3 StatsD metrics are being added up, as many as are kept"]
    );
    assert_eq!(
        flushed(&mut aggregator),
        ["0 a 1", "0 d 1", "0 {\"c c\"} 1"]
    );
}

/// Signs mean one thing to StatsD and another to DogStatsD; tags and fields tell which speaks.
#[test]
fn each_dialect_has_its_rules() {
    let mut aggregator = Aggregator::new(100);
    let none: [&str; 0] = [];
    let lines = concat!(
        "temp:-5|g|#room:a\ntemp:-5|g|#room:a\n",
        "up:+3|g|c:83c0a99c0a54\nup:+3|g|c:83c0a99c0a54\n",
        "ext:-1|g|e:in-1\next:-1|g|card:none\n",
        "bare:-5|g\nbare:-5|g\n",
        "meter:4|m\nmeter:1|m\n",
        "gorets:1|c:2|c|@0.1:3|c\n",
        "mixed:5:6|ms\n",
    );
    assert_eq!(take(&mut aggregator, lines), none);
    let rows = flushed(&mut aggregator);
    for expected in [
        "0 temp{room=\"a\"} -5",
        "0 up 3",
        "0 ext -1",
        "0 bare -10",
        "0 meter 5",
        "0 gorets 24",
        "0 mixed_count 2",
    ] {
        assert!(rows.contains(&expected.to_owned()), "{expected}: {rows:?}");
    }
    // All of a line or nothing.
    assert_eq!(
        take(&mut aggregator, "gorets:1|c:x|c").len(),
        1,
        "a broken line"
    );
    assert!(flushed(&mut aggregator).contains(&"0 gorets 24".to_owned()));
}

#[test]
fn times_of_their_own_are_kept() {
    let mut aggregator = Aggregator::new(100);
    let mut batch = Batch::new();
    let lines = concat!(
        "g:7|g|#a:b|T1656581400\n",
        "c:2|c|T1656581400\nc:3|c|T1656581410\nc:5|c|T1656581405\n",
        "t:1|c|Tx\nt:1|c|T-1\n",
    );
    assert_eq!(datagram(lines.as_bytes(), &mut aggregator, &mut batch), 4);
    assert_eq!(
        rows(&batch),
        [
            "1 g{a=\"b\"} 7 @1656581400000",
            "2 c 2 @1656581400000",
            "3 c 5 @1656581410000",
        ]
    );
    assert_eq!(refusals(&batch).len(), 2);
    // The one out of order has no place of its own; it is in the next sample.
    assert_eq!(flushed_at(&mut aggregator, 1_656_581_420_000), ["0 c 10"]);
    assert!(flushed_at(&mut aggregator, 1_656_581_430_000).is_empty());
    batch.clear();
    datagram(b"c:1|c|T1656581425", &mut aggregator, &mut batch);
    assert_eq!(rows(&batch), ["1 c 11 @1656581425000"]);
}

/// What an event says is not a metric, whatever it looks like.
#[test]
fn the_text_of_an_event_is_no_line() {
    let mut aggregator = Aggregator::new(100);
    let event =
        "_e{5,17}:title|one\ncpu:99999|c\nx|#a:b\nreal:1|c\n_e{1,99}:a|b\n_e{x}:a|b\nlast:1|c";
    let refused = take(&mut aggregator, event);
    assert_eq!(
        refused,
        [
            "1 events and service checks are not kept",
            "5 events and service checks are not kept",
        ]
    );
    assert_eq!(flushed(&mut aggregator), ["0 real 1"]);
}

#[test]
fn idle_metrics_are_forgotten() {
    let mut aggregator = Aggregator::new(10);
    take(&mut aggregator, "a:1|c");
    for _ in 0..=IDLE_FLUSHES {
        assert_eq!(flushed(&mut aggregator), ["0 a 1"]);
    }
    assert!(aggregator.is_empty());
    take(&mut aggregator, "a:1|c");
    assert_eq!(flushed(&mut aggregator), ["0 a 1"]);
    assert_eq!(aggregator.len(), 1);
}

#[test]
fn names_without_end_shut_nobody_out_for_long() {
    let mut aggregator = Aggregator::new(8);
    for number in 0..9 {
        take(&mut aggregator, &format!("flood{number}:1|c"));
    }
    assert_eq!(aggregator.len(), 8, "the last finds no room");
    for _ in 0..4 {
        aggregator.flush(0, &mut Batch::new());
    }
    take(&mut aggregator, "honest:1|c");
    assert_eq!(flushed(&mut aggregator), ["0 honest 1"]);
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused(text in "([a1.:|#@,+-]|ms|\\|c|\\|g|\\|s|\n|é){0,40}") {
        let mut aggregator = Aggregator::new(5);
        take(&mut aggregator, &text);
        aggregator.flush(0, &mut Batch::new());
        prop_assert!(aggregator.len() <= 5);
    }
}
