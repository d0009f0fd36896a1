//! Remote write: the first bit chooses the version; any bytes are a message or an error that
//! leaves nothing, and samples written are rows.

#![no_main]

mod whole;

use libfuzzer_sys::fuzz_target;
use pulseboard_ingest::{
    Batch,
    remote_write::{Version, metadata, parse},
};

fuzz_target!(|input: (bool, &[u8])| {
    let (is_second, message) = input;
    let version = if is_second { Version::V2 } else { Version::V1 };
    let mut batch = Batch::new();
    match parse(version, message, &mut batch) {
        Ok(written) => assert!(written.samples <= batch.rows().len() as u64),
        Err(_) => assert!(batch.is_empty()),
    }
    drop(metadata(message, |_, _, _| {}));
    whole::check(&batch);
});
