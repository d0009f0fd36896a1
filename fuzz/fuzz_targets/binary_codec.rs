//! The binary form: any bytes are a message or refused, and a message survives being written and
//! read again. NaNs are equal here if they are written alike.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulseboard_shared::codec::{decode, decode_other, encode};

fuzz_target!(|bytes: &[u8]| {
    drop(decode_other(bytes));
    let Ok(message) = decode(bytes) else { return };
    let written = encode(&message);
    let again = decode(&written).expect("what was written can be read");
    assert_eq!(encode(&again), written);
    assert_eq!(format!("{again:?}"), format!("{message:?}"));
});
