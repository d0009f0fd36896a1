//! What holds for every batch, whatever it was read from.

use pulseboard_ingest::Batch;
use pulseboard_series::KeyRef;

/// Every key is whole, every row has a place in the body.
pub fn check(batch: &Batch) {
    for row in batch.rows() {
        let key = batch.key(row);
        assert_eq!(KeyRef::checked(key.as_bytes()), Some(key));
        assert!(row.line > 0);
    }
    for refused in batch.refused() {
        assert!(!refused.reason.to_string().is_empty());
    }
}
