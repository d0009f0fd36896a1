//! Packed bodies: the first byte chooses the coding; the output never passes its limit and all of
//! it was charged.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulseboard_ingest::decompress::{Coding, Unpacker};

const LIMIT: usize = 100_000;

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, body) = input;
    let coding =
        [Coding::Gzip, Coding::Deflate, Coding::Zstd, Coding::Snappy][usize::from(choice % 4)];
    let mut out = Vec::new();
    let mut charged = 0;
    let unpacked = Unpacker::new().unpack(coding, body, LIMIT, &mut out, |bytes| {
        charged += bytes;
        true
    });
    assert!(charged <= LIMIT + 1 && out.capacity() <= 4 * LIMIT);
    if unpacked.is_ok() {
        assert!(out.len() <= LIMIT.min(charged));
    }
});
