//! Tests of [`super`].

use proptest::prelude::*;

use super::*;
use crate::testing::{refusals, rows};

#[test]
fn each_form_is_recognised() {
    for (body, form, expected) in [
        ("queue_depth 42", BodyFormat::Text, "1 queue_depth 42"),
        (
            "  queue_depth\t42 5\r\n",
            BodyFormat::Text,
            "1 queue_depth 42 @5",
        ),
        (
            "# HELP a b=c\na{b=\"c=d, e f=1\"} 1",
            BodyFormat::Text,
            "2 a{b=\"c=d, e f=1\"} 1",
        ),
        ("a {b=\"c\"} 1", BodyFormat::Text, "1 a{b=\"c\"} 1"),
        ("{\"a.b\", c=\"d\"} 1", BodyFormat::Text, "1 a.b{c=\"d\"} 1"),
        ("{\"a.b\"} 1", BodyFormat::Text, "1 a.b 1"),
        ("{c=\"d\",\"a\"} 1", BodyFormat::Text, "1 a{c=\"d\"} 1"),
        ("a 1 1.5\n# EOF", BodyFormat::Text, "1 a 1 @1500"),
        ("cpu usage=1", BodyFormat::Influx, "1 cpu_usage 1"),
        (
            "cpu,host=a usage=1i 1465839830100400200",
            BodyFormat::Influx,
            "1 cpu_usage{host=\"a\"} 1 @1465839830100",
        ),
        (
            "c\\ pu usage=1 1465839830",
            BodyFormat::Influx,
            "1 {\"c pu_usage\"} 1 @1465839830000",
        ),
        ("\u{feff}{\"a\":1}", BodyFormat::Json, "1 a 1"),
        ("{\n  \"a\": 1\n}", BodyFormat::Json, "1 a 1"),
        ("\n [ {\"a\":1} ]", BodyFormat::Json, "1 a 1"),
        ("\n{\"a\":1}\n\n", BodyFormat::Json, "1 a 1"),
    ] {
        let mut batch = Batch::new();
        assert_eq!(push(body.as_bytes(), &mut batch), Ok(form), "{body}");
        assert_eq!(rows(&batch), [expected], "{body}");
        assert_eq!(batch.refused(), [], "{body}");
    }
}

#[test]
fn lines_may_be_of_different_forms() {
    let body = "a 1\ncpu,host=a usage=2\n# comment\n{\"b\":3}\nc{d=\"e\"} 4\nbad line here\n{\"name\":\"n\"";
    let mut batch = Batch::new();
    assert_eq!(push(body.as_bytes(), &mut batch), Ok(BodyFormat::Mixed));
    assert_eq!(
        rows(&batch),
        [
            "1 a 1",
            "2 cpu_usage{host=\"a\"} 2",
            "4 b 3",
            "5 c{d=\"e\"} 4"
        ]
    );
    assert_eq!(
        refusals(&batch),
        [
            "6 \"line\" is not a number that can be kept",
            "7 column 11: not JSON: EOF while parsing an object",
        ]
    );
}

#[test]
fn lines_of_json_lose_only_the_bad_ones() {
    let mut batch = Batch::new();
    let body = b"{\"a\":1}\n{\"a\":\n\n{\"a\":2}\r\n{}\n";
    assert_eq!(push(body, &mut batch), Ok(BodyFormat::Json));
    assert_eq!(rows(&batch), ["1 a 1", "4 a 2"]);
    assert_eq!(
        batch
            .refused()
            .iter()
            .map(|refused| refused.line)
            .collect::<Vec<_>>(),
        [2, 5]
    );
    // The first line is bad, the second begins as an object: lines all the same.
    let body = b"{\"a\":\n{\"a\":2}\n";
    batch.clear();
    assert_eq!(push(body, &mut batch), Ok(BodyFormat::Json));
    assert_eq!(rows(&batch), ["2 a 2"]);
}

/// Whatever the form: quotes first, lines second.
#[test]
fn no_line_of_a_text_is_a_sample() {
    let body = concat!(
        "applog,host=web1 message=\"failed for row:\ncpu_usage value=99999\nretrying\",duration_ms=12i\n",
        "{\"name\":\"a\ncpu_usage 99999\nb\",\"value\":1}\n",
        "c{d=\"\ncpu_usage 99999\n\"} 1\n",
        "last 2\n",
    );
    let mut batch = Batch::new();
    assert_eq!(push(body.as_bytes(), &mut batch), Ok(BodyFormat::Mixed));
    assert_eq!(
        rows(&batch),
        [
            "1 applog_duration_ms{host=\"web1\"} 12",
            "7 c{d=\"\\ncpu_usage 99999\\n\"} 1",
            "10 last 2",
        ]
    );
    let lines: Vec<_> = batch.refused().iter().map(|one| one.line).collect();
    assert_eq!(lines, [1, 4]);
}

/// What this server's answers say of a value that is no number is a value again.
#[test]
fn values_that_are_no_numbers_are_said_in_words() {
    let body = "{\"name\":\"a\",\"value\":\"+Inf\"}\n{\"b\":\"-Inf\",\"c\":\"NaN\"}\n{\"d\":\"1\"}\ne +Inf";
    let mut batch = Batch::new();
    assert!(push(body.as_bytes(), &mut batch).is_ok());
    assert_eq!(rows(&batch), ["1 a inf", "2 b -inf", "2 c NaN", "4 e inf"]);
    assert_eq!(batch.refused_total(), 1);
}

#[test]
fn what_is_nothing_is_an_error() {
    let mut batch = Batch::new();
    assert_eq!(push(b"", &mut batch), Err(BodyError::Empty));
    assert_eq!(push(b" \r\n\t\n", &mut batch), Err(BodyError::Empty));
    assert!(matches!(
        push(b"{\"a\": 1,\n \"b\"", &mut batch),
        Err(BodyError::Json { line: 2, .. })
    ));
    assert!(matches!(
        push(b"[1, 2", &mut batch),
        Err(BodyError::Json { .. })
    ));
    assert_eq!(push(b"# only a comment", &mut batch), Ok(BodyFormat::Text));
    assert!(batch.is_empty());
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused(body in "([a{}\\[\\]\"=\\\\,: #\t1-]|name|value|\n|\r|é){0,60}") {
        let mut batch = Batch::new();
        if push(body.as_bytes(), &mut batch).is_err() {
            prop_assert!(batch.is_empty());
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(push(&body, &mut Batch::new()));
    }
}

/// What was taken of a body, in pieces.
#[derive(Debug, Default)]
struct Pieces {
    rows: Vec<String>,
    refused: Vec<String>,
    count: usize,
    reserved: usize,
    room: usize,
}

/// A body's outlet, and what it took.
#[derive(Clone, Debug, Default)]
struct Kept(std::sync::Arc<std::sync::Mutex<Pieces>>);

impl pulseboard_series::batch::Outlet for Kept {
    fn reserve(&mut self, bytes: usize) -> bool {
        let mut pieces = self.0.lock().expect("no panic");
        pieces.reserved += bytes;
        pieces.reserved <= pieces.room
    }

    fn take(&mut self, batch: &Batch) {
        let mut pieces = self.0.lock().expect("no panic");
        pieces.rows.extend(rows(batch));
        pieces.refused.extend(refusals(batch));
        pieces.count += 1;
        pieces.reserved = 0;
    }
}

/// The shortest lines become thirteen times as much: a body of them is taken in pieces, which
/// together are what the whole is, and takes little more than itself.
#[test]
fn lines_are_taken_in_pieces_that_are_the_whole() {
    for broken in ["", "bad line here\n", "\u{fe}"] {
        let mut body = String::new();
        for number in 0..60_000 {
            body.push_str(&format!("a {number}\n"));
            if number % 1_000 == 0 {
                body.push_str("bad line here\ncpu,host=a usage=1,idle=2,x=\"a\nb\"\n{\"b\":3}\n");
            }
        }
        body.push_str(broken);
        let bytes = match broken {
            // Not UTF-8 as a whole.
            "\u{fe}" => [body.as_bytes(), b"\xfe 1\n"].concat(),
            _ => body.into_bytes(),
        };
        let mut whole = Batch::new();
        let form = push(&bytes, &mut whole);
        let mut pieces = Batch::new();
        let kept = Kept::default();
        pieces.open(Box::new(kept.clone()), true);
        assert_eq!(push(&bytes, &mut pieces), form);
        assert!(pieces.capacity_bytes() < 4 << 20);
        pieces.close();
        let mut taken = std::mem::take(&mut *kept.0.lock().expect("no panic"));
        assert!(taken.count > 1, "{}", taken.count);
        taken.rows.extend(rows(&pieces));
        taken.refused.extend(refusals(&pieces));
        assert!(taken.rows == rows(&whole));
        taken.refused.truncate(100);
        assert_eq!(taken.refused, refusals(&whole));
    }
}

/// A line and a document are taken as a whole: beyond two megabytes there has to be room for what
/// they become, and where there is none the whole is to be sent again.
#[test]
fn what_is_not_taken_in_pieces_has_its_memory_counted() {
    let document = format!("[{}{{\"a\":1}}]", "{\"a\":1},".repeat(200_000));
    let long_line = format!("cpu {}b=1\n", "a=1,".repeat(200_000));
    for body in [document, long_line] {
        for (room, is_taken) in [(usize::MAX, true), (4 << 20, false)] {
            let mut batch = Batch::new();
            let kept = Kept::default();
            kept.0.lock().expect("no panic").room = room;
            batch.open(Box::new(kept.clone()), true);
            assert!(push(body.as_bytes(), &mut batch).is_ok());
            assert_eq!(batch.is_out_of_room(), !is_taken);
            let taken = kept.0.lock().expect("no panic");
            let rows = taken.rows.len() + batch.rows().len();
            assert_eq!(rows == 200_001, is_taken, "{rows}");
            assert!(is_taken || batch.capacity_bytes() < 16 << 20);
        }
    }
}
