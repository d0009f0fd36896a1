//! Graphite's plaintext: any bytes are taken or refused; no value is NaN.

#![no_main]

mod whole;

use libfuzzer_sys::fuzz_target;
use pulseboard_ingest::{Batch, graphite::parse};

fuzz_target!(|body: &[u8]| {
    let mut batch = Batch::new();
    parse(body, &mut batch);
    whole::check(&batch);
    assert!(batch.rows().iter().all(|row| !row.value.is_nan()));
});
