//! JSON: any bytes are read, refused by item, or broken as a whole, which leaves nothing.

#![no_main]

mod whole;

use libfuzzer_sys::fuzz_target;
use pulseboard_ingest::{Batch, json::parse};

fuzz_target!(|body: &[u8]| {
    let mut batch = Batch::new();
    if parse(body, &mut batch).is_err() {
        assert!(batch.is_empty());
    }
    whole::check(&batch);
});
