//! What `POST /push` takes: any bytes have a form or are an error that leaves nothing.

#![no_main]

mod whole;

use libfuzzer_sys::fuzz_target;
use pulseboard_ingest::{Batch, detect::push};

fuzz_target!(|body: &[u8]| {
    let mut batch = Batch::new();
    if push(body, &mut batch).is_err() {
        assert!(batch.is_empty());
    }
    whole::check(&batch);
});
