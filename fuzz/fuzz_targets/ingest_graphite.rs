//! Graphite's plaintext: any bytes are taken or refused; no value is NaN.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulseboard_ingest::{Batch, graphite::parse};
use pulseboard_series::KeyRef;

fuzz_target!(|body: &[u8]| {
    let mut batch = Batch::new();
    parse(body, &mut batch);
    check(&batch);
    assert!(batch.rows().iter().all(|row| !row.value.is_nan()));
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
