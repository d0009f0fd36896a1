//! OTLP in JSON: any bytes are a request or an error that leaves nothing; totals stay bounded.

#![no_main]

mod whole;

use libfuzzer_sys::fuzz_target;
use pulseboard_ingest::{
    Batch,
    otlp::{DeltaTotals, Encoding, parse},
};

fuzz_target!(|body: &[u8]| {
    let mut batch = Batch::new();
    let mut totals = DeltaTotals::new(3);
    match parse(Encoding::Json, body, &mut totals, &|_| None, &mut batch) {
        Ok(points) => assert_eq!(points.rejected, batch.refused_total()),
        Err(_) => assert!(batch.is_empty()),
    }
    assert!(totals.len() <= 3);
    whole::check(&batch);
});
