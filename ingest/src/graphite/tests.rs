//! Lines as Graphite's senders write them.

use proptest::prelude::*;

use super::*;
use crate::testing::{refusals, rows};

fn read(body: &str) -> Batch {
    let mut batch = Batch::new();
    parse(body.as_bytes(), &mut batch);
    batch
}

#[test]
fn paths_tags_and_times_are_read() {
    let batch = read(
        "servers.web-1.load 0.25 1795204862\n\
         \n\
         disk.used;rack=a1;dc=fra\t17  1795204862.5\r\n\
         now 1e3 -1\n\
         a:b;url=http://x/?a=b 1 10\n\
         up inf 10",
    );
    assert_eq!(
        rows(&batch),
        [
            "1 servers.web-1.load 0.25 @1795204862000",
            "3 disk.used{dc=\"fra\",rack=\"a1\"} 17 @1795204862500",
            "4 now 1000",
            "5 a:b{url=\"http://x/?a=b\"} 1 @10000",
            "6 up inf @10000",
        ]
    );
    assert_eq!(batch.refused_total(), 0);
}

#[test]
fn what_is_wrong_loses_itself_alone() {
    let batch = read(
        "a\na 1\na x 1\na 1 x\na 1 1 1\n;t=v 1 1\na;t 1 1\na;=v 1 1\na;t=~v 1 1\na;t!=v 1 1\n\
         a;t=v;t=w 1 1\na nan 1\nlast 1 1\n",
    );
    assert_eq!(rows(&batch), ["13 last 1 @1000"]);
    assert_eq!(
        refusals(&batch),
        [
            "1 column 2: a value expected, found nothing more",
            "2 column 4: a timestamp in Unix seconds, or -1 expected, found nothing more",
            "3 \"x\" is not a number that can be kept",
            "4 \"x\" is no timestamp in Unix seconds",
            "5 column 7: the end of the line expected, found '1'",
            "6 there is no metric name",
            "7 \"t\" is no tag; accepted is `name=value`",
            "8 \"=v\" is no tag; accepted is `name=value`",
            "9 \"t=~v\" is no tag; accepted is `name=value`",
            "10 \"t!=v\" is no tag; accepted is `name=value`",
            "11 label \"t\" is there twice",
            "12 \"nan\" is not a number that can be kept",
        ]
    );
}

proptest! {
    /// What is written comes back: name, labels, value to the last bit, time.
    #[test]
    fn lines_come_back(
        name in "[a-zA-Z0-9_.-]{1,40}",
        tags in prop::collection::btree_map("[a-z][a-z0-9_]{0,8}", "[a-zA-Z0-9./=-]{1,12}", 0..5),
        value in prop::num::f64::NORMAL | prop::num::f64::ZERO,
        seconds in 0_i64..4_000_000_000,
    ) {
        let tags_text: String = tags.iter().map(|(name, value)| format!(";{name}={value}")).collect();
        let batch = read(&format!("{name}{tags_text} {value:e} {seconds}\n"));
        prop_assert_eq!(batch.refused_total(), 0);
        let row = &batch.rows()[0];
        let key = batch.key(row);
        prop_assert_eq!(key.name(), name);
        let labels: std::collections::BTreeMap<_, _> =
            key.labels().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        prop_assert_eq!(labels, tags);
        prop_assert_eq!(row.value.to_bits(), value.to_bits());
        prop_assert_eq!(row.at_ms, seconds * 1000);
    }

    /// Any bytes are taken or refused, line by line.
    #[test]
    fn any_bytes_are_taken_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut batch = Batch::new();
        parse(&body, &mut batch);
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
        prop_assert!(batch.rows().len() + batch.refused().len() <= lines);
    }
}
