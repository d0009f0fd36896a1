//! Tests of [`super`].

use proptest::prelude::*;
use pulseboard_series::Kind;

use super::*;
use crate::testing::{described, refusals, rows};

fn flushed(aggregator: &mut Aggregator) -> Vec<String> {
    let mut batch = Batch::new();
    aggregator.flush(&mut batch);
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
                "page.views:1:2:3|c|#env:prod,canary|c:83c0a99c0a54|T1656581400\n",
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
    aggregator.flush(&mut batch);
    let described = described(&batch);
    assert_eq!(described[0], (Kind::Distribution, "ms".to_owned()));
    assert_eq!(described[5], (Kind::Distribution, String::new()));
    assert_eq!(described[6], (Kind::Distribution, "ms".to_owned()));
}

#[test]
fn wrong_lines_are_refused_alone() {
    let mut aggregator = Aggregator::new(3);
    assert_eq!(
        take(
            &mut aggregator,
            concat!(
                "a:1|c\nb\nb:1\nb:x|c\nb:1|z\nb:1|c|@2\nb:1|c|@0\nb:NaN|g\n_e{1,1}:a|b\n_sc|n|0\n",
                "a:1|g\nb:1:x|c\nb:1|c|#__x:1\n:1|c\nc c:1|c\n",
            ),
        ),
        [
            "2 \"b\": `name:value|type` expected",
            "3 \"b:1\": `|` and a type expected",
            "4 \"x\" is not a number that can be kept",
            "5 \"b:1|z\": the type is none of c, g, ms, h, d, s",
            "6 \"b:1|c|@2\": the rate is not above 0 and at most 1",
            "7 \"b:1|c|@0\": the rate is not above 0 and at most 1",
            "8 \"NaN\" is not a number that can be kept",
            "9 events and service checks are not kept",
            "10 events and service checks are not kept",
            "11 \"a\" with these tags is a counter already",
            "12 \"x\" is not a number that can be kept",
            "13 \"__x\" is not a label name: a letter or `_` first, then also digits and `.`, `:`, `/`, `-`; names that begin with `__` are reserved",
            "14 \"\" is not a metric name: a letter, `_` or `:` first, then also digits and `.`, `/`, `-`; names that begin with `__` are reserved",
        ]
    );
    assert_eq!(
        take(&mut aggregator, "d:1|c\ne:1|c"),
        ["2 3 StatsD metrics are being added up, as many as are kept"]
    );
    assert_eq!(flushed(&mut aggregator), ["0 a 1", "0 c_c 1", "0 d 1"]);
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

proptest! {
    #[test]
    fn any_text_is_taken_or_refused(text in "([a1.:|#@,+-]|ms|\\|c|\\|g|\\|s|\n|é){0,40}") {
        let mut aggregator = Aggregator::new(5);
        take(&mut aggregator, &text);
        aggregator.flush(&mut Batch::new());
        prop_assert!(aggregator.len() <= 5);
    }
}
