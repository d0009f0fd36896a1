//! Datadog's series and checks: the first byte chooses the form; any bytes are a body or an error
//! that leaves nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulseboard_ingest::{
    Batch, DeltaTotals,
    datadog::{Encoding, checks, series},
};
use pulseboard_series::KeyRef;

fuzz_target!(|input: (u8, &[u8])| {
    let (form, body) = input;
    let mut batch = Batch::new();
    let mut totals = DeltaTotals::new(100);
    let read = match form % 3 {
        0 => series(Encoding::Json, body, &mut totals, &|_| None, &mut batch),
        1 => series(Encoding::Protobuf, body, &mut totals, &|_| None, &mut batch),
        _ => checks(body, &mut batch),
    };
    assert!(read.is_ok() || batch.is_empty());
    check(&batch);
});

/// Every key is whole, every row has a place in the body.
fn check(batch: &Batch) {
    for row in batch.rows() {
        let key = batch.key(row);
        assert_eq!(KeyRef::checked(key.as_bytes()), Some(key));
        assert!(row.line > 0);
    }
    for refused in batch.refused() {
        assert!(!refused.reason.to_string().is_empty());
    }
}
