//! Tests of [`super`].

use proptest::prelude::*;
use pulseboard_series::Kind;

use super::*;
use crate::testing::{described, refusals, rows};

fn read(body: &str) -> (Batch, Result<(), BodyError>) {
    let mut batch = Batch::new();
    let read = parse(body.as_bytes(), &mut batch);
    (batch, read)
}

#[test]
fn all_shapes_are_read() {
    let (batch, read) = read(
        r#"[{"name":"queue_depth","value":42},
            {"value":-0,"timestamp":1795204862345,"labels":{"b":"\u00e9\n","a":"x"},"name":"t","unit":"°C"},
            {"name":"load","value":0.30000000000000004,"timestamp":"2026-11-20T20:01:02.345Z","labels":null,"unit":null,"more":[{}]},
            {"queue_depth":1,"cpu":1.5},
            {"name":"f","value":1,"timestamp":1795204862345.0},
            {"name":"n","value":18446744073709551615,"labels":{"e":""}}]"#,
    );
    assert_eq!(read, Ok(()));
    assert_eq!(
        rows(&batch),
        [
            "1 queue_depth 42",
            "2 t{a=\"x\",b=\"é\\n\"} -0 @1795204862345",
            "3 load 0.30000000000000004 @1795204862345",
            "4 queue_depth 1",
            "4 cpu 1.5",
            "5 f 1 @1795204862345",
            "6 n 18446744073709552000",
        ]
    );
    assert_eq!(described(&batch)[1], (Kind::Unknown, "°C".to_owned()));
    assert_eq!(batch.refused(), []);
}

#[test]
fn objects_may_follow_each_other() {
    let (batch, read) = read("{\n\"a\": 1\n}\n{\"b\":\n2} {\"c\":3}");
    assert_eq!(read, Ok(()));
    assert_eq!(rows(&batch), ["1 a 1", "2 b 2", "3 c 3"]);
}

#[test]
fn a_bad_item_loses_only_itself_and_names_the_field() {
    for (item, reason) in [
        (
            "42",
            "42 is not a sample; accepted are objects such as {\"name\":\"queue_depth\",\"value\":42}",
        ),
        (
            "[]",
            "an array is not a sample; accepted are objects such as {\"name\":\"queue_depth\",\"value\":42}",
        ),
        ("{}", "the object is empty; `name` and `value` are needed"),
        (r#"{"name":"a"}"#, "\"value\" is missing"),
        (r#"{"value":1}"#, "\"name\" is missing"),
        (
            r#"{"name":1,"value":1}"#,
            "\"name\" is 1; accepted is a string",
        ),
        (
            r#"{"name":"a","value":"1"}"#,
            "\"1\" is not a number that can be kept",
        ),
        (
            r#"{"name":"a","value":null}"#,
            "\"value\" is null; accepted is a number",
        ),
        (
            r#"{"name":"a","value":true}"#,
            "\"value\" is a boolean; accepted is a number",
        ),
        (
            r#"{"name":"a","value":1,"labels":[]}"#,
            "\"labels\" is an array; accepted is an object of strings",
        ),
        (
            r#"{"name":"a","value":1,"labels":{"port":80}}"#,
            "\"labels.port\" is 80; accepted is a string",
        ),
        (
            r#"{"name":"a","value":1,"labels":{"l":"1","l":"2"}}"#,
            "label \"l\" is there twice",
        ),
        (
            r#"{"name":"a","value":1,"value":2}"#,
            "\"value\" is there twice",
        ),
        (
            r#"{"name":"a","value":1,"unit":1.5}"#,
            "\"unit\" is 1.5; accepted is a string",
        ),
        (
            r#"{"name":"a","value":1,"timestamp":1.5}"#,
            "\"timestamp\" is 1.5; accepted is Unix milliseconds as a whole number, or a time such as \"2026-11-20T20:01:02.345Z\"",
        ),
        (
            r#"{"name":"a","value":1,"timestamp":"now"}"#,
            "\"timestamp\" is the string \"now\"; accepted is Unix milliseconds as a whole number, or a time such as \"2026-11-20T20:01:02.345Z\"",
        ),
        (r#"{"a":{}}"#, "\"a\" is an object; accepted is a number"),
    ] {
        let (batch, read) = read(&format!("[{{\"first\":1}},{item},{{\"last\":2}}]"));
        assert_eq!(read, Ok(()), "{item}");
        assert_eq!(rows(&batch), ["1 first 1", "3 last 2"], "{item}");
        assert_eq!(refusals(&batch), [format!("2 {reason}")], "{item}");
    }
    let (batch, _) = read(
        r#"[{"name":"my \u0001","value":1},{"name":"ok","value":1,"labels":{"\ud83d\ude00":"x"}},
        {"name":"","value":1},{"name":"ok","value":1,"labels":{"":"x"}}]"#,
    );
    assert_eq!(
        rows(&batch),
        ["1 {\"my \u{1}\"} 1", "2 ok{\"\u{1f600}\"=\"x\"} 1"]
    );
    assert_eq!(batch.refused_total(), 2);
}

#[test]
fn broken_documents_say_where() {
    let deep = "{\"a\":".repeat(200);
    for (body, line, column) in [
        ("{\"a\":1", 1, 6),
        ("[{\"a\":1},\n{\"b\":}]", 2, 6),
        ("[{\"a\":1}] x", 1, 11),
        ("{\"a\":NaN}", 1, 6),
        ("{\"a\":\"\\ud800\"}", 1, 13),
        ("{\"a\":01}", 1, 7),
        ("", 1, 0),
        (deep.as_str(), 1, 636),
    ] {
        let (batch, read) = read(body);
        let Err(BodyError::Json {
            line: l,
            column: c,
            message,
        }) = read
        else {
            assert_eq!(body, "");
            continue;
        };
        assert_eq!((l, c), (line, column), "{body} {message}");
        assert!(batch.is_empty(), "{body}");
        assert!(!message.contains(" at line "), "{message}");
    }
    let mut batch = Batch::new();
    assert!(parse(b"[{\"\xff\":1}]", &mut batch).is_err());
}

#[test]
fn a_bad_line_is_refused_alone() {
    let mut batch = Batch::new();
    line(1, r#"{"a":1}"#, &mut batch);
    line(2, r#"{"a":1e999}"#, &mut batch);
    line(3, r#"{"a":1} {"#, &mut batch);
    assert_eq!(rows(&batch), ["1 a 1"]);
    assert_eq!(
        refusals(&batch),
        [
            "2 \"a\" is a number past the largest double; accepted is a number",
            "3 column 9: not JSON: trailing characters",
        ]
    );
}

#[test]
fn a_number_past_the_largest_double_loses_only_what_it_is_the_value_of() {
    let (batch, read) = read(
        r#"[{"a":1,"b":1e400,"c":2},
            {"name":"d","value":-1e999},
            {"name":"e","value":3,"timestamp":1e400},
            {"name":"f","value":4,"labels":{"l":1e400}},
            {"name":1e400,"value":4},
            1e400,
            {"name":"g","value":5,"more":[1e400,{"x":1e400}],"labels":{"l":"1e400"}},
            {"name":"h","value":[]},
            {"name":"i","value":1.7e308}]"#,
    );
    assert_eq!(read, Ok(()));
    let rows = rows(&batch);
    assert_eq!(rows[..3], ["1 a 1", "1 c 2", "7 g{l=\"1e400\"} 5"]);
    assert!(rows[3].starts_with("9 i 17"), "{rows:?}");
    let past = |field: &str, accepted: &str| {
        format!("\"{field}\" is a number past the largest double; accepted is {accepted}")
    };
    let refused: Vec<(u32, String)> = batch
        .refused()
        .iter()
        .map(|refused| (refused.line, refused.reason.to_string()))
        .collect();
    for (line, reason) in [
        (1, past("b", "a number")),
        (2, past("value", "a number")),
        (3, past("timestamp", "Unix")),
        (4, past("labels.l", "a string")),
        (5, past("name", "a string")),
        (
            6,
            "a number past the largest double is not a sample".to_owned(),
        ),
        (8, past("value", "a number")),
    ] {
        let found = refused.iter().find(|refused| refused.0 == line);
        assert!(
            found.is_some_and(|(_, found)| found.starts_with(&reason)),
            "{line}: {refused:?}"
        );
    }
    assert_eq!(refused.len(), 7);
    // One object after the other, and what is broken besides.
    let (batch, read) = self::read("{\"a\":1}{\"b\":1e400} {\"c\":2}");
    assert_eq!((read, self::rows(&batch).len()), (Ok(()), 2));
    let (batch, read) = self::read("[{\"a\":1e400},\n {\"b\":}]");
    assert!(
        matches!(
            read,
            Err(BodyError::Json {
                line: 2,
                column: 7,
                ..
            })
        ),
        "{read:?}"
    );
    assert!(batch.is_empty());
    // Of lines each for itself.
    let mut batch = Batch::new();
    for (number, text) in (1..).zip(["{\"a\":1,\"b\":1e400}", "{\"c\":1e400", "{\"d\":2}"]) {
        line(number, text, &mut batch);
    }
    assert_eq!(self::rows(&batch), ["1 a 1", "3 d 2"]);
    assert_eq!(batch.refused().len(), 2);
}

proptest! {
    #[test]
    fn written_samples_read_back(
        name in "[a-zé][a-z0-9.]{0,8}",
        labels in prop::collection::btree_map("[a-z][a-z0-9]{0,4}", "\\PC{1,6}|[\"\\\\\n\t]{1,3}", 0..4),
        value in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO,
        at_ms in prop::option::of(i64::MIN + 1..),
    ) {
        let body = serde_json::json!({"name": name, "labels": labels, "value": value, "timestamp": at_ms});
        let (batch, read) = read(&body.to_string());
        prop_assert_eq!(read, Ok(()));
        prop_assert_eq!(batch.refused(), []);
        let row = batch.rows()[0];
        let key = batch.key(&row);
        prop_assert_eq!(key.name(), name);
        prop_assert_eq!(row.value.to_bits(), value.to_bits());
        prop_assert_eq!(row.at_ms, at_ms.unwrap_or(pulseboard_series::Row::NOW));
        let read: Vec<_> = key.labels().map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
        prop_assert_eq!(read, labels.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn any_text_is_taken_or_refused(body in "([\\[\\]{},:\"\\\\ 1-]|\"name\"|\"value\"|null|1e9|\n){0,40}") {
        let (batch, read) = read(&body);
        prop_assert!(read.is_ok() || batch.is_empty());
    }
}

/// What an object is read into is far larger than its text.
#[test]
fn an_object_has_a_bounded_number_of_fields() {
    let fields = |count: usize| vec!["\"a\":1"; count].join(",");
    let mut batch = Batch::new();
    let flat = format!("{{{}}}", fields(ITEM_FIELDS_MAX + 1));
    assert!(parse(flat.as_bytes(), &mut batch).is_err());
    let nested = format!("{{\"labels\":{{{}}}}}", fields(ITEM_FIELDS_MAX));
    assert!(parse(nested.as_bytes(), &mut batch).is_err());
    let several = format!("[{{{0}}},{{{0}}}]", fields(ITEM_FIELDS_MAX - 1));
    assert_eq!(parse(several.as_bytes(), &mut batch), Ok(()));
    assert_eq!(batch.rows().len(), 2 * (ITEM_FIELDS_MAX - 1));
}
