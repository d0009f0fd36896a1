//! What is pushed to a group: any path is a group or an error, any body is taken as a whole, with
//! the group's labels, or leaves nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulseboard_ingest::{
    Batch,
    push_group::{Encoding, Grouping, parse},
    text::Times,
};
use pulseboard_series::{KeyRef, Row};

fuzz_target!(|input: (bool, &str, &[u8])| {
    let (is_protobuf, path, body) = input;
    let Ok(grouping) = Grouping::of_path(path) else {
        return;
    };
    let encoding = match is_protobuf {
        true => Encoding::Protobuf,
        false => Encoding::Text(Times::Milliseconds),
    };
    let mut batch = Batch::new();
    if parse(encoding, body, &grouping, &mut batch).is_err() {
        assert!(batch.is_empty());
    }
    for row in batch.rows() {
        let key = batch.key(row);
        assert_eq!(KeyRef::checked(key.as_bytes()), Some(key));
        assert_eq!(row.at_ms, Row::NOW);
        for (name, value) in grouping.labels() {
            assert_eq!(key.label(name).unwrap_or_default(), value);
        }
    }
});
