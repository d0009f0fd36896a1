//! OTLP in JSON: any bytes are a request or an error that leaves nothing; totals stay bounded.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulseboard_ingest::{
    Batch,
    otlp::{DeltaTotals, Encoding, parse},
};
use pulseboard_series::KeyRef;

fuzz_target!(|body: &[u8]| {
    let mut batch = Batch::new();
    let mut totals = DeltaTotals::new(3);
    match parse(Encoding::Json, body, &mut totals, &|_| None, &mut batch) {
        Ok(points) => assert_eq!(points.rejected, batch.refused_total()),
        Err(_) => assert!(batch.is_empty()),
    }
    assert!(totals.len() <= 3);
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
