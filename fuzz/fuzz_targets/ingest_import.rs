//! Lines of series as the export writes them: any bytes are taken or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulseboard_ingest::{Batch, import::parse};
use pulseboard_series::KeyRef;

fuzz_target!(|body: &[u8]| {
    let mut batch = Batch::new();
    parse(body, &mut batch);
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
