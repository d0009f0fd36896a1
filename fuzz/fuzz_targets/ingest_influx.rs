//! Influx line protocol: any bytes are taken or refused; values are finite.

#![no_main]

mod whole;

use libfuzzer_sys::fuzz_target;
use pulseboard_ingest::{Batch, influx::parse, time::Precision};

fuzz_target!(|body: &[u8]| {
    let mut batch = Batch::new();
    parse(body, Precision::Guess, &mut batch);
    whole::check(&batch);
    assert!(batch.rows().iter().all(|row| row.value.is_finite()));
});
