//! Datadog's series and checks: the first byte chooses the form; any bytes are a body or an error
//! that leaves nothing.

#![no_main]

mod whole;

use libfuzzer_sys::fuzz_target;
use pulseboard_ingest::{
    Batch, DeltaTotals,
    datadog::{Encoding, checks, series},
};

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
    whole::check(&batch);
});
