//! Lines of series as the export writes them: any bytes are taken or refused.

#![no_main]

mod whole;

use libfuzzer_sys::fuzz_target;
use pulseboard_ingest::{Batch, import::parse};

fuzz_target!(|body: &[u8]| {
    let mut batch = Batch::new();
    parse(body, &mut batch);
    whole::check(&batch);
});
